//! RFC 4028 between two user agents: who refreshes, how, and what a peer that is gone costs.

use crate::testing::*;
use std::time::Duration;

const S: Duration = Duration::from_secs(1);

fn established() -> World {
    let mut w = World::new();
    w.dial(A);
    w.run_for(S);
    assert_eq!(w.nodes[A].log.last().map(String::as_str), Some("Answered"));
    w
}

fn over(w: &World) {
    for node in &w.nodes {
        assert_eq!(node.log.last().map(String::as_str), Some("Ended"), "{:?}", node.log);
        assert_eq!((node.journal.len(), node.ua.live_dialogs()), (0, 0));
    }
    assert!(w.proxy.forgotten().is_empty());
}

/// §7.1, §9: asked for, granted, and refreshed at half the interval by the side that was named.
#[test]
fn a_long_call_is_refreshed() {
    let mut w = established();
    let invite = w.last(A, "INVITE");
    assert!(invite.contains("\r\nSession-Expires: 1800\r\nMin-SE: 90\r\n"), "{invite}");
    let ok = w.last(B, "SIP/2.0 200");
    assert!(ok.contains("\r\nSession-Expires: 1800;refresher=uac\r\nRequire: timer\r\n"), "{ok}");
    w.run_for(4000 * S);
    assert_eq!((w.count(A, "UPDATE"), w.count(B, "UPDATE")), (4, 0), "at 900, 1800, 2700 and 3600 s");
    let update = w.last(A, "UPDATE");
    assert!(update.contains("\r\nSession-Expires: 1800;refresher=uac\r\n"), "{update}");
    assert_eq!(field(update, "Supported"), field(w.last(A, "INVITE"), "Supported"));
    assert!(update.ends_with("Content-Length: 0\r\n\r\n"), "§7.4: without an offer");
    assert_eq!((w.count(A, "BYE"), w.count(B, "BYE")), (0, 0));
    assert!(!w.nodes[B].log.iter().any(|l| l.starts_with("PeerHungUp")));
}

/// §10: who waits for a refresh hangs up before the session expires, by 32 s or a third of it.
#[test]
fn a_peer_that_is_gone_is_hung_up() {
    let mut w = established();
    w.set_addr(A, false);
    w.run_for(1767 * S - S);
    assert_eq!(w.count(B, "BYE"), 0);
    w.run_for(3 * S);
    assert!(w.count(B, "BYE") >= 1, "at 1768 s");
    assert!(w.nodes[B].log.contains(&"Lost SessionExpired".to_owned()), "{:?}", w.nodes[B].log);

    // The refresher itself, when its UPDATE is not answered: at once (§10).
    let mut w = established();
    w.filter = Box::new(|t| t.starts_with("UPDATE"));
    w.run_for(930 * S);
    assert_eq!(w.count(A, "BYE"), 0);
    w.run_for(5 * S);
    assert_eq!(w.count(A, "BYE"), 1, "64·T1 after the UPDATE of 900 s");
    assert!(w.nodes[A].log.contains(&"Lost RefreshFailed".to_owned()), "{:?}", w.nodes[A].log);
    over(&w);
}

/// §10, RFC 3261 §12.2.1.2: the peer knows of no such dialog.
#[test]
fn a_refresh_that_is_refused_for_good_ends_the_call() {
    for status in [408, 481] {
        let mut w = established();
        w.proxy.refuse.insert("UPDATE", (status, "X: y"));
        w.run_for(910 * S);
        assert_eq!((w.count(A, "UPDATE"), w.count(A, "BYE")), (1, 1), "{status}");
        over(&w);
    }
}

