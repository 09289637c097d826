//! RFC 6193 §5.2: nothing inside a call changes the VPN, and what does not change it is answered as before.

use crate::sdp::SessionDescription;
use crate::testing::*;
use sipsec_net::{Fingerprint, Kbps};
use std::time::Duration;

const S: Duration = Duration::from_secs(1);

/// A call that is up; the side that is not `us` is played by the test from here on.
struct InCall {
    w: World,
    us: usize,
    cseq: u32,
}

impl InCall {
    fn new(us: usize) -> Self {
        let mut w = World::new();
        w.dial(A);
        w.run_for(S);
        Self::of(w, us)
    }

    fn of(mut w: World, us: usize) -> Self {
        w.filter = Box::new(|_| true);
        Self { w, us, cseq: 50 }
    }

    fn request(&self, method: &str, body: &str) -> String {
        // The ACK has both tags; in it, A is From.
        let ack = self.w.last(A, "ACK");
        let (from, to) = if self.us == A { ("To", "From") } else { ("From", "To") };
        let kind = if body.is_empty() { "" } else { "Content-Type: application/sdp\r\n" };
        format!(
            "{method} sip:x@{} SIP/2.0\r\nVia: SIP/2.0/UDP {PROXY};branch=z9hG4bK{method}{}\r\nMax-Forwards: 9\r\n\
             From: {}\r\nTo: {}\r\nCall-ID: {}\r\nCSeq: {} {method}\r\nContact: <sip:x@192.0.2.7>\r\n{kind}\
             Content-Length: {}\r\n\r\n{body}",
            addr(self.us),
            self.cseq,
            field(ack, from),
            field(ack, to),
            field(ack, "Call-ID"),
            self.cseq,
            body.len(),
        )
    }

    /// Asks, acknowledges what an INVITE is answered, and gives the answer.
    fn ask(&mut self, method: &str, body: &str) -> String {
        self.cseq += 1;
        let text = self.request(method, body);
        self.w.inject(self.us, text);
        let (_, answer) = self.w.wire.last().cloned().expect("an answer");
        if method == "INVITE" {
            let ack = self.request("ACK", "").replace("bKACK", "bKINVITE");
            self.w.inject(self.us, ack);
        }
        answer
    }

    fn lost(&self) -> bool {
        self.w.nodes[self.us].log.contains(&"Lost MediaChanged".to_owned())
    }
}

fn body(text: &str) -> &str {
    text.split_once("\r\n\r\n").map_or("", |(_, body)| body)
}

fn changed(i: usize, change: impl FnOnce(&mut SessionDescription)) -> String {
    let mut sdp = sdp(i);
    sdp.version += 1;
    change(&mut sdp);
    sdp.to_string()
}

fn fingerprint() -> Fingerprint {
    "sha-1 4A:AD:B9:B1:3F:82:18:3B:54:02:12:DF:3E:5D:49:6B:19:E5:7C:AB".parse().expect("a fingerprint")
}

const WARNED: &str = "\r\nWarning: 399 sipsec \"the VPN's ";

#[test]
fn an_offer_that_changes_the_vpn_is_refused() {
    for us in [A, B] {
        let peer = 1 - us;
        for method in ["INVITE", "UPDATE"] {
            let mut c = InCall::new(us);
            let own = if us == A { "active" } else { "passive" };
            for (offer, what) in [
                (changed(peer, |s| s.ike.addr.set_port(50_003)), "address"),
                (changed(peer, |s| s.ike.bandwidth = Some(Kbps(511))), "bandwidth"),
                (changed(peer, |s| s.ike.fingerprints.push(fingerprint())), "fingerprint"),
                (changed(peer, |s| s.ike.psk_fingerprints.push(fingerprint())), "fingerprint"),
                (changed(peer, |s| s.ike.setup = crate::sdp::IkeSetup::from_token(own)), "role in IKE"),
                (
                    changed(peer, |s| (s.index, s.others) = (1, vec!["m=audio 0 RTP/AVP 0".into()])),
                    "place among the media",
                ),
            ] {
                let answer = c.ask(method, &offer);
                assert!(answer.starts_with("SIP/2.0 488 "), "{us} {method} {what}: {answer}");
                assert!(
                    answer.contains(&format!("{WARNED}{what} cannot change within a call\"")),
                    "{answer}"
                );
            }
            let none = changed(peer, |s| s.ike.bandwidth = None);
            assert!(c.ask(method, &none).starts_with("SIP/2.0 488 "), "{us} {method}: no b=AS");
            let refusing = changed(peer, |s| s.ike.addr.set_port(0));
            assert!(c.ask(method, &refusing).starts_with("SIP/2.0 488 "), "{us} {method}: port 0");
            // RFC 3261 §14.2: and the session is as it was.
            assert!(c.ask(method, &sdp(peer).to_string()).starts_with("SIP/2.0 200 "));
            assert!(!c.lost());
        }
    }
}

