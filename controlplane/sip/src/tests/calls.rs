//! Calls between two user agents through a proxy.

use crate::testing::*;
use std::time::Duration;

const S: Duration = Duration::from_secs(1);

fn established() -> (World, crate::CallId) {
    let mut w = World::new();
    let call = w.dial(A);
    w.run_for(S);
    assert_eq!(w.nodes[A].log, ["Provisional 180", "Answered"]);
    assert_eq!(w.nodes[B].log, ["Incoming Asserted(TelNumber(0388881001))", "Confirmed"]);
    assert_eq!((w.nodes[A].journal.len(), w.nodes[B].journal.len()), (1, 1));
    (w, call)
}

fn over(w: &World) {
    for node in &w.nodes {
        assert!(node.journal.is_empty(), "the record goes with the call");
        assert_eq!(node.ua.live_dialogs(), 0);
        assert_eq!(node.log.last().map(String::as_str), Some("Ended"));
    }
    assert!(w.proxy.forgotten().is_empty());
}

#[test]
fn the_caller_hangs_up() {
    let (mut w, call) = established();
    w.hang_up(A, call);
    w.run_for(S);
    assert_eq!(
        w.sent(A),
        [
            "INVITE sip:0388882001@carrier.example SIP/2.0",
            "ACK sip:0388882001@198.51.100.12:5060 SIP/2.0",
            "BYE sip:0388882001@198.51.100.12:5060 SIP/2.0",
        ]
    );
    assert_eq!(w.nodes[B].log[2..], ["PeerHungUp", "Ended"]);
    over(&w);
    w.run_for(120 * S);
    assert_eq!(w.next().map(|at| at > w.now + 600 * S), Some(true), "only registrations are left");
}

#[test]
fn the_callee_hangs_up() {
    let (mut w, _) = established();
    let call = *w.nodes[B].handles.keys().next().expect("a call");
    w.hang_up(B, call);
    w.run_for(S);
    assert_eq!(w.sent(B).last(), Some(&"BYE sip:0388881001@198.51.100.11:5060 SIP/2.0"));
    assert!(w.last(B, "BYE").contains("\r\nRoute: <sip:198.51.100.10;lr>\r\n"));
    assert_eq!(w.nodes[A].log[2..], ["PeerHungUp", "Ended"]);
    over(&w);
}

#[test]
fn both_hang_up_at_once() {
    let (mut w, call) = established();
    let other = *w.nodes[B].handles.keys().next().expect("a call");
    w.hang_up(A, call);
    w.hang_up(B, other);
    w.run_for(S);
    assert_eq!((w.count(A, "SIP/2.0 200"), w.count(B, "SIP/2.0 200")), (1, 2), "§15.1.2: 200 while leaving");
    over(&w);
}

#[test]
fn busy_and_cancelled() {
    let mut w = World::new();
    w.nodes[B].auto_accept = false;
    w.dial(A);
    w.run_for(S);
    let incoming = *w.nodes[B].handles.keys().next().expect("a call");
    w.reject(B, incoming, 486);
    w.run_for(S);
    let failed = "Failed Status { status: 486, reason: \"Busy Here\", said: None, retry_after_s: None }";
    assert_eq!(w.nodes[A].log[1..], [failed, "Ended"]);
    assert_eq!(w.count(B, "SIP/2.0 486"), 1, "the ACK stops it");
    over(&w);

    let call = w.dial(A);
    w.run_for(S);
    w.hang_up(A, call);
    w.run_for(S);
    assert_eq!(w.nodes[A].log.last_chunk(), Some(&["Failed Cancelled".to_owned(), "Ended".into()]));
    assert_eq!(w.nodes[B].log.last_chunk(), Some(&["PeerHungUp".to_owned(), "Ended".into()]));
    assert_eq!(w.count(B, "SIP/2.0 487"), 1);
    over(&w);
}

/// RFC 3261 §9.1: no CANCEL before a provisional response.
#[test]
fn a_cancel_waits_for_a_provisional_response() {
    let mut w = World::new();
    w.nodes[B].auto_accept = false;
    w.filter = Box::new(|t| t.starts_with("SIP/2.0 1"));
    let call = w.dial(A);
    w.run_for(S);
    w.hang_up(A, call);
    assert_eq!(w.count(A, "CANCEL"), 0);
    w.filter = Box::new(|_| false);
    // The repeated INVITE brings the provisional response.
    w.run_for(10 * S);
    assert_eq!(w.count(A, "CANCEL"), 1);
    assert_eq!(w.count(A, "ACK"), 1);
    over(&w);
}

