//! Ports without a kernel: two of them joined by a wire, or one whose other end is the test.

use crate::frame::Frame;
use crate::pool::Pool;
use crate::port::{Port, PortStats};
use std::cell::RefCell;
use std::collections::VecDeque;
use std::io;
use std::rc::Rc;

/// One direction of a cable: frames as bytes, at most `depth` of them.
#[derive(Clone, Debug)]
pub struct Wire {
    frames: Rc<RefCell<VecDeque<Vec<u8>>>>,
    depth: usize,
}

impl Wire {
    #[must_use]
    pub fn new(depth: usize) -> Self {
        Self { frames: Rc::default(), depth }
    }

    /// `false` if the wire is full.
    pub fn put(&self, bytes: &[u8]) -> bool {
        let mut frames = self.frames.borrow_mut();
        let room = frames.len() < self.depth;
        if room {
            frames.push_back(bytes.to_vec());
        }
        room
    }

    pub fn take(&self) -> Option<Vec<u8>> {
        self.frames.borrow_mut().pop_front()
    }

    #[must_use]
    pub fn is_full(&self) -> bool {
        self.frames.borrow().len() >= self.depth
    }
}

/// Behaves as a socket does: frames leave at the kick, a full device gives the frame back, and packets that find no free
/// frame are dropped and counted.
#[derive(Debug)]
pub struct MemoryPort {
    pool: Rc<Pool>,
    rx: Wire,
    tx: Wire,
    queued: Vec<Frame>,
    stats: PortStats,
}

impl MemoryPort {
    #[must_use]
    pub fn new(pool: Rc<Pool>, rx: Wire, tx: Wire) -> Self {
        Self { pool, rx, tx, queued: Vec::new(), stats: PortStats::default() }
    }
}

impl Port for MemoryPort {
    fn receive(&mut self, max: usize, out: &mut Vec<Frame>) -> usize {
        let before = out.len();
        while out.len() - before < max {
            let Some(bytes) = self.rx.take() else { break };
            let Some(mut frame) = self.pool.take() else {
                self.stats.rx_fill_empty += 1;
                continue;
            };
            if frame.fill(&bytes) {
                self.stats.received_bytes += bytes.len() as u64;
                out.push(frame);
            } else {
                self.stats.rx_dropped += 1;
            }
        }
        self.stats.received += (out.len() - before) as u64;
        out.len() - before
    }

    fn transmit(&mut self, frame: Frame) -> Result<(), Frame> {
        if self.queued.len() + self.tx.frames.borrow().len() >= self.tx.depth {
            return Err(frame);
        }
        self.queued.push(frame);
        Ok(())
    }

    fn kick(&mut self) -> io::Result<usize> {
        self.stats.kicks += u64::from(!self.queued.is_empty());
        for frame in self.queued.drain(..) {
            let sent = self.tx.put(frame.data());
            debug_assert!(sent, "transmit kept to the depth");
            self.stats.sent += 1;
            self.stats.sent_bytes += frame.len() as u64;
        }
        Ok(0)
    }

    fn stats(&self) -> PortStats {
        self.stats
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_cross_at_the_kick_and_a_full_wire_gives_them_back() {
        let pool = Pool::heap(4, 2048);
        let (ab, ba) = (Wire::new(2), Wire::new(2));
        let mut a = MemoryPort::new(Rc::clone(&pool), ba.clone(), ab.clone());
        let mut b = MemoryPort::new(Rc::clone(&pool), ab, ba);
        let frame = |text: &[u8]| {
            let mut f = pool.take().expect("free");
            assert!(f.fill(text));
            f
        };
        a.transmit(frame(b"one")).expect("room");
        a.transmit(frame(b"two")).expect("room");
        assert!(a.transmit(frame(b"three")).is_err());
        let mut got = Vec::new();
        assert_eq!(b.receive(8, &mut got), 0);
        a.kick().expect("memory never fails");
        assert_eq!(b.receive(8, &mut got), 2);
        assert_eq!((got[0].data(), got[1].data()), (&b"one"[..], &b"two"[..]));
        assert_eq!((a.stats().sent, a.stats().kicks, b.stats().received), (2, 1, 2));
        drop(got);
        assert_eq!(pool.free_count(), 4);
    }
}
