//! The user agent: what arrives, what is due, and who is asked.

use crate::call::{Call, CallId};
use crate::config::{Config, SERVER_TRANSACTIONS_MAX};
use crate::message::{Message, Start, Writer, reason_phrase};
use crate::output::{Event, Output, RegistrationView};
use crate::register::Registration;
use crate::state::CallState;
use crate::transaction::{ClientState, ClientTransaction, Owner, ServerTransaction};
use sipsec_net::{Entropy, Instant};
use std::collections::{BTreeMap, HashMap, VecDeque};
use std::net::SocketAddr;

pub const ALLOW: &str = "INVITE, ACK, CANCEL, BYE, OPTIONS";

/// What was not acted upon.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    pub malformed: u64,
    pub untrusted: u64,
    pub stray_responses: u64,
    pub overload: u64,
    pub forked: u64,
}

pub struct UserAgent {
    pub(crate) config: Config,
    pub(crate) entropy: Box<dyn Entropy>,
    pub(crate) local: Option<SocketAddr>,
    pub(crate) out: VecDeque<Output>,
    pub(crate) registrations: Vec<Registration>,
    pub(crate) calls: BTreeMap<CallId, CallState>,
    pub(crate) next_call: u64,
    pub(crate) clients: HashMap<String, ClientTransaction>,
    pub(crate) servers: HashMap<String, ServerTransaction>,
    pub(crate) stats: Stats,
}

impl std::fmt::Debug for UserAgent {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("UserAgent").field("calls", &self.calls.len()).finish_non_exhaustive()
    }
}

impl UserAgent {
    #[must_use]
    pub fn new(config: Config, mut entropy: Box<dyn Entropy>) -> Self {
        let registrations = config.lines.iter().map(|l| Registration::new(l, &mut *entropy)).collect();
        Self {
            config,
            entropy,
            local: None,
            out: VecDeque::new(),
            registrations,
            calls: BTreeMap::new(),
            next_call: 1,
            clients: HashMap::new(),
            servers: HashMap::new(),
            stats: Stats::default(),
        }
    }

