//! A response is never lost because of a field that decides nothing, and a request only for a reason that it is told.

use crate::testing::called::*;
use crate::testing::*;
use crate::{Flow, NoticeKind, Output};
use std::time::Duration;

const S: Duration = Duration::from_secs(1);
const MS: Duration = Duration::from_millis(1);

/// RFC 3261 §20.10, §25.1: a Contact without brackets whose parameter holds some inside its quotes.
#[test]
fn a_contact_without_brackets_may_have_them_in_a_quoted_parameter() {
    let contact = "Contact: sip:b@192.0.2.7:5060;+sip.instance=\"<urn:gsma:imei:0-0-0>\";audio\r\n";
    let mut c = Called::new();
    c.says(&Reply { contact: contact.into(), ..ok() });
    assert!(c.answered());
    assert!(c.w.last(A, "ACK").starts_with("ACK sip:b@192.0.2.7:5060 SIP/2.0\r\n"));
    assert_eq!(c.w.nodes[A].ua.stats().flawed_responses, 0);
    // The same in an INVITE.
    let mut w = World::new();
    w.nodes[A].auto_accept = false;
    w.inject(A, incoming(contact, "P-Asserted-Identity: <sip:0388882001@carrier.example>\r\n", "f"));
    assert_eq!(w.nodes[A].log, ["Incoming Asserted(TelNumber(0388882001))"]);
}

/// RFC 3261 §13.2.2.4: every 2xx is acknowledged, and one that can be used is used.
#[test]
fn a_2xx_with_odd_fields_is_acknowledged_and_used() {
    let many = "X-Filler: 1\r\n".repeat(400);
    let cases: Vec<(&str, Reply)> = vec![
        ("comma at the end", Reply { more: "Record-Route: <sip:198.51.100.10;lr>,\r\n".into(), ..ok() }),
        ("comment", Reply { contact: "Contact: HQ (Tokyo) <sip:b@192.0.2.7>\r\n".into(), ..ok() }),
        ("comment in To", Reply { to: "HQ (Tokyo) <sip:0388882001@carrier.example>;tag=b".into(), ..ok() }),
        (
            "doubled quotes",
            Reply { to: "\"\"unknown\"\" <sip:0388882001@carrier.example>;tag=b".into(), ..ok() },
        ),
        ("UTF-8 name", Reply { to: "東京支店 <sip:0388882001@carrier.example>;tag=b".into(), ..ok() }),
        ("open quote", Reply { to: "\"open <sip:0388882001@carrier.example>;tag=b".into(), ..ok() }),
        ("empty identity", Reply { more: "P-Asserted-Identity:\r\nContact-X\r\n".into(), ..ok() }),
        ("no header field", Reply { more: "junk\r\n: x\r\nB\u{e9}: y\r\n".into(), ..ok() }),
        ("many fields", Reply { contact: format!("{many}Contact: <sip:b@192.0.2.7>\r\n"), ..ok() }),
        ("unreadable Contact", Reply { contact: "Contact: somewhere else\r\n".into(), ..ok() }),
        ("unreadable Record-Route", Reply { more: "Record-Route: nowhere\r\n".into(), ..ok() }),
        (
            "two of one",
            Reply { more: "Max-Forwards: 1\r\nMax-Forwards: x\r\nTo: <sip:x@y>\r\n".into(), ..ok() },
        ),
        ("unreadable length", Reply { more: "Content-Length: many\r\n".into(), ..ok() }),
        ("two lengths", Reply { more: "Content-Length: 3\r\nContent-Length: 4\r\n".into(), ..ok() }),
        ("two blanks", Reply { start: "SIP/2.0  200\tOK".into(), ..ok() }),
        ("no phrase", Reply { start: "SIP/2.0 200".into(), ..ok() }),
        ("bare LF", Reply { more: "Subject: a\nb\r\n".into(), ..ok() }),
    ];
    for (what, mut reply) in cases {
        if !reply.more.contains("Content-Type") {
            reply.more += "Content-Type: application/sdp\r\n";
        }
        let mut c = Called::new();
        c.says(&reply);
        assert!(c.answered(), "{what}: {:?}", c.w.nodes[A].log);
        assert_eq!(c.w.count(A, "ACK"), 1, "{what}");
        assert!(c.w.last(A, "ACK").contains(";tag=b\r\n"), "{what}: {}", c.w.last(A, "ACK"));
        assert_eq!((c.w.nodes[A].ua.stats().malformed, c.w.notices.len() <= 1), (0, true), "{what}");
        // Hung up; and a 200 to the BYE that is as odd ends it.
        let call = *c.w.nodes[A].handles.keys().next().expect("a call");
        c.w.hang_up(A, call);
        let bye = c.w.last(A, "BYE").to_owned();
        assert!(bye.contains(";tag=b\r\n"), "{what}");
        let text = Called::text(&bye, &Reply { body: String::new(), ..reply });
        c.hears(text.as_bytes());
        assert_eq!(c.w.nodes[A].log.last().map(String::as_str), Some("Ended"), "{what}");
        assert_eq!(c.w.nodes[A].ua.live_dialogs(), 0, "{what}");
    }
}

