//! What a user agent answers to requests that it does not take, and where the answers go.

use crate::testing::*;
use crate::{Flow, Output, UserAgent};
use std::net::SocketAddr;
use std::time::Duration;

const S: Duration = Duration::from_secs(1);

/// A request to the line of `A` from the proxy.
fn request(method: &str, via: &str, more: &str, body: &str) -> String {
    format!(
        "{method} sip:{n}@198.51.100.11:5060 SIP/2.0\r\nVia: SIP/2.0/UDP {via}\r\nMax-Forwards: 0\r\n\
         From: <sip:0388882001@carrier.example>;tag=f\r\nTo: <sip:{n}@carrier.example>{to}\r\nCall-ID: refuse\r\n\
         CSeq: 7 {method}\r\n{more}Content-Length: {length}\r\n\r\n{body}",
        n = number(A),
        to = if more.contains("X-In-Dialog") { ";tag=nobody" } else { "" },
        length = body.len(),
    )
}

const VIA: &str = "198.51.100.10:5060;branch=z9hG4bKr";
const CONTACT: &str = "Contact: <sip:x@192.0.2.7>\r\n";

fn sent_to(ua: &mut UserAgent) -> Vec<(SocketAddr, String)> {
    std::iter::from_fn(|| ua.poll_output())
        .filter_map(|o| match o {
            Output::Transmit { flow, bytes } => Some((flow.remote, String::from_utf8(bytes).expect("text"))),
            _ => None,
        })
        .collect()
}

/// Each with the header fields that tell the sender what would be understood.
#[test]
fn each_refusal_has_its_status_and_says_what_would_do() {
    let sdp = sdp(B).to_string();
    let with_sdp = format!("{CONTACT}Content-Type: application/sdp\r\n");
    let allow = "Allow: INVITE, ACK, CANCEL, BYE, OPTIONS, UPDATE, PRACK";
    let rows: &[(&str, &str, &str, &str, &[&str])] = &[
        ("REGISTER", "", "", "405 Method Not Allowed", &[allow]),
        ("MESSAGE", "Content-Type: text/plain\r\n", "hello", "405 Method Not Allowed", &[allow]),
        ("DANCE", "", "", "501 Not Implemented", &[allow]),
        (
            "INVITE",
            &format!("{with_sdp}Require: timer, foo\r\nRequire: bar\r\n"),
            &sdp,
            "420 Bad Extension",
            &["Unsupported: foo, bar"],
        ),
        ("OPTIONS", "Require: foo\r\n", "", "420 Bad Extension", &["Unsupported: foo"]),
        (
            "INVITE",
            &format!("{CONTACT}Content-Type: text/plain\r\n"),
            "hello",
            "415 Unsupported Media Type",
            &["Accept: application/sdp"],
        ),
        (
            "INVITE",
            &format!("{with_sdp}Content-Encoding: gzip\r\n"),
            &sdp,
            "415 Unsupported Media Type",
            &["Accept: application/sdp"],
        ),
        ("INVITE", &format!("{with_sdp}Accept: text/html\r\n"), &sdp, "406 Not Acceptable", &[]),
        ("INVITE", "Content-Type: application/sdp\r\n", &sdp, "400 Bad Request", &[]),
        (
            "INVITE",
            &format!("{with_sdp}Supported: timer\r\nSession-Expires: 60\r\n"),
            &sdp,
            "422 Session Interval Too Small",
            &["Min-SE: 90"],
        ),
        (
            "INVITE",
            &format!("{with_sdp}X-In-Dialog: 1\r\n"),
            &sdp,
            "481 Call/Transaction Does Not Exist",
            &[],
        ),
        ("BYE", "X-In-Dialog: 1\r\n", "", "481 Call/Transaction Does Not Exist", &[]),
        ("UPDATE", "X-In-Dialog: 1\r\n", "", "481 Call/Transaction Does Not Exist", &[]),
        ("PRACK", "X-In-Dialog: 1\r\nRAck: 1 1 INVITE\r\n", "", "481 Call/Transaction Does Not Exist", &[]),
        ("OPTIONS", "X-In-Dialog: 1\r\n", "", "481 Call/Transaction Does Not Exist", &[]),
        ("CANCEL", "", "", "481 Call/Transaction Does Not Exist", &[]),
        // RFC 3261 §11.2; Max-Forwards 0 stops proxies, not the final recipient (RFC 4475 §3.3.11).
        ("OPTIONS", "", "", "200 OK", &[allow, "Supported: timer, 100rel", "Accept: application/sdp"]),
    ];
    for (method, more, body, status, fields) in rows {
        let mut w = World::new();
        w.inject(A, request(method, VIA, more, body));
        let sent: Vec<_> = w.wire.iter().map(|(_, t)| t.clone()).collect();
        let [answer] = &sent[..] else { panic!("{method} {more}: {sent:?}") };
        assert!(answer.starts_with(&format!("SIP/2.0 {status}\r\n")), "{method} {more}: {answer}");
        for field in *fields {
            assert!(answer.contains(&format!("\r\n{field}\r\n")), "{method}: {field} in {answer}");
        }
        // RFC 3261 §8.2.6.2: with a tag, and all else as it came.
        for part in
            ["CSeq: 7 ", "Call-ID: refuse\r\n", "From: <sip:0388882001@carrier.example>;tag=f\r\n", ">;tag="]
        {
            assert!(answer.contains(part), "{method}: {part} in {answer}");
        }
        assert_eq!(w.nodes[A].ua.live_dialogs(), 0);
    }
}

