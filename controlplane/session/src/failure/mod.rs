//! Why a session failed: the kinds of failure, their stable names, and what each means for the next call.

mod evidence;
mod hint;
mod text;
mod told;

pub use evidence::{Evidence, SentIke};
pub use told::NO_TUNNEL;

use crate::brake::Braking;
use crate::selectors::Narrowed;
use sipsec_ike::{CertError, IkeError};
use sipsec_net::TelNumber;
use sipsec_net::dp::RejectReason;
use sipsec_sip::sdp::SdpError;
use sipsec_sip::{CallFailure, DialError, LostWhy};
use std::time::Duration;

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SessionFailure {
    /// Found before the call costs anything.
    NoKey {
        number: TelNumber,
        closest: Option<TelNumber>,
    },
    /// Our own certificate cannot be used.
    OwnCertificate(CertError),
    /// SDP has SHA-1 fingerprints alone, which count for a peer of kind `cisco` only.
    WeakFingerprint,
    /// The tunnel has a QoS policy, and the profile asks for what IOS does with one.
    StaticQos,
    NoMediaPort,
    Dial(DialError),
    Call(CallFailure),
    Sdp(SdpError),
    Ike(IkeError),
    /// The call was answered and the SA did not come up in time.
    Deadline {
        waited: Duration,
        evidence: Evidence,
    },
    /// The peer ended the call before the SA was up. `said` is the text of its Reason header field (RFC 3326).
    PeerHungUp {
        said: Option<String>,
        evidence: Option<Box<Evidence>>,
    },
    /// The peer closed IKE while the call was up.
    PeerClosedIke,
    /// The session was up, and the peer ended it at once although it carried data.
    PeerEndedEarly {
        lasted: Duration,
        said: Option<String>,
    },
    /// The SA that came up admits nothing of what is routed into the tunnel.
    Selectors(Box<Narrowed>),
    /// The peer removed the CHILD_SA of a session that was up, and made no other.
    NoChild,
    /// SIP gave the call up.
    Lost(LostWhy),
    /// An SA reached its hard limit before another took its place.
    SaLimit,
    DataplaneRejected {
        reason: RejectReason,
    },
    DataplaneGone,
    /// A call came and the dataplane did not open its port.
    DataplaneSilent,
    /// No way to the peer's media address.
    NoNextHop,
    /// The called side rings and does not answer.
    OnlyRings,
    Journal,
    AddressChanged,
    /// The WAN has no address any more.
    AddressLost,
    /// An earlier run of this process ended with the call up.
    Restarted,
    /// Both sides called at once, and the peer's call was kept.
    GaveWay,
    HardLimit,
    /// Packets left for this long and none came.
    OneWay {
        lasted: Duration,
    },
}

impl SessionFailure {
    /// What it means for the next call.
    #[must_use]
    pub const fn braking(&self) -> Braking {
        match self {
            Self::AddressChanged
            | Self::AddressLost
            | Self::DataplaneGone
            | Self::Restarted
            | Self::Ike(IkeError::PeerRestarted)
            // The carrier's next relay may pass both ways: one call at once, then the pauses.
            | Self::OneWay { .. }
            | Self::Lost(LostWhy::NoAddress) => Braking::Passing,
            Self::NoKey { .. }
            | Self::OwnCertificate(_)
            | Self::StaticQos
            | Self::NoMediaPort
            | Self::Dial(_)
            | Self::Call(
                CallFailure::Status { .. }
                | CallFailure::Timeout
                | CallFailure::Cancelled
                | CallFailure::Unauthorised
                | CallFailure::NoAddress,
            )
            | Self::DataplaneSilent
            | Self::NoNextHop
            | Self::OnlyRings => Braking::Unpaid,
            _ => Braking::Paid,
        }
    }

    /// Whether a registrar that has forgotten the line, or was not reachable, explains it.
    #[must_use]
    pub const fn registration_may_help(&self) -> bool {
        matches!(self, Self::Call(CallFailure::Timeout | CallFailure::Status { status: 403 | 404 | 480, .. }))
    }

