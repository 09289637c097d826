//! Why an endpoint failed or ended. Says whose fault it is and, where it helps, both sides' values; never a secret.

use crate::algorithm::DhGroup;
use crate::identity::Identity;
use crate::wire::NotifyType;
use core::fmt;
use core::time::Duration;
use sipsec_net::Fingerprint;
use sipsec_net::dp::SELECTORS_MAX;

/// Which side found the fault.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Party {
    Us,
    Peer,
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub enum IkeError {
    /// No suite suits both. `theirs` is what the peer offered, when it was the peer's offer.
    NoProposalChosen { by: Party, ours: String, theirs: String },
    /// The peer wants a key exchange group that we did not offer or have tried already.
    GroupRefused { ours: DhGroup, wanted: u16 },
    /// The AUTH payload did not verify: mostly a different pre-shared key.
    AuthenticationFailed { by: Party },
    /// The proof holds, but for another identity.
    IdentityMismatch { expected: Identity, got: Identity },
    /// The peer uses another authentication method than agreed.
    AuthMethodMismatch { method: u8 },
    /// The key used in IKE is not the one announced in SDP (RFC 6193 §7).
    FingerprintMismatch { expected: Vec<Fingerprint>, got: Fingerprint },
    /// The pre-shared key announced in SDP is not ours. Found before anything is sent.
    PskFingerprintMismatch { expected: Vec<Fingerprint>, ours: Fingerprint },
    /// The peer's certificate is not believed.
    CertificateRejected { error: CertError, subject: String },
    /// The peer verifies no signature that our key can make, or uses one that we do not verify (RFC 7427 §4).
    NoCommonSignature { by: Party },
    /// The profile requires a PPK (RFC 8784) and the peer uses none, or does not say which.
    PpkMissing,
    /// The peer's PPK is not ours, and one of the two profiles requires it.
    PpkUnknown { ours: String, theirs: String },
    /// The policy requires a fingerprint and SDP had none that we verify.
    FingerprintMissing,
    /// No traffic selectors suit both.
    TsUnacceptable { by: Party },
    /// The answer is in order, but has more separate address ranges than an SA of ours can hold.
    TooManySelectors { got: usize },
    /// A payload that we must understand and do not (RFC 7296 §2.5).
    UnsupportedCriticalPayload { payload: u8 },
    /// The peer's message breaks the protocol.
    ProtocolViolation(Violation),
    /// The peer answered with an error that has no name of its own here.
    PeerNotify { notify: u16 },
    /// No answer to a request.
    NoResponse(Unanswered),
    /// The peer has lost the IKE SA, and has proven it (RFC 6290).
    PeerRestarted,
    /// The peer speaks another major version of IKE.
    PeerVersion { major: u8 },
    /// The peer asks for cookies or groups without end.
    TooManyRestarts { restarts: u32 },
    /// The peer's key exchange value is not of its group (RFC 5903 §9, RFC 8031 §5).
    BadKeyExchange { group: DhGroup },
    /// The peer asks for an address inside our network (RFC 7296 §2.19); both ends of VPN-SIP have their own.
    AddressWanted,
    /// The peer assigns addresses and wants to be asked for one (RFC 7296 §2.19).
    AddressDemanded,
    /// The peer answered IKE_AUTH without a CHILD_SA.
    NoChildSa { notify: u16 },
    /// The dataplane refused the SAs.
    InstallRejected,
    /// The profile asks for something that cannot be done.
    BadConfig(BadConfig),
}

/// A request of ours that has no answer yet, as the log and a failure show it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Unanswered {
    pub exchange: &'static str,
    /// Length of the message, without the marker; of all its fragments together.
    pub bytes: usize,
    /// 1 for a message that is not fragmented (RFC 7383).
    pub fragments: usize,
    pub transmissions: u32,
    pub waited: Duration,
}

/// A UDP payload that most paths carry in one packet: 1500 bytes less IPv4, UDP and the marker, and something for PPPoE.
const ONE_PACKET: usize = 1450;

impl Unanswered {
    /// The message is longer than a packet and is not cut by IKE, so that it depends on IP fragments, which many carriers
    /// drop.
    #[must_use]
    pub const fn is_oversize(&self) -> bool {
        self.fragments == 1 && self.bytes > ONE_PACKET
    }
}

impl fmt::Display for Unanswered {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { exchange, bytes, fragments, transmissions, waited } = self;
        write!(f, "no answer to {exchange} ({bytes} bytes")?;
        if *fragments > 1 {
            write!(f, " in {fragments} fragments")?;
        }
        write!(f, "): sent {transmissions} times in {waited:.1?}")
    }
}

