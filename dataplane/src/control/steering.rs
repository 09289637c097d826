//! Which packets the kernel hands to us: the BPF maps, kept equal to what the pipeline knows.
//!
//! The kernel may refuse (a table is full), so it is asked between the pipeline's validation and its commit, which cannot
//! fail: a transaction is in both or in neither.

use super::media_sockets::MediaSockets;
use crate::netlink::Netlink;
use sipsec_ebpf::{Steering, SteeringError};
use sipsec_net::dp::{Adjacency, Op};
use sipsec_net::{IpPrefix, MediaPort, TunnelId};
use std::collections::{HashMap, HashSet};
use std::io;
use std::net::{IpAddr, SocketAddr};

/// The kernel's side of steering.
pub trait Steer {
    fn media_open(&mut self, media: Media) -> Result<(), SteerError>;
    fn media_close(&mut self, port: MediaPort) -> Result<(), SteerError>;
    /// Adds the prefix, or changes what becomes of its packets.
    fn prefix_add(
        &mut self,
        prefix: IpPrefix,
        tunnel: TunnelId,
        adjacency: Adjacency,
    ) -> Result<(), SteerError>;
    fn prefix_remove(&mut self, prefix: IpPrefix) -> Result<(), SteerError>;
    /// The host's own prefixes: they stay with the kernel, also inside a tunnel's prefix.
    fn local(&mut self, prefixes: &[IpPrefix]);
    /// What the XDP programs counted, indexed by [`sipsec_abi::bpf::Counter`].
    fn counters(&self) -> Vec<u64>;
    /// The kernel's sockets of the live media ports, if there are any.
    fn media_sockets(&self) -> Option<&MediaSockets> {
        None
    }
}

#[derive(Debug, thiserror::Error)]
pub enum SteerError {
    #[error("{0}")]
    Map(#[from] SteeringError),
    #[error("cannot set the discarding route for {prefix}: {error}")]
    Route { prefix: IpPrefix, error: io::Error },
}

/// An operation of a transaction, as far as it concerns steering.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SteerOp {
    /// Its place in the transaction.
    index: u16,
    what: What,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum What {
    MediaOpen(Media),
    MediaClose(MediaPort),
    RouteAdd { prefix: IpPrefix, owner: Owner },
    RouteRemove { prefix: IpPrefix },
    TunnelRemove(TunnelId),
}

impl SteerOp {
    /// Those of a transaction.
    #[must_use]
    pub fn of(ops: &[Op]) -> Vec<Self> {
        let concerns = |(op, index): (&Op, u16)| {
            let what = match op {
                Op::MediaOpen(b) => {
                    What::MediaOpen(Media { local: b.outside_local, remote: b.remote.ip(), tunnel: b.tunnel })
                }
                Op::MediaClose(port) => What::MediaClose(*port),
                Op::RouteAdd { prefix, tunnel, adjacency } => {
                    What::RouteAdd { prefix: *prefix, owner: (*tunnel, *adjacency) }
                }
                Op::RouteRemove { prefix } => What::RouteRemove { prefix: *prefix },
                Op::TunnelRemove(tunnel) => What::TunnelRemove(*tunnel),
                _ => return None,
            };
            Some(Self { index, what })
        };
        ops.iter().zip(0u16..).filter_map(concerns).collect()
    }
}

/// The real one.
#[derive(Debug)]
pub struct KernelSteer {
    steering: Steering,
    sockets: Option<MediaSockets>,
    /// In router mode: LAN packets for these prefixes are taken off the device before routing, and discarded by a route
    /// of last resort whenever they are not (because the process has ended), rather than sent out in clear.
    router: Option<Router>,
}

#[derive(Debug)]
struct Router {
    netlink: Netlink,
    /// Index of the LAN device.
    lan: u32,
    /// Prefixes of tunnels, each with its discarding route.
    ours: HashSet<IpPrefix>,
    /// Those that an earlier process has left with theirs, and that no tunnel has been given yet.
    left: HashSet<IpPrefix>,
    local: Vec<IpPrefix>,
}

impl Router {
    fn new(mut netlink: Netlink, lan: u32) -> Self {
        let left = netlink.blackholes(lan).unwrap_or_else(|error| {
            tracing::warn!(%error, "cannot list the discarding routes of earlier runs");
            Vec::new()
        });
        Self { netlink, lan, ours: HashSet::new(), left: left.into_iter().collect(), local: Vec::new() }
    }

