//! Answering a call: 180, 200 until its ACK, or a refusal.

use crate::call::{Call, CallId};
use crate::config::{T1, T2, T64};
use crate::message::Message;
use crate::output::{CallFailure, Event, LostWhy, ReliableAnswer};
use crate::reason::Reason;
use crate::sdp::SessionDescription;
use crate::session_timer::SessionTimer;
use crate::state::{Answering, Phase};
use crate::transport::Flow;
use crate::ua::UserAgent;
use sipsec_net::Instant;

impl UserAgent {
    /// 180 Ringing, once there is a record with which a later run would refuse the call: a caller waits long for one that
    /// rings.
    pub fn ring(&mut self, call: &Call) {
        if self.calls.get(call.id()).is_some_and(|c| matches!(c.phase, Phase::Offered { .. })) {
            self.persist(call.id());
        }
        self.settle();
    }

    /// RFC 3262 §3: a caller that requires reliable provisional responses gets 100 alone.
    pub(crate) fn send_ringing(&mut self, now: Instant, id: CallId) {
        let incoming = self.calls.get(id).and_then(|c| c.incoming());
        if incoming.is_some_and(|i| !i.request.lists("Require", "100rel")) {
            self.answer_invite(now, id, 180);
        }
    }

    /// Accepts, with the answer to its offer or, if it has none, with an offer: the 200 leaves once the record is durable.
    pub fn accept(&mut self, _now: Instant, call: &Call, answer: &SessionDescription) {
        let id = call.id();
        if let Some(c) = self.calls.get_mut(id).filter(|c| matches!(c.phase, Phase::Offered { .. })) {
            c.media.accept(answer);
            c.phase = Phase::PersistAccept { hang_up: false };
            self.persist(id);
        }
        self.settle();
    }

    /// [`Self::reject`] with a Warning that says why (RFC 3261 §20.43).
    pub fn reject_because(&mut self, now: Instant, call: Call, status: u16, text: &str) {
        self.explain(call.id(), Reason::new(status, text));
        self.reject(now, call, status);
    }

    /// Refuses an offered call with this status; one that is answered already is hung up.
    pub fn reject(&mut self, now: Instant, call: Call, status: u16) {
        let id = call.consume();
        if self.calls.get(id).is_some_and(|c| matches!(c.phase, Phase::Offered { .. })) {
            self.answer_invite(now, id, status.clamp(300, 699));
            self.end_call(now, id);
        } else {
            self.hang_up_id(now, id);
        }
        self.settle();
    }

    /// Sends a response to the INVITE; a 200 gets the body and is repeated from here on.
    pub(crate) fn answer_invite(&mut self, now: Instant, id: CallId, status: u16) {
        let asked = self.calls.get(id).and_then(|c| Some((c.line, self.flow_of(&c.incoming()?.key)?)));
        let contact = asked.map(|(line, flow)| self.contact(line, &flow));
        let allow = self.config.dialect.allow.clone();
        let Some(c) = self.calls.get_mut(id) else { return };
        let Some(incoming) = c.incoming() else { return };
        let (key, request) = (incoming.key.clone(), incoming.request.clone());
        let (tag, body) = (c.dialog.local_tag.clone(), if status == 200 { c.media.body() } else { None });
        let timer = body.is_some().then(|| SessionTimer::of_request(now, &request)).flatten();
        c.timer.clone_from(&timer);
        let reason = c.reason.clone().filter(|_| status >= 300);
        let delayed = c.incoming().is_some_and(|i| i.delayed);
        let response = self.respond(now, &key, &request, status, Some(&tag), body.as_deref(), |w| {
            if let (101..300, Some(contact)) = (status, contact) {
                w.header("Contact", contact).header("Allow", allow).header("Supported", "timer");
            }
            if let Some(timer) = timer {
                timer.write_answer(w, &request);
            }
            if let Some(reason) = reason {
                reason.write_warning(w);
            }
        });
        if status == 200 {
            self.expect_ack(now, id, &key, &request, response, delayed);
        }
    }

    /// The way of the responses of a server transaction.
    pub(crate) fn flow_of(&self, key: &std::sync::Arc<str>) -> Option<Flow> {
        self.servers.get(key).map(|t| t.flow)
    }

