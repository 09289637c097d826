//! One IKE SA: keys, and one exchange at a time in each direction (RFC 7296 §2.3: the window is 1 unless both say
//! otherwise, and we never say so).

use super::backoff::{Backoff, Retry};
use super::reassembly::Reassembly;
use crate::algorithm::IkeSuite;
use crate::compute::Secret;
use crate::crypto::cipher::Cipher;
use crate::crypto::keys::IkeKeys;
use crate::ctx::Ctx;
use crate::keylog;
use crate::task::Task;
use crate::wire::header::HEADER_LEN;
use crate::wire::payload::Payloads;
use crate::wire::skf::{SKF_FIELDS_LEN, SkfFields};
use crate::wire::{Chain, Exchange, Header, PayloadType};
use sipsec_net::Instant;

const GENERIC_HEADER_LEN: usize = 4;

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

struct Outstanding {
    id: u32,
    exchange: Exchange,
    datagrams: Vec<Vec<u8>>,
    backoff: Backoff,
    task: Task,
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
    cipher_out: Cipher,
    cipher_in: Cipher,
    next_request: u32,
    outstanding: Option<Outstanding>,
    /// ID of the next request of the peer.
    expected: u32,
    /// That request came and its response is not sent yet.
    answering: bool,
    /// Our last response, as sent.
    cached: Vec<Vec<u8>>,
    reassembly_requests: Reassembly,
    reassembly_responses: Reassembly,
}

/// A message that passed its ICV and the window.
pub(crate) struct Incoming {
    pub exchange: Exchange,
    pub id: u32,
    pub first: PayloadType,
    pub plaintext: Vec<u8>,
    /// For a response: what was asked.
    pub answers: Option<Task>,
}

/// What became of an outstanding request when its time came.
pub(crate) enum Timeout {
    Fine,
    GaveUp { exchange: &'static str, sent: u32, waited: core::time::Duration },
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
            cipher_out,
            cipher_in,
            next_request: 0,
            outstanding: None,
            expected: 0,
            answering: false,
            cached: Vec::new(),
            reassembly_requests: Reassembly::default(),
            reassembly_responses: Reassembly::default(),
        }
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

    /// The key under which we remember this SA.
    pub const fn local_spi(&self) -> u64 {
        if self.initiator { self.spi_i } else { self.spi_r }
    }

    pub const fn is(&self, header: &Header) -> bool {
        self.spi_i == header.spi_i && self.spi_r == header.spi_r && self.initiator != header.from_initiator
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
        debug_assert!(self.outstanding.is_none(), "the window is 1");
        let id = self.next_request;
        self.next_request += 1;
        let datagrams = self.protect(ctx, exchange, id, false, chain);
        let backoff = Backoff::start(now, &ctx.config.retransmit);
        ctx.counters.requests_out += 1;
        for d in &datagrams {
            ctx.transmit(d.clone());
        }
        self.outstanding = Some(Outstanding { id, exchange, datagrams, backoff, task });
    }

    /// A last request beyond the window, for a DELETE that cannot wait: the outstanding one goes out before it each
    /// time, so that a peer that has answered it already, or does so now, finds the IDs in order.
    pub fn request_beyond_window(
        &mut self,
        ctx: &mut Ctx,
        now: Instant,
        exchange: Exchange,
        chain: Chain,
        task: Task,
    ) {
        let before = self.outstanding.take().map(|o| o.datagrams).unwrap_or_default();
        for d in &before {
            ctx.transmit(d.clone());
        }
        self.request(ctx, now, exchange, chain, task);
        if let Some(o) = &mut self.outstanding {
            o.datagrams.splice(..0, before);
        }
    }

    pub fn respond(&mut self, ctx: &mut Ctx, exchange: Exchange, id: u32, chain: Chain) {
        debug_assert!(self.answering && id == self.expected, "one request is answered at a time");
        self.cached = self.protect(ctx, exchange, id, true, chain);
        self.answering = false;
        self.expected += 1;
        ctx.counters.responses_out += 1;
        for d in &self.cached {
            ctx.transmit(d.clone());
        }
    }

    pub fn on_timeout(&mut self, ctx: &mut Ctx, now: Instant) -> Timeout {
        let Some(o) = &mut self.outstanding else { return Timeout::Fine };
        match o.backoff.poll(now, &ctx.config.retransmit) {
            Retry::NotYet => Timeout::Fine,
            Retry::Send => {
                ctx.counters.retransmits_out += 1;
                // RFC 7296 §2.1: bit-identical.
                for d in &o.datagrams {
                    ctx.transmit(d.clone());
                }
                Timeout::Fine
            }
            Retry::GiveUp => {
                let (exchange, sent, waited) = (o.exchange.name(), o.backoff.sent(), o.backoff.waited(now));
                self.outstanding = None;
                Timeout::GaveUp { exchange, sent, waited }
            }
        }
    }

    fn header(&self, exchange: Exchange, id: u32, response: bool, first: PayloadType) -> Header {
        let (spi_i, spi_r) = (self.spi_i, self.spi_r);
        Header { spi_i, spi_r, first, exchange, from_initiator: self.initiator, response, id }
    }

