//! Filters, maps, zones, VRFs and applets: what the report has to say of a tunnel's surroundings.

use super::{Did, Reader, wrong};
use crate::ios::document::{DialerList, Interesting, Named, Nat, Opaque};
use crate::ios::grammar::{Command, Mode};
use crate::ios::names;
use crate::ios::report::Class;
use crate::ios::words::{Word, Words};

const FIREWALL: Did = Did::Ignored(Class::System, "the system's firewall and address translation do it");
const QOS: Did = Did::Ignored(Class::System, "queueing on the router");

impl Reader {
    pub(super) fn list(&mut self, command: Command, mut rest: Words<'_>, negated: bool) -> Did {
        let at = self.at;
        match command {
            Command::Acl => {
                let words: Vec<_> = rest.iter().collect();
                let name = match words.as_slice() {
                    ["standard" | "extended" | "role-based", name, ..] => *name,
                    [
                        "resequence"
                        | "logging"
                        | "log-update"
                        | "helper"
                        | "match-local-traffic"
                        | "persistent",
                        ..,
                    ] => {
                        self.mode = Mode::Global;
                        return FIREWALL;
                    }
                    [name, ..] => *name,
                    [] => return wrong("the list has no name", "write one"),
                };
                let name = name.to_owned();
                self.open_opaque(Mode::Acl, &name, negated);
                FIREWALL
            }
            Command::NumberedAcl => {
                let Some(name) = rest.next() else { return wrong("the list has no number", "write one") };
                let block = self.doc.acls.open(name, at);
                self.doc.acls.items[block].lines.push(at);
                self.mode = Mode::Global;
                FIREWALL
            }
            Command::RouteMap => {
                let Some(name) = rest.next() else { return wrong("the map has no name", "write one") };
                self.open_opaque(Mode::RouteMap, name, negated);
                FIREWALL
            }
            Command::ClassMap | Command::PolicyMap => {
                let mode = if command == Command::ClassMap { Mode::ClassMap } else { Mode::PolicyMap };
                let words: Vec<_> = rest.iter().collect();
                let inspect = words.windows(2).any(|w| w[0] == "type" && w[1] == "inspect");
                let Some(name) = words.last().copied() else {
                    return wrong("the map has no name", "write one");
                };
                self.open_opaque(mode, name, negated);
                if inspect {
                    self.doc.zones.push(at);
                    return FIREWALL;
                }
                QOS
            }
            Command::Zone | Command::ZonePair => {
                self.doc.zones.push(at);
                let mode = if command == Command::ZonePair {
                    Mode::ZonePair
                } else {
                    Mode::Other(Class::System, "of the zone firewall")
                };
                self.enter(mode, 0);
                FIREWALL
            }
            Command::Vrf => {
                let Some(name) = rest.next() else { return wrong("the VRF has no name", "write one") };
                self.open_opaque(Mode::Vrf, name, negated);
                Did::Ignored(Class::Unrelated, "a VRF of other interfaces")
            }
            Command::NatSource => {
                self.mode = Mode::Global;
                let words: Vec<_> = rest.iter().collect();
                let after =
                    |key: &str| words.iter().position(|w| *w == key).and_then(|i| words.get(i + 1)).copied();
                let place = words.iter().position(|w| *w == "interface");
                let interface = place.and_then(|i| {
                    let list: Vec<Word<'_>> =
                        words[i + 1..].iter().map(|text| Word { text, at: 0 }).collect();
                    names::interface(&mut Words::new("", &list))
                });
                let refers = ["list", "route-map"].into_iter().filter_map(after).map(str::to_owned).collect();
                if !negated {
                    self.doc.nats.push(Nat { at, interface, refers });
                }
                FIREWALL
            }
            Command::DialerList => self.dialer_list(rest, negated),
            Command::Applet => {
                let Some(name) = rest.next() else { return wrong("the applet has no name", "write one") };
                let block = self.doc.applets.open(name, at);
                if negated {
                    self.doc.applets.remove(name);
                }
                self.enter(Mode::Applet, block);
                Did::Ignored(Class::System, "the router's own automation")
            }
            _ => self.member(rest),
        }
    }

