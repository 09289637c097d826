//! `interface …`

use super::{ADDRESSES, Did, Reader, wrong};
use crate::ios::document::{Address, Destination, Protection, Reassembly, Said, TunnelMode, VpnSip};
use crate::ios::grammar::{Command, Mode};
use crate::ios::names;
use crate::ios::report::Class;
use crate::ios::words::Words;
use sipsec_net::TelNumber;

const SYSTEM: Did = Did::Ignored(Class::System, ADDRESSES);

/// `[in|out] [max-reassemblies N] [max-fragments N] [timeout S] [percentage P] [drop-fragments]`; nothing for `out` alone.
fn reassembly(mut rest: Words<'_>) -> Result<Option<Reassembly>, Did> {
    const WORDS: [&str; 7] =
        ["in", "out", "max-reassemblies", "max-fragments", "timeout", "percentage", "drop-fragments"];
    let mut said = Reassembly::default();
    let mut leaving = false;
    while !rest.is_empty() {
        let word = rest.keyword(&WORDS);
        let value = match word {
            Some("in") => continue,
            Some("out") => {
                leaving = true;
                continue;
            }
            Some("drop-fragments") => {
                said.drop = true;
                continue;
            }
            Some("max-reassemblies") => &mut said.datagrams,
            Some("max-fragments") => &mut said.fragments,
            Some("timeout") => &mut said.timeout_s,
            Some(_) => &mut said.percentage,
            None => {
                let known = format!("known here: {}", WORDS.join(", "));
                return Err(wrong("a word of this line does not belong to the command", known));
            }
        };
        *value = Some(rest.number().ok_or_else(|| {
            wrong(
                format!("the number of {} is missing", word.unwrap_or_default()),
                "write it behind the word",
            )
        })?);
    }
    Ok((!leaving).then_some(said))
}

const OTHER_KIND: &str = "an interface of a kind that the import does not know";

const SVTI: Did = Did::Ignored(Class::System, "every tunnel of the gateway is one");

impl Reader {
    pub(super) fn open_interface(&mut self, mut rest: Words<'_>, negated: bool) -> Did {
        let at = self.at;
        if rest.peek().is_some_and(|w| w.eq_ignore_ascii_case("range")) {
            self.enter(Mode::Other(Class::System, ADDRESSES), 0);
            return SYSTEM;
        }
        let unread = rest.peek().map(str::to_owned);
        let Some(name) = names::interface(&mut rest) else {
            // Its settings are no commands of global configuration.
            self.enter(Mode::Other(Class::System, OTHER_KIND), 0);
            return match unread.as_deref().map(names::near_kind) {
                Some(None) => Did::Ignored(Class::System, OTHER_KIND),
                _ => wrong("this is no name of an interface", "write one as in Tunnel1 or GigabitEthernet8"),
            };
        };
        if negated {
            self.doc.interfaces.remove(&name);
            self.mode = Mode::Global;
            return Did::Converted;
        }
        let block = self.doc.interfaces.open(&name, at);
        self.enter(Mode::Interface, block);
        if names::is_tunnel(&name) { Did::Converted } else { SYSTEM }
    }

