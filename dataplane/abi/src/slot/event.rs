//! Slots of the event ring: one [`Event`] each.

use super::command::{decode_direction, encode_direction};
use super::{EVENT_SLOT_LEN, SlotError, codes, nat, wire};
use crate::layout::shared;
use core::mem::size_of;
use sipsec_net::dp::{Event, ExpireCause, PacketSummary, RejectReason};
use sipsec_net::{MediaPort, SaId, Spi, TunnelId, TxnId};
use zerocopy::little_endian::{U16, U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

pub(crate) mod kind {
    pub const APPLIED: u16 = 1;
    pub const REJECTED: u16 = 2;
    pub const ACQUIRE: u16 = 3;
    pub const WRONG_SOURCE: u16 = 4;
    pub const SA_EXPIRE: u16 = 5;
    pub const SNAPSHOT_TUNNEL: u16 = 6;
    pub const SNAPSHOT_MEDIA: u16 = 7;
    pub const SNAPSHOT_SA: u16 = 8;
    pub const SNAPSHOT_END: u16 = 9;
    pub const SA_FIRST_INBOUND: u16 = 10;
    pub const PEER_PORT_PROVEN: u16 = 11;
    pub const NAT_ENTRY: u16 = 12;
    pub const NAT_PAGE: u16 = 13;
    pub const NAT_BLOCK: u16 = 14;
}

shared! {
    pub(crate) struct Head {
        pub kind: U16,
        pub zero: [u8; 6],
    }

    /// `Applied` and `Rejected`; the former has no operation and no reason.
    pub(crate) struct Txn {
        pub txn: U64,
        pub op: U16,
        pub reason: U16,
        pub zero: U32,
    }

    pub(crate) struct Acquire {
        pub tunnel: U32,
        pub source_port: U16,
        pub destination_port: U16,
        pub len: U16,
        pub protocol: u8,
        pub source: wire::Addr,
        pub destination: wire::Addr,
        pub zero: [u8; 3],
    }

    pub(crate) struct WrongSource {
        pub from: wire::SockAddr,
        pub media_port: U16,
        pub zero: [u8; 6],
    }

    pub(crate) struct PeerPortProven {
        pub media_port: U16,
        pub port: U16,
        pub zero: U32,
    }

    pub(crate) struct SaExpire {
        pub sa: U32,
        pub cause: u8,
        pub hard: u8,
        pub zero: U16,
    }

    pub(crate) struct SaFirstInbound {
        pub sa: U32,
        pub zero: U32,
    }

    pub(crate) struct SnapshotTunnel {
        pub tunnel: U32,
        /// Zero unless `bound`.
        pub outbound: U32,
        pub bound: u8,
        pub zero: [u8; 7],
    }

    pub(crate) struct SnapshotSa {
        pub sa: U32,
        pub tunnel: U32,
        pub spi: U32,
        pub media_port: U16,
        pub direction: u8,
        pub zero: u8,
    }
}

const HEAD_LEN: usize = size_of::<Head>();
const _: () =
    assert!(HEAD_LEN + size_of::<wire::Media>() <= EVENT_SLOT_LEN, "the largest event fits its slot");

codes!(encode_cause, decode_cause, CAUSES, "expiry cause", ExpireCause, u8 { Bytes = 1, Sequence = 2, });
codes!(encode_reason, decode_reason, REASONS, "reject reason", RejectReason, u16 {
    UnknownTunnel = 1, DuplicateTunnel = 2, UnknownSa = 3, DuplicateSa = 4, UnknownMediaPort = 5, DuplicateMediaPort = 6,
    UnknownRoute = 7, DuplicateSpi = 8, BadKeyLength = 9, BadReplayWindow = 10, BadAddressFamily = 11, BadRate = 12,
    TableFull = 13, WrongDirection = 14, BadMtu = 15, UnsupportedCipher = 16, Malformed = 17,
    BadQos = 18,
});

pub(crate) type SlotBytes = [u8; EVENT_SLOT_LEN];

fn put<T: IntoBytes + Immutable>(slot: &mut SlotBytes, kind: u16, body: T) {
    slot.fill(0);
    let head = Head { kind: kind.into(), zero: [0; 6] };
    slot[..HEAD_LEN].copy_from_slice(head.as_bytes());
    slot[HEAD_LEN..][..size_of::<T>()].copy_from_slice(body.as_bytes());
}

/// Writes an event; what the slot held before is gone.
pub(crate) fn encode(slot: &mut SlotBytes, event: &Event) {
    match event {
        Event::Applied(txn) => {
            let body = Txn { txn: txn.0.into(), op: U16::ZERO, reason: U16::ZERO, zero: U32::ZERO };
            put(slot, kind::APPLIED, body);
        }
        Event::Rejected { txn, op, reason } => {
            let reason = encode_reason(*reason).into();
            put(slot, kind::REJECTED, Txn { txn: txn.0.into(), op: (*op).into(), reason, zero: U32::ZERO });
        }
        Event::Acquire { tunnel, first } => {
            let body = Acquire {
                tunnel: tunnel.0.into(),
                source_port: first.source_port.into(),
                destination_port: first.destination_port.into(),
                len: first.len.into(),
                protocol: first.protocol,
                source: first.source.into(),
                destination: first.destination.into(),
                zero: [0; 3],
            };
            put(slot, kind::ACQUIRE, body);
        }
        Event::WrongSource { media_port, from } => {
            let body = WrongSource { from: (*from).into(), media_port: media_port.0.into(), zero: [0; 6] };
            put(slot, kind::WRONG_SOURCE, body);
        }
        Event::PeerPortProven { media_port, port } => {
            let (media_port, port) = (media_port.0.into(), (*port).into());
            put(slot, kind::PEER_PORT_PROVEN, PeerPortProven { media_port, port, zero: U32::ZERO });
        }
        Event::SaExpire { sa, cause, hard } => {
            let (cause, hard) = (encode_cause(*cause), (*hard).into());
            put(slot, kind::SA_EXPIRE, SaExpire { sa: sa.0.into(), cause, hard, zero: U16::ZERO });
        }
        Event::SaFirstInbound { sa } => {
            put(slot, kind::SA_FIRST_INBOUND, SaFirstInbound { sa: sa.0.into(), zero: U32::ZERO });
        }
        Event::SnapshotTunnel { tunnel, outbound } => {
            let body = SnapshotTunnel {
                tunnel: tunnel.0.into(),
                outbound: outbound.map_or(0, |sa| sa.0).into(),
                bound: outbound.is_some().into(),
                zero: [0; 7],
            };
            put(slot, kind::SNAPSHOT_TUNNEL, body);
        }
        Event::SnapshotMedia(binding) => put(slot, kind::SNAPSHOT_MEDIA, wire::Media::from(binding)),
        Event::SnapshotSa { sa, tunnel, direction, spi, media_port } => {
            let body = SnapshotSa {
                sa: sa.0.into(),
                tunnel: tunnel.0.into(),
                spi: spi.get().into(),
                media_port: media_port.0.into(),
                direction: encode_direction(*direction),
                zero: 0,
            };
            put(slot, kind::SNAPSHOT_SA, body);
        }
        Event::SnapshotEnd => put(slot, kind::SNAPSHOT_END, ()),
        Event::NatEntry(entry) => put(slot, kind::NAT_ENTRY, nat::Entry::from(entry)),
        Event::NatPage { from, next, statistics } => {
            put(slot, kind::NAT_PAGE, nat::Page::new(*from, *next, statistics));
        }
        Event::NatBlock(block) => put(slot, kind::NAT_BLOCK, nat::Block::from(block)),
    }
}

fn view<T: FromBytes + KnownLayout + Immutable + Unaligned>(body: &[u8]) -> Result<&T, SlotError> {
    let (view, rest) = T::ref_from_prefix(body).expect("every structure fits its slot");
    wire::zero(rest)?;
    Ok(view)
}

/// The event in a slot.
pub(crate) fn decode(slot: &SlotBytes) -> Result<Event, SlotError> {
    let (head, body) = Head::ref_from_prefix(slot).expect("a head fits its slot");
    wire::zero(&head.zero)?;
    Ok(match head.kind.get() {
        kind::APPLIED => {
            let raw: &Txn = view(body)?;
            wire::zero(&raw.as_bytes()[size_of::<U64>()..])?;
            Event::Applied(TxnId(raw.txn.get()))
        }
        kind::REJECTED => {
            let raw: &Txn = view(body)?;
            wire::zero(raw.zero.as_bytes())?;
            let reason = decode_reason(raw.reason.get())?;
            Event::Rejected { txn: TxnId(raw.txn.get()), op: raw.op.get(), reason }
        }
        kind::ACQUIRE => {
            let raw: &Acquire = view(body)?;
            wire::zero(&raw.zero)?;
            let first = PacketSummary {
                source: raw.source.try_into()?,
                destination: raw.destination.try_into()?,
                protocol: raw.protocol,
                source_port: raw.source_port.get(),
                destination_port: raw.destination_port.get(),
                len: raw.len.get(),
            };
            Event::Acquire { tunnel: TunnelId(raw.tunnel.get()), first }
        }
        kind::WRONG_SOURCE => {
            let raw: &WrongSource = view(body)?;
            wire::zero(&raw.zero)?;
            Event::WrongSource { media_port: MediaPort(raw.media_port.get()), from: raw.from.try_into()? }
        }
        kind::PEER_PORT_PROVEN => {
            let raw: &PeerPortProven = view(body)?;
            wire::zero(raw.zero.as_bytes())?;
            Event::PeerPortProven { media_port: MediaPort(raw.media_port.get()), port: raw.port.get() }
        }
        kind::SA_EXPIRE => {
            let raw: &SaExpire = view(body)?;
            wire::zero(raw.zero.as_bytes())?;
            let (cause, hard) = (decode_cause(raw.cause)?, wire::boolean("hard limit", raw.hard)?);
            Event::SaExpire { sa: SaId(raw.sa.get()), cause, hard }
        }
        kind::SA_FIRST_INBOUND => {
            let raw: &SaFirstInbound = view(body)?;
            wire::zero(raw.zero.as_bytes())?;
            Event::SaFirstInbound { sa: SaId(raw.sa.get()) }
        }
        kind::SNAPSHOT_TUNNEL => {
            let raw: &SnapshotTunnel = view(body)?;
            wire::zero(&raw.zero)?;
            let outbound = match (wire::boolean("bound", raw.bound)?, raw.outbound.get()) {
                (true, sa) => Some(SaId(sa)),
                (false, 0) => None,
                (false, _) => return Err(SlotError::ReservedNotZero),
            };
            Event::SnapshotTunnel { tunnel: TunnelId(raw.tunnel.get()), outbound }
        }
        kind::SNAPSHOT_MEDIA => Event::SnapshotMedia((*view::<wire::Media>(body)?).try_into()?),
        kind::SNAPSHOT_SA => {
            let raw: &SnapshotSa = view(body)?;
            wire::zero(&[raw.zero])?;
            Event::SnapshotSa {
                sa: SaId(raw.sa.get()),
                tunnel: TunnelId(raw.tunnel.get()),
                direction: decode_direction(raw.direction)?,
                spi: Spi::new(raw.spi.get()).ok_or(SlotError::BadSpi(raw.spi.get()))?,
                media_port: MediaPort(raw.media_port.get()),
            }
        }
        kind::SNAPSHOT_END => {
            wire::zero(body)?;
            Event::SnapshotEnd
        }
        kind::NAT_ENTRY => Event::NatEntry(view::<nat::Entry>(body)?.try_into()?),
        kind::NAT_PAGE => {
            let raw: &nat::Page = view(body)?;
            let (next, statistics) = raw.decode()?;
            Event::NatPage { from: raw.from.get(), next, statistics }
        }
        kind::NAT_BLOCK => Event::NatBlock(view::<nat::Block>(body)?.try_into()?),
        other => return Err(SlotError::UnknownKind(other)),
    })
}
