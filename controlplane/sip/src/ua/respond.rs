//! Answering requests.

use super::UserAgent;
use crate::message::{Message, Writer};
use crate::transport::Flow;
use crate::transport::via::marked;
use sha2::{Digest, Sha256};
use sipsec_net::Instant;
use std::fmt::Write as _;
use std::net::SocketAddr;
use std::sync::Arc;

/// RFC 3261 §20.37: the extensions that a peer may require of us.
pub const SUPPORTED: [&str; 2] = ["timer", "100rel"];

impl UserAgent {
    /// Answers a request in its server transaction.
    #[expect(clippy::too_many_arguments, reason = "a response has as many parts")]
    pub(crate) fn respond(
        &mut self,
        now: Instant,
        key: &Arc<str>,
        m: &Message,
        status: u16,
        to_tag: Option<&str>,
        body: Option<&str>,
        more: impl FnOnce(&mut Writer),
    ) -> Vec<u8> {
        let tag = to_tag.map_or_else(|| self.stateless_tag(m), str::to_owned);
        let Some(t) = self.servers.get_mut(key) else { return Vec::new() };
        let mut w = response_to(m, status, &tag, t.flow.remote);
        more(&mut w);
        let bytes = w.finish(body);
        if t.respond(now, status, bytes.clone()).send {
            let flow = t.flow;
            self.transmit(flow, bytes.clone());
        }
        self.rearm_server(key);
        bytes
    }

    /// RFC 3261 §8.2.7: a request that comes again gets the same tag, although no state is kept for it. The key makes
    /// the tag hard to guess.
    pub(crate) fn stateless_tag(&self, m: &Message) -> String {
        let mut hash = Sha256::new();
        hash.update(self.tag_key);
        for part in [m.call_id(), m.header("From").unwrap_or_default(), m.header("CSeq").unwrap_or_default()]
        {
            hash.update(part.as_bytes());
            hash.update([0]);
        }
        hash.update(m.header("Via").unwrap_or_default().as_bytes());
        let tag = hash.finalize();
        tag.iter().take(8).fold(String::new(), |mut s, b| {
            let _ = write!(s, "{b:02x}");
            s
        })
    }

    pub(crate) fn refuse(&mut self, now: Instant, key: &Arc<str>, m: &Message, status: u16) {
        let allow = matches!(status, 405 | 501).then(|| self.config.dialect.allow.clone());
        self.respond(now, key, m, status, None, None, |w| {
            if let Some(allow) = allow {
                w.header("Allow", allow);
            }
        });
    }

    /// RFC 3261 §16.3, RFC 4475: a request that cannot be read right is answered without a transaction, to where it
    /// came from.
    pub(crate) fn refuse_malformed(&mut self, from: Flow, m: &Message, status: u16, why: &str) {
        let tag = self.stateless_tag(m);
        let mut w = response_to(m, status, &tag, from.remote);
        if status == 501 {
            w.header("Allow", &self.config.dialect.allow);
        }
        w.header("Warning", crate::reason::warning(why));
        let bytes = w.finish(None);
        self.transmit(from, bytes);
    }
}

/// Those of the responses to a request.
pub fn vias(m: &Message, dest: SocketAddr) -> Vec<String> {
    let all = m.all("Via").enumerate();
    all.map(|(i, via)| if i == 0 { marked(m, via, dest) } else { via.to_owned() }).collect()
}

/// RFC 3261 §8.2.6.2: Via, From, To with a tag, Call-ID and CSeq of the request; Record-Route where a dialog is made.
pub(super) fn response_to(m: &Message, status: u16, tag: &str, dest: SocketAddr) -> Writer {
    let mut w = Writer::response(status);
    w.headers("Via", vias(m, dest).iter().map(String::as_str));
    let to = m.header("To").unwrap_or_default();
    let bare = m.to_tag().is_none() && status != 100 && !to.is_empty();
    let to = if bare { format!("{to};tag={tag}") } else { to.to_owned() };
    for (name, value) in [
        ("From", m.header("From").unwrap_or_default()),
        ("To", &to),
        ("Call-ID", m.call_id()),
        ("CSeq", m.header("CSeq").unwrap_or_default()),
    ] {
        if !value.is_empty() {
            w.header(name, value);
        }
    }
    if status == 100 {
        // §8.2.6.1: its sender measures the way.
        w.headers("Timestamp", m.all("Timestamp"));
    }
    if (101..300).contains(&status) {
        w.headers("Record-Route", m.all("Record-Route"));
    }
    w
}
