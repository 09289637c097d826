//! The kernel's change reports, on a socket of their own. A socket filter drops those that do not concern this gateway before
//! they take room in the buffer: neighbours of other devices (each destination behind a sVTI is one), and routes by other
//! devices. A lost report is noticed (ENOBUFS) and answered with a complete poll.

use super::kernel::enlarge;
use super::routes::{DISCARD_PROTOCOL, PROTOCOL};
use rtnetlink::sys::protocols::NETLINK_ROUTE;
use rtnetlink::sys::{AsyncSocket, SocketAddr, TokioSocket};
use socket2::{SockFilter, SockRef};
use std::collections::BTreeSet;
use std::io;

/// A burst of some ten thousand reports.
const RECV_BUFFER: usize = 8 << 20;
/// A report of a device with all its statistics is about 2 KiB.
const REPORT_MAX: usize = 32 * 1024;
/// Reports taken in one go.
const BATCH: usize = 1024;

const RTM_NEWLINK: u16 = 16;
const RTM_DELLINK: u16 = 17;
const RTM_NEWADDR: u16 = 20;
const RTM_DELADDR: u16 = 21;
const RTM_NEWROUTE: u16 = 24;
const RTM_DELROUTE: u16 = 25;
const RTM_NEWNEIGH: u16 = 28;
const RTM_DELNEIGH: u16 = 29;
const IFLA_IFNAME: u16 = 3;
const RTA_OIF: u16 = 4;
/// Offsets in a report: of the type, of the device in link, address and neighbour reports, of a route's protocol, and of
/// the first attribute of a link and of a route.
const TYPE: usize = 4;
const DEVICE: usize = 20;
const ROUTE_PROTOCOL: usize = 21;
const LINK_ATTRIBUTES: usize = 32;
const ROUTE_ATTRIBUTES: usize = 28;
/// RTMGRP_LINK, _NEIGH, _IPV4_IFADDR, _IPV4_ROUTE, _IPV6_IFADDR, _IPV6_ROUTE.
const GROUPS: u32 = 0x1 | 0x4 | 0x10 | 0x40 | 0x100 | 0x400;

/// What has to be polled again.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Dirty {
    /// The WAN device and its addresses.
    pub wan: bool,
    /// Our own routes.
    pub routes: bool,
    /// Which next hop leads to each peer.
    pub hops: bool,
    /// The WAN's neighbour entries.
    pub entries: bool,
}

impl Dirty {
    pub const ALL: Self = Self { wan: true, routes: true, hops: true, entries: true };

    pub const fn any(self) -> bool {
        self.wan || self.routes || self.hops || self.entries
    }
}

impl std::ops::BitOrAssign for Dirty {
    fn bitor_assign(&mut self, other: Self) {
        self.wan |= other.wan;
        self.routes |= other.routes;
        self.hops |= other.hops;
        self.entries |= other.entries;
    }
}

/// The devices of this gateway: names, and indices while they exist.
#[derive(Clone, Debug, Default)]
pub struct Devices {
    pub wan: (String, Option<u32>),
    pub svti: Option<(String, Option<u32>)>,
    /// Names of the devices of single tunnels.
    pub own: BTreeSet<String>,
    /// Devices whose addresses these have.
    pub lenders: BTreeSet<u32>,
}

/// What was read.
#[derive(Clone, Copy, Debug, Default)]
pub struct Read {
    pub dirty: Dirty,
    pub reports: u64,
    /// Some were lost.
    pub overrun: bool,
}

pub struct Reports {
    socket: TokioSocket,
    buffer: Vec<u8>,
}

impl std::fmt::Debug for Reports {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Reports").finish_non_exhaustive()
    }
}

impl Reports {
    /// # Errors
    /// If the kernel gives no netlink socket.
    pub fn open() -> io::Result<Self> {
        let mut socket = TokioSocket::new(NETLINK_ROUTE)?;
        enlarge(socket.socket_ref(), RECV_BUFFER);
        socket.socket_mut().bind(&SocketAddr::new(0, GROUPS))?;
        let reports = Self { socket, buffer: Vec::with_capacity(REPORT_MAX) };
        reports.narrow(None);
        Ok(reports)
    }

