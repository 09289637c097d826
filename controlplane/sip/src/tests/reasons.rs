//! Why a call ends is said both ways (RFC 3326, RFC 3261 §20.43), and a registrar that forgot us is registered with again.

use crate::testing::*;
use crate::{Cause, Reason};
use std::time::Duration;

const S: Duration = Duration::from_secs(1);

fn answered() -> (World, crate::CallId) {
    let mut w = World::new();
    let call = w.dial(A);
    w.run_for(S);
    (w, call)
}

fn offered() -> (World, crate::CallId) {
    let mut w = World::new();
    w.nodes[B].auto_accept = false;
    let call = w.dial(A);
    w.run_for(S);
    (w, call)
}

fn last(w: &World, node: usize) -> &str {
    let ended = w.nodes[node].log.iter().rposition(|l| l == "Ended").expect("ended");
    &w.nodes[node].log[ended - 1]
}

#[test]
fn a_bye_says_why() {
    let (mut w, call) = answered();
    w.hang_up_because(A, call, Reason::new(500, "no SA within 15 s\r\nX: \"y\""));
    w.run_for(S);
    assert_eq!(field(w.last(A, "BYE"), "Reason"), "SIP;cause=500;text=\"no SA within 15 s X: \\\"y\\\"\"");
    assert_eq!(last(&w, B), "PeerHungUp: no SA within 15 s X: \"y\"");

    // The debt of a BYE that is not answered says the same.
    let (mut w, call) = answered();
    w.filter = Box::new(|t| t.starts_with("BYE"));
    w.hang_up_because(A, call, Reason::new(200, "idle"));
    w.run_for(33 * S);
    w.filter = Box::new(|_| false);
    w.run_for(10 * S);
    assert_eq!(last(&w, B), "PeerHungUp: idle");

    // Without a reason there is no header field.
    let (mut w, call) = answered();
    w.hang_up(A, call);
    assert!(!w.last(A, "BYE").contains("Reason"));
}

#[test]
fn a_cancel_says_why() {
    let (mut w, call) = offered();
    w.hang_up_because(A, call, Reason::new(487, "the other call is kept"));
    w.run_for(S);
    assert_eq!(field(w.last(A, "CANCEL"), "Reason"), "SIP;cause=487;text=\"the other call is kept\"");
    assert_eq!(last(&w, B), "PeerHungUp: the other call is kept");
    assert_eq!(last(&w, A), "Failed Cancelled");
}

#[test]
fn a_refusal_says_why() {
    let (mut w, _) = offered();
    let incoming = *w.nodes[B].handles.keys().next().expect("a call");
    w.reject_because(B, incoming, 403, "no tunnel has this number");
    w.run_for(S);
    assert_eq!(field(w.last(B, "SIP/2.0 403"), "Warning"), "399 sipsec \"no tunnel has this number\"");
    assert_eq!(
        last(&w, A),
        "Failed Status { status: 403, reason: \"Forbidden\", said: Some(Reason { cause: None, \
         text: \"no tunnel has this number\" }), retry_after_s: None }"
    );
}

/// What the user agent itself refuses or gives up has a text as well.
#[test]
fn the_user_agent_says_why() {
    // The SDP cannot be used.
    let mut refusing = sdp(B);
    refusing.ike.bandwidth = None;
    refusing.ike.addr.set_port(0);
    let w = World::answered_with(&refusing);
    assert_eq!(
        field(w.last(A, "BYE"), "Reason"),
        "SIP;cause=488;text=\"the peer refused the VPN media (port 0)\""
    );
    // The session does not decide on the call.
    let (mut w, _) = offered();
    w.run_for(121 * S);
    assert!(field(w.last(B, "SIP/2.0 480"), "Warning").contains("not decided on in time"));
    // It only rings.
    let (mut w, _) = offered();
    w.filter = Box::new(|t| t.starts_with("SIP/2.0 480"));
    w.run_for(185 * S);
    assert_eq!(field(w.last(A, "CANCEL"), "Reason"), "SIP;cause=408;text=\"no answer in time\"");
    // An earlier process left it.
    let (mut w, _) = answered();
    w.crash(A);
    w.run_for(S);
    assert_eq!(last(&w, B), "PeerHungUp: the gateway restarted");
}

