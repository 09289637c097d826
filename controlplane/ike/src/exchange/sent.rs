//! A message of ours as it went out. Without an answer it goes out again: the same datagrams (RFC 7296 §2.1), or smaller
//! fragments of the same message (RFC 7383 §2.5.2).

use super::backoff::Backoff;
use crate::ctx::Ctx;
use crate::error::Unanswered;
use crate::task::Task;
use crate::wire::{Exchange, PayloadType};
use core::time::Duration;
use sipsec_net::Instant;

/// Transmissions in one size before the next smaller one: a lost datagram is more often lost than too large.
pub(super) const TIMES_PER_SIZE: u32 = 2;

/// A message before encryption and fragmentation.
pub(super) struct Plain {
    pub exchange: Exchange,
    pub id: u32,
    pub response: bool,
    pub first: PayloadType,
    pub plaintext: Vec<u8>,
}

pub(super) struct Sent {
    pub plain: Plain,
    datagrams: Vec<Vec<u8>>,
    /// In this size.
    pub times: u32,
    /// The largest datagram of the size before this one.
    refused: Option<usize>,
}

impl Sent {
    /// Sealed and about to be sent for the first time.
    pub const fn new(plain: Plain, datagrams: Vec<Vec<u8>>) -> Self {
        Self { plain, datagrams, times: 1, refused: None }
    }

    /// The same message in smaller fragments.
    pub fn shrunk(self, datagrams: Vec<Vec<u8>>) -> Self {
        let refused = Some(self.largest());
        Self { plain: self.plain, datagrams, times: 1, refused }
    }

    /// A probe without its padding.
    pub fn unpadded(&self, plain: Plain, datagram: Vec<Vec<u8>>) -> Self {
        Self { plain, datagrams: datagram, times: 1, refused: Some(self.largest()) }
    }

    pub fn datagrams(&self) -> &[Vec<u8>] {
        &self.datagrams
    }

    /// Bytes of the largest datagram.
    pub fn largest(&self) -> usize {
        self.datagrams.iter().map(Vec::len).max().unwrap_or_default()
    }

    /// The largest datagram that had no answer before the message was cut into smaller ones.
    pub const fn refused(&self) -> Option<usize> {
        self.refused
    }
}

/// Our request that has no answer yet.
pub(super) struct Outstanding {
    pub sent: Sent,
    /// Goes out before it each time: the request whose turn it was.
    pub before: Vec<Vec<u8>>,
    pub backoff: Backoff,
    /// Transmissions in larger sizes.
    pub earlier: u32,
    pub first_at: Instant,
    pub task: Task,
    /// It is a probe of the path (RFC 8899 §4.1), or was one before its padding was taken away.
    pub probe: bool,
}

impl Outstanding {
    pub const fn id(&self) -> u32 {
        self.sent.plain.id
    }

    pub const fn exchange(&self) -> Exchange {
        self.sent.plain.exchange
    }

    pub fn datagrams(&self) -> impl Iterator<Item = &Vec<u8>> {
        self.before.iter().chain(self.sent.datagrams())
    }

    pub fn transmit(&self, ctx: &mut Ctx) {
        for d in self.datagrams() {
            if self.is_whole_probe() {
                ctx.transmit_probe(d.clone());
            } else {
                ctx.transmit(d.clone());
            }
        }
    }

    /// A probe that has its padding.
    pub const fn is_whole_probe(&self) -> bool {
        self.probe && self.sent.refused.is_none()
    }

    pub fn unanswered(&self, now: Instant) -> Unanswered {
        let waited: Duration = now.saturating_duration_since(self.first_at);
        Unanswered {
            exchange: self.exchange().name(),
            bytes: self.datagrams().map(Vec::len).sum(),
            fragments: self.datagrams().count(),
            transmissions: self.earlier + self.backoff.sent(),
            waited,
        }
    }
}
