//! CANCEL of our INVITE (RFC 3261 §9.1).

use crate::call::CallId;
use crate::config::{T1, T2};
use crate::state::{Cancel, Phase};
use crate::transaction::Owner;
use crate::ua::{UserAgent, client_key, of_invite};
use sipsec_net::Instant;
use std::time::Duration;

/// How long after a 481 to our CANCEL the INVITE may still be answered. A server forgets an INVITE that was answered with a 2xx
/// (RFC 3261 §17.2.1), and the called side repeats that at least every T2 until it is acknowledged (§13.3.1.4).
const ANSWER_REPEATED: Duration = T2.saturating_add(T1);

impl UserAgent {
    pub(crate) fn send_cancel(&mut self, now: Instant, id: CallId) {
        let Some(call) = self.calls.get_mut(id) else { return };
        if let Phase::Inviting { cancel, give_up_at, .. } = &mut call.phase {
            (*cancel, *give_up_at) = (Cancel::Sent, None);
        }
        let Some(branch) = call.outgoing().map(|o| o.branch.clone()) else { return };
        let key = client_key(&branch, "INVITE");
        let Some(t) = self.clients.get_mut(&key) else { return };
        // If nothing answers, the INVITE's transaction ends 64·T1 after the CANCEL.
        t.cancelled(now);
        // Request-URI, Call-ID, To, From, Route and the CSeq number of the INVITE, and its single Via.
        let mut w = of_invite(&t.bytes, "CANCEL", true);
        let flow = t.flow;
        if let Some(reason) = self.calls.get(id).and_then(|c| c.reason.as_ref()) {
            reason.write(&mut w);
        }
        let bytes = w.finish(None);
        self.rearm_client(&key);
        self.start(now, &branch, "CANCEL", Owner::Cancel(id), bytes, flow);
    }

    /// RFC 3261 §9.2: the server has no such INVITE. It never came there, as after a crash between the writing of its record
    /// and its sending, and then no final response ends it; or it was answered.
    pub(crate) fn nothing_to_cancel(&mut self, now: Instant, id: CallId) {
        let Some(branch) = self.calls.get(id).and_then(|c| c.outgoing()).map(|o| o.branch.clone()) else {
            return;
        };
        let key = client_key(&branch, "INVITE");
        if let Some(t) = self.clients.get_mut(&key).filter(|t| t.pending()) {
            t.end_by(now + ANSWER_REPEATED);
            self.rearm_client(&key);
        }
    }
}
