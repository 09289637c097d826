//! The caller that the trusted proxy asserts (RFC 3325 §9.1). From is not trusted.

use super::number_of;
use crate::message::{Message, NameAddr, user_of};
use crate::output::Caller;

pub fn of(m: &Message) -> Caller {
    // §9.1: one SIP and one tel URI may stand there, of the same caller. The tel URI is its number; the SIP URI's user
    // part may be an extension.
    let (mut tel, mut sip) = (Vec::new(), Vec::new());
    for uri in m.all("P-Asserted-Identity").filter_map(NameAddr::read).map(|n| n.uri) {
        let is_tel = uri.get(..4).is_some_and(|s| s.eq_ignore_ascii_case("tel:"));
        if is_tel { &mut tel } else { &mut sip }.extend(number_of(uri));
    }
    let mut numbers = if tel.is_empty() { sip } else { tel }.into_iter();
    if let Some(number) = numbers.next() {
        let one = numbers.all(|other| other == number);
        return if one { Caller::Asserted(number) } else { Caller::Unidentified };
    }
    // RFC 3323 §4.2, §4.1.1.3.
    let private = m.all("Privacy").flat_map(|v| v.split(';')).any(|p| !p.trim().eq_ignore_ascii_case("none"));
    let from = m.header("From").and_then(NameAddr::read).and_then(|f| user_of(f.uri));
    if private || from.is_some_and(|u| u.eq_ignore_ascii_case("anonymous")) {
        Caller::Anonymous
    } else {
        Caller::Unidentified
    }
}
