//! Odd forms that RFC 3261 allows, or that decide nothing: each is read as what it means, on both sides of a call.

use crate::testing::called::*;
use crate::testing::*;
use std::time::Duration;

const S: Duration = Duration::from_secs(1);

impl Called {
    fn log(&self) -> &str {
        self.w.nodes[A].log.last().map_or("", String::as_str)
    }

    fn hang_up(&mut self) -> String {
        let call = *self.w.nodes[A].handles.keys().next().expect("a call");
        self.w.hang_up(A, call);
        self.w.last(A, "BYE").to_owned()
    }
}

/// RFC 3261 §17.1.3: sent-by and branch of the topmost Via say what a response answers. Other parameters decide nothing.
#[test]
fn a_via_that_comes_back_with_odd_parameters_is_ours() {
    for change in [
        (";rport", ";rport;"),
        (";rport", ";;rport=5060;received=198.51.100.11"),
        (";rport", ";rport=5060;received=\"198.51.100.11\";x=\"a;b,c\""),
        (";rport", ";rport=5060;=1;b\u{e9}=2"),
        (";rport", ";x=\"open"),
        (";branch=", "  ; received = 198.51.100.11 ; BRANCH = "),
        (";branch=", ";ttl=1;maddr=198.51.100.11\r\n ;branch="),
        ("SIP/2.0/UDP ", "sip / 2.0\t/ udp \t"),
        ("Via: ", "v:"),
        (";branch=z9hG4bK", ";Branch=Z9HG4BK"),
    ] {
        let mut c = Called::new();
        let text = Called::text(&c.invite, &ok());
        let spoilt = text.replacen(change.0, change.1, 1);
        assert_ne!(spoilt, text, "{change:?}");
        c.hears(spoilt.as_bytes());
        assert_eq!((c.answered(), c.w.count(A, "ACK")), (true, 1), "{change:?}");
        let bye = c.hang_up();
        let done = Called::text(&bye, &Reply { body: String::new(), ..ok() });
        c.hears(done.replacen(change.0, change.1, 1).as_bytes());
        assert_eq!((c.log(), c.w.nodes[A].ua.live_dialogs()), ("Ended", 0), "{change:?}");
    }
}

/// A method is written as it is (RFC 3261 §7.1), but a 2xx or a refusal that spoils its case has answered all the same.
#[test]
fn a_method_in_another_case_answers() {
    for (start, log) in [("SIP/2.0 200 OK", "Answered"), ("SIP/2.0 486 Busy Here", "Ended")] {
        let mut c = Called::new();
        let text = Called::text(&c.invite, &Reply { start: start.into(), ..ok() });
        c.hears(text.replace("CSeq: 1 INVITE", "CSeq: 01 invite").as_bytes());
        assert_eq!((c.log(), c.w.count(A, "ACK")), (log, 1));
        // The 2xx comes once more, after its transaction.
        c.hears(text.replace("CSeq: 1 INVITE", "CSeq: 1 Invite").as_bytes());
        assert_eq!(c.w.count(A, "ACK"), 2);
    }
}

/// RFC 3261 §17.1.3: the branch and the method say what a response answers; its CSeq number, which a carrier may spoil, does
/// not. The call is answered, and ends.
#[test]
fn a_number_of_another_request_answers() {
    for number in ["0", "2", "11", "4294967295", "99999999999999999999", "-1", "x1", "1.5", ""] {
        for (start, log) in [("SIP/2.0 200 OK", "Answered"), ("SIP/2.0 486 Busy Here", "Ended")] {
            let mut c = Called::new();
            let text = Called::text(&c.invite, &Reply { start: start.into(), ..ok() });
            let spoilt = text.replace("CSeq: 1 INVITE", &format!("CSeq: {number} INVITE"));
            for acks in 1..3 {
                c.hears(spoilt.as_bytes());
                assert_eq!((c.log(), c.w.count(A, "ACK")), (log, acks), "{number} {start}");
            }
            assert!(c.w.last(A, "ACK").contains("CSeq: 1 ACK\r\n"), "{number} {start}");
            if log == "Answered" {
                let bye = c.hang_up();
                let done = Called::text(&bye, &Reply { body: String::new(), ..ok() });
                c.hears(done.replace("CSeq: 2 BYE", &format!("CSeq: {number} BYE")).as_bytes());
            }
            assert_eq!((c.log(), c.w.nodes[A].ua.live_dialogs()), ("Ended", 0), "{number} {start}");
        }
    }
}

