//! Registering the lines (RFC 3261 §10.2): when, and what follows from the answers.

use super::UserAgent;
use crate::call::CallId;
use crate::message::{Message, seconds};
use crate::output::{Event, RegistrationState};
use crate::reason::Reason;
use crate::schedule::Due;
use crate::transaction::{ClientTransaction, Owner};
use sipsec_net::{Instant, TelNumber};
use std::net::SocketAddr;
use std::time::Duration;

/// A binding of a second or two is not refreshed more often than this.
const REFRESH_MIN: Duration = Duration::from_secs(1);
/// The longest pause that a `Retry-After` can ask for.
const RETRY_AFTER_MAX_S: u32 = 3600;

impl UserAgent {
    /// The WAN's address, or none. A change registers anew at once; BYEs that waited for an address are sent.
    pub fn set_local_addr(&mut self, now: Instant, addr: Option<SocketAddr>) {
        if self.local == addr {
            return;
        }
        self.local = addr;
        if addr.is_some() {
            // Calls that are being left cost money: before anything else.
            self.leave_from_here(now);
        }
        self.pace_others.reset();
        for line in 0..self.registrations.len() {
            self.forget_register(line);
            self.registrations[line].moved();
            if addr.is_some() {
                // The old address is bound, this one is not: no call can come to it yet.
                self.registration_state(line, RegistrationState::Registering);
                self.register_in_turn(now, line);
            } else {
                self.registration_state(line, RegistrationState::NoAddress);
            }
        }
        self.settle();
    }

    /// The registrar, which is the outbound proxy too, and the domain, as DHCP has just named them. A change registers
    /// anew at once. Calls that are up keep the proxy through which they were made, so that they can be hung up there.
    pub fn set_server(&mut self, now: Instant, registrar: SocketAddr, domain: &str) {
        if self.config.registrar == registrar && self.config.domain == domain {
            return;
        }
        self.former_registrar = Some(self.config.registrar.ip());
        self.config.registrar = registrar;
        domain.clone_into(&mut self.config.domain);
        // The new server knows no binding of ours, whatever the old one granted.
        let local = self.local.take();
        self.set_local_addr(now, local);
    }

    /// Removes all bindings (§10.2.2).
    pub fn unregister_all(&mut self, now: Instant) {
        self.stopping = true;
        for line in 0..self.registrations.len() {
            self.forget_register(line);
            if self.registrations[line].give_up() && self.local.is_some() {
                self.register_in_turn(now, line);
            } else {
                self.registrations[line].take_removing();
                self.registration_state(line, RegistrationState::Unregistered);
            }
        }
        self.settle();
    }

    /// Whether the carrier knows where this line is.
    #[must_use]
    pub fn is_registered(&self, line: TelNumber) -> bool {
        self.config.line_of(line).is_some_and(|line| self.registrations[line].is_registered())
    }

    /// Whether every line's removal has been answered or given up.
    #[must_use]
    pub fn unregistered(&self) -> bool {
        !self.registrations.iter().any(crate::registration::Registration::is_removing)
    }