    pub(super) fn interface(&mut self, command: Command, mut rest: Words<'_>, negated: bool) -> Did {
        let at = self.at;
        if self.mode != Mode::Interface {
            return Did::NotMine;
        }
        if command == Command::TunnelVpnSip {
            return self.vpn_sip(rest, negated);
        }
        let Some(interface) = self.doc.interfaces.items.get_mut(self.open.block) else { return Did::NotMine };
        if command == Command::CryptoMap {
            // One word binds the map to the interface; more define the map itself.
            return if rest.len() == 1 || (negated && rest.is_empty()) { SYSTEM } else { Did::NotMine };
        }
        let text = || rest.rest().to_owned();
        match command {
            Command::Address => match rest.keyword(&["dhcp", "negotiated"]) {
                Some(_) if negated => interface.address = Some(Said::new(Address::None, at)),
                Some(_) => interface.address = Some(Said::new(Address::Dynamic, at)),
                None if negated => interface.address = Some(Said::new(Address::None, at)),
                None => {
                    let (Some(ip), Some(mask)) = (rest.number(), rest.number()) else {
                        return wrong("this is no address with its mask", "write ADDRESS MASK, or dhcp");
                    };
                    if rest.keyword(&["secondary"]).is_none() {
                        interface.address = Some(Said::new(Address::Fixed(ip, mask), at));
                    }
                }
            },
            Command::Unnumbered => {
                let of = names::interface(&mut rest);
                interface.address = of.filter(|_| !negated).map(|of| Said::new(Address::Unnumbered(of), at));
            }
            Command::TunnelMtu => {
                let Some(mtu) = rest.number().filter(|_| !negated) else {
                    return super::ike::no_or(negated, &mut interface.mtu, "write a number of bytes");
                };
                interface.mtu = Some(Said::new(mtu, at));
                return if names::is_tunnel(&interface.name) { Did::Converted } else { SYSTEM };
            }
            Command::Nat => {
                if !rest.is_empty() {
                    return Did::NotMine;
                }
                let line = self.report.line(at).map(|l| l.text.to_ascii_lowercase()).unwrap_or_default();
                let side = if line.contains("ou") && !line.contains("in") || line.contains("nat ou") {
                    "outside"
                } else {
                    "inside"
                };
                if let Some(interface) = self.doc.interfaces.items.get_mut(self.open.block) {
                    interface.nat.retain(|n| n.value != side);
                    if !negated {
                        interface.nat.push(Said::new(side, at));
                    }
                }
            }
            Command::DhcpRequest => {
                let asked = rest.peek().unwrap_or_default().to_ascii_lowercase();
                let sip = asked.starts_with("sip") || asked.starts_with("vendor");
                if sip && negated {
                    interface.dhcp_requests.clear();
                } else if sip {
                    interface.dhcp_requests.push(at);
                }
            }
            Command::Reassembly => {
                let said = match reassembly(rest) {
                    Ok(said) => said,
                    Err(did) => return did,
                };
                // Packets that leave are not put together here.
                if let Some(said) = said {
                    interface.reassembly = (!negated).then(|| Said::new(said, at));
                }
            }
            Command::AccessGroup => {
                let name = rest.next().unwrap_or_default();
                let name = if name == "name" { rest.next().unwrap_or_default() } else { name }.to_owned();
                interface.filters.retain(|f| f.value != name);
                if !negated {
                    interface.filters.push(Said::new(name, at));
                }
            }
            Command::ZoneMember => {
                interface.zone = rest.iter().last().filter(|_| !negated).map(|z| Said::new(z.to_owned(), at));
            }
            Command::PolicyRoute => {
                let map = rest.keyword(&["route-map"]).and_then(|_| rest.next());
                interface.policy_route = map.filter(|_| !negated).map(|m| Said::new(m.to_owned(), at));
            }
            Command::Inspect => {
                if !rest.iter().last().is_some_and(|w| matches!(w, "in" | "out")) {
                    return Did::NotMine;
                }
                interface.other_security.push(Said::new(format!("ip inspect {}", text()), at));
            }
            Command::Protect | Command::Routing | Command::Rate => {
                let said = self.report.line(at).map(|l| l.text.trim().to_owned()).unwrap_or_default();
                let list = match command {
                    Command::Routing => &mut interface.routing,
                    Command::Rate => &mut interface.rate,
                    _ => &mut interface.other_security,
                };
                if !negated {
                    list.push(Said::new(said, at));
                }
            }
            Command::VerifySource if !negated => {
                interface.other_security.push(Said::new(format!("ip verify {}", text()), at));
            }
            Command::VrfForwarding => {
                let name = rest.next().unwrap_or_default().to_owned();
                interface.vrf = (!negated && !name.is_empty()).then(|| Said::new(name, at));
            }
            Command::ServicePolicy => {
                let name = rest.iter().last().unwrap_or_default().to_owned();
                interface.service_policy.retain(|p| p.value != name);
                if !negated {
                    interface.service_policy.push(Said::new(name, at));
                }
            }
            Command::DialerGroup => {
                let Some(number) = rest.number().filter(|_| !negated) else {
                    return super::ike::no_or(negated, &mut interface.dialer_group, "write a number");
                };
                interface.dialer_group = Some(Said::new(number, at));
            }
            Command::Shutdown => interface.shutdown = (!negated).then_some(at),
            Command::TunnelSource => {
                interface.source = names::interface(&mut rest).filter(|_| !negated).map(|s| Said::new(s, at));
            }
            Command::TunnelMode => {
                let mode = match rest.keyword(&["ipsec"]) {
                    Some(_) => TunnelMode::Ipsec,
                    None => TunnelMode::Other(rest.rest().to_owned()),
                };
                interface.mode = (!negated).then(|| Said::new(mode, at));
                return SVTI;
            }
            Command::TunnelDestination => {
                let destination = match rest.keyword(&["dynamic"]) {
                    Some(_) => Destination::Dynamic,
                    None => Destination::Other(rest.rest().to_owned()),
                };
                interface.destination = (!negated).then(|| Said::new(destination, at));
                return SVTI;
            }
            Command::Backup => {
                let is_interface = rest.keyword(&["interface"]).is_some();
                let of = names::interface(&mut rest).filter(|_| is_interface);
                if negated {
                    interface.backup.retain(|b| b.value.is_some() != is_interface);
                } else {
                    interface.backup.push(Said::new(of, at));
                }
            }
            Command::TunnelVrf => {
                interface.tunnel_vrf = rest.next().filter(|_| !negated).map(|v| Said::new(v.to_owned(), at));
            }
            Command::TunnelProtection => {
                if negated {
                    interface.protection = None;
                    return Did::Converted;
                }
                let ipsec = rest
                    .keyword(&["ipsec"])
                    .and_then(|_| rest.keyword(&["profile"]))
                    .and_then(|_| rest.next());
                let Some(ipsec) = ipsec else {
                    return wrong(
                        "the IPsec profile is missing",
                        "write `tunnel protection ipsec profile P ikev2-profile Q`",
                    );
                };
                let ipsec = ipsec.to_owned();
                let ike = rest.keyword(&["ikev2-profile"]).and_then(|_| rest.next()).map(str::to_owned);
                interface.protection = Some(Said::new(Protection { ipsec, ike }, at));
                return Did::Converted;
            }
            _ => {}
        }
        SYSTEM
    }