#[test]
fn an_offer_that_changes_nothing_is_answered_as_before() {
    for us in [A, B] {
        let peer = 1 - us;
        for method in ["INVITE", "UPDATE"] {
            let mut c = InCall::new(us);
            let ours = sdp(us).to_string();
            let answer = c.ask(method, &sdp(peer).to_string());
            assert!(answer.starts_with("SIP/2.0 200 "), "{answer}");
            assert_eq!(body(&answer), ours, "the same version");
            let answer = c.ask(method, &changed(peer, |s| s.ike.bandwidth = Some(Kbps(1000))));
            assert_eq!(body(&answer), ours, "our own limit is what was agreed on");
            // RFC 6193 §4: the complement, and the role that we have.
            let actpass = changed(peer, |s| s.ike.setup = Some(crate::sdp::IkeSetup::Actpass));
            assert_eq!(body(&c.ask(method, &actpass)), ours);
        }
    }
}

/// An answer's default is passive, an offer's active (RFC 6193 §4): what is repeated means what it meant.
#[test]
fn a_description_without_a_setup_may_be_repeated() {
    let mut silent = sdp(B);
    silent.ike.setup = None;
    let mut c = InCall::of(World::answered_with(&silent), A);
    assert!(c.ask("INVITE", &silent.to_string()).starts_with("SIP/2.0 200 "));
}

/// The smaller rate was the peer's: a larger one in a later offer does not raise what the carrier counts.
#[test]
fn the_rate_stays_what_was_agreed_on() {
    let mut small = sdp(B);
    small.ike.bandwidth = Some(Kbps(64));
    let mut c = InCall::of(World::answered_with(&small), A);
    let answer = c.ask("INVITE", &changed(B, |_| {}));
    assert!(body(&answer).contains("\r\nb=AS:64\r\n"), "{answer}");
    assert!(body(&answer).starts_with("v=0\r\no=- 1000 1001 IN"), "RFC 3264 §8: the next version: {answer}");
    let again = c.ask("UPDATE", &changed(B, |s| s.version += 1));
    assert_eq!(body(&again), body(&answer), "and then the same again");
}

/// RFC 3264 §8: a media line that is added is refused with port 0, and stays.
#[test]
fn media_that_is_added_is_refused_in_place() {
    let mut c = InCall::new(A);
    let more = || vec!["m=audio 4000 RTP/AVP 0".into()];
    let answer = c.ask("INVITE", &changed(B, |s| s.others = more()));
    assert!(answer.starts_with("SIP/2.0 200 "), "{answer}");
    assert!(body(&answer).ends_with("a=ike-setup:active\r\nm=audio 0 RTP/AVP 0\r\n"), "{answer}");
    let offerless = c.ask("INVITE", "");
    assert_eq!(body(&offerless), body(&answer), "our own offer has it too");
    let fewer = c.ask("UPDATE", &changed(B, |s| s.version += 5));
    assert!(fewer.starts_with("SIP/2.0 488 "), "{fewer}");
}

/// RFC 3261 §13.2.1: the answer to the offer of our 200 is in the ACK. It cannot be refused.
#[test]
fn an_ack_that_moves_or_refuses_the_vpn_ends_the_call() {
    for (answer, ends) in [
        (String::new(), false),
        (sdp(B).to_string(), false),
        ("no SDP at all".to_owned(), true),
        (changed(B, |s| s.ike.addr.set_port(50_003)), true),
        (changed(B, |s| s.ike.addr.set_port(0)), true),
        (changed(B, |s| s.ike.bandwidth = Some(Kbps(64))), true),
    ] {
        let mut c = InCall::new(A);
        c.cseq += 1;
        let invite = c.request("INVITE", "");
        c.w.inject(A, invite);
        assert_eq!(body(c.w.last(A, "SIP/2.0 200")), sdp(A).to_string(), "RFC 3261 §14.2: the 200 offers");
        let ack = c.request("ACK", &answer);
        c.w.inject(A, ack);
        assert_eq!((c.lost(), c.w.count(A, "BYE")), (ends, usize::from(ends)), "{answer}");
        assert!(ends || c.ask("OPTIONS", "").starts_with("SIP/2.0 200 "));
    }
}

