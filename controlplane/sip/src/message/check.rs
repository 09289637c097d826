//! Mandatory fields (RFC 3261 §8.1.1), and faults that make a message ambiguous.
//!
//! A request that breaks a rule on a field that decides something is refused. A response is never lost because of another
//! field: the call has already cost something, and Via and CSeq are enough to know what it answers (RFC 3261 §17.1.3). Its
//! unreadable fields count as absent. The same holds for ACK, BYE and CANCEL: an ACK cannot be refused, and a peer that is
//! refused its BYE has left the call all the same.

use super::frame::{Fault, Frame, Malformed};
use super::grammar::{COOKIE, NameAddr, Via, host_port};
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

pub fn check(frame: Frame) -> Result<Message, Malformed> {
    let Frame { message: mut m, octets, fault } = frame;
    if m.status().is_some() {
        return response(m, octets, fault);
    }
    if matches!(m.method(), Some("ACK" | "BYE" | "CANCEL")) {
        return ending(m, octets, fault);
    }
    match fault.or_else(|| request(&m, octets)) {
        Some((status, why)) => Err(Malformed::new(status, m, why)),
        None => {
            // RFC 3261 §18.3: Content-Length bounds the body; what follows it in the datagram is discarded.
            if let Some(length) = m.header("Content-Length").and_then(digits) {
                m.body.truncate(usize::try_from(length).unwrap_or(usize::MAX));
            }
            if m.may_ignore_body() {
                m.body.clear();
            }
            Ok(m)
        }
    }
}

/// ACK, BYE and CANCEL.
fn ending(mut m: Message, octets: usize, fault: Fault) -> Result<Message, Malformed> {
    let version = fault.filter(|(status, _)| *status == 505);
    if let Some((status, why)) = version.or_else(|| identity(&m)) {
        return Err(Malformed::new(status, m, why));
    }
    if ["From", "To"].iter().any(|name| m.header(name).and_then(NameAddr::read).is_none()) {
        return Err(Malformed::new(400, m, "a malformed name or address"));
    }
    match m.header("Content-Length").and_then(digits) {
        // A body that is cut off says nothing.
        Some(length) if length > octets as u64 => m.body.clear(),
        Some(length) => m.body.truncate(usize::try_from(length).unwrap_or(usize::MAX)),
        None => {}
    }
    Ok(m)
}

fn response(mut m: Message, octets: usize, fault: Fault) -> Result<Message, Malformed> {
    if m.cseq_method().is_none() {
        return Err(Malformed::drop("a CSeq without a method"));
    }
    if m.via().is_none() {
        return Err(Malformed::drop("a malformed Via"));
    }
    let lengths: Vec<_> = m.all("Content-Length").map(digits).collect();
    let length = match lengths[..] {
        [length] => length,
        // Unreadable, or two of them: as if it were absent (§18.3: the body ends with the datagram).
        _ => None,
    };
    match length {
        // §18.3: MUST be discarded.
        Some(length) if length > octets as u64 => {
            return Err(Malformed::drop("the datagram ends before the body"));
        }
        Some(length) => m.body.truncate(usize::try_from(length).unwrap_or(usize::MAX)),
        None => {}
    }
    m.flaw = fault.map(|(_, why)| why).or_else(|| flaw(&m));
    Ok(m)
}

/// A fault of a response, which is used all the same.
fn flaw(m: &Message) -> Option<&'static str> {
    if SINGLE.iter().any(|name| m.all(name).count() > 1) {
        return Some("two of a header field of which there is one");
    }
    for name in ["From", "To", "Call-ID"] {
        if m.header(name).is_none_or(str::is_empty) {
            return Some("no From, To or Call-ID");
        }
    }
    if m.cseq().is_none() {
        return Some("a CSeq that is no number and method");
    }
    if !has_whole_via(m) {
        return Some("a malformed parameter of Via");
    }
    let unreadable = |name| m.all(name).any(|v| NameAddr::parse(v).is_none());
    if ["From", "To", "Contact", "Record-Route"].into_iter().any(unreadable) {
        return Some("a malformed name or address");
    }
    m.header("Content-Length").is_some_and(|l| digits(l).is_none()).then_some("a malformed Content-Length")
}