/// RFC 3261 §18.2.1, §18.2.2, RFC 3581 §4: the response goes to the packet's source when Via differs.
#[test]
fn answers_go_where_the_request_came_from() {
    let from: SocketAddr = "198.51.100.10:40001".parse().expect("address");
    for (via, dest, marked) in [
        (
            "198.51.100.10:5062;branch=z9hG4bKa",
            "198.51.100.10:5062",
            "198.51.100.10:5062;branch=z9hG4bKa\r\n",
        ),
        ("198.51.100.10;branch=z9hG4bKb", "198.51.100.10:5060", "198.51.100.10;branch=z9hG4bKb\r\n"),
        (
            "10.0.0.9:5062;branch=z9hG4bKc",
            "198.51.100.10:5062",
            "10.0.0.9:5062;branch=z9hG4bKc;received=198.51.100.10\r\n",
        ),
        (
            "proxy.example:5063;branch=z9hG4bKd",
            "198.51.100.10:5063",
            "proxy.example:5063;branch=z9hG4bKd;received=198.51.100.10\r\n",
        ),
        (
            "10.0.0.9:5062;rport;branch=z9hG4bKe",
            "198.51.100.10:40001",
            "10.0.0.9:5062;rport=40001;branch=z9hG4bKe;received=198.51.100.10\r\n",
        ),
        (
            "10.0.0.9:5062 ; branch=z9hG4bKf ; RPORT",
            "198.51.100.10:40001",
            "10.0.0.9:5062 ; branch=z9hG4bKf ;rport=40001;received=198.51.100.10\r\n",
        ),
        (
            "10.0.0.9:5062;branch=z9hG4bKg;rports;rport",
            "198.51.100.10:40001",
            "10.0.0.9:5062;branch=z9hG4bKg;rports;rport=40001;received=198.51.100.10\r\n",
        ),
    ] {
        let mut w = World::new();
        let ua = &mut w.nodes[A].ua;
        ua.handle_message(w.now, &Flow::udp(addr(A), from), request("OPTIONS", via, "", "").as_bytes());
        let sent = sent_to(ua);
        let [(to, answer)] = &sent[..] else { panic!("{via}: {sent:?}") };
        assert_eq!(to.to_string(), dest, "{via}");
        assert!(answer.contains(&format!("\r\nVia: SIP/2.0/UDP {marked}")), "{answer}");
    }
    // Elsewhere than the proxy: nothing at all, not even an error.
    let mut w = World::new();
    let ua = &mut w.nodes[A].ua;
    let stranger = "203.0.113.5:5060".parse().expect("address");
    ua.handle_message(w.now, &Flow::udp(addr(A), stranger), request("OPTIONS", VIA, "", "").as_bytes());
    assert_eq!((sent_to(ua).len(), ua.stats().untrusted), (0, 1));
}