    /// `dialer-list N protocol ip|ipv6 permit|deny|list ACL`. It is converted where an interface names it.
    fn dialer_list(&mut self, mut rest: Words<'_>, negated: bool) -> Did {
        const USAGE: &str = "write `dialer-list N protocol ip permit`, `deny` or `list ACL`";
        const UNUSED: Did = Did::Ignored(Class::Unrelated, "no tunnel of vpn-sip has this dialer group");
        let at = self.at;
        self.mode = Mode::Global;
        let Some(number) = rest.number() else { return wrong("the list has no number", USAGE) };
        if negated {
            self.doc.dialer_lists.retain(|l| l.number != number);
            return UNUSED;
        }
        let words: Vec<&str> = rest.iter().collect();
        let (v6, packets) = match words.as_slice() {
            ["protocol", family @ ("ip" | "ipv6"), packets @ ..] => (*family == "ipv6", packets),
            ["protocol", _, ..] => return Did::Ignored(Class::Unrelated, "of another protocol than IP"),
            _ => return wrong("the list has no protocol", USAGE),
        };
        let packets = match packets {
            ["permit"] => Interesting::All,
            ["deny"] => Interesting::None,
            ["list", name] => Interesting::List((*name).to_owned()),
            _ => return wrong("the list does not say which packets", USAGE),
        };
        self.doc.dialer_lists.retain(|l| (l.number, l.v6) != (number, v6));
        self.doc.dialer_lists.push(DialerList { at, number, v6, packets });
        UNUSED
    }

    fn open_opaque(&mut self, mode: Mode, name: &str, negated: bool) {
        let at = self.at;
        let table: &mut Named<Opaque> = match mode {
            Mode::Acl => &mut self.doc.acls,
            Mode::RouteMap => &mut self.doc.route_maps,
            Mode::ClassMap => &mut self.doc.class_maps,
            Mode::PolicyMap => &mut self.doc.policy_maps,
            _ => &mut self.doc.vrfs,
        };
        let block = table.open(name, at);
        if negated {
            table.remove(name);
            self.mode = Mode::Global;
            return;
        }
        self.enter(mode, block);
    }

    /// A line of such a block, and what it names.
    fn member(&mut self, rest: Words<'_>) -> Did {
        let at = self.at;
        let line = self.report.line(at).map(|l| l.text.clone()).unwrap_or_default();
        let words: Vec<&str> = line.split_whitespace().map(|w| w.trim_matches('"')).collect();
        let block = self.open.block;
        let last = rest.iter().last().unwrap_or_default().to_owned();
        let (class, why) = match self.mode {
            Mode::Acl => (Class::System, "the system's firewall does it"),
            Mode::RouteMap => {
                if let Some(map) = self.doc.route_maps.items.get_mut(block) {
                    refer(map, &words, &last);
                }
                (Class::System, "policy routing is the system's")
            }
            Mode::ClassMap => (Class::System, "queueing on the router"),
            Mode::PolicyMap => {
                if let Some(map) = self.doc.policy_maps.items.get_mut(block) {
                    refer(map, &words, &last);
                }
                (Class::System, "queueing on the router")
            }
            Mode::ZonePair => {
                self.doc.zones.push(at);
                (Class::System, "of the zone firewall")
            }
            Mode::Vrf => (Class::Unrelated, "a VRF of other interfaces"),
            Mode::Applet => {
                if let Some(applet) = self.doc.applets.items.get_mut(block) {
                    mention(&mut applet.mentions, &words);
                }
                (Class::System, "the router's own automation")
            }
            _ => return Did::NotMine,
        };
        Did::Ignored(class, why)
    }
}

/// Blocks name few others.
const REFERS_MAX: usize = 256;

fn refer(block: &mut Opaque, words: &[&str], last: &str) {
    for pair in words.windows(2) {
        if let Some(name) =
            names::canonical(pair[1]).filter(|n| names::is_tunnel(n) && pair[0] == "interface")
            && block.tunnels.len() < REFERS_MAX
        {
            block.tunnels.push(name);
        }
    }
    if block.refers.len() < REFERS_MAX {
        block.refers.push(last.to_owned());
    }
}

fn mention(mentions: &mut Vec<String>, words: &[&str]) {
    for (i, word) in words.iter().enumerate() {
        if mentions.len() >= REFERS_MAX {
            return;
        }
        let lower = word.to_ascii_lowercase();
        let tunnel = names::canonical(word).or_else(|| {
            let next = words.get(i + 1).filter(|n| n.bytes().all(|b| b.is_ascii_digit()))?;
            names::canonical(&format!("{word}{next}"))
        });
        match tunnel {
            Some(name) if names::is_tunnel(&name) => mentions.push(name),
            _ if lower == "vpn-sip" => mentions.push(lower),
            _ if lower == "track" => mentions.extend(words.get(i + 1).map(|n| format!("track {n}"))),
            _ if lower.len() > 3 => mentions.push((*word).to_owned()),
            _ => {}
        }
    }
}
