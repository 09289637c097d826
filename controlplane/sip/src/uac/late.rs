//! 2xx that come outside the INVITE's transaction: repeated, from another fork, or after the call was given up. Each of
//! them means a call that is charged, so each is acknowledged and, unless it is the call's own, hung up.

use crate::auth::Auth;
use crate::call::CallId;
use crate::config::PERSIST_MAX;
use crate::message::Message;
use crate::output::CallFailure;
use crate::reason::Reason;
use crate::sdp::Media;
use crate::state::{CallState, Outgoing, Phase, Side};
use crate::ua::UserAgent;
use sipsec_net::Instant;

impl UserAgent {
    pub(crate) fn late_answer(&mut self, now: Instant, m: &Message) {
        let of_invite = self
            .calls
            .with_call_id(m.call_id())
            .filter(|(_, c)| c.outgoing().is_some() && m.from_tag() == Some(c.dialog.local_tag.as_str()));
        let (mut parent, mut own) = (None, None);
        for (id, call) in of_invite {
            parent = parent.or(Some(id));
            let answered = matches!(call.phase, Phase::PersistAnswer { .. })
                || call.outgoing().is_some_and(|o| o.ack.is_some());
            if answered && call.dialog.remote_tag.as_deref() == m.to_tag() {
                own = Some(call);
            }
        }
        match (parent, own) {
            (Some(id), Some(call)) if call.detached && matches!(call.phase, Phase::PersistAnswer { .. }) => {
                // Nobody may tell of the record of a call of an earlier life; by now it had the time of a repetition.
                self.persisted(now, id);
            }
            (_, Some(call)) => {
                // RFC 3261 §13.2.2.4: every repetition is acknowledged again; before the first ACK it waits for the record.
                let dest = call.dialog.dest();
                if let Some(ack) = call.outgoing().and_then(|o| o.ack.clone()) {
                    self.transmit(dest, ack);
                }
            }
            (Some(parent), None) => self.hang_up_fork(now, parent, m),
            (None, None) => self.stats.stray_responses += 1,
        }
    }

    /// RFC 6193 §5.3: a second answering party is illegal. ACK, then BYE, in its own dialog, once its record is durable.
    fn hang_up_fork(&mut self, now: Instant, parent: CallId, m: &Message) {
        self.stats.forked += 1;
        if self.calls.full() {
            // §13.3.1.4: without an ACK the answering side hangs up by itself.
            return;
        }
        let Some(first) = self.calls.get(parent) else { return };
        let Some(outgoing) = first.outgoing() else { return };
        let mut dialog = first.dialog.confirmed(m);
        // RFC 3261 §12.2.1.1: beyond what its early dialog, or a process that is gone, may have sent.
        if let Some(early) = outgoing.early.iter().find(|e| e.dialog.remote_tag == dialog.remote_tag) {
            dialog.local_cseq = dialog.local_cseq.max(early.dialog.local_cseq);
        }
        let outgoing = Outgoing {
            branch: String::new(),
            via: String::new(),
            cseq: m.cseq_number(),
            // RFC 3261 §22.1: the ACK has those of its INVITE.
            credentials: if m.cseq_number() == outgoing.cseq {
                outgoing.credentials.clone()
            } else {
                Vec::new()
            },
            ack: None,
            early: Vec::new(),
            min_se_s: outgoing.min_se_s,
        };
        let line = first.line;
        let fork = self.calls.insert(CallState {
            line,
            dialog,
            phase: Phase::PersistAnswer {
                answer: Err(CallFailure::Cancelled),
                hang_up: true,
                until: now + PERSIST_MAX,
            },
            side: Side::Caller(outgoing),
            media: Media::None,
            auth: Auth::default(),
            answering: None,
            timer: None,
            byes: 0,
            reason: Some(Reason::new(200, "the call was answered elsewhere, or given up")),
            detached: false,
        });
        self.persist(fork);
    }
}
