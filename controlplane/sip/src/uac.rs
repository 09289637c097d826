//! Calls that we place (RFC 3261 §13.2).

use crate::call::{Call, CallId};
use crate::config::{CALLS_MAX, MAX_FORWARDS, T64};
use crate::dialog::Dialog;
use crate::digest::{Challenge, Session};
use crate::message::{Message, Writer, uri_of};
use crate::output::{CallFailure, Event, Output, ReliableAnswer};
use crate::record::DialogRecord;
use crate::register::phrase;
use crate::sdp::SessionDescription;
use crate::state::{CallState, Cancel, Phase};
use crate::transaction::{ClientTransaction, Owner};
use crate::ua::{ALLOW, UserAgent};
use sipsec_net::{Instant, TelNumber};
use std::time::Duration;
use thiserror::Error;

/// An INVITE that only rings is given up after this long.
const RING_MAX: Duration = Duration::from_secs(180);

#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum DialError {
    #[error("the WAN interface has no address")]
    NoAddress,
    #[error("{0} is not one of the lines of the profile")]
    UnknownLine(TelNumber),
    #[error("too many calls at a time")]
    TooManyCalls,
}

impl UserAgent {
    /// Places a call. The INVITE leaves once the record is durable.
    pub fn dial(
        &mut self,
        _now: Instant,
        line: TelNumber,
        to: TelNumber,
        offer: &SessionDescription,
    ) -> Result<Call, DialError> {
        if self.local.is_none() {
            return Err(DialError::NoAddress);
        }
        let index =
            self.config.lines.iter().position(|l| l.number == line).ok_or(DialError::UnknownLine(line))?;
        if self.calls.len() >= CALLS_MAX {
            return Err(DialError::TooManyCalls);
        }
        let id = self.new_call();
        let (call_id, tag, branch) =
            (format!("{}{}", self.token(), self.token()), self.token(), self.branch());
        let domain = &self.config.domain;
        let dialog = Dialog {
            call_id,
            local: format!("<sip:{line}@{domain}>;tag={tag}"),
            local_tag: tag,
            remote: format!("<sip:{to}@{domain}>"),
            remote_tag: None,
            local_cseq: 1,
            remote_cseq: None,
            // RFC 3608 §5: the service route of the registration.
            route_set: self.registrations[index].service_route.clone(),
            remote_target: format!("sip:{to}@{domain}"),
            proxy: self.config.registrar,
        };
        let record = dialog.record(&branch, index);
        self.calls.insert(
            id,
            CallState {
                line: index,
                dialog,
                phase: Phase::PersistInvite,
                body: offer.to_string(),
                invite_branch: branch,
                invite_cseq: 1,
                auth: None,
                challenges: 0,
                ack: None,
                server_key: String::new(),
                byes: 0,
            },
        );
        self.out.push_back(Output::Persist { call: id, record: Some(record) });
        Ok(Self::handle(id))
    }

    /// The caller wrote the record of this call durably.
    pub fn persisted(&mut self, now: Instant, id: CallId) {
        let Some(call) = self.calls.get_mut(&id) else { return };
        match std::mem::replace(&mut call.phase, Phase::Leaving) {
            Phase::PersistInvite => {
                call.phase = Phase::Inviting { provisional: false, cancel: Cancel::No, give_up_at: None };
                self.send_invite(now, id);
            }
            Phase::PersistAnswer { answer, hang_up } => self.acknowledge(now, id, answer, hang_up),
            Phase::PersistAccept { hang_up } => self.send_ok(now, id, hang_up),
            other => call.phase = other,
        }
    }

