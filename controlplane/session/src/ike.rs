//! Between the IKE endpoints and the rest: messages, jobs, events.

use crate::core::{Core, Pending};
use crate::failure::SessionFailure;
use crate::input::ComputeKey;
use crate::ledger::EndReason;
use crate::output::{EventKind, Output};
use crate::selectors::Narrowed;
use crate::state::{ChildSas, Proofs, State, Up};
use sipsec_ike::compute::{JobId, Outcome};
use sipsec_ike::{ChildId, ChildSaKeys, CloseCause, Event};
use sipsec_net::dp::{Direction, OPS_MAX, Op, PeerSource, SELECTORS_PER_BLOCK, SaSpec, Selectors};
use sipsec_net::{Instant, MediaPort, SaId, TunnelId};
use sipsec_sip::sdp::Role;
use std::net::SocketAddr;
use std::time::Duration;

/// The responder's SAs are there before the initiator's, by the time that its IKE_AUTH response and the initiator's
/// dataplane take. What waited at the responder waits that much longer; it would find no SA.
const RESPONDER_HOLD: Duration = Duration::from_millis(50);

impl Core {
    pub(crate) fn ike_datagram(&mut self, now: Instant, port: MediaPort, from: SocketAddr, bytes: &[u8]) {
        let Some(i) = self.tunnels.with_port(port) else { return };
        if let State::Negotiating(n) = &mut self.tunnels[i].state {
            n.evidence.hears(bytes);
        }
        let mut fits = false;
        let handled = self.drive(i, |e| {
            let before = e.proofs();
            e.handle_datagram(now, bytes);
            fits = e.proofs() > before;
        });
        if fits && self.learns(i) {
            let source = PeerSource::Port(from.port());
            self.transact(vec![Op::PeerSource { media_port: port, source }], Pending::Cleanup);
            self.peer_port_proven(i, from.port());
        }
        if handled {
            return;
        }
        if let Some(mut lingering) = self.take_lingering(i) {
            if let Some(listening) = &mut lingering.listening {
                listening.hears(bytes);
            }
            lingering.endpoint.handle_datagram(now, bytes);
            self.keep_lingering(now, i, lingering);
        }
    }

    /// Whether the peer's source port is still open.
    fn learns(&self, i: usize) -> bool {
        let media = self.tunnels[i].state.media();
        self.config.media.learn_peer_port && media.is_some_and(|m| m.asked && m.peer_port.is_none())
    }

    /// The first packet that proved itself came from this port.
    pub(crate) fn peer_port_proven(&mut self, i: usize, port: u16) {
        let Some(media) = self.tunnels[i].state.media_mut().filter(|m| m.peer_port.is_none()) else { return };
        media.peer_port = Some(port);
        if port != media.remote.port() {
            let sdp = media.remote;
            self.peer_ports_learnt += 1;
            self.event(Some(i), EventKind::PeerPortLearnt { sdp, port });
        }
    }

    /// A job of the tunnel's endpoint is done.
    pub(crate) fn computed(&mut self, now: Instant, i: usize, job: JobId, outcome: Outcome) {
        if let Some(mut lingering) = self.take_lingering(i) {
            lingering.endpoint.handle_compute(now, job, outcome);
            self.keep_lingering(now, i, lingering);
        } else {
            self.drive(i, |e| e.handle_compute(now, job, outcome));
        }
    }

    pub(crate) fn pump_endpoint(&mut self, now: Instant, i: usize) {
        while let Some(port) = self.tunnels[i].state.media_port()
            && let Some(output) =
                self.tunnels[i].state.endpoint_mut().and_then(sipsec_ike::Endpoint::poll_output)
        {
            match output {
                sipsec_ike::Output::Transmit(bytes) => {
                    if let State::Negotiating(n) = &mut self.tunnels[i].state {
                        n.evidence.sends(&bytes);
                    }
                    self.out.push_back(Output::IkeTransmit { media_port: port, bytes });
                }
                sipsec_ike::Output::NatKeepalive => {
                    self.out.push_back(Output::NatKeepalive { media_port: port });
                }
                sipsec_ike::Output::Compute(job, work) => {
                    let key = ComputeKey { tunnel: self.tunnels[i].config.id(), media_port: port, job };
                    let established = matches!(self.tunnels[i].state, State::Up(_));
                    self.out.push_back(Output::Compute { key, established, job: work });
                }
                sipsec_ike::Output::Event(event) => self.ike_event(now, i, port, event),
            }
        }
    }

