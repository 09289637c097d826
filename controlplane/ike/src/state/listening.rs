//! Responder: waits for IKE_SA_INIT, then for IKE_AUTH. The first half-open SA that proves itself wins.

use super::State;
use super::half_open::{HalfOpen, Next, Offer};
use crate::auth;
use crate::compute::{JobId, Outcome};
use crate::config::HALF_OPEN_MAX;
use crate::ctx::Ctx;
use crate::error::{IkeError, Party};
use crate::exchange::cookie::Jar;
use crate::nat;
use crate::negotiate::{describe, ike};
use crate::wire::header::HEADER_LEN;
use crate::wire::{Chain, Header, Message, NotifyType};
use core::time::Duration;
use sipsec_net::Instant;

#[derive(Default)]
pub(crate) struct Listening {
    half_open: Vec<HalfOpen>,
    jar: Jar,
    /// Each initiator has to return a cookie, at any load.
    cookie_always: bool,
    /// The last request that could not begin an IKE SA, if no acceptable one has come since.
    refused: Option<(Instant, IkeError)>,
}

/// A call whose IKE cannot begin costs money. After a refused IKE_SA_INIT, a peer has this long to send an acceptable one:
/// time for a repetition, if a forger was before it. A refused request alone ends nothing (RFC 7296 §2.21.1).
const REFUSED_FOR: Duration = Duration::from_secs(3);

impl Listening {
    /// While an IKE SA of the call is up, an IKE_SA_INIT is rare and may be forged: before a key exchange is computed for
    /// it, a cookie verifies that its sender receives at the peer's address (RFC 7296 §2.6).
    pub fn beside() -> Self {
        Self { cookie_always: true, ..Self::default() }
    }

    pub fn awaits(&self, job: JobId) -> bool {
        self.half_open.iter().any(|h| h.awaits(job))
    }

    pub fn is_empty(&self) -> bool {
        self.half_open.is_empty()
    }

    pub fn deadline(&self, ctx: &Ctx) -> Option<Instant> {
        let refused = self.refused.as_ref().map(|(at, _)| *at + REFUSED_FOR);
        self.half_open.iter().filter_map(|h| h.expires_at(ctx)).chain(refused).min()
    }

    pub fn on_timeout(mut self: Box<Self>, ctx: &mut Ctx, now: Instant) -> State {
        self.half_open.retain(|h| h.expires_at(ctx).is_none_or(|at| now < at));
        match self.refused.take_if(|(at, _)| *at + REFUSED_FOR <= now) {
            Some((_, error)) => State::fail(ctx, error),
            None => State::Listening(self),
        }
    }

    /// Why the peer cannot begin. While a half-open IKE SA is there, that one decides.
    pub fn note_refused(&mut self, now: Instant, error: IkeError) {
        if self.half_open.is_empty() {
            self.refused = Some((now, error));
        }
    }

    pub fn on_compute(
        mut self: Box<Self>,
        ctx: &mut Ctx,
        now: Instant,
        job: JobId,
        outcome: Outcome,
    ) -> State {
        if let Some(i) = self.half_open.iter().position(|h| h.awaits(job)) {
            match self.half_open.swap_remove(i).on_compute(ctx, now, outcome) {
                Some(Next::HalfOpen(half)) => self.half_open.push(*half),
                Some(Next::State(next)) => return next,
                None => {}
            }
        }
        State::Listening(self)
    }

    pub fn on_message(
        mut self: Box<Self>,
        ctx: &mut Ctx,
        now: Instant,
        header: &Header,
        bytes: &[u8],
    ) -> State {
        if let Some(i) = self.half_open.iter().position(|h| h.is_of(header)) {
            return match self.half_open.swap_remove(i).on_message(ctx, now, header, bytes) {
                Next::HalfOpen(half) => {
                    self.half_open.push(*half);
                    State::Listening(self)
                }
                Next::State(next) => next,
            };
        }
        if header.begins() {
            self.on_init(ctx, now, header, bytes);
        } else {
            ctx.counters.dropped_spi += 1;
        }
        State::Listening(self)
    }

