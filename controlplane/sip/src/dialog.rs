//! A dialog (RFC 3261 §12) and the requests inside it.

use crate::config::MAX_FORWARDS;
use crate::message::{Message, NameAddr, Writer, host_addr, is_sip_uri, is_token, uri_param};
use crate::record::{DialogRecord, Stage};
use crate::target::Target;
use std::net::SocketAddr;

/// Session refreshes and PRACKs raise CSeq and are not written to disk: a recovered dialog starts beyond all numbers that
/// one call can have used. RFC 3261 §12.2.2 allows gaps and refuses numbers that went down; §8.1.1.5: it stays below 2^31.
const RECOVERED_CSEQ_GAP: u32 = 1 << 20;
const RECOVERED_CSEQ_MAX: u32 = (1 << 31) - 64;

#[derive(Clone, Debug)]
pub struct Dialog {
    pub call_id: String,
    /// Our From or To value, with our tag.
    pub local: String,
    pub local_tag: String,
    /// Theirs; with their tag once known.
    pub remote: String,
    pub remote_tag: Option<String>,
    pub local_cseq: u32,
    pub remote_cseq: Option<u32>,
    pub route_set: Vec<String>,
    pub remote_target: String,
    pub target: Target,
}

/// To of a response, for the requests that it leads to. If it cannot be read, the To of our request with the response's
/// tag: what we send can always be read, and name and URI of To decide nothing (RFC 3261 §12.2.2).
pub fn to_of(response: &Message, asked: &str) -> String {
    match response.header("To") {
        Some(to) if NameAddr::parse(to).is_some() => to.to_owned(),
        _ => match response.to_tag().filter(|tag| is_token(tag)) {
            Some(tag) => format!("{asked};tag={tag}"),
            None => asked.to_owned(),
        },
    }
}

/// A Record-Route or Service-Route as the Route that it becomes. RFC 3261 §20.30 wants brackets; where a proxy forgot them, what
/// follows the URI is the URI's: its `lr` decides who may rewrite the Request-URI. `None` for one that leads nowhere.
pub fn route(value: &str) -> Option<String> {
    let value = value.trim();
    NameAddr::parse(value)?;
    Some(if value.contains('<') { value.to_owned() } else { format!("<{value}>") })
}

impl Dialog {
    /// Where requests go: to the outbound proxy, on another of its ports if the first route says so.
    pub fn dest(&self) -> Target {
        let first = self.route_set.first().and_then(|r| NameAddr::parse(r));
        let same_host = |a: &SocketAddr| a.ip() == self.target.addr.ip();
        let addr = first.and_then(|r| host_addr(r.uri)).filter(same_host).unwrap_or(self.target.addr);
        Target { addr, ..self.target.clone() }
    }

    /// RFC 3261 §12.1.2: the response makes the dialog; the record-route list in reverse is its
    /// route set, and the Contact its target.
    pub fn confirmed(&self, m: &Message) -> Self {
        let mut dialog = self.clone();
        dialog.remote_tag = m.to_tag().map(str::to_owned);
        dialog.remote = to_of(m, &self.remote);
        dialog.route_set = m.all("Record-Route").rev().filter_map(route).collect();
        if let Some(target) = m.remote_target() {
            dialog.remote_target = target.to_owned();
        }
        dialog
    }

    /// RFC 3261 §12.2.1.1: every request in the dialog carries the route set, BYE and ACK too.
    pub fn request(&self, method: &str, cseq: u32, via: &str) -> Writer {
        let strict = |r: &str| {
            NameAddr::parse(r).is_some_and(|n| is_sip_uri(n.uri) && uri_param(n.uri, "lr").is_none())
        };
        let mut routes = self.route_set.clone();
        let mut uri = self.remote_target.clone();
        if let Some(first) = routes.first().filter(|r| strict(r)).cloned() {
            // A strict router wants to be the Request-URI; the target comes last.
            routes.remove(0);
            routes.push(format!("<{uri}>"));
            if let Some(route) = NameAddr::parse(&first) {
                route.uri.clone_into(&mut uri);
            }
        }
        let mut w = Writer::request(method, &uri);
        w.header("Via", via)
            .header("Max-Forwards", MAX_FORWARDS)
            .headers("Route", routes.iter().map(String::as_str))
            .header("From", &self.local)
            .header("To", &self.remote)
            .header("Call-ID", &self.call_id)
            .header("CSeq", format_args!("{cseq} {method}"));
        w
    }

    /// RFC 3261 §12.2.2: Call-ID and both tags.
    pub fn matches(&self, m: &Message) -> bool {
        self.call_id == m.call_id()
            && m.to_tag() == Some(self.local_tag.as_str())
            && m.from_tag() == self.remote_tag.as_deref()
    }

    pub fn record(&self, stage: Stage, via: String, line: &str) -> DialogRecord {
        let theirs = matches!(stage, Stage::Offered | Stage::Accepted);
        let cseq = self.remote_cseq.filter(|_| theirs).unwrap_or(self.local_cseq);
        DialogRecord {
            call_id: self.call_id.clone(),
            local: self.local.clone(),
            remote: self.remote.clone(),
            stage,
            cseq,
            route_set: self.route_set.clone(),
            remote_target: self.remote_target.clone(),
            target: self.target.clone(),
            via,
            line: line.to_owned(),
        }
    }

    pub fn from_record(r: &DialogRecord) -> Self {
        let tag = |v: &str| NameAddr::read(v).and_then(|n| n.param("tag")).map(str::to_owned);
        Self {
            call_id: r.call_id.clone(),
            local: r.local.clone(),
            local_tag: tag(&r.local).unwrap_or_default(),
            remote: r.remote.clone(),
            remote_tag: if r.stage == Stage::Dialled { None } else { tag(&r.remote) },
            // CANCEL and ACK have the INVITE's number, not this one.
            local_cseq: r.cseq.saturating_add(RECOVERED_CSEQ_GAP).min(RECOVERED_CSEQ_MAX),
            remote_cseq: None,
            route_set: r.route_set.clone(),
            remote_target: r.remote_target.clone(),
            target: r.target.clone(),
        }
    }
}