/// Whether every parameter of the topmost Via can be read.
fn has_whole_via(m: &Message) -> bool {
    m.header("Via").is_some_and(|via| Via::parse(via).is_some())
}

fn request(m: &Message, octets: usize) -> Fault {
    if SINGLE.iter().any(|name| m.all(name).count() > 1) {
        return Some((400, "two of a header field of which there is one"));
    }
    let via = || (!has_whole_via(m)).then_some((400, "a malformed Via"));
    identity(m).or_else(via).or_else(|| content(m, octets))
}

/// The fields by which a request is matched and answered.
fn identity(m: &Message) -> Fault {
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
    let method = m.method().unwrap_or_default();
    let unknown = !METHODS.contains(&method);
    let Some((_, cseq_method)) = m.cseq() else { return Some((400, "a CSeq that is no number and method")) };
    if method != cseq_method {
        return Some((if unknown { 501 } else { 400 }, "the method of CSeq is not the request's"));
    }
    // RFC 3261 §18.2.2: without a readable sent-by the answer has no way back. The Vias below it are only repeated.
    let top = m.via();
    if top.as_ref().is_none_or(|v| host_port(v.sent_by).is_none()) {
        return Some((400, "a malformed Via"));
    }
    // RFC 4475 §3.2.1: the cookie alone. A branch without it is of RFC 2543, and matched otherwise.
    if top.is_some_and(|v| v.param("branch").is_some_and(|b| b.eq_ignore_ascii_case(COOKIE))) {
        return Some((400, "a branch that is nothing but the cookie"));
    }
    None
}

/// The fields by which it is judged.
fn content(m: &Message, octets: usize) -> Fault {
    let method = m.method().unwrap_or_default();
    let unknown = !METHODS.contains(&method);
    let mut named = vec!["From", "To"];
    match method {
        // These fields make the dialog.
        "INVITE" => named.extend(["Contact", "Record-Route"]),
        "UPDATE" | "SUBSCRIBE" | "REFER" | "NOTIFY" | "REGISTER" => named.push("Contact"),
        _ => {}
    }
    for name in named {
        let every = if name == "Contact" { 1 } else { usize::MAX };
        let bad = |v: &str| NameAddr::parse(v).is_none() && !(name == "Contact" && v == "*");
        if m.all(name).take(every).any(bad) {
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
    request_uri(m.uri()).or(unknown.then_some((501, "a method that no RFC defines")))
}

/// RFC 3261 §8.2.2.1, §19.1.1: SIP URIs without headers and brackets, with a host that can be one; other schemes are not
/// ours.
fn request_uri(uri: &str) -> Fault {
    let Some((scheme, rest)) = uri.split_once(':') else {
        return Some((400, "a Request-URI without a scheme"));
    };
    if uri.starts_with('<') || rest.is_empty() {
        return Some((400, "a malformed Request-URI"));
    }
    if scheme.eq_ignore_ascii_case("tel") {
        return None;
    }
    if !scheme.eq_ignore_ascii_case("sip") && !scheme.eq_ignore_ascii_case("sips") {
        return Some((416, "a Request-URI of another scheme"));
    }
    // A question mark may stand in the user part.
    let host = rest.rsplit_once('@').map_or(rest, |(_, h)| h);
    let bad = host.contains(['?', '<', '>', '"'])
        || host.split(';').next().is_none_or(|host| host_port(host).is_none());
    bad.then_some((400, "a malformed Request-URI"))
}

/// Whether requests of a dialog may go to this URI (RFC 3261 §8.1.1.8: one SIP or SIPS URI).
pub fn is_sip_uri(uri: &str) -> bool {
    let is = |scheme: &str| scheme.eq_ignore_ascii_case("sip") || scheme.eq_ignore_ascii_case("sips");
    request_uri(uri).is_none() && uri.split_once(':').is_some_and(|(scheme, _)| is(scheme))
}
