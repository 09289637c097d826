//! Expressions of a rule of nftables.

use super::transaction::milliseconds;
use sipsec_abi::nfnetlink::Message;
use sipsec_net::IpPrefix;
use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

/// Protocol numbers.
pub const TCP: u8 = 6;
pub const UDP: u8 = 17;
/// `IPS_SRC_NAT`, `IPS_DST_NAT`
pub const SOURCE_TRANSLATED: u32 = 1 << 4;
pub const DESTINATION_TRANSLATED: u32 = 1 << 5;
/// Verdicts (`linux/netfilter.h`, `nf_tables.h`).
pub const DROP: i32 = 0;
pub const ACCEPT: i32 = 1;
pub const JUMP: i32 = -3;
pub const RETURN: i32 = -5;

#[derive(Clone, Copy, Debug)]
pub enum Meta {
    Mark = 3,
    InName = 6,
    OutName = 7,
    /// `NFPROTO_…`
    Family = 15,
    Protocol = 16,
    /// Since 1970, in nanoseconds.
    Time = 30,
}

/// What the entry of a connection says of one of its directions.
#[derive(Clone, Copy, Debug)]
pub enum Tracked {
    SourcePort = 11,
    DestinationPort = 12,
    /// IPv4.
    Source = 19,
}

/// `IP_CT_DIR_…`
#[derive(Clone, Copy, Debug)]
pub enum Way {
    Original = 0,
    Reply = 1,
}

#[derive(Clone, Copy, Debug)]
pub enum Fib {
    OutName = 2,
    Kind = 3,
}

/// The expressions of a rule, in their order: the first that does not hold ends it.
#[derive(Debug)]
pub struct Rule<'a>(&'a mut Message);

/// Registers of 16 bytes; those of 4 bytes from [`KEY`] on are parts of them.
const VERDICT: u32 = 0;
pub const FIRST: u32 = 1;
pub const SECOND: u32 = 2;
pub const EQUAL: u32 = 0;
pub const UNEQUAL: u32 = 1;
const LESS: u32 = 2;
const LESS_OR_EQUAL: u32 = 3;
/// Where the key of a set begins.
pub const KEY: u32 = 8;
/// Where the value of a map's element begins: in [`SECOND`].
pub const VALUE: u32 = 12;
const NETWORK: u32 = 1;
const TRANSPORT: u32 = 2;
const AT_SOURCE: u32 = 12;
const AT_DESTINATION: u32 = 16;
/// `RTN_LOCAL`
const LOCAL: u32 = 2;

impl<'a> Rule<'a> {
    pub const fn of(message: &'a mut Message) -> Self {
        Self(message)
    }
    pub fn expression(self, name: &str, fill: impl FnOnce(&mut Message)) -> Self {
        self.0.nest(1, |m| {
            m.text(1, name).nest(2, fill);
        });
        self
    }

    pub fn compare(self, operation: u32, value: &[u8]) -> Self {
        self.expression("cmp", |m| {
            m.number(1, FIRST).number(2, operation).nest(3, |m| {
                m.bytes(1, value);
            });
        })
    }

    pub fn load(self, register: u32, value: &[u8]) -> Self {
        self.expression("immediate", |m| {
            m.number(1, register).nest(2, |m| {
                m.bytes(1, value);
            });
        })
    }

    pub fn meta(self, key: Meta) -> Self {
        self.meta_to(FIRST, key)
    }

    pub fn meta_to(self, register: u32, key: Meta) -> Self {
        self.expression("meta", |m| {
            m.number(1, register).number(2, key as u32);
        })
    }

    /// The packet has the bits of this mark from now on, beside those that it has.
    pub fn marked(self, mark: u32) -> Self {
        let masked = self.meta(Meta::Mark).expression("bitwise", |m| {
            m.number(1, FIRST).number(2, FIRST).number(3, 4);
            m.nest(4, |m| {
                m.bytes(1, &(!mark).to_ne_bytes());
            });
            m.nest(5, |m| {
                m.bytes(1, &mark.to_ne_bytes());
            });
        });
        masked.expression("meta", |m| {
            m.number(2, Meta::Mark as u32).number(3, FIRST);
        })
    }

    /// Before this time, in nanoseconds since 1970.
    pub fn before(self, unix_ns: u64) -> Self {
        const TO_NETWORK: u32 = 1;
        let ordered = self.meta(Meta::Time).expression("byteorder", |m| {
            m.number(1, FIRST).number(2, FIRST).number(3, TO_NETWORK).number(4, 8).number(5, 8);
        });
        ordered.compare(LESS, &unix_ns.to_be_bytes())
    }

    /// Adds the key to a set, or prolongs it. A full set ends the rule.
    pub fn remembered(self, set: &str, timeout: Duration) -> Self {
        const UPDATE: u32 = 1;
        self.expression("dynset", |m| {
            m.text(1, set).number(3, UPDATE).number(4, KEY).bytes(6, &milliseconds(timeout));
        })
    }

    /// The same for a map, with the value from [`VALUE`] on. A key that is there keeps its value.
    pub fn noted(self, map: &str, timeout: Duration) -> Self {
        const UPDATE: u32 = 1;
        self.expression("dynset", |m| {
            m.text(1, map).number(3, UPDATE).number(4, KEY).number(5, VALUE).bytes(6, &milliseconds(timeout));
        })
    }

    /// The value that a map has for the key, from [`VALUE`] on; without one the rule ends.
    pub fn looked_up(self, map: &str) -> Self {
        self.expression("lookup", |m| {
            m.text(1, map).number(2, KEY).number(3, SECOND);
        })
    }

