//! Initiator: IKE_SA_INIT is sent. Nothing that comes back is protected yet, so errors are hints (RFC 7296 §2.21.1).

use super::key_gen::{Attempt, RESTARTS_MAX};
use super::{Agreeing, KeyGen, State, missing};
use crate::auth;
use crate::ctx::Ctx;
use crate::error::{IkeError, Party, Unanswered, Violation};
use crate::exchange::{Backoff, Retry};
use crate::nat;
use crate::negotiate::ike;
use crate::wire::header::HEADER_LEN;
use crate::wire::{Chain, Exchange, Header, Message, NotifyType, PayloadType};
use sipsec_net::Instant;

/// RFC 7296 §2.6: a cookie has 1 to 64 octets.
const COOKIE_LEN_MAX: usize = 64;
/// After an error in clear the true answer, if there is one, comes at once or to the next transmission.
const MORE_AFTER_HINT: u32 = 2;

pub(crate) struct InitSent {
    attempt: Attempt,
    public: Vec<u8>,
    request: Vec<u8>,
    backoff: Backoff,
    hint: Option<IkeError>,
}

impl InitSent {
    pub fn send(ctx: &mut Ctx, now: Instant, attempt: Attempt, public: Vec<u8>) -> State {
        let mut chain = Chain::new();
        // RFC 7296 §2.6: the COOKIE notify MUST be the first payload, and all others unchanged.
        if let Some(cookie) = &attempt.cookie {
            chain.notify(NotifyType::COOKIE, cookie);
        }
        chain.sa(&ike::offer(&ctx.config.ike_proposals, &[]));
        chain.ke(attempt.group.transform_id(), &public);
        chain.nonce(&attempt.ni);
        nat::add(&mut chain, ctx, attempt.spi_i, 0);
        if ctx.config.fragment_bytes_max.is_some() {
            chain.notify(NotifyType::FRAGMENTATION_SUPPORTED, &[]);
        }
        if ctx.config.ppk.is_some() {
            chain.notify(NotifyType::USE_PPK, &[]);
        }
        if wants_intermediate(ctx) {
            chain.notify(NotifyType::INTERMEDIATE_EXCHANGE_SUPPORTED, &[]);
        }
        auth::announce_hashes(&mut chain, &ctx.config.auth);
        let header = Header {
            spi_i: attempt.spi_i,
            spi_r: 0,
            first: PayloadType::NONE,
            exchange: Exchange::IKE_SA_INIT,
            from_initiator: true,
            response: false,
            id: 0,
        };
        let request = header.with_payloads(chain);
        ctx.counters.requests_out += 1;
        ctx.transmit(request.clone());
        let backoff = Backoff::start(now, &ctx.config.retransmit);
        State::InitSent(Box::new(Self { attempt, public, request, backoff, hint: None }))
    }

    pub fn deadline(&self) -> Instant {
        self.backoff.next_at()
    }

    pub fn on_timeout(mut self: Box<Self>, ctx: &mut Ctx, now: Instant) -> State {
        match self.backoff.poll(now, None) {
            Retry::NotYet => {}
            Retry::Send => {
                ctx.counters.retransmits_out += 1;
                ctx.transmit(self.request.clone());
            }
            Retry::GiveUp => {
                let unanswered = self.unanswered(now);
                return State::fail(ctx, self.hint.unwrap_or(IkeError::NoResponse(unanswered)));
            }
        }
        State::InitSent(self)
    }

    fn unanswered(&self, now: Instant) -> Unanswered {
        Unanswered {
            exchange: Exchange::IKE_SA_INIT.name(),
            bytes: self.request.len(),
            fragments: 1,
            transmissions: self.backoff.sent(),
            waited: self.backoff.waited(now),
        }
    }

    /// Remembers a reason that a forger could have made up; it counts only if no true answer comes.
    fn hinted(mut self: Box<Self>, ctx: &mut Ctx, hint: IkeError) -> State {
        ctx.counters.dropped_clear_text += 1;
        self.hint = Some(hint);
        self.backoff.limit(MORE_AFTER_HINT);
        State::InitSent(self)
    }

    /// An answer to the request before this one, which asks for what this one brings (RFC 7296 §2.6.1).
    fn stale(self: Box<Self>, ctx: &mut Ctx) -> State {
        ctx.counters.dropped_state += 1;
        State::InitSent(self)
    }

