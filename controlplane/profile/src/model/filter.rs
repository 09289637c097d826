//! `filters:`

use super::words::words;
use serde::{Serialize, Serializer};
use sipsec_net::IpPrefix;
use sipsec_net::filter::{FILTER_RULES_MAX, FilterRule, Span};
use std::fmt;
use std::str::FromStr;

/// The filter that every profile has: routing protocols are denied, everything else is permitted.
pub const ROUTING: &str = "routing";

const TCP: u8 = 6;
const UDP: u8 = 17;
/// Protocols with a name. The first one is the name that is written.
const PROTOCOLS: [(&str, u8); 17] = [
    ("icmp", 1),
    ("igmp", 2),
    ("ipip", 4),
    ("tcp", TCP),
    ("udp", UDP),
    ("gre", 47),
    ("esp", 50),
    ("ahp", 51),
    ("icmpv6", 58),
    ("eigrp", 88),
    ("ospf", 89),
    ("pim", 103),
    ("pcp", 108),
    ("vrrp", 112),
    ("sctp", SCTP),
    ("udp-lite", UDP_LITE),
    ("ah", 51),
];
const SCTP: u8 = 132;
const UDP_LITE: u8 = 136;

/// An ordered list of rules with a name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct FilterEntry {
    pub name: String,
    pub rules: Vec<FilterLine>,
}

words! {
    /// What becomes of a packet with which a rule agrees.
    pub enum Action {
        Permit = "permit", "the packet counts";
        Deny = "deny", "it does not";
    }
}

/// One rule: a packet agrees with all of it, or the next rule is asked.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct FilterLine {
    pub action: Action,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub protocol: Option<IpProtocol>,
    #[serde(serialize_with = "prefix", skip_serializing_if = "Option::is_none")]
    pub source: Option<IpPrefix>,
    #[serde(serialize_with = "prefix", skip_serializing_if = "Option::is_none")]
    pub destination: Option<IpPrefix>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub source_ports: Option<Numbers>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub destination_ports: Option<Numbers>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dscp: Option<u8>,
    /// Of the IP packet, in bytes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub length: Option<Numbers>,
}

#[expect(clippy::ref_option, reason = "the signature that serde asks for")]
fn prefix<S: Serializer>(prefix: &Option<IpPrefix>, serializer: S) -> Result<S::Ok, S::Error> {
    match prefix {
        Some(prefix) => serializer.collect_str(prefix),
        None => serializer.serialize_none(),
    }
}

/// A protocol of IP.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IpProtocol(pub u8);

impl IpProtocol {
    pub const TCP: Self = Self(TCP);
    pub const UDP: Self = Self(UDP);

    /// Whether its packets begin with two ports.
    #[must_use]
    pub const fn has_ports(self) -> bool {
        matches!(self.0, TCP | UDP | SCTP | UDP_LITE)
    }

    pub fn names() -> impl Iterator<Item = &'static str> {
        PROTOCOLS.iter().map(|(name, _)| *name)
    }
}

impl FromStr for IpProtocol {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let named = PROTOCOLS.iter().find(|(name, _)| *name == text).map(|(_, number)| *number);
        named.or_else(|| text.parse().ok()).map(Self).ok_or(())
    }
}

impl fmt::Display for IpProtocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match PROTOCOLS.iter().find(|(_, number)| *number == self.0) {
            Some((name, _)) => f.write_str(name),
            None => write!(f, "{}", self.0),
        }
    }
}

impl Serialize for IpProtocol {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// One number, or `FIRST-LAST`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Numbers(pub Span);

impl FromStr for Numbers {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let (first, last) = text.split_once('-').unwrap_or((text, text));
        let number = |text: &str| text.trim().parse::<u16>().map_err(drop);
        let span = Span { first: number(first)?, last: number(last)? };
        if span.first <= span.last { Ok(Self(span)) } else { Err(()) }
    }
}

