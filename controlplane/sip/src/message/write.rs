//! Writing messages; the header fields in the order in which they are added.

use super::octets;
use std::fmt::{Display, Write as _};

/// Room for a usual message without a body.
const HEAD: usize = 1024;

#[derive(Debug, Clone)]
pub struct Writer {
    /// The start line and the header fields so far.
    text: String,
}

impl Writer {
    pub fn request(method: &str, uri: &str) -> Self {
        Self::begin(format_args!("{method} {uri} SIP/2.0\r\n"))
    }

    pub fn response(status: u16) -> Self {
        Self::begin(format_args!("SIP/2.0 {status} {}\r\n", super::reason_phrase(status)))
    }

    fn begin(start: impl Display) -> Self {
        let mut text = String::with_capacity(HEAD);
        let _ = write!(text, "{start}");
        Self { text }
    }

    /// The Request-URI.
    pub fn uri(&self) -> &str {
        self.text.split(' ').nth(1).unwrap_or_default()
    }

    pub fn header(&mut self, name: &str, value: impl Display) -> &mut Self {
        self.text.push_str(name);
        self.text.push_str(": ");
        let start = self.text.len();
        let _ = write!(self.text, "{value}");
        // Neither a profile nor a peer can end a line.
        if self.text.as_bytes()[start..].iter().any(|b| matches!(b, b'\r' | b'\n')) {
            let value = self.text.split_off(start).replace(['\r', '\n'], " ");
            self.text.push_str(&value);
        }
        self.text.push_str("\r\n");
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
        self.text.push_str("\r\n");
        let mut out = octets::encode(self.text);
        out.extend_from_slice(body.as_bytes());
        out
    }
}
