//! What SIP says about calls.

use crate::carriers::CarrierId;
use crate::core::{Core, Pending};
use crate::failure::SessionFailure;
use crate::ledger::{Bye, CallSummary, EndReason, Ledger, Origin};
use crate::output::{EventKind, Output};
use crate::state::State;
use sipsec_net::{Instant, TunnelId};
use sipsec_sip::{CallFailure, CallId, Event, LostWhy};
use std::time::Duration;

/// A BYE without an answer for this long is told: three repetitions (RFC 3261 §17.1.2.2, timer E).
const BYE_DOUBT: Duration = Duration::from_secs(4);
/// With more calls than this being hung up, such BYEs are not reported one by one: paced BYEs take longer.
const DOUBTS_MAX: usize = 64;

impl Core {
    pub(crate) fn sip_output(&mut self, now: Instant, carrier: CarrierId, output: sipsec_sip::Output) {
        match output {
            sipsec_sip::Output::Transmit { flow, bytes } => {
                self.out.push_back(Output::SipTransmit { carrier, flow, bytes });
            }
            sipsec_sip::Output::Open { flow, name } => {
                self.out.push_back(Output::SipOpen { carrier, flow, name });
            }
            sipsec_sip::Output::Persist { call, record, answer } => {
                self.persist(call, record, answer.as_deref());
            }
            sipsec_sip::Output::Event(event) => self.sip_event(now, event),
        }
    }

    fn sip_event(&mut self, now: Instant, event: Event) {
        match event {
            Event::Registration { line, state } => {
                if state == sipsec_sip::RegistrationState::Registered {
                    self.registered(line);
                }
                self.event(None, EventKind::Registration { line, state });
                self.release_triggers(now);
            }
            Event::Incoming { call, line, caller, offer } => {
                self.incoming(now, call, line, caller, offer.as_ref());
            }
            Event::Refused { line, caller, error } => self.refused_offer(now, line, caller, error),
            Event::Provisional { call, status } => {
                if let Some(i) = self.tunnel_of_leg(call) {
                    self.tunnels[i].phase(now, "ringing");
                    self.event(Some(i), EventKind::Ringing { status });
                }
            }
            Event::Answered { call, answer } => self.answered(now, call, &answer),
            Event::Accepted { call } => {
                if let Some(i) = self.tunnel_of_leg(call) {
                    self.accepted(now, i);
                }
            }
            Event::Confirmed { call } => {
                if let Some(i) = self.tunnel_of_leg(call) {
                    self.confirmed(now, i);
                }
            }
            Event::Failed { call, failure } => self.call_failed(now, call, failure),
            Event::PeerHungUp { call, reason } => {
                self.peer_hung_up(now, call, reason.map(|r| r.to_string()));
            }
            Event::Lost { call, why } => self.call_lost(now, call, why),
            Event::ByeOwed { call, refused, again_at } => self.bye_owed(now, call, refused, again_at),
            Event::NotHungUp { call, call_id, refused } => {
                if let Some(ledger) = self.calls.get_mut(&call) {
                    ledger.ended = Some((now, false));
                }
                self.event(None, EventKind::NotHungUp { call_id, refused });
            }
            Event::Notice(notice) => self.event(None, EventKind::SipNotice(notice)),
            Event::Ended { call } => self.call_ended(now, call),
        }
    }

    // ---- the ledger ----

    /// A call of a session begins.
    pub(crate) fn open_ledger(&mut self, now: Instant, call: CallId, i: usize, placed: bool) {
        self.forget_lost(now, |lost| lost.tunnel() == i);
        let t = self.tunnels[i].config();
        let numbers = (Some(t.local_number), Some(t.remote_number));
        let origin = if placed { Origin::Placed } else { Origin::Received };
        let call_id = self.carriers.call_id(call).unwrap_or_default().to_owned();
        self.calls.insert(call, Ledger::new(now, Some(i), origin, numbers, call_id));
    }

