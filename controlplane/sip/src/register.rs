//! Registration of each line (RFC 3261 §10).

use crate::auth::{Auth, AuthError};
use crate::call::CallId;
use crate::config::{MAX_FORWARDS, RAISES_MAX, T64};
use crate::digest::Request;
use crate::message::{Message, NameAddr, Writer, host_addr, printable, seconds};
use crate::output::{Event, RegistrationState};
use crate::reason::Reason;
use crate::schedule::Due;
use crate::transaction::{ClientTransaction, Owner};
use crate::ua::UserAgent;
use sipsec_net::{Entropy, Instant, TelNumber};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

/// Back-off after a failure: doubles between these, with jitter.
const RETRY_MIN: Duration = Duration::from_secs(5);
const RETRY_MAX: Duration = Duration::from_secs(300);
/// A line registers anew because of refused calls at most this often.
pub const RENEW_MIN: Duration = Duration::from_secs(30);
/// A binding of a second or two is not refreshed more often than this.
const REFRESH_MIN: Duration = Duration::from_secs(1);
/// And longer ones are as good as this (RFC 4475 §3.1.2.4: some say anything).
const EXPIRES_MAX_S: u32 = 7 * 24 * 3600;

/// Of the bindings that a registrar lists instead of ours, for the reason shown.
const URIS_SHOWN: usize = 2;
const URI_CHARS_MAX: usize = 64;

#[derive(Debug)]
pub struct Registration {
    /// §10.2: one Call-ID for all registrations of a line, CSeq rising.
    pub call_id: String,
    from_tag: String,
    cseq: u32,
    pub state: RegistrationState,
    pub expires_at: Option<Instant>,
    pub last_failure: Option<String>,
    auth: Auth,
    failures: u32,
    expires_s: Option<u32>,
    /// How often a 423 has raised it since the last try.
    raises: u32,
    removing: bool,
    /// RFC 3608.
    pub service_route: Vec<String>,
    /// A call was refused as if the registrar did not know the line: the binding counts only once a REGISTER is
    /// answered.
    doubted: bool,
    /// When a refused call last made the line register anew.
    renewed_at: Option<Instant>,
    /// What is due next has waited for its turn.
    has_turn: bool,
    /// The last REGISTER.
    transaction: Option<Arc<str>>,
}

impl Registration {
    pub fn new(entropy: &mut dyn Entropy) -> Self {
        Self {
            call_id: format!("{:016x}{:016x}", entropy.u64(), entropy.u64()),
            from_tag: format!("{:016x}", entropy.u64()),
            cseq: 0,
            state: RegistrationState::NoAddress,
            expires_at: None,
            last_failure: None,
            auth: Auth::default(),
            failures: 0,
            expires_s: None,
            raises: 0,
            removing: false,
            service_route: Vec::new(),
            doubted: false,
            renewed_at: None,
            has_turn: false,
            transaction: None,
        }
    }
}

impl Registration {
    /// Whether the carrier may have a binding of ours: one whose answer is outstanding may have been made all the same.
    pub fn is_bound(&self) -> bool {
        self.expires_at.is_some() || self.state == RegistrationState::Registering
    }
}

impl UserAgent {
    /// The WAN's address, or none. A change registers anew at once; BYEs that waited for an address are sent.
    pub fn set_local_addr(&mut self, now: Instant, addr: Option<SocketAddr>) {
        if self.local == addr {
            return;
        }
        self.local = addr;
        if addr.is_some() {
            // Calls to be left cost money: before anything else.
            self.leave_from_here(now);
        }
        self.pace_others.reset();
        for line in 0..self.registrations.len() {
            self.forget_register(line);
            let r = &mut self.registrations[line];
            (r.expires_at, r.failures) = (None, 0);
            r.auth.begin();
            if addr.is_some() {
                // The old address is bound, this one is not: nobody may call from it yet.
                self.registration_state(line, RegistrationState::Registering);
                self.register_in_turn(now, line);
            } else {
                self.registration_state(line, RegistrationState::NoAddress);
            }
        }
        self.settle();
    }

    /// Removes all bindings (§10.2.2).
    pub fn unregister_all(&mut self, now: Instant) {
        self.stopping = true;
        for line in 0..self.registrations.len() {
            self.forget_register(line);
            let r = &mut self.registrations[line];
            r.auth.begin();
            let bound = r.is_bound();
            r.expires_at = None;
            if bound && self.local.is_some() {
                self.registrations[line].removing = true;
                self.register_in_turn(now, line);
            } else {
                self.registration_state(line, RegistrationState::Unregistered);
            }
        }
        self.settle();
    }

