//! The layout of ring slots: structures of bytes, little-endian, without pointers, padding or alignment. Decoding
//! accepts any bytes and returns a domain type or a [`SlotError`]. Reserved bytes must be zero, so that a later version can
//! use them.

pub mod command;
pub mod event;
pub mod nat;
pub mod punt;
mod qos;
mod wire;

use crate::layout::{Description, Number};
use core::fmt;

pub const COMMAND_SLOT_LEN: usize = 512;
pub const EVENT_SLOT_LEN: usize = 128;
pub const PUNT_SLOT_LEN: usize = punt::HEADER_LEN + punt::PAYLOAD_MAX;

/// Why a slot means nothing. All are the other process's fault: a bug there, or malice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SlotError {
    UnknownKind(u16),
    /// Bytes without a meaning are not zero.
    ReservedNotZero,
    /// A number that names nothing: the field's name and the value.
    BadCode {
        field: &'static str,
        value: u16,
    },
    /// The two ends of a selector are of different families.
    MixedFamilies,
    BadPrefix,
    /// Below 256 (RFC 4303 §2.1).
    BadSpi(u32),
    BadDscp(u8),
    BadKeymatLen(u8),
    BadPayloadLen(u16),
    /// The slots of a transaction do not belong together: `Begin`, its operations in order, `Commit`, all of one id.
    Torn,
}

impl fmt::Display for SlotError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::UnknownKind(kind) => write!(f, "a ring slot is of unknown kind {kind}"),
            Self::ReservedNotZero => f.write_str("a ring slot has reserved bytes that are not zero"),
            Self::BadCode { field, value } => {
                write!(f, "a ring slot's {field} is {value}, which names nothing")
            }
            Self::MixedFamilies => f.write_str("a ring slot's selector mixes IPv4 and IPv6"),
            Self::BadPrefix => {
                f.write_str("a ring slot's prefix is longer than its address or has host bits")
            }
            Self::BadSpi(spi) => write!(f, "a ring slot's SPI {spi} is reserved"),
            Self::BadDscp(dscp) => write!(f, "a ring slot's DSCP {dscp} has more than six bits"),
            Self::BadKeymatLen(len) => write!(f, "a ring slot's key of {len} bytes is too long"),
            Self::BadPayloadLen(len) => write!(f, "a punt slot's payload of {len} bytes is too long"),
            Self::Torn => f.write_str("the slots of a transaction do not belong together"),
        }
    }
}

impl core::error::Error for SlotError {}

/// Pairs a domain enum with its codes in one list, which is part of the fingerprint: leaving a variant out does not compile.
macro_rules! codes {
    ($encode:ident, $decode:ident, $numbers:ident, $field:literal, $ty:ty, $raw:ty {
        $($variant:ident = $value:literal,)*
    }) => {
        pub(crate) const $numbers: &[$crate::layout::Number] = &[$($crate::layout::Number {
            name: concat!($field, ".", stringify!($variant)),
            value: $value,
        },)*];
        pub(crate) const fn $encode(value: $ty) -> $raw {
            match value { $(<$ty>::$variant => $value,)* }
        }
        pub(crate) const fn $decode(value: $raw) -> Result<$ty, $crate::slot::SlotError> {
            match value {
                $($value => Ok(<$ty>::$variant),)*
                _ => Err($crate::slot::SlotError::BadCode { field: $field, value: value as u16 }),
            }
        }
    };
}
pub(crate) use codes;

pub(crate) const DESCRIPTIONS: &[Description] = &[
    wire::Addr::DESCRIPTION,
    wire::SockAddr::DESCRIPTION,
    wire::Prefix::DESCRIPTION,
    wire::Selector::DESCRIPTION,
    wire::Media::DESCRIPTION,
    command::Head::DESCRIPTION,
    command::Commit::DESCRIPTION,
    command::TunnelAdd::DESCRIPTION,
    command::Route::DESCRIPTION,
    command::Filter::DESCRIPTION,
    command::NextHop::DESCRIPTION,
    command::PathMtu::DESCRIPTION,
    command::PeerSource::DESCRIPTION,
    command::SaAdd::DESCRIPTION,
    command::SaSelectors::DESCRIPTION,
    command::TunnelSa::DESCRIPTION,
    command::Id::DESCRIPTION,
    command::Port::DESCRIPTION,
    nat::Endpoint::DESCRIPTION,
    nat::Policy::DESCRIPTION,
    nat::Rule::DESCRIPTION,
    nat::Clear::DESCRIPTION,
    nat::Entry::DESCRIPTION,
    nat::Page::DESCRIPTION,
    nat::Block::DESCRIPTION,
    qos::QosShare::DESCRIPTION,
    qos::QosClass::DESCRIPTION,
    qos::TunnelQos::DESCRIPTION,
    qos::QosFilter::DESCRIPTION,
    qos::TunnelQosFilters::DESCRIPTION,
    event::Head::DESCRIPTION,
    event::Txn::DESCRIPTION,
    event::Acquire::DESCRIPTION,
    event::WrongSource::DESCRIPTION,
    event::PeerPortProven::DESCRIPTION,
    event::SaExpire::DESCRIPTION,
    event::SaFirstInbound::DESCRIPTION,
    event::SnapshotTunnel::DESCRIPTION,
    event::SnapshotSa::DESCRIPTION,
    punt::Head::DESCRIPTION,
];

