//! Layer-2 addresses of next hops. Media bypasses the kernel's network stack, so the kernel must be asked to resolve them.

use super::kernel::{Kernel, KernelError};
use futures_util::{StreamExt, TryStreamExt};
use netlink_packet_route::neighbour::{
    NeighbourAddress, NeighbourAttribute, NeighbourMessage, NeighbourState,
};
use netlink_packet_route::route::{RouteAddress, RouteAttribute, RouteMessage, RouteVia};
use sipsec_net::{MacAddr, MediaPort};
use std::collections::{BTreeMap, HashMap, HashSet};
use std::net::IpAddr;
use std::time::Duration;
use tokio::time::Instant;

/// A call whose next hop is not found by then has failed long ago.
const SEARCH_MAX: Duration = Duration::from_secs(300);
/// An unresolved neighbour is probed this often.
pub const RETRY: Duration = Duration::from_millis(500);
/// Requests under way at once.
const PARALLEL: usize = 32;

#[derive(Debug)]
struct Target {
    remote: IpAddr,
    since: Instant,
    /// What the loop knows.
    reported: Option<MacAddr>,
}

/// The live media ports and what is known of the way to their peers. Route look-ups and neighbour entries are shared by all
/// targets and kept until a report says that they may have changed.
#[derive(Debug, Default)]
pub struct Neighbours {
    /// One for each live media port, so at most 65,536.
    targets: BTreeMap<MediaPort, Target>,
    /// The next hop to each peer; `None` without a route.
    hops: HashMap<IpAddr, Option<IpAddr>>,
    /// The WAN's neighbour entries that are usable.
    entries: HashMap<IpAddr, MacAddr>,
    /// When each unresolved next hop was last probed.
    probed: HashMap<IpAddr, Instant>,
}

/// What a poll has to ask again.
#[derive(Clone, Copy, Debug, Default)]
pub struct Stale {
    pub hops: bool,
    pub entries: bool,
    /// Have the kernel verify the entries in use: our packets bypass it, so it would never notice a neighbour that has gone.
    pub verify: bool,
}

impl Neighbours {
    pub fn set(&mut self, media_port: MediaPort, remote: Option<IpAddr>) {
        match remote {
            Some(remote) => {
                let target = Target { remote, since: Instant::now(), reported: None };
                self.targets.insert(media_port, target);
            }
            None => {
                self.targets.remove(&media_port);
            }
        }
    }

    pub fn any(&self) -> bool {
        !self.targets.is_empty()
    }

    pub fn unresolved(&self) -> bool {
        self.targets.values().any(|t| t.reported.is_none())
    }

    /// Next hops that are new or have changed.
    pub async fn poll(
        &mut self,
        kernel: &Kernel,
        device: u32,
        stale: Stale,
    ) -> Result<Vec<(MediaPort, MacAddr)>, KernelError> {
        self.targets.retain(|_, t| t.reported.is_some() || t.since.elapsed() < SEARCH_MAX);
        let remotes: HashSet<IpAddr> = self.targets.values().map(|t| t.remote).collect();
        let before = std::mem::take(&mut self.hops);
        self.hops =
            before.iter().filter(|(remote, _)| remotes.contains(remote)).map(|(r, h)| (*r, *h)).collect();
        let missing: Vec<IpAddr> = remotes
            .iter()
            .filter(|r| stale.hops || self.hops.get(r).is_none_or(Option::is_none))
            .copied()
            .collect();
        let looked_up: Vec<_> = futures_util::stream::iter(missing)
            .map(|remote| async move { Ok((remote, next_hop(kernel, device, remote).await?)) })
            .buffer_unordered(PARALLEL)
            .try_collect()
            .await?;
        for (remote, hop) in looked_up {
            if hop.is_none() && before.get(&remote).is_none_or(Option::is_some) {
                tracing::warn!(%remote, "no route to the media peer by the WAN interface");
            }
            self.hops.insert(remote, hop);
        }
        let unknown = self.hops.values().flatten().any(|hop| !self.entries.contains_key(hop));
        if stale.entries || unknown {
            self.entries.clear();
            for v6 in [false, true] {
                if self.hops.values().flatten().any(|hop| hop.is_ipv6() == v6) {
                    let entries = kernel.neighbours(device, v6).await?;
                    self.entries.extend(entries.iter().filter_map(usable));
                }
            }
        }
        self.probe(kernel, device, stale.verify).await?;
        let mut out = Vec::new();
        for (media_port, target) in &mut self.targets {
            let hop = self.hops.get(&target.remote).copied().flatten();
            let mac = hop.and_then(|hop| self.entries.get(&hop)).copied();
            if mac.is_some() && target.reported != mac {
                target.reported = mac;
                out.extend(mac.map(|mac| (*media_port, mac)));
            }
        }
        Ok(out)
    }

