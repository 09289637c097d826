//! Between the IKE endpoints and the rest: messages, jobs, events.

use crate::core::{Core, Pending};
use crate::failure::SessionFailure;
use crate::input::ComputeKey;
use crate::ledger::EndReason;
use crate::output::{EventKind, Output};
use crate::selectors::Narrowed;
use crate::state::{Bounds, ChildSas, Proofs, State};
use sipsec_ike::compute::{JobId, Outcome};
use sipsec_ike::{ChildId, ChildSaKeys, CloseCause, Event};
use sipsec_net::dp::{Direction, OPS_MAX, Op, PeerSource, SELECTORS_PER_BLOCK, SaSpec, Selectors};
use sipsec_net::{Instant, MediaPort, SaId, TunnelId};
use sipsec_sip::sdp::SetupRole;
use std::net::SocketAddr;
use std::time::Duration;

/// The responder's SAs are there before the initiator's, by the time that its IKE_AUTH response and the initiator's
/// dataplane take. What waited at the responder waits that much longer; it would find no SA.
const RESPONDER_HOLD: Duration = Duration::from_millis(50);

impl Core {
    pub(crate) fn ike_datagram(&mut self, now: Instant, port: MediaPort, from: SocketAddr, bytes: &[u8]) {
        let Some(i) = self.tunnels.with_port(port) else { return self.lost_datagram(now, port, bytes) };
        if let Some(n) = self.tunnels[i].negotiating() {
            n.hears(bytes);
        }
        let (mut fits, mut tokens) = (false, self.crash_tokens);
        let handled = self.drive(i, |e| {
            let (proofs, before) = (e.proofs(), e.crash_tokens());
            e.handle_datagram(now, bytes);
            fits = e.proofs() > proofs;
            let after = e.crash_tokens();
            tokens.sent += after.sent - before.sent;
            tokens.proved += after.proved - before.proved;
            tokens.bad += after.bad - before.bad;
        });
        self.crash_tokens = tokens;
        if fits && self.learns(i) {
            let source = PeerSource::Port(from.port());
            self.transact(vec![Op::PeerSource { media_port: port, source }], Pending::Cleanup);
            self.peer_port_proven(i, from.port());
        }
        if handled {
            return;
        }
        if let Some(lingering) = self.lingering(i) {
            lingering.hears(now, bytes);
            self.pump_lingering(now, i);
        }
    }

    /// Whether the peer's source port is still open.
    fn learns(&self, i: usize) -> bool {
        let media = self.tunnels[i].state().media();
        let of_carrier = self.carriers.of_line(self.tunnels[i].config().local_number).media;
        of_carrier.learn_peer_port && media.is_some_and(|m| m.is_asked() && m.peer_port.is_none())
    }

    /// The first packet that proved itself came from this port.
    pub(crate) fn peer_port_proven(&mut self, i: usize, port: u16) {
        let Some(media) = self.tunnels[i].media().filter(|m| m.peer_port.is_none()) else { return };
        media.peer_port = Some(port);
        if port != media.remote.port() {
            let sdp = media.remote;
            self.peer_ports_learnt += 1;
            self.event(Some(i), EventKind::PeerPortLearnt { sdp, port });
        }
    }

    /// A job of the tunnel's endpoint is done.
    pub(crate) fn computed(&mut self, now: Instant, i: usize, job: JobId, outcome: Outcome) {
        if let Some(lingering) = self.lingering(i) {
            lingering.endpoint.handle_compute(now, job, outcome);
            self.pump_lingering(now, i);
        } else {
            self.drive(i, |e| e.handle_compute(now, job, outcome));
        }
    }

