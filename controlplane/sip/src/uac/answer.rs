//! Responses to our INVITE, and the ACK.

use crate::call::CallId;
use crate::config::{PERSIST_MAX, RING_MAX};
use crate::message::{Body, Message, seconds};
use crate::output::{CallFailure, Event, ReliableAnswer};
use crate::reason::Reason;
use crate::sdp::SessionDescription;
use crate::session_timer::SessionTimer;
use crate::state::{Cancel, Phase};
use crate::ua::UserAgent;
use sipsec_net::Instant;

impl UserAgent {
    pub(crate) fn invite_response(&mut self, now: Instant, id: CallId, m: &Message, status: u16) {
        let Some(call) = self.calls.get_mut(id) else {
            return if (200..300).contains(&status) {
                self.late_answer(now, m)
            };
        };
        // A 2xx to an earlier one, which its challenge had ended: another call, in a dialog of its own. The branch tells (RFC
        // 3261 §17.1.3): a wrong CSeq number in the answer to this one is a flaw, and its transaction is at its end.
        let branch = m.via().and_then(|via| via.branch()).unwrap_or_default();
        let earlier = call.outgoing().is_some_and(|o| !o.branch.eq_ignore_ascii_case(branch));
        if earlier && (200..300).contains(&status) {
            return self.late_answer(now, m);
        }
        let Phase::Inviting { provisional, cancel, give_up_at } = &mut call.phase else {
            // Repeated, or from another branch of a fork.
            return if (200..300).contains(&status) {
                self.late_answer(now, m)
            };
        };
        match status {
            100..200 => {
                if !*provisional {
                    *provisional = true;
                    *give_up_at = Some(now + RING_MAX);
                }
                if *cancel == Cancel::Wanted {
                    self.send_cancel(now, id);
                } else if status > 100 {
                    let reliable = m.lists("Require", "100rel");
                    if status == 199 && !reliable {
                        // RFC 6228 §4: this early dialog has ended, and another may need its room.
                        call.forget_early(m);
                    } else {
                        call.early(m);
                    }
                    if reliable {
                        self.acknowledge_provisional(now, id, m);
                    }
                    self.event(Event::Provisional { call: id, status });
                }
            }
            200..300 => self.invite_answered(now, id, m),
            401 | 407 => self.challenged(now, id, m),
            422 => self.interval_too_small(now, id, m),
            487 if *cancel != Cancel::No => self.fail(now, id, CallFailure::Cancelled),
            300..=399 if self.redirected(now, id, m) => {}
            413..=420 if self.in_another_form(now, id, m, status) => {}
            // The network must not choose another charged destination.
            _ => {
                let retry_after_s = m.header("Retry-After").and_then(seconds);
                self.renew_registration(now, id, status);
                self.fail(now, id, Self::refused_form(m, status, retry_after_s));
            }
        }
    }

    fn invite_answered(&mut self, now: Instant, id: CallId, m: &Message) {
        let asked = self.config.session_expires_s;
        let assumed = self.config.dialect.assumed_bandwidth;
        let Some(call) = self.calls.get_mut(id) else { return };
        let hang_up = !matches!(call.phase, Phase::Inviting { cancel: Cancel::No, .. });
        let mut dialog = call.dialog.confirmed(m);
        let mut answer = SessionDescription::of_answer(m.description());
        if let Some(early) = call
            .outgoing_mut()
            .and_then(|o| o.early.iter().find(|e| e.dialog.remote_tag == dialog.remote_tag))
        {
            dialog.local_cseq = early.dialog.local_cseq;
            // RFC 3261 §13.2.1: an answer in a reliable provisional response is the answer; what the 2xx has is passed over.
            if !early.body.is_empty() {
                answer = SessionDescription::of_answer(Body::Sdp(&early.body));
            }
        }
        call.dialog = dialog;
        // Without a timer of ours, and none of theirs, the session has none.
        let timed = asked > 0 || m.header("Session-Expires").is_some();
        call.timer = timed.then(|| SessionTimer::of_answer(now, m, asked));
        let answer = answer.map(|a| a.assuming(assumed)).map_err(CallFailure::BadAnswer);
        call.phase = Phase::PersistAnswer { answer, hang_up, until: now + PERSIST_MAX };
        self.persist(id);
    }

    pub(crate) fn acknowledge(
        &mut self,
        now: Instant,
        id: CallId,
        answer: Result<SessionDescription, CallFailure>,
        hang_up: bool,
    ) {
        if !self.send_ack(id) {
            if !hang_up {
                self.event(Event::Failed { call: id, failure: CallFailure::NoAddress });
            }
            return self.send_bye(now, id);
        }
        match answer {
            // RFC 3261 §9.1, §15: the 2xx won the race against CANCEL; the call is hung up at once.
            _ if hang_up => self.send_bye(now, id),
            Ok(answer) => {
                if let Some(call) = self.calls.get_mut(id) {
                    call.phase = Phase::Established;
                    call.media.accepted(&answer);
                }
                self.event(Event::Answered { call: id, answer: ReliableAnswer(answer) });
            }
            Err(failure) => {
                match &failure {
                    CallFailure::BadAnswer(error) => {
                        self.explain(id, Reason::new(error.status(), &error.to_string()));
                    }
                    _ => self.explain(id, Reason::new(500, "the call's record could not be written")),
                }
                self.event(Event::Failed { call: id, failure });
                self.send_bye(now, id);
            }
        }
    }

    /// RFC 3261 §13.2.2.4: the ACK of a 2xx is no part of the INVITE's transaction: a branch of its own, the route set of
    /// the dialog, the CSeq number and the credentials of the INVITE.
    pub(crate) fn send_ack(&mut self, id: CallId) -> bool {
        let branch = self.branch();
        let Some(dest) = self.calls.get(id).map(|c| c.dialog.dest()) else { return false };
        let Some(flow) = self.flow_to(&dest) else { return false };
        let via = self.via(&flow, &branch);
        let Some(call) = self.calls.get_mut(id) else { return false };
        let crate::state::Side::Caller(outgoing) = &mut call.side else { return false };
        let mut w = call.dialog.request("ACK", outgoing.cseq, &via);
        for (name, value) in &outgoing.credentials {
            w.header(name, value);
        }
        let ack = w.finish(None);
        outgoing.ack = Some(ack.clone());
        self.transmit(flow, ack);
        true
    }
}
