//! The rules of an access line, and what goes wrong on its way, with a fake clock.

use super::config::{Account, Config, Faults, Knobs};
use super::core::{Carrier, Output};
use super::line::Rules;
use super::message::Message;
use super::relay::{Plan, Relayed};
use sipsec_net::Instant;
use sipsec_net::entropy::TestEntropy;
use std::net::SocketAddr;

const CALLER: &str = "0388881001";
const CALLED: &str = "0388882001";
const TOKEN: &str = "0a1b2c3d4e5f";
const ALLOW: &str = "Allow: INVITE,CANCEL,ACK,BYE,UPDATE,PRACK\r\n";
const ROUTE: &str = "Route: <sip:198.51.100.1:5060;lr>\r\n";
const NOW: Instant = Instant::from_nanos(1_000_000_000);

fn a() -> SocketAddr {
    "198.51.100.6:5060".parse().expect("an address")
}

fn b() -> SocketAddr {
    "203.0.113.9:5060".parse().expect("an address")
}

struct Line {
    carrier: Carrier,
    relayed: Vec<Output>,
}

/// A request's parts that the rules look at.
#[derive(Clone)]
struct Said {
    from: SocketAddr,
    user: &'static str,
    via: &'static str,
    more: &'static str,
    port: u16,
}

const SAID: Said = Said {
    from: SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::new(198, 51, 100, 6)), 5060),
    user: CALLER,
    via: "",
    more: "",
    port: 50_000,
};

impl Line {
    fn new(rules: Rules, faults: Faults, relay: Option<Plan>) -> Self {
        let account = |number: &str| Account {
            number: number.into(),
            username: number.into(),
            password: String::new(),
        };
        let faults_refuse = faults.register_storm > 0;
        let config = Config {
            address: "198.51.100.1:5060".parse().expect("an address"),
            domain: "carrier.example".into(),
            accounts: vec![account(CALLER), account(CALLED)],
            others: Vec::new(),
            lines: Vec::new(),
            relay,
            knobs: Knobs { authenticate_register: false, rules, faults, ..Knobs::default() },
        };
        let carrier = Carrier::new(config, Box::new(TestEntropy::new(7)));
        let mut line = Self { carrier, relayed: Vec::new() };
        let called = line.register(CALLED, &Said { from: b(), user: CALLED, ..SAID });
        // A line that is silent answers nothing; a storm refuses the first.
        let expected = if faults_refuse { Some(503) } else { Some(200) };
        assert!(called.is_empty() || called[0].status() == expected);
        line
    }

    fn send(&mut self, from: SocketAddr, text: &str) -> Vec<(SocketAddr, Message)> {
        self.carrier.handle_datagram(NOW, from, text.as_bytes());
        let mut out = Vec::new();
        while let Some(output) = self.carrier.poll_output() {
            match output {
                Output::Transmit { to, bytes, .. } => {
                    out.push((to, Message::parse(&bytes).expect("readable")))
                }
                Output::Trace(_) => {}
                relayed => self.relayed.push(relayed),
            }
        }
        out
    }

    fn register(&mut self, number: &str, said: &Said) -> Vec<Message> {
        let text = format!(
            "REGISTER sip:carrier.example SIP/2.0\r\nVia: SIP/2.0/UDP {}{};branch=z9hG4bKr{number}\r\nMax-Forwards: 70\r\n\
             From: <sip:{number}@carrier.example>;tag=r\r\nTo: <sip:{number}@carrier.example>\r\nCall-ID: r{number}\r\n\
             CSeq: 1 REGISTER\r\nContact: <sip:{}@{}>\r\n{}Content-Length: 0\r\n\r\n",
            said.from, said.via, said.user, said.from, said.more
        );
        self.send(said.from, &text).into_iter().map(|(_, m)| m).collect()
    }

    fn invite(&mut self, said: &Said) -> Vec<(SocketAddr, Message)> {
        let sdp = format!(
            "v=0\r\nc=IN IP4 {}\r\nm=application {} udp ike-esp-udpencap\r\nb=AS:512\r\n",
            said.from.ip(),
            said.port
        );
        let text = format!(
            "INVITE sip:{CALLED}@carrier.example SIP/2.0\r\nVia: SIP/2.0/UDP {}{};branch=z9hG4bKi\r\nMax-Forwards: 70\r\n\
             From: <sip:{CALLER}@carrier.example>;tag=fa\r\nTo: <sip:{CALLED}@carrier.example>\r\nCall-ID: call-1\r\n\
             CSeq: 1 INVITE\r\nContact: <sip:{}@{}>\r\n{}Content-Type: application/sdp\r\nContent-Length: {}\r\n\r\n{sdp}",
            said.from,
            said.via,
            said.user,
            said.from,
            said.more,
            sdp.len()
        );
        self.send(said.from, &text)
    }

