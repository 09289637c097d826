//! Identification (RFC 7296 §3.5) and what we accept of it.

use core::fmt;
use core::net::{Ipv4Addr, Ipv6Addr};
use sipsec_net::TelNumber;
use x509_parser::prelude::{FromDer, X509Name};

/// Longest identity kept, in bytes (a distinguished name; numbers are far shorter).
pub const IDENTITY_MAX: usize = 1024;

#[derive(Clone, PartialEq, Eq)]
pub enum Identity {
    Ipv4(Ipv4Addr),
    Fqdn(String),
    Rfc822(String),
    Ipv6(Ipv6Addr),
    /// DER of the name.
    DerAsn1Dn(Vec<u8>),
    /// Opaque; here the ASCII digits of a telephone number.
    KeyId(Vec<u8>),
    /// A type we have no name for, kept for the log.
    Other(u8, Vec<u8>),
}

impl Identity {
    #[must_use]
    pub fn number(number: &TelNumber) -> Self {
        Self::KeyId(number.as_str().as_bytes().to_vec())
    }

    /// The number in a KEY_ID, in the form in which numbers are compared.
    #[must_use]
    pub fn as_number(&self) -> Option<TelNumber> {
        match self {
            Self::KeyId(bytes) => core::str::from_utf8(bytes).ok()?.parse().ok(),
            _ => None,
        }
    }
}

impl fmt::Display for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ipv4(a) => write!(f, "{a}"),
            Self::Ipv6(a) => write!(f, "{a}"),
            Self::Fqdn(s) => write!(f, "fqdn:{}", s.escape_debug()),
            Self::Rfc822(s) => write!(f, "email:{}", s.escape_debug()),
            Self::DerAsn1Dn(der) => match X509Name::from_der(der) {
                Ok(([], name)) => write!(f, "dn:{}", name.to_string().escape_debug()),
                _ => write!(f, "dn:{}", der.escape_ascii()),
            },
            Self::KeyId(id) => write!(f, "key-id:{}", id.escape_ascii()),
            Self::Other(t, data) => write!(f, "type{t}:{}", data.escape_ascii()),
        }
    }
}

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Which identity the peer must prove.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum IdentityPolicy {
    /// The proof (a key or a fingerprint bound to the call) is enough.
    Any,
    /// KEY_ID with this number, in any spelling.
    Number(TelNumber),
    Exactly(Identity),
}

impl IdentityPolicy {
    #[must_use]
    pub fn accepts(&self, id: &Identity) -> bool {
        match self {
            Self::Any => true,
            Self::Number(n) => id.as_number().is_some_and(|got| got == *n),
            // RFC 4343 §3: names of hosts have no case.
            Self::Exactly(Identity::Fqdn(want)) => {
                matches!(id, Identity::Fqdn(got) if got.eq_ignore_ascii_case(want))
            }
            Self::Exactly(want) => want == id,
        }
    }

    /// What to show as expected.
    #[must_use]
    pub fn expected(&self) -> Option<Identity> {
        match self {
            Self::Any => None,
            Self::Number(n) => Some(Identity::number(n)),
            Self::Exactly(want) => Some(want.clone()),
        }
    }
}
