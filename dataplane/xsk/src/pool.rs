//! The memory of all frames and the list of free ones.

use crate::desc::DescLayout;
use crate::frame::Frame;
use std::cell::{Cell, RefCell};
use std::rc::Rc;
use xsk_rs::Umem;

/// Where a received packet starts in its chunk (XDP_PACKET_HEADROOM), and so does one made here.
pub const HEADROOM: u16 = 256;

/// Free frames that the receive rings never take. They are for packets made here: IKE messages and fragments.
pub const RESERVE: usize = 64;

/// All frames of one worker. Single-threaded by construction (`Rc` inside every frame).
pub struct Pool {
    /// Address of the region; every chunk's provenance was exposed when the pool was made.
    base: usize,
    chunk_size: u32,
    count: u32,
    free: RefCell<Vec<u32>>,
    exhausted: Cell<u64>,
    _memory: Memory,
}

/// Keeps the region mapped for as long as a frame is alive.
enum Memory {
    Umem(#[expect(dead_code, reason = "held for its Drop")] Umem),
    Heap(*mut [u8]),
}

impl Drop for Memory {
    fn drop(&mut self) {
        if let Self::Heap(region) = *self {
            // SAFETY: made by `Box::into_raw` in `Pool::heap` and freed here alone; no frame is left, because each
            // holds the pool.
            drop(unsafe { Box::from_raw(region) });
        }
    }
}

impl Pool {
    /// A pool in ordinary memory, for ports without a kernel.
    #[must_use]
    pub fn heap(count: u32, chunk_size: u32) -> Rc<Self> {
        assert!(
            chunk_size.is_power_of_two() && chunk_size > u32::from(HEADROOM),
            "a chunk holds its headroom"
        );
        let region = Box::into_raw(vec![0u8; count as usize * chunk_size as usize].into_boxed_slice());
        Rc::new(Self {
            base: region.cast::<u8>().expose_provenance(),
            chunk_size,
            count,
            free: RefCell::new((0..count).rev().collect()),
            exhausted: Cell::new(0),
            _memory: Memory::Heap(region),
        })
    }

    /// The frames of a UMEM, all of them free.
    pub(crate) fn umem(umem: Umem, layout: DescLayout, count: u32, chunk_size: u32) -> Rc<Self> {
        let mut base = 0;
        for chunk in (0..count).rev() {
            let mut desc = layout.make(chunk as usize * chunk_size as usize, chunk_size as usize);
            // SAFETY: the descriptor describes one whole chunk of this UMEM, and no frame has been handed to the
            // kernel or to another owner yet.
            let mut data = unsafe { umem.data_mut(&mut desc) };
            base = data.contents_mut().as_mut_ptr().expose_provenance();
        }
        Rc::new(Self {
            base,
            chunk_size,
            count,
            free: RefCell::new((0..count).rev().collect()),
            exhausted: Cell::new(0),
            _memory: Memory::Umem(umem),
        })
    }

    /// A free frame, empty; `None` (and a count) if every frame is in use.
    #[must_use]
    pub fn take(self: &Rc<Self>) -> Option<Frame> {
        match self.take_chunk() {
            Some(chunk) => Some(Frame::new(Rc::clone(self), chunk, HEADROOM, 0)),
            None => {
                self.exhausted.set(self.exhausted.get() + 1);
                None
            }
        }
    }

    #[must_use]
    pub fn free_count(&self) -> usize {
        self.free.borrow().len()
    }

    #[must_use]
    pub const fn count(&self) -> u32 {
        self.count
    }

    #[must_use]
    pub const fn chunk_size(&self) -> u32 {
        self.chunk_size
    }

    /// How often [`Self::take`] found nothing.
    #[must_use]
    pub fn exhausted(&self) -> u64 {
        self.exhausted.get()
    }

    pub(crate) fn take_chunk(&self) -> Option<u32> {
        self.free.borrow_mut().pop()
    }

    pub(crate) fn give_chunk(&self, chunk: u32) {
        debug_assert!(chunk < self.count, "a chunk of this pool");
        self.free.borrow_mut().push(chunk);
    }

    /// The chunk in which a UMEM address lies.
    pub(crate) const fn chunk_of(&self, addr: usize) -> u32 {
        (addr / self.chunk_size as usize) as u32
    }

    pub(crate) const fn offset_of(&self, chunk: u32) -> usize {
        chunk as usize * self.chunk_size as usize
    }

    pub(crate) fn pointer(&self, chunk: u32) -> *mut u8 {
        debug_assert!(chunk < self.count, "a chunk of this pool");
        std::ptr::with_exposed_provenance_mut(self.base + self.offset_of(chunk))
    }
}

impl std::fmt::Debug for Pool {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Pool")
            .field("count", &self.count)
            .field("chunk_size", &self.chunk_size)
            .field("free", &self.free_count())
            .finish_non_exhaustive()
    }
}