/// §10: a refusal of the moment is tried again, twice; only a 2xx refreshes, and without one the session ends.
#[test]
fn a_refresh_that_is_refused_for_now_is_tried_again() {
    for (status, more, pause) in [(503, "Retry-After: 9", 9), (500, "X: y", 5), (480, "Retry-After: 1", 5)] {
        let mut w = established();
        w.proxy.refuse.insert("UPDATE", (status, more));
        w.run_for(900 * S);
        assert_eq!(w.count(A, "UPDATE"), 1, "{status}");
        w.run_for(pause * S - S);
        assert_eq!(w.count(A, "UPDATE"), 1, "{status}");
        w.run_for(S + pause * S);
        assert_eq!(w.count(A, "UPDATE"), 3, "{status}");
        w.run_for(1760 * S - 900 * S - 2 * pause * S);
        assert_eq!((w.count(A, "UPDATE"), w.count(A, "BYE")), (3, 0), "{status}");
        w.run_for(20 * S);
        assert!(w.count(A, "BYE") + w.count(B, "BYE") >= 1, "{status}: 32 s before its end");
        over(&w);
    }

    let mut w = established();
    w.proxy.refuse.insert("UPDATE", (503, "X: y"));
    w.run_for(902 * S);
    w.proxy.refuse.clear();
    w.run_for(1900 * S);
    assert_eq!((w.count(A, "UPDATE"), w.count(A, "BYE") + w.count(B, "BYE")), (4, 0), "and goes on");

    // Beyond the end there is nothing to refresh.
    let mut w = established();
    w.proxy.refuse.insert("UPDATE", (503, "Retry-After: 870"));
    w.run_for(1780 * S);
    assert_eq!(w.count(A, "UPDATE"), 1);
    over(&w);
}

/// RFC 3261 §8.1.3.5: refused for its form, the refresh goes once more without extensions, and so does each one after it.
#[test]
fn a_refresh_that_is_refused_for_its_form_is_sent_in_another() {
    for (status, more) in [(413, "X: y"), (415, "Accept: text/plain"), (420, "Unsupported: timer")] {
        let mut w = established();
        w.proxy.refuse_once.insert("UPDATE", (status, more));
        w.run_for(902 * S);
        assert_eq!((w.count(A, "UPDATE"), w.count(A, "BYE")), (2, 0), "{status}");
        let again = w.last(A, "UPDATE");
        for gone in ["Supported", "Allow", "Session-Expires", "Min-SE"] {
            assert!(!again.contains(&format!("\r\n{gone}: ")), "{status}: {again}");
        }
        // Nothing was agreed on, so nothing expires; each side still asks whether the other is there, until one agrees again.
        w.run_for(4000 * S);
        let asked = w.count(A, "UPDATE") + w.count(B, "UPDATE");
        assert!(asked >= 6, "{status}: {asked}");
        assert_eq!(w.count(A, "BYE") + w.count(B, "BYE"), 0, "{status}");
    }

    // For good: two tries, and the session ends when it was to end.
    let mut w = established();
    w.proxy.refuse.insert("UPDATE", (420, "Unsupported: timer"));
    w.run_for(1700 * S);
    assert_eq!((w.count(A, "UPDATE"), w.count(A, "BYE")), (2, 0));
    w.run_for(100 * S);
    over(&w);

    // §20.33: a 413 with Retry-After is a matter of time, not of form.
    let mut w = established();
    w.proxy.refuse_once.insert("UPDATE", (413, "Retry-After: 20"));
    w.run_for(919 * S);
    assert_eq!(w.count(A, "UPDATE"), 1);
    w.run_for(3 * S);
    assert_eq!(w.count(A, "UPDATE"), 2);
    assert!(w.last(A, "UPDATE").contains("\r\nSession-Expires: "));
}

/// §7.2: what the 2xx does not mention does not expire. Refreshes go on for our own benefit; only a peer that is gone, or
/// knows of no such call, ends it.
#[test]
fn a_peer_without_session_timers_is_not_hung_up() {
    let mut w = World::new();
    w.proxy.strip = Some("Session-Expires");
    w.dial(A);
    w.run_for(S);
    w.proxy.refuse.insert("UPDATE", (503, "X: y"));
    w.run_for(4000 * S);
    assert_eq!((w.count(A, "UPDATE"), w.count(A, "BYE") + w.count(B, "BYE")), (4, 0));
    w.proxy.refuse.insert("UPDATE", (481, "X: y"));
    w.run_for(900 * S);
    assert_eq!(w.count(A, "BYE"), 1);
    over(&w);
}