/// The 2xx to our own re-INVITE: acknowledged, and then judged.
#[test]
fn an_answer_to_our_refresh_that_moves_or_refuses_the_vpn_ends_the_call() {
    for (answer, ends) in [
        (sdp(B).to_string(), false),
        (changed(B, |s| s.ike.bandwidth = Some(Kbps(1000))), false),
        (changed(B, |s| s.ike.addr.set_port(50_003)), true),
        (changed(B, |s| s.ike.addr.set_port(0)), true),
        (changed(B, |s| s.ike.fingerprints.push(fingerprint())), true),
        (changed(B, |s| s.others.push("m=audio 0 RTP/AVP 0".into())), true),
    ] {
        let mut w = World::new();
        w.proxy.strip = Some("Allow"); // without UPDATE it is a re-INVITE
        w.dial(A);
        w.run_for(S);
        w.filter = Box::new(|_| true);
        let before = w.count(A, "INVITE");
        w.run_for(900 * S);
        let invite = w.last(A, "INVITE").to_owned();
        assert!(w.count(A, "INVITE") > before);
        let head =
            ["Via", "From", "To", "Call-ID", "CSeq"].map(|n| format!("{n}: {}\r\n", field(&invite, n)));
        let ok = format!(
            "SIP/2.0 200 OK\r\n{}Contact: <sip:x@192.0.2.7>\r\nSession-Expires: 1800;refresher=uac\r\n\
             Content-Type: application/sdp\r\nContent-Length: {}\r\n\r\n{answer}",
            head.concat(),
            answer.len()
        );
        let acks = w.count(A, "ACK");
        w.inject(A, ok);
        assert_eq!(w.count(A, "ACK"), acks + 1, "{answer}");
        assert_eq!(w.count(A, "BYE"), usize::from(ends), "{answer}");
        assert_eq!(w.nodes[A].log.contains(&"Lost MediaChanged".to_owned()), ends, "{answer}");
    }
}

/// RFC 4028 §7.4: the largest Min-SE of the dialog, and that the peer knows UPDATE, outlast a refresh of the peer's that
/// says nothing of them. RFC 3261 §14.1: a re-INVITE waits for the ACK of our own 2xx.
#[test]
fn what_the_peer_said_before_is_remembered_and_a_reinvite_waits() {
    let mut c = InCall::new(A);
    c.w.run_for(900 * S);
    let update = c.w.last(A, "UPDATE").to_owned();
    assert!(update.starts_with("UPDATE"));
    c.cseq += 1;
    let timed = |text: String, min_se: &str| {
        let timer = format!("Supported: timer\r\nSession-Expires: 90;refresher=uas\r\n{min_se}Contact:");
        text.replacen("Contact:", &timer, 1)
    };
    let offer = sdp(B).to_string();
    let first = timed(c.request("INVITE", &offer), "Min-SE: 600\r\n");
    c.w.inject(A, first);
    let ack = c.request("ACK", "");
    c.w.inject(A, ack);
    c.cseq += 1;
    let second = timed(c.request("INVITE", &offer), "");
    c.w.inject(A, second);
    assert!(c.w.last(A, "SIP/2.0 200").contains("\r\nSession-Expires: 90;refresher=uas\r\n"));

    // Now it turns out that it does not know UPDATE.
    let head = ["Via", "From", "To", "Call-ID", "CSeq"].map(|n| format!("{n}: {}\r\n", field(&update, n)));
    c.w.inject(A, format!("SIP/2.0 501 Not Implemented\r\n{}Content-Length: 0\r\n\r\n", head.concat()));
    let invites = c.w.count(A, "INVITE");
    c.w.run_for(4 * S);
    assert_eq!(c.w.count(A, "INVITE"), invites, "its INVITE is not acknowledged");
    let ack = c.request("ACK", "");
    c.w.inject(A, ack);
    c.w.run_for(2 * S);
    assert!(c.w.count(A, "INVITE") > invites);
    let invite = c.w.last(A, "INVITE");
    assert_eq!(
        (field(invite, "Min-SE").as_str(), field(invite, "Session-Expires").as_str()),
        ("600", "600;refresher=uac")
    );
}

