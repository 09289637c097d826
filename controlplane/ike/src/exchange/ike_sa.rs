//! One IKE SA: keys, and one exchange at a time in each direction (RFC 7296 §2.3: the window is 1 unless both say
//! otherwise, and we never say so).

use super::backoff::Backoff;
use super::octets::{GENERIC_HEADER_LEN, HEAD_LEN, octets};
use super::reassembly::Reassembly;
use super::sent::{Outstanding, Plain, Sent};
use crate::algorithm::IkeSuite;
use crate::auth::ProvenSa;
use crate::config::Retransmit;
use crate::crash::PeerTokens;
use crate::crypto::cipher::Cipher;
use crate::crypto::keys::IkeKeys;
use crate::crypto::ppk::PpkKeys;
use crate::ctx::Ctx;
use crate::error::Unanswered;
use crate::keylog;
use crate::secret::Secret;
use crate::state::FRAGMENT_MIN;
use crate::task::Task;
use crate::wire::header::HEADER_LEN;
use crate::wire::skf::{SKF_FIELDS_LEN, SkfFields};
use crate::wire::{Chain, Exchange, Header, PayloadType};
use sipsec_net::Instant;

/// What an IKE SA begins with.
pub(crate) struct SaKeys {
    pub suite: IkeSuite,
    pub keys: IkeKeys,
    pub spi_i: u64,
    pub spi_r: u64,
    /// We are the initiator of this IKE SA.
    pub initiator: bool,
    /// The peer understands fragments (RFC 7383 §2.3).
    pub fragmentation: bool,
}

/// Message IDs never wrap (RFC 7296 §2.2); long before that the SA is replaced.
pub(crate) const MESSAGES_MAX: u32 = 1 << 30;

/// Keys that IKE_INTERMEDIATE has replaced.
pub(super) struct Replaced {
    pub inbound: Cipher,
    pub outbound: Cipher,
}

pub(crate) struct IkeSa {
    pub suite: IkeSuite,
    pub spi_i: u64,
    pub spi_r: u64,
    pub initiator: bool,
    pub fragmentation: bool,
    pub sk_d: Secret,
    pub sk_pi: Secret,
    pub sk_pr: Secret,
    /// What the peer shows if it loses this SA (RFC 6290).
    pub peer_tokens: PeerTokens,
    pub(super) cipher_out: Cipher,
    pub(super) cipher_in: Cipher,
    pub(super) next_request: u32,
    pub(super) outstanding: Option<Outstanding>,
    /// Bytes of the largest fragment of the request that is being answered.
    pub(super) request_bytes: Option<usize>,
    /// ID of the next request of the peer.
    pub(super) expected: u32,
    /// [`Self::wears_out`] has said so.
    worn: bool,
    /// That request came and its response is not sent yet.
    pub(super) answering: Option<Exchange>,
    /// Our last response.
    pub(super) cached: Option<Sent>,
    /// What that response and its request were sealed with, if the keys have been replaced since.
    pub(super) cached_keys: Option<Replaced>,
    pub(super) reassembly_requests: Reassembly,
    pub(super) reassembly_responses: Reassembly,
}

/// What became of an outstanding request when its time came.
pub(crate) enum Timeout {
    Fine,
    GaveUp(Unanswered),
}

impl IkeSa {
    pub fn new(ctx: &mut Ctx, new: SaKeys) -> Self {
        keylog::ike(ctx, &new);
        let SaKeys { suite, keys, spi_i, spi_r, initiator, fragmentation } = new;
        let cipher = |e, a| Cipher::new(suite.encr, e, suite.integ.map(|i| (i, a)));
        let of_i = cipher(&keys.ei, &keys.ai);
        let of_r = cipher(&keys.er, &keys.ar);
        let (cipher_out, cipher_in) = if initiator { (of_i, of_r) } else { (of_r, of_i) };
        Self {
            suite,
            spi_i,
            spi_r,
            initiator,
            fragmentation,
            sk_d: keys.d,
            sk_pi: keys.pi,
            sk_pr: keys.pr,
            peer_tokens: PeerTokens::default(),
            cipher_out,
            cipher_in,
            next_request: 0,
            outstanding: None,
            request_bytes: None,
            expected: 0,
            worn: false,
            answering: None,
            cached: None,
            cached_keys: None,
            reassembly_requests: Reassembly::default(),
            reassembly_responses: Reassembly::default(),
        }
    }

