//! Names without a certificate, certificates without a use, and flaws of their files.

use crate::diagnose::{Problem, Sink, nearest};
use crate::model::secret::PRIVATE_KEY;
use crate::model::{Profile, Proof};
use crate::read::KeyPath;
use crate::surroundings::{CertificatePlace, Surroundings};
use std::collections::HashSet;

pub fn check(profile: &Profile, sink: &Sink, around: &dyn Surroundings) {
    let names: Vec<&str> = profile.ike.certificates.iter().map(|c| c.name.as_str()).collect();
    let mut used = HashSet::new();
    for (i, entry) in profile.ike.keyring.iter().enumerate() {
        let Proof::Certificate(name) = &entry.proof else { continue };
        used.insert(name.as_str());
        if !names.contains(&name.as_str()) && !sink.is_full() {
            let hint = match nearest(name, names.iter().copied()) {
                Some(meant) => format!("did you mean {meant}? Otherwise add it to `ike.certificates`"),
                None => "add it to `ike.certificates`".to_owned(),
            };
            let path = KeyPath::dotted("ike.keyring").index(i).key("certificate");
            let message = format!("there is no certificate named {}", crate::diagnose::shown_raw(name));
            let problem = Problem::error("ike::unknown-certificate", &path, message);
            sink.push(problem.label("no such certificate").hint(hint));
        }
    }
    for (i, certificate) in profile.ike.certificates.iter().enumerate() {
        let at = KeyPath::dotted("ike.certificates").index(i);
        if !used.contains(certificate.name.as_str()) {
            let name = crate::diagnose::shown_raw(&certificate.name);
            let message = format!("no entry of the keyring uses the certificate {name}");
            let problem = Problem::warning("ike::unused-certificate", &at.key("name"), message);
            sink.push(problem.label("unused").hint("name it in `ike.keyring`, or remove it"));
        }
        for flaw in around.certificate(certificate) {
            let path = match flaw.place {
                CertificatePlace::Certificate => at.key("certificate"),
                CertificatePlace::Key => at.key(PRIVATE_KEY.of(&certificate.key)),
                CertificatePlace::Ca(n) => at.key("trust").key("ca").index(n),
                CertificatePlace::Crl(n) => at.key("trust").key("crl").key("files").index(n),
            };
            let mut problem = Problem::error(flaw.code, &path, flaw.message).hint(flaw.hint);
            problem.severity = flaw.severity;
            sink.push(problem);
        }
    }
}