/// A Via whose parameters decide nothing, but for the branch, loses neither a response nor the end of a call.
#[test]
fn a_via_with_odd_parameters_loses_nothing() {
    for odd in [";;rport=5060", ";received=\"198.51.100.11;x\"", ";a b;ttl=", ";rport=5060;"] {
        let mut c = Called::new();
        let text = Called::text(&c.invite, &ok());
        let via = field(&c.invite, "Via");
        let text = text.replacen(&via, &format!("{via}{odd}"), 1);
        c.hears(text.as_bytes());
        assert!(c.answered(), "{odd}: {:?}", c.w.nodes[A].log);
        assert_eq!(c.w.count(A, "ACK"), 1, "{odd}");
        let call = *c.w.nodes[A].handles.keys().next().expect("a call");
        let bye = format!(
            "BYE sip:x@{} SIP/2.0\r\nVia: SIP/2.0/UDP {PROXY};branch=z9hG4bKbye{odd}\r\nFrom: <sip:b@h>;tag=b\r\n\
             To: {}\r\nCall-ID: {}\r\nCSeq: 5 BYE\r\n\r\n",
            addr(A),
            field(&c.invite, "From"),
            field(&c.invite, "Call-ID"),
        );
        c.hears(bye.as_bytes());
        assert!(
            c.w.wire.last().is_some_and(|(_, t)| t.starts_with("SIP/2.0 200 ")),
            "{odd}: {:?}",
            c.w.wire.last()
        );
        assert!(c.w.nodes[A].ended.contains(&call), "{odd}: {:?}", c.w.nodes[A].log);
    }
}

/// A 2xx whose rest cannot be used is acknowledged and hung up; a refusal ends the call; both are told of.
#[test]
fn what_cannot_be_used_still_ends_the_call() {
    let mut c = Called::new();
    c.says(&Reply { to: "nothing".into(), contact: "Contact: ,\r\n".into(), body: "?".into(), ..ok() });
    assert_eq!((c.w.count(A, "ACK"), c.w.count(A, "BYE")), (1, 1));
    assert_eq!(c.w.nodes[A].log.last_chunk(), Some(&["Failed BadAnswer(Syntax)".to_owned()]));
    let [(A, notice)] = &c.w.notices[..] else { panic!("{:?}", c.w.notices) };
    assert_eq!((notice.kind, notice.count), (NoticeKind::MalformedResponse, 1));
    assert!(notice.to_string().contains("200 to INVITE"), "{notice}");

    for more in ["P-Asserted-Identity:\r\n", "Contact: a, , b\r\n", "junk\r\n", "Warning: \"\r\n"] {
        let mut c = Called::new();
        c.says(&Reply { start: "SIP/2.0 486 Busy".into(), more: more.into(), body: String::new(), ..ok() });
        assert_eq!(c.w.count(A, "ACK"), 1, "{more}");
        assert!(c.w.nodes[A].log[0].starts_with("Failed Status { status: 486, reason: \"Busy\""), "{more}");
    }
    // RFC 3261 §18.3: a response whose body is cut off MUST be discarded; so is one that names no method.
    for more in ["Content-Length: 9999\r\n", "CSeq: 1\r\n"] {
        let mut c = Called::new();
        let mut text = Called::text(&c.invite, &Reply { more: more.into(), ..ok() });
        if more.starts_with("CSeq") {
            text = text.replacen("CSeq: 1 INVITE\r\n", "", 1);
        }
        c.hears(text.as_bytes());
        assert_eq!((c.w.count(A, "ACK"), c.w.nodes[A].ua.stats().malformed, c.w.notices.len()), (0, 1, 1));
    }
}

