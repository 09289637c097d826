//! The table of nftables that knows flows in tunnels, and marks their packets.
//!
//! ```text
//! postrouting ─▶ leaving   into a tunnel's device? ─▶ record: its flow is remembered for `quiet`
//! prerouting  ─▶ arriving  before the deadline? ─▶ steer: of a remembered flow? marked, so that a rule sends it into the tunnel
//! output      ─▶ own       the same for the gateway's own packets
//! ```
//! A flow is one direction: addresses, protocol, and the ports of TCP and UDP. Fragments that are not the first show no ports;
//! they and other protocols are known by the rest. Without the control plane the deadline ends it.

use crate::net::netfilter::{Batch, EQUAL, Hook, JUMP, KEY, Meta, RETURN, Rule, Set, TCP, UDP, Writer};
use std::time::Duration;

/// `NFPROTO_INET`: both families.
pub const FAMILY: u8 = 1;
/// Flows of one family that are remembered; further ones move at once, and are counted.
pub const FLOWS_MAX: u32 = 65_536;
/// The bit of a packet's mark, which the rule of the system looks for.
pub const MARK: u32 = 0x1000_0000;
/// Before packets are tracked, so that what depends on their way finds the right one; and before sources are translated, so that
/// a flow is known by what the LAN sends.
const EARLY: i32 = -310;

pub const FLOWS_V4: &str = "flows4";
pub const FLOWS_V6: &str = "flows6";
/// Types as `nft` numbers them: `ipv4_addr`, `ipv6_addr`, `inet_proto`, `inet_service`.
const REST: [(u32, u32); 3] = [(12, 1), (13, 2), (13, 2)];
const ADDRESS_V4: (u32, u32) = (7, 4);
const ADDRESS_V6: (u32, u32) = (8, 16);

/// What is remembered, and for which gateway.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rules {
    pub table: String,
    /// The sVTI, and the devices of single tunnels.
    pub devices: Vec<String>,
    /// A flow without a packet for this long has ended.
    pub quiet: Duration,
}

#[derive(Clone, Copy)]
struct Family {
    number: u8,
    set: &'static str,
    /// Of an address: where the source is in the header, its length, and that in registers.
    source_at: u32,
    len: u32,
}

const FAMILIES: [Family; 2] = [
    Family { number: 2, set: FLOWS_V4, source_at: 12, len: 4 },
    Family { number: 10, set: FLOWS_V6, source_at: 8, len: 16 },
];

impl Family {
    fn is(self, rule: Rule<'_>) -> Rule<'_> {
        rule.meta(Meta::Family).compare(EQUAL, &[self.number])
    }

    fn protocol_at(self) -> u32 {
        KEY + 2 * self.len / 4
    }

    fn ends(self, rule: Rule<'_>) -> Rule<'_> {
        let rule = rule.network_to(KEY, self.source_at, self.len);
        let rule = rule.network_to(KEY + self.len / 4, self.source_at + self.len, self.len);
        rule.meta_to(self.protocol_at(), Meta::Protocol)
    }

    /// The key of a packet that shows ports.
    fn with_ports(self, protocol: u8, rule: Rule<'_>) -> Rule<'_> {
        let rule = self.ends(self.is(rule).protocol(protocol));
        rule.transport_to(self.protocol_at() + 1, 0, 2).transport_to(self.protocol_at() + 2, 2, 2)
    }

    /// The key of every other.
    fn without_ports(self, rule: Rule<'_>) -> Rule<'_> {
        let rule = self.ends(self.is(rule));
        rule.load(self.protocol_at() + 1, &[0; 4]).load(self.protocol_at() + 2, &[0; 4])
    }
}

impl Rules {
    /// The whole table. No flow is known at first.
    pub fn table(&self, steers_until: Option<u64>) -> Batch {
        let mut w = Writer::new(&self.table, FAMILY);
        w.empty_table();
        for (name, address) in [(FLOWS_V4, ADDRESS_V4), (FLOWS_V6, ADDRESS_V6)] {
            let [protocol, source, destination] = REST;
            let fields = [address, address, protocol, source, destination];
            w.set(&Set { name, fields: &fields, values: &[], elements_max: FLOWS_MAX, timeout: self.quiet });
        }
        self.record(&mut w);
        steer(&mut w);
        w.chain("arriving", Some(("filter", Hook::Prerouting, EARLY)));
        w.chain("own", Some(("route", Hook::Output, EARLY)));
        enter(&mut w, steers_until);
        w.finish()
    }

    /// Another deadline; `None` for no steering.
    pub fn steering(&self, until: Option<u64>) -> Batch {
        let mut w = Writer::new(&self.table, FAMILY);
        w.same_table();
        w.empty_chain("arriving");
        w.empty_chain("own");
        enter(&mut w, until);
        w.finish()
    }

    /// Without the table.
    pub fn removal(table: &str) -> Batch {
        let mut w = Writer::new(table, FAMILY);
        w.no_table();
        w.finish()
    }

    fn record(&self, w: &mut Writer<'_>) {
        w.chain("record", None);
        for family in FAMILIES {
            for protocol in [TCP, UDP] {
                w.rule("record", |r| {
                    family.with_ports(protocol, r).remembered(family.set, self.quiet).verdict(RETURN, None)
                });
                w.rule("record", |r| family.with_ports(protocol, r).counter().verdict(RETURN, None));
            }
            w.rule("record", |r| {
                family.without_ports(r).remembered(family.set, self.quiet).verdict(RETURN, None)
            });
            w.rule("record", |r| family.is(r).counter());
        }
        w.chain("leaving", Some(("filter", Hook::Postrouting, EARLY)));
        for device in &self.devices {
            w.rule("leaving", |r| r.meta(Meta::OutName).named(device).verdict(JUMP, Some("record")));
        }
    }
}

fn steer(w: &mut Writer<'_>) {
    w.chain("steer", None);
    for family in FAMILIES {
        for protocol in [TCP, UDP] {
            w.rule("steer", |r| {
                family.with_ports(protocol, r).known(family.set).marked(MARK).counter().verdict(RETURN, None)
            });
            // A new flow, even if fragments between the two hosts are known.
            w.rule("steer", |r| family.with_ports(protocol, r).verdict(RETURN, None));
        }
        w.rule("steer", |r| family.without_ports(r).known(family.set).marked(MARK).counter());
    }
}

fn enter(w: &mut Writer<'_>, until: Option<u64>) {
    let Some(until) = until else { return };
    for chain in ["arriving", "own"] {
        w.rule(chain, |r| r.before(until).verdict(JUMP, Some("steer")));
    }
}