    /// The tunnel of a call of this run.
    pub(crate) fn tunnel_of(&self, call: CallId) -> Option<usize> {
        self.calls.get(&call).filter(|l| l.is_session())?.tunnel
    }

    /// The same, while the call is the one that its tunnel has.
    fn tunnel_of_leg(&self, call: CallId) -> Option<usize> {
        self.tunnel_of(call).filter(|i| self.is_leg(*i, call))
    }

    pub(crate) fn note_answer(&mut self, now: Instant, call: CallId) {
        if let Some(ledger) = self.calls.get_mut(&call) {
            ledger.answered.get_or_insert(now);
        }
    }

    /// Why a call ends; the first reason stands.
    pub(crate) fn note_reason(&mut self, call: CallId, reason: EndReason) {
        if let Some(ledger) = self.calls.get_mut(&call) {
            ledger.reason.get_or_insert(reason);
        }
    }

    /// We hang up: from now on until a BYE is answered, the call may still be charged, and its tunnel waits.
    pub(crate) fn note_bye(&mut self, now: Instant, call: CallId) {
        let until = now + self.unconfirmed_max(call);
        let Some(ledger) = self.calls.get_mut(&call) else { return };
        if ledger.answered.is_none() || ledger.ended.is_some() || ledger.bye.is_some() {
            return;
        }
        ledger.bye = Some(Bye { since: now, refused: None, next_at: None, owed: false });
        self.leaving += 1;
        let Some(i) = ledger.tunnel else { return };
        if until > now {
            ledger.holds = true;
            self.tunnels[i].hold(until);
        }
        self.tunnels[i].expect_end(call, now + BYE_DOUBT);
    }

    /// How long the tunnel of a call waits for the confirmation that it has ended.
    pub(crate) fn unconfirmed_max(&self, call: CallId) -> Duration {
        self.carriers.of_call(call).map_or(Duration::ZERO, |c| c.back_off.unconfirmed)
    }

    /// Forgets the carriers that have left. What they could not hang up stays in the journal.
    pub(crate) fn remove_carriers(&mut self, now: Instant) {
        for id in self.carriers.take_left(now) {
            let of_it = |call: &&CallId| call.space() == id.0;
            for call in self.calls.keys().filter(of_it).copied().collect::<Vec<_>>() {
                if let Some(ledger) = self.calls.get_mut(&call).filter(|l| l.ended.is_none()) {
                    ledger.ended = Some((now, false));
                    let call_id = ledger.call_id.clone();
                    self.event(None, EventKind::NotHungUp { call_id, refused: None });
                }
                self.call_ended(now, call);
            }
            self.out.push_back(Output::CarrierRemoved(id));
        }
    }

    /// A BYE has no answer yet.
    pub(crate) fn bye_overdue(&mut self, now: Instant, call: CallId) {
        let Some(ledger) = self.calls.get(&call) else { return };
        let Some(bye) = ledger.bye.filter(|b| !b.owed) else { return };
        if self.leaving > DOUBTS_MAX {
            return;
        }
        let event = EventKind::ByeUnanswered {
            remote: ledger.remote,
            call_id: ledger.call_id.clone(),
            waited: now.saturating_duration_since(bye.since),
        };
        self.event(ledger.tunnel, event);
    }

    fn bye_owed(&mut self, now: Instant, call: CallId, refused: Option<u16>, next_at: Option<Instant>) {
        self.note_bye(now, call);
        let call_id = self.carriers.call_id(call).unwrap_or_default().to_owned();
        let ledger = self
            .calls
            .entry(call)
            .or_insert_with(|| Ledger::new(now, None, Origin::Fork, (None, None), call_id));
        let bye = ledger.bye.get_or_insert_with(|| {
            self.leaving += 1;
            Bye { since: now, refused: None, next_at: None, owed: false }
        });
        (bye.refused, bye.next_at, bye.owed) = (refused, next_at, true);
        let event = EventKind::ByeOwed {
            remote: ledger.remote,
            call_id: ledger.call_id.clone(),
            charged: ledger.answered.map(|at| now.saturating_duration_since(at)),
            refused,
            next_in: next_at.map(|at| at.saturating_duration_since(now)),
        };
        let tunnel = ledger.tunnel;
        self.byes_owed += 1;
        self.event(tunnel, event);
        // What is left is SIP's; the session is over.
        if let Some(i) = tunnel {
            self.call_is_sips(now, i, call);
        }
    }

