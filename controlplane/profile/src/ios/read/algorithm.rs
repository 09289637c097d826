//! Proposals, transform sets, IPsec profiles and their lifetimes.

use super::ike::no_or;
use super::{Did, ROUTER, Reader, wrong};
use crate::ios::document::{Pqc, Said};
use crate::ios::grammar::{Command, Mode};
use crate::ios::report::Class;
use crate::ios::words::Words;

/// IOS: 60 to 86400 s.
const IDLE_S: std::ops::RangeInclusive<u32> = 60..=86_400;
const DAY_S: u32 = 86_400;

impl Reader {
    pub(super) fn algorithm(&mut self, command: Command, mut rest: Words<'_>, negated: bool) -> Did {
        let at = self.at;
        match command {
            Command::IkeProposal | Command::IkePolicy | Command::IpsecProfile | Command::TransformSet => {
                self.open_algorithm(command, rest, negated)
            }
            Command::IpsecIdle => {
                let value = rest.number::<u32>().filter(|s| IDLE_S.contains(s) && !negated);
                let Some(value) = value else { return no_or(negated, &mut self.doc.idle_s, IDLE) };
                self.doc.idle_s = Some(Said::new(value, at));
                Did::Converted
            }
            Command::IpsecLifetime => {
                if negated {
                    (self.doc.lifetime_s, self.doc.lifetime_kb) = (None, None);
                    return Did::Converted;
                }
                match lifetime(&mut rest) {
                    Some(Life::Seconds(s)) => self.doc.lifetime_s = Some(Said::new(s, at)),
                    Some(Life::Kilobytes(kb)) => self.doc.lifetime_kb = Some(Said::new(kb, at)),
                    None => return wrong("the lifetime is no number", LIFETIME),
                }
                Did::Converted
            }
            Command::IpsecDf => {
                if negated {
                    self.doc.df = None;
                    return Did::Converted;
                }
                let Some(df) = rest.keyword(&["clear", "set", "copy"]) else {
                    return wrong("what becomes of the DF bit is not said", "write clear, set or copy");
                };
                self.doc.df = Some(Said::new(df, at));
                Did::Converted
            }
            Command::IpsecReplay => match window(&mut rest, negated) {
                Ok(packets) => {
                    self.doc.replay_window = packets.map(|packets| Said::new(packets, at));
                    Did::Converted
                }
                Err(did) => did,
            },
            Command::Encryption | Command::Integrity | Command::Prf | Command::Group | Command::Pqc => {
                self.proposal(command, rest, negated)
            }
            Command::PolicyProposal | Command::PolicyMatchVrf => self.policy(command, rest, negated),
            Command::TransformMode => Did::Converted,
            _ => self.ipsec(command, rest, negated),
        }
    }

    fn open_algorithm(&mut self, command: Command, mut rest: Words<'_>, negated: bool) -> Did {
        let at = self.at;
        let Some(name) = rest.next() else { return wrong("the name is missing", "write one") };
        let doc = &mut self.doc;
        if negated {
            self.mode = Mode::Global;
            let was = match command {
                Command::IkeProposal => doc.proposals.remove(name),
                Command::IkePolicy => doc.policies.remove(name),
                Command::IpsecProfile => doc.ipsec_profiles.remove(name),
                _ => doc.transforms.remove(name),
            };
            // `no crypto ikev2 proposal default` says what holds here anyway.
            return if was { Did::Converted } else { ROUTER };
        }
        let (mode, block) = match command {
            Command::IkeProposal => (Mode::IkeProposal, doc.proposals.open(name, at)),
            Command::IkePolicy => (Mode::IkePolicy, doc.policies.open(name, at)),
            Command::IpsecProfile => (Mode::IpsecProfile, doc.ipsec_profiles.open(name, at)),
            _ => {
                let block = doc.transforms.open(name, at);
                let words = rest.iter().map(|w| w.to_ascii_lowercase()).collect::<Vec<_>>();
                if words.is_empty() {
                    return wrong("the transform set has no transform", "write esp-gcm 256");
                }
                doc.transforms.items[block].transforms = words;
                (Mode::TransformSet, block)
            }
        };
        self.enter(mode, block);
        Did::Converted
    }

    fn proposal(&mut self, command: Command, mut rest: Words<'_>, negated: bool) -> Did {
        let at = self.at;
        let Some(proposal) = self.doc.proposals.items.get_mut(self.open.block) else { return Did::NotMine };
        if self.mode != Mode::IkeProposal {
            return Did::NotMine;
        }
        if command == Command::Pqc {
            let method = rest.next().unwrap_or_default().to_ascii_lowercase();
            let optional = rest.keyword(&["optional", "required"]) == Some("optional");
            proposal.pqc = (!negated).then(|| Said::new(Pqc { method, optional }, at));
            return Did::Converted;
        }
        let list: Vec<String> = rest.iter().map(str::to_ascii_lowercase).collect();
        if list.is_empty() && !negated {
            return wrong("no algorithm is named", "write one or several");
        }
        let field = match command {
            Command::Encryption => &mut proposal.encryption,
            Command::Integrity => &mut proposal.integrity,
            Command::Prf => &mut proposal.prf,
            _ => &mut proposal.group,
        };
        *field = (!negated).then(|| Said::new(list, at));
        Did::Converted
    }

