//! RFC 5118: IPv6 in every place where a parser stumbles over it. The messages are those of the archive in its appendix A, with
//! CRLF at the end of lines; where the Content-Length is not that of the body (§4.6, §4.8, §4.9), it is corrected.

use crate::message::{Message, NameAddr, Via, host_addr, user_of};
use crate::sdp::{SdpError, SessionDescription};
use crate::testing::*;
use crate::transport::via::marked;
use std::net::SocketAddr;

/// Message, status for a gateway that does not know the user, and status if the Request-URI names its line.
macro_rules! row {
    ($name:literal, $answer:literal, $to_a_line:literal) => {
        ($name, include_bytes!(concat!("torture_ipv6/", $name, ".sip")), $answer, $to_a_line)
    };
}

#[rustfmt::skip]
const MESSAGES: &[(&str, &[u8], u16, u16)] = &[
    row!("ipv6-good", 405, 405),                     // §4.1
    row!("ipv6-bad", 400, 405),                      // §4.2: an address without brackets
    row!("port-ambiguous", 405, 405),                // §4.3: well-formed, though not what was meant
    row!("port-unambiguous", 405, 405),              // §4.4
    row!("via-received-param-with-delim", 481, 481), // §4.5: either form is taken
    row!("via-received-param-no-delim", 200, 200),
    row!("ipv6-in-sdp", 404, 488),                   // §4.6: readable, and without a VPN
    row!("mult-ip-in-header", 481, 481),             // §4.7
    row!("mult-ip-in-sdp", 404, 488),                // §4.8
    row!("ipv4-mapped-ipv6", 404, 488),              // §4.9
    row!("ipv6-bug-abnf-3-colons", 404, 200),        // §4.10: tolerated
    row!("ipv6-correct-abnf-2-colons", 404, 200),
];

fn status(w: &mut World, bytes: &[u8]) -> Vec<(u16, String)> {
    let before = w.wire.len();
    w.filter = Box::new(|_| true);
    w.inject(A, bytes);
    let answers = w.wire[before..].iter().map(|(_, t)| {
        let status = t.strip_prefix("SIP/2.0 ").and_then(|t| t.get(..3)?.parse().ok()).expect("a response");
        (status, t.clone())
    });
    answers.collect()
}

#[test]
fn each_is_read_as_the_rfc_says() {
    for (name, bytes, unknown, known) in MESSAGES {
        let mut w = World::new();
        let sent = status(&mut w, bytes);
        assert_eq!(sent.iter().map(|(s, _)| *s).collect::<Vec<_>>(), [*unknown], "{name}: {sent:?}");
        // Every Via comes back as it was.
        let text = std::str::from_utf8(bytes).expect("text");
        for via in text.lines().filter_map(|l| l.strip_prefix("Via: ")) {
            assert!(sent[0].1.contains(&format!("\r\nVia: {via}")), "{name}: {}", sent[0].1);
        }
        let (first, rest) = text.split_once("\r\n").expect("a start line");
        let method = first.split(' ').next().expect("a method");
        let mut w = World::new();
        let sent =
            status(&mut w, format!("{method} sip:{}@[2001:db8::10] SIP/2.0\r\n{rest}", number(A)).as_bytes());
        assert_eq!(sent.iter().map(|(s, _)| *s).collect::<Vec<_>>(), [*known], "{name}: {sent:?}");
        assert_eq!(w.nodes[A].ua.stats().malformed, 0, "{name}");
    }
}

fn message(name: &str) -> Message {
    let (_, bytes, ..) = MESSAGES.iter().find(|(n, ..)| *n == name).expect("a message of the RFC");
    Message::parse(bytes).expect(name)
}

fn at(text: &str) -> Option<SocketAddr> {
    Some(text.parse().expect("an address"))
}

/// The description of a message with a line for a VPN at its end.
fn with_vpn(m: &Message, more: &str) -> Result<SessionDescription, SdpError> {
    assert_eq!(SessionDescription::parse(&m.body), Err(SdpError::NoIkeMedia));
    let vpn = format!("m=application 50001 udp ike-esp-udpencap\r\n{more}b=AS:64\r\n");
    SessionDescription::parse(&[&m.body[..], vpn.as_bytes()].concat())
}

/// §4.1: in Request-URI, Via and Contact.
#[test]
fn a_reference_is_read_in_every_field() {
    let m = message("ipv6-good");
    assert_eq!(host_addr(m.uri()), at("[2001:db8::10]:5060"));
    assert_eq!(m.via().and_then(|v| host_addr(v.sent_by)), at("[2001:db8::9:1]:5060"));
    assert_eq!(m.contact_uri().and_then(host_addr), at("[2001:db8::1]:5060"));
    assert_eq!(m.contact_uri().and_then(user_of).as_deref(), Some("caller"));
}

