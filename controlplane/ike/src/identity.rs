//! Identification (RFC 7296 §3.5) and what we accept of it.

use core::fmt;
use core::net::{Ipv4Addr, Ipv6Addr};
use sipsec_net::TelNumber;
use x509_parser::prelude::{FromDer, X509Name};

/// So much of an identity is shown, in characters or octets. A distinguished name may be longer than any log line.
const SHOWN_MAX: usize = 256;

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
        let octets = |f: &mut fmt::Formatter<'_>, data: &[u8]| {
            let shown = &data[..data.len().min(SHOWN_MAX)];
            write!(f, "{}{}", shown.escape_ascii(), if shown.len() < data.len() { "…" } else { "" })
        };
        let text = |f: &mut fmt::Formatter<'_>, s: &str| {
            let end = s.char_indices().nth(SHOWN_MAX).map_or(s.len(), |(at, _)| at);
            write!(f, "{}{}", s[..end].escape_debug(), if end < s.len() { "…" } else { "" })
        };
        match self {
            Self::Ipv4(a) => write!(f, "{a}"),
            Self::Ipv6(a) => write!(f, "{a}"),
            Self::Fqdn(s) => f.write_str("fqdn:").and_then(|()| text(f, s)),
            Self::Rfc822(s) => f.write_str("email:").and_then(|()| text(f, s)),
            Self::DerAsn1Dn(der) => f.write_str("dn:").and_then(|()| match X509Name::from_der(der) {
                Ok(([], name)) => text(f, &name.to_string()),
                _ => octets(f, der),
            }),
            Self::KeyId(id) => f.write_str("key-id:").and_then(|()| octets(f, id)),
            Self::Other(t, data) => write!(f, "type{t}:").and_then(|()| octets(f, data)),
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
    /// An FQDN below this domain, or its own name.
    FqdnOf(String),
    /// An email address of this domain.
    EmailOf(String),
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
            Self::FqdnOf(domain) => match id {
                Identity::Fqdn(got) => {
                    match got.len().checked_sub(domain.len()).map(|n| got.split_at_checked(n)) {
                        Some(Some((host, tail))) => {
                            tail.eq_ignore_ascii_case(domain) && (host.is_empty() || host.ends_with('.'))
                        }
                        _ => false,
                    }
                }
                _ => false,
            },
            Self::EmailOf(domain) => match id {
                Identity::Rfc822(got) => got
                    .rsplit_once('@')
                    .is_some_and(|(user, of)| !user.is_empty() && of.eq_ignore_ascii_case(domain)),
                _ => false,
            },
        }
    }

    /// The identity that the peer must have, if there is one alone: what we send as IDr (RFC 7296 §2.15).
    #[must_use]
    pub fn expected(&self) -> Option<Identity> {
        match self {
            Self::Any | Self::FqdnOf(_) | Self::EmailOf(_) => None,
            Self::Number(n) => Some(Identity::number(n)),
            Self::Exactly(want) => Some(want.clone()),
        }
    }

    /// What to show as expected.
    #[must_use]
    pub fn shown(&self) -> Option<Identity> {
        match self {
            Self::FqdnOf(domain) => Some(Identity::Fqdn(format!("*.{domain}"))),
            Self::EmailOf(domain) => Some(Identity::Rfc822(format!("*@{domain}"))),
            other => other.expected(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 4343 §3: names of hosts have no case. A domain ends at a label.
    #[test]
    fn a_domain_takes_its_own_names_alone() {
        let fqdn = IdentityPolicy::FqdnOf("bank.example".to_owned());
        let says = |policy: &IdentityPolicy, id: Identity| policy.accepts(&id);
        for name in ["br1.bank.example", "BR1.Osaka.BANK.example", "bank.example"] {
            assert!(says(&fqdn, Identity::Fqdn(name.to_owned())), "{name}");
        }
        for name in
            ["evilbank.example", "bank.example.evil", "", "example", "br1.bank.example.", "日本bank.example"]
        {
            assert!(!says(&fqdn, Identity::Fqdn(name.to_owned())), "{name}");
        }
        assert!(!says(&fqdn, Identity::KeyId(b"br1.bank.example".to_vec())));
        let email = IdentityPolicy::EmailOf("bank.example".to_owned());
        assert!(says(&email, Identity::Rfc822("br1@Bank.example".to_owned())));
        for name in ["br1@osaka.bank.example", "@bank.example", "bank.example", "br1@bank.example@evil"] {
            assert!(!says(&email, Identity::Rfc822(name.to_owned())), "{name}");
        }
        assert_eq!(
            (fqdn.expected(), fqdn.shown()),
            (None, Some(Identity::Fqdn("*.bank.example".to_owned())))
        );
    }
}
