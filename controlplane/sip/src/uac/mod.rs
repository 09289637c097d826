//! Calls that we place (RFC 3261 §13.2).

mod answer;
mod cancel;
mod invite;
mod late;
mod prack;
mod refused;

use crate::auth::Auth;
use crate::call::{Call, CallId};
use crate::config::MIN_SE_S;
use crate::dialect::Identity;
use crate::dialog::Dialog;
use crate::output::{CallFailure, Output};
use crate::record::Stage;
use crate::sdp::{Descriptions, SessionDescription};
use crate::state::{CallState, Cancel, Outgoing, Phase, SecondBye, Side};
use crate::ua::{UserAgent, respond};
use sipsec_net::{Instant, TelNumber};
use std::net::SocketAddr;
use thiserror::Error;

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
    ///
    /// # Errors
    /// If it cannot even be tried.
    pub fn dial(
        &mut self,
        now: Instant,
        line: TelNumber,
        to: TelNumber,
        offer: &SessionDescription,
    ) -> Result<Call, DialError> {
        let index = self.config.line_of(line).ok_or(DialError::UnknownLine(line))?;
        let target = self.proxy(now, index).ok_or(DialError::NoAddress)?;
        if self.calls.full() {
            return Err(DialError::TooManyCalls);
        }
        let (call_id, tag) = (format!("{}{}", self.token(), self.token()), self.token());
        let branch = self.branch();
        let domain = &self.config.domain;
        let caller = match self.config.dialect.identity {
            Identity::Preferred | Identity::From => format!("<sip:{line}@{domain}>"),
            Identity::Withheld => "\"Anonymous\" <sip:anonymous@anonymous.invalid>".to_owned(),
        };
        let dialog = Dialog {
            call_id,
            local: format!("{caller};tag={tag}"),
            local_tag: tag,
            remote: format!("<sip:{to}@{domain}>"),
            remote_tag: None,
            local_cseq: 1,
            remote_cseq: None,
            // RFC 3608 §5: the service route of the registration.
            route_set: self.registrations[index].service_route().to_vec(),
            remote_target: format!("sip:{to}@{domain}"),
            target,
        };
        let flow = self.flow_to(&dialog.dest()).ok_or(DialError::NoAddress)?;
        let outgoing = Outgoing {
            via: self.via(&flow, &branch),
            branch,
            cseq: 1,
            credentials: Vec::new(),
            ack: None,
            early: Vec::new(),
            min_se_s: MIN_SE_S,
            raises: 0,
            redirects: 0,
            plain: false,
            acks_again: 0,
            second_bye: SecondBye::No,
        };
        let id = self.calls.insert(CallState {
            line: Some(index),
            dialog,
            phase: Phase::PersistInvite,
            side: Side::Caller(outgoing),
            media: Descriptions::Ours(offer.clone()),
            auth: Auth::default(),
            answering: None,
            timer: None,
            byes: 0,
            bye: None,
            refreshes: Vec::new(),
            reason: None,
            writes: 0,
            detached: false,
        });
        self.persist(id);
        self.settle();
        Ok(Call::new(id))
    }

    /// Our address as a call of this line would name it now; SDP must have the same.
    #[must_use]
    pub fn local_for_call(&self, now: Instant, line: TelNumber) -> Option<SocketAddr> {
        let target = self.proxy(now, self.config.line_of(line)?)?;
        self.locals.towards(target.addr)
    }

    /// Why no call can leave now, if so.
    #[must_use]
    pub fn unreachable(&self) -> Option<&'static str> {
        let all = if self.proxies.is_empty() { &self.registrars } else { &self.proxies };
        if all.iter().any(|t| self.reaches(t)) {
            None
        } else if all.is_empty() {
            Some("the address of the carrier's server is not known")
        } else {
            Some("the WAN interface has no address of the carrier's IP version")
        }
    }

    /// The caller wrote a record of this call durably. It does so in the order in which the records came.
    pub fn persisted(&mut self, now: Instant, id: CallId) {
        if let Some(call) = self.calls.get_mut(id) {
            call.writes = call.writes.saturating_sub(1);
            let rings = match call.phase {
                Phase::Offered { .. } => true,
                // The answer's own record is under way.
                Phase::PersistAccept { hang_up } => call.writes > 0 && !hang_up,
                _ => false,
            };
            if rings {
                self.send_ringing(now, id);
            }
        }
        // Of the record before, whose call has gone on meanwhile, nothing depends.
        match self.calls.get_mut(id).filter(|c| c.writes == 0).map(|call| &mut call.phase) {
            Some(phase @ Phase::PersistInvite) => {
                *phase = Phase::Inviting { provisional: false, cancel: Cancel::No, give_up_at: None };
                self.send_invite(now, id);
            }
            Some(Phase::PersistAnswer { answer, hang_up, .. }) => {
                let (answer, hang_up) = (answer.clone(), *hang_up);
                self.acknowledge(now, id, answer, hang_up);
            }
            Some(Phase::PersistAccept { hang_up }) => {
                let hang_up = *hang_up;
                self.send_ok(now, id, hang_up);
            }
            _ => {}
        }
        self.settle();
    }

    /// A record of this call could not be written. Returns whether the call cannot go on without it: one that is only offered
    /// does not ring then, and the record of its answer decides.
    pub fn not_persisted(&mut self, id: CallId) -> bool {
        let Some(call) = self.calls.get_mut(id) else { return false };
        call.writes = call.writes.saturating_sub(1);
        let decides = call.writes == 0 && !matches!(call.phase, Phase::Offered { .. });
        self.settle();
        decides
    }

    /// Asks for the call's record to be written as it stands.
    pub(crate) fn persist(&mut self, id: CallId) {
        let Some(call) = self.calls.get_mut(id) else { return };
        call.writes += 1;
        let Some(call) = self.calls.get(id) else { return };
        let stage = match call.phase {
            Phase::PersistInvite | Phase::Inviting { .. } => Stage::Dialled,
            Phase::Offered { .. } => Stage::Offered,
            Phase::PersistAccept { .. } | Phase::Accepted { .. } => Stage::Accepted,
            _ => Stage::Answered,
        };
        let via = match (&call.side, stage) {
            (Side::Caller(outgoing), _) => outgoing.via.clone(),
            (Side::Callee(incoming), Stage::Offered | Stage::Accepted) => {
                let way = self.flow_of(&incoming.key).map(|flow| flow.remote);
                way.map(|to| respond::vias(&incoming.request, to).join(", ")).unwrap_or_default()
            }
            _ => String::new(),
        };
        let line = call.line.and_then(|l| self.config.lines.get(l)).map(|l| l.number.to_string());
        let record = call.dialog.record(stage, via, &line.unwrap_or_default());
        let answer = match &call.phase {
            Phase::PersistAnswer { answer: Ok(answer), hang_up: false, .. } => Some(Box::new(answer.clone())),
            _ => None,
        };
        self.out.push_back(Output::Persist { call: id, record: Some(record), answer });
    }

    pub(crate) fn invite_timeout(&mut self, now: Instant, id: CallId) {
        let Some(Phase::Inviting { cancel, .. }) = self.calls.get(id).map(|c| &c.phase) else { return };
        let failure = if *cancel == Cancel::No { CallFailure::Timeout } else { CallFailure::Cancelled };
        if failure == CallFailure::Timeout {
            self.renew_registration(now, id, 408);
        }
        self.fail(now, id, failure);
    }
}
