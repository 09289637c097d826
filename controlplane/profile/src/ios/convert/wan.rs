//! The line, its interface, and the source of tunnels.

use super::Work;
use crate::ios::Options;
use crate::ios::conversion::Reassembly;
use crate::ios::document::Address;
use crate::ios::report::{At, Verdict};
use crate::model::limits;

impl Work<'_> {
    pub(super) fn wan(&mut self, options: &Options) {
        let doc = self.doc;
        self.sip_by_dhcp();
        self.dhcp();
        let wanted = !self.used.is_empty() || !doc.lines.is_empty();
        for line in &doc.lines {
            let number = &line.value.number;
            if self.out.lines.contains(number) {
                let message =
                    format!("the line {number} stands here with two interfaces; the first was taken");
                self.report.warn(
                    &[line.at],
                    message,
                    "keep the interface that the carrier's line is connected to",
                );
                continue;
            }
            if let Some((first, _)) = &self.out.wan
                && *first != line.value.interface
            {
                let message = format!(
                    "lines are on {first} and on {}; the gateway has one WAN, and the first was taken",
                    line.value.interface
                );
                self.report.warn(&[line.at], message, "give the other line a gateway of its own");
                continue;
            }
            self.out.lines.push(number.clone());
            if self.out.wan.is_none() {
                let name = line.value.interface.clone();
                self.wan_interface(&name, line.at);
                let device = options.interfaces.get(&name).cloned();
                self.out.wan = Some((name, device));
            }
        }
        for used in &self.used {
            let local = &used.vpn_sip.local;
            if self.out.lines.is_empty() {
                let message = format!(
                    "{} calls {} from {local}: neither its line nor its interface is here",
                    used.interface.name, used.vpn_sip.remote
                );
                self.report.error(
                    &[used.at],
                    message,
                    "import the file with `vpn-sip local-number NUMBER address ipv4 INTERFACE`, too",
                );
            } else if !self.out.lines.contains(local) {
                let message = format!(
                    "{} has the local number {local}, and the line is {}",
                    used.interface.name, self.out.lines[0]
                );
                self.report.error(
                    &[used.at],
                    message,
                    "write the number of the line; the router accepts one line alone",
                );
            }
            if used.vpn_sip.remote != *local && self.out.lines.contains(&used.vpn_sip.remote) {
                let message = format!(
                    "{} calls {}, which is a line of this gateway",
                    used.interface.name, used.vpn_sip.remote
                );
                self.report.error(&[used.at], message, "write the number of the peer");
            }
        }
        self.reassembly();
        self.source();
        if wanted {
            self.ask(options);
        }
    }

    fn wan_interface(&mut self, name: &str, at: At) {
        let doc = self.doc;
        let Some(interface) = doc.interfaces.get(name) else {
            let elsewhere = doc
                .interfaces
                .iter()
                .find(|i| !i.dhcp_requests.is_empty())
                .map(|i| format!("; DHCP for SIP is on {}", i.name));
            let message = format!(
                "the line is on {name}, of which nothing else is said here{}",
                elsewhere.unwrap_or_default()
            );
            self.report.warn(&[at], message, "see which interface the carrier's line is connected to");
            return;
        };
        if let Some(vrf) = &interface.vrf {
            let message = format!("{name}, the interface of the line, is in the VRF {}", vrf.value);
            self.report.error(
                &[at, vrf.at],
                message,
                "SIP and tunnels of the gateway are in the global table",
            );
        }
        if let Some(shutdown) = interface.shutdown {
            self.report.warn(
                &[at, shutdown],
                format!("{name}, the interface of the line, has `shutdown`"),
                "see whether the line is in use",
            );
        }
        let missing = interface.address.as_ref().is_none_or(|a| a.value == Address::None);
        if missing && interface.dhcp_requests.is_empty() {
            let lines: Vec<At> = interface.address.iter().map(|a| a.at).chain([at]).collect();
            self.report.warn(
                &lines,
                format!("{name}, the interface of the line, has no address"),
                "the line cannot register without one",
            );
        }
    }

    /// `ip virtual-reassembly` of the line's interface → `dataplane.outside.reassembly`
    fn reassembly(&mut self) {
        let Some((name, _)) = &self.out.wan else { return };
        let Some(said) = self.doc.interfaces.get(name).and_then(|i| i.reassembly.as_ref()) else { return };
        let value = said.value;
        let mut changed = Vec::new();
        let mut fit = |what: &str, number: Option<u32>, least: u32, most: u32| {
            let number = number?;
            let fits = number.clamp(least, most);
            if fits != number {
                changed.push(format!("{what} {number} is {fits} here ({least} to {most})"));
            }
            Some(fits)
        };
        let datagrams = fit("max-reassemblies", value.datagrams, 1, limits::REASSEMBLY_DATAGRAMS_MAX.into());
        let fragments = fit("max-fragments", value.fragments, 2, limits::REASSEMBLY_FRAGMENTS_MAX.into());
        let timeout_s = fit("timeout", value.timeout_s, 1, limits::REASSEMBLY_TIMEOUT_S_MAX.into());
        if let Some(share) = value.percentage {
            changed.push(format!("percentage {share} has no key: memory is set aside at the start"));
        }
        self.out.reassembly = Reassembly {
            datagrams_per_peer: if value.drop { Some(0) } else { datagrams.and_then(|n| n.try_into().ok()) },
            fragments: fragments.and_then(|n| n.try_into().ok()),
            timeout_s: timeout_s.and_then(|n| n.try_into().ok()),
        };
        if self.out.reassembly != Reassembly::default() {
            self.report.set(said.at, Verdict::Converted);
        }
        if !changed.is_empty() {
            let message = format!("ip virtual-reassembly of {name}: {}", changed.join("; "));
            self.report.warn(&[said.at], message, "see `dataplane.outside.reassembly`");
        }
        if value.drop {
            let message = format!(
                "{name} drops fragments: packets that the peer's line cuts do not come through the tunnel"
            );
            self.report.warn(
                &[said.at],
                message,
                "remove `datagrams_per_peer: 0` unless it is meant: the gateway puts fragments together",
            );
        } else if datagrams.is_some() {
            let message = "max-reassemblies counts the datagrams of the whole interface on the router, and those of one \
                           peer here (512 of all peers)";
            self.report.note(&[said.at], message, "nothing to do");
        }
    }

    /// Whether the interface of the line has its address by DHCP and asks for the registrar, too.
    fn sip_by_dhcp(&mut self) {
        let line = self.doc.lines.first().and_then(|line| self.doc.interfaces.get(&line.value.interface));
        self.out.sip_by_dhcp = line.is_some_and(|interface| {
            let dhcp = interface.address.as_ref().is_some_and(|a| a.value == Address::Dynamic);
            dhcp && interface.shutdown.is_none() && !interface.dhcp_requests.is_empty()
        });
    }

    /// Interfaces that learn the registrar by DHCP.
    fn dhcp(&mut self) {
        let doc = self.doc;
        for interface in doc.interfaces.iter().filter(|i| !i.dhcp_requests.is_empty()) {
            let of_line = doc.lines.first().is_some_and(|line| line.value.interface == interface.name);
            let (does, hint) = if self.out.sip_by_dhcp && of_line {
                let hint = "the gateway asks for the address, too (`wan.ipv4: dhcp`): no other DHCP client may run on the device";
                ("so does the gateway", hint)
            } else {
                ("the profile names them", "ask the carrier, or look on the router: `show vpn-sip sip dhcp`")
            };
            let message = format!(
                "{} learns the registrar and its domain by DHCP (options 120 and 125); {does}",
                interface.name
            );
            self.report.warn(&interface.dhcp_requests, message, hint);
            if interface.address.as_ref().is_none_or(|a| a.value == Address::None) {
                let lines: Vec<At> = interface
                    .address
                    .iter()
                    .map(|a| a.at)
                    .chain(interface.dhcp_requests.iter().copied())
                    .collect();
                let message = format!(
                    "{} has no IP address, though it asks for options of DHCP: its line cannot register",
                    interface.name
                );
                self.report.warn(
                    &lines,
                    message,
                    "the router needs `ip address dhcp`; the gateway takes the address of its device",
                );
            }
        }
    }

    /// `vpn-sip tunnel source` and the `tunnel source` of each tunnel → `media.tunnel_source`
    fn source(&mut self) {
        let doc = self.doc;
        let global = doc.source.as_ref();
        let mut odd: Vec<(&str, At)> = Vec::new();
        let mut first: Option<&str> = global.map(|s| s.value.as_str());
        for used in &self.used {
            let Some(said) = &used.interface.source else { continue };
            let first = *first.get_or_insert(said.value.as_str());
            if said.value != first {
                odd.push((&said.value, said.at));
            }
        }
        if let (Some((name, _)), Some(first)) = (odd.first(), first) {
            let lines: Vec<At> = odd.iter().map(|(_, at)| *at).chain(global.map(|g| g.at)).collect();
            let exists = if doc.interfaces.get(name).is_some() { "" } else { " (which is not defined here)" };
            let message =
                format!("tunnels have the source {name}{exists}, and the source of vpn-sip is {first}");
            self.report.warn(
                &lines,
                message,
                "harmless here: the gateway has one source for all, `media.tunnel_source`",
            );
        }
        self.out.tunnel_source = first.and_then(|name| self.address_of(name));
    }

    /// What the configuration cannot know.
    fn ask(&mut self, options: &Options) {
        let report = &mut self.report;
        if self.out.sip_by_dhcp {
            report.ask("sip.registrar", "learnt by DHCP, as on the router; the address of the carrier's registrar if DHCP does not give it");
            report.ask(
                "sip.domain",
                "learnt by DHCP, as on the router; the SIP domain of the carrier if DHCP does not give it",
            );
        } else {
            report.ask("sip.registrar", "the address of the carrier's registrar: ADDRESS:PORT");
            report.ask("sip.domain", "the SIP domain of the carrier");
        }
        report.ask("sip.lines.auth", "user name and password of the line, if the carrier gave any (many know the access line by itself)");
        match &self.out.wan {
            Some((name, None)) => {
                report.ask(
                    "sip.interface",
                    format!("the device that takes the place of {name}: --ifmap {name}=wan0"),
                );
            }
            Some(_) => {}
            None => report.ask("sip.interface", "the device of the carrier's line: --ifmap INTERFACE=wan0"),
        }
        if options.gateway.is_none() && self.out.gateway.is_none() {
            report.ask("gateway", "a name for the gateway: --name NAME");
        }
    }
}
