//! `nat.primary` as one transaction of nftables: the table of the gateway is replaced, or is as it was.
//!
//! ```text
//! prerouting  ─▶ paths     packets of the tunnels are tracked in a zone of their own
//!             ─▶ arriving  for a forwarded port of an own address? ─▶ ports_N: destination = the host
//! output      ─▶ own       the zone, for the gateway's own packets into tunnels
//! postrouting ─▶ leaving   exempt? as it is.  from `sources` to the device: its address, with a port of the range
//!             ─▶ guard     from `sources` to the device in spite of all: dropped, and counted
//! ```
//! Zones keep a connection that moves from the primary to a tunnel and back from taking its translation along: on each way
//! it has an entry of its own, or none yet.

use sipsec_abi::nfnetlink::{
    ACK, BATCH_BEGIN, BATCH_END, DEL_TABLE, IPV4, Message, NFTABLES, REQUEST, TABLE,
};
use sipsec_net::IpPrefix;
use sipsec_profile::model::nat::PortProtocol;
use sipsec_profile::model::primary_nat::{Forward, PrimaryNat};
use std::net::{IpAddr, Ipv4Addr};

pub const NEW_TABLE: u16 = NFTABLES << 8;
pub const GET_TABLE: u16 = NFTABLES << 8 | 1;
const NEW_CHAIN: u16 = NFTABLES << 8 | 3;
const NEW_RULE: u16 = NFTABLES << 8 | 6;
pub const GET_RULE: u16 = NFTABLES << 8 | 7;
/// `NLM_F_DUMP`, `NLM_F_CREATE`, `NLM_F_APPEND`
pub const DUMP: u16 = 0x300;
const CREATE: u16 = 0x400;
const APPEND: u16 = 0x800;
/// Devices that lead into tunnels, so that all rules fit one transaction. Connections by further ones keep their translation
/// until it ends by itself.
pub const TUNNEL_DEVICES_MAX: usize = 64;
/// The zone of packets that tunnels carry.
const TUNNEL_ZONE: u16 = 83;
const TCP: u8 = 6;
const UDP: u8 = 17;
/// `IPS_DST_NAT`
const DESTINATION_TRANSLATED: u32 = 1 << 5;
/// Verdicts (`linux/netfilter.h`, `nf_tables.h`).
const DROP: i32 = 0;
const ACCEPT: i32 = 1;
const JUMP: i32 = -3;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Hook {
    Prerouting = 0,
    Output = 3,
    Postrouting = 4,
}

/// What the kernel shall translate, and for which gateway.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rules {
    pub table: String,
    /// The kernel's end of the sVTI, and tunnels' own devices; none in router mode.
    pub tunnels: Vec<String>,
    pub primary: Vec<PrimaryNat>,
}

/// A transaction, and how many of its messages the kernel acknowledges: those of the table alone, since it tells of a message
/// that it refuses in any case, and the answers to hundreds would need room.
#[derive(Debug)]
pub struct Batch {
    pub bytes: Vec<u8>,
    pub acknowledged: u32,
    pub rules: u32,
}

impl Rules {
    /// The table as it shall be; without primaries there is none.
    pub fn batch(&self) -> Batch {
        let mut writer =
            Writer { table: &self.table, bytes: Vec::new(), sequence: 0, acknowledged: 0, rules: 0 };
        writer.batch_end(BATCH_BEGIN);
        // So that there is one to be deleted.
        writer.table(NEW_TABLE, CREATE);
        writer.table(DEL_TABLE, 0);
        if !self.primary.is_empty() {
            writer.table(NEW_TABLE, CREATE);
            self.paths(&mut writer);
            self.arriving(&mut writer);
            self.leaving(&mut writer);
            self.guard(&mut writer);
        }
        writer.batch_end(BATCH_END);
        Batch { bytes: writer.bytes, acknowledged: writer.acknowledged, rules: writer.rules }
    }

