//! Calls through the carrier, with a fake clock and two scripted telephones.

use super::config::{Account, Config, Knobs, NumberKnobs, Reject, T1, T64};
use super::core::{Carrier, Output};
use super::message::{Message, param, uri_of};
use super::rewrite::Rewrite;
use sipsec_net::Instant;
use sipsec_net::entropy::TestEntropy;
use std::net::SocketAddr;
use std::time::Duration;

const CALLER: &str = "0388881001";
const CALLED: &str = "0388882001";
const T0: Instant = Instant::from_nanos(1_000_000_000);

fn addr(text: &str) -> SocketAddr {
    text.parse().expect("an address")
}

struct Lab {
    carrier: Carrier,
    now: Instant,
    a: SocketAddr,
    b: SocketAddr,
}

impl Lab {
    /// Two registered telephones, no authentication unless `knobs` says so.
    fn new(knobs: Knobs) -> Self {
        let account = |number: &str| Account {
            number: number.into(),
            username: number.into(),
            password: format!("pw-{number}"),
        };
        let config = Config {
            address: addr("198.51.100.1:5060"),
            domain: "carrier.example".into(),
            accounts: vec![account(CALLER), account(CALLED)],
            others: Vec::new(),
            lines: Vec::new(),
            relay: None,
            knobs: Knobs { authenticate_register: false, ..knobs },
        };
        let mut lab = Self {
            carrier: Carrier::new(config, Box::new(TestEntropy::new(7))),
            now: T0,
            a: addr("198.51.100.6:5060"),
            b: addr("203.0.113.9:5060"),
        };
        for (from, number) in [(lab.a, CALLER), (lab.b, CALLED)] {
            let sent = lab.send(from, &register(from, number, "c1", "Expires: 600\r\n"));
            assert_eq!(sent[0].1.status(), Some(200));
        }
        lab
    }

    /// What the carrier sends because of a message.
    fn send(&mut self, from: SocketAddr, text: &str) -> Vec<(SocketAddr, Message)> {
        self.carrier.handle_datagram(self.now, from, text.as_bytes());
        self.drain()
    }

    fn pass(&mut self, time: Duration) -> Vec<(SocketAddr, Message)> {
        self.now = self.now + time;
        self.carrier.handle_timeout(self.now);
        self.drain()
    }

    fn drain(&mut self) -> Vec<(SocketAddr, Message)> {
        let mut out = Vec::new();
        while let Some(output) = self.carrier.poll_output() {
            if let Output::Transmit { to, bytes, .. } = output {
                out.push((to, Message::parse(&bytes).expect("the carrier writes messages that can be read")));
            }
        }
        out
    }

    /// Caller's INVITE as it arrives at the called telephone.
    fn invite(&mut self, extra: &str) -> Message {
        let sent = self.send(self.a, &invite(self.a, extra));
        assert_eq!(sent[0].0, self.a);
        assert_eq!(sent[0].1.status(), Some(100));
        assert_eq!(sent[1].0, self.b);
        sent[1].1.clone()
    }

    fn answer(&mut self, invite: &Message, status: u16, reason: &str) -> Vec<(SocketAddr, Message)> {
        self.send(self.b, &response(invite, status, reason))
    }
}

fn register(from: SocketAddr, number: &str, call: &str, extra: &str) -> String {
    format!(
        "REGISTER sip:carrier.example SIP/2.0\r\nVia: SIP/2.0/UDP {from};rport;branch=z9hG4bK{call}{number}\r\n\
         Max-Forwards: 70\r\nFrom: <sip:{number}@carrier.example>;tag=r\r\nTo: <sip:{number}@carrier.example>\r\n\
         Call-ID: {call}@{from}\r\nCSeq: 1 REGISTER\r\nContact: <sip:{number}@{from}>\r\n{extra}Content-Length: 0\r\n\r\n"
    )
}