/// RFC 3261 §14.2: a re-INVITE before the ACK of the last one is to come again, after a pause that two peers do not share.
#[test]
fn a_reinvite_that_comes_too_soon_is_to_wait_a_random_time() {
    let mut c = InCall::new(A);
    let offer = sdp(B).to_string();
    let pauses: std::collections::BTreeSet<u32> = (0..40)
        .filter_map(|_| {
            c.cseq += 1;
            let invite = c.request("INVITE", &offer);
            c.w.inject(A, invite);
            c.w.last(A, "SIP/2.0 500").lines().find_map(|l| l.strip_prefix("Retry-After: ")?.parse().ok())
        })
        .collect();
    assert!(pauses.len() > 3 && pauses.iter().all(|p| *p <= 10), "{pauses:?}");
}

/// RFC 3261 §8.2.3, RFC 4028 §9: a body, an encoding and an interval are judged inside a call as they are before it.
#[test]
fn content_is_judged_in_the_call_as_before_it() {
    let body = sdp(B).to_string();
    let rows: &[(&str, &str, &[&str])] = &[
        ("Content-Type: multipart/mixed; boundary=xx", "415 ", &["Accept: application/sdp"]),
        ("Content-Type: text/plain", "415 ", &["Accept: application/sdp"]),
        ("Content-Type: application/isup", "415 ", &["Accept: application/sdp"]),
        ("X: without a type", "415 ", &["Accept: application/sdp"]),
        (
            "Content-Type: application/sdp\r\nContent-Encoding: gzip",
            "415 ",
            &["Accept: application/sdp", "Accept-Encoding: identity"],
        ),
        ("Content-Type: application/sdp\r\nAccept: text/html", "406 ", &[]),
        ("Content-Type: application/sdp\r\nSupported: timer\r\nSession-Expires: 60", "422 ", &["Min-SE: 90"]),
        // A peer without session timers cannot raise one.
        ("Content-Type: application/sdp\r\nSession-Expires: 60", "200 ", &[]),
        ("Content-Type: application/sdp\r\nAccept: application/*", "200 ", &[]),
    ];
    for us in [A, B] {
        for method in ["INVITE", "UPDATE"] {
            for (fields, status, told) in rows {
                let mut c = InCall::new(us);
                c.cseq += 1;
                let offer = if us == A { body.clone() } else { sdp(A).to_string() };
                let text = c.request(method, &offer).replacen("Content-Type: application/sdp", fields, 1);
                c.w.inject(us, text);
                let (_, answer) = c.w.wire.last().cloned().expect("an answer");
                assert!(answer.starts_with(&format!("SIP/2.0 {status}")), "{us} {method} {fields}: {answer}");
                for field in *told {
                    assert!(answer.contains(&format!("\r\n{field}\r\n")), "{fields}: {answer}");
                }
                assert!(!c.lost());
            }
        }
    }
}

/// RFC 4028 §7.2: a refresh of the peer without an interval, or with one that cannot be read, ends the expiry of the session,
/// and not our watch: a peer that has vanished since is still noticed.
#[test]
fn a_refresh_without_an_interval_does_not_end_the_watch() {
    for us in [A, B] {
        for (method, odd) in
            [("UPDATE", ""), ("INVITE", "Session-Expires: soon\r\n"), ("UPDATE", "x: \"abc\r\n")]
        {
            let mut c = InCall::new(us);
            c.cseq += 1;
            let text = c.request(method, "").replace("Max-Forwards", &format!("{odd}Max-Forwards"));
            c.w.inject(us, text);
            let (_, answer) = c.w.wire.last().cloned().expect("an answer");
            assert!(answer.starts_with("SIP/2.0 200 ") && !answer.contains("Session-Expires"), "{answer}");
            if method == "INVITE" {
                // Its ACK answers our offer.
                let ack = c.request("ACK", &sdp(1 - us).to_string()).replace("bKACK", "bKINVITE");
                c.w.inject(us, ack);
            }
            let before = c.w.count(us, "UPDATE") + c.w.count(us, "INVITE");
            c.w.run_for(1000 * S);
            let refreshes = c.w.count(us, "UPDATE") + c.w.count(us, "INVITE") - before;
            assert!(refreshes >= 1, "{us} {method} {odd}");
            // Nothing answers it.
            let log = &c.w.nodes[us].log;
            assert!(log.contains(&"Lost RefreshFailed".to_owned()), "{us} {method} {odd}: {log:?}");
        }
    }
}