/// What is wrong with a certificate.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum CertError {
    Malformed,
    /// Neither RSA, P-256, P-384, P-521 nor Ed25519.
    UnsupportedKey,
    /// SHA-1 or MD5.
    WeakSignature,
    /// keyUsage lacks digitalSignature, or extendedKeyUsage is for something else.
    KeyUsage,
    CriticalExtension,
    /// It signed itself, and the policy takes only what an authority issued.
    SelfSigned,
    /// Issuer and subject are the same, but it is not signed with its own key.
    SelfSignature,
    CaAsEndEntity,
    UnknownIssuer,
    /// A link of the path fails otherwise (name constraints, path length, a signature).
    Path,
    NotYetValid,
    Expired,
    Revoked,
    /// No list says that it is not revoked, and the policy fails closed.
    RevocationUnknown,
    /// No certificate map accepts it.
    Map,
    /// The identity is none of its names, and neither a fingerprint nor a map binds it to the call.
    Identity,
    /// One of our anchors is no certificate.
    BadAnchor,
    /// One of our revocation lists is none.
    BadCrl,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Violation {
    /// A payload that must be there is missing.
    MissingPayload(&'static str),
    /// A payload or message that does not parse.
    Malformed(&'static str),
    /// A value that was not among those offered.
    NotOffered(&'static str),
    BadNonceLength(usize),
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum BadConfig {
    NoIkeProposal,
    NoEspProposal,
    NoTrafficSelectors,
    TooManyTrafficSelectors,
    FragmentTooSmall,
    EmptyPsk,
    /// Without a key, or with an identity that is empty or too long.
    BadPpk,
    NoCertificate,
    /// The certificate is of another key.
    KeyMismatch,
    /// Neither self-signed certificates nor an authority are trusted.
    NoTrust,
}

/// Why an SA ended without fault.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum CloseCause {
    /// No data for the idle time.
    Idle,
    /// The SIP call ended.
    CallEnded,
    /// An operator asked.
    Admin,
    Shutdown,
    /// The call's deadline passed before the tunnel was up.
    Deadline,
    /// The peer sent DELETE for the IKE SA.
    PeerDeleted,
    /// Its last CHILD_SA went.
    NoChild,
    /// A hard limit was reached before a rekey succeeded.
    HardLimit,
}

impl fmt::Display for Party {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Us => "we",
            Self::Peer => "the peer",
        })
    }
}

impl fmt::Display for IkeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoProposalChosen { by, ours, theirs } if theirs.is_empty() => {
                write!(f, "no proposal chosen ({by} refused); ours: {ours}")
            }
            Self::NoProposalChosen { by, ours, theirs } => {
                write!(f, "no proposal chosen ({by} refused); ours: {ours}; theirs: {theirs}")
            }
            Self::GroupRefused { ours, wanted } => {
                write!(f, "key exchange group {} refused, the peer wants group {wanted}", ours.name())
            }
            Self::AuthenticationFailed { by: Party::Us } => {
                f.write_str("the peer's authentication does not verify: different pre-shared keys?")
            }
            Self::AuthenticationFailed { by: Party::Peer } => {
                f.write_str("the peer does not accept our authentication: different key or identity?")
            }
            Self::IdentityMismatch { expected, got } => {
                write!(f, "the peer is {got}, expected {expected}")
            }
            Self::AuthMethodMismatch { method } => {
                write!(f, "the peer used authentication method {method}, which was not agreed")
            }
            Self::FingerprintMismatch { expected, got } => {
                write!(f, "the peer's key is {got}, SDP announced {expected:?}")
            }
            Self::PskFingerprintMismatch { expected, ours } => {
                write!(f, "different pre-shared keys: ours is {ours}, SDP announced {expected:?}")
            }
            Self::CertificateRejected { error, subject } => {
                write!(f, "the peer's certificate ({}) is not accepted: {error}", subject.escape_debug())
            }
            Self::NoCommonSignature { by: Party::Us } => {
                f.write_str("the peer signs with an algorithm that we do not verify")
            }
            Self::NoCommonSignature { by: Party::Peer } => {
                f.write_str("the peer verifies no signature that our key can make")
            }
            Self::PpkMissing => f.write_str("the profile requires a PPK, and the peer uses none"),
            Self::PpkUnknown { ours, theirs } => {
                write!(f, "the peer uses the PPK `{theirs}`, ours is `{ours}`")
            }
            Self::FingerprintMissing => f.write_str("SDP announced no fingerprint that we verify"),
            Self::TsUnacceptable { by } => write!(f, "traffic selectors do not overlap ({by} refused)"),
            Self::TooManySelectors { got } => {
                write!(f, "the peer answered with {got} separate address ranges, an SA holds {SELECTORS_MAX}")
            }
            Self::UnsupportedCriticalPayload { payload } => {
                write!(f, "critical payload {payload} is not supported")
            }
            Self::ProtocolViolation(v) => write!(f, "protocol violation: {v:?}"),
            Self::PeerNotify { notify } => {
                write!(f, "the peer reported {} ({notify})", NotifyType(*notify).error_name())
            }
            Self::NoResponse(unanswered) => write!(f, "{unanswered}"),
            Self::PeerRestarted => {
                f.write_str("the peer has restarted: it does not know the IKE SA any more")
            }
            Self::PeerVersion { major } => write!(f, "the peer speaks IKE version {major}, we speak 2"),
            Self::TooManyRestarts { restarts } => write!(f, "IKE_SA_INIT restarted {restarts} times"),
            Self::BadKeyExchange { group } => write!(f, "the peer's {} value is invalid", group.name()),
            Self::AddressWanted => f.write_str(
                "the peer asks for an address of our network: turn the configuration request off there",
            ),
            Self::AddressDemanded => {
                f.write_str("the peer demands that we ask for an address: turn its address assignment off")
            }
            Self::NoChildSa { notify } => {
                let name = NotifyType(*notify).error_name();
                write!(f, "the peer authenticated but refused the CHILD_SA: {name} ({notify})")
            }
            Self::InstallRejected => f.write_str("the dataplane refused the SA"),
            Self::BadConfig(b) => write!(f, "configuration: {b:?}"),
        }
    }
}