/// A second party answers with a spoilt number: it is acknowledged with the number of the INVITE, and hung up.
#[test]
fn a_fork_with_the_number_of_another_request_is_hung_up() {
    for number in ["2", "11", "x1"] {
        let mut c = Called::new();
        let text = Called::text(&c.invite, &ok());
        c.hears(text.as_bytes());
        let fork =
            text.replace("CSeq: 1 INVITE", &format!("CSeq: {number} INVITE")).replace(";tag=b", ";tag=fork");
        c.hears(fork.as_bytes());
        assert_eq!((c.log(), c.w.count(A, "ACK"), c.w.count(A, "BYE")), ("Answered", 2, 1), "{number}");
        let ack = c.w.last(A, "ACK");
        assert!(ack.contains("CSeq: 1 ACK\r\n") && ack.contains(";tag=fork"), "{ack}");
    }
}

/// RFC 3261 §7.3.1, §7.3.3: compact names, any case, white space before the colon, and lines that go on.
#[test]
fn compact_and_folded_fields() {
    let mut c = Called::new();
    let text = Called::text(
        &c.invite,
        &Reply { more: "x: 600\r\n ;refresher\r\n\t=uas\r\nc:application/sdp\r\n".into(), ..ok() },
    );
    let mut compact = text;
    for (long, short) in [
        ("Via: ", "V  :"),
        ("From: ", "f\t: \r\n "),
        ("To: ", "t:"),
        ("Call-ID: ", "I:"),
        ("CSeq: 1 INVITE", "CSEQ:\r\n  1\r\n\tINVITE"),
        ("Contact: ", "M: \"a, b; <c>\"\r\n "),
        ("Content-Length: ", "l : "),
    ] {
        compact = compact.replacen(long, short, 1);
    }
    compact = compact.replacen("sip:b@192.0.2.7:5060>", "sip:b@192.0.2.7:5060>;\r\n +x=\"1\"", 1);
    c.hears(compact.as_bytes());
    assert!(c.answered(), "{compact}\n{:?}", c.w.nodes[A].log);
    let ack = c.w.last(A, "ACK").to_owned();
    assert!(ack.starts_with("ACK sip:b@192.0.2.7:5060 SIP/2.0\r\n") && ack.contains(";tag=b\r\n"), "{ack}");
    assert_eq!(c.w.nodes[A].ua.stats().flawed_responses, 0);
    c.w.run_for(400 * S);
    assert_eq!(c.w.count(A, "UPDATE") + c.w.count(A, "INVITE"), 1, "the called side refreshes");

    // A request in the same dress.
    let mut w = World::new();
    w.nodes[A].auto_accept = false;
    let mut text = incoming(
        "Contact: <sip:b@192.0.2.7>\r\n",
        "P-Asserted-Identity: <sip:0388882001@carrier.example>\r\n",
        "fold",
    );
    for (long, short) in [
        ("Via: SIP/2.0/UDP ", "v:SIP\r\n /2.0/UDP\r\n "),
        ("From: ", "f:\t"),
        ("To: ", "t  :  "),
        ("Call-ID: ", "i :"),
        ("Contact: ", "m:"),
        ("P-Asserted-Identity: ", "p-asserted-identity:\r\n "),
        ("Content-Type: ", "c:"),
        ("Content-Length: ", "l:\r\n\t"),
    ] {
        text = text.replacen(long, short, 1);
    }
    w.inject(A, &text);
    assert_eq!(w.nodes[A].log, ["Incoming Asserted(TelNumber(0388882001))"], "{text}");
}

