//! Calls that we receive (RFC 3261 §13.3), and the end of any call (§15).

use crate::call::{Call, CallId};
use crate::config::{BYES_MAX, CALLS_MAX, T1, T2, T64};
use crate::dialog::Dialog;
use crate::message::{Message, param, reason_phrase, uri_of, user_of};
use crate::output::{Caller, Event, Output};
use crate::sdp::SessionDescription;
use crate::state::{CallState, Cancel, Phase};
use crate::transaction::{ClientTransaction, Owner};
use crate::ua::{ALLOW, UserAgent};
use sipsec_net::{Instant, TelNumber};
use std::time::Duration;

/// How long an offered call may wait for a decision.
const OFFER_MAX: Duration = Duration::from_secs(120);

impl UserAgent {
    pub(crate) fn invite_received(&mut self, now: Instant, key: &str, m: &Message) {
        if m.to_tag().is_some() {
            self.reinvite(now, key, m);
            return;
        }
        let refuse = |ua: &mut Self, status: u16| ua.respond(now, key, m, status, "", None, |_| {});
        // RFC 3261 §8.2.2.3: nothing is supported that a peer could require.
        if let Some(required) = m.header("Require").filter(|v| !v.is_empty()) {
            let required = required.to_owned();
            return self.respond(now, key, m, 420, "", None, |w| {
                w.header("Unsupported", required);
            });
        }
        if self.calls.len() >= CALLS_MAX {
            self.stats.overload += 1;
            return refuse(self, 503);
        }
        let Some(line) = self.called_line(m) else { return refuse(self, 404) };
        if m.header("Content-Type").is_some_and(|t| !t.to_ascii_lowercase().starts_with("application/sdp")) {
            return self.respond(now, key, m, 415, "", None, |w| {
                w.header("Accept", "application/sdp");
            });
        }
        let offer = match SessionDescription::parse(&m.body) {
            Ok(offer) => offer,
            Err(error) => {
                refuse(self, error.status());
                let line = self.config.lines[line].number;
                return self.event(Event::Refused { line, caller: caller(m), error });
            }
        };
        self.respond(now, key, m, 100, "", None, |_| {});
        let id = self.new_call();
        let tag = self.token();
        let to = m.header("To").unwrap_or_default();
        let dialog = Dialog {
            call_id: m.call_id().to_owned(),
            local: format!("{to};tag={tag}"),
            local_tag: tag,
            remote: m.header("From").unwrap_or_default().to_owned(),
            remote_tag: m.from_tag().map(str::to_owned),
            local_cseq: 0,
            remote_cseq: m.cseq().map(|(n, _)| n),
            // RFC 3261 §12.1.1: for the called side the list is in order.
            route_set: m.all("Record-Route").map(str::to_owned).collect(),
            remote_target: m.header("Contact").map(uri_of).unwrap_or_default().to_owned(),
            proxy: self.config.registrar,
        };
        let number = self.config.lines[line].number;
        let caller = caller(m);
        self.calls.insert(
            id,
            CallState {
                line,
                dialog,
                phase: Phase::Offered,
                body: String::new(),
                invite_branch: String::new(),
                invite_cseq: 0,
                auth: None,
                challenges: 0,
                ack: None,
                server_key: key.to_owned(),
                byes: 0,
            },
        );
        if let Some(t) = self.servers.get_mut(key) {
            t.call = Some(id);
            t.ends_at = now + OFFER_MAX;
        }
        self.event(Event::Incoming { call: Self::handle(id), line: number, caller, offer });
    }

    /// The called line: P-Called-Party-ID where the carrier says it, else the Request-URI, else To.
    fn called_line(&self, m: &Message) -> Option<usize> {
        let uri = match &m.start {
            crate::message::Start::Request { uri, .. } => uri.as_str(),
            crate::message::Start::Response { .. } => "",
        };
        let candidates = [
            m.header("P-Called-Party-ID").map(uri_of).and_then(user_of),
            user_of(uri),
            m.header("To").map(uri_of).and_then(user_of),
        ];
        candidates.into_iter().flatten().find_map(|user| {
            let number: TelNumber = user.parse().ok()?;
            self.config.lines.iter().position(|l| l.number == number)
        })
    }

    /// 180 Ringing.
    pub fn ring(&mut self, now: Instant, call: &Call) {
        self.answer_invite(now, call.id(), 180);
    }

