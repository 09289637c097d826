//! Key Exchange (RFC 7296 §3.4) and Nonce (§3.9).

use super::reader::Reader;
use super::{Chain, ParseError, PayloadType};

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Ke<'a> {
    pub group: u16,
    pub public: &'a [u8],
}

impl<'a> Ke<'a> {
    pub fn parse(body: &'a [u8]) -> Result<Self, ParseError> {
        let mut r = Reader::new(body, "key exchange");
        let group = r.u16()?;
        r.u16()?;
        Ok(Self { group, public: r.rest() })
    }
}

/// RFC 7296 §3.9: the size of nonces MUST be between 16 and 256 octets.
pub(crate) fn parse_nonce(body: &[u8]) -> Result<&[u8], ParseError> {
    if (16..=256).contains(&body.len()) { Ok(body) } else { Err(ParseError::Length("nonce")) }
}

impl Chain {
    pub fn ke(&mut self, group: u16, public: &[u8]) -> &mut Self {
        let mut body = group.to_be_bytes().to_vec();
        body.extend_from_slice(&[0, 0]);
        body.extend_from_slice(public);
        self.push(PayloadType::KE, &body)
    }

    pub fn nonce(&mut self, nonce: &[u8]) -> &mut Self {
        self.push(PayloadType::NONCE, nonce)
    }
}
