//! From what a configuration says to a profile, and what cannot be carried over.

mod algorithm;
mod beside;
mod certificate;
mod filter;
mod keys;
mod nat;
mod qos;
mod reference;
mod route;
mod security;
mod wan;
mod watch;

pub(super) use algorithm::GROUPS;

use super::Options;
use super::conversion::{Conversion, Tunnel};
use super::document::{
    Address, Block, Destination, Document, IkeProfile, Interface, IpsecProfile, TunnelMode, VpnSip,
};
use super::report::{At, Class, Report, Verdict};
use super::words::nearest;
use std::collections::{HashMap, HashSet};

/// Inner packets that fit an Ethernet WAN (1500 less 62 of ESP in UDP over IPv4), and what every host takes.
const MTU: std::ops::RangeInclusive<u32> = 576..=1438;
/// Twice what is recommended.
const IDLE_WARN_S: u32 = 240;
/// IFNAMSIZ less the end of the string.
const DEVICE_NAME_MAX: usize = 15;
/// The carrier charges by units of 30 s.
const UNIT_S: u32 = 30;

/// A tunnel of the profile and the blocks that shape it.
struct Used<'a> {
    interface: &'a Interface,
    vpn_sip: &'a VpnSip,
    at: At,
    ike: Option<&'a IkeProfile>,
    ipsec: Option<&'a IpsecProfile>,
}

/// What the conversion works with.
struct Work<'a> {
    doc: &'a Document,
    options: &'a Options,
    report: &'a mut Report,
    out: Conversion,
    used: Vec<Used<'a>>,
    /// Tunnels that are left out, and why a route to them is.
    left_out: HashMap<String, &'static str>,
    /// Names of IKEv2 profiles that no tunnel of vpn-sip uses, though others do.
    unrelated: HashSet<&'a str>,
    /// The same of keyrings and IPsec profiles.
    foreign_keyrings: HashSet<&'a str>,
    foreign_ipsec: HashSet<&'a str>,
    /// Tunnels (of `used`) by their IKEv2 profile, and the IPsec profiles of tunnels.
    by_ike: HashMap<&'a str, Vec<usize>>,
    used_ipsec: HashSet<&'a str>,
    /// Lines that became rules of translation.
    translated: HashSet<At>,
}

/// Converts; the report gets what there is to say.
pub fn convert(doc: &Document, report: &mut Report, options: &Options) -> Conversion {
    let mut work = Work {
        doc,
        options,
        report,
        out: Conversion { interfaces: options.interfaces.clone(), ..Conversion::default() },
        used: Vec::new(),
        left_out: HashMap::new(),
        unrelated: HashSet::new(),
        foreign_keyrings: HashSet::new(),
        foreign_ipsec: HashSet::new(),
        by_ike: HashMap::new(),
        used_ipsec: HashSet::new(),
        translated: HashSet::new(),
    };
    work.whole();
    work.tunnels();
    work.relations();
    work.wan(options);
    work.profiles();
    work.keys();
    work.certificates();
    work.ike_settings();
    work.proposals();
    work.esp();
    work.operations();
    work.tracks();
    work.routes();
    work.translation();
    work.interesting();
    work.security();
    work.beside();
    work.vrfs();
    work.out
}

