//! What every message must have (RFC 3261 §8.1.1), and what makes one ambiguous.

use super::frame::Malformed;
use super::grammar::{COOKIE, NameAddr, Via};
use super::{Message, digits};

/// Methods that some RFC defines. RFC 3261 §21.5.2: any other is 501, not 405.
const METHODS: [&str; 14] = [
    "INVITE",
    "ACK",
    "BYE",
    "CANCEL",
    "OPTIONS",
    "REGISTER",
    "PRACK",
    "UPDATE",
    "INFO",
    "MESSAGE",
    "NOTIFY",
    "PUBLISH",
    "REFER",
    "SUBSCRIBE",
];

/// RFC 4475 §3.3.8: of these a message has one.
const SINGLE: [&str; 6] = ["Call-ID", "CSeq", "From", "To", "Max-Forwards", "Content-Length"];

pub fn check(mut m: Message, octets: usize) -> Result<Message, Malformed> {
    match fault(&m, octets) {
        Some((status, why)) => Err(Malformed::new(status, m, why)),
        None => {
            // RFC 3261 §18.3: Content-Length bounds the body; what follows it in the datagram is discarded.
            if let Some(length) = m.header("Content-Length").and_then(digits) {
                m.body.truncate(usize::try_from(length).unwrap_or(usize::MAX));
            }
            Ok(m)
        }
    }
}

fn fault(m: &Message, octets: usize) -> Option<(u16, &'static str)> {
    if SINGLE.iter().any(|name| m.all(name).count() > 1) {
        return Some((400, "two of a header field of which there is one"));
    }
    for (name, why) in [
        ("Via", "no Via"),
        ("From", "no From"),
        ("To", "no To"),
        ("Call-ID", "no Call-ID"),
        ("CSeq", "no CSeq"),
    ] {
        if m.header(name).is_none_or(str::is_empty) {
            return Some((400, why));
        }
    }
    let unknown = m.method().is_some_and(|method| !METHODS.contains(&method));
    let Some((_, cseq_method)) = m.cseq() else { return Some((400, "a CSeq that is no number and method")) };
    if m.method().is_some_and(|method| method != cseq_method) {
        return Some((if unknown { 501 } else { 400 }, "the method of CSeq is not the request's"));
    }
    if m.all("Via").any(|v| Via::parse(v).is_none()) {
        return Some((400, "a malformed Via"));
    }
    // RFC 4475 §3.2.1: the cookie alone. A branch without it is of RFC 2543, and matched otherwise.
    if m.via().is_some_and(|v| v.param("branch").is_some_and(|b| b.eq_ignore_ascii_case(COOKIE))) {
        return Some((400, "a branch that is nothing but the cookie"));
    }
    for name in ["From", "To", "Contact", "Route", "Record-Route"] {
        if m.all(name).any(|v| NameAddr::parse(v).is_none() && !(name == "Contact" && v == "*")) {
            return Some((400, "a malformed name or address"));
        }
    }
    // RFC 3261 §12.1.1: peers of RFC 2543 send none.
    if m.from_tag().is_some_and(str::is_empty) {
        return Some((400, "an empty tag in From"));
    }
    if let Some(length) = m.header("Content-Length") {
        match digits(length) {
            Some(length) if length <= octets as u64 => {}
            Some(_) => return Some((400, "the datagram ends before the body")),
            None => return Some((400, "a malformed Content-Length")),
        }
    }
    if m.method().is_some() {
        return request_uri(m.uri()).or(unknown.then_some((501, "a method that nobody defined")));
    }
    None
}

/// RFC 3261 §8.2.2.1, §19.1.1: of SIP URIs no headers and no brackets; other schemes are not ours.
fn request_uri(uri: &str) -> Option<(u16, &'static str)> {
    let Some((scheme, rest)) = uri.split_once(':') else {
        return Some((400, "a Request-URI without a scheme"));
    };
    if uri.starts_with('<') || rest.is_empty() {
        return Some((400, "a malformed Request-URI"));
    }
    if !scheme.eq_ignore_ascii_case("sip")
        && !scheme.eq_ignore_ascii_case("sips")
        && !scheme.eq_ignore_ascii_case("tel")
    {
        return Some((416, "a Request-URI of another scheme"));
    }
    // A question mark may stand in the user part.
    let host = rest.rsplit_once('@').map_or(rest, |(_, h)| h);
    host.contains(['?', '<', '>', '"']).then_some((400, "a malformed Request-URI"))
}

/// What a dialog may send its requests to (RFC 3261 §8.1.1.8: one SIP or SIPS URI).
pub fn is_sip_uri(uri: &str) -> bool {
    let is = |scheme: &str| scheme.eq_ignore_ascii_case("sip") || scheme.eq_ignore_ascii_case("sips");
    request_uri(uri).is_none() && uri.split_once(':').is_some_and(|(scheme, _)| is(scheme))
}
