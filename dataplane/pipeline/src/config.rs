//! What a pipeline is built with: the two ports and the bounds of every table and queue.

use crate::lan_routers::LanRouters;
use crate::reassembly::ReassemblyLimits;
use core::net::{Ipv4Addr, Ipv6Addr};
use core::num::NonZeroU8;
use sipsec_net::{IpPrefix, MacAddr};

#[derive(Clone, Copy, Debug)]
pub struct Config {
    pub outside: OutsidePort,
    pub inside: InsidePort,
    pub limits: Limits,
    /// Random: decides which flows share a queue of the shaper.
    pub flow_key: u64,
    /// Random: keys the tables of translations and decides which ports hosts get.
    pub nat_seed: [u64; 3],
}

/// The WAN.
#[derive(Clone, Copy, Debug)]
pub struct OutsidePort {
    pub mac: MacAddr,
    /// Largest outer IP packet.
    pub mtu: u16,
    pub dont_fragment: DontFragment,
}

/// RFC 4301 §8.1: the DF bit of ESP's outer IPv4 header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DontFragment {
    Clear,
    Set,
    /// The bit of an inner IPv4 packet; clear for IPv6, which has none.
    Copy,
}

/// The side in clear.
#[derive(Clone, Copy, Debug)]
pub struct InsidePort {
    pub mac: MacAddr,
    /// To whom decrypted packets go: the sVTI's kernel end in host mode, the next router of the LAN in router mode.
    pub next_hop: MacAddr,
    /// Router mode: to whom packets for these prefixes go instead.
    pub routers: LanRouters,
    pub mode: InsideMode,
}

/// Router mode: this host's own prefixes and addresses, which no tunnel's prefix takes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Local {
    /// The host's addresses and the prefixes of the LAN device.
    pub prefixes: Vec<IpPrefix>,
    /// Source of the ICMP errors; the offending packet's destination if there is none. In host mode it must be none: the
    /// kernel refuses as martian what arrives with one of its own addresses as source.
    pub icmp_source_v4: Option<Ipv4Addr>,
    pub icmp_source_v6: Option<Ipv6Addr>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum InsideMode {
    /// The other end of the port is this host's kernel, which forwards: it decrements TTL, before us on the way out and
    /// after us on the way in, and it sends Time Exceeded.
    Host,
    /// The port is a LAN device: the pipeline is the router (RFC 4301 §5.1.2.1 note: who forwards, decrements).
    Router,
}

/// Bounds. Tables are sized for them at build.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    pub tunnels_max: u32,
    pub routes_max: u32,
    pub media_ports_max: u32,
    /// Both directions, old and new during a rekey.
    pub sas_max: u32,
    /// Packets that wait anywhere (triggers and shapers together). A quarter of the frames: half are the receive rings',
    /// and what is left must carry what is on its way.
    pub waiting_packets_max: u32,
    /// Packets that wait for the rate of one media port (without those replayed from its trigger queue).
    pub shaper_packets_max: u16,
    /// And how long a queue they may make, in time at the negotiated rate.
    pub shaper_delay_ms_max: u32,
    /// IKE messages that wait for the rate of one media port.
    pub ike_packets_max: u16,
    /// Translations, each of about 200 bytes.
    pub nat_sessions_max: u32,
    /// Outer datagrams in fragments, for each worker.
    pub reassembly: ReassemblyLimits,
    /// RFC 1812 §4.3.2.8: ICMP errors are limited.
    pub icmp_errors_per_second_max: u32,
}

impl Limits {
    /// The part of [`Self::waiting_packets_max`] that packets without an SA may take, and those that waited for one until they are
    /// sent: tunnels without an answer must not take the room of live calls.
    #[must_use]
    pub const fn trigger_packets_max(&self) -> u32 {
        self.waiting_packets_max / 2
    }

    /// The part that is left for calls with little to send when the rest is taken.
    #[must_use]
    pub const fn reserved_packets(&self) -> u32 {
        self.waiting_packets_max / 8
    }

    /// The part of one of so many workers, of what is bounded for all of them together. Each has frames of its own, and its
    /// tables have room for every tunnel: which will be its own is not known yet.
    #[must_use]
    pub const fn among(self, workers: NonZeroU8) -> Self {
        let workers = workers.get() as u32;
        Self {
            nat_sessions_max: self.nat_sessions_max.div_ceil(workers),
            icmp_errors_per_second_max: self.icmp_errors_per_second_max.div_ceil(workers),
            ..self
        }
    }

    /// For so many tunnels and a UMEM of so many frames.
    #[must_use]
    pub const fn for_tunnels(tunnels: u32, frames: u32) -> Self {
        Self {
            tunnels_max: tunnels,
            routes_max: tunnels.saturating_mul(4),
            // A tunnel may have two calls for a moment (glare, redial) and four SAs (rekey).
            media_ports_max: tunnels.saturating_mul(2),
            sas_max: tunnels.saturating_mul(6),
            waiting_packets_max: frames / 4,
            shaper_packets_max: 256,
            shaper_delay_ms_max: 250,
            ike_packets_max: 32,
            nat_sessions_max: 1024,
            reassembly: ReassemblyLimits::DEFAULT,
            icmp_errors_per_second_max: 1000,
        }
    }
}
