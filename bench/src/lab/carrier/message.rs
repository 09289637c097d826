//! A SIP message as the carrier edits it: a start line and a list of headers in order, each as it came.

use std::fmt::Write as _;
use std::net::{IpAddr, SocketAddr};

/// Longest datagram taken.
pub const MESSAGE_MAX: usize = 8192;
/// RFC 3261 §18.2.2, §19.1.2: the port where none is named.
pub const SIP_PORT: u16 = 5060;

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Start {
    Request { method: String, uri: String },
    Response { status: u16, reason: String },
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    pub start: Start,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ParseError {
    TooLong,
    Syntax,
    /// A header that every message has (RFC 3261 §8.1.1).
    Missing(&'static str),
    /// RFC 3261 §18.3: the datagram ends before Content-Length bytes of body.
    ShortBody,
}

impl Message {
    pub fn parse(bytes: &[u8]) -> Result<Self, ParseError> {
        if bytes.len() > MESSAGE_MAX {
            return Err(ParseError::TooLong);
        }
        let mut out = split(bytes).ok_or(ParseError::Syntax)?;
        for name in ["Via", "From", "To", "Call-ID", "CSeq"] {
            if out.header(name).is_none() {
                return Err(ParseError::Missing(name));
            }
        }
        if let Some(length) = out.header("Content-Length") {
            let length: usize = length.parse().map_err(|_| ParseError::Syntax)?;
            if length > out.body.len() {
                return Err(ParseError::ShortBody);
            }
            out.body.truncate(length);
        }
        Ok(out)
    }

    #[must_use]
    pub fn request(method: &str, uri: &str) -> Self {
        Self {
            start: Start::Request { method: method.to_owned(), uri: uri.to_owned() },
            headers: Vec::new(),
            body: Vec::new(),
        }
    }

    /// RFC 3261 §8.2.6: Via, From, To, Call-ID and CSeq are the request's; a To tag is added to all but 100.
    #[must_use]
    pub fn response(&self, status: u16, reason: &str, to_tag: &str) -> Self {
        let mut headers = Vec::new();
        for (name, value) in &self.headers {
            if ["Via", "From", "To", "Call-ID", "CSeq"].iter().any(|n| name.eq_ignore_ascii_case(n)) {
                let mut value = value.clone();
                if name.eq_ignore_ascii_case("To") && status > 100 && param(&value, "tag").is_none() {
                    let _ = write!(value, ";tag={to_tag}");
                }
                headers.push((name.clone(), value));
            }
        }
        Self { start: Start::Response { status, reason: reason.to_owned() }, headers, body: Vec::new() }
    }

    #[must_use]
    pub fn method(&self) -> Option<&str> {
        match &self.start {
            Start::Request { method, .. } => Some(method),
            Start::Response { .. } => None,
        }
    }

    /// The method that CSeq names, which a response has too.
    #[must_use]
    pub fn cseq_method(&self) -> &str {
        self.header("CSeq").and_then(|v| v.split_whitespace().nth(1)).unwrap_or_default()
    }

    #[must_use]
    pub fn cseq_number(&self) -> &str {
        self.header("CSeq").and_then(|v| v.split_whitespace().next()).unwrap_or_default()
    }

    #[must_use]
    pub fn status(&self) -> Option<u16> {
        match self.start {
            Start::Request { .. } => None,
            Start::Response { status, .. } => Some(status),
        }
    }

    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(n, _)| n.eq_ignore_ascii_case(name)).map(|(_, v)| v.as_str())
    }

    pub fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        self.headers.iter().filter(move |(n, _)| n.eq_ignore_ascii_case(name)).map(|(_, v)| v.as_str())
    }

    /// RFC 3261 §7.3.1: several values in one line are the same as several lines.
    #[must_use]
    pub fn list(&self, name: &str) -> Vec<String> {
        self.all(name).flat_map(split_list).map(|v| v.trim().to_owned()).collect()
    }

    pub fn set(&mut self, name: &str, value: String) {
        match self.headers.iter_mut().find(|(n, _)| n.eq_ignore_ascii_case(name)) {
            Some((_, v)) => *v = value,
            None => self.headers.push((name.to_owned(), value)),
        }
    }

    pub fn remove(&mut self, name: &str) {
        self.headers.retain(|(n, _)| !n.eq_ignore_ascii_case(name));
    }

    /// Puts the values of a list header, one a line, where its first line stood (else at the top).
    pub fn set_list(&mut self, name: &str, values: Vec<String>) {
        let at = self.headers.iter().position(|(n, _)| n.eq_ignore_ascii_case(name)).unwrap_or(0);
        self.remove(name);
        let at = at.min(self.headers.len());
        self.headers.splice(at..at, values.into_iter().map(|v| (name.to_owned(), v)));
    }

    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut out = match &self.start {
            Start::Request { method, uri } => format!("{method} {uri} SIP/2.0\r\n"),
            Start::Response { status, reason } => format!("SIP/2.0 {status} {reason}\r\n"),
        };
        for (name, value) in &self.headers {
            if !name.eq_ignore_ascii_case("Content-Length") {
                let _ = write!(out, "{name}: {value}\r\n");
            }
        }
        let _ = write!(out, "Content-Length: {}\r\n\r\n", self.body.len());
        let mut out = out.into_bytes();
        out.extend(&self.body);
        out
    }
}

