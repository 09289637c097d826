//! Refreshing sessions (RFC 4028 §7.4, §10), and ending those that are not refreshed.

use super::{UserAgent, client_key};
use crate::call::CallId;
use crate::config::{INTERVAL_MAX_S, RAISES_MAX};
use crate::message::{Message, Writer};
use crate::output::{Event, LostWhy};
use crate::reason::Reason;
use crate::session_timer::SessionTimer;
use crate::state::{Phase, Side};
use crate::transaction::Owner;
use sipsec_net::Instant;
use std::time::Duration;

/// A refresh waits for its turn as long as it can still be tried and answered before the session ends.
const REFRESH_MARGIN: Duration = Duration::from_secs(64);
/// Refreshes after one that was refused for the moment, and the pause before each.
const RETRIES_MAX: u32 = 2;
/// Refreshes after one that crossed another (491), before the pause doubles each time.
const GLARES_MAX: u32 = 8;
const RETRY_MIN: Duration = Duration::from_secs(5);
impl UserAgent {
    /// Whether a refresh of ours is under way, by this method or any.
    pub(crate) fn refreshing(&self, id: CallId, method: Option<&str>) -> bool {
        let keys = self.calls.get(id).map(|c| c.refreshes.as_slice()).unwrap_or_default();
        let mut under_way = keys.iter().filter_map(|k| self.clients.get(k)).filter(|t| t.pending());
        under_way.any(|t| method.is_none_or(|m| m == t.method))
    }

    pub(crate) fn session_due(&mut self, now: Instant, id: CallId) {
        let Self { calls, pace_others, .. } = self;
        let Some(timer) = calls.get_mut(id).and_then(|c| c.timer.as_mut()) else { return };
        if !timer.last && !std::mem::take(&mut timer.has_turn) {
            let turn = pace_others.take(now);
            // A session that would end before its turn comes goes first.
            if turn > now && (!timer.negotiated || turn + REFRESH_MARGIN < timer.expires_at) {
                (timer.at, timer.has_turn) = (turn, true);
                return;
            }
        }
        if timer.last {
            self.explain(id, Reason::new(408, "the session was not refreshed"));
            self.event(Event::Lost { call: id, why: LostWhy::SessionExpired });
            self.send_bye(now, id);
        } else {
            self.refresh(now, id, true);
        }
    }

    pub(super) fn refresh(&mut self, now: Instant, id: CallId, first: bool) {
        let inviting = self.refreshing(id, Some("INVITE"));
        let Some(c) = self.calls.get_mut(id) else { return };
        let Some(timer) = &mut c.timer else { return };
        if first && !std::mem::take(&mut timer.again) {
            (timer.retries, timer.raises) = (0, 0);
        }
        // RFC 3261 §14.1: no INVITE while another one of either side is not answered and acknowledged.
        if !timer.update && (inviting || c.answering.is_some()) {
            return timer.try_again(now, RETRY_MIN);
        }
        if timer.negotiated {
            // Until a 2xx says otherwise the session ends when it was to end.
            timer.give_up();
        } else {
            timer.at = now + Duration::from_secs(timer.interval_s.into()) / 2;
        }
        let (dest, line, body) = (c.dialog.dest(), c.line, c.media.body());
        let (interval, min) = (timer.interval_s.max(timer.min_se_s), timer.min_se_s);
        let (update, plain) = (timer.update, timer.plain);
        if first {
            c.auth.begin();
        }
        let Some(flow) = self.flow_to(&dest) else { return };
        let contact = self.contact(line, &flow);
        // §7.4: UPDATE without an offer if the peer knows it, else a re-INVITE that offers the same again.
        let (method, body) = if update { ("UPDATE", None) } else { ("INVITE", body.as_deref()) };
        // RFC 3262 §4 would have every reliable provisional response of a re-INVITE acknowledged: none is asked for.
        let dialect = &self.config.dialect;
        let supported = if update { dialect.invite_supported.clone() } else { "timer".to_owned() };
        let allow = dialect.allow.clone();
        let headers = |w: &mut Writer| {
            w.header("Contact", contact);
            if plain {
                return;
            }
            w.header("Allow", allow);
            if !supported.is_empty() {
                w.header("Supported", supported);
            }
            w.header("Session-Expires", format_args!("{interval};refresher=uac")).header("Min-SE", min);
        };
        self.send_in_dialog(now, id, method, Owner::Refresh(id), headers, body);
    }