    /// The called side answers what has arrived there.
    fn answer(&mut self, invite: &Message) -> Vec<(SocketAddr, Message)> {
        let mut r = invite.response(200, "OK", "tb");
        for value in invite.list("Record-Route") {
            r.headers.push(("Record-Route".into(), value));
        }
        r.headers.push(("Contact".into(), format!("<sip:{CALLED}@{}>", b())));
        r.body = b"v=0\r\nc=IN IP4 203.0.113.9\r\nm=application 50002 udp ike-esp-udpencap\r\nb=AS:64\r\n"
            .to_vec();
        self.send(b(), &String::from_utf8(r.to_bytes()).expect("text"))
    }

    fn in_dialog(&mut self, method: &str, tag: &str, branch: &str) -> Vec<(SocketAddr, Message)> {
        let text = format!(
            "{method} sip:{CALLED}@{} SIP/2.0\r\nVia: SIP/2.0/UDP {};branch=z9hG4bK{branch}\r\nMax-Forwards: 70\r\n{ROUTE}\
             From: <sip:{CALLER}@carrier.example>;tag=fa\r\nTo: <sip:{CALLED}@carrier.example>;tag={tag}\r\n\
             Call-ID: call-1\r\nCSeq: 2 {method}\r\nContent-Length: 0\r\n\r\n",
            b(),
            a()
        );
        self.send(a(), &text)
    }

    /// Registered as the caller, and the INVITE as it arrives at the called side.
    fn called(&mut self) -> Message {
        self.register(CALLER, &SAID);
        let sent = self.invite(&SAID);
        assert_eq!((sent[0].1.status(), sent[1].0), (Some(100), b()));
        sent[1].1.clone()
    }
}

#[test]
fn a_line_without_rport_loses_every_request_that_asks_for_it() {
    let mut line = Line::new(Rules { rport: false, ..Rules::default() }, Faults::default(), None);
    assert!(line.register(CALLER, &Said { via: ";rport", ..SAID }).is_empty());
    assert_eq!(line.register(CALLER, &SAID)[0].status(), Some(200));
    assert!(line.invite(&Said { via: ";rport", ..SAID }).is_empty());
    assert_eq!(line.invite(&SAID)[0].1.status(), Some(100));
    assert_eq!(line.carrier.stats().lost_by_rule, 2);
}

#[test]
fn registration_by_ipv6_and_calls_from_outside_the_prefix_get_no_answer() {
    let rules = Rules {
        register_v4_only: true,
        invite_from: Some("192.0.2.0/24".parse().expect("a prefix")),
        ..Rules::default()
    };
    let mut line = Line::new(rules, Faults::default(), None);
    let v6 = Said { from: "[2001:db8::6]:5060".parse().expect("an address"), ..SAID };
    assert!(line.register(CALLER, &v6).is_empty());
    assert_eq!(line.register(CALLER, &SAID)[0].status(), Some(200));
    assert!(line.invite(&SAID).is_empty(), "not even a 100");
    let inside = Said { from: "192.0.2.6:5060".parse().expect("an address"), ..SAID };
    line.register(CALLER, &inside);
    assert_eq!(line.invite(&inside)[0].1.status(), Some(100));
}

#[test]
fn only_what_looks_like_a_telephone_is_put_through_and_the_reason_misleads() {
    let telephone = Said { user: TOKEN, more: ALLOW, ..SAID };
    let path = Said { user: TOKEN, more: "Supported: path\r\n", ..SAID };
    for (register, invite, put_through) in [
        (path.clone(), telephone.clone(), true),
        (Said { more: "", ..path.clone() }, telephone.clone(), false),
        (path.clone(), Said { more: "Allow: INVITE,ACK,BYE,CANCEL\r\n", ..telephone.clone() }, false),
        (path.clone(), Said { user: CALLER, ..telephone.clone() }, false),
        (Said { user: CALLER, ..path.clone() }, telephone.clone(), false),
        (path.clone(), Said { user: "ffffffffffff", ..telephone.clone() }, false),
    ] {
        let mut line = Line::new(Rules { wants_terminal: true, ..Rules::default() }, Faults::default(), None);
        line.register(CALLER, &register);
        let first = line.invite(&invite)[0].1.clone();
        assert_eq!(first.status(), Some(if put_through { 100 } else { 488 }));
        assert_eq!(first.header("Warning").is_some_and(|w| w.contains("Media type")), !put_through);
    }
}

#[test]
fn odd_media_ports_are_refused() {
    let mut line = Line::new(Rules { odd_ports: false, ..Rules::default() }, Faults::default(), None);
    line.register(CALLER, &SAID);
    assert_eq!(line.invite(&Said { port: 50_001, ..SAID })[0].1.status(), Some(500));
    assert_eq!(line.invite(&SAID)[0].1.status(), Some(100));
}