/// Start line, header fields and what follows them (RFC 3261 §7), which is not cut to Content-Length yet.
fn split(bytes: &[u8]) -> Option<Message> {
    const END: &[u8] = b"\r\n\r\n";
    let end = bytes.windows(END.len()).position(|w| w == END)?;
    let head = std::str::from_utf8(bytes.get(..end)?).ok()?;
    let mut lines = head.split("\r\n");
    let words: Vec<_> = lines.next()?.splitn(3, ' ').collect();
    let start = match words.as_slice() {
        ["SIP/2.0", status, rest @ ..] => {
            let status = status.parse().ok().filter(|s| (100..700).contains(s))?;
            Start::Response { status, reason: rest.concat() }
        }
        [method, uri, "SIP/2.0"] if !method.is_empty() && uri.contains(':') => {
            Start::Request { method: (*method).to_owned(), uri: (*uri).to_owned() }
        }
        _ => return None,
    };
    let mut headers: Vec<(String, String)> = Vec::new();
    for line in lines {
        if line.starts_with([' ', '\t']) {
            // §7.3.1: a line that goes on.
            let (_, value) = headers.last_mut()?;
            *value = format!("{value} {}", line.trim());
            continue;
        }
        let (name, value) = line.split_once(':')?;
        headers.push((long_name(name.trim()).to_owned(), value.trim().to_owned()));
    }
    Some(Message { start, headers, body: bytes.get(end + END.len()..)?.to_vec() })
}

/// RFC 3261 §7.3.3.
fn long_name(name: &str) -> &str {
    match name {
        "i" => "Call-ID",
        "m" => "Contact",
        "e" => "Content-Encoding",
        "l" => "Content-Length",
        "c" => "Content-Type",
        "f" => "From",
        "s" => "Subject",
        "k" => "Supported",
        "t" => "To",
        "v" => "Via",
        other => other,
    }
}

/// Splits at commas outside quotes and angle brackets.
fn split_list(value: &str) -> impl Iterator<Item = &str> {
    let (mut quoted, mut angle, mut escaped) = (false, false, false);
    value.split(move |c| {
        if escaped {
            escaped = false;
            return false;
        }
        match c {
            '\\' if quoted => escaped = true,
            '"' => quoted = !quoted,
            '<' if !quoted => angle = true,
            '>' if !quoted => angle = false,
            ',' => return !quoted && !angle,
            _ => {}
        }
        false
    })
}

/// The URI of a name-addr or addr-spec (RFC 3261 §20.10).
#[must_use]
pub fn uri_of(value: &str) -> &str {
    match value.split_once('<') {
        Some((_, rest)) => rest.split_once('>').map_or(rest, |(uri, _)| uri),
        None => value.split(';').next().unwrap_or(value),
    }
    .trim()
}

/// A header parameter: behind the angle brackets where there are any.
#[must_use]
pub fn param<'a>(value: &'a str, name: &str) -> Option<&'a str> {
    let params = match value.rsplit_once('>') {
        Some((_, rest)) => rest,
        None => value.split_once(';').map_or("", |(_, rest)| rest),
    };
    params.split(';').find_map(|p| {
        let (n, v) = p.split_once('=').unwrap_or((p, ""));
        n.trim().eq_ignore_ascii_case(name).then_some(v.trim())
    })
}

/// User part, as digits where it is a telephone number: `+81` is the national `0`, separators and parameters are nothing.
#[must_use]
pub fn user_of(uri: &str) -> Option<String> {
    let rest = uri.split_once(':')?.1;
    let user = match rest.split_once('@') {
        Some((user, _)) => user,
        None if uri.starts_with("tel:") => rest,
        None => return None,
    };
    let user = user.split([';', ':']).next().unwrap_or(user);
    let national = user.strip_prefix("+81").map(|n| format!("0{n}"));
    let user = national.as_deref().unwrap_or(user);
    Some(user.chars().filter(|c| !matches!(c, '-' | '.' | '(' | ')')).collect())
}

