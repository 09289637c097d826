//! Reading messages with rsip and writing our own. Only the syntax of a message is known here.

use rsip::{Header, SipMessage};
use std::fmt::Write as _;

/// A message reduced to what the user agent asks of it.
#[derive(Debug, Clone)]
pub struct Message {
    pub start: Start,
    headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Start {
    Request { method: String, uri: String },
    Response { status: u16, reason: String },
}

/// Why a datagram is no message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MessageError {
    /// Not SIP, or a request line or header that is not.
    Syntax,
    /// RFC 3261 §8.1.1: a header that every message has is missing or unreadable.
    MissingHeader(&'static str),
    /// RFC 3261 §18.3: the datagram ends before the body does.
    Truncated,
}

impl Message {
    pub fn parse(bytes: &[u8]) -> Result<Self, MessageError> {
        let parsed = SipMessage::try_from(bytes).map_err(|_| MessageError::Syntax)?;
        let (start, headers, mut body) = match parsed {
            SipMessage::Request(r) => {
                (Start::Request { method: r.method.to_string(), uri: r.uri.to_string() }, r.headers, r.body)
            }
            SipMessage::Response(r) => {
                let status = r.status_code.code();
                // The phrase is for people; rsip keeps only the code, so it is taken from the start line.
                let line = bytes.split(|b| *b == b'\r' || *b == b'\n').next().unwrap_or_default();
                let line = String::from_utf8_lossy(line);
                let reason = line.splitn(3, ' ').nth(2).unwrap_or_default().to_owned();
                (Start::Response { status, reason }, r.headers, r.body)
            }
        };
        let headers: Vec<_> = headers.iter().flat_map(split_header).collect();
        let message = |body| Self { start: start.clone(), headers: headers.clone(), body };
        let probe = message(Vec::new());
        for name in ["Via", "From", "To", "Call-ID", "CSeq"] {
            if probe.header(name).is_none_or(str::is_empty) {
                return Err(MessageError::MissingHeader(match name {
                    "Via" => "Via",
                    "From" => "From",
                    "To" => "To",
                    "Call-ID" => "Call-ID",
                    _ => "CSeq",
                }));
            }
        }
        if probe.cseq().is_none() {
            return Err(MessageError::MissingHeader("CSeq"));
        }
        // RFC 3261 §18.3: Content-Length bounds the body; what follows it is discarded, what lacks is an error.
        if let Some(length) = probe.header("Content-Length") {
            let length: usize = length.trim().parse().map_err(|_| MessageError::Syntax)?;
            if body.len() < length {
                return Err(MessageError::Truncated);
            }
            body.truncate(length);
        }
        Ok(message(body))
    }

    /// First header of the name (case-insensitive, long form).
    pub fn header(&self, name: &str) -> Option<&str> {
        self.all(name).next()
    }

    pub fn all<'a>(&'a self, name: &str) -> impl DoubleEndedIterator<Item = &'a str> + use<'a> {
        let name = name.to_owned();
        self.headers.iter().filter(move |(n, _)| n.eq_ignore_ascii_case(&name)).map(|(_, v)| v.as_str())
    }

    pub fn method(&self) -> Option<&str> {
        match &self.start {
            Start::Request { method, .. } => Some(method),
            Start::Response { .. } => None,
        }
    }

    pub fn status(&self) -> Option<u16> {
        match &self.start {
            Start::Response { status, .. } => Some(*status),
            Start::Request { .. } => None,
        }
    }

    pub fn cseq(&self) -> Option<(u32, &str)> {
        let (number, method) = self.header("CSeq")?.trim().split_once(char::is_whitespace)?;
        let number = number.parse::<u32>().ok().filter(|n| *n < 1 << 31)?;
        Some((number, method.trim()))
    }

    pub fn call_id(&self) -> &str {
        self.header("Call-ID").unwrap_or_default()
    }

    #[expect(clippy::wrong_self_convention, reason = "the tag of the From header")]
    pub fn from_tag(&self) -> Option<&str> {
        param(self.header("From")?, "tag")
    }

    pub fn to_tag(&self) -> Option<&str> {
        param(self.header("To")?, "tag")
    }

    pub fn branch(&self) -> Option<&str> {
        param(self.header("Via")?, "branch")
    }
}

/// Header fields that may hold several values in one line (RFC 3261 §7.3.1) are split, so that each is one entry.
fn split_header(header: &Header) -> Vec<(String, String)> {
    let line = header.to_string();
    let (name, value) = line.split_once(':').unwrap_or((&line, ""));
    let name = long_name(name.trim());
    let value = value.trim();
    let several = ["Via", "Route", "Record-Route", "Contact", "Path", "Service-Route", "P-Asserted-Identity"];
    if several.iter().any(|s| s.eq_ignore_ascii_case(name)) {
        split_list(value).into_iter().map(|v| (name.to_owned(), v.to_owned())).collect()
    } else {
        vec![(name.to_owned(), value.to_owned())]
    }
}

