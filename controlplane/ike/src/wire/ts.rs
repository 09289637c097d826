//! Traffic Selectors (RFC 7296 §3.13).

use super::reader::Reader;
use super::{Chain, ParseError, PayloadType};
use core::net::IpAddr;
use sipsec_net::dp::Selector;

const TS_IPV4_ADDR_RANGE: u8 = 7;
const TS_IPV6_ADDR_RANGE: u8 = 8;

/// The selectors of a payload that we can express. Unknown types are left out: RFC 7296 §2.9 lets the responder
/// narrow to what it supports.
pub(crate) fn parse(body: &[u8]) -> Result<Vec<Selector>, ParseError> {
    let mut r = Reader::new(body, "traffic selector");
    let count = r.u8()?;
    r.take(3)?;
    let mut out = Vec::with_capacity(usize::from(count));
    for _ in 0..count {
        let kind = r.u8()?;
        let protocol = r.u8()?;
        let len = usize::from(r.u16()?);
        let body = r.take(len.checked_sub(4).ok_or(ParseError::Length("traffic selector"))?)?;
        let mut b = Reader::new(body, "traffic selector");
        let (addr_start, addr_end, port_start, port_end) = match kind {
            TS_IPV4_ADDR_RANGE => {
                let ports = (b.u16()?, b.u16()?);
                (IpAddr::from(b.array::<4>()?), IpAddr::from(b.array::<4>()?), ports.0, ports.1)
            }
            TS_IPV6_ADDR_RANGE => {
                let ports = (b.u16()?, b.u16()?);
                (IpAddr::from(b.array::<16>()?), IpAddr::from(b.array::<16>()?), ports.0, ports.1)
            }
            _ => continue,
        };
        b.end()?;
        // RFC 7296 §3.13.1: start 65535 and end 0 means OPAQUE; the dataplane has no such selector.
        if port_start > port_end || addr_start > addr_end {
            continue;
        }
        out.push(Selector { addr_start, addr_end, protocol, port_start, port_end });
    }
    r.end()?;
    Ok(out)
}

fn encode(selectors: &[Selector]) -> Vec<u8> {
    let count = u8::try_from(selectors.len()).expect("lists are bounded by the payload's count");
    let mut out = vec![count, 0, 0, 0];
    for s in selectors {
        let (kind, len) =
            if s.addr_start.is_ipv4() { (TS_IPV4_ADDR_RANGE, 16u16) } else { (TS_IPV6_ADDR_RANGE, 40) };
        out.extend_from_slice(&[kind, s.protocol]);
        out.extend_from_slice(&len.to_be_bytes());
        out.extend_from_slice(&s.port_start.to_be_bytes());
        out.extend_from_slice(&s.port_end.to_be_bytes());
        for addr in [s.addr_start, s.addr_end] {
            match addr {
                IpAddr::V4(a) => out.extend_from_slice(&a.octets()),
                IpAddr::V6(a) => out.extend_from_slice(&a.octets()),
            }
        }
    }
    out
}

impl Chain {
    pub fn ts(&mut self, kind: PayloadType, selectors: &[Selector]) -> &mut Self {
        self.push(kind, &encode(selectors))
    }
}
