//! The INVITE, and its repetition with what the network asks for.

use crate::auth::AuthError;
use crate::call::CallId;
use crate::config::{INTERVAL_MAX_S, MAX_FORWARDS, RAISES_MAX, REQUEST_MAX};
use crate::dialect::Identity;
use crate::digest::Request;
use crate::message::{Message, NameAddr, Writer, host_addr, is_sip_uri};
use crate::output::CallFailure;
use crate::state::{Cancel, Phase};
use crate::transaction::Owner;
use crate::ua::UserAgent;
use crate::uas::number_of;
use sipsec_net::Instant;
use std::cmp::Reverse;

impl UserAgent {
    pub(crate) fn send_invite(&mut self, now: Instant, id: CallId) {
        let Some(dest) = self.calls.get(id).map(|c| c.dialog.dest()) else { return };
        let Some(flow) = self.flow_to(&dest) else { return self.fail(now, id, CallFailure::NoAddress) };
        let Some(call) = self.calls.get(id) else { return };
        let (contact, body) = (self.contact(call.line, &flow), call.media.body());
        let Self { config, entropy, calls, .. } = self;
        let Some(call) = calls.get_mut(id) else { return };
        let who = config.credentials(call.line);
        let d = &call.dialog;
        let request = Request {
            method: "INVITE",
            uri: &d.remote_target,
            body: body.as_deref().unwrap_or_default().as_bytes(),
        };
        let credentials = call.auth.headers(who, request, &mut **entropy);
        let crate::state::Side::Caller(outgoing) = &mut call.side else { return };
        let identity = d.local.split(";tag=").next().unwrap_or_default();
        let write = |optional: bool| {
            let mut w = Writer::request("INVITE", &d.remote_target);
            w.header("Via", &outgoing.via)
                .header("Max-Forwards", MAX_FORWARDS)
                .headers("Route", d.route_set.iter().map(String::as_str))
                .header("From", &d.local)
                .header("To", &d.remote)
                .header("Call-ID", &d.call_id)
                .header("CSeq", format_args!("{} INVITE", outgoing.cseq))
                .header("Contact", &contact);
            // RFC 3325 §9.2: what we prefer; what is asserted is the proxy's to say.
            if config.dialect.identity == Identity::Preferred {
                w.header("P-Preferred-Identity", identity);
            }
            for (name, value) in &credentials {
                w.header(name, value);
            }
            w.header("Allow", &config.dialect.allow);
            if !outgoing.plain && !config.dialect.invite_supported.is_empty() {
                w.header("Supported", &config.dialect.invite_supported);
            }
            if !outgoing.plain && config.session_expires_s > 0 {
                // RFC 4028 §7.1: no less than Min-SE; the refresher is left to the other side.
                w.header("Session-Expires", config.session_expires_s.max(outgoing.min_se_s))
                    .header("Min-SE", outgoing.min_se_s);
            }
            if optional {
                w.header("Accept", "application/sdp");
                if let Some(ua) = &config.user_agent {
                    w.header("User-Agent", ua);
                }
            }
            w.finish(body.as_deref())
        };
        let mut bytes = write(!outgoing.plain);
        if bytes.len() > REQUEST_MAX {
            bytes = write(false);
        }
        outgoing.credentials = credentials;
        let branch = outgoing.branch.clone();
        self.start(now, &branch, "INVITE", Owner::Invite(id), bytes, flow);
    }

    /// RFC 3261 §22.2: the same Call-ID, From tag and body.
    pub(super) fn challenged(&mut self, now: Instant, id: CallId, m: &Message) {
        let Some(call) = self.calls.get_mut(id) else { return };
        let learnt = if self.config.credentials(call.line).is_some() {
            call.auth.learn(m)
        } else {
            Err(AuthError::Unsupported)
        };
        match learnt {
            Ok(()) => self.invite_again(now, id),
            Err(_) => self.fail(now, id, CallFailure::Unauthorised),
        }
    }

    /// RFC 4028 §7.3: with an interval that is long enough, unless it is none any more or has been raised too often.
    pub(super) fn interval_too_small(&mut self, now: Instant, id: CallId, m: &Message) {
        let wanted = m.seconds("Min-SE").unwrap_or(0);
        let raised = self.calls.get_mut(id).and_then(|c| c.outgoing_mut()).is_some_and(|o| {
            let more = wanted > o.min_se_s && wanted <= INTERVAL_MAX_S && o.raises < RAISES_MAX;
            if more {
                (o.min_se_s, o.raises) = (wanted, o.raises + 1);
            }
            more
        });
        if raised {
            self.invite_again(now, id);
        } else {
            self.fail(now, id, CallFailure::refused(422, m, None));
        }
    }

    /// RFC 3261 §8.1.3.4: the same call by another URI, the one that the server prefers, as often as the profile allows it. The number stays: another one has
    /// a tariff of its own. The request goes through our proxy (§8.1.2), or to one of our servers that the URI names.
    pub(super) fn redirected(&mut self, now: Instant, id: CallId, m: &Message) -> bool {
        let max = self.config.redirects_max;
        let Some(call) = self.calls.get(id) else { return false };
        let Some(outgoing) = call.outgoing().filter(|o| o.redirects < max) else { return false };
        let redirects = outgoing.redirects + 1;
        let number = number_of(&call.dialog.remote_target);
        let now_at = &call.dialog.remote_target;
        let contacts = m.all("Contact").filter_map(NameAddr::read);
        let usable = contacts.filter(|c| {
            is_sip_uri(c.uri) && number.is_some() && number_of(c.uri) == number && c.uri != now_at.as_str()
        });
        // Of equal ones the first.
        let Some(best) = usable.min_by_key(|c| Reverse(c.thousandths("q"))) else { return false };
        let uri = best.uri.to_owned();
        let all = if self.proxies.is_empty() { &self.registrars } else { &self.proxies };
        let named =
            host_addr(&uri).and_then(|a| all.iter().find(|t| t.addr == a && self.reaches(t)).cloned());
        let Some(call) = self.calls.get_mut(id) else { return false };
        call.dialog.remote_target = uri;
        if let Some(target) = named {
            call.dialog.target = target;
        }
        if let Some(outgoing) = call.outgoing_mut() {
            outgoing.redirects = redirects;
        }
        self.invite_again(now, id);
        true
    }

    /// Once more, with CSeq one higher and another branch. If the call was given up meanwhile, it ends here: nothing of
    /// it is outstanding.
    pub(super) fn invite_again(&mut self, now: Instant, id: CallId) {
        let branch = self.branch();
        let Some(dest) = self.calls.get(id).map(|c| c.dialog.dest()) else { return };
        let Some(flow) = self.flow_to(&dest) else { return self.fail(now, id, CallFailure::NoAddress) };
        let via = self.via(&flow, &branch);
        let Some(call) = self.calls.get_mut(id) else { return };
        if matches!(call.phase, Phase::Inviting { cancel: Cancel::Wanted | Cancel::Sent, .. }) {
            return self.fail(now, id, CallFailure::Cancelled);
        }
        let Some(outgoing) = call.outgoing_mut() else { return };
        outgoing.cseq += 1;
        (outgoing.branch, outgoing.via) = (branch, via);
        outgoing.early.clear();
        let cseq = outgoing.cseq;
        call.dialog.local_cseq = cseq;
        call.phase = Phase::PersistInvite;
        self.persist(id);
    }
}