    fn ike_event(&mut self, now: Instant, i: usize, port: MediaPort, event: Event) {
        match event {
            Event::Authenticated(peer, fingerprint) => {
                let basis = fingerprint.basis();
                let next = peer.psk() == Some(sipsec_ike::PskSlot::Next);
                let proofs = Proofs::new(peer, fingerprint);
                match (&mut self.tunnels[i].state, proofs) {
                    (State::Negotiating(n), proofs) => {
                        n.proofs = proofs;
                        self.tunnels[i].phase(now, "authenticated");
                    }
                    // A further IKE SA of the call, whose CHILD_SA comes next.
                    (State::Up(u), Some(proofs)) => u.proofs = proofs,
                    _ => return,
                }
                self.event(Some(i), EventKind::IkeAuthenticated { basis });
                if next {
                    let remote = self.tunnels[i].config.remote_number;
                    self.event(Some(i), EventKind::NextKeyUsed { remote });
                }
            }
            Event::ReauthFailed(error) => {
                self.event(Some(i), EventKind::ReauthenticationFailed { error });
            }
            Event::ChildSaUp { child, inbound, outbound } => {
                if let Some(narrowed) =
                    Narrowed::of(&self.tunnels[i].config.routes, &outbound.selectors.remote)
                {
                    if narrowed.is_entire() {
                        // RFC 7296 §2.9 allows it, and the call would be paid for nothing.
                        return self.fail(now, i, SessionFailure::Selectors(Box::new(narrowed)));
                    }
                    self.event(Some(i), EventKind::SelectorsNarrowed(narrowed));
                }
                let (mut ops, sas) = self.sa_ops(i, port, inbound, outbound);
                let tunnel = self.tunnels[i].config.id();
                let responder = self.is_responder(i);
                let up = matches!(self.tunnels[i].state, State::Up(_));
                // With nothing waiting here, what comes next answers the initiator's packets and so finds its SAs.
                if up || !responder || self.tunnels[i].trigger.is_none() {
                    ops.push(Op::TunnelBind { tunnel, outbound: sas.outbound });
                }
                // In a session that is up it takes the place of one that was removed, for which packets may wait.
                if up || !responder {
                    ops.push(Op::ReplayTrigger(tunnel));
                }
                match &mut self.tunnels[i].state {
                    State::Negotiating(n) => n.installing = Some((child, sas)),
                    State::Up(u) => {
                        u.children.insert(child, sas);
                        u.release = None;
                        self.tunnels[i].trigger = None;
                    }
                    _ => return,
                }
                self.transact(ops, Pending::Install { tunnel: i, port, child });
            }
            Event::ChildSaReplaced { old: _, child, inbound, outbound, bind } => {
                let (mut ops, sas) = self.sa_ops(i, port, inbound, outbound);
                if bind {
                    self.bound_anew(i);
                    ops.push(Op::TunnelBind { tunnel: self.tunnels[i].config.id(), outbound: sas.outbound });
                }
                if let State::Up(u) = &mut self.tunnels[i].state {
                    u.children.insert(child, sas);
                    self.transact(ops, Pending::Replace { tunnel: i, port, child });
                    self.event(Some(i), EventKind::Rekeyed);
                }
            }
            Event::ChildSaBind { child } => {
                let tunnel = self.tunnels[i].config.id();
                self.bound_anew(i);
                if let State::Up(u) = &self.tunnels[i].state
                    && let Some(sas) = u.children.get(&child)
                {
                    let ops = vec![Op::TunnelBind { tunnel, outbound: sas.outbound }];
                    self.transact(ops, Pending::Bind { tunnel: i, port, child });
                }
            }
            Event::ChildSaDown { child, cause: _ } => {
                let tunnel = self.tunnels[i].config.id();
                let gone = match &mut self.tunnels[i].state {
                    // On its way to the dataplane: the tunnel may be bound to it by then.
                    State::Negotiating(n) => {
                        n.installing.take_if(|(c, _)| *c == child).map(|(_, sas)| (sas, true))
                    }
                    State::Up(u) => u.children.remove(&child).map(|sas| {
                        // What waits for this SA waits for the next one.
                        u.release.take_if(|(_, sa)| *sa == Some(sas.outbound));
                        (sas, false)
                    }),
                    _ => None,
                };
                if let Some((sas, unbind)) = gone {
                    let unbind = unbind.then_some(Op::TunnelUnbind(tunnel));
                    let remove = [Op::SaRemove(sas.inbound), Op::SaRemove(sas.outbound)];
                    self.transact(unbind.into_iter().chain(remove).collect(), Pending::Cleanup);
                }
            }
            Event::Refused { ours, theirs } => {
                if let State::Negotiating(n) = &mut self.tunnels[i].state {
                    n.evidence.refused = Some((ours, theirs));
                }
            }
            Event::Failed(error) => self.fail(now, i, SessionFailure::Ike(error)),
            Event::Closed(cause) => {
                if self.tunnels[i].state.leg().is_none() {
                    return;
                }
                let up = matches!(self.tunnels[i].state, State::Up(_));
                let early = self.ended_early(now, i, None);
                let (failure, lenient) = match (cause, early) {
                    _ if !up => (Some(SessionFailure::PeerClosedIke), false),
                    (CloseCause::HardLimit, _) => (Some(SessionFailure::SaLimit), false),
                    (CloseCause::NoChild, _) => (Some(SessionFailure::NoChild), false),
                    (_, early) => (early, true),
                };
                let reason = failure.clone().map_or(EndReason::Closed(cause), EndReason::Failed);
                if cause == CloseCause::PeerDeleted {
                    self.peer_closed(now, i, cause, reason);
                } else {
                    self.closed(now, i, cause, reason);
                }
                match failure {
                    Some(failure) if lenient => self.failed_early(now, i, failure),
                    Some(failure) => self.failed(now, i, failure),
                    None => {}
                }
            }
            Event::KeyLog(entry) => self.out.push_back(Output::KeyLog(entry)),
        }
    }

