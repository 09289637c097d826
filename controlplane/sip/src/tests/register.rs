//! Registration: challenges, refreshes, refusals, and addresses that come and go.

use crate::Locals;
use crate::testing::*;
use std::time::Duration;

const S: Duration = Duration::from_secs(1);

fn field<'a>(text: &'a str, name: &str) -> &'a str {
    text.lines().find_map(|l| l.strip_prefix(&format!("{name}: "))).unwrap_or_default()
}

#[test]
fn challenged_refreshed_and_removed() {
    let mut w = World::empty(3);
    w.set_addr(A, true);
    w.run_for(S);
    let all = |w: &World| -> Vec<String> { w.wire.iter().map(|(_, t)| t.clone()).collect() };
    let sent = all(&w);
    assert_eq!(sent.len(), 2, "401, then with credentials");
    assert!(sent[1].contains("Authorization: Digest username=\"0388881001\", realm=\"carrier.example\""));
    assert!(sent[1].contains("algorithm=SHA-256, qop=auth, nc=00000001"));
    assert_eq!(w.nodes[A].log, ["Registering", "Registered"]);
    let view = w.nodes[A].ua.registrations().next().expect("a line");
    assert_eq!(view.contact, Some(addr(A)));
    assert!(w.nodes[A].ua.is_registered(number(A)) && !w.nodes[A].ua.is_registered(number(B)));

    // At half of 3600 s, with the nonce that is known; one Call-ID, CSeq rising (§10.2).
    w.run_for(1600 * S);
    assert_eq!(w.wire.len(), 2);
    w.run_for(200 * S);
    let sent = all(&w);
    assert_eq!(sent.len(), 3);
    assert!(sent[2].contains("nc=00000002"));
    assert_eq!(field(&sent[2], "Call-ID"), field(&sent[0], "Call-ID"));
    assert_eq!(
        sent.iter().map(|t| field(t, "CSeq")).collect::<Vec<_>>(),
        ["1 REGISTER", "2 REGISTER", "3 REGISTER"]
    );

    let now = w.now;
    w.nodes[A].ua.unregister_all(now);
    w.drain(A);
    assert!(!w.nodes[A].ua.unregistered());
    w.run_for(S);
    assert!(w.nodes[A].ua.unregistered());
    assert_eq!(field(w.last(A, "REGISTER"), "Expires"), "0");
    assert_eq!(w.nodes[A].log.last().map(String::as_str), Some("Unregistered"));
    assert_eq!(
        w.nodes[A].ua.poll_timeout().filter(|at| *at > w.now + 10 * S),
        None,
        "nothing comes after it"
    );
}

#[test]
fn an_interval_that_is_too_brief_is_raised() {
    let mut w = World::empty(3);
    w.proxy.refuse.insert("REGISTER", (423, "Min-Expires: 7200"));
    w.set_addr(A, true);
    w.run_for(S);
    assert_eq!(w.count(A, "REGISTER"), 2, "once, not for ever");
    assert_eq!(field(w.last(A, "REGISTER"), "Expires"), "7200");
    assert_eq!(w.nodes[A].log, ["Registering", "Failed { reason: \"423 Interval Too Brief\" }"]);
    w.proxy.refuse.clear();
    w.run_for(20 * S);
    assert_eq!(field(w.last(A, "REGISTER"), "Expires"), "7200");
    assert_eq!(w.nodes[A].log.last().map(String::as_str), Some("Registered"));
}

#[test]
fn a_wrong_password_is_said_and_tried_seldom() {
    let mut w = World::empty(3);
    w.proxy
        .refuse
        .insert("REGISTER", (401, "WWW-Authenticate: Digest realm=\"r\", nonce=\"n\", qop=\"auth\""));
    w.set_addr(A, true);
    w.run_for(S);
    assert_eq!(w.count(A, "REGISTER"), 2);
    let failed = "Failed { reason: \"401: username or password is wrong\" }";
    assert_eq!(w.nodes[A].log.last().map(String::as_str), Some(failed));
    // §22.1: not the same credentials over and over.
    w.run_for(3600 * S);
    assert!((10..40).contains(&w.count(A, "REGISTER")), "{}", w.count(A, "REGISTER"));
    // RFC 7616 §3.3: a stale nonce is answered, but not without an end.
    let mut w = World::empty(3);
    w.proxy.refuse.insert("REGISTER", (401, "WWW-Authenticate: Digest realm=\"r\", nonce=\"n\", stale=TRUE"));
    w.set_addr(A, true);
    w.run_for(S);
    assert_eq!(w.count(A, "REGISTER"), 5);
    let mut w = World::empty(3);
    w.proxy.refuse.insert("REGISTER", (401, "WWW-Authenticate: Basic realm=\"r\""));
    w.set_addr(A, true);
    w.run_for(S);
    assert_eq!(w.count(A, "REGISTER"), 1, "Basic is never answered");
}