fn invite(from: SocketAddr, extra: &str) -> String {
    let sdp = "v=0\r\nm=application 50001 udp ike-esp-udpencap\r\nb=AS:512\r\n";
    format!(
        "INVITE sip:{CALLED}@carrier.example SIP/2.0\r\nVia: SIP/2.0/UDP {from};branch=z9hG4bKinv\r\n\
         Max-Forwards: 70\r\nFrom: <sip:{CALLER}@carrier.example>;tag=fa\r\nTo: <sip:{CALLED}@carrier.example>\r\n\
         Call-ID: call-1\r\nCSeq: 1 INVITE\r\nContact: <sip:{CALLER}@{from}>\r\n{extra}\
         Content-Type: application/sdp\r\nContent-Length: {}\r\n\r\n{sdp}",
        sdp.len()
    )
}

/// What the called telephone says.
fn response(request: &Message, status: u16, reason: &str) -> String {
    let mut r = request.response(status, reason, "tb");
    for value in request.list("Record-Route") {
        r.headers.push(("Record-Route".into(), value));
    }
    r.headers.push(("Contact".into(), format!("<sip:{CALLED}@203.0.113.9:5060>")));
    if status == 200 {
        r.body = b"v=0\r\nm=application 50002 udp ike-esp-udpencap\r\nb=AS:64\r\n".to_vec();
    }
    String::from_utf8(r.to_bytes()).expect("text")
}

fn in_dialog(method: &str, from: SocketAddr, branch: &str, route: &str) -> String {
    format!(
        "{method} sip:{CALLED}@203.0.113.9:5060 SIP/2.0\r\nVia: SIP/2.0/UDP {from};branch=z9hG4bK{branch}\r\n\
         Max-Forwards: 70\r\n{route}From: <sip:{CALLER}@carrier.example>;tag=fa\r\n\
         To: <sip:{CALLED}@carrier.example>;tag=tb\r\nCall-ID: call-1\r\nCSeq: 2 {method}\r\nContent-Length: 0\r\n\r\n"
    )
}

const ROUTE: &str = "Route: <sip:198.51.100.1:5060;lr>\r\n";

#[test]
fn a_whole_call_is_routed_and_billed() {
    let mut lab = Lab::new(Knobs::default());
    let arrived = lab.invite("P-Preferred-Identity: <sip:0388881001@carrier.example>\r\n");
    assert_eq!(arrived.list("Via").len(), 2);
    assert_eq!(arrived.header("Max-Forwards"), Some("69"));
    assert_eq!(arrived.list("Record-Route"), ["<sip:198.51.100.1:5060;lr>"]);
    assert_eq!(arrived.header("P-Asserted-Identity"), Some("<sip:0388881001@carrier.example>"));
    assert_eq!(arrived.header("P-Preferred-Identity"), None);
    assert_eq!(arrived.header("P-Called-Party-ID"), Some("<sip:0388882001@carrier.example>"));

    let ringing = lab.answer(&arrived, 180, "Ringing");
    assert_eq!((ringing[0].0, ringing[0].1.status()), (lab.a, Some(180)));
    let answered = lab.answer(&arrived, 200, "OK");
    assert_eq!((answered.len(), answered[0].0, answered[0].1.list("Via").len()), (1, lab.a, 1));
    // RFC 3261 §13.3.1.4: it is retransmitted until ACK, and each has to arrive.
    assert_eq!(lab.answer(&arrived, 200, "OK").len(), 1);

    let ack = lab.send(lab.a, &in_dialog("ACK", lab.a, "ack", ROUTE));
    assert_eq!((ack[0].0, ack[0].1.list("Route").len(), ack[0].1.list("Via").len()), (lab.b, 0, 2));

    lab.now = lab.now + Duration::from_secs(31);
    let bye = lab.send(lab.a, &in_dialog("BYE", lab.a, "bye", ROUTE));
    assert_eq!(bye[0].0, lab.b);
    let again = lab.send(lab.a, &in_dialog("BYE", lab.a, "bye", ROUTE));
    assert_eq!(again[0].1.list("Via")[0], bye[0].1.list("Via")[0], "a retransmission has the same branch");
    let done = lab.answer(&bye[0].1, 200, "OK");
    assert_eq!((done[0].0, done[0].1.status()), (lab.a, Some(200)));

    let bill = lab.carrier.biller().json(lab.now);
    assert_eq!(bill["calls"].as_array().map(Vec::len), Some(1));
    let call = &bill["calls"][0];
    assert_eq!((&call["kbps"], &call["units"], &call["yen"]), (&64.into(), &2.into(), &2.0.into()));
    assert_eq!(call["ended_by"], "caller");
}

