//! Sending requests: Via, branch, transaction, credentials.

use super::UserAgent;
use crate::call::CallId;
use crate::config::REQUEST_MAX;
use crate::digest::Request;
use crate::message::Writer;
use crate::notice::NoticeKind;
use crate::output::{Event, Output};
use crate::transaction::{ClientTransaction, Owner};
use sipsec_net::Instant;
use std::net::SocketAddr;
use std::sync::Arc;

impl UserAgent {
    pub(crate) fn transmit(&mut self, to: SocketAddr, bytes: Vec<u8>) {
        self.out.push_back(Output::Transmit { to, bytes });
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

    pub(crate) fn via(&self, local: SocketAddr, branch: &str) -> String {
        let rport = if self.config.rport { ";rport" } else { "" };
        format!("SIP/2.0/UDP {local};branch={branch}{rport}")
    }

    pub(crate) fn contact(&self, line: Option<usize>, local: SocketAddr) -> String {
        match line.and_then(|l| self.config.lines.get(l)) {
            Some(line) => format!("<sip:{}@{local}>", line.number),
            None => format!("<sip:{local}>"),
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
        dest: SocketAddr,
    ) -> Arc<str> {
        if bytes.len() > REQUEST_MAX {
            self.stats.oversize += 1;
            self.notice(now, NoticeKind::Oversize, || format!("{method} of {} bytes", bytes.len()));
        }
        let mut t = ClientTransaction::new(method, owner, bytes.clone(), dest);
        t.spread(branch);
        if t.start(now).send {
            self.transmit(dest, bytes);
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
        let Some(local) = self.local else { return false };
        let via = self.via(local, &branch);
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
        let dest = c.dialog.dest();
        let key = self.start(now, &branch, method, owner, w.finish(body), dest);
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

/// RFC 3261 §17.1.3: the branch and the method of CSeq; CANCEL shares its INVITE's branch (§9.1).
pub fn client_key(branch: &str, method: &str) -> Arc<str> {
    format!("{branch} {method}").into()
}