impl std::error::Error for IkeError {}

impl fmt::Display for CertError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Malformed => "it is malformed",
            Self::UnsupportedKey => "its key is neither RSA, P-256, P-384, P-521 nor Ed25519",
            Self::WeakSignature => "it is signed with an algorithm that is not trusted (SHA-1 or MD5)",
            Self::KeyUsage => "its key usage does not allow to sign",
            Self::CriticalExtension => "it has a critical extension that is not understood",
            Self::SelfSigned => "it signs itself, and only certificates of an authority are trusted",
            Self::SelfSignature => "it names itself as issuer, but is not signed with its own key",
            Self::CaAsEndEntity => "it is the certificate of an authority",
            Self::UnknownIssuer => "no trusted authority issued it",
            Self::Path => "the path to its authority does not hold",
            Self::NotYetValid => "it is not valid yet",
            Self::Expired => "it has expired",
            Self::Revoked => "it is revoked",
            Self::RevocationUnknown => "no current revocation list covers it",
            Self::Map => "no certificate map accepts it",
            Self::Identity => "the identity is none of its names",
            Self::BadAnchor => "one of our authorities' certificates cannot be used",
            Self::BadCrl => "one of our revocation lists cannot be used",
        })
    }
}

impl fmt::Display for CloseCause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Idle => "idle",
            Self::CallEnded => "call ended",
            Self::Admin => "cleared by the operator",
            Self::Shutdown => "shutdown",
            Self::Deadline => "negotiation deadline",
            Self::PeerDeleted => "deleted by the peer",
            Self::NoChild => "no CHILD_SA left",
            Self::HardLimit => "hard lifetime",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failures_say_what_was_seen() {
        let seen = |fragments, bytes| {
            IkeError::NoResponse(Unanswered {
                exchange: "IKE_AUTH",
                bytes,
                fragments,
                transmissions: 7,
                waited: Duration::from_millis(15_900),
            })
        };
        let text = |e: IkeError| e.to_string();
        assert_eq!(text(seen(1, 2084)), "no answer to IKE_AUTH (2084 bytes): sent 7 times in 15.9s");
        assert_eq!(
            text(seen(2, 2400)),
            "no answer to IKE_AUTH (2400 bytes in 2 fragments): sent 7 times in 15.9s"
        );
        let oversize = |e| matches!(e, IkeError::NoResponse(u) if u.is_oversize());
        assert!(oversize(seen(1, 2084)) && !oversize(seen(2, 2084)) && !oversize(seen(1, 1200)));
        assert_eq!(text(IkeError::PeerNotify { notify: 5 }), "the peer reported INVALID_MAJOR_VERSION (5)");
        let refused = text(IkeError::NoChildSa { notify: 35 });
        assert!(refused.ends_with("NO_ADDITIONAL_SAS (35)"), "{refused}");
    }
}
