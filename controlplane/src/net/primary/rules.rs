//! `nat.primary` as one transaction of nftables: the table of the gateway is replaced, or is as it was.
//!
//! ```text
//! prerouting  ─▶ paths     packets of the tunnels are tracked in a zone of their own
//!             ─▶ arriving  for a forwarded port of an own address? ─▶ ports_N: destination = the host
//!                          for a port in reached_N?                 destination = the host that has sent from it
//! output      ─▶ own       the zone, for the gateway's own packets into tunnels
//! postrouting ─▶ leaving   exempt? as it is.  from `sources` to the device: its address, with a port of the range
//!             ─▶ guard     from `sources` to the device in spite of all: dropped, and counted
//!             ─▶ reaching  translated? its port and its host are noted in reached_N for 300 s
//! ```
//! `reached_N` is there where filtering is endpoint-independent (RFC 4787 §5): the kernel's own lets in what answers, and no more.
//! Zones keep a connection that moves from the primary to a tunnel and back from taking its translation along: on each way
//! it has an entry of its own, or none yet.

use crate::net::netfilter::{
    ACCEPT, Batch, DESTINATION_TRANSLATED, DROP, EQUAL, FIRST, Fib, Hook, JUMP, KEY, Meta, Rule, SECOND,
    SOURCE_TRANSLATED, Set, TCP, Tracked, UDP, VALUE, Way, Writer,
};
use sipsec_abi::nfnetlink::IPV4;
use sipsec_profile::model::nat::PortProtocol;
use sipsec_profile::model::primary_nat::{Forward, PrimaryFiltering, PrimaryNat};
use std::time::Duration;

/// Devices that lead into tunnels, so that all rules fit one transaction. Connections by further ones keep their translation
/// until it ends by itself.
pub const TUNNEL_DEVICES_MAX: usize = 64;
/// The zone of packets that tunnels carry.
const TUNNEL_ZONE: u16 = 83;
/// RFC 4787 REQ-5: the default of a UDP mapping.
const REACHED_FOR: Duration = Duration::from_secs(300);
/// Of one primary: as many as there are ports of TCP and UDP.
const REACHED_MAX: u32 = 1 << 17;
/// `inet_proto`, `inet_service` and `ipv4_addr`, as `nft` numbers them, and their lengths.
const PROTOCOL: (u32, u32) = (12, 1);
const PORT: (u32, u32) = (13, 2);
const ADDRESS: (u32, u32) = (7, 4);

/// What the kernel shall translate, and for which gateway.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rules {
    pub table: String,
    /// The kernel's end of the sVTI, and tunnels' own devices; none in router mode.
    pub tunnels: Vec<String>,
    pub primary: Vec<PrimaryNat>,
}

impl Rules {
    /// The table as it shall be; without primaries there is none.
    pub fn batch(&self) -> Batch {
        let mut writer = Writer::new(&self.table, IPV4);
        if self.primary.is_empty() {
            writer.no_table();
        } else {
            writer.empty_table();
            self.reached(&mut writer);
            self.paths(&mut writer);
            self.arriving(&mut writer);
            self.leaving(&mut writer);
            self.guard(&mut writer);
            self.reaching(&mut writer);
        }
        writer.finish()
    }

    /// Primaries with endpoint-independent filtering, and the maps of their ports.
    fn open(&self) -> impl Iterator<Item = (String, &PrimaryNat)> {
        let numbered = self.primary.iter().enumerate();
        let open = numbered.filter(|(_, p)| p.filtering == PrimaryFiltering::EndpointIndependent);
        open.map(|(i, primary)| (format!("reached_{i}"), primary))
    }

    fn reached(&self, w: &mut Writer<'_>) {
        for (name, _) in self.open() {
            w.set(&Set {
                name: &name,
                fields: &[PROTOCOL, PORT],
                values: &[ADDRESS, PORT],
                elements_max: REACHED_MAX,
                timeout: REACHED_FOR,
            });
        }
    }

    /// Behind the guard: what it drops opens nothing.
    fn reaching(&self, w: &mut Writer<'_>) {
        if self.open().next().is_none() {
            return;
        }
        w.chain("reaching", Some(("filter", Hook::Postrouting, 310)));
        for (map, primary) in self.open() {
            for source in &primary.sources {
                for protocol in [TCP, UDP] {
                    w.rule("reaching", |r| {
                        let r = r.leaves(primary).original_way().begun_by(source);
                        r.translated(SOURCE_TRANSLATED).protocol(protocol).opens(&map)
                    });
                }
            }
        }
    }

    /// Behind the forwarded ports, and not for the gateway's own.
    fn arriving_anywhere(&self, w: &mut Writer<'_>) {
        for (map, primary) in self.open() {
            w.rule("arriving", |r| r.arrives(primary).has_socket().verdict(ACCEPT, None));
            w.rule("arriving", |r| r.arrives(primary).leads_to_host_in(&map));
        }
    }

    fn paths(&self, w: &mut Writer<'_>) {
        if self.tunnels.is_empty() {
            return;
        }
        w.chain("paths", Some(("filter", Hook::Prerouting, -300)));
        w.chain("own", Some(("filter", Hook::Output, -300)));
        for device in self.tunnels.iter().take(TUNNEL_DEVICES_MAX) {
            w.rule("paths", |r| r.meta(Meta::InName).named(device).zone(TUNNEL_ZONE));
            w.rule("paths", |r| r.leads_to(device).zone(TUNNEL_ZONE));
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
        self.arriving_anywhere(w);
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
                    r.source(source).translated(DESTINATION_TRANSLATED).leaves_not(primary).masquerade(None)
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

impl Rule<'_> {
    fn leaves(self, primary: &PrimaryNat) -> Self {
        self.meta(Meta::OutName).named(&primary.device)
    }

    fn leaves_not(self, primary: &PrimaryNat) -> Self {
        self.meta(Meta::OutName).not_named(&primary.device)
    }

    fn arrives(self, primary: &PrimaryNat) -> Self {
        self.meta(Meta::InName).named(&primary.device).fib(Fib::Kind).local()
    }

    /// The port that outside sees leads to the host's for a while.
    fn opens(self, map: &str) -> Self {
        let key = self.meta_to(KEY, Meta::Protocol).tracked_to(KEY + 1, Tracked::DestinationPort, Way::Reply);
        let host = key.tracked_to(VALUE, Tracked::Source, Way::Original);
        host.tracked_to(VALUE + 1, Tracked::SourcePort, Way::Original).noted(map, REACHED_FOR)
    }

    fn leads_to_host_in(self, map: &str) -> Self {
        let key = self.meta_to(KEY, Meta::Protocol).transport_to(KEY + 1, 2, 2);
        key.looked_up(map).translate_destination(VALUE, VALUE + 1)
    }

    fn translate_destination(self, address: u32, port: u32) -> Self {
        const DESTINATION: u32 = 1;
        self.expression("nat", |m| {
            m.number(1, DESTINATION).number(2, IPV4.into()).number(3, address).number(5, port);
        })
    }

    fn port(self, forward: &Forward) -> Self {
        let protocol = match forward.protocol {
            PortProtocol::Tcp => TCP,
            PortProtocol::Udp => UDP,
        };
        self.protocol(protocol).transport_to(FIRST, 2, 2).compare(EQUAL, &forward.port.to_be_bytes())
    }

    fn destination(self, forward: &Forward) -> Self {
        let loaded = self.load(FIRST, &forward.local.ip().octets());
        loaded.load(SECOND, &forward.local.port().to_be_bytes()).translate_destination(FIRST, SECOND)
    }
}
