//! The Encrypted Fragment payload's own fields (RFC 7383 §2.5).

use super::ParseError;
use super::reader::Reader;

pub(crate) const SKF_FIELDS_LEN: usize = 4;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct SkfFields {
    /// From 1.
    pub number: u16,
    pub total: u16,
}

impl SkfFields {
    pub fn parse(body: &[u8]) -> Result<Self, ParseError> {
        let mut r = Reader::new(body, "fragment");
        let out = Self { number: r.u16()?, total: r.u16()? };
        // RFC 7383 §2.5: both start at 1, and a number beyond the total is no fragment.
        if out.number == 0 || out.number > out.total {
            return Err(ParseError::Value("fragment"));
        }
        Ok(out)
    }

    pub fn encode(self) -> [u8; SKF_FIELDS_LEN] {
        let (n, t) = (self.number.to_be_bytes(), self.total.to_be_bytes());
        [n[0], n[1], t[0], t[1]]
    }
}