/// RFC 3261 §12.2.1.1, §16.12: where the requests of a call go, by the Record-Route of its 2xx.
#[test]
fn record_routes_with_odd_parameters() {
    let target = "sip:b@192.0.2.7:5060";
    for (record, uri, routes) in [
        ("<sip:198.51.100.10;lr>", target, vec!["<sip:198.51.100.10;lr>"]),
        (
            "<sip:198.51.100.10;lr=on;ftag=a.b;did=1f.3>",
            target,
            vec!["<sip:198.51.100.10;lr=on;ftag=a.b;did=1f.3>"],
        ),
        (
            "\"a, <b>\" <sip:198.51.100.10;transport=udp;LR>;x=\"y;z\"",
            target,
            vec!["\"a, <b>\" <sip:198.51.100.10;transport=udp;LR>;x=\"y;z\""],
        ),
        // §20.30 wants brackets. Without them the parameters are the URI's all the same.
        ("sip:198.51.100.10;lr", target, vec!["<sip:198.51.100.10;lr>"]),
        (
            "<sip:p2@192.0.2.3;lr>,\r\n <sip:198.51.100.10:5060;lr;r2=on>",
            target,
            vec!["<sip:198.51.100.10:5060;lr;r2=on>", "<sip:p2@192.0.2.3;lr>"],
        ),
        // A strict router.
        ("<sip:198.51.100.10;maddr=lr>", "sip:198.51.100.10;maddr=lr", vec!["<sip:b@192.0.2.7:5060>"]),
        ("<sip:lr@198.51.100.10;lr>, ", target, vec!["<sip:lr@198.51.100.10;lr>"]),
        ("<sip:[2001:db8::9];lr>", target, vec!["<sip:[2001:db8::9];lr>"]),
        ("<sips:198.51.100.10;lr>", target, vec!["<sips:198.51.100.10;lr>"]),
    ] {
        let mut c = Called::new();
        c.says(&Reply {
            more: format!("Record-Route: {record}\r\nContent-Type: application/sdp\r\n"),
            ..ok()
        });
        assert!(c.answered(), "{record}");
        let bye = c.hang_up();
        for m in [c.w.last(A, "ACK"), &bye] {
            assert_eq!(m.split(' ').nth(1), Some(uri), "{record}: {m}");
            let of: Vec<_> = m.lines().filter_map(|l| l.strip_prefix("Route: ")).collect();
            assert_eq!(of, routes, "{record}");
        }
    }
}

/// RFC 3261 §13.2.1, RFC 6193 §3 (2): the answer is that of the 2xx, unless a reliable provisional response had one.
#[test]
fn what_a_preview_says_does_not_count() {
    let mut other = sdp(B);
    other.ike.addr.set_port(50_099);
    let ringing = |c: &mut Called, tag: &str, body: &str| {
        let to = format!("<sip:{}@carrier.example>;tag={tag}", number(B));
        c.says(&Reply { start: "SIP/2.0 183 Session Progress".into(), to, body: body.into(), ..ok() });
    };
    for (before, body, log) in [
        (other.to_string(), sdp(B).to_string(), "Answered"),
        ("nonsense".into(), sdp(B).to_string(), "Answered"),
        (sdp(B).to_string(), String::new(), "Failed BadAnswer(NoBody)"),
        (sdp(B).to_string(), sdp(B).to_string().replace("50001 udp", "0 udp"), "Failed BadAnswer(Refused)"),
    ] {
        let mut c = Called::new();
        ringing(&mut c, "b", &before);
        ringing(&mut c, "c", &before);
        assert_eq!((c.log(), c.w.count(A, "PRACK")), ("Provisional 183", 0));
        c.says(&Reply { body, ..ok() });
        assert_eq!((c.log(), c.w.count(A, "ACK")), (log, 1));
        assert_eq!(c.w.count(A, "BYE"), usize::from(log != "Answered"));
    }
}