#[test]
fn a_bye_without_our_route_is_refused_and_the_call_stays_up() {
    let mut lab = Lab::new(Knobs::default());
    let arrived = lab.invite("");
    lab.answer(&arrived, 200, "OK");
    let refused = lab.send(lab.a, &in_dialog("BYE", lab.a, "bye", ""));
    assert_eq!((refused[0].0, refused[0].1.status()), (lab.a, Some(403)));
    assert_eq!(lab.carrier.stats().route_missing, 1);
    assert!(lab.carrier.biller().calls()[0].is_up());
}

#[test]
fn the_asserted_number_is_a_line_of_the_sender_whatever_it_prefers() {
    let mut lab = Lab::new(Knobs::default());
    let arrived = lab.invite(
        "P-Preferred-Identity: <sip:0388882001@carrier.example>\r\nP-Asserted-Identity: <sip:110@carrier.example>\r\n",
    );
    assert_eq!(arrived.list("P-Asserted-Identity"), ["<sip:0388881001@carrier.example>"]);

    let mut lab = Lab::new(Knobs::default());
    let arrived = lab.invite("Privacy: id\r\n");
    assert_eq!(arrived.header("P-Asserted-Identity"), None);

    let stranger = addr("192.0.2.77:5060");
    let refused = lab.send(stranger, &invite(stranger, "").replace("z9hG4bKinv", "z9hG4bKx"));
    assert_eq!(refused[0].1.status(), Some(403));
}

#[test]
fn knobs_change_the_sdp_on_its_way_and_the_asserted_number() {
    let knobs = NumberKnobs {
        asserted: Some("0388889999".into()),
        offer: vec![Rewrite::DropBandwidth],
        answer: vec![Rewrite::MediaPort(9)],
        ..NumberKnobs::default()
    };
    let mut lab = Lab::new(Knobs { numbers: [(CALLED.to_owned(), knobs)].into(), ..Knobs::default() });
    let arrived = lab.invite("");
    let body = |m: &Message| String::from_utf8(m.body.clone()).expect("text");
    assert_eq!(arrived.header("P-Asserted-Identity"), Some("<sip:0388889999@carrier.example>"));
    assert_eq!(body(&arrived), "v=0\r\nm=application 50001 udp ike-esp-udpencap\r\n");
    for _ in 0..2 {
        let answered = lab.answer(&arrived, 200, "OK");
        assert_eq!(body(&answered[0].1), "v=0\r\nm=application 9 udp ike-esp-udpencap\r\nb=AS:64\r\n");
    }
}

#[test]
fn a_lost_invite_is_sent_again_and_given_up_after_64_t1() {
    let mut lab = Lab::new(Knobs::default());
    let first = lab.invite("");
    let again = lab.pass(T1);
    assert_eq!(again, vec![(lab.b, first)]);
    assert!(lab.pass(T1).is_empty(), "the interval doubles");
    assert_eq!(lab.pass(T1).len(), 1);
    // The caller's own retransmission is answered here.
    let trying = lab.send(lab.a, &invite(lab.a, ""));
    assert_eq!((trying.len(), trying[0].1.status()), (1, Some(100)));
    let timeout = lab.pass(T64);
    assert_eq!((timeout[0].0, timeout[0].1.status()), (lab.a, Some(408)));
    assert_eq!(lab.carrier.biller().json(lab.now)["calls"][0]["ended_by"], 408);
}

