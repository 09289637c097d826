//! Requests that belong to no call take nothing from those that do, and a way back that is none is refused.

use crate::config::{SERVER_TRANSACTIONS_IN_DIALOG, SERVER_TRANSACTIONS_MAX};
use crate::testing::*;
use crate::{Flow, NoticeKind, Output};
use std::net::SocketAddr;
use std::time::Duration;

const S: Duration = Duration::from_secs(1);

fn request(method: &str, via: &str, n: usize) -> String {
    let line = number(A);
    format!(
        "{method} sip:{line}@198.51.100.11:5060 SIP/2.0\r\nVia: {via}\r\nMax-Forwards: 9\r\n\
         From: <sip:x@carrier.example>;tag=f\r\nTo: <sip:{line}@carrier.example>\r\nCall-ID: flood{n}\r\n\
         CSeq: 7 {method}\r\nContact: <sip:x@192.0.2.7>\r\nContent-Length: 0\r\n\r\n"
    )
}

fn via(n: usize) -> String {
    format!("SIP/2.0/UDP 198.51.100.10:5060;branch=z9hG4bKflood{n}")
}

/// Answers, without the cost of keeping them all.
fn ask(w: &mut World, from: SocketAddr, text: &str) -> Vec<(SocketAddr, String)> {
    let now = w.now;
    let ua = &mut w.nodes[A].ua;
    ua.handle_message(now, &Flow::udp(addr(A), from), text.as_bytes());
    std::iter::from_fn(|| ua.poll_output())
        .filter_map(|o| match o {
            Output::Transmit { flow, bytes } => Some((flow.remote, String::from_utf8(bytes).expect("text"))),
            _ => None,
        })
        .collect()
}

/// RFC 3261 §8.2.7: answered without state, and a repetition alike, to the letter.
#[test]
fn requests_outside_of_calls_are_answered_without_state() {
    let mut w = World::new();
    for (method, status) in [
        ("OPTIONS", "200 "),
        ("MESSAGE", "405 "),
        ("REGISTER", "405 "),
        ("DANCE", "501 "),
        ("BYE", "481 "),
        ("UPDATE", "481 "),
        ("PRACK", "481 "),
        ("CANCEL", "481 "),
    ] {
        let text = request(method, &via(1), 1);
        let first = ask(&mut w, proxy_addr(), &text);
        assert!(
            first.len() == 1 && first[0].1.starts_with(&format!("SIP/2.0 {status}")),
            "{method}: {first:?}"
        );
        assert_eq!(ask(&mut w, proxy_addr(), &text), first, "{method}");
    }
    assert_eq!((w.nodes[A].ua.servers.len(), w.nodes[A].ua.stats().overload), (0, 0));
}

/// INVITEs that are refused fill their part of the table; then there is 503 instead of silence, and what belongs to a call
/// is served all the same.
#[test]
fn a_flood_takes_no_room_from_calls() {
    let mut w = World::new();
    let call = w.dial(B);
    w.run_for(S);
    w.filter = Box::new(|_| true);
    let mut last = Vec::new();
    for n in 0..SERVER_TRANSACTIONS_MAX - SERVER_TRANSACTIONS_IN_DIALOG + 3 {
        last = ask(&mut w, proxy_addr(), &request("INVITE", &via(n), n));
        assert!(!last.is_empty(), "{n}");
    }
    let [(_, refused)] = &last[..] else { panic!("{last:?}") };
    assert!(refused.starts_with("SIP/2.0 503 ") && refused.contains("\r\nRetry-After: 60\r\n"), "{refused}");
    assert!(w.nodes[A].ua.stats().overload >= 3);
    // Requests without state go on being answered.
    assert!(ask(&mut w, proxy_addr(), &request("OPTIONS", &via(0), 0))[0].1.starts_with("SIP/2.0 200 "));
    w.inject(A, request("INVITE", &via(1 << 20), 1 << 20));
    assert!(w.notices.iter().all(|(_, n)| n.kind == NoticeKind::Overload) && w.notices.len() <= 1);
    // The peer's BYE arrives.
    w.filter = Box::new(|_| false);
    w.hang_up(B, call);
    w.run_for(S);
    assert!(w.nodes[A].log.contains(&"PeerHungUp".to_owned()), "{:?}", w.nodes[A].log);
    assert_eq!(w.nodes[A].ua.live_dialogs(), 0);
}

/// RFC 3261 §18.2.2: a sent-by that leads nowhere is answered 400, to where the request came from.
#[test]
fn a_malformed_sent_by_is_refused() {
    let from: SocketAddr = "198.51.100.10:40001".parse().expect("address");
    for sent_by in [
        "198.51.100.10:0",
        "198.51.100.10:65536",
        "198.51.100.10:",
        "198.51.100.10:50x",
        "198.51.100.10:-1",
        ":5060",
        "2001:db8::1",
        "[2001:db8::1",
        "[2001:db8::zz]:5060",
        "[198.51.100.10]",
        "a host",
        "ho<st",
        "host:5060:5061",
    ] {
        for method in ["INVITE", "OPTIONS", "BYE"] {
            let mut w = World::new();
            let text = request(method, &format!("SIP/2.0/UDP {sent_by};branch=z9hG4bKv"), 1);
            let answers = ask(&mut w, from, &text);
            let [(to, answer)] = &answers[..] else { panic!("{sent_by} {method}: {answers:?}") };
            assert_eq!(*to, from, "{sent_by}");
            assert!(answer.starts_with("SIP/2.0 400 "), "{sent_by}: {answer}");
            assert!(answer.contains("\r\nWarning: 399 sipsec \"a malformed Via\"\r\n"), "{answer}");
            assert_eq!(w.nodes[A].ua.live_dialogs(), 0);
        }
    }
    // With rport the port is the source's; a port of 0 is malformed all the same.
    let mut w = World::new();
    let text = request("OPTIONS", "SIP/2.0/UDP 198.51.100.10:0;rport;branch=z9hG4bKv", 1);
    assert!(ask(&mut w, from, &text)[0].1.starts_with("SIP/2.0 400 "));
    // The Vias below the first are only repeated.
    let text = request("OPTIONS", "SIP/2.0/UDP 198.51.100.10;branch=z9hG4bKv, SIP/2.0/UDP x:0;;", 1);
    let answer = ask(&mut w, from, &text);
    assert!(
        answer[0].1.starts_with("SIP/2.0 200 ") && answer[0].1.contains("\r\nVia: SIP/2.0/UDP x:0;;\r\n")
    );
    assert_eq!(answer[0].0.port(), 5060);
}
