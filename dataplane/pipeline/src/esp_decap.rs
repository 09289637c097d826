//! Opening (RFC 4303 §3.4) in three steps: [`OpenBatch::check`] asks the replay window whether a packet is worth the engine's work,
//! [`OpenBatch::open`] has the engine open the packets of a batch one key after the other, and [`accept`] decides. The
//! window is asked first and moved last.

use crate::batch::{BATCH_MAX, KeysAhead, Places};
use crate::engine::{Aad, Job, Nonce};
use crate::packet::Packet;
use crate::replay::{CandidateSeq, ReplayError};
use crate::sad::{InboundSa, Sad};
use arrayvec::ArrayVec;
use sipsec_net::DropReason;
use sipsec_net::esp::{self, EspHeader, TRAILER_LEN};

/// Proof that a packet's integrity check held. Only opening makes one.
#[derive(Debug)]
pub struct IcvVerified(());

impl IcvVerified {
    #[cfg(test)]
    pub(crate) const fn for_test() -> Self {
        Self(())
    }
}

/// SPI, sequence number and the IV of an AEAD.
const FRONT: usize = esp::Layout::AEAD.front_len();

/// A packet of a known SA that waits for the engine.
#[derive(Debug)]
pub(crate) struct Checked {
    nonce: Nonce,
    aad: Aad,
    pub sa: u32,
    /// Where the packet is.
    place: u16,
    /// Bytes from the SPI on.
    len: u16,
    /// TOS or traffic class of the outer header.
    pub outer_class: u8,
    /// Its source port, if its ICV decides about that.
    pub from: Option<u16>,
    /// Without one the engine has nothing to do: the packet is known to end.
    candidate: Option<CandidateSeq>,
    opened: Option<IcvVerified>,
}

/// A packet whose integrity check held: plaintext and trailer follow the IV.
#[derive(Debug)]
pub(crate) struct Opened {
    /// Where they begin.
    at: usize,
    /// Bytes of both.
    len: usize,
}

/// What can be said without the engine. It changes nothing and is said again by [`accept`], when the packets before this
/// one have moved the window.
fn look<P: Packet>(packet: &P, sa: &InboundSa) -> Result<CandidateSeq, DropReason> {
    if sa.common.lifetime.is_hard_expired() {
        return Err(DropReason::SaHardExpired);
    }
    let header = EspHeader::parse(packet.data()).ok_or(DropReason::EspMalformed)?;
    // RFC 4303 §2.4: ciphertext, pad length and next header end on a 4-byte boundary, or on one of the cipher's blocks.
    let layout = sa.common.layout;
    match packet.len().checked_sub(layout.front_len() + layout.icv_len()) {
        Some(text) if layout.is_whole(text) => {}
        _ => return Err(DropReason::EspMalformed),
    }
    // RFC 4303 §3.4.3: before the (expensive) integrity check.
    sa.window.check(header.sequence).map_err(drop_reason)
}

/// Whether the sequence number of this packet is the same for every outcome of those of its SA that wait for the engine. It
/// is, but for ESN when the packets before move the window nearly 2³² ahead.
#[inline]
pub(crate) fn is_settled<P: Packet>(packet: &P, sa: &InboundSa) -> bool {
    if !sa.common.esn || sa.pending_top == 0 {
        return true;
    }
    EspHeader::parse(packet.data()).is_none_or(|h| sa.window.is_settled(h.sequence, sa.pending_top))
}

/// After the engine, in the order of arrival. The SA is as it was unless the packet is its peer's.
#[inline]
pub(crate) fn accept<P: Packet>(
    packet: &P,
    checked: &mut Checked,
    sa: &mut InboundSa,
) -> Result<Opened, DropReason> {
    sa.pending_top = 0;
    // Again: this packet may be the copy of one that came with it, or one too many for the SA's lifetime.
    let candidate = match &checked.candidate {
        Some(known) if !sa.common.lifetime.is_hard_expired() => {
            sa.window.check(known.get() as u32).map_err(drop_reason)?
        }
        _ => look(packet, sa)?,
    };
    let opened = checked.opened.take().filter(|_| checked.candidate.as_ref() == Some(&candidate));
    let proof = opened.ok_or(DropReason::IcvFailed)?;
    sa.window.commit(candidate, proof).map_err(drop_reason)?;
    let layout = sa.common.layout;
    Ok(Opened { at: layout.front_len(), len: packet.len() - layout.front_len() - layout.icv_len() })
}

/// To the inner packet with its padding gone.
#[inline]
pub(crate) fn unpack<P: Packet>(
    packet: &mut P,
    Opened { at, len: sealed }: Opened,
) -> Result<(), DropReason> {
    let text = packet.data().get(at..at + sealed).ok_or(DropReason::EspMalformed)?;
    let next_header = text[sealed - 1];
    let pad = usize::from(text[sealed - 2]);
    let inner = (sealed - TRAILER_LEN).checked_sub(pad).ok_or(DropReason::EspMalformed)?;
    // RFC 4303 §2.4: "the receiver SHOULD inspect the padding".
    if !text[inner..inner + pad].iter().zip(1u8..).all(|(byte, expected)| *byte == expected) {
        return Err(DropReason::EspMalformed);
    }
    let version = text.first().map_or(0, |b| b >> 4);
    match (next_header, version) {
        (esp::NEXT_NONE, _) => return Err(DropReason::DummyPacket),
        (esp::NEXT_IPV4, 4) | (esp::NEXT_IPV6, 6) => {}
        _ => return Err(DropReason::InnerNotIp),
    }
    if packet.pull_front(at) {
        packet.truncate(inner);
    }
    Ok(())
}

