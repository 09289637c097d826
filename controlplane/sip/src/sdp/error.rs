//! Why a description cannot be used. Each reason has a cure and a SIP status.

use super::FMT_UDPENCAP;
use thiserror::Error;

#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum SdpError {
    #[error("the SDP is malformed")]
    Syntax,
    #[error("the message has no SDP")]
    NoBody,
    #[error("the INVITE has no offer, and this gateway makes none for it")]
    DelayedOffer,
    #[error("the body is not application/sdp")]
    NotSdp,
    #[error("the SDP has no media `application … udp {FMT_UDPENCAP}`")]
    NoIkeMedia,
    #[error("the peer wants ESP without UDP encapsulation (`ike-esp`)")]
    PlainEsp,
    #[error("the peer refused the VPN media (port 0)")]
    Refused,
    #[error("the SDP has more than one IKE media")]
    SeveralIkeMedia,
    #[error("the SDP has no usable c= address")]
    BadConnection,
    #[error("the SDP's address is not of the IP version of ours")]
    AddressFamily,
    #[error("the SDP has no b=AS line, which this service requires on both sides")]
    MissingBandwidth,
    #[error("the SDP's b=AS is not a number from 1")]
    BadBandwidth,
    #[error("the SDP's a=ike-setup `{0}` is not active, passive or actpass")]
    BadSetup(String),
    #[error("offer and answer both want to be IKE {0}")]
    SetupConflict(&'static str),
    #[error("a fingerprint in the SDP is malformed ({0})")]
    BadFingerprint(&'static str),
    #[error("the SDP has too many lines")]
    TooLong,
    #[error("the answer's media lines are not those of the offer")]
    MediaMismatch,
    #[error("the VPN's {0} cannot change within a call")]
    Changed(&'static str),
}

impl SdpError {
    /// RFC 3261 §21.4.26: 488 for a description that cannot be met.
    #[must_use]
    pub const fn status(&self) -> u16 {
        match self {
            Self::Syntax | Self::TooLong => 400,
            _ => 488,
        }
    }

    /// A Warning (RFC 3261 §20.43) for the refusal.
    pub(crate) fn warning(&self) -> String {
        crate::reason::warning(&self.to_string())
    }

    #[must_use]
    pub const fn cure(&self) -> &'static str {
        match self {
            Self::MissingBandwidth | Self::BadBandwidth => "have the peer send b=AS:<kbps> in its SDP",
            Self::Refused | Self::NoIkeMedia | Self::NoBody => {
                "the peer does not offer a VPN under this number: check the number and its vpn-sip configuration"
            }
            Self::DelayedOffer => {
                "have the peer's carrier send offers in its INVITEs, or write `sip.delayed_offers: true`"
            }
            Self::NotSdp => "have the peer send its SDP as application/sdp, without an encoding",
            Self::AddressFamily => "give both ends IPv4, or both IPv6, on their WAN interfaces",
            Self::PlainEsp => "have the peer offer the format ike-esp-udpencap (force NAT traversal)",
            Self::BadSetup(_) | Self::SetupConflict(_) => {
                "RFC 6193 section 4: active answers passive and the reverse"
            }
            Self::BadFingerprint(_) => "RFC 8122 section 5: hash function, space, hex pairs joined by colons",
            Self::Changed(_) => "RFC 6193 section 5.2: what is to change takes another call",
            _ => "compare the SDP with RFC 6193 section 4",
        }
    }
}
