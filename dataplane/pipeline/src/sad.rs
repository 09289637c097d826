//! The security associations (RFC 4301 §4.4.2). Inbound ones are found by media port and SPI, so that one peer's SPI is
//! no other peer's; outbound ones by their tunnel.

use crate::engine::{AeadKey, Nonce};
use crate::replay::ReplayWindow;
use crate::selector::SaSelectors;
use crate::seq::SequenceCounter;
use crate::slab::{Map, Occupant, Slab, map};
use crate::sys::LINE;
use core::mem::offset_of;
use sipsec_net::dp::{Direction, Event, ExpireCause, SaSpec, Selectors};
use sipsec_net::esp::Layout;
use sipsec_net::{MediaPort, SaId, Spi};
use zeroize::Zeroize;

const SALT_LEN: usize = 4;

/// What both directions have, in the order of use: what packets do not need is at the end.
#[repr(C)]
pub(crate) struct SaCommon {
    pub key: Box<dyn AeadKey>,
    pub lifetime: Lifetime,
    pub salt: Salt,
    pub spi: Spi,
    pub media: u32,
    pub tunnel: u32,
    pub media_port: MediaPort,
    /// Largest inner packet that fits the WAN; an outbound SA's.
    pub inner_max: u16,
    pub esn: bool,
    pub layout: Layout,
    pub selectors: SaSelectors,
    pub id: SaId,
}

/// RFC 4106 §4: the last four bytes of KEYMAT. Zero for AES-CBC, which has none.
#[derive(Clone, Zeroize)]
#[zeroize(drop)]
pub(crate) struct Salt([u8; SALT_LEN]);

impl Salt {
    /// RFC 4106 §4: nonce = salt ‖ IV.
    pub(crate) const fn nonce(&self, iv: u64) -> Nonce {
        Nonce::from_parts(self.0, iv)
    }
}

/// Byte limits and which of them have been reported.
pub(crate) struct Lifetime {
    bytes: u64,
    /// `u64::MAX` for none.
    hard_max: u64,
    /// Nothing is to be reported below.
    report_at: u64,
    sequence_soft_reported: bool,
    sequence_hard_reported: bool,
}

impl Lifetime {
    /// 0 is no limit.
    fn new(soft_max: u64, hard_max: u64) -> Self {
        let limit = |max| if max == 0 { u64::MAX } else { max };
        let (soft_max, hard_max) = (limit(soft_max), limit(hard_max));
        Self {
            bytes: 0,
            hard_max,
            report_at: soft_max.min(hard_max),
            sequence_soft_reported: false,
            sequence_hard_reported: false,
        }
    }

    pub(crate) const fn is_hard_expired(&self) -> bool {
        self.bytes >= self.hard_max
    }

    /// Counts outer ESP bytes; what to report, each thing once.
    #[inline]
    pub(crate) const fn count(&mut self, bytes: usize) -> Option<(ExpireCause, bool)> {
        self.bytes += bytes as u64;
        if self.bytes < self.report_at { None } else { self.report() }
    }

    #[cold]
    const fn report(&mut self) -> Option<(ExpireCause, bool)> {
        let hard = self.is_hard_expired();
        // The hard limit says what the soft one would have said.
        let done = if hard { u64::MAX } else { self.hard_max };
        self.report_at = done;
        Some((ExpireCause::Bytes, hard))
    }

    pub(crate) const fn sequence(&mut self, hard: bool) -> Option<(ExpireCause, bool)> {
        let reported = if hard { &mut self.sequence_hard_reported } else { &mut self.sequence_soft_reported };
        if *reported {
            return None;
        }
        *reported = true;
        Some((ExpireCause::Sequence, hard))
    }
}

impl SaCommon {
    pub(crate) fn expire_event(&self, (cause, hard): (ExpireCause, bool)) -> Event {
        Event::SaExpire { sa: self.id, cause, hard }
    }
}

