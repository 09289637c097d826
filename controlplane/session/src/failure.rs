//! Why a session ended against its will, with the cure.

use sipsec_ike::{CertError, IkeError};
use sipsec_net::TelNumber;
use sipsec_net::dp::RejectReason;
use sipsec_sip::sdp::SdpError;
use sipsec_sip::{CallFailure, DialError, LostWhy};
use std::fmt;
use std::net::SocketAddr;
use std::time::Duration;

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SessionFailure {
    /// T3 of the seed, found before it costs anything.
    NoKey {
        number: TelNumber,
        closest: Option<TelNumber>,
    },
    /// Our own certificate cannot be used.
    OwnCertificate(CertError),
    /// SDP has SHA-1 fingerprints alone, which count for a peer of kind `cisco` only.
    WeakFingerprint,
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
    /// The peer ended the call before the SA was up.
    PeerHungUp,
    /// The peer closed IKE while the call was up.
    PeerClosedIke,
    /// The session was up, and the peer ended it at once although it carried data.
    PeerEndedEarly {
        lasted: Duration,
    },
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
    HardLimit,
}

/// What was seen while waiting for IKE.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Evidence {
    /// The media port was open in the dataplane.
    pub port_open: bool,
    pub next_hop_known: bool,
    pub ike_messages_in: u64,
    /// IKE or ESP came from here instead of the address in SDP.
    pub wrong_source: Option<SocketAddr>,
    pub expected_source: Option<SocketAddr>,
    /// An offer in clear that we refused.
    pub refused: Option<(String, String)>,
}

impl SessionFailure {
    /// Whether another call now would most likely end alike; if not, the next packet may call at once.
    #[must_use]
    pub const fn is_lasting(&self) -> bool {
        !matches!(self, Self::AddressChanged | Self::DataplaneGone | Self::Lost(LostWhy::NoAddress))
    }

