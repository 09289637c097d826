//! Proving that a registered line's server is there (RFC 3261 §11): an OPTIONS at intervals, where the profile asks for it.

use super::UserAgent;
use crate::config::MAX_FORWARDS;
use crate::message::Writer;
use crate::schedule::Due;
use crate::transaction::Owner;
use sipsec_net::Instant;

impl UserAgent {
    /// The line is registered: the next OPTIONS comes after the interval, less up to a tenth of it, so that not all lines
    /// ask in the same second.
    pub(super) fn prove_later(&mut self, now: Instant, line: usize) {
        let at = self.config.prove.map(|every| {
            let tenth = u32::try_from(every.as_millis() / 10).unwrap_or(u32::MAX);
            now + every - std::time::Duration::from_millis(self.entropy.below(tenth + 1).into())
        });
        self.schedule.set(Due::Prove(line), at);
    }

    pub(super) fn prove_due(&mut self, now: Instant, line: usize) {
        let r = &self.registrations[line];
        if self.stopping || !r.is_registered() {
            return;
        }
        let Some(target) = r.target().cloned() else { return };
        let Some(flow) = self.flow_to(&target) else { return };
        let (branch, call_id, tag) = (self.branch(), self.token(), self.token());
        let via = self.via(&flow, &branch);
        let contact = self.contact(Some(line), &flow);
        let domain = &self.config.domain;
        let aor = format!("<sip:{}@{domain}>", self.config.lines[line].number);
        let mut w = Writer::request("OPTIONS", &format!("sip:{domain}"));
        w.header("Via", via)
            .header("Max-Forwards", MAX_FORWARDS)
            .header("From", format_args!("{aor};tag={tag}"))
            .header("To", format_args!("<sip:{domain}>"))
            .header("Call-ID", call_id)
            .header("CSeq", "1 OPTIONS")
            .header("Contact", contact)
            .header("Accept", "application/sdp");
        self.start(now, &branch, "OPTIONS", Owner::Options(line), w.finish(None), flow);
    }

    /// The server said nothing, or 503: its lines register again, elsewhere if there is another server.
    pub(super) fn prove_failed(&mut self, now: Instant, line: usize) {
        let Some(target) = self.registrations[line].target().cloned() else { return };
        for line in 0..self.registrations.len() {
            if self.registrations[line].target() == Some(&target) {
                self.renew(now, line);
            }
        }
        self.prove_later(now, line);
    }
}