/// RFC 3261 §7.3.3 compact forms that rsip leaves as they are.
fn long_name(name: &str) -> &str {
    match name {
        "v" => "Via",
        "f" => "From",
        "t" => "To",
        "i" => "Call-ID",
        "m" => "Contact",
        "l" => "Content-Length",
        "c" => "Content-Type",
        "k" => "Supported",
        "x" => "Session-Expires",
        n => n,
    }
}

/// Splits at commas outside quotes and angle brackets.
pub fn split_list(value: &str) -> Vec<&str> {
    let (mut quoted, mut angle, mut start, mut out) = (false, false, 0, Vec::new());
    let mut escaped = false;
    for (i, c) in value.char_indices() {
        match c {
            _ if escaped => escaped = false,
            '\\' if quoted => escaped = true,
            '"' => quoted = !quoted,
            '<' if !quoted => angle = true,
            '>' if !quoted => angle = false,
            ',' if !quoted && !angle => {
                out.push(value[start..i].trim());
                start = i + 1;
            }
            _ => {}
        }
    }
    out.push(value[start..].trim());
    out.retain(|v| !v.is_empty());
    out
}

/// The URI of a name-addr or addr-spec.
pub fn uri_of(value: &str) -> &str {
    // A quoted display name may hold angle brackets.
    let value = skip_quoted(value);
    match value.split_once('<') {
        Some((_, rest)) => rest.split('>').next().unwrap_or_default(),
        None => value.split(';').next().unwrap_or_default().trim(),
    }
}

fn skip_quoted(value: &str) -> &str {
    let value = value.trim_start();
    let Some(rest) = value.strip_prefix('"') else { return value };
    let mut escaped = false;
    for (i, c) in rest.char_indices() {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            '"' => return &rest[i + 1..],
            _ => {}
        }
    }
    ""
}

/// A header parameter (outside the URI's angle brackets).
pub fn param<'a>(value: &'a str, name: &str) -> Option<&'a str> {
    let value = skip_quoted(value);
    let params = match value.split_once('>') {
        Some((_, rest)) => rest,
        None => value.split_once(';').map_or("", |(_, rest)| rest),
    };
    params.split(';').find_map(|p| {
        let (n, v) = p.split_once('=').unwrap_or((p, ""));
        n.trim().eq_ignore_ascii_case(name).then(|| v.trim())
    })
}

/// The user part of a SIP URI, or the number of a tel URI, without its parameters.
pub fn user_of(uri: &str) -> Option<&str> {
    let (scheme, rest) = uri.split_once(':')?;
    if scheme.eq_ignore_ascii_case("tel") {
        return rest.split(';').next();
    }
    if !scheme.eq_ignore_ascii_case("sip") && !scheme.eq_ignore_ascii_case("sips") {
        return None;
    }
    let (user, _) = rest.split_once('@')?;
    user.split([';', ':']).next()
}

/// Writes one message. Values never hold line ends: they are ours or were parsed out of single lines.
#[derive(Debug)]
pub struct Writer(String);

impl Writer {
    pub fn request(method: &str, uri: &str) -> Self {
        Self(format!("{method} {uri} SIP/2.0\r\n"))
    }

    pub fn response(status: u16, reason: &str) -> Self {
        Self(format!("SIP/2.0 {status} {reason}\r\n"))
    }

    pub fn header(&mut self, name: &str, value: impl std::fmt::Display) -> &mut Self {
        let _ = write!(self.0, "{name}: {value}\r\n");
        self
    }

    pub fn headers<'a>(&mut self, name: &str, values: impl IntoIterator<Item = &'a str>) -> &mut Self {
        for v in values {
            self.header(name, v);
        }
        self
    }

    pub fn finish(mut self, body: Option<&str>) -> Vec<u8> {
        if let Some(body) = body {
            self.header("Content-Type", "application/sdp");
            self.header("Content-Length", body.len());
            self.0 += "\r\n";
            self.0 += body;
        } else {
            self.header("Content-Length", 0);
            self.0 += "\r\n";
        }
        self.0.into_bytes()
    }
}

/// The reason phrases of the statuses that we send.
pub fn reason_phrase(status: u16) -> &'static str {
    match status {
        100 => "Trying",
        180 => "Ringing",
        200 => "OK",
        400 => "Bad Request",
        403 => "Forbidden",
        404 => "Not Found",
        405 => "Method Not Allowed",
        406 => "Not Acceptable",
        408 => "Request Timeout",
        415 => "Unsupported Media Type",
        420 => "Bad Extension",
        422 => "Session Interval Too Small",
        433 => "Anonymity Disallowed",
        480 => "Temporarily Unavailable",
        481 => "Call/Transaction Does Not Exist",
        486 => "Busy Here",
        487 => "Request Terminated",
        488 => "Not Acceptable Here",
        491 => "Request Pending",
        500 => "Server Internal Error",
        501 => "Not Implemented",
        503 => "Service Unavailable",
        _ => "Declined",
    }
}
