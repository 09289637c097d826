//! What the other side is told about a failure (RFC 3326).

use super::SessionFailure;
use sipsec_ike::IkeError;

/// What a gateway tells a caller whose number none of its tunnels has.
pub const NO_TUNNEL: &str = "no tunnel has this number";

impl SessionFailure {
    /// The SIP status that says best to the other side why we hang up (RFC 3326).
    #[must_use]
    pub const fn told_status(&self) -> u16 {
        match self {
            Self::NoKey { .. } | Self::StaticQos => 403,
            Self::WeakFingerprint | Self::Sdp(_) | Self::Ike(_) => 488,
            Self::Deadline { .. } | Self::OnlyRings => 408,
            Self::AddressChanged | Self::AddressLost | Self::DataplaneGone | Self::NoNextHop => 480,
            Self::HardLimit
            | Self::OneWay { .. }
            | Self::PeerClosedIke
            | Self::PeerHungUp { .. }
            | Self::PeerEndedEarly { .. } => 200,
            Self::GaveWay => 486,
            _ => 500,
        }
    }

    /// The same in words for the operator of the other side: what concerns this side alone is left out.
    #[must_use]
    pub fn told(&self) -> String {
        match self {
            Self::NoKey { .. } => "no key or certificate for this number".to_owned(),
            Self::StaticQos => "this gateway has a static QoS policy on the tunnel".to_owned(),
            Self::OwnCertificate(_) => "this gateway's certificate cannot be used".to_owned(),
            Self::Selectors(_) => {
                "the traffic selectors admit nothing of what is routed into the tunnel here".to_owned()
            }
            Self::Journal => "the gateway cannot write its call journal".to_owned(),
            Self::Ike(error) => match error {
                IkeError::AuthenticationFailed { .. } => {
                    "IKE authentication failed: different keys?".to_owned()
                }
                IkeError::NoProposalChosen { .. } => "no common IKE or ESP proposal".to_owned(),
                IkeError::IdentityMismatch { .. } => {
                    "the IKE identity is not the number of this call".to_owned()
                }
                IkeError::CertificateRejected { error, .. } => format!("certificate not accepted: {error}"),
                IkeError::FingerprintMismatch { .. } | IkeError::PskFingerprintMismatch { .. } => {
                    "the key is not the one that SDP announced".to_owned()
                }
                other => format!("IKE: {other}"),
            },
            other => other.to_string(),
        }
    }
}
