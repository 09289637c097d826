//! From a datagram to a start line, header fields and a body.

use super::grammar::{is_token, list};
use super::{Message, Start, octets};
use std::borrow::Cow;

/// Header fields kept of one message; no peer of ours sends a fifth of it.
pub const HEADERS_MAX: usize = 256;

/// Why a datagram is not acted upon.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Malformed {
    /// The answer to a request: status and the request as far as it was read. `None`: drop it (a response, an ACK, or
    /// no SIP at all).
    pub answer: Option<(u16, Box<Message>)>,
    /// For the log.
    pub why: &'static str,
}

impl Malformed {
    pub(super) const fn drop(why: &'static str) -> Self {
        Self { answer: None, why }
    }

    pub(super) fn new(status: u16, message: Message, why: &'static str) -> Self {
        // RFC 3261 §17.1.1.3: an ACK is never answered; nor is a response.
        let answerable = message.method().is_some_and(|m| m != "ACK") && message.header("Via").is_some();
        Self { answer: answerable.then(|| (status, Box::new(message))), why }
    }
}

/// Header fields that may hold several values in one line (RFC 3261 §7.3.1) and whose values are used one by one.
const LISTS: [&str; 7] =
    ["Via", "Route", "Record-Route", "Contact", "Path", "Service-Route", "P-Asserted-Identity"];

/// Header fields without which a message cannot be matched, acknowledged or answered: they are kept even if
/// [`HEADERS_MAX`] others came before them.
const NEEDED: [&str; 9] =
    ["Via", "From", "To", "Call-ID", "CSeq", "Contact", "Record-Route", "Content-Length", "Content-Type"];

/// RFC 3261 §7.3.3 and the registry of compact forms.
const COMPACT: [(&str, &str); 15] = [
    ("v", "Via"),
    ("f", "From"),
    ("t", "To"),
    ("i", "Call-ID"),
    ("m", "Contact"),
    ("l", "Content-Length"),
    ("c", "Content-Type"),
    ("e", "Content-Encoding"),
    ("k", "Supported"),
    ("s", "Subject"),
    ("x", "Session-Expires"),
    ("o", "Event"),
    ("u", "Allow-Events"),
    ("r", "Refer-To"),
    ("b", "Referred-By"),
];