    fn protect(
        &mut self,
        ctx: &mut Ctx,
        exchange: Exchange,
        id: u32,
        response: bool,
        chain: Chain,
    ) -> Vec<Vec<u8>> {
        let (first, plaintext) = chain.finish();
        let overhead = HEADER_LEN + GENERIC_HEADER_LEN;
        let whole = overhead + self.cipher_out.sealed_len(plaintext.len());
        let limit = ctx.config.fragment_bytes_max.filter(|_| self.fragmentation);
        if limit.is_none_or(|limit| whole <= limit) {
            let header = self.header(exchange, id, response, PayloadType::SK);
            return vec![self.seal(ctx, header, first, &[], &plaintext)];
        }
        let room = limit.unwrap_or(whole).saturating_sub(overhead + SKF_FIELDS_LEN);
        let chunk = self.cipher_out.plaintext_room(room).max(1);
        let total = u16::try_from(plaintext.len().div_ceil(chunk)).expect("our messages are a few kB");
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

    /// A message with our SPIs. `None`: it was dropped (and counted), a duplicate, or a fragment of a message that is
    /// not whole yet.
    pub fn receive(
        &mut self,
        ctx: &mut Ctx,
        now: Instant,
        header: &Header,
        bytes: &[u8],
    ) -> Option<Incoming> {
        let duplicate = match self.check_window(header) {
            Window::Wanted => false,
            Window::Answered => true,
            Window::Answering => {
                ctx.counters.duplicates_in += 1;
                return None;
            }
            Window::Outside => {
                ctx.counters.dropped_window += 1;
                return None;
            }
        };
        let last =
            Payloads::new(header.first, bytes.get(HEADER_LEN..)?).try_fold(None, |_, raw| raw.map(Some));
        let raw = match last {
            Ok(Some(raw)) if raw.kind == PayloadType::SK || raw.kind == PayloadType::SKF => raw,
            Ok(_) => {
                // RFC 7296 §2.21.4: nothing outside an Encrypted payload changes the state of this SA.
                ctx.counters.dropped_clear_text += 1;
                return None;
            }
            Err(_) => {
                ctx.counters.dropped_malformed += 1;
                return None;
            }
        };
        let fields = if raw.kind == PayloadType::SKF {
            match SkfFields::parse(raw.body) {
                Ok(f) => Some(f),
                Err(_) => {
                    ctx.counters.dropped_malformed += 1;
                    return None;
                }
            }
        } else {
            None
        };
        // The Encrypted payload is the last of the message, so its body ends where the message does.
        let skip = fields.map_or(0, |_| SKF_FIELDS_LEN);
        let (before, sealed) = bytes.split_at(bytes.len() - raw.body.len() + skip);
        if duplicate {
            self.replay(ctx, now, before, sealed, fields);
            return None;
        }
        let reassembly =
            if header.response { &mut self.reassembly_responses } else { &mut self.reassembly_requests };
        if fields.is_some_and(|f| !reassembly.wants(header.id, f)) {
            ctx.counters.duplicates_in += 1;
            return None;
        }
        let Ok(plaintext) = self.cipher_in.open(before, sealed) else {
            ctx.counters.dropped_integrity += 1;
            return None;
        };
        ctx.last_heard = ctx.last_heard.max(now);
        let (first, plaintext) = match fields {
            None => (raw.next, plaintext),
            Some(f) => {
                ctx.counters.fragments_in += 1;
                reassembly.add(header.id, f, raw.next, plaintext)?
            }
        };
        reassembly.clear();
        let answers = if header.response {
            ctx.counters.responses_in += 1;
            Some(self.outstanding.take()?.task)
        } else {
            ctx.counters.requests_in += 1;
            self.answering = true;
            None
        };
        Some(Incoming { exchange: header.exchange, id: header.id, first, plaintext, answers })
    }

    fn check_window(&self, header: &Header) -> Window {
        if header.response {
            return match &self.outstanding {
                Some(o) if o.id == header.id && o.exchange == header.exchange => Window::Wanted,
                _ => Window::Outside,
            };
        }
        if header.id == self.expected {
            if self.answering { Window::Answering } else { Window::Wanted }
        } else if header.id.checked_add(1) == Some(self.expected) && !self.cached.is_empty() {
            Window::Answered
        } else {
            Window::Outside
        }
    }

    /// RFC 7296 §2.1: a request that was answered before gets the same response again. RFC 7383 §2.6.1: of its
    /// fragments only the first one does that. Its ICV is checked, so that nobody else can make us send.
    fn replay(
        &mut self,
        ctx: &mut Ctx,
        now: Instant,
        before: &[u8],
        sealed: &[u8],
        fields: Option<SkfFields>,
    ) {
        ctx.counters.duplicates_in += 1;
        if fields.is_some_and(|f| f.number != 1) {
            return;
        }
        if self.cipher_in.open(before, sealed).is_err() {
            ctx.counters.dropped_integrity += 1;
            return;
        }
        ctx.last_heard = ctx.last_heard.max(now);
        for d in &self.cached {
            ctx.transmit(d.clone());
        }
    }
}

enum Window {
    Wanted,
    /// Its response is in the cache.
    Answered,
    /// Its response is being made.
    Answering,
    Outside,
}