    fn send_invite(&mut self, now: Instant, id: CallId) {
        let Some(local) = self.local else {
            self.fail(id, CallFailure::NoAddress);
            return;
        };
        let Some(call) = self.calls.get(&id) else { return };
        let via = self.via(local, &call.invite_branch);
        let contact = self.contact(call.line, local);
        let identity = format!("<sip:{}@{}>", self.config.lines[call.line].number, self.config.domain);
        let Self { config, entropy, calls, .. } = self;
        let Some(call) = calls.get_mut(&id) else { return };
        let d = &call.dialog;
        let mut w = Writer::request("INVITE", &d.remote_target);
        w.header("Via", via)
            .header("Max-Forwards", MAX_FORWARDS)
            .headers("Route", d.route_set.iter().map(String::as_str))
            .header("From", &d.local)
            .header("To", &d.remote)
            .header("Call-ID", &d.call_id)
            .header("CSeq", format_args!("{} INVITE", call.invite_cseq))
            .header("Contact", contact)
            // RFC 3325 §9.2: what we prefer; what is asserted is the proxy's to say.
            .header("P-Preferred-Identity", identity)
            .header("Allow", ALLOW)
            .header("Accept", "application/sdp");
        if let Some(ua) = &config.user_agent {
            w.header("User-Agent", ua);
        }
        if let (Some((session, proxy)), Some(who)) = (&mut call.auth, &config.lines[call.line].auth) {
            let name = if *proxy { "Proxy-Authorization" } else { "Authorization" };
            w.header(name, session.answer(who, "INVITE", &d.remote_target, &mut **entropy));
        }
        let bytes = w.finish(Some(&call.body));
        let dest = call.dialog.dest();
        let branch = call.invite_branch.clone();
        self.clients
            .insert(branch, ClientTransaction::new(now, "INVITE", Owner::Invite(id), bytes.clone(), dest));
        self.transmit(dest, bytes);
    }

    pub(crate) fn invite_response(&mut self, now: Instant, id: CallId, m: &Message, status: u16) {
        let Some(call) = self.calls.get_mut(&id) else { return };
        let Phase::Inviting { provisional, cancel, give_up_at } = &mut call.phase else { return };
        match status {
            100..200 => {
                if !*provisional {
                    *give_up_at = Some(now + RING_MAX);
                }
                *provisional = true;
                let wanted = *cancel == Cancel::Wanted;
                if wanted {
                    *cancel = Cancel::Sent;
                    self.send_cancel(now, id);
                } else if status > 100 {
                    self.event(Event::Provisional { call: id, status });
                }
            }
            200..300 => {
                let hang_up = *cancel != Cancel::No;
                let Some(tag) = m.to_tag().map(str::to_owned) else {
                    self.stats.malformed += 1;
                    return;
                };
                let d = &mut call.dialog;
                d.remote_tag = Some(tag);
                d.remote = m.header("To").unwrap_or_default().to_owned();
                // RFC 3261 §12.1.2: the record-route list in reverse, and the target is the Contact.
                d.route_set = m.all("Record-Route").rev().map(str::to_owned).collect();
                if let Some(contact) = m.header("Contact") {
                    d.remote_target = uri_of(contact).to_owned();
                }
                let answer = SessionDescription::parse(&m.body).map_err(CallFailure::BadAnswer);
                call.phase = Phase::PersistAnswer { answer, hang_up };
                let record = call.dialog.record(&call.invite_branch, call.line);
                self.out.push_back(Output::Persist { call: id, record: Some(record) });
            }
            401 | 407 => self.challenged(id, m, status),
            487 if *cancel != Cancel::No => self.fail(id, CallFailure::Cancelled),
            _ => {
                let retry =
                    m.header("Retry-After").and_then(|v| v.split([' ', ';', '(']).next()?.parse().ok());
                self.fail(id, CallFailure::Status { status, reason: phrase(m), retry_after_s: retry });
            }
        }
    }

