//! Certificate maps: which certificates of an authority a tunnel accepts.

use super::certificate::PeerCertificate;
use super::name::parts;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum MapField {
    Subject,
    Issuer,
    /// Any of the alternative names; a negative comparison must hold for all of them.
    AltName,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum MapOp {
    Eq,
    Ne,
    Co,
    Nc,
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub struct MapRule {
    pub field: MapField,
    pub op: MapOp,
    /// For a name: parts as in RFC 4514, with commas and plus signs of a value escaped by a backslash.
    pub value: String,
}

/// All of its rules must hold; of several maps one is enough.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct CertificateMap {
    pub rules: Vec<MapRule>,
}

/// `o=example`: begins with an attribute's name, so it is the begin of a part.
fn is_typed(part: &str) -> bool {
    let kind = part.split_once('=').map_or("", |(kind, _)| kind);
    !kind.is_empty() && kind.chars().all(|c| c.is_ascii_alphanumeric() || c == '.')
}

/// Whether some parts of `name`, one after the other, are `value`; of the first one and the last one a piece is enough.
fn contains(name: &[String], value: &[String]) -> bool {
    let last = value.len() - 1;
    name.windows(value.len()).any(|run| {
        run.iter().zip(value).enumerate().all(|(i, (part, wanted))| {
            match (i == 0 && !is_typed(wanted), i == last) {
                (true, true) => part.contains(wanted),
                (true, false) => part.ends_with(wanted),
                (false, true) => part.starts_with(wanted),
                (false, false) => part == wanted,
            }
        })
    })
}

impl MapRule {
    fn holds_for(&self, names: &[String]) -> bool {
        let value = parts(&self.value);
        let mut names = names.iter().map(|n| parts(n));
        match self.op {
            MapOp::Eq => names.any(|n| n == value),
            MapOp::Co => names.any(|n| contains(&n, &value)),
            MapOp::Ne => names.all(|n| n != value),
            MapOp::Nc => names.all(|n| !contains(&n, &value)),
        }
    }
}

impl CertificateMap {
    pub(super) fn accepts(&self, cert: &PeerCertificate<'_>) -> bool {
        self.rules.iter().all(|rule| {
            let names = match rule.field {
                MapField::Subject => vec![cert.subject()],
                MapField::Issuer => vec![cert.issuer()],
                MapField::AltName => cert.alternative_texts(),
            };
            rule.holds_for(&names)
        })
    }
}
