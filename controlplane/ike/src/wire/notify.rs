//! Notify (RFC 7296 §3.10).

use super::reader::Reader;
use super::{Chain, ParseError, PayloadType};

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct NotifyType(pub u16);

impl NotifyType {
    pub const UNSUPPORTED_CRITICAL_PAYLOAD: Self = Self(1);
    pub const INVALID_IKE_SPI: Self = Self(4);
    pub const INVALID_MAJOR_VERSION: Self = Self(5);
    pub const INVALID_SYNTAX: Self = Self(7);
    pub const INVALID_SPI: Self = Self(11);
    pub const NO_PROPOSAL_CHOSEN: Self = Self(14);
    pub const INVALID_KE_PAYLOAD: Self = Self(17);
    pub const AUTHENTICATION_FAILED: Self = Self(24);
    pub const SINGLE_PAIR_REQUIRED: Self = Self(34);
    pub const NO_ADDITIONAL_SAS: Self = Self(35);
    pub const INTERNAL_ADDRESS_FAILURE: Self = Self(36);
    pub const FAILED_CP_REQUIRED: Self = Self(37);
    pub const TS_UNACCEPTABLE: Self = Self(38);
    pub const TEMPORARY_FAILURE: Self = Self(43);
    pub const CHILD_SA_NOT_FOUND: Self = Self(44);
    /// RFC 9370 §2.2.4.
    pub const STATE_NOT_FOUND: Self = Self(47);
    pub const INITIAL_CONTACT: Self = Self(16384);
    pub const ADDITIONAL_TS_POSSIBLE: Self = Self(16386);
    pub const NAT_DETECTION_SOURCE_IP: Self = Self(16388);
    pub const NAT_DETECTION_DESTINATION_IP: Self = Self(16389);
    pub const COOKIE: Self = Self(16390);
    pub const REKEY_SA: Self = Self(16393);
    /// RFC 4478 §3.
    pub const AUTH_LIFETIME: Self = Self(16403);
    /// RFC 6290 §4.1.
    pub const QCD_TOKEN: Self = Self(16419);
    /// RFC 7427 §4.
    pub const SIGNATURE_HASH_ALGORITHMS: Self = Self(16431);
    /// RFC 7383 §2.3.
    pub const FRAGMENTATION_SUPPORTED: Self = Self(16430);
    /// RFC 8784 §3.
    pub const USE_PPK: Self = Self(16435);
    pub const PPK_IDENTITY: Self = Self(16436);
    pub const NO_PPK_AUTH: Self = Self(16437);
    /// RFC 9242 §3.1.
    pub const INTERMEDIATE_EXCHANGE_SUPPORTED: Self = Self(16438);
    /// RFC 9370 §2.2.4.
    pub const ADDITIONAL_KEY_EXCHANGE: Self = Self(16441);
    /// A status type for private use (RFC 7296 §3.10.1), which a peer ignores: the padding of a probe.
    pub const PATH_PROBE: Self = Self(0xd5a7);

    /// IANA's name of an error that a peer may report.
    pub const fn error_name(self) -> &'static str {
        match self.0 {
            1 => "UNSUPPORTED_CRITICAL_PAYLOAD",
            4 => "INVALID_IKE_SPI",
            5 => "INVALID_MAJOR_VERSION",
            7 => "INVALID_SYNTAX",
            9 => "INVALID_MESSAGE_ID",
            11 => "INVALID_SPI",
            14 => "NO_PROPOSAL_CHOSEN",
            17 => "INVALID_KE_PAYLOAD",
            24 => "AUTHENTICATION_FAILED",
            34 => "SINGLE_PAIR_REQUIRED",
            35 => "NO_ADDITIONAL_SAS",
            36 => "INTERNAL_ADDRESS_FAILURE",
            37 => "FAILED_CP_REQUIRED",
            38 => "TS_UNACCEPTABLE",
            39 => "INVALID_SELECTORS",
            43 => "TEMPORARY_FAILURE",
            44 => "CHILD_SA_NOT_FOUND",
            47 => "STATE_NOT_FOUND",
            _ => "error",
        }
    }

    /// RFC 7296 §3.10.1: types below 16384 are errors.
    pub const fn is_error(self) -> bool {
        self.0 < 16384
    }
}

/// Bytes of a notify without SPI and data, its generic header included.
pub(crate) const NOTIFY_LEN: usize = 8;

pub(crate) const PROTOCOL_NONE: u8 = 0;
pub(crate) const PROTOCOL_IKE: u8 = 1;
pub(crate) const PROTOCOL_ESP: u8 = 3;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Notify<'a> {
    pub protocol: u8,
    pub spi: &'a [u8],
    pub kind: NotifyType,
    pub data: &'a [u8],
}

impl<'a> Notify<'a> {
    pub fn parse(body: &'a [u8]) -> Result<Self, ParseError> {
        let mut r = Reader::new(body, "notify");
        let protocol = r.u8()?;
        let spi_len = usize::from(r.u8()?);
        let kind = NotifyType(r.u16()?);
        let spi = r.take(spi_len)?;
        Ok(Self { protocol, spi, kind, data: r.rest() })
    }

    /// The SPI of an ESP SA.
    pub fn esp_spi(&self) -> Option<u32> {
        if self.protocol != PROTOCOL_ESP {
            return None;
        }
        self.spi.try_into().ok().map(u32::from_be_bytes)
    }
}

impl Chain {
    pub fn notify(&mut self, kind: NotifyType, data: &[u8]) -> &mut Self {
        self.notify_spi(PROTOCOL_NONE, &[], kind, data)
    }

    pub fn notify_spi(&mut self, protocol: u8, spi: &[u8], kind: NotifyType, data: &[u8]) -> &mut Self {
        let spi_len = u8::try_from(spi.len()).expect("SPIs have 0, 4 or 8 bytes");
        let mut body = vec![protocol, spi_len];
        body.extend_from_slice(&kind.0.to_be_bytes());
        body.extend_from_slice(spi);
        body.extend_from_slice(data);
        self.push(PayloadType::NOTIFY, &body)
    }
}
