//! A call whose other side the test plays, message by message.

use super::*;
use std::time::Duration;

const MS: Duration = Duration::from_millis(1);

/// A call of which only the INVITE has arrived; the called side is played by the test.
pub struct Called {
    pub w: World,
    pub invite: String,
}

/// The parts of a response that a case may spoil.
#[derive(Clone)]
pub struct Reply {
    pub start: String,
    pub to: String,
    pub contact: String,
    pub more: String,
    pub body: String,
}

pub fn ok() -> Reply {
    Reply {
        start: "SIP/2.0 200 OK".into(),
        to: format!("<sip:{}@carrier.example>;tag=b", number(B)),
        contact: "Contact: <sip:b@192.0.2.7:5060>\r\n".into(),
        more: "Content-Type: application/sdp\r\n".into(),
        body: sdp(B).to_string(),
    }
}

impl Called {
    pub fn new() -> Self {
        let mut w = World::new();
        w.filter = Box::new(|_| true);
        w.dial(A);
        w.run_for(10 * MS);
        let invite = w.last(A, "INVITE").to_owned();
        Self { w, invite }
    }

    /// The text of a reply to a request of ours.
    pub fn text(request: &str, r: &Reply) -> String {
        let head =
            ["Via", "From", "Call-ID", "CSeq"].map(|n| format!("{n}: {}\r\n", field(request, n))).concat();
        let length = if r.more.contains("Content-Length") {
            String::new()
        } else {
            format!("Content-Length: {}\r\n", r.body.len())
        };
        format!("{}\r\n{head}To: {}\r\n{}{}{length}\r\n{}", r.start, r.to, r.contact, r.more, r.body)
    }

    pub fn says(&mut self, r: &Reply) {
        let text = Self::text(&self.invite, r);
        self.hears(text.as_bytes());
    }

    pub fn hears(&mut self, bytes: &[u8]) {
        self.w.inject(A, bytes);
        self.w.run_for(10 * MS);
    }

    pub fn answered(&self) -> bool {
        self.w.nodes[A].log.contains(&"Answered".to_owned())
    }
}

/// An INVITE to the line of A with these fields and this From tag or display name.
pub fn incoming(contact: &str, more: &str, call_id: &str) -> String {
    let body = sdp(B).to_string();
    format!(
        "INVITE sip:{n}@198.51.100.11:5060 SIP/2.0\r\nVia: SIP/2.0/UDP {PROXY};branch=z9hG4bK{call_id}\r\n\
         Max-Forwards: 9\r\nFrom: <sip:0388882001@carrier.example>;tag=f\r\nTo: <sip:{n}@carrier.example>\r\n\
         Call-ID: {call_id}\r\nCSeq: 7 INVITE\r\n{contact}{more}Content-Type: application/sdp\r\n\
         Content-Length: {}\r\n\r\n{body}",
        body.len(),
        n = number(A),
    )
}
