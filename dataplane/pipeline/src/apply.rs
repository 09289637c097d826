//! Transactions on the tables that packets use: validated before by [`crate::Registry`], so that nothing here can fail.

use crate::class_queues::{Bounds, Policy, Queues};
use crate::config::Config;
use crate::engine::AeadKey;
use crate::graph::Pipeline;
use crate::packet::Packet;
use crate::packet_queue::Waiting;
use crate::police::Policer;
use crate::qos_counters::QosCounters;
use crate::registry::{Validated, inner_mtu};
use crate::sad::SaRef;
use crate::trigger::{self, Kept, Trigger};
use sipsec_net::dp::{MediaBinding, Op, SaSpec, TunnelSpec};
use sipsec_net::qos::QosSpec;
use sipsec_net::{DropReason, Instant, Kbps, MediaPort, SaId, TunnelId};

impl<P: Packet> Pipeline<P> {
    /// Applies all of `ops` in order: what the registry has validated and committed since the last call. What is sent as a
    /// result is sent by the next [`Self::poll`].
    pub fn commit(&mut self, now: Instant, ops: &[Op], Validated { keys, counters }: Validated) {
        let (mut keys, mut counters) = (keys.into_iter(), counters.into_iter());
        let mut kept = Kept::new();
        for (op, at) in ops.iter().zip(1..) {
            if let Op::TunnelRemove(tunnel) = op {
                let put_back = |op: &Op| matches!(op, Op::TunnelAdd(spec) if spec.tunnel == *tunnel);
                if ops[at..].iter().any(put_back) {
                    kept.extend(self.take_waiting(*tunnel));
                }
            }
            self.commit_one(now, op, &mut keys, &mut counters);
        }
        for (tunnel, waiting) in kept {
            self.put_waiting(tunnel, waiting);
        }
    }