    /// Stable name.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::NoKey { .. } => "no-key",
            Self::OwnCertificate(_) => "own-certificate",
            Self::WeakFingerprint => "fingerprint-weak",
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
            Self::Ike(_) => "ike",
            Self::Deadline { evidence: Evidence { wrong_source: Some(_), .. }, .. } => "wrong-source",
            Self::Deadline { .. } => "negotiation-deadline",
            Self::PeerHungUp => "peer-hung-up",
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
            Self::HardLimit => "hard-limit",
        }
    }

    /// What to do about it.
    #[must_use]
    pub fn cure(&self) -> &'static str {
        match self {
            Self::NoKey { .. } => "add the number to ike.keyring",
            Self::OwnCertificate(_) => "see `sipsec check`: the certificate of this keyring entry",
            Self::WeakFingerprint => {
                "have the peer announce a=fingerprint with sha-256; for a router that cannot, write `peer: cisco` in its keyring entry"
            }
            Self::NoMediaPort => "widen media.ports",
            Self::Dial(_) => "see show vpn-sip registration-status",
            Self::Call(CallFailure::Status { status, .. }) => match status {
                401 | 403 | 407 => "check the line's credentials and that the carrier allows the call",
                404 | 484 | 604 => "check remote_number: the carrier does not know it",
                408 | 480 => "the peer is not registered: check its line",
                486 | 600 => "the peer's line is busy",
                488 | 606 => "the peer or the carrier refuses the VPN media: compare both profiles",
                503 => "the carrier is overloaded; the next try waits",
                _ => "look up the SIP status with the carrier",
            },
            Self::Call(CallFailure::Timeout) => "no answer from the carrier: check the WAN and sip.registrar",
            Self::Call(CallFailure::BadAnswer(e)) | Self::Sdp(e) => e.cure(),
            Self::Call(_) => "see the peer's log",
            Self::Ike(e) => match e {
                IkeError::AuthenticationFailed { .. } => {
                    "give both ends the same psk for each other's number; with certificates, see the log of the side that refused"
                }
                IkeError::PskFingerprintMismatch { .. } => {
                    "give both ends the same psk for each other's number"
                }
                IkeError::FingerprintMismatch { .. } => {
                    "compare with `sipsec pki fingerprint` at the peer: it uses another certificate than its SDP announces, or somebody changed the SDP"
                }
                IkeError::CertificateRejected { error, .. } => certificate_cure(*error),
                IkeError::AuthMethodMismatch { .. } | IkeError::NoCommonSignature { .. } => {
                    "use a psk at both ends or certificates at both"
                }
                IkeError::IdentityMismatch { .. } => "have the peer present its number as key-id",
                IkeError::FingerprintMissing => {
                    "with certificates the peer must announce a=fingerprint; with a psk, turn psk_fingerprint on at both ends or off at both"
                }
                IkeError::NoProposalChosen { .. } => "allow a common proposal at both ends",
                IkeError::PpkMissing | IkeError::PpkUnknown { .. } => {
                    "give both ends the same ppk and ppk_id, or write `ppk_required: false` until both have it"
                }
                IkeError::NoResponse(unanswered) if unanswered.is_oversize() => {
                    "the message is longer than a packet and the path drops IP fragments: write `fragmentation: true` at both ends"
                }
                IkeError::NoResponse(_) => {
                    "IKE does not reach the peer or its answer not us: check the carrier's media path"
                }
                _ => "see the peer's log",
            },
            Self::Deadline { evidence, .. } => {
                if evidence.wrong_source.is_some() {
                    "a NAT or relay rewrites the media: its SDP must name the address that sends"
                } else if evidence.refused.is_some() {
                    "allow a common IKE proposal at both ends"
                } else if evidence.next_hop_known && !evidence.port_open {
                    "see the log of sipsec-dataplane"
                } else if !evidence.next_hop_known {
                    "there is no route or neighbour towards the peer's media address"
                } else {
                    "check the peer's IKE configuration (key-id, psk) and that the carrier passes the media port"
                }
            }
            Self::PeerHungUp | Self::PeerClosedIke | Self::PeerEndedEarly { .. } | Self::NoChild => {
                "see the peer's log"
            }
            Self::SaLimit => {
                "see the peer's log: it did not answer the rekeying; or raise ike.lifetime at both ends"
            }
            Self::Lost(LostWhy::NoAck) => {
                "the caller's ACK does not arrive: check the carrier's path to this gateway"
            }
            Self::Lost(LostWhy::SessionExpired | LostWhy::RefreshFailed) => {
                "the peer or the carrier lost the call: check both ends' WAN, and sip.session_expires_s"
            }
            Self::Lost(LostWhy::MediaChanged) => {
                "RFC 6193 section 5.2: the VPN stays as it is for a whole call; see the peer's log, or ask the carrier"
            }
            Self::Lost(LostWhy::NoAddress) => "check the WAN interface",
            Self::Lost(LostWhy::Undecided) => "see this gateway's log",
            Self::DataplaneRejected { .. } => {
                "a limit of the dataplane is reached or its state is stale: see its log"
            }
            Self::DataplaneGone => "start sipsec-dataplane",
            Self::DataplaneSilent => "see the log of sipsec-dataplane",
            Self::OnlyRings => "see the peer's log: its gateway has the call and does not take it",
            Self::NoNextHop => "add a route to the carrier on the WAN interface",
            Self::Journal => "the state directory cannot be written: check the disk",
            Self::AddressChanged => "the WAN address changed; the next packet calls again",
            Self::HardLimit => "raise `call_max_s` of the tunnel",
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

const fn certificate_cure(error: CertError) -> &'static str {
    match error {
        CertError::SelfSigned => "set trust.self_signed, or have the peer use a certificate of an authority",
        CertError::UnknownIssuer | CertError::Path => {
            "add the peer's authority to trust.ca, or have the peer send its intermediate certificates"
        }
        CertError::Expired | CertError::NotYetValid => {
            "renew the peer's certificate, or set this gateway's clock: see `date`"
        }
        CertError::Revoked => "the peer needs a new certificate; its authority has revoked this one",
        CertError::RevocationUnknown => {
            "fetch the authority's current revocation list into trust.crl.files and reload, or write `fail: open`"
        }
        CertError::Map => "correct trust.maps, or have the peer use a certificate that they accept",
        CertError::BadAnchor | CertError::BadCrl => "see `sipsec check`: the files of trust",
        _ => "give the peer a new certificate: `sipsec pki self-signed` or `sipsec pki csr`",
    }
}

