//! Sealing: ESP tunnel mode (RFC 4303, RFC 4106, RFC 3602) in UDP (RFC 3948) between the addresses of SDP, in three steps: [`prepare`] takes the sequence number and writes everything in clear, [`SealBatch::seal`] has the engine seal the
//! packets of a batch one key after the other, and what comes out is [`Sealed`], which nothing else makes.

use crate::batch::{BATCH_MAX, KeysAhead, Places};
use crate::config::DontFragment;
use crate::ecn;
use crate::engine::{Aad, Job, Nonce};
use crate::media::{Identifications, Media, MediaTable, OuterHeader};
use crate::packet::Packet;
use crate::parse::Info;
use crate::sad::{OutboundSa, SaCommon, Sad};
use crate::sys::LINE;
use arrayvec::ArrayVec;
use sipsec_net::DropReason;
use sipsec_net::dp::OuterDscp;
use sipsec_net::esp::{self, ESP_HEADER_LEN, Layout, TRAILER_LEN};

/// A whole Ethernet frame whose payload is sealed.
#[derive(Debug)]
pub struct Sealed<P>(P);

impl<P> Sealed<P> {
    pub(crate) fn into_packet(self) -> P {
        self.0
    }
}

/// Where a packet belongs that may leave.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Carrier {
    pub tunnel: u32,
    pub media: u32,
    pub sa: u32,
}

/// A packet that waits for the engine: its sequence number is used up, and all but the cipher's work is done. Not `Clone`:
/// its nonce is for one packet.
#[derive(Debug)]
pub(crate) struct Prepared {
    nonce: Nonce,
    aad: Aad,
    pub tunnel: u32,
    media: u32,
    sa: u32,
    /// Where the packet is.
    place: u16,
    /// Where ESP begins in the frame.
    esp_at: u16,
    /// Length of the inner packet.
    pub inner_len: u16,
    /// The outer header is complete only with the checksum of the sealed payload.
    is_summed: bool,
    is_sealed: bool,
}

/// One cache line.
const _: () = assert!(size_of::<Prepared>() == LINE);

/// The sequence number of a packet that has been prepared. Not `Clone`, as the one it was made from.
#[derive(Debug)]
pub(crate) struct Numbered {
    sequence: u64,
    /// Bytes of its ESP.
    pub bytes: usize,
}

/// RFC 4303 §2.4: padding 1, 2, 3, then its length; the next header follows. One word for each length of an AEAD's, so that
/// one store writes it: what it writes too much is where the ICV will be.
const TRAILERS: [[u8; 8]; Layout::AEAD.block_len()] =
    [[0, 0, 0, 0, 0, 0, 0, 0], [1, 1, 0, 0, 0, 0, 0, 0], [1, 2, 2, 0, 0, 0, 0, 0], [1, 2, 3, 3, 0, 0, 0, 0]];

/// Makes the inner packet a frame whose payload is only left to be sealed. Errors before a sequence number was taken leave
/// the SA as it was.
#[inline(always)]
pub(crate) fn prepare<P: Packet>(
    packet: &mut P,
    info: &Info,
    sa: &mut OutboundSa,
    media: &Media,
    outer_dscp: Option<OuterDscp>,
    ids: &mut Identifications,
    dont_fragment: DontFragment,
) -> Result<Numbered, DropReason> {
    let (common, outer) = (&mut sa.common, &media.outer);
    if common.lifetime.is_hard_expired() {
        return Err(DropReason::SaHardExpired);
    }
    // RFC 4301 §5.1: a packet leaves by an SA only if the SA's selectors cover it.
    if !common.selectors.allow_out(info) {
        return Err(DropReason::SelectorMismatchOut);
    }
    if !outer.has_next_hop() {
        return Err(DropReason::NoNextHop);
    }
    let (inner_len, layout) = (packet.len(), common.layout);
    let pad = layout.pad_len(inner_len);
    if !packet.push_back(pad + TRAILER_LEN + layout.icv_len())
        || !packet.push_front(layout.front_len() + outer.len())
    {
        return Err(DropReason::SealFailed);
    }
    let sequence = match sa.sequence.next() {
        // RFC 4106 §3.1: the IV must be unique under a key; the 64-bit sequence number is. AES-CBC's is made from it.
        Ok(sequence) => sequence.consume(),
        Err(_) => return Err(DropReason::SequenceExhausted),
    };

    let (head, payload) = packet.data_mut().split_at_mut(outer.len());
    let payload_len = payload.len();
    // RFC 4303 §2: SPI, low-order sequence number; RFC 4106 §3.1: IV.
    let words = u128::from(common.spi.get()) << 96 | u128::from(sequence as u32) << 64 | u128::from(sequence);
    let next_header = if info.is_v6() { esp::NEXT_IPV6 } else { esp::NEXT_IPV4 };
    if layout == Layout::AEAD {
        let (front, text) = payload.split_first_chunk_mut().ok_or(DropReason::SealFailed)?;
        *front = words.to_be_bytes();
        let trailer =
            text.get_mut(inner_len..).and_then(<[u8]>::first_chunk_mut).ok_or(DropReason::SealFailed)?;
        *trailer = TRAILERS[pad];
        trailer[pad + 1] = next_header;
    } else {
        // The IV of AES-CBC is the engine's to make.
        let front = payload.first_chunk_mut::<ESP_HEADER_LEN>().ok_or(DropReason::SealFailed)?;
        *front = ((words >> 64) as u64).to_be_bytes();
        let trailer = payload.get_mut(layout.front_len() + inner_len..).ok_or(DropReason::SealFailed)?;
        let trailer = trailer.get_mut(..pad + TRAILER_LEN).ok_or(DropReason::SealFailed)?;
        trailer.iter_mut().zip(1..).for_each(|(byte, n)| *byte = n);
        trailer[pad..].copy_from_slice(&[pad as u8, next_header]);
    }

    // RFC 2983: pipe model unless the binding, or the packet's class, copies.
    let dscp = match outer_dscp.unwrap_or(outer.dscp()) {
        OuterDscp::Fixed(dscp) => dscp,
        OuterDscp::CopyInner => info.class >> 2,
    };
    let dont_fragment = match dont_fragment {
        DontFragment::Clear => false,
        DontFragment::Set => true,
        DontFragment::Copy => info.dont_fragment && !info.is_v6(),
    };
    outer.write(head, payload_len, ecn::outer_class(info.class, dscp), dont_fragment, ids);
    Ok(Numbered { sequence, bytes: payload_len })
}