    /// New keys for all further messages (RFC 9242 §3.3.1).
    pub fn replace_keys(&mut self, ctx: &mut Ctx, keys: IkeKeys) {
        let (suite, spi_i, spi_r) = (self.suite, self.spi_i, self.spi_r);
        let (initiator, fragmentation) = (self.initiator, self.fragmentation);
        let fresh = Self::new(ctx, SaKeys { suite, keys, spi_i, spi_r, initiator, fragmentation });
        let Self { sk_d, sk_pi, sk_pr, cipher_out, cipher_in, .. } = fresh;
        (self.sk_d, self.sk_pi, self.sk_pr) = (sk_d, sk_pi, sk_pr);
        let outbound = core::mem::replace(&mut self.cipher_out, cipher_out);
        let inbound = core::mem::replace(&mut self.cipher_in, cipher_in);
        self.cached_keys = Some(Replaced { inbound, outbound });
    }

    /// The keys of this SA with a PPK mixed in (RFC 8784 §3).
    pub fn ppk_keys(&self, ppk: &[u8]) -> PpkKeys {
        PpkKeys::derive(self.suite.prf, ppk, &self.sk_d, &self.sk_pi, &self.sk_pr)
    }

    /// RFC 8784 §3: once, in the initial exchanges; a rekey inherits it by SK_d.
    pub fn apply(&mut self, keys: PpkKeys) {
        (self.sk_d, self.sk_pi, self.sk_pr) = (keys.d, keys.pi, keys.pr);
    }

    /// Our next request, before encryption (RFC 9242 §3.3.2).
    pub fn request_octets(&self, exchange: Exchange, chain: &Chain) -> Vec<u8> {
        self.own_octets(exchange, self.next_request, false, chain)
    }

    /// Our response to the request that came last.
    pub fn response_octets(&self, exchange: Exchange, chain: &Chain) -> Vec<u8> {
        self.own_octets(exchange, self.expected, true, chain)
    }

    fn own_octets(&self, exchange: Exchange, id: u32, response: bool, chain: &Chain) -> Vec<u8> {
        let (first, plaintext) = chain.clone().finish();
        let mut head = [0; HEAD_LEN];
        head[..HEADER_LEN]
            .copy_from_slice(&self.header(exchange, id, response, PayloadType::SK).encode(HEAD_LEN));
        octets(head, first, &plaintext)
    }

    /// After IKE_SA_INIT, which was message 0 of the initiator.
    pub const fn after_init(mut self) -> Self {
        if self.initiator {
            self.next_request = 1;
        } else {
            self.expected = 1;
        }
        self
    }

    /// True once, when one of the two directions has used up its message IDs.
    pub fn wears_out(&mut self) -> bool {
        let worn = self.next_request > MESSAGES_MAX || self.expected > MESSAGES_MAX;
        worn && !core::mem::replace(&mut self.worn, true)
    }

    /// As if that many exchanges had been.
    #[cfg(test)]
    pub fn skip_to(&mut self, next_request: u32, expected: u32) {
        (self.next_request, self.expected) = (next_request, expected);
    }

    /// The key under which we remember this SA.
    pub const fn local_spi(&self) -> u64 {
        if self.initiator { self.spi_i } else { self.spi_r }
    }

    pub const fn is(&self, header: &Header) -> bool {
        self.spi_i == header.spi_i && self.spi_r == header.spi_r && self.initiator != header.from_initiator
    }

