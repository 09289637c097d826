//! RFC 5118: IPv6 in every place where a parser stumbles over it. The messages are those of its text; where the printed
//! Content-Length is not that of the printed body, the length is corrected.

use crate::testing::*;

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
