//! SIP messages: their syntax, not their meaning.

mod body;
mod check;
mod frame;
mod grammar;
mod octets;
mod phrase;
mod quoted;
mod write;

pub use body::Body;
pub use check::is_sip_uri;
pub use frame::Malformed;
pub use grammar::{NameAddr, Via, host_addr, host_port, is_token, list, read_params, uri_param, user_of};
pub use octets::decode;
pub use phrase::reason_phrase;
pub use quoted::{printable, quote, unquote};
use std::borrow::Cow;
use std::time::Duration;
pub use write::Writer;

/// Characters of a reason phrase that are shown.
const PHRASE_CHARS_MAX: usize = 64;

/// A message that passed [`Message::parse`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    pub start: Start,
    /// Long names; one entry for each value of a list (RFC 3261 §7.3.1).
    headers: Vec<(Cow<'static, str>, String)>,
    pub body: Vec<u8>,
    /// A response is used as far as it can be read: what of it could not be.
    pub flaw: Option<&'static str>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Start {
    Request { method: String, uri: String },
    Response { status: u16, reason: String },
}

impl Message {
    /// # Errors
    /// If it is no message, or one that breaks a rule of syntax; a request then says how it may be answered.
    pub fn parse(bytes: &[u8]) -> Result<Self, Malformed> {
        check::check(frame::read(bytes)?)
    }

    /// First header field of the name (case-insensitive, long form).
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(n, _)| n.eq_ignore_ascii_case(name)).map(|(_, v)| v.as_str())
    }

    pub fn all<'a>(&'a self, name: &'a str) -> impl DoubleEndedIterator<Item = &'a str> + 'a {
        self.headers.iter().filter(move |(n, _)| n.eq_ignore_ascii_case(name)).map(|(_, v)| v.as_str())
    }

    #[cfg(test)]
    pub fn fields(&self) -> impl Iterator<Item = (&str, &str)> {
        self.headers.iter().map(|(n, v)| (&**n, v.as_str()))
    }

    /// Whether a comma-separated header field (Supported, Require, Allow) holds the token.
    pub fn lists(&self, name: &str, token: &str) -> bool {
        self.all(name).flat_map(|v| v.split(',')).any(|t| t.trim().eq_ignore_ascii_case(token))
    }

    pub fn method(&self) -> Option<&str> {
        match &self.start {
            Start::Request { method, .. } => Some(method),
            Start::Response { .. } => None,
        }
    }

    pub fn uri(&self) -> &str {
        match &self.start {
            Start::Request { uri, .. } => uri,
            Start::Response { .. } => "",
        }
    }

    pub fn status(&self) -> Option<u16> {
        match &self.start {
            Start::Response { status, .. } => Some(*status),
            Start::Request { .. } => None,
        }
    }

    /// A response's reason phrase, bounded and printable.
    pub fn phrase(&self) -> String {
        match &self.start {
            Start::Response { reason, .. } => printable(reason, PHRASE_CHARS_MAX),
            Start::Request { .. } => String::new(),
        }
    }

    pub fn cseq(&self) -> Option<(u32, &str)> {
        let (number, method) = self.header("CSeq")?.trim().split_once(char::is_whitespace)?;
        // RFC 3261 §8.1.1.5: less than 2**31.
        let number = digits(number).filter(|n| *n < 1 << 31)?;
        Some((u32::try_from(number).ok()?, method.trim()))
    }

    /// The method that a response answers. Its number decides nothing (RFC 3261 §17.1.3), and may be spoilt.
    pub fn cseq_method(&self) -> Option<&str> {
        let method = self.header("CSeq")?.split_whitespace().next_back()?;
        Some(method.trim_start_matches(|c: char| !c.is_ascii_alphabetic())).filter(|m| !m.is_empty())
    }

    pub fn cseq_number(&self) -> u32 {
        self.cseq().map_or(0, |(n, _)| n)
    }

    pub fn call_id(&self) -> &str {
        self.header("Call-ID").unwrap_or_default()
    }

    #[expect(clippy::wrong_self_convention, reason = "the tag of the From header field")]
    pub fn from_tag(&self) -> Option<&str> {
        NameAddr::read(self.header("From")?)?.param("tag")
    }

    pub fn to_tag(&self) -> Option<&str> {
        NameAddr::read(self.header("To")?)?.param("tag")
    }

    /// The topmost Via. Its parameters are those that can be read: a request with others is refused before.
    pub fn via(&self) -> Option<Via<'_>> {
        Via::read(self.header("Via")?)
    }

    /// The URI of the first Contact; `*` is none.
    pub fn contact_uri(&self) -> Option<&str> {
        NameAddr::read(self.header("Contact")?).map(|c| c.uri)
    }

    /// The first Contact as what requests of the dialog go to (RFC 3261 §12.1), if it can be a Request-URI at all: with
    /// another, no BYE would be taken and the call could not be hung up.
    pub fn remote_target(&self) -> Option<&str> {
        self.contact_uri().filter(|uri| is_sip_uri(uri))
    }

    /// A header field that is a number of seconds, with what may follow it (Retry-After, Session-Expires, Min-SE).
    /// RFC 3261 §20.33.
    pub fn retry_after(&self) -> Option<Duration> {
        let s = self.header("Retry-After").and_then(seconds)?;
        Some(Duration::from_secs(s.into()))
    }

    pub fn seconds(&self, name: &str) -> Option<u32> {
        seconds(self.header(name)?)
    }
}

/// The leading number of a value; one that does not fit is the largest.
pub fn seconds(value: &str) -> Option<u32> {
    let end = value.find(|c: char| !c.is_ascii_digit()).unwrap_or(value.len());
    (end > 0).then(|| digits(&value[..end]).and_then(|n| u32::try_from(n).ok()).unwrap_or(u32::MAX))
}

/// A number of digits alone: no sign, no blank.
fn digits(value: &str) -> Option<u64> {
    (!value.is_empty() && value.bytes().all(|b| b.is_ascii_digit())).then(|| value.parse().ok()).flatten()
}
