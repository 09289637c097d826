//! A configured tunnel and its session.

use crate::brake::{Brake, Braking};
use crate::config::{BackOff, TunnelConfig};
use crate::failure::SessionFailure;
use crate::state::{
    Bounds, Bye, CallMedia, Dialing, Draining, Leg, Lingering, Negotiating, Rest, State, Timer, Up,
};
use sipsec_ike::{ChildId, CloseCause, Endpoint};
use sipsec_net::dp::PacketSummary;
use sipsec_net::{Instant, TunnelId};
use sipsec_sip::sdp::SessionDescription;
use sipsec_sip::{Call, CallId};
use std::time::Duration;

/// Steps of one call kept for `show … detail`.
const PHASES_MAX: usize = 16;

#[derive(Debug)]
pub struct Tunnel {
    config: TunnelConfig,
    state: State,
    configured: bool,
    last_failure: Option<(Instant, SessionFailure)>,
    brake: Brake,
    /// The packet that the dataplane last asked a call for, and when. Kept until a call is up for it or it is flushed.
    trigger: Option<(Instant, PacketSummary)>,
    has_yielded: bool,
    phases: Vec<(&'static str, Instant)>,
    /// Calls of this tunnel that may still be charged, because nothing has confirmed their end.
    unconfirmed: u32,
    /// Until then it places no call because of these.
    held_until: Option<Instant>,
    /// When to tell that this call's BYE has no answer.
    doubt: Option<(Instant, CallId)>,
}

impl Tunnel {
    pub fn new(config: TunnelConfig) -> Self {
        Self {
            config,
            state: State::Ready,
            configured: false,
            last_failure: None,
            brake: Brake::default(),
            trigger: None,
            has_yielded: false,
            phases: Vec::new(),
            unconfirmed: 0,
            held_until: None,
            doubt: None,
        }
    }

    pub const fn id(&self) -> TunnelId {
        self.config.id()
    }

    pub const fn config(&self) -> &TunnelConfig {
        &self.config
    }

    pub fn set_config(&mut self, config: TunnelConfig) {
        self.config = config;
    }

    /// The profile has it no more, and its routes are others'. `kept`: the dataplane still has it.
    pub fn withdraw(&mut self, kept: bool) {
        self.configured &= kept;
        self.trigger = None;
        self.config.routes.clear();
    }

    /// The dataplane has it.
    pub const fn is_configured(&self) -> bool {
        self.configured
    }

    pub const fn set_configured(&mut self, configured: bool) {
        self.configured = configured;
    }

    // ---- steps of a call, for `show … detail` ----

    pub fn first_phase(&mut self, now: Instant, name: &'static str) {
        self.phases.clear();
        self.phase(now, name);
    }

    pub fn phase(&mut self, now: Instant, name: &'static str) {
        if self.phases.len() < PHASES_MAX {
            self.phases.push((name, now));
        }
    }