/// RFC 6228: 199 says that one early dialog has ended. The call goes on, and another branch may still answer.
#[test]
fn a_199_ends_an_early_dialog_and_not_the_call() {
    let mut c = Called::new();
    for i in 0..40 {
        let to = format!("<sip:{}@carrier.example>;tag=f{i}", number(B));
        for start in ["SIP/2.0 180 Ringing", "SIP/2.0 199 Early Dialog Terminated"] {
            c.says(&Reply {
                start: start.into(),
                to: to.clone(),
                body: String::new(),
                more: "Reason: SIP;cause=486;text=\"Busy\"\r\n".into(),
                ..ok()
            });
        }
    }
    // One that is reliable, after so many others.
    let to = format!("<sip:{}@carrier.example>;tag=b", number(B));
    c.says(&Reply {
        start: "SIP/2.0 183 Session Progress".into(),
        to,
        more: "Require: 100rel\r\nRSeq: 5\r\n".into(),
        body: String::new(),
        ..ok()
    });
    assert_eq!(c.w.count(A, "PRACK"), 1);
    c.says(&ok());
    assert!(c.answered());
    assert!(c.w.last(A, "ACK").contains(";tag=b\r\n"));
}

/// RFC 3261 §20.33: seconds, with a comment or parameters; a date of RFC 2543 is none.
#[test]
fn retry_after_in_every_form() {
    for (value, seconds) in [
        ("7", "Some(7)"),
        ("120 (I'm in a meeting)", "Some(120)"),
        ("18000;duration=3600", "Some(18000)"),
        ("Mon, 21 Jul 1997 18:48:34 GMT", "None"),
        ("-5", "None"),
        ("", "None"),
        ("99999999999999999999", "Some(4294967295)"),
    ] {
        let mut c = Called::new();
        c.says(&Reply {
            start: "SIP/2.0 486 Busy Here".into(),
            more: format!("Retry-After: {value}\r\n"),
            body: String::new(),
            ..ok()
        });
        let log = c.w.nodes[A].log.join(" ");
        assert!(log.contains(&format!("retry_after_s: {seconds}")), "{value}: {log}");
    }
}

/// RFC 3326 §2: several reasons, in one field or more; the first that has words is shown.
#[test]
fn reasons_in_every_form() {
    for (value, shown) in [
        ("Q.850 ;cause=16 ;text=\"Terminated, by \\\"us\\\"\"", "PeerHungUp: Terminated, by \"us\""),
        ("Q.850;cause=34, SIP;cause=503;text=\"No circuit\"", "PeerHungUp: No circuit"),
        ("SIP;text=\"\";cause=200", "PeerHungUp: SIP cause 200"),
        ("preemption ;cause=5 ;text=\"Network Preemption\"", "PeerHungUp: Network Preemption"),
        ("sip;CAUSE=480", "PeerHungUp: SIP cause 480"),
        ("SIP;cause=abc", "PeerHungUp"),
        ("\"", "PeerHungUp"),
        ("", "PeerHungUp"),
    ] {
        let mut w = World::new();
        w.dial(A);
        w.run_for(S);
        let ok = w.last(B, "SIP/2.0 200").to_owned();
        let bye = format!(
            "BYE sip:{}@{} SIP/2.0\r\nVia: SIP/2.0/UDP {PROXY};branch=z9hG4bKbye;;x=\"\r\nMax-Forwards: 9\r\nFrom: {}\r\nTo: {}\r\n\
             Call-ID: {}\r\nCSeq: 77 BYE\r\nReason: {value}\r\nContent-Length: 0\r\n\r\n",
            number(A),
            addr(A),
            field(&ok, "To"),
            field(&ok, "From"),
            field(&ok, "Call-ID"),
        );
        w.inject(A, bye);
        assert!(w.last(A, "SIP/2.0 200").contains("CSeq: 77 BYE"), "{value}");
        assert!(w.nodes[A].log.iter().any(|l| l == shown), "{value}: {:?}", w.nodes[A].log);
    }
}