    /// Stable name.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::NoKey { .. } => "no-key",
            Self::OwnCertificate(_) => "own-certificate",
            Self::WeakFingerprint => "fingerprint-weak",
            Self::StaticQos => "static-qos",
            Self::NoMediaPort => "no-media-port",
            Self::Dial(_) => "dial",
            Self::Call(CallFailure::Status { .. }) => "sip-status",
            Self::Call(CallFailure::Timeout) => "sip-timeout",
            Self::Call(CallFailure::Unauthorised) => "sip-unauthorised",
            Self::Call(CallFailure::BadAnswer(SdpError::MissingBandwidth))
            | Self::Sdp(SdpError::MissingBandwidth) => "sdp-missing-bandwidth",
            Self::Call(CallFailure::BadAnswer(_)) | Self::Sdp(_) => "sdp",
            Self::Call(_) => "sip",
            Self::Ike(IkeError::AuthenticationFailed { .. }) => "ike-authentication-failed",
            Self::Ike(IkeError::FingerprintMismatch { .. } | IkeError::PskFingerprintMismatch { .. }) => {
                "fingerprint-mismatch"
            }
            Self::Ike(IkeError::FingerprintMissing) => "fingerprint-missing",
            Self::Ike(IkeError::CertificateRejected { .. }) => "certificate-rejected",
            Self::Ike(IkeError::PpkMissing | IkeError::PpkUnknown { .. }) => "ppk",
            Self::Ike(IkeError::NoProposalChosen { .. }) => "no-proposal-chosen",
            Self::Ike(IkeError::PeerRestarted) => "peer-restarted",
            Self::Ike(_) => "ike",
            Self::Deadline { evidence: Evidence { wrong_source: Some(_), .. }, .. } => "wrong-source",
            Self::Deadline { .. } => "negotiation-deadline",
            Self::PeerHungUp { .. } => "peer-hung-up",
            Self::Selectors(_) => "selectors",
            Self::PeerClosedIke => "peer-closed-ike",
            Self::PeerEndedEarly { .. } => "peer-ended-early",
            Self::NoChild => "no-child-sa",
            Self::SaLimit => "sa-hard-limit",
            Self::Lost(LostWhy::NoAck) => "sip-no-ack",
            Self::Lost(LostWhy::SessionExpired) => "sip-session-expired",
            Self::Lost(LostWhy::RefreshFailed) => "sip-refresh-failed",
            Self::Lost(LostWhy::MediaChanged) => "sip-media-changed",
            Self::Lost(LostWhy::NoAddress) => "sip-no-address",
            Self::Lost(LostWhy::Undecided) => "sip-undecided",
            Self::DataplaneRejected { .. } => "dataplane-rejected",
            Self::DataplaneGone => "dataplane-gone",
            Self::DataplaneSilent => "dataplane-silent",
            Self::NoNextHop => "no-next-hop",
            Self::OnlyRings => "only-rings",
            Self::Journal => "journal",
            Self::AddressChanged => "address-changed",
            Self::AddressLost => "address-lost",
            Self::Restarted => "restarted",
            Self::GaveWay => "gave-way",
            Self::HardLimit => "hard-limit",
            Self::OneWay { .. } => "one-way",
        }
    }
}

impl From<CallFailure> for SessionFailure {
    fn from(failure: CallFailure) -> Self {
        match failure {
            CallFailure::NotWritten => Self::Journal,
            other => Self::Call(other),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_costs_money_brakes_longer() {
        let paid =
            [SessionFailure::PeerClosedIke, SessionFailure::Call(CallFailure::BadAnswer(SdpError::Refused))];
        for failure in paid {
            assert_eq!(failure.braking(), Braking::Paid, "{failure}");
        }
        assert_eq!(SessionFailure::OnlyRings.braking(), Braking::Unpaid);
        assert_eq!(SessionFailure::Restarted.braking(), Braking::Passing);
    }
}