    fn commit_one(
        &mut self,
        now: Instant,
        op: &Op,
        keys: &mut impl Iterator<Item = Box<dyn AeadKey>>,
        counters: &mut impl Iterator<Item = QosCounters>,
    ) {
        if self.place.is_others(op) {
            return;
        }
        let mut fresh_counters = || counters.next().expect("validation made counters for every policy");
        match op {
            Op::TunnelAdd(spec) => {
                let inner_mtu = inner_mtu(&self.config.outside, spec);
                let policy = plain(spec.tunnel, fresh_counters());
                let elsewhere = self.place.elsewhere(spec.tunnel);
                let index = self.tunnels.insert(*spec, inner_mtu, policy, elsewhere);
                if spec.routing_hellos {
                    self.hello_tunnels.push(index);
                }
            }
            Op::TunnelSet(spec) => self.tunnel_set(spec),
            Op::TunnelQos(spec) => {
                let counters = fresh_counters();
                self.tunnel_qos(Policy { spec: *spec, counters, filters: [].into() });
            }
            Op::TunnelQosFilters(more) => {
                let t = self.tunnels.find(more.tunnel).and_then(|i| self.tunnels.get(i));
                let Some(mut policy) = t.map(|t| t.policy.clone()) else { return };
                policy.filters =
                    policy.filters.iter().chain(more.filters.iter().flatten()).copied().collect();
                self.tunnel_qos(policy);
            }
            Op::TunnelRemove(tunnel) => self.tunnel_remove(*tunnel),
            Op::RouteAdd { prefix, tunnel, adjacency } => match self.tunnels.find(*tunnel) {
                Some(index) if self.place.elsewhere(*tunnel).is_some() => {
                    self.fib.insert_elsewhere(*prefix, index, *adjacency);
                }
                Some(index) => self.fib.insert(*prefix, index, *adjacency),
                None => {}
            },
            Op::RouteRemove { prefix } => self.fib.remove(*prefix),
            Op::FilterAdd { tunnel, used, rule } => {
                if let Some(t) = self.tunnels.find(*tunnel).and_then(|i| self.tunnels.get_mut(i)) {
                    t.filters.add(*used, *rule);
                }
            }
            Op::FilterClear { tunnel, used } => {
                if let Some(t) = self.tunnels.find(*tunnel).and_then(|i| self.tunnels.get_mut(i)) {
                    t.filters.clear(*used);
                }
            }
            Op::MediaOpen(binding) => self.media_open(*binding),
            Op::MediaClose(port) => self.media_close(*port),
            Op::NextHop { media_port, mac } => {
                let media = self.media.find(*media_port);
                if let Some(m) = media.and_then(|i| self.media.get_mut(i)) {
                    m.binding.next_hop = *mac;
                    m.outer.set_next_hop(*mac);
                }
            }
            Op::PeerSource { media_port, source } => {
                let media = self.media.find(*media_port);
                if let Some(m) = media.and_then(|i| self.media.get_mut(i)) {
                    m.source = Some(*source);
                }
            }
            Op::PathMtu { media_port, mtu } => self.set_probed_mtu(*media_port, *mtu),
            Op::SaAdd(spec) => {
                let key = keys.next().expect("validation made a key for every SA");
                self.sa_add(spec, key);
            }
            Op::SaSelectors { sa, more } => self.sad.add_selectors(*sa, *more),
            Op::SaRemove(sa) => self.sa_remove(*sa),
            Op::TunnelBind { tunnel, outbound } => {
                let sa = self.sad.find(*outbound);
                if let (Some(t), Some(SaRef::Out(sa))) = (self.tunnels.find(*tunnel), sa)
                    && let Some(t) = self.tunnels.get_mut(t)
                {
                    t.outbound = Some(sa);
                }
                if let Some(t) = self.tunnels.find(*tunnel) {
                    self.publish_mtu(t);
                }
            }
            Op::TunnelUnbind(tunnel) => {
                if let Some(t) = self.tunnels.find(*tunnel).and_then(|i| self.tunnels.get_mut(i)) {
                    t.outbound = None;
                }
            }
            Op::ReplayTrigger(tunnel) => self.replay_trigger(now, *tunnel),
            Op::FlushTrigger(tunnel) => self.flush_trigger(*tunnel),
            Op::NatPolicy(policy) => self.nat.set_policy(*policy),
            Op::NatRule { tunnel, rule } => {
                if let Some(index) = self.tunnels.find(*tunnel) {
                    self.nat.add_rule(index, *tunnel, rule);
                }
            }
            Op::NatRemove(tunnel) => {
                if let Some(index) = self.tunnels.find(*tunnel) {
                    self.nat.clear_rules(index);
                }
            }
            Op::NatClear(host) => self.nat.clear(*host),
            Op::NatPage { from } if self.place.own_nat_row(*from).is_some() => self.nat_page = Some(*from),
            Op::NatPage { .. } => {}
        }
    }

    fn tunnel_set(&mut self, spec: &TunnelSpec) {
        let inner_mtu = inner_mtu(&self.config.outside, spec);
        let Some(index) = self.tunnels.find(spec.tunnel) else { return };
        let Some(t) = self.tunnels.get_mut(index) else { return };
        (t.spec, t.inner_mtu) = (*spec, inner_mtu);
        self.hello_tunnels.retain(|i| *i != index);
        if spec.routing_hellos {
            self.hello_tunnels.push(index);
        }
        // The oldest packet that waits may be too old now.
        self.watch_trigger(index);
        self.publish_mtu(index);
    }

    /// What waits for the rate of the tunnel's calls takes its place in the new classes.
    fn tunnel_qos(&mut self, policy: Policy) {
        let tunnel = policy.spec.tunnel;
        let Some(place) = self.tunnels.find(tunnel) else { return };
        let Some(t) = self.tunnels.get_mut(place) else { return };
        t.policy = policy.clone();
        let mut dropped = 0;
        for port in &t.media_ports {
            let Some(index) = self.media.find(*port) else { continue };
            let Some(m) = self.media.get_mut(index) else { continue };
            let bounds = bounds(&self.config, m.binding.rate);
            dropped += m.queues.replace(&mut self.waiting, policy.clone(), &bounds);
            m.policer = Policer::new(m.binding.rate, policy.spec.police);
            if !m.queues.is_empty() {
                self.releases.set(index, m.shaper.ready_at());
            }
        }
        for _ in 0..dropped {
            t.activity.dropped_out();
        }
        self.drops[DropReason::ShaperQueueFull.index()] += u64::from(dropped);
        self.publish_mtu(place);
    }

