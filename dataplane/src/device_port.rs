//! A worker's port, of either kind.

use crate::idle::SleepOn;
use crate::tun::port::TunPort;
use sipsec_net::DropReason;
use sipsec_xsk::{Frame, Port, PortStats, XskPort};
use std::io;
use std::os::fd::{AsFd, BorrowedFd};

#[derive(Debug)]
#[expect(
    clippy::large_enum_variant,
    reason = "a worker has two, and a box would be one more step for each packet"
)]
pub enum DevicePort {
    /// AF_XDP sockets of the queues of a device.
    Xsk(XskPort),
    /// A queue of the sVTI of tun mode.
    Tun(TunPort),
}

impl Port for DevicePort {
    #[inline]
    fn receive(&mut self, max: usize, out: &mut Vec<Frame>) -> usize {
        match self {
            Self::Xsk(port) => port.receive(max, out),
            Self::Tun(port) => port.receive(max, out),
        }
    }

    #[inline]
    fn transmit(&mut self, frame: Frame) -> Result<(), Frame> {
        match self {
            Self::Xsk(port) => port.transmit(frame),
            Self::Tun(port) => port.transmit(frame),
        }
    }

    #[inline]
    fn kick(&mut self) -> io::Result<usize> {
        match self {
            Self::Xsk(port) => port.kick(),
            Self::Tun(port) => port.kick(),
        }
    }

    fn stats(&self) -> PortStats {
        match self {
            Self::Xsk(port) => port.stats(),
            Self::Tun(port) => port.stats(),
        }
    }

    fn add_drops(&self, to: &mut [u64; DropReason::COUNT]) {
        match self {
            Self::Xsk(port) => port.add_drops(to),
            Self::Tun(port) => port.add_drops(to),
        }
    }
}

impl SleepOn for DevicePort {
    fn fds(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        let (sockets, queue) = match self {
            Self::Xsk(port) => (Some(port.fds()), None),
            Self::Tun(port) => (None, Some(port.as_fd())),
        };
        sockets.into_iter().flatten().chain(queue)
    }
}
