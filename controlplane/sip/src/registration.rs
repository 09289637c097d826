//! The registration of one line (RFC 3261 §10): its state and its next REGISTER.

use crate::auth::{Auth, AuthError};
use crate::config::{Config, Line, MAX_FORWARDS, RAISES_MAX, T64};
use crate::dialog::route;
use crate::digest::Request;
use crate::message::{Message, NameAddr, Writer, host_addr, printable, user_of};
use crate::output::{RegistrationState, RegistrationView};
use crate::target::Target;
use sipsec_net::{Entropy, Instant, TelNumber};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

/// Back-off after a failure: doubles between these, with jitter.
const RETRY_MIN: Duration = Duration::from_secs(5);
const RETRY_MAX: Duration = Duration::from_secs(300);
/// A line registers anew because of refused calls at most this often.
pub const RENEW_MIN: Duration = Duration::from_secs(30);
/// A longer binding is as good as this one (RFC 4475 §3.1.2.4: some registrars say anything).
const EXPIRES_MAX_S: u32 = 7 * 24 * 3600;
/// Bindings of others that the shown reason names, and characters of each.
const URIS_SHOWN: usize = 2;
const URI_CHARS_MAX: usize = 64;

/// Whether a line registers anew ahead of time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Renewal {
    /// It is not registered: its own retries go on.
    No,
    Now,
    /// It did so a moment ago.
    Later(Instant),
}

