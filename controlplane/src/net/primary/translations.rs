//! The kernel's table of connections, as far as it is about hosts of `nat.primary`.

use crate::net::netfilter::{DUMP, Netfilter};
use sipsec_abi::nfnetlink::{ACK, Attribute, IPV4, Message, REQUEST, attributes, find};
use sipsec_net::IpPrefix;
use sipsec_profile::model::primary_nat::PrimaryNat;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddrV4};

/// `NFNL_SUBSYS_CTNETLINK`; `IPCTNL_MSG_CT_GET`, `IPCTNL_MSG_CT_DELETE`
const SUBSYSTEM: u16 = 1;
const GET: u16 = SUBSYSTEM << 8 | 1;
const DELETE: u16 = SUBSYSTEM << 8 | 2;
/// `CTA_…`
const ORIGINAL: u16 = 1;
const REPLY: u16 = 2;
const STATUS: u16 = 3;
const PROTOCOL_STATE: u16 = 4;
const TIMEOUT: u16 = 7;
const ID: u16 = 12;
/// `IPS_SRC_NAT`, `IPS_DST_NAT`
const SOURCE_CHANGED: u32 = 1 << 4;
const DESTINATION_CHANGED: u32 = 1 << 5;
const ICMP: u8 = 1;
const TCP: u8 = 6;
const UDP: u8 = 17;

/// One translation. A port is the identifier for ICMP.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Translated {
    pub protocol: u8,
    pub inside_local: SocketAddrV4,
    pub inside_global: SocketAddrV4,
    pub outside: SocketAddrV4,
    /// From outside, to a forwarded port.
    pub is_forward: bool,
    pub state: Option<&'static str>,
    pub left_s: u32,
    /// The device of the primary.
    pub device: String,
}

impl Translated {
    #[must_use]
    pub fn protocol_name(&self) -> String {
        match self.protocol {
            ICMP => "icmp".to_owned(),
            TCP => "tcp".to_owned(),
            UDP => "udp".to_owned(),
            other => other.to_string(),
        }
    }
}

#[derive(Clone, Copy, Debug)]
struct Tuple {
    source: SocketAddrV4,
    destination: SocketAddrV4,
    protocol: u8,
}

fn tuple(bytes: &[u8]) -> Option<Tuple> {
    let (ip, protocol) = (find(bytes, 1)?.value, find(bytes, 2)?.value);
    let address = |kind| -> Option<Ipv4Addr> {
        let octets: [u8; 4] = find(ip, kind)?.value.try_into().ok()?;
        Some(octets.into())
    };
    let port = |kind| find(protocol, kind).and_then(|a| a.short());
    // An ICMP query has an identifier in place of both.
    let id = port(4);
    let ends = |kind| port(kind).or(id).unwrap_or(0);
    Some(Tuple {
        source: SocketAddrV4::new(address(1)?, ends(2)),
        destination: SocketAddrV4::new(address(2)?, ends(3)),
        protocol: *find(protocol, 1)?.value.first()?,
    })
}

/// `enum tcp_conntrack`
fn tcp_state(bytes: &[u8]) -> Option<&'static str> {
    const STATES: [&str; 9] = [
        "none",
        "syn-sent",
        "syn-received",
        "established",
        "fin-wait",
        "close-wait",
        "last-ack",
        "time-wait",
        "close",
    ];
    let state = *find(find(find(bytes, PROTOCOL_STATE)?.value, 1)?.value, 1)?.value.first()?;
    STATES.get(usize::from(state)).copied()
}

/// A connection as a translation of one of the primaries, if it is one.
fn translated(bytes: &[u8], primaries: &[PrimaryNat]) -> Option<Translated> {
    let (original, reply) = (tuple(find(bytes, ORIGINAL)?.value)?, tuple(find(bytes, REPLY)?.value)?);
    let status = find(bytes, STATUS)?.number()?;
    let left_s = find(bytes, TIMEOUT).and_then(|a| a.number()).unwrap_or(0);
    let within = |list: &[IpPrefix], ip: &Ipv4Addr| list.iter().any(|p| p.contains(IpAddr::V4(*ip)));
    let is_forward = status & DESTINATION_CHANGED != 0;
    let device = if is_forward {
        primaries.iter().find(|p| p.forwards.iter().any(|f| f.local == reply.source))?
    } else if status & SOURCE_CHANGED != 0 {
        primaries.iter().find(|p| within(&p.sources, original.source.ip()))?
    } else {
        return None;
    };
    let (inside_local, inside_global, outside) = if is_forward {
        (reply.source, original.destination, original.source)
    } else {
        (original.source, reply.destination, original.destination)
    };
    Some(Translated {
        protocol: original.protocol,
        inside_local,
        inside_global,
        outside,
        is_forward,
        state: tcp_state(bytes),
        left_s,
        device: device.device.clone(),
    })
}

