//! The media port: opened for a call, closed with it.

use crate::core::{Core, Pending};
use crate::output::EventKind;
use crate::state::{Dialing, Opening, Stage, State};
use sipsec_net::dp::{MediaBinding, Op, PeerSource};
use sipsec_net::{Instant, MacAddr, MediaPort};
use sipsec_sip::sdp;
use std::net::SocketAddr;

/// IKE's port on the inside of the PAT (RFC 6193 §5.4: start on 4500).
const IKE_PORT: u16 = 4500;

impl Core {
    pub(crate) fn next_hop(&mut self, port: MediaPort, mac: MacAddr) {
        let Some(i) = self.tunnels.with_port(port) else { return };
        let (tunnel_source, outer_dscp) = (self.config.media.tunnel_source, self.config.media.dscp);
        let t = &mut self.tunnels[i];
        let id = t.config.id();
        if let State::Negotiating(n) = &mut t.state {
            n.evidence.next_hop_known = true;
        }
        let Some(media) = t.state.media_mut() else { return };
        if media.next_hop.replace(mac) == Some(mac) {
            return;
        }
        if media.asked {
            self.transact(vec![Op::NextHop { media_port: port, mac }], Pending::Cleanup);
            return;
        }
        media.asked = true;
        let binding = MediaBinding {
            tunnel: id,
            inside_local: SocketAddr::new(tunnel_source, IKE_PORT),
            outside_local: media.local,
            remote: media.remote,
            rate: media.rate,
            next_hop: mac,
            outer_dscp,
        };
        let mut ops = vec![Op::MediaOpen(binding)];
        if self.config.media.learn_peer_port {
            ops.push(Op::PeerSource { media_port: port, source: PeerSource::Unproven });
        }
        self.transact(ops, Pending::MediaOpen { tunnel: i, port });
    }

    /// The port is open: IKE starts, or the call that we received is answered.
    pub(crate) fn media_opened(&mut self, now: Instant, i: usize) {
        match std::mem::replace(&mut self.tunnels[i].state, State::Ready) {
            State::Negotiating(mut n) => {
                n.media.open = true;
                n.evidence.port_open = true;
                n.evidence.next_hop_known = true;
                let peer_knows = n.leg.caller || n.leg.acknowledged;
                let may_start = peer_knows || n.media.role == sdp::Role::Passive;
                self.set_state(i, State::Negotiating(n));
                if may_start {
                    self.start_ike(now, i);
                }
            }
            State::Dialing(d) => match *d {
                Dialing { leg, stage: Stage::Opening(opening), .. } => {
                    let Opening { mut media, answer, endpoint } = *opening;
                    media.open = true;
                    self.ua.accept(now, &leg.call, &answer);
                    self.negotiate(now, i, leg, media, endpoint);
                }
                other => self.set_state(i, State::Dialing(Box::new(other))),
            },
            other => self.set_state(i, other),
        }
    }

    /// Our 200 is out: from here on the call is paid.
    pub(crate) fn accepted(&mut self, now: Instant, i: usize) {
        let n = match &mut self.tunnels[i].state {
            State::Negotiating(n) => n,
            // Our offer: what was agreed on is told with the answer.
            State::Dialing(d) => {
                d.leg.answered_at = Some(now);
                let call = d.leg.call.id();
                return self.note_answer(now, call);
            }
            _ => return,
        };
        n.leg.answered_at = Some(now);
        let call = n.leg.call.id();
        let answered = EventKind::Answered { remote: n.media.remote, rate: n.media.rate };
        self.tunnels[i].phase(now, "answered");
        self.note_answer(now, call);
        self.event(Some(i), answered);
    }

    /// The ACK for our 200: if we are the active side, the caller has our address now and its port is open.
    pub(crate) fn confirmed(&mut self, now: Instant, i: usize) {
        self.tunnels[i].phase(now, "ack");
        let State::Negotiating(n) = &mut self.tunnels[i].state else { return };
        n.leg.acknowledged = true;
        if !n.leg.caller && n.media.role == sdp::Role::Active {
            self.start_ike(now, i);
        }
    }

    fn start_ike(&mut self, now: Instant, i: usize) {
        let State::Negotiating(n) = &mut self.tunnels[i].state else { return };
        n.endpoint.start(now);
        let initiator = n.media.role == sdp::Role::Active;
        self.unpumped.insert(i);
        self.tunnels[i].phase(now, "ike");
        self.event(Some(i), EventKind::IkeStarted { initiator });
    }
}
