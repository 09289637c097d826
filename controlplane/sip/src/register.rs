//! Registration of each line (RFC 3261 §10).

use crate::config::{Line, MAX_FORWARDS, T64};
use crate::digest::{Challenge, Session};
use crate::message::{Message, Writer, param, uri_of};
use crate::output::{Event, RegistrationState};
use crate::transaction::{ClientState, ClientTransaction, Owner};
use crate::ua::UserAgent;
use sipsec_net::{Entropy, Instant, TelNumber};
use std::net::SocketAddr;
use std::time::Duration;

/// Challenges answered in a row before the credentials are taken to be wrong.
const CHALLENGES_MAX: u32 = 2;
/// Back-off after a failure: doubles between these, with jitter.
const RETRY_MIN: Duration = Duration::from_secs(5);
const RETRY_MAX: Duration = Duration::from_secs(300);
/// Registrations shorter than this would be refreshed all the time.
const EXPIRES_MIN_S: u32 = 10;

#[derive(Debug)]
pub struct Registration {
    /// §10.2: one Call-ID for all registrations of a line, CSeq rising.
    pub call_id: String,
    from_tag: String,
    cseq: u32,
    pub state: RegistrationState,
    pub expires_at: Option<Instant>,
    /// When to refresh or to try again.
    pub due_at: Option<Instant>,
    pub last_failure: Option<String>,
    pub session: Option<(Session, bool)>,
    challenges: u32,
    failures: u32,
    expires_s: Option<u32>,
    removing: bool,
    /// RFC 3608.
    pub service_route: Vec<String>,
}

impl Registration {
    pub fn new(_line: &Line, entropy: &mut dyn Entropy) -> Self {
        Self {
            call_id: format!("{:016x}{:016x}", entropy.u64(), entropy.u64()),
            from_tag: format!("{:016x}", entropy.u64()),
            cseq: 0,
            state: RegistrationState::NoAddress,
            expires_at: None,
            due_at: None,
            last_failure: None,
            session: None,
            challenges: 0,
            failures: 0,
            expires_s: None,
            removing: false,
            service_route: Vec::new(),
        }
    }
}

impl UserAgent {
    /// The WAN's address, or none. A change registers anew at once.
    pub fn set_local_addr(&mut self, now: Instant, addr: Option<SocketAddr>) {
        if self.local == addr {
            return;
        }
        self.local = addr;
        self.clients.retain(|_, t| !matches!(t.owner, Owner::Register(_)));
        if addr.is_some() {
            // Calls to be left cost money: before anything else.
            self.resume_leaving(now);
        }
        for line in 0..self.registrations.len() {
            let r = &mut self.registrations[line];
            (r.expires_at, r.due_at, r.challenges, r.failures) = (None, None, 0, 0);
            if addr.is_some() {
                self.register(now, line);
            } else {
                self.registration_state(line, RegistrationState::NoAddress);
            }
        }
    }

    /// Removes all bindings (§10.2.2).
    pub fn unregister_all(&mut self, now: Instant) {
        for line in 0..self.registrations.len() {
            self.clients.retain(|_, t| t.owner != Owner::Register(line));
            let r = &mut self.registrations[line];
            r.due_at = None;
            r.challenges = 0;
            if r.expires_at.take().is_some() {
                r.removing = true;
                self.register(now, line);
            } else {
                self.registration_state(line, RegistrationState::Unregistered);
            }
        }
    }

    /// Whether the carrier knows where this line is.
    #[must_use]
    pub fn is_registered(&self, line: TelNumber) -> bool {
        let lines = self.config.lines.iter().zip(&self.registrations);
        lines.into_iter().any(|(l, r)| l.number == line && r.state == RegistrationState::Registered)
    }

    /// Whether every line's removal has been answered or given up.
    #[must_use]
    pub fn unregistered(&self) -> bool {
        !self
            .clients
            .values()
            .any(|t| matches!(t.owner, Owner::Register(_)) && t.state != ClientState::Completed)
    }

    pub(crate) fn register_due(&mut self, now: Instant, line: usize) {
        self.registrations[line].due_at = None;
        self.registrations[line].challenges = 0;
        self.register(now, line);
    }

    fn register(&mut self, now: Instant, line: usize) {
        let Some(local) = self.local else { return };
        let branch = self.branch();
        let via = self.via(local, &branch);
        let contact = self.contact(line, local);
        let uri = format!("sip:{}", self.config.domain);
        let Self { config, entropy, registrations, .. } = self;
        let (r, l) = (&mut registrations[line], &config.lines[line]);
        r.cseq += 1;
        let aor = format!("<sip:{}@{}>", l.number, config.domain);
        let expires = if r.removing { 0 } else { r.expires_s.unwrap_or(config.expires_s) };
        let mut w = Writer::request("REGISTER", &uri);
        w.header("Via", via)
            .header("Max-Forwards", MAX_FORWARDS)
            .header("From", format_args!("{aor};tag={}", r.from_tag))
            .header("To", &aor)
            .header("Call-ID", &r.call_id)
            .header("CSeq", format_args!("{} REGISTER", r.cseq))
            .header("Contact", contact)
            .header("Expires", expires)
            .header("Allow", crate::ua::ALLOW)
            .header("Supported", "path");
        if let Some(ua) = &config.user_agent {
            w.header("User-Agent", ua);
        }
        if let (Some((session, proxy)), Some(who)) = (&mut r.session, &l.auth) {
            let name = if *proxy { "Proxy-Authorization" } else { "Authorization" };
            w.header(name, session.answer(who, "REGISTER", &uri, &mut **entropy));
        }
        let bytes = w.finish(None);
        let dest = config.registrar;
        self.clients.insert(
            branch,
            ClientTransaction::new(now, "REGISTER", Owner::Register(line), bytes.clone(), dest),
        );
        self.transmit(dest, bytes);
        if !matches!(self.registrations[line].state, RegistrationState::Registered) {
            self.registration_state(line, RegistrationState::Registering);
        }
    }