    /// Registers the line anew at once, without waiting for half of its expiry. Nothing happens, and the answer is
    /// `false`, for a line that is not registered (its own retries go on), while a REGISTER is under way, and within 30 s
    /// of the last time.
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
        let sent = r.transaction().and_then(|key| self.clients.get(key));
        let under_way = r.waits_for_turn() || sent.is_some_and(ClientTransaction::pending);
        if self.stopping || under_way || !self.registrations[line].renew(now) {
            return false;
        }
        self.forget_register(line);
        self.register_in_turn(now, line);
        true
    }

    fn forget_register(&mut self, line: usize) {
        if let Some(key) = self.registrations[line].forget() {
            self.clients.remove(&key);
            self.rearm_client(&key);
        }
        self.schedule.set(Due::Registration(line), None);
    }

    pub(super) fn register_due(&mut self, now: Instant, line: usize) {
        self.registrations[line].begin();
        self.register_in_turn(now, line);
    }

    fn register_in_turn(&mut self, now: Instant, line: usize) {
        if !self.registrations[line].take_turn() && self.local.is_some() {
            let turn = self.pace_others.take(now);
            if turn > now {
                self.registrations[line].wait_for_turn();
                self.schedule.set(Due::Registration(line), Some(turn));
                return;
            }
        }
        self.register(now, line);
    }

    fn register(&mut self, now: Instant, line: usize) {
        let branch = self.branch();
        let Some(local) = self.local else { return };
        let (via, contact) = (self.via(local, &branch), self.contact(Some(line), local));
        let Self { config, entropy, registrations, .. } = self;
        let bytes = registrations[line].write(config, &config.lines[line], &via, &contact, &mut **entropy);
        let dest = config.registrar;
        let key = self.start(now, &branch, "REGISTER", Owner::Register(line), bytes, dest);
        self.registrations[line].sent(key);
        if !self.registrations[line].is_registered() {
            self.registration_state(line, RegistrationState::Registering);
        }
    }

    pub(super) fn register_response(&mut self, now: Instant, line: usize, m: &Message, status: u16) {
        let (r, config) = (&mut self.registrations[line], &self.config);
        match status {
            200..300 => self.registered(now, line, m),
            401 | 407 => match r.challenged(m, &config.lines[line]) {
                Ok(()) => self.register(now, line),
                Err(why) => self.register_failed(now, line, format!("{status}: {why}"), None),
            },
            423 if r.raise(m, config) => self.register(now, line),
            423 => self.register_failed(now, line, "423 Interval Too Brief".into(), None),
            _ => {
                let retry = m.header("Retry-After").and_then(seconds);
                let said = Reason::of(m).map(|r| format!(": {r}")).unwrap_or_default();
                self.register_failed(now, line, format!("{status} {}{said}", m.phrase()), retry);
            }
        }
    }

    fn registered(&mut self, now: Instant, line: usize, m: &Message) {
        let r = &mut self.registrations[line];
        if r.take_removing() {
            return self.registration_state(line, RegistrationState::Unregistered);
        }
        let known = (&self.config, &self.config.lines[line]);
        let expires = match r.granted(now, m, self.local, known) {
            Ok(expires) => expires,
            Err(why) => {
                r.doubt();
                return self.register_failed(now, line, why, None);
            }
        };
        // Half of what was granted, less up to a tenth of it, so that not all lines come in the same second.
        let jitter = self.entropy.below(expires * 50 + 1);
        let half = Duration::from_millis(u64::from(expires) * 500 - u64::from(jitter)).max(REFRESH_MIN);
        self.schedule.set(Due::Registration(line), Some(now + half));
        self.registration_state(line, RegistrationState::Registered);
    }

    pub(super) fn register_failed(
        &mut self,
        now: Instant,
        line: usize,
        reason: String,
        retry_after_s: Option<u32>,
    ) {
        let r = &mut self.registrations[line];
        let back_off = r.failed(&reason);
        if r.take_removing() {
            return self.registration_state(line, RegistrationState::Unregistered);
        }
        let asked = Duration::from_secs(retry_after_s.unwrap_or(0).min(RETRY_AFTER_MAX_S).into());
        // Not before it asks, and not at once because it asks for nothing.
        let base = back_off.max(asked);
        // A whole region must not come back in the same second.
        let jitter = self.entropy.below(u32::try_from(base.as_millis() / 4).unwrap_or(u32::MAX));
        let again = now + base + Duration::from_millis(jitter.into());
        self.schedule.set(Due::Registration(line), Some(again));
        if self.registrations[line].lapses(again) {
            self.registration_state(line, RegistrationState::Failed { reason });
        }
    }

    fn registration_state(&mut self, line: usize, state: RegistrationState) {
        if self.registrations[line].set_state(state.clone()) {
            let line = self.config.lines[line].number;
            self.event(Event::Registration { line, state });
        }
    }
}
