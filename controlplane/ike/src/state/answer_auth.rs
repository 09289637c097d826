//! Responder: what an IKE_AUTH request says, and what is answered (RFC 7296 §1.2, §2.21.2).

use super::agreeing::Init;
use super::established::{Begin, Hold};
use super::missing;
use crate::auth::{self, Peer, PpkStage, SignedOctets, Step};
use crate::compute::JobId;
use crate::ctx::Ctx;
use crate::error::{IkeError, Party};
use crate::exchange::{IkeSa, Incoming};
use crate::negotiate::describe;
use crate::negotiate::esp::{self, Phase};
use crate::negotiate::ts::{self, TrafficSelectors};
use crate::task::child::{Child, Ingredients, Made};
use crate::wire::auth::Auth;
use crate::wire::{Chain, Exchange, NotifyType, ParseError, PayloadType, id};
use sipsec_net::Instant;

/// How far the two proofs of an IKE_AUTH exchange are.
pub(super) enum Proof {
    Verifying(JobId),
    Signing(JobId, Peer),
    Whole(Peer, (u8, Vec<u8>)),
}

/// The response that ends it, and why.
pub(super) struct Refusal {
    pub error: IkeError,
    pub chain: Chain,
    /// Only the CHILD_SA is refused: the IKE SA is up at the peer, and has to be deleted.
    pub authenticated: bool,
}

impl From<ParseError> for Box<Refusal> {
    fn from(e: ParseError) -> Self {
        Self::new(Refusal { error: e.into(), chain: e.refusal(), authenticated: false })
    }
}

impl Refusal {
    pub fn notify(error: IkeError, kind: NotifyType, data: &[u8]) -> Box<Self> {
        let mut chain = Chain::new();
        chain.notify(kind, data);
        Box::new(Self { error, chain, authenticated: false })
    }
}

pub(super) fn prove(
    ctx: &Ctx,
    sa: &mut IkeSa,
    init: &mut Init,
    incoming: &Incoming,
) -> Result<Step<Peer>, Box<Refusal>> {
    // RFC 7296 §2.21.2: a message that is malformed or has an unsupported critical payload is rejected entirely, and
    // what it has to do with authentication is not looked at.
    let m = incoming.message()?;
    let absent = |what| Refusal::notify(missing(what), NotifyType::INVALID_SYNTAX, &[]);
    let idi = m.idi.as_ref().ok_or_else(|| absent("IDi"))?;
    // Without AUTH the initiator wants EAP (RFC 7296 §2.16), which a call has no use for.
    let proof = m
        .auth
        .as_ref()
        .ok_or_else(|| Refusal::notify(missing("AUTH"), NotifyType::AUTHENTICATION_FAILED, &[]))?;
    let refuse = |e| Refusal::notify(e, NotifyType::AUTHENTICATION_FAILED, &[]);
    let plain = auth::respond_ppk(ctx, sa, &mut init.ppk, &m).map_err(refuse)?;
    let proof = Auth { data: plain.unwrap_or(proof.data), ..*proof };
    let octets = SignedOctets {
        prf: sa.suite.prf,
        sa: sa.proven(),
        sk_p: &sa.sk_pi,
        message: &init.request,
        nonce: &init.nr,
        id: idi.octets,
        int_auth: &init.int_auth,
    };
    auth::verify(&ctx.config, &octets, idi, &proof, &m.certs).map_err(refuse)
}

pub(super) fn sign(ctx: &mut Ctx, sa: &IkeSa, init: &Init, peer: Peer) -> Result<Proof, Box<Refusal>> {
    let id = id::encode(&ctx.config.local_id);
    let octets = SignedOctets {
        prf: sa.suite.prf,
        sa: sa.proven(),
        sk_p: &sa.sk_pr,
        message: &init.response,
        nonce: &init.ni,
        id: &id,
        int_auth: &init.int_auth,
    };
    // RFC 7296 §2.15 allows another key than the initiator's; a peer may have that one alone.
    match auth::sign(&ctx.config.auth, &octets, &init.peer_hashes, peer.0.psk().unwrap_or_default()) {
        Ok(Step::Ready(auth)) => Ok(Proof::Whole(peer, auth)),
        Ok(Step::Job(job)) => Ok(Proof::Signing(ctx.compute(job), peer)),
        Err(e) => Err(Refusal::notify(e, NotifyType::AUTHENTICATION_FAILED, &[])),
    }
}