/// A status for a request with this fault, and the reason. A response is used as far as it can be read.
pub type Fault = Option<(u16, &'static str)>;

/// A message, the number of octets after its header fields (Content-Length has still to bound the body), and the first
/// fault of its framing.
pub struct Frame {
    pub message: Message,
    pub octets: usize,
    pub fault: Fault,
}

/// # Errors
/// If the start line is none of SIP/2.0's.
pub fn read(bytes: &[u8]) -> Result<Frame, Malformed> {
    // RFC 3261 §7.5: blank lines before the start line are ignored.
    let skip = bytes.iter().take_while(|b| matches!(b, b'\r' | b'\n')).count();
    let bytes = &bytes[skip..];
    let (head, body) = split_head(bytes);
    let head = octets::decode(head);
    // A sender that ends its first line with LF alone does so everywhere.
    let lf_only = head.find('\n').is_some_and(|at| !head[..at].ends_with('\r'));
    let lines = if lf_only { lf_lines(&head) } else { crlf_lines(&head) };
    let (first, rest) = lines.split_first().map_or(("", &[][..]), |(first, rest)| (*first, rest));
    let (start, mut fault) = start_line(first)?;
    let response = matches!(start, Start::Response { .. });
    let mut headers = Vec::with_capacity(rest.len());
    let mut note = |status, why| {
        fault = fault.or(Some((status, why)));
    };
    for line in unfold(rest) {
        let Some((name, value)) = header(&line, response) else {
            note(400, "a line that is no header field");
            continue;
        };
        let room = if NEEDED.contains(&&*name) { 2 * HEADERS_MAX } else { HEADERS_MAX };
        let mut push = |value: &str| {
            let fits = headers.len() < room;
            if fits {
                headers.push((name.clone(), value.to_owned()));
            }
            fits
        };
        let all = if LISTS.contains(&&*name) { list(&value).into_iter().all(push) } else { push(&value) };
        if !all {
            note(400, "too many header fields");
        }
    }
    if body.is_none() {
        note(400, "no blank line after the header");
    }
    let octets = body.map_or(0, <[u8]>::len);
    // Line ends after the blank line are padding of the datagram, and no body.
    let body = body.filter(|body| !body.iter().all(|b| matches!(b, b'\r' | b'\n'))).unwrap_or_default();
    Ok(Frame { message: Message { start, headers, body: body.to_vec(), flaw: None }, octets, fault })
}

/// The header without its last line end, and what follows the blank line, if there is one.
fn split_head(bytes: &[u8]) -> (&[u8], Option<&[u8]>) {
    let first_lf = bytes.iter().position(|b| *b == b'\n');
    if first_lf.is_none_or(|at| at > 0 && bytes[at - 1] == b'\r') {
        let end = blank_line(bytes);
        return (&bytes[..end.unwrap_or(bytes.len())], end.map(|at| &bytes[at + 4..]));
    }
    let mut at = 0;
    for line in bytes.split_inclusive(|b| *b == b'\n') {
        if matches!(line, b"\n" | b"\r\n") {
            return (&bytes[..at], Some(&bytes[at + line.len()..]));
        }
        at += line.len();
    }
    (bytes, None)
}

/// Where the first blank line's CRLF CRLF begins.
fn blank_line(bytes: &[u8]) -> Option<usize> {
    let mut ends = bytes.iter().enumerate().filter(|(_, b)| **b == b'\n').map(|(at, _)| at);
    ends.find_map(|at| bytes[..=at].ends_with(b"\r\n\r\n").then(|| at - 3))
}

/// An LF alone ends no line.
fn crlf_lines(head: &str) -> Vec<&str> {
    let (mut lines, mut start) = (Vec::new(), 0);
    for (at, _) in head.match_indices('\n') {
        if let Some(line) = head[start..at].strip_suffix('\r') {
            lines.push(line);
            start = at + 1;
        }
    }
    lines.push(&head[start..]);
    lines
}

fn lf_lines(head: &str) -> Vec<&str> {
    head.split('\n').map(|l| l.strip_suffix('\r').unwrap_or(l)).collect()
}

/// RFC 3261 §7.1, §7.2: single spaces, no white space in the Request-URI. A request line with faults is read as far as
/// an answer needs it.
fn start_line(line: &str) -> Result<(Start, Fault), Malformed> {
    let is_sip = |v: &str| v.get(..4).is_some_and(|v| v.eq_ignore_ascii_case("SIP/"));
    if is_sip(line) {
        let mut words = line.split([' ', '\t']).filter(|w| !w.is_empty());
        let (version, code) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
        let reason = line.split_once(code).map_or("", |(_, after)| after).trim().to_owned();
        let status = super::digits(code).filter(|c| code.len() == 3 && (100..700).contains(c));
        return match status.and_then(|s| u16::try_from(s).ok()) {
            Some(status) if version.eq_ignore_ascii_case("SIP/2.0") => {
                Ok((Start::Response { status, reason }, None))
            }
            _ => Err(Malformed::drop("not a status line of SIP/2.0")),
        };
    }
    let mut words = line.split_ascii_whitespace();
    let method = words.next().unwrap_or_default().to_owned();
    let uri = words.next().unwrap_or_default().to_owned();
    let version = words.next_back().unwrap_or_default();
    if !is_token(&method) || !is_sip(version) {
        return Err(Malformed::drop("no start line of SIP"));
    }
    let fault = if !version.eq_ignore_ascii_case("SIP/2.0") {
        Some((505, "a version that is not 2.0"))
    } else if line != format!("{method} {uri} {version}") {
        Some((400, "white space in the request line"))
    } else {
        None
    };
    Ok((Start::Request { method, uri }, fault))
}

/// RFC 3261 §7.3.1: a line that begins with white space continues the one before.
fn unfold<'a>(block: &[&'a str]) -> Vec<Cow<'a, str>> {
    let mut lines: Vec<Cow<'a, str>> = Vec::with_capacity(block.len());
    for line in block.iter().filter(|l| !l.is_empty()) {
        match lines.last_mut() {
            Some(last) if line.starts_with([' ', '\t']) => {
                let last = last.to_mut();
                last.push(' ');
                last.push_str(line.trim_start_matches([' ', '\t']));
            }
            _ => lines.push(Cow::Borrowed(line)),
        }
    }
    lines
}

/// One header field by its long name. A bare CR or LF would end the line for the next hop: a blank in a response, a fault
/// in a request.
fn header(line: &str, response: bool) -> Option<(Cow<'static, str>, Cow<'_, str>)> {
    let (name, value) = line.split_once(':')?;
    let name = name.trim_end_matches([' ', '\t']); // HCOLON allows white space before the colon
    let broken = value.bytes().any(|b| matches!(b, b'\r' | b'\n'));
    if !is_token(name) || !response && broken {
        return None;
    }
    let compact = || COMPACT.iter().find(|(c, _)| name.eq_ignore_ascii_case(c)).map(|(_, long)| *long);
    let known = || LISTS.iter().chain(&NEEDED).find(|l| l.eq_ignore_ascii_case(name)).copied();
    let long = if name.len() == 1 { compact() } else { known() };
    let name = long.map_or_else(|| Cow::Owned(name.to_owned()), Cow::Borrowed);
    let value = if broken {
        Cow::Owned(value.replace(['\r', '\n'], " ").trim().to_owned())
    } else {
        Cow::Borrowed(value.trim())
    };
    Some((name, value))
}
