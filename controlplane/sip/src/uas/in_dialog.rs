//! Requests inside a dialog, and CANCEL.

use crate::call::CallId;
use crate::message::Message;
use crate::output::Event;
use crate::sdp::SessionDescription;
use crate::session_timer::SessionTimer;
use crate::state::Phase;
use crate::ua::{ALLOW, UserAgent};
use sipsec_net::Instant;
use std::sync::Arc;

impl UserAgent {
    /// The call whose dialog a request belongs to.
    pub(super) fn dialog_of(&self, m: &Message) -> Option<CallId> {
        self.calls
            .with_call_id(m.call_id())
            .find(|(_, c)| !matches!(c.phase, Phase::Over { .. }) && c.dialog.matches(m))
            .map(|(id, _)| id)
    }

    /// RFC 3261 §12.2.2: the dialog must exist, and its requests come in order.
    fn in_order(&mut self, now: Instant, key: &Arc<str>, m: &Message) -> Option<CallId> {
        let Some(id) = self.dialog_of(m) else {
            self.refuse(now, key, m, 481);
            return None;
        };
        let c = self.calls.get_mut(id)?;
        if c.dialog.remote_cseq.is_some_and(|last| m.cseq_number() <= last) {
            self.refuse(now, key, m, 500);
            return None;
        }
        c.dialog.remote_cseq = Some(m.cseq_number());
        Some(id)
    }

    pub(crate) fn reinvite_received(&mut self, now: Instant, key: &Arc<str>, m: &Message) {
        let Some(id) = self.in_order(now, key, m) else { return };
        let refreshing = self.refreshing(id, Some("INVITE"));
        let Some(c) = self.calls.get(id) else { return };
        // RFC 3261 §14.2: our INVITE is under way, or theirs is not acknowledged yet.
        match &c.phase {
            Phase::Established if refreshing => return self.refuse(now, key, m, 491),
            Phase::Established if c.answering.is_none() => {}
            _ => {
                self.respond(now, key, m, 500, None, None, |w| {
                    w.header("Retry-After", 5);
                });
                return;
            }
        }
        self.answer_in_dialog(now, id, key, m, true);
    }

    pub(crate) fn update_received(&mut self, now: Instant, key: &Arc<str>, m: &Message) {
        let Some(id) = self.in_order(now, key, m) else { return };
        let refreshing = self.refreshing(id, None);
        let Some(c) = self.calls.get(id) else { return };
        let with_offer = !m.body.is_empty();
        match &c.phase {
            // RFC 3311 §5.2: two offers must not cross.
            Phase::Established if with_offer && refreshing => self.refuse(now, key, m, 491),
            Phase::Established => self.answer_in_dialog(now, id, key, m, with_offer),
            // RFC 3311 §5.2: the answer to the first offer is still to come.
            _ => {
                self.respond(now, key, m, 500, None, None, |w| {
                    w.header("Retry-After", 5);
                });
            }
        }
    }

    /// RFC 6193 §5.2: a re-INVITE does not maintain the VPN. What offers the same again gets the same answer, with the
    /// same version (RFC 3264 §8); what would move the media is refused, and the session stays as it is.
    fn answer_in_dialog(&mut self, now: Instant, id: CallId, key: &Arc<str>, m: &Message, sdp: bool) {
        let (Some(c), Some(local)) = (self.calls.get(id), self.local) else {
            return self.refuse(now, key, m, 500);
        };
        if !m.body.is_empty() {
            match SessionDescription::parse(&m.body) {
                Ok(offer) if c.remote_media == Some(offer.ike.addr) => {}
                Ok(_) => return self.refuse(now, key, m, 488),
                Err(e) => return self.refuse(now, key, m, e.status()),
            }
        }
        if m.seconds("Session-Expires").is_some_and(|s| s < crate::config::MIN_SE_S) {
            self.respond(now, key, m, 422, None, None, |w| {
                w.header("Min-SE", crate::config::MIN_SE_S);
            });
            return;
        }
        let (contact, body) = (self.contact(c.line, local), sdp.then(|| c.body.clone()));
        let timer = SessionTimer::of_request(now, m);
        let response = self.respond(now, key, m, 200, None, body.as_deref(), |w| {
            w.header("Contact", contact).header("Allow", ALLOW).header("Supported", "timer");
            if let Some(timer) = &timer {
                timer.write_answer(w, m);
            }
        });
        if let Some(c) = self.calls.get_mut(id) {
            c.timer = timer;
        }
        self.refresh_target(id, m);
        if m.method() == Some("INVITE") {
            self.expect_ack(now, id, key, m, response);
        }
    }

    /// RFC 3261 §12.2: a target refresh. A BYE after a crash goes there too.
    pub(crate) fn refresh_target(&mut self, id: CallId, m: &Message) {
        let Some(c) = self.calls.get_mut(id) else { return };
        if let Some(target) = m.remote_target().filter(|t| *t != c.dialog.remote_target) {
            target.clone_into(&mut c.dialog.remote_target);
            self.persist(id);
        }
    }

    pub(crate) fn bye_received(&mut self, now: Instant, key: &Arc<str>, m: &Message) {
        let Some(id) = self.in_order(now, key, m) else { return };
        // RFC 3261 §15.1.2: 200 even if we are leaving ourselves; pending requests get 487.
        self.respond(now, key, m, 200, None, None, |_| {});
        let Some(c) = self.calls.get_mut(id) else { return };
        match &c.phase {
            Phase::Offered { .. } | Phase::PersistAccept { .. } => self.answer_invite(now, id, 487),
            // Hung up before our ACK: it is sent all the same, or the 2xx goes on being repeated.
            Phase::PersistAnswer { .. } => {
                self.send_ack(id);
            }
            _ => {}
        }
        let known =
            self.calls.get(id).is_some_and(|c| matches!(c.phase, Phase::Leaving | Phase::Owed { .. }));
        if !known {
            self.event(Event::PeerHungUp { call: id });
        }
        self.end_call(now, id);
    }

    pub(crate) fn cancel_received(&mut self, now: Instant, key: &Arc<str>, invite: &Arc<str>, m: &Message) {
        let Some(t) = self.servers.get(invite) else { return self.refuse(now, key, m, 481) };
        let call = t.call;
        let tag = call.and_then(|id| self.calls.get(id)).map(|c| c.dialog.local_tag.clone());
        self.respond(now, key, m, 200, tag.as_deref(), None, |_| {});
        let Some(id) = call else { return };
        // RFC 3261 §9.2: no effect once a final response has been sent.
        let open = self
            .calls
            .get(id)
            .is_some_and(|c| matches!(c.phase, Phase::Offered { .. } | Phase::PersistAccept { .. }));
        if open {
            self.answer_invite(now, id, 487);
            self.event(Event::PeerHungUp { call: id });
            self.end_call(now, id);
        }
    }
}