#[test]
fn a_refusal_is_acknowledged_on_both_sides_and_retransmitted_until_then() {
    let mut lab = Lab::new(Knobs::default());
    let arrived = lab.invite("");
    let out = lab.answer(&arrived, 486, "Busy Here");
    let to_b = out.iter().find(|(to, _)| *to == lab.b).expect("ACK");
    assert_eq!(to_b.1.method(), Some("ACK"));
    assert_eq!(to_b.1.list("Via"), arrived.list("Via")[..1]);
    assert_eq!(to_b.1.header("To").and_then(|t| param(t, "tag")), Some("tb"));
    let to_a = out.iter().find(|(to, _)| *to == lab.a).expect("486").clone();
    assert_eq!(to_a.1.status(), Some(486));
    assert_eq!(lab.pass(T1), vec![to_a]);
    let ack = in_dialog("ACK", lab.a, "inv", "").replace("CSeq: 2", "CSeq: 1");
    assert!(lab.send(lab.a, &ack).is_empty(), "this ACK ends here");
    assert!(lab.pass(T1 * 2).is_empty());
    // The called side did not hear our ACK.
    assert_eq!(lab.answer(&arrived, 486, "Busy Here").len(), 1);
}

fn cancel(from: SocketAddr) -> String {
    in_dialog("CANCEL", from, "inv", "").replace("CSeq: 2", "CSeq: 1").replace(";tag=tb", "")
}

#[test]
fn cancel_waits_for_a_provisional_response() {
    let mut lab = Lab::new(Knobs::default());
    let arrived = lab.invite("");
    let ok = lab.send(lab.a, &cancel(lab.a));
    assert_eq!((ok.len(), ok[0].1.status(), ok[0].1.cseq_method()), (1, Some(200), "CANCEL"));
    let out = lab.answer(&arrived, 180, "Ringing");
    let (to, message) = out.last().expect("CANCEL");
    assert_eq!((*to, message.method()), (lab.b, Some("CANCEL")));
    assert_eq!(message.list("Via"), arrived.list("Via")[..1]);
    assert_eq!(message.cseq_number(), arrived.cseq_number());
    let out = lab.answer(&arrived, 487, "Request Terminated");
    assert!(out.iter().any(|(to, m)| *to == lab.a && m.status() == Some(487)));
    assert_eq!(lab.carrier.biller().calls()[0].charge(lab.now), None);
}

#[test]
fn an_answer_that_crosses_the_cancel_reaches_the_caller() {
    let mut lab = Lab::new(Knobs::default());
    let arrived = lab.invite("");
    lab.answer(&arrived, 180, "Ringing");
    lab.send(lab.a, &cancel(lab.a));
    let out = lab.answer(&arrived, 200, "OK");
    assert_eq!((out[0].0, out[0].1.status()), (lab.a, Some(200)));
    assert!(lab.carrier.biller().calls()[0].is_up(), "and it is charged until a BYE");
}

