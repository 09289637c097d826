//! Which packets the kernel hands to us: the BPF maps, kept equal to what the pipeline knows.
//!
//! The kernel may refuse (a table is full), so it is asked between the pipeline's validation and its commit, which cannot
//! fail: a transaction is in both or in neither. What arrives in between waits in a ring until the worker's next turn.

use crate::netlink::Netlink;
use sipsec_ebpf::{Steering, SteeringError};
use sipsec_net::dp::{OPS_MAX, Op};
use sipsec_net::{IpPrefix, MediaPort, TunnelId};
use std::collections::{HashMap, HashSet};
use std::io;
use std::net::SocketAddr;

/// The kernel's side of steering.
pub trait Steer {
    fn media_open(&mut self, local: SocketAddr, tunnel: TunnelId) -> Result<(), SteerError>;
    fn media_close(&mut self, port: MediaPort) -> Result<(), SteerError>;
    fn prefix_add(&mut self, prefix: IpPrefix, tunnel: TunnelId) -> Result<(), SteerError>;
    fn prefix_remove(&mut self, prefix: IpPrefix) -> Result<(), SteerError>;
    /// What the XDP programs counted, indexed by [`sipsec_abi::bpf::Counter`].
    fn counters(&self) -> Vec<u64>;
}

#[derive(Debug, thiserror::Error)]
pub enum SteerError {
    #[error("{0}")]
    Map(#[from] SteeringError),
    #[error("cannot set the discarding route for {prefix}: {error}")]
    Route { prefix: IpPrefix, error: io::Error },
}

/// The real one.
#[derive(Debug)]
pub struct KernelSteer {
    steering: Steering,
    /// In router mode: LAN packets for these prefixes are taken off the device before routing, and discarded by a route
    /// of last resort whenever they are not (because the process has ended), rather than sent out in clear.
    router: Option<Router>,
}

#[derive(Debug)]
struct Router {
    netlink: Netlink,
    /// Prefixes of tunnels, each with its discarding route.
    ours: HashSet<IpPrefix>,
}

impl KernelSteer {
    /// In router mode `router` is the way to the kernel's routes.
    #[must_use]
    pub fn new(steering: Steering, router: Option<Netlink>) -> Self {
        Self { steering, router: router.map(|netlink| Router { netlink, ours: HashSet::new() }) }
    }
}

impl Steer for KernelSteer {
    fn media_open(&mut self, local: SocketAddr, tunnel: TunnelId) -> Result<(), SteerError> {
        Ok(self.steering.media_port_open(local, tunnel)?)
    }

    fn media_close(&mut self, port: MediaPort) -> Result<(), SteerError> {
        Ok(self.steering.media_port_close(port)?)
    }

    fn prefix_add(&mut self, prefix: IpPrefix, tunnel: TunnelId) -> Result<(), SteerError> {
        let Some(Router { netlink, ours }) = &mut self.router else { return Ok(()) };
        let route = |error| SteerError::Route { prefix, error };
        netlink.blackhole_add(prefix).map_err(route)?;
        if let Err(refused) = self.steering.prefix_add(prefix, tunnel) {
            if !ours.contains(&prefix) {
                netlink.blackhole_delete(prefix).map_err(route)?;
            }
            return Err(refused.into());
        }
        ours.insert(prefix);
        Ok(())
    }