    /// Accepts: the 200 leaves once the record is durable.
    pub fn accept(&mut self, now: Instant, call: &Call, answer: &SessionDescription) {
        let _ = now;
        let id = call.id();
        let Some(c) = self.calls.get_mut(&id).filter(|c| matches!(c.phase, Phase::Offered)) else { return };
        c.body = answer.to_string();
        c.phase = Phase::PersistAccept { hang_up: false };
        let record = c.dialog.record("", c.line);
        self.out.push_back(Output::Persist { call: id, record: Some(record) });
    }

    pub fn reject(&mut self, now: Instant, call: Call, status: u16) {
        let id = call.consume();
        if self.calls.get(&id).is_some_and(|c| matches!(c.phase, Phase::Offered)) {
            self.answer_invite(now, id, status);
            self.end_call(id);
        } else {
            self.hang_up_id(now, id);
        }
    }

    fn answer_invite(&mut self, now: Instant, id: CallId, status: u16) {
        let Some(c) = self.calls.get(&id) else { return };
        let Some(t) = self.servers.get(&c.server_key) else { return };
        // The 100 that was sent has all that a response takes over from its request.
        let Some(sent) = &t.response else { return };
        let text = String::from_utf8_lossy(sent);
        let mut w = crate::message::Writer::response(status, reason_phrase(status));
        for line in text.split("\r\n").skip(1).take_while(|l| !l.is_empty()) {
            let Some((name, value)) = line.split_once(": ") else { continue };
            match name {
                "To" if !value.contains(";tag=") => {
                    w.header("To", format_args!("{value};tag={}", c.dialog.local_tag));
                }
                "Content-Length" | "Content-Type" | "Contact" | "Allow" => {}
                _ => {
                    w.header(name, value);
                }
            }
        }
        let ok = status == 200;
        if (180..300).contains(&status)
            && let Some(local) = self.local
        {
            w.header("Contact", self.contact(c.line, local)).header("Allow", ALLOW);
        }
        let body = c.body.clone();
        let (key, dest) = (c.server_key.clone(), t.dest);
        let bytes = w.finish(ok.then_some(body.as_str()));
        if let Some(t) = self.servers.get_mut(&key) {
            t.respond(now, status, bytes.clone());
        }
        if ok && let Some(c) = self.calls.get_mut(&id) {
            c.phase = Phase::Accepted {
                response: bytes.clone(),
                again_at: now + T1,
                interval: T1,
                give_up_at: now + T64,
                hang_up: false,
            };
        }
        self.transmit(dest, bytes);
    }

    pub(crate) fn send_ok(&mut self, now: Instant, id: CallId, hang_up_wanted: bool) {
        if hang_up_wanted {
            // Not answered yet: refusing costs nothing.
            self.answer_invite(now, id, 480);
            self.end_call(id);
            return;
        }
        self.answer_invite(now, id, 200);
        if let Some(c) = self.calls.get(&id)
            && !matches!(c.phase, Phase::Accepted { .. })
        {
            // The INVITE's transaction is gone (its caller gave up).
            self.end_call(id);
        }
    }

    pub(crate) fn ack(&mut self, now: Instant, m: &Message) {
        let Some(id) = self.dialog_of(m) else { return };
        let Some(c) = self.calls.get_mut(&id) else { return };
        if let Phase::Accepted { hang_up, .. } = c.phase {
            c.phase = Phase::Established;
            if hang_up {
                self.send_bye(now, id);
            } else {
                self.event(Event::Confirmed { call: id });
            }
        }
    }

    /// The call whose dialog a request belongs to (RFC 3261 §12.2.2): Call-ID and both tags.
    fn dialog_of(&self, m: &Message) -> Option<CallId> {
        self.calls
            .iter()
            .find(|(_, c)| {
                c.dialog.call_id == m.call_id()
                    && m.to_tag() == Some(c.dialog.local_tag.as_str())
                    && m.from_tag() == c.dialog.remote_tag.as_deref()
            })
            .map(|(id, _)| *id)
    }

    fn reinvite(&mut self, now: Instant, key: &str, m: &Message) {
        let Some(id) = self.dialog_of(m) else {
            return self.respond(now, key, m, 481, "", None, |_| {});
        };
        let (Some(c), Some(local)) = (self.calls.get_mut(&id), self.local) else { return };
        let cseq = m.cseq().map_or(0, |(n, _)| n);
        if c.dialog.remote_cseq.is_some_and(|last| cseq <= last) {
            // RFC 3261 §12.2.2: out of order.
            return self.respond(now, key, m, 500, "", None, |_| {});
        }
        c.dialog.remote_cseq = Some(cseq);
        let (established, body, line, tag) =
            (matches!(c.phase, Phase::Established), c.body.clone(), c.line, c.dialog.local_tag.clone());
        if !established {
            // §14.2: our own transaction is under way.
            return self.respond(now, key, m, 491, "", None, |_| {});
        }
        // RFC 6193 §5.2: a re-INVITE does not maintain the VPN. What it offers is answered as before: the same body has
        // the same version (RFC 3264 §8).
        let contact = self.contact(line, local);
        self.respond(now, key, m, 200, &tag, Some(&body), |w| {
            w.header("Contact", contact).header("Allow", ALLOW);
        });
    }