/// RFC 3261 §9.1, §15: the 2xx wins the race: ACK, then BYE.
#[test]
fn a_2xx_that_crosses_the_cancel_is_hung_up() {
    let mut w = World::new();
    w.nodes[B].auto_accept = false;
    let call = w.dial(A);
    w.run_for(S);
    let incoming = *w.nodes[B].handles.keys().next().expect("a call");
    w.accept(B, incoming);
    w.run_for(Duration::from_millis(3)); // the 200 is on its way
    w.hang_up(A, call);
    w.run_for(S);
    let methods: Vec<_> = w.sent(A).iter().map(|l| l.split(' ').next().unwrap_or_default()).collect();
    assert_eq!(methods, ["INVITE", "CANCEL", "ACK", "BYE"]);
    assert!(!w.nodes[A].log.contains(&"Answered".to_owned()));
    over(&w);
}

/// RFC 3261 §13.3.1.4 and §13.2.2.4: the callee repeats its 2xx until the ACK, the caller its ACK for each.
#[test]
fn lost_acks() {
    let mut w = World::new();
    let mut lose = 3;
    w.filter = Box::new(move |t| {
        let lost = t.starts_with("ACK") && lose > 0;
        lose -= i32::from(lost);
        lost
    });
    w.dial(A);
    w.run_for(10 * S);
    assert_eq!((w.count(B, "SIP/2.0 200"), w.count(A, "ACK")), (4, 4));
    assert_eq!(w.nodes[B].log.last().map(String::as_str), Some("Confirmed"));
    let acks: std::collections::BTreeSet<_> = w.wire.iter().filter(|(_, t)| t.starts_with("ACK")).collect();
    assert_eq!(acks.len(), 1, "the same ACK each time");
}

#[test]
fn an_ack_that_never_comes() {
    let mut w = World::new();
    w.filter = Box::new(|t| t.starts_with("ACK"));
    w.dial(A);
    w.run_for(40 * S);
    assert_eq!(w.count(B, "SIP/2.0 200"), 11, "T1 doubling to T2, until 64·T1");
    assert_eq!(w.nodes[B].log[1..], ["Lost NoAck", "Ended"]);
    assert_eq!(
        w.nodes[A].log.last_chunk(),
        Some(&["PeerHungUp: no ACK for the 200".to_owned(), "Ended".into()])
    );
    over(&w);
}

/// RFC 3261 §15: the callee sends no BYE before the ACK.
#[test]
fn the_callee_waits_with_its_bye() {
    let mut w = World::new();
    w.filter = Box::new(|t| t.starts_with("ACK"));
    w.dial(A);
    w.run_for(S);
    let incoming = *w.nodes[B].handles.keys().next().expect("a call");
    w.hang_up(B, incoming);
    w.run_for(S);
    assert_eq!(w.count(B, "BYE"), 0);
    w.filter = Box::new(|_| false);
    w.run_for(5 * S);
    assert_eq!(w.count(B, "BYE"), 1);
    over(&w);
}

/// The 200 of another party to the same INVITE, reached at this URI.
fn another_answer(w: &World, contact: &str) -> String {
    let ok = w.last(B, "SIP/2.0 200");
    let tag = ok.split("To: ").nth(1).and_then(|t| t.split("tag=").nth(1)).and_then(|t| t.split('\r').next());
    ok.replace(tag.expect("a tag"), "another")
        .replace("<sip:0388882001@198.51.100.12:5060>", &format!("<{contact}>"))
        .replacen("Via: SIP/2.0/UDP 198.51.100.10", "X: ", 1)
}

/// RFC 3261 §8.1.1.8: a Contact that is no SIP URI is nothing that a BYE could go to. Found by fuzzing: each BYE was answered
/// 416, and the call could not be hung up.
#[test]
fn a_contact_that_no_request_can_go_to_is_passed_over() {
    let (mut w, call) = established();
    let fork = another_answer(&w, "csip:other@192.0.2.77");
    w.inject(A, &fork);
    w.run_for(Duration::from_millis(1));
    assert!(w.last(A, "BYE").starts_with("BYE sip:0388882001@198.51.100.12:5060 SIP/2.0\r\n"));
    w.hang_up(A, call);
    w.run_for(S);
    assert_eq!(w.nodes[B].log[2..], ["PeerHungUp", "Ended"]);
}

