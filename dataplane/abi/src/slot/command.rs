//! Slots of the command ring: `Begin`, one slot per [`Op`], `Commit`; and `Snapshot` by itself.

use super::{COMMAND_SLOT_LEN, SlotError, codes, nat, qos, wire};
use crate::layout::shared;
use core::mem::size_of;
use sipsec_net::dp::{self, Adjacency, Direction, EspCipher, KEYMAT_MAX, Op, SaSpec, TunnelSpec};
use sipsec_net::filter::{FilterRule, FilterUse, Span};
use sipsec_net::{IpPrefix, MacAddr, MediaPort, SaId, SecretBox, Spi, TunnelId, TxnId};
use zerocopy::little_endian::{U16, U32, U64};
use zerocopy::{FromBytes, FromZeros, Immutable, IntoBytes, KnownLayout, Unaligned};

pub(crate) mod kind {
    pub const BEGIN: u16 = 1;
    pub const COMMIT: u16 = 2;
    pub const SNAPSHOT: u16 = 3;
    pub const TUNNEL_ADD: u16 = 16;
    pub const TUNNEL_REMOVE: u16 = 17;
    pub const ROUTE_ADD: u16 = 18;
    pub const ROUTE_REMOVE: u16 = 19;
    pub const MEDIA_OPEN: u16 = 20;
    pub const MEDIA_CLOSE: u16 = 21;
    pub const NEXT_HOP: u16 = 22;
    pub const SA_ADD: u16 = 23;
    pub const SA_REMOVE: u16 = 24;
    pub const TUNNEL_BIND: u16 = 25;
    pub const TUNNEL_UNBIND: u16 = 26;
    pub const REPLAY_TRIGGER: u16 = 27;
    pub const FLUSH_TRIGGER: u16 = 28;
    pub const SA_SELECTORS: u16 = 29;
    pub const PEER_SOURCE: u16 = 30;
    pub const TUNNEL_SET: u16 = 31;
    pub const FILTER_ADD: u16 = 32;
    pub const FILTER_CLEAR: u16 = 33;
    pub const NAT_POLICY: u16 = 34;
    pub const NAT_RULE: u16 = 35;
    pub const NAT_REMOVE: u16 = 36;
    pub const NAT_CLEAR: u16 = 37;
    pub const NAT_PAGE: u16 = 38;
    pub const TUNNEL_QOS: u16 = 39;
    pub const TUNNEL_QOS_FILTERS: u16 = 40;
    pub const PATH_MTU: u16 = 41;
}

shared! {
    /// Starts every slot of the command ring.
    pub(crate) struct Head {
        pub kind: U16,
        /// For an operation: its position in the transaction. For `Begin` and `Commit`: the number of operations.
        pub index: U16,
        pub zero: U32,
        /// Zero for `Snapshot`.
        pub txn: U64,
    }

    pub(crate) struct Commit {
        /// 1: the next transaction belongs to the same change.
        pub more: u8,
        pub zero: [u8; 7],
    }

    /// `TunnelAdd` and `TunnelSet`.
    pub(crate) struct TunnelAdd {
        pub tunnel: U32,
        pub trigger_bytes_max: U32,
        pub trigger_age_ms_max: U32,
        pub trigger_packets_max: U16,
        pub inner_mtu: U16,
        pub mss_clamp: u8,
        pub check_source: u8,
        pub routing_hellos: u8,
        pub own_device: u8,
        pub zero: [u8; 4],
    }

    /// `RouteAdd`; in `RouteRemove` all but the prefix is zero.
    pub(crate) struct Route {
        pub prefix: wire::Prefix,
        pub tunnel: U32,
        pub adjacency: u8,
        pub zero: [u8; 3],
    }

    /// `FilterAdd`; in `FilterClear` what follows `used` is zero. What a rule does not compare is zero, and its flag, too.
    pub(crate) struct Filter {
        pub tunnel: U32,
        pub used: u8,
        pub permit: u8,
        pub has_protocol: u8,
        pub protocol: u8,
        pub has_dscp: u8,
        pub dscp: u8,
        pub has_source: u8,
        pub has_destination: u8,
        pub source: wire::Prefix,
        pub destination: wire::Prefix,
        pub source_ports: [U16; 2],
        pub destination_ports: [U16; 2],
        pub length: [U16; 2],
    }

    pub(crate) struct NextHop {
        pub media_port: U16,
        pub mac: [u8; 6],
    }

    pub(crate) struct PeerSource {
        pub media_port: U16,
        /// 0: any, until one is proven.
        pub port: U16,
        pub zero: U32,
    }

    pub(crate) struct PathMtu {
        pub media_port: U16,
        /// 0: no bound.
        pub mtu: U16,
        pub zero: U32,
    }

    pub(crate) struct SaAdd {
        pub sa: U32,
        pub tunnel: U32,
        pub spi: U32,
        pub media_port: U16,
        pub direction: u8,
        pub cipher: u8,
        pub replay_window: U32,
        pub esn: u8,
        pub keymat_len: u8,
        pub zero: U16,
        pub soft_bytes_max: U64,
        pub hard_bytes_max: U64,
        pub keymat: [u8; KEYMAT_MAX],
        pub zero2: U32,
        pub local: wire::SelectorList,
        pub remote: wire::SelectorList,
    }

    pub(crate) struct SaSelectors {
        pub sa: U32,
        pub zero: U32,
        pub local: wire::SelectorList,
        pub remote: wire::SelectorList,
    }

    pub(crate) struct TunnelSa {
        pub tunnel: U32,
        pub sa: U32,
    }

    /// Operations that have one number, of a tunnel, an SA or a row, and nothing else.
    pub(crate) struct Id {
        pub id: U32,
        pub zero: U32,
    }

    pub(crate) struct Port {
        pub media_port: U16,
        pub zero: [u8; 6],
    }
}

