//! Layer-2 addresses of next hops. Media goes past the kernel, so nothing else would make it look for them.

use futures_util::StreamExt;
use netlink_packet_route::AddressFamily;
use netlink_packet_route::neighbour::{
    NeighbourAddress, NeighbourAttribute, NeighbourFlags, NeighbourMessage, NeighbourState,
};
use netlink_packet_route::route::{RouteAddress, RouteAttribute, RouteMessage, RouteVia};
use rtnetlink::{Handle, RouteMessageBuilder};
use sipsec_net::{MacAddr, MediaPort};
use std::collections::{BTreeMap, HashMap, HashSet};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::Duration;
use tokio::time::Instant;

/// A call whose next hop is not found by then has failed long ago.
const SEARCH_MAX: Duration = Duration::from_secs(300);

#[derive(Debug)]
struct Target {
    remote: IpAddr,
    since: Instant,
    told: Option<MacAddr>,
}

#[derive(Debug)]
pub struct Neighbours {
    handle: Handle,
    /// One for each live media port, so at most 65,536.
    targets: BTreeMap<MediaPort, Target>,
    /// Whether entries in use are to be proven again.
    verify: bool,
}

impl Neighbours {
    pub const fn new(handle: Handle) -> Self {
        Self { handle, targets: BTreeMap::new(), verify: false }
    }

    pub fn watch(&mut self, media_port: MediaPort, remote: IpAddr) {
        self.targets.insert(media_port, Target { remote, since: Instant::now(), told: None });
    }

    pub fn forget(&mut self, media_port: MediaPort) {
        self.targets.remove(&media_port);
    }

    pub fn any(&self) -> bool {
        !self.targets.is_empty()
    }

    pub fn unresolved(&self) -> bool {
        self.targets.values().any(|t| t.told.is_none())
    }

    /// The next look makes the kernel verify what is in use: since our packets pass it by, it would never know that a
    /// neighbour has gone.
    pub const fn verify(&mut self) {
        self.verify = true;
    }

    /// Next hops that are new or have changed.
    pub async fn look(&mut self, device: u32) -> Vec<(MediaPort, MacAddr)> {
        let mut known: HashMap<IpAddr, Option<MacAddr>> = HashMap::new();
        let mut tables: HashMap<bool, HashMap<IpAddr, Entry>> = HashMap::new();
        let mut provoked: HashSet<IpAddr> = HashSet::new();
        let verify = std::mem::take(&mut self.verify);
        let mut out = Vec::new();
        self.targets.retain(|_, t| t.told.is_some() || t.since.elapsed() < SEARCH_MAX);
        for (media_port, target) in &mut self.targets {
            let mac = match known.get(&target.remote) {
                Some(mac) => *mac,
                None => {
                    let hop = next_hop(&self.handle, device, target.remote).await;
                    let v6 = target.remote.is_ipv6();
                    if let std::collections::hash_map::Entry::Vacant(slot) = tables.entry(v6) {
                        slot.insert(table(&self.handle, device, v6).await);
                    }
                    let entry = hop.and_then(|hop| tables.get(&v6)?.get(&hop).copied());
                    let mac = entry.filter(|e| e.usable).and_then(|e| e.mac);
                    if let Some(hop) = hop
                        && (mac.is_none() || verify)
                        && provoked.insert(hop)
                    {
                        provoke(&self.handle, device, hop).await;
                    }
                    known.insert(target.remote, mac);
                    mac
                }
            };
            if let Some(mac) = mac
                && target.told != Some(mac)
            {
                target.told = Some(mac);
                out.push((*media_port, mac));
            }
        }
        out
    }
}

#[derive(Clone, Copy, Debug)]
struct Entry {
    usable: bool,
    mac: Option<MacAddr>,
}

/// The gateway, or the peer itself if it is on the link.
async fn next_hop(handle: &Handle, device: u32, remote: IpAddr) -> Option<IpAddr> {
    // The device is given, so that a route into the tunnel cannot carry the tunnel's own packets.
    let query: RouteMessage = match remote {
        IpAddr::V4(ip) => {
            RouteMessageBuilder::<Ipv4Addr>::new().destination_prefix(ip, 32).output_interface(device).build()
        }
        IpAddr::V6(ip) => RouteMessageBuilder::<Ipv6Addr>::new()
            .destination_prefix(ip, 128)
            .output_interface(device)
            .build(),
    };
    let mut answers = Box::pin(handle.route().get(query).execute());
    let route = match answers.next().await {
        Some(Ok(route)) => route,
        Some(Err(error)) => {
            tracing::warn!(%remote, %error, "no route to the media peer");
            return None;
        }
        None => return None,
    };
    let gateway = route.attributes.iter().find_map(|a| match a {
        RouteAttribute::Gateway(RouteAddress::Inet(ip)) => Some(IpAddr::V4(*ip)),
        RouteAttribute::Gateway(RouteAddress::Inet6(ip)) => Some(IpAddr::V6(*ip)),
        RouteAttribute::Via(RouteVia::Inet(ip)) => Some(IpAddr::V4(*ip)),
        RouteAttribute::Via(RouteVia::Inet6(ip)) => Some(IpAddr::V6(*ip)),
        _ => None,
    });
    Some(gateway.unwrap_or(remote))
}

async fn table(handle: &Handle, device: u32, v6: bool) -> HashMap<IpAddr, Entry> {
    let family = if v6 { AddressFamily::Inet6 } else { AddressFamily::Inet };
    let mut out = HashMap::new();
    let mut messages = Box::pin(handle.neighbours().get().set_address_family(family).execute());
    while let Some(Ok(message)) = messages.next().await {
        if message.header.ifindex == device
            && let Some((ip, entry)) = read(&message)
        {
            out.insert(ip, entry);
        }
    }
    out
}

fn read(message: &NeighbourMessage) -> Option<(IpAddr, Entry)> {
    let ip = message.attributes.iter().find_map(|a| match a {
        NeighbourAttribute::Destination(NeighbourAddress::Inet(ip)) => Some(IpAddr::V4(*ip)),
        NeighbourAttribute::Destination(NeighbourAddress::Inet6(ip)) => Some(IpAddr::V6(*ip)),
        _ => None,
    })?;
    let mac = message.attributes.iter().find_map(|a| match a {
        NeighbourAttribute::LinkLayerAddress(bytes) => {
            <[u8; 6]>::try_from(bytes.as_slice()).ok().map(MacAddr)
        }
        _ => None,
    });
    let usable = !matches!(
        message.header.state,
        NeighbourState::Incomplete | NeighbourState::Failed | NeighbourState::None
    );
    Some((ip, Entry { usable, mac }))
}

/// Makes the kernel look for a neighbour as if it had a packet for it, without sending one (NTF_USE).
async fn provoke(handle: &Handle, device: u32, hop: IpAddr) {
    let request =
        handle.neighbours().add(device, hop).state(NeighbourState::None).flags(NeighbourFlags::Use).replace();
    if let Err(error) = request.execute().await {
        tracing::debug!(%hop, %error, "the kernel was not made to look for the next hop");
    }
}
