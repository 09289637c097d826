//! Bodies (RFC 3261 §7.4).

use super::{Message, NameAddr, read_params, unquote};

/// The body of a message for a user agent that knows SDP alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Body<'a> {
    None,
    Sdp(&'a [u8]),
    /// A body of another type, or an encoded one.
    Other,
}

impl Message {
    /// The description in the body. RFC 5621 §3.1: of a multipart body the part that is SDP. A body without Content-Type
    /// is taken as SDP, since nothing else is expected.
    pub fn description(&self) -> Body<'_> {
        if self.body.is_empty() {
            return Body::None;
        }
        if self.is_encoded() {
            return Body::Other;
        }
        match self.header("Content-Type") {
            None => Body::Sdp(&self.body),
            Some(kind) if is_sdp(kind) => Body::Sdp(&self.body),
            Some(kind) => boundary(kind)
                .and_then(|boundary| sdp_part(&self.body, &boundary))
                .map_or(Body::Other, Body::Sdp),
        }
    }

    /// RFC 3261 §20.11: a body of another type that its sender can do without (`handling=optional`).
    pub fn may_ignore_body(&self) -> bool {
        let optional = |disposition: &str| {
            let params = read_params(&disposition[disposition.find(';')?..]);
            let handling = params.iter().find(|(name, _)| name.eq_ignore_ascii_case("handling"))?.1?;
            Some(handling.eq_ignore_ascii_case("optional"))
        };
        !self.has_sdp() && self.header("Content-Disposition").and_then(optional).unwrap_or(false)
    }

    /// Whether there is a body and it says that it is SDP.
    pub fn has_sdp(&self) -> bool {
        !self.body.is_empty() && self.header("Content-Type").is_some_and(is_sdp)
    }

    /// RFC 3261 §20.1: whether the other side takes SDP; without the header field it does.
    pub fn accepts_sdp(&self) -> bool {
        let mut types = self.all("Accept").flat_map(|v| v.split(',')).map(str::trim).peekable();
        let sdp = |t: &str| {
            is_sdp(t) || matches!(t.split(';').next().map(str::trim), Some("*/*" | "application/*"))
        };
        types.peek().is_none() || types.any(sdp)
    }

    /// RFC 3261 §20.12: an encoding other than identity.
    pub fn is_encoded(&self) -> bool {
        self.header("Content-Encoding").is_some_and(|v| !v.eq_ignore_ascii_case("identity"))
    }
}

pub fn is_sdp(media_type: &str) -> bool {
    media_type.split(';').next().unwrap_or_default().trim().eq_ignore_ascii_case("application/sdp")
}

/// RFC 2046 §5.1.1: the boundary of a multipart type.
fn boundary(media_type: &str) -> Option<String> {
    let end = media_type.find(';')?;
    if !media_type.get(..10)?.eq_ignore_ascii_case("multipart/") {
        return None;
    }
    let params = read_params(&media_type[end..]);
    let (_, value) = params.iter().find(|(name, _)| name.eq_ignore_ascii_case("boundary"))?;
    unquote((*value)?).filter(|b| !b.is_empty())
}

/// The first part whose type is SDP.
fn sdp_part<'a>(body: &'a [u8], boundary: &str) -> Option<&'a [u8]> {
    let delimiter = format!("--{boundary}");
    let mut starts = Vec::new();
    let mut at = 0;
    for line in body.split_inclusive(|b| *b == b'\n') {
        if line.starts_with(delimiter.as_bytes()) {
            starts.push((at, at + line.len()));
        }
        at += line.len();
    }
    starts.windows(2).find_map(|pair| {
        let part = body.get(pair[0].1..pair[1].0)?;
        let (head, content) = split_blank_line(part)?;
        let head = String::from_utf8_lossy(head);
        let kind = head.lines().find_map(|l| {
            let (name, value) = l.split_once(':')?;
            name.trim().eq_ignore_ascii_case("Content-Type").then_some(value)
        })?;
        is_sdp(kind).then_some(content)
    })
}

fn split_blank_line(part: &[u8]) -> Option<(&[u8], &[u8])> {
    let mut at = 0;
    for line in part.split_inclusive(|b| *b == b'\n') {
        if matches!(line, b"\n" | b"\r\n") {
            return Some((&part[..at], &part[at + line.len()..]));
        }
        at += line.len();
    }
    None
}

impl NameAddr<'_> {
    /// RFC 3261 §20.10: a preference from 0 to 1, in thousandths; the highest if it is absent or no such number.
    pub fn thousandths(&self, name: &str) -> u16 {
        let value = self.param(name).and_then(|v| v.parse::<f32>().ok()).filter(|v| (0.0..=1.0).contains(v));
        value.map_or(1000, |v| (v * 1000.0) as u16)
    }

    /// The number of a parameter, if it is one.
    pub fn seconds(&self, name: &str) -> Option<u32> {
        super::seconds(self.param(name)?)
    }
}