const HEAD_LEN: usize = size_of::<Head>();
const _: () =
    assert!(HEAD_LEN + size_of::<SaAdd>() <= COMMAND_SLOT_LEN, "the largest operation fits its slot");
const _: () = assert!(
    HEAD_LEN + size_of::<qos::TunnelQosFilters>() <= COMMAND_SLOT_LEN,
    "the largest operation fits its slot"
);
const _: () =
    assert!(HEAD_LEN + size_of::<wire::Media>() <= COMMAND_SLOT_LEN, "the largest operation fits its slot");

codes!(encode_filter_use, decode_filter_use, FILTER_USES, "filter", FilterUse, u8 { Trigger = 1, Idle = 2, });
codes!(encode_direction, decode_direction, DIRECTIONS, "direction", Direction, u8 { In = 1, Out = 2, });
codes!(encode_cipher, decode_cipher, CIPHERS, "cipher", EspCipher, u8 {
    Aes128Gcm16 = 1, Aes256Gcm16 = 2, ChaCha20Poly1305 = 3,
    Aes128Gcm16Iiv = 4, Aes256Gcm16Iiv = 5, ChaCha20Poly1305Iiv = 6,
    Aes128CbcSha1 = 7, Aes256CbcSha1 = 8,
    Aes128CbcSha256 = 9, Aes256CbcSha256 = 10,
    Aes128CbcSha384 = 11, Aes256CbcSha384 = 12,
    Aes128CbcSha512 = 13, Aes256CbcSha512 = 14,
});

/// A slot's bytes on this side, word-aligned for the copy. Its owner wipes it when it has held a key.
pub(crate) type SlotBytes = [u8; COMMAND_SLOT_LEN];

/// Writes a slot that has no body.
pub(crate) fn encode_bare(slot: &mut SlotBytes, kind: u16, index: u16, txn: TxnId) {
    slot.fill(0);
    put_head(slot, kind, index, txn);
}

/// Writes the end of a transaction of `count` operations.
pub(crate) fn encode_commit(slot: &mut SlotBytes, count: u16, txn: TxnId, more: bool) {
    slot.fill(0);
    *view_mut(&mut slot[HEAD_LEN..]) = Commit { more: more.into(), zero: [0; 7] };
    put_head(slot, kind::COMMIT, count, txn);
}

/// Writes an operation; what the slot held before is gone.
pub(crate) fn encode_op(slot: &mut SlotBytes, op: &Op, index: u16, txn: TxnId) {
    slot.fill(0);
    let kind = encode_body(&mut slot[HEAD_LEN..], op);
    put_head(slot, kind, index, txn);
}

fn put_head(slot: &mut SlotBytes, kind: u16, index: u16, txn: TxnId) {
    *view_mut(slot) = Head { kind: kind.into(), index: index.into(), zero: U32::ZERO, txn: txn.0.into() };
}