/// Where a URI's host is, if it is an address: this carrier asks no DNS.
#[must_use]
pub fn address_of(uri: &str) -> Option<SocketAddr> {
    let rest = uri.strip_prefix("sip:")?.split([';', '?']).next()?;
    let host_port = rest.rsplit_once('@').map_or(rest, |(_, host_port)| host_port);
    let alone = || host_port.trim_matches(['[', ']']).parse::<IpAddr>().ok();
    host_port.parse().ok().or_else(|| Some(SocketAddr::new(alone()?, SIP_PORT)))
}

/// RFC 3261 §18.2.2 with RFC 3581 §4: where the response to this Via goes.
#[must_use]
pub fn response_address(via: &str) -> Option<SocketAddr> {
    let sent_by = via.split_whitespace().nth(1)?.split(';').next()?;
    let sent_by = address_of(&format!("sip:{sent_by}"));
    let ip = match param(via, "received") {
        Some(received) => received.parse().ok()?,
        None => sent_by?.ip(),
    };
    let port = match param(via, "rport") {
        Some(port) if !port.is_empty() => port.parse().ok()?,
        _ => sent_by.map_or(SIP_PORT, |a| a.port()),
    };
    Some(SocketAddr::new(ip, port))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn compact_headers_lists_and_content_length() {
        let text = "BYE sip:a@192.0.2.1 SIP/2.0\r\nv: SIP/2.0/UDP 192.0.2.9;branch=z9hG4bK1\r\n\
            f: \"a, b\" <sip:x@h>;tag=1\r\nt: <sip:y@h>;tag=2\r\ni: c1\r\nCSeq: 2 BYE\r\n\
            Route: <sip:p1;lr>, <sip:p2,x;lr>\r\nRoute: <sip:p3;lr>\r\nl: 2\r\n\r\nabcd";
        let m = Message::parse(text.as_bytes()).expect("parses");
        assert_eq!(m.list("Route"), ["<sip:p1;lr>", "<sip:p2,x;lr>", "<sip:p3;lr>"]);
        assert_eq!(m.list("From"), ["\"a, b\" <sip:x@h>;tag=1"]);
        assert_eq!(m.body, b"ab");
        let again = Message::parse(&m.to_bytes()).expect("parses");
        assert_eq!(again.header("Content-Length"), Some("2"));
        let short = text.replace("l: 2", "l: 5");
        assert_eq!(Message::parse(short.as_bytes()), Err(ParseError::ShortBody));
        let v6 = text
            .replace("sip:a@192.0.2.1", "sip:a@[2001:db8::1]:5060")
            .replace("v: ", "Subject: a\r\n b\r\nv: ");
        let v6 = Message::parse(v6.as_bytes()).expect("parses");
        assert_eq!((v6.method(), v6.header("Subject")), (Some("BYE"), Some("a b")));
        let no_via = text.replace("v: ", "x: ");
        assert_eq!(Message::parse(no_via.as_bytes()), Err(ParseError::Missing("Via")));
    }

    #[test]
    fn numbers_and_addresses() {
        assert_eq!(user_of("sip:0388881001@carrier.example").as_deref(), Some("0388881001"));
        assert_eq!(user_of("sip:+81-3-8888-1001;phone-context=x@h").as_deref(), Some("0388881001"));
        assert_eq!(user_of("tel:+81388881001").as_deref(), Some("0388881001"));
        assert_eq!(user_of("sip:carrier.example"), None);
        assert_eq!(address_of("sip:a@192.0.2.1:5070;x=y"), Some(([192, 0, 2, 1], 5070).into()));
        assert_eq!(address_of("sip:carrier.example"), None);
        let v6 = |port| Some(SocketAddr::new("2001:db8::1".parse().expect("an address"), port));
        assert_eq!(address_of("sip:a@[2001:db8::1]:5070;x=y"), v6(5070));
        assert_eq!(address_of("sip:[2001:db8::1];lr"), v6(5060));
        assert_eq!(address_of("sip:192.0.2.1?Subject=x"), Some(([192, 0, 2, 1], 5060).into()));
        assert_eq!(uri_of("\"x\" <sip:a@b;p=1>;tag=2"), "sip:a@b;p=1");
        assert_eq!(param("<sip:a@b;tag=no>;tag=yes", "tag"), Some("yes"));
        assert_eq!(param("sip:a@b;tag=yes", "tag"), Some("yes"));
    }

    #[test]
    fn responses_go_where_the_request_came_from() {
        let via = "SIP/2.0/UDP 10.0.0.1:5070;branch=z9hG4bKx";
        assert_eq!(response_address(via), Some(([10, 0, 0, 1], 5070).into()));
        let via = "SIP/2.0/UDP 10.0.0.1:5070;rport=6000;received=192.0.2.1;branch=z9hG4bKx";
        assert_eq!(response_address(via), Some(([192, 0, 2, 1], 6000).into()));
        let via = "SIP/2.0/UDP host.example;received=192.0.2.1";
        assert_eq!(response_address(via), Some(([192, 0, 2, 1], 5060).into()));
    }
}
