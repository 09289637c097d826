//! Which packets the kernel hands to us: the BPF maps, kept equal to what the pipeline knows.
//!
//! Order matters in one direction only: a port is closed here before the pipeline forgets it and opened here after the
//! pipeline knows it, so that no packet arrives for which there is no answer.

use crate::netlink::Netlink;
use sipsec_ebpf::{Steering, SteeringError};
use sipsec_net::dp::Op;
use sipsec_net::{IpPrefix, MediaPort, TunnelId};
use std::collections::HashMap;
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
    router: Option<Netlink>,
}

impl KernelSteer {
    #[must_use]
    pub const fn new(steering: Steering, router: Option<Netlink>) -> Self {
        Self { steering, router }
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
        let Some(netlink) = &mut self.router else { return Ok(()) };
        netlink.blackhole_add(prefix).map_err(|error| SteerError::Route { prefix, error })?;
        Ok(self.steering.prefix_add(prefix, tunnel)?)
    }

    fn prefix_remove(&mut self, prefix: IpPrefix) -> Result<(), SteerError> {
        let Some(netlink) = &mut self.router else { return Ok(()) };
        self.steering.prefix_remove(prefix)?;
        netlink.blackhole_delete(prefix).map_err(|error| SteerError::Route { prefix, error })
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
}

type Media = (SocketAddr, TunnelId);

/// What one transaction changes.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Plan {
    media: Vec<Change<MediaPort, Media>>,
    prefixes: Vec<Change<IpPrefix, TunnelId>>,
}

#[derive(Debug, PartialEq, Eq)]
struct Change<K, V> {
    /// The operation that decided it.
    op: u16,
    key: K,
    before: Option<V>,
    after: Option<V>,
}

impl Steered {
    /// What `ops` come to, in order, provided that the pipeline accepts them.
    #[must_use]
    pub fn plan(&self, ops: &[Op]) -> Plan {
        let mut plan = Plan::default();
        for (op, index) in ops.iter().zip(0u16..) {
            match op {
                Op::MediaOpen(b) => {
                    let value = (b.outside_local, b.tunnel);
                    set(&mut plan.media, &self.media, index, b.media_port(), Some(value));
                }
                Op::MediaClose(port) => set(&mut plan.media, &self.media, index, *port, None),
                Op::RouteAdd { prefix, tunnel } => {
                    set(&mut plan.prefixes, &self.prefixes, index, *prefix, Some(*tunnel));
                }
                Op::RouteRemove { prefix } => set(&mut plan.prefixes, &self.prefixes, index, *prefix, None),
                Op::TunnelRemove(tunnel) => {
                    remove_all(&mut plan.media, &self.media, index, |(_, t)| t == tunnel);
                    remove_all(&mut plan.prefixes, &self.prefixes, index, |t| t == tunnel);
                }
                _ => {}
            }
        }
        plan.media.retain(|c| c.before != c.after);
        plan.prefixes.retain(|c| c.before != c.after);
        plan
    }

    /// Before the pipeline is asked: takes away what will be gone or changed.
    pub fn close(&self, plan: &Plan, kernel: &mut impl Steer) {
        for c in plan.media.iter().filter(|c| c.before.is_some()) {
            log_failure(kernel.media_close(c.key));
        }
        for c in plan.prefixes.iter().filter(|c| c.before.is_some() && c.after.is_none()) {
            log_failure(kernel.prefix_remove(c.key));
        }
    }

    /// The pipeline refused: as before.
    pub fn reopen(&self, plan: &Plan, kernel: &mut impl Steer) {
        for c in &plan.media {
            if let Some((local, tunnel)) = c.before {
                log_failure(kernel.media_open(local, tunnel));
            }
        }
        for c in plan.prefixes.iter().filter(|c| c.after.is_none()) {
            if let Some(tunnel) = c.before {
                log_failure(kernel.prefix_add(c.key, tunnel));
            }
        }
    }

    /// The pipeline accepted: adds what is new. Returns the operations that undo, in the pipeline, what the kernel did
    /// not take, and the index of the first of them.
    pub fn open(&mut self, plan: Plan, kernel: &mut impl Steer) -> Option<(u16, Vec<Op>)> {
        let mut failed: Option<(u16, Vec<Op>)> = None;
        let mut undo = |index: u16, op: Op, error: &SteerError| {
            tracing::error!(%error, "steering not changed");
            failed.get_or_insert_with(|| (index, Vec::new())).1.push(op);
        };
        for c in plan.media {
            self.media.remove(&c.key);
            if let Some((local, tunnel)) = c.after {
                match kernel.media_open(local, tunnel) {
                    Ok(()) => _ = self.media.insert(c.key, (local, tunnel)),
                    Err(e) => undo(c.op, Op::MediaClose(c.key), &e),
                }
            }
        }
        for c in plan.prefixes {
            self.prefixes.remove(&c.key);
            if let Some(tunnel) = c.after {
                match kernel.prefix_add(c.key, tunnel) {
                    Ok(()) => _ = self.prefixes.insert(c.key, tunnel),
                    Err(e) => undo(c.op, Op::RouteRemove { prefix: c.key }, &e),
                }
            }
        }
        failed
    }
}

