//! Work too heavy for the event loop. A job is pure: the shell runs it anywhere and brings the outcome back.

mod ecdh;
mod kem;
mod modp;

use crate::algorithm::DhGroup;
use crate::auth::{FingerprintMatched, PeerAuthenticated};
pub use crate::auth::{SignJob, VerifyJob};
use crate::error::IkeError;
pub use crate::secret::Secret;

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct JobId(pub u64);

#[derive(Debug)]
pub enum Job {
    /// Our public value from a private one.
    DhGenerate { group: DhGroup, private: Secret },
    /// The shared secret.
    DhAgree { group: DhGroup, private: Secret, peer_public: Vec<u8> },
    /// Both, for the side that answers.
    DhRespond { group: DhGroup, private: Secret, peer_public: Vec<u8> },
    /// Our AUTH payload.
    Sign(Box<SignJob>),
    /// The peer's certificate and AUTH payload.
    Verify(Box<VerifyJob>),
}

#[derive(Debug)]
pub enum Outcome {
    DhGenerated {
        public: Vec<u8>,
    },
    DhAgreed {
        shared: Secret,
    },
    DhResponded {
        public: Vec<u8>,
        shared: Secret,
    },
    /// Method and data of our AUTH payload.
    Signed {
        method: u8,
        data: Vec<u8>,
    },
    SignFailed,
    /// Both proofs, or why there are none.
    Verified(Box<Result<(PeerAuthenticated, FingerprintMatched), IkeError>>),
    /// The peer's value is not of the group.
    BadPeerValue,
    /// Our private value is unusable (chance below 2⁻³² for random bytes).
    BadPrivateValue,
    /// The job came to no end.
    Failed,
}

/// What can be wrong with a key exchange.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum DhError {
    PeerValue,
    PrivateValue,
}

impl Job {
    #[must_use]
    pub fn run(self) -> Outcome {
        let outcome = match self {
            Self::Sign(job) => return job.run(),
            Self::Verify(job) => return Outcome::Verified(Box::new(job.run())),
            Self::DhGenerate { group, private } => {
                public(group, &private).map(|public| Outcome::DhGenerated { public })
            }
            Self::DhAgree { group, private, peer_public } => {
                agree(group, &private, &peer_public).map(|shared| Outcome::DhAgreed { shared })
            }
            Self::DhRespond { group, private, peer_public } => respond(group, &private, &peer_public)
                .map(|(public, shared)| Outcome::DhResponded { public, shared }),
        };
        outcome.unwrap_or_else(|e| match e {
            DhError::PeerValue => Outcome::BadPeerValue,
            DhError::PrivateValue => Outcome::BadPrivateValue,
        })
    }
}

fn public(group: DhGroup, private: &Secret) -> Result<Vec<u8>, DhError> {
    match group {
        DhGroup::Modp1024 | DhGroup::Modp1536 | DhGroup::Modp2048 | DhGroup::Modp3072 | DhGroup::Modp4096 => {
            modp::public(group, private)
        }
        DhGroup::MlKem512 | DhGroup::MlKem768 | DhGroup::MlKem1024 => kem::public(group, private),
        _ => ecdh::public(group, private),
    }
}

fn agree(group: DhGroup, private: &Secret, peer: &[u8]) -> Result<Secret, DhError> {
    if peer.len() != group.answer_len() {
        return Err(DhError::PeerValue);
    }
    match group {
        DhGroup::Modp1024 | DhGroup::Modp1536 | DhGroup::Modp2048 | DhGroup::Modp3072 | DhGroup::Modp4096 => {
            modp::agree(group, private, peer)
        }
        DhGroup::MlKem512 | DhGroup::MlKem768 | DhGroup::MlKem1024 => kem::agree(group, private, peer),
        _ => ecdh::agree(group, private, peer),
    }
}

fn respond(group: DhGroup, private: &Secret, peer: &[u8]) -> Result<(Vec<u8>, Secret), DhError> {
    if matches!(group, DhGroup::MlKem512 | DhGroup::MlKem768 | DhGroup::MlKem1024) {
        return kem::respond(group, private, peer);
    }
    let public = public(group, private)?;
    Ok((public, agree(group, private, peer)?))
}
