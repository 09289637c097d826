//! `qos:`

use super::carrier::MediaDscp;
use super::serial;
use super::words::words;
use serde::{Serialize, Serializer};
use sipsec_net::IpPrefix;
use sipsec_net::qos::{POLICE_BURST_MS, PortRange};
use std::fmt::{self, Display};
use std::str::FromStr;

/// The name of the class of what no other class matches, as in IOS.
pub const CLASS_DEFAULT: &str = "class-default";

words! {
    /// What a policy of a tunnel is beside the negotiated rate.
    pub enum QosMode {
        Compose = "compose", "the policy divides the negotiated rate";
        StrictCisco = "strict-cisco", "a tunnel with a policy fails its calls, as IOS does";
    }
}

words! {
    /// What becomes of packets that arrive above the negotiated rate.
    pub enum Exceed {
        Count = "count", "they are counted";
        Mark = "mark", "they are forwarded with `dscp` inside";
        Drop = "drop", "they are dropped";
        Off = "off", "nothing is measured";
    }
}

words! {
    /// The protocol of a match.
    pub enum MatchProtocol {
        Any = "any", "every protocol";
        Tcp = "tcp", "TCP";
        Udp = "udp", "UDP";
        Icmp = "icmp", "ICMP";
        Icmpv6 = "icmpv6", "ICMPv6";
        Gre = "gre", "GRE";
        Esp = "esp", "ESP";
        Sctp = "sctp", "SCTP";
    }
}

impl MatchProtocol {
    /// Of the IP header; 0 for any.
    #[must_use]
    pub const fn number(self) -> u8 {
        match self {
            Self::Any => 0,
            Self::Icmp => 1,
            Self::Tcp => 6,
            Self::Udp => 17,
            Self::Gre => 47,
            Self::Esp => 50,
            Self::Icmpv6 => 58,
            Self::Sctp => 132,
        }
    }
}

/// A DSCP: 0 to 63, written by its name if it has one (RFC 2474, RFC 2597, RFC 3246).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Dscp(u8);

impl Dscp {
    pub const EF: Self = Self(46);
    /// RFC 3662: what may wait.
    pub const CS1: Self = Self(8);

    #[must_use]
    pub const fn new(value: u8) -> Option<Self> {
        if value < 64 { Some(Self(value)) } else { None }
    }

    #[must_use]
    pub const fn value(self) -> u8 {
        self.0
    }
}

impl Display for Dscp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (high, low) = (self.0 >> 3, self.0 & 7);
        match (high, low) {
            (0, 0) => f.write_str("default"),
            (5, 6) => f.write_str("ef"),
            (1..=7, 0) => write!(f, "cs{high}"),
            (1..=4, 2 | 4 | 6) => write!(f, "af{high}{}", low / 2),
            _ => write!(f, "{}", self.0),
        }
    }
}

impl FromStr for Dscp {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let text = text.trim().to_ascii_lowercase();
        let named = (0..64).map(Self).find(|dscp| dscp.to_string() == text);
        named.or_else(|| text.parse().ok().and_then(Self::new)).ok_or(())
    }
}

impl Serialize for Dscp {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct QosSection {
    pub mode: QosMode,
    pub police: PoliceEntry,
    pub policies: Vec<QosPolicy>,
}

impl QosSection {
    #[must_use]
    pub fn policy(&self, name: &str) -> Option<&QosPolicy> {
        self.policies.iter().find(|p| p.name == name)
    }
}

/// The policer of what arrives.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct PoliceEntry {
    pub exceed: Exceed,
    pub burst_ms: u16,
    pub dscp: Dscp,
}

impl Default for PoliceEntry {
    fn default() -> Self {
        Self { exceed: Exceed::Count, burst_ms: POLICE_BURST_MS, dscp: Dscp::CS1 }
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct QosPolicy {
    pub name: String,
    pub classes: Vec<QosClass>,
    /// Instead of that of the section.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub police: Option<PoliceEntry>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct QosClass {
    pub name: String,
    /// A packet is of the class if one of these matches it. Empty for [`CLASS_DEFAULT`] alone.
    #[serde(rename = "match")]
    pub matches: Vec<QosMatch>,
    pub priority: bool,
    #[serde(flatten, serialize_with = "guarantee")]
    pub guarantee: Option<Part>,
    #[serde(flatten, serialize_with = "ceiling")]
    pub ceiling: Option<Part>,
    /// Of the outer header, instead of `media.dscp`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dscp: Option<MediaDscp>,
}

impl QosClass {
    #[must_use]
    pub fn new(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            matches: Vec::new(),
            priority: false,
            guarantee: None,
            ceiling: None,
            dscp: None,
        }
    }

    #[must_use]
    pub fn is_default(&self) -> bool {
        self.name == CLASS_DEFAULT
    }
}

/// A part of the negotiated rate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    Kbps(u32),
    Percent(u8),
}

impl Part {
    /// Of a rate.
    #[must_use]
    pub const fn kbps(self, rate_kbps: u32) -> u64 {
        match self {
            Self::Kbps(kbps) => kbps as u64,
            Self::Percent(percent) => rate_kbps as u64 * percent as u64 / 100,
        }
    }
}

fn part<S: Serializer>(part: Option<Part>, keys: [&str; 2], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_map(part.map(|part| match part {
        Part::Kbps(kbps) => (keys[0], kbps),
        Part::Percent(percent) => (keys[1], percent.into()),
    }))
}

fn guarantee<S: Serializer>(value: &Option<Part>, serializer: S) -> Result<S::Ok, S::Error> {
    part(*value, ["guarantee_kbps", "guarantee_percent"], serializer)
}

fn ceiling<S: Serializer>(value: &Option<Part>, serializer: S) -> Result<S::Ok, S::Error> {
    part(*value, ["ceiling_kbps", "ceiling_percent"], serializer)
}

/// What a packet must be in every respect.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct QosMatch {
    /// One of these; any if empty.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub dscp: Vec<Dscp>,
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "prefix")]
    pub source: Option<IpPrefix>,
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "prefix")]
    pub destination: Option<IpPrefix>,
    pub protocol: MatchProtocol,
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "ports")]
    pub source_ports: Option<PortRange>,
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "ports")]
    pub destination_ports: Option<PortRange>,
}

fn prefix<S: Serializer>(value: &Option<IpPrefix>, serializer: S) -> Result<S::Ok, S::Error> {
    serial::text(&value.as_ref().map(ToString::to_string).unwrap_or_default(), serializer)
}

fn ports<S: Serializer>(value: &Option<PortRange>, serializer: S) -> Result<S::Ok, S::Error> {
    let text = value.map(|p| format!("{}-{}", p.first, p.last)).unwrap_or_default();
    serializer.serialize_str(&text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_dscp_has_one_name_and_is_read_by_it_and_by_its_number() {
        for value in 0..64 {
            let dscp = Dscp::new(value).expect("six bits");
            assert_eq!((dscp.to_string().parse(), value.to_string().parse()), (Ok(dscp), Ok(dscp)));
        }
        let names: Vec<String> = [0, 8, 10, 26, 34, 46, 48, 1].map(|v| Dscp(v).to_string()).into();
        assert_eq!(names, ["default", "cs1", "af11", "af31", "af41", "ef", "cs6", "1"]);
        assert!(["64", "af51", "ef0", ""].iter().all(|text| text.parse::<Dscp>().is_err()));
    }
}
