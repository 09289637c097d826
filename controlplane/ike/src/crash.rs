//! Crash detection by tokens (RFC 6290). Each side gives the other a token for each IKE SA, in a protected message. One that
//! has lost the IKE SA, and is asked something on it, answers in clear with the token, which it can make again:
//! ```text
//! has the IKE SA (taker)                                        has lost it (maker)
//!   ├─ a protected request ─────────────────────────────────────────▶│ SPIs that it does not know
//!   │◀─ N(INVALID_IKE_SPI), N(QCD_TOKEN) in clear ───────────────────┤
//!   │ the token is the one that it was given: nothing is left there
//! ```
//! Nothing else in clear ends an IKE SA (RFC 7296 §2.21.4).

use crate::Endpoint;
use crate::algorithm::Prf;
use crate::crypto::prf::prf;
use crate::ctx::Ctx;
use crate::secret::Secret;
use crate::state::State;
use crate::task::budget::Budget;
use crate::wire::header::HEADER_LEN;
use crate::wire::notify::PROTOCOL_IKE;
use crate::wire::payload::Payloads;
use crate::wire::{Chain, Exchange, Header, Message, NotifyType, PayloadType};
use core::net::{IpAddr, SocketAddr};
use core::ops::RangeInclusive;
use sipsec_net::{Instant, SecretBox};
use subtle::{Choice, ConstantTimeEq};

/// RFC 6290 §5.1: 32 random octets.
pub const CRASH_SECRET_LEN: usize = 32;

/// What tokens are made of. It outlives the process, and nothing else has it: its holder can end every IKE SA of this gateway.
pub type CrashSecret = SecretBox<CRASH_SECRET_LEN>;

/// RFC 6290 §5.
const TOKEN_LENS: RangeInclusive<usize> = 16..=128;
/// RFC 6290 §4.5: that many in one message are looked at.
const TOKENS_MAX: usize = 4;
/// RFC 6290 §5: "MAY store several earlier tokens".
const TOKENS_KEPT_MAX: usize = 2;

/// Makes the tokens of one call, and answers with them what is asked on an IKE SA that is lost.
pub struct TokenMaker {
    secret: CrashSecret,
    own: SocketAddr,
    taker: IpAddr,
    answers: Budget,
}

impl TokenMaker {
    /// `own` and `peer` are the addresses of the call's IKE, as SDP named them. The same values make the same tokens in every
    /// run of the gateway.
    #[must_use]
    pub const fn new(secret: CrashSecret, own: SocketAddr, peer: IpAddr) -> Self {
        Self { secret, own, taker: peer, answers: Budget::full(Instant::ZERO) }
    }

    /// RFC 6290 §5.2, with our own address and port in addition: the port is of one call, so the endpoint of one call cannot
    /// be made to reveal the token of an IKE SA that lives in another (§9.2).
    fn token(&self, (spi_i, spi_r): (u64, u64)) -> Secret {
        let octets = |ip: IpAddr| match ip.to_canonical() {
            IpAddr::V4(ip) => ip.octets().to_vec(),
            IpAddr::V6(ip) => ip.octets().to_vec(),
        };
        let port = self.own.port().to_be_bytes();
        let (own, taker) = (octets(self.own.ip()), octets(self.taker));
        let parts = [b"QCD_TOKEN", &spi_i.to_be_bytes()[..], &spi_r.to_be_bytes(), &port, &own, &taker];
        prf(Prf::HmacSha256, self.secret.expose(), &parts)
    }

    /// The answer of a gateway that has no IKE SA of this call any more. `None` for everything but a protected request, and if
    /// too many were asked: RFC 6290 §9.3 wants a limit.
    pub fn answer(&mut self, now: Instant, datagram: &[u8]) -> Option<Vec<u8>> {
        let (header, bytes) = Header::split(datagram).ok()?;
        self.answer_stray(now, &header, bytes)
    }

    fn answer_stray(&mut self, now: Instant, header: &Header, bytes: &[u8]) -> Option<Vec<u8>> {
        if !is_protected_request(header, bytes) || !self.answers.take(now) {
            return None;
        }
        let mut chain = Chain::new();
        chain.notify(NotifyType::INVALID_IKE_SPI, &[]);
        add(&mut chain, &self.token((header.spi_i, header.spi_r)));
        // RFC 7296 §1.5: SPIs, Message ID and exchange type are those of the request.
        Some(
            Header { from_initiator: !header.from_initiator, response: true, ..*header }.with_payloads(chain),
        )
    }
}

impl core::fmt::Debug for TokenMaker {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("TokenMaker").field("own", &self.own).finish_non_exhaustive()
    }
}

/// RFC 6290 §4.1: the protocol is IKE.
fn add(chain: &mut Chain, token: &Secret) {
    chain.notify_spi(PROTOCOL_IKE, &[], NotifyType::QCD_TOKEN, token.expose());
}