#[test]
fn a_registrar_that_is_away_comes_back() {
    let mut w = World::empty(3);
    w.filter = Box::new(|_| true);
    w.set_addr(A, true);
    w.run_for(36 * S);
    assert_eq!(w.nodes[A].log, ["Registering", "Failed { reason: \"no answer from the registrar\" }"]);
    assert!((10..=11).contains(&w.count(A, "REGISTER")), "until timer F: {}", w.count(A, "REGISTER"));
    w.filter = Box::new(|_| false);
    w.run_for(30 * S);
    assert_eq!(w.nodes[A].log[2..], ["Registering", "Registered"]);
    // RFC 3261 §21.5.4.
    w.proxy.refuse.insert("REGISTER", (503, "Retry-After: 600"));
    w.run_for(1800 * S);
    let before = w.count(A, "REGISTER");
    assert!(w.nodes[A].ua.is_registered(number(A)), "the old binding lives on");
    w.run_for(500 * S);
    assert_eq!(w.count(A, "REGISTER"), before);
    w.proxy.refuse.clear();
    w.run_for(300 * S);
    assert_eq!(w.count(A, "REGISTER"), before + 1);
}

#[test]
fn another_address_registers_at_once() {
    let mut w = World::new();
    w.set_addr(A, false);
    w.run_for(100 * S);
    assert_eq!((w.nodes[A].log.clone(), w.wire.len()), (vec!["NoAddress".to_owned()], 0));
    w.set_addr(A, true);
    assert_eq!(w.count(A, "REGISTER"), 1, "at once");
    w.run_for(S);
    assert_eq!(w.nodes[A].log[1..], ["Registering", "Registered"]);
}

/// An address without a binding cannot be called back.
#[test]
fn an_address_that_changes_directly_is_not_registered_before_its_answer() {
    let mut w = World::new();
    w.proxy.refuse.insert("REGISTER", (503, "X: y"));
    let now = w.now;
    w.nodes[A].ua.set_locals(now, Locals::of("198.51.100.77:5060".parse().ok()));
    assert!(!w.nodes[A].ua.is_registered(number(A)));
    w.drain(A);
    assert_eq!(w.nodes[A].log, ["Registering"]);
}

/// RFC 3608 §5: calls take the registration's service route; RFC 3261 §10.2.4: the contact's own expiry wins.
#[test]
fn service_route_and_the_contacts_own_expiry() {
    let mut w = World::empty(3);
    w.proxy.refuse.insert(
        "REGISTER",
        (
            200,
            "Service-Route: <sip:198.51.100.10:5070;lr>, <sip:core.example;lr>\nExpires: 9\n\
               Contact: <sip:x@192.0.2.9>;expires=5, <sip:0388881001@198.51.100.11:5060>;expires=600",
        ),
    );
    w.set_addr(A, true);
    w.run_for(S);
    let expires = w.nodes[A].ua.registrations().next().and_then(|r| r.expires_at).expect("registered");
    assert_eq!(expires.saturating_duration_since(w.now).as_secs(), 599);
    let now = w.now;
    let call = w.nodes[A].ua.dial(now, number(A), number(B), &sdp(A)).expect("may dial");
    let id = call.id();
    w.nodes[A].ua.persisted(now, id);
    let mut invite = None;
    while let Some(output) = w.nodes[A].ua.poll_output() {
        if let crate::Output::Transmit { flow, bytes } = output {
            invite = Some((flow.remote, String::from_utf8(bytes).expect("text")));
        }
    }
    let (to, text) = invite.expect("sent");
    assert_eq!(to, "198.51.100.10:5070".parse().expect("address"), "the proxy's port that the route names");
    assert!(text.contains("Route: <sip:198.51.100.10:5070;lr>\r\nRoute: <sip:core.example;lr>\r\n"));
    w.nodes[A].ua.hang_up(now, call);
}