    /// Removes the discarding routes of prefixes that the profile no longer has.
    fn purge(&mut self) {
        for prefix in self.left.drain() {
            tracing::info!(%prefix, "discarding route of an earlier run removed");
            if let Err(error) = self.netlink.blackhole_delete(prefix, self.lan) {
                tracing::warn!(%prefix, %error, "cannot remove it");
            }
        }
    }
}

impl KernelSteer {
    /// In router mode `router` is the way to the kernel's routes, and the index of the LAN device.
    #[must_use]
    pub fn new(steering: Steering, router: Option<(Netlink, u32)>) -> Self {
        let sockets = MediaSockets::new().inspect_err(|error| {
            tracing::warn!(%error, "no epoll: ICMP errors stay the kernel's");
        });
        Self {
            steering,
            sockets: sockets.ok(),
            router: router.map(|(netlink, lan)| Router::new(netlink, lan)),
        }
    }
}

impl Steer for KernelSteer {
    fn media_open(&mut self, Media { local, remote, tunnel }: Media) -> Result<(), SteerError> {
        // A control plane opens calls only when it has configured every tunnel.
        if let Some(router) = &mut self.router {
            router.purge();
        }
        self.steering.media_port_open(local, remote, tunnel)?;
        if let Some(sockets) = &mut self.sockets {
            sockets.open(local);
        }
        Ok(())
    }

    fn media_close(&mut self, port: MediaPort) -> Result<(), SteerError> {
        if let Some(sockets) = &mut self.sockets {
            sockets.close(port);
        }
        Ok(self.steering.media_port_close(port)?)
    }

    fn prefix_add(
        &mut self,
        prefix: IpPrefix,
        tunnel: TunnelId,
        adjacency: Adjacency,
    ) -> Result<(), SteerError> {
        let Some(Router { netlink, lan, ours, left, .. }) = &mut self.router else { return Ok(()) };
        let route = |error| SteerError::Route { prefix, error };
        netlink.blackhole_add(prefix, *lan).map_err(route)?;
        left.remove(&prefix);
        let steered = match adjacency {
            Adjacency::Tunnel => self.steering.prefix_add(prefix, tunnel),
            // The kernel has a better route than the discarding one; or that, for what is to be discarded.
            Adjacency::Outside | Adjacency::Discard => self.steering.prefix_pass(prefix),
        };
        if let Err(refused) = steered {
            if !ours.contains(&prefix) {
                netlink.blackhole_delete(prefix, *lan).map_err(route)?;
            }
            return Err(refused.into());
        }
        ours.insert(prefix);
        Ok(())
    }

    fn prefix_remove(&mut self, prefix: IpPrefix) -> Result<(), SteerError> {
        let Some(Router { netlink, lan, ours, local, .. }) = &mut self.router else { return Ok(()) };
        ours.remove(&prefix);
        let steering = if local.contains(&prefix) {
            self.steering.prefix_pass(prefix)
        } else {
            self.steering.prefix_remove(prefix)
        };
        netlink.blackhole_delete(prefix, *lan).map_err(|error| SteerError::Route { prefix, error })?;
        Ok(steering?)
    }

