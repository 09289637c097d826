//! What the worker's loop needs of a port.

use crate::frame::Frame;
use sipsec_net::DropReason;
use std::io;

/// Packets per batch: large enough to share a wakeup, small enough that a burst on one port does not starve the other.
pub const BATCH_MAX: usize = 64;

pub trait Port {
    /// Appends at most `max` received frames to `out`.
    fn receive(&mut self, max: usize, out: &mut Vec<Frame>) -> usize;
    /// Queues a frame for the next [`Self::kick`]; gives it back if the device takes no more.
    fn transmit(&mut self, frame: Frame) -> Result<(), Frame>;
    /// Sends what was queued. How much is left over: the device takes no more at the moment, and another kick is needed.
    fn kick(&mut self) -> io::Result<usize>;
    fn stats(&self) -> PortStats;
    /// Adds the packets that ended in the port itself.
    fn add_drops(&self, _: &mut [u64; DropReason::COUNT]) {}
}

/// What the kernel dropped before we saw it, and what we sent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PortStats {
    pub received: u64,
    pub received_bytes: u64,
    pub sent: u64,
    pub sent_bytes: u64,
    pub kicks: u64,
    /// The receive ring was full.
    pub rx_ring_full: u64,
    /// No frame for a packet: the fill ring was empty.
    pub rx_fill_empty: u64,
    /// Other drops on receive (larger than a chunk, most likely).
    pub rx_dropped: u64,
    /// Descriptors the kernel refused: a broken invariant of ours.
    pub rx_invalid: u64,
    pub tx_invalid: u64,
}