    fn tunnel_remove(&mut self, tunnel: TunnelId) {
        let Some(index) = self.tunnels.find(tunnel) else { return };
        let ports = self.tunnels.get_mut(index).map(|t| core::mem::take(&mut t.media_ports));
        ports.into_iter().flatten().for_each(|port| self.media_close(port));
        self.fib.remove_tunnel(index);
        self.flush_trigger(tunnel);
        self.nat.clear_rules(index);
        self.tunnels.remove(tunnel);
        // Its number may be another tunnel's soon.
        self.expiries.cancel(index);
        self.hello_tunnels.retain(|i| *i != index);
    }

    fn flush_trigger(&mut self, tunnel: TunnelId) {
        let Some(t) = self.tunnels.find(tunnel).and_then(|i| self.tunnels.get_mut(i)) else { return };
        let flushed = trigger::flush(t, &mut self.waiting);
        self.trigger_packets -= flushed;
        self.drops[DropReason::TriggerFlushed.index()] += u64::from(flushed);
    }

    /// A tunnel that is removed only to be put back in the same transaction (a control plane has started anew) keeps what
    /// waits for a call.
    fn take_waiting(&mut self, tunnel: TunnelId) -> Option<(TunnelId, Trigger)> {
        let t = self.tunnels.find(tunnel).and_then(|i| self.tunnels.get_mut(i))?;
        let trigger = core::mem::take(&mut t.trigger);
        (!trigger.packets.is_empty()).then_some((tunnel, trigger))
    }

    /// And gets it back, unless it is another tunnel under the same number, or has gone for good.
    fn put_waiting(&mut self, tunnel: TunnelId, mut waiting: Trigger) {
        let index = self.tunnels.find(tunnel);
        let routed =
            |w: &Waiting<P>| index.is_some() && self.fib.lookup(w.info.destination, 0).tunnel() == index;
        let flushed = waiting.packets.retain(&mut self.waiting, routed);
        self.trigger_packets -= flushed;
        self.drops[DropReason::TriggerFlushed.index()] += u64::from(flushed);
        if let Some((index, t)) = index.and_then(|i| Some((i, self.tunnels.get_mut(i)?))) {
            t.activity.trigger_dropped(flushed);
            t.trigger = waiting;
            self.watch_trigger(index);
        }
    }

    fn media_open(&mut self, binding: MediaBinding) {
        let Some(tunnel) = self.tunnels.find(binding.tunnel) else { return };
        let Some(t) = self.tunnels.get_mut(tunnel) else { return };
        t.media_ports.push(binding.media_port());
        if t.elsewhere.is_some() {
            self.place.open(binding.media_port(), binding.tunnel);
            return;
        }
        let queues = Queues::new(t.policy.clone(), &bounds(&self.config, binding.rate));
        self.media.open(&self.config.outside, binding, tunnel, queues, t.policy.spec.police);
    }

