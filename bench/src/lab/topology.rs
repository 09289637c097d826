//! The demonstration's network.
//!
//! ```text
//!  branch-lan ──10.1.0.0/24── branch ──198.51.100.0/24── carrier ──203.0.113.0/24── headend ──10.2.0.0/24── centre-lan
//!        .2                .1        .6                .1       .1                .9         .1               .2
//! ```
//!
//! The carrier routes between the two access lines and knows nothing of 10.0.0.0/8: what arrives there came through a
//! tunnel.

use super::carrier::Kind;
use super::error::LabError;
use super::netns::{End, Ledger, Namespace, Offload, PREFIX, link, link_with_queues};
use super::primary::Primary;
use std::net::IpAddr;

pub const BRANCH_LAN_HOST: &str = "10.1.0.2";
pub const CENTRE_LAN_HOST: &str = "10.2.0.2";
pub const BRANCH_WAN: &str = "198.51.100.6";
pub const HEADEND_WAN: &str = "203.0.113.9";
pub const CARRIER_BRANCH_SIDE: &str = "198.51.100.1";
pub const CARRIER_HEADEND_SIDE: &str = "203.0.113.1";
/// The same of a lab with IPv6.
pub const BRANCH_WAN6: &str = "2001:db8:51::6";
pub const HEADEND_WAN6: &str = "2001:db8:113::9";
pub const CARRIER_BRANCH_SIDE6: &str = "2001:db8:51::1";
pub const CARRIER_HEADEND_SIDE6: &str = "2001:db8:113::1";
/// What a home gateway delegates from, on each line and in all.
pub const BRANCH_DELEGATED: &str = "2001:db8:b1::/48";
pub const HEADEND_DELEGATED: &str = "2001:db8:b2::/48";
pub const DELEGATED: &str = "2001:db8:b0::/44";
pub const BRANCH_PREFIX: &str = "10.1.0.0/16";
pub const CENTRE_PREFIX: &str = "10.2.0.0/16";
/// The carrier's media relay, behind both lines.
pub const RELAY: &str = "192.0.2.10";
pub const RELAY6: &str = "2001:db8:404::10";
pub const RELAY_PREFIX: &str = "192.0.2.0/24";
/// Devices of a gateway; the profiles name them.
pub const WAN: &str = "wan0";
pub const LAN: &str = "lan0";
pub const SVTI: &str = "svti0";
/// Devices of the carrier.
pub const TO_BRANCH: &str = "branch0";
pub const TO_HEADEND: &str = "headend0";

/// Whether the carrier has this address.
#[must_use]
pub fn is_carrier(ip: IpAddr) -> bool {
    let own = [
        CARRIER_BRANCH_SIDE,
        CARRIER_HEADEND_SIDE,
        CARRIER_BRANCH_SIDE6,
        CARRIER_HEADEND_SIDE6,
        RELAY,
        RELAY6,
    ];
    own.iter().any(|text| text.parse() == Ok(ip))
}

const MTU: u16 = 1500;

#[derive(Clone, Debug, Default)]
pub struct Options {
    /// Goes into every name, so that several labs can be up at a time. Empty for the demonstration.
    pub tag: String,
    /// The gateways take LAN frames by AF_XDP (router mode).
    pub router_mode: bool,
    /// No capture on the carrier's lines: it would take time from the measured processes.
    pub unobserved: bool,
    /// What the access lines are like. NTT's give addresses by DHCP and have a media relay.
    pub line: Kind,
    /// A primary path beside the carrier.
    pub primary: bool,
    /// Queues of the gateways' WAN devices; `None` for one.
    pub wan_queues: Option<u16>,
    /// The access lines have IPv6 as well. A home gateway's have it without this.
    pub ipv6: bool,
}

impl Options {
    /// Whether the kernel has the tunnels' routes as soon as a gateway runs: without a primary, in host mode.
    #[must_use]
    pub fn has_ipv6(&self) -> bool {
        self.ipv6 || self.line == Kind::NttHgw
    }

    #[must_use]
    pub const fn backups_only(&self) -> bool {
        !self.router_mode && !self.primary
    }
}

#[derive(Debug)]
pub struct Topology {
    pub branch_lan: Namespace,
    pub branch: Namespace,
    pub carrier: Namespace,
    pub headend: Namespace,
    pub centre_lan: Namespace,
    pub primary: Option<Primary>,
    // Last: the list is forgotten only when all on it are gone.
    _ledger: Ledger,
}

