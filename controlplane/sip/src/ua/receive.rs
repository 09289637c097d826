//! Incoming messages: to their transaction, and from there to their call or line.

use super::UserAgent;
use super::respond::response_to;
use super::send::client_key;
use crate::config::{RETRY_AFTER_OVERLOAD_S, SERVER_TRANSACTIONS_IN_DIALOG, SERVER_TRANSACTIONS_MAX};
use crate::dialog::to_of;
use crate::message::{Message, Start, Via, Writer, decode, host_addr};
use crate::notice::NoticeKind;
use crate::reason::warning;
use crate::transaction::{Owner, ServerTransaction};
use crate::transport::Flow;
use crate::transport::via::{reply, sent_by_port};
use sipsec_net::Instant;
use std::net::SocketAddr;
use std::sync::Arc;

impl UserAgent {
    /// A datagram, or a message of a stream that [`Framer`](crate::transport::Framer) has cut.
    pub fn handle_message(&mut self, now: Instant, flow: &Flow, bytes: &[u8]) {
        // RFC 5626 §3.5.1: keepalives are blank lines.
        if bytes.iter().all(|b| matches!(b, b'\r' | b'\n' | 0)) {
            return;
        }
        if !self.trusts(flow.remote) {
            self.stats.untrusted += 1;
            return;
        }
        self.flows.proved(flow.id);
        match Message::parse(bytes) {
            Ok(m) => match &m.start {
                Start::Request { .. } => self.request(now, flow, &m),
                Start::Response { .. } => self.response(now, &m),
            },
            Err(malformed) => {
                self.stats.malformed += 1;
                let kind = if bytes.get(..4).is_some_and(|b| b.eq_ignore_ascii_case(b"SIP/")) {
                    NoticeKind::MalformedResponse
                } else {
                    NoticeKind::MalformedRequest
                };
                self.notice(now, kind, || malformed.why.to_owned());
                if let Some((status, m)) = malformed.answer {
                    self.refuse_malformed(*flow, &m, status, malformed.why);
                }
            }
        }
        self.settle();
    }

    /// Whether a message from this address is read at all. One from elsewhere is counted and costs nothing more; a log of
    /// messages should leave it out, too.
    #[must_use]
    pub fn trusts(&self, from: SocketAddr) -> bool {
        self.trusted.contains(&from.ip())
    }

    fn response(&mut self, now: Instant, m: &Message) {
        let (Some(status), Some(method), Some(via)) = (m.status(), m.cseq_method(), m.via()) else { return };
        // RFC 3261 §8.1.3.3: a response with more than one Via is not for us; §18.1.2: nor is one with another sent-by.
        if m.all("Via").count() != 1 || !self.sent_from(via.sent_by, m) {
            self.stats.stray_responses += 1;
            return;
        }
        if let Some(flaw) = m.flaw {
            self.stats.flawed_responses += 1;
            self.notice(now, NoticeKind::MalformedResponse, || format!("{status} to {method} with {flaw}"));
        }
        let branch = via.branch().unwrap_or_default().to_owned();
        let key = client_key(&branch, method);
        let Some(t) = self.clients.get_mut(&key) else {
            // A 2xx to INVITE outlives its transaction (RFC 3261 §13.2.2.4).
            if method.eq_ignore_ascii_case("INVITE") && (200..300).contains(&status) {
                self.late_answer(now, m);
            } else {
                self.stats.stray_responses += 1;
            }
            return;
        };
        let (owner, flow) = (t.owner, t.flow);
        let effects = t.response(now, status);
        if effects.ack {
            let ack = t.ack.get_or_insert_with(|| ack_of_refusal(&t.bytes, m)).clone();
            self.transmit(flow, ack);
        }
        self.stats.acks_withheld += u64::from(effects.withheld);
        self.rearm_client(&key);
        if status == 503 && effects.pass && self.fail_over(now, owner, &flow, m.retry_after()) {
            return;
        }
        self.server_answered(&flow);
        if effects.pass {
            match owner {
                Owner::Register(line) if status >= 200 => self.register_response(now, line, m, status),
                // Any other answer shows that the server is there.
                Owner::Options(line) if status == 503 => self.prove_failed(now, line),
                Owner::Options(line) if status >= 200 => self.prove_later(now, line),
                Owner::Invite(call) => self.invite_response(now, call, m, status),
                Owner::Refresh(call) => self.refresh_response(now, call, m, status),
                Owner::Bye(call) if status >= 200 => self.bye_response(now, call, m, status),
                Owner::Prack(call) if status >= 300 => self.prack_refused(now, call, m, status),
                Owner::Cancel(call) if status == 481 => self.nothing_to_cancel(now, call),
                Owner::Register(_)
                | Owner::Options(_)
                | Owner::Bye(_)
                | Owner::Cancel(_)
                | Owner::Prack(_) => {}
            }
        }
    }

