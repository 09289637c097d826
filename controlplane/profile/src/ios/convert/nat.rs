//! `ip nat inside source …` into a tunnel and to a primary line: what of it the profile says as exactly. The rest stays with
//! [`super::security`], which says that it is lost.

use super::Work;
use crate::ios::document::{Address, Interface};
use crate::ios::report::{At, Verdict};
use crate::model::nat::PortProtocol;
use crate::model::primary_nat::{Forward, PrimaryFiltering};
use crate::model::{PrimaryNat, TunnelNat, Word};
use sipsec_net::IpPrefix;
use sipsec_net::nat::{NAT_RULES_MAX, NatProtocol, NatRule, NatSide};
use std::net::{Ipv4Addr, SocketAddrV4};

/// A line that became rules, and what it was made of.
struct Made {
    rules: Vec<NatRule>,
    lines: Vec<At>,
}

impl Work<'_> {
    pub(super) fn translation(&mut self) {
        self.primaries();
        let doc = self.doc;
        for index in 0..self.used.len() {
            let interface = self.used[index].interface;
            let Some(outside) = interface.nat.iter().find(|n| n.value == "outside") else { continue };
            let made: Vec<Made> = doc
                .nats
                .iter()
                .filter(|nat| !self.translated.contains(&nat.at))
                .filter_map(|nat| self.made(interface, nat.at))
                .collect();
            let rules: Vec<TunnelNat> =
                made.iter().flat_map(|m| m.rules.iter().copied().map(TunnelNat)).collect();
            if rules.is_empty() || rules.len() > NAT_RULES_MAX || rules.iter().any(|r| !r.0.is_valid()) {
                continue;
            }
            let lines: Vec<At> = made.into_iter().flat_map(|m| m.lines).chain([outside.at]).collect();
            for line in &lines {
                self.report.set(*line, Verdict::Converted);
            }
            self.translated.extend(lines);
            if let Some(tunnel) = self.out.tunnels.iter_mut().find(|t| t.name == interface.name) {
                tunnel.nat = rules;
            }
        }
    }

    /// What is translated to the address of an interface that is no tunnel, and has a device.
    fn primaries(&mut self) {
        let doc = self.doc;
        for interface in doc.interfaces.iter().filter(|i| i.vpn_sip.is_none()) {
            let Some(device) = self.options.interfaces.get(&interface.name) else { continue };
            let Some((primary, mut lines)) = self.translated_to(interface, device) else { continue };
            lines.extend(interface.nat.iter().filter(|n| n.value == "outside").map(|n| n.at));
            for line in &lines {
                self.report.set(*line, Verdict::Converted);
            }
            self.translated.extend(lines);
            self.out.primary.push((interface.name.clone(), primary));
        }
    }

    fn translated_to(&self, interface: &Interface, device: &str) -> Option<(PrimaryNat, Vec<At>)> {
        let (mut rules, mut lines, mut forwards) = (Vec::new(), Vec::new(), Vec::new());
        for nat in &self.doc.nats {
            let text = self.text(nat.at);
            let words: Vec<&str> = text.split_whitespace().collect();
            let Some(start) = words.iter().position(|w| w.eq_ignore_ascii_case("source")) else { continue };
            match &words[start + 1..] {
                ["list", list, "interface", .., "overload"]
                    if nat.interface.as_deref() == Some(interface.name.as_str()) =>
                {
                    let nowhere = Ipv4Addr::UNSPECIFIED;
                    let made = self.overload(list, (nowhere, nowhere), true, vec![nat.at])?;
                    rules.extend(made.rules);
                    lines.extend(made.lines);
                }
                ["static", rest @ ..] => {
                    if let Some(forward) = self.forward(interface, nat.interface.as_deref(), rest) {
                        forwards.push(forward);
                        lines.push(nat.at);
                    }
                }
                _ => {}
            }
        }
        let (sources, exempt) = in_two_lists(&rules)?;
        let (port_first, port_last) = PrimaryNat::PORTS_DEFAULT;
        let primary = PrimaryNat {
            device: device.to_owned(),
            sources,
            exempt,
            port_first,
            port_last,
            filtering: PrimaryFiltering::default(),
            forwards,
        };
        primary.fits().then_some((primary, lines))
    }

    /// `PROTOCOL LOCAL PORT interface IF PORT`, or with the interface's address.
    fn forward(&self, interface: &Interface, named: Option<&str>, words: &[&str]) -> Option<Forward> {
        let [protocol, local, local_port, global @ ..] = words else { return None };
        let protocol = PortProtocol::from_word(protocol)?;
        let port = match global {
            ["interface", .., port] if named == Some(interface.name.as_str()) => port,
            [address, port] | [address, port, "extendable"]
                if self.own(interface).is_some_and(|own| address.parse() == Ok(own)) =>
            {
                port
            }
            _ => return None,
        };
        let port: u16 = port.parse().ok().filter(|port| *port != 0)?;
        let local = SocketAddrV4::new(local.parse().ok()?, local_port.parse().ok()?);
        Some(Forward { protocol, port, local })
    }

    fn text(&self, at: At) -> String {
        self.report.line(at).map(|l| l.text.clone()).unwrap_or_default()
    }

    fn made(&self, interface: &Interface, at: At) -> Option<Made> {
        let text = self.text(at);
        let words: Vec<&str> = text.split_whitespace().collect();
        let start = words.iter().position(|w| w.eq_ignore_ascii_case("source"))?;
        // What it is translated from is said before it.
        if !words[..start].iter().any(|w| w.eq_ignore_ascii_case("inside")) {
            return None;
        }
        match &words[start + 1..] {
            ["static", rest @ ..] => Some(Made { rules: vec![fixed(rest)?], lines: vec![at] }),
            ["list", list, "interface", .., "overload"] => {
                let named = self.doc.nats.iter().find(|n| n.at == at)?.interface.as_deref()?;
                let address = self.own(interface).filter(|_| named == interface.name)?;
                self.overload(list, (address, address), true, vec![at])
            }
            ["list", list, "pool", pool, "overload"] => {
                let (ends, line) = self.pool(pool)?;
                self.overload(list, ends, false, vec![at, line])
            }
            _ => None,
        }
    }

    /// The interface's address: its own, or that of the one from which it borrows.
    fn own(&self, interface: &Interface) -> Option<Ipv4Addr> {
        match &interface.address.as_ref()?.value {
            Address::Fixed(address, _) => Some(*address),
            Address::Unnumbered(of) => match self.doc.interfaces.get(of)?.address.as_ref()?.value {
                Address::Fixed(address, _) => Some(address),
                _ => None,
            },
            _ => None,
        }
    }

    /// `ip nat pool NAME FIRST LAST …`
    fn pool(&self, name: &str) -> Option<((Ipv4Addr, Ipv4Addr), At)> {
        self.doc.nats.iter().find_map(|nat| {
            let text = self.text(nat.at);
            let words: Vec<&str> = text.split_whitespace().collect();
            let at = words.windows(2).position(|w| w[0].eq_ignore_ascii_case("pool") && w[1] == name)?;
            let is_pool = words.iter().all(|w| !w.eq_ignore_ascii_case("source"));
            let [first, last, ..] = words.get(at + 2..)? else { return None };
            Some(((first.parse().ok()?, last.parse().ok()?), nat.at)).filter(|_| is_pool)
        })
    }

    fn overload(
        &self,
        list: &str,
        (first, last): (Ipv4Addr, Ipv4Addr),
        own_address: bool,
        mut lines: Vec<At>,
    ) -> Option<Made> {
        let acl = self.doc.acls.get(list)?;
        let mut rules = Vec::new();
        for at in &acl.lines {
            let text = self.text(*at);
            let words: Vec<&str> = text.split_whitespace().collect();
            // The head of a named list says nothing by itself.
            let entry = words.iter().position(|w| ["permit", "deny"].contains(w));
            match entry {
                Some(start) => {
                    let (source, destination) = ends(&words[start + 1..])?;
                    rules.push(match words[start] {
                        "permit" => NatRule::Overload { source, destination, first, last, own_address },
                        _ => NatRule::Exempt { source, destination },
                    });
                }
                None if words.contains(&"remark") || words.contains(&"access-list") => {}
                None => return None,
            }
            lines.push(*at);
        }
        (!rules.is_empty()).then_some(Made { rules, lines })
    }
}