    fn policy(&mut self, command: Command, mut rest: Words<'_>, negated: bool) -> Did {
        let at = self.at;
        let Some(policy) = self.doc.policies.items.get_mut(self.open.block) else { return Did::NotMine };
        if self.mode != Mode::IkePolicy {
            return Did::NotMine;
        }
        let Some(name) = rest.next() else { return wrong("the name is missing", "write one") };
        if command == Command::PolicyMatchVrf {
            let any = name.eq_ignore_ascii_case("any");
            policy.vrf = (!negated && !any).then(|| Said::new(name.to_owned(), at));
            return Did::Converted;
        }
        policy.proposals.retain(|p| p.value != name);
        if !negated {
            policy.proposals.push(Said::new(name.to_owned(), at));
        }
        Did::Converted
    }

    /// `set …` of an IPsec profile
    fn ipsec(&mut self, command: Command, mut rest: Words<'_>, negated: bool) -> Did {
        let at = self.at;
        let Some(profile) = self.doc.ipsec_profiles.items.get_mut(self.open.block) else {
            return Did::NotMine;
        };
        if self.mode != Mode::IpsecProfile {
            return Did::NotMine;
        }
        match command {
            Command::SetIdle => {
                let value = rest.number::<u32>().filter(|s| IDLE_S.contains(s) && !negated);
                let Some(value) = value else { return no_or(negated, &mut profile.idle_s, IDLE) };
                profile.idle_s = Some(Said::new(value, at));
            }
            Command::SetLifetime => {
                if negated {
                    (profile.lifetime_s, profile.lifetime_kb) = (None, None);
                    return Did::Converted;
                }
                match lifetime(&mut rest) {
                    Some(Life::Seconds(s)) => profile.lifetime_s = Some(Said::new(s, at)),
                    Some(Life::Kilobytes(kb)) => profile.lifetime_kb = Some(Said::new(kb, at)),
                    None => return wrong("the lifetime is no number", LIFETIME),
                }
            }
            Command::SetReplay => match window(&mut rest, negated) {
                Ok(packets) => profile.replay_window = packets.map(|packets| Said::new(packets, at)),
                Err(did) => return did,
            },
            Command::SetTransform => {
                profile.transforms.clear();
                if !negated {
                    profile.transforms.extend(rest.iter().map(|w| Said::new(w.to_owned(), at)));
                }
            }
            Command::SetPfs => {
                let group = rest.next().unwrap_or("group1").to_ascii_lowercase();
                profile.pfs = (!negated).then(|| Said::new(group, at));
            }
            Command::SetIkeProfile => {
                profile.ike_profile = rest.next().filter(|_| !negated).map(|n| Said::new(n.to_owned(), at));
            }
            _ => return ROUTER,
        }
        Did::Converted
    }
}

const IDLE: &str = "write 60 to 86400 seconds";
const LIFETIME: &str = "write seconds NUMBER, kilobytes NUMBER, kilobytes disable or days NUMBER";

/// IOS: 64, 128, 256, 512 or 1024 packets.
const WINDOW: std::ops::RangeInclusive<u32> = 64..=1024;

/// `window-size PACKETS`, or `disable`; none of it with `no`.
fn window(rest: &mut Words<'_>, negated: bool) -> Result<Option<u32>, Did> {
    if negated {
        return Ok(None);
    }
    match rest.keyword(&["window-size", "disable"]) {
        Some("disable") => {
            Err(Did::Ignored(Class::System, "the gateway always checks replays (RFC 4303 §3.4.3)"))
        }
        Some(_) => {
            let packets = rest.number::<u32>().filter(|n| WINDOW.contains(n) && n.is_power_of_two());
            packets.map(Some).ok_or_else(|| {
                wrong("the replay window is no number that IOS takes", "write 64, 128, 256, 512 or 1024")
            })
        }
        None => Err(wrong("the replay window is missing", "write `window-size PACKETS`")),
    }
}

enum Life {
    Seconds(u32),
    /// 0: no limit.
    Kilobytes(u32),
}

fn lifetime(rest: &mut Words<'_>) -> Option<Life> {
    let unit = rest.keyword(&["seconds", "kilobytes", "days"])?;
    if unit == "kilobytes" && rest.keyword(&["disable"]).is_some() {
        return Some(Life::Kilobytes(0));
    }
    let number = rest.number::<u32>().filter(|n| *n > 0)?;
    match unit {
        "seconds" => Some(Life::Seconds(number)),
        "days" => number.checked_mul(DAY_S).map(Life::Seconds),
        _ => Some(Life::Kilobytes(number)),
    }
}