/// RFC 6193 §5.3, T13: another party answers too.
#[test]
fn a_fork_is_acknowledged_and_hung_up() {
    let (mut w, call) = established();
    let fork = another_answer(&w, "sip:other@192.0.2.77");
    w.inject(A, &fork);
    w.run_for(Duration::from_millis(1));
    assert!(w.last(A, "ACK").starts_with("ACK sip:other@192.0.2.77 SIP/2.0\r\n"));
    assert!(w.last(A, "BYE").starts_with("BYE sip:other@192.0.2.77 SIP/2.0\r\n"));
    assert!(w.last(A, "BYE").contains(";tag=another\r\n"));
    assert_eq!(w.nodes[A].ua.stats().forked, 1);
    // Its repetition is acknowledged and not hung up again.
    w.inject(A, &fork);
    w.run_for(Duration::from_millis(1));
    assert_eq!((w.count(A, "ACK"), w.count(A, "BYE")), (3, 1));
    // The first call goes on.
    assert_eq!(w.nodes[A].log.last().map(String::as_str), Some("Answered"));
    w.hang_up(A, call);
    w.run_for(S);
    assert_eq!(w.nodes[B].log[2..], ["PeerHungUp", "Ended"]);
}

/// A 2xx that comes after the INVITE was given up means a charged call.
#[test]
fn an_answer_after_the_end_is_hung_up() {
    let mut w = World::new();
    w.nodes[B].auto_accept = false;
    w.filter = Box::new(|t| t.starts_with("SIP/2.0 1"));
    w.dial(A);
    w.run_for(33 * S);
    assert_eq!(w.nodes[A].log, ["Failed Timeout", "Ended"]);
    let incoming = *w.nodes[B].handles.keys().next().expect("a call");
    w.accept(B, incoming);
    w.run_for(S);
    assert_eq!((w.count(A, "ACK"), w.count(A, "BYE")), (1, 1));
    over(&w);
}

/// A proxy that authenticates everything (RFC 3261 §22.3): one more INVITE, and the ACK has its credentials.
#[test]
fn a_proxy_that_challenges() {
    let mut w = World::new();
    w.proxy.authenticate = true;
    let call = w.dial(A);
    w.run_for(S);
    let invites: Vec<_> =
        w.wire.iter().filter(|(_, t)| t.starts_with("INVITE")).map(|(_, t)| t.as_str()).collect();
    let [first, second] = invites[..] else { panic!("two INVITEs") };
    let field = |t: &str, name: &str| {
        t.lines().find(|l| l.starts_with(name)).map(str::to_owned).expect("the field is there")
    };
    assert!(second.contains("\r\nProxy-Authorization: Digest username=\"0388881001\""));
    assert_eq!(field(first, "Call-ID"), field(second, "Call-ID"));
    assert_eq!(field(first, "From"), field(second, "From"));
    assert_eq!(
        (field(first, "CSeq"), field(second, "CSeq")),
        ("CSeq: 1 INVITE".into(), "CSeq: 2 INVITE".into())
    );
    assert_ne!(field(first, "Via"), field(second, "Via"));
    let ack = w.last(A, "ACK");
    assert_eq!(field(ack, "Proxy-Authorization"), field(second, "Proxy-Authorization"), "§22.1");
    w.hang_up(A, call);
    w.run_for(S);
    assert_eq!(w.count(A, "BYE"), 1, "its credentials went along");
    assert!(w.last(A, "BYE").contains("nc=00000002"));
    over(&w);
}

#[test]
fn wrong_credentials_end_the_call() {
    let mut w = World::new();
    w.proxy.refuse.insert("INVITE", (407, "Proxy-Authenticate: Digest realm=\"x\", nonce=\"n\""));
    w.dial(A);
    w.run_for(S);
    assert_eq!(w.nodes[A].log, ["Failed Unauthorised", "Ended"]);
    assert_eq!((w.count(A, "INVITE"), w.count(A, "ACK")), (2, 2));
}

#[test]
fn a_carrier_that_is_overloaded() {
    let mut w = World::new();
    w.proxy.refuse.insert("INVITE", (503, "Retry-After: 18000;duration=3600"));
    w.dial(A);
    w.run_for(S);
    let failed = "Failed Status { status: 503, reason: \"Service Unavailable\", said: None, retry_after_s: Some(18000) }";
    assert_eq!(w.nodes[A].log, [failed, "Ended"]);
}