impl fmt::Display for SessionFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoKey { number, closest: Some(c) } => {
                write!(f, "no PSK or certificate for number {number}; closest entry {c}")
            }
            Self::NoKey { number, closest: None } => write!(f, "no PSK or certificate for number {number}"),
            Self::OwnCertificate(e) => write!(f, "our certificate cannot be used: {e}"),
            Self::WeakFingerprint => f.write_str("the SDP has no fingerprint but SHA-1"),
            Self::NoMediaPort => f.write_str("no free media port"),
            Self::Dial(e) => write!(f, "{e}"),
            Self::Call(c) => match c {
                CallFailure::Status { status, reason, said, retry_after_s } => {
                    write!(f, "call refused: {status} {reason}")?;
                    if let Some(said) = said {
                        write!(f, ": {said}")?;
                    }
                    match retry_after_s {
                        Some(s) => write!(f, " (retry after {s} s)"),
                        None => Ok(()),
                    }
                }
                CallFailure::Timeout => f.write_str("no final answer to the INVITE"),
                CallFailure::BadAnswer(e) => write!(f, "answer: {e}"),
                CallFailure::Cancelled => f.write_str("call cancelled"),
                CallFailure::Unauthorised => {
                    f.write_str("the carrier does not accept the line's credentials")
                }
                CallFailure::NoAddress => f.write_str("the WAN interface has no address"),
                CallFailure::NotWritten => f.write_str("the call journal was not written in time"),
            },
            Self::Sdp(e) => write!(f, "{e}"),
            Self::Ike(e) => write!(f, "IKE: {e}"),
            Self::Deadline { waited, evidence } => {
                write!(f, "no SA within {} s of the answer: ", waited.as_secs())?;
                if let (Some(from), Some(want)) = (evidence.wrong_source, evidence.expected_source) {
                    write!(f, "packets came from {from}, SDP said {want}")
                } else if let Some((ours, theirs)) = &evidence.refused {
                    write!(f, "no common IKE proposal; ours: {ours}; theirs: {theirs}")
                } else if !evidence.next_hop_known {
                    f.write_str("the next hop towards the peer is not known")
                } else if !evidence.port_open {
                    f.write_str("the dataplane did not open the media port")
                } else if evidence.ike_messages_in == 0 {
                    f.write_str("not one IKE message came from the peer")
                } else {
                    write!(
                        f,
                        "{} IKE messages came, none completed the negotiation",
                        evidence.ike_messages_in
                    )
                }
            }
            Self::PeerHungUp => f.write_str("the peer hung up before the SA was up"),
            Self::PeerClosedIke => f.write_str("the peer closed IKE"),
            Self::PeerEndedEarly { lasted } => {
                write!(f, "the peer ended the session {} s after it was up", lasted.as_secs())
            }
            Self::NoChild => f.write_str("the peer removed the last CHILD_SA and made no other"),
            Self::SaLimit => f.write_str("an SA reached its hard limit before another took its place"),
            Self::Lost(why) => f.write_str(match why {
                LostWhy::NoAck => "no ACK came for our 200",
                LostWhy::SessionExpired => "the SIP session was not refreshed and expired",
                LostWhy::RefreshFailed => "the SIP session could not be refreshed",
                LostWhy::MediaChanged => {
                    "the SDP of the peer moved, changed or refused the VPN during the call"
                }
                LostWhy::NoAddress => "the WAN lost its address before the call was answered",
                LostWhy::Undecided => "the call was not decided on in time",
            }),
            Self::DataplaneRejected { reason } => write!(f, "the dataplane refused: {reason:?}"),
            Self::DataplaneGone => f.write_str("the dataplane is gone"),
            Self::DataplaneSilent => f.write_str("the dataplane did not open the media port"),
            Self::OnlyRings => f.write_str("the called side rings and does not answer"),
            Self::NoNextHop => f.write_str("no way to the peer's media address"),
            Self::Journal => f.write_str("the call journal cannot be written"),
            Self::AddressChanged => f.write_str("the WAN address changed during the call"),
            Self::HardLimit => f.write_str("the call reached its longest duration"),
        }
    }
}
