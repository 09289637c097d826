//! The generic payload header and chains of payloads (RFC 7296 §3.2).

use super::ParseError;
use super::reader::Reader;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct PayloadType(pub u8);

impl PayloadType {
    pub const NONE: Self = Self(0);
    pub const SA: Self = Self(33);
    pub const KE: Self = Self(34);
    pub const IDI: Self = Self(35);
    pub const IDR: Self = Self(36);
    pub const CERT: Self = Self(37);
    pub const CERTREQ: Self = Self(38);
    pub const AUTH: Self = Self(39);
    pub const NONCE: Self = Self(40);
    pub const NOTIFY: Self = Self(41);
    pub const DELETE: Self = Self(42);
    pub const TSI: Self = Self(44);
    pub const TSR: Self = Self(45);
    pub const SK: Self = Self(46);
    pub const CP: Self = Self(47);
    /// RFC 7383.
    pub const SKF: Self = Self(53);

    /// RFC 7296 §3.2: a critical bit on a payload type of the base specification is ignored.
    pub const fn is_understood(self) -> bool {
        matches!(self.0, 33..=48) || self.0 == Self::SKF.0
    }
}

pub(crate) struct Raw<'a> {
    pub kind: PayloadType,
    pub critical: bool,
    pub body: &'a [u8],
    /// The type that the header of this payload names as the next: for SK and SKF the first one inside.
    pub next: PayloadType,
}

/// The payloads of `bytes`, the first of type `first`: as many as the message holds, for a gateway with many addresses may
/// name each in a notify of its own (RFC 4555 §3.4, RFC 7296 §2.23). Ends after SK and SKF, which are always last
/// (RFC 7296 §3.14, RFC 7383 §2.5).
pub(crate) struct Payloads<'a> {
    reader: Reader<'a>,
    next: PayloadType,
}

impl<'a> Payloads<'a> {
    pub const fn new(first: PayloadType, bytes: &'a [u8]) -> Self {
        Self { reader: Reader::new(bytes, "payload"), next: first }
    }

    fn one(&mut self) -> Result<Raw<'a>, ParseError> {
        let kind = self.next;
        let next = PayloadType(self.reader.u8()?);
        let critical = self.reader.u8()? & 0x80 != 0;
        let len = usize::from(self.reader.u16()?);
        let body = self.reader.take(len.checked_sub(4).ok_or(ParseError::Length("payload"))?)?;
        self.next =
            if kind == PayloadType::SK || kind == PayloadType::SKF { PayloadType::NONE } else { next };
        Ok(Raw { kind, critical, body, next })
    }
}

impl<'a> Iterator for Payloads<'a> {
    type Item = Result<Raw<'a>, ParseError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.next == PayloadType::NONE {
            if self.reader.is_empty() {
                return None;
            }
            self.reader = Reader::new(&[], "payload");
            return Some(Err(ParseError::Length("payload")));
        }
        let item = self.one();
        if item.is_err() {
            self.next = PayloadType::NONE;
            self.reader = Reader::new(&[], "payload");
        }
        Some(item)
    }
}

/// A chain of payloads being written.
#[derive(Default, Clone, Debug)]
pub(crate) struct Chain {
    first: u8,
    /// Where the "next payload" of the last one stands.
    last: Option<usize>,
    bytes: Vec<u8>,
}

impl Chain {
    pub fn new() -> Self {
        Self::default()
    }

    pub fn push(&mut self, kind: PayloadType, body: &[u8]) -> &mut Self {
        match self.last {
            None => self.first = kind.0,
            Some(at) => self.bytes[at] = kind.0,
        }
        self.last = Some(self.bytes.len());
        let len = u16::try_from(body.len() + 4).expect("our payloads are far below 64 KiB");
        self.bytes.extend_from_slice(&[0, 0]);
        self.bytes.extend_from_slice(&len.to_be_bytes());
        self.bytes.extend_from_slice(body);
        self
    }

    /// Marks the last payload.
    #[cfg(test)]
    pub fn set_critical(&mut self) {
        let at = self.last.expect("a payload");
        self.bytes[at + 1] |= 0x80;
    }

    pub fn finish(self) -> (PayloadType, Vec<u8>) {
        (PayloadType(self.first), self.bytes)
    }
}