    fn local(&mut self, prefixes: &[IpPrefix]) {
        let Some(Router { ours, local, .. }) = &mut self.router else { return };
        let before = std::mem::replace(local, prefixes.to_vec());
        // What is a tunnel's by the very same prefix stays the tunnel's.
        for &prefix in before.iter().filter(|p| !prefixes.contains(p) && !ours.contains(p)) {
            log_failure(self.steering.prefix_remove(prefix));
        }
        for &prefix in prefixes.iter().filter(|p| !before.contains(p) && !ours.contains(p)) {
            log_failure(self.steering.prefix_pass(prefix));
        }
    }

    fn media_sockets(&self) -> Option<&MediaSockets> {
        self.sockets.as_ref()
    }

    fn counters(&self) -> Vec<u64> {
        // A map that cannot be read shows no numbers; what it steers is not affected.
        self.steering.counters().map(|c| c.iter().map(|(_, value)| value).collect()).unwrap_or_default()
    }
}

/// What is steered now.
#[derive(Debug, Default)]
pub struct Steered {
    media: HashMap<MediaPort, Media>,
    prefixes: HashMap<IpPrefix, Owner>,
    /// Prefixes that a change has taken from a tunnel while more of its transactions follow: still steered, though the
    /// pipeline has no route for them, so that they are not sent out in clear before the change is complete.
    awaited: HashSet<IpPrefix>,
}

/// A call's media port: whose it is, and from where its packets come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Media {
    local: SocketAddr,
    remote: IpAddr,
    tunnel: TunnelId,
}

/// Of a prefix: the tunnel that has it, and what becomes of its packets.
type Owner = (TunnelId, Adjacency);

/// What one transaction changes.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Plan {
    media: Vec<Change<MediaPort, Media>>,
    prefixes: Vec<Change<IpPrefix, Owner>>,
    awaited: HashSet<IpPrefix>,
}

#[derive(Debug, PartialEq, Eq)]
struct Change<K, V> {
    /// The operation that decided it.
    op: u16,
    key: K,
    before: Option<V>,
    after: Option<V>,
}

/// One thing to tell the kernel.
#[derive(Clone, Copy, Debug)]
enum Step {
    Close(Media),
    Open(Media),
    Prefix { prefix: IpPrefix, before: Option<Owner>, after: Option<Owner> },
}

impl Step {
    fn run(self, kernel: &mut impl Steer) -> Result<(), SteerError> {
        match self {
            Self::Close(media) => kernel.media_close(MediaPort(media.local.port())),
            Self::Open(media) => kernel.media_open(media),
            Self::Prefix { prefix, after: Some((tunnel, adjacency)), .. } => {
                kernel.prefix_add(prefix, tunnel, adjacency)
            }
            Self::Prefix { prefix, after: None, .. } => kernel.prefix_remove(prefix),
        }
    }

    const fn back(self) -> Self {
        match self {
            Self::Close(media) => Self::Open(media),
            Self::Open(media) => Self::Close(media),
            Self::Prefix { prefix, before, after } => Self::Prefix { prefix, before: after, after: before },
        }
    }

    /// What is taken away and cannot be is gone already, or the kernel has a fault that no refusal mends.
    const fn may_fail(self) -> bool {
        matches!(self, Self::Close(_) | Self::Prefix { after: None, .. })
    }
}

impl Steered {
    /// The effect of `ops`, in order, provided that the pipeline accepts them. With `more`, other transactions of the same
    /// change follow, which may put back what these take away.
    #[must_use]
    pub fn plan(&self, ops: &[SteerOp], more: bool) -> Plan {
        let mut plan = Plan::default();
        for &SteerOp { index, what } in ops {
            match what {
                What::MediaOpen(media) => {
                    let port = MediaPort(media.local.port());
                    set(&mut plan.media, &self.media, index, port, Some(media));
                }
                What::MediaClose(port) => set(&mut plan.media, &self.media, index, port, None),
                What::RouteAdd { prefix, owner } => {
                    set(&mut plan.prefixes, &self.prefixes, index, prefix, Some(owner));
                }
                What::RouteRemove { prefix } => set(&mut plan.prefixes, &self.prefixes, index, prefix, None),
                What::TunnelRemove(tunnel) => {
                    remove_all(&mut plan.media, &self.media, index, |m| m.tunnel == tunnel);
                    remove_all(&mut plan.prefixes, &self.prefixes, index, |(t, _)| *t == tunnel);
                }
            }
        }
        for &prefix in &self.awaited {
            if !plan.prefixes.iter().any(|c| c.key == prefix) {
                set(&mut plan.prefixes, &self.prefixes, 0, prefix, None);
            }
        }
        if more {
            let removed = plan.prefixes.extract_if(.., |c| c.after.is_none());
            plan.awaited = removed.filter(|c| c.before.is_some()).map(|c| c.key).collect();
        }
        plan.media.retain(|c| c.before != c.after);
        plan.prefixes.retain(|c| c.before != c.after);
        plan
    }

