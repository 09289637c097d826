//! The INVITE transactions of a stateful proxy (RFC 3261 §16, §17 and RFC 6026): what survives loss on either side.

use super::config::{T1, T2, T4, T64, TIMER_C, TRANSACTIONS_MAX, take};
use super::core::Carrier;
use super::message::{Message, param, response_address};
use super::proxy::FORK;
use super::rewrite::{self, Rewrite};
use sipsec_net::Instant;
use std::collections::HashMap;
use std::net::SocketAddr;
use std::time::Duration;

#[derive(Debug)]
pub(super) enum State {
    /// Held back by a knob.
    Held,
    /// Sent on, nothing heard: retransmitted (Timer A, B).
    Calling,
    /// A provisional response came (Timer C).
    Proceeding,
    /// A final response other than 2xx went to the caller: retransmitted until ACK (Timer G, H).
    Completed(Message),
    /// ACK came (Timer I), or a 2xx passed (RFC 6026 §7.2, Timer L); retransmissions are absorbed.
    Done,
}

#[derive(Debug)]
pub(super) struct Invite {
    /// As received, for responses of our own.
    pub request: Message,
    /// As sent on.
    pub forwarded: Message,
    pub target: SocketAddr,
    pub state: State,
    /// When something has to be sent again, and how long after that the next time.
    pub resend: Option<(Instant, Duration)>,
    /// When the state ends by itself.
    pub deadline: Instant,
    /// The caller gave up; `Some(true)` once our CANCEL has gone.
    pub cancel: Option<bool>,
    /// What happens to the SDP of the answer.
    pub answer: Vec<Rewrite>,
}

/// By our own branch; `by_upstream` finds them by the caller's.
#[derive(Debug, Default)]
pub(super) struct Transactions {
    by_branch: HashMap<String, Invite>,
    by_upstream: HashMap<String, String>,
}

/// RFC 3261 §17.2.3: branch and sent-by of the top Via.
pub(super) fn upstream_key(message: &Message) -> String {
    let via = message.list("Via").into_iter().next().unwrap_or_default();
    let sent_by = via.split_whitespace().nth(1).and_then(|s| s.split(';').next()).unwrap_or_default();
    format!("{} {sent_by}", param(&via, "branch").unwrap_or_default())
}

impl Transactions {
    pub fn insert(&mut self, branch: String, invite: Invite) -> bool {
        if self.by_branch.len() >= TRANSACTIONS_MAX {
            return false;
        }
        self.by_upstream.insert(upstream_key(&invite.request), branch.clone());
        self.by_branch.insert(branch, invite);
        true
    }

    pub fn by_upstream(&mut self, key: &str) -> Option<(&str, &mut Invite)> {
        let branch = self.by_upstream.get(key)?;
        Some((branch, self.by_branch.get_mut(branch)?))
    }

    pub fn by_branch(&mut self, branch: &str) -> Option<&mut Invite> {
        self.by_branch.get_mut(branch)
    }

    fn remove(&mut self, branch: &str) -> Option<Invite> {
        let invite = self.by_branch.remove(branch)?;
        self.by_upstream.remove(&upstream_key(&invite.request));
        Some(invite)
    }

    pub fn next_deadline(&self) -> Option<Instant> {
        self.by_branch.values().map(|t| t.resend.map_or(t.deadline, |(at, _)| at.min(t.deadline))).min()
    }

    fn due(&self, now: Instant) -> Vec<String> {
        self.by_branch
            .iter()
            .filter(|(_, t)| t.deadline <= now || t.resend.is_some_and(|(at, _)| at <= now))
            .map(|(b, _)| b.clone())
            .collect()
    }
}

impl Invite {
    /// RFC 3261 §9.1: CANCEL has the branch, Request-URI, From, To, Call-ID and CSeq number of what it cancels.
    fn cancel_message(&self) -> Message {
        let mut out = self.forwarded.clone();
        if let super::message::Start::Request { method, .. } = &mut out.start {
            *method = "CANCEL".into();
        }
        out.body.clear();
        let keep = ["Via", "From", "To", "Call-ID", "CSeq", "Max-Forwards", "Route"];
        let top = out.list("Via").into_iter().next();
        out.headers.retain(|(n, _)| keep.iter().any(|k| n.eq_ignore_ascii_case(k)));
        out.set_list("Via", top.into_iter().collect());
        out.set("CSeq", format!("{} CANCEL", self.forwarded.cseq_number()));
        out
    }