    fn sa_ops(
        &mut self,
        i: usize,
        port: MediaPort,
        inbound: ChildSaKeys,
        outbound: ChildSaKeys,
    ) -> (Vec<Op>, ChildSas) {
        let tunnel = self.tunnels[i].config.id();
        let sas = ChildSas { inbound: self.new_sa(), outbound: self.new_sa(), began: None };
        // Room for all that is added later: a vector that grows would move the operations.
        let mut ops = Vec::with_capacity(OPS_MAX);
        let window = self.config.ike.replay_window;
        ops.extend(add(sas.inbound, tunnel, port, (Direction::In, window), inbound));
        ops.extend(add(sas.outbound, tunnel, port, (Direction::Out, window), outbound));
        (ops, sas)
    }

    /// The first child is in the dataplane: with both proofs, the session is up.
    pub(crate) fn child_installed(&mut self, now: Instant, i: usize, child: ChildId) {
        match std::mem::replace(&mut self.tunnels[i].state, State::Ready) {
            State::Negotiating(mut n) => {
                let Some(first) = n.installing.take_if(|(c, _)| *c == child) else {
                    // The peer has deleted it in the meantime. Another may follow until the deadline.
                    self.set_state(i, State::Negotiating(n));
                    return;
                };
                n.endpoint.handle_child_installed(now, child);
                let Some(proofs) = n.proofs.take() else {
                    // The endpoint gives both proofs before a child; without them nothing comes up.
                    n.installing = Some(first);
                    self.set_state(i, State::Negotiating(n));
                    self.hang_up(now, i, CloseCause::NoChild);
                    return;
                };
                if let Some(ledger) = self.calls.get_mut(&n.leg.call.id()) {
                    ledger.up = Some(now);
                }
                let (idle, call_max) = (self.tunnels[i].config.idle, self.tunnels[i].config.call_max);
                let (initiator, silence) = (n.leg.caller, self.config.ike.silence_min());
                let weak = n.endpoint.view().weak();
                let mut up = Up::new(now, n.leg, n.media, n.endpoint, proofs, first, idle, call_max, silence);
                if up.media.role == Role::Passive {
                    up.release = Some((now + RESPONDER_HOLD, Some(first.1.outbound)));
                } else {
                    self.tunnels[i].trigger = None;
                }
                self.set_state(i, State::Up(Box::new(up)));
                let t = &mut self.tunnels[i];
                t.brake.release();
                t.has_yielded = false;
                t.phase(now, "session-up");
                self.braked.insert(i);
                self.event(Some(i), EventKind::SaInstalled);
                if !weak.is_empty() {
                    self.event(Some(i), EventKind::WeakAlgorithms { names: weak.join(", ") });
                }
                self.event(Some(i), EventKind::SessionUp { initiator });
            }
            State::Up(mut u) => {
                u.endpoint.handle_child_installed(now, child);
                self.set_state(i, State::Up(u));
            }
            other => self.set_state(i, other),
        }
        self.unpumped.insert(i);
    }
}