    fn media_close(&mut self, port: MediaPort) {
        let Some(index) = self.media.find(port) else { return self.media_close_elsewhere(port) };
        let carried = self.media.get_mut(index).map(|m| core::mem::take(&mut m.sas));
        carried.into_iter().flatten().for_each(|sa| self.sa_remove(sa));
        let Some(mut m) = self.media.close(port) else { return };
        if let Some(t) = self.tunnels.get_mut(m.tunnel) {
            t.media_ports.retain(|p| *p != port);
        }
        while m.queues.pop_ike(&mut self.ike_waiting).is_some() {
            self.drops[DropReason::IkeNoBinding.index()] += 1;
        }
        // The call is over; what waited for its rate must not open the next one.
        self.replay_packets -= m.queues.replay_len();
        while m.queues.drain(&mut self.waiting).is_some() {
            self.drops[DropReason::TriggerFlushed.index()] += 1;
            if let Some(t) = self.tunnels.get_mut(m.tunnel) {
                t.activity.dropped_out();
            }
        }
        self.releases.cancel(index);
        self.path_expiries.cancel(index);
        // For a moment a tunnel may have two calls.
        let has_another = self.tunnels.get(m.tunnel).is_some_and(|t| !t.media_ports.is_empty());
        if !has_another {
            m.queues.counters().set_rate(0);
        }
    }

    /// It may be another worker's.
    fn media_close_elsewhere(&mut self, port: MediaPort) {
        let Some(tunnel) = self.place.tunnel_of(port) else { return };
        self.place.close(port);
        if let Some(t) = self.tunnels.find(tunnel).and_then(|i| self.tunnels.get_mut(i)) {
            t.media_ports.retain(|p| *p != port);
        }
    }

    fn sa_add(&mut self, spec: &SaSpec, key: Box<dyn AeadKey>) {
        let (tunnel, media) = (self.tunnels.find(spec.tunnel), self.media.find(spec.media_port));
        if let (Some(tunnel), Some(media)) = (tunnel, media) {
            let Some(m) = self.media.get_mut(media) else { return };
            m.sas.push(spec.sa);
            let inner_max = m.inner_max(&self.config.outside, spec.cipher.layout());
            self.sad.insert(spec, tunnel, media, inner_max, key);
        }
    }

    fn sa_remove(&mut self, sa: SaId) {
        let places = self.sad.find(sa).and_then(|r| self.sad.common(r)).map(|c| (c.tunnel, c.media));
        let (Some((tunnel, media)), Some(removed)) = (places, self.sad.remove(sa)) else { return };
        if let Some(m) = self.media.get_mut(media) {
            m.sas.retain(|id| *id != sa);
        }
        if let (SaRef::Out(index), Some(t)) = (removed, self.tunnels.get_mut(tunnel))
            && t.outbound == Some(index)
        {
            t.outbound = None;
        }
    }

    /// What waited goes to the shaper of the tunnel's call, ahead of anything newer. Without a call it goes on waiting.
    fn replay_trigger(&mut self, now: Instant, tunnel: TunnelId) {
        let Some(t) = self.tunnels.find(tunnel).and_then(|i| self.tunnels.get_mut(i)) else { return };
        let sa = t.outbound.and_then(|sa| self.sad.outbound(sa)).map(|sa| &sa.common);
        let Some((media, layout)) = sa.map(|sa| (sa.media, sa.layout)) else { return };
        let Some(m) = self.media.get_mut(media) else { return };
        while let Some(w) = t.trigger.packets.pop(&mut self.waiting) {
            self.trigger_packets -= 1;
            let cost = m.outer.outer_ip_len(layout.packet_len(w.info.len.into())) as u16;
            let moved = Waiting { since: now, cost, ..w };
            // The place just given back is free, so there is room.
            if m.queues.push_replay(&mut self.waiting, moved).is_ok() {
                self.replay_packets += 1;
                t.activity.trigger_replayed();
            }
        }
        t.trigger.asked = None;
        self.activate(media);
    }
}

/// Of a tunnel that no policy names.
fn plain(tunnel: TunnelId, counters: QosCounters) -> Policy {
    Policy { spec: QosSpec::new(tunnel), filters: [].into(), counters }
}

const fn bounds(config: &Config, rate: Kbps) -> Bounds {
    Bounds {
        packets_max: config.limits.shaper_packets_max,
        delay_ms_max: config.limits.shaper_delay_ms_max,
        rate,
        mtu: config.outside.mtu,
        flow_key: config.flow_key,
    }
}
