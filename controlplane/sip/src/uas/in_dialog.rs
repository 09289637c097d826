//! Requests inside a dialog, and CANCEL.

use super::refused_content;
use crate::call::CallId;
use crate::dialog::Dialog;
use crate::message::{Body, Message};
use crate::output::{Event, LostWhy};
use crate::reason::Reason;
use crate::sdp::SessionDescription;
use crate::session_timer::SessionTimer;
use crate::state::{CallState, Phase};
use crate::ua::UserAgent;
use sipsec_net::Instant;
use std::sync::Arc;

/// The dialog that a request belongs to.
#[derive(Clone, Copy)]
pub(super) enum Found {
    /// A call's own.
    Call(CallId),
    /// The early one at this place of the call's INVITE.
    Early(CallId, usize),
}

fn early_dialog(c: &mut CallState, at: usize) -> Option<&mut Dialog> {
    Some(&mut c.outgoing_mut()?.early.get_mut(at)?.dialog)
}

impl UserAgent {
    /// The call whose dialog a request belongs to.
    pub(super) fn dialog_of(&self, m: &Message) -> Option<CallId> {
        self.calls
            .with_call_id(m.call_id())
            .find(|(_, c)| !matches!(c.phase, Phase::Over { .. }) && c.dialog.matches(m))
            .map(|(id, _)| id)
    }

    /// Whether a request belongs to a dialog of ours, confirmed or early.
    pub(crate) fn knows_dialog(&self, m: &Message) -> bool {
        self.dialog_of(m).is_some() || self.early_dialog_of(m).is_some()
    }

    /// The same for the early dialogs of an INVITE of ours.
    fn early_dialog_of(&self, m: &Message) -> Option<(CallId, usize)> {
        self.calls.with_call_id(m.call_id()).find_map(|(id, c)| {
            let ringing = matches!(c.phase, Phase::Inviting { .. });
            let early = &c.outgoing().filter(|_| ringing)?.early;
            Some((id, early.iter().position(|e| e.dialog.matches(m))?))
        })
    }

    /// RFC 3261 §12.2.2: the dialog must exist, and its requests come in order.
    pub(super) fn in_order(&mut self, now: Instant, key: &Arc<str>, m: &Message) -> Option<Found> {
        let of_call = self.dialog_of(m).filter(|id| {
            // §15.1.1: with our BYE the session is over, and nothing but the peer's own is left to say.
            let leaving = self.calls.get(*id).is_some_and(|c| {
                matches!(c.phase, Phase::Leaving | Phase::Queued { .. } | Phase::Owed { .. })
            });
            !leaving || m.method() == Some("BYE")
        });
        let found = match of_call {
            Some(id) => Some(Found::Call(id)),
            None => self.early_dialog_of(m).map(|(id, at)| Found::Early(id, at)),
        };
        let dialog = match found {
            Some(Found::Call(id)) => self.calls.get_mut(id).map(|c| &mut c.dialog),
            Some(Found::Early(id, at)) => self.calls.get_mut(id).and_then(|c| early_dialog(c, at)),
            None => None,
        };
        let Some(dialog) = dialog else {
            self.refuse(now, key, m, 481);
            return None;
        };
        if dialog.remote_cseq.is_some_and(|last| m.cseq_number() <= last) {
            self.refuse(now, key, m, 500);
            return None;
        }
        dialog.remote_cseq = Some(m.cseq_number());
        found
    }

    pub(crate) fn reinvite_received(&mut self, now: Instant, key: &Arc<str>, m: &Message) {
        let id = match self.in_order(now, key, m) {
            Some(Found::Call(id)) => id,
            // RFC 3261 §14.2: our own INVITE is not answered yet.
            Some(Found::Early(..)) => return self.refuse(now, key, m, 491),
            None => return,
        };
        if let Some((status, headers)) = refused_content(m) {
            return self.refuse_content(now, key, m, status, headers);
        }
        let refreshing = self.refreshing(id, Some("INVITE"));
        let Some(c) = self.calls.get(id) else { return };
        // RFC 3261 §14.2: our INVITE is under way, or theirs is not acknowledged yet.
        match &c.phase {
            Phase::Established if refreshing => return self.refuse(now, key, m, 491),
            Phase::Established if c.answering.is_none() => {}
            _ => {
                self.refuse_for_now(now, key, m);
                return;
            }
        }
        self.answer_in_dialog(now, id, key, m, true);
    }