/// The structure at the start of `bytes`, in place.
fn view_mut<T: FromBytes + IntoBytes + KnownLayout + Unaligned>(bytes: &mut [u8]) -> &mut T {
    T::mut_from_prefix(bytes).expect("every structure fits its slot").0
}

/// The structure at the start of `bytes`, if all that follows it is zero.
fn view<T: FromBytes + KnownLayout + Immutable + Unaligned>(bytes: &[u8]) -> Result<&T, SlotError> {
    let (view, rest) = T::ref_from_prefix(bytes).expect("every structure fits its slot");
    wire::zero(rest)?;
    Ok(view)
}

fn encode_body(body: &mut [u8], op: &Op) -> u16 {
    let mut id = |id: u32| *view_mut(body) = Id { id: id.into(), zero: U32::ZERO };
    match op {
        Op::TunnelAdd(spec) => {
            *view_mut(body) = tunnel(spec);
            kind::TUNNEL_ADD
        }
        Op::TunnelSet(spec) => {
            *view_mut(body) = tunnel(spec);
            kind::TUNNEL_SET
        }
        Op::TunnelQos(spec) => {
            *view_mut(body) = qos::encode(spec);
            kind::TUNNEL_QOS
        }
        Op::TunnelQosFilters(more) => {
            *view_mut(body) = qos::encode_filters(more);
            kind::TUNNEL_QOS_FILTERS
        }
        Op::TunnelRemove(tunnel) => {
            id(tunnel.0);
            kind::TUNNEL_REMOVE
        }
        Op::RouteAdd { prefix, tunnel, adjacency } => {
            let adjacency = match adjacency {
                Adjacency::Tunnel => 0,
                Adjacency::Outside => 1,
                Adjacency::Discard => 2,
            };
            *view_mut(body) =
                Route { prefix: (*prefix).into(), tunnel: tunnel.0.into(), adjacency, zero: [0; 3] };
            kind::ROUTE_ADD
        }
        Op::RouteRemove { prefix } => {
            *view_mut(body) =
                Route { prefix: (*prefix).into(), tunnel: U32::ZERO, adjacency: 0, zero: [0; 3] };
            kind::ROUTE_REMOVE
        }
        Op::FilterAdd { tunnel, used, rule } => {
            *view_mut(body) = filter(*tunnel, *used, rule);
            kind::FILTER_ADD
        }
        Op::FilterClear { tunnel, used } => {
            *view_mut(body) =
                Filter { tunnel: tunnel.0.into(), used: encode_filter_use(*used), ..FromZeros::new_zeroed() };
            kind::FILTER_CLEAR
        }
        Op::MediaOpen(binding) => {
            *view_mut(body) = wire::Media::from(binding);
            kind::MEDIA_OPEN
        }
        Op::MediaClose(port) => {
            *view_mut(body) = Port { media_port: port.0.into(), zero: [0; 6] };
            kind::MEDIA_CLOSE
        }
        Op::NextHop { media_port, mac } => {
            *view_mut(body) = NextHop { media_port: media_port.0.into(), mac: mac.0 };
            kind::NEXT_HOP
        }
        Op::PeerSource { media_port, source } => {
            let port = match source {
                dp::PeerSource::Unproven => 0,
                dp::PeerSource::Port(port) => *port,
            };
            let (media_port, port) = (media_port.0.into(), port.into());
            *view_mut(body) = PeerSource { media_port, port, zero: U32::ZERO };
            kind::PEER_SOURCE
        }
        Op::PathMtu { media_port, mtu } => {
            let (media_port, mtu) = (media_port.0.into(), mtu.unwrap_or(0).into());
            *view_mut(body) = PathMtu { media_port, mtu, zero: U32::ZERO };
            kind::PATH_MTU
        }
        Op::SaAdd(spec) => {
            encode_sa(view_mut(body), spec);
            kind::SA_ADD
        }
        Op::SaSelectors { sa, more } => {
            let (local, remote) = wire::encode_selectors(more);
            *view_mut(body) = SaSelectors { sa: sa.0.into(), zero: U32::ZERO, local, remote };
            kind::SA_SELECTORS
        }
        Op::SaRemove(sa) => {
            id(sa.0);
            kind::SA_REMOVE
        }
        Op::TunnelBind { tunnel, outbound } => {
            *view_mut(body) = TunnelSa { tunnel: tunnel.0.into(), sa: outbound.0.into() };
            kind::TUNNEL_BIND
        }
        Op::TunnelUnbind(tunnel) => {
            id(tunnel.0);
            kind::TUNNEL_UNBIND
        }
        Op::ReplayTrigger(tunnel) => {
            id(tunnel.0);
            kind::REPLAY_TRIGGER
        }
        Op::FlushTrigger(tunnel) => {
            id(tunnel.0);
            kind::FLUSH_TRIGGER
        }
        Op::NatPolicy(policy) => {
            *view_mut(body) = nat::Policy::from(policy);
            kind::NAT_POLICY
        }
        Op::NatRule { tunnel, rule } => {
            *view_mut(body) = nat::Rule::new(*tunnel, rule);
            kind::NAT_RULE
        }
        Op::NatRemove(tunnel) => {
            id(tunnel.0);
            kind::NAT_REMOVE
        }
        Op::NatClear(host) => {
            *view_mut(body) = nat::Clear::from(*host);
            kind::NAT_CLEAR
        }
        Op::NatPage { from } => {
            id(*from);
            kind::NAT_PAGE
        }
    }
}

