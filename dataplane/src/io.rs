//! Where the pipeline's results go: the ports, the control thread, the other workers, the counters.

use crate::boot::{INSIDE, OUTSIDE};
use crate::control::worker_link::WorkerEnd;
use crate::neighbours::{Neighbours, Task};
use sipsec_net::dp::Event;
use sipsec_net::{DropReason, MediaPort};
use sipsec_pipeline::{HandOver, OutsideFrame, Packet, PuntRefused, Sink, WorkerIndex};
use sipsec_xsk::pool::RESERVE;
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

/// Both ports, and the ways to the control thread and to the other workers.
#[derive(Debug)]
pub struct Io<P> {
    pub ports: [P; 2],
    pub pool: Rc<Pool>,
    pub control: WorkerEnd,
    pub neighbours: Neighbours,
    /// The worker that sends on each port, if this one has no queue there.
    carriers: [Option<WorkerIndex>; 2],
    /// As what another worker has handed over the packets worked on, if one has.
    handed_as: Option<HandOver>,
    /// Packets lost here, after the pipeline.
    drops: [u64; DropReason::COUNT],
    queued: [bool; 2],
}

impl<P: Port> Io<P> {
    pub const fn new(
        ports: [P; 2],
        pool: Rc<Pool>,
        control: WorkerEnd,
        neighbours: Neighbours,
        carriers: [Option<WorkerIndex>; 2],
    ) -> Self {
        let (drops, queued) = ([0; DropReason::COUNT], [false; 2]);
        Self { ports, pool, control, neighbours, carriers, handed_as: None, drops, queued }
    }

    /// The packets worked on from here on were handed over as this; `None` if they came to this worker first.
    pub const fn handed_as(&mut self, what: Option<HandOver>) {
        self.handed_as = what;
    }

    /// Takes at most `max` packets from each other worker into frames of this one's, and sends those that are for a port. How many
    /// there were.
    pub fn take_handed(&mut self, max: usize, mut each: impl FnMut(HandOver, Frame)) -> usize {
        let Self { neighbours, pool, ports, queued, drops, .. } = self;
        neighbours.take(max, |task, bytes| {
            // As for what comes by a queue of a device.
            let frame = (pool.free_count() > RESERVE).then(|| pool.take()).flatten();
            let Some(mut frame) = frame else {
                drops[DropReason::FrameExhausted.index()] += 1;
                return;
            };
            if !frame.fill(bytes) {
                drops[DropReason::MalformedFrame.index()] += 1;
                return;
            }
            match task {
                Task::HandOver(what) => each(what, frame),
                Task::Send(port) => match ports[port].transmit(frame) {
                    Ok(()) => queued[port] = true,
                    Err(_frame) => drops[DropReason::TxRingFull.index()] += 1,
                },
            }
        })
    }

    /// Adds what was lost here to what the pipeline lost.
    pub fn add_drops(&self, to: &mut [u64; DropReason::COUNT]) {
        for (sum, own) in to.iter_mut().zip(&self.drops) {
            *sum += own;
        }
        self.ports.iter().for_each(|port| port.add_drops(to));
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
        if let Some(carrier) = self.carriers[port] {
            if !self.neighbours.send(carrier, Task::Send(port), frame.data()) {
                self.drop(DropReason::HandOffFull);
            }
            return;
        }
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

    fn hand_over(&mut self, to: WorkerIndex, what: HandOver, packet: Buffer) -> Result<(), DropReason> {
        what.after(self.handed_as)?;
        let fits = self.neighbours.send(to, Task::HandOver(what), packet.data());
        if fits { Ok(()) } else { Err(DropReason::HandOffFull) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::worker_link::worker_link;
    use crate::neighbours::neighbours;
    use sipsec_pipeline::Owners;
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
        let alone = neighbours(Owners::ONE, 2048).expect("an eventfd").remove(0);
        let ports = [Slow::default(), Slow::default()];
        let mut io = Io::new(ports, Rc::clone(&pool), worker, alone, [None; 2]);
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