    fn prefix_remove(&mut self, prefix: IpPrefix) -> Result<(), SteerError> {
        let Some(Router { netlink, ours }) = &mut self.router else { return Ok(()) };
        ours.remove(&prefix);
        let steering = self.steering.prefix_remove(prefix);
        netlink.blackhole_delete(prefix).map_err(|error| SteerError::Route { prefix, error })?;
        Ok(steering?)
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
    prefixes: HashMap<IpPrefix, TunnelId>,
    /// Prefixes of a tunnel whose transaction is to be continued: still steered, though the pipeline has no route for
    /// them (yet), so that between two transactions they are not sent out in clear.
    awaited: Vec<IpPrefix>,
}

type Media = (SocketAddr, TunnelId);

/// What one transaction changes.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Plan {
    media: Vec<Change<MediaPort, Media>>,
    prefixes: Vec<Change<IpPrefix, TunnelId>>,
    awaited: Vec<IpPrefix>,
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
    Prefix { prefix: IpPrefix, before: Option<TunnelId>, after: Option<TunnelId> },
}

impl Step {
    fn run(self, kernel: &mut impl Steer) -> Result<(), SteerError> {
        match self {
            Self::Close((local, _)) => kernel.media_close(MediaPort(local.port())),
            Self::Open((local, tunnel)) => kernel.media_open(local, tunnel),
            Self::Prefix { prefix, after: Some(tunnel), .. } => kernel.prefix_add(prefix, tunnel),
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
    /// What `ops` come to, in order, provided that the pipeline accepts them.
    #[must_use]
    pub fn plan(&self, ops: &[Op]) -> Plan {
        let mut plan = Plan::default();
        // A transaction full to its end with routes of one tunnel: more of them are to come.
        let continued = match ops.last() {
            Some(Op::RouteAdd { tunnel, .. }) if ops.len() == OPS_MAX => Some(*tunnel),
            _ => None,
        };
        let mut awaited = self.awaited.clone();
        for (op, index) in ops.iter().zip(0u16..) {
            match op {
                Op::MediaOpen(b) => {
                    let value = (b.outside_local, b.tunnel);
                    set(&mut plan.media, &self.media, index, b.media_port(), Some(value));
                }
                Op::MediaClose(port) => set(&mut plan.media, &self.media, index, *port, None),
                Op::RouteAdd { prefix, tunnel } => {
                    awaited.retain(|p| p != prefix);
                    set(&mut plan.prefixes, &self.prefixes, index, *prefix, Some(*tunnel));
                }
                Op::RouteRemove { prefix } => set(&mut plan.prefixes, &self.prefixes, index, *prefix, None),
                Op::TunnelRemove(tunnel) => {
                    remove_all(&mut plan.media, &self.media, index, |(_, t)| t == tunnel);
                    if continued == Some(*tunnel) {
                        awaited.extend(self.prefixes.iter().filter(|(_, t)| *t == tunnel).map(|(p, _)| *p));
                    } else {
                        remove_all(&mut plan.prefixes, &self.prefixes, index, |t| t == tunnel);
                    }
                }
                _ => {}
            }
        }
        for prefix in awaited {
            if self.prefixes.get(&prefix).copied() == continued {
                plan.awaited.push(prefix);
            } else {
                set(&mut plan.prefixes, &self.prefixes, 0, prefix, None);
            }
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
    /// In the order in which nothing is in the way of anything else and no prefix is nobody's in between.
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
mod tests {
    use super::*;
    use sipsec_net::dp::{MediaBinding, OuterDscp};
    use sipsec_net::{Kbps, MacAddr};

    /// Keeps what it is told; refuses one media port or prefix.
    #[derive(Default)]
    struct Recorder {
        calls: Vec<String>,
        refuse: Option<&'static str>,
    }

    impl Recorder {
        fn call(&mut self, what: String) -> Result<(), SteerError> {
            if self.refuse.is_some_and(|refuse| what.starts_with(refuse)) {
                return Err(SteeringError::Full { map: "MAP" }.into());
            }
            self.calls.push(what);
            Ok(())
        }
    }

    impl Steer for Recorder {
        fn media_open(&mut self, local: SocketAddr, tunnel: TunnelId) -> Result<(), SteerError> {
            self.call(format!("open {} {}", local.port(), tunnel.0))
        }
        fn media_close(&mut self, port: MediaPort) -> Result<(), SteerError> {
            self.call(format!("close {}", port.0))
        }
        fn prefix_add(&mut self, prefix: IpPrefix, tunnel: TunnelId) -> Result<(), SteerError> {
            self.call(format!("add {prefix} {}", tunnel.0))
        }
        fn prefix_remove(&mut self, prefix: IpPrefix) -> Result<(), SteerError> {
            self.call(format!("remove {prefix}"))
        }
        fn counters(&self) -> Vec<u64> {
            Vec::new()
        }
    }

    fn media(port: u16, tunnel: u32) -> Op {
        Op::MediaOpen(MediaBinding {
            tunnel: TunnelId(tunnel),
            inside_local: "127.0.0.1:4500".parse().expect("valid"),
            outside_local: SocketAddr::new("192.0.2.1".parse().expect("valid"), port),
            remote: "192.0.2.2:6000".parse().expect("valid"),
            rate: Kbps(1000),
            next_hop: MacAddr::default(),
            outer_dscp: OuterDscp::Fixed(0),
        })
    }

    fn route(prefix: &str, tunnel: u32) -> Op {
        Op::RouteAdd { prefix: prefix.parse().expect("valid"), tunnel: TunnelId(tunnel) }
    }

    fn run(steered: &mut Steered, kernel: &mut Recorder, ops: &[Op]) -> Vec<String> {
        let plan = steered.plan(ops);
        steered.change(plan, kernel).expect("nothing refused");
        std::mem::take(&mut kernel.calls)
    }

    fn sorted(mut calls: Vec<String>) -> Vec<String> {
        calls.sort();
        calls
    }

    #[test]
    fn what_a_transaction_comes_to_is_told_once() {
        let (mut s, mut k) = (Steered::default(), Recorder::default());
        let ops = [media(5000, 1), media(5001, 2), route("10.2.0.0/16", 1)];
        assert_eq!(run(&mut s, &mut k, &ops), ["open 5000 1", "open 5001 2", "add 10.2.0.0/16 1"]);
        // Closed and opened anew in one transaction for another tunnel; opened and closed in one is nothing at all.
        let ops = [
            Op::MediaClose(MediaPort(5000)),
            media(5000, 2),
            media(5009, 2),
            Op::MediaClose(MediaPort(5009)),
        ];
        assert_eq!(run(&mut s, &mut k, &ops), ["close 5000", "open 5000 2"]);
        // A prefix that is exchanged for another is never nobody's.
        let ops = [Op::RouteRemove { prefix: "10.2.0.0/16".parse().expect("valid") }, route("10.0.0.0/8", 1)];
        assert_eq!(run(&mut s, &mut k, &ops), ["add 10.0.0.0/8 1", "remove 10.2.0.0/16"]);
        // A tunnel takes its ports and prefixes with it, planned ones too.
        let ops = [media(5002, 2), Op::TunnelRemove(TunnelId(2))];
        assert_eq!(sorted(run(&mut s, &mut k, &ops)), ["close 5000", "close 5001"]);
        assert_eq!(run(&mut s, &mut k, &[Op::TunnelRemove(TunnelId(1))]), ["remove 10.0.0.0/8"]);
        assert!(s.media.is_empty() && s.prefixes.is_empty());
    }

    #[test]
    fn what_the_kernel_refuses_leaves_everything_as_it_was() {
        let (mut s, mut k) = (Steered::default(), Recorder::default());
        run(&mut s, &mut k, &[media(5000, 1), route("10.1.0.0/16", 1), route("10.2.0.0/16", 1)]);
        let before = format!("{:?}{:?}", s.media, s.prefixes);
        k.refuse = Some("add 10.4");
        let ops = [
            Op::MediaClose(MediaPort(5000)),
            media(5001, 2),
            route("10.1.0.0/16", 2),
            route("10.3.0.0/16", 2),
            route("10.4.0.0/16", 2),
            Op::RouteRemove { prefix: "10.2.0.0/16".parse().expect("valid") },
        ];
        assert_eq!(s.change(s.plan(&ops), &mut k), Err(4));
        let there = ["close 5000", "open 5001 2", "add 10.1.0.0/16 2", "add 10.3.0.0/16 2"];
        let back = ["remove 10.3.0.0/16", "add 10.1.0.0/16 1", "close 5001", "open 5000 1"];
        assert_eq!(k.calls, [there, back].concat());
        assert_eq!(format!("{:?}{:?}", s.media, s.prefixes), before);
    }

    /// A control plane that starts anew takes a tunnel away and puts it back.
    #[test]
    fn a_tunnel_that_is_put_back_is_never_nobodys() {
        let (mut s, mut k) = (Steered::default(), Recorder::default());
        let prefix = |i: usize| format!("10.{}.{}.0/24", i / 256, i % 256);
        let add = |i: usize| route(&prefix(i), 1);
        for at in [0, 40, 80] {
            run(&mut s, &mut k, &(at..at + 40).map(add).collect::<Vec<_>>());
        }
        // In one transaction: only what is not put back goes.
        run(&mut s, &mut k, &[route("10.9.0.0/16", 2), route("10.8.0.0/16", 2)]);
        let ops = [Op::TunnelRemove(TunnelId(2)), route("10.8.0.0/16", 2)];
        assert_eq!(run(&mut s, &mut k, &ops), ["remove 10.9.0.0/16"]);
        // In several, each but the last full: what has not come by the last goes.
        let again: Vec<Op> = [Op::TunnelRemove(TunnelId(1))].into_iter().chain((0..110).map(add)).collect();
        let (first, second) = again.split_at(OPS_MAX);
        assert_eq!(run(&mut s, &mut k, first), Vec::<String>::new());
        let gone: Vec<String> = (110..120).map(|i| format!("remove {}", prefix(i))).collect();
        assert_eq!(sorted(run(&mut s, &mut k, second)), sorted(gone));
        assert_eq!(s.prefixes.len(), 111);
    }
}