/// With LF alone in the header.
fn lf(message: &str) -> String {
    let (head, body) = message.split_once("\r\n\r\n").expect("a blank line");
    format!("{}\n\n{body}", head.replace("\r\n", "\n"))
}

/// RFC 3261 §7.3.1: display names that are no UTF-8 come back octet by octet (§8.2.6.2), and so do LF line ends.
#[test]
fn foreign_octets_and_line_ends() {
    for name in [&b"\"B\xfcro\" "[..], b"\"\x93\x8c\x8b\x9e\" ", b"B\xfcro ", "\"\u{f7fc}\" ".as_bytes()] {
        let mut w = World::new();
        w.nodes[A].auto_accept = false;
        let text = incoming("Contact: <sip:x@192.0.2.7>\r\n", "", "oct");
        let (before, after) = text.split_once("<sip:0388882001").expect("From");
        let bytes = [before.as_bytes(), name, b"<sip:0388882001", after.as_bytes()].concat();
        let now = w.now;
        w.nodes[A].ua.handle_message(now, &Flow::udp(addr(A), proxy_addr()), &bytes);
        let mut answers = Vec::new();
        while let Some(output) = w.nodes[A].ua.poll_output() {
            match output {
                Output::Transmit { bytes, .. } => answers.push(bytes),
                Output::Event(crate::Event::Incoming { call, .. }) => {
                    w.nodes[A].handles.insert(call.id(), call);
                }
                _ => {}
            }
        }
        let from = [b"From: ", name, b"<sip:0388882001@carrier.example>;tag=f\r\n"].concat();
        let trying = answers.first().expect("100");
        assert!(trying.windows(from.len()).any(|w| w == from), "{}", String::from_utf8_lossy(trying));
        assert_eq!(w.nodes[A].handles.len(), 1);
    }
    // Lines that end in LF alone, all of them.
    let mut w = World::new();
    w.nodes[A].auto_accept = false;
    w.inject(A, lf(&incoming("Contact: <sip:x@192.0.2.7>\r\n", "", "lf")));
    w.run_for(S / 100);
    assert_eq!((w.count(A, "SIP/2.0 180"), w.nodes[A].ua.stats().malformed), (1, 0));
    let mut c = Called::new();
    let text = lf(&Called::text(&c.invite, &ok()));
    c.hears(text.as_bytes());
    assert!(c.answered());
}

/// In a request, too, a display name decides nothing, and the number that the proxy asserts is found.
#[test]
fn the_asserted_number_is_found_beside_odd_names() {
    let asserted = "Incoming Asserted(TelNumber(0388882001))";
    for (identity, log) in [
        ("東京支店 <sip:0388882001@carrier.example>", asserted),
        ("\"\"x\"\" <sip:0388882001@carrier.example>", asserted),
        ("HQ (Tokyo) <tel:+81-3-8888-2001>,", asserted),
        (", <sip:0388882001@carrier.example>", asserted),
        // RFC 3325 §9.1: the tel URI is the number; the SIP URI may have an extension.
        ("<sip:5021@carrier.example>, <tel:0388882001>", asserted),
        ("<tel:0388882001>, <sip:5021@carrier.example>", asserted),
        ("<sip:0388882001@carrier.example>, <sip:0388883001@carrier.example>", "Incoming Unidentified"),
        ("<tel:0388882001>, <tel:0388883001>", "Incoming Unidentified"),
        ("<tel:388882001;phone-context=+81>", asserted),
        ("", "Incoming Unidentified"),
    ] {
        let mut w = World::new();
        w.nodes[A].auto_accept = false;
        let more = format!("P-Asserted-Identity: {identity}\r\nRoute: nonsense\r\n");
        w.inject(A, incoming("Contact: HQ (Tokyo) <sip:b@192.0.2.7>, ???\r\n", &more, "pai"));
        assert_eq!(w.nodes[A].log, [log], "{identity}");
    }
}