    pub(crate) fn refresh_response(&mut self, now: Instant, id: CallId, m: &Message, status: u16) {
        if status < 200 {
            return;
        }
        let invite = m.cseq_method().is_some_and(|method| method.eq_ignore_ascii_case("INVITE"));
        if status < 300 && invite {
            self.acknowledge_refresh(id, m);
        }
        if status < 300 && !self.unchanged(now, id, m) {
            return;
        }
        let Some(c) = self.calls.get_mut(id).filter(|c| matches!(c.phase, Phase::Established)) else {
            return;
        };
        let Some(timer) = &mut c.timer else { return };
        match status {
            200..300 => {
                c.timer = Some(SessionTimer::of_answer(now, m, timer.interval_s).after(Some(timer)));
                self.refresh_target(id, m);
            }
            401 | 407 if c.line.is_some() && c.auth.learn(m).is_ok() => self.refresh(now, id, false),
            422 => {
                let wanted = m.seconds("Min-SE").unwrap_or(0);
                if wanted > timer.min_se_s && wanted <= INTERVAL_MAX_S && timer.raises < RAISES_MAX {
                    (timer.min_se_s, timer.raises) = (wanted, timer.raises + 1);
                    self.refresh(now, id, false);
                }
            }
            // RFC 3261 §14.1: who made the Call-ID waits longer.
            491 => {
                let retries = timer.retries;
                let owner = matches!(c.side, Side::Caller(_));
                let pause =
                    if owner { 2100 + self.entropy.below(190) * 10 } else { self.entropy.below(200) * 10 };
                // A peer that says nothing else is asked ever more seldom.
                let doubled = retries.saturating_sub(GLARES_MAX).min(16);
                let pause = u64::from(pause).max(if doubled > 0 { 500 } else { 0 });
                let at = now + Duration::from_millis(pause << doubled);
                if let Some(timer) = self.calls.get_mut(id).and_then(|c| c.timer.as_mut())
                    && at < timer.at
                {
                    (timer.at, timer.last, timer.again) = (at, false, true);
                    timer.retries += 1;
                }
            }
            408 | 481 => self.refresh_failed(now, id),
            // §10: tried again as the status says (RFC 3261 §20.33 names those with Retry-After), but not as long as it says
            // the same.
            _ if again_later(m, status) && timer.negotiated && timer.retries < RETRIES_MAX => {
                timer.retries += 1;
                let asked = m.seconds("Retry-After").unwrap_or(0);
                timer.try_again(now, RETRY_MIN.max(Duration::from_secs(asked.into())));
            }
            // The peer said that it allows UPDATE and does not.
            405 | 501 if std::mem::take(&mut timer.update) => self.refresh(now, id, false),
            // RFC 3261 §8.1.3.5: in another form, once. There is no other body than SDP, and no smaller one.
            413 | 420 if !timer.plain => {
                timer.plain = true;
                self.refresh(now, id, false);
            }
            415 if !timer.plain && (timer.update || m.accepts_sdp()) => {
                timer.plain = true;
                self.refresh(now, id, false);
            }
            416 if self.by_sip_uri(id) => self.refresh(now, id, false),
            // Anything else leaves the session to its end, unless the peer refreshes it.
            _ => {}
        }
    }

    /// §10: 408, 481 or no answer at all.
    pub(crate) fn refresh_failed(&mut self, now: Instant, id: CallId) {
        if self.calls.get(id).is_some_and(|c| matches!(c.phase, Phase::Established)) {
            self.explain(id, Reason::new(408, "the session could not be refreshed"));
            self.event(Event::Lost { call: id, why: LostWhy::RefreshFailed });
            self.send_bye(now, id);
        }
    }

    /// RFC 3261 §13.2.2.4: with a branch of its own and the credentials of its INVITE.
    fn acknowledge_refresh(&mut self, id: CallId, m: &Message) {
        let branch = self.branch();
        let Some(dest) = self.calls.get(id).map(|c| c.dialog.dest()) else { return };
        let Some(flow) = self.flow_to(&dest) else { return };
        let via = self.via(&flow, &branch);
        let Some(c) = self.calls.get(id) else { return };
        let asked = m.via().and_then(|v| v.branch()).unwrap_or_default();
        let invite =
            self.clients.get(&client_key(asked, "INVITE")).and_then(|t| Message::parse(&t.bytes).ok());
        // RFC 3261 §13.2.2.4: the number of the INVITE, whatever the answer says.
        let number = invite.as_ref().unwrap_or(m).cseq_number();
        let mut w = c.dialog.request("ACK", number, &via);
        for name in ["Authorization", "Proxy-Authorization"] {
            w.headers(name, invite.iter().flat_map(|i| i.all(name)));
        }
        let bytes = w.finish(None);
        self.transmit(flow, bytes);
    }
}

/// Whether the refusal is one of the moment.
fn again_later(m: &Message, status: u16) -> bool {
    match status {
        480 | 500 | 503 => true,
        404 | 413 | 486 | 600 | 603 => m.header("Retry-After").is_some(),
        _ => false,
    }
}
