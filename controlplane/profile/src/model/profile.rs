//! The whole of it.

use super::carrier::Carrier;
use super::filter::{self, ROUTING};
use super::limits::{PROFILE_VERSION, RUNTIME_ROOT, STATE_ROOT};
use super::{
    CarrierEntry, Compat, DataplaneSection, Drain, FailbackSection, FilterEntry, FilterLine, IkeSection,
    MediaSection, NatSection, Operation, QosSection, RouteTo, SipSection, StaticRoute, TrackEntry,
    TunnelEntry, WanSection,
};
use serde::Serialize;
use sipsec_net::filter::FilterRule;
use sipsec_net::{TelNumber, TunnelId};
use std::collections::HashMap;
use std::path::{Path, PathBuf};

/// The name of the carrier of `sip`.
pub const FIRST_CARRIER: &str = "default";

/// A gateway's profile.
#[derive(Clone, Debug, Serialize)]
pub struct Profile {
    pub version: u32,
    /// The gateway's name: names its directories and its log lines.
    pub gateway: String,
    /// Sockets.
    pub runtime_dir: PathBuf,
    /// The call journal.
    pub state_dir: PathBuf,
    /// Filter of the log (`tracing` syntax), changeable at run time.
    pub log: String,
    pub compat: Compat,
    pub wan: WanSection,
    pub sip: SipSection,
    /// Carriers beside that of `sip`.
    pub carriers: Vec<CarrierEntry>,
    pub ike: IkeSection,
    pub media: MediaSection,
    pub filters: Vec<FilterEntry>,
    pub qos: QosSection,
    pub tunnels: Vec<TunnelEntry>,
    pub sla: Vec<Operation>,
    pub track: Vec<TrackEntry>,
    pub routes: Vec<StaticRoute>,
    pub failback: FailbackSection,
    pub nat: NatSection,
    pub dataplane: DataplaneSection,
}

/// The carriers of a profile, by their lines.
#[derive(Debug)]
pub struct CarrierLines<'a> {
    first: &'a SipSection,
    others: HashMap<TelNumber, &'a CarrierEntry>,
}

impl<'a> CarrierLines<'a> {
    /// The `sip` section of the carrier that has this line; of a line that none has, the first.
    #[must_use]
    pub fn sip(&self, line: TelNumber) -> &'a SipSection {
        self.others.get(&line).map_or(self.first, |c| &c.sip)
    }

    #[must_use]
    pub fn name(&self, line: TelNumber) -> &'a str {
        self.others.get(&line).map_or(FIRST_CARRIER, |c| &c.name)
    }
}

/// The parts of a profile that the dataplane reads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Head {
    pub gateway: String,
    pub runtime_dir: PathBuf,
    pub dataplane: DataplaneSection,
}

impl Profile {
    /// With default directories and media ports.
    #[must_use]
    pub fn new(
        gateway: &str,
        sip: SipSection,
        ike: IkeSection,
        tunnels: Vec<TunnelEntry>,
        dataplane: DataplaneSection,
    ) -> Self {
        let mut profile = Self {
            version: PROFILE_VERSION,
            gateway: gateway.to_owned(),
            runtime_dir: Path::new(RUNTIME_ROOT).join(gateway),
            state_dir: Path::new(STATE_ROOT).join(gateway),
            log: super::limits::LOG_DEFAULT.to_owned(),
            compat: Compat::default(),
            wan: WanSection::default(),
            sip,
            carriers: Vec::new(),
            ike,
            media: MediaSection::default(),
            filters: Vec::new(),
            qos: QosSection::default(),
            tunnels,
            sla: Vec::new(),
            track: Vec::new(),
            routes: Vec::new(),
            failback: FailbackSection::default(),
            nat: NatSection::default(),
            dataplane,
        };
        profile.number_tunnels();
        profile
    }

    /// Gives every tunnel the id of its place.
    pub fn number_tunnels(&mut self) {
        for (tunnel, id) in self.tunnels.iter_mut().zip(1..) {
            tunnel.id = TunnelId(id);
        }
    }