/// RFC 3966 §5.1.5: a local number is one of its phone-context.
#[test]
fn a_local_number_has_its_context() {
    for (uri, status) in [
        ("tel:388881001;phone-context=+81", "SIP/2.0 180 "),
        ("tel:0388881001;phone-context=carrier.example", "SIP/2.0 180 "),
        ("tel:+81-3-8888-1001", "SIP/2.0 180 "),
        ("sip:+81388881001@198.51.100.11;user=phone", "SIP/2.0 180 "),
        // Without a plus sign it is another national number.
        ("sip:81388881001@198.51.100.11", "SIP/2.0 404 "),
        ("tel:388881001;phone-context=+1", "SIP/2.0 404 "),
    ] {
        let mut w = World::new();
        w.nodes[A].auto_accept = false;
        let text = incoming("Contact: <sip:x@192.0.2.7>\r\n", "", "ctx");
        let own = format!("sip:{}@198.51.100.11:5060", number(A));
        let other = format!("<sip:{}@carrier.example>", number(A));
        w.inject(A, text.replacen(&own, uri, 1).replacen(&other, "<sip:carrier.example>", 1));
        w.run_for(S / 100);
        assert!(w.wire.last().is_some_and(|(_, t)| t.starts_with(status)), "{uri}: {:?}", w.sent(A));
    }
}

/// RFC 3261 §18.1.2: a response whose sent-by is not ours MUST be discarded.
#[test]
fn a_response_for_another_address_is_discarded() {
    for via in ["203.0.113.200:5060", "198.51.100.11:5061", "198.51.100.11:0", "gateway.example", "[::1]"] {
        let mut c = Called::new();
        let text =
            Called::text(&c.invite, &ok()).replacen("UDP 198.51.100.11:5060", &format!("UDP {via}"), 1);
        c.hears(text.as_bytes());
        assert_eq!((c.w.count(A, "ACK"), c.w.nodes[A].ua.stats().stray_responses), (0, 1), "{via}");
    }
    // Written in another way it is the same address.
    let mut c = Called::new();
    let text = Called::text(&c.invite, &ok()).replacen("UDP 198.51.100.11:5060", "UDP 198.51.100.11 ", 1);
    c.hears(text.as_bytes());
    assert!(c.answered());
}

/// RFC 5621 §3.1: the SDP of a multipart answer is found; other bodies are named as what they are.
#[test]
fn an_answer_in_several_parts() {
    let mixed = |parts: &str| Reply {
        more: "Content-Type: multipart/mixed;boundary=\"x y\"\r\n".into(),
        body: parts.to_owned(),
        ..ok()
    };
    let isup = "--x y\r\nContent-Type: application/isup\r\n\r\n\u{1}\u{2}\r\n";
    let part = format!("--x y\r\ncontent-type: application/SDP \r\nX: y\r\n\r\n{}", sdp(B));
    for body in [format!("{isup}{part}\r\n--x y--\r\n"), format!("{part}\r\n{isup}--x y--")] {
        let mut c = Called::new();
        c.says(&mixed(&body));
        assert!(c.answered(), "{:?}", c.w.nodes[A].log);
    }
    for body in [isup.to_owned(), part.replace("SDP", "isup") + "--x y--", String::from("--x"), part] {
        let mut c = Called::new();
        c.says(&mixed(&body));
        assert_eq!(c.w.nodes[A].log, ["Failed BadAnswer(NotSdp)"], "{body}");
        assert_eq!(c.w.count(A, "BYE"), 1);
    }
    let mut c = Called::new();
    c.says(&Reply { more: "Content-Type: text/plain\r\n".into(), ..ok() });
    assert_eq!(c.w.nodes[A].log, ["Failed BadAnswer(NotSdp)"]);
}

