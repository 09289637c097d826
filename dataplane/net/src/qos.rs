//! Quality of service of one tunnel: the classes that share its negotiated rate, the filters that tell them apart, and the
//! policer of what arrives.

use crate::dp::OuterDscp;
use crate::{IpPrefix, TunnelId};
use core::net::IpAddr;

/// Most classes of one tunnel, the default class included.
pub const CLASSES_MAX: usize = 8;
/// Filters in one operation.
pub const FILTERS_PER_BLOCK: usize = 7;
/// Most filters of one tunnel.
pub const FILTERS_MAX: usize = 32;
/// The class of what no filter matches.
pub const DEFAULT_CLASS: u8 = 0;

/// A part of the negotiated rate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Share {
    Kbps(u32),
    /// 1 to 100.
    Percent(u8),
}

impl Share {
    /// In kbps of a rate, at least 1 and at most the rate.
    #[must_use]
    pub const fn of(self, rate_kbps: u32) -> u32 {
        let kbps = match self {
            Self::Kbps(kbps) => kbps,
            Self::Percent(percent) => (rate_kbps as u64 * percent as u64 / 100) as u32,
        };
        let most = if kbps > rate_kbps { rate_kbps } else { kbps };
        if most == 0 { 1 } else { most }
    }
}

/// One class. Rates count outer IP bytes, as the negotiated rate does.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ClassSpec {
    /// What the class gets at least while it has packets; with `priority`, what it may send before all other classes.
    pub guarantee: Option<Share>,
    /// What it gets at most, even while nothing else is sent.
    pub ceiling: Option<Share>,
    pub priority: bool,
    /// Instead of the call's.
    pub outer_dscp: Option<OuterDscp>,
}

/// What happens to packets that arrive above the negotiated rate.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum PoliceAction {
    /// Nothing is measured.
    Off,
    #[default]
    Count,
    /// The inner packet gets this DSCP.
    Mark(u8),
    Drop,
}

/// The token bucket of what arrives: its rate is the negotiated one (RFC 2697 with one colour of excess).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Police {
    pub action: PoliceAction,
    /// How much may arrive at once, in time at the negotiated rate.
    pub burst_ms: u16,
}

/// A second of the rate: carriers deliver in bursts what a relay has held back.
pub const POLICE_BURST_MS: u16 = 1000;

impl Default for Police {
    fn default() -> Self {
        Self { action: PoliceAction::Count, burst_ms: POLICE_BURST_MS }
    }
}

/// The classes of one tunnel, the default class first, and its policer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct QosSpec {
    pub tunnel: TunnelId,
    classes: [ClassSpec; CLASSES_MAX],
    len: u8,
    pub police: Police,
}

impl QosSpec {
    /// Without classes but the default one.
    #[must_use]
    pub fn new(tunnel: TunnelId) -> Self {
        Self { tunnel, classes: Default::default(), len: 1, police: Police::default() }
    }

    /// `None` if there are none or more than [`CLASSES_MAX`].
    #[must_use]
    pub fn with_classes(mut self, classes: &[ClassSpec]) -> Option<Self> {
        self.classes = Default::default();
        self.classes.get_mut(..classes.len())?.copy_from_slice(classes);
        self.len = classes.len() as u8;
        (self.len > 0).then_some(self)
    }

    #[must_use]
    pub fn classes(&self) -> &[ClassSpec] {
        &self.classes[..usize::from(self.len)]
    }

    /// A tunnel that no policy names: one class, in which nothing is set.
    #[must_use]
    pub fn is_plain(&self) -> bool {
        self.classes() == [ClassSpec::default()]
    }
}

/// Some of a tunnel's filters. The first that matches decides.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct QosFilters {
    pub tunnel: TunnelId,
    pub filters: [Option<Filter>; FILTERS_PER_BLOCK],
}

/// What a packet must be, in every respect, to be of a class.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Filter {
    pub class: u8,
    /// Bit `n` stands for DSCP `n`.
    pub dscp: u64,
    pub source: Option<IpPrefix>,
    pub destination: Option<IpPrefix>,
    /// 0 is any.
    pub protocol: u8,
    pub source_ports: PortRange,
    pub destination_ports: PortRange,
}

/// Ports of both ends included.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PortRange {
    pub first: u16,
    pub last: u16,
}

impl PortRange {
    pub const ANY: Self = Self { first: 0, last: u16::MAX };

    /// A packet whose ports cannot be seen is of no range but that of all.
    #[must_use]
    pub fn contains(&self, port: Option<u16>) -> bool {
        *self == Self::ANY || port.is_some_and(|p| (self.first..=self.last).contains(&p))
    }
}

/// A packet's header, as far as filters look at it.
#[derive(Clone, Copy, Debug)]
pub struct Headers {
    pub source: IpAddr,
    pub destination: IpAddr,
    pub protocol: u8,
    pub dscp: u8,
    pub ports: Option<(u16, u16)>,
}

