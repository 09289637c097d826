//! The end of any call: CANCEL or BYE, as often as it takes.

use crate::auth::Auth;
use crate::call::{Call, CallId};
use crate::config::{BYES_MAX, OFFER_MAX, T64};
use crate::message::{Message, Writer, seconds};
use crate::output::{CallFailure, Event, LostWhy, Output};
use crate::reason::Reason;
use crate::state::{CallState, Cancel, Phase, SecondBye};
use crate::target::Target;
use crate::transaction::Owner;
use crate::ua::UserAgent;
use sipsec_net::Instant;
use std::net::IpAddr;
use std::time::Duration;

/// Pause before the next BYE after one without an answer; doubled each time, up to the second.
const OWED_FIRST: Duration = Duration::from_secs(5);
const OWED_MAX: Duration = Duration::from_secs(300);

impl UserAgent {
    /// CANCEL or BYE, as the state needs.
    pub fn hang_up(&mut self, now: Instant, call: Call) {
        let id = call.consume();
        self.hang_up_id(now, id);
        self.settle();
    }

    /// The same, with a Reason for the peer (RFC 3326); a call that is only offered is refused with its text.
    pub fn hang_up_because(&mut self, now: Instant, call: Call, reason: Reason) {
        self.explain(call.id(), reason);
        self.hang_up(now, call);
    }

    /// What BYE, CANCEL or refusal of this call will say; the first reason stands.
    pub(crate) fn explain(&mut self, id: CallId, reason: Reason) {
        if let Some(c) = self.calls.get_mut(id) {
            c.reason.get_or_insert(reason);
        }
    }

    pub(crate) fn hang_up_id(&mut self, now: Instant, id: CallId) {
        let Some(c) = self.calls.get_mut(id) else { return };
        match &mut c.phase {
            // Nothing of it is outstanding: not sent yet, or refused with a challenge.
            Phase::PersistInvite => self.end_call(now, id),
            Phase::Inviting { provisional: true, cancel: Cancel::No, .. } => self.send_cancel(now, id),
            Phase::Inviting { cancel: cancel @ Cancel::No, .. } => *cancel = Cancel::Wanted,
            Phase::PersistAnswer { hang_up, .. }
            | Phase::PersistAccept { hang_up }
            // RFC 3261 §15: the callee sends no BYE before the ACK or 64·T1.
            | Phase::Accepted { hang_up } => *hang_up = true,
            Phase::Offered { .. } => {
                self.answer_invite(now, id, 480);
                self.end_call(now, id);
            }
            Phase::Established => self.send_bye(now, id),
            Phase::Inviting { .. }
            | Phase::Queued { .. }
            | Phase::Leaving
            | Phase::Owed { .. }
            | Phase::Over { .. } => {}
        }
    }

    pub(crate) fn send_bye(&mut self, now: Instant, id: CallId) {
        let locals = self.locals;
        let Some(c) = self.calls.get_mut(id) else { return };
        (c.timer, c.answering) = (None, None);
        c.auth.begin();
        let turn =
            if locals.towards(c.dialog.dest().addr).is_some() { self.pace_byes.take(now) } else { now };
        if turn > now {
            c.phase = Phase::Queued { at: turn };
            return;
        }
        c.phase = Phase::Leaving;
        self.bye(now, id);
    }

    pub(crate) fn bye(&mut self, now: Instant, id: CallId) {
        let reason = self.calls.get(id).and_then(|c| c.reason.clone());
        let more = |w: &mut Writer| {
            if let Some(reason) = &reason {
                reason.write(w);
            }
        };
        if !self.send_in_dialog(now, id, "BYE", Owner::Bye(id), more, None) {
            // The BYE leaves when the WAN has an address again.
            self.owe(id, None, None);
        }
    }

    pub(crate) fn bye_response(&mut self, now: Instant, id: CallId, m: &Message, status: u16) {
        if !self.leaving(id) {
            return; // the peer's own BYE ended it
        }
        match status {
            401 | 407 => {
                let learnt = self.calls.get_mut(id).map(|c| c.auth.learn(m));
                if let Some(Ok(())) = learnt {
                    self.bye(now, id);
                } else {
                    self.bye_unanswered(now, id, Some(status), None);
                }
            }
            // RFC 3261 §15.1.1: answered, or the peer knows of no such dialog.
            200..300 | 408 | 481 => {
                if status == 481
                    && let Some(o) = self.calls.get_mut(id).and_then(CallState::outgoing_mut)
                    && o.second_bye == SecondBye::No
                {
                    o.second_bye = SecondBye::Wanted;
                }
                self.end_call(now, id);
            }
            // Also if a proxy refused it: nothing says that the call is not charged any more.
            _ => {
                let after = m.header("Retry-After").and_then(seconds).map(|s| Duration::from_secs(s.into()));
                self.bye_unanswered(now, id, Some(status), after);
            }
        }
    }

    fn leaving(&self, id: CallId) -> bool {
        self.calls.get(id).is_some_and(|c| matches!(c.phase, Phase::Leaving))
    }