/// The response to a request whose initiator has proven itself, with the CHILD_SA that comes with it.
pub(super) fn answer(
    ctx: &mut Ctx,
    now: Instant,
    sa: &mut IkeSa,
    init: &Init,
    incoming: &Incoming,
    auth: (u8, Vec<u8>),
) -> Result<(Made, Begin), Box<Refusal>> {
    let m = incoming.message()?;
    let mut chain = Chain::new();
    chain.push(PayloadType::IDR, &id::encode(&ctx.config.local_id));
    auth::present(&mut chain, &ctx.config.auth);
    chain.auth(auth.0, &auth.1);
    if init.ppk == PpkStage::Used {
        chain.notify(NotifyType::PPK_IDENTITY, &[]);
    }
    ctx.give_token(&mut chain, sa.spi_i, sa.spi_r);
    sa.peer_tokens.note(ctx, &m);

    let (Some(proposals), Some(tsi), Some(tsr)) = (&m.sa, &m.tsi, &m.tsr) else {
        return Err(Refusal::notify(missing("SA, TSi or TSr"), NotifyType::INVALID_SYNTAX, &[]));
    };
    // RFC 7296 §2.21.2: the CHILD_SA may fail while the authentication holds; both are in one response.
    let refuse = |error, kind, mut chain: Chain| {
        chain.notify(kind, &[]);
        Box::new(Refusal { error, chain, authenticated: true })
    };
    if m.asks_for_address {
        // RFC 7296 §3.15.4: no CHILD_SA is made. A peer that needs an address would give up without a word otherwise.
        return Err(refuse(IkeError::AddressWanted, NotifyType::INTERNAL_ADDRESS_FAILURE, chain));
    }
    let Some(chosen) = esp::choose(proposals, &ctx.config.esp_proposals, Phase::Auth) else {
        let error = IkeError::NoProposalChosen {
            by: Party::Us,
            ours: ctx.config.esp_proposals.iter().map(ToString::to_string).collect::<Vec<_>>().join(", "),
            theirs: describe(proposals),
        };
        return Err(refuse(error, NotifyType::NO_PROPOSAL_CHOSEN, chain));
    };
    let (remote, more_remote) = ts::fit(ts::narrow(tsi, &ctx.config.ts_remote), &[]);
    let (local, more_local) = ts::fit(ts::narrow(tsr, &ctx.config.ts_local), &[]);
    if remote.is_empty() || local.is_empty() {
        let error = IkeError::TsUnacceptable { by: Party::Us };
        return Err(refuse(error, NotifyType::TS_UNACCEPTABLE, chain));
    }
    let spi_in = ctx.esp_spi();
    chain.sa(&[chosen.answer(spi_in)]);
    chain.ts(PayloadType::TSI, &remote);
    chain.ts(PayloadType::TSR, &local);
    if more_remote || more_local {
        chain.notify(NotifyType::ADDITIONAL_TS_POSSIBLE, &[]);
    }
    let id = ctx.child_id();
    let made = Child::make(
        ctx,
        now,
        Ingredients {
            id,
            prf: sa.suite.prf,
            sk_d: &sa.sk_d,
            shared: (None, None),
            ni: &init.ni,
            nr: &init.nr,
            exchange_initiator: false,
            spi_in,
            spi_out: chosen.peer_spi,
            suite: chosen.suite,
            selectors: TrafficSelectors::of(&local, &remote),
        },
    );
    let hold = Some(Hold { exchange: Exchange::IKE_AUTH, id: incoming.id, chain });
    let initial_contact = m.notify(NotifyType::INITIAL_CONTACT).is_some();
    Ok((made, Begin { hold, initial_contact, auth_lifetime: None }))
}