impl Topology {
    pub fn up(options: &Options) -> Result<Self, LabError> {
        let mut ledger = Ledger::create(&options.tag)?;
        let mut make = |role: &str| {
            let tag = if options.tag.is_empty() { String::new() } else { format!("{}-", options.tag) };
            Namespace::create(format!("{PREFIX}{tag}{role}"), &mut ledger)
        };
        let router = if options.primary { Some(make("primary")?) } else { None };
        let mut topology = Self {
            branch_lan: make("branch-lan")?,
            branch: make("branch")?,
            carrier: make("carrier")?,
            headend: make("headend")?,
            centre_lan: make("centre-lan")?,
            primary: None,
            _ledger: ledger,
        };
        let lan = if options.router_mode { Offload::Off } else { Offload::On };
        let end = |namespace, device, address| End { namespace, device, address };
        let Self { branch_lan, branch, carrier, headend, centre_lan, .. } = &topology;
        link(end(branch_lan, "eth0", "10.1.0.2/24"), end(branch, LAN, "10.1.0.1/24"), MTU, lan)?;
        link(end(centre_lan, "eth0", "10.2.0.2/24"), end(headend, LAN, "10.2.0.1/24"), MTU, lan)?;
        let dhcp = options.line != Kind::Generic;
        let wan = |address| if dhcp { "" } else { address };
        let lines = [
            (end(branch, WAN, wan("198.51.100.6/24")), end(carrier, TO_BRANCH, "198.51.100.1/24")),
            (end(headend, WAN, wan("203.0.113.9/24")), end(carrier, TO_HEADEND, "203.0.113.1/24")),
        ];
        for (gateway, carrier) in lines {
            link_with_queues(gateway, carrier, MTU, Offload::Off, options.wan_queues.unwrap_or(1))?;
        }
        for (namespace, gateway) in [
            (branch_lan, "10.1.0.1"),
            (centre_lan, "10.2.0.1"),
            (branch, CARRIER_BRANCH_SIDE),
            (headend, CARRIER_HEADEND_SIDE),
        ] {
            if !dhcp || [branch_lan.name(), centre_lan.name()].contains(&namespace.name()) {
                namespace.ip(&["route", "add", "default", "via", gateway])?;
            }
        }
        if dhcp {
            carrier.ip(&["addr", "add", &format!("{RELAY}/32"), "dev", "lo"])?;
        }
        if options.has_ipv6() {
            let mut ends = vec![(branch, WAN, BRANCH_WAN6), (carrier, TO_BRANCH, CARRIER_BRANCH_SIDE6)];
            ends.extend([(headend, WAN, HEADEND_WAN6), (carrier, TO_HEADEND, CARRIER_HEADEND_SIDE6)]);
            for (namespace, device, address) in ends {
                address6(namespace, device, &format!("{address}/64"))?;
            }
            for (gateway, via) in [(branch, CARRIER_BRANCH_SIDE6), (headend, CARRIER_HEADEND_SIDE6)] {
                gateway.ip(&["-6", "route", "add", "default", "via", via])?;
            }
            for (prefix, device) in [(BRANCH_DELEGATED, TO_BRANCH), (HEADEND_DELEGATED, TO_HEADEND)] {
                carrier.ip(&["-6", "route", "add", prefix, "dev", device])?;
            }
            if dhcp {
                address6(carrier, "lo", &format!("{RELAY6}/128"))?;
            }
            carrier.sysctl("ipv6/conf/all/forwarding", "1")?;
        }
        for router in [branch, headend, carrier] {
            router.sysctl("ipv4/ip_forward", "1")?;
        }
        if let Some(router) = router {
            topology.primary = Some(Primary::up(router, &topology.branch, &topology.headend, MTU)?);
        }
        Ok(topology)
    }

    /// IPv6 in both LANs, and forwarding between them and the devices that the gateways make.
    pub fn inner_ipv6(&self, branch: &str, centre: &str) -> Result<(), LabError> {
        for (lan, gateway, net) in
            [(&self.branch_lan, &self.branch, branch), (&self.centre_lan, &self.headend, centre)]
        {
            address6(gateway, LAN, &format!("{net}1/64"))?;
            address6(lan, "eth0", &format!("{net}2/64"))?;
            lan.ip(&["-6", "route", "add", "default", "via", &format!("{net}1")])?;
            gateway.sysctl("ipv6/conf/all/forwarding", "1")?;
            // The sVTI is yet to be made. The WAN keeps what it was made with.
            gateway.sysctl("ipv6/conf/default/disable_ipv6", "0")?;
        }
        Ok(())
    }

    /// The primary path of a lab that has one.
    ///
    /// # Errors
    /// If it has none.
    pub fn primary(&self) -> Result<&Primary, LabError> {
        self.primary.as_ref().ok_or_else(|| LabError::failed("this lab has no primary path", String::new()))
    }
}

/// An IPv6 address that is ready at once, and the link-local one beside it: without duplicate address detection.
fn address6(namespace: &Namespace, device: &str, address: &str) -> Result<(), LabError> {
    namespace.sysctl(&format!("ipv6/conf/{device}/accept_dad"), "0")?;
    namespace.sysctl(&format!("ipv6/conf/{device}/disable_ipv6"), "0")?;
    namespace.ip(&["-6", "addr", "add", address, "dev", device, "nodad"])
}
