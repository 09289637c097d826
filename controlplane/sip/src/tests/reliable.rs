//! RFC 3262: reliable provisional responses, and what they leave for the rest of the call.

use crate::testing::*;
use std::time::Duration;

const S: Duration = Duration::from_secs(1);
const MS: Duration = Duration::from_millis(1);

/// A call of which only the INVITE has arrived; from here on the called side is played by the test.
struct Called {
    w: World,
    /// Header fields of a response: Via, From, To without a tag, Call-ID, CSeq.
    head: String,
}

impl Called {
    fn new() -> Self {
        let mut w = World::new();
        w.filter = Box::new(|_| true);
        w.dial(A);
        w.run_for(10 * MS);
        let invite = w.last(A, "INVITE").to_owned();
        let field = |name: &str| invite.lines().find(|l| l.starts_with(name)).expect("the field is there");
        let head = ["Via: ", "From: ", "Call-ID: ", "CSeq: ", "To: "].map(field).join("\r\n");
        Self { w, head }
    }

    fn says(&mut self, status: &str, tag: &str, more: &str, body: &str) {
        let text = format!(
            "SIP/2.0 {status}\r\n{};tag={tag}\r\nContact: <sip:{tag}@192.0.2.7>\r\n{more}Content-Length: {}\r\n\r\n{body}",
            self.head,
            body.len()
        );
        self.w.inject(A, text);
        self.w.run_for(10 * MS);
    }

    fn reliable(&mut self, tag: &str, rseq: u32, body: &str) {
        let kind = if body.is_empty() { "" } else { "Content-Type: application/sdp\r\n" };
        self.says("183 Session Progress", tag, &format!("Require: 100rel\r\nRSeq: {rseq}\r\n{kind}"), body);
    }

    /// A request of the called side in its early dialog, and what it is answered.
    fn asks(&mut self, method: &str, tag: &str, cseq: u32, body: &str) -> String {
        let field = |name: &str| self.head.split("\r\n").find_map(|l| l.strip_prefix(name)).expect("there");
        let text = format!(
            "{method} sip:x@{} SIP/2.0\r\nVia: SIP/2.0/UDP {PROXY};branch=z9hG4bK{method}{cseq}{tag}\r\n\
             Max-Forwards: 9\r\nFrom: {};tag={tag}\r\nTo: {}\r\nCall-ID: {}\r\nCSeq: {cseq} {method}\r\n\
             Contact: <sip:moved@192.0.2.9>\r\nContent-Type: application/sdp\r\nContent-Length: {}\r\n\r\n{body}",
            addr(A),
            field("To: "),
            field("From: "),
            field("Call-ID: "),
            body.len()
        );
        self.w.inject(A, text);
        let (_, answer) = self.w.wire.last().expect("an answer");
        answer.lines().next().unwrap_or_default().to_owned()
    }

    fn racks(&self) -> Vec<&str> {
        let pracks = self.w.wire.iter().filter(|(i, t)| *i == A && t.starts_with("PRACK"));
        pracks.filter_map(|(_, t)| t.lines().find_map(|l| l.strip_prefix("RAck: "))).collect()
    }

    fn cseq(&self, method: &str) -> &str {
        self.w.last(A, method).lines().find_map(|l| l.strip_prefix("CSeq: ")).unwrap_or_default()
    }
}

/// §4: each is acknowledged once and in order; a repetition and one whose predecessor is missing are not.
#[test]
fn provisional_responses_are_acknowledged_in_order() {
    let mut c = Called::new();
    c.reliable("b", 776, "");
    c.reliable("b", 776, "");
    c.reliable("b", 778, "");
    assert_eq!(c.racks(), ["776 1 INVITE"]);
    c.reliable("b", 777, "");
    c.reliable("b", 778, "");
    // §3: another early dialog counts for itself.
    c.reliable("c", 4, "");
    assert_eq!(c.racks(), ["776 1 INVITE", "777 1 INVITE", "778 1 INVITE", "4 1 INVITE"]);
    assert!(c.w.last(A, "PRACK").starts_with("PRACK sip:c@192.0.2.7 SIP/2.0\r\n"));
}

