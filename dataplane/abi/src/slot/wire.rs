//! Addresses, prefixes, selectors and media bindings as bytes; addresses in network order, the rest little-endian.

use super::SlotError;
use crate::layout::shared;
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV6};
use sipsec_net::dp::{self, MediaBinding, OuterDscp, SELECTORS_PER_BLOCK, Selectors};
use sipsec_net::{IpPrefix, Kbps, MacAddr, TunnelId};
use zerocopy::little_endian::{U16, U32};

const NO_ADDRESS: u8 = 0;
const IPV4: u8 = 4;
const IPV6: u8 = 6;

shared! {
    /// An IPv4 address takes the first four bytes.
    pub(crate) struct Addr {
        pub bytes: [u8; 16],
        pub family: u8,
    }

    pub(crate) struct SockAddr {
        pub addr: Addr,
        pub zero: u8,
        pub port: U16,
        pub scope_id: U32,
    }

    pub(crate) struct Prefix {
        pub addr: Addr,
        pub len: u8,
        pub zero: [u8; 2],
    }

    /// All zero where there is none.
    pub(crate) struct Selector {
        pub start: Addr,
        pub end: Addr,
        pub protocol: u8,
        pub zero: u8,
        pub port_start: U16,
        pub port_end: U16,
    }

    pub(crate) struct Media {
        pub tunnel: U32,
        pub rate_kbps: U32,
        pub inside_local: SockAddr,
        pub outside_local: SockAddr,
        pub remote: SockAddr,
        pub next_hop: [u8; 6],
        /// 0: copy the inner one, and `dscp` is zero. 1: always `dscp`.
        pub dscp_fixed: u8,
        pub dscp: u8,
    }
}

/// Errors unless every byte is zero.
pub(super) fn zero(bytes: &[u8]) -> Result<(), SlotError> {
    if bytes.iter().all(|b| *b == 0) { Ok(()) } else { Err(SlotError::ReservedNotZero) }
}

pub(super) fn boolean(field: &'static str, value: u8) -> Result<bool, SlotError> {
    match value {
        0 => Ok(false),
        1 => Ok(true),
        _ => Err(SlotError::BadCode { field, value: value.into() }),
    }
}

impl From<IpAddr> for Addr {
    fn from(addr: IpAddr) -> Self {
        match addr {
            IpAddr::V4(v4) => {
                let [a, b, c, d] = v4.octets();
                Self { bytes: [a, b, c, d, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0], family: IPV4 }
            }
            IpAddr::V6(v6) => Self { bytes: v6.octets(), family: IPV6 },
        }
    }
}

impl TryFrom<Addr> for IpAddr {
    type Error = SlotError;

    fn try_from(raw: Addr) -> Result<Self, SlotError> {
        match raw.family {
            IPV4 => {
                let [a, b, c, d, rest @ ..] = raw.bytes;
                zero(&rest)?;
                Ok(Ipv4Addr::new(a, b, c, d).into())
            }
            IPV6 => Ok(Ipv6Addr::from_octets(raw.bytes).into()),
            value => Err(SlotError::BadCode { field: "address family", value: value.into() }),
        }
    }
}

impl From<SocketAddr> for SockAddr {
    /// The flow label is not part of an address here and is left out.
    fn from(addr: SocketAddr) -> Self {
        let scope_id = if let SocketAddr::V6(v6) = addr { v6.scope_id() } else { 0 };
        Self { addr: addr.ip().into(), zero: 0, port: addr.port().into(), scope_id: scope_id.into() }
    }
}

impl TryFrom<SockAddr> for SocketAddr {
    type Error = SlotError;

    fn try_from(raw: SockAddr) -> Result<Self, SlotError> {
        zero(&[raw.zero])?;
        match IpAddr::try_from(raw.addr)? {
            IpAddr::V4(v4) if raw.scope_id == 0 => Ok((v4, raw.port.get()).into()),
            IpAddr::V4(_) => Err(SlotError::ReservedNotZero),
            IpAddr::V6(v6) => Ok(SocketAddrV6::new(v6, raw.port.get(), 0, raw.scope_id.get()).into()),
        }
    }
}

impl Prefix {
    /// All zero, which is no prefix.
    pub(super) const NONE: Self =
        Self { addr: Addr { bytes: [0; 16], family: NO_ADDRESS }, len: 0, zero: [0; 2] };
}

