//! The caller of an INVITE, from the header fields that the carrier's dialect believes (RFC 3325 §9.1).

use super::number_of;
use crate::dialect::CallerSource;
use crate::message::{Message, NameAddr, user_of};
use crate::output::Caller;
use sipsec_net::TelNumber;

/// The first of `sources` that names a caller decides.
pub fn of(m: &Message, sources: &[CallerSource]) -> Caller {
    let asserted = CallerSource::Asserted;
    // RFC 3323 §4.2: the network asserts the caller in spite of Privacy where the called side may know it.
    if sources.contains(&asserted)
        && let Some(caller) = named(m, "P-Asserted-Identity")
    {
        return caller;
    }
    // RFC 3323 §4.2, RFC 3261 §8.1.1.3.
    let privacy = m.all("Privacy").flat_map(|v| v.split(';')).map(str::trim).filter(|p| !p.is_empty());
    let private = privacy.into_iter().any(|p| !p.eq_ignore_ascii_case("none"));
    let from = m.header("From").and_then(NameAddr::read).map(|f| f.uri);
    let anonymous = from.and_then(user_of).is_some_and(|u| u.eq_ignore_ascii_case("anonymous"));
    if private || anonymous {
        return Caller::Anonymous;
    }
    let mut rest = sources.iter().filter(|s| **s != asserted);
    let caller = |source: &CallerSource| match source {
        CallerSource::Preferred => named(m, "P-Preferred-Identity"),
        _ => from.and_then(number_of).map(Caller::Asserted),
    };
    rest.find_map(caller).unwrap_or(Caller::Unidentified)
}

/// RFC 3325 §9.1: one SIP and one tel URI may stand there, of the same caller. The tel URI is its number; the SIP URI's user
/// part may be an extension. Two different numbers of one scheme name no caller.
fn named(m: &Message, field: &str) -> Option<Caller> {
    let (mut tel, mut sip) = (Vec::new(), Vec::new());
    for uri in m.all(field).filter_map(NameAddr::read).map(|n| n.uri) {
        let is_tel = uri.get(..4).is_some_and(|s| s.eq_ignore_ascii_case("tel:"));
        if is_tel { &mut tel } else { &mut sip }.extend(number_of(uri));
    }
    let mut numbers = if tel.is_empty() { sip } else { tel }.into_iter();
    let number: TelNumber = numbers.next()?;
    let one = numbers.all(|other| other == number);
    Some(if one { Caller::Asserted(number) } else { Caller::Unidentified })
}
