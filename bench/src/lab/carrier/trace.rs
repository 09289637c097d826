//! What a bystander sees of the signalling: one entry for each message on the wire.

use super::message::{Message, Start};
use sipsec_net::Instant;
use std::net::SocketAddr;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hop {
    pub at: Instant,
    pub from: SocketAddr,
    pub to: SocketAddr,
    pub call_id: String,
    /// `INVITE`, `200 OK (INVITE)` …
    pub summary: String,
    /// What a reader of the ladder wants to know of it: the number dialled, the media line.
    pub detail: String,
}

impl Hop {
    #[must_use]
    pub fn new(at: Instant, from: SocketAddr, to: SocketAddr, message: &Message) -> Self {
        let (summary, mut detail) = match &message.start {
            Start::Request { method, uri } => {
                let detail = match method.as_str() {
                    "INVITE" => uri.clone(),
                    "REGISTER" if message.header("Authorization").is_some() => "with credentials".to_owned(),
                    "BYE" => message.header("Reason").unwrap_or_default().to_owned(),
                    _ => String::new(),
                };
                (method.clone(), detail)
            }
            Start::Response { status, reason } => {
                (format!("{status} {reason} ({})", message.cseq_method()), String::new())
            }
        };
        let sdp = String::from_utf8_lossy(&message.body);
        let media: Vec<_> =
            sdp.lines().filter(|l| ["m=", "b=AS", "a=ike-setup"].iter().any(|p| l.starts_with(p))).collect();
        if !media.is_empty() {
            if !detail.is_empty() {
                detail.push_str("  ");
            }
            detail.push_str(&media.join(" "));
        }
        let call_id = message.header("Call-ID").unwrap_or_default().to_owned();
        Self { at, from, to, call_id, summary, detail }
    }
}