    /// Whether the carrier knows where this line is.
    #[must_use]
    pub fn is_registered(&self, line: TelNumber) -> bool {
        let state = self.config.line_of(line).map(|i| &self.registrations[i].state);
        state == Some(&RegistrationState::Registered)
    }

    /// Whether every line's removal has been answered or given up.
    #[must_use]
    pub fn unregistered(&self) -> bool {
        !self.registrations.iter().any(|r| r.removing)
    }

    /// Registers the line anew at once, without waiting for half of its expiry. Nothing happens, and the answer is
    /// `false`, for a line that is not registered (its own retries go on), while a REGISTER is under way, and within
    /// [`RENEW_MIN`] of the last time.
    pub fn register_again(&mut self, now: Instant, line: TelNumber) -> bool {
        let again = self.config.line_of(line).is_some_and(|line| self.renew(now, line));
        self.settle();
        again
    }

    /// A registrar that restarted, or a standby that took over, has no bindings: it refuses our calls and sends us none,
    /// until the line registers again.
    pub(crate) fn renew_registration(&mut self, now: Instant, id: CallId, status: u16) {
        let line = self.calls.get(id).and_then(|c| c.line);
        if let (Some(line), 403 | 404 | 408 | 480) = (line, status)
            && self.renew(now, line)
        {
            self.stats.reregistered += 1;
        }
    }

    fn renew(&mut self, now: Instant, line: usize) -> bool {
        let r = &self.registrations[line];
        let soon = r.renewed_at.is_some_and(|at| now < at + RENEW_MIN);
        if soon || self.stopping || r.state != RegistrationState::Registered || self.registering(line) {
            return false;
        }
        self.forget_register(line);
        let r = &mut self.registrations[line];
        (r.renewed_at, r.doubted) = (Some(now), true);
        r.auth.begin();
        self.register_in_turn(now, line);
        true
    }

    fn registering(&self, line: usize) -> bool {
        let r = &self.registrations[line];
        let sent = r.transaction.as_ref().and_then(|key| self.clients.get(key));
        r.has_turn || sent.is_some_and(ClientTransaction::pending)
    }

    fn forget_register(&mut self, line: usize) {
        let r = &mut self.registrations[line];
        r.has_turn = false;
        if let Some(key) = r.transaction.take() {
            self.clients.remove(&key);
            self.rearm_client(&key);
        }
        self.schedule.set(Due::Registration(line), None);
    }

    pub(crate) fn register_due(&mut self, now: Instant, line: usize) {
        let r = &mut self.registrations[line];
        r.auth.begin();
        r.raises = 0;
        self.register_in_turn(now, line);
    }

    fn register_in_turn(&mut self, now: Instant, line: usize) {
        if !std::mem::take(&mut self.registrations[line].has_turn) && self.local.is_some() {
            let turn = self.pace_others.take(now);
            if turn > now {
                self.registrations[line].has_turn = true;
                self.schedule.set(Due::Registration(line), Some(turn));
                return;
            }
        }
        self.register(now, line);
    }

    fn register(&mut self, now: Instant, line: usize) {
        let branch = self.branch();
        let Some(local) = self.local else { return };
        let via = self.via(local, &branch);
        let contact = self.contact(Some(line), local);
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
            // RFC 3327 §5.1; a registrar of this service refuses calls to those who do not say so.
            .header("Supported", "path");
        if let Some(ua) = &config.user_agent {
            w.header("User-Agent", ua);
        }
        let request = Request { method: "REGISTER", uri: &uri, body: b"" };
        for (name, value) in r.auth.headers(l.auth.as_ref(), request, &mut **entropy) {
            w.header(name, value);
        }
        let dest = config.registrar;
        let key = self.start(now, &branch, "REGISTER", Owner::Register(line), w.finish(None), dest);
        self.registrations[line].transaction = Some(key);
        if !matches!(self.registrations[line].state, RegistrationState::Registered) {
            self.registration_state(line, RegistrationState::Registering);
        }
    }

    pub(crate) fn register_response(&mut self, now: Instant, line: usize, m: &Message, status: u16) {
        match status {
            200..300 => self.registered(now, line, m),
            401 | 407 => self.register_challenged(now, line, m, status),
            423 => {
                // §10.3: Min-Expires says what would do.
                let min = m.seconds("Min-Expires").filter(|min| *min <= EXPIRES_MAX_S);
                let r = &mut self.registrations[line];
                match min {
                    Some(min)
                        if r.raises < RAISES_MAX && r.expires_s.unwrap_or(self.config.expires_s) < min =>
                    {
                        (r.expires_s, r.raises) = (Some(min), r.raises + 1);
                        self.register(now, line);
                    }
                    _ => self.register_failed(now, line, "423 Interval Too Brief".into(), None),
                }
            }
            _ => {
                let retry = m.header("Retry-After").and_then(seconds);
                let said = Reason::of(m).map(|r| format!(": {r}")).unwrap_or_default();
                self.register_failed(now, line, format!("{status} {}{said}", m.phrase()), retry);
            }
        }
    }