/// RFC 3261 §19.1.1: `lr` is a parameter of the URI, not some letters in it.
#[test]
fn a_strict_router_is_known_by_its_parameters() {
    for (route, uri) in [
        ("<sip:198.51.100.10;lr>", "sip:b@192.0.2.7:5060"),
        ("<sip:198.51.100.10;transport=udp;lr=on>", "sip:b@192.0.2.7:5060"),
        ("<sip:198.51.100.10;lrx=1>", "sip:198.51.100.10;lrx=1"),
        ("<sip:x;lr@198.51.100.10>", "sip:x;lr@198.51.100.10"),
        ("<sip:198.51.100.10:5060>;lr", "sip:198.51.100.10:5060"),
    ] {
        let mut c = Called::new();
        c.says(&Reply {
            more: format!("Record-Route: {route}\r\nContent-Type: application/sdp\r\n"),
            ..ok()
        });
        assert!(c.w.last(A, "ACK").starts_with(&format!("ACK {uri} SIP/2.0\r\n")), "{}", c.w.last(A, "ACK"));
    }
}

/// RFC 3261 §13.2.2.4 is obeyed, but not without an end: a peer that answers each ACK with its 2xx makes no loop.
#[test]
fn acks_are_not_repeated_without_an_end() {
    let mut c = Called::new();
    for _ in 0..200 {
        c.says(&ok());
    }
    assert_eq!(c.w.count(A, "ACK"), 33);
    assert_eq!(c.w.nodes[A].ua.stats().acks_withheld, 167);
    // The same for a refusal that comes again and again.
    let mut c = Called::new();
    for _ in 0..200 {
        c.says(&Reply { start: "SIP/2.0 486 Busy".into(), body: String::new(), ..ok() });
    }
    assert_eq!(c.w.count(A, "ACK"), 33);
}

/// The peer knows of no call when we hang up, and answers it all the same: one more BYE, and no third.
#[test]
fn a_call_that_was_unknown_and_is_answered_again_is_hung_up_again() {
    let mut c = Called::new();
    let silent = Reply { to: format!("<sip:{}@carrier.example>", number(B)), contact: String::new(), ..ok() };
    c.says(&silent);
    assert!(c.answered());
    let call = *c.w.nodes[A].handles.keys().next().expect("a call");
    c.w.hang_up(A, call);
    let gone = Reply { start: "SIP/2.0 481 Unknown".into(), body: String::new(), ..silent.clone() };
    let bye = c.w.last(A, "BYE").to_owned();
    c.hears(Called::text(&bye, &gone).as_bytes());
    assert_eq!(c.w.nodes[A].log.last().map(String::as_str), Some("Ended"));
    c.says(&silent);
    assert_eq!(c.w.count(A, "BYE"), 2);
    let again = c.w.last(A, "BYE").to_owned();
    let cseq = |t: &str| field(t, "CSeq").split(' ').next().and_then(|n| n.parse::<u32>().ok());
    assert!(cseq(&again) > cseq(&bye), "{again}");
    c.hears(Called::text(&again, &gone).as_bytes());
    for _ in 0..5 {
        c.says(&silent);
    }
    assert_eq!(c.w.count(A, "BYE"), 2);
    c.w.run_for(40 * S);
    assert_eq!((c.w.nodes[A].ua.live_dialogs(), c.w.nodes[A].journal.len()), (0, 0));
}

/// RFC 3261 §13.3.1: an INVITE that says how long it waits is answered 487 then.
#[test]
fn an_invite_expires() {
    for (expires, status, after) in
        [("30", "SIP/2.0 487", 31), ("9999", "SIP/2.0 480", 121), ("soon", "SIP/2.0 480", 121)]
    {
        let mut w = World::new();
        w.nodes[A].auto_accept = false;
        w.inject(A, incoming("Contact: <sip:x@192.0.2.7>\r\n", &format!("Expires: {expires}\r\n"), "exp"));
        w.run_for((after - 2) * S);
        assert_eq!(w.count(A, status), 0, "{expires}");
        w.run_for(2 * S);
        assert!(w.count(A, status) > 0, "{expires}: {:?}", w.sent(A));
    }
}