    /// Has the kernel resolve what is not resolved, and verify the rest if asked to.
    async fn probe(&mut self, kernel: &Kernel, device: u32, verify: bool) -> Result<(), KernelError> {
        let now = Instant::now();
        let hops: HashSet<IpAddr> = self.hops.values().flatten().copied().collect();
        self.probed.retain(|hop, at| hops.contains(hop) && now.saturating_duration_since(*at) < RETRY);
        let unresolved = |hop: &&IpAddr| !self.entries.contains_key(*hop) && !self.probed.contains_key(*hop);
        let wanted: Vec<IpAddr> = hops.iter().filter(|hop| verify || unresolved(hop)).copied().collect();
        self.probed.extend(wanted.iter().map(|hop| (*hop, now)));
        futures_util::stream::iter(wanted)
            .map(|hop| async move {
                match kernel.probe(device, hop).await {
                    Err(error) if error.is_fatal() => Err(error),
                    Err(error) => {
                        tracing::debug!(%hop, %error, "the kernel was not made to resolve the next hop");
                        Ok(())
                    }
                    Ok(()) => Ok(()),
                }
            })
            .buffer_unordered(PARALLEL)
            .try_collect()
            .await
    }
}

/// The gateway, or the peer itself if it is on the link.
async fn next_hop(kernel: &Kernel, device: u32, remote: IpAddr) -> Result<Option<IpAddr>, KernelError> {
    match kernel.route_to(remote, device).await {
        Ok(route) => Ok(Some(gateway(&route).unwrap_or(remote))),
        Err(error) if error.is_fatal() => Err(error),
        Err(_) => Ok(None),
    }
}

fn gateway(route: &RouteMessage) -> Option<IpAddr> {
    route.attributes.iter().find_map(|a| match a {
        RouteAttribute::Gateway(RouteAddress::Inet(ip)) => Some(IpAddr::V4(*ip)),
        RouteAttribute::Gateway(RouteAddress::Inet6(ip)) => Some(IpAddr::V6(*ip)),
        RouteAttribute::Via(RouteVia::Inet(ip)) => Some(IpAddr::V4(*ip)),
        RouteAttribute::Via(RouteVia::Inet6(ip)) => Some(IpAddr::V6(*ip)),
        _ => None,
    })
}

fn usable(message: &NeighbourMessage) -> Option<(IpAddr, MacAddr)> {
    let unusable = NeighbourState::Incomplete;
    if [unusable, NeighbourState::Failed, NeighbourState::None].contains(&message.header.state) {
        return None;
    }
    let ip = message.attributes.iter().find_map(|a| match a {
        NeighbourAttribute::Destination(NeighbourAddress::Inet(ip)) => Some(IpAddr::V4(*ip)),
        NeighbourAttribute::Destination(NeighbourAddress::Inet6(ip)) => Some(IpAddr::V6(*ip)),
        _ => None,
    })?;
    let mac = message.attributes.iter().find_map(|a| match a {
        NeighbourAttribute::LinkLayerAddress(bytes) => <[u8; 6]>::try_from(bytes.as_slice()).ok(),
        _ => None,
    })?;
    Some((ip, MacAddr(mac)))
}
