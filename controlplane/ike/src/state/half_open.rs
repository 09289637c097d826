//! Responder: one IKE_SA_INIT that was answered, or is about to be, and waits for its IKE_AUTH.

use super::agreeing::Init;
use super::established::{Established, Hold};
use super::{Ended, State, missing};
use crate::algorithm::IkeSuite;
use crate::auth::{self, SignedOctets};
use crate::compute::{Job, JobId, Outcome};
use crate::crypto::keys::{IkeKeys, Seed};
use crate::ctx::Ctx;
use crate::error::{IkeError, Party};
use crate::exchange::{IkeSa, Incoming, SaKeys};
use crate::nat;
use crate::negotiate::esp::{self, Phase};
use crate::negotiate::{describe, ike, ts};
use crate::output::Event;
use crate::task::child::{Child, Ingredients, Made, Peer};
use crate::view::NatView;
use crate::wire::{Chain, Exchange, Header, Message, NotifyType, PayloadType, id};
use sipsec_net::Instant;

/// What was taken of the initiator's offer.
pub(crate) struct Offer {
    pub number: u8,
    pub suite: IkeSuite,
    pub ni: Vec<u8>,
    pub nat: NatView,
    pub fragmentation: bool,
}

pub(crate) struct HalfOpen {
    pub created_at: Instant,
    pub spi_i: u64,
    pub request: Vec<u8>,
    stage: Stage,
}

enum Stage {
    Agreeing { job: JobId, offer: Offer },
    Open { sa: Box<IkeSa>, init: Init },
}

impl HalfOpen {
    pub fn begin(
        ctx: &mut Ctx,
        now: Instant,
        spi_i: u64,
        request: Vec<u8>,
        offer: Offer,
        peer_public: Vec<u8>,
    ) -> Self {
        let group = offer.suite.group;
        let private = ctx.secret(group.private_len());
        let job = ctx.compute(Job::DhRespond { group, private, peer_public });
        Self { created_at: now, spi_i, request, stage: Stage::Agreeing { job, offer } }
    }

    pub fn awaits(&self, wanted: JobId) -> bool {
        matches!(self.stage, Stage::Agreeing { job, .. } if job == wanted)
    }

    pub fn is_of(&self, header: &Header) -> bool {
        matches!(&self.stage, Stage::Open { sa, .. } if sa.is(header))
    }

    pub fn repeat(&self, ctx: &mut Ctx) {
        if let Stage::Open { init, .. } = &self.stage {
            ctx.transmit(init.response.clone());
        }
    }

    pub fn respond(self, ctx: &mut Ctx, _now: Instant, outcome: Outcome) -> Option<Self> {
        let Self { created_at, spi_i, request, stage } = self;
        let (Stage::Agreeing { offer, .. }, Outcome::DhResponded { public, shared }) = (stage, outcome)
        else {
            ctx.counters.dropped_malformed += 1;
            return None;
        };
        let Offer { number, suite, ni, nat, fragmentation } = offer;
        let spi_r = ctx.ike_spi();
        let nr = ctx.nonce();
        let mut chain = Chain::new();
        chain.sa(&[ike::answer(number, &suite, &[])]);
        chain.ke(suite.group.transform_id(), &public);
        chain.nonce(&nr);
        nat::add(&mut chain, ctx, spi_i, spi_r);
        // RFC 7383 §2.3: answered only if it was asked.
        if fragmentation {
            chain.notify(NotifyType::FRAGMENTATION_SUPPORTED, &[]);
        }
        let header = Header {
            spi_i,
            spi_r,
            first: PayloadType::NONE,
            exchange: Exchange::IKE_SA_INIT,
            from_initiator: false,
            response: true,
            id: 0,
        };
        let response = header.with_payloads(chain);
        ctx.counters.responses_out += 1;
        ctx.transmit(response.clone());
        let keys = IkeKeys::initial(&suite, &shared, &Seed { ni: &ni, nr: &nr, spi_i, spi_r });
        let sa = IkeSa::new(ctx, SaKeys { suite, keys, spi_i, spi_r, initiator: false, fragmentation });
        let init = Init { request: request.clone(), response, ni, nr, nat };
        Some(Self { created_at, spi_i, request, stage: Stage::Open { sa: Box::new(sa.after_init()), init } })
    }

    /// `Err` is the state that follows the end of the half-open one.
    pub fn on_message(
        mut self,
        ctx: &mut Ctx,
        now: Instant,
        header: &Header,
        bytes: &[u8],
    ) -> Result<Self, State> {
        let Stage::Open { sa, init } = &mut self.stage else { return Ok(self) };
        if header.response || header.exchange != Exchange::IKE_AUTH {
            ctx.counters.dropped_state += 1;
            return Ok(self);
        }
        let Some(incoming) = sa.receive(ctx, now, header, bytes) else { return Ok(self) };
        let outcome = authenticate(ctx, now, sa, init, &incoming);
        let Stage::Open { mut sa, init } = self.stage else {
            unreachable!("the stage was matched above");
        };
        Err(match outcome {
            Ok((peer, made, chain)) => {
                ctx.event(Event::Authenticated(peer.0.clone(), peer.1.clone()));
                let hold = Hold { exchange: Exchange::IKE_AUTH, id: incoming.id, chain };
                Established::with_child(ctx, now, *sa, peer, init.nat, made, Some(hold))
            }
            Err(refusal) => {
                let Refusal { error, chain } = *refusal;
                sa.respond(ctx, Exchange::IKE_AUTH, incoming.id, chain);
                ctx.event(Event::Failed(error));
                State::Ended(Box::new(Ended::kept(*sa)))
            }
        })
    }
}

