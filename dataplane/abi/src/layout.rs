//! Where everything in the segment is, and the number by which two builds know that they agree about it.

use crate::ring::{Cursors, Geometry};
use crate::{counters, handshake, segment, slot};
use core::mem::size_of;

/// Field of a shared structure, for the fingerprint and the golden listing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Field {
    pub name: &'static str,
    pub offset: usize,
    pub size: usize,
}

/// A structure of the segment or of the handshake.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Description {
    pub name: &'static str,
    pub size: usize,
    pub fields: &'static [Field],
}

/// A number that both sides must agree about: a region's offset, a capacity, the code of an operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Number {
    pub name: &'static str,
    pub value: u64,
}

/// Defines structures of bytes (no padding, no alignment) that can describe themselves.
macro_rules! shared {
    ($($(#[$meta:meta])* $vis:vis struct $name:ident { $($(#[$fmeta:meta])* $fvis:vis $field:ident: $ty:ty,)* })*) => {$(
        $(#[$meta])*
        #[derive(
            Clone, Copy, zerocopy::FromBytes, zerocopy::IntoBytes, zerocopy::KnownLayout, zerocopy::Immutable,
            zerocopy::Unaligned,
        )]
        #[repr(C)]
        $vis struct $name { $($(#[$fmeta])* $fvis $field: $ty,)* }

        impl $name {
            pub(crate) const DESCRIPTION: $crate::layout::Description = $crate::layout::Description {
                name: stringify!($name),
                size: core::mem::size_of::<$name>(),
                fields: &[$($crate::layout::Field {
                    name: stringify!($field),
                    offset: core::mem::offset_of!($name, $field),
                    size: core::mem::size_of::<$ty>(),
                },)*],
            };
        }
    )*};
}
pub(crate) use shared;

/// Raised when the meaning of the bytes changes without their layout (which the fingerprint sees by itself).
pub const ABI_VERSION: u32 = 3;
/// First word of the segment and of every handshake message.
pub const MAGIC: u64 = u64::from_le_bytes(*b"sipsecDP");

/// Commands, the control plane's to the dataplane. A transaction of the most operations fits many times.
pub const COMMAND_RING: Geometry = Geometry { capacity: 1024, slot_words: slot::COMMAND_SLOT_LEN / 8 };
/// Events, the dataplane's to the control plane.
pub const EVENT_RING: Geometry = Geometry { capacity: 4096, slot_words: slot::EVENT_SLOT_LEN / 8 };
/// IKE messages, one ring up and one down: a thousand peers may speak at once.
pub const PUNT_RING: Geometry = Geometry { capacity: 1024, slot_words: slot::PUNT_SLOT_LEN / 8 };

const PAGE: usize = 4096;

const fn pages(len: usize) -> usize {
    len.next_multiple_of(PAGE)
}

const fn ring_len(ring: Geometry) -> usize {
    size_of::<Cursors>() + ring.capacity * ring.slot_words * 8
}

/// Bytes from the segment's start. Regions start at pages of their own.
pub mod offset {
    use super::{COMMAND_RING, EVENT_RING, PUNT_RING, counters, pages, ring_len};

    pub const HEADER: usize = 0;
    pub const COMMANDS: usize = 4096;
    pub const EVENTS: usize = COMMANDS + pages(ring_len(COMMAND_RING));
    pub const PUNTS_UP: usize = EVENTS + pages(ring_len(EVENT_RING));
    pub const PUNTS_DOWN: usize = PUNTS_UP + pages(ring_len(PUNT_RING));
    pub const COUNTERS: usize = PUNTS_DOWN + pages(ring_len(PUNT_RING));
    pub const END: usize = COUNTERS + pages(counters::REGION_WORDS * 8);
}

/// Length of the segment in bytes.
pub const SEGMENT_LEN: usize = offset::END;

/// Every structure of bytes, in a fixed order.
pub const STRUCTURES: &[&[Description]] =
    &[slot::DESCRIPTIONS, handshake::message::DESCRIPTIONS, segment::DESCRIPTIONS, counters::DESCRIPTIONS];

/// Every number.
pub const NUMBERS: &[&[Number]] = &[
    &[
        Number { name: "abi_version", value: ABI_VERSION as u64 },
        Number { name: "offset.commands", value: offset::COMMANDS as u64 },
        Number { name: "offset.events", value: offset::EVENTS as u64 },
        Number { name: "offset.punts_up", value: offset::PUNTS_UP as u64 },
        Number { name: "offset.punts_down", value: offset::PUNTS_DOWN as u64 },
        Number { name: "offset.counters", value: offset::COUNTERS as u64 },
        Number { name: "offset.end", value: offset::END as u64 },
        Number { name: "cursors.len", value: size_of::<Cursors>() as u64 },
        Number { name: "cursors.consumed", value: core::mem::offset_of!(Cursors, consumed) as u64 },
        Number { name: "cursors.overflowed", value: core::mem::offset_of!(Cursors, overflowed) as u64 },
        Number { name: "command.capacity", value: COMMAND_RING.capacity as u64 },
        Number { name: "command.slot_words", value: COMMAND_RING.slot_words as u64 },
        Number { name: "event.capacity", value: EVENT_RING.capacity as u64 },
        Number { name: "event.slot_words", value: EVENT_RING.slot_words as u64 },
        Number { name: "punt.capacity", value: PUNT_RING.capacity as u64 },
        Number { name: "punt.slot_words", value: PUNT_RING.slot_words as u64 },
        Number { name: "ops_max", value: sipsec_net::dp::OPS_MAX as u64 },
    ],
    segment::NUMBERS,
    slot::NUMBERS,
    slot::command::FILTER_USES,
    slot::command::DIRECTIONS,
    slot::command::CIPHERS,
    slot::event::CAUSES,
    slot::event::REASONS,
    slot::nat::FILTERINGS,
    slot::nat::PROTOCOLS,
    slot::nat::SIDES,
    slot::nat::STATES,
    counters::NUMBERS,
];

/// FNV-1a over every structure and number above, over the names of the drop counters in their order, and over the byte
/// order. Two builds with the same fingerprint put the same bytes in the same places.
pub const FINGERPRINT: u64 = {
    let mut hash = Fnv::new().number(u16::from_ne_bytes([1, 0]) as u64);
    let mut i = 0;
    while i < STRUCTURES.len() {
        let mut j = 0;
        while j < STRUCTURES[i].len() {
            hash = hash.description(&STRUCTURES[i][j]);
            j += 1;
        }
        i += 1;
    }
    let mut i = 0;
    while i < NUMBERS.len() {
        let mut j = 0;
        while j < NUMBERS[i].len() {
            hash = hash.text(NUMBERS[i][j].name).number(NUMBERS[i][j].value);
            j += 1;
        }
        i += 1;
    }
    let mut i = 0;
    while i < sipsec_net::DropReason::ALL.len() {
        hash = hash.text(sipsec_net::DropReason::ALL[i].name());
        i += 1;
    }
    hash.0
};

#[derive(Clone, Copy)]
struct Fnv(u64);

impl Fnv {
    const fn new() -> Self {
        Self(0xcbf2_9ce4_8422_2325)
    }

    const fn byte(self, byte: u8) -> Self {
        Self((self.0 ^ byte as u64).wrapping_mul(0x0000_0100_0000_01b3))
    }

    const fn number(mut self, value: u64) -> Self {
        let bytes = value.to_le_bytes();
        let mut i = 0;
        while i < bytes.len() {
            self = self.byte(bytes[i]);
            i += 1;
        }
        self
    }

    const fn text(mut self, text: &str) -> Self {
        let bytes = text.as_bytes();
        let mut i = 0;
        while i < bytes.len() {
            self = self.byte(bytes[i]);
            i += 1;
        }
        self.number(bytes.len() as u64)
    }

    const fn description(mut self, d: &Description) -> Self {
        self = self.text(d.name).number(d.size as u64);
        let mut i = 0;
        while i < d.fields.len() {
            self =
                self.text(d.fields[i].name).number(d.fields[i].offset as u64).number(d.fields[i].size as u64);
            i += 1;
        }
        self
    }
}
