//! The IKE header (RFC 7296 §3.1).

use super::reader::Reader;
use super::{ParseError, PayloadType};

pub(crate) const HEADER_LEN: usize = 28;
/// Largest message taken, before and after reassembly: a UDP datagram cannot hold more, and no certificate chain that
/// we accept needs more.
pub(crate) const MESSAGE_MAX: usize = 65_535;

const FLAG_INITIATOR: u8 = 0x08;
const FLAG_RESPONSE: u8 = 0x20;
pub(crate) const MAJOR_VERSION: u8 = 2;
const VERSION_2_0: u8 = MAJOR_VERSION << 4;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Exchange(pub u8);

impl Exchange {
    pub const IKE_SA_INIT: Self = Self(34);
    pub const IKE_AUTH: Self = Self(35);
    pub const CREATE_CHILD_SA: Self = Self(36);
    pub const INFORMATIONAL: Self = Self(37);
    /// RFC 9242 §3.2.
    pub const IKE_INTERMEDIATE: Self = Self(43);
    /// RFC 9370 §2.2.4.
    pub const IKE_FOLLOWUP_KE: Self = Self(44);

    pub const fn name(self) -> &'static str {
        match self {
            Self::IKE_SA_INIT => "IKE_SA_INIT",
            Self::IKE_AUTH => "IKE_AUTH",
            Self::CREATE_CHILD_SA => "CREATE_CHILD_SA",
            Self::INFORMATIONAL => "INFORMATIONAL",
            Self::IKE_INTERMEDIATE => "IKE_INTERMEDIATE",
            Self::IKE_FOLLOWUP_KE => "IKE_FOLLOWUP_KE",
            _ => "an unknown exchange",
        }
    }
}

/// What a log shows of a datagram that may or may not be an IKE message.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Outline {
    pub exchange: &'static str,
    pub response: bool,
    pub id: u32,
    /// RFC 7383 §2.5.
    pub fragment: bool,
}

impl Outline {
    /// `None` if `bytes` are less than a header.
    #[must_use]
    pub fn of(bytes: &[u8]) -> Option<Self> {
        let (h, ..) = Header::fields(bytes).ok()?;
        let fragment = h.first == PayloadType::SKF;
        Some(Self { exchange: h.exchange.name(), response: h.response, id: h.id, fragment })
    }
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Header {
    pub spi_i: u64,
    pub spi_r: u64,
    pub first: PayloadType,
    pub exchange: Exchange,
    /// Sent by the original initiator of this IKE SA.
    pub from_initiator: bool,
    pub response: bool,
    pub id: u32,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum HeaderError {
    Malformed,
    /// A message of another major version. The fields of the header stand where IKEv2 has them (RFC 7296 §2.5: the
    /// version field and what precedes it do not move).
    MajorVersion {
        major: u8,
        header: Header,
    },
}

impl Header {
    /// The header, and the message that it begins. RFC 7296 §3.1: Length counts the message; the bytes of the datagram
    /// behind it are not part of it, and some peers pad.
    pub fn split(datagram: &[u8]) -> Result<(Self, &[u8]), HeaderError> {
        let (header, version, len) = Self::fields(datagram).map_err(|_| HeaderError::Malformed)?;
        let major = version >> 4;
        if major != MAJOR_VERSION {
            return Err(HeaderError::MajorVersion { major, header });
        }
        let len = usize::try_from(len).map_err(|_| HeaderError::Malformed)?;
        if !(HEADER_LEN..=MESSAGE_MAX).contains(&len) {
            return Err(HeaderError::Malformed);
        }
        let message = datagram.get(..len).ok_or(HeaderError::Malformed)?;
        Ok((header, message))
    }

    #[cfg(any(test, feature = "fuzz"))]
    pub fn parse(datagram: &[u8]) -> Result<Self, HeaderError> {
        Self::split(datagram).map(|(header, _)| header)
    }

    fn fields(bytes: &[u8]) -> Result<(Self, u8, u32), ParseError> {
        let mut r = Reader::new(bytes, "header");
        let spi_i = r.u64()?;
        let spi_r = r.u64()?;
        let first = PayloadType(r.u8()?);
        let version = r.u8()?;
        let exchange = Exchange(r.u8()?);
        // RFC 7296 §3.1: the version flag and the reserved ones MUST be ignored on receipt.
        let flags = r.u8()?;
        let id = r.u32()?;
        let len = r.u32()?;
        let from_initiator = flags & FLAG_INITIATOR != 0;
        let response = flags & FLAG_RESPONSE != 0;
        Ok((Self { spi_i, spi_r, first, exchange, from_initiator, response, id }, version, len))
    }

    /// A request that begins an IKE SA (RFC 7296 §2.6: the responder's SPI is zero in the first message).
    pub fn begins(&self) -> bool {
        self.exchange == Exchange::IKE_SA_INIT
            && self.from_initiator
            && !self.response
            && self.id == 0
            && self.spi_r == 0
            && self.spi_i != 0
    }

    /// The header of a message of `len` bytes in all.
    pub fn encode(&self, len: usize) -> [u8; HEADER_LEN] {
        let mut out = [0; HEADER_LEN];
        out[..8].copy_from_slice(&self.spi_i.to_be_bytes());
        out[8..16].copy_from_slice(&self.spi_r.to_be_bytes());
        out[16] = self.first.0;
        out[17] = VERSION_2_0;
        out[18] = self.exchange.0;
        out[19] = if self.from_initiator { FLAG_INITIATOR } else { 0 }
            | if self.response { FLAG_RESPONSE } else { 0 };
        out[20..24].copy_from_slice(&self.id.to_be_bytes());
        let len = u32::try_from(len).expect("messages are bounded by MESSAGE_MAX");
        out[24..].copy_from_slice(&len.to_be_bytes());
        out
    }

    /// A whole unprotected message.
    pub fn with_payloads(mut self, chain: super::Chain) -> Vec<u8> {
        let (first, body) = chain.finish();
        self.first = first;
        let mut out = self.encode(HEADER_LEN + body.len()).to_vec();
        out.extend_from_slice(&body);
        out
    }
}