/// RFC 3261 §12.2: the peer's requests, and its answers to ours, may move it. The journal knows.
#[test]
fn a_target_that_moved_is_in_the_record() {
    let mut w = established();
    w.filter = Box::new(|_| true); // the carrier is played by this test
    let update = format!(
        "UPDATE sip:x@{} SIP/2.0\r\nVia: SIP/2.0/UDP {PROXY};branch=z9hG4bKm\r\nMax-Forwards: 9\r\n{}\r\n\
         CSeq: 7 UPDATE\r\nContact: <sip:moved@192.0.2.77>\r\nContent-Length: 0\r\n\r\n",
        addr(A),
        ["From", "To", "Call-ID"].map(|n| field(w.last(A, "ACK"), n)).join("\r\n"),
    );
    // From the other side of the dialog.
    let update = update.replace("From: ", "X: ").replace("To: ", "From: ").replace("X: ", "To: ");
    w.inject(A, &update);
    w.run_for(S);
    w.filter = Box::new(|_| false);
    w.crash(A);
    w.run_for(S);
    assert!(w.last(A, "BYE").starts_with("BYE sip:moved@192.0.2.77 SIP/2.0\r\n"), "{}", w.last(A, "BYE"));
}

fn field(text: &str, name: &str) -> String {
    text.lines().find(|l| l.starts_with(&format!("{name}: "))).map(str::to_owned).expect("the field is there")
}

/// A peer that allows UPDATE and does not know it: a re-INVITE offers the same again, with the same version.
#[test]
fn a_refusal_of_update_makes_it_a_reinvite() {
    let mut w = established();
    w.proxy.authenticate = true;
    w.proxy.refuse.insert("UPDATE", (501, "X: y"));
    w.run_for(910 * S);
    let invites: Vec<_> =
        w.wire.iter().filter(|(_, t)| t.starts_with("INVITE")).map(|(_, t)| t.clone()).collect();
    let body = |t: &str| t.split("\r\n\r\n").nth(1).map(str::to_owned);
    let [first, challenged, again] = &invites[..] else { panic!("{invites:?}") };
    assert_eq!((body(challenged), body(again)), (body(first), body(first)));
    assert!(again.contains("\r\nProxy-Authorization: "));
    // RFC 3261 §13.2.2.4: the ACK has the credentials of its INVITE.
    let field = |t: &str, name: &str| t.lines().find(|l| l.starts_with(name)).map(str::to_owned);
    let ack = w.last(A, "ACK");
    assert_eq!(field(ack, "Proxy-Authorization"), field(again, "Proxy-Authorization"));
    w.proxy.refuse.clear();
    w.run_for(2000 * S);
    assert_eq!(w.count(A, "BYE") + w.count(B, "BYE"), 0);
}

/// RFC 3261 §14.1: whose Call-ID it is waits 2.1 to 4 s, the other up to 2 s.
#[test]
fn glare() {
    let mut w = established();
    w.proxy.refuse.insert("UPDATE", (491, "X: y"));
    w.run_for(899 * S);
    let mut times = Vec::new();
    // 20 pauses of at most 4 s.
    for _ in 0..8000 {
        let before = w.count(A, "UPDATE");
        w.run_for(Duration::from_millis(10));
        if w.count(A, "UPDATE") > before {
            times.push(w.now);
        }
    }
    let pauses: Vec<_> = times.windows(2).map(|p| p[1].saturating_duration_since(p[0]).as_millis()).collect();
    let (first, later) = pauses.split_at(8);
    assert!(first.iter().all(|p| (2100..=4040).contains(p)), "{pauses:?}");
    assert!(later.iter().all(|p| *p >= 2100), "{pauses:?}");
    w.proxy.refuse.clear();
    w.run_for(1000 * S);
    assert_eq!(w.count(A, "BYE") + w.count(B, "BYE"), 0);
}

/// §7.3: 422 is answered with an interval that is long enough, once for each raise.
#[test]
fn an_interval_that_is_too_small_is_raised() {
    let mut w = World::new();
    w.proxy.refuse.insert("INVITE", (422, "Min-SE: 3600"));
    w.dial(A);
    w.run_for(S);
    assert_eq!((w.count(A, "INVITE"), w.count(A, "ACK")), (2, 2));
    assert!(w.last(A, "INVITE").contains("\r\nCSeq: 2 INVITE\r\n"));
    assert!(w.last(A, "INVITE").contains("\r\nSession-Expires: 3600\r\nMin-SE: 3600\r\n"));
    assert!(w.nodes[A].log[0].starts_with("Failed Status { status: 422,"), "{:?}", w.nodes[A].log);
}

