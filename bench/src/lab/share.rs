//! How much of a first packet's time is the calling gateway's own: what the carrier, the peer and the wires take is not.
//!
//! The time from the packet's departure to its arrival is a chain of turns. A turn of the gateway begins with what it waited for
//! (the packet, the 200, an IKE message) and ends with what it sends next, both as the carrier's lines see them.

use super::ladder::Event;
use super::observe::Sight;
use sipsec_net::Instant;
use std::net::IpAddr;
use std::time::Duration;

/// Turns of one gateway in one call, by what ended them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Share {
    pub turns: Vec<(String, Duration)>,
}

impl Share {
    #[must_use]
    pub fn whole(&self) -> Duration {
        self.turns.iter().map(|(_, took)| *took).sum()
    }
}

/// What a message means to the gateway.
enum Step {
    Arrives,
    Leaves(String),
    /// The first ESP packet: the last turn.
    Last,
}

/// The share of the gateway with the address `us` in the call that a packet opened at `departed`. `None` if the call was not seen
/// as far as its first ESP packet. `events` are in order of time.
#[must_use]
pub fn share(departed: Instant, us: IpAddr, events: &[Event]) -> Option<Share> {
    let of_call: Vec<_> = events.iter().filter(|event| event.at() >= departed).collect();
    let initiator = of_call.iter().find_map(|event| match event {
        Event::Wire(s) if matches!(s.sight, Sight::Ike { .. }) => Some(s.from.ip() == us),
        _ => None,
    })?;
    let mut share = Share::default();
    let mut since = Some(departed);
    for event in of_call {
        let step = step(event, us, initiator);
        match (step, since) {
            (Some(Step::Arrives), _) => since = Some(event.at()),
            (Some(Step::Leaves(what)), Some(from)) => {
                share.turns.push((what, event.at().saturating_duration_since(from)));
                since = None;
            }
            (Some(Step::Last), from) => {
                let took = from.map_or(Duration::ZERO, |from| event.at().saturating_duration_since(from));
                share.turns.push(("ESP".to_owned(), took));
                return Some(share);
            }
            (Some(Step::Leaves(_)) | None, _) => {}
        }
    }
    None
}

