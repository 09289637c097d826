//! What goes out again: probes of the path, requests and responses that were not answered, in the same size or in smaller
//! fragments (RFC 7296 §2.1, RFC 7383 §2.5.2).

use super::backoff::{Backoff, Retry};
use super::ike_sa::{IkeSa, Timeout};
use super::sent::{Outstanding, Plain, Sent, TIMES_PER_SIZE};
use crate::config::Retransmit;
use crate::ctx::Ctx;
use crate::path::search::{PROBE_TIMER, PROBES_MAX};
use crate::state::FRAGMENT_MIN;
use crate::task::Task;
use crate::wire::notify::NOTIFY_LEN;
use crate::wire::{Chain, Exchange, NotifyType};
use sipsec_net::Instant;

impl IkeSa {
    /// Sends a request whose answer proves that a datagram of this length passes (RFC 8899 §4.1). It goes out whole, then without
    /// its padding.
    pub fn probe(&mut self, ctx: &mut Ctx, now: Instant, datagram: usize, task: Task) {
        let policy = Retransmit {
            first: PROBE_TIMER,
            growth_percent: 100,
            wait_max: PROBE_TIMER,
            tries_max: PROBES_MAX,
        };
        let mut chain = Chain::new();
        let room = self.cipher_out.plaintext_room(datagram.saturating_sub(Self::overhead()));
        chain.notify(NotifyType::PATH_PROBE, &vec![0; room.saturating_sub(NOTIFY_LEN)]);
        let sent = self.first_time(ctx, Exchange::INFORMATIONAL, self.next_request, false, chain, None);
        self.ask(ctx, now, sent, &policy, task, true);
    }

    /// The length of the largest probe not longer than `datagram`: a block cipher leaves steps.
    pub fn probe_len(&self, datagram: usize) -> usize {
        let room = self.cipher_out.plaintext_room(datagram.saturating_sub(Self::overhead()));
        Self::overhead() + self.cipher_out.sealed_len(room)
    }

    /// Bytes of the probe that is on its way whole.
    pub fn probe_under_way(&self) -> Option<usize> {
        let o = self.outstanding.as_ref().filter(|o| o.is_whole_probe())?;
        Some(o.sent.largest())
    }

    /// The probe is larger than the path. The same exchange continues without padding, so that it ends and its answer still proves
    /// that the peer lives. A peer that received the probe sees a retransmission (same Message ID, RFC 7296 §2.1) and repeats its
    /// answer; another peer sees a new request. Fragments (RFC 7383) do not work here: Debian's strongSwan treats a fragmented
    /// INFORMATIONAL as a connectivity check.
    pub fn give_up_probe(&mut self, ctx: &mut Ctx, now: Instant) {
        if self.probe_under_way().is_none() {
            return;
        }
        let Some(o) = self.outstanding.take() else { return };
        let (first, plaintext) = Chain::new().finish();
        let (exchange, id) = (o.exchange(), o.id());
        let plain = Plain { exchange, id, response: false, first, plaintext };
        let datagram = self.protect(ctx, &plain, None);
        ctx.counters.retransmits_out += 1;
        let backoff = Backoff::start(now, &ctx.config.retransmit);
        let earlier = o.earlier + o.backoff.sent();
        let o = Outstanding { sent: o.sent.unpadded(plain, datagram), backoff, earlier, ..o };
        o.transmit(ctx);
        self.outstanding = Some(o);
    }

    /// The request of our last response came again; `fragment_len`: bytes of its first fragment.
    pub(super) fn respond_again(&mut self, ctx: &mut Ctx, fragment_len: Option<usize>) {
        let Some(mut sent) = self.cached.take() else { return };
        let largest = sent.largest();
        // RFC 7383 §2.5.2: the peer tries smaller fragments because it has seen no answer. A peer whose request is too small
        // to fragment can only repeat it.
        let follows = fragment_len.map(|len| len.max(FRAGMENT_MIN)).filter(|len| *len < largest);
        let tried = sent.times >= TIMES_PER_SIZE;
        if follows.is_some() || tried {
            let limits: Vec<usize> = follows.into_iter().chain(ctx.path.smaller(largest)).collect();
            self.swap_replaced();
            sent = self.cut_smaller(ctx, sent, &limits).unwrap_or_else(|sent| sent);
            self.swap_replaced();
        } else {
            sent.times += 1;
        }
        for d in sent.datagrams() {
            ctx.transmit(d.clone());
        }
        self.cached = Some(sent);
    }

    const fn swap_replaced(&mut self) {
        if let Some(keys) = &mut self.cached_keys {
            core::mem::swap(&mut self.cipher_out, &mut keys.outbound);
        }
    }

    /// `last_heard`: for [`Backoff::poll`].
    pub fn on_timeout(&mut self, ctx: &mut Ctx, now: Instant, last_heard: Option<Instant>) -> Timeout {
        let Some(o) = &mut self.outstanding else { return Timeout::Fine };
        if now < o.backoff.next_at() {
            return Timeout::Fine;
        }
        let sent = o.backoff.sent();
        if self.probe_under_way().is_some() {
            if sent >= PROBES_MAX {
                self.give_up_probe(ctx, now);
                return Timeout::Fine;
            }
        } else if sent >= TIMES_PER_SIZE && self.shrink(ctx, now) {
            return Timeout::Fine;
        }
        let Some(o) = &mut self.outstanding else { return Timeout::Fine };
        match o.backoff.poll(now, last_heard) {
            Retry::NotYet => Timeout::Fine,
            Retry::Send => {
                ctx.counters.retransmits_out += 1;
                // RFC 7296 §2.1: bit-identical.
                o.transmit(ctx);
                Timeout::Fine
            }
            Retry::GiveUp => {
                let unanswered = o.unanswered(now);
                self.outstanding = None;
                Timeout::GaveUp(unanswered)
            }
        }
    }

    /// RFC 7383 §2.5.2: the outstanding request goes out in the next smaller fragments, and its timers start over. `false` if there
    /// are none.
    fn shrink(&mut self, ctx: &mut Ctx, now: Instant) -> bool {
        let Some(o) = self.outstanding.take() else { return false };
        let largest = o.sent.largest();
        let limits: Vec<usize> =
            self.fragment_limit(ctx).into_iter().chain(ctx.path.smaller(largest)).collect();
        match self.cut_smaller(ctx, o.sent, &limits) {
            Ok(sent) => {
                ctx.counters.retransmits_out += 1;
                ctx.counters.shrunk_out += 1;
                let earlier = o.earlier + o.backoff.sent();
                let backoff = Backoff::start(now, &ctx.config.retransmit);
                let o = Outstanding { sent, backoff, earlier, ..o };
                o.transmit(ctx);
                self.outstanding = Some(o);
                true
            }
            Err(sent) => {
                self.outstanding = Some(Outstanding { sent, ..o });
                false
            }
        }
    }

    /// A message in fragments within the first of `limits` that makes more of them: Total Fragments tells the sets apart.
    fn cut_smaller(&mut self, ctx: &mut Ctx, sent: Sent, limits: &[usize]) -> Result<Sent, Sent> {
        if self.fragment_limit(ctx).is_none() {
            return Err(sent);
        }
        let more =
            |limit: &&usize| self.fragments(sent.plain.plaintext.len(), **limit) > sent.datagrams().len();
        let Some(limit) = limits.iter().filter(|limit| **limit < sent.largest()).find(more).copied() else {
            return Err(sent);
        };
        let datagrams = self.protect(ctx, &sent.plain, Some(limit));
        Ok(sent.shrunk(datagrams))
    }
}
