//! Sending requests: Via, branch, transaction, credentials.

use super::UserAgent;
use crate::call::CallId;
use crate::config::REQUEST_MAX;
use crate::digest::Request;
use crate::message::Writer;
use crate::notice::NoticeKind;
use crate::output::{Event, Output};
use crate::target::Target;
use crate::transaction::{ClientTransaction, Owner};
use crate::transport::{Flow, Transport};
use sipsec_net::Instant;
use std::net::SocketAddr;
use std::sync::Arc;

impl UserAgent {
    /// Sends over a flow; a connection that is gone is opened anew.
    pub(crate) fn transmit(&mut self, flow: Flow, bytes: Vec<u8>) {
        let gone = flow.transport.is_reliable() && !flow.id.is_accepted() && !self.flows.is_open(flow.id);
        let flow = if gone { self.connection(flow.transport, flow.local, flow.remote) } else { Some(flow) };
        if let Some(flow) = flow {
            self.out.push_back(Output::Transmit { flow, bytes });
        }
    }

    /// The way to a target; `None` without an address of its family.
    pub(crate) fn flow_to(&mut self, target: &Target) -> Option<Flow> {
        let local = self.locals.towards(target.addr)?;
        if target.transport.is_reliable() {
            return self.connection(target.transport, local, target.addr);
        }
        Some(Flow::udp(local, target.addr))
    }

    pub(super) fn connection(
        &mut self,
        transport: Transport,
        local: SocketAddr,
        remote: SocketAddr,
    ) -> Option<Flow> {
        let (flow, opens) = self.flows.towards(transport, local, remote)?;
        if opens {
            let mut known = self.registrars.iter().chain(self.proxies.iter());
            let name = known.find(|t| t.addr == remote).and_then(|t| t.name.clone());
            self.out.push_back(Output::Open { flow, name });
        }
        Some(flow)
    }

    pub(crate) const fn reaches(&self, target: &Target) -> bool {
        self.locals.towards(target.addr).is_some()
    }

    /// Where REGISTER goes now.
    pub(crate) fn registrar(&self, now: Instant) -> Option<Target> {
        self.registrars.pick(now, |t| self.reaches(t)).cloned()
    }

    /// Where a new call goes: to where its line is registered, if that server takes calls.
    pub(crate) fn proxy(&self, now: Instant, line: usize) -> Option<Target> {
        let all = if self.proxies.is_empty() { &self.registrars } else { &self.proxies };
        let registered = self.registrations.get(line).and_then(|r| r.target());
        let here = registered.filter(|t| all.contains(t) && self.reaches(t));
        here.or_else(|| all.pick(now, |t| self.reaches(t))).cloned()
    }

    pub(crate) fn event(&mut self, event: Event) {
        self.out.push_back(Output::Event(event));
    }

    pub(crate) fn notice(&mut self, now: Instant, kind: NoticeKind, what: impl FnOnce() -> String) {
        if let Some(notice) = self.notices.note(now, kind, what) {
            self.event(Event::Notice(notice));
        }
    }

    pub(crate) fn token(&mut self) -> String {
        let mut b = [0; 8];
        self.entropy.fill(&mut b);
        format!("{:016x}", u64::from_be_bytes(b))
    }

    /// RFC 3261 §8.1.1.7: unique, and beginning with the cookie.
    pub(crate) fn branch(&mut self) -> String {
        format!("z9hG4bK{}", self.token())
    }

    pub(crate) fn via(&self, flow: &Flow, branch: &str) -> String {
        crate::transport::via::write(flow, branch, self.config.rport)
    }

    pub(crate) fn contact(&self, line: Option<usize>, flow: &Flow) -> String {
        let (local, transport) = (flow.local, flow.transport.uri_param());
        match line.and_then(|l| self.contact_users.get(l)) {
            Some(user) if !user.is_empty() => format!("<sip:{user}@{local}{transport}>"),
            _ => format!("<sip:{local}{transport}>"),
        }
    }

    /// Sends a request in a new transaction.
    pub(crate) fn start(
        &mut self,
        now: Instant,
        branch: &str,
        method: &'static str,
        owner: Owner,
        bytes: Vec<u8>,
        flow: Flow,
    ) -> Arc<str> {
        if bytes.len() > REQUEST_MAX {
            self.stats.oversize += 1;
            self.notice(now, NoticeKind::Oversize, || format!("{method} of {} bytes", bytes.len()));
        }
        let (flow, bytes, by_udp) = match bytes.len() {
            ..=REQUEST_MAX => (flow, bytes, None),
            _ => self.by_size(now, flow, bytes),
        };
        let patience = self.patience(now, owner, &flow);
        let mut t = ClientTransaction::new(method, owner, bytes.clone(), flow);
        t.by_udp = by_udp;
        t.spread(branch);
        let effects = t.start(now);
        t.hurry(now + patience);
        if effects.send {
            self.transmit(flow, bytes);
        }
        self.remember(branch, method, t)
    }

    pub(crate) fn remember(&mut self, branch: &str, method: &str, t: ClientTransaction) -> Arc<str> {
        let key = client_key(branch, method);
        self.clients.insert(key.clone(), t);
        self.rearm_client(&key);
        key
    }

    /// A request inside a dialog, with the credentials that are known, in a new transaction. `false` without an address.
    pub(crate) fn send_in_dialog(
        &mut self,
        now: Instant,
        id: CallId,
        method: &'static str,
        owner: Owner,
        more: impl FnOnce(&mut Writer),
        body: Option<&str>,
    ) -> bool {
        let branch = self.branch();
        let Some(dest) = self.calls.get(id).map(|c| c.dialog.dest()) else { return false };
        let Some(flow) = self.flow_to(&dest) else { return false };
        let via = self.via(&flow, &branch);
        let Self { config, entropy, calls, .. } = self;
        let Some(c) = calls.get_mut(id) else { return false };
        c.dialog.local_cseq += 1;
        let mut w = c.dialog.request(method, c.dialog.local_cseq, &via);
        let who = config.credentials(c.line);
        // RFC 3261 §22.4: the digest is over the Request-URI, which a strict router has changed.
        let uri = w.uri().to_owned();
        let request = Request { method, uri: &uri, body: body.unwrap_or_default().as_bytes() };
        for (name, value) in c.auth.headers(who, request, &mut **entropy) {
            w.header(name, value);
        }
        more(&mut w);
        let key = self.start(now, &branch, method, owner, w.finish(body), flow);
        let Self { calls, clients, .. } = self;
        if let Some(c) = calls.get_mut(id) {
            match owner {
                Owner::Bye(_) => c.bye = Some(key),
                Owner::Refresh(_) => {
                    c.refreshes.retain(|k| clients.get(k).is_some_and(ClientTransaction::pending));
                    c.refreshes.push(key);
                }
                _ => {}
            }
        }
        true
    }
}

/// RFC 3261 §17.1.3: the branch and the method of CSeq; CANCEL shares its INVITE's branch (§9.1). A peer that writes them back
/// in another case has answered all the same (§7.3.1).
pub fn client_key(branch: &str, method: &str) -> Arc<str> {
    let mut key = format!("{branch} {method}");
    key.make_ascii_lowercase();
    key.into()
}