/// At most so many.
pub fn list(primaries: &[PrimaryNat], max: usize) -> io::Result<Vec<Translated>> {
    let mut out = Vec::new();
    Netfilter::open()?.dump(Message::new(GET, REQUEST | DUMP, 1, IPV4, 0).finish(), |message| {
        out.extend(translated(message.attributes(), primaries));
        out.len() < max
    })?;
    Ok(out)
}

/// Ends those of a host, or all; how many.
pub fn clear(primaries: &[PrimaryNat], host: Option<Ipv4Addr>) -> io::Result<usize> {
    let mut ended = Vec::new();
    let mut netfilter = Netfilter::open()?;
    netfilter.dump(Message::new(GET, REQUEST | DUMP, 1, IPV4, 0).finish(), |message| {
        let bytes = message.attributes();
        let ours =
            translated(bytes, primaries).is_some_and(|t| host.is_none_or(|h| *t.inside_local.ip() == h));
        // Its identifier too: one that has come since stays.
        let named = |a: &Attribute<'_>| a.kind == ORIGINAL || a.kind == ID;
        if ours {
            let mut delete = Message::new(DELETE, REQUEST | ACK, 2, IPV4, 0);
            for attribute in attributes(bytes).filter(named) {
                delete.copied(&attribute);
            }
            ended.push(delete.finish());
        }
        true
    })?;
    let count = ended.len();
    for delete in ended {
        match netfilter.exchange(delete) {
            Err(error) if error.raw_os_error() != Some(libc::ENOENT) => return Err(error),
            // It has ended by itself.
            _ => {}
        }
    }
    Ok(count)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use sipsec_abi::nfnetlink::messages;
    use sipsec_profile::model::nat::PortProtocol;
    use sipsec_profile::model::primary_nat::{Forward, PrimaryFiltering};

    fn primary() -> PrimaryNat {
        PrimaryNat {
            device: "wan1".into(),
            sources: vec!["192.168.1.0/24".parse().expect("a prefix")],
            exempt: Vec::new(),
            port_first: 1024,
            port_last: 49_151,
            filtering: PrimaryFiltering::default(),
            forwards: vec![Forward {
                protocol: PortProtocol::Tcp,
                port: 8080,
                local: "192.168.1.10:80".parse().expect("an endpoint"),
            }],
        }
    }

    fn connection(status: u32, original: [&str; 2], reply: [&str; 2]) -> Vec<u8> {
        let mut message = Message::new(SUBSYSTEM << 8, 0, 1, IPV4, 0);
        for (kind, ends) in [(ORIGINAL, original), (REPLY, reply)] {
            let [source, destination] = ends.map(|e| e.parse::<SocketAddrV4>().expect("an endpoint"));
            message.nest(kind, |m| {
                m.nest(1, |m| {
                    m.bytes(1, &source.ip().octets()).bytes(2, &destination.ip().octets());
                });
                m.nest(2, |m| {
                    m.bytes(1, &[TCP]);
                    m.bytes(2, &source.port().to_be_bytes()).bytes(3, &destination.port().to_be_bytes());
                });
            });
        }
        message.number(STATUS, status).number(TIMEOUT, 300);
        message.nest(PROTOCOL_STATE, |m| {
            m.nest(1, |m| {
                m.bytes(1, &[3]);
            });
        });
        message.finish()
    }

    fn read(bytes: &[u8]) -> Option<Translated> {
        translated(messages(bytes).next().expect("a message").attributes(), &[primary()])
    }

    #[test]
    fn both_directions_are_told_with_the_same_columns() {
        let out = read(&connection(
            SOURCE_CHANGED,
            ["192.168.1.9:40000", "203.0.113.5:443"],
            ["203.0.113.5:443", "198.51.100.2:40000"],
        ))
        .expect("ours");
        let text = |t: &Translated| format!("{} {} {}", t.inside_global, t.inside_local, t.outside);
        assert_eq!(text(&out), "198.51.100.2:40000 192.168.1.9:40000 203.0.113.5:443");
        assert_eq!((out.state, out.left_s, out.is_forward), (Some("established"), 300, false));
        let back = read(&connection(
            DESTINATION_CHANGED,
            ["203.0.113.5:5000", "198.51.100.2:8080"],
            ["192.168.1.10:80", "203.0.113.5:5000"],
        ))
        .expect("ours");
        assert_eq!(text(&back), "198.51.100.2:8080 192.168.1.10:80 203.0.113.5:5000");
        assert!(back.is_forward);
    }

    #[test]
    fn what_others_translate_is_not_shown() {
        let ends = (["10.9.0.1:1", "203.0.113.5:2"], ["203.0.113.5:2", "198.51.100.2:1"]);
        assert_eq!(read(&connection(SOURCE_CHANGED, ends.0, ends.1)), None);
        assert_eq!(read(&connection(DESTINATION_CHANGED, ends.0, ends.1)), None);
        assert_eq!(
            read(&connection(0, ["192.168.1.9:1", "203.0.113.5:2"], ["203.0.113.5:2", "192.168.1.9:1"])),
            None
        );
    }

    proptest! {
        #[test]
        fn any_bytes_are_no_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = translated(&bytes, &[primary()]);
        }
    }
}
