//! A further IKE SA in the same call (RFC 7296 §2.8.3). The life of a call is not the life of one IKE SA: a side may
//! authenticate anew beside the one that is up, after its DELETE, or because it has lost its state.
//!
//! While the further one is negotiated, the one that is up goes on as if nothing were. Only a further IKE SA with both
//! proofs takes its place; one that fails changes nothing.

use crate::Endpoint;
use crate::config::Role;
use crate::ctx::Ctx;
use crate::error::IkeError;
use crate::output::Event;
use crate::state::{Ended, Established, KeyGen, Listening, State};
use crate::wire::Header;
use core::time::Duration;
use sipsec_net::Instant;

/// IKE SAs, or CHILD_SAs, with those that wait for their DELETE, beyond which the peer cannot begin another.
const KEPT_MAX: usize = 6;
/// How long a further negotiation may take.
const NEGOTIATION_MAX: Duration = Duration::from_secs(15);

pub(crate) struct Further {
    state: State,
    /// We began.
    ours: bool,
    until: Instant,
}

impl Further {
    /// Until when, if the peer takes part: it has returned a cookie, or it is we who asked.
    fn in_earnest(&self) -> Option<Instant> {
        match &self.state {
            State::Listening(s) if s.is_empty() => None,
            _ => Some(self.until),
        }
    }

    fn deadline(&self, ctx: &Ctx) -> Instant {
        self.state.deadline(ctx).map_or(self.until, |at| at.min(self.until))
    }
}

impl Endpoint {
    /// For [`Ctx::further_until`].
    pub(crate) fn further_until(&self) -> Option<Instant> {
        self.further.as_ref().and_then(Further::in_earnest)
    }

    /// When this file has something to do.
    pub(crate) fn further_deadline(&self) -> Option<Instant> {
        let own = match (&self.further, &self.state) {
            (Some(further), _) => Some(further.deadline(&self.ctx)),
            (None, State::Established(s)) => s.reauth_at,
            (None, _) => None,
        };
        [own, self.leftover.deadline()].into_iter().flatten().min()
    }

    /// Whether the message was for this file.
    pub(crate) fn further_message(&mut self, now: Instant, header: &Header, bytes: &[u8]) -> bool {
        if self.state.owns(header) {
            return false;
        }
        if self.leftover.owns(header) {
            self.ctx.begin(now);
            self.leftover.on_message(&mut self.ctx, now, header, bytes);
            return true;
        }
        if !matches!(self.state, State::Established(_) | State::Deserted(_)) {
            return false;
        }
        if header.begins() && !self.admit(now) {
            return true;
        }
        if self.further.is_none() {
            return false;
        }
        self.step_further(now, |state, ctx| state.on_message(ctx, now, header, bytes));
        true
    }

    /// An IKE_SA_INIT of the peer while an IKE SA is up or has just gone: whether it is looked at.
    fn admit(&mut self, now: Instant) -> bool {
        if let Some(further) = &mut self.further {
            if !further.ours {
                if further.in_earnest().is_none() {
                    further.until = now + NEGOTIATION_MAX;
                }
                return true;
            }
            // Both began. The side that SDP made the initiator (RFC 6193 §4) goes on.
            if self.ctx.config.role == Role::Initiator {
                self.ctx.counters.dropped_state += 1;
                return false;
            }
            self.abandon_further(now);
        }
        // What earlier ones have left behind is bounded, too.
        let crowded = match &self.state {
            State::Established(s) => s.slots.len() >= KEPT_MAX || s.children.len() >= KEPT_MAX,
            _ => false,
        };
        if crowded || !self.further_budget.take(now) {
            self.ctx.counters.dropped_full += 1;
            return false;
        }
        let state = State::Listening(Box::new(Listening::beside()));
        self.further = Some(Further { state, ours: false, until: now + NEGOTIATION_MAX });
        // RFC 7296 §2.4: it may mean that the peer has lost its state. A protected question finds that out.
        self.step(now, |state, ctx| match state {
            State::Established(mut s) => {
                s.suspect(now);
                s.proceed(ctx, now, Ok(()))
            }
            other => other,
        });
        self.further.is_some()
    }

    pub(crate) fn further_timeout(&mut self, now: Instant) {
        if self.leftover.deadline().is_some_and(|at| at <= now) {
            self.ctx.begin(now);
            self.leftover.on_timeout(&mut self.ctx, now);
        }
        if self.further.as_ref().is_some_and(|f| f.until <= now) {
            self.abandon_further(now);
        } else if self.further.as_ref().is_some_and(|f| f.deadline(&self.ctx) <= now) {
            self.step_further(now, |state, ctx| state.on_timeout(ctx, now));
        } else if self.further.is_none()
            && let State::Established(s) = &self.state
            && s.reauth_at.is_some_and(|at| at <= now)
        {
            self.begin_further(now);
        }
    }

    /// Begins a further IKE SA as its initiator.
    pub(crate) fn begin_further(&mut self, now: Instant) {
        let State::Established(s) = &mut self.state else { return };
        // What comes of it decides when the next one is due.
        s.put_off_reauth(&mut self.ctx, now);
        self.further = Some(Further { state: State::Idle, ours: true, until: now + NEGOTIATION_MAX });
        self.step_further(now, |_, ctx| KeyGen::begin(ctx, now));
    }

    pub(crate) fn further_awaits(&self, job: crate::compute::JobId) -> bool {
        self.further.as_ref().is_some_and(|f| f.state.awaits(job))
    }

    pub(crate) fn step_further(&mut self, now: Instant, f: impl FnOnce(State, &mut Ctx) -> State) {
        let Some(Further { state, ours, until }) = self.further.take() else { return };
        self.ctx.begin(now);
        let predecessor = if let State::Established(s) = &self.state { s.sending_child() } else { None };
        self.ctx.go_aside(predecessor);
        let state = f(state, &mut self.ctx);
        let failed = self.ctx.leave_aside();
        match state {
            State::Established(new) => self.replace(now, new, ours),
            State::Ended(ended) => self.further_ended(now, *ended, ours, failed),
            state => self.further = Some(Further { state, ours, until }),
        }
    }

    fn replace(&mut self, now: Instant, mut new: Box<Established>, ours: bool) {
        match core::mem::replace(&mut self.state, State::Idle) {
            State::Established(old) => new.succeed(&mut self.ctx, now, *old, ours),
            State::Deserted(old) => new.follow(&mut self.ctx, now, old.into_sas()),
            // There is none beside these two states.
            _ => {}
        }
        self.state = new.proceed(&mut self.ctx, now, Ok(()));
    }

    fn further_ended(&mut self, now: Instant, ended: Ended, ours: bool, failed: Option<IkeError>) {
        self.leftover = ended;
        self.state = match core::mem::replace(&mut self.state, State::Idle) {
            // The call has no other IKE SA.
            State::Deserted(s) => s.end(&mut self.ctx, failed),
            State::Established(mut s) => {
                if ours {
                    s.put_off_reauth(&mut self.ctx, now);
                }
                if let Some(error) = failed {
                    self.ctx.event(Event::ReauthFailed(error));
                }
                State::Established(s)
            }
            other => other,
        };
    }

    /// The call is over, or the other side's further IKE SA is preferred, or it took too long.
    pub(crate) fn abandon_further(&mut self, now: Instant) {
        if let Some(further) = self.further.take() {
            self.ctx.begin(now);
            let ended = further.state.abandon(&mut self.ctx, now);
            if ended.is_closing() {
                self.leftover = ended;
            }
        }
    }
}