    /// RFC 3261 §17.1.1.3: ACK for a final response other than 2xx.
    fn ack_message(&self, response: &Message) -> Message {
        let mut out = self.cancel_message();
        if let super::message::Start::Request { method, .. } = &mut out.start {
            *method = "ACK".into();
        }
        out.set("CSeq", format!("{} ACK", self.forwarded.cseq_number()));
        if let Some(to) = response.header("To") {
            out.set("To", to.to_owned());
        }
        out
    }
}

/// The 2xx of a second called side.
fn forked(response: &Message) -> Message {
    let mut fork = response.clone();
    let to = response.header("To").unwrap_or_default().to_owned();
    let tag = param(&to, "tag").unwrap_or_default().to_owned();
    fork.set("To", to.replace(&tag, &format!("{tag}{FORK}")));
    fork
}

impl Carrier {
    /// Sends the INVITE on, now or when its knob lets it go.
    pub(super) fn start_invite(&mut self, now: Instant, branch: String, mut invite: Invite, hold: Duration) {
        let trying = invite.request.response(100, "Trying", "");
        let upstream = response_address(invite.request.header("Via").unwrap_or_default());
        let (forwarded, target) = (invite.forwarded.clone(), invite.target);
        let held = !hold.is_zero();
        if held {
            invite.state = State::Held;
            invite.resend = None;
            invite.deadline = now + hold;
        }
        let request = invite.request.clone();
        if !self.transactions.insert(branch, invite) {
            self.stats.transactions_refused += 1;
            return self.reply(&request, 503, "Service Unavailable", &[("Retry-After", "10".into())]);
        }
        if let Some(upstream) = upstream {
            self.transmit(upstream, &trying);
        }
        if !held {
            self.transmit(target, &forwarded);
        }
    }

    pub(super) fn new_invite(
        now: Instant,
        request: Message,
        forwarded: Message,
        target: SocketAddr,
        answer: Vec<Rewrite>,
    ) -> Invite {
        Invite {
            request,
            forwarded,
            target,
            state: State::Calling,
            resend: Some((now + T1, T1 * 2)),
            deadline: now + T64,
            cancel: None,
            answer,
        }
    }

    /// An INVITE that we have seen before.
    pub(super) fn invite_again(&mut self, key: &str) {
        self.stats.retransmitted += 1;
        let Some((_, invite)) = self.transactions.by_upstream(key) else { return };
        let response = match &invite.state {
            State::Held | State::Calling | State::Proceeding => invite.request.response(100, "Trying", ""),
            State::Completed(response) => response.clone(),
            State::Done => return,
        };
        if let Some(to) = response_address(response.header("Via").unwrap_or_default()) {
            self.transmit(to, &response);
        }
    }

    /// ACK for a final response other than 2xx: it ends here. False if it belongs to another transaction.
    pub(super) fn ack_absorbed(&mut self, now: Instant, ack: &Message) -> bool {
        let Some((_, invite)) = self.transactions.by_upstream(&upstream_key(ack)) else { return false };
        if matches!(invite.state, State::Completed(_)) {
            invite.state = State::Done;
            invite.resend = None;
            invite.deadline = now + T4;
        }
        true
    }

    /// RFC 3261 §16.10. False if there is nothing to cancel.
    pub(super) fn cancel(&mut self, now: Instant, cancel: &Message) -> bool {
        let Some((branch, invite)) = self.transactions.by_upstream(&upstream_key(cancel)) else {
            return false;
        };
        let branch = branch.to_owned();
        let held = matches!(invite.state, State::Held);
        let late = self.config.knobs.faults.late_cancel;
        let ringing = matches!(invite.state, State::Proceeding) && invite.cancel.is_none() && !late;
        if !held && matches!(invite.state, State::Calling | State::Proceeding) && invite.cancel.is_none() {
            // RFC 3261 §9.1: not before a provisional response.
            invite.cancel = Some(false);
        }
        self.reply(cancel, 200, "OK", &[]);
        if held {
            self.finish_locally(now, &branch, 487, "Request Terminated");
        } else if ringing {
            self.send_cancel(now, &branch);
        }
        true
    }

    fn send_cancel(&mut self, now: Instant, branch: &str) {
        let Some(invite) = self.transactions.by_branch(branch) else { return };
        invite.cancel = Some(true);
        invite.resend = Some((now + T1, T1 * 2));
        invite.deadline = now + T64;
        let (message, target) = (invite.cancel_message(), invite.target);
        self.transmit(target, &message);
    }

    /// A final response of our own to the caller.
    pub(super) fn finish_locally(&mut self, now: Instant, branch: &str, status: u16, reason: &str) {
        let Some(invite) = self.transactions.by_branch(branch) else { return };
        let request = invite.request.clone();
        let response = self.local_response(&request, status, reason, &[]);
        self.finish(now, branch, response);
    }

