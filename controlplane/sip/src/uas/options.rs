//! OPTIONS (RFC 3261 §11).

use crate::message::Message;
use crate::ua::{ALLOW, SUPPORTED, UserAgent};
use sipsec_net::Instant;
use std::sync::Arc;

impl UserAgent {
    pub(crate) fn options_received(&mut self, now: Instant, key: &Arc<str>, m: &Message) {
        // §12.2.2: a carrier that asks whether a call is still there ends one that is not.
        if m.to_tag().is_some() && self.in_order(now, key, m).is_none() {
            return;
        }
        self.respond(now, key, m, 200, None, None, |w| {
            w.header("Allow", ALLOW)
                .header("Supported", SUPPORTED.join(", "))
                .header("Accept", "application/sdp");
        });
    }
}
