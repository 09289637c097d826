//! The four rings of one socket, as a port uses them.

use rustix::net::RecvFlags;
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};
use xsk_rs::{CompQueue, FillQueue, FrameDesc, RxQueue, TxQueue};

/// What the kernel and the driver do with descriptors. A test has another one, with their slow and full days.
pub trait Rings {
    /// Takes descriptors of received packets.
    ///
    /// # Safety
    /// The rings belong to the UMEM of the caller's pool, which becomes the owner of these chunks.
    unsafe fn received(&mut self, out: &mut [FrameDesc]) -> usize;
    /// Takes descriptors of packets that the device has sent.
    ///
    /// # Safety
    /// As for [`Self::received`].
    unsafe fn completed(&mut self, out: &mut [FrameDesc]) -> usize;
    /// Gives chunks to receive into; all or none.
    ///
    /// # Safety
    /// The chunks are of this UMEM and have no other owner.
    unsafe fn fill(&mut self, chunks: &[FrameDesc]) -> usize;
    /// Gives packets to send; all or none.
    ///
    /// # Safety
    /// As for [`Self::fill`].
    unsafe fn send(&mut self, packets: &[FrameDesc]) -> usize;
    /// Whether the driver sleeps until it is told of new chunks (`XDP_USE_NEED_WAKEUP`), or runs in this thread (busy polling).
    fn fill_needs_wakeup(&self) -> bool;
    /// Wakes the driver, or runs it for a batch.
    fn wake_fill(&mut self);
    /// Whether the kernel looks at the transmit ring only when it is told to.
    fn send_needs_wakeup(&self) -> bool;
    /// EAGAIN, EBUSY, ENOBUFS and ENETDOWN are no errors: the packets stay in the ring.
    fn wake_send(&mut self) -> io::Result<()>;
    /// Free places in the transmit ring.
    fn send_room(&mut self) -> usize;
}

/// The rings of one bound socket of the kernel.
#[derive(Debug)]
pub struct Queue {
    pub(crate) rx: RxQueue,
    pub(crate) tx: TxQueue,
    pub(crate) fill: FillQueue,
    pub(crate) comp: CompQueue,
    /// The driver runs when this thread asks for packets, not by interrupt.
    pub(crate) busy_poll: bool,
}

impl Queue {
    pub(crate) fn fd(&self) -> BorrowedFd<'_> {
        // SAFETY: the socket is open for as long as its queues are, which outlive the borrow of `self`.
        unsafe { BorrowedFd::borrow_raw(self.rx.fd().as_raw_fd()) }
    }
}

impl Rings for Queue {
    unsafe fn received(&mut self, out: &mut [FrameDesc]) -> usize {
        // SAFETY: the caller's promise.
        unsafe { self.rx.consume(out) }
    }

    unsafe fn completed(&mut self, out: &mut [FrameDesc]) -> usize {
        // SAFETY: the caller's promise.
        unsafe { self.comp.consume(out) }
    }

    unsafe fn fill(&mut self, chunks: &[FrameDesc]) -> usize {
        // SAFETY: the caller's promise.
        unsafe { self.fill.produce(chunks) }
    }

    unsafe fn send(&mut self, packets: &[FrameDesc]) -> usize {
        // SAFETY: the caller's promise.
        unsafe { self.tx.produce(packets) }
    }

    fn fill_needs_wakeup(&self) -> bool {
        self.busy_poll || self.fill.needs_wakeup()
    }

    fn wake_fill(&mut self) {
        // What fails is repeated at the next call.
        if self.busy_poll {
            // poll(2) runs the driver only with `net.core.busy_poll` set.
            let _ = rustix::net::recv(self.fd(), &mut [0u8; 0][..], RecvFlags::DONTWAIT);
        } else {
            let _ = self.fill.wakeup(self.rx.fd_mut(), 0);
        }
    }

    fn send_needs_wakeup(&self) -> bool {
        self.tx.needs_wakeup()
    }

    fn wake_send(&mut self) -> io::Result<()> {
        self.tx.wakeup()
    }

    fn send_room(&mut self) -> usize {
        self.tx.nb_free_exact() as usize
    }
}
