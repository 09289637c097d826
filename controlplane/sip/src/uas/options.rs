//! OPTIONS (RFC 3261 §11).

use crate::message::{Message, user_of};
use crate::ua::{SUPPORTED, UserAgent};
use sipsec_net::Instant;
use std::sync::Arc;

impl UserAgent {
    pub(crate) fn options_received(&mut self, now: Instant, key: &Arc<str>, m: &Message) {
        // §12.2.2: a carrier that asks whether a call is still there ends one that is not.
        if m.to_tag().is_some() && self.in_order(now, key, m).is_none() {
            return;
        }
        // §11.2: as a call would be answered. A URI without a user asks for the gateway itself.
        let unknown = user_of(m.uri()).is_some() && self.called_line(m).is_none();
        if m.to_tag().is_none() && (self.stopping || unknown) {
            return self.refuse(now, key, m, if self.stopping { 503 } else { 404 });
        }
        let allow = self.config.dialect.allow.clone();
        self.respond(now, key, m, 200, None, None, |w| {
            w.header("Allow", allow)
                .header("Supported", SUPPORTED.join(", "))
                .header("Accept", "application/sdp");
        });
    }
}
