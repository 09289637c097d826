//! The two messages. Their first three fields never change, so that any two versions can tell each other that they differ.

use super::HandshakeError;
use crate::layout::{self, ABI_VERSION, Description, FINGERPRINT, MAGIC, SEGMENT_LEN, shared};
use crate::text::Text;
use core::fmt;
use zerocopy::little_endian::{U32, U64};
use zerocopy::{FromBytes, IntoBytes};

const ROLE_CONTROL: u8 = 1;
const VERDICT_WELCOME: u8 = 1;
const VERDICT_REFUSED: u8 = 2;

shared! {
    /// The control plane's.
    pub(crate) struct Hello {
        pub magic: U64,
        pub abi_version: U32,
        pub fingerprint: U64,
        pub role: u8,
        pub zero: [u8; 3],
        /// Name and version, for the log.
        pub software: [u8; 32],
    }

    /// The dataplane's: welcome or refused.
    pub(crate) struct Reply {
        pub magic: U64,
        pub abi_version: U32,
        pub fingerprint: U64,
        pub verdict: u8,
        /// A [`Refusal`]; zero in a welcome.
        pub refusal: u8,
        pub zero: [u8; 2],
        /// Zero in a refusal, as is the length.
        pub epoch: U64,
        pub segment_len: U64,
        pub software: [u8; 32],
    }
}

pub(crate) const DESCRIPTIONS: &[Description] =
    &[Prefix::DESCRIPTION, Hello::DESCRIPTION, Reply::DESCRIPTION];

/// Why a dataplane does not serve a control plane.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// Another version: the dataplane's (or, in the dataplane's own log, the control plane's).
    Version(u32),
    /// The same version built with another layout: the other side's fingerprint.
    Layout(u64),
    /// The user is not allowed.
    Credentials,
    /// Another control plane is connected.
    Busy,
    /// No hello, or not from a control plane.
    Malformed,
    /// The dataplane could not make a segment.
    Resources,
}

impl Refusal {
    const fn code(self) -> u8 {
        match self {
            Self::Version(_) => 1,
            Self::Layout(_) => 2,
            Self::Credentials => 3,
            Self::Busy => 4,
            Self::Malformed => 5,
            Self::Resources => 6,
        }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Version(theirs) => write!(
                f,
                "the two processes are of different versions (shared memory {ABI_VERSION} here, {theirs} there): \
                 install both from one release"
            ),
            Self::Layout(theirs) => write!(
                f,
                "the two processes lay out shared memory differently ({FINGERPRINT:016x} here, {theirs:016x} there): \
                 install both from one build"
            ),
            Self::Credentials => f.write_str("the dataplane does not serve this user"),
            Self::Busy => f.write_str("the dataplane serves another control plane"),
            Self::Malformed => f.write_str("the dataplane got no valid hello"),
            Self::Resources => f.write_str("the dataplane could not make the shared segment"),
        }
    }
}

impl Hello {
    pub fn new(software: Text<32>) -> Self {
        Self {
            magic: MAGIC.into(),
            abi_version: ABI_VERSION.into(),
            fingerprint: FINGERPRINT.into(),
            role: ROLE_CONTROL,
            zero: [0; 3],
            software: software.into_bytes(),
        }
    }

    /// The sender's software, or why the hello is refused.
    pub fn decode(bytes: &[u8]) -> Result<Text<32>, Refusal> {
        // The version first: a hello of another version may be longer.
        let (prefix, _) = Prefix::ref_from_prefix(bytes).map_err(|_| Refusal::Malformed)?;
        if prefix.magic != MAGIC {
            return Err(Refusal::Malformed);
        }
        if prefix.abi_version != ABI_VERSION {
            return Err(Refusal::Version(prefix.abi_version.get()));
        }
        if prefix.fingerprint != FINGERPRINT {
            return Err(Refusal::Layout(prefix.fingerprint.get()));
        }
        let hello = Self::ref_from_bytes(bytes).map_err(|_| Refusal::Malformed)?;
        if hello.role != ROLE_CONTROL || hello.zero != [0; 3] {
            return Err(Refusal::Malformed);
        }
        Ok(Text::from_bytes(hello.software))
    }
}

shared! {
    /// The start of both messages in every version.
    pub(crate) struct Prefix {
        pub magic: U64,
        pub abi_version: U32,
        pub fingerprint: U64,
    }
}

/// The contents of a welcome.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Welcome {
    pub epoch: u64,
    pub software: Text<32>,
}

impl Reply {
    pub fn welcome(welcome: &Welcome) -> Self {
        Self {
            verdict: VERDICT_WELCOME,
            epoch: welcome.epoch.into(),
            segment_len: (SEGMENT_LEN as u64).into(),
            ..Self::empty(welcome.software)
        }
    }

    pub fn refused(refusal: Refusal, software: Text<32>) -> Self {
        Self { verdict: VERDICT_REFUSED, refusal: refusal.code(), ..Self::empty(software) }
    }

    fn empty(software: Text<32>) -> Self {
        Self {
            magic: layout::MAGIC.into(),
            abi_version: ABI_VERSION.into(),
            fingerprint: FINGERPRINT.into(),
            verdict: 0,
            refusal: 0,
            zero: [0; 2],
            epoch: U64::ZERO,
            segment_len: U64::ZERO,
            software: software.into_bytes(),
        }
    }

    pub fn decode(bytes: &[u8]) -> Result<Welcome, HandshakeError> {
        let (prefix, _) = Prefix::ref_from_prefix(bytes).map_err(|_| HandshakeError::Malformed)?;
        if prefix.magic != MAGIC {
            return Err(HandshakeError::Malformed);
        }
        // A dataplane that differs refuses; its own numbers say more than its code, which may be new to this version.
        if prefix.abi_version != ABI_VERSION {
            return Err(HandshakeError::Refused(Refusal::Version(prefix.abi_version.get())));
        }
        if prefix.fingerprint != FINGERPRINT {
            return Err(HandshakeError::Refused(Refusal::Layout(prefix.fingerprint.get())));
        }
        let reply = Self::ref_from_bytes(bytes).map_err(|_| HandshakeError::Malformed)?;
        let numbers = (reply.epoch.get(), reply.segment_len.get());
        match (reply.verdict, reply.refusal, reply.zero, numbers) {
            (VERDICT_WELCOME, 0, [0, 0], (epoch, len)) if len == SEGMENT_LEN as u64 => {
                Ok(Welcome { epoch, software: Text::from_bytes(reply.software) })
            }
            (VERDICT_REFUSED, code, [0, 0], (0, 0)) => {
                let known = [Refusal::Credentials, Refusal::Busy, Refusal::Malformed, Refusal::Resources];
                let refusal =
                    known.into_iter().find(|r| r.code() == code).ok_or(HandshakeError::Malformed)?;
                Err(HandshakeError::Refused(refusal))
            }
            _ => Err(HandshakeError::Malformed),
        }
    }

    pub fn to_bytes(self) -> Vec<u8> {
        self.as_bytes().to_vec()
    }
}