#[test]
fn knobs_refuse_and_hold_calls() {
    let mut lab = Lab::new(Knobs::default());
    let reject = Reject { status: 503, reason: "Service Unavailable".into(), retry_after_s: Some(7) };
    let refuse = NumberKnobs { reject: Some(reject), ..NumberKnobs::default() };
    lab.carrier.set_knobs(|k| drop(k.numbers.insert(CALLED.into(), refuse)));
    let out = lab.send(lab.a, &invite(lab.a, ""));
    assert_eq!((out.len(), out[0].1.status(), out[0].1.header("Retry-After")), (1, Some(503), Some("7")));

    let mut lab = Lab::new(Knobs::default());
    let delay = Duration::from_secs(3);
    let hold = NumberKnobs { delay, ..NumberKnobs::default() };
    lab.carrier.set_knobs(|k| drop(k.numbers.insert(CALLED.into(), hold.clone())));
    let out = lab.send(lab.a, &invite(lab.a, ""));
    assert_eq!((out.len(), out[0].1.status()), (1, Some(100)));
    assert_eq!(lab.carrier.poll_timeout(), Some(lab.now + delay));
    let out = lab.pass(delay);
    assert_eq!((out[0].0, out[0].1.method()), (lab.b, Some("INVITE")));

    // Given up while it was held: the called side never hears of it.
    let mut lab = Lab::new(Knobs::default());
    lab.carrier.set_knobs(|k| drop(k.numbers.insert(CALLED.into(), hold)));
    lab.send(lab.a, &invite(lab.a, ""));
    let statuses: Vec<_> = lab.send(lab.a, &cancel(lab.a)).iter().filter_map(|(_, m)| m.status()).collect();
    assert_eq!(statuses, [200, 487]);
}

#[test]
fn registrations_are_challenged_shortened_refused_and_removed() {
    let mut lab = Lab::new(Knobs::default());
    let number_at = |lab: &Lab| lab.carrier.location().find(lab.now, CALLER).map(|b| b.contacts[0].clone());
    let a = lab.a;
    let brief = lab.send(a, &register(a, CALLER, "c2", "Expires: 5\r\n"));
    assert_eq!((brief[0].1.status(), brief[0].1.header("Min-Expires")), (Some(423), Some("60")));
    let long = lab.send(a, &register(a, CALLER, "c3", "Expires: 99999\r\n"));
    let contact = long[0].1.header("Contact").expect("binding");
    assert_eq!(
        (param(contact, "expires"), uri_of(contact)),
        (Some("3600"), "sip:0388881001@198.51.100.6:5060")
    );
    assert!(number_at(&lab).is_some());
    let gone = lab.send(a, &register(a, CALLER, "c4", "Expires: 0\r\n"));
    assert_eq!((gone[0].1.status(), gone[0].1.header("Contact")), (Some(200), None));
    assert!(number_at(&lab).is_none());

    let unknown = lab.send(a, &register(a, "0399999999", "c5", ""));
    assert_eq!(unknown[0].1.status(), Some(404));
    lab.carrier.set_knobs(|k| k.authenticate_register = true);
    let challenged = lab.send(a, &register(a, CALLER, "c6", ""));
    assert_eq!(challenged[0].1.status(), Some(401));
    assert_eq!(challenged[0].1.all("WWW-Authenticate").count(), 2);
    let via = challenged[0].1.header("Via").expect("Via");
    assert_eq!((param(via, "received"), param(via, "rport")), (Some("198.51.100.6"), Some("5060")));

    // An expired binding is no binding.
    let mut lab = Lab::new(Knobs::default());
    lab.now = lab.now + Duration::from_secs(601);
    lab.send(a, &register(a, CALLER, "c7", "Expires: 600\r\n"));
    let out = lab.send(a, &invite(a, ""));
    assert_eq!(out[0].1.status(), Some(480));
}

#[test]
fn what_belongs_nowhere_is_answered_or_counted() {
    let mut lab = Lab::new(Knobs::default());
    let a = lab.a;
    let stray = lab.send(a, &in_dialog("BYE", a, "x", ROUTE));
    assert_eq!(stray[0].1.status(), Some(481));
    assert!(lab.send(a, &in_dialog("ACK", a, "y", ROUTE)).is_empty());
    let hops = lab.send(a, &invite(a, "").replace("Max-Forwards: 70", "Max-Forwards: 0"));
    assert_eq!(hops[0].1.status(), Some(483));
    assert!(lab.send(a, "").is_empty());
    assert!(lab.send(a, "\r\n\r\n").is_empty());
    assert!(lab.send(a, "garbage").is_empty());
    assert_eq!(lab.carrier.stats().malformed, 1);
    let foreign = "SIP/2.0 200 OK\r\nVia: SIP/2.0/UDP 192.0.2.1;branch=z9hG4bK1\r\nFrom: <sip:a@h>;tag=1\r\n\
        To: <sip:b@h>;tag=2\r\nCall-ID: z\r\nCSeq: 1 INVITE\r\n\r\n";
    assert!(lab.send(a, foreign).is_empty());
    assert_eq!(lab.carrier.stats().unroutable, 1);
}