fn step(event: &Event, us: IpAddr, initiator: bool) -> Option<Step> {
    match event {
        Event::Sip(hop) => match hop.summary.as_str() {
            "INVITE" if hop.from.ip() == us => Some(Step::Leaves("INVITE".to_owned())),
            // The initiator of IKE goes on after it.
            "ACK" if hop.from.ip() == us && !initiator => Some(Step::Leaves("ACK".to_owned())),
            summary if hop.to.ip() == us && summary.starts_with("200 ") && summary.ends_with("(INVITE)") => {
                Some(Step::Arrives)
            }
            _ => None,
        },
        Event::Wire(sighting) => {
            let from_us = sighting.from.ip() == us;
            match (&sighting.sight, from_us) {
                (Sight::Ike { exchange, .. }, true) => Some(Step::Leaves((*exchange).to_owned())),
                (Sight::Ike { .. }, false) => Some(Step::Arrives),
                (Sight::EspFirst(_), true) => Some(Step::Last),
                _ => None,
            }
        }
        Event::Gateway { .. } | Event::Note { .. } => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lab::carrier::Hop;
    use crate::lab::observe::Sighting;
    use sipsec_net::Spi;
    use std::net::{Ipv4Addr, SocketAddr};

    const US: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 6);
    const PEER: Ipv4Addr = Ipv4Addr::new(203, 0, 113, 9);
    const CARRIER: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 1);

    fn at(ms: u64) -> Instant {
        Instant::from_nanos(ms * 1_000_000)
    }

    fn sip(ms: u64, from: Ipv4Addr, to: Ipv4Addr, summary: &str) -> Event {
        Event::Sip(Hop {
            at: at(ms),
            from: SocketAddr::new(from.into(), 5060),
            to: SocketAddr::new(to.into(), 5060),
            call_id: "x".to_owned(),
            summary: summary.to_owned(),
            detail: String::new(),
        })
    }

    fn wire(ms: u64, from: Ipv4Addr, sight: Sight) -> Event {
        let to = if from == US { PEER } else { US };
        Event::Wire(Sighting {
            at: at(ms),
            from: SocketAddr::new(from.into(), 50_000),
            to: SocketAddr::new(to.into(), 50_000),
            sight,
        })
    }

    fn ike(ms: u64, from: Ipv4Addr, exchange: &'static str, response: bool) -> Event {
        wire(ms, from, Sight::Ike { exchange, response, message_id: 0, fragment: false })
    }

    fn esp(ms: u64, from: Ipv4Addr) -> Event {
        wire(ms, from, Sight::EspFirst(Spi::new(0x1000).expect("not zero")))
    }

    fn shown(share: &Share) -> Vec<(&str, u64)> {
        share.turns.iter().map(|(what, took)| (what.as_str(), took.as_millis() as u64)).collect()
    }

    #[test]
    fn an_initiators_turns_leave_carrier_and_peer_out() {
        let events = [
            sip(90, US, CARRIER, "INVITE"), // of another call
            sip(102, US, CARRIER, "INVITE"),
            sip(103, CARRIER, US, "100 Trying (INVITE)"),
            sip(103, CARRIER, PEER, "INVITE"),
            sip(120, PEER, CARRIER, "200 OK (INVITE)"),
            sip(120, CARRIER, US, "200 OK (INVITE)"),
            sip(121, US, CARRIER, "ACK"),
            ike(123, US, "IKE_SA_INIT", false),
            ike(140, PEER, "IKE_SA_INIT", true),
            ike(144, US, "IKE_AUTH", false),
            ike(160, PEER, "IKE_AUTH", true),
            esp(161, PEER),
            esp(165, US),
        ];
        let share = share(at(100), US.into(), &events).expect("whole");
        assert_eq!(shown(&share), [("INVITE", 2), ("IKE_SA_INIT", 3), ("IKE_AUTH", 4), ("ESP", 5)]);
        assert_eq!(share.whole(), Duration::from_millis(14));
    }

    #[test]
    fn a_responder_waits_after_its_ack() {
        let events = [
            sip(102, US, CARRIER, "INVITE"),
            sip(120, CARRIER, US, "200 OK (INVITE)"),
            sip(121, US, CARRIER, "ACK"),
            ike(130, PEER, "IKE_SA_INIT", false),
            ike(133, US, "IKE_SA_INIT", true),
            ike(150, PEER, "IKE_AUTH", false),
            ike(154, US, "IKE_AUTH", true),
            esp(155, US),
        ];
        let share = share(at(100), US.into(), &events).expect("whole");
        let expected = [("INVITE", 2), ("ACK", 1), ("IKE_SA_INIT", 3), ("IKE_AUTH", 4), ("ESP", 0)];
        assert_eq!(shown(&share), expected);
    }

    #[test]
    fn a_turn_ends_with_its_first_fragment_and_begins_with_the_last() {
        let events = [
            sip(101, US, CARRIER, "INVITE"),
            sip(110, CARRIER, US, "200 OK (INVITE)"),
            ike(112, US, "IKE_AUTH", false),
            ike(113, US, "IKE_AUTH", false),
            ike(120, PEER, "IKE_AUTH", true),
            ike(125, PEER, "IKE_AUTH", true),
            esp(126, US),
        ];
        let share = share(at(100), US.into(), &events).expect("whole");
        assert_eq!(shown(&share), [("INVITE", 1), ("IKE_AUTH", 2), ("ESP", 1)]);
    }

    #[test]
    fn a_call_without_its_end_has_no_share() {
        assert_eq!(share(at(100), US.into(), &[]), None);
        let events = [sip(101, US, CARRIER, "INVITE"), ike(112, US, "IKE_AUTH", false)];
        assert_eq!(share(at(100), US.into(), &events), None);
    }
}
