//! Authentication (RFC 7296 §3.8).

use super::reader::Reader;
use super::{Chain, ParseError, PayloadType};

pub(crate) const METHOD_PSK: u8 = 2;
/// RFC 7427 §3.
pub(crate) const METHOD_SIGNATURE: u8 = 14;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Auth<'a> {
    pub method: u8,
    pub data: &'a [u8],
}

impl<'a> Auth<'a> {
    pub fn parse(body: &'a [u8]) -> Result<Self, ParseError> {
        let mut r = Reader::new(body, "authentication");
        let method = r.u8()?;
        r.take(3)?;
        Ok(Self { method, data: r.rest() })
    }
}

impl Chain {
    pub fn auth(&mut self, method: u8, data: &[u8]) -> &mut Self {
        let mut body = vec![method, 0, 0, 0];
        body.extend_from_slice(data);
        self.push(PayloadType::AUTH, &body)
    }
}
