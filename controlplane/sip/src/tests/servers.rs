//! Servers, families and transports: where requests go, and who is heard.

use crate::testing::*;
use crate::{Config, Flow, Locals, Output, Target, Transport, UserAgent};
use sipsec_net::Instant;
use sipsec_net::entropy::TestEntropy;
use std::net::SocketAddr;
use std::time::Duration;

const S: Duration = Duration::from_secs(1);

pub(super) fn at(text: &str) -> SocketAddr {
    text.parse().expect("an address")
}

pub(super) fn over(transport: Transport, addr: &str) -> Target {
    Target { transport, ..Target::udp(at(addr)) }
}

/// One user agent whose carrier is this test.
pub(super) struct Bench {
    pub(super) ua: UserAgent,
    pub(super) now: Instant,
}

impl Bench {
    pub(super) fn new(registrars: Vec<Target>, proxies: Vec<Target>) -> Self {
        let mut lines = config(A).lines;
        lines[0].auth = None;
        let config = Config { registrars, proxies, lines, ..config(A) };
        Self { ua: UserAgent::new(config, Box::new(TestEntropy::new(5))), now: Instant::ZERO + S }
    }

    pub(super) fn locals(&mut self, v4: Option<&str>, v6: Option<&str>) {
        self.ua.set_locals(self.now, Locals { v4: v4.map(at), v6: v6.map(at) });
    }

    /// What is sent and opened now; records are written at once.
    pub(super) fn out(&mut self) -> Vec<(Flow, String)> {
        let mut out = Vec::new();
        while let Some(output) = self.ua.poll_output() {
            match output {
                Output::Transmit { flow, bytes } => out.push((flow, String::from_utf8(bytes).expect("text"))),
                Output::Open { flow, name } => out.push((flow, format!("open {}", name.unwrap_or_default()))),
                Output::Persist { call, record: Some(_), .. } => self.ua.persisted(self.now, call),
                Output::Persist { .. } | Output::Event(_) => {}
            }
        }
        out
    }

    pub(super) fn answer(&mut self, (flow, request): &(Flow, String), status: &str, more: &str) {
        let head = ["Via", "From", "To", "Call-ID", "CSeq"]
            .map(|n| format!("{n}: {}\r\n", field(request, n)))
            .concat()
            .replace("carrier.example>\r\nCall-ID", "carrier.example>;tag=p\r\nCall-ID");
        let text = format!("SIP/2.0 {status} X\r\n{head}{more}Content-Length: 0\r\n\r\n");
        self.ua.handle_message(self.now, flow, text.as_bytes());
    }

    pub(super) fn dial(&mut self) -> (Flow, String) {
        let call = self.ua.dial(self.now, number(A), number(B), &sdp(A)).expect("may dial");
        // The test looks at what is sent; the call is the user agent's to end.
        let _ = call.consume();
        let sent = self.out();
        sent.into_iter().find(|(_, t)| t.starts_with("INVITE")).expect("sent")
    }
}

#[test]
fn register_goes_by_one_family_and_calls_by_the_other() {
    let v4 = over(Transport::Udp, "198.51.100.10:5060");
    let v6 = over(Transport::Udp, "[2001:db8::10]:5060");
    let mut b = Bench::new(vec![v4], vec![v6]);
    b.locals(Some("198.51.100.11:5060"), Some("[2001:db8::11]:5060"));
    let sent = b.out();
    let [register] = &sent[..] else { panic!("{sent:?}") };
    assert_eq!(register.0, Flow::udp(at("198.51.100.11:5060"), at("198.51.100.10:5060")));
    assert!(register.1.contains("Contact: <sip:0388881001@198.51.100.11:5060>\r\n"));
    b.answer(register, "200", "");
    assert!(b.ua.is_registered(number(A)));
    let (flow, invite) = b.dial();
    assert_eq!(flow, Flow::udp(at("[2001:db8::11]:5060"), at("[2001:db8::10]:5060")));
    assert!(invite.contains("Via: SIP/2.0/UDP [2001:db8::11]:5060;branch="));
    assert!(invite.contains("Contact: <sip:0388881001@[2001:db8::11]:5060>\r\n"));
    // Both are trusted, and no other.
    assert!(b.ua.trusts(at("198.51.100.10:5060")) && b.ua.trusts(at("[2001:db8::10]:9")));
    assert!(!b.ua.trusts(at("198.51.100.9:5060")));
    // The registration does not depend on the address that calls use.
    b.locals(Some("198.51.100.11:5060"), None);
    assert!(b.ua.is_registered(number(A)));
    assert!(b.out().iter().all(|(_, t)| !t.starts_with("REGISTER")));
    let refused = b.ua.dial(b.now, number(A), number(B), &sdp(A)).map(crate::Call::consume);
    assert_eq!(refused, Err(crate::DialError::NoAddress));
    b.locals(None, Some("[2001:db8::11]:5060"));
    assert!(!b.ua.is_registered(number(A)));
}

