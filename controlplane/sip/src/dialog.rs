//! A dialog (RFC 3261 §12) and the requests inside it.

use crate::config::MAX_FORWARDS;
use crate::message::Writer;
use crate::record::DialogRecord;
use std::net::{IpAddr, SocketAddr};

#[derive(Clone, Debug)]
pub struct Dialog {
    pub call_id: String,
    /// Our From/To value with our tag.
    pub local: String,
    pub local_tag: String,
    /// Theirs; with their tag once known.
    pub remote: String,
    pub remote_tag: Option<String>,
    pub local_cseq: u32,
    pub remote_cseq: Option<u32>,
    pub route_set: Vec<String>,
    pub remote_target: String,
    pub proxy: SocketAddr,
}

impl Dialog {
    /// Where requests go: the first route or the target if it is an address, else the outbound proxy.
    pub fn dest(&self) -> SocketAddr {
        let hop = self.route_set.first().map_or(self.remote_target.as_str(), |r| crate::message::uri_of(r));
        literal(hop).unwrap_or(self.proxy)
    }

    /// RFC 3261 §12.2.1.1: every in-dialog request carries the route set, BYE too.
    pub fn request(&self, method: &str, cseq: u32, via: &str, contact: &str) -> Writer {
        let mut w = Writer::request(method, &self.remote_target);
        w.header("Via", via)
            .header("Max-Forwards", MAX_FORWARDS)
            .headers("Route", self.route_set.iter().map(String::as_str))
            .header("From", &self.local)
            .header("To", &self.remote)
            .header("Call-ID", &self.call_id)
            .header("CSeq", format_args!("{cseq} {method}"))
            .header("Contact", contact);
        w
    }

    pub fn record(&self, invite_branch: &str, line: usize) -> DialogRecord {
        DialogRecord {
            call_id: self.call_id.clone(),
            local: self.local.clone(),
            remote: self.remote.clone(),
            has_remote_tag: self.remote_tag.is_some(),
            cseq: self.local_cseq,
            route_set: self.route_set.clone(),
            remote_target: self.remote_target.clone(),
            dest: self.proxy,
            invite_branch: invite_branch.to_owned(),
            line,
        }
    }

    pub fn from_record(r: &DialogRecord) -> Self {
        let tag = |v: &str| crate::message::param(v, "tag").map(str::to_owned);
        Self {
            call_id: r.call_id.clone(),
            local: r.local.clone(),
            local_tag: tag(&r.local).unwrap_or_default(),
            remote: r.remote.clone(),
            remote_tag: if r.has_remote_tag { tag(&r.remote) } else { None },
            local_cseq: r.cseq,
            remote_cseq: None,
            route_set: r.route_set.clone(),
            remote_target: r.remote_target.clone(),
            proxy: r.dest,
        }
    }
}

/// Address and port of a URI whose host is an address.
pub fn literal(uri: &str) -> Option<SocketAddr> {
    let (_, rest) = uri.split_once(':')?;
    let host = rest.rsplit_once('@').map_or(rest, |(_, h)| h);
    let host = host.split([';', '?']).next()?;
    if let Ok(addr) = host.parse::<SocketAddr>() {
        return Some(addr);
    }
    let ip: IpAddr = host.trim_matches(['[', ']']).parse().ok()?;
    Some(SocketAddr::new(ip, 5060))
}
