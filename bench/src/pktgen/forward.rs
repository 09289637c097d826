//! A plain forwarder between two devices on AF_XDP: the yardstick for a gateway, which does more to each packet.

use super::error::PktgenError;
use super::ports::Ports;
use sipsec_net::MacAddr;
use sipsec_xsk::port::BATCH_MAX;
use sipsec_xsk::{Frame, Port as _, XskPort};
use std::time::{Duration, Instant};

/// The MAC addresses that a frame leaves a device with.
#[derive(Clone, Copy, Debug)]
pub struct Rewrite {
    pub source: MacAddr,
    pub destination: MacAddr,
}

/// Frames carried in each direction, and those that the other device did not take.
#[derive(Clone, Copy, Debug, Default)]
pub struct Carried {
    pub frames: [u64; 2],
    pub dropped: [u64; 2],
}

/// Forwards until the time is over or `stop` says so. `rewrite[n]` is applied to frames that leave by port n.
pub fn forward(
    ports: &mut Ports,
    rewrite: [Option<Rewrite>; 2],
    duration: Duration,
    stop: impl Fn() -> bool,
) -> Result<Carried, PktgenError> {
    let mut carried = Carried::default();
    let mut batch: Vec<Frame> = Vec::with_capacity(BATCH_MAX);
    let end = Instant::now() + duration;
    let [a, b] = &mut ports.ports;
    while Instant::now() < end && !stop() {
        // A clock reading and a look at `stop` for many rounds.
        for _ in 0..1024 {
            pass(a, b, rewrite[1], &mut batch, (&mut carried.frames[0], &mut carried.dropped[0]))?;
            pass(b, a, rewrite[0], &mut batch, (&mut carried.frames[1], &mut carried.dropped[1]))?;
        }
    }
    Ok(carried)
}

fn pass(
    from: &mut XskPort,
    to: &mut XskPort,
    rewrite: Option<Rewrite>,
    batch: &mut Vec<Frame>,
    (frames, dropped): (&mut u64, &mut u64),
) -> Result<(), PktgenError> {
    from.receive(BATCH_MAX, batch);
    for mut frame in batch.drain(..) {
        if let (Some(rewrite), Some(header)) = (rewrite, frame.data_mut().first_chunk_mut::<12>()) {
            header[..6].copy_from_slice(&rewrite.destination.0);
            header[6..].copy_from_slice(&rewrite.source.0);
        }
        match to.transmit(frame) {
            Ok(()) => *frames += 1,
            Err(_) => *dropped += 1,
        }
    }
    to.kick()
        .map(drop)
        .map_err(|source| PktgenError::Send { device: "the device that frames leave by".to_owned(), source })
}
