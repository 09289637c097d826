//! The front door: bytes, time and outcomes come in, outputs go out.

use crate::compute::{JobId, Outcome};
use crate::config::EndpointConfig;
use crate::ctx::Ctx;
use crate::error::{CloseCause, IkeError};
use crate::output::{ChildId, Output};
use crate::state::State;
use crate::view::SaView;
use crate::wire::Header;
use crate::wire::header::HeaderError;
use core::fmt;
use sipsec_net::{Entropy, Instant};

/// One IKE peer of one authorised call.
pub struct Endpoint {
    pub(crate) ctx: Ctx,
    pub(crate) state: State,
}

impl Endpoint {
    #[must_use]
    pub fn new(config: EndpointConfig, entropy: Box<dyn Entropy>) -> Self {
        Self { ctx: Ctx::new(config, entropy), state: State::Idle }
    }

    fn step(&mut self, now: Instant, f: impl FnOnce(State, &mut Ctx) -> State) {
        self.ctx.begin(now);
        let state = core::mem::replace(&mut self.state, State::Idle);
        self.state = f(state, &mut self.ctx);
    }

    /// What can be known before anything is sent: a pre-shared key other than the one announced in SDP, or none announced
    /// where one is required. [`Self::start`] fails with the same.
    pub fn check(&self) -> Result<(), IkeError> {
        crate::auth::check_before_start(&self.ctx.config)
    }

    /// The initiator sends IKE_SA_INIT, the responder begins to listen. A pre-shared key other than the one announced
    /// in SDP fails here, before anything is sent.
    pub fn start(&mut self, now: Instant) {
        self.step(now, |state, ctx| match state {
            State::Idle => State::start(ctx, now),
            other => other,
        });
    }

    /// An IKE message without its marker. The dataplane has checked where it came from.
    pub fn handle_datagram(&mut self, now: Instant, bytes: &[u8]) {
        let header = match Header::parse(bytes) {
            Ok(h) => h,
            Err(HeaderError::Malformed) => {
                self.ctx.counters.dropped_malformed += 1;
                return;
            }
            // RFC 7296 §2.5: a higher major version would get INVALID_MAJOR_VERSION; the only other one in use is 1,
            // whose senders would not understand that.
            Err(HeaderError::MajorVersion(_)) => {
                self.ctx.counters.dropped_version += 1;
                return;
            }
        };
        self.step(now, |state, ctx| state.on_message(ctx, now, &header, bytes));
    }

    pub fn handle_timeout(&mut self, now: Instant) {
        self.step(now, |state, ctx| state.on_timeout(ctx, now));
    }

    pub fn handle_compute(&mut self, now: Instant, job: JobId, outcome: Outcome) {
        self.step(now, |state, ctx| state.on_compute(ctx, now, job, outcome));
    }

    /// The dataplane has applied what the last `ChildSaUp`, `ChildSaReplaced` or `ChildSaBind` of `child` asked for.
    pub fn handle_child_installed(&mut self, now: Instant, child: ChildId) {
        self.step(now, |state, ctx| match state {
            State::Established(s) => s.on_installed(ctx, now, child),
            other => other,
        });
    }

    /// The dataplane refused it.
    pub fn handle_child_rejected(&mut self, now: Instant, child: ChildId) {
        self.step(now, |state, ctx| match state {
            State::Established(s) => s.on_rejected(ctx, now, child),
            other => other,
        });
    }

    /// ESP of this peer was received and its ICV held at `last_in`: proof of life (RFC 7296 §2.4). ESP was sent to it at
    /// `last_out`, which keeps the mapping of a NAT as a keepalive does (RFC 3948 §4).
    pub fn traffic_seen(&mut self, now: Instant, last_in: Instant, last_out: Instant) {
        self.ctx.last_heard = self.ctx.last_heard.max(last_in.min(now));
        self.ctx.last_sent = self.ctx.last_sent.max(last_out.min(now));
    }

    /// The dataplane reports a soft limit (bytes, or the sequence number near its end).
    pub fn rekey_child(&mut self, now: Instant, child: ChildId) {
        self.step(now, |state, ctx| match state {
            State::Established(mut s) => {
                s.want_rekey_child(ctx, now, child);
                s.proceed(ctx, now, Ok(()))
            }
            other => other,
        });
    }

    /// The dataplane reports a hard limit: the SA takes no more packets. One that has been replaced is not missed; the
    /// end of the one that carries the traffic is the end of the session.
    pub fn expire_child(&mut self, now: Instant, child: ChildId) {
        self.step(now, |state, ctx| match state {
            State::Established(s) => s.on_expired(ctx, now, child),
            other => other,
        });
    }

    pub fn rekey_ike(&mut self, now: Instant) {
        self.step(now, |state, ctx| match state {
            State::Established(mut s) => {
                s.want_rekey_ike(ctx, now);
                s.proceed(ctx, now, Ok(()))
            }
            other => other,
        });
    }

    /// Sends DELETE and says `Closed` at once. The endpoint may be dropped then; while it is kept, it retransmits.
    pub fn close(&mut self, now: Instant, cause: CloseCause) {
        self.step(now, |state, ctx| state.close(ctx, now, cause));
    }

    pub fn poll_output(&mut self) -> Option<Output> {
        self.ctx.pop()
    }

    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.state.deadline(&self.ctx)
    }

    #[must_use]
    pub fn view(&self) -> SaView {
        SaView::of(&self.ctx, &self.state)
    }
}

impl fmt::Debug for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Endpoint")
            .field("role", &self.ctx.config.role)
            .field("state", &self.state.name())
            .finish_non_exhaustive()
    }
}