#[derive(Debug)]
pub struct Registration {
    /// §10.2: one Call-ID for all registrations of a line, CSeq rising.
    call_id: String,
    from_tag: String,
    cseq: u32,
    state: RegistrationState,
    expires_at: Option<Instant>,
    last_failure: Option<String>,
    auth: Auth,
    failures: u32,
    /// The expiry to ask for, if the registrar wanted a longer one than the profile's.
    expires_s: Option<u32>,
    /// How often a 423 has raised it since the last try.
    raises: u32,
    /// The REGISTER under way removes the binding.
    removing: bool,
    /// RFC 3608.
    service_route: Vec<String>,
    /// A call was refused as if the registrar did not know the line: the binding counts only once a REGISTER is
    /// answered.
    doubted: bool,
    /// When a refused call last made the line register anew.
    renewed_at: Option<Instant>,
    /// The next REGISTER has waited for its turn.
    has_turn: bool,
    /// The last REGISTER.
    transaction: Option<Arc<str>>,
    /// Where it went, and our address that it named.
    target: Option<Target>,
    contact: Option<SocketAddr>,
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
            target: None,
            contact: None,
        }
    }

    pub fn view(&self, line: &Line, domain: &str) -> RegistrationView {
        RegistrationView {
            line: line.number,
            domain: domain.to_owned(),
            state: self.state.clone(),
            contact: self.contact,
            server: self.target.clone(),
            expires_at: self.expires_at,
            call_id: self.call_id.clone(),
            last_failure: self.last_failure.clone(),
        }
    }

    pub fn is_registered(&self) -> bool {
        self.state == RegistrationState::Registered
    }

    /// Whether the carrier may have a binding of ours: one whose answer is outstanding may have been made all the same.
    pub fn is_bound(&self) -> bool {
        self.expires_at.is_some() || self.state == RegistrationState::Registering
    }

    pub const fn is_removing(&self) -> bool {
        self.removing
    }

    /// RFC 3608 §5: the route of calls from this line.
    pub fn service_route(&self) -> &[String] {
        &self.service_route
    }

    /// `true` if it is another than before.
    pub fn set_state(&mut self, state: RegistrationState) -> bool {
        let changed = self.state != state;
        self.state = state;
        changed
    }

    /// A REGISTER begins, first of its challenges and raises.
    pub fn begin(&mut self) {
        self.auth.begin();
        self.raises = 0;
    }

    /// Forgets what is under way; gives its transaction.
    pub fn forget(&mut self) -> Option<Arc<str>> {
        self.has_turn = false;
        self.transaction.take()
    }

    /// The gateway has another address, or none: what was bound is not this one.
    pub fn moved(&mut self) {
        (self.expires_at, self.failures) = (None, 0);
        (self.target, self.contact) = (None, None);
        self.begin();
    }

    /// The binding is given up. `true` if there may be one to remove.
    pub fn give_up(&mut self) -> bool {
        let bound = self.is_bound();
        self.begin();
        self.expires_at = None;
        self.removing = bound;
        bound
    }

    /// The REGISTER under way has ended: `true` if it was to remove the binding.
    pub fn take_removing(&mut self) -> bool {
        std::mem::take(&mut self.removing)
    }

    /// Doubts the binding, at most once in [`RENEW_MIN`].
    pub fn renew(&mut self, now: Instant) -> Renewal {
        let renewal = self.renewal(now);
        if renewal == Renewal::Now {
            (self.renewed_at, self.doubted) = (Some(now), true);
            self.begin();
        }
        renewal
    }

    /// Whether [`Self::renew`] would.
    pub fn renewal(&self, now: Instant) -> Renewal {
        if !self.is_registered() {
            return Renewal::No;
        }
        let soonest = self.renewed_at.map(|at| at + RENEW_MIN).filter(|at| now < *at);
        soonest.map_or(Renewal::Now, Renewal::Later)
    }

    /// The registrar said that there is no binding of ours.
    pub fn doubt(&mut self) {
        self.doubted = true;
    }

    pub fn wait_for_turn(&mut self) {
        self.has_turn = true;
    }

    pub const fn waits_for_turn(&self) -> bool {
        self.has_turn
    }

    /// `true` if it has waited for this.
    pub fn take_turn(&mut self) -> bool {
        std::mem::take(&mut self.has_turn)
    }

    pub fn sent(&mut self, transaction: Arc<str>, target: Target, contact: SocketAddr) {
        self.transaction = Some(transaction);
        (self.target, self.contact) = (Some(target), Some(contact));
    }

    /// Where the last REGISTER went.
    pub const fn target(&self) -> Option<&Target> {
        self.target.as_ref()
    }

    pub fn transaction(&self) -> Option<&Arc<str>> {
        self.transaction.as_ref()
    }

    fn asked_s(&self, config: &Config) -> u32 {
        self.expires_s.unwrap_or(config.expires_s)
    }

    /// The next REGISTER (§10.2).
    pub fn write(
        &mut self,
        config: &Config,
        line: &Line,
        via: &str,
        contacts: &[String],
        entropy: &mut dyn Entropy,
    ) -> Vec<u8> {
        self.cseq += 1;
        let uri = format!("sip:{}", config.domain);
        let aor = format!("<sip:{}@{}>", line.number, config.domain);
        let mut w = Writer::request("REGISTER", &uri);
        w.header("Via", via)
            .header("Max-Forwards", MAX_FORWARDS)
            .header("From", format_args!("{aor};tag={}", self.from_tag))
            .header("To", &aor)
            .header("Call-ID", &self.call_id)
            .header("CSeq", format_args!("{} REGISTER", self.cseq))
            .headers("Contact", contacts.iter().map(String::as_str))
            .header("Expires", if self.removing { 0 } else { self.asked_s(config) })
            .header("Allow", &config.dialect.allow);
        if !config.dialect.register_supported.is_empty() {
            w.header("Supported", &config.dialect.register_supported);
        }
        if let Some(ua) = &config.user_agent {
            w.header("User-Agent", ua);
        }
        let request = Request { method: "REGISTER", uri: &uri, body: b"" };
        for (name, value) in self.auth.headers(line.auth.as_ref(), request, entropy) {
            w.header(name, value);
        }
        w.finish(None)
    }

    /// The seconds of a 2xx, which is then the state of things.
    ///
    /// # Errors
    /// If it says that our address is not bound.
    pub fn granted(
        &mut self,
        now: Instant,
        m: &Message,
        (config, contact_user): (&Config, &str),
    ) -> Result<u32, String> {
        let expires = match granted(m, self.contact, contact_user, self.asked_s(config)) {
            Granted::For(expires) => expires.min(EXPIRES_MAX_S),
            Granted::Not(why) => return Err(why),
        };
        self.service_route = m.all("Service-Route").filter_map(route).collect();
        (self.failures, self.last_failure, self.doubted) = (0, None, false);
        self.expires_at = Some(now + Duration::from_secs(expires.into()));
        Ok(expires)
    }

    /// §10.3: a 423 says in Min-Expires what would do. `true` if that is worth another try.
    pub fn raise(&mut self, m: &Message, config: &Config) -> bool {
        let min = m.seconds("Min-Expires").filter(|min| *min <= EXPIRES_MAX_S && *min > self.asked_s(config));
        if min.is_none() || self.raises >= RAISES_MAX {
            return false;
        }
        (self.expires_s, self.raises) = (min, self.raises + 1);
        true
    }

    /// # Errors
    /// If the challenges of a 401 or 407 cannot be answered.
    pub fn challenged(&mut self, m: &Message, line: &Line) -> Result<(), &'static str> {
        if line.auth.is_none() {
            return Err("the line has no credentials");
        }
        self.auth.learn(m).map_err(|e| match e {
            AuthError::Unsupported => "no challenge that is supported",
            AuthError::Wrong => "username or password is wrong",
        })
    }

    /// A try failed: the pause before the next, without jitter.
    pub fn failed(&mut self, reason: &str) -> Duration {
        self.last_failure = Some(reason.to_owned());
        let back_off = (RETRY_MIN * 2u32.pow(self.failures.min(6))).min(RETRY_MAX);
        self.failures += 1;
        back_off
    }

    /// A refresh that fails leaves the old binding until it expires, unless it is doubted. `true` if it does not count any
    /// more, since the next try comes too late for it.
    pub fn lapses(&mut self, next_try: Instant) -> bool {
        let lapses =
            std::mem::take(&mut self.doubted) || self.expires_at.is_none_or(|at| at <= next_try + T64);
        if lapses {
            self.expires_at = None;
        }
        lapses
    }
}

/// Our binding as a 2xx has it.
enum Granted {
    /// For so many seconds.
    For(u32),
    Not(String),
}

/// RFC 3261 §10.2.4: the 2xx lists every binding. Ours is the one with our address, and its own `expires` wins. A 2xx
/// without any binding, or with one that cannot be read, is taken to have made ours; one that lists others alone, or ours
/// with 0 s, has not.
fn granted(m: &Message, local: Option<SocketAddr>, user: &str, asked_s: u32) -> Granted {
    let contacts: Vec<_> = m.all("Contact").map(NameAddr::read).collect();
    let readable = || contacts.iter().flatten();
    let here = || readable().filter(|c| local.is_some() && host_addr(c.uri) == local);
    // Another user part at our address may be left from an earlier profile.
    let number = user.parse::<TelNumber>();
    let is_ours = |u: String| u == user || number.as_ref().is_ok_and(|n| u.parse().as_ref() == Ok(n));
    let named = here().find(|c| user_of(c.uri).is_some_and(is_ours));
    let ours = named.or_else(|| here().next());
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