    /// Makes the kernel's tables what the plan says. If it refuses a step, those before are taken back; the operation at
    /// fault.
    pub fn change(&mut self, plan: Plan, kernel: &mut impl Steer) -> Result<(), u16> {
        let steps = plan.steps();
        for (i, (op, step)) in steps.iter().enumerate() {
            let Err(error) = step.run(kernel) else { continue };
            tracing::error!(%error, "steering not changed");
            if step.may_fail() {
                continue;
            }
            for (_, done) in steps[..i].iter().rev() {
                if let Err(error) = done.back().run(kernel) {
                    tracing::error!(%error, "steering not as before");
                }
            }
            return Err(*op);
        }
        record(&mut self.media, plan.media);
        record(&mut self.prefixes, plan.prefixes);
        self.awaited = plan.awaited;
        Ok(())
    }
}

impl Plan {
    /// Ordered so that removals free capacity first and every prefix always has an owner.
    fn steps(&self) -> Vec<(u16, Step)> {
        let close = self.media.iter().filter_map(|c| c.before.map(|m| (c.op, Step::Close(m))));
        let open = self.media.iter().filter_map(|c| c.after.map(|m| (c.op, Step::Open(m))));
        let prefixes = |adds: bool| {
            self.prefixes
                .iter()
                .filter(move |c| c.after.is_some() == adds)
                .map(|c| (c.op, Step::Prefix { prefix: c.key, before: c.before, after: c.after }))
        };
        close.chain(open).chain(prefixes(true)).chain(prefixes(false)).collect()
    }
}

fn record<K: Eq + std::hash::Hash, V>(now: &mut HashMap<K, V>, changes: Vec<Change<K, V>>) {
    for change in changes {
        match change.after {
            Some(value) => now.insert(change.key, value),
            None => now.remove(&change.key),
        };
    }
}

fn log_failure(result: Result<(), SteeringError>) {
    if let Err(error) = result {
        tracing::error!(%error, "steering not changed");
    }
}

fn set<K: Copy + Eq + std::hash::Hash, V: Copy>(
    changes: &mut Vec<Change<K, V>>,
    now: &HashMap<K, V>,
    op: u16,
    key: K,
    after: Option<V>,
) {
    match changes.iter_mut().find(|c| c.key == key) {
        Some(change) => (change.op, change.after) = (op, after),
        None => changes.push(Change { op, key, before: now.get(&key).copied(), after }),
    }
}

fn remove_all<K: Copy + Eq + std::hash::Hash, V: Copy>(
    changes: &mut Vec<Change<K, V>>,
    now: &HashMap<K, V>,
    op: u16,
    of_tunnel: impl Fn(&V) -> bool,
) {
    let planned = changes.iter().filter(|c| c.after.as_ref().is_some_and(&of_tunnel)).map(|c| c.key);
    let keys: Vec<K> = planned.chain(now.iter().filter(|(_, v)| of_tunnel(v)).map(|(k, _)| *k)).collect();
    for key in keys {
        set(changes, now, op, key, None);
    }
}

#[cfg(test)]
pub(crate) mod tests;
