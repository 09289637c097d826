//! The media port: opened for a call, closed with it.

use crate::core::{Core, Pending};
use crate::output::{EventKind, Output};
use crate::state::{Negotiating, NextHopIs, State};
use sipsec_net::dp::{MediaBinding, Op, PeerSource};
use sipsec_net::{Instant, Kbps, MacAddr, MediaPort};
use sipsec_sip::sdp::SetupRole;
use std::net::SocketAddr;

/// IKE's port on the inside of the PAT (RFC 6193 §5.4: start on 4500).
const IKE_PORT: u16 = 4500;

impl Core {
    /// The call of a media port needs it no longer.
    pub(crate) fn release_port(&mut self, now: Instant, media_port: MediaPort) {
        self.ports.give(now, media_port);
        self.out.push_back(Output::ForgetNextHop { media_port });
    }

    pub(crate) fn next_hop(&mut self, port: MediaPort, mac: MacAddr) {
        let Some(i) = self.tunnels.with_port(port) else { return self.lost_next_hop(port, mac) };
        let t = &mut self.tunnels[i];
        if let Some(n) = t.negotiating() {
            n.next_hop_known();
        }
        let Some(media) = t.media() else { return };
        match media.next_hop(mac) {
            NextHopIs::Known => return,
            NextHopIs::Changed => {
                return self.transact(vec![Op::NextHop { media_port: port, mac }], Pending::Cleanup);
            }
            NextHopIs::First => {}
        }
        let (local, remote, rate) = (media.local, media.remote, media.rate);
        let ops = self.open_ops(i, local, remote, rate, mac);
        self.transact(ops, Pending::MediaOpen { tunnel: i, port });
    }

    /// What opens the media port of a call of a tunnel.
    pub(crate) fn open_ops(
        &self,
        i: usize,
        outside_local: SocketAddr,
        remote: SocketAddr,
        rate: Kbps,
        next_hop: MacAddr,
    ) -> Vec<Op> {
        let config = self.tunnels[i].config();
        let of_carrier = self.carriers.of_line(config.local_number).media;
        let binding = MediaBinding {
            tunnel: config.id(),
            inside_local: SocketAddr::new(self.config.media.tunnel_source, IKE_PORT),
            outside_local,
            remote,
            rate,
            next_hop,
            outer_dscp: of_carrier.dscp,
        };
        let mut ops = vec![Op::MediaOpen(binding)];
        if of_carrier.learn_peer_port {
            let media_port = binding.media_port();
            ops.push(Op::PeerSource { media_port, source: PeerSource::Unproven });
        }
        ops
    }

    /// The port is open: IKE starts, or the call that we received is answered.
    pub(crate) fn media_opened(&mut self, now: Instant, i: usize) {
        let deadline = now + self.config.ike.negotiation_deadline;
        let t = &mut self.tunnels[i];
        if let Some(answer) = t.opened(deadline) {
            let (Some(leg), Some(media)) = (t.state().leg(), t.state().media()) else { return };
            self.carriers.accept(now, &leg.call, &answer);
            let (call, rate) = (leg.call.id(), media.rate);
            self.note_rate(call, rate);
        }
        if self.tunnels[i].negotiating().is_some_and(Negotiating::port_opened) {
            self.start_ike(now, i);
        }
    }

    /// Our 200 is out: from here on the call is paid.
    pub(crate) fn accepted(&mut self, now: Instant, i: usize) {
        let t = &mut self.tunnels[i];
        let Some(call) = t.state().leg().map(|leg| leg.call.id()) else { return };
        if let Some(d) = t.dialing() {
            // Our offer: what was agreed on is told with the answer.
            d.accepted(now);
            return self.note_answer(now, call);
        }
        let Some(n) = t.negotiating() else { return };
        n.accepted(now);
        let Some(media) = t.state().media() else { return };
        let answered = EventKind::Answered { remote: media.remote, rate: media.rate };
        self.tunnels[i].phase(now, "answered");
        self.note_answer(now, call);
        self.event(Some(i), answered);
    }

    /// The ACK for our 200: if we are the active side, the caller has our address now and its port is open.
    pub(crate) fn confirmed(&mut self, now: Instant, i: usize) {
        self.tunnels[i].phase(now, "ack");
        if self.tunnels[i].negotiating().is_some_and(Negotiating::acknowledged) {
            self.start_ike(now, i);
        }
    }

    fn start_ike(&mut self, now: Instant, i: usize) {
        let State::Negotiating(_) = self.tunnels[i].state() else { return };
        self.drive(i, |endpoint| endpoint.start(now));
        let initiator = self.tunnels[i].state().media().is_some_and(|m| m.role == SetupRole::Active);
        self.tunnels[i].phase(now, "ike");
        self.event(Some(i), EventKind::IkeStarted { initiator });
    }
}
