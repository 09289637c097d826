//! The media port after its session: IKE still says DELETE, answers the peer's, and may learn why the peer hung up.

use crate::core::{Core, Pending};
use crate::failure::SessionFailure;
use crate::ledger::EndReason;
use crate::output::Output;
use crate::state::{Draining, Lingering, State};
use sipsec_net::Instant;
use sipsec_net::dp::Op;

impl Core {
    /// The peer said BYE while IKE was being negotiated: what it had against us comes by IKE at the same time, perhaps a
    /// little later. The media port is open for that, and IKE goes on.
    pub(crate) fn ask_ike_why(&mut self, now: Instant, i: usize, said: Option<String>) {
        let State::Negotiating(n) = self.tunnels[i].state() else { return };
        let (listens, evidence) = (n.listens(), Some(Box::new(n.evidence().clone())));
        let failure = SessionFailure::PeerHungUp { said, evidence };
        if !listens {
            self.over(now, i, EndReason::Failed(failure.clone()));
            return self.failed(now, i, failure);
        }
        if let Some(ledger) = self.tunnels[i].state().call_id().and_then(|call| self.calls.get_mut(&call)) {
            ledger.reason_open = true;
        }
        self.unpumped.remove(&i);
        self.tunnels[i].listen(now, failure);
        self.pump_lingering(now, i);
    }

    pub(crate) fn lingering(&mut self, i: usize) -> Option<&mut Lingering> {
        self.tunnels[i].draining()?.lingering()
    }

    /// What a lingering endpoint still says: DELETE, its answers to the peer's, and, if the session listens for it, why
    /// the negotiation failed.
    pub(crate) fn pump_lingering(&mut self, now: Instant, i: usize) {
        let t = &mut self.tunnels[i];
        let tunnel = t.config().id();
        let Some(media) = t.draining().and_then(Draining::lingering) else { return };
        let mut reason = None;
        let mut closed = false;
        while let Some(output) = media.endpoint.poll_output() {
            match output {
                sipsec_ike::Output::Transmit(bytes) => {
                    self.out.push_back(Output::IkeTransmit { media_port: media.port, bytes, probe: false });
                }
                sipsec_ike::Output::Compute(job, work) if media.is_listening() => {
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
        let Some(listening) = media.told(now, reason.is_some() || closed) else { return };
        let failure = reason.map_or(listening.otherwise, SessionFailure::Ike);
        // What closing it has given it to say.
        self.pump_lingering(now, i);
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
        self.release_port(now, media.port);
        self.stop_listening(now, i, media);
    }

    /// The media port is gone, so no reason comes by it any more.
    pub(crate) fn stop_listening(&mut self, now: Instant, i: usize, media: Lingering) {
        if let Some(l) = media.into_listening() {
            self.reason_known(now, i, l.call, l.otherwise);
        }
    }
}
