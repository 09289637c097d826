//! RFC 3261 §8.1.3.5: INVITEs that are refused for their form go once more in another one; and lines whose calls come by another
//! IP version, or whose registration is in doubt.

use super::servers::{Bench, at, over, two, with_two};
use crate::testing::*;
use crate::{Config, Event, Flow, Output, Transport, UserAgent};
use sipsec_net::entropy::TestEntropy;
use sipsec_net::{Fingerprint, HashFunc, Instant};
use std::time::Duration;

const S: Duration = Duration::from_secs(1);

fn invite_of(sent: &[(Flow, String)]) -> Option<&(Flow, String)> {
    sent.iter().find(|(_, t)| t.starts_with("INVITE"))
}

/// The failure that a call ended with.
fn failure(b: &mut Bench) -> String {
    let mut out = String::new();
    while let Some(output) = b.ua.poll_output() {
        if let Output::Event(Event::Failed { failure, .. }) = output {
            out = format!("{failure:?}");
        }
    }
    out
}

/// RFC 3261 §8.1.3.5: without the extensions that a network does not take, once.
#[test]
fn a_420_is_answered_by_an_invite_without_extensions() {
    let mut b = with_two();
    let invite = b.dial();
    assert!(invite.1.contains("Supported:") && invite.1.contains("Session-Expires:"));
    b.answer(&invite, "420", "Unsupported: timer, 100rel\r\n");
    let sent = b.out();
    let again = sent.iter().find(|(_, t)| t.starts_with("INVITE")).expect("once more");
    assert!(!again.1.contains("Supported:") && !again.1.contains("Session-Expires:"), "{}", again.1);
    b.answer(again, "420", "Unsupported: timer\r\n");
    assert!(b.out().iter().all(|(_, t)| !t.starts_with("INVITE")), "not for ever");
}

/// §21.4.11: with the fingerprints of one hash function instead of two; there is nothing else to leave out.
#[test]
fn a_413_is_answered_by_an_invite_with_a_smaller_body() {
    let mut b = with_two();
    let mut offer = sdp(A);
    let print = |hash: HashFunc| Fingerprint::new(hash, &vec![7; hash.digest_len()]).expect("fits");
    offer.ike.fingerprints = vec![print(HashFunc::Sha256), print(HashFunc::Sha512)];
    let call = b.ua.dial(b.now, number(A), number(B), &offer).expect("may dial");
    let _ = call.consume();
    let sent = b.out();
    let invite = invite_of(&sent).expect("sent");
    assert_eq!(invite.1.matches("a=fingerprint:").count(), 2);
    b.answer(invite, "413", "");
    let sent = b.out();
    let again = invite_of(&sent).expect("once more");
    assert!(again.1.contains("a=fingerprint:sha-512 ") && !again.1.contains("sha-256"), "{}", again.1);
    assert_eq!(field(&again.1, "CSeq"), "2 INVITE");
    assert!(again.1.contains("o=- 1000 1001 IN"), "RFC 3264 §8: another version: {}", again.1);
    b.answer(again, "413", "");
    assert!(failure(&mut b).contains("status: 413"));
    // A server that is full for a while says so: the size is not the point.
    let mut b = with_two();
    let invite = b.dial();
    b.answer(&invite, "413", "Retry-After: 10\r\n");
    assert!(failure(&mut b).contains("retry_after_s: Some(10)"));
}

/// §21.4.13: SDP is all we have. If it is taken, something beside it was not; if not, the failure says what would be.
#[test]
fn a_415_is_answered_once_if_sdp_is_taken() {
    let mut b = with_two();
    let invite = b.dial();
    assert!(invite.1.contains("Accept:"));
    b.answer(&invite, "415", "Accept: application/sdp, text/plain\r\n");
    let sent = b.out();
    let again = invite_of(&sent).expect("once more");
    assert!(!again.1.contains("Accept:") && again.1.contains("Content-Type: application/sdp"), "{}", again.1);
    b.answer(again, "415", "Accept: application/sdp\r\n");
    assert!(failure(&mut b).contains("status: 415"), "not for ever");
    let mut b = with_two();
    let invite = b.dial();
    b.answer(&invite, "415", "Accept: multipart/mixed\r\n");
    let failed = failure(&mut b);
    assert!(failed.contains("it takes multipart/mixed and no application/sdp"), "{failed}");
}