    fn paths(&self, w: &mut Writer<'_>) {
        if self.tunnels.is_empty() {
            return;
        }
        w.chain("paths", Some(("filter", Hook::Prerouting, -300)));
        w.chain("own", Some(("filter", Hook::Output, -300)));
        for device in self.tunnels.iter().take(TUNNEL_DEVICES_MAX) {
            w.rule("paths", |r| r.meta(Meta::InName).named(device).zone(TUNNEL_ZONE));
            w.rule("paths", |r| r.fib(Fib::OutName).named(device).zone(TUNNEL_ZONE));
            w.rule("own", |r| r.meta(Meta::OutName).named(device).zone(TUNNEL_ZONE));
        }
    }

    fn arriving(&self, w: &mut Writer<'_>) {
        w.chain("arriving", Some(("nat", Hook::Prerouting, -100)));
        for (i, primary) in self.primary.iter().enumerate() {
            if primary.forwards.is_empty() {
                continue;
            }
            let ports = format!("ports_{i}");
            w.chain(&ports, None);
            for forward in &primary.forwards {
                w.rule(&ports, |r| r.port(forward).destination(forward));
            }
            w.rule("arriving", |r| {
                r.meta(Meta::InName).named(&primary.device).fib(Fib::Kind).local().verdict(JUMP, Some(&ports))
            });
            // RFC 4787 §6: a host inside by the address that outside knows it by. Addresses of the LAN are the gateway's.
            for source in &primary.sources {
                w.rule("arriving", |r| {
                    let r = r.source(source);
                    let r = primary.sources.iter().fold(r, |r, other| r.not_to(other));
                    r.fib(Fib::Kind).local().verdict(JUMP, Some(&ports))
                });
            }
        }
    }

    fn leaving(&self, w: &mut Writer<'_>) {
        w.chain("leaving", Some(("nat", Hook::Postrouting, 100)));
        for primary in &self.primary {
            let range = Some((primary.port_first, primary.port_last));
            // The gateway's own packets; `sources` does not matter for them.
            w.rule("leaving", |r| r.leaves(primary).own_source().verdict(ACCEPT, None));
            for exempt in &primary.exempt {
                w.rule("leaving", |r| r.leaves(primary).to(exempt).verdict(ACCEPT, None));
            }
            for source in &primary.sources {
                for protocol in [TCP, UDP] {
                    w.rule("leaving", |r| {
                        r.leaves(primary).source(source).protocol(protocol).masquerade(range)
                    });
                }
                w.rule("leaving", |r| r.leaves(primary).source(source).masquerade(None));
                // What came back inside answers to the gateway, which knows both ends.
                w.rule("leaving", |r| {
                    r.source(source).translated_destination().leaves_not(primary).masquerade(None)
                });
            }
        }
    }

    fn guard(&self, w: &mut Writer<'_>) {
        w.chain("guard", Some(("filter", Hook::Postrouting, 300)));
        for primary in &self.primary {
            // Translated, or the gateway's own.
            w.rule("guard", |r| r.leaves(primary).own_source().verdict(ACCEPT, None));
            for exempt in &primary.exempt {
                w.rule("guard", |r| r.leaves(primary).to(exempt).verdict(ACCEPT, None));
            }
            for source in &primary.sources {
                w.rule("guard", |r| r.leaves(primary).source(source).counter().verdict(DROP, None));
            }
        }
    }
}

struct Writer<'a> {
    table: &'a str,
    bytes: Vec<u8>,
    sequence: u32,
    acknowledged: u32,
    rules: u32,
}

