//! Why a session failed, with a hint for the operator.

use crate::brake::Braking;
use sipsec_ike::{CertError, IkeError};
use sipsec_net::TelNumber;
use sipsec_net::dp::RejectReason;
use sipsec_sip::sdp::SdpError;
use sipsec_sip::{CallFailure, DialError, LostWhy};
use std::fmt;
use std::net::SocketAddr;
use std::time::Duration;

/// What a gateway tells a caller whose number none of its tunnels has.
pub const NO_TUNNEL: &str = "no tunnel has this number";

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
    /// The last IKE message that we sent.
    pub sent: Option<SentIke>,
}

/// An IKE message of ours and how often it was sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SentIke {
    exchange: u8,
    response: bool,
    id: u32,
    /// The whole message, in one datagram or in several fragments (RFC 7383).
    bytes: usize,
    fragments: u32,
    times: u32,
    answered: bool,
}

impl Evidence {
    /// An IKE message leaves (RFC 7296 §3.1: exchange type, flags and message ID; RFC 7383 §2.5: fragment number).
    pub(crate) fn sends(&mut self, message: &[u8]) {
        let Some(header) = IkeHeader::read(message) else { return };
        let last = self.sent.take_if(|s| (s.exchange, s.response, s.id) == header.key());
        let mut sent = last.unwrap_or(SentIke {
            exchange: header.exchange,
            response: header.response,
            id: header.id,
            bytes: 0,
            fragments: 0,
            times: 0,
            answered: false,
        });
        if header.fragment.is_none_or(|n| n == 1) {
            (sent.bytes, sent.fragments) = (0, 0);
            sent.times = sent.times.saturating_add(1);
        }
        sent.bytes += message.len();
        sent.fragments += u32::from(header.fragment.is_some());
        self.sent = Some(sent);
    }

    /// An IKE message comes.
    pub(crate) fn hears(&mut self, message: &[u8]) {
        self.ike_messages_in += 1;
        if let (Some(header), Some(sent)) = (IkeHeader::read(message), &mut self.sent) {
            sent.answered |= header.response && !sent.response && header.id == sent.id;
        }
    }
}

struct IkeHeader {
    exchange: u8,
    response: bool,
    id: u32,
    fragment: Option<u16>,
}

impl IkeHeader {
    /// Encrypted Fragment payload.
    const SKF: u8 = 53;
    const RESPONSE: u8 = 0x20;

    fn read(message: &[u8]) -> Option<Self> {
        let (header, payloads) = message.split_first_chunk::<28>()?;
        let id = u32::from_be_bytes([header[20], header[21], header[22], header[23]]);
        let fragment = match payloads {
            [_, _, _, _, a, b, ..] if header[16] == Self::SKF => Some(u16::from_be_bytes([*a, *b])),
            _ => None,
        };
        Some(Self { exchange: header[18], response: header[19] & Self::RESPONSE != 0, id, fragment })
    }

    const fn key(&self) -> (u8, bool, u32) {
        (self.exchange, self.response, self.id)
    }
}

impl SentIke {
    /// A request of ours that got no answer.
    const fn unanswered(&self) -> bool {
        !self.response && !self.answered
    }

    /// Larger than what passes a path without IP fragmentation.
    const fn is_large(&self) -> bool {
        self.fragments == 0 && self.bytes > 1400
    }
}