    /// RFC 3261 §22.2: the same Call-ID, From tag and body, CSeq one higher, a new branch.
    fn challenged(&mut self, id: CallId, m: &Message, status: u16) {
        let proxy = status == 407;
        let name = if proxy { "Proxy-Authenticate" } else { "WWW-Authenticate" };
        let challenge = Challenge::choose(m.all(name));
        let branch = self.branch();
        let Some(call) = self.calls.get_mut(&id) else { return };
        let cancelled = matches!(call.phase, Phase::Inviting { cancel: Cancel::Wanted | Cancel::Sent, .. });
        match challenge {
            _ if cancelled => self.fail(id, CallFailure::Cancelled),
            Some(c)
                if self.config.lines[call.line].auth.is_some()
                    && (call.challenges == 0 || (c.stale && call.challenges < 3)) =>
            {
                call.challenges += 1;
                call.auth = Some((Session::new(c), proxy));
                call.invite_cseq += 1;
                call.dialog.local_cseq = call.invite_cseq;
                call.invite_branch = branch;
                call.phase = Phase::PersistInvite;
                let record = call.dialog.record(&call.invite_branch, call.line);
                self.out.push_back(Output::Persist { call: id, record: Some(record) });
            }
            _ => self.fail(id, CallFailure::Unauthorised),
        }
    }

    fn acknowledge(
        &mut self,
        now: Instant,
        id: CallId,
        answer: Result<SessionDescription, CallFailure>,
        hang_up: bool,
    ) {
        let Some(ack) = self.in_dialog(id, "ACK") else {
            // No address: ACK and BYE leave when there is one again.
            if !hang_up {
                self.event(Event::Failed { call: id, failure: CallFailure::NoAddress });
            }
            return self.send_bye(now, id);
        };
        let Some(call) = self.calls.get_mut(&id) else { return };
        call.phase = Phase::Established;
        call.ack = Some(ack.clone());
        let dest = call.dialog.dest();
        self.transmit(dest, ack);
        match answer {
            // RFC 3261 §9.1, §15: the 2xx won the race against CANCEL; the call is hung up at once.
            _ if hang_up => self.send_bye(now, id),
            Ok(answer) => self.event(Event::Answered { call: id, answer: ReliableAnswer(answer) }),
            Err(failure) => {
                self.event(Event::Failed { call: id, failure });
                self.send_bye(now, id);
            }
        }
    }

    /// A 2xx outside its transaction: repeated, from another fork, or after a restart.
    pub(crate) fn late_answer(&mut self, now: Instant, m: &Message) {
        let found = self.calls.iter().find(|(_, c)| {
            c.dialog.call_id == m.call_id() && m.from_tag() == Some(c.dialog.local_tag.as_str())
        });
        let Some((&id, call)) = found else {
            self.stats.stray_responses += 1;
            return;
        };
        if let Phase::AwaitLate { .. } = call.phase {
            let Some(call) = self.calls.get_mut(&id) else { return };
            call.phase = Phase::Inviting { provisional: true, cancel: Cancel::Sent, give_up_at: None };
            self.invite_response(now, id, m, 200);
        } else if call.dialog.remote_tag.as_deref() == m.to_tag() {
            // §13.2.2.4: every repetition is acknowledged again.
            if let Some(ack) = call.ack.clone() {
                let dest = call.dialog.dest();
                self.transmit(dest, ack);
            }
        } else if m.to_tag().is_some() && call.dialog.remote_tag.is_some() {
            self.hang_up_fork(now, id, m);
        }
    }

    /// RFC 6193 §5.3: a second answering party is illegal. ACK, then BYE, with its own dialog.
    fn hang_up_fork(&mut self, now: Instant, id: CallId, m: &Message) {
        self.stats.forked += 1;
        let Some(first) = self.calls.get(&id) else { return };
        let mut dialog = first.dialog.clone();
        let (line, cseq) = (first.line, first.invite_cseq);
        dialog.remote_tag = m.to_tag().map(str::to_owned);
        dialog.remote = m.header("To").unwrap_or_default().to_owned();
        dialog.route_set = m.all("Record-Route").rev().map(str::to_owned).collect();
        if let Some(contact) = m.header("Contact") {
            dialog.remote_target = uri_of(contact).to_owned();
        }
        dialog.local_cseq = cseq;
        let fork = self.new_call();
        self.calls.insert(
            fork,
            CallState {
                line,
                dialog,
                phase: Phase::Established,
                body: String::new(),
                invite_branch: String::new(),
                invite_cseq: cseq,
                auth: None,
                challenges: 0,
                ack: None,
                server_key: String::new(),
                byes: 0,
            },
        );
        if let Some(ack) = self.in_dialog(fork, "ACK")
            && let Some(call) = self.calls.get_mut(&fork)
        {
            call.ack = Some(ack.clone());
            let dest = call.dialog.dest();
            self.transmit(dest, ack);
        }
        self.send_bye(now, fork);
    }