/// §9, Table 2: what the caller fixed is not changed; who does not know of the timer is not made to refresh.
#[test]
fn the_callee_chooses_the_refresher_as_the_table_says() {
    for (supported, asked, granted, required) in [
        ("Supported: timer\r\n", "200", "200;refresher=uac", true),
        ("Supported: timer\r\n", "200;refresher=uac", "200;refresher=uac", true),
        ("Supported: timer\r\n", "200;refresher=uas", "200;refresher=uas", true),
        ("", "200", "200;refresher=uas", false),
    ] {
        let mut w = World::new();
        let body = sdp(A).to_string();
        w.inject(
            B,
            format!(
                "INVITE sip:{n}@198.51.100.12:5060 SIP/2.0\r\nVia: SIP/2.0/UDP 198.51.100.10:5060;branch=z9hG4bKt\r\n\
                 Max-Forwards: 9\r\nFrom: <sip:x@h.example>;tag=f\r\nTo: <sip:{n}@h.example>\r\nCall-ID: timer\r\n\
                 CSeq: 1 INVITE\r\nContact: <sip:x@192.0.2.7>\r\nAllow: UPDATE\r\n{supported}Session-Expires: {asked}\r\n\
                 Content-Type: application/sdp\r\nContent-Length: {}\r\n\r\n{body}",
                body.len(),
                n = number(B),
            ),
        );
        w.run_for(Duration::from_millis(100));
        let ok = w.last(B, "SIP/2.0 200").to_owned();
        assert!(ok.contains(&format!("\r\nSession-Expires: {granted}\r\n")), "{ok}");
        assert_eq!(ok.contains("\r\nRequire: timer\r\n"), required, "{ok}");
        let to = ok.lines().find(|l| l.starts_with("To")).expect("To").to_owned();
        w.inject(
            B,
            format!(
                "ACK sip:{n}@198.51.100.12:5060 SIP/2.0\r\nVia: SIP/2.0/UDP 198.51.100.10:5060;branch=z9hG4bKu\r\n\
                 Max-Forwards: 9\r\nFrom: <sip:x@h.example>;tag=f\r\n{to}\r\nCall-ID: timer\r\nCSeq: 1 ACK\r\n\r\n",
                n = number(B),
            ),
        );
        assert_eq!(w.nodes[B].log.last().map(String::as_str), Some("Confirmed"));
        w.run_for(101 * S);
        let ours = granted.ends_with("uas");
        assert_eq!(w.count(B, "UPDATE") > 0, ours, "at half the interval");
        w.run_for(70 * S);
        assert!(w.count(B, "BYE") > 0, "no answer or refresh: 200 s less 32 s, or 64·T1");
    }
}

/// RFC 3261 §14.1: no re-INVITE before the last one has its final answer, however long that takes.
#[test]
fn a_reinvite_waits_for_the_one_before_it() {
    let mut w = World::new();
    w.proxy.strip = Some("Session-Expires");
    w.dial(A);
    w.run_for(S);
    w.proxy.refuse.insert("UPDATE", (501, "X: y"));
    w.filter = Box::new(|t| t.starts_with("INVITE"));
    w.run_for(901 * S);
    let invite = w.last(A, "INVITE").to_owned();
    let head = ["Via", "From", "To", "Call-ID", "CSeq"].map(|n| field(&invite, n)).join("\r\n");
    let say = |w: &mut World, status: &str| {
        w.inject(A, format!("SIP/2.0 {status}\r\n{head}\r\nContent-Length: 0\r\n\r\n"));
    };
    say(&mut w, "100 Trying");
    let invites = w.count(A, "INVITE");
    w.run_for(1000 * S);
    assert_eq!(w.count(A, "INVITE"), invites);
    say(&mut w, "503 Service Unavailable");
    w.run_for(6 * S);
    assert!(w.count(A, "INVITE") > invites);
}

