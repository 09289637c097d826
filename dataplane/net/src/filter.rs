//! Which of a tunnel's packets place a call, and which keep it up: an ordered list of rules.

use crate::IpPrefix;
use core::net::IpAddr;

/// Most rules of one filter.
pub const FILTER_RULES_MAX: usize = 16;

/// What a filter decides about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum FilterUse {
    /// Which packets place a call. Others are dropped while the tunnel has no SA.
    Trigger,
    /// Which packets are a sign that the tunnel is in use.
    Idle,
}

impl FilterUse {
    pub const ALL: [Self; 2] = [Self::Trigger, Self::Idle];
}

/// An inclusive range.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Span {
    pub first: u16,
    pub last: u16,
}

impl Span {
    pub const ALL: Self = Self { first: 0, last: u16::MAX };

    #[must_use]
    pub const fn contains(self, n: u16) -> bool {
        self.first <= n && n <= self.last
    }
}

/// One rule. What it compares must all agree; what it does not compare is `None`, or all numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct FilterRule {
    pub permit: bool,
    pub protocol: Option<u8>,
    pub source: Option<IpPrefix>,
    pub destination: Option<IpPrefix>,
    pub source_ports: Span,
    pub destination_ports: Span,
    pub dscp: Option<u8>,
    /// Of the IP packet, in bytes.
    pub length: Span,
}

/// What rules compare. Of a packet that comes in, source and destination change places: a rule is written from the inside.
#[derive(Clone, Copy, Debug)]
pub struct FilterFacts {
    pub protocol: u8,
    pub source: IpAddr,
    pub destination: IpAddr,
    /// Source and destination, where the packet has ports that can be seen.
    pub ports: Option<(u16, u16)>,
    pub dscp: u8,
    pub len: u16,
}

impl FilterFacts {
    /// The same packet seen from the other end.
    #[must_use]
    pub fn reversed(self) -> Self {
        Self {
            source: self.destination,
            destination: self.source,
            ports: self.ports.map(|(source, destination)| (destination, source)),
            ..self
        }
    }
}

impl FilterRule {
    /// Agrees with every packet.
    pub const ANY: Self = Self {
        permit: true,
        protocol: None,
        source: None,
        destination: None,
        source_ports: Span::ALL,
        destination_ports: Span::ALL,
        dscp: None,
        length: Span::ALL,
    };

    #[must_use]
    pub fn matches(&self, facts: &FilterFacts) -> bool {
        let within = |prefix: Option<IpPrefix>, addr| prefix.is_none_or(|p| p.contains(addr));
        let (source_port, destination_port) = facts.ports.unzip();
        // A port that cannot be seen (a later fragment) agrees with all ports alone.
        let port =
            |span: Span, port: Option<u16>| span == Span::ALL || port.is_some_and(|p| span.contains(p));
        self.protocol.is_none_or(|p| p == facts.protocol)
            && self.dscp.is_none_or(|d| d == facts.dscp)
            && self.length.contains(facts.len)
            && port(self.source_ports, source_port)
            && port(self.destination_ports, destination_port)
            && within(self.source, facts.source)
            && within(self.destination, facts.destination)
    }
}

/// The first rule that agrees decides; a packet with which none agrees is not permitted.
#[must_use]
pub fn permits(rules: &[FilterRule], facts: &FilterFacts) -> bool {
    rules.iter().find(|rule| rule.matches(facts)).is_some_and(|rule| rule.permit)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn facts() -> FilterFacts {
        FilterFacts {
            protocol: 6,
            source: [10, 1, 0, 5].into(),
            destination: [10, 2, 0, 9].into(),
            ports: Some((40_000, 179)),
            dscp: 48,
            len: 100,
        }
    }

    #[test]
    fn each_thing_that_a_rule_compares_must_agree() {
        let any = FilterRule::ANY;
        let prefix = |text: &str| Some(text.parse().expect("a prefix"));
        let span = |first, last| Span { first, last };
        for (rule, agrees) in [
            (any, true),
            (FilterRule { protocol: Some(6), ..any }, true),
            (FilterRule { protocol: Some(17), ..any }, false),
            (FilterRule { source: prefix("10.1.0.0/16"), ..any }, true),
            (FilterRule { source: prefix("10.2.0.0/16"), ..any }, false),
            (FilterRule { destination: prefix("10.2.0.0/16"), ..any }, true),
            (FilterRule { destination: prefix("2001:db8::/32"), ..any }, false),
            (FilterRule { destination_ports: span(179, 179), ..any }, true),
            (FilterRule { source_ports: span(179, 179), ..any }, false),
            (FilterRule { dscp: Some(48), ..any }, true),
            (FilterRule { dscp: Some(46), ..any }, false),
            (FilterRule { length: span(101, 1500), ..any }, false),
            (FilterRule { length: span(100, 100), ..any }, true),
        ] {
            assert_eq!(rule.matches(&facts()), agrees, "{rule:?}");
        }
        let fragment = FilterFacts { ports: None, ..facts() };
        assert!(
            any.matches(&fragment) && !FilterRule { source_ports: span(0, 65_534), ..any }.matches(&fragment)
        );
        assert!(FilterRule { source_ports: span(179, 179), ..any }.matches(&facts().reversed()));
    }

    #[test]
    fn the_first_rule_that_agrees_decides_and_without_one_nothing_is_permitted() {
        let deny = FilterRule { permit: false, protocol: Some(6), ..FilterRule::ANY };
        assert!(permits(&[FilterRule::ANY, deny], &facts()));
        assert!(!permits(&[deny, FilterRule::ANY], &facts()));
        assert!(!permits(&[FilterRule { protocol: Some(17), ..FilterRule::ANY }], &facts()));
        assert!(!permits(&[], &facts()));
    }
}
