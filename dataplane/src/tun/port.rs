//! One queue of a TUN device as a worker's port.

use rustix::io::Errno;
use sipsec_net::DropReason;
use sipsec_offload::{Cut, FRAME_MAX, Merger, PARTS_MAX, VirtioHeader, virtio};
use sipsec_xsk::pool::RESERVE;
use sipsec_xsk::{Frame, Pool, Port, PortStats};
use std::io::{self, IoSlice};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::rc::Rc;

/// Headers and frame, read and written whole.
pub trait Queue {
    fn read(&mut self, into: &mut [u8]) -> Result<usize, Errno>;
    fn write(&mut self, parts: &[IoSlice<'_>]) -> Result<(), Errno>;
}

impl Queue for OwnedFd {
    fn read(&mut self, into: &mut [u8]) -> Result<usize, Errno> {
        rustix::io::read(self, into)
    }

    fn write(&mut self, parts: &[IoSlice<'_>]) -> Result<(), Errno> {
        rustix::io::writev(self, parts).map(drop)
    }
}

/// Cuts what the kernel hands over into frames of the pool, and merges the frames of a turn.
#[derive(Debug)]
pub struct TunPort<Q = OwnedFd> {
    queue: Q,
    pool: Rc<Pool>,
    /// The virtio header and the frame that is being cut.
    buffer: Box<[u8]>,
    len: usize,
    cut: Option<Cut>,
    merger: Merger<Frame>,
    stats: PortStats,
    malformed: u64,
    refused: u64,
}

impl<Q: Queue> TunPort<Q> {
    #[must_use]
    pub fn new(queue: Q, pool: Rc<Pool>, udp: bool) -> Self {
        Self {
            queue,
            pool,
            buffer: vec![0; virtio::LEN + FRAME_MAX].into(),
            len: 0,
            cut: None,
            merger: Merger::new(udp),
            stats: PortStats::default(),
            malformed: 0,
            refused: 0,
        }
    }

    /// The next frame of the kernel; `false` if there is none now.
    fn read(&mut self) -> bool {
        // A device that was removed gives errors, until housekeeping has seen it.
        let Ok(len) = self.queue.read(&mut self.buffer) else { return false };
        let Some((header, frame)) = self.buffer[..len].split_first_chunk_mut::<{ virtio::LEN }>() else {
            self.malformed += 1;
            return true;
        };
        self.len = len;
        self.cut = Cut::new(VirtioHeader::from_bytes(*header), frame).ok();
        self.malformed += u64::from(self.cut.is_none());
        true
    }

    /// The next piece of what was read; `None` if nothing is left of it.
    fn piece(&mut self) -> Option<Frame> {
        let cut = self.cut.as_mut()?;
        let len = cut.next_len()?;
        // As for what comes by the queue of another device.
        let taken = (self.pool.free_count() > RESERVE).then(|| self.pool.take()).flatten();
        let Some(mut frame) = taken else {
            self.stats.rx_fill_empty += cut.left() as u64;
            self.cut = None;
            return None;
        };
        if !frame.push_back(len) {
            self.stats.rx_dropped += cut.left() as u64;
            self.cut = None;
            return None;
        }
        cut.write_next(&self.buffer[virtio::LEN..self.len], frame.data_mut());
        self.stats.received += 1;
        self.stats.received_bytes += len as u64;
        Some(frame)
    }

    fn flush(&mut self) {
        let Self { queue, merger, stats, refused, .. } = self;
        merger.drain(|merged| {
            let header = merged.header.to_bytes();
            let mut parts = [IoSlice::new(&[]); PARTS_MAX + 1];
            let used = parts.iter_mut().zip(std::iter::once(&header[..]).chain(merged.parts.iter().copied()));
            let used = used.map(|(to, part)| *to = IoSlice::new(part)).count();
            stats.kicks += 1;
            match queue.write(&parts[..used]) {
                Ok(()) => {
                    stats.sent += merged.count() as u64;
                    stats.sent_bytes += merged.bytes() as u64;
                }
                Err(_) => *refused += merged.count() as u64,
            }
        });
    }
}

impl<Q: Queue> Port for TunPort<Q> {
    fn receive(&mut self, max: usize, out: &mut Vec<Frame>) -> usize {
        let (before, mut reads) = (out.len(), 0);
        while out.len() - before < max {
            match self.piece() {
                Some(frame) => out.push(frame),
                // What cannot be cut is work, too.
                None if reads == max || !self.read() => break,
                None => reads += 1,
            }
        }
        out.len() - before
    }

    fn transmit(&mut self, frame: Frame) -> Result<(), Frame> {
        self.merger.add(frame).or_else(|frame| {
            self.flush();
            self.merger.add(frame)
        })
    }

    fn kick(&mut self) -> io::Result<usize> {
        self.flush();
        Ok(0)
    }

    fn stats(&self) -> PortStats {
        self.stats
    }

    fn add_drops(&self, to: &mut [u64; DropReason::COUNT]) {
        to[DropReason::VirtioMalformed.index()] += self.malformed;
        to[DropReason::SvtiRefused.index()] += self.refused;
    }
}

impl AsFd for TunPort {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.queue.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::VecDeque;

    #[derive(Default)]
    struct Memory {
        from_kernel: VecDeque<Vec<u8>>,
        to_kernel: Vec<Vec<u8>>,
        is_down: bool,
    }

    impl Queue for Memory {
        fn read(&mut self, into: &mut [u8]) -> Result<usize, Errno> {
            let frame = self.from_kernel.pop_front().ok_or(Errno::AGAIN)?;
            into[..frame.len()].copy_from_slice(&frame);
            Ok(frame.len())
        }

        fn write(&mut self, parts: &[IoSlice<'_>]) -> Result<(), Errno> {
            if self.is_down {
                return Err(Errno::IO);
            }
            self.to_kernel.push(parts.iter().flat_map(|p| p.to_vec()).collect());
            Ok(())
        }
    }

    /// A UDP packet of so many datagrams of 500 bytes, as the kernel hands it over.
    fn large(datagrams: usize) -> Vec<u8> {
        let payload = datagrams * 500;
        let header = VirtioHeader {
            flags: virtio::NEEDS_CSUM,
            gso_type: virtio::GSO_UDP_L4,
            hdr_len: 62,
            gso_size: 500,
            csum_start: 54,
            csum_offset: 6,
        };
        let mut frame = header.to_bytes().to_vec();
        frame.extend([2; 12]);
        frame.extend([0x86, 0xdd, 0x60, 0, 0, 0]);
        let len = (8 + payload) as u16;
        frame.extend(len.to_be_bytes());
        frame.extend([17, 64]);
        frame.extend([[0x20, 1]; 16].concat());
        frame.extend([0, 7, 0, 9]);
        frame.extend(len.to_be_bytes());
        let pseudo = sipsec_net::checksum::sum(&[[0x20, 1]; 16].concat(), 17 + u32::from(len));
        frame.extend((!sipsec_net::checksum::finish(pseudo)).to_be_bytes());
        frame.extend((0..payload).map(|n| n as u8));
        frame
    }

    fn port(frames: u32, from_kernel: &[Vec<u8>]) -> TunPort<Memory> {
        let queue = Memory { from_kernel: from_kernel.iter().cloned().collect(), ..Memory::default() };
        TunPort::new(queue, Pool::heap(frames, 2048), true)
    }

    #[test]
    fn a_large_packet_is_handed_out_over_several_turns_and_written_as_it_was() {
        let mut port = port(256, &[large(100)]);
        let mut out = Vec::new();
        assert_eq!((port.receive(64, &mut out), port.receive(64, &mut out)), (64, 36));
        assert_eq!(port.receive(64, &mut out), 0);
        for frame in out {
            port.transmit(frame).expect("always room");
        }
        port.kick().expect("never fails");
        // Two, because a merged frame has at most so many parts.
        assert_eq!(port.queue.to_kernel.len(), 2);
        let payload: Vec<_> = port.queue.to_kernel.iter().flat_map(|f| f[72..].to_vec()).collect();
        assert_eq!(payload, large(100)[72..]);
        let stats = port.stats();
        assert_eq!((stats.received, stats.sent, stats.kicks), (100, 100, 2));
        assert_eq!((stats.received_bytes, stats.sent_bytes), (100 * 562, 100 * 500 + 2 * 62));
        assert_eq!(port.pool.free_count(), 256);
    }

    #[test]
    fn what_has_no_frame_or_no_sense_or_no_taker_is_counted() {
        let short = vec![0; 9];
        let mut unknown = large(1);
        unknown[1] = 3;
        let mut port = port(RESERVE as u32 + 2, &[short, unknown, large(5), large(2)]);
        let mut out = Vec::new();
        // The reserve is not touched: two of five.
        assert_eq!(port.receive(64, &mut out), 2);
        assert_eq!(port.stats().rx_fill_empty, 3 + 2);
        port.queue.is_down = true;
        for frame in out {
            port.transmit(frame).expect("always room");
        }
        port.kick().expect("never fails");
        let mut drops = [0; DropReason::COUNT];
        port.add_drops(&mut drops);
        let of = |reason: DropReason| drops[reason.index()];
        assert_eq!((of(DropReason::VirtioMalformed), of(DropReason::SvtiRefused)), (2, 2));
        assert_eq!(port.stats().sent, 0);
    }
}
