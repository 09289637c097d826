//! The front door: bytes, time and outcomes come in, outputs go out.

use crate::compute::{JobId, Outcome};
use crate::config::EndpointConfig;
use crate::ctx::Ctx;
use crate::error::{CloseCause, IkeError};
use crate::further::Further;
use crate::output::{ChildId, Output};
use crate::state::{Ended, State};
use crate::task::budget::Budget;
use crate::view::{CrashTokens, SaView};
use crate::wire::header::{HeaderError, MAJOR_VERSION};
use crate::wire::{Chain, Header, NotifyType};
use core::fmt;
use sipsec_net::{Entropy, Instant};

/// One IKE peer of one authorised call.
pub struct Endpoint {
    pub(crate) ctx: Ctx,
    pub(crate) state: State,
    /// A further IKE SA that is being negotiated, only while `state` is `Established` or `Deserted`.
    pub(crate) further: Option<Further>,
    /// Begun by the peer.
    pub(crate) further_budget: Budget,
    /// A further IKE SA that came to nothing: its last message may have to be repeated.
    pub(crate) leftover: Ended,
    /// Unprotected answers to other major versions.
    version_answers: Budget,
    /// Tokens of the peer that are compared (RFC 6290).
    pub(crate) token_checks: Budget,
}

impl Endpoint {
    #[must_use]
    pub fn new(config: EndpointConfig, entropy: Box<dyn Entropy>) -> Self {
        Self {
            ctx: Ctx::new(config, entropy),
            state: State::Idle,
            further: None,
            further_budget: Budget::full(Instant::ZERO),
            leftover: Ended::default(),
            version_answers: Budget::full(Instant::ZERO),
            token_checks: Budget::full(Instant::ZERO),
        }
    }

    pub(crate) fn step(&mut self, now: Instant, f: impl FnOnce(State, &mut Ctx) -> State) {
        self.ctx.begin(now);
        self.ctx.further_until = self.further_until();
        let state = core::mem::replace(&mut self.state, State::Idle);
        self.state = f(state, &mut self.ctx);
        if matches!(self.state, State::Ended(_)) {
            self.abandon_further(now);
        }
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
    pub fn handle_datagram(&mut self, now: Instant, datagram: &[u8]) {
        let (header, bytes) = match Header::split(datagram) {
            Ok(message) => message,
            Err(HeaderError::Malformed) => {
                self.ctx.counters.dropped_malformed += 1;
                return;
            }
            Err(HeaderError::MajorVersion { major, header }) => {
                self.ctx.counters.dropped_version += 1;
                self.ctx.begin(now);
                return self.answer_version(now, major, &header);
            }
        };
        if !self.crash_message(now, &header, bytes) && !self.further_message(now, &header, bytes) {
            self.step(now, |state, ctx| state.on_message(ctx, now, &header, bytes));
        }
    }

    /// RFC 7296 §2.5: a message of a higher major version is dropped and SHOULD be answered with INVALID_MAJOR_VERSION and
    /// the highest version that we speak. The answer is not protected, not longer than an honest request, and limited in
    /// rate. Version 1 gets none: its senders do not know this answer.
    fn answer_version(&mut self, now: Instant, major: u8, header: &Header) {
        if header.from_initiator
            && !header.response
            && let State::Listening(s) = &mut self.state
        {
            s.note_refused(now, IkeError::PeerVersion { major });
        }
        let may = major > MAJOR_VERSION && !header.response && !matches!(self.state, State::Idle);
        if may && self.version_answers.take(now) {
            let mut chain = Chain::new();
            chain.notify(NotifyType::INVALID_MAJOR_VERSION, &[MAJOR_VERSION]);
            let answer = Header { from_initiator: !header.from_initiator, response: true, ..*header };
            self.ctx.transmit(answer.with_payloads(chain));
        }
    }

    pub fn handle_timeout(&mut self, now: Instant) {
        self.step(now, |state, ctx| state.on_timeout(ctx, now));
        self.further_timeout(now);
    }

    pub fn handle_compute(&mut self, now: Instant, job: JobId, outcome: Outcome) {
        if self.further_awaits(job) {
            self.step_further(now, |state, ctx| state.on_compute(ctx, now, job, outcome));
        } else {
            self.step(now, |state, ctx| state.on_compute(ctx, now, job, outcome));
        }
    }

    /// The dataplane has applied what the last `ChildSaUp`, `ChildSaReplaced` or `ChildSaBind` of `child` asked for.
    pub fn handle_child_installed(&mut self, now: Instant, child: ChildId) {
        self.step(now, |state, ctx| match state {
            State::Established(s) => s.on_installed(ctx, now, child),
            other => other,
        });
    }

    /// The first packet came on the inbound SA of `child` and passed its ICV and the replay check: the peer uses it
    /// (RFC 7296 §2.8), and so do we from then on.
    pub fn inbound_used(&mut self, now: Instant, child: ChildId) {
        self.step(now, |state, ctx| match state {
            State::Established(s) => s.on_inbound_used(ctx, now, child),
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
        self.ctx.last_data = self.ctx.last_data.max(last_in.max(last_out).min(now));
    }

    /// When the peer last proved that it lives: by IKE, or by ESP ([`Self::traffic_seen`]).
    #[must_use]
    pub const fn last_heard(&self) -> Instant {
        self.ctx.last_heard
    }

    /// The largest IP packet that leaves towards the peer, by the MTU of the WAN and by ICMP errors: probes search below it
    /// ([`crate::EndpointConfig::probe`]). What they find comes as [`crate::Event::PathMtu`].
    pub fn path_ceiling(&mut self, now: Instant, mtu: u16) {
        self.step(now, |state, ctx| match state {
            State::Established(s) => s.on_path_ceiling(ctx, now, mtu),
            other => other,
        });
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

    /// Authenticates anew, in a further IKE SA of this call (RFC 7296 §2.8.3). Nothing is done unless an IKE SA is up and
    /// no further one is under way.
    pub fn reauthenticate(&mut self, now: Instant) {
        if self.further.is_none() {
            self.begin_further(now);
        }
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
        [self.state.deadline(&self.ctx), self.further_deadline()].into_iter().flatten().min()
    }

    /// Messages so far that only the peer of the open exchange can have sent: those whose integrity check held, and answers
    /// to an IKE_SA_INIT that repeat its SPI, which only hosts on the path know. If it rises while a datagram is handled, the
    /// datagram's source is a source of the peer.
    #[must_use]
    pub const fn proofs(&self) -> u64 {
        self.ctx.proofs
    }

    #[must_use]
    pub const fn crash_tokens(&self) -> CrashTokens {
        self.ctx.counters.crash_tokens
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