impl<'a> Work<'a> {
    /// About the whole: completeness, fragments, `vpn-sip enable`.
    fn whole(&mut self) {
        let doc = self.doc;
        if let Some(header) = doc.header.filter(|_| !doc.ended) {
            self.report.warn(
                &[header],
                "the configuration has a header but no `end`: the capture may be incomplete",
                "export it anew, and compare its last lines with the router",
            );
        }
        let tunnels = doc.interfaces.iter().any(|i| i.vpn_sip.is_some());
        if !tunnels && doc.vpn_sip.is_empty() {
            self.report.note(
                &[],
                "a fragment: there is no vpn-sip in it, so no profile comes of it alone",
                "import it together with the rest: `sipsec import ios FILE…`, or write it with --fragment",
            );
        } else if !tunnels {
            self.report.error(
                &[],
                "there is no tunnel with vpn-sip in this configuration",
                "import it together with its interfaces Tunnel: `sipsec import ios FILE…`",
            );
        } else if !doc.enable.as_ref().is_some_and(|e| e.value) && !doc.vpn_sip.is_empty() {
            self.report.warn(
                &doc.vpn_sip,
                "there is no `vpn-sip enable`: on the router the feature was off",
                "see whether it was meant to be; the gateway has no such switch",
            );
        }
        if !doc.sip_features.is_empty() && (tunnels || !doc.vpn_sip.is_empty()) {
            self.report.warn(
                &doc.sip_features,
                "telephony of the router takes port 5060; on IOS vpn-sip is off beside it",
                "move telephony elsewhere: the gateway needs the port itself",
            );
        }
        let gateway: String = doc
            .hostname
            .as_ref()
            .or(doc.prompt.as_ref())
            .map(|h| {
                h.value
                    .chars()
                    .filter(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_'))
                    .take(64)
                    .collect()
            })
            .unwrap_or_default();
        self.out.gateway = (!gateway.is_empty()).then_some(gateway);
    }

    /// Every interface with vpn-sip becomes a tunnel unless something forbids it.
    fn tunnels(&mut self) {
        let doc = self.doc;
        let mut pairs: HashMap<(&str, &str), &str> = HashMap::new();
        for interface in doc.interfaces.iter() {
            let Some(said) = &interface.vpn_sip else {
                self.without_vpn_sip(interface);
                continue;
            };
            let (value, name) = (&said.value, interface.name.as_str());
            let both = [interface.head(), &[said.at]].concat();
            if let Some(vrf) = interface.vrf.as_ref().or(interface.tunnel_vrf.as_ref()) {
                let lines = [interface.head(), &[vrf.at]].concat();
                let message = format!(
                    "{name} is in the VRF {}, and tunnels of the gateway are in the global table",
                    vrf.value
                );
                let hint = "imported there it would join networks that were apart; it is left out. Give the VRF a gateway of its own";
                self.report.error(&lines, message, hint);
                self.left_out.insert(name.to_owned(), "is in a VRF");
                continue;
            }
            if value.local == value.remote {
                let message = format!("{name} calls its own number {}", value.remote);
                self.report.error(&both, message, "write the number of the peer; the tunnel is left out");
                self.left_out.insert(name.to_owned(), "calls its own number");
                continue;
            }
            if let Some(first) = pairs.get(&(value.local.as_str(), value.remote.as_str())) {
                let message =
                    format!("{first} already joins {} and {}; {name} is left out", value.local, value.remote);
                self.report.error(
                    &both,
                    message,
                    "one tunnel for each pair of numbers: a call could not tell them apart",
                );
                self.left_out.insert(name.to_owned(), "repeats another tunnel");
                continue;
            }
            pairs.insert((&value.local, &value.remote), name);
            if let Some(shutdown) = interface.shutdown {
                let message = format!("{name} has `shutdown` on the router; it is left out");
                let lines = [both.as_slice(), &[shutdown]].concat();
                let lines = self.with_protection(interface, lines);
                self.report.warn(
                    &lines,
                    message,
                    "remove `shutdown` and import again if the tunnel is to live",
                );
                self.report.ignore(&interface.lines, Class::System, "of a tunnel that is shut down");
                self.left_out.insert(name.to_owned(), "is shut down");
                continue;
            }
            self.used.push(Used { interface, vpn_sip: value, at: said.at, ike: None, ipsec: None });
        }
    }

    fn with_protection(&self, interface: &Interface, mut lines: Vec<At>) -> Vec<At> {
        lines.extend(interface.protection.as_ref().map(|p| p.at));
        lines
    }

    /// Tunnels of other features, and those from which vpn-sip is missing.
    fn without_vpn_sip(&mut self, interface: &Interface) {
        let name = &interface.name;
        if !super::names::is_tunnel(name) {
            // Templates of other features protect themselves in the same words.
            let protection: Vec<At> = interface.protection.iter().map(|p| p.at).collect();
            self.report.ignore(&protection, Class::Unrelated, "an interface without vpn-sip");
            return;
        }
        let failed = interface.lines.iter().any(|at| self.report.verdict(*at) == Some(Verdict::Error));
        let alike = interface.protection.as_ref().is_some_and(|p| {
            let ipsec = interface.mode.as_ref().is_some_and(|m| m.value == TunnelMode::Ipsec);
            let dynamic = interface.destination.as_ref().is_some_and(|d| d.value == Destination::Dynamic);
            p.value.ike.is_some() || (ipsec && dynamic)
        });
        if failed {
            self.left_out.insert(name.clone(), "has an error");
            return;
        }
        self.report.ignore(&interface.lines, Class::Unrelated, "a tunnel without vpn-sip");
        self.left_out.insert(name.clone(), "has no vpn-sip");
        if alike {
            let message =
                format!("{name} is like the tunnels of vpn-sip, but has no vpn-sip line: it calls no number");
            self.report.warn(
                &interface.lines,
                message,
                "add `vpn-sip local-number NUMBER remote-number NUMBER bandwidth KBPS` if it is one; it is left out",
            );
        }
    }

    /// Finds the profiles of each tunnel, and builds it.
    fn profiles(&mut self) {
        let doc = self.doc;
        let mut used = std::mem::take(&mut self.used);
        for tunnel in &mut used {
            let Some(protection) = &tunnel.interface.protection else {
                let message = format!("{} has no tunnel protection", tunnel.interface.name);
                self.report.error(
                    &[tunnel.at],
                    message,
                    "add `tunnel protection ipsec profile P ikev2-profile Q`: without it no key is found",
                );
                self.left_out.insert(tunnel.interface.name.clone(), "has no tunnel protection");
                continue;
            };
            let at = protection.at;
            tunnel.ipsec = doc.ipsec_profiles.get(&protection.value.ipsec);
            if tunnel.ipsec.is_none() {
                self.dangling(at, "IPsec profile", &protection.value.ipsec, doc.ipsec_profiles.names());
            }
            let inherited = tunnel.ipsec.and_then(|p| p.ike_profile.as_ref());
            match (&protection.value.ike, inherited) {
                (Some(name), _) => {
                    tunnel.ike = doc.ike_profiles.get(name);
                    if tunnel.ike.is_none() {
                        self.dangling(at, "IKEv2 profile", name, doc.ike_profiles.names());
                    }
                }
                (None, Some(said)) => {
                    tunnel.ike = doc.ike_profiles.get(&said.value);
                    if tunnel.ike.is_none() {
                        self.dangling(said.at, "IKEv2 profile", &said.value, doc.ike_profiles.names());
                    }
                }
                (None, None) if tunnel.ipsec.is_some() => {
                    let message = format!("{} has no IKEv2 profile", tunnel.interface.name);
                    let hint = "add `ikev2-profile Q` to its tunnel protection, or `set ikev2-profile Q` to the IPsec profile";
                    self.report.error(&[at], message, hint);
                }
                (None, None) => {}
            }
            let built = self.build(tunnel);
            self.out.tunnels.push(built);
        }
        for (i, tunnel) in used.iter().enumerate() {
            if let Some(profile) = tunnel.ike {
                self.by_ike.entry(profile.name.as_str()).or_default().push(i);
            }
            self.used_ipsec.extend(tunnel.ipsec.map(|p| p.name.as_str()));
        }
        self.used = used;
        self.used_idle();
    }

    fn build(&mut self, used: &Used<'_>) -> Tunnel {
        let interface = used.interface;
        let mtu = interface.mtu.as_ref().filter(|m| {
            let fits = MTU.contains(&m.value);
            if !fits {
                let message = format!(
                    "{} has an MTU of {}; with ESP in UDP {} to {} fit",
                    interface.name,
                    m.value,
                    MTU.start(),
                    MTU.end()
                );
                self.report.warn(
                    &[m.at],
                    message,
                    "it is left out, and the gateway takes the largest that fits",
                );
            }
            fits
        });
        let idle = used.ipsec.and_then(|p| p.idle_s.as_ref()).or(self.doc.idle_s.as_ref());
        let (device, unnumbered) = self.own_device(interface).unzip();
        Tunnel {
            name: interface.name.clone(),
            local: used.vpn_sip.local.clone(),
            remote: used.vpn_sip.remote.clone(),
            kbps: used.vpn_sip.kbps,
            idle_s: idle.map(|i| i.value),
            mtu: mtu.map(|m| m.value),
            device,
            unnumbered,
            filter: None,
            qos: None,
            routes: Vec::new(),
            metric: None,
            nat: Vec::new(),
        }
    }

    /// `ip unnumbered` of an interface that has a device here: the tunnel has a device of its own with that one's addresses.
    fn own_device(&mut self, interface: &Interface) -> Option<(String, String)> {
        let said = interface.address.as_ref()?;
        let Address::Unnumbered(of) = &said.value else { return None };
        let lender = self.options.interfaces.get(of)?.clone();
        let name = interface.name.replace('/', ".");
        let is_device = name.len() <= DEVICE_NAME_MAX && name != lender;
        if !is_device {
            let message = format!("{} is no name for a device, so {of} lends no address", interface.name);
            self.report.warn(&[said.at], message, "write `device` and `unnumbered` of the tunnel");
            return None;
        }
        self.report.set(said.at, Verdict::Converted);
        Some((name, lender))
    }

    /// What an idle time costs, and what its absence means.
    fn used_idle(&mut self) {
        let doc = self.doc;
        let fragment = self.used.is_empty();
        for profile in
            doc.ipsec_profiles.iter().filter(|p| fragment || self.used_ipsec.contains(p.name.as_str()))
        {
            match profile.idle_s.as_ref().or(doc.idle_s.as_ref()) {
                Some(idle) if idle.value > IDLE_WARN_S => {
                    let message = format!(
                        "an idle time of {} s keeps a call for about {} charged units of {UNIT_S} s after its last packet",
                        idle.value,
                        idle.value.div_ceil(UNIT_S)
                    );
                    self.report.warn(&[idle.at], message, "120 s is recommended");
                }
                Some(_) => {}
                None => {
                    let message = format!(
                        "the IPsec profile {} has no idle-time: the router never hangs up by itself",
                        profile.name
                    );
                    self.report.warn(
                        &profile.lines,
                        message,
                        "the gateway does after 120 s; write `idle_s` for another time",
                    );
                }
            }
        }
    }

    /// A name that leads nowhere.
    fn dangling<'n>(&mut self, at: At, what: &str, name: &str, known: impl Iterator<Item = &'n str>) {
        let known: Vec<&str> = known.take(512).collect();
        let near = nearest(name, known.iter().copied(), 1);
        let hint = match (near.as_slice(), known.as_slice()) {
            ([near], _) if near.eq_ignore_ascii_case(name) => {
                format!("{near} differs in case alone: names are exact")
            }
            ([near], _) => format!("did you mean {near}?"),
            (_, []) => format!("there is no {what} here at all: import the file that defines it, too"),
            (_, known) => {
                format!("known here: {}", known.iter().take(4).copied().collect::<Vec<_>>().join(", "))
            }
        };
        self.report.error(&[at], format!("there is no {what} of the name {name}"), hint);
    }

    /// The address of a loopback.
    fn address_of(&self, name: &str) -> Option<std::net::Ipv4Addr> {
        match &self.doc.interfaces.get(name)?.address.as_ref()?.value {
            Address::Fixed(ip, _) => Some(*ip),
            Address::Unnumbered(of) if of != name => {
                match &self.doc.interfaces.get(of)?.address.as_ref()?.value {
                    Address::Fixed(ip, _) => Some(*ip),
                    _ => None,
                }
            }
            _ => None,
        }
    }
}
