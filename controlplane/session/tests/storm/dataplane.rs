//! A dataplane as strict as the real one (`sipsec-pipeline`, `apply/validate.rs`): a transaction is applied whole or not
//! at all, and packets pass only through SAs and ports that are there.

use crate::world::RING;
use sipsec_net::dp::{
    Direction, Event, MediaBinding, Op, PacketSummary, RejectReason, SaSpec, TunnelActivity,
};
use sipsec_net::{Instant, MediaPort, SaId, TunnelId, TxnId};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::SocketAddr;
use std::time::Duration;

/// As the real one's profile has it.
const TRIGGER_AGE: Duration = Duration::from_secs(5);
const TRIGGER_MAX: usize = 64;

#[derive(Clone, Default)]
pub struct Tables {
    tunnels: BTreeSet<TunnelId>,
    pub media: BTreeMap<MediaPort, MediaBinding>,
    pub sas: BTreeMap<SaId, SaSpec>,
    pub bound: BTreeMap<TunnelId, SaId>,
}

/// Refused, or removed with something else.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Gone {
    Port(MediaPort),
    Tunnel(TunnelId),
}

impl Gone {
    /// What the operation needs.
    fn needed_by(op: &Op) -> [Option<Self>; 2] {
        match op {
            Op::MediaClose(port)
            | Op::NextHop { media_port: port, .. }
            | Op::PeerSource { media_port: port, .. }
            | Op::PathMtu { media_port: port, .. } => [Some(Self::Port(*port)), None],
            Op::SaAdd(spec) => [Some(Self::Port(spec.media_port)), Some(Self::Tunnel(spec.tunnel))],
            Op::MediaOpen(binding) => [None, Some(Self::Tunnel(binding.tunnel))],
            Op::TunnelUnbind(t) | Op::ReplayTrigger(t) | Op::FlushTrigger(t) => {
                [None, Some(Self::Tunnel(*t))]
            }
            _ => [None, None],
        }
    }
}

#[derive(Default)]
pub struct Dataplane {
    pub tables: Tables,
    waiting: VecDeque<(Instant, u64)>,
    acquiring: bool,
    activity: TunnelActivity,
    last_txn: u64,
    /// Refuses that many of the next transactions that open a port or add an SA.
    pub refuse: u32,
    /// What is not there, and until when the control plane cannot know it.
    unsaid: Vec<(Instant, Gone)>,
    /// Binds nothing to an SA that is installed already.
    pub refuse_bind: bool,
    /// Transactions refused without a request of the test: the control plane's idea of the dataplane was wrong.
    pub surprised: Vec<String>,
    pub delivered: BTreeSet<u64>,
}

/// An ESP-in-UDP packet, as far as its way matters.
pub struct Esp {
    pub from: SocketAddr,
    pub to: SocketAddr,
    pub spi: u32,
    pub key: Vec<u8>,
    pub id: u64,
}