    /// In whichever direction a message with them goes.
    pub fn has_spis(&self, spis: (u64, u64)) -> bool {
        spis == (self.spi_i, self.spi_r)
    }

    /// What a proof made in its IKE_AUTH is bound to.
    pub const fn proven(&self) -> ProvenSa {
        ProvenSa { spi_i: self.spi_i, spi_r: self.spi_r }
    }

    pub const fn can_request(&self) -> bool {
        self.outstanding.is_none()
    }

    pub fn task(&self) -> Option<&Task> {
        self.outstanding.as_ref().map(|o| &o.task)
    }

    pub fn task_mut(&mut self) -> Option<&mut Task> {
        self.outstanding.as_mut().map(|o| &mut o.task)
    }

    /// Stops waiting for the answer to our request (RFC 7296 §2.8.2: the peer will not be able to give one).
    pub fn abandon_request(&mut self) -> Option<Task> {
        self.outstanding.take().map(|o| o.task)
    }

    pub fn deadline(&self) -> Option<Instant> {
        self.outstanding.as_ref().map(|o| o.backoff.next_at())
    }

    pub fn request(&mut self, ctx: &mut Ctx, now: Instant, exchange: Exchange, chain: Chain, task: Task) {
        let limit = self.fragment_limit(ctx);
        let policy = ctx.config.retransmit;
        let sent = self.first_time(ctx, exchange, self.next_request, false, chain, limit);
        self.ask(ctx, now, sent, &policy, task, false);
    }

    pub(super) fn ask(
        &mut self,
        ctx: &mut Ctx,
        now: Instant,
        sent: Sent,
        policy: &Retransmit,
        task: Task,
        probe: bool,
    ) {
        debug_assert!(self.outstanding.is_none(), "the window is 1");
        self.next_request += 1;
        ctx.counters.requests_out += 1;
        let backoff = Backoff::start(now, policy);
        let o = Outstanding { sent, before: Vec::new(), backoff, earlier: 0, first_at: now, task, probe };
        o.transmit(ctx);
        self.outstanding = Some(o);
    }

    /// Asks the peer to delete this IKE SA. That cannot wait, so it may go beyond the window: an outstanding request goes
    /// out before it each time, so that a peer that has answered it already, or does so now, finds the IDs in order.
    pub fn delete(&mut self, ctx: &mut Ctx, now: Instant) {
        let mut chain = Chain::new();
        chain.delete_ike();
        // Without its padding a probe goes out as it is given up.
        let probe = self.probe_under_way().is_some();
        self.give_up_probe(ctx, now);
        let before =
            self.outstanding.take().map(|o| o.datagrams().cloned().collect::<Vec<_>>()).unwrap_or_default();
        for d in before.iter().filter(|_| !probe) {
            ctx.transmit(d.clone());
        }
        self.request(ctx, now, Exchange::INFORMATIONAL, chain, Task::DeleteIke);
        if let Some(o) = &mut self.outstanding {
            o.before = before;
        }
    }

    /// A peer without manners says something else with the same Message ID.
    #[cfg(test)]
    pub fn unsend(&mut self) -> Option<Task> {
        self.next_request -= 1;
        self.abandon_request()
    }

    /// The request of the peer that has no response yet.
    pub fn unanswered(&self) -> Option<(Exchange, u32)> {
        self.answering.map(|exchange| (exchange, self.expected))
    }

    pub fn respond(&mut self, ctx: &mut Ctx, exchange: Exchange, id: u32, chain: Chain) {
        debug_assert!(
            self.answering == Some(exchange) && id == self.expected,
            "one request is answered at a time"
        );
        // RFC 7383 §2.5.1: no larger than the fragments that the peer has chosen.
        let theirs = self.request_bytes.map_or(usize::MAX, |len| len.max(FRAGMENT_MIN));
        let limit = self.fragment_limit(ctx).map(|limit| limit.min(theirs));
        let sent = self.first_time(ctx, exchange, id, true, chain, limit);
        self.cached_keys = None;
        self.answering = None;
        self.expected += 1;
        ctx.counters.responses_out += 1;
        for d in sent.datagrams() {
            ctx.transmit(d.clone());
        }
        self.cached = Some(sent);
    }