    pub fn on_message(self: Box<Self>, ctx: &mut Ctx, now: Instant, header: &Header, bytes: &[u8]) -> State {
        if header.spi_i != self.attempt.spi_i || header.from_initiator || !header.response {
            ctx.counters.dropped_spi += 1;
            return State::InitSent(self);
        }
        if header.id != 0 || header.exchange != Exchange::IKE_SA_INIT {
            ctx.counters.dropped_window += 1;
            return State::InitSent(self);
        }
        let m = match Message::parse(header.first, &bytes[HEADER_LEN..]) {
            Ok(m) => m,
            Err(e) => return self.hinted(ctx, e.into()),
        };
        if let Some(n) = m.notify(NotifyType::COOKIE) {
            let cookie = n.data.to_vec();
            if self.attempt.cookie.as_ref() == Some(&cookie) {
                return self.stale(ctx);
            }
            return self.with_cookie(ctx, now, cookie);
        }
        if let Some(n) = m.notify(NotifyType::INVALID_KE_PAYLOAD) {
            let Ok(wanted) = <[u8; 2]>::try_from(n.data).map(u16::from_be_bytes) else {
                return self
                    .hinted(ctx, IkeError::ProtocolViolation(Violation::Malformed("INVALID_KE_PAYLOAD")));
            };
            if wanted == self.attempt.group.transform_id() {
                return self.stale(ctx);
            }
            return self.with_group(ctx, now, wanted);
        }
        if let Some(n) = m.error() {
            let hint = match n.kind {
                NotifyType::NO_PROPOSAL_CHOSEN => {
                    IkeError::NoProposalChosen { by: Party::Peer, ours: join(ctx), theirs: String::new() }
                }
                NotifyType(notify) => IkeError::PeerNotify { notify },
            };
            return self.hinted(ctx, hint);
        }
        match self.accept(ctx, header, &m) {
            Ok(agreed) => {
                ctx.counters.responses_in += 1;
                ctx.proofs += 1;
                let Self { attempt, request, .. } = *self;
                Agreeing::begin(ctx, agreed, attempt, request, bytes.to_vec())
            }
            Err(hint) => self.hinted(ctx, hint),
        }
    }

    fn accept(
        &self,
        ctx: &Ctx,
        header: &Header,
        m: &Message<'_>,
    ) -> Result<super::agreeing::Agreed, IkeError> {
        let sa = m.sa.as_ref().ok_or(missing("SA"))?;
        let ke = m.ke.as_ref().ok_or(missing("KE"))?;
        let nr = m.nonce.ok_or(missing("Nonce"))?;
        let not_offered = |what| IkeError::ProtocolViolation(Violation::NotOffered(what));
        if header.spi_r == 0 {
            return Err(IkeError::ProtocolViolation(Violation::Malformed("SPIr")));
        }
        // RFC 9370 §2.2.1: no additional key exchange without IKE_INTERMEDIATE, which both must have announced.
        let intermediate = m.notify(NotifyType::INTERMEDIATE_EXCHANGE_SUPPORTED).is_some();
        let suite = ike::accept(sa, &ctx.config.ike_proposals, intermediate).ok_or(not_offered("SA"))?;
        // RFC 7296 §2.7: KEr is of the group in SAr1, which is that of our KEi.
        if suite.group != self.attempt.group || ke.group != suite.group.transform_id() {
            return Err(not_offered("KE group"));
        }
        // RFC 8784 §3: where the PPK is mandatory, the exchange ends here.
        let ppk = auth::PpkStage::of(ctx, m);
        if !ppk.is_agreed() && ctx.config.ppk.as_ref().is_some_and(|p| p.required) {
            return Err(IkeError::PpkMissing);
        }
        Ok(super::agreeing::Agreed {
            suite,
            peer_public: ke.public.to_vec(),
            nr: nr.to_vec(),
            spi_r: header.spi_r,
            nat: nat::detect(m, ctx, header.spi_i, header.spi_r),
            fragmentation: m.notify(NotifyType::FRAGMENTATION_SUPPORTED).is_some(),
            peer_hashes: auth::announced_hashes(m),
            ppk,
        })
    }

    fn with_cookie(mut self: Box<Self>, ctx: &mut Ctx, now: Instant, cookie: Vec<u8>) -> State {
        if cookie.is_empty() || cookie.len() > COOKIE_LEN_MAX {
            return self.hinted(ctx, IkeError::ProtocolViolation(Violation::Malformed("COOKIE")));
        }
        if self.attempt.restarts >= RESTARTS_MAX {
            // RFC 7296 §2.6: cookies may be forged; those beyond the bound change nothing.
            let restarts = self.attempt.restarts;
            return self.hinted(ctx, IkeError::TooManyRestarts { restarts });
        }
        self.attempt.restarts += 1;
        self.attempt.cookie = Some(cookie);
        ctx.counters.responses_in += 1;
        ctx.proofs += 1;
        Self::send(ctx, now, self.attempt, self.public)
    }

    fn with_group(mut self: Box<Self>, ctx: &mut Ctx, now: Instant, wanted: u16) -> State {
        let ours = self.attempt.group;
        // RFC 7296 §2.7: only a group that was in our offer; one already tried would go round in circles.
        let mut offered = ctx.config.ike_proposals.iter().flat_map(|p| &p.groups).copied();
        let group = offered.find(|g| g.transform_id() == wanted).filter(|g| !self.attempt.tried.contains(g));
        let Some(group) = group else {
            return self.hinted(ctx, IkeError::GroupRefused { ours, wanted });
        };
        self.attempt.restarts += 1;
        ctx.counters.responses_in += 1;
        ctx.proofs += 1;
        KeyGen::with_group(ctx, now, self.attempt, group)
    }
}

/// Whether a proposal of ours has an additional key exchange.
pub(super) fn wants_intermediate(ctx: &Ctx) -> bool {
    ctx.config.ike_proposals.iter().flat_map(|p| &p.ke1).any(Option::is_some)
}

/// Our proposals, for the log.
pub(crate) fn join(ctx: &Ctx) -> String {
    ctx.config.ike_proposals.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}
