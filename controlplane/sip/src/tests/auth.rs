//! Challenges (RFC 3261 §22): several realms, bodies, session keys, and their ends.

use crate::testing::*;
use sipsec_net::SecretBytes;
use sipsec_net::entropy::TestEntropy;
use std::time::Duration;

const S: Duration = Duration::from_secs(1);

fn invites(w: &World) -> Vec<&str> {
    w.wire.iter().filter(|(i, t)| *i == A && t.starts_with("INVITE")).map(|(_, t)| t.as_str()).collect()
}

fn dialled(status: u16, challenges: &'static str) -> World {
    let mut w = World::new();
    w.proxy.refuse.insert("INVITE", (status, challenges));
    w.dial(A);
    w.run_for(S);
    w
}

/// §22.3: the challenges of all realms in a response are answered, until none of them is new.
#[test]
fn every_realm_is_answered() {
    let both = "Proxy-Authenticate: Digest realm=\"a\", nonce=\"n\"\nProxy-Authenticate: Digest realm=\"b\", nonce=\"m\"";
    let w = dialled(407, both);
    let sent = invites(&w);
    assert_eq!(sent.len(), 2, "both are refused with the password: wrong");
    for realm in ["realm=\"a\", nonce=\"n\"", "realm=\"b\", nonce=\"m\""] {
        assert!(sent[1].lines().any(|l| l.starts_with("Proxy-Authorization: Digest ") && l.contains(realm)));
    }
    assert_eq!(w.nodes[A].log, ["Failed Unauthorised", "Ended"]);

    // The first proxy passes the request on once its realm is answered; the second lists both.
    let mut w = World::new();
    w.proxy.refuse.insert("INVITE", (407, "Proxy-Authenticate: Digest realm=\"a\", nonce=\"n\""));
    w.nodes[A].persist_delay = 2 * S;
    w.dial(A);
    w.run_for(3 * S);
    assert_eq!(invites(&w).len(), 1);
    w.proxy.refuse.insert("INVITE", (407, both));
    w.run_for(2 * S);
    w.proxy.refuse.clear();
    w.run_for(6 * S);
    let third = invites(&w)[2].to_owned();
    assert!(third.contains("realm=\"a\"") && third.contains("realm=\"b\""), "{third}");
    assert_eq!(w.nodes[A].log.last().map(String::as_str), Some("Answered"));
    // A 401 with challenges of both kinds.
    let w = dialled(
        401,
        "WWW-Authenticate: Digest realm=\"u\", nonce=\"n\"\nProxy-Authenticate: Digest realm=\"p\", nonce=\"m\"",
    );
    assert!(
        invites(&w)[1].contains("\r\nAuthorization: Digest ")
            && invites(&w)[1].contains("\r\nProxy-Authorization: ")
    );
}

/// RFC 7616 §3.4.3: with auth-int the response covers the body; MD5-sess makes its key once.
#[test]
fn bodies_and_session_keys() {
    let w = dialled(
        407,
        "Proxy-Authenticate: Digest realm=\"a\", nonce=\"n\", qop=\"auth-int\", algorithm=SHA-256-sess",
    );
    let sent = invites(&w);
    assert_eq!(sent.len(), 2);
    assert!(sent[1].contains("algorithm=SHA-256-sess, qop=auth-int, nc=00000001, cnonce=\""), "{}", sent[1]);
    // Where both are offered, auth is enough.
    let w = dialled(
        407,
        "Proxy-Authenticate: Digest realm=\"a\", nonce=\"n\", qop=\"auth-int,auth\", algorithm=MD5-sess,",
    );
    assert!(invites(&w)[1].contains("algorithm=MD5-sess, qop=auth, nc=00000001"), "{}", invites(&w)[1]);
}

/// The number of retries that the network can cause is bounded.
#[test]
fn no_challenge_goes_on_for_ever() {
    let w = dialled(407, "Proxy-Authenticate: Digest realm=\"a\", nonce=\"n\", stale=true");
    assert_eq!(invites(&w).len(), 5);
    let many: String =
        (0..40).map(|i| format!("Proxy-Authenticate: Digest realm=\"{i}\", nonce=\"n\"\n")).collect();
    let w = dialled(407, many.leak());
    assert!(invites(&w).len() <= 2);
    assert_eq!(w.nodes[A].log, ["Failed Unauthorised", "Ended"]);
    let w = dialled(407, "Proxy-Authenticate: Basic realm=\"a\"");
    assert_eq!(invites(&w).len(), 1);
}