    pub(crate) fn bye_received(&mut self, now: Instant, key: &str, m: &Message) {
        let Some(id) = self.dialog_of(m) else {
            return self.respond(now, key, m, 481, "", None, |_| {});
        };
        // §15.1.2: 200 even if we are leaving ourselves.
        self.respond(now, key, m, 200, "", None, |_| {});
        let leaving = self.calls.get(&id).is_some_and(|c| matches!(c.phase, Phase::Leaving));
        if !leaving {
            self.event(Event::PeerHungUp { call: id });
        }
        self.end_call(id);
    }

    pub(crate) fn cancel_received(
        &mut self,
        now: Instant,
        key: &str,
        invite_key: &str,
        call: Option<CallId>,
        m: &Message,
    ) {
        if !self.servers.contains_key(invite_key) {
            return self.respond(now, key, m, 481, "", None, |_| {});
        }
        self.respond(now, key, m, 200, "", None, |_| {});
        let Some(id) = call else { return };
        // §9.2: no effect once a final response has been sent.
        let open = self
            .calls
            .get(&id)
            .is_some_and(|c| matches!(c.phase, Phase::Offered | Phase::PersistAccept { .. }));
        if open {
            self.answer_invite(now, id, 487);
            self.event(Event::PeerHungUp { call: id });
            self.end_call(id);
        }
    }

    // ---- the end of any call ----

    /// CANCEL or BYE, as the state needs.
    pub fn hang_up(&mut self, now: Instant, call: Call) {
        let id = call.consume();
        self.hang_up_id(now, id);
    }

    fn hang_up_id(&mut self, now: Instant, id: CallId) {
        let Some(c) = self.calls.get_mut(&id) else { return };
        match &mut c.phase {
            // Nothing has been sent.
            Phase::PersistInvite if c.invite_cseq == 1 => self.end_call(id),
            Phase::PersistInvite => self.end_call(id),
            Phase::Inviting { provisional: true, cancel: cancel @ Cancel::No, .. } => {
                *cancel = Cancel::Sent;
                self.send_cancel(now, id);
            }
            Phase::Inviting { cancel: cancel @ Cancel::No, .. } => *cancel = Cancel::Wanted,
            Phase::PersistAnswer { hang_up, .. }
            | Phase::PersistAccept { hang_up }
            // §15: the callee sends no BYE before the ACK or 64·T1.
            | Phase::Accepted { hang_up, .. } => *hang_up = true,
            Phase::Offered => {
                self.answer_invite(now, id, 480);
                self.end_call(id);
            }
            Phase::Established => self.send_bye(now, id),
            Phase::Inviting { .. } | Phase::Leaving | Phase::AwaitLate { .. } => {}
        }
    }

    pub(crate) fn send_bye(&mut self, now: Instant, id: CallId) {
        let branch = self.branch();
        let Some(c) = self.calls.get_mut(&id) else { return };
        c.phase = Phase::Leaving;
        // Without an address nothing can be sent; [`Self::resume_leaving`] does it.
        let Some((bytes, dest)) = self.in_dialog_with(id, "BYE", &branch) else { return };
        if let Some(c) = self.calls.get_mut(&id) {
            c.byes += 1;
        }
        self.clients.insert(branch, ClientTransaction::new(now, "BYE", Owner::Bye(id), bytes.clone(), dest));
        self.transmit(dest, bytes);
    }

    /// Nobody answered.
    pub(crate) fn bye_timeout(&mut self, now: Instant, id: CallId) {
        if self.calls.get(&id).is_some_and(|c| c.byes < BYES_MAX) {
            self.send_bye(now, id);
        } else {
            self.end_call(id);
        }
    }

    /// There is an address (again): calls that are being left are left from there.
    pub(crate) fn resume_leaving(&mut self, now: Instant) {
        self.clients.retain(|_, t| !matches!(t.owner, Owner::Bye(_)));
        let leaving = self.calls.iter().filter(|(_, c)| matches!(c.phase, Phase::Leaving));
        // A 2xx that came while there was no address still lacks its ACK.
        let leaving: Vec<_> =
            leaving.map(|(id, c)| (*id, c.ack.is_none() && !c.invite_branch.is_empty())).collect();
        for (id, unacknowledged) in leaving {
            if unacknowledged
                && let Some(ack) = self.in_dialog(id, "ACK")
                && let Some(c) = self.calls.get_mut(&id)
            {
                c.ack = Some(ack.clone());
                let dest = c.dialog.dest();
                self.transmit(dest, ack);
            }
            self.send_bye(now, id);
        }
    }

