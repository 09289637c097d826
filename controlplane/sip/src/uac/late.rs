//! 2xx that come outside the INVITE's transaction: repeated, from another fork, or after the call was given up. Each of
//! them is a charged call: it is acknowledged and, unless it is the call's own, hung up.

use crate::auth::Auth;
use crate::call::CallId;
use crate::config::{ACKS_AGAIN_MAX, PERSIST_MAX};
use crate::message::Message;
use crate::output::CallFailure;
use crate::reason::Reason;
use crate::sdp::Descriptions;
use crate::state::{CallState, Outgoing, Phase, SecondBye, Side};
use crate::ua::UserAgent;
use sipsec_net::Instant;

impl UserAgent {
    pub(crate) fn late_answer(&mut self, now: Instant, m: &Message) {
        let of_invite = self
            .calls
            .with_call_id(m.call_id())
            .filter(|(_, c)| c.outgoing().is_some() && m.from_tag() == Some(c.dialog.local_tag.as_str()));
        let (mut parent, mut own, mut own_id) = (None, None, CallId(0));
        for (id, call) in of_invite {
            parent = parent.or(Some(id));
            let answered = matches!(call.phase, Phase::PersistAnswer { .. })
                || call.outgoing().is_some_and(|o| o.ack.is_some());
            if answered && call.dialog.remote_tag.as_deref() == m.to_tag() {
                (own, own_id) = (Some(call), id);
            }
        }
        match (parent, own) {
            (Some(id), Some(call)) if call.detached && matches!(call.phase, Phase::PersistAnswer { .. }) => {
                // No confirmation comes for the record of a recovered call: after one repetition of the 2xx it is taken
                // as written.
                self.persisted(now, id);
            }
            (Some(parent), Some(call)) => {
                let unknown = call.outgoing().is_some_and(|o| o.second_bye == SecondBye::Wanted);
                self.acknowledge_again(own_id);
                if unknown {
                    self.hang_up_again(now, parent, own_id, m);
                }
            }
            (Some(parent), None) => self.hang_up_fork(now, parent, m),
            (None, _) => self.stats.stray_responses += 1,
        }
    }

    /// RFC 6193 §5.3: a second answering party is illegal. ACK, then BYE, in its own dialog, once its record is durable.
    fn hang_up_fork(&mut self, now: Instant, parent: CallId, m: &Message) {
        self.stats.forked += 1;
        self.hang_up_in_dialog_of(
            now,
            parent,
            m,
            SecondBye::No,
            "the call was answered elsewhere, or given up",
        );
    }

    /// RFC 3261 §13.2.2.4: every repetition is acknowledged again, within a bound; before the first ACK it waits for the
    /// record. A peer that answers each ACK with its 2xx would never end.
    fn acknowledge_again(&mut self, id: CallId) {
        let Some(call) = self.calls.get_mut(id) else { return };
        let dest = call.dialog.dest();
        let Some(outgoing) = call.outgoing_mut() else { return };
        let Some(ack) = outgoing.ack.clone() else { return };
        if outgoing.acks_again >= ACKS_AGAIN_MAX {
            self.stats.acks_withheld += 1;
            return;
        }
        outgoing.acks_again += 1;
        if let Some(flow) = self.flow_to(&dest) {
            self.transmit(flow, ack);
        }
    }

    /// The peer knew of no call when we hung up (481), and goes on answering: one more BYE costs nothing, and a call that
    /// is up after all is charged.
    fn hang_up_again(&mut self, now: Instant, parent: CallId, own: CallId, m: &Message) {
        if let Some(o) = self.calls.get_mut(own).and_then(CallState::outgoing_mut) {
            o.second_bye = SecondBye::Said;
        }
        let beyond = self.calls.get(own).map_or(0, |c| c.dialog.local_cseq);
        if let Some(parent) = self.calls.get_mut(parent) {
            parent.dialog.local_cseq = parent.dialog.local_cseq.max(beyond);
        }
        self.hang_up_in_dialog_of(now, parent, m, SecondBye::Said, "the call is over");
    }

    fn hang_up_in_dialog_of(
        &mut self,
        now: Instant,
        parent: CallId,
        m: &Message,
        second_bye: SecondBye,
        why: &str,
    ) {
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
        // The branch tells which INVITE was answered, where the number may be spoilt.
        let branch = m.via().and_then(|via| via.branch()).unwrap_or_default();
        let latest = outgoing.branch.eq_ignore_ascii_case(branch);
        let cseq = if latest { outgoing.cseq } else { m.cseq_number() };
        let outgoing = Outgoing {
            branch: String::new(),
            via: String::new(),
            cseq,
            // RFC 3261 §22.1: the ACK has those of its INVITE.
            credentials: if cseq == outgoing.cseq { outgoing.credentials.clone() } else { Vec::new() },
            ack: None,
            early: Vec::new(),
            min_se_s: outgoing.min_se_s,
            raises: 0,
            redirects: 0,
            plain: false,
            acks_again: 0,
            second_bye,
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
            media: Descriptions::None,
            auth: Auth::default(),
            answering: None,
            timer: None,
            byes: 0,
            bye: None,
            refreshes: Vec::new(),
            reason: Some(Reason::new(200, why)),
            writes: 0,
            detached: false,
        });
        self.persist(fork);
    }
}