impl fmt::Display for Numbers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Span { first, last } = self.0;
        if first == last { write!(f, "{first}") } else { write!(f, "{first}-{last}") }
    }
}

impl Serialize for Numbers {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl FilterLine {
    /// As the dataplane has it.
    #[must_use]
    pub fn rule(&self) -> FilterRule {
        let span = |numbers: Option<Numbers>| numbers.map_or(Span::ALL, |n| n.0);
        FilterRule {
            permit: self.action == Action::Permit,
            protocol: self.protocol.map(|p| p.0),
            source: self.source,
            destination: self.destination,
            source_ports: span(self.source_ports),
            destination_ports: span(self.destination_ports),
            dscp: self.dscp,
            length: span(self.length),
        }
    }
}

/// The rules of [`ROUTING`]: OSPF, EIGRP, PIM, IGMP and VRRP, RIP and RIPng, BFD, LDP, BGP.
#[must_use]
pub fn routing() -> Vec<FilterRule> {
    let deny = FilterRule { permit: false, ..FilterRule::ANY };
    let protocol = |number| FilterRule { protocol: Some(number), ..deny };
    let span = |first, last| Span { first, last };
    let to = |number, first, last| FilterRule { destination_ports: span(first, last), ..protocol(number) };
    let from = |number, first, last| FilterRule { source_ports: span(first, last), ..protocol(number) };
    let rules = vec![
        protocol(89),
        protocol(88),
        protocol(103),
        protocol(2),
        protocol(112),
        to(UDP, 520, 521),
        to(UDP, 3784, 3785),
        to(UDP, 4784, 4784),
        to(UDP, 646, 646),
        to(TCP, 646, 646),
        from(TCP, 646, 646),
        to(TCP, 179, 179),
        from(TCP, 179, 179),
        FilterRule::ANY,
    ];
    debug_assert!(rules.len() <= FILTER_RULES_MAX);
    rules
}

#[cfg(test)]
mod tests {
    use super::*;
    use sipsec_net::filter::{FilterFacts, permits};

    fn facts(protocol: u8, ports: Option<(u16, u16)>) -> FilterFacts {
        let (source, destination) = ([10, 1, 0, 1].into(), [10, 2, 0, 1].into());
        FilterFacts { protocol, source, destination, ports, dscp: 48, len: 60 }
    }

    #[test]
    fn routing_protocols_are_denied_and_nothing_else() {
        let rules = routing();
        assert!(rules.len() <= FILTER_RULES_MAX);
        for (protocol, ports) in [
            (89, None),
            (88, None),
            (17, Some((520, 520))),
            (17, Some((49_152, 3784))),
            (6, Some((40_000, 179))),
            (6, Some((179, 40_000))),
        ] {
            assert!(!permits(&rules, &facts(protocol, ports)), "{protocol} {ports:?}");
            assert!(!permits(&rules, &facts(protocol, ports).reversed()) || protocol == 17, "{protocol}");
        }
        for (protocol, ports) in [(6, Some((40_000, 80))), (17, Some((5000, 53))), (1, None), (6, None)] {
            assert!(permits(&rules, &facts(protocol, ports)), "{protocol} {ports:?}");
        }
    }

    #[test]
    fn numbers_and_protocols_are_written_as_they_are_read() {
        for text in ["80", "0-65535", "80-443"] {
            assert_eq!(text.parse::<Numbers>().map(|n| n.to_string()), Ok(text.to_owned()));
        }
        for text in ["", "-", "443-80", "65536", "1-", "a"] {
            assert_eq!(text.parse::<Numbers>(), Err(()), "{text}");
        }
        for name in IpProtocol::names().filter(|n| *n != "ah") {
            assert_eq!(name.parse::<IpProtocol>().map(|p| p.to_string()), Ok(name.to_owned()));
        }
        assert_eq!("200".parse(), Ok(IpProtocol(200)));
        assert_eq!("300".parse::<IpProtocol>(), Err(()));
    }
}
