//! From a datagram to a start line, header fields and a body.

use super::grammar::{is_token, list};
use super::{Message, Start};

/// Header fields in one message; no peer of ours sends a fifth of it.
pub const HEADERS_MAX: usize = 256;

/// Why a datagram is not acted upon.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Malformed {
    /// What a request is to be answered; `None`: drop it (a response, an ACK, or nothing that is SIP).
    pub answer: Option<(u16, Box<Message>)>,
    /// For the log of who looks for the reason.
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

/// Also gives the octets that follow the header fields; Content-Length has still to bound the body.
pub fn read(bytes: &[u8]) -> Result<(Message, usize), Malformed> {
    // §7.5: blank lines before the start line are ignored.
    let skip = bytes.chunks(2).take_while(|c| *c == b"\r\n").count() * 2;
    let bytes = &bytes[skip..];
    let end = find(bytes, b"\r\n\r\n");
    let head = std::str::from_utf8(&bytes[..end.unwrap_or(bytes.len())])
        .map_err(|_| Malformed::drop("the header is not UTF-8"))?;
    let body = end.map_or(&[][..], |at| &bytes[at + 4..]);
    let (first, rest) = head.split_once("\r\n").unwrap_or((head, ""));
    let (start, mut fault) = start_line(first)?;
    let mut headers = Vec::new();
    for line in unfold(rest) {
        if headers.len() >= HEADERS_MAX {
            fault = fault.or(Some((400, "too many header fields")));
            break;
        }
        match header(&line) {
            Some((name, value)) if LISTS.contains(&name.as_str()) => match list(&value) {
                Some(values) => headers.extend(values.into_iter().map(|v| (name.clone(), v.to_owned()))),
                None => {
                    // Kept for the answer, which needs a Via (RFC 4475 §3.1.2.1).
                    fault = fault.or(Some((400, "an empty element in a list")));
                    headers.push((name, value));
                }
            },
            Some(field) => headers.push(field),
            None => fault = fault.or(Some((400, "a line that is no header field"))),
        }
    }
    let message = Message { start, headers, body: body.to_vec() };
    match fault {
        Some((status, why)) => Err(Malformed::new(status, message, why)),
        None if end.is_none() => Err(Malformed::new(400, message, "no blank line after the header")),
        None => Ok((message, body.len())),
    }
}

type Fault = Option<(u16, &'static str)>;

/// RFC 3261 §7.1, §7.2: single spaces, no white space in the Request-URI. A request line with faults is read as far as
/// an answer needs it.
fn start_line(line: &str) -> Result<(Start, Fault), Malformed> {
    if line.len() >= 4 && line.as_bytes()[..4].eq_ignore_ascii_case(b"SIP/") {
        let mut parts = line.splitn(3, ' ');
        let (version, code) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
        let reason = parts.next().unwrap_or_default().to_owned();
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
    let is_sip = version.get(..4).is_some_and(|v| v.eq_ignore_ascii_case("SIP/"));
    if !is_token(&method) || !is_sip {
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
fn unfold(block: &str) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for line in block.split("\r\n").filter(|l| !l.is_empty()) {
        match lines.last_mut() {
            Some(last) if line.starts_with([' ', '\t']) => {
                last.push(' ');
                last.push_str(line.trim_start_matches([' ', '\t']));
            }
            _ => lines.push(line.to_owned()),
        }
    }
    lines
}

/// One header field by its long name, read by rsip once its name is in the form that rsip knows.
fn header(line: &str) -> Option<(String, String)> {
    // A bare CR or LF would end the line for whom we send it on to.
    if line.contains(['\r', '\n']) {
        return None;
    }
    let (name, value) = line.split_once(':')?;
    let name = name.trim_end_matches([' ', '\t']); // HCOLON allows white space before the colon
    let long = COMPACT.iter().find(|(c, _)| name.eq_ignore_ascii_case(c)).map_or(name, |(_, l)| l);
    let canonical = format!("{long}: {}", value.trim());
    let (_, token) = rsip::headers::header::Tokenizer::tokenize(canonical.as_bytes()).ok()?;
    let header: rsip::Header = token.try_into().ok()?;
    let text = header.to_string();
    let (name, value) = text.split_once(':')?;
    // rsip's spelling of the names that it knows; the lists are looked for by name.
    let name = LISTS.iter().find(|l| l.eq_ignore_ascii_case(name)).map_or(name, |l| l);
    Some((name.to_owned(), value.trim().to_owned()))
}

fn find(haystack: &[u8], needle: &[u8]) -> Option<usize> {
    haystack.windows(needle.len()).position(|w| w == needle)
}