    pub fn phases(&self) -> &[(&'static str, Instant)] {
        &self.phases
    }

    // ---- packets that wait in the dataplane ----

    pub fn wait(&mut self, now: Instant, first: PacketSummary) {
        self.trigger = Some((now, first));
    }

    pub const fn waiting(&self) -> Option<(Instant, PacketSummary)> {
        self.trigger
    }

    pub const fn waits(&self) -> bool {
        self.trigger.is_some()
    }

    pub const fn forget_waiting(&mut self) {
        self.trigger = None;
    }

    // ---- failures, and when the next call may be placed ----

    pub const fn last_failure(&self) -> Option<&(Instant, SessionFailure)> {
        self.last_failure.as_ref()
    }

    /// Shown, without a pause before the next call.
    pub fn note_failure(&mut self, now: Instant, failure: SessionFailure) {
        self.last_failure = Some((now, failure));
    }

    /// Gives the pause before the next call, without jitter. Zero: the next packet may call.
    pub fn failed(
        &mut self,
        now: Instant,
        failure: SessionFailure,
        braking: Braking,
        back_off: &BackOff,
    ) -> Duration {
        self.note_failure(now, failure);
        self.brake.failed(now, braking, back_off)
    }

    /// Failed calls in a row.
    pub const fn failures(&self) -> u32 {
        self.brake.failures()
    }

    pub const fn retry_at(&self) -> Option<Instant> {
        self.brake.retry_at()
    }

    pub fn brake_until(&mut self, until: Instant) {
        self.has_yielded = false;
        self.brake.hold(until);
    }

    /// The peer is busy, most likely because it is calling us: until then its call may come.
    pub fn yield_until(&mut self, until: Instant) {
        self.has_yielded = true;
        self.brake.hold(until);
    }

    /// The last attempt found the peer busy.
    pub const fn has_yielded(&self) -> bool {
        self.has_yielded
    }

    /// The next packet may call. Failures still count.
    pub fn release_brake(&mut self) {
        self.brake.release();
    }

    /// A session is up.
    pub fn connected(&mut self) {
        self.brake.release();
        self.has_yielded = false;
    }

    /// A call has lasted: failures before it do not count any more.
    pub fn succeeded(&mut self) {
        self.brake.reset();
    }

    /// They were another peer's.
    pub fn forget_failures(&mut self) {
        (self.brake, self.last_failure, self.has_yielded) = (Brake::default(), None, false);
    }

    /// The journal's record of the brake, if it has another.
    pub fn save_brake(&mut self, now: Instant, unix_time_s: u64) -> Option<Option<Vec<u8>>> {
        self.brake.save(now, unix_time_s)
    }

    /// Of an earlier run.
    pub fn restore_brake(&mut self, brake: Brake) {
        self.brake = brake;
    }

    // ---- its session ----

    pub fn ready(&self) -> bool {
        matches!(self.state, State::Ready)
    }

    pub const fn state(&self) -> &State {
        &self.state
    }

    /// The state is consumed, and what comes next takes its place: no step can lose a call.
    fn step<T>(&mut self, step: impl FnOnce(State) -> (State, T)) -> T {
        let (next, result) = step(std::mem::replace(&mut self.state, State::Ready));
        self.state = next;
        result
    }

    /// A call begins, placed or received.
    pub fn begin(&mut self, dialing: State) {
        debug_assert!(self.ready(), "a tunnel has one call");
        self.state = dialing;
    }

    /// The call is answered, or about to be, and SDP is agreed on.
    pub fn negotiate(&mut self, media: CallMedia, endpoint: Endpoint, deadline: Instant) {
        self.step(|state| match state {
            State::Dialing(d) => (d.negotiate(media, endpoint, deadline).into(), ()),
            other => (other, ()),
        });
    }

    /// The media port is open: the answer that has waited for it.
    pub fn opened(&mut self, deadline: Instant) -> Option<SessionDescription> {
        self.step(|state| match state {
            State::Dialing(d) => d.opened(deadline),
            other => (other, None),
        })
    }

    /// The first child is in the dataplane.
    pub fn installed(&mut self, now: Instant, child: ChildId, bounds: Bounds) {
        self.step(|state| match state {
            State::Negotiating(n) => (n.installed(now, child, bounds), ()),
            other => (other, ()),
        });
    }

    /// The peer has hung up, and IKE may tell why; until then this is the failure.
    pub fn listen(&mut self, now: Instant, otherwise: SessionFailure) {
        self.step(|state| match state {
            State::Negotiating(n) => (n.listen(now, otherwise), ()),
            other => (other, ()),
        });
    }

    /// A live session ends; what is left to do for it.
    pub fn end(&mut self, now: Instant, cause: CloseCause, bye: Bye, unconfirmed: Duration) -> Option<Rest> {
        self.step(|state| state.end(now, cause, bye, unconfirmed))
    }

    /// A call that is not answered gives way to the peer's.
    pub fn give_way(&mut self) -> Option<Leg> {
        self.step(|state| match state {
            State::Dialing(d) => (State::Ready, Some(d.into_leg())),
            other => (other, None),
        })
    }

    /// A session that is over leaves the tunnel: its media port, and a call whose BYE has waited for the peer's.
    pub fn leave(&mut self) -> Option<(Option<Lingering>, Option<Call>)> {
        self.step(|state| match state {
            State::Draining(mut d) => (State::Ready, Some((d.take_media(), d.late_bye()))),
            other => (other, None),
        })
    }

    /// The process ends.
    pub fn abandon(&mut self) {
        if let Some(call) = self.step(|state| (State::Ready, state.into_call())) {
            call.ended();
        }
    }

    pub fn dialing(&mut self) -> Option<&mut Dialing> {
        if let State::Dialing(d) = &mut self.state { Some(d) } else { None }
    }

    pub fn negotiating(&mut self) -> Option<&mut Negotiating> {
        if let State::Negotiating(n) = &mut self.state { Some(n) } else { None }
    }

    pub fn up(&mut self) -> Option<&mut Up> {
        if let State::Up(u) = &mut self.state { Some(u) } else { None }
    }

    pub fn draining(&mut self) -> Option<&mut Draining> {
        if let State::Draining(d) = &mut self.state { Some(d) } else { None }
    }

    pub fn media(&mut self) -> Option<&mut CallMedia> {
        self.state.media_mut()
    }

    pub fn endpoint(&mut self) -> Option<&mut Endpoint> {
        self.state.endpoint_mut()
    }

    // ---- calls that may still be charged ----

    /// One call more is being hung up; none is placed until that is confirmed, or until then.
    pub fn hold(&mut self, until: Instant) {
        self.unconfirmed += 1;
        self.held_until = self.held_until.max(Some(until));
    }

    /// One of them is confirmed; `true` if it was the last that held the tunnel.
    pub fn unhold(&mut self) -> bool {
        self.unconfirmed = self.unconfirmed.saturating_sub(1);
        self.unconfirmed == 0 && self.held_until.take().is_some()
    }

    /// The tunnel has waited long enough.
    pub const fn stop_holding(&mut self) {
        self.held_until = None;
    }

    /// A BYE is sent: if it has no answer by then, that is told.
    pub const fn expect_end(&mut self, call: CallId, by: Instant) {
        self.doubt = Some((by, call));
    }

    /// The call whose BYE has had no answer; it is told once.
    pub fn doubted(&mut self) -> Option<CallId> {
        self.doubt.take().map(|(_, call)| call)
    }

    pub fn ended(&mut self, call: CallId) {
        self.doubt.take_if(|(_, c)| *c == call);
    }

    #[must_use]
    pub const fn held_until(&self) -> Option<Instant> {
        self.held_until
    }

    pub fn timer(&self, timer: Timer) -> Option<Instant> {
        match timer {
            Timer::Retry => self.brake.retry_at(),
            Timer::Doubt => self.doubt.map(|(at, _)| at),
            Timer::Hold => self.held_until,
            of_state => self.state.timer(of_state),
        }
    }

    pub fn due(&self) -> Option<Instant> {
        Timer::all().filter_map(|timer| self.timer(timer)).min()
    }
}