    pub(crate) fn register_response(&mut self, now: Instant, line: usize, m: &Message, status: u16) {
        let local = self.local;
        match status {
            200..300 => {
                // §10.2.4: the contact's own expires wins; ours is the one with our address.
                let mine = m.all("Contact").find(|c| {
                    local.is_some_and(|l| crate::dialog::literal(uri_of(c)).is_some_and(|a| a == l))
                });
                let granted = mine
                    .and_then(|c| param(c, "expires"))
                    .or_else(|| m.header("Expires"))
                    .and_then(|v| v.trim().parse::<u32>().ok());
                let r = &mut self.registrations[line];
                if r.removing {
                    r.removing = false;
                    self.registration_state(line, RegistrationState::Unregistered);
                    return;
                }
                let expires = granted.unwrap_or(self.config.expires_s).max(EXPIRES_MIN_S);
                r.service_route = m.all("Service-Route").map(str::to_owned).collect();
                (r.challenges, r.failures, r.last_failure) = (0, 0, None);
                r.expires_at = Some(now + Duration::from_secs(expires.into()));
                // Half of what was granted, and never in the same second as everybody else's.
                let jitter = self.entropy.below(expires * 50 + 1);
                let half = Duration::from_millis(u64::from(expires) * 500 - u64::from(jitter));
                self.registrations[line].due_at = Some(now + half);
                self.registration_state(line, RegistrationState::Registered);
            }
            401 | 407 => {
                let proxy = status == 407;
                let name = if proxy { "Proxy-Authenticate" } else { "WWW-Authenticate" };
                let challenge = Challenge::choose(m.all(name));
                let has_credentials = self.config.lines[line].auth.is_some();
                let r = &mut self.registrations[line];
                match challenge {
                    // A stale nonce is no wrong password (RFC 7616 §3.3).
                    Some(c) if has_credentials && (r.challenges < CHALLENGES_MAX || c.stale) => {
                        r.challenges = if c.stale { r.challenges } else { r.challenges + 1 };
                        if r.challenges <= CHALLENGES_MAX {
                            r.session = Some((Session::new(c), proxy));
                            self.register(now, line);
                        }
                    }
                    Some(_) if has_credentials => {
                        self.registrations[line].session = None;
                        self.register_failed(
                            now,
                            line,
                            format!("{status}: username or password is wrong"),
                            None,
                        );
                    }
                    Some(_) => self.register_failed(
                        now,
                        line,
                        format!("{status}: the line has no credentials"),
                        None,
                    ),
                    None => self.register_failed(
                        now,
                        line,
                        format!("{status}: no challenge that is supported"),
                        None,
                    ),
                }
            }
            423 => {
                // §10.3: Min-Expires says what would do.
                let min = m.header("Min-Expires").and_then(|v| v.trim().parse().ok());
                let r = &mut self.registrations[line];
                match min {
                    Some(min) if r.expires_s.is_none_or(|e| e < min) => {
                        r.expires_s = Some(min);
                        self.register(now, line);
                    }
                    _ => self.register_failed(now, line, "423 Interval Too Brief".into(), None),
                }
            }
            _ => {
                let retry =
                    m.header("Retry-After").and_then(|v| v.split([' ', ';', '(']).next()?.parse().ok());
                self.register_failed(now, line, format!("{status} {}", phrase(m)), retry);
            }
        }
    }

    pub(crate) fn register_failed(
        &mut self,
        now: Instant,
        line: usize,
        reason: String,
        retry_after_s: Option<u64>,
    ) {
        let r = &mut self.registrations[line];
        r.last_failure = Some(reason.clone());
        if r.removing {
            r.removing = false;
            self.registration_state(line, RegistrationState::Unregistered);
            return;
        }
        let back_off = (RETRY_MIN * 2u32.pow(r.failures.min(6))).min(RETRY_MAX);
        r.failures += 1;
        let base = retry_after_s.map_or(back_off, |s| Duration::from_secs(s.min(3600)));
        // A whole region must not come back in the same second.
        let jitter = u64::from(self.entropy.below(u32::try_from(base.as_millis() / 4).unwrap_or(u32::MAX)));
        let r = &mut self.registrations[line];
        r.due_at = Some(now + base + Duration::from_millis(jitter));
        // A refresh that fails leaves the old binding until it expires; the next try comes before that or not.
        if r.expires_at.is_none_or(|at| at <= now + T64) {
            r.expires_at = None;
            self.registration_state(line, RegistrationState::Failed { reason });
        }
    }

    fn registration_state(&mut self, line: usize, state: RegistrationState) {
        let r = &mut self.registrations[line];
        if r.state != state {
            r.state = state.clone();
            let line = self.config.lines[line].number;
            self.event(Event::Registration { line, state });
        }
    }
}

/// A peer's reason phrase, bounded and printable.
pub fn phrase(m: &Message) -> String {
    match &m.start {
        crate::message::Start::Response { reason, .. } => {
            reason.chars().filter(|c| !c.is_control()).take(64).collect()
        }
        crate::message::Start::Request { .. } => String::new(),
    }
}
