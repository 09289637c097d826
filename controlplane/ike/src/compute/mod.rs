//! Work too heavy for the event loop. A job is pure: the shell runs it anywhere and brings the outcome back.

use crate::algorithm::DhGroup;
use core::fmt;
use zeroize::{Zeroize, ZeroizeOnDrop};

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct JobId(pub u64);

/// A secret of any length on the heap, wiped when dropped.
#[derive(Clone, Zeroize, ZeroizeOnDrop)]
pub struct Secret(Vec<u8>);

impl Secret {
    #[must_use]
    pub fn new(bytes: Vec<u8>) -> Self {
        Self(bytes)
    }

    #[must_use]
    pub fn expose(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Secret({} bytes)", self.0.len())
    }
}

#[derive(Debug)]
pub enum Job {
    /// Our public value from a private one.
    DhGenerate { group: DhGroup, private: Secret },
    /// The shared secret.
    DhAgree { group: DhGroup, private: Secret, peer_public: Vec<u8> },
    /// Both, for the side that answers.
    DhRespond { group: DhGroup, private: Secret, peer_public: Vec<u8> },
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
    /// The peer's value is not of the group.
    BadPeerValue,
    /// Our private value is unusable (chance below 2⁻³² for random bytes).
    BadPrivateValue,
}
