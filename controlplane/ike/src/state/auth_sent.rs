//! Initiator: IKE_AUTH is sent.

use super::agreeing::Init;
use super::established::{Begin, Established};
use super::{Ended, State, Verifying, missing};
use crate::auth::{self, Peer, SignedOctets, Step};
use crate::config::{AuthConfig, EndpointConfig};
use crate::ctx::Ctx;
use crate::error::{IkeError, Party, Violation};
use crate::exchange::ike_sa::Timeout;
use crate::exchange::{IkeSa, Incoming};
use crate::negotiate::esp::{self, Phase};
use crate::negotiate::ts::{self, TrafficSelectors, TsOffer};
use crate::task::Task;
use crate::task::child::{Child, Made};
use crate::task::reauth::auth_lifetime;
use crate::wire::{Chain, Exchange, Header, Message, NotifyType, PayloadType, id};
use sipsec_net::{Instant, Spi};

pub(crate) struct AuthSent {
    sa: IkeSa,
    init: Init,
    /// The inbound SPI of the CHILD_SA that comes with IKE_AUTH.
    spi_in: Spi,
}

impl AuthSent {
    /// `plain`: the proof without the PPK, which is optional.
    pub fn send(
        ctx: &mut Ctx,
        now: Instant,
        mut sa: IkeSa,
        init: Init,
        auth: (u8, Vec<u8>),
        plain: Option<(u8, Vec<u8>)>,
    ) -> State {
        let spi_in = ctx.esp_spi();
        let mut chain = introduce(&ctx.config, !ctx.is_aside());
        chain.auth(auth.0, &auth.1);
        if let Some(ppk) = ctx.config.ppk.as_ref().filter(|_| init.ppk.is_agreed()) {
            chain.notify(NotifyType::PPK_IDENTITY, &ppk.identity());
        }
        if let Some((_, data)) = plain {
            // RFC 8784 §3: the method is that of the AUTH payload.
            chain.notify(NotifyType::NO_PPK_AUTH, &data);
        }
        ctx.give_token(&mut chain, sa.spi_i, sa.spi_r);
        chain.sa(&esp::offer(&ctx.config.esp_proposals, spi_in, Phase::Auth));
        chain.ts(PayloadType::TSI, &ctx.config.ts_local);
        chain.ts(PayloadType::TSR, &ctx.config.ts_remote);
        sa.request(ctx, now, Exchange::IKE_AUTH, chain, Task::Auth);
        State::AuthSent(Box::new(Self { sa, init, spi_in }))
    }

    pub fn sa(&self) -> &IkeSa {
        &self.sa
    }

    #[cfg(test)]
    pub fn sa_mut(&mut self) -> &mut IkeSa {
        &mut self.sa
    }

    pub fn deadline(&self) -> Option<Instant> {
        self.sa.deadline()
    }

    pub fn on_timeout(mut self: Box<Self>, ctx: &mut Ctx, now: Instant) -> State {
        match self.sa.on_timeout(ctx, now, None) {
            Timeout::Fine => State::AuthSent(self),
            Timeout::GaveUp(unanswered) => State::fail(ctx, IkeError::NoResponse(unanswered)),
        }
    }

    /// The responder may have the SA already.
    pub fn close(mut self, ctx: &mut Ctx, now: Instant) -> Ended {
        self.sa.delete(ctx, now);
        Ended::kept(self.sa)
    }

    pub fn on_message(
        mut self: Box<Self>,
        ctx: &mut Ctx,
        now: Instant,
        header: &Header,
        bytes: &[u8],
    ) -> State {
        let Some(incoming) = self.sa.receive_response(ctx, now, header, bytes) else {
            return State::AuthSent(self);
        };
        let step = self.prove(ctx, &incoming);
        let Self { sa, init, spi_in } = *self;
        let proven = match step {
            Ok(Step::Job(job)) => {
                let job = ctx.compute(job);
                return State::Verifying(Box::new(Verifying { job, sa, init, spi_in, incoming }));
            }
            Ok(Step::Ready(peer)) => Ok(peer),
            Err(refusal) => Err(refusal),
        };
        match incoming.message() {
            Ok(m) => conclude(ctx, now, sa, &init, spi_in, &m, proven),
            Err(e) => refuse(ctx, now, sa, e.into(), NotifyType::INVALID_SYNTAX),
        }
    }

    fn prove(&mut self, ctx: &Ctx, incoming: &Incoming) -> Result<Step<Peer>, Refusal> {
        let m = incoming.message().map_err(|e| Refusal::ByUs(e.into(), NotifyType::INVALID_SYNTAX))?;
        let (Some(idr), Some(auth)) = (&m.idr, &m.auth) else {
            return Err(match m.error().map(|n| n.kind) {
                Some(NotifyType::AUTHENTICATION_FAILED) => {
                    Refusal::ByPeer(IkeError::AuthenticationFailed { by: Party::Peer })
                }
                Some(NotifyType(notify)) => Refusal::ByPeer(IkeError::PeerNotify { notify }),
                None => Refusal::ByUs(missing("IDr and AUTH"), NotifyType::INVALID_SYNTAX),
            });
        };
        auth::conclude_ppk(ctx, &mut self.sa, &mut self.init.ppk, &m)
            .map_err(|e| Refusal::ByUs(e, NotifyType::AUTHENTICATION_FAILED))?;
        let octets = SignedOctets {
            prf: self.sa.suite.prf,
            sa: self.sa.proven(),
            sk_p: &self.sa.sk_pr,
            message: &self.init.response,
            nonce: &self.init.ni,
            id: idr.octets,
            int_auth: &self.init.int_auth,
        };
        auth::verify(&ctx.config, &octets, idr, auth, &m.certs)
            .map_err(|e| Refusal::ByUs(e, NotifyType::AUTHENTICATION_FAILED))
    }
}

