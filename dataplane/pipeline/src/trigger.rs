//! Packets for a tunnel without an SA: they wait, bounded by packets, bytes and age, and the first of them asks for a call.

use crate::parse::Info;
use crate::tunnel::Tunnel;
use crate::waiting::{Pool, Waiting};
use core::time::Duration;
use sipsec_net::dp::Event;
use sipsec_net::{DropReason, Instant};

/// Queues the packet; the event if nobody has been asked for a call yet.
pub(crate) fn push<P>(
    tunnel: &mut Tunnel,
    pool: &mut Pool<P>,
    now: Instant,
    packet: P,
    info: Info,
) -> Result<Option<Event>, DropReason> {
    let spec = &tunnel.spec;
    let bytes = tunnel.trigger.bytes() + u64::from(info.len);
    if tunnel.trigger.len() >= spec.trigger_packets_max.into() || bytes > spec.trigger_bytes_max.into() {
        tunnel.activity.trigger_dropped += 1;
        return Err(DropReason::TriggerQueueFull);
    }
    let waiting = Waiting { packet, info, since: now, cost: info.len };
    if tunnel.trigger.push(pool, waiting).is_err() {
        tunnel.activity.trigger_dropped += 1;
        return Err(DropReason::TriggerQueueFull);
    }
    tunnel.activity.trigger_queued += 1;
    let ask = !tunnel.acquiring;
    tunnel.acquiring = true;
    Ok(ask.then(|| Event::Acquire { tunnel: spec.tunnel, first: info.summary() }))
}

/// When the oldest packet has waited long enough.
pub(crate) fn expires_at<P>(tunnel: &Tunnel, pool: &Pool<P>) -> Option<Instant> {
    let oldest = tunnel.trigger.peek(pool)?;
    Some(oldest.since + Duration::from_millis(tunnel.spec.trigger_age_ms_max.into()))
}

/// Drops what has waited too long; how many. When nothing is left, the next packet asks again: a call that was asked for
/// and never answered by the control plane must not block the tunnel for ever.
pub(crate) fn expire<P>(tunnel: &mut Tunnel, pool: &mut Pool<P>, now: Instant) -> u64 {
    let mut dropped = 0;
    while expires_at(tunnel, pool).is_some_and(|at| at <= now) {
        tunnel.trigger.pop(pool);
        dropped += 1;
    }
    tunnel.activity.trigger_dropped += dropped;
    tunnel.acquiring &= !tunnel.trigger.is_empty();
    dropped
}

/// The call failed or the tunnel goes: drops everything; how many.
pub(crate) fn flush<P>(tunnel: &mut Tunnel, pool: &mut Pool<P>) -> u64 {
    let mut dropped = 0;
    while tunnel.trigger.pop(pool).is_some() {
        dropped += 1;
    }
    tunnel.activity.trigger_dropped += dropped;
    tunnel.acquiring = false;
    dropped
}
