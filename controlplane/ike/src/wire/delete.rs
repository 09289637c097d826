//! Delete (RFC 7296 §3.11).

use super::notify::{PROTOCOL_ESP, PROTOCOL_IKE};
use super::reader::Reader;
use super::{Chain, ParseError, PayloadType};

#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Delete {
    /// The IKE SA that carries the message; it names no SPI.
    Ike,
    Esp(Vec<u32>),
    /// A protocol that we have no SA of (AH).
    Other,
}

impl Delete {
    pub fn parse(body: &[u8]) -> Result<Self, ParseError> {
        let mut r = Reader::new(body, "delete");
        let protocol = r.u8()?;
        let spi_len = r.u8()?;
        let count = usize::from(r.u16()?);
        match (protocol, spi_len) {
            // RFC 7296 §3.11: SPI Size MUST be zero for IKE. Some peers send one SPI all the same, or both; there is only one
            // IKE SA that the message can mean, the one that carries it.
            (PROTOCOL_IKE, spi_len) => {
                r.take(usize::from(spi_len) * count)?;
                r.end().map(|()| Self::Ike)
            }
            (PROTOCOL_ESP, 4) => {
                let spis = (0..count).map(|_| r.u32()).collect::<Result<_, _>>()?;
                r.end().map(|()| Self::Esp(spis))
            }
            (PROTOCOL_ESP, _) => Err(ParseError::Value("delete")),
            _ => Ok(Self::Other),
        }
    }
}

impl Chain {
    pub fn delete_ike(&mut self) -> &mut Self {
        self.push(PayloadType::DELETE, &[PROTOCOL_IKE, 0, 0, 0])
    }

    pub fn delete_esp(&mut self, spis: &[u32]) -> &mut Self {
        let count = u16::try_from(spis.len()).expect("a call has few CHILD_SAs");
        let mut body = vec![PROTOCOL_ESP, 4];
        body.extend_from_slice(&count.to_be_bytes());
        for spi in spis {
            body.extend_from_slice(&spi.to_be_bytes());
        }
        self.push(PayloadType::DELETE, &body)
    }
}
