//! A carrier may give any answer, any number of times: our requests do not become a flood, and calls and registrations end or go
//! on as their own timers say.

use crate::testing::*;
use std::time::Duration;

const S: Duration = Duration::from_secs(1);

/// Every final refusal of RFC 3261 and its extensions, and some that are of none.
const STATUSES: [u16; 64] = [
    300, 301, 302, 305, 380, 399, 400, 401, 402, 403, 404, 405, 406, 407, 408, 410, 412, 413, 414, 415, 416,
    417, 420, 421, 422, 423, 424, 425, 428, 429, 430, 433, 436, 437, 438, 439, 440, 469, 470, 480, 481, 482,
    483, 484, 485, 486, 487, 488, 489, 491, 493, 494, 499, 500, 501, 502, 503, 504, 505, 513, 555, 580, 600,
    603,
];

/// All that could make us try again, in one response: no pause, other servers, other forms, other credentials.
const PROVOCATION: &str = "Retry-After: 0\nContact: <sip:0388882001@198.51.100.10>;q=1;expires=3600\nMin-SE: 3600\n\
    Session-Expires: 90\nMin-Expires: 7200\nAccept: application/sdp\nUnsupported: timer, 100rel\nRequire: sec-agree\n\
    Security-Server: digest\nAllow: INVITE, ACK, BYE, CANCEL\n\
    WWW-Authenticate: Digest realm=\"r\", nonce=\"n\", stale=true\n\
    Proxy-Authenticate: Digest realm=\"r\", nonce=\"n\", stale=true";

fn refusing(mut w: World, methods: &[&'static str], status: u16) -> World {
    for method in methods {
        w.proxy.refuse.insert(method, (status, PROVOCATION));
    }
    w
}

#[test]
fn a_registration_that_is_refused_backs_off() {
    for status in STATUSES {
        let mut w = refusing(World::empty(3), &["REGISTER"], status);
        w.set_addr(A, true);
        w.run_for(S);
        assert!(w.count(A, "REGISTER") <= 6, "{status}: {} at once", w.count(A, "REGISTER"));
        w.run_for(600 * S);
        assert!(w.count(A, "REGISTER") <= 80, "{status}: {} in 600 s", w.count(A, "REGISTER"));
        assert!(!w.nodes[A].ua.is_registered(number(A)), "{status}");
        w.proxy.refuse.clear();
        w.run_for(400 * S);
        assert!(w.nodes[A].ua.is_registered(number(A)), "{status}: never tried again");
    }
}

#[test]
fn a_call_that_is_refused_ends() {
    for status in STATUSES {
        let mut w = refusing(World::new(), &["INVITE"], status);
        w.dial(A);
        w.run_for(300 * S);
        assert!(w.count(A, "INVITE") <= 6, "{status}: {}", w.count(A, "INVITE"));
        assert_eq!(w.nodes[A].log.last().map(String::as_str), Some("Ended"), "{status}");
        assert_eq!((w.nodes[A].journal.len(), w.nodes[A].ua.live_dialogs()), (0, 0), "{status}");
    }
}

#[test]
fn a_refresh_that_is_refused_is_not_repeated_without_end() {
    for status in STATUSES {
        let mut w = World::new();
        w.dial(A);
        w.run_for(S);
        let before = w.count(A, "UPDATE") + w.count(A, "INVITE");
        let mut w = refusing(w, &["UPDATE", "INVITE"], status);
        w.run_for(1900 * S);
        let sent = w.count(A, "UPDATE") + w.count(A, "INVITE") - before;
        assert!(sent <= 30, "{status}: {sent} in 1900 s");
        // The session expires after 1800 s without a refresh.
        assert_eq!(w.nodes[A].ua.live_dialogs(), 0, "{status}: {:?}", w.nodes[A].log);
        assert!(w.proxy.forgotten().is_empty(), "{status}: charged for ever");
    }
}

#[test]
fn a_bye_that_is_refused_is_owed_and_paced() {
    for status in STATUSES {
        let mut w = World::new();
        let call = w.dial(A);
        w.run_for(S);
        let mut w = refusing(w, &["BYE"], status);
        w.hang_up(A, call);
        w.run_for(S);
        assert!(w.count(A, "BYE") <= 6, "{status}: {} at once", w.count(A, "BYE"));
        w.run_for(3600 * S);
        assert!(w.count(A, "BYE") <= 200, "{status}: {} in an hour", w.count(A, "BYE"));
        assert_eq!(w.nodes[A].ua.live_dialogs(), 0, "{status}");
    }
}