#[test]
fn a_connection_is_opened_once_named_in_via_and_contact_and_reused() {
    let name = Some("sip.carrier.example".to_owned());
    let tls = Target { name: name.clone(), ..over(Transport::Tls, "198.51.100.10:5061") };
    let mut b = Bench::new(vec![tls.clone()], Vec::new());
    b.locals(Some("198.51.100.11:5061"), None);
    let sent = b.out();
    let [open, register] = &sent[..] else { panic!("{sent:?}") };
    assert_eq!((open.0, &*open.1), (register.0, "open sip.carrier.example"));
    assert!(register.1.contains("Via: SIP/2.0/TLS 198.51.100.11:5061;branch="));
    assert!(register.1.contains("Contact: <sip:0388881001@198.51.100.11:5061;transport=tls>\r\n"));
    b.answer(register, "200", "Contact: <sip:0388881001@198.51.100.11:5061;transport=tls>;expires=600\r\n");
    assert!(b.ua.is_registered(number(A)));
    let (flow, invite) = b.dial();
    assert_eq!(flow, register.0, "one connection for both");
    // Nothing is sent again over it: only timer B ends the wait.
    b.ua.handle_timeout(b.now);
    let next = b.ua.poll_timeout().expect("timer B");
    assert_eq!(next.saturating_duration_since(b.now), 32 * S);
    // When it is closed, another is opened.
    b.ua.handle_flow_closed(b.now, flow.id, "closed");
    let sent = b.out();
    assert!(sent[0].1.starts_with("open") && sent[0].0.id != flow.id, "{sent:?}");
    assert_eq!((sent[0].0.transport, sent[0].0.remote), (Transport::Tls, tls.addr));
    let again = sent.iter().find(|(_, t)| t.starts_with("INVITE")).expect("sent again");
    assert_eq!(again.1, invite);
    b.answer(again, "486", "");
    let ack = b.out().remove(0);
    assert!(ack.1.starts_with("ACK") && ack.0 == again.0, "{ack:?}");
}

/// The servers through which live calls were made are heard until these calls have ended.
#[test]
fn former_servers_are_heard_as_long_as_their_calls() {
    let old = over(Transport::Udp, "198.51.100.10:5060");
    let (new, newer) =
        (over(Transport::Udp, "198.51.100.20:5060"), over(Transport::Udp, "198.51.100.30:5060"));
    let mut b = Bench::new(vec![old.clone()], Vec::new());
    b.locals(Some("198.51.100.11:5060"), None);
    let register = b.out().remove(0);
    b.answer(&register, "200", "");
    let invite = b.dial();
    b.ua.set_servers(b.now, std::slice::from_ref(&new), &[], "carrier.example");
    let again = b.out();
    assert_eq!(again[0].0.remote, new.addr, "registered anew");
    b.ua.set_servers(b.now, &[newer.clone(), new.clone()], &[], "carrier.example");
    assert!(b.out().is_empty(), "its registrar is still one of them");
    for t in [&old, &new, &newer] {
        assert!(b.ua.trusts(t.addr), "{t}");
    }
    b.answer(&invite, "486", "");
    assert!(b.out()[0].1.starts_with("ACK"));
    b.ua.set_servers(b.now, std::slice::from_ref(&newer), &[], "carrier.example");
    assert!(!b.ua.trusts(old.addr) && b.ua.trusts(newer.addr));
}