/// T6: SDP in an unreliable 183 is a preview.
#[test]
fn a_preview_is_not_used() {
    let mut w = World::new();
    w.nodes[B].auto_accept = false;
    w.dial(A);
    w.run_for(S);
    let ringing = w.last(B, "SIP/2.0 180").to_owned();
    let body = sdp(B).to_string();
    let preview = ringing
        .replace("SIP/2.0 180 Ringing", "SIP/2.0 183 Session Progress")
        .replacen("Via: SIP/2.0/UDP 198.51.100.10", "X: ", 1)
        .replace("Content-Length: 0\r\n\r\n", "")
        + &format!("Content-Type: application/sdp\r\nContent-Length: {}\r\n\r\n{body}", body.len());
    w.inject(A, &preview);
    assert_eq!(w.nodes[A].log, ["Provisional 180", "Provisional 183"]);
    let incoming = *w.nodes[B].handles.keys().next().expect("a call");
    w.accept(B, incoming);
    w.run_for(S);
    assert_eq!(w.nodes[A].log.last().map(String::as_str), Some("Answered"));
}

/// T7: the peer takes the call and refuses the VPN.
#[test]
fn an_answer_that_cannot_be_used_is_hung_up() {
    let mut refusing = sdp(B);
    refusing.ike.addr.set_port(0);
    let w = World::answered_with(&refusing);
    assert_eq!(w.nodes[A].log[1..], ["Failed BadAnswer(Refused)", "Ended"]);
    over(&w);
}

/// The record is written before the INVITE, the 180, the ACK and the 200.
#[test]
fn nothing_is_paid_for_before_it_is_written() {
    let mut w = World::new();
    for node in &mut w.nodes {
        node.persist_delay = 100 * S;
    }
    w.dial(A);
    w.run_for(99 * S);
    assert_eq!(w.wire.len(), 0);
    w.run_for(2 * S);
    assert_eq!((w.count(A, "INVITE"), w.count(B, "SIP/2.0 180"), w.count(B, "SIP/2.0 200")), (1, 0, 0));
    w.nodes[A].persist_delay = Duration::from_millis(700);
    w.run_for(100 * S);
    let answered = w.wire.iter().position(|(_, t)| t.starts_with("SIP/2.0 200")).expect("answered");
    assert_eq!((w.count(B, "SIP/2.0 200"), w.count(A, "ACK")), (2, 1), "{answered}");
}

#[test]
fn the_caller_is_whom_the_proxy_asserts() {
    let mut w = World::new();
    w.proxy.anonymous = true;
    w.dial(A);
    w.run_for(S);
    assert_eq!(w.nodes[B].log[0], "Incoming Anonymous");
}

/// A BYE without an answer is sent again until one comes, and its user is told that the call may still be charged.
#[test]
fn an_unanswered_bye_is_owed() {
    let (mut w, call) = established();
    w.filter = Box::new(|t| t.contains(" BYE\r\n"));
    w.hang_up(A, call);
    w.run_for(33 * S);
    assert_eq!(w.nodes[A].log.last().map(String::as_str), Some("ByeOwed None"));
    assert_eq!((w.nodes[A].ua.live_dialogs(), w.nodes[A].journal.len()), (1, 1));
    w.run_for(120 * S);
    w.filter = Box::new(|_| false);
    w.run_for(300 * S);
    assert_eq!(w.nodes[A].ua.stats().byes_unanswered, 0);
    over(&w);

    let (mut w, call) = established();
    w.proxy.refuse.insert("BYE", (503, "Retry-After: 100"));
    w.hang_up(A, call);
    w.run_for(99 * S);
    assert_eq!(w.count(A, "BYE"), 1);
    w.run_for(2000 * S);
    assert_eq!((w.count(A, "BYE"), w.nodes[A].ua.stats().byes_unanswered), (8, 1), "it has an end");
    assert_eq!((w.nodes[A].ua.live_dialogs(), w.nodes[A].journal.len()), (0, 0));
    // The operator must ask the carrier.
    assert_eq!(w.nodes[A].log.iter().filter(|l| *l == "NotHungUp Some(503)").count(), 1);
}

