//! RFC 4475: messages that parsers stumble over, its own octets (appendix A), and what each of them is answered.

use crate::testing::*;
use std::time::Duration;

pub struct Row {
    pub name: &'static str,
    pub bytes: &'static [u8],
    /// 0: nothing is sent.
    answer: u16,
}

macro_rules! row {
    ($name:literal, $answer:literal) => {
        Row { name: $name, bytes: include_bytes!(concat!("torture/", $name, ".sip")), answer: $answer }
    };
}

#[rustfmt::skip]
pub const MESSAGES: &[Row] = &[
    row!("badaspec", 400),
    row!("badbranch", 400),
    row!("baddate", 404),
    row!("baddn", 400),
    row!("badinv01", 400),
    row!("badvers", 505),
    row!("bcast", 0),
    row!("bext01", 420),
    row!("bigcode", 0),
    row!("clerr", 400),
    row!("cparam01", 405),
    row!("cparam02", 405),
    row!("dblreq", 405),
    row!("esc01", 404),
    row!("esc02", 501),
    row!("escnull", 405),
    row!("escruri", 400),
    row!("insuf", 400),
    row!("intmeth", 501),
    row!("inv2543", 404),
    row!("invut", 404),
    row!("longreq", 404),
    row!("ltgtruri", 400),
    row!("lwsdisp", 404),
    row!("lwsruri", 400),
    row!("lwsstart", 400),
    row!("mcl01", 400),
    row!("mismatch01", 400),
    row!("mismatch02", 501),
    row!("mpart01", 405),
    row!("multi01", 400),
    row!("ncl", 400),
    row!("noreason", 0),
    row!("novelsc", 416),
    row!("quotbal", 400),
    row!("regaut01", 405),
    row!("regbadct", 400),
    row!("regescrt", 405),
    row!("scalar02", 400),
    row!("scalarlg", 0),
    row!("sdp01", 404),
    row!("semiuri", 404),
    row!("transports", 404),
    row!("trws", 400),
    row!("unkscm", 416),
    row!("unksm2", 405),
    row!("unreason", 0),
    row!("wsinv", 481),
    row!("zeromf", 404),
];

const S: Duration = Duration::from_secs(1);

/// What a message makes a node send.
fn answers(w: &mut World, to: usize, bytes: &[u8]) -> Vec<String> {
    let before = w.wire.len();
    w.filter = Box::new(|_| true);
    w.inject(to, bytes);
    w.filter = Box::new(|_| false);
    w.wire[before..].iter().map(|(_, t)| t.clone()).collect()
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum State {
    Idle,
    Ringing,
    InCall,
}

/// INVITEs with the Request-URI of a line: what the address no longer decides.
#[test]
fn invites_to_a_line_are_judged_by_their_content() {
    for (name, expected) in [
        ("esc01", "488 "),
        ("longreq", "488 "),
        ("baddate", "488 "), // §3.1.2.12: Date is of no use here
        ("invut", "415 "),
        ("sdp01", "406 "),
        ("inv2543", "400 "), // neither branch nor tag in From, which is well; but no Contact to hang up to
    ] {
        let row = MESSAGES.iter().find(|r| r.name == name).expect("known");
        let text = std::str::from_utf8(row.bytes).expect("text");
        let (_, rest) = text.split_once("\r\n").expect("a start line");
        let mut w = World::new();
        let message = format!("INVITE sip:{}@198.51.100.11 SIP/2.0\r\n{rest}", number(A));
        let sent = answers(&mut w, A, message.as_bytes());
        let [only] = &sent[..] else { panic!("{name}: {sent:?}") };
        assert!(only.starts_with(&format!("SIP/2.0 {expected}")), "{name}: {only}");
        let again = answers(&mut w, A, message.as_bytes());
        assert_eq!(again, sent, "{name}: §17.2.3, the same transaction");
        // §17.1.1.3, §17.2.3: the ACK has the INVITE's Via, From and Call-ID, and the response's To.
        let field = |text: &str, names: &[&str]| {
            let is = |l: &&str| {
                l.split_once(':').is_some_and(|(n, _)| names.iter().any(|x| x.eq_ignore_ascii_case(n.trim())))
            };
            text.lines().find(is).expect("there").to_owned()
        };
        let via = field(rest, &["Via", "v"]);
        let cseq = field(only, &["CSeq"]).replace("INVITE", "ACK");
        let (from, to, id) = (field(only, &["From"]), field(only, &["To"]), field(only, &["Call-ID"]));
        let ack = format!(
            "ACK sip:{}@198.51.100.11 SIP/2.0\r\n{via}\r\n{from}\r\n{to}\r\n{id}\r\n{cseq}\r\n\r\n",
            number(A)
        );
        assert_eq!(answers(&mut w, A, ack.as_bytes()), Vec::<String>::new(), "{name}");
        let before = w.wire.len();
        w.run_for(60 * S);
        assert_eq!(w.wire.len(), before, "{name}: the ACK ended the repetitions");
    }
}

/// The same answer in every state; and what was going on ends as it would have without.
#[test]
fn each_is_answered_as_the_rfc_says() {
    let mut wrong = Vec::new();
    for state in [State::Idle, State::Ringing, State::InCall] {
        for node in [A, B] {
            let mut w = World::new();
            w.nodes[B].auto_accept = state == State::InCall;
            let call = (state != State::Idle).then(|| w.dial(A));
            w.run_for(S);
            for row in MESSAGES {
                let sent = answers(&mut w, node, row.bytes);
                let status = |t: &String| t.strip_prefix("SIP/2.0 ").and_then(|t| t.get(..3)?.parse().ok());
                let expected: &[u16] = if row.answer == 0 { &[] } else { &[row.answer] };
                if sent.iter().filter_map(status).collect::<Vec<u16>>() != expected || sent.len() > 1 {
                    wrong.push(format!("{state:?} {node} {}: {} != {sent:?}", row.name, row.answer));
                }
            }
            if let Some(call) = call {
                w.hang_up(A, call);
            }
            w.run_for(40 * S);
            assert_eq!(w.proxy.forgotten(), Vec::<&_>::new());
            for node in &w.nodes {
                assert_eq!((node.journal.len(), node.ua.live_dialogs()), (0, 0), "{:?}", node.log);
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
