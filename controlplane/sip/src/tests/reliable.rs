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
        let text = format!(
            "{method} sip:x@{} SIP/2.0\r\nVia: SIP/2.0/UDP {PROXY};branch=z9hG4bK{method}{cseq}{tag}\r\n\
             Max-Forwards: 9\r\nFrom: {};tag={tag}\r\nTo: {}\r\nCall-ID: {}\r\nCSeq: {cseq} {method}\r\n\
             Contact: <sip:moved@192.0.2.9>\r\nContent-Type: application/sdp\r\nContent-Length: {}\r\n\r\n{body}",
            addr(A),
            field(&self.head, "To"),
            field(&self.head, "From"),
            field(&self.head, "Call-ID"),
            body.len()
        );
        self.w.inject(A, text);
        let (_, answer) = self.w.wire.last().expect("an answer");
        answer.lines().next().unwrap_or_default().to_owned()
    }

    /// The carrier refuses our last request of this method.
    fn refuses(&mut self, method: &str, status: &str, more: &str) {
        let request = self.w.last(A, method).to_owned();
        let field = |name: &str| request.lines().find(|l| l.starts_with(name)).expect("the field is there");
        let head = ["Via: ", "From: ", "To: ", "Call-ID: ", "CSeq: "].map(field).join("\r\n");
        self.w.inject(A, format!("SIP/2.0 {status}\r\n{head}\r\n{more}Content-Length: 0\r\n\r\n"));
        self.w.run_for(10 * MS);
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
    // What repeats the answer is answered as in the call; another offer is refused.
    assert_eq!(c.asks("UPDATE", "b", 7, &offer), "SIP/2.0 200 OK");
    let answer = c.w.wire.last().map(|(_, t)| t.clone()).expect("an answer");
    assert!(answer.ends_with(&sdp(A).to_string()), "{answer}");
    let moved = offer.replace(" 50001 ", " 50009 ");
    assert_eq!(c.asks("UPDATE", "b", 107, &moved), "SIP/2.0 488 Not Acceptable Here");
    assert_eq!(c.asks("BYE", "b", 108, ""), "SIP/2.0 481 Call/Transaction Does Not Exist", "§15");
    c.says("200 OK", "b", "", "");
    assert_eq!(c.w.nodes[A].log.last().map(String::as_str), Some("Answered"));
}

const CHALLENGE: &str =
    "Proxy-Authenticate: Digest realm=\"r\", nonce=\"n\", qop=\"auth\", algorithm=SHA-256\r\n";

/// RFC 3261 §22.2: the PRACK once more, with credentials, for the same response; once, if they are refused.
#[test]
fn a_prack_that_is_challenged_is_sent_again() {
    let mut c = Called::new();
    c.reliable("b", 7, "");
    assert_eq!(c.cseq("PRACK"), "2 PRACK");
    c.refuses("PRACK", "407 Proxy Authentication Required", CHALLENGE);
    assert_eq!((c.racks(), c.cseq("PRACK")), (vec!["7 1 INVITE"; 2], "3 PRACK"));
    assert!(c.w.last(A, "PRACK").contains("\r\nProxy-Authorization: Digest "));
    c.refuses("PRACK", "407 Proxy Authentication Required", CHALLENGE);
    assert_eq!(c.racks().len(), 2);
    // What was not acknowledged comes again.
    c.reliable("b", 7, "");
    assert_eq!((c.racks().len(), c.cseq("PRACK")), (3, "4 PRACK"));
    c.refuses("PRACK", "200 OK", "");
    c.reliable("b", 7, "");
    assert_eq!(c.racks().len(), 3, "acknowledged");
    c.says("200 OK", "b", "Content-Type: application/sdp\r\n", &sdp(B).to_string());
    assert_eq!(c.w.nodes[A].log.last().map(String::as_str), Some("Answered"));
}

/// RFC 3261 §13.2.1: the first reliable answer is the answer; other bodies are none.
#[test]
fn a_2xx_does_not_replace_the_answer_that_came_before_it() {
    let moved = sdp(B).to_string().replace(" 50001 ", " 50009 ");
    let sdp_type = "Content-Type: application/sdp\r\n";
    for (early, kind, port) in [
        (sdp(B).to_string(), sdp_type, 50_001),
        (String::new(), "", 50_009),
        ("x".into(), "Content-Type: text/plain\r\n", 50_009),
    ] {
        let mut c = Called::new();
        c.says("183 Session Progress", "b", &format!("Require: 100rel\r\nRSeq: 1\r\n{kind}"), &early);
        c.says("200 OK", "b", sdp_type, &moved);
        assert_eq!(c.w.nodes[A].log.last().map(String::as_str), Some("Answered"));
        // RFC 6193 §5.2: only what repeats the answer is taken afterwards.
        let again = sdp(B).to_string().replace(" 50001 ", &format!(" {port} "));
        assert_eq!(c.asks("UPDATE", "b", 5, &again), "SIP/2.0 200 OK", "{early}");
    }
}

/// RFC 3261 §12.2.1.1, §22.4: a strict router is the Request-URI, which is what the digest is over.
#[test]
fn credentials_for_a_strict_router_are_for_the_request_uri() {
    let mut c = Called::new();
    let strict = "Record-Route: <sip:198.51.100.10:5060>, <sip:192.0.2.20>\r\n";
    c.says("183 Session Progress", "b", &format!("Require: 100rel\r\nRSeq: 1\r\n{strict}"), "");
    c.refuses("PRACK", "407 Proxy Authentication Required", CHALLENGE);
    c.says("200 OK", "b", &format!("{strict}Content-Type: application/sdp\r\n"), &sdp(B).to_string());
    let call = *c.w.nodes[A].handles.keys().next().expect("a call");
    c.w.hang_up(A, call);
    for method in ["PRACK", "BYE"] {
        let request = c.w.last(A, method);
        assert!(request.starts_with(&format!("{method} sip:192.0.2.20 SIP/2.0\r\n")), "{request}");
        let routes: Vec<_> = request.lines().filter(|l| l.starts_with("Route: ")).collect();
        assert_eq!(routes, ["Route: <sip:198.51.100.10:5060>", "Route: <sip:b@192.0.2.7>"], "{request}");
        assert!(request.contains(" uri=\"sip:192.0.2.20\""), "{request}");
    }
}

/// The first INVITE was challenged, and answered all the same by another branch: a call of its own, which is hung up. The
/// second goes on.
#[test]
fn a_2xx_to_an_earlier_invite_is_hung_up() {
    let mut c = Called::new();
    c.refuses("INVITE", "407 Proxy Authentication Required", CHALLENGE);
    assert_eq!(c.cseq("INVITE"), "2 INVITE");
    let body = sdp(B).to_string();
    c.says("200 OK", "early", "Content-Type: application/sdp\r\n", &body);
    assert_eq!((c.cseq("ACK"), c.cseq("BYE")), ("1 ACK", "3 BYE"));
    assert!(c.w.last(A, "BYE").contains(";tag=early\r\n"));
    assert!(!c.w.nodes[A].log.contains(&"Answered".to_owned()));
    c.head = {
        let invite = c.w.last(A, "INVITE");
        let field = |name: &str| invite.lines().find(|l| l.starts_with(name)).expect("the field is there");
        ["Via: ", "From: ", "Call-ID: ", "CSeq: ", "To: "].map(field).join("\r\n")
    };
    c.says("200 OK", "b", "Content-Type: application/sdp\r\n", &body);
    assert_eq!(c.cseq("ACK"), "2 ACK");
    assert_eq!(c.w.nodes[A].log.last().map(String::as_str), Some("Answered"));
}
