//! For tests and benchmarks of any crate: packets in vectors, a sink that remembers, an engine on RustCrypto's AES-GCM,
//! and two gateways whose pipelines can be run back to back.

mod controlled;
mod crew;
mod engine;
mod fragments;
mod fuzz;
mod gateway;
mod inner;

pub use controlled::Controlled;
pub use crew::Crew;
pub use engine::TestEngine;
pub use fragments::fragments;
pub use fuzz::fuzz;
pub use gateway::{Gateway, Keys, Side};
pub use inner::{Inner, ipv4_udp};

use crate::owner::{HandOver, WorkerIndex};
use crate::packet::Packet;
use crate::sink::{OutsideFrame, PuntRefused, Sink};
use core::net::SocketAddr;
use sipsec_net::dp::Event;
use sipsec_net::{DropReason, MediaPort};

const HEADROOM: usize = 256;
const SIZE: usize = 4096;

/// A packet in a vector as large as a UMEM chunk.
#[derive(Clone)]
pub struct VecPacket {
    bytes: Vec<u8>,
    head: usize,
    len: usize,
}

impl VecPacket {
    #[must_use]
    pub fn new(contents: &[u8]) -> Self {
        let mut p = Self { bytes: vec![0xee; SIZE], head: HEADROOM, len: 0 };
        p.set(contents);
        p
    }

    /// Replaces the contents.
    pub fn set(&mut self, contents: &[u8]) {
        self.head = HEADROOM;
        self.len = contents.len();
        self.data_mut().copy_from_slice(contents);
    }
}

impl core::fmt::Debug for VecPacket {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "VecPacket({:02x?})", self.data())
    }
}

impl Packet for VecPacket {
    #[inline]
    fn data(&self) -> &[u8] {
        &self.bytes[self.head..self.head + self.len]
    }
    #[inline]
    fn data_mut(&mut self) -> &mut [u8] {
        &mut self.bytes[self.head..self.head + self.len]
    }
    #[inline]
    fn push_front(&mut self, n: usize) -> bool {
        let ok = n <= self.head;
        if ok {
            self.head -= n;
            self.len += n;
        }
        ok
    }
    #[inline]
    fn pull_front(&mut self, n: usize) -> bool {
        let ok = n <= self.len;
        if ok {
            self.head += n;
            self.len -= n;
        }
        ok
    }
    #[inline]
    fn push_back(&mut self, n: usize) -> bool {
        let ok = self.head + self.len + n <= self.bytes.len();
        if ok {
            self.len += n;
        }
        ok
    }
    #[inline]
    fn truncate(&mut self, len: usize) {
        self.len = self.len.min(len);
    }
}

/// Remembers everything; hands out frames while there are any. What it handed back is used again, so that a benchmark
/// does not measure the allocator.
#[derive(Debug, Default)]
pub struct VecSink {
    pub outside: Vec<VecPacket>,
    /// How many of `outside` are IKE.
    pub ike_frames: usize,
    pub inside: Vec<VecPacket>,
    pub punted: Vec<(MediaPort, SocketAddr, Vec<u8>)>,
    pub events: Vec<Event>,
    /// Frames for [`Sink::frame`].
    pub frames: Vec<VecPacket>,
    /// What is for other workers.
    pub handed: Vec<(WorkerIndex, HandOver, VecPacket)>,
    /// As what the packets worked on were handed over by another worker.
    pub handed_as: Option<HandOver>,
    /// How [`Sink::punt`] answers.
    pub punt_refused: Option<PuntRefused>,
}

impl VecSink {
    #[must_use]
    pub fn with_frames(n: usize) -> Self {
        Self { frames: vec![VecPacket::new(&[]); n], ..Self::default() }
    }
}

impl Sink<VecPacket> for VecSink {
    fn transmit_outside(&mut self, frame: OutsideFrame<VecPacket>) {
        self.ike_frames += usize::from(matches!(frame, OutsideFrame::Ike(_)));
        self.outside.push(frame.into_packet());
    }
    fn transmit_inside(&mut self, frame: VecPacket) {
        self.inside.push(frame);
    }
    fn punt(&mut self, port: MediaPort, from: SocketAddr, message: &[u8]) -> Result<(), PuntRefused> {
        match self.punt_refused {
            Some(refused) => Err(refused),
            None => {
                self.punted.push((port, from, message.to_vec()));
                Ok(())
            }
        }
    }
    fn event(&mut self, event: Event) {
        self.events.push(event);
    }
    fn frame(&mut self) -> Option<VecPacket> {
        self.frames.pop()
    }
    fn hand_over(&mut self, to: WorkerIndex, what: HandOver, packet: VecPacket) -> Result<(), DropReason> {
        what.after(self.handed_as)?;
        self.handed.push((to, what, packet));
        Ok(())
    }
}
