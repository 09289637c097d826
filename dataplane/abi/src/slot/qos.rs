//! Slots of `TunnelQos` and `TunnelQosFilters`.

use super::{SlotError, wire};
use crate::layout::shared;
use sipsec_net::dp::OuterDscp;
use sipsec_net::qos::{
    CLASSES_MAX, ClassSpec, FILTERS_PER_BLOCK, Filter, Police, PoliceAction, PortRange, QosFilters, QosSpec,
    Share,
};
use sipsec_net::{IpPrefix, TunnelId};
use zerocopy::IntoBytes;
use zerocopy::little_endian::{U16, U32, U64};

shared! {
    pub(crate) struct QosShare {
        pub value: U32,
        /// 0: none, and the value is zero. 1: kbps. 2: per cent.
        pub unit: u8,
        pub zero: [u8; 3],
    }

    pub(crate) struct QosClass {
        pub guarantee: QosShare,
        pub ceiling: QosShare,
        pub priority: u8,
        /// 0: the call's. 1: copy the inner one. 2: always `dscp`.
        pub dscp_mode: u8,
        pub dscp: u8,
        pub zero: [u8; 5],
    }

    pub(crate) struct TunnelQos {
        pub tunnel: U32,
        pub classes_len: u8,
        /// 0: off. 1: count. 2: mark with `police_dscp`. 3: drop.
        pub police: u8,
        pub police_dscp: u8,
        pub zero: u8,
        pub burst_ms: U16,
        pub zero2: [u8; 6],
        /// All zero from `classes_len` on.
        pub classes: [QosClass; CLASSES_MAX],
    }

    /// All zero where there is none.
    pub(crate) struct QosFilter {
        pub dscp: U64,
        pub present: u8,
        pub class: u8,
        pub protocol: u8,
        pub has_source: u8,
        pub has_destination: u8,
        pub zero: [u8; 3],
        pub source_first: U16,
        pub source_last: U16,
        pub destination_first: U16,
        pub destination_last: U16,
        pub source: wire::Prefix,
        pub destination: wire::Prefix,
    }

    pub(crate) struct TunnelQosFilters {
        pub tunnel: U32,
        pub zero: U32,
        pub filters: [QosFilter; FILTERS_PER_BLOCK],
    }
}

fn bad(field: &'static str, value: u8) -> SlotError {
    SlotError::BadCode { field, value: value.into() }
}

fn dscp(value: u8) -> Result<u8, SlotError> {
    if value < 64 { Ok(value) } else { Err(SlotError::BadDscp(value)) }
}

fn encode_share(share: Option<Share>) -> QosShare {
    let (value, unit) = match share {
        None => (0, 0),
        Some(Share::Kbps(kbps)) => (kbps, 1),
        Some(Share::Percent(percent)) => (percent.into(), 2),
    };
    QosShare { value: value.into(), unit, zero: [0; 3] }
}

fn decode_share(raw: &QosShare) -> Result<Option<Share>, SlotError> {
    wire::zero(&raw.zero)?;
    let value = raw.value.get();
    match (raw.unit, u8::try_from(value)) {
        (0, Ok(0)) => Ok(None),
        (0, _) => Err(SlotError::ReservedNotZero),
        (1, _) => Ok(Some(Share::Kbps(value))),
        (2, Ok(percent)) => Ok(Some(Share::Percent(percent))),
        (unit, _) => Err(bad("unit of a share", unit)),
    }
}

const NO_CLASS: QosClass = {
    const NONE: QosShare = QosShare { value: U32::ZERO, unit: 0, zero: [0; 3] };
    QosClass { guarantee: NONE, ceiling: NONE, priority: 0, dscp_mode: 0, dscp: 0, zero: [0; 5] }
};

fn encode_class(class: &ClassSpec) -> QosClass {
    let (dscp_mode, dscp) = match class.outer_dscp {
        None => (0, 0),
        Some(OuterDscp::CopyInner) => (1, 0),
        Some(OuterDscp::Fixed(dscp)) => (2, dscp),
    };
    QosClass {
        guarantee: encode_share(class.guarantee),
        ceiling: encode_share(class.ceiling),
        priority: class.priority.into(),
        dscp_mode,
        dscp,
        zero: [0; 5],
    }
}

fn decode_class(raw: &QosClass) -> Result<ClassSpec, SlotError> {
    wire::zero(&raw.zero)?;
    let outer_dscp = match (raw.dscp_mode, raw.dscp) {
        (0, 0) => None,
        (1, 0) => Some(OuterDscp::CopyInner),
        (0 | 1, _) => return Err(SlotError::ReservedNotZero),
        (2, fixed) => Some(OuterDscp::Fixed(dscp(fixed)?)),
        (mode, _) => return Err(bad("outer DSCP mode of a class", mode)),
    };
    Ok(ClassSpec {
        guarantee: decode_share(&raw.guarantee)?,
        ceiling: decode_share(&raw.ceiling)?,
        priority: wire::boolean("priority of a class", raw.priority)?,
        outer_dscp,
    })
}

