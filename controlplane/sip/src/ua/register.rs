//! Registering the lines (RFC 3261 §10.2): when, and what follows from the answers.

use super::UserAgent;
use crate::call::CallId;
use crate::message::{Message, seconds};
use crate::output::{Event, RegistrationState};
use crate::reason::Reason;
use crate::registration::Renewal;
use crate::schedule::Due;
use crate::target::Target;
use crate::transaction::{ClientTransaction, Owner};
use crate::transport::{Flow, Locals};
use sipsec_net::{Instant, TelNumber};
use std::time::Duration;

/// A binding of a second or two is not refreshed more often than this.
const REFRESH_MIN: Duration = Duration::from_secs(1);
/// The longest pause that a `Retry-After` can ask for.
const RETRY_AFTER_MAX_S: u32 = 3600;

impl UserAgent {
    /// The WAN's addresses. Where one changed, lines register anew at once, and BYEs that waited for an address are sent.
    pub fn set_locals(&mut self, now: Instant, locals: Locals) {
        let old = std::mem::replace(&mut self.locals, locals);
        let moved = |t: &Target| old.towards(t.addr) != locals.towards(t.addr);
        if old == locals {
            return;
        }
        self.flows.retain(|addr| locals.has(addr));
        // Calls that are being left cost money: before anything else.
        self.leave_from_here(now, &moved);
        self.pace_others.reset();
        let next = self.registrar(now);
        let calls_moved = self.proxies.iter().any(|t| moved(t) && locals.towards(t.addr).is_some());
        for line in 0..self.registrations.len() {
            let was = self.registrations[line].target();
            // A line without a registrar waits for an address of the right family.
            if was.is_some_and(|was| !moved(was) && next.is_some()) {
                // The binding stays, and the Contact for calls is another one.
                if calls_moved && !self.stopping && !self.registrations[line].is_removing() {
                    self.forget_register(line);
                    self.registrations[line].begin();
                    self.register_in_turn(now, line);
                }
                continue;
            }
            self.register_anew(now, line);
        }
        self.settle();
    }

    /// What was bound is not bound any more, or not by this server.
    fn register_anew(&mut self, now: Instant, line: usize) {
        self.forget_register(line);
        self.registrations[line].moved();
        if self.registrar(now).is_some() {
            // No call can come to this address yet.
            self.registration_state(line, RegistrationState::Registering);
            self.register_in_turn(now, line);
        } else {
            self.registration_state(line, RegistrationState::NoAddress);
        }
    }

    /// The servers, as DHCP or a name server has just named them, and the domain; `proxies` is empty if the registrars take
    /// everything. Lines whose registrar is none any more register anew at once. Calls that are up keep the server through
    /// which they were made, so that they can be hung up there.
    pub fn set_servers(&mut self, now: Instant, registrars: &[Target], proxies: &[Target], domain: &str) {
        let other_domain = self.config.domain != domain;
        domain.clone_into(&mut self.config.domain);
        let changed = self.registrars.set(registrars) | self.proxies.set(proxies);
        if !changed && !other_domain {
            return;
        }
        let of_calls = self.calls.targets().map(|t| t.addr.ip());
        self.trusted = of_calls.chain(self.registrars.ips()).chain(self.proxies.ips()).collect();
        for line in 0..self.registrations.len() {
            let kept = self.registrations[line].target().is_some_and(|t| self.registrars.contains(t));
            // Another server knows no binding of ours, even if this one granted some.
            if other_domain || !kept {
                self.register_anew(now, line);
            }
        }
        self.settle();
    }

    /// Removes all bindings (§10.2.2).
    pub fn unregister_all(&mut self, now: Instant) {
        self.stopping = true;
        for line in 0..self.registrations.len() {
            self.forget_register(line);
            if self.registrations[line].give_up() && self.registrar(now).is_some() {
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

    pub(super) fn renew(&mut self, now: Instant, line: usize) -> bool {
        let r = &self.registrations[line];
        let sent = r.transaction().and_then(|key| self.clients.get(key));
        let under_way = r.waits_for_turn() || sent.is_some_and(ClientTransaction::pending);
        if self.stopping || under_way {
            return false;
        }
        match self.registrations[line].renew(now) {
            Renewal::No | Renewal::Later(_) => false,
            Renewal::Now => {
                self.forget_register(line);
                self.register_in_turn(now, line);
                true
            }
        }
    }

    /// The same for a binding that is gone for sure: if the last time was a moment ago, the line registers as soon as it may.
    pub(super) fn renew_lost(&mut self, now: Instant, line: usize) {
        if !self.renew(now, line)
            && let Renewal::Later(at) = self.registrations[line].renewal(now)
        {
            self.schedule.advance(Due::Registration(line), at);
        }
    }

    pub(super) fn forget_register(&mut self, line: usize) {
        if let Some(key) = self.registrations[line].forget() {
            self.clients.remove(&key);
            self.rearm_client(&key);
        }
        self.schedule.set(Due::Registration(line), None);
        self.schedule.set(Due::Prove(line), None);
    }

    pub(super) fn register_due(&mut self, now: Instant, line: usize) {
        self.registrations[line].begin();
        self.register_in_turn(now, line);
    }

    pub(super) fn register_in_turn(&mut self, now: Instant, line: usize) {
        if !self.registrations[line].take_turn() && self.registrar(now).is_some() {
            let turn = self.pace_others.take(now);
            if turn > now {
                self.registrations[line].wait_for_turn();
                self.schedule.set(Due::Registration(line), Some(turn));
                return;
            }
        }
        self.register(now, line);
    }

    pub(super) fn register(&mut self, now: Instant, line: usize) {
        let branch = self.branch();
        let Some(target) = self.registrar(now) else { return };
        let Some(flow) = self.flow_to(&target) else { return };
        let via = self.via(&flow, &branch);
        let contacts: Vec<_> = [Some(flow), self.flow_of_calls(now, line)]
            .into_iter()
            .flatten()
            .enumerate()
            .filter(|(i, of)| *i == 0 || of.local != flow.local)
            .map(|(_, of)| self.contact(Some(line), &of))
            .collect();
        let Self { config, entropy, registrations, .. } = self;
        let bytes = registrations[line].write(config, &config.lines[line], &via, &contacts, &mut **entropy);
        let key = self.start(now, &branch, "REGISTER", Owner::Register(line), bytes, flow);
        self.registrations[line].sent(key, target, flow.local);
        if !self.registrations[line].is_registered() {
            self.registration_state(line, RegistrationState::Registering);
        }
    }

    /// The way on which calls come to a line, where that is not the registration's: a carrier that takes REGISTER over one IP
    /// version and calls over the other sends calls to a Contact of the other.
    fn flow_of_calls(&self, now: Instant, line: usize) -> Option<Flow> {
        if self.proxies.is_empty() {
            return None;
        }
        let target = self.proxy(now, line)?;
        let local = self.locals.towards(target.addr)?;
        Some(Flow { transport: target.transport, ..Flow::udp(local, target.addr) })
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
        let known = (&self.config, self.contact_users[line].as_str());
        let expires = match r.granted(now, m, known) {
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
        self.prove_later(now, line);
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

    pub(super) fn registration_state(&mut self, line: usize, state: RegistrationState) {
        if self.registrations[line].set_state(state.clone()) {
            let line = self.config.lines[line].number;
            self.event(Event::Registration { line, state });
        }
    }
}