impl Writer<'_> {
    fn batch_end(&mut self, kind: u16) {
        self.bytes.extend(Message::new(kind, REQUEST, self.sequence, 0, NFTABLES).finish());
    }

    fn message(&mut self, kind: u16, flags: u16, fill: impl FnOnce(&mut Message)) {
        self.sequence += 1;
        let mut message = Message::new(kind, REQUEST | flags, self.sequence, IPV4, 0);
        message.text(TABLE, self.table);
        fill(&mut message);
        self.bytes.extend(message.finish());
    }

    fn table(&mut self, kind: u16, flags: u16) {
        self.acknowledged += 1;
        self.message(kind, flags | ACK, |_| ());
    }

    /// With a hook: its type and its priority.
    fn chain(&mut self, name: &str, hook: Option<(&str, Hook, i32)>) {
        self.message(NEW_CHAIN, CREATE, |m| {
            m.text(3, name);
            if let Some((kind, hook, priority)) = hook {
                m.nest(4, |m| {
                    m.number(1, hook as u32).bytes(2, &priority.to_be_bytes());
                });
                m.text(7, kind);
            }
        });
    }

    fn rule(&mut self, chain: &str, write: impl FnOnce(Rule<'_>) -> Rule<'_>) {
        self.rules += 1;
        self.message(NEW_RULE, CREATE | APPEND, |m| {
            m.text(2, chain);
            m.nest(4, |m| {
                write(Rule(m));
            });
        });
    }
}

#[derive(Clone, Copy)]
enum Meta {
    InName = 6,
    OutName = 7,
    Protocol = 16,
}

#[derive(Clone, Copy)]
enum Fib {
    OutName = 2,
    Kind = 3,
}

/// The expressions of a rule, in their order: the first that does not hold ends it.
struct Rule<'a>(&'a mut Message);

/// Registers of 16 bytes.
const VERDICT: u32 = 0;
const FIRST: u32 = 1;
const SECOND: u32 = 2;
const EQUAL: u32 = 0;
const UNEQUAL: u32 = 1;
const AT_SOURCE: u32 = 12;
const AT_DESTINATION: u32 = 16;
/// `RTN_LOCAL`
const LOCAL: u32 = 2;