pub(super) fn encode(spec: &QosSpec) -> TunnelQos {
    let (police, police_dscp) = match spec.police.action {
        PoliceAction::Off => (0, 0),
        PoliceAction::Count => (1, 0),
        PoliceAction::Mark(dscp) => (2, dscp),
        PoliceAction::Drop => (3, 0),
    };
    let mut classes = [NO_CLASS; CLASSES_MAX];
    for (to, from) in classes.iter_mut().zip(spec.classes()) {
        *to = encode_class(from);
    }
    TunnelQos {
        tunnel: spec.tunnel.0.into(),
        classes_len: spec.classes().len() as u8,
        police,
        police_dscp,
        zero: 0,
        burst_ms: spec.police.burst_ms.into(),
        zero2: [0; 6],
        classes,
    }
}

pub(super) fn decode(raw: &TunnelQos) -> Result<QosSpec, SlotError> {
    wire::zero(&[raw.zero])?;
    wire::zero(&raw.zero2)?;
    let action = match (raw.police, raw.police_dscp) {
        (2, mark) => PoliceAction::Mark(dscp(mark)?),
        (0, 0) => PoliceAction::Off,
        (1, 0) => PoliceAction::Count,
        (3, 0) => PoliceAction::Drop,
        (0 | 1 | 3, _) => return Err(SlotError::ReservedNotZero),
        (other, _) => return Err(bad("policer action", other)),
    };
    let too_many = || bad("number of classes", raw.classes_len);
    let (used, rest) = raw.classes.split_at_checked(raw.classes_len.into()).ok_or_else(too_many)?;
    wire::zero(rest.as_bytes())?;
    let mut classes = [ClassSpec::default(); CLASSES_MAX];
    for (to, from) in classes.iter_mut().zip(used) {
        *to = decode_class(from)?;
    }
    let mut spec =
        QosSpec::new(TunnelId(raw.tunnel.get())).with_classes(&classes[..used.len()]).ok_or_else(too_many)?;
    spec.police = Police { action, burst_ms: raw.burst_ms.get() };
    Ok(spec)
}

const NO_PREFIX: wire::Prefix =
    wire::Prefix { addr: wire::Addr { bytes: [0; 16], family: 0 }, len: 0, zero: [0; 2] };

fn encode_filter(filter: Option<&Filter>) -> QosFilter {
    let prefix = |p: Option<IpPrefix>| p.map_or(NO_PREFIX, Into::into);
    let (present, any) = (filter.is_some(), Filter::any(0));
    let f = filter.unwrap_or(&any);
    let number = |n: u16| if present { n } else { 0 };
    QosFilter {
        dscp: if present { f.dscp } else { 0 }.into(),
        present: present.into(),
        class: f.class,
        protocol: f.protocol,
        has_source: f.source.is_some().into(),
        has_destination: f.destination.is_some().into(),
        zero: [0; 3],
        source_first: number(f.source_ports.first).into(),
        source_last: number(f.source_ports.last).into(),
        destination_first: number(f.destination_ports.first).into(),
        destination_last: number(f.destination_ports.last).into(),
        source: prefix(f.source),
        destination: prefix(f.destination),
    }
}

fn decode_filter(raw: &QosFilter) -> Result<Option<Filter>, SlotError> {
    if !wire::boolean("presence of a filter", raw.present)? {
        return wire::zero(raw.as_bytes()).map(|()| None);
    }
    wire::zero(&raw.zero)?;
    let prefix = |has: u8, raw: wire::Prefix| {
        if wire::boolean("presence of a prefix", has)? {
            return IpPrefix::try_from(raw).map(Some);
        }
        wire::zero(raw.as_bytes()).map(|()| None)
    };
    let ports = |first: U16, last: U16| PortRange { first: first.get(), last: last.get() };
    Ok(Some(Filter {
        class: raw.class,
        dscp: raw.dscp.get(),
        source: prefix(raw.has_source, raw.source)?,
        destination: prefix(raw.has_destination, raw.destination)?,
        protocol: raw.protocol,
        source_ports: ports(raw.source_first, raw.source_last),
        destination_ports: ports(raw.destination_first, raw.destination_last),
    }))
}

pub(super) fn encode_filters(more: &QosFilters) -> TunnelQosFilters {
    let filters = more.filters.each_ref().map(|f| encode_filter(f.as_ref()));
    TunnelQosFilters { tunnel: more.tunnel.0.into(), zero: U32::ZERO, filters }
}

pub(super) fn decode_filters(raw: &TunnelQosFilters) -> Result<QosFilters, SlotError> {
    if raw.zero != 0 {
        return Err(SlotError::ReservedNotZero);
    }
    let mut filters = [None; FILTERS_PER_BLOCK];
    for (to, from) in filters.iter_mut().zip(&raw.filters) {
        *to = decode_filter(from)?;
    }
    Ok(QosFilters { tunnel: TunnelId(raw.tunnel.get()), filters })
}