    /// Ends the rule unless a program of this host takes the packet.
    pub fn has_socket(self) -> Self {
        const WILDCARD: u32 = 2;
        let found = self.expression("socket", |m| {
            m.number(1, WILDCARD).number(2, FIRST);
        });
        // Either value: without a socket there is none. The comparison is for programs that list the rule.
        found.compare(LESS_OR_EQUAL, &[1])
    }

    pub fn tracked_to(self, register: u32, what: Tracked, way: Way) -> Self {
        self.expression("ct", |m| {
            m.number(1, register).number(2, what as u32).bytes(3, &[way as u8]);
        })
    }

    /// The packet goes the way of the connection's first one.
    pub fn original_way(self) -> Self {
        const DIRECTION: u32 = 1;
        let read = self.expression("ct", |m| {
            m.number(1, FIRST).number(2, DIRECTION);
        });
        read.compare(EQUAL, &[Way::Original as u8])
    }

    /// A connection that a host of this network began.
    pub fn begun_by(self, prefix: &IpPrefix) -> Self {
        self.address_of(prefix, EQUAL, |r| r.tracked_to(FIRST, Tracked::Source, Way::Original))
    }

    pub fn known(self, set: &str) -> Self {
        self.expression("lookup", |m| {
            m.text(1, set).number(2, KEY);
        })
    }

    /// Of the destination's route: the device, or the kind of address.
    pub fn fib(self, result: Fib) -> Self {
        self.route_of(2, result)
    }

    /// By the route of the destination, which may depend on the packet's mark.
    pub fn leads_to(self, device: &str) -> Self {
        self.route_of(2 | 4, Fib::OutName).named(device)
    }

    pub fn own_source(self) -> Self {
        self.route_of(1, Fib::Kind).local()
    }

    /// `end` is 1 for the source, 2 for the destination, with 4 for the mark.
    fn route_of(self, end: u32, result: Fib) -> Self {
        self.expression("fib", |m| {
            m.number(1, FIRST).number(2, result as u32).number(3, end);
        })
    }

    pub fn named(self, device: &str) -> Self {
        self.compare(EQUAL, &name(device))
    }

    pub fn not_named(self, device: &str) -> Self {
        self.compare(UNEQUAL, &name(device))
    }

    pub fn local(self) -> Self {
        self.compare(EQUAL, &LOCAL.to_ne_bytes())
    }

    fn address(self, at: u32, operation: u32, prefix: &IpPrefix) -> Self {
        self.address_of(prefix, operation, |r| r.network_to(FIRST, at, 4))
    }

    fn address_of(self, prefix: &IpPrefix, operation: u32, read: impl FnOnce(Self) -> Self) -> Self {
        let IpAddr::V4(address) = prefix.addr() else { return self };
        if prefix.prefix_len() == 0 && operation == EQUAL {
            return self;
        }
        let mask = u32::MAX.checked_shl(32 - u32::from(prefix.prefix_len())).unwrap_or(0);
        let read = read(self);
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

    pub fn network_to(self, register: u32, at: u32, len: u32) -> Self {
        self.payload(register, NETWORK, at, len)
    }

    /// Ends the rule for a fragment that is not the first.
    pub fn transport_to(self, register: u32, at: u32, len: u32) -> Self {
        self.payload(register, TRANSPORT, at, len)
    }

    fn payload(self, register: u32, base: u32, at: u32, len: u32) -> Self {
        self.expression("payload", |m| {
            m.number(1, register).number(2, base).number(3, at).number(4, len);
        })
    }

    pub fn source(self, prefix: &IpPrefix) -> Self {
        self.address(AT_SOURCE, EQUAL, prefix)
    }

    pub fn to(self, prefix: &IpPrefix) -> Self {
        self.address(AT_DESTINATION, EQUAL, prefix)
    }

    pub fn not_to(self, prefix: &IpPrefix) -> Self {
        self.address(AT_DESTINATION, UNEQUAL, prefix)
    }

    pub fn protocol(self, protocol: u8) -> Self {
        self.meta(Meta::Protocol).compare(EQUAL, &[protocol])
    }

    /// [`SOURCE_TRANSLATED`] or [`DESTINATION_TRANSLATED`].
    pub fn translated(self, which: u32) -> Self {
        const STATUS: u32 = 2;
        let read = self.expression("ct", |m| {
            m.number(1, FIRST).number(2, STATUS);
        });
        let masked = read.expression("bitwise", |m| {
            m.number(1, FIRST).number(2, FIRST).number(3, 4);
            m.nest(4, |m| {
                m.bytes(1, &which.to_ne_bytes());
            });
            m.nest(5, |m| {
                m.bytes(1, &[0; 4]);
            });
        });
        masked.compare(UNEQUAL, &[0; 4])
    }

    /// To the address of the device by which the packet leaves.
    pub fn masquerade(self, ports: Option<(u16, u16)>) -> Self {
        let Some((first, last)) = ports else { return self.expression("masq", |_| ()) };
        const PORTS: u32 = 2;
        let loaded = self.load(FIRST, &first.to_be_bytes()).load(SECOND, &last.to_be_bytes());
        loaded.expression("masq", |m| {
            m.number(1, PORTS).number(2, FIRST).number(3, SECOND);
        })
    }

    pub fn zone(self, zone: u16) -> Self {
        const ZONE: u32 = 17;
        self.load(FIRST, &zone.to_ne_bytes()).expression("ct", |m| {
            m.number(2, ZONE).number(4, FIRST);
        })
    }

    pub fn counter(self) -> Self {
        self.expression("counter", |_| ())
    }

    pub fn verdict(self, code: i32, chain: Option<&str>) -> Self {
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
