//! Identities of IKE (RFC 7296 §3.5), as an entry of the keyring names them.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

/// Longest name, in bytes: that of a domain name (RFC 1035 §2.3.4).
pub const IDENTITY_NAME_MAX: usize = 253;

/// `key-id TEXT`, `fqdn NAME`, `email USER@NAME` or `address IP`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum IkeIdentity {
    KeyId(String),
    Fqdn(String),
    Email(String),
    Address(IpAddr),
}

impl fmt::Display for IkeIdentity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::KeyId(id) => write!(f, "key-id {id}"),
            Self::Fqdn(name) => write!(f, "fqdn {name}"),
            Self::Email(name) => write!(f, "email {name}"),
            Self::Address(ip) => write!(f, "address {ip}"),
        }
    }
}

/// It is none of the four forms.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NotAnIdentity;

impl FromStr for IkeIdentity {
    type Err = NotAnIdentity;

    fn from_str(text: &str) -> Result<Self, NotAnIdentity> {
        match written(text)? {
            Self::Fqdn(name) | Self::Email(name) if name.starts_with('*') => Err(NotAnIdentity),
            identity => Ok(identity),
        }
    }
}

/// The form alone.
fn written(text: &str) -> Result<IkeIdentity, NotAnIdentity> {
    use IkeIdentity as Is;
    let (kind, name) = text.trim().split_once(char::is_whitespace).ok_or(NotAnIdentity)?;
    let name = name.trim();
    let fits = !name.is_empty() && name.len() <= IDENTITY_NAME_MAX && !name.contains(char::is_control);
    match kind {
        "key-id" if fits => Ok(Is::KeyId(name.to_owned())),
        "fqdn" if fits && !name.contains(char::is_whitespace) => Ok(Is::Fqdn(name.to_owned())),
        "email" if fits && name.contains('@') && !name.contains(char::is_whitespace) => {
            Ok(Is::Email(name.to_owned()))
        }
        "address" => name.parse().map(Is::Address).map_err(|_| NotAnIdentity),
        _ => Err(NotAnIdentity),
    }
}

/// What a peer must say it is: one identity, or a name of a domain: `fqdn *.DOMAIN`, `email *@DOMAIN`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PeerIdentity {
    Is(IkeIdentity),
    FqdnOf(String),
    EmailOf(String),
}

impl fmt::Display for PeerIdentity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Is(identity) => identity.fmt(f),
            Self::FqdnOf(domain) => write!(f, "fqdn *.{domain}"),
            Self::EmailOf(domain) => write!(f, "email *@{domain}"),
        }
    }
}

impl FromStr for PeerIdentity {
    type Err = NotAnIdentity;

    fn from_str(text: &str) -> Result<Self, NotAnIdentity> {
        let domain = |name: &str| match name {
            "" => Err(NotAnIdentity),
            name if name.starts_with('.') || name.contains(['*', '@']) => Err(NotAnIdentity),
            name => Ok(name.to_owned()),
        };
        match written(text)? {
            IkeIdentity::Fqdn(name) => match name.strip_prefix("*.") {
                Some(of) => domain(of).map(Self::FqdnOf),
                None if name.starts_with('*') => Err(NotAnIdentity),
                None => Ok(Self::Is(IkeIdentity::Fqdn(name))),
            },
            IkeIdentity::Email(name) => match name.strip_prefix("*@") {
                Some(of) => domain(of).map(Self::EmailOf),
                None if name.starts_with('*') => Err(NotAnIdentity),
                None => Ok(Self::Is(IkeIdentity::Email(name))),
            },
            other => Ok(Self::Is(other)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_read_is_written_the_same() {
        for text in [
            "key-id 0388882001",
            "key-id Branch 7",
            "fqdn vpn.example.com",
            "email a@example.com",
            "address 2001:db8::1",
        ] {
            assert_eq!(text.parse::<IkeIdentity>().map(|i| i.to_string()), Ok(text.to_owned()));
        }
        for text in ["fqdn *.example.com", "email *@example.com", "fqdn vpn.example.com", "address 192.0.2.1"]
        {
            assert_eq!(text.parse::<PeerIdentity>().map(|i| i.to_string()), Ok(text.to_owned()));
        }
        for text in
            ["fqdn *.", "fqdn *..com", "fqdn *x.com", "email *@", "fqdn *.*.com", "email *@a@b", "dn CN=a"]
        {
            assert_eq!(text.parse::<PeerIdentity>(), Err(NotAnIdentity), "{text}");
        }
        // This gateway is one host, not a domain.
        assert_eq!("fqdn *.example.com".parse::<IkeIdentity>(), Err(NotAnIdentity));
        let long = format!("fqdn {}", "a".repeat(IDENTITY_NAME_MAX + 1));
        for text in
            ["", "fqdn", "fqdn ", "0388882001", "address vpn", "email nobody", "dn CN=a", "fqdn a b", &long]
        {
            assert_eq!(text.parse::<IkeIdentity>(), Err(NotAnIdentity), "{text}");
        }
    }
}
