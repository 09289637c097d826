//! Trustpoints, certificate maps and chains.

use super::{Did, Reader, wrong};
use crate::ios::document::{Revocation, Said};
use crate::ios::grammar::{Command, Mode};
use crate::ios::report::Class;
use crate::ios::words::{Words, meant};

const OWN: Did = Did::Ignored(Class::System, "`sipsec pki` makes keys and certificates with their names");

impl Reader {
    pub(super) fn pki(&mut self, command: Command, mut rest: Words<'_>, negated: bool) -> Did {
        let at = self.at;
        match command {
            Command::Trustpoint | Command::CertificateMap | Command::CertificateChain => {
                let Some(name) = rest.next() else { return wrong("the name is missing", "write one") };
                if negated {
                    match command {
                        Command::Trustpoint => self.doc.trustpoints.remove(name),
                        Command::CertificateMap => self.doc.maps.remove(name),
                        _ => self.doc.chains.remove(name),
                    };
                    self.mode = Mode::Global;
                    return Did::Converted;
                }
                match command {
                    Command::Trustpoint => {
                        let block = self.doc.trustpoints.open(name, at);
                        self.enter(Mode::Trustpoint, block);
                    }
                    Command::CertificateMap => {
                        let Some(sequence) = rest.number() else {
                            return wrong(
                                "the map has no sequence number",
                                "write `crypto pki certificate map NAME 10`",
                            );
                        };
                        let block = self.doc.maps.open(name, at);
                        self.enter(Mode::CertificateMap, block);
                        self.open.sequence = sequence;
                        let map = &mut self.doc.maps.items[block];
                        if let Err(place) = map.entries.binary_search_by_key(&sequence, |(n, _)| *n) {
                            map.entries.insert(place, (sequence, Vec::new()));
                        }
                    }
                    _ => {
                        let block = self.doc.chains.open(name, at);
                        self.enter(Mode::CertificateChain, block);
                        return Did::Ignored(Class::System, "the gateway is given certificates as PEM files");
                    }
                }
                Did::Converted
            }
            Command::MapRule => self.map_rule(rest, negated),
            _ => self.trustpoint(command, rest, negated),
        }
    }

    fn trustpoint(&mut self, command: Command, mut rest: Words<'_>, negated: bool) -> Did {
        let at = self.at;
        if self.mode != Mode::Trustpoint {
            return Did::NotMine;
        }
        let Some(point) = self.doc.trustpoints.items.get_mut(self.open.block) else { return Did::NotMine };
        match command {
            Command::Enrollment => match rest.keyword(&[
                "selfsigned",
                "url",
                "terminal",
                "pkcs12",
                "mode",
                "profile",
                "retry",
                "http-proxy",
            ]) {
                Some("selfsigned") => point.self_signed = !negated,
                Some("url" | "terminal" | "pkcs12" | "profile") => {
                    point.enrolled = !negated;
                    point.self_signed &= negated;
                }
                _ => return OWN,
            },
            Command::RevocationCheck => {
                let words: Vec<_> =
                    rest.iter().map(|w| meant(w, &["none", "crl", "ocsp"]).unwrap_or("other")).collect();
                let value = match words.as_slice() {
                    ["none"] => Revocation::None,
                    ["crl"] => Revocation::Crl,
                    ["crl", "none"] => Revocation::CrlNone,
                    _ => Revocation::Other,
                };
                point.revocation = (!negated).then(|| Said::new(value, at));
            }
            _ => {
                // "password to the administrator …" is a sentence.
                if rest.len() > 4 && crate::ios::noise::is_prose(&format!("x {}", rest.rest())) {
                    return Did::NotMine;
                }
                return OWN;
            }
        }
        Did::Converted
    }

    /// `issuer-name co cn = example bank ca`
    fn map_rule(&mut self, mut rest: Words<'_>, negated: bool) -> Did {
        let Some(map) = self.doc.maps.items.get_mut(self.open.block) else { return Did::NotMine };
        if self.mode != Mode::CertificateMap {
            return Did::NotMine;
        }
        let line =
            self.report.line(self.at).map(|l| l.text.trim_start().to_ascii_lowercase()).unwrap_or_default();
        let field = match line.split(['#', '>']).next_back().unwrap_or_default().trim_start() {
            l if l.starts_with('i') => "issuer",
            l if l.starts_with("su") => "subject",
            l if l.starts_with('a') => "alt-name",
            _ => {
                return wrong(
                    "this field of a certificate cannot be matched here",
                    "match the issuer's, the subject's or an alternative name",
                );
            }
        };
        let Some(op) = rest.keyword(&["eq", "ne", "co", "nc"]) else {
            return wrong("the operator is missing", "write eq, ne, co or nc");
        };
        let value = name(rest.rest());
        if value.is_empty() {
            return wrong("the name is missing", "write it after the operator");
        }
        let rule = format!("{field} {op} {value}");
        let sequence = self.open.sequence;
        if let Ok(place) = map.entries.binary_search_by_key(&sequence, |(n, _)| *n) {
            let rules = &mut map.entries[place].1;
            rules.retain(|r| *r != rule);
            if !negated {
                rules.push(rule);
            }
        }
        Did::Converted
    }
}

/// IOS writes `cn = value`; a profile, as RFC 4514 does, `CN=value`.
fn name(text: &str) -> String {
    let text = text.trim().trim_matches('"');
    text.split(',')
        .map(|part| match part.split_once('=') {
            Some((kind, value)) if kind.trim().bytes().all(|b| b.is_ascii_alphabetic()) => {
                format!("{}={}", kind.trim().to_ascii_uppercase(), value.trim())
            }
            _ => part.trim().to_owned(),
        })
        .collect::<Vec<_>>()
        .join(",")
}

#[cfg(test)]
mod tests {
    use super::name;

    #[test]
    fn names_are_written_as_profiles_have_them() {
        assert_eq!(name("cn = example bank ca"), "CN=example bank ca");
        assert_eq!(name("ou=centre, o = Example Bank"), "OU=centre,O=Example Bank");
        assert_eq!(name("hq.bank.example"), "hq.bank.example");
    }
}
