//! Reliable provisional responses (RFC 3262): each is acknowledged, in order, in its early dialog.

use crate::call::CallId;
use crate::config::EARLY_MAX;
use crate::message::Message;
use crate::state::Early;
use crate::transaction::Owner;
use crate::ua::UserAgent;
use sipsec_net::Instant;

impl UserAgent {
    pub(super) fn acknowledge_provisional(&mut self, now: Instant, id: CallId, m: &Message) {
        let Some(rseq) = m.seconds("RSeq").filter(|n| *n > 0) else { return };
        let branch = self.branch();
        let Some(local) = self.local else { return };
        let via = self.via(local, &branch);
        let Self { config, entropy, calls, .. } = self;
        let Some(call) = calls.get_mut(id) else { return };
        let dialog = call.dialog.confirmed(m);
        let who = config.credentials(call.line);
        let crate::state::Side::Caller(outgoing) = &mut call.side else { return };
        let at = match outgoing.early.iter().position(|e| e.dialog.remote_tag == dialog.remote_tag) {
            // §4: a repetition, or one whose predecessor is missing, is not acknowledged.
            Some(at) if outgoing.early[at].rseq.checked_add(1) != Some(rseq) => return,
            Some(at) => at,
            None if outgoing.early.len() >= EARLY_MAX => return,
            None => {
                outgoing.early.push(Early { dialog, rseq, body: Vec::new() });
                outgoing.early.len() - 1
            }
        };
        let early = &mut outgoing.early[at];
        early.rseq = rseq;
        if early.body.is_empty() {
            early.body.clone_from(&m.body);
        }
        early.dialog.local_cseq += 1;
        let mut w = early.dialog.request("PRACK", early.dialog.local_cseq, &via);
        for (name, value) in call.auth.headers(who, "PRACK", &early.dialog.remote_target, &mut **entropy) {
            w.header(name, value);
        }
        w.header("RAck", format_args!("{rseq} {} INVITE", outgoing.cseq));
        let (bytes, dest) = (w.finish(None), early.dialog.dest());
        self.start(now, &branch, "PRACK", Owner::Prack(id), bytes, dest);
    }
}