impl Rule<'_> {
    fn expression(self, name: &str, fill: impl FnOnce(&mut Message)) -> Self {
        self.0.nest(1, |m| {
            m.text(1, name).nest(2, fill);
        });
        self
    }

    fn compare(self, operation: u32, value: &[u8]) -> Self {
        self.expression("cmp", |m| {
            m.number(1, FIRST).number(2, operation).nest(3, |m| {
                m.bytes(1, value);
            });
        })
    }

    fn load(self, register: u32, value: &[u8]) -> Self {
        self.expression("immediate", |m| {
            m.number(1, register).nest(2, |m| {
                m.bytes(1, value);
            });
        })
    }

    fn meta(self, key: Meta) -> Self {
        self.expression("meta", |m| {
            m.number(1, FIRST).number(2, key as u32);
        })
    }

    /// Of the destination's route: the device, or the kind of address.
    fn fib(self, result: Fib) -> Self {
        self.route_of(2, result)
    }

    fn own_source(self) -> Self {
        self.route_of(1, Fib::Kind).local()
    }

    /// `end` is 1 for the source, 2 for the destination.
    fn route_of(self, end: u32, result: Fib) -> Self {
        self.expression("fib", |m| {
            m.number(1, FIRST).number(2, result as u32).number(3, end);
        })
    }

    fn named(self, device: &str) -> Self {
        self.compare(EQUAL, &name(device))
    }

    fn local(self) -> Self {
        self.compare(EQUAL, &LOCAL.to_ne_bytes())
    }

    fn leaves(self, primary: &PrimaryNat) -> Self {
        self.meta(Meta::OutName).named(&primary.device)
    }

    fn leaves_not(self, primary: &PrimaryNat) -> Self {
        self.meta(Meta::OutName).compare(UNEQUAL, &name(&primary.device))
    }

    fn address(self, at: u32, operation: u32, prefix: &IpPrefix) -> Self {
        let IpAddr::V4(address) = prefix.addr() else { return self };
        if prefix.prefix_len() == 0 && operation == EQUAL {
            return self;
        }
        let mask = u32::MAX.checked_shl(32 - u32::from(prefix.prefix_len())).unwrap_or(0);
        let read = self.payload(1, at, 4);
        let masked = read.expression("bitwise", |m| {
            m.number(1, FIRST).number(2, FIRST).number(3, 4);
            m.nest(4, |m| {
                m.bytes(1, &mask.to_be_bytes());
            });
            m.nest(5, |m| {
                m.bytes(1, &[0; 4]);
            });
        });
        masked.compare(operation, &Ipv4Addr::octets(&address))
    }

    fn payload(self, base: u32, at: u32, len: u32) -> Self {
        self.expression("payload", |m| {
            m.number(1, FIRST).number(2, base).number(3, at).number(4, len);
        })
    }

    fn source(self, prefix: &IpPrefix) -> Self {
        self.address(AT_SOURCE, EQUAL, prefix)
    }

    fn to(self, prefix: &IpPrefix) -> Self {
        self.address(AT_DESTINATION, EQUAL, prefix)
    }

    fn not_to(self, prefix: &IpPrefix) -> Self {
        self.address(AT_DESTINATION, UNEQUAL, prefix)
    }

    fn protocol(self, protocol: u8) -> Self {
        self.meta(Meta::Protocol).compare(EQUAL, &[protocol])
    }

    fn port(self, forward: &Forward) -> Self {
        const TRANSPORT: u32 = 2;
        let protocol = match forward.protocol {
            PortProtocol::Tcp => TCP,
            PortProtocol::Udp => UDP,
        };
        self.protocol(protocol).payload(TRANSPORT, 2, 2).compare(EQUAL, &forward.port.to_be_bytes())
    }

    fn destination(self, forward: &Forward) -> Self {
        const DESTINATION: u32 = 1;
        let loaded = self.load(FIRST, &forward.local.ip().octets());
        loaded.load(SECOND, &forward.local.port().to_be_bytes()).expression("nat", |m| {
            m.number(1, DESTINATION).number(2, IPV4.into()).number(3, FIRST).number(5, SECOND);
        })
    }

    fn translated_destination(self) -> Self {
        const STATUS: u32 = 2;
        let read = self.expression("ct", |m| {
            m.number(1, FIRST).number(2, STATUS);
        });
        let masked = read.expression("bitwise", |m| {
            m.number(1, FIRST).number(2, FIRST).number(3, 4);
            m.nest(4, |m| {
                m.bytes(1, &DESTINATION_TRANSLATED.to_ne_bytes());
            });
            m.nest(5, |m| {
                m.bytes(1, &[0; 4]);
            });
        });
        masked.compare(UNEQUAL, &[0; 4])
    }

    /// To the address of the device by which the packet leaves.
    fn masquerade(self, ports: Option<(u16, u16)>) -> Self {
        let Some((first, last)) = ports else { return self.expression("masq", |_| ()) };
        const PORTS: u32 = 2;
        let loaded = self.load(FIRST, &first.to_be_bytes()).load(SECOND, &last.to_be_bytes());
        loaded.expression("masq", |m| {
            m.number(1, PORTS).number(2, FIRST).number(3, SECOND);
        })
    }

    fn zone(self, zone: u16) -> Self {
        const ZONE: u32 = 17;
        self.load(FIRST, &zone.to_ne_bytes()).expression("ct", |m| {
            m.number(2, ZONE).number(4, FIRST);
        })
    }

    fn counter(self) -> Self {
        self.expression("counter", |_| ())
    }

    fn verdict(self, code: i32, chain: Option<&str>) -> Self {
        self.expression("immediate", |m| {
            m.number(1, VERDICT).nest(2, |m| {
                m.nest(2, |m| {
                    m.bytes(1, &code.to_be_bytes());
                    if let Some(chain) = chain {
                        m.text(2, chain);
                    }
                });
            });
        })
    }
}

/// `IFNAMSIZ` bytes.
fn name(device: &str) -> [u8; 16] {
    let mut out = [0; 16];
    for (to, from) in out.iter_mut().zip(device.bytes().take(15)) {
        *to = from;
    }
    out
}