fn tunnel(spec: &TunnelSpec) -> TunnelAdd {
    TunnelAdd {
        tunnel: spec.tunnel.0.into(),
        trigger_bytes_max: spec.trigger_bytes_max.into(),
        trigger_age_ms_max: spec.trigger_age_ms_max.into(),
        trigger_packets_max: spec.trigger_packets_max.into(),
        inner_mtu: spec.inner_mtu.into(),
        mss_clamp: spec.mss_clamp.into(),
        check_source: spec.check_source.into(),
        routing_hellos: spec.routing_hellos.into(),
        own_device: spec.own_device.into(),
        zero: [0; 4],
    }
}

fn filter(tunnel: TunnelId, used: FilterUse, rule: &FilterRule) -> Filter {
    let span = |span: Span| [span.first.into(), span.last.into()];
    let prefix = |prefix: Option<IpPrefix>| prefix.map_or_else(FromZeros::new_zeroed, Into::into);
    Filter {
        tunnel: tunnel.0.into(),
        used: encode_filter_use(used),
        permit: rule.permit.into(),
        has_protocol: rule.protocol.is_some().into(),
        protocol: rule.protocol.unwrap_or(0),
        has_dscp: rule.dscp.is_some().into(),
        dscp: rule.dscp.unwrap_or(0),
        has_source: rule.source.is_some().into(),
        has_destination: rule.destination.is_some().into(),
        source: prefix(rule.source),
        destination: prefix(rule.destination),
        source_ports: span(rule.source_ports),
        destination_ports: span(rule.destination_ports),
        length: span(rule.length),
    }
}

fn decode_filter(raw: &Filter) -> Result<FilterRule, SlotError> {
    let number = |has, value: u8| match wire::boolean("comparison", has)? {
        true => Ok(Some(value)),
        false if value == 0 => Ok(None),
        false => Err(SlotError::ReservedNotZero),
    };
    let prefix = |has, prefix: &wire::Prefix| match wire::boolean("comparison", has)? {
        true => Ok(Some(IpPrefix::try_from(*prefix)?)),
        false => wire::zero(prefix.as_bytes()).map(|()| None),
    };
    let span = |[first, last]: [U16; 2]| Span { first: first.get(), last: last.get() };
    let dscp = number(raw.has_dscp, raw.dscp)?;
    if let Some(dscp) = dscp.filter(|dscp| *dscp > 63) {
        return Err(SlotError::BadDscp(dscp));
    }
    Ok(FilterRule {
        permit: wire::boolean("permit", raw.permit)?,
        protocol: number(raw.has_protocol, raw.protocol)?,
        source: prefix(raw.has_source, &raw.source)?,
        destination: prefix(raw.has_destination, &raw.destination)?,
        source_ports: span(raw.source_ports),
        destination_ports: span(raw.destination_ports),
        dscp,
        length: span(raw.length),
    })
}

/// Field by field in place: a structure built on the stack would leave a copy of the key there.
fn encode_sa(raw: &mut SaAdd, spec: &SaSpec) {
    let key = spec.keymat.expose();
    raw.sa = spec.sa.0.into();
    raw.tunnel = spec.tunnel.0.into();
    raw.spi = spec.spi.get().into();
    raw.media_port = spec.media_port.0.into();
    raw.direction = encode_direction(spec.direction);
    raw.cipher = encode_cipher(spec.cipher);
    raw.replay_window = spec.replay_window.into();
    raw.esn = spec.esn.into();
    raw.keymat_len = key.len() as u8; // at most KEYMAT_MAX
    raw.soft_bytes_max = spec.soft_bytes_max.into();
    raw.hard_bytes_max = spec.hard_bytes_max.into();
    raw.keymat[..key.len()].copy_from_slice(key);
    (raw.local, raw.remote) = wire::encode_selectors(&spec.selectors);
}

