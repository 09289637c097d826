//! Calls of an earlier run whose BYE is not confirmed. The peer does not know that their IKE SAs are lost: it sends into them
//! until dead peer detection.
//! ```text
//! record ─> next hop ─> media port open, without SAs ─> a request of the peer ─> the token of the earlier run (RFC 6290)
//! ```
//! So the peer finds the IKE SA dead in one round trip, and hangs up even if our BYE does not get through. The port closes when
//! the call has ended, or when its tunnel has another.

use crate::core::{Core, Dataplane, Pending};
use crate::output::Output;
use crate::record::MediaRecord;
use crate::tunnel::Tunnel;
use sipsec_ike::TokenMaker;
use sipsec_net::dp::Op;
use sipsec_net::{Instant, Kbps, MacAddr, MediaPort};
use sipsec_sip::CallId;
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

#[derive(Debug)]
pub(crate) struct LostCall {
    call: CallId,
    /// The tunnel's index.
    tunnel: usize,
    media: MediaRecord,
    next_hop: Option<MacAddr>,
    /// The dataplane has the port, or will have it.
    asked: bool,
    tokens: TokenMaker,
}

impl LostCall {
    pub const fn call(&self) -> CallId {
        self.call
    }

    /// Our address in SDP.
    pub const fn local_ip(&self) -> IpAddr {
        self.media.local.ip()
    }

    pub const fn tunnel(&self) -> usize {
        self.tunnel
    }

    /// What the record of the call says.
    pub const fn media(&self) -> MediaRecord {
        self.media
    }
}

/// By their media ports.
pub(crate) type LostCalls = BTreeMap<MediaPort, LostCall>;

impl Core {
    /// A call of an earlier run is being hung up; it was answered, and the media of its record are these.
    pub(crate) fn listen_for_lost(&mut self, call: CallId, tunnel: usize, media: MediaRecord) {
        let port = MediaPort(media.local.port());
        let ours = self.carriers.of_call(call).is_some_and(|carrier| carrier.wan().has(media.local.ip()));
        let Some(secret) = self.config.ike.crash_detection.clone().filter(|_| ours && !self.stopping())
        else {
            return;
        };
        // A tunnel with another call listens for that one only.
        if self.tunnels[tunnel].state().leg().is_some() {
            return;
        }
        if self.lost.contains_key(&port) || !self.ports.reserve(port) {
            return;
        }
        let tokens = TokenMaker::new(secret, media.local, media.remote.ip());
        self.lost.insert(port, LostCall { call, tunnel, media, next_hop: None, asked: false, tokens });
        self.out.push_back(Output::ResolveNextHop { media_port: port, remote: media.remote.ip() });
    }

    pub(crate) fn lost_next_hop(&mut self, port: MediaPort, mac: MacAddr) {
        let Some(lost) = self.lost.get_mut(&port) else { return };
        let changed = lost.next_hop.replace(mac) != Some(mac);
        if !lost.asked {
            self.open_lost(port);
        } else if changed {
            self.transact(vec![Op::NextHop { media_port: port, mac }], Pending::Cleanup);
        }
    }

    /// The dataplane has the tunnels.
    pub(crate) fn open_all_lost(&mut self) {
        for port in self.lost.keys().copied().collect::<Vec<_>>() {
            self.open_lost(port);
        }
    }

    fn open_lost(&mut self, port: MediaPort) {
        let Some(lost) = self.lost.get(&port).filter(|l| !l.asked) else { return };
        let (Some(mac), MediaRecord { local, remote, rate_kbps }) = (lost.next_hop, lost.media) else {
            return;
        };
        let tunnel = lost.tunnel;
        if self.dataplane != Dataplane::Ready || !self.tunnels[tunnel].is_configured() {
            return;
        }
        let ops = self.open_ops(tunnel, local, remote, Kbps(rate_kbps), mac);
        if let Some(lost) = self.lost.get_mut(&port) {
            lost.asked = true;
        }
        self.transact(ops, Pending::LostOpen { port });
    }

    /// The dataplane does not open the port.
    pub(crate) fn lost_refused(&mut self, now: Instant, port: MediaPort) {
        if self.lost.remove(&port).is_some() {
            self.release_port(now, port);
        }
    }

    /// The dataplane is gone, and its ports with it.
    pub(crate) fn lost_ports_are_closed(&mut self) {
        self.lost.values_mut().for_each(|lost| lost.asked = false);
    }

    pub(crate) fn lost_datagram(&mut self, now: Instant, port: MediaPort, bytes: &[u8]) {
        let Some(lost) = self.lost.get_mut(&port) else { return };
        if let Some(bytes) = lost.tokens.answer(now, bytes) {
            self.crash_tokens.sent += 1;
            self.out.push_back(Output::IkeTransmit { media_port: port, bytes, probe: false });
        }
    }

    /// Closes the ports of tunnels that have left the profile.
    pub(crate) fn forget_lost_of_leaving(&mut self, now: Instant) {
        let tunnels = &self.tunnels;
        let leaves = |i: usize| tunnels.get(i).is_none() || tunnels.is_leaving(i);
        let gone: BTreeSet<usize> = self.lost.values().map(LostCall::tunnel).filter(|i| leaves(*i)).collect();
        for lost in self.lost.values_mut() {
            // The dataplane takes a tunnel's media ports with it.
            lost.asked &=
                !gone.contains(&lost.tunnel) || tunnels.get(lost.tunnel).is_some_and(Tunnel::is_configured);
        }
        self.forget_lost(now, |lost| gone.contains(&lost.tunnel()));
    }

    /// Closes the ports of the lost calls that `which` selects.
    pub(crate) fn forget_lost(&mut self, now: Instant, which: impl Fn(&LostCall) -> bool) {
        let gone: Vec<_> = self.lost.extract_if(.., |_, lost| which(lost)).collect();
        for (port, lost) in gone {
            if lost.asked {
                self.transact(vec![Op::MediaClose(port)], Pending::Cleanup);
            }
            self.release_port(now, port);
        }
    }
}