    /// Whether a response's sent-by is ours: the address of now, or the one from which its request left.
    fn sent_from(&self, sent_by: &str, m: &Message) -> bool {
        let Some(addr) = host_addr(sent_by) else { return false };
        if self.locals.has(addr) {
            return true;
        }
        let via = |via: &str| Via::read(via).and_then(|v| host_addr(v.sent_by));
        let branch = m.via().and_then(|v| v.branch()).unwrap_or_default();
        let of_request = m.cseq_method().and_then(|method| self.clients.get(&client_key(branch, method)));
        let request = of_request.and_then(|t| Message::parse(&t.bytes).ok());
        request.and_then(|r| via(r.header("Via")?)) == Some(addr)
            || self.calls.with_call_id(m.call_id()).any(|(_, c)| {
                c.outgoing()
                    .is_some_and(|o| o.branch.eq_ignore_ascii_case(branch) && via(&o.via) == Some(addr))
            })
    }

    fn request(&mut self, now: Instant, from: &Flow, m: &Message) {
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
                let (flow, bytes) = (t.flow, t.response.clone());
                self.transmit(flow, bytes);
            }
            return;
        }
        let dest = reply(from, &via);
        let invite = key("INVITE");
        let known = self.knows_dialog(m) || method == "CANCEL" && self.servers.contains_key(&invite);
        let in_use = self.servers.len();
        let room = if known {
            SERVER_TRANSACTIONS_MAX
        } else {
            SERVER_TRANSACTIONS_MAX - SERVER_TRANSACTIONS_IN_DIALOG
        };
        // §8.2.7: what belongs to no call of ours is answered without state, so that no flood of it takes the room of
        // requests that do. A BYE and a CANCEL are obeyed even without room.
        let ends = known && matches!(method, "BYE" | "CANCEL");
        let stateful = (known || method == "INVITE") && in_use < room;
        if !stateful && (known || method == "INVITE") && !ends {
            return self.overloaded(now, dest, m);
        }
        let t = ServerTransaction::new(method == "INVITE", dest, sent_by_port(from, &via));
        self.servers.insert(this.clone(), t);
        self.dispatch(now, &this, &invite, m);
        if !stateful {
            self.servers.remove(&this);
        }
        self.rearm_server(&this);
    }

    /// RFC 3261 §21.5.4.
    fn overloaded(&mut self, now: Instant, dest: Flow, m: &Message) {
        self.stats.overload += 1;
        let what = "too many requests at a time";
        self.notice(now, NoticeKind::Overload, || what.to_owned());
        let tag = self.stateless_tag(m);
        let mut w = response_to(m, 503, &tag, dest.remote);
        w.header("Retry-After", RETRY_AFTER_OVERLOAD_S).header("Warning", warning(what));
        self.transmit(dest, w.finish(None));
    }

    fn dispatch(&mut self, now: Instant, this: &Arc<str>, invite: &Arc<str>, m: &Message) {
        match m.method().unwrap_or_default() {
            // RFC 3261 §9.2: a CANCEL belongs to its INVITE; nothing else of it counts.
            "CANCEL" => self.cancel_received(now, this, invite, m),
            "REGISTER" | "INFO" | "MESSAGE" | "NOTIFY" | "PUBLISH" | "REFER" | "SUBSCRIBE" => {
                self.refuse(now, this, m, 405);
            }
            _ if self.refused_extension(now, this, m) => {}
            "INVITE" if m.to_tag().is_some() => self.reinvite_received(now, this, m),
            "INVITE" => self.invite_received(now, this, m),
            "BYE" => self.bye_received(now, this, m),
            "UPDATE" => self.update_received(now, this, m),
            "OPTIONS" => self.options_received(now, this, m),
            // PRACK: we send no reliable provisional responses that one could acknowledge (RFC 3262 §3).
            _ => self.refuse(now, this, m, 481),
        }
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
pub fn transaction_id(m: &Message, via: &Via) -> String {
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

/// RFC 3261 §17.1.1.3: Request-URI, topmost Via, Call-ID, From, Route and CSeq number of the INVITE, To of the response.
pub(super) fn ack_of_refusal(invite: &[u8], response: &Message) -> Vec<u8> {
    let text = decode(invite);
    let asked = text.split("\r\n").find_map(|l| l.strip_prefix("To: ")).unwrap_or_default();
    let mut w = of_invite(invite, "ACK", false);
    w.header("To", to_of(response, asked));
    w.finish(None)
}

/// A request that repeats an INVITE of ours: its ACK, or its CANCEL (RFC 3261 §9.1).
pub fn of_invite(invite: &[u8], method: &str, to: bool) -> Writer {
    let text = decode(invite);
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