impl Core {
    fn is_responder(&self, i: usize) -> bool {
        self.tunnels[i].state.media().is_some_and(|m| m.role == Role::Passive)
    }

    /// Sends what waits in the dataplane's trigger queue.
    pub(crate) fn release_waiting(&mut self, i: usize) {
        let tunnel = self.tunnels[i].config.id();
        let State::Up(up) = &mut self.tunnels[i].state else { return };
        let bind = up.release.take().and_then(|(_, sa)| sa);
        let bind = bind.map(|outbound| Op::TunnelBind { tunnel, outbound });
        self.tunnels[i].trigger = None;
        let ops = bind.into_iter().chain([Op::ReplayTrigger(tunnel)]).collect();
        self.transact(ops, Pending::Cleanup);
    }

    /// A rekey has bound the tunnel to another SA.
    fn bound_anew(&mut self, i: usize) {
        if let State::Up(up) = &mut self.tunnels[i].state
            && let Some((_, sa)) = &mut up.release
        {
            *sa = None;
        }
    }
}

/// The operations of one SA: its `SaAdd`, and its further selectors if one block does not hold them.
fn add(
    sa: SaId,
    tunnel: TunnelId,
    media_port: MediaPort,
    (direction, replay_window): (Direction, u32),
    keys: ChildSaKeys,
) -> impl Iterator<Item = Op> {
    let blocks: Vec<_> = Selectors::blocks(&keys.selectors.local, &keys.selectors.remote).collect();
    let mut blocks = blocks.into_iter();
    let spec = SaSpec {
        sa,
        tunnel,
        direction,
        spi: keys.spi,
        media_port,
        cipher: keys.cipher,
        keymat: keys.keymat,
        esn: keys.esn,
        replay_window,
        selectors: blocks.next().unwrap_or(NO_SELECTORS),
        soft_bytes_max: keys.soft_bytes_max,
        hard_bytes_max: keys.hard_bytes_max,
    };
    std::iter::once(Op::SaAdd(spec)).chain(blocks.map(move |more| Op::SaSelectors { sa, more }))
}

/// Admits nothing.
const NO_SELECTORS: Selectors =
    Selectors { local: [None; SELECTORS_PER_BLOCK], remote: [None; SELECTORS_PER_BLOCK] };
