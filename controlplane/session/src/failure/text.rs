//! A failure in words, for the log and `show`.

use super::{Evidence, SessionFailure};
use sipsec_sip::{CallFailure, LostWhy};
use std::fmt;

impl fmt::Display for SessionFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoKey { number, closest: Some(c) } => {
                write!(f, "no PSK or certificate for number {number}; closest entry {c}")
            }
            Self::NoKey { number, closest: None } => write!(f, "no PSK or certificate for number {number}"),
            Self::OwnCertificate(e) => write!(f, "our certificate cannot be used: {e}"),
            Self::WeakFingerprint => f.write_str("the SDP has no fingerprint but SHA-1"),
            Self::StaticQos => f.write_str(
                "the tunnel has a static QoS policy, with which a VPN-SIP session is not possible in IOS",
            ),
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
                    f.write_str("no IKE message came from the peer")
                } else if evidence.ike_messages_in == 1 {
                    f.write_str("1 IKE message came, it did not complete the negotiation")
                } else {
                    write!(
                        f,
                        "{} IKE messages came, none completed the negotiation",
                        evidence.ike_messages_in
                    )
                }?;
                sent(f, evidence)
            }
            Self::PeerHungUp { said, evidence } => {
                f.write_str("the peer hung up before the SA was up")?;
                if let Some(text) = said {
                    write!(f, ": {text}")?;
                }
                evidence.as_ref().map_or(Ok(()), |e| sent(f, e))
            }
            Self::PeerClosedIke => f.write_str("the peer closed IKE"),
            Self::PeerEndedEarly { lasted, said } => {
                write!(f, "the peer ended the session {} s after it was up", lasted.as_secs())?;
                said.as_ref().map_or(Ok(()), |text| write!(f, ": {text}"))
            }
            Self::Selectors(narrowed) => write!(f, "{narrowed}"),
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
            Self::AddressLost => f.write_str("the WAN lost its address during the call"),
            Self::GaveWay => f.write_str("both sides called at once, and the peer's call was kept"),
            Self::Restarted => f.write_str("this gateway's control plane ended with the call up"),
            Self::HardLimit => f.write_str("the call reached its longest duration"),
            Self::OneWay { lasted } => {
                write!(f, "one way: packets left the tunnel for {} s and none came", lasted.as_secs())
            }
        }
    }
}

/// The last IKE message that we sent.
fn sent(f: &mut fmt::Formatter<'_>, evidence: &Evidence) -> fmt::Result {
    evidence.sent.as_ref().map_or(Ok(()), |sent| write!(f, "; {sent}"))
}