/// A peer that is refused its BYE has left the call all the same, and an ACK cannot be refused: both count as far as they
/// can be read.
#[test]
fn an_odd_bye_and_an_odd_ack_are_obeyed() {
    for odd in [
        "junk\r\n",
        "Content-Length: 99\r\nContent-Length: x\r\n",
        "Max-Forwards: 1\r\nMax-Forwards: 2\r\n",
        "Contact: nowhere, ,\r\nRecord-Route: ???\r\n",
        "P-Asserted-Identity:\r\nSubject: a\u{b}b\r\n",
    ] {
        for name in ["", "\"\"x\"\" ", "\"open ", "Bell, Alexander "] {
            let mut w = World::new();
            w.inject(A, incoming("Contact: <sip:x@192.0.2.7>\r\n", "", "odd"));
            w.run_for(10 * MS);
            let ok = w.last(A, "SIP/2.0 200").to_owned();
            let request = |method: &str, cseq: u32| {
                format!(
                    "{method} sip:x@{} SIP/2.0\r\nVia: SIP/2.0/UDP {PROXY};branch=z9hG4bK{method}\r\n{odd}\
                     From: {name}{}\r\nTo: {}\r\nCall-ID: odd\r\nCSeq: {cseq} {method}\r\n\r\n",
                    addr(A),
                    field(&ok, "From"),
                    field(&ok, "To"),
                )
            };
            w.inject(A, request("ACK", 7));
            assert_eq!(w.nodes[A].log.last().map(String::as_str), Some("Confirmed"), "{odd}{name}");
            w.inject(A, request("BYE", 8));
            assert_eq!(
                w.nodes[A].log.last_chunk(),
                Some(&["PeerHungUp".to_owned(), "Ended".into()]),
                "{odd}{name}"
            );
            assert!(w.wire.last().is_some_and(|(_, t)| t.starts_with("SIP/2.0 200 ")));
        }
    }
    // Without what names the dialog there is nothing to obey.
    let mut w = World::new();
    w.dial(A);
    w.run_for(S);
    for bye in [
        "BYE sip:x@h SIP/2.0\r\nVia: SIP/2.0/UDP 198.51.100.10;branch=z9hG4bKq\r\nFrom: \r\nTo: x\r\nCall-ID: c\r\nCSeq: 1 BYE\r\n\r\n",
        "BYE sip:x@h SIP/7.0\r\nVia: SIP/2.0/UDP 198.51.100.10;branch=z9hG4bKr\r\nFrom: <sip:a@b>;tag=a\r\nTo: <sip:a@b>;tag=b\r\n\
         Call-ID: c\r\nCSeq: 1 BYE\r\n\r\n",
    ] {
        w.inject(A, bye);
        assert!(
            w.wire
                .last()
                .is_some_and(|(_, t)| t.starts_with("SIP/2.0 400 ") || t.starts_with("SIP/2.0 505 "))
        );
    }
    assert_eq!(w.nodes[A].log.last().map(String::as_str), Some("Answered"));
}

/// RFC 3261 §8.1.1.4: a Call-ID is compared as it is; a host in it that is not the sender's means nothing.
#[test]
fn the_host_of_a_call_id_means_nothing() {
    let bye = "BYE sip:0388881001@192.30.18.22:5060 SIP/2.0\r\nVia: SIP/2.0/UDP 172.30.18.22:5060;branch=z9hG4bK1\r\n\
               From: <sip:0388882001@c.example>;tag=1\r\nTo: <sip:0388881001@c.example>;tag=2\r\n\
               Call-ID: 2E0C8FB3@122.50.18.22\r\nCSeq: 102 BYE\r\nContent-Length: 0\r\n\r\n";
    let message = crate::message::Message::parse(bye.as_bytes()).expect("a request");
    assert_eq!(message.call_id(), "2E0C8FB3@122.50.18.22");
}