fn log_failure(result: Result<(), SteerError>) {
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
mod tests {
    use super::*;
    use sipsec_net::dp::{MediaBinding, OuterDscp};
    use sipsec_net::{Kbps, MacAddr};

    /// Records calls; refuses media ports from `full_at` on.
    #[derive(Default)]
    struct Recorder {
        calls: Vec<String>,
        refuse: Option<MediaPort>,
    }

    impl Steer for Recorder {
        fn media_open(&mut self, local: SocketAddr, tunnel: TunnelId) -> Result<(), SteerError> {
            if self.refuse == Some(MediaPort(local.port())) {
                return Err(SteeringError::Full { map: "MEDIA_PORTS" }.into());
            }
            self.calls.push(format!("open {} {}", local.port(), tunnel.0));
            Ok(())
        }
        fn media_close(&mut self, port: MediaPort) -> Result<(), SteerError> {
            self.calls.push(format!("close {}", port.0));
            Ok(())
        }
        fn prefix_add(&mut self, prefix: IpPrefix, tunnel: TunnelId) -> Result<(), SteerError> {
            self.calls.push(format!("add {prefix} {}", tunnel.0));
            Ok(())
        }
        fn prefix_remove(&mut self, prefix: IpPrefix) -> Result<(), SteerError> {
            self.calls.push(format!("remove {prefix}"));
            Ok(())
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

    fn run(steered: &mut Steered, kernel: &mut Recorder, ops: &[Op], accepted: bool) -> Vec<String> {
        let plan = steered.plan(ops);
        steered.close(&plan, kernel);
        kernel.calls.push("pipeline".into());
        if accepted {
            steered.open(plan, kernel);
        } else {
            steered.reopen(&plan, kernel);
        }
        std::mem::take(&mut kernel.calls)
    }

    #[test]
    fn closing_precedes_the_pipeline_and_opening_follows_it() {
        let (mut s, mut k) = (Steered::default(), Recorder::default());
        let ops = [media(5000, 1), media(5001, 2), route("10.2.0.0/16", 1)];
        assert_eq!(
            run(&mut s, &mut k, &ops, true),
            ["pipeline", "open 5000 1", "open 5001 2", "add 10.2.0.0/16 1"]
        );
        // A refused transaction leaves everything as it was.
        let ops = [Op::MediaClose(MediaPort(5000)), route("10.3.0.0/16", 1)];
        assert_eq!(run(&mut s, &mut k, &ops, false), ["close 5000", "pipeline", "open 5000 1"]);
        // Closed and opened anew in one transaction for another tunnel; opened and closed in one is nothing at all.
        let ops = [
            Op::MediaClose(MediaPort(5000)),
            media(5000, 2),
            media(5009, 2),
            Op::MediaClose(MediaPort(5009)),
        ];
        assert_eq!(run(&mut s, &mut k, &ops, true), ["close 5000", "pipeline", "open 5000 2"]);
        // A tunnel takes its ports and prefixes with it, planned ones too.
        let ops = [media(5002, 2), Op::TunnelRemove(TunnelId(2))];
        let mut calls = run(&mut s, &mut k, &ops, true);
        calls.sort();
        assert_eq!(calls, ["close 5000", "close 5001", "pipeline"]);
        assert_eq!(
            run(&mut s, &mut k, &[Op::TunnelRemove(TunnelId(1))], true),
            ["remove 10.2.0.0/16", "pipeline"]
        );
        assert!(s.media.is_empty() && s.prefixes.is_empty());
    }

    #[test]
    fn what_the_kernel_refuses_is_undone_in_the_pipeline() {
        let mut k = Recorder { refuse: Some(MediaPort(5001)), ..Recorder::default() };
        let mut s = Steered::default();
        let ops = [media(5000, 1), media(5001, 2)];
        let plan = s.plan(&ops);
        let (index, undo) = s.open(plan, &mut k).expect("one refused");
        assert_eq!(index, 1);
        assert!(matches!(undo[..], [Op::MediaClose(MediaPort(5001))]));
        assert_eq!(s.media.len(), 1);
    }
}