    /// From now on the kernel reports neighbours and foreign routes of this device only.
    pub fn narrow(&self, wan: Option<u32>) {
        if let Err(error) = SockRef::from(self.socket.socket_ref()).attach_filter(&filter(wan.unwrap_or(0))) {
            // They are sorted out here, too; only the buffer fills earlier.
            tracing::debug!(%error, "no socket filter for netlink reports");
        }
    }

    /// Waits for reports and reads what is there, up to a batch. May be cancelled at any time.
    pub async fn next(&mut self, devices: &Devices) -> io::Result<Read> {
        self.buffer.clear();
        let first = std::future::poll_fn(|cx| self.socket.poll_recv(cx, &mut self.buffer)).await;
        let mut read = Read::default();
        take(&mut read, first.map(|()| &self.buffer[..]), devices)?;
        for _ in 0..BATCH {
            self.buffer.clear();
            let more = self.socket.socket_ref().recv(&mut self.buffer, libc::MSG_DONTWAIT);
            if matches!(&more, Err(e) if e.kind() == io::ErrorKind::WouldBlock) {
                break;
            }
            take(&mut read, more.map(|_| &self.buffer[..]), devices)?;
        }
        Ok(read)
    }
}

fn take(read: &mut Read, datagram: io::Result<&[u8]>, devices: &Devices) -> io::Result<()> {
    match datagram {
        Ok(mut rest) => {
            while let Some(len) = word(rest, 0).map(|l| l as usize).filter(|l| (16..=rest.len()).contains(l))
            {
                let dirty = meaning(&rest[..len], devices);
                read.reports += u64::from(dirty.any());
                read.dirty |= dirty;
                rest = rest.get(len.next_multiple_of(4)..).unwrap_or_default();
            }
            Ok(())
        }
        Err(error) if error.raw_os_error() == Some(libc::ENOBUFS) => {
            read.overrun = true;
            read.dirty = Dirty::ALL;
            Ok(())
        }
        Err(error) => Err(error),
    }
}

/// What one report makes necessary.
fn meaning(report: &[u8], devices: &Devices) -> Dirty {
    let device = word(report, DEVICE);
    let name = || {
        attribute(report, LINK_ATTRIBUTES, IFLA_IFNAME).map(|name| name.strip_suffix(&[0]).unwrap_or(name))
    };
    let is = |known: &(String, Option<u32>)| {
        (known.1.is_some() && device == known.1) || name().is_some_and(|name| name == known.0.as_bytes())
    };
    let is_own = || {
        let name = name().and_then(|name| std::str::from_utf8(name).ok());
        name.is_some_and(|name| devices.own.contains(name))
    };
    let of_wan = device.is_some() && device == devices.wan.1;
    match half(report, TYPE) {
        Some(RTM_NEWLINK | RTM_DELLINK) => {
            let wan = is(&devices.wan);
            let routes = devices.svti.as_ref().is_some_and(is) || is_own();
            Dirty { wan, hops: wan, entries: wan, routes }
        }
        Some(RTM_NEWADDR | RTM_DELADDR) => {
            let lent = device.is_some_and(|device| devices.lenders.contains(&device));
            Dirty { wan: of_wan, hops: of_wan, routes: lent, ..Dirty::default() }
        }
        Some(RTM_NEWNEIGH | RTM_DELNEIGH) => Dirty { entries: of_wan, ..Dirty::default() },
        Some(RTM_NEWROUTE | RTM_DELROUTE) => match report.get(ROUTE_PROTOCOL) {
            Some(&(PROTOCOL | DISCARD_PROTOCOL)) => Dirty { routes: true, ..Dirty::default() },
            Some(_) => {
                // Multipath routes, nexthop objects and discarding routes name no device.
                let by = attribute(report, ROUTE_ATTRIBUTES, RTA_OIF).and_then(|value| word(value, 0));
                Dirty { hops: by.is_none() || by == devices.wan.1, ..Dirty::default() }
            }
            None => Dirty::default(),
        },
        _ => Dirty::default(),
    }
}