struct Refusal {
    error: IkeError,
    chain: Chain,
}

impl Refusal {
    fn notify(error: IkeError, kind: NotifyType, data: &[u8]) -> Box<Self> {
        let mut chain = Chain::new();
        chain.notify(kind, data);
        Box::new(Self { error, chain })
    }
}

fn authenticate(
    ctx: &mut Ctx,
    now: Instant,
    sa: &IkeSa,
    init: &Init,
    incoming: &Incoming,
) -> Result<(Peer, Made, Chain), Box<Refusal>> {
    // RFC 7296 §2.21.2: a message that is malformed or has an unsupported critical payload is rejected entirely, and
    // what it has to do with authentication is not looked at.
    let m = Message::parse(incoming.first, &incoming.plaintext).map_err(|e| match IkeError::from(e) {
        error @ IkeError::UnsupportedCriticalPayload { payload } => {
            Refusal::notify(error, NotifyType::UNSUPPORTED_CRITICAL_PAYLOAD, &[payload])
        }
        error => Refusal::notify(error, NotifyType::INVALID_SYNTAX, &[]),
    })?;
    let absent = |what| Refusal::notify(missing(what), NotifyType::INVALID_SYNTAX, &[]);
    let idi = m.idi.as_ref().ok_or_else(|| absent("IDi"))?;
    // Without AUTH the initiator wants EAP (RFC 7296 §2.16), which a call has no use for.
    let auth = m
        .auth
        .as_ref()
        .ok_or_else(|| Refusal::notify(missing("AUTH"), NotifyType::AUTHENTICATION_FAILED, &[]))?;
    let octets = SignedOctets {
        prf: sa.suite.prf,
        sk_p: &sa.sk_pi,
        message: &init.request,
        nonce: &init.nr,
        id: idi.octets,
    };
    let peer = auth::verify(&ctx.config, &octets, idi, auth)
        .map_err(|e| Refusal::notify(e, NotifyType::AUTHENTICATION_FAILED, &[]))?;

    let id = id::encode(&ctx.config.local_id);
    let octets = SignedOctets {
        prf: sa.suite.prf,
        sk_p: &sa.sk_pr,
        message: &init.response,
        nonce: &init.ni,
        id: &id,
    };
    let (method, data) = auth::sign(&ctx.config.auth, &octets);
    let mut chain = Chain::new();
    chain.push(PayloadType::IDR, &id);
    chain.auth(method, &data);

    // RFC 7296 §2.21.2: the CHILD_SA may fail while the authentication holds; both are in one response.
    let refuse = |error, kind, mut chain: Chain| {
        chain.notify(kind, &[]);
        Box::new(Refusal { error, chain })
    };
    let (Some(proposals), Some(tsi), Some(tsr)) = (&m.sa, &m.tsi, &m.tsr) else {
        return Err(refuse(missing("SA, TSi or TSr"), NotifyType::INVALID_SYNTAX, Chain::new()));
    };
    let Some(chosen) = esp::choose(proposals, &ctx.config.esp_proposals, Phase::Auth) else {
        let error = IkeError::NoProposalChosen {
            by: Party::Us,
            ours: ctx.config.esp_proposals.iter().map(ToString::to_string).collect::<Vec<_>>().join(", "),
            theirs: describe(proposals),
        };
        return Err(refuse(error, NotifyType::NO_PROPOSAL_CHOSEN, chain));
    };
    let remote = ts::narrow(tsi, &ctx.config.ts_remote);
    let local = ts::narrow(tsr, &ctx.config.ts_local);
    if remote.is_empty() || local.is_empty() {
        return Err(refuse(IkeError::TsUnacceptable { by: Party::Us }, NotifyType::TS_UNACCEPTABLE, chain));
    }
    let spi_in = ctx.esp_spi();
    chain.sa(&[esp::answer(chosen.number, &chosen.suite, spi_in)]);
    chain.ts(PayloadType::TSI, &remote);
    chain.ts(PayloadType::TSR, &local);
    let made = Child::make(
        ctx,
        now,
        Ingredients {
            prf: sa.suite.prf,
            sk_d: &sa.sk_d,
            shared: None,
            ni: &init.ni,
            nr: &init.nr,
            exchange_initiator: false,
            spi_in,
            spi_out: chosen.peer_spi,
            suite: chosen.suite,
            selectors: ts::pack(&local, &remote),
        },
    );
    Ok((peer, made, chain))
}