    fn registered(&mut self, now: Instant, line: usize, m: &Message) {
        if std::mem::take(&mut self.registrations[line].removing) {
            return self.registration_state(line, RegistrationState::Unregistered);
        }
        let asked = self.registrations[line].expires_s.unwrap_or(self.config.expires_s);
        let expires = match granted(m, self.local, asked) {
            Granted::For(expires) => expires.min(EXPIRES_MAX_S),
            Granted::Not(why) => {
                self.registrations[line].doubted = true;
                return self.register_failed(now, line, why, None);
            }
        };
        let r = &mut self.registrations[line];
        r.service_route = m.all("Service-Route").map(str::to_owned).collect();
        (r.failures, r.last_failure, r.doubted) = (0, None, false);
        r.expires_at = Some(now + Duration::from_secs(expires.into()));
        // Half of what was granted, less up to a tenth of it, so that not all lines come in the same second.
        let jitter = self.entropy.below(expires * 50 + 1);
        let half = Duration::from_millis(u64::from(expires) * 500 - u64::from(jitter)).max(REFRESH_MIN);
        self.schedule.set(Due::Registration(line), Some(now + half));
        self.registration_state(line, RegistrationState::Registered);
    }

    fn register_challenged(&mut self, now: Instant, line: usize, m: &Message, status: u16) {
        let why = if self.config.lines[line].auth.is_none() {
            "the line has no credentials"
        } else {
            match self.registrations[line].auth.learn(m) {
                Ok(()) => return self.register(now, line),
                Err(AuthError::Unsupported) => "no challenge that is supported",
                Err(AuthError::Wrong) => "username or password is wrong",
            }
        };
        self.register_failed(now, line, format!("{status}: {why}"), None);
    }

    pub(crate) fn register_failed(
        &mut self,
        now: Instant,
        line: usize,
        reason: String,
        retry_after_s: Option<u32>,
    ) {
        let r = &mut self.registrations[line];
        r.last_failure = Some(reason.clone());
        if std::mem::take(&mut r.removing) {
            return self.registration_state(line, RegistrationState::Unregistered);
        }
        let back_off = (RETRY_MIN * 2u32.pow(r.failures.min(6))).min(RETRY_MAX);
        r.failures += 1;
        let asked = Duration::from_secs(u64::from(retry_after_s.unwrap_or(0).min(3600)));
        // Not before it asks, and not at once because it asks for nothing.
        let base = back_off.max(asked);
        // A whole region must not come back in the same second.
        let jitter = self.entropy.below(u32::try_from(base.as_millis() / 4).unwrap_or(u32::MAX));
        let again = now + base + Duration::from_millis(jitter.into());
        self.schedule.set(Due::Registration(line), Some(again));
        // A refresh that fails leaves the old binding until it expires; the next try comes before that or not.
        let r = &mut self.registrations[line];
        if std::mem::take(&mut r.doubted) || r.expires_at.is_none_or(|at| at <= again + T64) {
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

/// What a 2xx says of our binding.
enum Granted {
    /// For so many seconds.
    For(u32),
    Not(String),
}

/// RFC 3261 §10.2.4: the 2xx lists every binding. Ours is the one with our address, and its own `expires` wins. A 2xx
/// without any binding, or with one that cannot be read, is taken to have made ours; one that lists others alone, or ours
/// with 0 s, has not.
fn granted(m: &Message, local: Option<SocketAddr>, asked_s: u32) -> Granted {
    let contacts: Vec<_> = m.all("Contact").map(NameAddr::read).collect();
    let readable = || contacts.iter().flatten();
    let ours = readable().find(|c| local.is_some() && host_addr(c.uri) == local);
    if ours.is_none() && !contacts.is_empty() && readable().count() == contacts.len() {
        let listed: Vec<_> = readable().map(|c| printable(c.uri, URI_CHARS_MAX)).take(URIS_SHOWN).collect();
        let listed = listed.join(", ");
        return Granted::Not(format!("the registrar did not bind our address; it lists {listed}"));
    }
    let own = ours.and_then(|c| c.seconds("expires"));
    match own.or_else(|| m.seconds("Expires")) {
        Some(0) => Granted::Not("the registrar did not keep our binding (expires 0)".into()),
        Some(s) => Granted::For(s),
        None => Granted::For(asked_s),
    }
}