#[test]
fn a_lost_200_comes_with_its_repetition_and_a_lost_bye_with_its_own() {
    let faults = Faults { lost_200: 1, lost_bye: 1, ..Faults::default() };
    let mut line = Line::new(Rules::default(), faults, None);
    let invite = line.called();
    assert!(line.answer(&invite).is_empty());
    assert!(line.carrier.biller().calls()[0].answered_at.is_none(), "what never arrived is not charged");
    assert_eq!(line.answer(&invite)[0].1.status(), Some(200));
    assert!(line.in_dialog("BYE", "tb", "x").is_empty());
    assert!(line.carrier.biller().calls()[0].is_up());
    assert_eq!(line.in_dialog("BYE", "tb", "x")[0].0, b());
    assert!(!line.carrier.biller().calls()[0].is_up());
}

#[test]
fn a_late_cancel_follows_the_200_that_it_should_have_stopped() {
    let mut line = Line::new(Rules::default(), Faults { late_cancel: true, ..Faults::default() }, None);
    let invite = line.called();
    let ringing = invite.response(180, "Ringing", "tb");
    line.send(b(), &String::from_utf8(ringing.to_bytes()).expect("text"));
    let cancel = format!(
        "CANCEL sip:{CALLED}@carrier.example SIP/2.0\r\nVia: SIP/2.0/UDP {};branch=z9hG4bKi\r\nMax-Forwards: 70\r\n\
         From: <sip:{CALLER}@carrier.example>;tag=fa\r\nTo: <sip:{CALLED}@carrier.example>\r\nCall-ID: call-1\r\n\
         CSeq: 1 CANCEL\r\nContent-Length: 0\r\n\r\n",
        a()
    );
    let sent = line.send(a(), &cancel);
    assert_eq!((sent.len(), sent[0].1.status()), (1, Some(200)), "nothing goes to the called side yet");
    let sent = line.answer(&invite);
    assert_eq!((sent[0].0, sent[0].1.status()), (a(), Some(200)));
    assert_eq!((sent[1].0, sent[1].1.method()), (b(), Some("CANCEL")));
}

#[test]
fn a_second_called_side_is_told_apart_and_can_be_hung_up() {
    let mut line = Line::new(Rules::default(), Faults { forked_200: 1, ..Faults::default() }, None);
    let invite = line.called();
    let sent = line.answer(&invite);
    let tag = |m: &Message| m.header("To").and_then(|to| super::message::param(to, "tag")).map(str::to_owned);
    assert_eq!((tag(&sent[0].1).as_deref(), tag(&sent[1].1).as_deref()), (Some("tb"), Some("tb-fork")));
    assert!(line.in_dialog("ACK", "tb-fork", "k").is_empty());
    assert_eq!(line.in_dialog("BYE", "tb-fork", "x")[0].1.status(), Some(200));
    let stats = line.carrier.stats();
    assert_eq!((stats.forks_acknowledged, stats.forks_ended), (1, 1));
    assert!(line.carrier.biller().calls()[0].is_up(), "the first is another call");
}

#[test]
fn a_storm_refuses_as_often_as_told() {
    let faults = Faults { storm: 1, storm_retry_after_s: 7, register_storm: 2, ..Faults::default() };
    let mut line = Line::new(Rules::default(), faults, None);
    // The called side's own REGISTER has taken the first.
    assert_eq!(line.register(CALLER, &SAID)[0].status(), Some(503));
    assert_eq!(line.register(CALLED, &Said { from: b(), user: CALLED, ..SAID })[0].status(), Some(200));
    assert_eq!(line.register(CALLER, &SAID)[0].status(), Some(200));
    let refused = line.invite(&SAID)[0].1.clone();
    assert_eq!((refused.status(), refused.header("Retry-After")), (Some(503), Some("7")));
}

#[test]
fn the_relay_stands_in_for_both_sides_until_the_call_ends() {
    let plan = Plan {
        address: [192, 0, 2, 10].into(),
        address6: None,
        first_port: 30_000,
        calls_max: 1,
        other_source: true,
    };
    let mut line = Line::new(Rules::default(), Faults::default(), Some(plan));
    let invite = line.called();
    let offer = String::from_utf8(invite.body.clone()).expect("text");
    assert!(offer.contains("c=IN IP4 192.0.2.10\r\nm=application 30004 "), "{offer}");
    let answer = String::from_utf8(line.answer(&invite)[0].1.body.clone()).expect("text");
    assert!(answer.contains("c=IN IP4 192.0.2.10\r\nm=application 30000 "), "{answer}");
    let (caller, called) = ("198.51.100.6:50000", "203.0.113.9:50002");
    let relayed = Relayed {
        slot: 0,
        caller: caller.parse().expect("an address"),
        called: called.parse().expect("an address"),
        kbps: 64,
    };
    assert_eq!(line.relayed, [Output::Relay(relayed)]);
    line.in_dialog("BYE", "tb", "x");
    assert_eq!(line.relayed.last(), Some(&Output::RelayEnd(0)));
}