    pub fn poll_output(&mut self) -> Option<Output> {
        self.out.pop_front()
    }

    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        let transactions = self.clients.values().filter_map(ClientTransaction::due);
        let servers = self.servers.values().map(ServerTransaction::due);
        let registrations = self.registrations.iter().filter_map(|r| r.due_at);
        let calls = self.calls.values().filter_map(CallState::due);
        transactions.chain(servers).chain(registrations).chain(calls).min()
    }

    #[must_use]
    pub const fn stats(&self) -> &Stats {
        &self.stats
    }

    /// Calls for which SIP has something left to do.
    #[must_use]
    pub fn live_dialogs(&self) -> usize {
        self.calls.len()
    }

    pub fn registrations(&self) -> impl Iterator<Item = RegistrationView> + '_ {
        self.registrations.iter().zip(&self.config.lines).map(|(r, line)| RegistrationView {
            line: line.number,
            domain: self.config.domain.clone(),
            state: r.state.clone(),
            contact: self.local,
            expires_at: r.expires_at,
            call_id: r.call_id.clone(),
            last_failure: r.last_failure.clone(),
        })
    }

    pub fn handle_datagram(&mut self, now: Instant, from: SocketAddr, bytes: &[u8]) {
        // RFC 5626 §3.5.1 keepalives: blank lines.
        if bytes.iter().all(|b| matches!(b, b'\r' | b'\n' | 0)) {
            return;
        }
        if !self.config.trusts(from.ip()) {
            self.stats.untrusted += 1;
            return;
        }
        let Ok(message) = Message::parse(bytes) else {
            // A malformed request could be answered 400, but its Via cannot be trusted to say where.
            self.stats.malformed += 1;
            return;
        };
        match &message.start {
            Start::Request { .. } => self.request(now, from, &message),
            Start::Response { .. } => self.response(now, &message),
        }
    }

    pub fn handle_timeout(&mut self, now: Instant) {
        self.client_timeouts(now);
        let mut again = Vec::new();
        self.servers.retain(|_, t| {
            if t.tick(now)
                && let Some(bytes) = &t.response
            {
                again.push((t.dest, bytes.clone()));
            }
            t.ends_at > now
        });
        for (to, bytes) in again {
            self.transmit(to, bytes);
        }
        for line in 0..self.registrations.len() {
            if self.registrations[line].due_at.is_some_and(|at| at <= now) {
                self.register_due(now, line);
            }
        }
        let due: Vec<_> = self
            .calls
            .iter()
            .filter(|(_, c)| c.due().is_some_and(|at| at <= now))
            .map(|(id, _)| *id)
            .collect();
        for id in due {
            self.call_due(now, id);
        }
    }

    fn client_timeouts(&mut self, now: Instant) {
        let mut again = Vec::new();
        let mut over = Vec::new();
        for (branch, t) in &mut self.clients {
            if t.ends_at.is_some_and(|at| at <= now) {
                over.push(branch.clone());
            } else if t.tick(now) {
                again.push((t.dest, t.bytes.clone()));
            }
        }
        for (to, bytes) in again {
            self.transmit(to, bytes);
        }
        over.sort();
        for branch in over {
            let Some(t) = self.clients.remove(&branch) else { continue };
            if t.state == ClientState::Completed {
                continue;
            }
            match t.owner {
                Owner::Register(line) => {
                    self.register_failed(now, line, "no answer from the registrar".into(), None)
                }
                Owner::Invite(call) => self.invite_timeout(now, call),
                Owner::Bye(call) => self.bye_timeout(now, call),
                Owner::Cancel(_) => {}
            }
        }
    }

    fn response(&mut self, now: Instant, m: &Message) {
        let (Some(branch), Some(status), Some((_, method))) = (m.branch(), m.status(), m.cseq()) else {
            self.stats.malformed += 1;
            return;
        };
        // CANCEL shares the INVITE's branch (RFC 3261 §9.1).
        let key = if method == "CANCEL" { format!("{branch} CANCEL") } else { branch.to_owned() };
        let Some(t) = self.clients.get_mut(&key).filter(|t| t.method == method) else {
            // A 2xx to INVITE outlives its transaction (RFC 3261 §13.2.2.4).
            if method == "INVITE" && (200..300).contains(&status) {
                self.late_answer(now, m);
            } else {
                self.stats.stray_responses += 1;
            }
            return;
        };
        let owner = t.owner;
        if status < 200 {
            t.provisional();
        } else if t.state == ClientState::Completed {
            if let Some(ack) = t.ack.clone() {
                let dest = t.dest;
                self.transmit(dest, ack);
            } else if method == "INVITE" && status < 300 {
                self.late_answer(now, m);
            }
            return;
        } else {
            t.completed(now);
            if t.method == "INVITE" && status >= 300 {
                let ack = non_2xx_ack(&t.bytes, m);
                t.ack = Some(ack.clone());
                let dest = t.dest;
                self.transmit(dest, ack);
            }
        }
        match owner {
            Owner::Register(line) if status >= 200 => self.register_response(now, line, m, status),
            Owner::Invite(call) => self.invite_response(now, call, m, status),
            Owner::Bye(call) if status >= 200 => self.bye_response(now, call, m, status),
            Owner::Register(_) | Owner::Bye(_) | Owner::Cancel(_) => {}
        }
    }

    fn request(&mut self, now: Instant, from: SocketAddr, m: &Message) {
        let (Some(method), Some(branch)) = (m.method(), m.branch()) else {
            self.stats.malformed += 1;
            return;
        };
        // RFC 3261 §17.2.3: branch, sent-by and method; ACK and CANCEL look for their INVITE.
        let sent_by = m.header("Via").and_then(|v| v.split(';').next()).unwrap_or_default();
        let key = |method: &str| format!("{branch} {sent_by} {method}");
        if method == "ACK" {
            if let Some(t) = self.servers.get_mut(&key("INVITE"))
                && t.response.is_some()
            {
                t.acknowledged(now);
            }
            self.ack(now, m);
            return;
        }
        let this = key(method);
        if let Some(t) = self.servers.get(&this) {
            if let Some(bytes) = t.response.clone() {
                let dest = t.dest;
                self.transmit(dest, bytes);
            }
            return;
        }
        if self.servers.len() >= SERVER_TRANSACTIONS_MAX {
            self.stats.overload += 1;
            return;
        }
        // RFC 3261 §18.2.2 and RFC 3581 §4: to the source address; its port if asked, else Via's.
        let dest = if crate::message::param(m.header("Via").unwrap_or_default(), "rport").is_some() {
            from
        } else {
            crate::dialog::literal(&format!("sip:{}", sent_by.split_whitespace().last().unwrap_or_default()))
                .map_or(from, |a| SocketAddr::new(from.ip(), a.port()))
        };
        self.servers.insert(this.clone(), ServerTransaction::new(now, method == "INVITE", dest));
        match method {
            "INVITE" => self.invite_received(now, &this, m),
            "BYE" => self.bye_received(now, &this, m),
            "CANCEL" => {
                let invite = self.servers.get(&key("INVITE")).and_then(|t| t.call);
                self.cancel_received(now, &this, &key("INVITE"), invite, m);
            }
            "OPTIONS" => self.respond(now, &this, m, 200, "", None, |w| {
                w.header("Allow", ALLOW).header("Accept", "application/sdp");
            }),
            _ => self.respond(now, &this, m, 405, "", None, |w| {
                w.header("Allow", ALLOW);
            }),
        }
    }

    // ---- shared by the other files ----

    pub(crate) fn transmit(&mut self, to: SocketAddr, bytes: Vec<u8>) {
        self.out.push_back(Output::Transmit { to, bytes });
    }

    pub(crate) fn event(&mut self, event: Event) {
        self.out.push_back(Output::Event(event));
    }

    pub(crate) fn token(&mut self) -> String {
        let mut b = [0; 8];
        self.entropy.fill(&mut b);
        format!("{:016x}", u64::from_be_bytes(b))
    }

    /// RFC 3261 §8.1.1.7: unique, and starting with the cookie.
    pub(crate) fn branch(&mut self) -> String {
        format!("z9hG4bK{}", self.token())
    }

    pub(crate) fn via(&self, local: SocketAddr, branch: &str) -> String {
        let rport = if self.config.rport { ";rport" } else { "" };
        format!("SIP/2.0/UDP {local};branch={branch}{rport}")
    }

    pub(crate) fn contact(&self, line: usize, local: SocketAddr) -> String {
        format!("<sip:{}@{local}>", self.config.lines[line].number)
    }

    pub(crate) fn new_call(&mut self) -> CallId {
        let id = CallId(self.next_call);
        self.next_call += 1;
        id
    }

    pub(crate) fn handle(id: CallId) -> Call {
        Call::new(id)
    }

    /// Answers a request in its server transaction.
    #[expect(clippy::too_many_arguments, reason = "a response has as many parts")]
    pub(crate) fn respond(
        &mut self,
        now: Instant,
        key: &str,
        m: &Message,
        status: u16,
        to_tag: &str,
        body: Option<&str>,
        more: impl FnOnce(&mut Writer),
    ) {
        let mut w = Writer::response(status, reason_phrase(status));
        let to = m.header("To").unwrap_or_default();
        let tag = if to_tag.is_empty() { self.token() } else { to_tag.to_owned() };
        let to =
            if m.to_tag().is_some() || status == 100 { to.to_owned() } else { format!("{to};tag={tag}") };
        w.headers("Via", m.all("Via"))
            .header("From", m.header("From").unwrap_or_default())
            .header("To", to)
            .header("Call-ID", m.call_id())
            .header("CSeq", m.header("CSeq").unwrap_or_default());
        if status < 300 {
            w.headers("Record-Route", m.all("Record-Route"));
        }
        more(&mut w);
        let bytes = w.finish(body);
        if let Some(t) = self.servers.get_mut(key) {
            t.respond(now, status, bytes.clone());
            let dest = t.dest;
            self.transmit(dest, bytes);
        }
    }
}

/// RFC 3261 §17.1.1.3: Request-URI, Via, Call-ID, From and CSeq number of the INVITE, To of the response, its Route.
fn non_2xx_ack(invite: &[u8], response: &Message) -> Vec<u8> {
    let text = String::from_utf8_lossy(invite);
    let uri = text.split(' ').nth(1).unwrap_or_default();
    let mut w = Writer::request("ACK", uri);
    for line in text.split("\r\n").skip(1).take_while(|l| !l.is_empty()) {
        let Some((name, value)) = line.split_once(": ") else { continue };
        match name {
            "Via" | "Max-Forwards" | "From" | "Call-ID" | "Route" => {
                w.header(name, value);
            }
            "CSeq" => {
                w.header("CSeq", format_args!("{} ACK", value.split(' ').next().unwrap_or_default()));
            }
            _ => {}
        }
    }
    w.header("To", response.header("To").unwrap_or_default());
    w.finish(None)
}