/// RFC 3261 §18.2.2: a response goes over the connection of its request, or, when that is closed, to the port of Via.
#[test]
fn responses_go_over_their_connection_or_a_new_one() {
    let tcp = over(Transport::Tcp, "198.51.100.10:5060");
    let mut b = Bench::new(vec![tcp], Vec::new());
    b.locals(Some("198.51.100.11:5060"), None);
    let register = b.out().remove(1);
    b.answer(&register, "200", "");
    let theirs = Flow {
        transport: Transport::Tcp,
        local: at("198.51.100.11:5060"),
        remote: at("198.51.100.10:40123"),
        id: crate::FlowId::accepted(1),
    };
    let text = |method: &str, cseq: u32| {
        let body = sdp(B).to_string();
        let body = if method == "INVITE" { body.as_str() } else { "" };
        format!(
            "{method} sip:0388881001@198.51.100.11:5060 SIP/2.0\r\nVia: SIP/2.0/TCP 198.51.100.10:5070;branch=z9hG4bKt{cseq}\r\n\
             From: <sip:0388882001@carrier.example>;tag=f\r\nTo: <sip:0388881001@carrier.example>\r\nCall-ID: tcp\r\n\
             CSeq: {cseq} {method}\r\nContact: <sip:x@198.51.100.10:5070;transport=tcp>\r\n\
             Content-Type: application/sdp\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        )
    };
    b.ua.handle_message(b.now, &theirs, text("INVITE", 1).as_bytes());
    let mut call = None;
    let mut trying = None;
    while let Some(output) = b.ua.poll_output() {
        match output {
            Output::Transmit { flow, .. } => trying = Some(flow),
            Output::Event(crate::Event::Incoming { call: c, .. }) => call = Some(c),
            _ => {}
        }
    }
    assert_eq!(trying, Some(theirs));
    b.ua.handle_flow_closed(b.now, theirs.id, "closed");
    b.ua.reject(b.now, call.expect("a call"), 486);
    let sent = b.out();
    assert!(sent[0].1.starts_with("open") && sent[1].1.starts_with("SIP/2.0 486"), "{sent:?}");
    assert_eq!(sent[1].0.remote, at("198.51.100.10:5070"));
}

/// Time passes, timers fire in order.
fn wait(b: &mut Bench, time: Duration) -> Vec<(Flow, String)> {
    let end = b.now + time;
    let mut sent = Vec::new();
    while let Some(at) = b.ua.poll_timeout().filter(|at| *at <= end) {
        b.now = b.now.max(at);
        b.ua.handle_timeout(b.now);
        sent.extend(b.out());
    }
    b.now = end;
    sent
}

pub(super) fn two() -> (Target, Target) {
    (over(Transport::Udp, "198.51.100.10:5060"), over(Transport::Udp, "198.51.100.20:5060"))
}

/// A bench whose line is registered with the first of two servers.
pub(super) fn with_two() -> Bench {
    let (first, second) = two();
    let mut b = Bench::new(vec![first, second], Vec::new());
    b.locals(Some("198.51.100.11:5060"), None);
    let register = b.out().remove(0);
    b.answer(&register, "200", "");
    b
}

/// RFC 3263 §4.3: a registrar that says nothing, or 503, is left for the next; the first gets its turn again later.
#[test]
fn a_registrar_that_fails_is_left_for_the_next() {
    let (first, second) = two();
    for refused in [false, true] {
        let mut b = Bench::new(vec![first.clone(), second.clone()], Vec::new());
        b.locals(Some("198.51.100.11:5060"), None);
        let register = b.out().remove(0);
        assert_eq!(register.0.remote, first.addr);
        let elsewhere = if refused {
            b.answer(&register, "503", "Retry-After: 40\r\n");
            b.out()
        } else {
            wait(&mut b, 9 * S)
        };
        let next = elsewhere.iter().find(|(f, _)| f.remote == second.addr).expect("the second is tried");
        b.answer(next, "200", "Expires: 60\r\n");
        assert!(b.ua.is_registered(number(A)));
        assert_eq!(b.ua.stats().failed_over, 1);
        // Calls go where the line is registered.
        assert_eq!(b.dial().0.remote, second.addr);
        let later = wait(&mut b, 50 * S);
        let again = later.iter().find(|(_, t)| t.starts_with("REGISTER")).expect("a refresh");
        assert_eq!(again.0.remote, if refused { second.addr } else { again.0.remote });
    }
}

#[test]
fn all_servers_down_is_a_failure_with_back_off() {
    let (first, second) = two();
    let mut b = Bench::new(vec![first, second], Vec::new());
    b.locals(Some("198.51.100.11:5060"), None);
    let first_try = b.out();
    let sent = [first_try, wait(&mut b, 120 * S)].concat();
    let registers = sent.iter().filter(|(_, t)| t.starts_with("REGISTER")).count();
    assert!((12..80).contains(&registers), "{registers}");
    assert!(!b.ua.is_registered(number(A)));
    let view = b.ua.registrations().next().expect("a line");
    assert!(view.last_failure.is_some_and(|why| why.contains("no answer")));
}

/// The same request, so that an INVITE which arrived twice makes one call.
#[test]
fn an_invite_without_an_answer_goes_to_the_next_server_as_the_same_request() {
    let (_, second) = two();
    let mut b = with_two();
    let invite = b.dial();
    let sent = wait(&mut b, 9 * S);
    let again = sent.iter().find(|(f, t)| f.remote == second.addr && t.starts_with("INVITE")).expect("sent");
    for name in ["Call-ID", "CSeq", "From", "To"] {
        assert_eq!(field(&invite.1, name), field(&again.1, name));
    }
    assert_ne!(field(&invite.1, "Via"), field(&again.1, "Via"), "another transaction");
    // The line moves as well.
    assert!(sent.iter().any(|(f, t)| f.remote == second.addr && t.starts_with("REGISTER")));
    // An answer to the first that comes late is hung up: it would be a second call.
    b.answer(again, "200", "Contact: <sip:x@192.0.2.1>\r\n");
    let _ = b.out();
    let (flow, text) = (invite.0, invite.1.clone());
    let late = text.replace("carrier.example>\r\nCall-ID", "carrier.example>;tag=other\r\nCall-ID");
    b.answer(&(flow, late), "200", "Contact: <sip:y@192.0.2.2>\r\n");
    let hung_up = b.out();
    assert!(hung_up.iter().any(|(_, t)| t.starts_with("BYE") && t.contains("tag=other")), "{hung_up:?}");
}

#[test]
fn a_503_after_ringing_is_the_called_sides_answer() {
    let (first, second) = two();
    let mut b = with_two();
    let invite = b.dial();
    b.answer(&invite, "180", "");
    b.answer(&invite, "503", "");
    assert!(b.out().iter().all(|(f, _)| f.remote != second.addr));
    assert_eq!(b.dial().0.remote, first.addr, "its server is not taken for down");
}

/// The server of a live call fails: the call stays, and its BYE goes through the other one.
#[test]
fn a_live_call_outlives_its_server_and_is_hung_up_through_the_other() {
    let (first, second) = two();
    let mut b = with_two();
    let call = b.ua.dial(b.now, number(A), number(B), &sdp(A)).expect("may dial");
    let sent = b.out();
    let invite = sent.iter().find(|(_, t)| t.starts_with("INVITE")).expect("sent");
    let body = sdp(B).to_string();
    let head = ["Via", "From", "To", "Call-ID", "CSeq"]
        .map(|n| format!("{n}: {}\r\n", field(&invite.1, n)))
        .concat();
    let answer = format!(
        "SIP/2.0 200 OK\r\n{}Contact: <sip:x@192.0.2.1>\r\nRecord-Route: <sip:{};lr>\r\n\
         Content-Type: application/sdp\r\nContent-Length: {}\r\n\r\n{body}",
        head.replace("carrier.example>\r\nCall-ID", "carrier.example>;tag=p\r\nCall-ID"),
        first.addr.ip(),
        body.len()
    );
    b.ua.handle_message(b.now, &invite.0, answer.as_bytes());
    assert!(b.out().iter().any(|(_, t)| t.starts_with("ACK")));
    // The set of servers changes under the call: nothing happens to it.
    b.ua.set_servers(b.now, &[second.clone(), first.clone()], &[], "carrier.example");
    assert!(b.out().is_empty());
    b.ua.hang_up(b.now, call);
    let bye = b.out().remove(0);
    assert_eq!(bye.0.remote, first.addr);
    assert!(bye.1.contains("Route: <sip:198.51.100.10;lr>"));
    let sent = wait(&mut b, 9 * S);
    let again = sent.iter().find(|(f, t)| f.remote == second.addr && t.starts_with("BYE")).expect("sent");
    assert!(!again.1.contains("Route:"), "no way through the server that failed");
    b.answer(again, "200", "");
    let _ = b.out();
    assert_eq!(b.ua.live_dialogs(), 0);
}

/// RFC 3261 §18.1.1: by TCP if large, and by UDP where TCP is refused; the refusal is remembered.
#[test]
fn a_large_request_goes_by_tcp_or_falls_back() {
    let long = "x".repeat(1300);
    let mut lines = config(A).lines;
    lines[0].auth = None;
    let config = Config { lines, user_agent: Some(long), ..config(A) };
    let ua = UserAgent::new(config, Box::new(TestEntropy::new(5)));
    let mut b = Bench { ua, now: Instant::ZERO + S };
    b.locals(Some("198.51.100.11:5060"), None);
    let sent = b.out();
    let [open, register] = &sent[..] else { panic!("{sent:?}") };
    assert_eq!((open.0.transport, register.0), (Transport::Tcp, open.0));
    assert!(register.1.contains("Via: SIP/2.0/TCP 198.51.100.11:5060;branch="));
    assert_eq!(b.ua.stats().oversize, 1);
    b.ua.handle_flow_closed(b.now, open.0.id, "refused");
    let sent = b.out();
    let [again] = &sent[..] else { panic!("{sent:?}") };
    assert_eq!(again.0.transport, Transport::Udp);
    assert!(again.1.contains("Via: SIP/2.0/UDP 198.51.100.11:5060;branch="));
    assert_eq!(wait(&mut b, S).len(), 1, "repeated as over UDP");
    b.answer(again, "200", "Expires: 60\r\n");
    assert!(b.ua.is_registered(number(A)));
    let later = wait(&mut b, 31 * S);
    let refresh = later.iter().find(|(_, t)| t.starts_with("REGISTER")).expect("a refresh");
    assert_eq!(refresh.0.transport, Transport::Udp, "not asked again");
}

/// A server closes an idle connection just as a request comes: it is sent once more over a new one. A connection that
/// cannot be opened at all is the server's failure.
#[test]
fn a_closed_connection_is_replaced_once_and_then_the_server_has_failed() {
    let (first, second) =
        (over(Transport::Tcp, "198.51.100.10:5060"), over(Transport::Tcp, "198.51.100.20:5060"));
    let mut b = Bench::new(vec![first.clone(), second.clone()], Vec::new());
    b.locals(Some("198.51.100.11:5060"), None);
    let register = b.out().remove(1);
    b.answer(&register, "200", "");
    let invite = b.dial();
    b.ua.handle_flow_closed(b.now, invite.0.id, "closed");
    let sent = b.out();
    let again = sent.iter().find(|(_, t)| t.starts_with("INVITE")).expect("sent again");
    assert_eq!((again.1.as_str(), again.0.remote), (invite.1.as_str(), first.addr), "the same transaction");
    b.ua.handle_flow_closed(b.now, again.0.id, "refused");
    let sent = b.out();
    let elsewhere = sent.iter().find(|(_, t)| t.starts_with("INVITE")).expect("sent to the other");
    assert_eq!(elsewhere.0.remote, second.addr);
}

/// A registered line asks whether its server is there; one that says nothing is left before any call fails.
#[test]
fn a_line_is_proved_by_options_and_moves_when_its_server_is_silent() {
    let (first, second) = two();
    let mut lines = config(A).lines;
    lines[0].auth = None;
    let registrars = vec![first.clone(), second.clone()];
    let config = Config { registrars, lines, prove: Some(10 * S), ..config(A) };
    let ua = UserAgent::new(config, Box::new(TestEntropy::new(5)));
    let mut b = Bench { ua, now: Instant::ZERO + S };
    b.locals(Some("198.51.100.11:5060"), None);
    let register = b.out().remove(0);
    b.answer(&register, "200", "");
    // Any answer shows that the server is there.
    for status in ["200", "405", "404"] {
        let sent = wait(&mut b, 10 * S);
        let options = sent.first().expect("asked");
        assert!(options.1.starts_with("OPTIONS sip:carrier.example SIP/2.0"), "{}", options.1);
        assert_eq!(options.0.remote, first.addr);
        assert!(sent.iter().all(|s| s == options), "repeated, and nothing else");
        b.answer(options, status, "");
        assert!(b.out().is_empty() && b.ua.is_registered(number(A)));
    }
    let sent = wait(&mut b, 20 * S);
    let register = sent.iter().find(|(_, t)| t.starts_with("REGISTER")).expect("registers again");
    assert_eq!(register.0.remote, second.addr);
    b.answer(register, "200", "");
    assert_eq!(b.dial().0.remote, second.addr);
}

/// RFC 3261 §8.1.3.4, bounded, and never to another number.
#[test]
fn redirections_are_followed_where_the_profile_allows_it() {
    let (first, second) = two();
    let with = |redirects_max| {
        let mut lines = config(A).lines;
        lines[0].auth = None;
        let (registrars, proxies) = (vec![first.clone()], vec![first.clone(), second.clone()]);
        let config = Config { registrars, proxies, lines, redirects_max, ..config(A) };
        let mut b =
            Bench { ua: UserAgent::new(config, Box::new(TestEntropy::new(5))), now: Instant::ZERO + S };
        b.locals(Some("198.51.100.11:5060"), None);
        let register = b.out().remove(0);
        b.answer(&register, "200", "");
        b
    };
    let same = format!("Contact: <sip:{}@198.51.100.20:5060>\r\n", number(B));
    let again = |b: &mut Bench, invite: &(Flow, String), more: &str| {
        b.answer(invite, "302", more);
        b.out().into_iter().find(|(_, t)| t.starts_with("INVITE"))
    };
    let mut b = with(0);
    let invite = b.dial();
    assert_eq!(again(&mut b, &invite, &same), None, "not asked for");
    let mut b = with(1);
    let invite = b.dial();
    let other = "Contact: <sip:0388889999@198.51.100.20:5060>, <mailto:x@y.example>\r\n";
    assert_eq!(again(&mut b, &invite, other), None, "another number has another tariff");
    // §20.10: the highest q of those that may be followed; of equal ones the first.
    for (several, to) in [
        (
            "<sip:N@192.0.2.1>;q=0.3, <sip:N@192.0.2.2>;q=0.7\r\nContact: <sip:0388889999@192.0.2.3>;q=1",
            "192.0.2.2",
        ),
        ("\"a, b\" <sip:N@192.0.2.1>;q=0.5, sip:N@192.0.2.2;Q=0.5, <tel:N>", "192.0.2.1"),
        ("<sip:N@192.0.2.1>;q=0.99, <sip:N@192.0.2.2>", "192.0.2.2"),
        ("<sip:N@192.0.2.1>;q=0, <sip:N@192.0.2.2>;q=0.001;expires=60", "192.0.2.2"),
    ] {
        let mut b = with(1);
        let invite = b.dial();
        let contacts = several.replace("sip:N@", &format!("sip:{}@", number(B)));
        let moved = again(&mut b, &invite, &format!("Contact: {contacts}\r\n")).expect("followed");
        assert!(moved.1.starts_with(&format!("INVITE sip:{}@{to} SIP/2.0", number(B))), "{}", moved.1);
    }
    let mut b = with(1);
    let invite = b.dial();
    let moved = again(&mut b, &invite, &format!("{}{same}", "Contact: <sip:0388889999@192.0.2.1>\r\n"))
        .expect("followed");
    assert!(
        moved.1.starts_with(&format!("INVITE sip:{}@198.51.100.20:5060 SIP/2.0", number(B))),
        "{}",
        moved.1
    );
    assert_eq!((moved.0.remote, field(&moved.1, "CSeq").as_str()), (second.addr, "2 INVITE"));
    assert_eq!(field(&moved.1, "Call-ID"), field(&invite.1, "Call-ID"));
    assert_eq!(again(&mut b, &moved, &same.replace("198.51.100.20", "192.0.2.9")), None, "once");
}
