//! A control plane that does what the test says.

use crate::support::PATIENCE_S;
use crate::topology::Side;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use sipsec_abi::ControlSide;
use sipsec_net::dp::{
    Adjacency, Direction, EspCipher, Event, MediaBinding, Op, OuterDscp, SaSpec, Selectors, TunnelSpec,
};
use sipsec_net::{Kbps, MacAddr, MediaPort, SaId, SecretBox, Spi, TunnelId, TxnId};
use std::collections::VecDeque;
use std::net::SocketAddr;
use std::os::fd::AsFd;
use std::path::Path;

pub const TUNNEL: TunnelId = TunnelId(7);
/// Far more than any test sends.
pub const RATE: Kbps = Kbps(100_000);

pub struct Control {
    pub side: ControlSide,
    last: u64,
    events: VecDeque<Event>,
}

impl Control {
    pub fn connect(socket: &Path) -> Self {
        let side = ControlSide::connect(socket, "test").expect("the dataplane serves");
        Self { side, last: 0, events: VecDeque::new() }
    }

    /// Sends a transaction; its number.
    pub fn send(&mut self, ops: &[Op]) -> TxnId {
        self.last += 1;
        let txn = TxnId(self.last);
        self.side.push(txn, ops).expect("room in the ring");
        txn
    }

    /// Sends a transaction and waits for its answer.
    pub fn transact(&mut self, ops: &[Op]) -> Event {
        let txn = self.send(ops);
        self.answer(txn)
    }

    pub fn answer(&mut self, txn: TxnId) -> Event {
        self.wait_for(|e| matches!(e, Event::Applied(t) | Event::Rejected { txn: t, .. } if *t == txn))
    }

    pub fn apply(&mut self, ops: &[Op]) {
        let answer = self.transact(ops);
        assert!(matches!(answer, Event::Applied(_)), "{answer:?}");
    }

    /// The first event that satisfies `wanted`; the others stay for later.
    pub fn wait_for(&mut self, wanted: impl Fn(&Event) -> bool) -> Event {
        loop {
            if let Some(at) = self.events.iter().position(&wanted) {
                return self.events.remove(at).expect("found");
            }
            while let Some(event) = self.side.pop().expect("a sane ring") {
                self.events.push_back(event);
            }
            if !self.events.iter().any(&wanted) {
                self.sleep();
            }
        }
    }

    /// The next IKE message.
    pub fn wait_ike(&mut self) -> (MediaPort, SocketAddr, Vec<u8>) {
        loop {
            if let Some(punt) = self.side.recv_ike().expect("a sane ring") {
                return (punt.media_port, punt.remote, punt.message.to_vec());
            }
            self.sleep();
        }
    }

    fn sleep(&mut self) {
        if self.side.prepare_sleep() {
            let mut fds = [PollFd::from_borrowed_fd(self.side.doorbell.as_fd(), PollFlags::IN)];
            let woken = poll(&mut fds, Some(&Timespec { tv_sec: PATIENCE_S, tv_nsec: 0 })).expect("poll");
            assert_eq!(woken, 1, "the dataplane has something to say in time; so far: {:?}", self.events);
        }
        self.side.woke();
    }

    /// All events of a snapshot.
    pub fn snapshot(&mut self) -> Vec<Event> {
        self.side.request_snapshot().expect("room in the ring");
        let end = self.wait_for(|e| *e == Event::SnapshotEnd);
        let mut all: Vec<_> = self
            .events
            .iter()
            .filter(|e| {
                matches!(e, Event::SnapshotTunnel { .. } | Event::SnapshotMedia(_) | Event::SnapshotSa { .. })
            })
            .cloned()
            .collect();
        all.push(end);
        all
    }

    /// The summary of the packet that waits for a call.
    pub fn wait_acquire(&mut self) -> sipsec_net::dp::PacketSummary {
        match self.wait_for(|e| matches!(e, Event::Acquire { .. })) {
            Event::Acquire { tunnel, first } => {
                assert_eq!(tunnel, TUNNEL);
                first
            }
            _ => unreachable!("wait_for gave what was asked for"),
        }
    }
}

pub const fn media_port(side: Side) -> MediaPort {
    match side {
        Side::A => MediaPort(50_001),
        Side::B => MediaPort(50_002),
    }
}

pub fn media_addr(side: Side) -> SocketAddr {
    SocketAddr::new(side.wan().into(), media_port(side).0)
}

/// The configured tunnel towards the other side.
pub fn tunnel(side: Side) -> Vec<Op> {
    let spec = TunnelSpec { trigger_age_ms_max: 30_000, ..TunnelSpec::new(TUNNEL, 1400) };
    let prefix = side.other().lan_prefix().parse().expect("a prefix");
    vec![Op::TunnelAdd(spec), Op::RouteAdd { prefix, tunnel: TUNNEL, adjacency: Adjacency::Tunnel }]
}

pub fn media_open(side: Side) -> Op {
    Op::MediaOpen(MediaBinding {
        tunnel: TUNNEL,
        inside_local: "127.0.0.1:4500".parse().expect("valid"),
        outside_local: media_addr(side),
        remote: media_addr(side.other()),
        rate: RATE,
        next_hop: MacAddr(side.other().wan_mac()),
        outer_dscp: OuterDscp::Fixed(0),
    })
}

/// SAs with keys both sides know, bound, and what waited is sent.
pub fn session(side: Side) -> Vec<Op> {
    let sa = |direction| {
        // Keyed by the sender.
        let sender = match direction {
            Direction::Out => side,
            Direction::In => side.other(),
        };
        let (id, spi, key) = match sender {
            Side::A => (1, 0x1000_0001, [0xaa; 20]),
            Side::B => (2, 0x1000_0002, [0xbb; 20]),
        };
        Op::SaAdd(SaSpec {
            sa: SaId(id),
            tunnel: TUNNEL,
            direction,
            spi: Spi::new(spi).expect("not reserved"),
            media_port: media_port(side),
            cipher: EspCipher::Aes128Gcm16,
            keymat: SecretBox::new(&key).expect("fits"),
            esn: false,
            replay_window: 1024,
            selectors: Selectors::ANY_V4,
            soft_bytes_max: 0,
            hard_bytes_max: 0,
        })
    };
    let outbound = match side {
        Side::A => SaId(1),
        Side::B => SaId(2),
    };
    vec![
        sa(Direction::In),
        sa(Direction::Out),
        Op::TunnelBind { tunnel: TUNNEL, outbound },
        Op::ReplayTrigger(TUNNEL),
    ]
}
