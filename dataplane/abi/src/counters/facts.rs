//! What does not change while a dataplane runs, or seldom: which engine, which XDP mode, which devices.

use super::STAGES_MAX;
use crate::layout::{self, shared};
use crate::text::Text;
use core::mem::size_of;
use sipsec_net::MacAddr;
use zerocopy::little_endian::U32;
use zerocopy::{FromZeros, IntoBytes};

const NAME_LEN: usize = 24;
/// An error text of the kernel with the name of a device.
const REASON_LEN: usize = 64;

shared! {
    pub(crate) struct RawPort {
        pub device: [u8; 16],
        pub xdp_mode: [u8; 16],
        pub bind_mode: [u8; 16],
        pub mac: [u8; 6],
        pub zero: [u8; 2],
        pub ifindex: U32,
        pub mtu: U32,
        pub queues: U32,
        pub fill: U32,
        pub busy_poll_us: U32,
        pub zero2: U32,
        pub driver_refused: [u8; REASON_LEN],
        pub zero_copy_refused: [u8; REASON_LEN],
    }

    pub(crate) struct RawFacts {
        pub software: [u8; 32],
        pub engine: [u8; NAME_LEN],
        pub workers: U32,
        pub frames: U32,
        pub chunk: U32,
        pub ring: U32,
        pub huge_pages: U32,
        pub need_wakeup: U32,
        pub pid: U32,
        pub zero: U32,
        pub ports: [RawPort; 2],
        pub stages: [[u8; NAME_LEN]; STAGES_MAX],
    }
}

pub(crate) const DESCRIPTIONS: &[layout::Description] = &[RawPort::DESCRIPTION, RawFacts::DESCRIPTION];
pub(super) const WORDS: usize = size_of::<RawFacts>() / 8;
const _: () = assert!(size_of::<RawFacts>().is_multiple_of(8), "facts are whole words");

/// A port as it was set up.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PortFacts {
    pub device: Text<16>,
    /// `driver` or `generic`.
    pub xdp_mode: Text<16>,
    /// `zero-copy` or `copy`.
    pub bind_mode: Text<16>,
    pub mac: MacAddr,
    pub ifindex: u32,
    pub mtu: u32,
    pub queues: u32,
    /// Most chunks in the fill ring of one queue.
    pub fill: u32,
    /// `SO_BUSY_POLL` of the sockets in microseconds; 0 is off.
    pub busy_poll_us: u32,
    /// Why XDP is not in the driver; empty if it is.
    pub driver_refused: Text<REASON_LEN>,
    /// Why the sockets are bound without zero copy; empty if they have it.
    pub zero_copy_refused: Text<REASON_LEN>,
}

/// The dataplane as it was set up.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Facts {
    /// Name and version of the dataplane.
    pub software: Text<32>,
    /// The AEAD engine in use.
    pub engine: Text<NAME_LEN>,
    pub workers: u32,
    /// Frames of the UMEM.
    pub frames: u32,
    /// Bytes of one frame of the UMEM.
    pub chunk: u32,
    /// Descriptors of each ring: receive, transmit, fill and completion.
    pub ring: u32,
    /// The UMEM is in huge pages.
    pub huge_pages: bool,
    /// The sockets are bound with `XDP_USE_NEED_WAKEUP`.
    pub need_wakeup: bool,
    /// The process, in its own PID namespace.
    pub pid: u32,
    /// Indexed by [`super::Port`].
    pub ports: [PortFacts; 2],
    /// Names of the pipeline's stages, in the order of [`super::CountersWriter::stage`]; empty ones are none.
    pub stages: [Text<NAME_LEN>; STAGES_MAX],
}

impl Facts {
    pub(super) fn to_words(self) -> [u64; WORDS] {
        let ports = self.ports.map(|p| RawPort {
            device: p.device.into_bytes(),
            xdp_mode: p.xdp_mode.into_bytes(),
            bind_mode: p.bind_mode.into_bytes(),
            mac: p.mac.0,
            zero: [0; 2],
            ifindex: p.ifindex.into(),
            mtu: p.mtu.into(),
            queues: p.queues.into(),
            fill: p.fill.into(),
            busy_poll_us: p.busy_poll_us.into(),
            zero2: U32::ZERO,
            driver_refused: p.driver_refused.into_bytes(),
            zero_copy_refused: p.zero_copy_refused.into_bytes(),
        });
        let raw = RawFacts {
            software: self.software.into_bytes(),
            engine: self.engine.into_bytes(),
            workers: self.workers.into(),
            frames: self.frames.into(),
            chunk: self.chunk.into(),
            ring: self.ring.into(),
            huge_pages: u32::from(self.huge_pages).into(),
            need_wakeup: u32::from(self.need_wakeup).into(),
            pid: self.pid.into(),
            zero: U32::ZERO,
            ports,
            stages: self.stages.map(Text::into_bytes),
        };
        let mut words = [0; WORDS];
        words.as_mut_bytes().copy_from_slice(raw.as_bytes());
        words
    }

    pub(super) fn from_words(words: &[u64; WORDS]) -> Self {
        let mut raw = RawFacts::new_zeroed();
        raw.as_mut_bytes().copy_from_slice(words.as_bytes());
        Self {
            software: Text::from_bytes(raw.software),
            engine: Text::from_bytes(raw.engine),
            workers: raw.workers.get(),
            frames: raw.frames.get(),
            chunk: raw.chunk.get(),
            ring: raw.ring.get(),
            huge_pages: raw.huge_pages.get() != 0,
            need_wakeup: raw.need_wakeup.get() != 0,
            pid: raw.pid.get(),
            ports: raw.ports.map(|p| PortFacts {
                device: Text::from_bytes(p.device),
                xdp_mode: Text::from_bytes(p.xdp_mode),
                bind_mode: Text::from_bytes(p.bind_mode),
                mac: MacAddr(p.mac),
                ifindex: p.ifindex.get(),
                mtu: p.mtu.get(),
                queues: p.queues.get(),
                fill: p.fill.get(),
                busy_poll_us: p.busy_poll_us.get(),
                driver_refused: Text::from_bytes(p.driver_refused),
                zero_copy_refused: Text::from_bytes(p.zero_copy_refused),
            }),
            stages: raw.stages.map(Text::from_bytes),
        }
    }
}