/// §4.2: without brackets it is none, in a Request-URI and elsewhere.
#[test]
fn an_address_without_brackets_is_no_host() {
    assert_eq!(host_addr("sip:2001:db8::10"), None);
    let bytes = include_bytes!("torture_ipv6/ipv6-bad.sip");
    let why = Message::parse(bytes).expect_err("malformed");
    assert_eq!((why.answer.map(|(status, _)| status), why.why), (Some(400), "a malformed Request-URI"));
    let good = include_str!("torture_ipv6/ipv6-good.sip");
    for (from, to, malformed) in [
        ("UDP [2001:db8::9:1]", "UDP 2001:db8::9:1", true),
        ("UDP [2001:db8::9:1]", "UDP [2001:db8::9:1", true),
        ("UDP [2001:db8::9:1]", "UDP [2001:db8::9:1]5070", true),
        ("sip:[2001:db8::10]", "sip:[2001:db8::10]:", true),
        ("sip:[2001:db8::10]", "sip:[2001:db8::g]", true),
        ("sip:[2001:db8::10]", "sip:[2001:DB8:0:0::10];transport=udp", false),
    ] {
        let text = good.replacen(from, to, 1);
        assert_eq!(Message::parse(text.as_bytes()).is_err(), malformed, "{to}");
    }
}

/// §4.3, §4.4: the port stands outside the brackets; what is inside is the address.
#[test]
fn a_port_is_outside_the_brackets() {
    assert_eq!(host_addr(message("port-ambiguous").uri()), at("[2001:db8::10:5070]:5060"));
    assert_eq!(host_addr(message("port-unambiguous").uri()), at("[2001:db8::10]:5070"));
}

/// §4.5: `received` is read with and without brackets, and written without.
#[test]
fn received_has_brackets_or_none() {
    for (name, received) in [
        ("via-received-param-with-delim", "[2001:db8::9:255]"),
        ("via-received-param-no-delim", "2001:db8::9:255"),
    ] {
        let m = message(name);
        let via = m.via().expect("a Via");
        assert_eq!(
            (via.param("received"), host_addr(via.sent_by)),
            (Some(received), at("[2001:db8::9:1]:5060"))
        );
        assert!(via.branch().is_some(), "what follows it is read, too");
    }
    let m = message("ipv6-good");
    let via = m.header("Via").expect("a Via");
    let from = "[2001:db8::9:255]:6000".parse().expect("an address");
    assert_eq!(marked(&m, via, from), format!("{via};received=2001:db8::9:255"));
}

/// §4.6, §4.8, §4.9: addresses in SDP have no brackets; each media line may have its own; an IPv4 address in the form of IPv6 is
/// reached over IPv4.
#[test]
fn addresses_in_descriptions() {
    let addr = |name, more: &str| with_vpn(&message(name), more).map(|s| s.ike.addr.to_string());
    assert_eq!(addr("ipv6-in-sdp", ""), Ok("[2001:db8::20]:50001".into()));
    assert_eq!(addr("ipv6-in-sdp", "c=IN IP6 [2001:db8::20]\r\n"), Err(SdpError::BadConnection));
    assert_eq!(
        addr("mult-ip-in-sdp", ""),
        Err(SdpError::BadConnection),
        "those of foreign media are not ours"
    );
    assert_eq!(addr("mult-ip-in-sdp", "c=IN IP6 2001:db8::7\r\n"), Ok("[2001:db8::7]:50001".into()));
    assert_eq!(addr("mult-ip-in-sdp", "c=IN IP4 192.0.2.7\r\n"), Ok("192.0.2.7:50001".into()));
    assert_eq!(addr("ipv4-mapped-ipv6", ""), Ok("192.0.2.2:50001".into()));
}

/// §4.7: Vias of both versions are read one by one.
#[test]
fn vias_of_both_versions() {
    let m = message("mult-ip-in-header");
    let sent_by: Vec<_> = m.all("Via").map(|v| Via::parse(v).and_then(|v| host_addr(v.sent_by))).collect();
    assert_eq!(sent_by, [at("[2001:db8::9:1]:6050"), at("192.0.2.1:5060"), at("[2001:db8::9:255]:5060")]);
    let last = m.all("Via").last().and_then(Via::parse).expect("a Via");
    assert_eq!(last.param("received"), Some("192.0.2.200"));
}

/// §4.9: also in signalling, with the port outside the brackets.
#[test]
fn a_mapped_address_is_read_in_signalling() {
    let m = message("ipv4-mapped-ipv6");
    assert_eq!(m.via().and_then(|v| host_addr(v.sent_by)), at("[::ffff:192.0.2.10]:19823"));
    assert_eq!(m.contact_uri().and_then(host_addr), at("[::ffff:192.0.2.2]:5060"));
}

/// §4.10: one colon too many, which the grammar of RFC 3261 allows, is passed over.
#[test]
fn a_third_colon_is_passed_over() {
    for name in ["ipv6-bug-abnf-3-colons", "ipv6-correct-abnf-2-colons"] {
        let m = message(name);
        assert_eq!(host_addr(m.uri()), at("[2001:db8::192.0.2.1]:5060"), "{name}");
        let to = m.header("To").and_then(NameAddr::parse).expect("To");
        assert_eq!(host_addr(to.uri), at("[2001:db8::192.0.2.1]:5060"), "{name}");
    }
}
