//! Opening: RFC 4303 §3.4. The replay window is asked first, moved last.

use crate::esp_encap::aad;
use crate::packet::Packet;
use crate::replay::ReplayError;
use crate::sad::InboundSa;
use sipsec_net::DropReason;
use sipsec_net::esp::{self, ESP_HEADER_LEN, EspHeader, ICV_LEN, IV_LEN, TRAILER_LEN};

/// Proof that a packet's integrity check held. Only opening makes one.
#[derive(Debug)]
pub struct IcvVerified(());

impl IcvVerified {
    #[cfg(test)]
    pub(crate) const fn for_test() -> Self {
        Self(())
    }
}

const FRONT: usize = ESP_HEADER_LEN + IV_LEN;

/// A packet whose integrity check held: plaintext and trailer follow the IV.
#[derive(Debug)]
pub(crate) struct Opened {
    /// Bytes of both.
    len: usize,
}

/// From the SPI on. The SA is as it was unless the packet is its peer's.
pub(crate) fn open<P: Packet>(packet: &mut P, sa: &mut InboundSa) -> Result<Opened, DropReason> {
    if sa.common.lifetime.is_hard_expired() {
        return Err(DropReason::SaHardExpired);
    }
    let data = packet.data_mut();
    let header = EspHeader::parse(data).ok_or(DropReason::EspMalformed)?;
    // RFC 4303 §2.4: ciphertext, pad length and next header end on a 4-byte boundary.
    let sealed = data.len().checked_sub(FRONT + ICV_LEN).filter(|n| *n >= TRAILER_LEN && n.is_multiple_of(4));
    let Some(sealed) = sealed else { return Err(DropReason::EspMalformed) };

    // RFC 4303 §3.4.3: before the (expensive) integrity check.
    let candidate = sa.window.check(header.sequence).map_err(drop_reason)?;
    let (front, rest) = data.split_at_mut(FRONT);
    let iv = *front.last_chunk().expect("the IV ends the front");
    let nonce = sa.common.salt.nonce(iv);
    let (text, tag) = rest.split_at_mut(sealed);
    let tag = *tag.first_chunk().expect("what is behind the ciphertext is the ICV");
    let (aad, aad_len) = aad(header.spi, candidate.get(), sa.common.esn);
    sa.common.key.open_in_place(&nonce, &aad[..aad_len], text, &tag).map_err(|_| DropReason::IcvFailed)?;
    let proof = IcvVerified(());
    sa.window.commit(candidate, proof).map_err(drop_reason)?;
    Ok(Opened { len: sealed })
}

/// To the inner packet with its padding gone.
pub(crate) fn unpack<P: Packet>(packet: &mut P, Opened { len: sealed }: Opened) -> Result<(), DropReason> {
    let text = packet.data().get(FRONT..FRONT + sealed).ok_or(DropReason::EspMalformed)?;
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
    if packet.pull_front(FRONT) {
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