    pub(crate) fn send_cancel(&mut self, now: Instant, id: CallId) {
        let Some(call) = self.calls.get(&id) else { return };
        let Some(t) = self.clients.get_mut(&call.invite_branch) else { return };
        // §9.1: Request-URI, Call-ID, To, From, Route and the CSeq number of the INVITE, and its single Via.
        // If nothing answers, the transaction ends 64·T1 after the CANCEL.
        t.end_at(now + T64);
        let text = String::from_utf8_lossy(&t.bytes).into_owned();
        let dest = t.dest;
        let uri = text.split(' ').nth(1).unwrap_or_default();
        let mut w = Writer::request("CANCEL", uri);
        for line in text.split("\r\n").skip(1).take_while(|l| !l.is_empty()) {
            let Some((name, value)) = line.split_once(": ") else { continue };
            match name {
                "Via" | "Max-Forwards" | "From" | "To" | "Call-ID" | "Route" => {
                    w.header(name, value);
                }
                "CSeq" => {
                    w.header("CSeq", format_args!("{} CANCEL", call.invite_cseq));
                }
                _ => {}
            }
        }
        let bytes = w.finish(None);
        let key = format!("{} CANCEL", call.invite_branch);
        self.clients
            .insert(key, ClientTransaction::new(now, "CANCEL", Owner::Cancel(id), bytes.clone(), dest));
        self.transmit(dest, bytes);
    }

    pub(crate) fn invite_timeout(&mut self, _now: Instant, id: CallId) {
        let cancelled = self.calls.get(&id).is_some_and(|c| {
            matches!(c.phase, Phase::Inviting { cancel: Cancel::Wanted | Cancel::Sent, .. })
        });
        self.fail(id, if cancelled { CallFailure::Cancelled } else { CallFailure::Timeout });
    }

    /// The INVITE ended without a dialog.
    pub(crate) fn fail(&mut self, id: CallId, failure: CallFailure) {
        if self.calls.contains_key(&id) {
            self.event(Event::Failed { call: id, failure });
            self.end_call(id);
        }
    }

    /// After a restart: hangs up what the record names, whatever had become of it.
    pub fn recover(&mut self, now: Instant, record: &DialogRecord) -> CallId {
        let id = self.new_call();
        let answered = record.has_remote_tag;
        let call = CallState {
            line: record.line.min(self.config.lines.len().saturating_sub(1)),
            dialog: Dialog::from_record(record),
            phase: if answered { Phase::Established } else { Phase::AwaitLate { until: now + T64 } },
            body: String::new(),
            invite_branch: record.invite_branch.clone(),
            invite_cseq: record.cseq,
            auth: None,
            challenges: 0,
            ack: None,
            server_key: String::new(),
            byes: 0,
        };
        self.calls.insert(id, call);
        if answered {
            self.send_bye(now, id);
        } else {
            self.recover_cancel(now, id);
        }
        id
    }

    fn recover_cancel(&mut self, now: Instant, id: CallId) {
        let Some(local) = self.local else { return };
        let Some(call) = self.calls.get(&id) else { return };
        let d = &call.dialog;
        let mut w = Writer::request("CANCEL", &d.remote_target);
        w.header("Via", self.via(local, &call.invite_branch))
            .header("Max-Forwards", MAX_FORWARDS)
            .headers("Route", d.route_set.iter().map(String::as_str))
            .header("From", &d.local)
            .header("To", &d.remote)
            .header("Call-ID", &d.call_id)
            .header("CSeq", format_args!("{} CANCEL", d.local_cseq));
        let (bytes, dest) = (w.finish(None), d.dest());
        let key = format!("{} CANCEL", call.invite_branch);
        self.clients
            .insert(key, ClientTransaction::new(now, "CANCEL", Owner::Cancel(id), bytes.clone(), dest));
        self.transmit(dest, bytes);
    }
}