/// IDi, and the IDr that we expect.
/// `first`: this is the first IKE SA of the call.
pub(crate) fn introduce(config: &EndpointConfig, first: bool) -> Chain {
    let id = id::encode(&config.local_id);
    let mut chain = Chain::new();
    chain.push(PayloadType::IDI, &id);
    auth::present(&mut chain, &config.auth);
    auth::request(&mut chain, &config.auth);
    // RFC 7296 §2.4: the first IKE SA of a call is the only one between these two identities. Those of a pre-shared key
    // are the two numbers; certificates may serve several tunnels, whose SAs the peer would delete.
    if first && matches!(config.auth, AuthConfig::Psk(_)) {
        chain.notify(NotifyType::INITIAL_CONTACT, &[]);
    }
    if let Some(expected) = config.remote_id.expected() {
        chain.push(PayloadType::IDR, &id::encode(&expected));
    }
    chain
}

/// The responder has proven itself, or not.
pub(super) fn conclude(
    ctx: &mut Ctx,
    now: Instant,
    mut sa: IkeSa,
    init: &Init,
    spi_in: Spi,
    m: &Message<'_>,
    proven: Result<Peer, Refusal>,
) -> State {
    match proven {
        Ok(peer) => {
            sa.peer_tokens.note(ctx, m);
            match child(ctx, now, &sa, init, spi_in, m) {
                Ok(made) => {
                    let lifetime = m.notify(NotifyType::AUTH_LIFETIME).and_then(|n| auth_lifetime(n.data));
                    let begin = Begin { auth_lifetime: lifetime, ..Begin::default() };
                    Established::with_child(ctx, now, sa, peer, init, made, begin)
                }
                // RFC 7296 §2.9: the IKE SA is up, and the CHILD_SA is asked for again with one pair.
                Err(IkeError::NoChildSa { notify })
                    if NotifyType(notify) == NotifyType::SINGLE_PAIR_REQUIRED
                        && let Some(narrower) = TsOffer::All.narrower(&ctx.config) =>
                {
                    Established::without_child(ctx, now, sa, peer, init, narrower)
                }
                Err(e) => {
                    let (peer, fingerprint) = peer;
                    if !ctx.is_aside() {
                        ctx.event(crate::Event::Authenticated(peer, fingerprint));
                    }
                    let mut chain = Chain::new();
                    chain.delete_ike();
                    quit(ctx, now, sa, chain, e)
                }
            }
        }
        Err(Refusal::ByPeer(e)) => State::fail(ctx, e),
        Err(Refusal::ByUs(e, kind)) => refuse(ctx, now, sa, e, kind),
    }
}

pub(super) enum Refusal {
    /// The peer knows that there is no SA.
    ByPeer(IkeError),
    /// The peer believes that there is one.
    ByUs(IkeError, NotifyType),
}

/// RFC 7296 §2.21.2: an initiator that rejects the responder MAY say so in an INFORMATIONAL exchange; the responder,
/// which believes the SA to be up, then deletes it.
fn refuse(ctx: &mut Ctx, now: Instant, sa: IkeSa, error: IkeError, kind: NotifyType) -> State {
    let mut chain = Chain::new();
    chain.notify(kind, &[]);
    quit(ctx, now, sa, chain, error)
}

fn quit(ctx: &mut Ctx, now: Instant, mut sa: IkeSa, chain: Chain, error: IkeError) -> State {
    sa.request(ctx, now, Exchange::INFORMATIONAL, chain, Task::DeleteIke);
    ctx.event(crate::Event::Failed(error));
    State::Ended(Box::new(Ended::kept(sa)))
}

fn child(
    ctx: &mut Ctx,
    now: Instant,
    sa: &IkeSa,
    init: &Init,
    spi_in: Spi,
    m: &Message<'_>,
) -> Result<Made, IkeError> {
    let Some(proposals) = &m.sa else {
        return Err(match m.error().map(|n| n.kind) {
            Some(NotifyType::NO_PROPOSAL_CHOSEN) => IkeError::NoProposalChosen {
                by: Party::Peer,
                ours: ctx.config.esp_proposals.iter().map(ToString::to_string).collect::<Vec<_>>().join(", "),
                theirs: String::new(),
            },
            Some(NotifyType::TS_UNACCEPTABLE) => IkeError::TsUnacceptable { by: Party::Peer },
            Some(NotifyType::FAILED_CP_REQUIRED) => IkeError::AddressDemanded,
            Some(NotifyType(notify)) => IkeError::NoChildSa { notify },
            None => missing("SA"),
        });
    };
    let (tsi, tsr) = (m.tsi.as_ref().ok_or(missing("TSi"))?, m.tsr.as_ref().ok_or(missing("TSr"))?);
    let chosen = esp::accept(proposals, &ctx.config.esp_proposals, Phase::Auth)
        .ok_or(IkeError::ProtocolViolation(Violation::NotOffered("ESP SA")))?;
    ts::accept(tsi, &ctx.config.ts_local)?;
    ts::accept(tsr, &ctx.config.ts_remote)?;
    let id = ctx.child_id();
    Ok(Child::make(
        ctx,
        now,
        crate::task::child::Ingredients {
            id,
            prf: sa.suite.prf,
            sk_d: &sa.sk_d,
            shared: (None, None),
            ni: &init.ni,
            nr: &init.nr,
            exchange_initiator: true,
            spi_in,
            spi_out: chosen.peer_spi,
            suite: chosen.suite,
            selectors: TrafficSelectors::of(tsi, tsr),
        },
    ))
}
