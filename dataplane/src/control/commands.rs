//! What the control plane's commands act on: the registry, the kernel's tables, the workers.

use super::media_sockets::FromKernel;
use super::rings::{Target, Uplink};
use super::steering::{Steer, SteerOp, Steered};
use super::worker_link::{IkeMessage, Update};
use super::workers::Workers;
use sipsec_abi::Punt;
use sipsec_abi::counters::STEERING_MAX;
use sipsec_net::dp::{Event, Op, RejectReason};
use sipsec_pipeline::{AeadEngine, Config, Local, Registry, Validated};
use std::os::fd::{AsFd, BorrowedFd};
use tracing::{error, warn};

pub struct Commands<K> {
    registry: Registry,
    engine: Box<dyn AeadEngine>,
    kernel: K,
    steered: Steered,
    /// The last transaction said that more of its change follow.
    is_continued: bool,
    pub workers: Workers,
    pub up: Uplink,
    told: Told,
    kernel_lost: KernelLost,
}

/// Updates that a path's MTU leaves for others.
const PATH_MTUS_ROOM: usize = 8;

/// What came from the kernel's sockets and got no further.
#[derive(Clone, Copy, Debug, Default)]
pub struct KernelLost {
    /// The queue of the worker was full.
    pub full: u64,
    pub datagrams: u64,
}

/// What is logged once: it is the WAN's, and so every tunnel's.
#[derive(Debug, Default)]
struct Told {
    too_small_for_v6: bool,
}

impl<K: Steer> Commands<K> {
    pub fn new(config: &Config, engine: Box<dyn AeadEngine>, kernel: K, workers: Workers) -> Self {
        Self {
            registry: Registry::new(config),
            engine,
            kernel,
            steered: Steered::default(),
            is_continued: false,
            workers,
            up: Uplink::new(&config.limits),
            told: Told::default(),
            kernel_lost: KernelLost::default(),
        }
    }

    /// The tables, as the workers have them or will have them soon.
    pub const fn registry(&self) -> &Registry {
        &self.registry
    }

    /// The host's own prefixes and addresses are these now.
    pub fn local(&mut self, local: Box<Local>) {
        self.kernel.local(&local.prefixes);
        self.workers.tell_all(|| Update::Local(local.clone()));
    }

    /// The MTU of the WAN is this now.
    pub fn outside_mtu(&mut self, mtu: u16) {
        self.registry.set_outside_mtu(mtu);
        self.workers.tell_all(|| Update::OutsideMtu(mtu));
    }

    /// Hands what the kernel has of the media ports to their workers; how much there was.
    pub fn take_from_kernel(&mut self) -> usize {
        let (workers, registry, lost) = (&self.workers, &self.registry, &mut self.kernel_lost);
        let owner = |port| workers.owner(registry.tunnel_of(port));
        let taken = self.kernel.media_sockets().map(|sockets| {
            sockets.take(|message| match message {
                FromKernel::Datagram => lost.datagrams += 1,
                FromKernel::PathMtu(report) => {
                    let updates = &owner(report.media_port).updates;
                    // There is always room for what a control plane wants.
                    let has_room = updates.room() > PATH_MTUS_ROOM;
                    let told = has_room && updates.push(Update::PathMtu(report)).is_ok();
                    lost.full += u64::from(!told);
                }
            })
        });
        taken.unwrap_or(0)
    }

    /// For the next sleep.
    pub fn kernel_fd(&self) -> Option<BorrowedFd<'_>> {
        self.kernel.media_sockets().map(AsFd::as_fd)
    }

    #[must_use]
    pub const fn kernel_lost(&self) -> KernelLost {
        self.kernel_lost
    }

    /// What the XDP programs counted, indexed by [`sipsec_abi::bpf::Counter`].
    pub fn kernel_counters(&self) -> [u64; STEERING_MAX] {
        let mut all = [0; STEERING_MAX];
        for (to, from) in all.iter_mut().zip(self.kernel.counters()) {
            *to = from;
        }
        all
    }

    /// `sipsec check` sees to the profile, but not to what the WAN makes of it.
    fn look_for_small_tunnels(&mut self, ops: &[Op]) {
        if self.told.too_small_for_v6 {
            return;
        }
        let small = ops.iter().find_map(|op| match op {
            Op::RouteAdd { tunnel, .. } | Op::TunnelBind { tunnel, .. } => {
                Some((tunnel, self.registry.too_small_for_v6(*tunnel)?))
            }
            _ => None,
        });
        if let Some((tunnel, mtu)) = small {
            self.told.too_small_for_v6 = true;
            warn!(
                %tunnel,
                mtu,
                "the WAN leaves a tunnel with IPv6 routes less than 1280 bytes: larger IPv6 packets are lost, and hosts send \
                 none that are smaller because they are told to (RFC 8200 §5); raise the MTU of the WAN, or take the IPv6 \
                 routes out of the profile"
            );
        }
    }
}

