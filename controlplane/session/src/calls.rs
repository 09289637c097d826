//! What SIP says about calls.

use crate::core::Core;
use crate::failure::SessionFailure;
use crate::output::{EventKind, Output};
use crate::state::State;
use sipsec_ike::CloseCause;
use sipsec_net::Instant;
use sipsec_sip::{CallFailure, CallId, Event, LostWhy};

impl Core {
    pub(crate) fn sip_output(&mut self, now: Instant, output: sipsec_sip::Output) {
        match output {
            sipsec_sip::Output::Transmit { to, bytes } => {
                self.out.push_back(Output::SipTransmit { to, bytes })
            }
            sipsec_sip::Output::Persist { call, record } => {
                let key = self.key_of_call(call);
                self.out.push_back(Output::Persist { key, record: record.map(|r| r.to_bytes()) });
            }
            sipsec_sip::Output::Event(event) => self.sip_event(now, event),
        }
    }

    fn sip_event(&mut self, now: Instant, event: Event) {
        match event {
            Event::Registration { line, state } => {
                self.event(None, EventKind::Registration { line, state });
                self.release_triggers(now);
            }
            Event::Incoming { call, line, caller, offer } => self.incoming(now, call, line, caller, &offer),
            Event::Refused { line, caller, error } => self.refused_offer(now, line, caller, error),
            Event::Provisional { call, status } => {
                if let Some(&i) = self.calls.get(&call) {
                    self.tunnels[i].phase(now, "ringing");
                    self.event(Some(i), EventKind::Ringing { status });
                }
            }
            Event::Answered { call, answer } => self.answered(now, call, &answer),
            Event::Accepted { call } => {
                if let Some(&i) = self.calls.get(&call) {
                    self.accepted(now, i);
                }
            }
            Event::Confirmed { call } => {
                if let Some(&i) = self.calls.get(&call) {
                    self.confirmed(now, i);
                }
            }
            Event::Failed { call, failure } => self.call_failed(now, call, failure),
            Event::PeerHungUp { call, .. } => self.peer_hung_up(now, call),
            Event::Lost { call, why } => self.call_lost(now, call, why),
            Event::NotHungUp { call_id, refused } => {
                self.event(None, EventKind::NotHungUp { call_id, refused });
            }
            Event::Notice(notice) => self.event(None, EventKind::SipNotice(notice)),
            Event::Ended { call } => self.call_ended(now, call),
        }
    }

    fn call_failed(&mut self, now: Instant, call: CallId, failure: CallFailure) {
        let Some(&i) = self.calls.get(&call) else { return };
        if !self.is_leg(i, call) {
            return;
        }
        self.over(now, i, CloseCause::CallEnded);
        if self.gives_way(i, &failure) {
            self.give_way(now, i);
        } else {
            self.failed(now, i, failure.into());
        }
    }

    /// The peer is busy, perhaps because both called at once and it keeps its call. No failure yet; what waits, waits for
    /// that call.
    fn gives_way(&self, i: usize, failure: &CallFailure) -> bool {
        let t = &self.tunnels[i];
        matches!(failure, CallFailure::Status { status: 486, .. })
            && !t.gave_way
            && t.config.local_number.as_str() > t.config.remote_number.as_str()
    }

    fn is_leg(&self, i: usize, call: CallId) -> bool {
        self.tunnels[i].state.leg().is_some_and(|l| l.call.id() == call)
    }

    fn peer_hung_up(&mut self, now: Instant, call: CallId) {
        let Some(&i) = self.calls.get(&call) else { return };
        self.event(Some(i), EventKind::ByeReceived);
        let early = self.ended_early(now, i);
        let was_up = matches!(self.tunnels[i].state, State::Up(_));
        let cancelled = self.tunnels[i].state.leg().is_some_and(|l| !l.caller && l.answered_at.is_none());
        self.bye_is_said(i, call);
        if self.is_leg(i, call) {
            self.over(now, i, CloseCause::CallEnded);
            // A caller that cancels has its reason; we may still call it.
            if let Some(failure) = early {
                self.failed_early(now, i, failure);
            } else if !was_up && !cancelled {
                self.failed(now, i, SessionFailure::PeerHungUp);
            }
        }
    }

    /// The peer deleted IKE and we wait for its BYE: we need not say our own any more.
    fn bye_is_said(&mut self, i: usize, call: CallId) {
        if let State::Draining(d) = &mut self.tunnels[i].state
            && d.call == Some(call)
            && let Some((_, call)) = d.bye_at.take()
        {
            call.ended();
        }
    }

    fn call_lost(&mut self, now: Instant, call: CallId, why: LostWhy) {
        let Some(&i) = self.calls.get(&call) else { return };
        self.bye_is_said(i, call);
        if self.is_leg(i, call) {
            if self.tunnels[i].state.leg().is_some_and(|l| l.answered_at.is_some()) {
                self.event(Some(i), EventKind::ByeSent);
            }
            self.over(now, i, CloseCause::CallEnded);
            self.failed(now, i, SessionFailure::Lost(why));
        }
    }

    fn call_ended(&mut self, now: Instant, call: CallId) {
        self.forget_recovered(call);
        let Some(i) = self.calls.remove(&call) else { return };
        if let State::Draining(d) = &mut self.tunnels[i].state
            && d.call == Some(call)
        {
            d.call = None;
            self.drained(now, i);
        }
    }
}
