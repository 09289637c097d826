//! Writing messages; the header fields in the order in which they are added.

use super::octets;
use std::fmt::{Display, Write as _};

#[derive(Debug, Clone)]
pub struct Writer {
    start: String,
    headers: String,
}

impl Writer {
    pub fn request(method: &str, uri: &str) -> Self {
        Self { start: format!("{method} {uri} SIP/2.0"), headers: String::new() }
    }

    pub fn response(status: u16) -> Self {
        Self { start: format!("SIP/2.0 {status} {}", super::reason_phrase(status)), headers: String::new() }
    }

    /// The Request-URI.
    pub fn uri(&self) -> &str {
        self.start.split(' ').nth(1).unwrap_or_default()
    }

    pub fn header(&mut self, name: &str, value: impl Display) -> &mut Self {
        let _ = write!(self.headers, "{name}: ");
        let start = self.headers.len();
        let _ = write!(self.headers, "{value}");
        // Neither a profile nor a peer can end a line.
        if self.headers.as_bytes()[start..].iter().any(|b| matches!(b, b'\r' | b'\n')) {
            let value = self.headers.split_off(start).replace(['\r', '\n'], " ");
            self.headers.push_str(&value);
        }
        self.headers.push_str("\r\n");
        self
    }

    pub fn headers<'a>(&mut self, name: &str, values: impl IntoIterator<Item = &'a str>) -> &mut Self {
        for v in values {
            self.header(name, v);
        }
        self
    }

    /// With a body of SDP, or none.
    pub fn finish(mut self, body: Option<&str>) -> Vec<u8> {
        if body.is_some() {
            self.header("Content-Type", "application/sdp");
        }
        let body = body.unwrap_or_default();
        self.header("Content-Length", body.len());
        let mut out = octets::encode(&format!("{}\r\n{}\r\n", self.start, self.headers));
        out.extend_from_slice(body.as_bytes());
        out
    }
}
