//! The media port after its session: IKE still says DELETE, answers the peer's, and may learn why the peer hung up.

use crate::core::{Core, Pending};
use crate::failure::SessionFailure;
use crate::ledger::EndReason;
use crate::output::Output;
use crate::state::{Draining, Lingering, Listening, State};
use sipsec_net::Instant;
use sipsec_net::dp::Op;
use std::time::Duration;

use super::DRAIN_MAX;

/// After a BYE of the peer during the negotiation, how long its reason may take to come by IKE.
const REASON_MAX: Duration = Duration::from_millis(500);

impl Core {
    /// The peer said BYE while IKE was being negotiated: what it had against us comes by IKE at the same time, perhaps a
    /// little later. The media port is open for that, and IKE goes on.
    pub(crate) fn ask_ike_why(&mut self, now: Instant, i: usize, said: Option<String>) {
        let State::Negotiating(n) = &mut self.tunnels[i].state else { return };
        let call = n.leg.call.id();
        let evidence = std::mem::take(&mut n.evidence);
        let listens = n.media.open && n.installing.is_none();
        let failure = SessionFailure::PeerHungUp { said, evidence: Some(Box::new(evidence)) };
        if !listens {
            self.over(now, i, EndReason::Failed(failure.clone()));
            return self.failed(now, i, failure);
        }
        let State::Negotiating(n) = std::mem::replace(&mut self.tunnels[i].state, State::Ready) else {
            return;
        };
        let port = n.leg.media_port;
        n.leg.call.ended();
        self.unpumped.remove(&i);
        if let Some(ledger) = self.calls.get_mut(&call) {
            ledger.reason_open = true;
        }
        let until = now + REASON_MAX;
        let mut media = Lingering::new(port, n.endpoint, now);
        media.listening = Some(Listening { call, until, otherwise: failure });
        let draining = Draining { call: None, media: None, bye_at: None, leave_at: now + DRAIN_MAX };
        self.set_state(i, State::Draining(draining));
        self.keep_lingering(now, i, Box::new(media));
    }

    pub(crate) fn take_lingering(&mut self, i: usize) -> Option<Box<Lingering>> {
        match &mut self.tunnels[i].state {
            State::Draining(d) => d.media.take(),
            _ => None,
        }
    }

    /// What a lingering endpoint still says: DELETE, its answers to the peer's, and, if the session listens for it, why
    /// the negotiation failed.
    pub(crate) fn keep_lingering(&mut self, now: Instant, i: usize, mut media: Box<Lingering>) {
        let mut reason = None;
        let mut closed = false;
        while let Some(output) = media.endpoint.poll_output() {
            match output {
                sipsec_ike::Output::Transmit(bytes) => {
                    self.out.push_back(Output::IkeTransmit { media_port: media.port, bytes });
                }
                sipsec_ike::Output::Compute(job, work) if media.listening.is_some() => {
                    let tunnel = self.tunnels[i].config.id();
                    let key = crate::input::ComputeKey { tunnel, media_port: media.port, job };
                    self.out.push_back(Output::Compute { key, established: false, job: work });
                }
                sipsec_ike::Output::Event(sipsec_ike::Event::Failed(error)) => reason = Some(error),
                sipsec_ike::Output::Event(
                    sipsec_ike::Event::Closed(_) | sipsec_ike::Event::ChildSaUp { .. },
                ) => closed = true,
                _ => {}
            }
        }
        let over = |l: &mut Listening| reason.is_some() || closed || l.until <= now;
        let Some(listening) = media.listening.take_if(over) else {
            if let State::Draining(d) = &mut self.tunnels[i].state {
                d.media = Some(media);
            }
            return;
        };
        let failure = reason.map_or(listening.otherwise, SessionFailure::Ike);
        media.close(now);
        self.keep_lingering(now, i, media);
        self.reason_known(now, i, listening.call, failure);
    }

    fn reason_known(&mut self, now: Instant, i: usize, call: sipsec_sip::CallId, failure: SessionFailure) {
        self.note_reason(call, EndReason::Failed(failure.clone()));
        if let Some(ledger) = self.calls.get_mut(&call) {
            ledger.reason_open = false;
        }
        self.failed(now, i, failure);
        self.close_ledger(now, call);
    }

    pub(super) fn close_media(&mut self, now: Instant, i: usize, media: Lingering) {
        self.transact(vec![Op::MediaClose(media.port)], Pending::Cleanup);
        self.ports.give(now, media.port);
        self.stop_listening(now, i, media);
    }

    /// The media port is gone, so no reason comes by it any more.
    pub(crate) fn stop_listening(&mut self, now: Instant, i: usize, media: Lingering) {
        if let Some(l) = media.listening {
            self.reason_known(now, i, l.call, l.otherwise);
        }
    }
}
