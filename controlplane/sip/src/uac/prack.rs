//! Reliable provisional responses (RFC 3262): each is acknowledged, in order, in its early dialog.

use crate::call::CallId;
use crate::dialog::Dialog;
use crate::digest::Request;
use crate::message::{Body, Message};
use crate::state::{CallState, Early, Phase, Side};
use crate::transaction::Owner;
use crate::ua::UserAgent;
use sipsec_net::Instant;

impl UserAgent {
    pub(super) fn acknowledge_provisional(&mut self, now: Instant, id: CallId, m: &Message) {
        let Some(rseq) = m.seconds("RSeq").filter(|n| *n > 0) else { return };
        let locals = self.locals;
        let reached = |c: &&mut CallState| locals.towards(c.dialog.target.addr).is_some();
        let Some(call) = self.calls.get_mut(id).filter(reached) else { return };
        let dialog = call.dialog.confirmed(m);
        let Some(early) = call.early(m) else { return };
        match early.rseq {
            // An unreliable response need not have said where requests go.
            None => {
                let (local_cseq, remote_cseq) = (early.dialog.local_cseq, early.dialog.remote_cseq);
                early.dialog = Dialog { local_cseq, remote_cseq, ..dialog };
            }
            // It comes again, for its PRACK was refused.
            Some(last) if last == rseq && early.refused => {}
            // §4: a repetition, or one whose predecessor is missing, is not acknowledged.
            Some(last) if last.checked_add(1) != Some(rseq) => return,
            Some(_) => {}
        }
        early.rseq = Some(rseq);
        early.refused = false;
        // RFC 3261 §13.2.1: what else it may carry is no answer.
        if let (true, Body::Sdp(body)) = (early.body.is_empty(), m.description()) {
            early.body = body.to_vec();
        }
        call.auth.beside();
        self.send_prack(now, id, m.to_tag());
    }

    /// RFC 3261 §22.2: once more with credentials, for the same response. After any other refusal the response
    /// comes again and is acknowledged again.
    pub(crate) fn prack_refused(&mut self, now: Instant, id: CallId, m: &Message, status: u16) {
        let Some(call) = self.calls.get_mut(id).filter(|c| matches!(c.phase, Phase::Inviting { .. })) else {
            return;
        };
        let known = self.config.credentials(call.line).is_some();
        let Side::Caller(outgoing) = &mut call.side else { return };
        // A refusal of an earlier one is of no interest.
        let last = |e: &&mut Early| {
            e.dialog.remote_tag.as_deref() == m.to_tag() && e.dialog.local_cseq == m.cseq_number()
        };
        let Some(early) = outgoing.early.iter_mut().find(last) else { return };
        if matches!(status, 401 | 407) && known && call.auth.learn(m).is_ok() {
            self.send_prack(now, id, m.to_tag());
        } else {
            early.refused = true;
        }
    }

    /// For the last response of the early dialog with this tag.
    fn send_prack(&mut self, now: Instant, id: CallId, tag: Option<&str>) {
        let branch = self.branch();
        let early = |c: &CallState| {
            let early = c.outgoing()?.early.iter().find(|e| e.dialog.remote_tag.as_deref() == tag);
            early.map(|e| e.dialog.dest())
        };
        let Some(dest) = self.calls.get(id).and_then(early) else { return };
        let Some(flow) = self.flow_to(&dest) else { return };
        let via = self.via(&flow, &branch);
        let Self { config, entropy, calls, .. } = self;
        let Some(call) = calls.get_mut(id) else { return };
        let who = config.credentials(call.line);
        let Side::Caller(outgoing) = &mut call.side else { return };
        let Some(early) = outgoing.early.iter_mut().find(|e| e.dialog.remote_tag.as_deref() == tag) else {
            return;
        };
        early.dialog.local_cseq += 1;
        let mut w = early.dialog.request("PRACK", early.dialog.local_cseq, &via);
        let uri = w.uri().to_owned();
        let request = Request { method: "PRACK", uri: &uri, body: b"" };
        for (name, value) in call.auth.headers(who, request, &mut **entropy) {
            w.header(name, value);
        }
        w.header("RAck", format_args!("{} {} INVITE", early.rseq.unwrap_or(0), outgoing.cseq));
        let bytes = w.finish(None);
        self.start(now, &branch, "PRACK", Owner::Prack(id), bytes, flow);
    }
}