    /// The session does not wait for the call any more.
    fn call_is_sips(&mut self, now: Instant, i: usize, call: CallId) {
        if self.tunnels[i].draining().is_some_and(|d| d.call_is_over(call)) {
            self.drained(now, i);
        }
    }

    fn call_ended(&mut self, now: Instant, call: CallId) {
        self.forget_lost(now, |lost| lost.call() == call);
        if self.forget_recovered(call) {
            self.release_triggers(now);
        }
        let Some(ledger) = self.calls.get_mut(&call) else { return };
        ledger.ended.get_or_insert((now, true));
        self.leaving -= usize::from(ledger.bye.take().is_some());
        let (tunnel, held) = (ledger.tunnel, std::mem::take(&mut ledger.holds));
        self.close_ledger(now, call);
        if let Some(i) = tunnel {
            self.call_is_sips(now, i, call);
            self.tunnels[i].ended(call);
            if held && self.tunnels[i].unhold() {
                self.release_trigger(now, i);
            }
        }
    }

    /// The dataplane carries nothing of the call any more, or has gone.
    pub(crate) fn counted(&mut self, now: Instant, tunnel: TunnelId, call: CallId) {
        let Some(ledger) = self.calls.get_mut(&call) else { return };
        if std::mem::take(&mut ledger.counting) {
            self.out.push_back(Output::CallCounted { tunnel, call_id: ledger.call_id.clone() });
            self.close_ledger(now, call);
        }
    }

    /// Calls whose last packets the dataplane does not confirm end with the numbers that are known.
    pub(crate) fn count_no_longer(&mut self, now: Instant) {
        let waits: Vec<_> = self.pending.values().filter_map(Pending::counts).collect();
        for (tunnel, call) in waits {
            self.counted(now, tunnel, call);
        }
    }

    /// Tells the end of a call once SIP has ended it, its reason is known and its packets are counted.
    pub(crate) fn close_ledger(&mut self, now: Instant, call: CallId) {
        let closed = |l: &Ledger| l.ended.is_some() && !l.reason_open && !l.counting;
        if !self.calls.get(&call).is_some_and(closed) {
            return;
        }
        let Some(ledger) = self.calls.remove(&call) else { return };
        let (ended, confirmed) = ledger.ended.unwrap_or((now, false));
        let answered_unix_s = ledger.answered.and_then(|at| self.unix_time_at(at));
        let summary = CallSummary {
            origin: ledger.origin,
            local: ledger.local,
            remote: ledger.remote,
            began_unix_s: ledger.began_unix_s.or_else(|| self.unix_time_at(ledger.began)),
            answered_unix_s,
            ended_unix_s: self.unix_time_at(ended),
            answered_after: ledger.answered.map(|at| at.saturating_duration_since(ledger.began)),
            up_after: ledger.up.map(|at| at.saturating_duration_since(ledger.began)),
            lasted: ledger.answered.map(|at| ended.saturating_duration_since(at)),
            reason: ledger.reason(),
            confirmed,
            rate: ledger.rate,
            carried: ledger.carried,
            call_id: ledger.call_id,
        };
        self.event(ledger.tunnel, EventKind::CallEnded(Box::new(summary)));
    }

    // ---- ends ----