/// The packets that are on their way out in this turn. The one that is worked on either [stays](Self::stay) prepared or
/// [leaves](Places::leave).
pub(crate) struct SealBatch<P> {
    pub places: Places<P>,
    /// In the order in which they are sent.
    prepared: Vec<Prepared>,
}

impl<P> Default for SealBatch<P> {
    fn default() -> Self {
        Self { places: Places::default(), prepared: Vec::new() }
    }
}

impl<P: Packet> SealBatch<P> {
    pub(crate) fn new() -> Self {
        Self { places: Places::new(), prepared: Vec::with_capacity(2 * BATCH_MAX) }
    }

    pub(crate) const fn is_empty(&self) -> bool {
        self.prepared.is_empty()
    }

    /// The packet that is worked on waits for the engine.
    #[inline]
    pub(crate) fn stay(
        &mut self,
        Numbered { sequence, .. }: Numbered,
        carrier: &Carrier,
        common: &SaCommon,
        outer: &OuterHeader,
        inner_len: u16,
    ) {
        let Some(place) = self.places.stay() else { return };
        // Made where it stays: what was just written piece by piece is slow to move.
        self.prepared.push(Prepared {
            nonce: common.salt.nonce(sequence),
            aad: Aad::new(common.spi.get(), sequence, common.esn),
            tunnel: carrier.tunnel,
            media: carrier.media,
            sa: carrier.sa,
            place: place as u16,
            esp_at: outer.len() as u16,
            inner_len,
            is_summed: outer.is_summed(),
            is_sealed: false,
        });
    }

    /// Has the engine seal everything prepared, and hands it out in order.
    pub(crate) fn seal(
        &mut self,
        sad: &mut Sad,
        media: &MediaTable,
        mut end: impl FnMut(&Prepared, Result<Sealed<P>, DropReason>),
    ) {
        let mut prepared = &mut self.prepared[..];
        let mut ahead = KeysAhead::default();
        while let Some(sa) = prepared.first().map(|p| p.sa) {
            ahead.keep(prepared, |p| p.sa, |p| sad.prefetch_outbound_key(p.sa, p.inner_len.into()));
            let len = run_len(prepared);
            let (these, more) = prepared.split_at_mut(len);
            if let Some(sa) = sad.outbound_mut(sa) {
                match these {
                    [alone] => one(sa, &mut self.places, alone),
                    several => run(sa, &mut self.places, several),
                }
            }
            ahead.done(len);
            prepared = more;
        }
        for p in self.prepared.drain(..) {
            match self.places.take(p.place.into()) {
                Some(mut packet) if p.is_sealed => {
                    if p.is_summed
                        && let Some(m) = media.get(p.media)
                    {
                        m.outer.write_checksum(packet.data_mut());
                    }
                    end(&p, Ok(Sealed(packet)));
                }
                _ => end(&p, Err(DropReason::SealFailed)),
            }
        }
        self.places.clear_added();
    }
}

/// How many of these, from the first on, are under one key and in rising places.
fn run_len(prepared: &[Prepared]) -> usize {
    let follows = |pair: &&[Prepared]| pair[0].sa == pair[1].sa && pair[0].place < pair[1].place;
    (1 + prepared.windows(2).take_while(follows).count()).min(BATCH_MAX)
}

/// Seals a packet that has none of its SA beside it: with many tunnels nearly all.
#[inline]
fn one<P: Packet>(sa: &mut OutboundSa, places: &mut Places<P>, p: &mut Prepared) {
    let Some(packet) = places.get_mut(p.place.into()) else { return };
    let data = &mut packet.data_mut()[usize::from(p.esp_at) + sa.common.layout.engine_at()..];
    p.is_sealed = sa.common.key.seal_in_place(&p.nonce, p.aad.as_slice(), data).is_ok();
}

/// Seals packets of one SA.
fn run<P: Packet>(sa: &mut OutboundSa, places: &mut Places<P>, prepared: &mut [Prepared]) {
    let mut jobs: ArrayVec<Job<'_>, BATCH_MAX> = ArrayVec::new();
    let mut pick = places.pick(prepared.first().map_or(0, |p| p.place.into()));
    let engine_at = sa.common.layout.engine_at();
    for p in &*prepared {
        let Some(packet) = pick.next(p.place.into()) else { return };
        let data = &mut packet.data_mut()[usize::from(p.esp_at) + engine_at..];
        jobs.push(Job::new(&p.nonce, p.aad.as_slice(), data));
    }
    sa.common.key.seal_batch(&mut jobs);
    let sealed: ArrayVec<bool, BATCH_MAX> = jobs.iter().map(Job::is_done).collect();
    drop(jobs);
    for (p, is_sealed) in prepared.iter_mut().zip(sealed) {
        p.is_sealed = is_sealed;
    }
}
