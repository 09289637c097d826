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

use crate::net::netfilter::{
    ACCEPT, Batch, DROP, EQUAL, FIRST, Fib, Hook, JUMP, Meta, Rule, SECOND, TCP, UDP, Writer,
};
use sipsec_abi::nfnetlink::IPV4;
use sipsec_profile::model::nat::PortProtocol;
use sipsec_profile::model::primary_nat::{Forward, PrimaryNat};

/// Devices that lead into tunnels, so that all rules fit one transaction. Connections by further ones keep their translation
/// until it ends by itself.
pub const TUNNEL_DEVICES_MAX: usize = 64;
/// The zone of packets that tunnels carry.
const TUNNEL_ZONE: u16 = 83;

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
            self.paths(&mut writer);
            self.arriving(&mut writer);
            self.leaving(&mut writer);
            self.guard(&mut writer);
        }
        writer.finish()
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

impl Rule<'_> {
    fn leaves(self, primary: &PrimaryNat) -> Self {
        self.meta(Meta::OutName).named(&primary.device)
    }

    fn leaves_not(self, primary: &PrimaryNat) -> Self {
        self.meta(Meta::OutName).not_named(&primary.device)
    }

    fn port(self, forward: &Forward) -> Self {
        let protocol = match forward.protocol {
            PortProtocol::Tcp => TCP,
            PortProtocol::Udp => UDP,
        };
        self.protocol(protocol).transport_to(FIRST, 2, 2).compare(EQUAL, &forward.port.to_be_bytes())
    }

    fn destination(self, forward: &Forward) -> Self {
        const DESTINATION: u32 = 1;
        let loaded = self.load(FIRST, &forward.local.ip().octets());
        loaded.load(SECOND, &forward.local.port().to_be_bytes()).expression("nat", |m| {
            m.number(1, DESTINATION).number(2, IPV4.into()).number(3, FIRST).number(5, SECOND);
        })
    }
}