/// The head of any slot; the body is not looked at.
pub(crate) fn decode_head(slot: &SlotBytes) -> Result<&Head, SlotError> {
    let (head, _) = Head::ref_from_prefix(slot).expect("a head fits its slot");
    if head.zero == 0 { Ok(head) } else { Err(SlotError::ReservedNotZero) }
}

/// Checks that nothing follows the head.
pub(crate) fn check_bare(slot: &SlotBytes) -> Result<(), SlotError> {
    wire::zero(&slot[HEAD_LEN..])
}

/// Whether more transactions of the same change follow, from the slot of a `Commit`.
pub(crate) fn decode_commit(slot: &SlotBytes) -> Result<bool, SlotError> {
    let raw: &Commit = view(&slot[HEAD_LEN..])?;
    wire::zero(&raw.zero)?;
    wire::boolean("more", raw.more)
}

/// The operation in a slot whose head says `kind`.
pub(crate) fn decode_op(slot: &SlotBytes, kind: u16) -> Result<Op, SlotError> {
    let body = &slot[HEAD_LEN..];
    let id = || {
        let raw: &Id = view(body)?;
        if raw.zero == 0 { Ok(raw.id.get()) } else { Err(SlotError::ReservedNotZero) }
    };
    Ok(match kind {
        kind::TUNNEL_ADD => Op::TunnelAdd(decode_tunnel(view(body)?)?),
        kind::TUNNEL_SET => Op::TunnelSet(decode_tunnel(view(body)?)?),
        kind::TUNNEL_QOS => Op::TunnelQos(qos::decode(view(body)?)?),
        kind::TUNNEL_QOS_FILTERS => Op::TunnelQosFilters(qos::decode_filters(view(body)?)?),
        kind::TUNNEL_REMOVE => Op::TunnelRemove(TunnelId(id()?)),
        kind::ROUTE_ADD => {
            let raw: &Route = view(body)?;
            wire::zero(&raw.zero)?;
            let adjacency = match raw.adjacency {
                0 => Adjacency::Tunnel,
                1 => Adjacency::Outside,
                2 => Adjacency::Discard,
                value => return Err(SlotError::BadCode { field: "adjacency", value: value.into() }),
            };
            Op::RouteAdd { prefix: raw.prefix.try_into()?, tunnel: TunnelId(raw.tunnel.get()), adjacency }
        }
        kind::ROUTE_REMOVE => {
            let raw: &Route = view(body)?;
            wire::zero(&raw.zero)?;
            if raw.tunnel != 0 || raw.adjacency != 0 {
                return Err(SlotError::ReservedNotZero);
            }
            Op::RouteRemove { prefix: raw.prefix.try_into()? }
        }
        kind::FILTER_ADD => {
            let raw: &Filter = view(body)?;
            let rule = decode_filter(raw)?;
            Op::FilterAdd { tunnel: TunnelId(raw.tunnel.get()), used: decode_filter_use(raw.used)?, rule }
        }
        kind::FILTER_CLEAR => {
            let raw: &Filter = view(body)?;
            wire::zero(&raw.as_bytes()[core::mem::offset_of!(Filter, permit)..])?;
            Op::FilterClear { tunnel: TunnelId(raw.tunnel.get()), used: decode_filter_use(raw.used)? }
        }
        kind::MEDIA_OPEN => Op::MediaOpen((*view::<wire::Media>(body)?).try_into()?),
        kind::MEDIA_CLOSE => {
            let raw: &Port = view(body)?;
            wire::zero(&raw.zero)?;
            Op::MediaClose(MediaPort(raw.media_port.get()))
        }
        kind::NEXT_HOP => {
            let raw: &NextHop = view(body)?;
            Op::NextHop { media_port: MediaPort(raw.media_port.get()), mac: MacAddr(raw.mac) }
        }
        kind::PEER_SOURCE => {
            let raw: &PeerSource = view(body)?;
            if raw.zero != 0 {
                return Err(SlotError::ReservedNotZero);
            }
            let source = match raw.port.get() {
                0 => dp::PeerSource::Unproven,
                port => dp::PeerSource::Port(port),
            };
            Op::PeerSource { media_port: MediaPort(raw.media_port.get()), source }
        }
        kind::PATH_MTU => {
            let raw: &PathMtu = view(body)?;
            if raw.zero != 0 {
                return Err(SlotError::ReservedNotZero);
            }
            let mtu = Some(raw.mtu.get()).filter(|mtu| *mtu > 0);
            Op::PathMtu { media_port: MediaPort(raw.media_port.get()), mtu }
        }
        kind::SA_ADD => Op::SaAdd(decode_sa(view(body)?)?),
        kind::SA_SELECTORS => {
            let raw: &SaSelectors = view(body)?;
            if raw.zero != 0 {
                return Err(SlotError::ReservedNotZero);
            }
            let more = wire::decode_selectors(raw.local, raw.remote)?;
            Op::SaSelectors { sa: SaId(raw.sa.get()), more }
        }
        kind::SA_REMOVE => Op::SaRemove(SaId(id()?)),
        kind::TUNNEL_BIND => {
            let raw: &TunnelSa = view(body)?;
            Op::TunnelBind { tunnel: TunnelId(raw.tunnel.get()), outbound: SaId(raw.sa.get()) }
        }
        kind::TUNNEL_UNBIND => Op::TunnelUnbind(TunnelId(id()?)),
        kind::REPLAY_TRIGGER => Op::ReplayTrigger(TunnelId(id()?)),
        kind::FLUSH_TRIGGER => Op::FlushTrigger(TunnelId(id()?)),
        kind::NAT_POLICY => Op::NatPolicy(view::<nat::Policy>(body)?.try_into()?),
        kind::NAT_RULE => {
            let (tunnel, rule) = view::<nat::Rule>(body)?.decode()?;
            Op::NatRule { tunnel, rule }
        }
        kind::NAT_REMOVE => Op::NatRemove(TunnelId(id()?)),
        kind::NAT_CLEAR => Op::NatClear(view::<nat::Clear>(body)?.decode()?),
        kind::NAT_PAGE => Op::NatPage { from: id()? },
        other => return Err(SlotError::UnknownKind(other)),
    })
}