    pub(super) fn finish(&mut self, now: Instant, branch: &str, response: Message) {
        self.biller.final_response(now, &response);
        self.relay_end(response.header("Call-ID").unwrap_or_default());
        if let Some(to) = response_address(response.header("Via").unwrap_or_default()) {
            self.transmit(to, &response);
        }
        if let Some(invite) = self.transactions.by_branch(branch) {
            invite.state = State::Completed(response);
            invite.resend = Some((now + T1, T1 * 2));
            invite.deadline = now + T64;
        }
    }

    /// A response to an INVITE that we sent on; `response` has our Via off already.
    pub(super) fn invite_response(&mut self, now: Instant, branch: &str, mut response: Message) {
        let linger = self.linger(now);
        let late = self.config.knobs.faults.late_cancel;
        let Some(invite) = self.transactions.by_branch(branch) else { return };
        let upstream = response_address(response.header("Via").unwrap_or_default());
        match response.status().unwrap_or_default() {
            100..=199 => {
                if !matches!(invite.state, State::Calling | State::Proceeding) {
                    return;
                }
                let cancel_now = invite.cancel == Some(false) && !late;
                if invite.cancel != Some(true) {
                    invite.state = State::Proceeding;
                    invite.resend = None;
                    invite.deadline = now + TIMER_C;
                }
                // RFC 3261 §16.7 step 2: 100 is hop by hop.
                if response.status() != Some(100)
                    && let Some(to) = upstream
                {
                    self.transmit(to, &response);
                }
                if cancel_now {
                    self.send_cancel(now, branch);
                }
            }
            200..=299 => {
                if take(&mut self.config.knobs.faults.lost_200) {
                    self.stats.retransmitted += 1;
                    return;
                }
                // Also after CANCEL: the caller has to see it, ACK it and hang up. Also again: it retransmits until ACK.
                invite.state = State::Done;
                invite.resend = None;
                invite.deadline = linger;
                self.biller.final_response(now, &response);
                let (late_cancel, target) = (invite.cancel == Some(false), invite.target);
                let (rewrites, cancel) = (invite.answer.clone(), invite.cancel_message());
                if late_cancel {
                    invite.cancel = Some(true);
                }
                let call_id = response.header("Call-ID").unwrap_or_default().to_owned();
                response.body = self.relay_answer(&call_id, &response.body);
                response.body = rewrite::apply(&rewrites, &response.body);
                if self.held_offers.contains_key(&call_id) {
                    response.body = rewrite::apply(&[Rewrite::Setup("passive")], &response.body);
                }
                if let Some(to) = upstream {
                    self.transmit(to, &response);
                    if take(&mut self.config.knobs.faults.forked_200) {
                        let fork = forked(&response);
                        self.transmit(to, &fork);
                    }
                }
                if late_cancel {
                    self.transmit(target, &cancel);
                }
            }
            _ => {
                let (ack, target) = (invite.ack_message(&response), invite.target);
                let first = matches!(invite.state, State::Calling | State::Proceeding);
                self.transmit(target, &ack);
                if first {
                    self.finish(now, branch, response);
                }
            }
        }
    }

    pub(super) fn transaction_timeouts(&mut self, now: Instant) {
        for branch in self.transactions.due(now) {
            let Some(invite) = self.transactions.by_branch(&branch) else { continue };
            if invite.deadline <= now {
                match invite.state {
                    State::Held => {
                        invite.state = State::Calling;
                        invite.resend = Some((now + T1, T1 * 2));
                        invite.deadline = now + T64;
                        let (message, target) = (invite.forwarded.clone(), invite.target);
                        self.transmit(target, &message);
                    }
                    State::Calling => self.finish_locally(now, &branch, 408, "Request Timeout"),
                    State::Proceeding if invite.cancel == Some(true) => {
                        self.finish_locally(now, &branch, 487, "Request Terminated");
                    }
                    State::Proceeding => self.send_cancel(now, &branch),
                    State::Completed(_) | State::Done => {
                        self.transactions.remove(&branch);
                    }
                }
                continue;
            }
            let Some((_, interval)) = invite.resend else { continue };
            self.stats.retransmitted += 1;
            let (again, to, next) = match &invite.state {
                State::Calling => (invite.forwarded.clone(), Some(invite.target), interval * 2),
                State::Proceeding => (invite.cancel_message(), Some(invite.target), (interval * 2).min(T2)),
                State::Completed(response) => {
                    let to = response_address(response.header("Via").unwrap_or_default());
                    (response.clone(), to, (interval * 2).min(T2))
                }
                State::Held | State::Done => continue,
            };
            invite.resend = Some((now + interval, next));
            if let Some(to) = to {
                self.transmit(to, &again);
            }
        }
    }
}