fn half(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_ne_bytes(*bytes.get(at..)?.first_chunk()?))
}

fn word(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_ne_bytes(*bytes.get(at..)?.first_chunk()?))
}

/// The value of the first attribute of this type.
fn attribute(report: &[u8], from: usize, wanted: u16) -> Option<&[u8]> {
    let mut rest = report.get(from..)?;
    loop {
        let len = usize::from(half(rest, 0)?);
        let value = rest.get(4..len)?;
        if half(rest, 2)? == wanted {
            return Some(value);
        }
        rest = rest.get(len.next_multiple_of(4)..)?;
    }
}

/// Classic BPF (Documentation/networking/filter.rst). It loads in network order, so host-order fields are compared with
/// swapped constants.
fn filter(wan: u32) -> [SockFilter; 20] {
    const LD_H: u16 = 0x28;
    const LD_B: u16 = 0x30;
    const LD_W: u16 = 0x20;
    const LD_W_AT_X: u16 = 0x40;
    const LD_CONSTANT: u16 = 0x00;
    const LDX_CONSTANT: u16 = 0x01;
    const TAX: u16 = 0x07;
    const JEQ: u16 = 0x15;
    const RET: u16 = 0x06;
    /// SKF_AD_OFF + SKF_AD_NLATTR: the offset of the first attribute of type X at or after A, or 0.
    const FIND_ATTRIBUTE: u32 = (-0x1000_i32 + 12) as u32;
    let op = |code, k| SockFilter::new(code, 0, 0, k);
    let jeq = |k, jt, jf| SockFilter::new(JEQ, jt, jf, k);
    let kind = |kind: u16| u32::from(kind.to_be());
    [
        op(LD_H, TYPE as u32),                    // 0
        jeq(kind(RTM_NEWNEIGH), 4, 0),            // 1: to 6
        jeq(kind(RTM_DELNEIGH), 3, 0),            // 2: to 6
        jeq(kind(RTM_NEWROUTE), 4, 0),            // 3: to 8
        jeq(kind(RTM_DELROUTE), 3, 0),            // 4: to 8
        op(RET, u32::MAX),                        // 5: links and addresses
        op(LD_W, DEVICE as u32),                  // 6: neighbours
        jeq(wan.to_be(), 10, 11),                 // 7: to 18 or 19
        op(LD_B, ROUTE_PROTOCOL as u32),          // 8: routes
        jeq(u32::from(PROTOCOL), 8, 0),           // 9: to 18
        jeq(u32::from(DISCARD_PROTOCOL), 7, 0),   // 10: to 18
        op(LD_CONSTANT, ROUTE_ATTRIBUTES as u32), // 11
        op(LDX_CONSTANT, u32::from(RTA_OIF)),     // 12
        op(LD_W, FIND_ATTRIBUTE),                 // 13
        jeq(0, 3, 0),                             // 14: none, to 18
        op(TAX, 0),                               // 15
        op(LD_W_AT_X, 4),                         // 16: past the attribute's header
        jeq(wan.to_be(), 0, 1),                   // 17
        op(RET, u32::MAX),                        // 18: keep
        op(RET, 0),                               // 19: drop
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn devices() -> Devices {
        Devices {
            wan: ("wan0".into(), Some(3)),
            svti: Some(("svti0".into(), Some(9))),
            own: ["sipsec7".to_owned()].into(),
            lenders: [12].into(),
        }
    }

    /// A report of this type whose body is `body`.
    fn report(kind: u16, body: &[u8]) -> Vec<u8> {
        let mut out = u32::try_from(16 + body.len()).expect("short").to_ne_bytes().to_vec();
        out.extend(kind.to_ne_bytes());
        out.extend([0; 10]);
        out.extend(body);
        out
    }

    fn link(index: u32, name: &str) -> Vec<u8> {
        let mut body = vec![0; 4];
        body.extend(index.to_ne_bytes());
        body.extend([0; 8]);
        let name = format!("{name}\0");
        body.extend(u16::try_from(4 + name.len()).expect("short").to_ne_bytes());
        body.extend(IFLA_IFNAME.to_ne_bytes());
        body.extend(name.as_bytes());
        body
    }

    fn route(protocol: u8, by: Option<u32>) -> Vec<u8> {
        let mut body = vec![2, 16, 0, 0, 254, protocol, 0, 1, 0, 0, 0, 0];
        if let Some(by) = by {
            body.extend(8_u16.to_ne_bytes());
            body.extend(RTA_OIF.to_ne_bytes());
            body.extend(by.to_ne_bytes());
        }
        body
    }

    #[test]
    fn each_report_makes_only_what_it_concerns_dirty() {
        let of = |kind, body: &[u8]| meaning(&report(kind, body), &devices());
        let none = Dirty::default();
        let neighbour = |index: u32| [&[2, 0, 0, 0][..], &index.to_ne_bytes(), &[0; 4]].concat();
        assert_eq!(of(RTM_NEWNEIGH, &neighbour(9)), none, "a destination behind the sVTI");
        assert_eq!(of(RTM_DELNEIGH, &neighbour(3)), Dirty { entries: true, ..none });
        assert_eq!(of(RTM_NEWROUTE, &route(186, Some(7))), none, "another device");
        assert_eq!(of(RTM_NEWROUTE, &route(186, Some(3))), Dirty { hops: true, ..none });
        assert_eq!(of(RTM_DELROUTE, &route(186, None)), Dirty { hops: true, ..none });
        assert_eq!(of(RTM_DELROUTE, &route(PROTOCOL, Some(9))), Dirty { routes: true, ..none });
        assert_eq!(of(RTM_DELROUTE, &route(DISCARD_PROTOCOL, None)), Dirty { routes: true, ..none });
        assert_eq!(of(RTM_NEWLINK, &link(9, "renamed")), Dirty { routes: true, ..none });
        assert_eq!(of(RTM_NEWLINK, &link(4, "svti0")), Dirty { routes: true, ..none }, "made anew");
        assert_eq!(of(RTM_DELLINK, &link(3, "wan0")), Dirty { routes: false, ..Dirty::ALL });
        assert_eq!(of(RTM_NEWLINK, &link(4, "wan01")), none);
        assert_eq!(of(RTM_DELLINK, &link(20, "sipsec7")), Dirty { routes: true, ..none });
        assert_eq!(of(RTM_DELADDR, &neighbour(12)), Dirty { routes: true, ..none });
        assert_eq!(of(RTM_NEWADDR, &neighbour(3)), Dirty { wan: true, hops: true, ..none });
        assert_eq!(of(RTM_NEWADDR, &neighbour(4)), none);
    }

    #[test]
    fn lost_reports_are_a_complete_poll_and_broken_ones_end() {
        let mut read = Read::default();
        take(&mut read, Err(io::Error::from_raw_os_error(libc::ENOBUFS)), &devices()).expect("goes on");
        assert!(read.overrun && read.dirty == Dirty::ALL);
        assert!(take(&mut read, Err(io::ErrorKind::BrokenPipe.into()), &devices()).is_err());
        let two = [report(RTM_DELROUTE, &route(PROTOCOL, None)), report(RTM_DELLINK, &link(3, "x"))].concat();
        for len in 0..two.len() {
            let mut read = Read::default();
            take(&mut read, Ok(&two[..len]), &devices()).expect("goes on");
            assert!(read.reports <= 1);
        }
        let mut read = Read::default();
        take(&mut read, Ok(&two), &devices()).expect("goes on");
        assert!(read.reports == 2 && read.dirty == Dirty::ALL);
        // Attributes that claim to be shorter than their header, or longer than the report.
        for len in [0_u16, 3, 200] {
            let mut body = route(9, Some(3));
            body[12..14].copy_from_slice(&len.to_ne_bytes());
            assert!(meaning(&report(RTM_NEWROUTE, &body), &devices()).hops);
        }
    }
}
