//! After a crash: what the journal has is hung up.

use crate::testing::*;
use std::time::Duration;

const S: Duration = Duration::from_secs(1);

fn settled(w: &World) {
    assert!(w.proxy.forgotten().is_empty(), "{:?}", w.proxy.forgotten());
    for node in &w.nodes {
        assert_eq!((node.journal.len(), node.ua.live_dialogs()), (0, 0), "{:?}", node.log);
    }
}

#[test]
fn an_answered_call() {
    for node in [A, B] {
        let mut w = World::new();
        w.proxy.authenticate = true;
        w.dial(A);
        w.run_for(S);
        w.crash(node);
        w.run_for(2 * S);
        assert!(w.count(node, "BYE") >= 1);
        let via = w.last(node, "BYE");
        assert!(via.contains("\r\nRoute: <sip:198.51.100.10;lr>\r\n"), "{via}");
        w.run_for(2 * S);
        settled(&w);
    }
}

/// The INVITE is out: it is cancelled under its own branch, and its 487 acknowledged.
#[test]
fn a_ringing_call() {
    let mut w = World::new();
    w.nodes[B].auto_accept = false;
    w.dial(A);
    w.run_for(S);
    let branch =
        |t: &str| t.split("branch=").nth(1).and_then(|b| b.split([';', '\r']).next()).map(str::to_owned);
    let invite = branch(w.last(A, "INVITE"));
    w.crash(A);
    w.run_for(S);
    assert_eq!(branch(w.last(A, "CANCEL")), invite);
    assert_eq!(branch(w.last(A, "ACK")), invite);
    assert_eq!(w.nodes[B].log[1..], ["PeerHungUp: the gateway restarted", "Ended"]);
    settled(&w);
}

/// The record was written and the INVITE did not leave: the carrier knows of nothing to cancel, and no 487 comes.
#[test]
fn a_call_that_never_left() {
    for authenticate in [false, true] {
        let mut w = World::new();
        w.proxy.authenticate = authenticate;
        w.filter = Box::new(|t| t.starts_with("INVITE"));
        w.dial(A);
        w.run_for(S / 10);
        w.crash(A);
        w.filter = Box::new(|_| false);
        w.run_for(4 * S);
        assert_eq!((w.count(A, "CANCEL"), w.nodes[A].ua.live_dialogs()), (1, 1), "a 2xx may still come");
        w.run_for(S);
        settled(&w);
    }
}

/// The call was answered while the gateway was down: the repeated 2xx is acknowledged and the call hung up.
#[test]
fn a_call_that_was_answered_in_between() {
    let mut w = World::new();
    w.filter = Box::new(|t| t.starts_with("SIP/2.0 200") && t.contains("INVITE\r\n"));
    w.dial(A);
    w.run_for(S);
    w.crash(A);
    w.filter = Box::new(|_| false);
    w.run_for(10 * S);
    assert_eq!(w.count(A, "CANCEL"), 1);
    assert_eq!((w.count(A, "ACK"), w.count(A, "BYE")), (1, 1));
    assert!(!w.nodes[A].log.contains(&"Answered".to_owned()));
    w.run_for(40 * S);
    settled(&w);
}

/// A call that rings is refused by the next run: the caller need not wait until it gives up. The refusal is repeated until its
/// ACK, under the tag of the 180.
#[test]
fn a_call_that_rings_here() {
    for lost in [0, 2] {
        let mut w = World::new();
        w.nodes[B].auto_accept = false;
        w.dial(A);
        w.run_for(S);
        assert_eq!(w.nodes[A].log, ["Provisional 180"]);
        let tag = |t: &str| field(t, "To").split("tag=").nth(1).map(str::to_owned);
        let ringing = tag(w.last(B, "SIP/2.0 180"));
        let mut left = lost;
        w.filter = Box::new(move |t| {
            let hit = t.starts_with("SIP/2.0 500") && left > 0;
            left -= i32::from(hit);
            hit
        });
        w.crash(B);
        w.run_for(3 * S);
        assert_eq!(tag(w.last(B, "SIP/2.0 500")), ringing);
        assert_eq!(w.count(B, "BYE"), 0, "RFC 3261 \u{a7}15: none before an answer");
        assert!(w.nodes[A].log[1].starts_with("Failed Status { status: 500"), "{:?}", w.nodes[A].log);
        assert_eq!(w.nodes[A].log.last().map(String::as_str), Some("Ended"));
        assert_eq!(w.nodes[B].log.iter().filter(|t| *t == "Ended").count(), 1);
        w.run_for(60 * S);
        settled(&w);
        assert!(w.nodes[B].ua.servers.is_empty());
    }
}

/// The 180 waits for the record with which it would be refused; the 200 waits for its own, also if that of the 180 comes late.
#[test]
fn ringing_and_answer_wait_for_their_records() {
    let mut w = World::new();
    w.nodes[B].persist_delay = S;
    w.dial(A);
    w.run_for(S / 2);
    assert_eq!(w.count(B, "SIP/2.0 180"), 0);
    w.crash(B);
    w.run_for(S / 2);
    assert!(w.nodes[B].journal.is_empty(), "killed before the record, so there was no ringing");

    let mut w = World::new();
    w.nodes[B].auto_accept = false;
    w.nodes[B].persist_delay = S;
    w.dial(A);
    w.run_for(S / 2);
    let id = *w.nodes[B].handles.keys().next().expect("a call");
    w.accept(B, id);
    // That of the 180 is durable, that of the 200 is not.
    w.run_for(S * 3 / 4);
    assert_eq!(w.count(B, "SIP/2.0 200"), 0, "{:?}", w.sent(B));
    w.run_for(S);
    assert_eq!(w.count(B, "SIP/2.0 200"), 1);
    assert!(w.nodes[A].log.contains(&"Answered".to_owned()));
}

/// The 200 was about to be sent: the caller never heard of it, and its INVITE is refused. If it was sent, the BYE ends the call.
#[test]
fn a_call_that_was_about_to_be_accepted() {
    let mut w = World::new();
    w.filter = Box::new(|t| t.starts_with("SIP/2.0 200") && t.contains("INVITE\r\n"));
    w.dial(A);
    w.run_for(S);
    w.crash(B);
    w.filter = Box::new(|_| false);
    w.run_for(S);
    assert_eq!((w.count(B, "SIP/2.0 500"), w.count(B, "BYE")), (1, 1));
    assert!(w.nodes[A].log.contains(&"Ended".to_owned()), "{:?}", w.nodes[A].log);
    w.run_for(60 * S);
    settled(&w);
}
