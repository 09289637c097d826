//! A port made of AF_XDP sockets, one for each receive queue of the device.

use crate::desc::DescLayout;
use crate::frame::Frame;
use crate::pool::{Pool, RESERVE};
use crate::port::{BATCH_MAX, Port, PortStats};
use crate::rings::{Queue, Rings};
use std::io;
use std::os::fd::BorrowedFd;
use std::rc::Rc;
use xsk_rs::FrameDesc;

/// In copy mode the kernel sends at most this many packets for one wakeup and answers EAGAIN (TX_BATCH_SIZE).
const KERNEL_TX_BATCH: usize = 32;

#[derive(Debug)]
struct QueueState<R> {
    rings: R,
    /// Chunks in the fill ring or on their way back in the receive ring.
    filled: usize,
}

/// A worker's queues of one device. Frames leave by the first: order within a flow is kept, and which queue sends makes no
/// difference to one worker. A port without a queue takes nothing and gives nothing.
pub struct RingPort<R> {
    pool: Rc<Pool>,
    layout: DescLayout,
    queues: Vec<QueueState<R>>,
    /// The queue to serve first next time.
    turn: usize,
    fill_max: usize,
    /// Sent and not yet completed; never more than the transmit and completion rings hold, so producing cannot fail.
    in_flight: usize,
    in_flight_max: usize,
    ring_size: usize,
    queued: Vec<FrameDesc>,
    scratch: [FrameDesc; BATCH_MAX],
    stats: PortStats,
}

/// On sockets of the kernel.
pub type XskPort = RingPort<Queue>;

impl XskPort {
    /// What to sleep on (readable when a packet came).
    pub fn fds(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        self.queues.iter().map(|q| q.rings.fd())
    }
}

impl<R: Rings> RingPort<R> {
    pub(crate) fn new(
        pool: Rc<Pool>,
        layout: DescLayout,
        queues: Vec<R>,
        fill_max: usize,
        in_flight_max: usize,
        ring_size: usize,
    ) -> Self {
        assert!(in_flight_max <= ring_size && fill_max <= ring_size, "rings hold what is put into them");
        let mut port = Self {
            pool,
            layout,
            queues: queues.into_iter().map(|rings| QueueState { rings, filled: 0 }).collect(),
            turn: 0,
            fill_max,
            in_flight: 0,
            in_flight_max,
            ring_size,
            queued: Vec::with_capacity(BATCH_MAX),
            scratch: [FrameDesc::default(); BATCH_MAX],
            stats: PortStats::default(),
        };
        for q in 0..port.queues.len() {
            while port.refill(q) {}
        }
        port
    }

    /// Puts free chunks into the fill ring of queue `q`, at most a batch; `true` if there may be more to do.
    fn refill(&mut self, q: usize) -> bool {
        let state = &mut self.queues[q];
        let missing = (self.fill_max - state.filled).min(BATCH_MAX);
        let mut n = 0;
        while n < missing && self.pool.free_count() > RESERVE {
            let Some(chunk) = self.pool.take_chunk() else { break };
            self.scratch[n] = self.layout.make(self.pool.offset_of(chunk), 0);
            n += 1;
        }
        if n == 0 {
            return false;
        }
        // SAFETY: the chunks are of this UMEM and, just taken from the free list, have no other owner.
        let put = unsafe { state.rings.fill(&self.scratch[..n]) };
        state.filled += put;
        for desc in &self.scratch[put..n] {
            self.pool.give_chunk(self.pool.chunk_of(desc.addr()));
        }
        self.wake(q);
        put == n && n == missing
    }

    /// Only drivers with zero copy sleep for want of buffers. A spinning worker makes no other system call, so
    /// the flag is checked even when no packet came. A failed wakeup is repeated at the next call.
    fn wake(&mut self, q: usize) {
        let rings = &mut self.queues[q].rings;
        if rings.fill_needs_wakeup() {
            rings.wake_fill();
        }
    }