impl From<IpPrefix> for Prefix {
    fn from(prefix: IpPrefix) -> Self {
        Self { addr: prefix.addr().into(), len: prefix.prefix_len(), zero: [0; 2] }
    }
}

impl TryFrom<Prefix> for IpPrefix {
    type Error = SlotError;

    fn try_from(raw: Prefix) -> Result<Self, SlotError> {
        zero(&raw.zero)?;
        Self::new(raw.addr.try_into()?, raw.len).map_err(|_| SlotError::BadPrefix)
    }
}

impl Selector {
    const NONE: Self = Self {
        start: Addr { bytes: [0; 16], family: NO_ADDRESS },
        end: Addr { bytes: [0; 16], family: NO_ADDRESS },
        protocol: 0,
        zero: 0,
        port_start: U16::ZERO,
        port_end: U16::ZERO,
    };

    fn encode(selector: &dp::Selector) -> Self {
        Self {
            start: selector.addr_start.into(),
            end: selector.addr_end.into(),
            protocol: selector.protocol,
            zero: 0,
            port_start: selector.port_start.into(),
            port_end: selector.port_end.into(),
        }
    }

    fn decode(self) -> Result<Option<dp::Selector>, SlotError> {
        use zerocopy::IntoBytes;
        if self.start.family == NO_ADDRESS {
            return zero(self.as_bytes()).map(|()| None);
        }
        zero(&[self.zero])?;
        if self.start.family != self.end.family {
            return Err(SlotError::MixedFamilies);
        }
        Ok(Some(dp::Selector {
            addr_start: self.start.try_into()?,
            addr_end: self.end.try_into()?,
            protocol: self.protocol,
            port_start: self.port_start.get(),
            port_end: self.port_end.get(),
        }))
    }
}

/// One side of [`Selectors`].
pub(super) type SelectorList = [Selector; SELECTORS_PER_BLOCK];

pub(super) fn encode_selectors(selectors: &Selectors) -> (SelectorList, SelectorList) {
    let side = |list: &[Option<dp::Selector>; SELECTORS_PER_BLOCK]| {
        list.each_ref().map(|s| s.as_ref().map_or(Selector::NONE, Selector::encode))
    };
    (side(&selectors.local), side(&selectors.remote))
}

pub(super) fn decode_selectors(local: SelectorList, remote: SelectorList) -> Result<Selectors, SlotError> {
    let side = |list: SelectorList| {
        let mut out = [None; SELECTORS_PER_BLOCK];
        for (to, from) in out.iter_mut().zip(list) {
            *to = from.decode()?;
        }
        Ok(out)
    };
    Ok(Selectors { local: side(local)?, remote: side(remote)? })
}

impl From<&MediaBinding> for Media {
    fn from(binding: &MediaBinding) -> Self {
        let (dscp_fixed, dscp) = match binding.outer_dscp {
            OuterDscp::CopyInner => (0, 0),
            OuterDscp::Fixed(dscp) => (1, dscp),
        };
        Self {
            tunnel: binding.tunnel.0.into(),
            rate_kbps: binding.rate.0.into(),
            inside_local: binding.inside_local.into(),
            outside_local: binding.outside_local.into(),
            remote: binding.remote.into(),
            next_hop: binding.next_hop.0,
            dscp_fixed,
            dscp,
        }
    }
}

impl TryFrom<Media> for MediaBinding {
    type Error = SlotError;

    fn try_from(raw: Media) -> Result<Self, SlotError> {
        let outer_dscp = match (boolean("outer DSCP mode", raw.dscp_fixed)?, raw.dscp) {
            (false, 0) => OuterDscp::CopyInner,
            (false, _) => return Err(SlotError::ReservedNotZero),
            (true, dscp @ 0..=63) => OuterDscp::Fixed(dscp),
            (true, dscp) => return Err(SlotError::BadDscp(dscp)),
        };
        Ok(Self {
            tunnel: TunnelId(raw.tunnel.get()),
            inside_local: raw.inside_local.try_into()?,
            outside_local: raw.outside_local.try_into()?,
            remote: raw.remote.try_into()?,
            rate: Kbps(raw.rate_kbps.get()),
            next_hop: MacAddr(raw.next_hop),
            outer_dscp,
        })
    }
}