/// RFC 3261 §15.1.1: a refused BYE does not end the call; only 481 and 408 say that there is none.
#[test]
fn a_bye_that_is_refused_is_owed() {
    for (status, more, owed) in [
        (302, "Contact: <sip:other@192.0.2.66>", true),
        (400, "X: y", true),
        (403, "X: y", true),
        (404, "X: y", true),
        (491, "X: y", true),
        (600, "X: y", true),
        (407, "Proxy-Authenticate: Digest realm=\"x\", nonce=\"n\"", true),
        (408, "X: y", false),
        (481, "X: y", false),
    ] {
        let (mut w, call) = established();
        w.proxy.refuse.insert("BYE", (status, more));
        w.hang_up(A, call);
        w.run_for(S);
        let last = if owed { format!("ByeOwed Some({status})") } else { "Ended".to_owned() };
        assert_eq!(w.nodes[A].log.last(), Some(&last));
        let left = (w.nodes[A].ua.live_dialogs(), w.nodes[A].journal.len());
        assert_eq!(left, if owed { (1, 1) } else { (0, 0) }, "{status}");
        if !owed {
            continue;
        }
        w.proxy.refuse.clear();
        w.run_for(20 * S);
        assert_eq!(w.nodes[A].ua.stats().byes_unanswered, 0, "{status}");
        assert_eq!(w.nodes[A].log.last().map(String::as_str), Some("Ended"), "{status}");
        over(&w);
    }
}

/// The address goes and comes back: the BYE waits for it.
#[test]
fn a_bye_without_an_address_waits() {
    let (mut w, call) = established();
    w.set_addr(A, false);
    w.hang_up(A, call);
    w.run_for(3600 * S);
    assert_eq!((w.count(A, "BYE"), w.nodes[A].journal.len()), (0, 1));
    assert_eq!(w.nodes[A].log.last().map(String::as_str), Some("ByeOwed None"));
    w.set_addr(A, true);
    w.run_for(S);
    assert_eq!(w.count(A, "BYE"), 1);
    assert!(w.proxy.forgotten().is_empty());
}

/// The same at another address, even if the last BYE is not long ago.
#[test]
fn an_owed_bye_does_not_wait_once_the_address_is_back() {
    let (mut w, call) = established();
    w.filter = Box::new(|t| t.contains(" BYE\r\n"));
    w.hang_up(A, call);
    w.run_for(150 * S);
    w.set_addr(A, false);
    w.filter = Box::new(|_| false);
    w.run_for(S);
    let before = w.count(A, "BYE");
    w.set_addr(A, true);
    w.run_for(S);
    assert_eq!(w.count(A, "BYE"), before + 1);
    assert!(w.proxy.forgotten().is_empty());
}

/// The disk hangs after the 2xx: the call is paid for, so it is acknowledged and hung up without its record.
#[test]
fn an_answer_that_is_not_written_in_time_is_hung_up() {
    let mut w = World::new();
    w.nodes[B].auto_accept = false;
    w.dial(A);
    w.run_for(S);
    w.nodes[A].persist_delay = 1000 * S;
    let incoming = *w.nodes[B].handles.keys().next().expect("a call");
    w.accept(B, incoming);
    w.run_for(3 * S);
    assert_eq!((w.count(A, "ACK"), w.count(A, "BYE")), (0, 0));
    w.run_for(2 * S);
    assert_eq!((w.count(A, "ACK"), w.count(A, "BYE")), (1, 1));
    assert_eq!(w.nodes[A].log[1..], ["Failed NotWritten", "Ended"]);
    w.run_for(2000 * S);
    over(&w);
}

/// A carrier that asks whether a call is still there hears so while it is, and no longer once we have hung up: it ends
/// then what our BYE did not.
#[test]
fn an_audit_hears_of_live_calls_alone() {
    let (mut w, call) = established();
    let ack = w.last(A, "ACK").to_owned();
    let audit = |w: &mut World, cseq: u32| {
        let text = format!(
            "OPTIONS sip:x@{} SIP/2.0\r\nVia: SIP/2.0/UDP {PROXY};branch=z9hG4bKaudit{cseq}\r\nMax-Forwards: 9\r\n\
             From: {}\r\nTo: {}\r\nCall-ID: {}\r\nCSeq: {cseq} OPTIONS\r\nContent-Length: 0\r\n\r\n",
            addr(A),
            field(&ack, "To"),
            field(&ack, "From"),
            field(&ack, "Call-ID"),
        );
        w.inject(A, text);
        w.wire.last().and_then(|(_, t)| t.lines().next()).map(str::to_owned)
    };
    assert_eq!(audit(&mut w, 100).as_deref(), Some("SIP/2.0 200 OK"));
    w.filter = Box::new(|t| t.contains(" BYE\r\n"));
    w.hang_up(A, call);
    w.run_for(33 * S);
    assert_eq!(w.nodes[A].ua.live_dialogs(), 1, "its BYE is owed");
    assert_eq!(audit(&mut w, 101).as_deref(), Some("SIP/2.0 481 Call/Transaction Does Not Exist"));
}
