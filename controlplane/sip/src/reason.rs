//! Why a call ends, in words that the other side can show: `Reason` (RFC 3326) of BYE and CANCEL, `Warning`
//! (RFC 3261 §20.43) of a refusal.

use crate::message::{Message, Writer, list, printable, quote, read_params, unquote};
use std::fmt;

/// Characters of a text, ours or the peer's.
pub const REASON_CHARS_MAX: usize = 120;

/// The protocol and value of a cause (RFC 3326 §2).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cause {
    /// A SIP status.
    Sip(u16),
    /// A cause of ITU-T Q.850.
    Q850(u16),
}

/// A cause and its text: printable, on one line, at most [`REASON_CHARS_MAX`] characters.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reason {
    cause: Option<Cause>,
    text: String,
}

impl Reason {
    /// A reason of ours: the SIP status that says it best, and the words for the operator at the other end.
    #[must_use]
    pub fn new(status: u16, text: &str) -> Self {
        Self { cause: Some(Cause::Sip(status)), text: printable(text, REASON_CHARS_MAX) }
    }

    #[must_use]
    pub const fn cause(&self) -> Option<Cause> {
        self.cause
    }

    /// Empty if the peer gave a cause alone.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The reason in a message of the peer: the first text of its Warning and Reason header fields, or else the first
    /// cause. What cannot be read counts as absent.
    pub(crate) fn of(m: &Message) -> Option<Self> {
        let values = |name| m.all(name).flat_map(list);
        let warnings = values("Warning").filter_map(Self::of_warning);
        let all: Vec<_> = warnings.chain(values("Reason").filter_map(Self::of_reason)).collect();
        let said = all.iter().position(|r| !r.text.is_empty()).unwrap_or(0);
        all.into_iter().nth(said)
    }

    /// `warn-code SP warn-agent SP warn-text`. The code is of Warning's own registry, so it is no cause.
    fn of_warning(value: &str) -> Option<Self> {
        let (code, rest) = value.trim().split_once(' ')?;
        let (_agent, text) = rest.trim_start().split_once(' ')?;
        let is_code = code.len() == 3 && code.bytes().all(|b| b.is_ascii_digit());
        let text = printable(&unquote(text)?, REASON_CHARS_MAX);
        (is_code && !text.is_empty()).then_some(Self { cause: None, text })
    }

    /// RFC 3326 §2: `protocol *(SEMI reason-params)`.
    fn of_reason(value: &str) -> Option<Self> {
        let end = value.find(';').unwrap_or(value.len());
        let (protocol, params) = (value[..end].trim(), read_params(&value[end..]));
        let get =
            |name: &str| params.iter().find(|(n, _)| n.eq_ignore_ascii_case(name)).and_then(|(_, v)| *v);
        let number = get("cause").and_then(|c| c.parse().ok());
        let cause = match number {
            Some(n) if protocol.eq_ignore_ascii_case("SIP") => Some(Cause::Sip(n)),
            Some(n) if protocol.eq_ignore_ascii_case("Q.850") => Some(Cause::Q850(n)),
            _ => None,
        };
        let text = get("text").and_then(unquote).map(|t| printable(&t, REASON_CHARS_MAX)).unwrap_or_default();
        (cause.is_some() || !text.is_empty()).then_some(Self { cause, text })
    }

    /// For a BYE or a CANCEL.
    pub(crate) fn write(&self, w: &mut Writer) {
        let protocol = match self.cause {
            Some(Cause::Sip(n)) => format!("SIP;cause={n}"),
            Some(Cause::Q850(n)) => format!("Q.850;cause={n}"),
            None => "SIP".to_owned(),
        };
        w.header("Reason", format_args!("{protocol};text={}", quote(&self.text)));
    }

    /// For a response.
    pub(crate) fn write_warning(&self, w: &mut Writer) {
        w.header("Warning", warning(&self.text));
    }
}

/// The text, or the cause if there is no text.
impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.cause {
            _ if !self.text.is_empty() => f.write_str(&self.text),
            Some(Cause::Sip(n)) => write!(f, "SIP cause {n}"),
            Some(Cause::Q850(n)) => write!(f, "Q.850 cause {n}"),
            None => Ok(()),
        }
    }
}

/// A Warning with our text: code 399, for text that a person reads (RFC 3261 §20.43).
pub(crate) fn warning(text: &str) -> String {
    format!("399 sipsec {}", quote(&printable(text, REASON_CHARS_MAX)))
}