/// §21.4.14: a URI of a redirection that is not understood gives way to the SIP URI of the number.
#[test]
fn a_416_is_answered_with_the_sip_uri_of_the_number() {
    let (first, _) = two();
    let mut lines = config(A).lines;
    lines[0].auth = None;
    let config = Config { registrars: vec![first], lines, redirects_max: 1, ..config(A) };
    let mut b = Bench { ua: UserAgent::new(config, Box::new(TestEntropy::new(5))), now: Instant::ZERO + S };
    b.locals(Some("198.51.100.11:5060"), None);
    let register = b.out().remove(0);
    b.answer(&register, "200", "");
    let invite = b.dial();
    b.answer(&invite, "302", &format!("Contact: <sip:{};isub=1@gw.example>\r\n", number(B)));
    let sent = b.out();
    let moved = invite_of(&sent).expect("followed").clone();
    assert!(moved.1.starts_with(&format!("INVITE sip:{};isub=1@gw.example ", number(B))), "{}", moved.1);
    b.answer(&moved, "416", "");
    let sent = b.out();
    let again = invite_of(&sent).expect("once more");
    assert!(again.1.starts_with(&format!("INVITE sip:{}@carrier.example ", number(B))), "{}", again.1);
    b.answer(again, "416", "");
    assert!(failure(&mut b).contains("status: 416"), "it is the SIP URI already");
}

/// A carrier that takes REGISTER over IPv4 and calls over IPv6 finds an IPv6 address among the Contacts, and the new one when
/// that address changes alone.
#[test]
fn a_registration_names_the_address_for_calls_of_the_other_ip_version() {
    let v4 = over(Transport::Udp, "198.51.100.10:5060");
    let v6 = over(Transport::Udp, "[2001:db8::10]:5060");
    let mut b = Bench::new(vec![v4.clone()], vec![v6]);
    b.locals(Some("198.51.100.11:5060"), Some("[2001:db8::11]:5060"));
    let register = b.out().remove(0);
    let contacts = |text: &str| -> Vec<String> {
        text.lines().filter_map(|l| l.strip_prefix("Contact: ")).map(str::to_owned).collect()
    };
    let expected = ["<sip:0388881001@198.51.100.11:5060>", "<sip:0388881001@[2001:db8::11]:5060>"];
    assert_eq!(contacts(&register.1), expected);
    let bound = expected.map(|c| format!("Contact: {c};expires=600\r\n")).concat();
    b.answer(&register, "200", &bound);
    assert!(b.ua.is_registered(number(A)));
    b.locals(Some("198.51.100.11:5060"), Some("[2001:db8::99]:5060"));
    let sent = b.out();
    let again = sent.iter().find(|(_, t)| t.starts_with("REGISTER")).expect("registers again");
    assert_eq!(contacts(&again.1)[1], "<sip:0388881001@[2001:db8::99]:5060>");
    assert_eq!(again.0.remote, at("198.51.100.10:5060"));
    assert!(b.ua.is_registered(number(A)), "the binding of IPv4 stands");
    // One IP version for both: one Contact.
    let mut b = Bench::new(vec![v4.clone()], vec![v4]);
    b.locals(Some("198.51.100.11:5060"), Some("[2001:db8::11]:5060"));
    assert_eq!(contacts(&b.out().remove(0).1).len(), 1);
}

/// RFC 5626 §4.4: a connection that ends makes its line register again. Once more within 30 s it is not done at once, and not
/// forgotten.
#[test]
fn a_connection_that_ends_twice_makes_the_line_register_twice() {
    let mut b = Bench::new(vec![over(Transport::Tcp, "198.51.100.10:5060")], Vec::new());
    b.locals(Some("198.51.100.11:5060"), None);
    let register = |sent: &[(Flow, String)]| sent.iter().find(|(_, t)| t.starts_with("REGISTER")).cloned();
    let first = register(&b.out()).expect("registers");
    b.answer(&first, "200", "");
    b.ua.handle_flow_closed(b.now, first.0.id, "reset");
    let second = register(&b.out()).expect("at once");
    assert_ne!(second.0.id, first.0.id);
    b.answer(&second, "200", "");
    b.now = b.now + 5 * S;
    b.ua.handle_flow_closed(b.now, second.0.id, "reset");
    assert_eq!(register(&b.out()), None, "not at once again");
    b.now = b.now + 26 * S;
    assert!(b.ua.poll_timeout().is_some_and(|at| at <= b.now), "{:?}", b.ua.poll_timeout());
    b.ua.handle_timeout(b.now);
    let third = register(&b.out()).expect("when 30 s are over");
    b.answer(&third, "200", "");
    assert!(b.ua.is_registered(number(A)));
}
