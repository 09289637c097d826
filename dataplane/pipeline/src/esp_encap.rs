//! Sealing: ESP tunnel mode with an AEAD (RFC 4303, RFC 4106) in UDP (RFC 3948) between the addresses of SDP. The only
//! place where a [`Sealed`] frame is made.

use crate::config::DontFragment;
use crate::ecn;
use crate::nat::{Identifications, OuterHeader};
use crate::packet::Packet;
use crate::parse::Info;
use crate::sad::OutboundSa;
use sipsec_net::dp::OuterDscp;
use sipsec_net::esp::{self, EspHeader, ICV_LEN, IV_LEN, TRAILER_LEN};
use sipsec_net::{DropReason, esp::ESP_HEADER_LEN};

const OVERHEAD_FRONT: usize = ESP_HEADER_LEN + IV_LEN;

/// A whole Ethernet frame whose payload is sealed.
#[derive(Debug)]
pub struct Sealed<P>(P);

impl<P> Sealed<P> {
    pub(crate) fn into_packet(self) -> P {
        self.0
    }
}

/// RFC 4303 §2.4: 1, 2, 3, …
const PADDING: [u8; 3] = [1, 2, 3];

/// Seals the inner packet. Errors before a sequence number was taken leave the SA as it was.
pub(crate) fn seal<P: Packet>(
    mut packet: P,
    info: &Info,
    sa: &mut OutboundSa,
    outer: &OuterHeader,
    ids: &mut Identifications,
    dscp: OuterDscp,
    dont_fragment: DontFragment,
) -> Result<Sealed<P>, DropReason> {
    let common = &mut sa.common;
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
    let inner_len = packet.len();
    let pad = esp::pad_len(inner_len);
    let front = OVERHEAD_FRONT + outer.len();
    if !packet.push_back(pad + TRAILER_LEN + ICV_LEN) {
        return Err(DropReason::SealFailed);
    }
    if !packet.push_front(front) {
        return Err(DropReason::SealFailed);
    }
    let sequence = match sa.sequence.next() {
        // RFC 4106 §3.1: the IV must be unique under a key; the 64-bit sequence number is.
        Ok(sequence) => sequence.consume(),
        Err(_) => return Err(DropReason::SequenceExhausted),
    };

    let data = packet.data_mut();
    let (head, esp) = data.split_at_mut(outer.len());
    let iv = sequence.to_be_bytes();
    let header = EspHeader { spi: common.spi.get(), sequence: sequence as u32 };
    esp[..ESP_HEADER_LEN].copy_from_slice(&header.to_bytes());
    esp[ESP_HEADER_LEN..OVERHEAD_FRONT].copy_from_slice(&iv);
    let (sealed, tag) = esp[OVERHEAD_FRONT..].split_at_mut(inner_len + pad + TRAILER_LEN);
    sealed[inner_len..inner_len + pad].copy_from_slice(&PADDING[..pad]);
    sealed[inner_len + pad] = pad as u8;
    sealed[inner_len + pad + 1] = if info.is_v6() { esp::NEXT_IPV6 } else { esp::NEXT_IPV4 };

    let nonce = common.salt.nonce(iv);
    let (aad, aad_len) = aad(common.spi.get(), sequence, common.esn);
    let icv =
        common.key.seal_in_place(&nonce, &aad[..aad_len], sealed).map_err(|_| DropReason::SealFailed)?;
    tag.copy_from_slice(&icv);

    // RFC 2983: pipe model unless the binding copies.
    let dscp = match dscp {
        OuterDscp::Fixed(dscp) => dscp,
        OuterDscp::CopyInner => info.class >> 2,
    };
    let dont_fragment = match dont_fragment {
        DontFragment::Clear => false,
        DontFragment::Set => true,
        DontFragment::Copy => info.dont_fragment && !info.is_v6(),
    };
    outer.write(head, esp, ecn::outer_class(info.class, dscp), dont_fragment, ids);
    Ok(Sealed(packet))
}

/// RFC 4106 §5: SPI ‖ sequence number; with ESN all 64 bits of it, 12 bytes.
pub(crate) fn aad(spi: u32, sequence: u64, esn: bool) -> ([u8; 12], usize) {
    let mut aad = [0; 12];
    aad[..4].copy_from_slice(&spi.to_be_bytes());
    if esn {
        aad[4..].copy_from_slice(&sequence.to_be_bytes());
        (aad, 12)
    } else {
        aad[4..8].copy_from_slice(&(sequence as u32).to_be_bytes());
        (aad, 8)
    }
}
