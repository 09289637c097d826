//! Who calls: what the trusted proxy asserts (RFC 3325 §9.1). From is never believed.

use crate::message::{Message, NameAddr, user_of};
use crate::output::Caller;
use sipsec_net::TelNumber;

pub fn of(m: &Message) -> Caller {
    let mut asserted = m
        .all("P-Asserted-Identity")
        .filter_map(|v| user_of(NameAddr::parse(v)?.uri))
        .filter_map(|user| user.parse::<TelNumber>().ok());
    if let Some(number) = asserted.next() {
        // §9.1: one SIP and one tel URI may stand there, of the same caller.
        return if asserted.all(|other| other == number) {
            Caller::Asserted(number)
        } else {
            Caller::Unidentified
        };
    }
    // RFC 3323 §4.2, §4.1.1.3.
    let private = m.all("Privacy").flat_map(|v| v.split(';')).any(|p| !p.trim().eq_ignore_ascii_case("none"));
    let from = m.header("From").and_then(NameAddr::parse).and_then(|f| user_of(f.uri));
    if private || from.is_some_and(|u| u.eq_ignore_ascii_case("anonymous")) {
        Caller::Anonymous
    } else {
        Caller::Unidentified
    }
}
