//! `crypto ikev2 profile` and IKE's global settings

use super::{Did, ROUTER, Reader, wrong};
use crate::ios::document::{Auth, Direction, Dpd, Identity, KeyLine, Said, Signs};
use crate::ios::grammar::{Command, Mode};
use crate::ios::key;
use crate::ios::report::Class;
use crate::ios::text::TextLine;
use crate::ios::words::Words;

impl Reader {
    pub(super) fn ike(
        &mut self,
        command: Command,
        mut rest: Words<'_>,
        negated: bool,
        line: &TextLine,
    ) -> Did {
        let at = self.at;
        match command {
            Command::IkeProfile => {
                let Some(name) = rest.next() else { return wrong("the profile has no name", "write one") };
                if negated {
                    self.doc.ike_profiles.remove(name);
                    self.mode = Mode::Global;
                    return Did::Converted;
                }
                let block = self.doc.ike_profiles.open(name, at);
                self.enter(Mode::IkeProfile, block);
                return Did::Converted;
            }
            Command::IkeDpd => {
                let Some(value) = dpd(&mut rest).filter(|_| !negated) else {
                    return no_or(negated, &mut self.doc.dpd, DPD);
                };
                self.doc.dpd = Some(Said::new(value, at));
                return Did::Converted;
            }
            Command::IkeFragmentation => {
                let mtu = rest.keyword(&["mtu"]).and_then(|_| rest.number::<u32>());
                self.doc.fragmentation = (!negated).then(|| Said::new(mtu, at));
                return Did::Converted;
            }
            Command::IkeNatKeepalive => {
                let Some(value) = rest.number().filter(|_| !negated) else {
                    return no_or(negated, &mut self.doc.nat_keepalive, "write seconds");
                };
                self.doc.nat_keepalive = Some(Said::new(value, at));
                return Did::Converted;
            }
            _ => {}
        }
        let typed = self.typed_part(line).to_owned();
        if self.mode == Mode::IkePolicy {
            return ROUTER;
        }
        let Some(profile) = self.doc.ike_profiles.items.get_mut(self.open.block) else { return Did::NotMine };
        if self.mode != Mode::IkeProfile {
            return Did::NotMine;
        }
        match command {
            Command::MatchRemote => {
                let kind = rest.keyword(&["any", "key-id", "address", "fqdn", "email"]);
                match kind {
                    Some("any") => profile.match_any = !negated,
                    Some("key-id") => {
                        let Some(id) = rest.next() else {
                            return wrong("the key-id is missing", "write the number of the peer");
                        };
                        profile.match_numbers.retain(|k| k.value != id);
                        if !negated {
                            profile.match_numbers.push(Said::new(id.to_owned(), at));
                        }
                    }
                    Some(kind) => {
                        let text = format!("{kind} {}", rest.rest());
                        profile.match_other.retain(|k| k.value != text);
                        if !negated {
                            profile.match_other.push(Said::new(text, at));
                        }
                    }
                    None => {
                        return wrong("which identity is meant is not said", "write any or key-id NUMBER");
                    }
                }
            }
            Command::MatchCertificate => {
                let Some(map) = rest.next() else {
                    return wrong("the certificate map is missing", "write its name");
                };
                profile.match_maps.retain(|m| m.value != map);
                if !negated {
                    profile.match_maps.push(Said::new(map.to_owned(), at));
                }
            }
            Command::MatchVrf | Command::ProfileIvrf => {
                let name = rest.next().unwrap_or_default();
                let global = name.eq_ignore_ascii_case("any") && command == Command::MatchVrf;
                profile.vrf =
                    (!negated && !global && !name.is_empty()).then(|| Said::new(name.to_owned(), at));
            }
            Command::IdentityLocal => {
                if negated {
                    profile.identity = None;
                    return Did::Converted;
                }
                let identity = match rest.keyword(&["key-id", "address", "fqdn", "email", "dn"]) {
                    Some("key-id") => Identity::KeyId(rest.next().unwrap_or_default().to_owned()),
                    Some(kind) => Identity::Other(format!("{kind} {}", rest.rest()).trim_end().to_owned()),
                    None => {
                        return wrong(
                            "which identity is meant is not said",
                            "write `identity local key-id NUMBER`",
                        );
                    }
                };
                profile.identity = Some(Said::new(identity, at));
            }
            Command::AuthLocal | Command::AuthRemote => {
                return self.authentication(command == Command::AuthLocal, rest, negated, &typed);
            }
            Command::ProfileKeyring => {
                let kind = match rest.peek() {
                    Some(word) if rest.len() > 1 => crate::ios::words::meant(word, &["local", "aaa", "ppk"]),
                    _ => None,
                };
                if kind.is_some() {
                    rest.next();
                }
                let Some(name) = rest.next() else {
                    return wrong("the keyring is missing", "write `keyring local NAME`");
                };
                let said = (!negated).then(|| Said::new(name.to_owned(), at));
                match kind {
                    Some("aaa") => profile.keyring_aaa = said,
                    Some("ppk") => profile.ppk_keyring = said,
                    _ => profile.keyring = said,
                }
            }
            Command::ProfileTrustpoint => {
                let Some(name) = rest.next() else {
                    return wrong("the trustpoint is missing", "write its name");
                };
                let use_ = rest.keyword(&["sign", "verify"]);
                profile.trustpoints.retain(|t| t.value.trustpoint != name || (use_.is_some() && !negated));
                if !negated {
                    let signs = Signs {
                        trustpoint: name.to_owned(),
                        sign: use_ != Some("verify"),
                        verify: use_ != Some("sign"),
                    };
                    profile.trustpoints.push(Said::new(signs, at));
                }
            }
            Command::Dpd => {
                let Some(value) = dpd(&mut rest).filter(|_| !negated) else {
                    return no_or(negated, &mut profile.dpd, DPD);
                };
                profile.dpd = Some(Said::new(value, at));
            }
            Command::Lifetime => {
                let Some(value) = rest.number().filter(|s| *s > 0 && !negated) else {
                    return no_or(negated, &mut profile.lifetime, "write seconds");
                };
                profile.lifetime = Some(Said::new(value, at));
            }
            Command::NatKeepalive => {
                let Some(value) = rest.number().filter(|_| !negated) else {
                    return no_or(negated, &mut profile.nat_keepalive, "write seconds");
                };
                profile.nat_keepalive = Some(Said::new(value, at));
            }
            Command::ForceEncap => profile.force_encap = Some(!negated),
            Command::RemoteAccess if !negated => {
                let words = self.report.line(at).map(|l| l.text.trim().to_owned()).unwrap_or_default();
                if let Some(profile) = self.doc.ike_profiles.items.get_mut(self.open.block) {
                    profile.remote_access.push(Said::new(words, at));
                }
                return Did::Ignored(Class::Unrelated, "of remote access");
            }
            _ => return ROUTER,
        }
        Did::Converted
    }