    /// RFC 3261 §13.3.1.4: a 2xx is repeated until its ACK, by the user agent.
    pub(super) fn expect_ack(
        &mut self,
        now: Instant,
        id: CallId,
        key: &std::sync::Arc<str>,
        request: &Message,
        response: Vec<u8>,
        offers: bool,
    ) {
        let Some((flow, sent_by_port)) = self.servers.get(key).map(|t| (t.flow, t.sent_by_port)) else {
            return;
        };
        if let Some(c) = self.calls.get_mut(id) {
            c.answering = Some(Answering {
                response,
                flow,
                sent_by_port,
                cseq: request.cseq_number(),
                offers,
                again_at: now + T1,
                interval: T1,
                give_up_at: now + T64,
            });
        }
    }

    pub(crate) fn send_ok(&mut self, now: Instant, id: CallId, hang_up: bool) {
        let asked = self.calls.get(id).and_then(|c| self.flow_of(&c.incoming()?.key));
        let reached = asked.is_some_and(|f| self.locals.towards(f.remote).is_some());
        if hang_up || !reached {
            // Not answered yet: refusing costs nothing.
            self.answer_invite(now, id, 480);
            if !hang_up {
                self.event(Event::Lost { call: id, why: LostWhy::NoAddress });
            }
            return self.end_call(now, id);
        }
        if let Some(c) = self.calls.get_mut(id) {
            c.phase = Phase::Accepted { hang_up: false };
        }
        self.answer_invite(now, id, 200);
        self.event(Event::Accepted { call: id });
    }

    pub(crate) fn repeat_ok(&mut self, now: Instant, id: CallId) {
        let Some(c) = self.calls.get_mut(id) else { return };
        let wanted = matches!(c.phase, Phase::Accepted { hang_up: true });
        let Some(a) = &mut c.answering else { return };
        if a.give_up_at <= now {
            // §13.3.1.4: the dialog is confirmed all the same, but the session ends with a BYE.
            if !wanted {
                self.explain(id, Reason::new(408, "no ACK for the 200"));
                self.event(Event::Lost { call: id, why: LostWhy::NoAck });
            }
            self.send_bye(now, id);
        } else if a.again_at <= now {
            a.interval = (a.interval * 2).min(T2);
            a.again_at = now + a.interval;
            let (flow, bytes) = (a.flow, a.response.clone());
            self.transmit(flow, bytes);
        }
    }

    pub(crate) fn ack(&mut self, now: Instant, m: &Message) {
        let Some(id) = self.dialog_of(m) else { return };
        let Some(c) = self.calls.get_mut(id) else { return };
        let Some(answered) = c.answering.take_if(|a| a.cseq == m.cseq_number()) else { return };
        if let Phase::Accepted { hang_up } = c.phase {
            c.phase = Phase::Established;
            if hang_up {
                self.send_bye(now, id);
            } else if answered.offers {
                self.answered_by_ack(now, id, m);
            } else {
                self.event(Event::Confirmed { call: id });
            }
        } else if answered.offers {
            // RFC 3261 §13.2.1: the answer to the offer of our 200.
            self.unchanged(now, id, m);
        }
    }

    /// RFC 3261 §13.2.1: the ACK of a call whose INVITE had no offer has the answer to ours. It cannot be refused any more: one
    /// that cannot be used ends the call.
    fn answered_by_ack(&mut self, now: Instant, id: CallId, m: &Message) {
        let assumed = self.config.dialect.assumed_bandwidth;
        match SessionDescription::of_answer(m.description()).map(|answer| answer.assuming(assumed)) {
            Ok(answer) => {
                if let Some(c) = self.calls.get_mut(id) {
                    c.media.accepted(&answer);
                }
                self.event(Event::Answered { call: id, answer: ReliableAnswer(answer) });
            }
            Err(error) => {
                self.explain(id, Reason::new(error.status(), &error.to_string()));
                self.event(Event::Failed { call: id, failure: CallFailure::BadAnswer(error) });
                self.send_bye(now, id);
            }
        }
    }
}