impl Tables {
    fn apply(&mut self, op: &Op) -> Result<(), RejectReason> {
        let tunnel = |t: &TunnelId| {
            if self.tunnels.contains(t) { Ok(()) } else { Err(RejectReason::UnknownTunnel) }
        };
        match op {
            Op::TunnelAdd(spec) => {
                if !self.tunnels.insert(spec.tunnel) {
                    return Err(RejectReason::DuplicateTunnel);
                }
            }
            Op::TunnelSet(spec) => tunnel(&spec.tunnel)?,
            Op::TunnelQos(spec) => tunnel(&spec.tunnel)?,
            Op::TunnelQosFilters(more) => tunnel(&more.tunnel)?,
            Op::TunnelRemove(t) => {
                tunnel(t)?;
                let ports: Vec<_> =
                    self.media.values().filter(|b| b.tunnel == *t).map(MediaBinding::media_port).collect();
                ports.into_iter().for_each(|p| self.close(p));
                self.tunnels.remove(t);
                self.bound.remove(t);
            }
            Op::RouteAdd { tunnel: t, .. }
            | Op::TunnelUnbind(t)
            | Op::ReplayTrigger(t)
            | Op::FlushTrigger(t)
            | Op::NatRule { tunnel: t, .. }
            | Op::NatRemove(t) => {
                tunnel(t)?;
                if let Op::TunnelUnbind(t) = op {
                    self.bound.remove(t);
                }
            }
            Op::RouteRemove { .. } | Op::NatPolicy(_) | Op::NatClear(_) | Op::NatPage { .. } => {}
            Op::MediaOpen(b) => {
                tunnel(&b.tunnel)?;
                if self.media.insert(b.media_port(), *b).is_some() {
                    return Err(RejectReason::DuplicateMediaPort);
                }
            }
            Op::MediaClose(port) => {
                if !self.media.contains_key(port) {
                    return Err(RejectReason::UnknownMediaPort);
                }
                self.close(*port);
            }
            Op::FilterAdd { tunnel: t, .. } | Op::FilterClear { tunnel: t, .. } => tunnel(t)?,
            Op::NextHop { media_port, mac } => {
                self.media.get_mut(media_port).ok_or(RejectReason::UnknownMediaPort)?.next_hop = *mac;
            }
            Op::PeerSource { media_port, .. } | Op::PathMtu { media_port, .. } => {
                self.media.get(media_port).ok_or(RejectReason::UnknownMediaPort)?;
            }
            Op::SaAdd(spec) => {
                tunnel(&spec.tunnel)?;
                if self.media.get(&spec.media_port).is_none_or(|b| b.tunnel != spec.tunnel) {
                    return Err(RejectReason::UnknownMediaPort);
                }
                if self.sas.insert(spec.sa, spec.clone()).is_some() {
                    return Err(RejectReason::DuplicateSa);
                }
            }
            Op::SaSelectors { sa, .. } => {
                self.sas.get(sa).ok_or(RejectReason::UnknownSa)?;
            }
            Op::SaRemove(sa) => {
                self.sas.remove(sa);
                self.bound.retain(|_, b| b != sa);
            }
            Op::TunnelBind { tunnel: t, outbound } => {
                tunnel(t)?;
                let sa = self.sas.get(outbound).ok_or(RejectReason::UnknownSa)?;
                if sa.direction != Direction::Out {
                    return Err(RejectReason::WrongDirection);
                }
                self.bound.insert(*t, *outbound);
            }
        }
        Ok(())
    }

    fn close(&mut self, port: MediaPort) {
        self.media.remove(&port);
        self.sas.retain(|_, s| s.media_port != port);
        let sas = &self.sas;
        self.bound.retain(|_, b| sas.contains_key(b));
    }
}

impl Dataplane {
    /// Answers, and gives back what was released from the trigger queue. `sent` is when the control plane knew what it knew.
    pub fn transact(&mut self, now: Instant, sent: Instant, txn: TxnId, ops: &[Op]) -> (Event, Vec<u64>) {
        assert!(txn.0 > self.last_txn, "transaction ids rise");
        self.last_txn = txn.0;
        let mut after = self.tables.clone();
        self.unsaid.retain(|(told, _)| sent <= *told);
        for (op, index) in ops.iter().zip(0u16..) {
            let costly = matches!(op, Op::MediaOpen(_) | Op::SaAdd(_));
            let refused = if costly && self.refuse > 0 {
                self.refuse -= 1;
                self.unsaid.extend(ops.iter().filter_map(|op| match op {
                    Op::MediaOpen(b) => Some((now + RING, Gone::Port(b.media_port()))),
                    _ => None,
                }));
                Err(RejectReason::TableFull)
            } else if self.refuse_bind && matches!(ops, [Op::TunnelBind { .. }]) {
                Err(RejectReason::UnknownSa)
            } else {
                let known = |gone: Gone| !self.unsaid.iter().any(|(told, g)| *g == gone && sent <= *told);
                let surprise = Gone::needed_by(op).into_iter().flatten().all(known);
                after.apply(op).inspect_err(|reason| {
                    if surprise {
                        self.surprised.push(format!("{reason:?} at {index} of {ops:?}"));
                    }
                })
            };
            if let Err(reason) = refused {
                return (Event::Rejected { txn, op: index, reason }, Vec::new());
            }
        }
        for op in ops {
            if let Op::TunnelRemove(t) = op {
                let media = self.tables.media.values().filter(|b| b.tunnel == *t);
                let gone = media.map(|b| Gone::Port(b.media_port())).chain([Gone::Tunnel(*t)]);
                self.unsaid.extend(gone.map(|gone| (now + RING, gone)));
            }
        }
        self.tables = after;
        let mut released = Vec::new();
        for op in ops {
            match op {
                Op::ReplayTrigger(_) => {
                    self.expire(now);
                    released.extend(self.waiting.drain(..).map(|(_, id)| id));
                    self.acquiring = false;
                }
                Op::FlushTrigger(_) | Op::TunnelRemove(_) => {
                    self.waiting.clear();
                    self.acquiring = false;
                }
                _ => {}
            }
        }
        (Event::Applied(txn), released)
    }

