//! What follows when a server does not answer, or a connection ends (RFC 3263 §4.3, RFC 3261 §18.4).

use super::UserAgent;
use crate::config::{NO_TCP, T64};
use crate::message::{NameAddr, host_addr};
use crate::output::Output;
use crate::state::{CallState, Cancel, Phase};
use crate::target::Target;
use crate::transaction::{ClientTransaction, Owner};
use crate::transport::via::reply_without_connection;
use crate::transport::{Flow, FlowId, Transport};
use sipsec_net::Instant;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

/// Servers without TCP that are remembered.
const NO_TCP_MAX: usize = 64;

impl UserAgent {
    /// A connection was closed, or could not be opened.
    pub fn handle_flow_closed(&mut self, now: Instant, id: FlowId, reason: &str) {
        let closed = self.flows.close(id);
        // RFC 3261 §18.2.2: responses find their way without the connection of their request.
        for t in self.servers.values_mut().filter(|t| t.flow.id == id) {
            t.flow = reply_without_connection(&t.flow, t.sent_by_port);
        }
        for call in self.calls.ids() {
            if self.calls.get(call).is_some_and(|c| c.answering.as_ref().is_some_and(|a| a.flow.id == id))
                && let Some(a) = self.calls.get_mut(call).and_then(|c| c.answering.as_mut())
            {
                a.flow = reply_without_connection(&a.flow, a.sent_by_port);
            }
        }
        let worked = closed.is_some_and(|(_, proved)| proved);
        let of_flow = |(_, t): &(&Arc<str>, &ClientTransaction)| t.flow.id == id && t.pending();
        let keys: Vec<_> = self.clients.iter().filter(of_flow).map(|(key, _)| key.clone()).collect();
        for key in keys {
            self.connection_failed(now, &key, worked, reason);
        }
        if let Some((flow, true)) = closed {
            self.renew_over(now, &flow);
        }
        self.settle();
    }

    /// A request has lost its connection before its answer.
    fn connection_failed(&mut self, now: Instant, key: &Arc<str>, worked: bool, reason: &str) {
        let Some(t) = self.clients.get_mut(key) else { return };
        let (owner, flow) = (t.owner, t.flow);
        // RFC 3261 §18.1.1: by UDP, where TCP was chosen for the size alone.
        if let Some((udp, bytes)) = t.by_udp.take() {
            let sends = t.restart(now, udp, bytes.clone()).send;
            if !worked {
                self.no_tcp.retain(|_, until| *until > now);
                if self.no_tcp.len() < NO_TCP_MAX {
                    self.no_tcp.insert(flow.remote, now + NO_TCP);
                }
            }
            if sends {
                self.transmit(udp, bytes);
            }
            return self.rearm_client(key);
        }
        // A server closes a connection that was idle just as a request comes: once more, over a new one.
        if worked && !t.resent {
            t.resent = true;
            let bytes = t.bytes.clone();
            if let Some(new) = self.connection(flow.transport, flow.local, flow.remote) {
                if let Some(t) = self.clients.get_mut(key) {
                    t.flow = new;
                }
                self.out.push_back(Output::Transmit { flow: new, bytes });
                return;
            }
        }
        self.clients.remove(key);
        self.rearm_client(key);
        if self.fail_over(now, owner, &flow, None) {
            return;
        }
        match owner {
            Owner::Register(line) => {
                let why = format!("no connection to {}: {reason}", flow.remote);
                self.register_failed(now, line, why, None);
            }
            other => self.timed_out(now, other),
        }
    }

    /// RFC 5626 §4.4: lines that were registered over a connection that ended register again.
    fn renew_over(&mut self, now: Instant, flow: &Flow) {
        for line in 0..self.registrations.len() {
            let of_flow = |t: &Target| (t.transport, t.addr) == (flow.transport, flow.remote);
            if self.registrations[line].target().is_some_and(of_flow) {
                self.renew_lost(now, line);
            }
        }
    }

    /// The server of a request did not answer, or answered 503: once more to another, if there is one that may work.
    /// `true` if the request went there.
    pub(crate) fn fail_over(
        &mut self,
        now: Instant,
        owner: Owner,
        flow: &Flow,
        retry_after: Option<Duration>,
    ) -> bool {
        // After a provisional response a 503 is the called side's answer, and says nothing of the server.
        let at_work = |c: &CallState| matches!(c.phase, Phase::Inviting { provisional: true, .. });
        if matches!(owner, Owner::Invite(call) if self.calls.get(call).is_some_and(at_work)) {
            return false;
        }
        let failed = (flow.transport, flow.remote);
        let silent = |call: &CallState| call.dialog.dest();
        self.registrars.failed(now, failed, retry_after);
        self.proxies.failed(now, failed, retry_after);
        let next = match owner {
            Owner::Register(_) => self.registrars.up(now, |t| self.reaches(t)).cloned(),
            Owner::Invite(_) | Owner::Refresh(_) | Owner::Bye(_) => {
                let all = if self.proxies.is_empty() { &self.registrars } else { &self.proxies };
                all.up(now, |t| self.reaches(t)).cloned()
            }
            Owner::Options(_) | Owner::Cancel(_) | Owner::Prack(_) => None,
        };
        let Some(next) = next else { return false };
        let went = match owner {
            Owner::Register(line) => {
                self.register(now, line);
                true
            }
            Owner::Invite(call) => self.invite_elsewhere(now, call, next),
            Owner::Bye(call) if self.calls.get(call).is_some_and(|c| silent(c).addr == flow.remote) => {
                let leaving = matches!(self.calls.get(call).map(|c| &c.phase), Some(Phase::Leaving));
                leaving && {
                    self.move_dialog(call, flow.remote, next);
                    self.bye(now, call);
                    true
                }
            }
            Owner::Refresh(call) if self.calls.get(call).is_some_and(|c| silent(c).addr == flow.remote) => {
                let up = matches!(self.calls.get(call).map(|c| &c.phase), Some(Phase::Established));
                up && {
                    self.move_dialog(call, flow.remote, next);
                    self.refresh(now, call, false);
                    true
                }
            }
            _ => false,
        };
        self.stats.failed_over += u64::from(went);
        went
    }