    pub(crate) fn update_received(&mut self, now: Instant, key: &Arc<str>, m: &Message) {
        let with_offer = !m.body.is_empty();
        let id = match self.in_order(now, key, m) {
            Some(Found::Call(id)) => id,
            Some(Found::Early(id, at)) => return self.early_update(now, id, at, key, m, with_offer),
            None => return,
        };
        if let Some((status, headers)) = refused_content(m) {
            return self.refuse_content(now, key, m, status, headers);
        }
        let refreshing = self.refreshing(id, None);
        let Some(c) = self.calls.get(id) else { return };
        match &c.phase {
            // RFC 3311 §5.2: two offers must not cross.
            Phase::Established if with_offer && refreshing => self.refuse(now, key, m, 491),
            Phase::Established => self.answer_in_dialog(now, id, key, m, with_offer),
            // There is no session yet that it could refresh.
            _ if !with_offer => {
                self.update_taken(now, id, key, m, None);
                self.refresh_target(id, m);
            }
            // RFC 3311 §5.2: the answer to the first offer is still to come.
            _ => {
                self.refuse_for_now(now, key, m);
            }
        }
    }

    fn refuse_content(
        &mut self,
        now: Instant,
        key: &Arc<str>,
        m: &Message,
        status: u16,
        headers: Vec<(&'static str, String)>,
    ) {
        self.respond(now, key, m, status, None, None, |w| {
            for (name, value) in headers {
                w.header(name, value);
            }
        });
    }

    /// RFC 3261 §14.2, RFC 3311 §5.2: 500, and a pause of 0 to 10 s.
    fn refuse_for_now(&mut self, now: Instant, key: &Arc<str>, m: &Message) {
        let pause = self.entropy.below(11);
        self.respond(now, key, m, 500, None, None, |w| {
            w.header("Retry-After", pause);
        });
    }

    /// An UPDATE of the called side before it answers (RFC 3311 §5.2). Our offer has one answer, which stands: an offer that
    /// repeats it is answered as it would be in the call.
    fn early_update(
        &mut self,
        now: Instant,
        id: CallId,
        at: usize,
        key: &Arc<str>,
        m: &Message,
        with_offer: bool,
    ) {
        if let Some((status, headers)) = refused_content(m) {
            return self.refuse_content(now, key, m, status, headers);
        }
        let assumed = self.config.dialect.assumed_bandwidth;
        let Some(c) = self.calls.get_mut(id) else { return };
        let mut media = c.media.clone();
        let Some(early) = c.outgoing_mut().and_then(|o| o.early.get_mut(at)) else { return };
        let mut body = None;
        if with_offer {
            let answer = SessionDescription::of_answer(Body::Sdp(&early.body));
            let Ok(answer) = answer else { return self.refuse(now, key, m, 491) };
            media.accepted(&answer.assuming(assumed));
            let ours = media.body();
            let offer = SessionDescription::parse(&m.body);
            let again = offer.and_then(|offer| media.answer(&offer.assuming(assumed)));
            match again.map(|media| media.body()) {
                Ok(same) if same == ours => body = same,
                _ => return self.refuse(now, key, m, 488),
            }
        }
        if let Some(target) = m.remote_target() {
            target.clone_into(&mut early.dialog.remote_target);
        }
        self.update_taken(now, id, key, m, body.as_deref());
    }

    fn update_taken(&mut self, now: Instant, id: CallId, key: &Arc<str>, m: &Message, body: Option<&str>) {
        let (Some(c), Some(flow)) = (self.calls.get(id), self.flow_of(key)) else {
            return self.refuse(now, key, m, 500);
        };
        let (contact, allow) = (self.contact(c.line, &flow), self.config.dialect.allow.clone());
        self.respond(now, key, m, 200, None, body, |w| {
            w.header("Contact", contact).header("Allow", &allow).header("Supported", "timer");
        });
    }

    /// RFC 6193 §5.2: a re-INVITE does not maintain the VPN. What offers the same again gets the same answer, with the
    /// same version (RFC 3264 §8); what would change it is refused, and the session stays as it is (RFC 3261 §14.2,
    /// RFC 3311 §5.2).
    fn answer_in_dialog(&mut self, now: Instant, id: CallId, key: &Arc<str>, m: &Message, sdp: bool) {
        let (Some(c), Some(flow)) = (self.calls.get(id), self.flow_of(key)) else {
            return self.refuse(now, key, m, 500);
        };
        let offers = m.body.is_empty();
        let media = if offers {
            c.media.clone()
        } else {
            let offer = SessionDescription::parse(&m.body);
            let assumed = self.config.dialect.assumed_bandwidth;
            match offer.and_then(|offer| c.media.answer(&offer.assuming(assumed))) {
                Ok(answer) => answer,
                Err(e) => {
                    self.respond(now, key, m, e.status(), None, None, |w| {
                        w.header("Warning", e.warning());
                    });
                    return;
                }
            }
        };
        let (contact, body) = (self.contact(c.line, &flow), if sdp { media.body() } else { None });
        let earlier = c.timer.as_ref();
        let timer = SessionTimer::of_request(now, m)
            .or_else(|| earlier.map(|t| t.unnamed(now, m)))
            .map(|t| t.after(earlier));
        let allow = self.config.dialect.allow.clone();
        let response = self.respond(now, key, m, 200, None, body.as_deref(), |w| {
            w.header("Contact", contact).header("Allow", &allow).header("Supported", "timer");
            if let Some(timer) = timer.as_ref().filter(|t| t.negotiated) {
                timer.write_answer(w, m);
            }
        });
        if let Some(c) = self.calls.get_mut(id) {
            (c.timer, c.media) = (timer, media);
        }
        self.refresh_target(id, m);
        if m.method() == Some("INVITE") {
            self.expect_ack(now, id, key, m, response, offers);
        }
    }

    /// The answer to an offer of ours inside the dialog cannot be refused any more: if it changes the VPN, or refuses it
    /// with port 0, the call ends (RFC 6193 §5.2). `false` if so.
    pub(crate) fn unchanged(&mut self, now: Instant, id: CallId, m: &Message) -> bool {
        let Some(c) = self.calls.get(id).filter(|c| matches!(c.phase, Phase::Established)) else {
            return true;
        };
        let Body::Sdp(body) = m.description() else { return true };
        let assumed = self.config.dialect.assumed_bandwidth;
        if SessionDescription::parse(body).and_then(|a| c.media.confirm(&a.assuming(assumed))).is_ok() {
            return true;
        }
        self.explain(id, Reason::new(488, "the SDP moved, changed or refused the VPN"));
        self.event(Event::Lost { call: id, why: LostWhy::MediaChanged });
        self.send_bye(now, id);
        false
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
        let id = match self.in_order(now, key, m) {
            Some(Found::Call(id)) => id,
            // §15: the called side has no BYE before it has answered.
            Some(Found::Early(..)) => return self.refuse(now, key, m, 481),
            None => return,
        };
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
        let known = self
            .calls
            .get(id)
            .is_some_and(|c| matches!(c.phase, Phase::Leaving | Phase::Queued { .. } | Phase::Owed { .. }));
        if !known {
            self.event(Event::PeerHungUp { call: id, reason: Reason::of(m) });
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
            self.event(Event::PeerHungUp { call: id, reason: Reason::of(m) });
            self.end_call(now, id);
        }
    }
}
