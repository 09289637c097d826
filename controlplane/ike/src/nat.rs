//! NAT detection (RFC 7296 §2.23), and keepalives behind one (RFC 3948 §4).

use crate::ctx::Ctx;
use crate::state::Established;
use crate::view::NatView;
use crate::wire::{Chain, Message, NotifyType};
use core::net::{IpAddr, Ipv4Addr, SocketAddr};
use sha1::{Digest, Sha1};
use sipsec_net::Instant;

/// SHA-1 of the SPIs in the order in which they appear in the header, the address and the port.
fn hash(spi_i: u64, spi_r: u64, addr: SocketAddr) -> [u8; 20] {
    let mut h = Sha1::new();
    h.update(spi_i.to_be_bytes());
    h.update(spi_r.to_be_bytes());
    match addr.ip() {
        IpAddr::V4(a) => h.update(a.octets()),
        IpAddr::V6(a) => h.update(a.octets()),
    }
    h.update(addr.port().to_be_bytes());
    h.finalize().into()
}

/// No host sends from here, so a hash of it never matches: the peer sees a NAT and encapsulates.
const NOWHERE: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), 0);

pub(crate) fn add(chain: &mut Chain, ctx: &Ctx, spi_i: u64, spi_r: u64) {
    let source = if ctx.config.force_encap { NOWHERE } else { ctx.config.local };
    chain.notify(NotifyType::NAT_DETECTION_SOURCE_IP, &hash(spi_i, spi_r, source));
    chain.notify(NotifyType::NAT_DETECTION_DESTINATION_IP, &hash(spi_i, spi_r, ctx.config.remote));
}

pub(crate) fn detect(message: &Message<'_>, ctx: &Ctx, spi_i: u64, spi_r: u64) -> NatView {
    let of = |kind| message.notifies.iter().filter(move |n| n.kind == kind).map(|n| n.data);
    let mut sources = of(NotifyType::NAT_DETECTION_SOURCE_IP).peekable();
    let mut destinations = of(NotifyType::NAT_DETECTION_DESTINATION_IP).peekable();
    let supported = sources.peek().is_some() && destinations.peek().is_some();
    // RFC 7296 §2.23: there may be several source hashes, of all the addresses that the peer may send from.
    let seen_remote = hash(spi_i, spi_r, ctx.config.remote);
    let seen_local = hash(spi_i, spi_r, ctx.config.local);
    NatView {
        supported,
        local: supported && !destinations.any(|d| d == seen_local),
        remote: supported && !sources.any(|s| s == seen_remote),
        force_encap: ctx.config.force_encap,
    }
}

impl Established {
    /// When the mapping of a NAT in front of us wants a packet. One in front of the peer is the peer's to keep.
    pub(crate) fn keepalive_due(&self, ctx: &Ctx) -> Option<Instant> {
        ctx.config.nat_keepalive.filter(|_| self.nat.local).map(|idle| ctx.last_sent + idle)
    }

    pub(crate) fn poll_keepalive(&self, ctx: &mut Ctx, now: Instant) {
        if self.keepalive_due(ctx).is_some_and(|due| due <= now) {
            ctx.nat_keepalive();
        }
    }
}
