//! Packets for a tunnel without an SA: they wait, bounded by packets, bytes and age, and the first of them asks for a call.

use crate::packet_queue::{Fifo, Pool, Waiting};
use crate::tunnel::Tunnel;
use core::time::Duration;
use sipsec_net::dp::Event;
use sipsec_net::{DropReason, Instant, TunnelId};

/// What waits for a tunnel's SA.
#[derive(Debug, Default)]
pub(crate) struct Trigger {
    pub packets: Fifo,
    /// When a call was asked for of which nothing has come yet.
    pub asked: Option<Instant>,
}

/// Queues the packet if it may wait, `has_room` saying whether anything may at all; whether it does, and the event if
/// no call has been asked for yet. One is asked for even if this packet is lost: others will follow it.
pub(crate) fn push<P>(
    tunnel: &mut Tunnel,
    pool: &mut Pool<P>,
    has_room: bool,
    waiting: Waiting<P>,
) -> (Result<(), DropReason>, Option<Event>) {
    let Tunnel { spec, trigger, activity, .. } = tunnel;
    let (now, summary) = (waiting.since, waiting.info.summary());
    let bytes = trigger.packets.bytes() + u64::from(waiting.cost);
    let fits =
        trigger.packets.len() < spec.trigger_packets_max.into() && bytes <= spec.trigger_bytes_max.into();
    let queued = has_room && fits && trigger.packets.push(pool, waiting).is_ok();
    if queued {
        activity.trigger_queued();
    } else {
        activity.trigger_dropped(1);
    }
    let ask = trigger.asked.is_none();
    trigger.asked.get_or_insert(now);
    let event = ask.then_some(Event::Acquire { tunnel: spec.tunnel, first: summary });
    (if queued { Ok(()) } else { Err(DropReason::TriggerQueueFull) }, event)
}

/// When the oldest packet has waited long enough, or the question that none waits behind.
pub(crate) fn expires_at<P>(tunnel: &Tunnel, pool: &Pool<P>) -> Option<Instant> {
    let oldest = tunnel.trigger.packets.peek(pool).map(|w| w.since);
    Some(oldest.or(tunnel.trigger.asked)? + age_max(tunnel))
}

fn age_max(tunnel: &Tunnel) -> Duration {
    Duration::from_millis(tunnel.spec.trigger_age_ms_max.into())
}

/// Drops what has waited too long; how many. When nothing is left, the next packet asks again: a call that was asked for
/// and never answered by the control plane must not block the tunnel for ever.
pub(crate) fn expire<P>(tunnel: &mut Tunnel, pool: &mut Pool<P>, now: Instant) -> u32 {
    let mut dropped = 0;
    while expires_at(tunnel, pool).is_some_and(|at| at <= now) {
        if tunnel.trigger.packets.pop(pool).is_some() {
            dropped += 1;
        } else {
            tunnel.trigger.asked = None;
        }
    }
    tunnel.activity.trigger_dropped(dropped);
    dropped
}

/// The call failed or the tunnel goes: drops everything; how many.
pub(crate) fn flush<P>(tunnel: &mut Tunnel, pool: &mut Pool<P>) -> u32 {
    let dropped = tunnel.trigger.packets.retain(pool, |_| false);
    tunnel.activity.trigger_dropped(dropped);
    tunnel.trigger.asked = None;
    dropped
}

/// Triggers of tunnels that one transaction takes away and puts back.
pub(crate) type Kept = Vec<(TunnelId, Trigger)>;
