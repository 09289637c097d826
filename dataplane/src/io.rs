//! Where the pipeline's results go: the ports, the control thread, the counters.

use crate::boot::{INSIDE, OUTSIDE};
use crate::control::worker_link::WorkerEnd;
use sipsec_net::dp::Event;
use sipsec_net::{DropReason, MediaPort};
use sipsec_pipeline::{OutsideFrame, Packet, PuntRefused, Sink};
use sipsec_xsk::{Frame, Pool, Port};
use std::net::SocketAddr;
use std::rc::Rc;

/// A frame of the UMEM as the pipeline's packet.
#[derive(Debug)]
pub struct Buffer(pub Frame);

impl Packet for Buffer {
    #[inline]
    fn data(&self) -> &[u8] {
        self.0.data()
    }
    #[inline]
    fn data_mut(&mut self) -> &mut [u8] {
        self.0.data_mut()
    }
    #[inline]
    fn push_front(&mut self, n: usize) -> bool {
        self.0.push_front(n)
    }
    #[inline]
    fn pull_front(&mut self, n: usize) -> bool {
        self.0.pull_front(n)
    }
    #[inline]
    fn push_back(&mut self, n: usize) -> bool {
        self.0.push_back(n)
    }
    #[inline]
    fn truncate(&mut self, len: usize) {
        self.0.truncate(len);
    }
    #[inline]
    fn len(&self) -> usize {
        self.0.len()
    }
}

/// Both ports, and the way to the control thread.
#[derive(Debug)]
pub struct Io<P> {
    pub ports: [P; 2],
    pub pool: Rc<Pool>,
    pub control: WorkerEnd,
    /// Packets lost here, after the pipeline.
    drops: [u64; DropReason::COUNT],
    queued: [bool; 2],
}

impl<P: Port> Io<P> {
    pub const fn new(ports: [P; 2], pool: Rc<Pool>, control: WorkerEnd) -> Self {
        Self { ports, pool, control, drops: [0; DropReason::COUNT], queued: [false; 2] }
    }

    /// Adds what was lost here to what the pipeline lost.
    pub fn add_drops(&self, to: &mut [u64; DropReason::COUNT]) {
        for (sum, own) in to.iter_mut().zip(&self.drops) {
            *sum += own;
        }
    }

    /// Sends what this turn has queued, and what an earlier one could not, with one kick for each port.
    pub fn kick(&mut self) {
        for (port, queued) in self.ports.iter_mut().zip(&mut self.queued) {
            if *queued {
                *queued = port.kick().map(|left| left > 0).unwrap_or_else(|error| {
                    tracing::error!(%error, "device takes no packets");
                    false
                });
            }
        }
    }

    /// A port did not take everything at its last kick.
    pub const fn has_unsent(&self) -> bool {
        self.queued[OUTSIDE] || self.queued[INSIDE]
    }

    fn transmit(&mut self, port: usize, frame: Buffer) {
        match self.ports[port].transmit(frame.0) {
            Ok(()) => self.queued[port] = true,
            Err(_frame) => self.drop(DropReason::TxRingFull),
        }
    }

    const fn drop(&mut self, reason: DropReason) {
        self.drops[reason.index()] += 1;
    }
}

impl<P: Port> Sink<Buffer> for Io<P> {
    fn transmit_outside(&mut self, frame: OutsideFrame<Buffer>) {
        self.transmit(OUTSIDE, frame.into_packet());
    }

    fn transmit_inside(&mut self, frame: Buffer) {
        self.transmit(INSIDE, frame);
    }

    fn punt(&mut self, port: MediaPort, from: SocketAddr, message: &[u8]) -> Result<(), PuntRefused> {
        self.control.ike(port, from, message)
    }

    fn event(&mut self, event: Event) {
        self.control.event(event);
    }

    fn frame(&mut self) -> Option<Buffer> {
        self.pool.take().map(Buffer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::worker_link::worker_link;
    use sipsec_xsk::PortStats;

    /// Takes two frames at each kick.
    #[derive(Default)]
    struct Slow {
        queued: Vec<Frame>,
        kicks: u64,
    }

    impl Port for Slow {
        fn receive(&mut self, _: usize, _: &mut Vec<Frame>) -> usize {
            0
        }
        fn transmit(&mut self, frame: Frame) -> Result<(), Frame> {
            self.queued.push(frame);
            Ok(())
        }
        fn kick(&mut self) -> std::io::Result<usize> {
            self.kicks += 1;
            self.queued.drain(..self.queued.len().min(2));
            Ok(self.queued.len())
        }
        fn stats(&self) -> PortStats {
            PortStats::default()
        }
    }

    #[test]
    fn what_a_device_did_not_take_is_kicked_again() {
        let pool = Pool::heap(8, 2048);
        let (_control, worker) = worker_link().expect("eventfds");
        let mut io = Io::new([Slow::default(), Slow::default()], Rc::clone(&pool), worker);
        for _ in 0..5 {
            let frame = io.frame().expect("free");
            io.transmit_inside(frame);
        }
        for left in [true, true, false, false] {
            io.kick();
            assert_eq!(io.has_unsent(), left);
        }
        assert_eq!((io.ports[OUTSIDE].kicks, io.ports[INSIDE].kicks, pool.free_count()), (0, 3, 8));
    }
}
