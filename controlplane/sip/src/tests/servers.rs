//! Servers, families and transports: where requests go, and who is heard.

use crate::testing::*;
use crate::{Config, Flow, Locals, Output, Target, Transport, UserAgent};
use sipsec_net::Instant;
use sipsec_net::entropy::TestEntropy;
use std::net::SocketAddr;
use std::time::Duration;

const S: Duration = Duration::from_secs(1);

fn at(text: &str) -> SocketAddr {
    text.parse().expect("an address")
}

fn over(transport: Transport, addr: &str) -> Target {
    Target { transport, ..Target::udp(at(addr)) }
}

/// One user agent whose carrier is this test.
struct Bench {
    ua: UserAgent,
    now: Instant,
}

impl Bench {
    fn new(registrars: Vec<Target>, proxies: Vec<Target>) -> Self {
        let mut lines = config(A).lines;
        lines[0].auth = None;
        let config = Config { registrars, proxies, lines, ..config(A) };
        Self { ua: UserAgent::new(config, Box::new(TestEntropy::new(5))), now: Instant::ZERO + S }
    }

    fn locals(&mut self, v4: Option<&str>, v6: Option<&str>) {
        self.ua.set_locals(self.now, Locals { v4: v4.map(at), v6: v6.map(at) });
    }

    /// What is sent and opened now; records are written at once.
    fn out(&mut self) -> Vec<(Flow, String)> {
        let mut out = Vec::new();
        while let Some(output) = self.ua.poll_output() {
            match output {
                Output::Transmit { flow, bytes } => out.push((flow, String::from_utf8(bytes).expect("text"))),
                Output::Open { flow, name } => out.push((flow, format!("open {}", name.unwrap_or_default()))),
                Output::Persist { call, record: Some(_) } => self.ua.persisted(self.now, call),
                Output::Persist { .. } | Output::Event(_) => {}
            }
        }
        out
    }

    fn answer(&mut self, (flow, request): &(Flow, String), status: &str, more: &str) {
        let head = ["Via", "From", "To", "Call-ID", "CSeq"]
            .map(|n| format!("{n}: {}\r\n", field(request, n)))
            .concat()
            .replace("carrier.example>\r\nCall-ID", "carrier.example>;tag=p\r\nCall-ID");
        let text = format!("SIP/2.0 {status} X\r\n{head}{more}Content-Length: 0\r\n\r\n");
        self.ua.handle_message(self.now, flow, text.as_bytes());
    }

    fn dial(&mut self) -> (Flow, String) {
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
    // When it is closed, the next request opens another.
    b.ua.handle_flow_closed(b.now, flow.id);
    let _ = b.out();
    b.answer(&(flow, invite), "486", "");
    let sent = b.out();
    assert!(sent[0].1.starts_with("open") && sent[1].1.starts_with("ACK"), "{sent:?}");
    assert_eq!((sent[0].0.transport, sent[0].0.remote), (Transport::Tls, tls.addr));
    assert!(sent[0].0.id != flow.id);
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
    b.ua.handle_flow_closed(b.now, theirs.id);
    b.ua.reject(b.now, call.expect("a call"), 486);
    let sent = b.out();
    assert!(sent[0].1.starts_with("open") && sent[1].1.starts_with("SIP/2.0 486"), "{sent:?}");
    assert_eq!(sent[1].0.remote, at("198.51.100.10:5070"));
}
