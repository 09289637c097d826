//! The ways of a packet. Of each way one function decides, and everything that it changes is changed at its end.

use crate::fragments::{Datagram, Translated};
use crate::nat::{Nat, second};
use crate::rewrite::{self, End, Endpoints, Header, IcmpKind};
use crate::sessions::Met;
use crate::space::{Choice, Space};
use crate::table::STATIC;
use crate::tcp::Way;
use core::net::{Ipv4Addr, SocketAddrV4};
use sipsec_net::nat::{NatFiltering, NatProtocol};
use sipsec_net::{DropReason, Instant, icmp};

/// The new values of one end of a packet.
#[derive(Clone, Copy, Debug)]
pub(crate) struct NewEnd {
    pub address: Ipv4Addr,
    /// `None`: as it is.
    pub port: Option<u16>,
}

impl NewEnd {
    const fn of(endpoint: SocketAddrV4) -> Self {
        Self { address: *endpoint.ip(), port: Some(endpoint.port()) }
    }

    const fn address(address: Ipv4Addr) -> Self {
        Self { address, port: None }
    }
}

/// What becomes of the inside's end; the outside's end is a matter of networks alone.
pub(crate) type Decision = Result<Option<NewEnd>, DropReason>;

const UNTOUCHED: Decision = Ok(None);

impl Nat {
    /// A whole IP packet from inside, on its way into the tunnel in this place. Whether it has changed.
    ///
    /// # Errors
    /// It must not go: it would bear an address that is not the tunnel's.
    pub fn outbound(&mut self, now: Instant, tunnel: u32, data: &mut [u8]) -> Result<bool, DropReason> {
        self.translate(now, tunnel, data, Way::Out)
    }

    /// A whole IP packet that came through the tunnel in this place. Whether it has changed.
    ///
    /// # Errors
    /// It belongs to nothing inside.
    pub fn inbound(&mut self, now: Instant, tunnel: u32, data: &mut [u8]) -> Result<bool, DropReason> {
        self.translate(now, tunnel, data, Way::Back)
    }

    fn translate(
        &mut self,
        now: Instant,
        tunnel: u32,
        data: &mut [u8],
        way: Way,
    ) -> Result<bool, DropReason> {
        let Some(row) = self.space_of(tunnel) else { return Ok(false) };
        let Some(space) = self.spaces.get(row) else { return Ok(false) };
        if data.first().is_some_and(|first| first >> 4 == 6) {
            return space.translate_v6(data, way);
        }
        let header = Header::read(data).ok_or(DropReason::NatMalformed)?;
        let second = second(now);
        // The LAN side's end of a packet, and the other one.
        let (near, far) = match way {
            Way::Out => (End::Source, End::Destination),
            Way::Back => (End::Destination, End::Source),
        };
        let remote = match way {
            Way::Out => space.outside(header.destination),
            Way::Back => space.outside_back(header.source),
        };
        let datagram = |h: &Header| Datagram {
            space: row,
            is_out: way == Way::Out,
            source: h.source,
            destination: h.destination,
            protocol: h.protocol,
            identification: h.identification,
        };
        if header.later_fragment
            && let Some(to) = self.fragments.find(second, &datagram(&header))
        {
            rewrite::set(data, &header, End::Source, to.source, None);
            rewrite::set(data, &header, End::Destination, to.destination, None);
            return Ok(true);
        }
        let is_icmp = header.protocol == icmp::PROTOCOL_V4 && !header.later_fragment;
        if is_icmp && header.icmp_kind(data) == Some(IcmpKind::Error) {
            return self.icmp_error(row, data, &header, way, remote);
        }
        let decided = match way {
            Way::Out => self.out(row, second, data, &header, remote.unwrap_or(header.destination)),
            Way::Back => self.back(row, second, data, &header),
        }?;
        if let Some(new) = decided {
            rewrite::set(data, &header, near, new.address, new.port);
        }
        if let Some(remote) = remote {
            rewrite::set(data, &header, far, remote, None);
        }
        // Only translations with ports have fragments that do not tell by themselves what they are.
        if header.first_fragment
            && decided.is_some_and(|new| new.port.is_some())
            && let Some(after) = Header::read(data)
        {
            let translated = Translated { source: after.source, destination: after.destination };
            self.fragments.put(second, datagram(&header), translated);
        }
        Ok(decided.is_some() || remote.is_some())
    }