#[repr(C, align(64))]
pub(crate) struct OutboundSa {
    pub sequence: SequenceCounter,
    /// Its own in the table.
    number: u32,
    pub common: SaCommon,
}

#[repr(C, align(64))]
pub(crate) struct InboundSa {
    pub window: ReplayWindow,
    /// Highest number of those that wait for the engine; 0 if none does.
    pub pending_top: u64,
    /// A packet of the peer has been accepted, and reported.
    pub used: bool,
    /// Its own in the table.
    number: u32,
    pub common: SaCommon,
}

impl Occupant for OutboundSa {
    #[inline]
    fn number(&self) -> u32 {
        self.number
    }
}

impl Occupant for InboundSa {
    #[inline]
    fn number(&self) -> u32 {
        self.number
    }
}

/// Cache lines of either that a packet needs.
const LINES: usize = 2;

const COLD_AT: usize = offset_of!(SaCommon, selectors) + SaSelectors::COLD_AT;
const _: () = assert!(offset_of!(OutboundSa, common) + COLD_AT <= LINES * LINE);
const _: () = assert!(offset_of!(InboundSa, common) + COLD_AT <= LINES * LINE);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum SaRef {
    In(u32),
    Out(u32),
}

pub(crate) struct Sad {
    inbound: Slab<InboundSa>,
    outbound: Slab<OutboundSa>,
    by_id: Map<u32, SaRef>,
    by_spi: Map<u64, u32>,
}

const fn spi_key(port: MediaPort, spi: u32) -> u64 {
    (port.0 as u64) << 32 | spi as u64
}

impl Sad {
    pub(crate) fn new(max: u32) -> Self {
        Self { inbound: Slab::new(max), outbound: Slab::new(max), by_id: map(max), by_spi: map(max) }
    }

    /// `spec` has been validated and `key` made from it. `inner_max` is an outbound SA's.
    pub(crate) fn insert(
        &mut self,
        spec: &SaSpec,
        tunnel: u32,
        media: u32,
        inner_max: u16,
        key: Box<dyn AeadKey>,
    ) {
        let mut salt = [0; SALT_LEN];
        if let (SALT_LEN, Some(end)) = (spec.cipher.salt_len(), spec.keymat.expose().last_chunk()) {
            salt = *end;
        }
        let common = SaCommon {
            id: spec.sa,
            tunnel,
            media,
            media_port: spec.media_port,
            spi: spec.spi,
            inner_max,
            esn: spec.esn,
            layout: spec.cipher.layout(),
            selectors: SaSelectors::new(spec.selectors),
            key,
            salt: Salt(salt),
            lifetime: Lifetime::new(spec.soft_bytes_max, spec.hard_bytes_max),
        };
        let reference = match spec.direction {
            Direction::Out => {
                let sequence = SequenceCounter::new(spec.esn);
                let make = |number| OutboundSa { common, number, sequence };
                SaRef::Out(self.outbound.insert(make).expect("the number of SAs was validated"))
            }
            Direction::In => {
                let window =
                    ReplayWindow::new(spec.replay_window, spec.esn).expect("the window was validated");
                let make = |number| InboundSa { common, number, window, pending_top: 0, used: false };
                let index = self.inbound.insert(make).expect("the number of SAs was validated");
                self.by_spi.insert(spi_key(spec.media_port, spec.spi.get()), index);
                SaRef::In(index)
            }
        };
        self.by_id.insert(spec.sa.0, reference);
    }

    pub(crate) fn add_selectors(&mut self, id: SaId, more: Selectors) {
        let common = match self.find(id) {
            Some(SaRef::In(i)) => self.inbound.get_mut(i).map(|sa| &mut sa.common),
            Some(SaRef::Out(i)) => self.outbound.get_mut(i).map(|sa| &mut sa.common),
            None => None,
        };
        if let Some(common) = common {
            common.selectors.add(more);
        }
    }

