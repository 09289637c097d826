//! The lines of a body that say something about the VPN (RFC 8866 §5). All others are passed over: a line that is not used
//! cannot make a description useless.

use super::{MEDIA_MAX, SdpError};

/// A `m=` section, or the session level before the first of them.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Section<'a> {
    pub connection: Option<&'a str>,
    bandwidths: Vec<&'a str>,
    attributes: Vec<&'a str>,
}

#[derive(Debug, PartialEq, Eq)]
pub struct MediaLines<'a> {
    /// The value of the `m=` line.
    line: &'a str,
    pub section: Section<'a>,
}

/// A body, by its sections.
#[derive(Debug, PartialEq, Eq)]
pub struct Lines<'a> {
    origin: &'a str,
    pub session: Section<'a>,
    pub media: Vec<MediaLines<'a>>,
}

impl<'a> Lines<'a> {
    /// Lines end in CRLF; LF alone is common and harmless, and so are blanks at either end. A backslash at a line's end is
    /// a device of printed documents (RFC 6193 §6.1 note), not a continuation.
    ///
    /// # Errors
    /// If it does not begin as version 0 of SDP, or has too many media.
    pub fn read(text: &'a str) -> Result<Self, SdpError> {
        // A byte order mark is no text.
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        let mut lines = text.split('\n').map(str::trim).filter(|l| !l.is_empty());
        let version = lines.next().and_then(|l| l.strip_prefix("v=")).ok_or(SdpError::Syntax)?;
        if version.trim() != "0" {
            return Err(SdpError::Syntax);
        }
        let mut out = Self { origin: "", session: Section::default(), media: Vec::new() };
        for line in lines {
            let Some((kind, value)) = line.split_once('=') else { continue };
            let kind = kind.trim_end();
            if kind == "m" {
                if out.media.len() == MEDIA_MAX {
                    return Err(SdpError::TooLong);
                }
                out.media.push(MediaLines { line: value, section: Section::default() });
                continue;
            }
            let section = out.media.last_mut().map_or(&mut out.session, |m| &mut m.section);
            match kind {
                "o" if out.origin.is_empty() => out.origin = value,
                // RFC 8866 §5.7: of several, the first of the section.
                "c" => _ = section.connection.get_or_insert(value),
                "b" => section.bandwidths.push(value),
                "a" => section.attributes.push(value),
                _ => {}
            }
        }
        Ok(out)
    }

    /// Session id and version of `o=`; 0 for what is no number.
    pub fn origin(&self) -> (u64, u64) {
        let mut words = self.origin.split_ascii_whitespace().skip(1);
        let mut number = || words.next().and_then(|w| w.parse().ok()).unwrap_or(0);
        (number(), number())
    }
}

impl<'a> Section<'a> {
    /// Values of an attribute, empty for one without a value. Names have no case (RFC 5234 §2.3).
    pub fn attributes(&self, name: &str) -> Vec<&'a str> {
        let named = self.attributes.iter().map(|a| a.split_once(':').unwrap_or((*a, "")));
        named.filter(|(n, _)| n.trim().eq_ignore_ascii_case(name)).map(|(_, v)| v.trim()).collect()
    }

    /// RFC 8866 §5.8: of this type; unknown types are ignored.
    pub fn bandwidth(&self, kind: &str) -> Option<&'a str> {
        let mut typed = self.bandwidths.iter().filter_map(|b| b.split_once(':'));
        typed.find(|(k, _)| k.trim().eq_ignore_ascii_case(kind)).map(|(_, v)| v.trim())
    }
}

impl MediaLines<'_> {
    fn words(&self) -> impl Iterator<Item = &str> {
        self.line.split_ascii_whitespace()
    }

    pub fn is(&self, kind: &str, proto: &str, fmt: &str) -> bool {
        let word = |at: usize| self.words().nth(at).unwrap_or_default();
        word(0).eq_ignore_ascii_case(kind)
            && word(2).eq_ignore_ascii_case(proto)
            && self.words().skip(3).any(|f| f.eq_ignore_ascii_case(fmt))
    }

    /// `None` if it is no port. A number of ports after it (`49170/2`) is passed over.
    pub fn port(&self) -> Option<u16> {
        let port = self.words().nth(1)?.split('/').next()?;
        port.bytes().all(|b| b.is_ascii_digit()).then(|| port.parse().ok()).flatten()
    }

    /// RFC 3264 §6: the line that refuses it in an answer: port 0, all else as it was; what is missing is made up, for a
    /// media line has at least one format (RFC 8866 §5.14).
    pub fn refused(&self) -> String {
        let words: Vec<String> = self.words().map(|w| w.replace(char::is_control, "?")).collect();
        let word = |at: usize, default: &'static str| words.get(at).map_or(default, String::as_str);
        let formats =
            words.get(3..).filter(|f| !f.is_empty()).map_or_else(|| "0".to_owned(), |f| f.join(" "));
        format!("m={} 0 {} {formats}", word(0, "audio"), word(2, "RTP/AVP"))
    }
}