const fn drop_reason(e: ReplayError) -> DropReason {
    match e {
        ReplayError::Old => DropReason::ReplayOld,
        ReplayError::Duplicate => DropReason::ReplayDuplicate,
    }
}

/// The packets that came in by this turn. The one that is worked on either stays [checked](Self::check) or
/// [leaves](Places::leave).
pub(crate) struct OpenBatch<P> {
    pub places: Places<P>,
    /// In the order of arrival.
    checked: Vec<Checked>,
}

impl<P> Default for OpenBatch<P> {
    fn default() -> Self {
        Self { places: Places::default(), checked: Vec::new() }
    }
}

impl<P: Packet> OpenBatch<P> {
    pub(crate) fn new() -> Self {
        Self { places: Places::new(), checked: Vec::with_capacity(BATCH_MAX) }
    }

    pub(crate) const fn is_empty(&self) -> bool {
        self.checked.is_empty()
    }

    /// The packet that is worked on, ESP from the SPI on, is checked and waits for the engine. The SA's window is not
    /// moved.
    #[inline]
    pub(crate) fn check(&mut self, index: u32, sa: &mut InboundSa, outer_class: u8, from: Option<u16>) {
        let Some(packet) = self.places.current() else { return };
        let candidate = look(packet, sa).ok();
        let len = packet.len() as u16;
        let front = packet.data().first_chunk::<FRONT>().copied().unwrap_or_default();
        let words = u128::from_be_bytes(front);
        let sequence = candidate.as_ref().map_or(0, CandidateSeq::get);
        sa.pending_top = sa.pending_top.max(sequence);
        // RFC 8750 §4: an implicit IV is the sequence number, whose high-order half is not in the packet.
        let iv = if sa.common.layout.iv_len() == 0 { sequence } else { words as u64 };
        let Some(place) = self.places.stay() else { return };
        // Made where it stays: what was just written piece by piece is slow to move.
        self.checked.push(Checked {
            nonce: sa.common.salt.nonce(iv),
            aad: Aad::new((words >> 96) as u32, sequence, sa.common.esn),
            sa: index,
            place: place as u16,
            len,
            outer_class,
            from,
            candidate,
            opened: None,
        });
    }

    /// Has the engine open everything that is worth it.
    pub(crate) fn open(&mut self, sad: &mut Sad) {
        let mut checked = &mut self.checked[..];
        let mut ahead = KeysAhead::default();
        while let Some(sa) = checked.first().map(|c| c.sa) {
            ahead.keep(checked, |c| c.sa, |c| sad.prefetch_inbound_key(c.sa, c.len.into()));
            let len = checked.iter().take_while(|c| c.sa == sa).count();
            let (these, more) = checked.split_at_mut(len);
            if let Some(sa) = sad.inbound_at(sa) {
                match these {
                    [alone] => one(sa, &mut self.places, alone),
                    several => run(sa, &mut self.places, several),
                }
            }
            ahead.done(len);
            checked = more;
        }
    }

    /// Plaintexts of packets whose integrity check held, each with its tunnel. To be peeked at: nothing of them is decided yet.
    pub(crate) fn plain<'a>(&'a self, sad: &'a Sad) -> impl Iterator<Item = (u32, &'a [u8])> {
        self.checked.iter().filter(|c| c.opened.is_some()).filter_map(|c| {
            let common = &sad.inbound(c.sa)?.common;
            let text = self.places.at(c.place.into())?.data().get(common.layout.front_len()..)?;
            Some((common.tunnel, text))
        })
    }

    /// What was opened, in the order of arrival, for [`accept`].
    pub(crate) fn opened(&mut self) -> impl Iterator<Item = (&mut P, &mut Checked)> {
        let mut pick = self.places.pick(0);
        self.checked.iter_mut().filter_map(move |c| Some((pick.next(c.place.into())?, c)))
    }

    /// Hands out what was checked, in the order of arrival.
    pub(crate) fn drain(&mut self) -> impl Iterator<Item = P> {
        self.checked.drain(..).filter_map(|c| self.places.take(c.place.into()))
    }
}

/// Opens a packet that has none of its SA beside it.
#[inline]
fn one<P: Packet>(sa: &mut InboundSa, places: &mut Places<P>, c: &mut Checked) {
    if c.candidate.is_none() {
        return;
    }
    let Some(packet) = places.get_mut(c.place.into()) else { return };
    let data = &mut packet.data_mut()[sa.common.layout.engine_at()..];
    let opened = sa.common.key.open_in_place(&c.nonce, c.aad.as_slice(), data);
    c.opened = opened.is_ok().then_some(IcvVerified(()));
}

/// Opens packets of one SA.
fn run<P: Packet>(sa: &mut InboundSa, places: &mut Places<P>, checked: &mut [Checked]) {
    let mut jobs: ArrayVec<Job<'_>, BATCH_MAX> = ArrayVec::new();
    let mut pick = places.pick(checked.first().map_or(0, |c| c.place.into()));
    let engine_at = sa.common.layout.engine_at();
    for c in checked.iter().filter(|c| c.candidate.is_some()) {
        let Some(packet) = pick.next(c.place.into()) else { return };
        jobs.push(Job::new(&c.nonce, c.aad.as_slice(), &mut packet.data_mut()[engine_at..]));
    }
    sa.common.key.open_batch(&mut jobs);
    let held: ArrayVec<bool, BATCH_MAX> = jobs.iter().map(Job::is_done).collect();
    drop(jobs);
    let worth = checked.iter_mut().filter(|c| c.candidate.is_some());
    for (c, held) in worth.zip(held) {
        c.opened = held.then_some(IcvVerified(()));
    }
}