    /// The SA's number, for the tunnel that may be bound to it.
    pub(crate) fn remove(&mut self, id: SaId) -> Option<SaRef> {
        let reference = self.by_id.remove(&id.0)?;
        match reference {
            SaRef::Out(index) => drop(self.outbound.remove(index)),
            SaRef::In(index) => {
                if let Some(sa) = self.inbound.remove(index) {
                    self.by_spi.remove(&spi_key(sa.common.media_port, sa.common.spi.get()));
                }
            }
        }
        Some(reference)
    }

    pub(crate) fn find(&self, id: SaId) -> Option<SaRef> {
        self.by_id.get(&id.0).copied()
    }

    pub(crate) fn common(&self, reference: SaRef) -> Option<&SaCommon> {
        match reference {
            SaRef::In(i) => self.inbound.get(i).map(|sa| &sa.common),
            SaRef::Out(i) => self.outbound.get(i).map(|sa| &sa.common),
        }
    }

    /// The number of the SA with this SPI. `hint` is looked at first: packets come in flows.
    pub(crate) fn find_inbound(&self, port: MediaPort, spi: u32, hint: u32) -> Option<u32> {
        let is_it = |sa: &InboundSa| sa.common.spi.get() == spi && sa.common.media_port == port;
        if self.inbound.get(hint).is_some_and(is_it) {
            return Some(hint);
        }
        self.by_spi.get(&spi_key(port, spi)).copied()
    }

    pub(crate) fn inbound(&self, index: u32) -> Option<&InboundSa> {
        self.inbound.get(index)
    }

    pub(crate) fn inbound_at(&mut self, index: u32) -> Option<&mut InboundSa> {
        self.inbound.get_mut(index)
    }

    /// This SA is asked for soon, and so are its window and its key.
    pub(crate) fn prefetch_inbound(&self, index: u32) {
        self.inbound.prefetch::<LINES>(index);
    }

    pub(crate) fn prefetch_window(&self, index: u32) {
        if let Some(sa) = self.inbound.get(index) {
            sa.window.prefetch();
        }
    }

    pub(crate) fn prefetch_outbound(&self, index: u32) {
        self.outbound.prefetch::<LINES>(index);
    }

    /// The engine uses this SA's key soon, for so many bytes.
    pub(crate) fn prefetch_inbound_key(&self, index: u32, len: usize) {
        if let Some(sa) = self.inbound.get(index) {
            sa.common.key.prefetch(len);
        }
    }

    /// The engine uses this SA's key soon, for so many bytes.
    pub(crate) fn prefetch_outbound_key(&self, index: u32, len: usize) {
        if let Some(sa) = self.outbound.get(index) {
            sa.common.key.prefetch(len);
        }
    }

    pub(crate) fn outbound(&self, index: u32) -> Option<&OutboundSa> {
        self.outbound.get(index)
    }

    pub(crate) fn outbound_mut(&mut self, index: u32) -> Option<&mut OutboundSa> {
        self.outbound.get_mut(index)
    }

    pub(crate) fn iter_outbound_mut(&mut self) -> impl Iterator<Item = &mut OutboundSa> {
        self.outbound.iter_mut()
    }

    /// All SAs, with their numbers.
    #[cfg(any(test, feature = "testing"))]
    pub(crate) fn iter(&self) -> impl Iterator<Item = (SaRef, &SaCommon)> {
        let inbound = self.inbound.iter().map(|sa| (SaRef::In(sa.number()), &sa.common));
        inbound.chain(self.outbound.iter().map(|sa| (SaRef::Out(sa.number()), &sa.common)))
    }

    /// An SA, by its id.
    pub(crate) fn common_of(&self, id: SaId) -> Option<&SaCommon> {
        self.common(self.find(id)?)
    }

    pub(crate) fn len(&self) -> u32 {
        self.by_id.len() as u32
    }
}
