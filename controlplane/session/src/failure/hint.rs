//! What an operator can do about a failure.

use super::{NO_TUNNEL, SessionFailure};
use sipsec_ike::{CertError, IkeError, Party};
use sipsec_sip::{CallFailure, LostWhy};

impl SessionFailure {
    /// What to do about it.
    #[must_use]
    pub fn cure(&self) -> &'static str {
        match self {
            Self::NoKey { .. } => "add the number to ike.keyring",
            Self::OwnCertificate(_) => "see `sipsec check`: the certificate of this keyring entry",
            Self::WeakFingerprint => {
                "have the peer announce a=fingerprint with sha-256; for a router that cannot, write `peer: cisco` in its keyring entry"
            }
            Self::StaticQos => {
                "write `qos.mode: compose`, which puts the policy inside the negotiated rate, or take `qos` out of the tunnel"
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
            Self::Call(CallFailure::Timeout) => {
                "no answer from the carrier: check the WAN and sip.registrar; where REGISTER is answered, the carrier loses \
                 calls from this address: check sip.call_family and wan.ipv6"
            }
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
                IkeError::TsUnacceptable { by: Party::Peer } => {
                    "the peer does not narrow what we offer (everything) to its own networks: for libreswan write `narrowing=yes` in its connection"
                }
                IkeError::TsUnacceptable { by: Party::Us } => {
                    "the two ends have no addresses in common: compare `routes` at both, IPv4 and IPv6"
                }
                IkeError::PpkMissing | IkeError::PpkUnknown { .. } => {
                    "give both ends the same ppk and ppk_id, or write `ppk_required: false` until both have it"
                }
                IkeError::PeerRestarted => {
                    "the peer's control plane has started anew: see its log; the next packet places a call"
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
            Self::Selectors(_) => {
                "give the peer's connection the networks in this tunnel's `routes`, or correct `routes`"
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
            Self::OneWay { .. } => {
                "the carrier's relay or the peer's policy drops one direction: compare the packet counts of both ends, and the routes behind the peer"
            }
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