/// RFC 3261 §10.2.4: the 2xx lists the bindings; one that does not list ours, or lists it with 0 s, has not made it.
#[test]
fn the_registrar_decides_on_our_binding() {
    let ours = "<sip:0388881001@198.51.100.11:5060>";
    for (answer, registered) in [
        (format!("Contact: {ours};expires=0\nContact: <sip:0388881001@203.0.113.9:41000>;expires=600"), None),
        ("Contact: <sip:0388881001@192.0.2.9:5060>;expires=600".into(), None),
        ("Contact: <sip:0388881001@198.51.100.11:5061>;expires=600".into(), None),
        (format!("Contact: {ours}\nExpires: 0"), None),
        ("Expires: 0".into(), None),
        (format!("Contact: <sip:old@198.51.100.11:5060>;expires=30, {ours};expires=60"), Some(60)),
        (format!("Contact: <sip:old@198.51.100.11:5060>;expires=30, {ours};expires=0"), None),
        (format!("Contact: {ours};expires=5"), Some(5)),
        (format!("Contact: {ours};expires=600\nExpires: 0"), Some(600)),
        (format!("Contact: {ours}\nExpires: 700"), Some(700)),
        (format!("Contact: {ours};expires=\"800\"\nExpires: 900"), Some(900)),
        (format!("Contact: {ours};expires=soon"), Some(3600)),
        (
            format!(
                "Contact: \"HQ\" <sip:x@192.0.2.9>, 0388881001 <{}>;expires=60;q=",
                &ours[1..ours.len() - 1]
            ),
            Some(60),
        ),
        ("Contact: ???\nExpires: 500".into(), Some(500)),
        (format!("Contact: {ours};EXPIRES = 90 ;q=0.5"), Some(90)),
        (format!("Contact: {ours};xexpires=7;x=\";expires=8\""), Some(3600)),
        ("Contact: sip:0388881001@198.51.100.11;transport=udp;expires=80".into(), Some(80)),
        (
            "m: <sip:+81388881001@198.51.100.11:5060;ob>;received=\"sip:203.0.113.9:4\";expires=70".into(),
            Some(70),
        ),
        ("Contact: <sip:0388881001@198.51.100.11.example>;expires=60".into(), None),
        ("Contact: ???, <sip:x@192.0.2.9>;expires=7\nExpires: never".into(), Some(3600)),
        ("X: y".into(), Some(3600)),
        ("Contact: ,\nExpires: 300".into(), Some(300)),
    ] {
        let mut w = World::empty(3);
        w.proxy.refuse.insert("REGISTER", (200, String::from(answer.as_str()).leak()));
        w.set_addr(A, true);
        w.run_for(Duration::from_millis(100));
        let view = w.nodes[A].ua.registrations().next().expect("a line");
        let granted =
            view.expires_at.map(|at| (at.saturating_duration_since(w.now).as_secs_f64()).round() as u64);
        assert_eq!(granted, registered, "{answer}");
        assert_eq!(w.nodes[A].ua.is_registered(number(A)), registered.is_some(), "{answer}");
        if registered.is_none() {
            let log = w.nodes[A].log.last().cloned().unwrap_or_default();
            assert!(log.starts_with("Failed { reason: \"the registrar did not "), "{log}");
            w.run_for(120 * S);
            assert!(w.count(A, "REGISTER") <= 6, "{answer}: {}", w.count(A, "REGISTER"));
        }
    }
}

/// A binding that is lost at a refresh does not count until it would have expired.
#[test]
fn a_binding_that_is_gone_is_not_believed_in() {
    let mut w = World::new();
    w.proxy.refuse.insert("REGISTER", (200, "Contact: <sip:0388881001@192.0.2.9:5060>;expires=600"));
    w.run_for(1801 * S);
    assert!(!w.nodes[A].ua.is_registered(number(A)));
    w.proxy.refuse.clear();
    w.run_for(30 * S);
    assert!(w.nodes[A].ua.is_registered(number(A)));
}

/// RFC 3261 §10.3: each 423 may ask for more; we do not follow without an end.
#[test]
fn an_interval_is_not_raised_for_ever() {
    let mut w = World::empty(3);
    w.filter = Box::new(|_| true);
    w.set_addr(A, true);
    for n in 0..20 {
        let request = w.last(A, "REGISTER").to_owned();
        let head =
            ["Via", "From", "To", "Call-ID", "CSeq"].map(|f| format!("{f}: {}\r\n", field(&request, f)));
        let text = format!("SIP/2.0 423 Brief\r\n{}Min-Expires: {}\r\n\r\n", head.concat(), 4000 + n);
        w.inject(A, text);
    }
    assert_eq!(w.count(A, "REGISTER"), 4);
    assert_eq!(
        w.nodes[A].log.last().map(String::as_str),
        Some("Failed { reason: \"423 Interval Too Brief\" }")
    );
}

/// Another profile under registrations and calls: nothing of them begins anew.
#[test]
fn lines_are_added_and_passwords_changed_while_it_works() {
    let mut w = World::empty(3);
    w.set_addr(A, true);
    w.run_for(S);
    let (now, mut new) = (w.now, config(A));
    new.lines.push(config(B).lines.remove(0));
    new.expires_s = 600;
    w.nodes[A].ua.set_values(now, &new);
    w.drain(A);
    w.run_for(S);
    assert!(w.nodes[A].ua.is_registered(number(A)) && w.nodes[A].ua.is_registered(number(B)));
    assert_eq!(w.count(A, "REGISTER"), 4, "the first line does not register again");
    assert_eq!(field(w.last(A, "REGISTER"), "Expires"), "600");
    // The same once more is no change.
    let now = w.now;
    w.nodes[A].ua.set_values(now, &new);
    w.drain(A);
    w.run_for(S);
    assert_eq!((w.count(A, "REGISTER"), w.nodes[A].ua.registrations().count()), (4, 2));
}

#[test]
fn the_right_password_registers_at_once() {
    let mut w = World::empty(3);
    let right = config(A);
    let wrong = sipsec_net::SecretBytes::new(b"not this one").expect("short");
    let mut bad = config(A);
    bad.lines[0].auth.as_mut().expect("credentials").password = wrong;
    let now = w.now;
    w.nodes[A].ua.set_values(now, &bad);
    w.set_addr(A, true);
    w.run_for(S);
    assert!(!w.nodes[A].ua.is_registered(number(A)), "{:?}", w.nodes[A].log);
    let now = w.now;
    w.nodes[A].ua.set_values(now, &right);
    w.drain(A);
    w.run_for(S);
    assert!(w.nodes[A].ua.is_registered(number(A)), "{:?}", w.nodes[A].log);
}