fn decode_tunnel(raw: &TunnelAdd) -> Result<TunnelSpec, SlotError> {
    wire::zero(&raw.zero)?;
    Ok(TunnelSpec {
        tunnel: TunnelId(raw.tunnel.get()),
        inner_mtu: raw.inner_mtu.get(),
        mss_clamp: wire::boolean("MSS clamp", raw.mss_clamp)?,
        check_source: wire::boolean("source check", raw.check_source)?,
        routing_hellos: wire::boolean("routing hellos", raw.routing_hellos)?,
        own_device: wire::boolean("own device", raw.own_device)?,
        trigger_packets_max: raw.trigger_packets_max.get(),
        trigger_bytes_max: raw.trigger_bytes_max.get(),
        trigger_age_ms_max: raw.trigger_age_ms_max.get(),
    })
}

fn decode_sa(raw: &SaAdd) -> Result<SaSpec, SlotError> {
    let (key, rest) =
        raw.keymat.split_at_checked(raw.keymat_len.into()).ok_or(SlotError::BadKeymatLen(raw.keymat_len))?;
    if raw.zero != 0 || raw.zero2 != 0 || rest.iter().any(|b| *b != 0) {
        return Err(SlotError::ReservedNotZero);
    }
    Ok(SaSpec {
        sa: SaId(raw.sa.get()),
        tunnel: TunnelId(raw.tunnel.get()),
        direction: decode_direction(raw.direction)?,
        spi: Spi::new(raw.spi.get()).ok_or(SlotError::BadSpi(raw.spi.get()))?,
        media_port: MediaPort(raw.media_port.get()),
        cipher: decode_cipher(raw.cipher)?,
        keymat: SecretBox::new(key).ok_or(SlotError::BadKeymatLen(raw.keymat_len))?,
        esn: wire::boolean("ESN", raw.esn)?,
        replay_window: raw.replay_window.get(),
        selectors: wire::decode_selectors(raw.local, raw.remote)?,
        soft_bytes_max: raw.soft_bytes_max.get(),
        hard_bytes_max: raw.hard_bytes_max.get(),
    })
}