    /// Takes back what the device has sent.
    fn reclaim(&mut self) {
        let Some(QueueState { rings, .. }) = self.queues.first_mut() else { return };
        while self.in_flight > 0 {
            // SAFETY: the completion ring belongs to the UMEM of `pool`.
            let n = unsafe { rings.completed(&mut self.scratch) };
            for desc in &self.scratch[..n] {
                self.pool.give_chunk(self.pool.chunk_of(desc.addr()));
            }
            debug_assert!(n <= self.in_flight, "completions answer transmissions");
            self.in_flight = self.in_flight.saturating_sub(n);
            if n < BATCH_MAX {
                break;
            }
        }
    }

    fn receive_from(&mut self, q: usize, max: usize, out: &mut Vec<Frame>) -> usize {
        let state = &mut self.queues[q];
        // SAFETY: the receive ring belongs to the UMEM of `pool`.
        let n = unsafe { state.rings.received(&mut self.scratch[..max.min(BATCH_MAX)]) };
        state.filled = state.filled.saturating_sub(n);
        for desc in &self.scratch[..n] {
            let chunk = self.pool.chunk_of(desc.addr());
            let head = desc.addr() - self.pool.offset_of(chunk);
            self.stats.received_bytes += desc.lengths().data() as u64;
            out.push(Frame::new(Rc::clone(&self.pool), chunk, head as u16, desc.lengths().data() as u16));
        }
        n
    }

    /// Descriptors that the kernel will not look at by itself.
    fn unsent(&mut self) -> usize {
        let Some(QueueState { rings, .. }) = self.queues.first_mut() else { return 0 };
        if rings.send_needs_wakeup() { self.ring_size - rings.send_room() } else { 0 }
    }

    fn flush(&mut self) {
        // SAFETY: each descriptor came from `Frame::into_addr`, so the chunk has no owner until it is completed.
        let sent = unsafe { self.queues[0].rings.send(&self.queued) };
        assert_eq!(sent, self.queued.len(), "in_flight_max keeps room in the ring");
        self.stats.sent += sent as u64;
        self.queued.clear();
    }
}

impl<R: Rings> Port for RingPort<R> {
    fn receive(&mut self, max: usize, out: &mut Vec<Frame>) -> usize {
        let (mut got, queues) = (0, self.queues.len());
        for i in 0..queues {
            let q = (self.turn + i) % queues;
            let n = self.receive_from(q, max - got, out);
            self.refill(q);
            if n == 0 {
                self.wake(q);
            }
            got += n;
            if got == max {
                break;
            }
        }
        self.turn = (self.turn + 1) % queues.max(1);
        self.stats.received += got as u64;
        self.reclaim();
        got
    }

    fn transmit(&mut self, frame: Frame) -> Result<(), Frame> {
        if self.queues.is_empty() {
            return Err(frame);
        }
        if self.in_flight == self.in_flight_max {
            // An error shows at the batch's own kick.
            let _ = self.kick();
            if self.in_flight == self.in_flight_max {
                return Err(frame);
            }
        }
        let (addr, len) = frame.into_addr();
        self.stats.sent_bytes += len as u64;
        self.in_flight += 1;
        self.queued.push(self.layout.make(addr, len));
        if self.queued.len() == BATCH_MAX {
            self.flush();
        }
        Ok(())
    }

    fn kick(&mut self) -> io::Result<usize> {
        if !self.queued.is_empty() {
            self.flush();
        }
        // In copy mode the kernel takes 32 packets for each call.
        let tries_max = self.in_flight_max / KERNEL_TX_BATCH + 1;
        let mut left = self.unsent();
        for _ in 0..tries_max {
            if left == 0 {
                break;
            }
            self.queues[0].rings.wake_send()?;
            self.stats.kicks += 1;
            let before = std::mem::replace(&mut left, self.unsent());
            if left == before {
                // The device's own queue is full; it is asked again later.
                break;
            }
        }
        self.reclaim();
        Ok(left)
    }

    fn stats(&self) -> PortStats {
        self.stats
    }
}

impl<R> std::fmt::Debug for RingPort<R> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RingPort")
            .field("queues", &self.queues.len())
            .field("in_flight", &self.in_flight)
            .field("stats", &self.stats)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