    /// `vpn-sip local-number L remote-number R bandwidth B`, or `sip-local` and `sip-remote`
    fn vpn_sip(&mut self, mut rest: Words<'_>, negated: bool) -> Did {
        const USAGE: &str = "write `vpn-sip local-number NUMBER remote-number NUMBER bandwidth 64|512|1000`";
        let at = self.at;
        let first = rest.keyword(&["local-number", "sip-local"]);
        let Some(interface) = self.doc.interfaces.items.get_mut(self.open.block) else { return Did::NotMine };
        if negated && (first.is_some() || rest.is_empty()) {
            interface.vpn_sip = None;
            return Did::Converted;
        }
        let (Some(first), Some(local)) = (first, rest.next()) else { return Did::NotMine };
        let Some(second) = rest.keyword(&["remote-number", "sip-remote"]) else { return Did::NotMine };
        if !names::is_tunnel(&interface.name) {
            return wrong("vpn-sip belongs to a tunnel", "move it to its interface Tunnel");
        }
        let remote = rest.next().unwrap_or_default();
        let (Ok(local), Ok(remote)) = (local.parse::<TelNumber>(), remote.parse::<TelNumber>()) else {
            return wrong("local and remote number are not both telephone numbers", USAGE);
        };
        let kbps = rest.keyword(&["bandwidth"]).and_then(|_| rest.number::<u32>());
        let Some(kbps) = kbps.filter(|k| (1..=10_000_000).contains(k)) else {
            return wrong("the bandwidth is missing, 0 or no number", USAGE);
        };
        let extra = rest.next();
        if let Some(word) = extra.filter(|w| w.is_ascii()) {
            let word: String = word.chars().take(40).collect();
            return wrong(format!("`{word}` does not belong to this command"), USAGE);
        }
        let name = interface.name.clone();
        let value = VpnSip { local: local.to_string(), remote: remote.to_string(), kbps };
        interface.vpn_sip = Some(Said::new(value, at));
        if first == "sip-local" || second == "sip-remote" {
            let message = format!(
                "{name} has the older spelling sip-local and sip-remote; it was read as local-number and remote-number"
            );
            self.report.note(&[at], message, "nothing to do");
        }
        if !matches!(kbps, 64 | 512 | 1000) {
            let message = format!("{name} asks for {kbps} kbps, and IOS knows 64, 512 and 1000");
            self.report.warn(&[at], message, "see what the carrier offers");
        }
        Did::Converted
    }
}