/// RFC 3261 §18.3: Content-Length bounds the body of a datagram.
#[test]
fn content_length_bounds_the_body() {
    let body = sdp(B).to_string();
    let head = format!("{CONTACT}Content-Type: application/sdp\r\nP-Asserted-Identity: <tel:0388882001>\r\n");
    let whole = request("INVITE", VIA, &head, &body);
    let mut w = World::new();
    w.nodes[A].auto_accept = false;
    w.inject(A, whole.clone() + "a=rubbish that is no SDP at all\r\n\0\0");
    assert_eq!(w.nodes[A].log, ["Incoming Asserted(TelNumber(0388882001))"]);
    let mut w = World::new();
    w.inject(A, &whole.as_bytes()[..whole.len() - 1]);
    assert_eq!(w.sent(A), ["SIP/2.0 400 Bad Request"]);
    assert!(w.nodes[A].log.is_empty());
    let mut w = World::new();
    w.nodes[A].auto_accept = false;
    let unsaid = whole.replace(&format!("Content-Length: {}\r\n", body.len()), "");
    w.inject(A, unsaid);
    assert_eq!(w.nodes[A].log, ["Incoming Asserted(TelNumber(0388882001))"], "all of the datagram");
}

/// RFC 3261 §8.2.2.2: the same call over two paths is one call.
#[test]
fn a_call_that_comes_twice_is_taken_once() {
    let head = format!("{CONTACT}Content-Type: application/sdp\r\n");
    let body = sdp(B).to_string();
    let mut w = World::new();
    w.nodes[A].auto_accept = false;
    w.inject(A, request("INVITE", VIA, &head, &body));
    w.run_for(Duration::from_millis(5));
    w.inject(A, request("INVITE", "198.51.100.10:5060;branch=z9hG4bKother", &head, &body));
    assert_eq!(w.sent(A), ["SIP/2.0 100 Trying", "SIP/2.0 180 Ringing", "SIP/2.0 482 Loop Detected"]);
    assert_eq!(w.nodes[A].log.len(), 1);
}

/// RFC 3261 §8.1.3.4–5: redirections are not followed unless the profile allows it, because the network must not choose a
/// charged number; and there is no other body or scheme, and no extension that was not offered, that a second INVITE could do
/// without. Each ends the call, once, with its status.
#[test]
fn refusals_that_another_invite_would_not_change() {
    for (status, more, after) in [
        (300, "Contact: <sip:a@192.0.2.8>, <sip:b@192.0.2.9>", "None"),
        (302, "Contact: <sip:premium@192.0.2.66>", "None"),
        (403, "Warning: 399 proxy \"not this number\"", "None"),
        (404, "X: y", "None"),
        (413, "Retry-After: 10", "Some(10)"),
        (415, "Accept: audio/basic", "None"),
        (416, "X: y", "None"),
        (420, "Unsupported: path", "None"),
        (423, "Min-Expires: 60", "None"),
        (480, "Retry-After: 30 (in a while)", "Some(30)"),
        (488, "Warning: 370 proxy \"bandwidth\"", "None"),
        (491, "X: y", "None"),
        (500, "Retry-After: 5", "Some(5)"),
        (503, "Retry-After: 120;duration=60", "Some(120)"),
        (600, "X: y", "None"),
    ] {
        let mut w = World::new();
        w.proxy.refuse.insert("INVITE", (status, more));
        w.dial(A);
        w.run_for(40 * S);
        let log = &w.nodes[A].log;
        assert!(log[0].starts_with(&format!("Failed Status {{ status: {status},")), "{log:?}");
        assert!(log[0].ends_with(&format!("retry_after_s: {after} }}")), "{log:?}");
        assert_eq!(log[1..], ["Ended"]);
        let calls: Vec<_> = w.sent(A).into_iter().filter(|l| !l.starts_with("REGISTER")).collect();
        assert_eq!(
            calls,
            ["INVITE sip:0388882001@carrier.example SIP/2.0", "ACK sip:0388882001@carrier.example SIP/2.0"]
        );
        assert_eq!((w.nodes[A].journal.len(), w.nodes[A].ua.live_dialogs()), (0, 0));
    }
}

