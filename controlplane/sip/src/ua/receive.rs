//! What arrives: to its transaction, and from there to whom it concerns.

use super::UserAgent;
use super::send::client_key;
use crate::config::SERVER_TRANSACTIONS_MAX;
use crate::message::{Message, Start, Via, Writer, host_addr};
use crate::transaction::{Owner, ServerTransaction};
use sipsec_net::Instant;
use std::net::SocketAddr;
use std::sync::Arc;

impl UserAgent {
    pub fn handle_datagram(&mut self, now: Instant, from: SocketAddr, bytes: &[u8]) {
        // RFC 5626 §3.5.1 keepalives: blank lines.
        if bytes.iter().all(|b| matches!(b, b'\r' | b'\n' | 0)) {
            return;
        }
        if !self.config.trusts(from.ip()) {
            self.stats.untrusted += 1;
            return;
        }
        match Message::parse(bytes) {
            Ok(m) => match &m.start {
                Start::Request { .. } => self.request(now, from, &m),
                Start::Response { .. } => self.response(now, &m),
            },
            Err(malformed) => {
                self.stats.malformed += 1;
                if let Some((status, m)) = malformed.answer {
                    self.refuse_malformed(from, &m, status, malformed.why);
                }
            }
        }
        self.settle();
    }

    fn response(&mut self, now: Instant, m: &Message) {
        let (Some(status), Some((_, method))) = (m.status(), m.cseq()) else { return };
        // RFC 3261 §8.1.3.3: with more than one Via it is somebody else's.
        if m.all("Via").count() != 1 {
            self.stats.stray_responses += 1;
            return;
        }
        let branch = m.via().and_then(|v| v.branch()).unwrap_or_default().to_owned();
        let key = client_key(&branch, method);
        let Some(t) = self.clients.get_mut(&key) else {
            // A 2xx to INVITE outlives its transaction (RFC 3261 §13.2.2.4).
            if method == "INVITE" && (200..300).contains(&status) {
                self.late_answer(now, m);
            } else {
                self.stats.stray_responses += 1;
            }
            return;
        };
        let (owner, dest) = (t.owner, t.dest);
        let effects = t.response(now, status);
        if effects.ack {
            let ack = t.ack.get_or_insert_with(|| ack_of_refusal(&t.bytes, m)).clone();
            self.transmit(dest, ack);
        }
        self.rearm_client(&key);
        if effects.pass {
            match owner {
                Owner::Register(line) if status >= 200 => self.register_response(now, line, m, status),
                Owner::Invite(call) => self.invite_response(now, call, m, status),
                Owner::Refresh(call) => self.refresh_response(now, call, m, status),
                Owner::Bye(call) if status >= 200 => self.bye_response(now, call, m, status),
                Owner::Prack(call) if status >= 300 => self.prack_refused(now, call, m, status),
                Owner::Register(_) | Owner::Bye(_) | Owner::Cancel(_) | Owner::Prack(_) => {}
            }
        }
    }