    /// `authentication local|remote pre-share [key …] | rsa-sig | ecdsa-sig | eap …`
    fn authentication(&mut self, local: bool, mut rest: Words<'_>, negated: bool, typed: &str) -> Did {
        let at = self.at;
        let Some(profile) = self.doc.ike_profiles.items.get_mut(self.open.block) else { return Did::NotMine };
        let auth = match rest.keyword(&["pre-share", "rsa-sig", "ecdsa-sig", "eap", "anyconnect-eap"]) {
            Some("pre-share") => Auth::Psk,
            Some("rsa-sig" | "ecdsa-sig") => Auth::Signature,
            Some(other) => Auth::Other(other.to_owned()),
            None => return wrong("the method is missing", "write pre-share, rsa-sig or ecdsa-sig"),
        };
        if negated {
            if local {
                profile.local = None;
            } else {
                profile.remote.retain(|a| a.value != auth);
            }
            return Did::Converted;
        }
        if auth == Auth::Psk && rest.keyword(&["key"]).is_some() {
            let skip = 4;
            let Some(read) = key::whole(typed, skip) else {
                return wrong("the key is missing", "write the key that the peer has");
            };
            let direction = if local { Direction::Local } else { Direction::Remote };
            profile.inline_keys.retain(|k| k.direction != direction);
            profile.inline_keys.push(KeyLine { at, direction, key: read.key });
        }
        if local {
            profile.local = Some(Said::new(auth, at));
        } else {
            profile.remote.retain(|a| a.value != auth);
            profile.remote.push(Said::new(auth, at));
        }
        Did::Converted
    }
}

const DPD: &str = "write `dpd INTERVAL RETRY periodic` or `on-demand`";

/// `INTERVAL RETRY periodic|on-demand`
fn dpd(rest: &mut Words<'_>) -> Option<Dpd> {
    let interval_s = rest.number()?;
    let _retry: u32 = rest.number()?;
    let mode = rest.keyword(&["periodic", "on-demand"])?;
    Some(Dpd { interval_s, periodic: mode == "periodic" })
}

/// `no …` takes the value back; without it the value was wrong.
pub(super) fn no_or<T>(negated: bool, value: &mut Option<T>, hint: &str) -> Did {
    if negated {
        *value = None;
        return Did::Converted;
    }
    wrong("the command is not complete, or its value is none", hint)
}