impl Filter {
    /// Every packet.
    #[must_use]
    pub const fn any(class: u8) -> Self {
        Self {
            class,
            dscp: u64::MAX,
            source: None,
            destination: None,
            protocol: 0,
            source_ports: PortRange::ANY,
            destination_ports: PortRange::ANY,
        }
    }

    #[must_use]
    pub fn matches(&self, h: &Headers) -> bool {
        self.dscp >> (h.dscp & 63) & 1 == 1
            && (self.protocol == 0 || self.protocol == h.protocol)
            && self.source_ports.contains(h.ports.map(|(source, _)| source))
            && self.destination_ports.contains(h.ports.map(|(_, destination)| destination))
            && self.source.is_none_or(|p| p.contains(h.source))
            && self.destination.is_none_or(|p| p.contains(h.destination))
    }
}

/// What one class has done since its policy is in force.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ClassActivity {
    pub packets: u64,
    /// Outer IP bytes.
    pub bytes: u64,
    /// Packets that found the queue full, or were pushed out of it.
    pub drops_full: u64,
    /// Packets that CoDel dropped (RFC 8289).
    pub drops_aqm: u64,
    /// Packets that CoDel marked Congestion Experienced (RFC 3168).
    pub marks: u64,
    pub queued_packets: u64,
    pub queued_bytes: u64,
    /// Packets that waited for their rate, of those in `packets`.
    pub delayed: u64,
    /// Median and 99th percentile of the time that the last thousand packets of `delayed` waited.
    pub delay_p50_us: u64,
    pub delay_p99_us: u64,
}

/// The classes of one tunnel, and its policer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct QosActivity {
    classes: [ClassActivity; CLASSES_MAX],
    len: u8,
    /// The negotiated rate of its call; 0 without one.
    pub rate_kbps: u32,
    /// The largest inner packet as it is now.
    pub inner_mtu: u16,
    /// The largest outer packet of its call, and whether the path behind the WAN bounds it; 0 without an SA.
    pub outer_mtu: u16,
    pub is_path_mtu: bool,
    /// The same by the WAN and by ICMP errors alone, without what probes found: the ceiling of probes.
    pub probe_ceiling: u16,
    /// Packets that arrived above the negotiated rate, and their outer IP bytes.
    pub exceeded: u64,
    pub exceeded_bytes: u64,
}

impl QosActivity {
    /// At least one class and at most [`CLASSES_MAX`].
    #[must_use]
    pub fn new(classes: &[ClassActivity]) -> Option<Self> {
        let mut all = [ClassActivity::default(); CLASSES_MAX];
        all.get_mut(..classes.len())?.copy_from_slice(classes);
        (!classes.is_empty()).then_some(Self {
            classes: all,
            len: classes.len() as u8,
            rate_kbps: 0,
            inner_mtu: 0,
            outer_mtu: 0,
            is_path_mtu: false,
            probe_ceiling: 0,
            exceeded: 0,
            exceeded_bytes: 0,
        })
    }

    #[must_use]
    pub fn classes(&self) -> &[ClassActivity] {
        &self.classes[..usize::from(self.len)]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn packet(dscp: u8, ports: Option<(u16, u16)>) -> Headers {
        Headers { source: [10, 1, 0, 2].into(), destination: [10, 2, 0, 2].into(), protocol: 17, dscp, ports }
    }

    #[test]
    fn a_filter_matches_in_every_respect() {
        let sip = PortRange { first: 5060, last: 5061 };
        let filter = Filter {
            dscp: 1 << 46 | 1 << 26,
            source: "10.1.0.0/16".parse().ok(),
            protocol: 17,
            destination_ports: sip,
            ..Filter::any(1)
        };
        assert!(filter.matches(&packet(46, Some((9, 5060)))) && filter.matches(&packet(26, Some((9, 5061)))));
        assert!(!filter.matches(&packet(0, Some((9, 5060)))));
        assert!(!filter.matches(&packet(46, Some((5060, 9)))));
        // RFC 4301 §4.4.1.1: the ports of a later fragment are opaque.
        assert!(!filter.matches(&packet(46, None)) && Filter::any(1).matches(&packet(46, None)));
        let tcp = Filter { protocol: 6, ..filter };
        let elsewhere = Filter { source: "10.3.0.0/16".parse().ok(), ..filter };
        assert!([tcp, elsewhere].iter().all(|f| !f.matches(&packet(46, Some((9, 5060))))));
    }

    #[test]
    fn a_share_is_within_the_rate_and_never_nothing() {
        assert_eq!(Share::Percent(25).of(64), 16);
        assert_eq!((Share::Percent(1).of(64), Share::Kbps(100).of(64), Share::Kbps(16).of(64)), (1, 64, 16));
    }

    #[test]
    fn a_policy_has_one_to_eight_classes() {
        let none = QosSpec::new(TunnelId(1));
        assert!(none.is_plain());
        assert_eq!((none.with_classes(&[]), none.with_classes(&[ClassSpec::default(); 9])), (None, None));
        let full = none.with_classes(&[ClassSpec::default(); 8]).expect("eight");
        assert!(full.classes().len() == 8 && !full.is_plain());
    }
}