/// §5: SDP of a reliable response is the answer; the 2xx need not repeat it. RFC 6193 §3 (2): it is used with the 2xx.
#[test]
fn an_answer_that_came_reliably_counts_with_an_empty_2xx() {
    let mut c = Called::new();
    c.reliable("b", 1, &sdp(B).to_string());
    assert!(!c.w.nodes[A].log.contains(&"Answered".to_owned()));
    c.says("200 OK", "b", "", "");
    assert_eq!(c.w.nodes[A].log.last().map(String::as_str), Some("Answered"));

    let mut c = Called::new();
    c.says("200 OK", "b", "", "");
    assert_eq!(c.w.nodes[A].log.last().map(String::as_str), Some("Failed BadAnswer(NoBody)"));
}

/// RFC 3261 §12.2.1.1: CSeq rises within a dialog. The ACK has that of the INVITE, the BYE one beyond the PRACKs; so has
/// that of a fork, and that of a process that knows nothing of them.
#[test]
fn a_bye_comes_after_the_pracks() {
    let answered = |crash: bool| {
        let mut c = Called::new();
        for rseq in 1..=3 {
            c.reliable("b", rseq, "");
            c.reliable("fork", rseq, "");
        }
        if crash {
            c.w.crash(A);
            c.w.run_for(10 * MS);
        }
        let ours = sdp(B).to_string();
        c.says("200 OK", "b", "Content-Type: application/sdp\r\n", &ours);
        c
    };
    let number = |cseq: &str| cseq.split(' ').next().and_then(|n| n.parse::<u32>().ok()).unwrap_or_default();

    let mut c = answered(false);
    assert_eq!((c.cseq("PRACK"), c.cseq("ACK")), ("4 PRACK", "1 ACK"));
    let call = *c.w.nodes[A].handles.keys().next().expect("a call");
    c.w.hang_up(A, call);
    assert_eq!(c.cseq("BYE"), "5 BYE");

    let mut c = answered(false);
    c.says("200 OK", "fork", "", "");
    assert!(c.w.last(A, "BYE").contains(";tag=fork\r\n"));
    assert_eq!((c.cseq("ACK"), c.cseq("BYE")), ("1 ACK", "5 BYE"));

    let mut c = answered(true);
    c.w.run_for(5 * S);
    assert!(number(c.cseq("BYE")) > 4, "{}", c.cseq("BYE"));
    assert_eq!(c.cseq("CANCEL"), "1 CANCEL");
}

/// RFC 3261 §12.1: a provisional response with a tag makes a dialog, reliable or not, and only that one. RFC 3311 §5.2: our
/// offer is not answered, or has its answer.
#[test]
fn the_called_side_may_ask_before_it_answers() {
    let mut c = Called::new();
    assert_eq!(c.asks("OPTIONS", "b", 1, ""), "SIP/2.0 481 Call/Transaction Does Not Exist");
    c.says("180 Ringing", "b", "", "");
    assert_eq!(c.asks("OPTIONS", "b", 2, ""), "SIP/2.0 200 OK");
    assert_eq!(c.asks("OPTIONS", "other", 3, ""), "SIP/2.0 481 Call/Transaction Does Not Exist");
    assert_eq!(c.asks("UPDATE", "b", 4, ""), "SIP/2.0 200 OK");
    assert_eq!(c.asks("UPDATE", "b", 4, ""), "SIP/2.0 200 OK", "a repetition");
    assert_eq!(c.asks("OPTIONS", "b", 3, ""), "SIP/2.0 500 Server Internal Error", "from before");
    let offer = sdp(B).to_string();
    assert_eq!(c.asks("UPDATE", "b", 5, &offer), "SIP/2.0 491 Request Pending");
    assert_eq!(c.asks("INVITE", "b", 6, &offer), "SIP/2.0 491 Request Pending");
    c.reliable("b", 9, &offer);
    assert_eq!(c.asks("UPDATE", "b", 7, &offer), "SIP/2.0 488 Not Acceptable Here");
    assert_eq!(c.asks("BYE", "b", 8, ""), "SIP/2.0 481 Call/Transaction Does Not Exist", "§15");
    c.says("200 OK", "b", "", "");
    assert_eq!(c.w.nodes[A].log.last().map(String::as_str), Some("Answered"));
}