/// RFC 3261 §22.3: a proxy and the called side challenge one after the other, and later one nonce is stale.
#[test]
fn a_proxy_and_the_called_side_challenge_in_turn() {
    use crate::testing::called::*;
    let says = |c: &mut Called, start: &str, more: &str| {
        c.invite = c.w.last(A, "INVITE").to_owned();
        c.says(&Reply { start: format!("SIP/2.0 {start}"), more: more.into(), body: String::new(), ..ok() });
    };
    let nonces = |c: &Called| {
        let invite = c.w.last(A, "INVITE");
        let of = |name: &str| {
            let value = invite.lines().find_map(|l| l.strip_prefix(name)?.strip_prefix(": "));
            value.and_then(|v| v.split("nonce=\"").nth(1)?.split('"').next()).unwrap_or_default().to_owned()
        };
        (of("Proxy-Authorization"), of("Authorization"))
    };
    let mut c = Called::new();
    says(
        &mut c,
        "407 Proxy",
        "Proxy-Authenticate: Basic realm=\"p\", Digest realm=\"p, q\", nonce=\"1\"\r\n",
    );
    assert_eq!(nonces(&c), ("1".into(), String::new()));
    says(
        &mut c,
        "401 Unauthorized",
        "WWW-Authenticate: digest nonce=\"a=,b\" ,realm=\"p, q\",qop=\"auth-int,auth\"\r\n",
    );
    assert_eq!(nonces(&c), ("1".into(), "a=,b".into()));
    says(
        &mut c,
        "407 Proxy",
        "Proxy-Authenticate: Digest realm=\"p, q\", nonce=\"2\", STALE=\"TRUE\", algorithm=SHA-512-256, qop=auth\r\n",
    );
    assert_eq!(nonces(&c), ("2".into(), "a=,b".into()));
    assert!(c.w.last(A, "INVITE").contains("CSeq: 4 INVITE\r\n"));
    c.invite = c.w.last(A, "INVITE").to_owned();
    c.says(&ok());
    assert!(c.answered());
    // §22.1: the ACK has the credentials of its INVITE.
    let credentials = |m: &str| {
        let of: Vec<_> = m.lines().filter(|l| l.contains("uthorization: ")).map(str::to_owned).collect();
        of
    };
    assert_eq!(credentials(c.w.last(A, "ACK")), credentials(&c.invite));
    // Not stale: the password is wrong.
    let mut c = Called::new();
    for log in ["", "Failed Unauthorised"] {
        says(&mut c, "407 Proxy", "Proxy-Authenticate: Digest realm=\"p\", nonce=\"1\", stale=false\r\n");
        assert!(c.w.nodes[A].log.iter().any(|l| l == log) || log.is_empty(), "{:?}", c.w.nodes[A].log);
    }
}