/// RFC 4028 §7.2: a Session-Expires that cannot be read is none: we refresh for our own benefit, and a peer that is gone
/// is noticed. An interval of years is watched like one of a day.
#[test]
fn a_timer_that_cannot_be_read_does_not_end_the_watch() {
    for (header, seconds) in [
        ("Session-Expires: abc;refresher=uac", 900),
        ("Session-Expires: ;refresher=uas", 900),
        ("Session-Expires:", 900),
        ("Session-Expires: 600;refresher=both", 300),
        ("Session-Expires: 600;refresher", 300),
        ("Session-Expires: 99999999999999999999;refresher=uac", 43_200),
    ] {
        let mut w = World::new();
        w.proxy.strip = Some("Session-Expires");
        w.proxy.add = Some(header);
        w.dial(A);
        w.run_for(S);
        assert_eq!(w.nodes[A].log.last().map(String::as_str), Some("Answered"), "{header}");
        w.proxy.add = None;
        w.run_for((seconds - 2) * S);
        assert_eq!(w.count(A, "UPDATE"), 0, "{header}");
        w.run_for(3 * S);
        assert_eq!(w.count(A, "UPDATE"), 1, "{header}");
    }
}

/// RFC 4028 §7.3: a 422 may ask for ever more; we do not follow without an end, nor to an interval that is none.
#[test]
fn an_interval_is_not_raised_for_ever() {
    for (first, tries) in [(1800_u64, 4), (86_399, 3), (86_401, 1), (4_294_967_295, 1)] {
        let mut w = World::new();
        w.filter = Box::new(|_| true);
        w.dial(A);
        for n in 0..20 {
            w.run_for(Duration::from_millis(10));
            let invite = w.last(A, "INVITE").to_owned();
            let head = ["Via", "From", "To", "Call-ID", "CSeq"].map(|f| field(&invite, f)).join("\r\n");
            w.inject(A, format!("SIP/2.0 422 Small\r\n{head}\r\nMin-SE: {}\r\n\r\n", first + n));
        }
        assert_eq!(w.count(A, "INVITE"), tries, "{first}");
        assert!(w.nodes[A].log[0].starts_with("Failed Status { status: 422,"), "{:?}", w.nodes[A].log);
    }
    // The same for a refresh.
    let mut w = established();
    w.filter = Box::new(|t| t.starts_with("UPDATE"));
    w.run_for(900 * S);
    for n in 0..20 {
        let update = w.last(A, "UPDATE").to_owned();
        let head = ["Via", "From", "To", "Call-ID", "CSeq"].map(|f| field(&update, f)).join("\r\n");
        w.inject(A, format!("SIP/2.0 422 Small\r\n{head}\r\nMin-SE: {}\r\n\r\n", 2000 + n));
    }
    let branches: std::collections::BTreeSet<_> =
        w.wire.iter().filter(|(_, t)| t.starts_with("UPDATE")).map(|(_, t)| field(t, "Via")).collect();
    assert_eq!(branches.len(), 4);
}

/// RFC 3261 §14.1: a peer that is always busy with a request of its own is asked ever more seldom.
#[test]
fn a_glare_without_an_end_is_not_a_flood() {
    let mut w = World::new();
    w.proxy.strip = Some("Session-Expires"); // the session does not expire
    w.dial(A);
    w.run_for(S);
    w.proxy.refuse.insert("UPDATE", (491, "X: y"));
    w.run_for(8100 * S);
    let sent = w.count(A, "UPDATE");
    assert!((40..140).contains(&sent), "{sent} in nine intervals");
    assert_eq!(w.count(A, "BYE"), 0);
}

/// RFC 3262 §3: what a re-INVITE does not offer it need not acknowledge.
#[test]
fn a_reinvite_does_not_offer_reliable_provisional_responses() {
    let mut w = World::new();
    w.proxy.strip = Some("Allow");
    w.dial(A);
    w.run_for(S);
    assert_eq!(field(w.last(A, "INVITE"), "Supported"), "Supported: 100rel, timer");
    w.run_for(900 * S);
    assert_eq!(w.count(A, "INVITE"), 2);
    assert_eq!(field(w.last(A, "INVITE"), "Supported"), "Supported: timer");
}