/// A request of an IKE SA; of one in fragments, the first.
fn is_protected_request(header: &Header, bytes: &[u8]) -> bool {
    /// An initialization vector and a checksum, at least.
    const SEALED_MIN: usize = 16;
    if header.response || header.exchange == Exchange::IKE_SA_INIT || header.spi_i == 0 || header.spi_r == 0 {
        return false;
    }
    let Some(body) = bytes.get(HEADER_LEN..) else { return false };
    match Payloads::new(header.first, body).last() {
        Some(Ok(raw)) if raw.kind == PayloadType::SK => raw.body.len() >= SEALED_MIN,
        Some(Ok(raw)) if raw.kind == PayloadType::SKF => {
            raw.body.len() >= SEALED_MIN && raw.body.starts_with(&[0, 1])
        }
        _ => false,
    }
}

/// Those that the peer gave us for one IKE SA, the newest last.
#[derive(Default)]
pub(crate) struct PeerTokens(Vec<Secret>);

impl PeerTokens {
    /// From a protected message about that IKE SA.
    pub fn note(&mut self, ctx: &Ctx, m: &Message<'_>) {
        if ctx.tokens.is_none() {
            return;
        }
        for given in tokens(m) {
            if !bool::from(self.matching(given)) {
                self.0.push(Secret::new(given.to_vec()));
            }
        }
        let old = self.0.len().saturating_sub(TOKENS_KEPT_MAX);
        self.0.drain(..old);
    }

    fn matching(&self, given: &[u8]) -> Choice {
        self.0.iter().fold(Choice::from(0), |found, kept| found | kept.expose().ct_eq(given))
    }

    fn has_any(&self, m: &Message<'_>) -> bool {
        tokens(m).fold(Choice::from(0), |found, given| found | self.matching(given)).into()
    }
}

fn tokens<'a>(m: &'a Message<'_>) -> impl Iterator<Item = &'a [u8]> {
    let ours = m.notifies.iter().filter(|n| n.kind == NotifyType::QCD_TOKEN).map(|n| n.data);
    ours.filter(|data| TOKEN_LENS.contains(&data.len())).take(TOKENS_MAX)
}

impl Ctx {
    /// Gives the peer our token of an IKE SA, in a protected message.
    pub fn give_token(&self, chain: &mut Chain, spi_i: u64, spi_r: u64) {
        if let Some(tokens) = &self.tokens {
            add(chain, &tokens.token((spi_i, spi_r)));
        }
    }
}

impl Endpoint {
    /// Whether the message was for this file.
    pub(crate) fn crash_message(&mut self, now: Instant, header: &Header, bytes: &[u8]) -> bool {
        if self.ctx.tokens.is_none() {
            return false;
        }
        if header.response { self.on_token(now, header, bytes) } else { self.on_stray(now, header, bytes) }
    }

    /// The peer answers that it does not know our IKE SA.
    fn on_token(&mut self, now: Instant, header: &Header, bytes: &[u8]) -> bool {
        let State::Established(s) = &self.state else { return false };
        let Some(slot) = s.slots.iter().find(|slot| slot.sa.is(header)) else { return false };
        if header.first != PayloadType::NOTIFY {
            return false;
        }
        let Ok(m) = Message::parse(header.first, &bytes[HEADER_LEN..]) else { return false };
        // RFC 6290 §4.5: with INVALID_SPI, if it was ESP that the peer could not place.
        let unknown = |kind| matches!(kind, NotifyType::INVALID_IKE_SPI | NotifyType::INVALID_SPI);
        if !m.notifies.iter().any(|n| unknown(n.kind)) || tokens(&m).next().is_none() {
            return false;
        }
        // RFC 6290 §8.1: a limit on how often tokens are compared.
        if !self.token_checks.take(now) {
            self.ctx.counters.dropped_full += 1;
            return true;
        }
        if !slot.sa.peer_tokens.has_any(&m) {
            self.ctx.counters.crash_tokens.bad += 1;
            return true;
        }
        self.ctx.counters.crash_tokens.proved += 1;
        let lost = slot.sa.local_spi();
        self.step(now, |state, ctx| match state {
            State::Established(s) => s.on_lost(ctx, now, lost),
            other => other,
        });
        true
    }

    /// A protected request on an IKE SA that is not ours, or not any more.
    fn on_stray(&mut self, now: Instant, header: &Header, bytes: &[u8]) -> bool {
        let spis = (header.spi_i, header.spi_r);
        // RFC 6290 §9.2: no token of an IKE SA that exists. While another is being negotiated, none at all.
        let knows = match &mut self.state {
            State::Established(s) => {
                s.slots.iter().any(|slot| slot.sa.has_spis(spis)) || s.is_being_made(header.spi_i)
            }
            State::Deserted(s) => s.has_spis(spis),
            State::Listening(s) => !s.is_empty(),
            _ => true,
        };
        if knows || self.further_until().is_some() || self.leftover.has_spis(spis) {
            return false;
        }
        let Some(tokens) = self.ctx.tokens.as_mut().filter(|_| is_protected_request(header, bytes)) else {
            return false;
        };
        self.ctx.counters.dropped_spi += 1;
        if let Some(answer) = tokens.answer_stray(now, header, bytes) {
            self.ctx.begin(now);
            self.ctx.counters.crash_tokens.sent += 1;
            self.ctx.transmit(answer);
        }
        true
    }
}