impl<K: Steer> Target for Commands<K> {
    type Validated = Validated;

    fn validate(&self, ops: &[Op]) -> Result<Validated, (u16, RejectReason)> {
        self.registry.validate(&*self.engine, ops)
    }

    fn begin(&mut self, ops: Vec<Op>, more: bool, validated: Validated) -> Result<(), (u16, RejectReason)> {
        // Before the kernel's tables, so that nothing has to be taken back.
        if !self.workers.have_room() {
            error!("a worker does not answer: a transaction is refused");
            return Err((0, RejectReason::TableFull));
        }
        let steering = SteerOp::of(&ops);
        // The last transaction of a change lets go of what the change has removed, even if it steers nothing itself.
        if !steering.is_empty() || self.is_continued {
            let plan = self.steered.plan(&steering, more);
            self.steered.change(plan, &mut self.kernel).map_err(|op| (op, RejectReason::TableFull))?;
        }
        self.is_continued = more;
        self.registry.commit(&ops, &validated);
        self.look_for_small_tunnels(&ops);
        self.workers.transact(ops, validated);
        Ok(())
    }

    fn snapshot(&mut self) {
        let up = &mut self.up;
        self.registry.snapshot(&mut |event| up.report(event));
        up.report(Event::SnapshotEnd);
        // Calls that were asked for while no control plane was there. What waits for them stays while the tunnel is put
        // back.
        self.workers.tell_all(|| Update::Reacquire);
    }

    fn send_ike(&mut self, punt: Punt<'_>) {
        // It came out of a ring of messages no longer than this, and there is room.
        if let Some(message) = IkeMessage::new(punt.media_port, punt.remote, punt.message) {
            let message = IkeMessage { dont_fragment: punt.dont_fragment, ..message };
            let _ = self.workers.owner(self.registry.tunnel_of(punt.media_port)).ike_down.push(message);
        }
    }

    fn has_room_for_answer(&self) -> bool {
        self.up.has_room_for_answer()
    }

    fn has_room_for_ike(&self) -> bool {
        self.workers.have_room_for_ike()
    }

    fn report(&mut self, event: Event) {
        self.up.report(event);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::steering::tests::Recorder;
    use crate::control::worker_link::{ControlEnd, worker_link};
    use crate::engines;
    use sipsec_net::dp::Adjacency;
    use sipsec_pipeline::testing::{Gateway, Side};
    use sipsec_pipeline::{InsideMode, Owners};

    fn alone(control: ControlEnd) -> Workers {
        Workers::new(Owners::ONE, vec![control])
    }

    #[test]
    fn a_wan_that_is_too_small_for_ipv6_is_told_of_once_a_tunnel_carries_it() {
        let mut config = Gateway::config(Side::A, InsideMode::Host);
        config.outside.mtu = 1300;
        let engine = engines::select(sipsec_profile::model::Engine::Auto).expect("passes").engine;
        let (control, worker) = worker_link().expect("eventfds");
        let mut commands = Commands::new(&config, engine, Recorder::refusing("nothing"), alone(control));
        let prefix = "2001:db8:2::/48".parse().expect("valid");
        for (op, told) in [
            (Op::TunnelAdd(Gateway::tunnel()), false),
            (
                Op::RouteAdd { prefix: Side::B.lan(), tunnel: Gateway::TUNNEL, adjacency: Adjacency::Tunnel },
                false,
            ),
            (Op::RouteAdd { prefix, tunnel: Gateway::TUNNEL, adjacency: Adjacency::Tunnel }, true),
        ] {
            let validated = commands.validate(std::slice::from_ref(&op)).expect("valid");
            commands.begin(vec![op], false, validated).expect("nothing refuses");
            assert_eq!(commands.told.too_small_for_v6, told);
        }
        let updates = std::iter::from_fn(|| worker.updates.pop());
        assert_eq!(updates.filter(|u| matches!(u, Update::Transaction { .. })).count(), 3);
    }

    #[test]
    fn what_the_kernel_refuses_reaches_neither_the_registry_nor_the_worker() {
        let config = Gateway::config(Side::A, InsideMode::Host);
        let engine = engines::select(sipsec_profile::model::Engine::Auto).expect("passes").engine;
        let (control, worker) = worker_link().expect("eventfds");
        let mut commands = Commands::new(&config, engine, Recorder::refusing("add 10.2"), alone(control));
        let ops = [
            Op::TunnelAdd(Gateway::tunnel()),
            Op::RouteAdd { prefix: Side::B.lan(), tunnel: Gateway::TUNNEL, adjacency: Adjacency::Tunnel },
        ];
        for _ in 0..2 {
            // The second time as the first: the tunnel is not there yet.
            let validated = commands.validate(&ops).expect("valid");
            let refused = commands.begin(ops.to_vec(), false, validated);
            assert_eq!(refused, Err((1, RejectReason::TableFull)));
        }
        assert!(worker.updates.pop().is_none());
    }
}
