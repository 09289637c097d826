//! CANCEL of our INVITE (RFC 3261 §9.1).

use crate::call::CallId;
use crate::state::{Cancel, Phase};
use crate::transaction::Owner;
use crate::ua::{UserAgent, client_key, of_invite};
use sipsec_net::Instant;

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
}