/// RFC 3261 §22.3: proxies of one administrative domain have one realm. Each gets credentials for its own nonce, whether they
/// challenge one after the other or a forked request brings their challenges together.
#[test]
fn two_proxies_may_have_one_realm() {
    use crate::testing::called::*;
    let says = |c: &mut Called, start: &str, more: &str| {
        c.invite = c.w.last(A, "INVITE").to_owned();
        c.says(&Reply { start: format!("SIP/2.0 {start}"), more: more.into(), body: String::new(), ..ok() });
    };
    let nonces = |c: &Called, name: &str| {
        let of = |l: &str| {
            let value = l.strip_prefix(name)?.strip_prefix(": ")?;
            value.split("nonce=\"").nth(1)?.split('"').next().map(str::to_owned)
        };
        c.w.last(A, "INVITE").lines().filter_map(of).collect::<Vec<_>>()
    };
    let proxy = |nonce: &str| format!("Proxy-Authenticate: Digest realm=\"p\", nonce=\"{nonce}\"\r\n");
    // In turn, and the first one's nonce is for one use.
    let mut c = Called::new();
    says(&mut c, "407 Proxy", &proxy("1"));
    says(&mut c, "407 Proxy", &proxy("2"));
    assert_eq!(nonces(&c, "Proxy-Authorization"), ["1", "2"]);
    says(&mut c, "407 Proxy", &proxy("1a").replace("\r\n", ", stale=true\r\n"));
    assert_eq!(nonces(&c, "Proxy-Authorization"), ["1a", "2"]);
    c.invite = c.w.last(A, "INVITE").to_owned();
    c.says(&ok());
    assert!(c.answered(), "{:?}", c.w.nodes[A].log);
    // A third challenge is a wrong password.
    let mut c = Called::new();
    for nonce in ["1", "2", "3"] {
        says(&mut c, "407 Proxy", &proxy(nonce));
    }
    assert_eq!((c.w.count(A, "INVITE"), c.w.nodes[A].log.join(" ").contains("Unauthorised")), (3, true));
    // Together, of proxies and of called sides; of each server the algorithm that it names first.
    for (status, name, answer) in [
        ("407 Proxy", "Proxy-Authenticate", "Proxy-Authorization"),
        ("401 Unauthorized", "WWW-Authenticate", "Authorization"),
    ] {
        let challenges: String = [("1", "SHA-256"), ("1b", "MD5"), ("2", "SHA-256"), ("2", "SHA-256")]
            .iter()
            .map(|(n, a)| format!("{name}: Digest realm=\"p\", nonce=\"{n}\", algorithm={a}\r\n"))
            .collect();
        let mut c = Called::new();
        says(&mut c, status, &challenges);
        assert_eq!(nonces(&c, answer), ["1", "2"], "{name}");
        says(&mut c, status, &challenges);
        assert_eq!((c.w.count(A, "INVITE"), c.answered()), (2, false), "{name}");
    }
    // The called side has no second server before it: another nonce is a wrong password.
    let mut c = Called::new();
    for nonce in ["1", "2"] {
        says(&mut c, "401 Unauthorized", &proxy(nonce).replace("Proxy-", "WWW-"));
    }
    assert_eq!((c.w.count(A, "INVITE"), c.w.nodes[A].log.join(" ").contains("Unauthorised")), (2, true));
}

/// Where proxies of one realm have taken credentials before, it is unknown which of them challenges alone.
#[test]
fn two_proxies_of_one_realm_keep_their_order() {
    use crate::auth::Auth;
    use crate::digest::{Credentials, Request};
    use crate::message::Message;
    let who = Credentials { username: "u".into(), password: SecretBytes::new(b"p").expect("short") };
    let mut auth = Auth::default();
    let mut entropy = TestEntropy::new(1);
    let mut hears = |auth: &mut Auth, nonce: &str| {
        let text = format!(
            "SIP/2.0 407 Proxy\r\nVia: SIP/2.0/UDP 192.0.2.1;branch=z9hG4bKa\r\nFrom: <sip:a@b>;tag=a\r\n\
             To: <sip:c@b>;tag=b\r\nCall-ID: 1\r\nCSeq: 1 INVITE\r\n\
             Proxy-Authenticate: Digest realm=\"p\", nonce=\"{nonce}\"\r\nContent-Length: 0\r\n\r\n"
        );
        auth.learn(&Message::parse(text.as_bytes()).expect("a response")).expect("progress");
        let request = Request { method: "INVITE", uri: "sip:c@b", body: b"" };
        let nonce_of = |(_, v): (_, String)| v.split("nonce=\"").nth(1).map(|v| v[..2].to_owned());
        auth.headers(Some(&who), request, &mut entropy).into_iter().filter_map(nonce_of).collect::<Vec<_>>()
    };
    auth.begin();
    hears(&mut auth, "1a");
    assert_eq!(hears(&mut auth, "2a"), ["1a", "2a"]);
    auth.begin();
    // The second, whose nonce has expired; then both in turn.
    assert!(hears(&mut auth, "2b").is_empty());
    assert_eq!(hears(&mut auth, "1b"), ["1b"]);
    assert_eq!(hears(&mut auth, "2c"), ["1b", "2c"]);
}