    /// A BYE that did not arrive, or was refused, is sent again later: as long as the carrier believes in the call, it is
    /// charged.
    pub(crate) fn bye_unanswered(
        &mut self,
        now: Instant,
        id: CallId,
        refused: Option<u16>,
        after: Option<Duration>,
    ) {
        let Some(c) = self.calls.get_mut(id).filter(|c| matches!(c.phase, Phase::Leaving)) else { return };
        c.byes += 1;
        if c.byes >= BYES_MAX {
            let call_id = c.dialog.call_id.clone();
            self.stats.byes_unanswered += 1;
            self.event(Event::NotHungUp { call: id, call_id, refused });
            return self.end_call(now, id);
        }
        let pause = (OWED_FIRST * 2u32.pow(c.byes.min(8) - 1)).min(OWED_MAX);
        self.owe(id, Some(now + pause.max(after.unwrap_or_default().min(OWED_MAX))), refused);
    }

    /// The call may still be charged: its BYE is sent again, and its record stays until a BYE is answered.
    fn owe(&mut self, id: CallId, again_at: Option<Instant>, refused: Option<u16>) {
        let Some(c) = self.calls.get_mut(id) else { return };
        c.phase = Phase::Owed { at: again_at };
        self.stats.byes_owed += 1;
        self.event(Event::ByeOwed { call: id, refused, again_at });
    }

    /// The Call-ID header field of a call, by which the carrier finds it in its records.
    #[must_use]
    pub fn call_id(&self, id: CallId) -> Option<&str> {
        self.calls.get(id).map(|c| c.dialog.call_id.as_str())
    }

    /// The server through which the requests of a call go.
    #[must_use]
    pub fn server_of(&self, id: CallId) -> Option<IpAddr> {
        self.calls.get(id).map(|c| c.dialog.target.addr.ip())
    }

    /// The INVITE ended without a dialog.
    pub(crate) fn fail(&mut self, now: Instant, id: CallId, failure: CallFailure) {
        if self.calls.get(id).is_some() {
            self.event(Event::Failed { call: id, failure });
            self.end_call(now, id);
        }
    }

    /// Nothing more will be sent for the call, unless an INVITE of it is answered after all.
    pub(crate) fn end_call(&mut self, now: Instant, id: CallId) {
        let Some(c) = self.calls.get_mut(id) else { return };
        (c.timer, c.answering, c.auth) = (None, None, Auth::default());
        let sent = c.outgoing().is_some_and(|o| !matches!(c.phase, Phase::PersistInvite) || o.cseq > 1);
        if !sent || !self.calls.over(id, now + T64) {
            self.calls.remove(id);
        }
        self.out.push_back(Output::Persist { call: id, record: None, answer: None });
        self.event(Event::Ended { call: id });
    }

    pub(crate) fn call_due(&mut self, now: Instant, id: CallId) {
        self.repeat_ok(now, id);
        let Some(c) = self.calls.get(id) else { return };
        if c.due().is_none_or(|at| at > now) {
            self.calls.get_mut(id); // set its timer again
            return;
        }
        match &c.phase {
            Phase::Inviting { .. } => {
                self.explain(id, Reason::new(408, "no answer in time"));
                self.send_cancel(now, id);
            }
            Phase::Offered { .. } => {
                // RFC 3261 §13.3.1: 487 if the caller itself said how long it waits.
                let expired = c.incoming().is_some_and(|i| {
                    i.request.seconds("Expires").is_some_and(|s| Duration::from_secs(s.into()) <= OFFER_MAX)
                });
                let (status, text) = if expired {
                    (487, "the INVITE expired")
                } else {
                    (480, "the call was not decided on in time")
                };
                self.explain(id, Reason::new(status, text));
                self.answer_invite(now, id, status);
                self.event(Event::Lost { call: id, why: LostWhy::Undecided });
                self.end_call(now, id);
            }
            Phase::PersistAnswer { hang_up, .. } => {
                // What is left is to hang up, and that must not wait for a disk.
                let hang_up = *hang_up;
                self.acknowledge(now, id, Err(CallFailure::NotWritten), hang_up);
            }
            Phase::Owed { .. } => self.send_bye(now, id),
            Phase::Queued { .. } => {
                if let Some(c) = self.calls.get_mut(id) {
                    c.phase = Phase::Leaving;
                }
                self.bye(now, id);
            }
            Phase::Over { .. } => {
                self.calls.remove(id);
            }
            Phase::Established => self.session_due(now, id),
            _ => {}
        }
    }

    /// The WAN has another address, or one again: calls that are being left through these servers are left from there.
    pub(crate) fn leave_from_here(&mut self, now: Instant, moved: &dyn Fn(&Target) -> bool) {
        let locals = self.locals;
        self.pace_byes.reset();
        for id in self.calls.ids() {
            let left = |c: &&mut CallState| {
                matches!(c.phase, Phase::Leaving | Phase::Queued { .. } | Phase::Owed { .. })
                    && moved(&c.dialog.target)
                    && locals.towards(c.dialog.target.addr).is_some()
            };
            let Some(c) = self.calls.get_mut(id).filter(left) else { continue };
            // That the old address got no answer says nothing of this one.
            c.byes = 0;
            if let Some(key) = c.bye.take() {
                self.clients.remove(&key);
                self.rearm_client(&key);
            }
            self.send_bye(now, id);
        }
    }
}