    fn header(&self, exchange: Exchange, id: u32, response: bool, first: PayloadType) -> Header {
        let (spi_i, spi_r) = (self.spi_i, self.spi_r);
        Header { spi_i, spi_r, first, exchange, from_initiator: self.initiator, response, id }
    }

    /// The longest message that goes out whole.
    pub fn fragment_limit(&self, ctx: &Ctx) -> Option<usize> {
        let configured = ctx.config.fragment_bytes_max.filter(|_| self.fragmentation)?;
        Some(ctx.path.message_max(configured))
    }

    pub(super) fn first_time(
        &mut self,
        ctx: &mut Ctx,
        exchange: Exchange,
        id: u32,
        response: bool,
        chain: Chain,
        limit: Option<usize>,
    ) -> Sent {
        let (first, plaintext) = chain.finish();
        let plain = Plain { exchange, id, response, first, plaintext };
        let datagrams = self.protect(ctx, &plain, limit);
        Sent::new(plain, datagrams)
    }

    pub(super) const fn overhead() -> usize {
        HEADER_LEN + GENERIC_HEADER_LEN
    }

    /// Plaintext of each fragment, if none is to be longer than `limit`.
    fn chunk(&self, limit: usize) -> usize {
        self.cipher_out.plaintext_room(limit.saturating_sub(Self::overhead() + SKF_FIELDS_LEN)).max(1)
    }

    /// Datagrams of a plaintext of this length.
    pub(super) fn fragments(&self, plaintext: usize, limit: usize) -> usize {
        let whole = Self::overhead() + self.cipher_out.sealed_len(plaintext);
        if whole <= limit { 1 } else { plaintext.div_ceil(self.chunk(limit)) }
    }

    pub(super) fn protect(&mut self, ctx: &mut Ctx, plain: &Plain, limit: Option<usize>) -> Vec<Vec<u8>> {
        let Plain { exchange, id, response, first, ref plaintext } = *plain;
        let whole = Self::overhead() + self.cipher_out.sealed_len(plaintext.len());
        let Some(limit) = limit.filter(|limit| whole > *limit) else {
            let header = self.header(exchange, id, response, PayloadType::SK);
            return vec![self.seal(ctx, header, first, &[], plaintext)];
        };
        let chunk = self.chunk(limit);
        let total = u16::try_from(plaintext.len().div_ceil(chunk)).expect("our messages are a few kB");
        ctx.counters.fragments_out += u64::from(total);
        let header = self.header(exchange, id, response, PayloadType::SKF);
        plaintext
            .chunks(chunk)
            .zip(1u16..)
            .map(|(part, number)| {
                // RFC 7383 §2.5: Next Payload is that of the first payload in the first fragment, zero in the others.
                let next = if number == 1 { first } else { PayloadType::NONE };
                self.seal(ctx, header, next, &SkfFields { number, total }.encode(), part)
            })
            .collect()
    }

    fn seal(
        &mut self,
        ctx: &mut Ctx,
        header: Header,
        next: PayloadType,
        fields: &[u8],
        part: &[u8],
    ) -> Vec<u8> {
        let payload = GENERIC_HEADER_LEN + fields.len() + self.cipher_out.sealed_len(part.len());
        let mut out = Vec::with_capacity(HEADER_LEN + payload);
        out.extend_from_slice(&header.encode(HEADER_LEN + payload));
        let payload_len = u16::try_from(payload).expect("our messages are far below 64 KiB");
        out.extend_from_slice(&[next.0, 0]);
        out.extend_from_slice(&payload_len.to_be_bytes());
        out.extend_from_slice(fields);
        self.cipher_out.seal(&mut out, part, &mut *ctx.entropy);
        out
    }
}