    fn on_init(&mut self, ctx: &mut Ctx, now: Instant, header: &Header, bytes: &[u8]) {
        if let Some(known) = self.half_open.iter().find(|h| h.spi_i == header.spi_i) {
            // RFC 7296 §2.1: the same request gets the same response; another one with its SPI is not the peer's.
            if known.request == bytes {
                ctx.counters.duplicates_in += 1;
                known.repeat(ctx);
            } else {
                ctx.counters.dropped_state += 1;
            }
            return;
        }
        let m = match Message::parse(header.first, &bytes[HEADER_LEN..]) {
            Ok(m) => m,
            Err(error) => {
                ctx.counters.dropped_malformed += 1;
                self.note_refused(now, error.into());
                return answer(ctx, header, error.refusal());
            }
        };
        let (Some(proposals), Some(ke), Some(ni)) = (&m.sa, &m.ke, m.nonce) else {
            ctx.counters.dropped_malformed += 1;
            self.note_refused(now, super::missing("SA, KE or Nonce"));
            return refuse(ctx, header, NotifyType::INVALID_SYNTAX, &[]);
        };
        // RFC 7296 §2.6: before any work or memory is spent, and without keeping anything.
        if self.cookie_always || self.half_open.len() >= ctx.config.cookie_threshold {
            let given = m.notify(NotifyType::COOKIE).map(|n| n.data);
            if !given.is_some_and(|c| self.jar.is_good(ctx, now, c, ni, header.spi_i)) {
                let cookie = self.jar.bake(ctx, now, ni, header.spi_i);
                ctx.counters.cookies_sent += 1;
                return refuse(ctx, header, NotifyType::COOKIE, &cookie);
            }
            ctx.counters.cookies_accepted += 1;
        }
        if self.half_open.len() >= HALF_OPEN_MAX {
            ctx.counters.dropped_full += 1;
            return;
        }
        let intermediate = m.notify(NotifyType::INTERMEDIATE_EXCHANGE_SUPPORTED).is_some();
        let chosen = ike::choose(proposals, &ctx.config.ike_proposals, ke.group, intermediate);
        let Some(chosen) = chosen else {
            ctx.counters.requests_in += 1;
            let (ours, theirs) = (super::init_sent::join(ctx), describe(proposals));
            ctx.event(crate::Event::Refused { ours: ours.clone(), theirs: theirs.clone() });
            self.note_refused(now, IkeError::NoProposalChosen { by: Party::Us, ours, theirs });
            return refuse(ctx, header, NotifyType::NO_PROPOSAL_CHOSEN, &[]);
        };
        let suite = chosen.suite;
        if suite.group.transform_id() != ke.group {
            ctx.counters.requests_in += 1;
            let wanted = suite.group.transform_id().to_be_bytes();
            return refuse(ctx, header, NotifyType::INVALID_KE_PAYLOAD, &wanted);
        }
        if ke.public.len() != suite.group.public_len() {
            ctx.counters.dropped_malformed += 1;
            self.note_refused(now, IkeError::BadKeyExchange { group: suite.group });
            return refuse(ctx, header, NotifyType::INVALID_SYNTAX, &[]);
        }
        self.refused = None;
        ctx.counters.requests_in += 1;
        let offer = Offer {
            suite,
            answer: chosen.answer(&[]),
            ni: ni.to_vec(),
            nat: nat::detect(&m, ctx, header.spi_i, 0),
            fragmentation: m.notify(NotifyType::FRAGMENTATION_SUPPORTED).is_some()
                && ctx.config.fragment_bytes_max.is_some(),
            peer_hashes: auth::announced_hashes(&m),
            ppk: auth::PpkStage::of(ctx, &m),
        };
        self.half_open.push(HalfOpen::begin(
            ctx,
            now,
            header.spi_i,
            bytes.to_vec(),
            offer,
            ke.public.to_vec(),
        ));
    }
}

fn refuse(ctx: &mut Ctx, header: &Header, kind: NotifyType, data: &[u8]) {
    let mut chain = Chain::new();
    chain.notify(kind, data);
    answer(ctx, header, chain);
}

/// An answer in clear that keeps no state.
fn answer(ctx: &mut Ctx, header: &Header, chain: Chain) {
    ctx.counters.responses_out += 1;
    let answer = Header { from_initiator: false, response: true, ..*header };
    ctx.transmit(answer.with_payloads(chain));
}