/// RFC 3261 §20.11: a body that its sender can do without is passed over, and so is one of a type that is not asked for.
#[test]
fn an_optional_body_is_passed_over() {
    for (kind, more, status) in [
        ("text/plain", "Content-Disposition: render;handling=optional\r\n", "SIP/2.0 488 "),
        ("text/plain", "Content-Disposition: render; HANDLING = Optional\r\n", "SIP/2.0 488 "),
        ("text/plain", "Content-Disposition: render;handling=required\r\n", "SIP/2.0 415 "),
        ("text/plain", "Content-Disposition: render\r\n", "SIP/2.0 415 "),
        ("application/sdp", "Content-Disposition: session;handling=optional\r\n", "SIP/2.0 180 "),
        ("application/sdp;charset=utf-8", "", "SIP/2.0 180 "),
        ("Application/SDP ; x=\"y;z\"", "", "SIP/2.0 180 "),
    ] {
        let mut w = World::new();
        w.nodes[A].auto_accept = false;
        let text =
            incoming("Contact: <sip:b@192.0.2.7>\r\n", more, "opt").replacen("application/sdp", kind, 1);
        w.inject(A, text);
        w.run_for(S / 10);
        assert!(w.wire.last().is_some_and(|(_, t)| t.starts_with(status)), "{kind} {more}: {:?}", w.sent(A));
    }
}

/// RFC 3261 §18.3: without Content-Length the body ends with the datagram; line ends that pad it are none.
#[test]
fn padding_is_no_body() {
    let mut w = World::new();
    w.dial(A);
    w.run_for(S);
    let answer = w.last(B, "SIP/2.0 200").to_owned();
    for (cseq, end) in [(70, "\r\n"), (71, "\r\n\r\n"), (72, "\n"), (73, "")] {
        let update = format!(
            "UPDATE sip:{}@{} SIP/2.0\r\nVia: SIP/2.0/UDP {PROXY};branch=z9hG4bK{cseq}\r\nMax-Forwards: 9\r\nFrom: {}\r\n\
             To: {}\r\nCall-ID: {}\r\nCSeq: {cseq} UPDATE\r\nContact: <sip:b@192.0.2.7>\r\n\r\n{end}",
            number(A),
            addr(A),
            field(&answer, "To"),
            field(&answer, "From"),
            field(&answer, "Call-ID"),
        );
        w.inject(A, update);
        let answer = w.last(A, "SIP/2.0");
        assert!(
            answer.starts_with("SIP/2.0 200 ") && answer.contains(&format!("CSeq: {cseq} ")),
            "{end:?}: {answer}"
        );
    }
    // A reliable 183 with padding has no answer that could be of no use.
    let mut c = Called::new();
    let reliable = Reply {
        start: "SIP/2.0 183 Session Progress".into(),
        more: "Require: 100rel\r\nRSeq: 5\r\nContent-Length: 2\r\n".into(),
        body: "\r\n".into(),
        ..ok_without_body()
    };
    c.says(&reliable);
    c.says(&ok());
    assert!(c.answered(), "{:?}", c.w.nodes[A].log);
}

fn ok_without_body() -> Reply {
    Reply { more: String::new(), body: String::new(), ..ok() }
}

/// The number of the caller is read from a URI with parameters and with separators.
#[test]
fn asserted_numbers_with_parameters() {
    let asserted = "Incoming Asserted(TelNumber(0388882001))";
    for identity in [
        "<sip:+81388882001;verstat=TN-Validation-Passed@carrier.example;user=phone>",
        "<tel:+81388882001;verstat=No-TN-Validation;cpc=ordinary>",
        "<sip:0388882001;npdi;rn=0388889999@carrier.example;user=phone>",
        "<sip:03-8888-2001@carrier.example;user=phone>",
        "<sip:(03)8888.2001@carrier.example;user=phone>",
        "<tel:+81(3)8888-2001>",
        "<SIP:%30388882001@CARRIER.example>;x=\"<sip:0388883001@y>\"",
        "\"<sip:0388883001@y>\" <sip:0388882001@carrier.example>",
        "sip:0388882001@carrier.example;user=phone",
        "<sip:0388882001:secret@carrier.example>",
        "<sips:0388882001@carrier.example>, \"x\" <tel:+81388882001>",
    ] {
        let mut w = World::new();
        w.nodes[A].auto_accept = false;
        w.inject(
            A,
            incoming(
                "Contact: <sip:b@192.0.2.7>\r\n",
                &format!("P-Asserted-Identity: {identity}\r\nPrivacy: id; user\r\n"),
                "pai",
            ),
        );
        assert_eq!(w.nodes[A].log, [asserted], "{identity}");
    }
}