    fn expire(&mut self, now: Instant) {
        while self.waiting.front().is_some_and(|(at, _)| *at + TRIGGER_AGE <= now) {
            self.waiting.pop_front();
        }
        self.acquiring &= !self.waiting.is_empty();
    }

    /// A LAN packet: sealed, or waiting and perhaps asking for a call.
    pub fn inside(&mut self, now: Instant, tunnel: TunnelId, id: u64) -> (Option<Esp>, Option<Event>) {
        if let Some(sa) = self.tables.bound.get(&tunnel).and_then(|b| self.tables.sas.get(b)) {
            let binding = self.tables.media.get(&sa.media_port).expect("an SA goes with its port");
            self.activity.last_out = now;
            self.activity.packets_out += 1;
            let esp = Esp {
                from: binding.outside_local,
                to: binding.remote,
                spi: sa.spi.get(),
                key: sa.keymat.expose().to_vec(),
                id,
            };
            return (Some(esp), None);
        }
        self.expire(now);
        if !self.tables.tunnels.contains(&tunnel) || self.waiting.len() >= TRIGGER_MAX {
            return (None, None);
        }
        self.waiting.push_back((now, id));
        let ask = !std::mem::replace(&mut self.acquiring, true);
        (None, ask.then_some(Event::Acquire { tunnel, first: summary() }))
    }

    pub fn outside(&mut self, now: Instant, esp: &Esp) {
        let Some(binding) = self.tables.media.get(&MediaPort(esp.to.port())) else { return };
        let sa = self.tables.sas.values().find(|s| {
            s.direction == Direction::In
                && s.media_port == binding.media_port()
                && s.spi.get() == esp.spi
                && s.keymat.expose() == esp.key
        });
        if binding.remote == esp.from && sa.is_some() {
            self.activity.last_in = now;
            self.activity.packets_in += 1;
            self.delivered.insert(esp.id);
        }
    }

    pub fn activity(&self) -> TunnelActivity {
        self.activity
    }

    pub fn snapshot(&self) -> Vec<Event> {
        let t = &self.tables;
        let tunnels = t
            .tunnels
            .iter()
            .map(|id| Event::SnapshotTunnel { tunnel: *id, outbound: t.bound.get(id).copied() });
        let media = t.media.values().map(|b| Event::SnapshotMedia(*b));
        let sas = t.sas.values().map(|s| Event::SnapshotSa {
            sa: s.sa,
            tunnel: s.tunnel,
            direction: s.direction,
            spi: s.spi,
            media_port: s.media_port,
        });
        tunnels.chain(media).chain(sas).chain([Event::SnapshotEnd]).collect()
    }

    /// All state is gone; what the test keeps stays.
    pub fn restart(&mut self) {
        let delivered = std::mem::take(&mut self.delivered);
        let surprised = std::mem::take(&mut self.surprised);
        *self = Self { delivered, surprised, ..Self::default() };
    }

    /// A new connection: its transactions are numbered anew.
    pub fn connected(&mut self) {
        self.last_txn = 0;
    }

    pub fn is_empty(&self) -> bool {
        self.tables.media.is_empty() && self.tables.sas.is_empty() && self.tables.bound.is_empty()
    }
}

fn summary() -> PacketSummary {
    let ip = |s: &str| s.parse().expect("an address");
    PacketSummary {
        source: ip("10.1.0.2"),
        destination: ip("10.2.0.2"),
        protocol: 1,
        source_port: 0,
        destination_port: 0,
        len: 84,
    }
}
