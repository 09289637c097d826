//! Certificate maps: which certificates of an authority a tunnel accepts.

use super::certificate::PeerCertificate;
use crate::identity::Identity;

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
    pub value: String,
}

/// All of its rules must hold; of several maps one is enough.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct CertificateMap {
    pub rules: Vec<MapRule>,
}

/// Names differ in case and in the spaces between their parts without being different.
fn normal(s: &str) -> String {
    s.split(',').map(|part| part.trim().to_lowercase()).collect::<Vec<_>>().join(",")
}

impl MapRule {
    fn holds_for(&self, names: &[String]) -> bool {
        let value = normal(&self.value);
        let mut names = names.iter().map(|n| normal(n));
        match self.op {
            MapOp::Eq => names.any(|n| n == value),
            MapOp::Co => names.any(|n| n.contains(&value)),
            MapOp::Ne => names.all(|n| n != value),
            MapOp::Nc => names.all(|n| !n.contains(&value)),
        }
    }
}

impl CertificateMap {
    pub(super) fn accepts(&self, cert: &PeerCertificate<'_>) -> bool {
        self.rules.iter().all(|rule| {
            let names = match rule.field {
                MapField::Subject => vec![cert.subject()],
                MapField::Issuer => vec![cert.issuer()],
                MapField::AltName => cert
                    .alternative_names()
                    .iter()
                    .map(|id| match id {
                        Identity::Fqdn(name) | Identity::Rfc822(name) => name.clone(),
                        other => other.to_string(),
                    })
                    .collect(),
            };
            rule.holds_for(&names)
        })
    }
}