/// RFC 3261 §12.2.2: requests of a dialog come in order; one from before is not acted upon.
#[test]
fn an_old_request_does_not_end_the_call() {
    let mut w = World::new();
    w.dial(A);
    w.run_for(S);
    let invite = w.last(A, "INVITE").to_owned();
    let ok = w.last(B, "SIP/2.0 200").to_owned();
    let field =
        |t: &str, name: &str| t.lines().find(|l| l.starts_with(name)).map(str::to_owned).expect("there");
    let bye = format!(
        "BYE sip:{}@198.51.100.12:5060 SIP/2.0\r\nVia: SIP/2.0/UDP {VIA}\r\nMax-Forwards: 9\r\n{}\r\n{}\r\n{}\r\n\
         CSeq: 1 BYE\r\nContent-Length: 0\r\n\r\n",
        number(B),
        field(&invite, "From"),
        field(&ok, "To"),
        field(&ok, "Call-ID"),
    );
    w.inject(B, bye);
    assert_eq!(w.sent(B).last(), Some(&"SIP/2.0 500 Server Internal Error"));
    assert_eq!(w.nodes[B].log.last().map(String::as_str), Some("Confirmed"));
}

/// RFC 3261 §11.2: as a call would be answered. One without a number asks for the gateway itself, as carriers do.
#[test]
fn options_are_answered_as_a_call_would_be() {
    let mut w = World::new();
    let ask = |w: &mut World, uri: &str, branch: &str| {
        let text = request("OPTIONS", &format!("198.51.100.10:5060;branch=z9hG4bK{branch}"), "", "");
        let ours = format!("sip:{}@", number(A));
        let uri = text.replacen(&format!("{ours}198.51.100.11:5060"), uri, 1);
        w.inject(A, uri.replace(&format!("<{ours}carrier.example>"), "<sip:carrier.example>"));
        w.wire.last().and_then(|(_, t)| t.lines().next()).map(str::to_owned).unwrap_or_default()
    };
    assert_eq!(ask(&mut w, "sip:0388881001@198.51.100.11:5060", "a"), "SIP/2.0 200 OK");
    assert_eq!(ask(&mut w, "sip:198.51.100.11:5060", "b"), "SIP/2.0 200 OK");
    assert_eq!(ask(&mut w, "sip:0388889999@198.51.100.11:5060", "c"), "SIP/2.0 404 Not Found");
    let now = w.now;
    w.nodes[A].ua.unregister_all(now);
    w.drain(A);
    assert_eq!(ask(&mut w, "sip:198.51.100.11:5060", "d"), "SIP/2.0 503 Service Unavailable");
}

/// RFC 3261 §8.2.6.1: who sends a Timestamp measures by the 100.
#[test]
fn a_timestamp_comes_back_in_the_100_alone() {
    let mut w = World::new();
    w.nodes[A].auto_accept = false;
    let head = format!("{CONTACT}Timestamp: 54.21\r\nContent-Type: application/sdp\r\n");
    w.inject(A, request("INVITE", VIA, &head, &sdp(B).to_string()));
    assert!(w.last(A, "SIP/2.0 100").contains("\r\nTimestamp: 54.21\r\n"));
    assert!(!w.last(A, "SIP/2.0 180").contains("Timestamp"));
}