/// Sources and exempt destinations, if the rules say no more than that: exemptions come first and are of every source.
fn in_two_lists(rules: &[NatRule]) -> Option<(Vec<IpPrefix>, Vec<IpPrefix>)> {
    let (mut sources, mut exempt, mut limited) = (Vec::new(), Vec::new(), Vec::new());
    for rule in rules {
        match rule {
            NatRule::Overload { source, destination, .. } if *destination == IpPrefix::ANY_V4 => {
                sources.push(*source);
            }
            NatRule::Exempt { source, destination } if sources.is_empty() => {
                exempt.push(*destination);
                limited.push(*source);
            }
            _ => return None,
        }
    }
    let covers = |wide: &IpPrefix, narrow: &IpPrefix| {
        wide.prefix_len() <= narrow.prefix_len() && wide.contains(narrow.addr())
    };
    let all = limited.iter().all(|wide| sources.iter().all(|source| covers(wide, source)));
    (!sources.is_empty() && all).then_some((sources, exempt))
}

/// Source and destination of an entry that names nothing else: no ports, no protocol but IP, no options.
fn ends(words: &[&str]) -> Option<(IpPrefix, IpPrefix)> {
    let (extended, words) = match words {
        ["ip", rest @ ..] => (true, rest),
        _ => (false, words),
    };
    let (source, rest) = end(words)?;
    match (extended, rest) {
        (true, rest) => {
            let (destination, rest) = end(rest)?;
            rest.is_empty().then_some((source, destination))
        }
        (false, []) => Some((source, IpPrefix::ANY_V4)),
        (false, _) => None,
    }
}

