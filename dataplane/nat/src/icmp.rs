//! ICMP errors (RFC 5508 §4 and §5): what they quote is translated as the packet itself was, the other way round. They open
//! nothing and keep nothing alive.

use crate::nat::Nat;
use crate::rewrite::{self, End, Header, Quoted};
use crate::space::{Choice, Space};
use crate::table::STATIC;
use crate::tcp::Way;
use core::net::{Ipv4Addr, SocketAddrV4};
use sipsec_net::nat::NatProtocol;
use sipsec_net::{DropReason, checksum};

/// The inside's end of the quoted packet as it is to be.
#[derive(Clone, Copy, Debug)]
struct NewQuoted {
    address: Ipv4Addr,
    port: Option<u16>,
}

impl Nat {
    /// `remote` is the new address of the error's far end, if it has one.
    pub(crate) fn icmp_error(
        &self,
        row: u32,
        data: &mut [u8],
        header: &Header,
        way: Way,
        remote: Option<Ipv4Addr>,
    ) -> Result<bool, DropReason> {
        let Some(space) = self.spaces.get(row) else { return Ok(false) };
        // RFC 5508 REQ-3; of a fragment it cannot be told. The checksum of the quoted header is let be: routers are known to
        // quote a TTL that they have changed.
        let is_whole = !header.first_fragment;
        if is_whole && checksum::finish(checksum::sum(data.get(header.upper..).unwrap_or_default(), 0)) != 0 {
            return Err(DropReason::NatMalformed);
        }
        let quoted = Quoted::read(data, header).ok_or(DropReason::NatMalformed)?;
        // An error goes the other way than the packet that it is about.
        let (near, far) = match way {
            Way::Out => (End::Source, End::Destination),
            Way::Back => (End::Destination, End::Source),
        };
        let quoted_far = quoted.header.address(near);
        let new_far = match way {
            Way::Out => space.outside(quoted_far),
            Way::Back => space.outside_back(quoted_far),
        };
        let inside = match way {
            Way::Out => self.error_out(row, space, data, header, &quoted, new_far.unwrap_or(quoted_far)),
            Way::Back => self.error_back(row, space, data, header, &quoted),
        }?;
        if let Some(new) = inside {
            quoted.set(data, header, far, new.address, new.port);
            // RFC 5508 REQ-4 c: to the host; REQ-5 c: from the sender's own global address, if it has one.
            let own = match way {
                Way::Out => space.inside(header.source),
                Way::Back => None,
            };
            rewrite::set(data, header, near, own.unwrap_or(new.address), None);
        }
        if let Some(new) = new_far {
            quoted.set(data, header, near, new, None);
        }
        if let Some(new) = remote {
            rewrite::set(data, header, far, new, None);
        }
        Ok(inside.is_some() || new_far.is_some() || remote.is_some())
    }

    /// About a packet that came in to a host inside.
    fn error_out(
        &self,
        row: u32,
        space: &Space,
        data: &[u8],
        header: &Header,
        quoted: &Quoted,
        remote: Ipv4Addr,
    ) -> Result<Option<NewQuoted>, DropReason> {
        let host = quoted.header.destination;
        let endpoints = quoted.endpoints(data);
        let local = endpoints.map(|e| (e.protocol, SocketAddrV4::new(host, e.destination)));
        let of_port_rule =
            local.ok().and_then(|(protocol, local)| self.table.find_local(row, STATIC, protocol, local));
        let mapping = match of_port_rule {
            Some(mapping) => mapping,
            None => {
                if let Some(address) = space.inside(host) {
                    return Ok(Some(NewQuoted { address, port: None }));
                }
                let Choice::Overload { rule, is_own } = space.choose(host, remote) else {
                    // The host is not translated; its router may be one that no rule lets out.
                    return match space.choose(header.source, header.destination) {
                        Choice::Overload { is_own: false, .. } => Err(DropReason::NatNoTranslation),
                        _ => Ok(None),
                    };
                };
                let found =
                    local.ok().and_then(|(protocol, l)| self.table.find_local(row, rule, protocol, l));
                match found {
                    Some(mapping) => mapping,
                    None if is_own => return Ok(None),
                    None => return Err(local.err().unwrap_or(DropReason::NatNoTranslation)),
                }
            }
        };
        let mapped = self.table.mapping(mapping).ok_or(DropReason::NatNoTranslation)?;
        let e = endpoints?;
        self.known(mapping, e.protocol, SocketAddrV4::new(remote, e.source))?;
        Ok(Some(NewQuoted { address: *mapped.global.ip(), port: Some(mapped.global.port()) }))
    }

    /// About a packet that a host inside has sent.
    fn error_back(
        &self,
        row: u32,
        space: &Space,
        data: &[u8],
        header: &Header,
        quoted: &Quoted,
    ) -> Result<Option<NewQuoted>, DropReason> {
        let global = quoted.header.source;
        let Some(is_own) = space.shared(global) else {
            return match space.inside_back(global) {
                Some(address) => Ok(Some(NewQuoted { address, port: None })),
                // It is addressed to something inside, but not about anything that this has sent.
                None if space.is_inside_global(header.destination.into()) => {
                    Err(DropReason::NatNoTranslation)
                }
                None => Ok(None),
            };
        };
        let endpoints = quoted.endpoints(data);
        let found = endpoints.and_then(|e| {
            let global = SocketAddrV4::new(global, e.source);
            self.table.find_global(row, e.protocol, global).ok_or(DropReason::NatNoTranslation)
        });
        let mapping = match (found, space.inside_back(global)) {
            (Ok(mapping), _) => mapping,
            (Err(_), Some(address)) => return Ok(Some(NewQuoted { address, port: None })),
            (Err(_), None) if is_own => return Ok(None),
            (Err(reason), None) => return Err(reason),
        };
        let mapped = self.table.mapping(mapping).ok_or(DropReason::NatNoTranslation)?;
        let e = endpoints?;
        self.known(mapping, e.protocol, SocketAddrV4::new(quoted.header.destination, e.destination))?;
        if header.destination != global {
            return Err(DropReason::NatNoTranslation);
        }
        Ok(Some(NewQuoted { address: *mapped.local.ip(), port: Some(mapped.local.port()) }))
    }

    /// RFC 5508 REQ-4: only about packets of a session.
    fn known(&self, mapping: u32, protocol: NatProtocol, remote: SocketAddrV4) -> Result<(), DropReason> {
        let port = if protocol == NatProtocol::Icmp { 0 } else { remote.port() };
        let session = self.table.find_session(mapping, SocketAddrV4::new(*remote.ip(), port));
        session.map(|_| ()).ok_or(DropReason::NatNoTranslation)
    }
}