impl fmt::Display for SentIke {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.exchange {
            34 => f.write_str("IKE_SA_INIT")?,
            35 => f.write_str("IKE_AUTH")?,
            36 => f.write_str("CREATE_CHILD_SA")?,
            37 => f.write_str("INFORMATIONAL")?,
            43 => f.write_str("IKE_INTERMEDIATE")?,
            other => write!(f, "IKE exchange {other}")?,
        }
        write!(f, " {} ({} bytes", if self.response { "response" } else { "request" }, self.bytes)?;
        if self.fragments > 0 {
            write!(f, " in {} fragments", self.fragments)?;
        }
        match self.times {
            1 => f.write_str(") was sent once")?,
            n => write!(f, ") was sent {n} times")?,
        }
        if self.unanswered() { f.write_str(", no answer came") } else { Ok(()) }
    }
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
            | Self::Lost(LostWhy::NoAddress) => Braking::OwnFault,
            Self::NoKey { .. }
            | Self::OwnCertificate(_)
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
            Self::PeerHungUp { .. } => "peer-hung-up",
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
        }
    }

    /// The SIP status that says best to the other side why we hang up (RFC 3326).
    #[must_use]
    pub const fn told_status(&self) -> u16 {
        match self {
            Self::NoKey { .. } => 403,
            Self::WeakFingerprint | Self::Sdp(_) | Self::Ike(_) => 488,
            Self::Deadline { .. } | Self::OnlyRings => 408,
            Self::AddressChanged | Self::AddressLost | Self::DataplaneGone | Self::NoNextHop => 480,
            Self::HardLimit | Self::PeerClosedIke | Self::PeerHungUp { .. } | Self::PeerEndedEarly { .. } => {
                200
            }
            Self::GaveWay => 486,
            _ => 500,
        }
    }

    /// The same in words for the operator of the other side: what concerns this side alone is left out.
    #[must_use]
    pub fn told(&self) -> String {
        match self {
            Self::NoKey { .. } => "no key or certificate for this number".to_owned(),
            Self::OwnCertificate(_) => "this gateway's certificate cannot be used".to_owned(),
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
            // The far end's own words: the carrier has passed the call on.
            Self::Call(CallFailure::Status { said: Some(said), .. }) if said.text() == NO_TUNNEL => {
                "at the far end, add a tunnel whose remote_number is this tunnel's local_number, and the other way round"
            }
            Self::Call(CallFailure::Status { status: 403, said: Some(_), .. }) => {
                "the far end or the carrier says why it refuses: see there"
            }
            Self::Call(CallFailure::Status { status, .. }) => match status {
                401 | 407 => "check the line's credentials",
                403 => {
                    "at the far end, check that a tunnel has this line's number; here, that the carrier allows the call and that the line's credentials are right"
                }
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
                    "compare with `sipsec pki fingerprint` at the peer: it uses another certificate than its SDP announces, or the SDP was changed on its way"
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
                    "IKE messages do not reach the peer, or its answers do not reach us: check the carrier's media path"
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
                } else if evidence.sent.as_ref().is_some_and(|s| s.unanswered() && s.is_large()) {
                    "the path may drop IP fragments: turn ike.fragmentation on at both ends"
                } else {
                    "check the peer's IKE configuration (key-id, psk) and that the carrier passes the media port"
                }
            }
            Self::PeerHungUp { evidence: Some(e), .. }
                if e.sent.as_ref().is_some_and(|s| s.unanswered() && s.is_large()) =>
            {
                "the path may drop IP fragments: turn ike.fragmentation on at both ends"
            }
            Self::PeerHungUp { .. } | Self::PeerClosedIke | Self::PeerEndedEarly { .. } | Self::NoChild => {
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
            Self::AddressChanged => {
                "the next packet calls again; if it happens often, see the WAN's DHCP or PPP"
            }
            Self::AddressLost => "check the WAN interface; calls are possible again once it has an address",
            Self::Restarted => "see the log of the run before (journalctl)",
            Self::GaveWay => "nothing is to be done: the peer's call is the session",
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
        }
    }
}

/// The last IKE message that we sent.
fn sent(f: &mut fmt::Formatter<'_>, evidence: &Evidence) -> fmt::Result {
    evidence.sent.as_ref().map_or(Ok(()), |sent| write!(f, "; {sent}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(exchange: u8, flags: u8, id: u32, len: usize, fragment: Option<u16>) -> Vec<u8> {
        let mut m = vec![0; len];
        m[16] = if fragment.is_some() { 53 } else { 46 };
        (m[18], m[19]) = (exchange, flags);
        m[20..24].copy_from_slice(&id.to_be_bytes());
        if let Some(n) = fragment {
            m[32..34].copy_from_slice(&n.to_be_bytes());
        }
        m
    }

    #[test]
    fn what_was_sent_without_an_answer_is_told() {
        let mut e = Evidence::default();
        e.sends(&message(34, 0x08, 0, 300, None));
        e.hears(&message(34, 0x20, 0, 300, None));
        assert_eq!(
            e.sent.as_ref().expect("sent").to_string(),
            "IKE_SA_INIT request (300 bytes) was sent once"
        );
        for _ in 0..7 {
            e.sends(&message(35, 0x08, 1, 2084, None));
        }
        let sent = e.sent.clone().expect("sent");
        assert_eq!(sent.to_string(), "IKE_AUTH request (2084 bytes) was sent 7 times, no answer came");
        let failure = SessionFailure::PeerHungUp { said: None, evidence: Some(Box::new(e)) };
        assert!(failure.cure().contains("fragment"));
        assert!(failure.to_string().ends_with("was sent 7 times, no answer came"), "{failure}");

        let mut e = Evidence::default();
        for _ in 0..2 {
            for n in 1..=3 {
                e.sends(&message(35, 0x08, 1, 700, Some(n)));
            }
        }
        let sent = e.sent.expect("sent").to_string();
        assert_eq!(sent, "IKE_AUTH request (2100 bytes in 3 fragments) was sent 2 times, no answer came");
        let mut e = Evidence::default();
        e.sends(&[0; 27]);
        e.hears(&[]);
        assert_eq!((e.sent, e.ike_messages_in), (None, 1));
    }

    #[test]
    fn what_costs_money_brakes_longer() {
        let paid =
            [SessionFailure::PeerClosedIke, SessionFailure::Call(CallFailure::BadAnswer(SdpError::Refused))];
        for failure in paid {
            assert_eq!(failure.braking(), Braking::Paid, "{failure}");
        }
        assert_eq!(SessionFailure::OnlyRings.braking(), Braking::Unpaid);
        assert_eq!(SessionFailure::Restarted.braking(), Braking::OwnFault);
    }
}