mod mutated {
    use super::*;
    use proptest::prelude::*;

    #[derive(Clone, Debug)]
    enum Edit {
        Flip(usize, u8),
        Cut(usize, usize),
        Repeat(usize, usize),
        Put(usize, &'static str),
    }

    fn edits() -> impl Strategy<Value = Vec<Edit>> {
        let token = prop::sample::select(vec![
            "\r\n",
            ",",
            ";",
            "<",
            ">",
            "\"",
            "\\",
            "@",
            ":",
            "sip:",
            "tag=",
            "branch=",
            ";rport",
            "[::1]",
            "%00",
            "é",
            "99999999999999999999",
            "\r\nRoute: <sip:198.51.100.1;lr>",
            "\r\nMax-Forwards: 0",
        ]);
        let edit = prop_oneof![
            (any::<usize>(), any::<u8>()).prop_map(|(at, b)| Edit::Flip(at, b)),
            (any::<usize>(), 0..64_usize).prop_map(|(at, n)| Edit::Cut(at, n)),
            (any::<usize>(), 0..64_usize).prop_map(|(at, n)| Edit::Repeat(at, n)),
            (any::<usize>(), token).prop_map(|(at, t)| Edit::Put(at, t)),
        ];
        prop::collection::vec(edit, 0..5)
    }

    fn apply(text: &str, edits: &[Edit]) -> Vec<u8> {
        let mut out = text.as_bytes().to_vec();
        for edit in edits {
            let len = out.len().max(1);
            match *edit {
                Edit::Flip(at, b) => {
                    if let Some(x) = out.get_mut(at % len) {
                        *x ^= b;
                    }
                }
                Edit::Cut(at, n) => {
                    let at = at % len;
                    out.drain(at.min(out.len())..(at + n).min(out.len()));
                }
                Edit::Repeat(at, n) => {
                    let at = (at % len).min(out.len());
                    let part = out[at..(at + n).min(out.len())].to_vec();
                    out.splice(at..at, part);
                }
                Edit::Put(at, t) => {
                    let at = (at % len).min(out.len());
                    out.splice(at..at, t.bytes());
                }
            }
        }
        out
    }

    proptest! {
        /// For any input the carrier does not panic, its messages can be parsed, and no line is billed without an
        /// answer.
        #[test]
        fn messages_do_no_harm(changes in prop::collection::vec((0..8_usize, any::<bool>(), edits()), 1..12)) {
            let mut lab = Lab::new(Knobs::default());
            let arrived = lab.invite("");
            let (a, b) = (lab.a, lab.b);
            let texts = [
                register(a, CALLER, "m", "Expires: 600\r\n"),
                invite(a, "P-Preferred-Identity: <sip:0388881001@carrier.example>\r\n").replace("z9hG4bKinv", "z9hG4bKm"),
                response(&arrived, 180, "Ringing"),
                response(&arrived, 486, "Busy Here"),
                in_dialog("ACK", a, "ack", ROUTE),
                in_dialog("BYE", a, "bye", ROUTE),
                cancel(a),
                response(&arrived, 200, "OK"),
            ];
            for (which, from_a, edits) in changes {
                let bytes = apply(&texts[which], &edits);
                lab.carrier.handle_datagram(lab.now, if from_a { a } else { b }, &bytes);
                lab.drain();
                lab.pass(Duration::from_millis(700));
            }
            for call in lab.carrier.biller().calls() {
                prop_assert_eq!(call.charge(lab.now).is_some(), call.answered_at.is_some());
            }
        }
    }
}