/// `any`, `host A`, `A`, or `A WILDCARD`.
fn end<'a, 'b>(words: &'a [&'b str]) -> Option<(IpPrefix, &'a [&'b str])> {
    match words {
        ["any", rest @ ..] => Some((IpPrefix::ANY_V4, rest)),
        ["host", address, rest @ ..] => Some((host(address)?, rest)),
        [address, wildcard, rest @ ..] if wildcard.parse::<Ipv4Addr>().is_ok() => {
            let (address, wildcard): (Ipv4Addr, Ipv4Addr) = (address.parse().ok()?, wildcard.parse().ok()?);
            Some((prefix(address, !wildcard.to_bits())?, rest))
        }
        [address, rest @ ..] => Some((host(address)?, rest)),
        [] => None,
    }
}

fn host(address: &str) -> Option<IpPrefix> {
    Some(IpPrefix::host(address.parse::<Ipv4Addr>().ok()?.into()))
}

/// `None` for a mask with a hole. IOS takes an address with host bits for its network.
fn prefix(address: Ipv4Addr, mask: u32) -> Option<IpPrefix> {
    let network = Ipv4Addr::from_bits(address.to_bits() & mask);
    (mask.leading_ones() + mask.trailing_zeros() == 32)
        .then(|| IpPrefix::new(network.into(), mask.leading_ones() as u8).ok())?
}

/// What follows `static`.
fn fixed(words: &[&str]) -> Option<NatRule> {
    let extendable = |rest: &[&str]| matches!(rest, [] | ["extendable"]);
    let side = NatSide::Inside;
    match words {
        ["network", local, global, length, rest @ ..] if extendable(rest) => {
            let mask = match length.strip_prefix('/') {
                Some(length) => {
                    u32::MAX.checked_shl(32 - length.parse::<u32>().ok().filter(|l| *l <= 32)?).unwrap_or(0)
                }
                None => length.parse::<Ipv4Addr>().ok()?.to_bits(),
            };
            let [local, global] = [local, global].map(|a| prefix(a.parse().ok()?, mask));
            Some(NatRule::Network { side, local: local?, global: global? })
        }
        [protocol @ ("tcp" | "udp"), local, local_port, global, global_port, rest @ ..]
            if extendable(rest) =>
        {
            let end = |a: &str, p: &str| Some(SocketAddrV4::new(a.parse().ok()?, p.parse().ok()?));
            let protocol = if *protocol == "tcp" { NatProtocol::Tcp } else { NatProtocol::Udp };
            Some(NatRule::Port {
                protocol,
                local: end(local, local_port)?,
                global: end(global, global_port)?,
            })
        }
        [local, global, rest @ ..] if extendable(rest) => {
            Some(NatRule::Network { side, local: host(local)?, global: host(global)? })
        }
        _ => None,
    }
}
