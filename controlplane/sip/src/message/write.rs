//! Writing messages; the header fields in the order in which they are added.

use rsip::{Header, Headers};
use std::fmt::Display;

#[derive(Debug, Clone)]
pub struct Writer {
    start: String,
    headers: Headers,
}

impl Writer {
    pub fn request(method: &str, uri: &str) -> Self {
        Self { start: format!("{method} {uri} SIP/2.0"), headers: Headers::default() }
    }

    pub fn response(status: u16) -> Self {
        Self {
            start: format!("SIP/2.0 {status} {}", super::reason_phrase(status)),
            headers: Headers::default(),
        }
    }

    /// The Request-URI.
    pub fn uri(&self) -> &str {
        self.start.split(' ').nth(1).unwrap_or_default()
    }

    pub fn header(&mut self, name: &str, value: impl Display) -> &mut Self {
        // Nothing that a profile or a peer says can end a line.
        let value = value.to_string().replace(['\r', '\n'], " ");
        self.headers.push(Header::Other(name.to_owned(), value));
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
        format!("{}\r\n{}\r\n{body}", self.start, self.headers).into_bytes()
    }
}