    /// `remote` is the destination as the peer has it.
    #[inline]
    fn out(&mut self, row: u32, second: u32, data: &[u8], header: &Header, remote: Ipv4Addr) -> Decision {
        let Some(space) = self.spaces.get(row) else { return UNTOUCHED };
        let endpoints = header.endpoints(data);
        if let Some(mapping) = self.port_rule(row, space, header.source, &endpoints)? {
            return self.meet(mapping, Way::Out, second, data, header, remote);
        }
        if let Some(global) = space.inside(header.source) {
            return Ok(Some(NewEnd::address(global)));
        }
        let Choice::Overload { rule, is_own } = space.choose(header.source, remote) else { return UNTOUCHED };
        let e = match endpoints {
            // The gateway's own packets bear the right address already.
            Err(_) if is_own => return UNTOUCHED,
            endpoints => endpoints?,
        };
        let local = SocketAddrV4::new(header.source, e.source);
        if let Some(mapping) = self.table.find_local(row, rule, e.protocol, local) {
            return self.meet(mapping, Way::Out, second, data, header, remote);
        }
        // RFC 5508 §3.1: a reply opens no translation.
        if e.protocol == NatProtocol::Icmp && header.icmp_kind(data) != Some(IcmpKind::Request) {
            return if is_own { UNTOUCHED } else { Err(DropReason::NatNoTranslation) };
        }
        let mapping = self.open_mapping(row, rule, e.protocol, local, is_own)?;
        self.meet(mapping, Way::Out, second, data, header, remote)
    }

    /// The mapping of the port rule whose inside end this is.
    #[inline]
    fn port_rule(
        &self,
        row: u32,
        space: &Space,
        source: Ipv4Addr,
        endpoints: &Result<Endpoints, DropReason>,
    ) -> Result<Option<u32>, DropReason> {
        if space.ports.is_empty() {
            return Ok(None);
        }
        match endpoints {
            Ok(e) => Ok(self.table.find_local(row, STATIC, e.protocol, SocketAddrV4::new(source, e.source))),
            // It may be a part of what the port rule's host sends.
            Err(DropReason::NatFragment)
                if space.inside(source).is_none() && space.ports.iter().any(|r| *r.local.ip() == source) =>
            {
                Err(DropReason::NatFragment)
            }
            Err(_) => Ok(None),
        }
    }

    #[inline]
    fn back(&mut self, row: u32, second: u32, data: &[u8], header: &Header) -> Decision {
        let Some(space) = self.spaces.get(row) else { return UNTOUCHED };
        let Some(is_own) = space.shared(header.destination) else {
            return Ok(space.inside_back(header.destination).map(NewEnd::address));
        };
        let endpoints = header.endpoints(data);
        let found = endpoints.and_then(|e| {
            let global = SocketAddrV4::new(header.destination, e.destination);
            self.table.find_global(row, e.protocol, global).ok_or(DropReason::NatNoTranslation)
        });
        match (found, space.inside_back(header.destination)) {
            // RFC 5508 §3.1: a request opens no translation from outside; it is for the gateway.
            (Ok(_), _) if is_own && header.icmp_kind_of(data) == Some(IcmpKind::Request) => UNTOUCHED,
            (Ok(mapping), _) => self.meet(mapping, Way::Back, second, data, header, header.source),
            (Err(_), Some(local)) => Ok(Some(NewEnd::address(local))),
            (Err(_), None) if is_own => UNTOUCHED,
            (Err(reason), None) => Err(reason),
        }
    }

    /// The packet is of this mapping: of one of its sessions, or of a new one if it may open one.
    #[inline]
    fn meet(
        &mut self,
        row: u32,
        way: Way,
        second: u32,
        data: &[u8],
        header: &Header,
        remote: Ipv4Addr,
    ) -> Decision {
        let mapping = *self.table.mapping(row).ok_or(DropReason::NatNoTranslation)?;
        let e = header.endpoints(data)?;
        let port = match (mapping.protocol, way) {
            (NatProtocol::Icmp, _) => 0,
            (_, Way::Out) => e.port(End::Destination),
            (_, Way::Back) => e.port(End::Source),
        };
        let remote = SocketAddrV4::new(remote, port);
        let met = Met { second, way, tcp_flags: header.tcp_flags(data), remote };
        match self.table.find_session(row, remote) {
            Some(session) => self.touch(session, &met),
            None => {
                if way == Way::Back {
                    let is_query = mapping.protocol == NatProtocol::Icmp;
                    let lets_in = mapping.is_static()
                        || !is_query
                            && match self.policy.filtering {
                                NatFiltering::EndpointIndependent => true,
                                NatFiltering::AddressDependent => self.table.knows_address(row, *remote.ip()),
                                NatFiltering::AddressAndPortDependent => false,
                            };
                    if !lets_in {
                        return Err(DropReason::NatFiltered);
                    }
                }
                self.open_session(row, &met)?;
            }
        }
        Ok(Some(NewEnd::of(match way {
            Way::Out => mapping.global,
            Way::Back => mapping.local,
        })))
    }
}