    /// An INVITE that nothing has answered goes to another server: the same request (RFC 3263 §4.3), so that one that
    /// arrived twice makes one call (RFC 3261 §8.2.2.2).
    fn invite_elsewhere(&mut self, now: Instant, id: crate::call::CallId, next: Target) -> bool {
        let waits =
            |c: &CallState| matches!(c.phase, Phase::Inviting { provisional: false, cancel: Cancel::No, .. });
        if !self.calls.get(id).is_some_and(waits) {
            // A 503 after a provisional response is the call's answer.
            return false;
        }
        let branch = self.branch();
        let Some(flow) = self.flow_to(&next) else { return false };
        let via = self.via(&flow, &branch);
        let Some(call) = self.calls.get_mut(id) else { return false };
        // The service route led through the server that failed.
        (call.dialog.target, call.dialog.route_set) = (next, Vec::new());
        let Some(outgoing) = call.outgoing_mut() else { return false };
        (outgoing.branch, outgoing.via) = (branch, via);
        outgoing.early.clear();
        call.phase = Phase::PersistInvite;
        self.renew_of_call(now, id);
        self.persist(id);
        true
    }

    /// The line of a call is registered where its server failed.
    fn renew_of_call(&mut self, now: Instant, id: crate::call::CallId) {
        if let Some(line) = self.calls.get(id).and_then(|c| c.line) {
            self.renew(now, line);
        }
    }

    /// Requests inside the call go through another server. A route that names the failed one by its address leads nowhere.
    fn move_dialog(&mut self, id: crate::call::CallId, failed: SocketAddr, next: Target) {
        let Some(call) = self.calls.get_mut(id) else { return };
        let first =
            call.dialog.route_set.first().and_then(|r| NameAddr::parse(r)).and_then(|r| host_addr(r.uri));
        if first.is_some_and(|a| a.ip() == failed.ip()) {
            call.dialog.route_set.remove(0);
        }
        call.dialog.target = next;
        self.persist(id);
    }

    pub(crate) fn server_answered(&mut self, flow: &Flow) {
        let at = (flow.transport, flow.remote);
        self.registrars.answered(at);
        self.proxies.answered(at);
    }

    /// RFC 3261 §18.1.1: a large request goes over TCP, unless TCP was refused there. Gives the request and its way, and
    /// what goes by UDP if TCP is refused.
    #[expect(clippy::type_complexity, reason = "the way and the request, twice")]
    pub(super) fn by_size(
        &mut self,
        now: Instant,
        flow: Flow,
        bytes: Vec<u8>,
    ) -> (Flow, Vec<u8>, Option<(Flow, Vec<u8>)>) {
        const UDP: &[u8] = b"\r\nVia: SIP/2.0/UDP ";
        let refused = self.no_tcp.get(&flow.remote).is_some_and(|until| *until > now);
        let at = bytes.windows(UDP.len()).position(|w| w == UDP);
        let (false, Some(at)) = (refused || flow.transport != Transport::Udp, at) else {
            return (flow, bytes, None);
        };
        let Some(tcp) = self.connection(Transport::Tcp, flow.local, flow.remote) else {
            return (flow, bytes, None);
        };
        let mut over_tcp = bytes.clone();
        let transport = at + UDP.len() - 4;
        over_tcp[transport..transport + 3].copy_from_slice(b"TCP");
        (tcp, over_tcp, Some((flow, bytes)))
    }

    /// How long a request waits for its first answer: less than timers B and F where another server could be tried.
    pub(super) fn patience(&self, now: Instant, owner: Owner, flow: &Flow) -> Duration {
        let all = match owner {
            Owner::Register(_) | Owner::Options(_) => &self.registrars,
            Owner::Cancel(_) | Owner::Prack(_) => return T64,
            _ if self.proxies.is_empty() => &self.registrars,
            _ => &self.proxies,
        };
        let other = |t: &Target| (t.transport, t.addr) != (flow.transport, flow.remote) && self.reaches(t);
        if all.up(now, other).is_some() { crate::config::FAIL_OVER } else { T64 }
    }
}