/// Texts of the peer are bounded and printable; what cannot be read is passed over, and the BYE counts all the same.
#[test]
fn what_a_peer_says_is_read_and_cleaned() {
    let long = "x".repeat(500);
    let cut = format!("PeerHungUp: {}", "x".repeat(120));
    for (headers, said) in [
        ("Reason: Q.850;cause=16", "PeerHungUp: Q.850 cause 16"),
        ("Reason: SIP ; cause = 503 ; text = \"no circuit\"", "PeerHungUp: no circuit"),
        ("Reason: Q.850;cause=34, SIP;cause=503;text=\"a, b; c\"", "PeerHungUp: a, b; c"),
        ("Reason: Q.850;cause=34\r\nReason: SIP;text=two", "PeerHungUp: two"),
        ("Reason: preemption;cause=1;text=\"Pre\u{1b}[31mem\u{202e}pted\"", "PeerHungUp: Pre[31mempted"),
        (
            "Warning: 307 isi.edu \"Session parameter 'foo'\", 301 x \"second\"",
            "PeerHungUp: Session parameter 'foo'",
        ),
        ("Warning: 399 host:5060 \"\"\r\nReason: SIP;cause=480", "PeerHungUp: SIP cause 480"),
        (&format!("Reason: SIP;cause=200;text=\"{long}\""), &cut),
        ("Reason: ", "PeerHungUp"),
        ("Reason: SIP;cause=99999;text=\"open", "PeerHungUp"),
        ("Reason: Q.850;;cause=16; a b ;text=\"no;circuit\";", "PeerHungUp: no;circuit"),
        ("Reason: ;;;\r\nWarning: x y z, ,\"", "PeerHungUp"),
        ("Warning: 3999 a \"b\"\r\nWarning: 399 \"b\"", "PeerHungUp"),
    ] {
        let (mut w, call) = answered();
        w.hang_up(A, call); // its text is the template
        let bye = w.last(A, "BYE").replacen("Content-Length", &format!("{headers}\r\nContent-Length"), 1);
        let via = field(&bye, "Via");
        let bye = bye.replace(&via, "SIP/2.0/UDP 198.51.100.10:5060;branch=z9hG4bKsaid");
        w.inject(B, bye);
        assert_eq!(last(&w, B), said, "{headers}");
    }
    let reason = Reason::new(488, "a\u{7}b  c\n");
    assert_eq!((reason.cause(), reason.text()), (Some(Cause::Sip(488)), "ab c"));
}

/// The registrar restarted, or a standby took over: the first call that it refuses makes the line register anew.
#[test]
fn a_registrar_without_bindings_is_registered_with_again() {
    let mut w = World::new();
    w.proxy.registered_callers_only = true;
    w.proxy.restart();
    w.dial(B);
    w.dial(A);
    w.run_for(S);
    for node in [A, B] {
        assert!(last(&w, node).contains("text: \"Not registered here\""), "{:?}", w.nodes[node].log);
        assert!(w.nodes[node].ua.is_registered(number(node)));
        assert_eq!((w.count(node, "REGISTER"), w.nodes[node].ua.stats().reregistered), (1, 1));
    }
    w.dial(B);
    w.run_for(S);
    assert!(w.nodes[A].log.contains(&"Confirmed".to_owned()), "calls come in again: {:?}", w.nodes[A].log);
}

/// 404 and 480 are what calls of the same kind are refused with elsewhere; a busy peer says nothing of our binding.
#[test]
fn which_failures_make_a_line_register_anew() {
    for (status, again) in [(403, 1), (404, 1), (480, 1), (486, 0), (488, 0), (503, 0), (600, 0)] {
        let mut w = World::new();
        w.proxy.refuse.insert("INVITE", (status, "X: y"));
        for _ in 0..5 {
            w.dial(A);
            w.run_for(5 * S);
        }
        assert_eq!(w.count(A, "REGISTER"), again, "{status}: once within 30 s");
        w.run_for(10 * S);
        w.dial(A);
        w.run_for(S);
        assert_eq!(w.count(A, "REGISTER"), 2 * again, "{status}");
    }
    // No answer at all.
    let mut w = World::new();
    w.filter = Box::new(|t| t.starts_with("INVITE"));
    w.dial(A);
    w.run_for(33 * S);
    assert_eq!(w.count(A, "REGISTER"), 1);
}

/// If the registrar refuses the line as well, the binding of before does not count any more.
#[test]
fn a_line_that_cannot_register_anew_is_not_registered() {
    let mut w = World::new();
    w.proxy.refuse.insert("INVITE", (403, "X: y"));
    w.proxy.refuse.insert("REGISTER", (403, "Warning: 399 carrier.example \"line is suspended\""));
    w.dial(A);
    w.run_for(S);
    assert!(!w.nodes[A].ua.is_registered(number(A)));
    let failed = "Failed { reason: \"403 Forbidden: line is suspended\" }";
    assert_eq!(w.nodes[A].log.last().map(String::as_str), Some(failed));
    // Its own back-off goes on; neither calls nor the API hurry it.
    let before = w.count(A, "REGISTER");
    let now = w.now + S;
    assert!(!w.nodes[A].ua.register_again(now, number(A)));
    w.proxy.refuse.clear();
    w.run_for(30 * S);
    assert_eq!(w.count(A, "REGISTER"), before + 1);
    assert!(w.nodes[A].ua.is_registered(number(A)));
    let now = w.now + 60 * S;
    assert!(w.nodes[A].ua.register_again(now, number(A)));
    assert!(!w.nodes[A].ua.register_again(now + 60 * S, number(A)), "one is under way");
}