    fn call_failed(&mut self, now: Instant, call: CallId, failure: CallFailure) {
        let Some(i) = self.tunnel_of_leg(call) else { return };
        if matches!(failure, CallFailure::BadAnswer(_) | CallFailure::NotWritten) {
            // It was answered; SIP itself hangs it up.
            self.note_answer(now, call);
            self.note_bye(now, call);
        }
        let gives_way = self.gives_way(i, &failure);
        let failure = SessionFailure::from(failure);
        self.over(now, i, EndReason::Failed(failure.clone()));
        if gives_way {
            self.give_way(now, i);
        } else {
            self.failed(now, i, failure);
        }
    }

    /// The peer is busy, perhaps because both called at once and it keeps its call. No failure yet; what waits, waits for
    /// that call.
    fn gives_way(&self, i: usize, failure: &CallFailure) -> bool {
        let t = &self.tunnels[i];
        matches!(failure, CallFailure::Status { status: 486, .. })
            && !t.has_yielded()
            && t.config().local_number.as_str() > t.config().remote_number.as_str()
    }

    fn is_leg(&self, i: usize, call: CallId) -> bool {
        self.tunnels[i].state().leg().is_some_and(|l| l.call.id() == call)
    }

    fn peer_hung_up(&mut self, now: Instant, call: CallId, said: Option<String>) {
        let Some(i) = self.tunnel_of(call) else { return };
        self.event(Some(i), EventKind::ByeReceived { said: said.clone() });
        self.bye_is_said(i, call);
        if !self.is_leg(i, call) {
            self.note_reason(call, EndReason::PeerHungUp { said });
            return;
        }
        if matches!(self.tunnels[i].state(), State::Negotiating(_))
            && self.tunnels[i].state().leg().is_some_and(|l| l.answered_at.is_some())
        {
            return self.ask_ike_why(now, i, said);
        }
        let early = self.ended_early(now, i, said.as_deref());
        let was_up = matches!(self.tunnels[i].state(), State::Up(_));
        let cancelled = self.tunnels[i].state().leg().is_some_and(|l| !l.caller && l.answered_at.is_none());
        let failure = if !was_up && !cancelled {
            Some(SessionFailure::PeerHungUp { said: said.clone(), evidence: None })
        } else {
            early.clone()
        };
        let reason = failure.clone().map_or(EndReason::PeerHungUp { said }, EndReason::Failed);
        self.over(now, i, reason);
        // A caller that cancels has its reason; we may still call it.
        match (early, failure) {
            (Some(failure), _) => self.failed_early(now, i, failure),
            (None, Some(failure)) => self.failed(now, i, failure),
            (None, None) => {}
        }
    }

    /// The peer deleted IKE and we wait for its BYE: ours is not needed any more.
    fn bye_is_said(&mut self, i: usize, call: CallId) {
        if let Some(draining) = self.tunnels[i].draining() {
            draining.bye_said(call);
        }
    }

    fn call_lost(&mut self, now: Instant, call: CallId, why: LostWhy) {
        let Some(i) = self.tunnel_of(call) else { return };
        self.bye_is_said(i, call);
        if self.is_leg(i, call) {
            if self.tunnels[i].state().leg().is_some_and(|l| l.answered_at.is_some()) {
                self.event(Some(i), EventKind::ByeSent);
                self.note_bye(now, call);
            }
            let failure = SessionFailure::Lost(why);
            self.over(now, i, EndReason::Failed(failure.clone()));
            self.failed(now, i, failure);
        }
    }

    /// A registrar that had forgotten the line refused its calls; now it knows the line again, so that the first refusal
    /// brakes no further. A second one in a row has another cause.
    fn registered(&mut self, line: sipsec_net::TelNumber) {
        for i in self.tunnels.indices() {
            let t = &self.tunnels[i];
            let refused = t.last_failure().is_some_and(|(_, f)| f.registration_may_help());
            if t.config().local_number == line && refused && t.failures() == 1 {
                self.tunnels[i].release_brake();
                self.braked.insert(i);
            }
        }
    }
}