pub(crate) const NUMBERS: &[Number] = &[
    Number { name: "command.kind.begin", value: command::kind::BEGIN as u64 },
    Number { name: "command.kind.commit", value: command::kind::COMMIT as u64 },
    Number { name: "command.kind.snapshot", value: command::kind::SNAPSHOT as u64 },
    Number { name: "command.kind.tunnel_add", value: command::kind::TUNNEL_ADD as u64 },
    Number { name: "command.kind.tunnel_remove", value: command::kind::TUNNEL_REMOVE as u64 },
    Number { name: "command.kind.route_add", value: command::kind::ROUTE_ADD as u64 },
    Number { name: "command.kind.route_remove", value: command::kind::ROUTE_REMOVE as u64 },
    Number { name: "command.kind.filter_add", value: command::kind::FILTER_ADD as u64 },
    Number { name: "command.kind.filter_clear", value: command::kind::FILTER_CLEAR as u64 },
    Number { name: "command.kind.media_open", value: command::kind::MEDIA_OPEN as u64 },
    Number { name: "command.kind.media_close", value: command::kind::MEDIA_CLOSE as u64 },
    Number { name: "command.kind.next_hop", value: command::kind::NEXT_HOP as u64 },
    Number { name: "command.kind.sa_add", value: command::kind::SA_ADD as u64 },
    Number { name: "command.kind.sa_remove", value: command::kind::SA_REMOVE as u64 },
    Number { name: "command.kind.tunnel_bind", value: command::kind::TUNNEL_BIND as u64 },
    Number { name: "command.kind.tunnel_unbind", value: command::kind::TUNNEL_UNBIND as u64 },
    Number { name: "command.kind.replay_trigger", value: command::kind::REPLAY_TRIGGER as u64 },
    Number { name: "command.kind.flush_trigger", value: command::kind::FLUSH_TRIGGER as u64 },
    Number { name: "command.kind.sa_selectors", value: command::kind::SA_SELECTORS as u64 },
    Number { name: "command.kind.peer_source", value: command::kind::PEER_SOURCE as u64 },
    Number { name: "command.kind.path_mtu", value: command::kind::PATH_MTU as u64 },
    Number { name: "command.kind.nat_policy", value: command::kind::NAT_POLICY as u64 },
    Number { name: "command.kind.nat_rule", value: command::kind::NAT_RULE as u64 },
    Number { name: "command.kind.nat_remove", value: command::kind::NAT_REMOVE as u64 },
    Number { name: "command.kind.nat_clear", value: command::kind::NAT_CLEAR as u64 },
    Number { name: "command.kind.nat_page", value: command::kind::NAT_PAGE as u64 },
    Number { name: "command.kind.tunnel_qos", value: command::kind::TUNNEL_QOS as u64 },
    Number { name: "command.kind.tunnel_qos_filters", value: command::kind::TUNNEL_QOS_FILTERS as u64 },
    Number { name: "event.kind.applied", value: event::kind::APPLIED as u64 },
    Number { name: "event.kind.rejected", value: event::kind::REJECTED as u64 },
    Number { name: "event.kind.acquire", value: event::kind::ACQUIRE as u64 },
    Number { name: "event.kind.wrong_source", value: event::kind::WRONG_SOURCE as u64 },
    Number { name: "event.kind.sa_expire", value: event::kind::SA_EXPIRE as u64 },
    Number { name: "event.kind.snapshot_tunnel", value: event::kind::SNAPSHOT_TUNNEL as u64 },
    Number { name: "event.kind.snapshot_media", value: event::kind::SNAPSHOT_MEDIA as u64 },
    Number { name: "event.kind.snapshot_sa", value: event::kind::SNAPSHOT_SA as u64 },
    Number { name: "event.kind.snapshot_end", value: event::kind::SNAPSHOT_END as u64 },
    Number { name: "event.kind.sa_first_inbound", value: event::kind::SA_FIRST_INBOUND as u64 },
    Number { name: "event.kind.peer_port_proven", value: event::kind::PEER_PORT_PROVEN as u64 },
    Number { name: "event.kind.nat_entry", value: event::kind::NAT_ENTRY as u64 },
    Number { name: "event.kind.nat_page", value: event::kind::NAT_PAGE as u64 },
    Number { name: "event.kind.nat_block", value: event::kind::NAT_BLOCK as u64 },
];