    fn request(&mut self, now: Instant, from: SocketAddr, m: &Message) {
        let (Some(method), Some(via)) = (m.method(), m.via()) else { return };
        let id = transaction_id(m, &via);
        // ACK and CANCEL look for their INVITE.
        let key = |method: &str| Arc::<str>::from(format!("{id} {method}"));
        if method == "ACK" {
            let invite = key("INVITE");
            if let Some(t) = self.servers.get_mut(&invite) {
                t.acknowledged(now);
                self.rearm_server(&invite);
            }
            self.ack(now, m);
            return;
        }
        let this = key(method);
        if let Some(t) = self.servers.get_mut(&this) {
            if t.request(now).send {
                let (dest, bytes) = (t.dest, t.response.clone());
                self.transmit(dest, bytes);
            }
            return;
        }
        if self.servers.len() >= SERVER_TRANSACTIONS_MAX {
            self.stats.overload += 1;
            return;
        }
        // RFC 3261 §18.2.2, RFC 3581 §4: to the source address; its port if asked, else Via's.
        let port = match via.param("rport") {
            Some(_) => from.port(),
            None => host_addr(via.sent_by).map_or_else(|| sent_by_port(via.sent_by), |a| a.port()),
        };
        let dest = SocketAddr::new(from.ip(), port);
        self.servers.insert(this.clone(), ServerTransaction::new(method == "INVITE", dest));
        match method {
            // RFC 3261 §9.2: a CANCEL belongs to its INVITE, whatever else it says.
            "CANCEL" => self.cancel_received(now, &this, &key("INVITE"), m),
            "REGISTER" | "INFO" | "MESSAGE" | "NOTIFY" | "PUBLISH" | "REFER" | "SUBSCRIBE" => {
                self.refuse(now, &this, m, 405);
            }
            _ if self.refused_extension(now, &this, m) => {}
            "INVITE" if m.to_tag().is_some() => self.reinvite_received(now, &this, m),
            "INVITE" => self.invite_received(now, &this, m),
            "BYE" => self.bye_received(now, &this, m),
            "UPDATE" => self.update_received(now, &this, m),
            "OPTIONS" => self.options_received(now, &this, m),
            // PRACK: we send no reliable provisional responses that one could acknowledge (RFC 3262 §3).
            _ => self.refuse(now, &this, m, 481),
        }
        self.rearm_server(&this);
    }

    /// RFC 3261 §8.2.2.3.
    fn refused_extension(&mut self, now: Instant, key: &Arc<str>, m: &Message) -> bool {
        let required = m.all("Require").flat_map(|v| v.split(',')).map(str::trim).filter(|t| !t.is_empty());
        let unknown: Vec<_> = required
            .filter(|t| !super::respond::SUPPORTED.iter().any(|s| s.eq_ignore_ascii_case(t)))
            .collect();
        if unknown.is_empty() {
            return false;
        }
        self.respond(now, key, m, 420, None, None, |w| {
            w.header("Unsupported", unknown.join(", "));
        });
        true
    }
}

/// RFC 3261 §17.2.3: branch and sent-by; for peers of RFC 2543, all that a retransmission, an ACK and a CANCEL share.
fn transaction_id(m: &Message, via: &Via) -> String {
    match via.branch() {
        Some(branch) => format!("{branch} {}", via.sent_by),
        None => format!(
            "{} {} {} {} {}",
            m.uri(),
            m.from_tag().unwrap_or_default(),
            m.call_id(),
            m.cseq_number(),
            m.header("Via").unwrap_or_default()
        ),
    }
}

fn sent_by_port(sent_by: &str) -> u16 {
    sent_by.rsplit_once(':').and_then(|(_, p)| p.trim().parse().ok()).unwrap_or(5060)
}

/// RFC 3261 §17.1.1.3: Request-URI, topmost Via, Call-ID, From, Route and CSeq number of the INVITE, To of the response.
pub(super) fn ack_of_refusal(invite: &[u8], response: &Message) -> Vec<u8> {
    let mut w = of_invite(invite, "ACK", false);
    w.header("To", response.header("To").unwrap_or_default());
    w.finish(None)
}

/// A request that repeats an INVITE of ours: its ACK, or its CANCEL (RFC 3261 §9.1).
pub fn of_invite(invite: &[u8], method: &str, to: bool) -> Writer {
    let text = String::from_utf8_lossy(invite);
    let mut lines = text.split("\r\n");
    let uri = lines.next().unwrap_or_default().split(' ').nth(1).unwrap_or_default();
    let mut w = Writer::request(method, uri);
    for line in lines.take_while(|l| !l.is_empty()) {
        let Some((name, value)) = line.split_once(": ") else { continue };
        match name {
            "Via" | "Max-Forwards" | "From" | "Call-ID" | "Route" => {
                w.header(name, value);
            }
            "To" if to => {
                w.header(name, value);
            }
            // RFC 3261 §22.1: the ACK has the credentials of its INVITE.
            "Authorization" | "Proxy-Authorization" if method == "ACK" => {
                w.header(name, value);
            }
            "CSeq" => {
                let number = value.split(' ').next().unwrap_or_default();
                w.header("CSeq", format_args!("{number} {method}"));
            }
            _ => {}
        }
    }
    w
}
