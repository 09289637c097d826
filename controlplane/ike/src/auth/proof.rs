//! The two proofs without which no session is up.

use crate::algorithm::Scheme;
use crate::config::PskSlot;
use crate::identity::Identity;
use sipsec_net::Fingerprint;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum AuthMethod {
    /// RFC 7296 §2.15, method 2.
    Psk(PskSlot),
    /// RFC 7427, method 14.
    Signature(Scheme),
}

/// The IKE SA whose IKE_AUTH exchange gave a proof: its SPIs. A rekey inherits the proof, a reauthentication needs another.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ProvenSa {
    pub spi_i: u64,
    pub spi_r: u64,
}

/// The peer's AUTH payload was verified and its identity is the one asked for. Only this crate makes one, for one IKE SA,
/// and it cannot be copied.
#[derive(PartialEq, Eq, Debug)]
pub struct PeerAuthenticated {
    id: Identity,
    method: AuthMethod,
    sa: ProvenSa,
}

impl PeerAuthenticated {
    pub(super) const fn new(id: Identity, method: AuthMethod, sa: ProvenSa) -> Self {
        Self { id, method, sa }
    }

    #[must_use]
    pub const fn sa(&self) -> ProvenSa {
        self.sa
    }

    #[must_use]
    pub fn id(&self) -> &Identity {
        &self.id
    }

    #[must_use]
    pub const fn method(&self) -> AuthMethod {
        self.method
    }

    /// The pre-shared key that the peer has proven.
    #[must_use]
    pub const fn psk(&self) -> Option<PskSlot> {
        match self.method {
            AuthMethod::Psk(slot) => Some(slot),
            AuthMethod::Signature(_) => None,
        }
    }
}

/// How the key that was used for authentication is bound to SDP. Only this crate makes one, for one IKE SA, and it cannot
/// be copied.
#[derive(PartialEq, Eq, Debug)]
pub struct FingerprintMatched {
    basis: FingerprintBasis,
    sa: ProvenSa,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum FingerprintBasis {
    /// The certificate used in IKE is the one announced in SDP (RFC 6193 §7).
    Certificate(Fingerprint),
    /// A certificate of a trusted authority; SDP announced no fingerprint and the policy required none
    /// (RFC 6193 §8.1).
    CertificateNotExchanged,
    /// The pre-shared key is the one whose fingerprint was in SDP (RFC 6193 §8.2).
    PskFingerprint(Fingerprint),
    /// RFC 6193 §8.2: with a pre-shared key no fingerprint need be exchanged, and the policy required none.
    PskNotExchanged,
}

impl FingerprintMatched {
    pub(super) const fn new(basis: FingerprintBasis, sa: ProvenSa) -> Self {
        Self { basis, sa }
    }

    #[must_use]
    pub const fn sa(&self) -> ProvenSa {
        self.sa
    }

    #[must_use]
    pub const fn basis(&self) -> FingerprintBasis {
        self.basis
    }
}