    /// Every static route: those of `routes` first, then those of each tunnel.
    pub fn static_routes(&self) -> impl Iterator<Item = StaticRoute> + '_ {
        let own = self.tunnels.iter().flat_map(|tunnel| {
            tunnel.routes.iter().map(|route| StaticRoute {
                prefix: route.prefix,
                to: RouteTo::Tunnel { tunnel: tunnel.name.clone() },
                table: None,
                distance: tunnel.distance(route),
                track: route.track,
                name: None,
            })
        });
        self.routes.iter().cloned().chain(own)
    }

    /// Whether flows stay in a tunnel when traffic returns to a primary.
    #[must_use]
    pub fn keeps_flows(&self) -> bool {
        let by_primary =
            |route: &StaticRoute| matches!(route.to, RouteTo::Via { .. } | RouteTo::Device { .. });
        self.failback.drain == Drain::Stay && self.routes.iter().any(by_primary)
    }

    /// The rules of a filter of this profile, or of the one that every profile has; none without a name.
    #[must_use]
    pub fn filter_rules(&self, name: Option<&str>) -> Vec<FilterRule> {
        match name {
            None => Vec::new(),
            Some(ROUTING) => filter::routing(),
            Some(name) => {
                let entry = self.filters.iter().find(|f| f.name == name);
                entry.map(|f| f.rules.iter().map(FilterLine::rule).collect()).unwrap_or_default()
            }
        }
    }

    #[must_use]
    pub fn head(&self) -> Head {
        Head {
            gateway: self.gateway.clone(),
            runtime_dir: self.runtime_dir.clone(),
            dataplane: self.dataplane.clone(),
        }
    }

    #[must_use]
    pub fn dataplane_socket(&self) -> PathBuf {
        dataplane_socket(&self.runtime_dir)
    }

    #[must_use]
    pub fn control_socket(&self) -> PathBuf {
        control_socket(&self.runtime_dir)
    }

    #[must_use]
    pub fn journal(&self) -> PathBuf {
        self.state_dir.join("journal.redb")
    }

    /// What the tokens of [`IkeSection::crash_detection`](super::IkeSection) are made of.
    #[must_use]
    pub fn crash_secret(&self) -> PathBuf {
        self.state_dir.join("crash-detection.key")
    }

    /// Where the DHCP clients keep their DUID and last address.
    #[must_use]
    pub fn dhcp_store(&self) -> PathBuf {
        self.state_dir.join("dhcp.json")
    }

    /// Every carrier with its name; that of `sip` comes first.
    pub fn all_carriers(&self) -> impl Iterator<Item = (&str, &SipSection)> + Clone {
        let others = self.carriers.iter().map(|c| (c.name.as_str(), &c.sip));
        std::iter::once((FIRST_CARRIER, &self.sip)).chain(others)
    }

    /// The `sip` section of a carrier.
    #[must_use]
    pub fn sip_named(&self, carrier: &str) -> Option<&SipSection> {
        self.all_carriers().find(|(name, _)| *name == carrier).map(|(_, sip)| sip)
    }

    /// Which carrier has which line.
    #[must_use]
    pub fn carrier_lines(&self) -> CarrierLines<'_> {
        let others = self.carriers.iter().flat_map(|c| c.sip.lines.iter().map(move |line| (line.number, c)));
        CarrierLines { first: &self.sip, others: others.collect() }
    }

    /// The carrier whose line has its number by DHCP.
    #[must_use]
    pub fn learns_number(&self) -> Option<&str> {
        let learns = |sip: &SipSection| sip.lines.iter().any(|l| l.number == TelNumber::DHCP);
        self.all_carriers().find(|(_, sip)| learns(sip)).map(|(name, _)| name)
    }

    /// With the number that DHCP has named in its places.
    #[must_use]
    pub fn with_number(&self, number: TelNumber) -> Self {
        let mut out = self.clone();
        let lines = |sip: &mut SipSection| {
            sip.lines.iter_mut().filter(|l| l.number == TelNumber::DHCP).for_each(|l| l.number = number);
        };
        lines(&mut out.sip);
        out.carriers.iter_mut().for_each(|c| lines(&mut c.sip));
        for tunnel in out.tunnels.iter_mut().filter(|t| t.local_number == TelNumber::DHCP) {
            tunnel.local_number = number;
        }
        out
    }

    /// What an access line expects: the carrier's values, with the profile's own in their places.
    #[must_use]
    pub fn carrier(&self, sip: &SipSection) -> Carrier {
        Carrier::new(sip.carrier, &sip.own, &self.media.own, self.wan.vendor_class)
    }

    /// Whether a carrier wants even media ports; then all calls have such.
    #[must_use]
    pub fn even_ports(&self) -> bool {
        self.all_carriers().any(|(_, sip)| self.carrier(sip).even_ports)
    }

    /// Whether SIP and media of all carriers need IPv4, and whether they need IPv6.
    #[must_use]
    pub fn sip_families(&self) -> (bool, bool) {
        let all = self.all_carriers().map(|(_, sip)| sip.families(self.wan.sip_by_v6()));
        all.fold((false, false), |a, b| (a.0 || b.0, a.1 || b.1))
    }

    /// Whether media may use IPv6, whose header is the longer one.
    #[must_use]
    pub fn calls_may_be_v6(&self) -> bool {
        self.all_carriers().any(|(_, sip)| sip.call_families(self.wan.sip_by_v6()).1)
    }

    /// The largest inner packet of a tunnel: its own `mtu`, or the most that the path carries.
    #[must_use]
    pub fn tunnel_mtu(&self, tunnel: &TunnelEntry) -> u16 {
        tunnel.mtu.unwrap_or(self.dataplane.inner_mtu_max().0)
    }
}

impl Head {
    /// Where the dataplane waits for its control plane.
    #[must_use]
    pub fn dataplane_socket(&self) -> PathBuf {
        dataplane_socket(&self.runtime_dir)
    }
}

#[must_use]
pub fn control_socket(runtime_dir: &Path) -> PathBuf {
    runtime_dir.join("control.sock")
}

#[must_use]
pub fn dataplane_socket(runtime_dir: &Path) -> PathBuf {
    runtime_dir.join("dataplane.sock")
}