    pub(crate) fn pump_endpoint(&mut self, now: Instant, i: usize) {
        while let Some(port) = self.tunnels[i].state().media_port()
            && let Some(output) = self.tunnels[i].endpoint().and_then(sipsec_ike::Endpoint::poll_output)
        {
            match output {
                sipsec_ike::Output::Transmit(bytes) => {
                    if let Some(n) = self.tunnels[i].negotiating() {
                        n.sends(&bytes);
                    }
                    self.out.push_back(Output::IkeTransmit { media_port: port, bytes, probe: false });
                }
                sipsec_ike::Output::Probe(bytes) => {
                    self.out.push_back(Output::IkeTransmit { media_port: port, bytes, probe: true });
                }
                sipsec_ike::Output::NatKeepalive => {
                    self.out.push_back(Output::NatKeepalive { media_port: port });
                }
                sipsec_ike::Output::Compute(job, work) => {
                    let key = ComputeKey { tunnel: self.tunnels[i].config().id(), media_port: port, job };
                    let established = matches!(self.tunnels[i].state(), State::Up(_));
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
                let t = &mut self.tunnels[i];
                if let Some(n) = t.negotiating() {
                    n.authenticated(peer, fingerprint);
                    t.phase(now, "authenticated");
                } else if let (Some(u), Some(proofs)) = (t.up(), Proofs::new(peer, fingerprint)) {
                    // A further IKE SA of the call, whose CHILD_SA comes next.
                    u.authenticated(proofs);
                } else {
                    return;
                }
                self.event(Some(i), EventKind::IkeAuthenticated { basis });
                if next {
                    let remote = self.tunnels[i].config().remote_number;
                    self.event(Some(i), EventKind::NextKeyUsed { remote });
                }
            }
            Event::ReauthFailed(error) => {
                self.event(Some(i), EventKind::ReauthenticationFailed { error });
            }
            Event::ChildSaUp { child, inbound, outbound } => {
                if let Some(narrowed) =
                    Narrowed::of(&self.tunnels[i].config().routes, &outbound.selectors.remote)
                {
                    if narrowed.is_entire() {
                        // RFC 7296 §2.9 allows it, and the call would be paid for nothing.
                        return self.fail(now, i, SessionFailure::Selectors(Box::new(narrowed)));
                    }
                    self.event(Some(i), EventKind::SelectorsNarrowed(narrowed));
                }
                let (mut ops, sas) = self.sa_ops(i, port, inbound, outbound);
                let tunnel = self.tunnels[i].config().id();
                let responder = self.is_responder(i);
                let up = matches!(self.tunnels[i].state(), State::Up(_));
                // With nothing waiting here, what comes next answers the initiator's packets and so finds its SAs.
                if up || !responder || !self.tunnels[i].waits() {
                    ops.push(Op::TunnelBind { tunnel, outbound: sas.outbound });
                }
                // In a session that is up it takes the place of one that was removed, for which packets may wait.
                if up || !responder {
                    ops.push(Op::ReplayTrigger(tunnel));
                }
                let t = &mut self.tunnels[i];
                if let Some(n) = t.negotiating() {
                    n.install(child, sas);
                } else if let Some(u) = t.up() {
                    u.adopt(child, sas);
                    t.forget_waiting();
                } else {
                    return;
                }
                self.transact(ops, Pending::Install { tunnel: i, port, child });
            }
            Event::ChildSaReplaced { old: _, child, inbound, outbound, bind } => {
                let (mut ops, sas) = self.sa_ops(i, port, inbound, outbound);
                if bind {
                    self.bound_anew(i);
                    ops.push(Op::TunnelBind {
                        tunnel: self.tunnels[i].config().id(),
                        outbound: sas.outbound,
                    });
                }
                if let Some(u) = self.tunnels[i].up() {
                    u.replace(child, sas);
                    self.transact(ops, Pending::Replace { tunnel: i, port, child });
                    self.event(Some(i), EventKind::Rekeyed);
                }
            }
            Event::ChildSaBind { child } => {
                let tunnel = self.tunnels[i].config().id();
                self.bound_anew(i);
                if let State::Up(u) = self.tunnels[i].state()
                    && let Some(sas) = u.sas(child)
                {
                    let ops = vec![Op::TunnelBind { tunnel, outbound: sas.outbound }];
                    self.transact(ops, Pending::Bind { tunnel: i, port, child });
                }
            }
            Event::PathMtu { mtu } => {
                if matches!(self.tunnels[i].state(), State::Up(_)) {
                    self.transact(vec![Op::PathMtu { media_port: port, mtu }], Pending::Cleanup);
                    self.event(Some(i), EventKind::PathMtu { mtu });
                }
            }
            Event::ChildSaDown { child, cause: _ } => {
                let tunnel = self.tunnels[i].config().id();
                let t = &mut self.tunnels[i];
                let gone = match t.negotiating() {
                    // On its way to the dataplane: the tunnel may be bound to it by then.
                    Some(n) => n.delete(child).map(|sas| (sas, true)),
                    None => t.up().and_then(|u| u.delete(child)).map(|sas| (sas, false)),
                };
                if let Some((sas, unbind)) = gone {
                    let unbind = unbind.then_some(Op::TunnelUnbind(tunnel));
                    let remove = [Op::SaRemove(sas.inbound), Op::SaRemove(sas.outbound)];
                    self.transact(unbind.into_iter().chain(remove).collect(), Pending::Cleanup);
                }
            }
            Event::Refused { ours, theirs } => {
                if let Some(n) = self.tunnels[i].negotiating() {
                    n.refused(ours, theirs);
                }
            }
            Event::Failed(error) => self.fail(now, i, SessionFailure::Ike(error)),
            Event::Closed(cause) => {
                if self.tunnels[i].state().leg().is_none() {
                    return;
                }
                let up = matches!(self.tunnels[i].state(), State::Up(_));
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
        let tunnel = self.tunnels[i].config().id();
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
        let t = &mut self.tunnels[i];
        if let Some(n) = t.negotiating() {
            if !n.is_installing(child) {
                // The peer has deleted it in the meantime. Another may follow until the deadline.
                return;
            }
            self.session_up(now, i, child);
        } else if t.up().is_some() {
            self.drive(i, |endpoint| endpoint.handle_child_installed(now, child));
        }
        self.unpumped.insert(i);
    }

    fn session_up(&mut self, now: Instant, i: usize, child: ChildId) {
        let silence = self.config.ike.silence_min();
        let t = &mut self.tunnels[i];
        let (idle, call_max) = (t.config().idle, t.config().call_max);
        t.installed(now, child, Bounds { idle, call_max, silence, responder_hold: RESPONDER_HOLD });
        let (State::Up(up), Some(leg), Some(endpoint)) = (t.state(), t.state().leg(), t.state().endpoint())
        else {
            // The endpoint gives both proofs before a child; without them nothing comes up.
            return self.hang_up(now, i, CloseCause::NoChild);
        };
        let (initiator, weak, released) = (leg.caller, endpoint.view().weak(), up.has_released());
        let call = leg.call.id();
        if released {
            t.forget_waiting();
        }
        t.connected();
        t.phase(now, "session-up");
        if let Some(ledger) = self.calls.get_mut(&call) {
            ledger.up = Some(now);
        }
        self.braked.insert(i);
        self.event(Some(i), EventKind::SaInstalled);
        if !weak.is_empty() {
            self.event(Some(i), EventKind::WeakAlgorithms { names: weak.join(", ") });
        }
        self.event(Some(i), EventKind::SessionUp { initiator });
    }
}

impl Core {
    fn is_responder(&self, i: usize) -> bool {
        self.tunnels[i].state().media().is_some_and(|m| m.role == SetupRole::Passive)
    }

    /// Sends what waits in the dataplane's trigger queue.
    pub(crate) fn release_waiting(&mut self, i: usize) {
        let t = &mut self.tunnels[i];
        let tunnel = t.config().id();
        let Some(up) = t.up() else { return };
        let bind = up.release().map(|outbound| Op::TunnelBind { tunnel, outbound });
        t.forget_waiting();
        let ops = bind.into_iter().chain([Op::ReplayTrigger(tunnel)]).collect();
        self.transact(ops, Pending::Cleanup);
    }

    /// A rekey has bound the tunnel to another SA.
    fn bound_anew(&mut self, i: usize) {
        if let Some(up) = self.tunnels[i].up() {
            up.bound_anew();
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