    pub(crate) fn bye_response(&mut self, now: Instant, id: CallId, m: &Message, status: u16) {
        if matches!(status, 401 | 407)
            && let Some(c) = self.calls.get_mut(&id)
            && c.challenges < 3
            && let Some(challenge) = crate::digest::Challenge::choose(m.all(if status == 407 {
                "Proxy-Authenticate"
            } else {
                "WWW-Authenticate"
            }))
        {
            c.challenges += 1;
            c.auth = Some((crate::digest::Session::new(challenge), status == 407));
            self.send_bye(now, id);
            return;
        }
        // Whatever it says, the dialog is over (§15.1.1).
        self.end_call(id);
    }

    pub(crate) fn in_dialog(&mut self, id: CallId, method: &'static str) -> Option<Vec<u8>> {
        // §13.2.2.4: the ACK of a 2xx is a transaction of its own: a new branch.
        let branch = self.branch();
        self.in_dialog_with(id, method, &branch).map(|(bytes, _)| bytes)
    }

    fn in_dialog_with(
        &mut self,
        id: CallId,
        method: &'static str,
        branch: &str,
    ) -> Option<(Vec<u8>, std::net::SocketAddr)> {
        let local = self.local?;
        let via = self.via(local, branch);
        let contact = self.contact(self.calls.get(&id)?.line, local);
        let Self { config, entropy, calls, .. } = self;
        let c = calls.get_mut(&id)?;
        let cseq = if method == "ACK" {
            c.invite_cseq
        } else {
            c.dialog.local_cseq += 1;
            c.dialog.local_cseq
        };
        let mut w = c.dialog.request(method, cseq, &via, &contact);
        if let (Some((session, proxy)), Some(who)) = (&mut c.auth, &config.lines[c.line].auth) {
            let name = if *proxy { "Proxy-Authorization" } else { "Authorization" };
            w.header(name, session.answer(who, method, &c.dialog.remote_target, &mut **entropy));
        }
        Some((w.finish(None), c.dialog.dest()))
    }

    pub(crate) fn call_due(&mut self, now: Instant, id: CallId) {
        let Some(c) = self.calls.get_mut(&id) else { return };
        match &mut c.phase {
            Phase::Accepted { give_up_at, .. } if *give_up_at <= now => {
                // §13.3.1.4: no ACK within 64·T1: the dialog is confirmed, but the session is terminated by BYE.
                self.event(Event::PeerHungUp { call: id });
                self.send_bye(now, id);
            }
            Phase::Accepted { response, again_at, interval, .. } => {
                *interval = (*interval * 2).min(T2);
                *again_at = now + *interval;
                let (bytes, key) = (response.clone(), c.server_key.clone());
                let dest = self.servers.get(&key).map_or(self.config.registrar, |t| t.dest);
                self.transmit(dest, bytes);
            }
            Phase::Inviting { give_up_at, cancel: cancel @ Cancel::No, .. } => {
                *give_up_at = None;
                *cancel = Cancel::Sent;
                self.send_cancel(now, id);
            }
            Phase::Inviting { give_up_at, .. } => *give_up_at = None,
            Phase::AwaitLate { .. } => self.end_call(id),
            _ => {}
        }
    }

    pub(crate) fn end_call(&mut self, id: CallId) {
        if self.calls.remove(&id).is_some() {
            self.out.push_back(Output::Persist { call: id, record: None });
            self.event(Event::Ended { call: id });
        }
    }
}

/// RFC 3325 §9.1: P-Asserted-Identity of the trusted proxy; with `Privacy: id` or an anonymous From there is none.
fn caller(m: &Message) -> Caller {
    let asserted = m
        .all("P-Asserted-Identity")
        .filter_map(|v| user_of(uri_of(v)))
        .find_map(|user| user.parse::<TelNumber>().ok());
    let from = m.header("From").unwrap_or_default();
    let anonymous = user_of(uri_of(from)).is_some_and(|u| u.eq_ignore_ascii_case("anonymous"))
        || param(from, "privacy").is_some();
    match asserted {
        Some(number) => Caller::Asserted(number),
        None if anonymous => Caller::Anonymous,
        None => Caller::Unidentified,
    }
}
