//! An owned packet buffer with room in front and behind.

use crate::pool::Pool;
use std::mem::ManuallyDrop;
use std::rc::Rc;

/// One packet in one chunk of the pool, from `head` for `len` bytes. Dropped, the chunk is free again.
pub struct Frame {
    pool: Rc<Pool>,
    chunk: u32,
    head: u16,
    len: u16,
}

impl Frame {
    pub(crate) fn new(pool: Rc<Pool>, chunk: u32, head: u16, len: u16) -> Self {
        // The bounds on which every access below relies.
        assert!(chunk < pool.count() && u32::from(head) + u32::from(len) <= pool.chunk_size());
        Self { pool, chunk, head, len }
    }

    /// Gives up ownership without freeing: the caller now accounts for the chunk. Returns the UMEM address and length.
    pub(crate) fn into_addr(self) -> (usize, usize) {
        let mut this = ManuallyDrop::new(self);
        let at = (this.pool.offset_of(this.chunk) + usize::from(this.head), usize::from(this.len));
        // SAFETY: `this` is never used again and its own Drop does not run, so the `Rc` is dropped exactly once.
        unsafe { std::ptr::drop_in_place(&raw mut this.pool) };
        at
    }

    #[inline]
    #[must_use]
    pub fn data(&self) -> &[u8] {
        // SAFETY: `head + len` lies inside the chunk (invariant of every constructor and setter), the pool keeps it
        // mapped, and this frame is the chunk's only owner, so no other code writes while it is borrowed.
        unsafe {
            std::slice::from_raw_parts(
                self.pool.pointer(self.chunk).add(usize::from(self.head)),
                usize::from(self.len),
            )
        }
    }

    #[inline]
    #[must_use]
    pub fn data_mut(&mut self) -> &mut [u8] {
        // SAFETY: as in `data`, and the frame is borrowed exclusively.
        unsafe {
            std::slice::from_raw_parts_mut(
                self.pool.pointer(self.chunk).add(usize::from(self.head)),
                usize::from(self.len),
            )
        }
    }

    #[inline]
    #[must_use]
    pub const fn len(&self) -> usize {
        self.len as usize
    }

    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.len == 0
    }

    #[inline]
    #[must_use]
    pub const fn headroom(&self) -> usize {
        self.head as usize
    }

    #[inline]
    #[must_use]
    pub fn tailroom(&self) -> usize {
        self.pool.chunk_size() as usize - self.headroom() - self.len()
    }

    /// Adds `n` bytes in front; they keep the chunk's old contents. `false` (and no change) without room.
    #[inline]
    #[must_use]
    pub fn push_front(&mut self, n: usize) -> bool {
        if n > self.headroom() {
            return false;
        }
        self.head -= n as u16;
        self.len += n as u16;
        true
    }

    /// Removes `n` bytes in front. `false` (and no change) if the frame is shorter.
    #[inline]
    #[must_use]
    pub fn pull_front(&mut self, n: usize) -> bool {
        if n > self.len() {
            return false;
        }
        self.head += n as u16;
        self.len -= n as u16;
        true
    }

    /// Adds `n` bytes at the end; they keep the chunk's old contents. `false` (and no change) without room.
    #[inline]
    #[must_use]
    pub fn push_back(&mut self, n: usize) -> bool {
        if n > self.tailroom() {
            return false;
        }
        self.len += n as u16;
        true
    }

    /// Keeps the first `len` bytes; no effect if there are fewer.
    #[inline]
    pub fn truncate(&mut self, len: usize) {
        if len < self.len() {
            self.len = len as u16;
        }
    }

    /// Replaces the contents, at the usual headroom; `false` (and empty) if they do not fit.
    #[must_use]
    pub fn fill(&mut self, bytes: &[u8]) -> bool {
        self.head = crate::pool::HEADROOM;
        self.len = 0;
        let fits = self.push_back(bytes.len());
        if fits {
            self.data_mut().copy_from_slice(bytes);
        }
        fits
    }
}

impl AsRef<[u8]> for Frame {
    #[inline]
    fn as_ref(&self) -> &[u8] {
        self.data()
    }
}

impl AsMut<[u8]> for Frame {
    #[inline]
    fn as_mut(&mut self) -> &mut [u8] {
        self.data_mut()
    }
}

impl Drop for Frame {
    fn drop(&mut self) {
        self.pool.give_chunk(self.chunk);
    }
}

impl std::fmt::Debug for Frame {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Frame({}+{}, {} bytes)", self.chunk, self.head, self.len)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn room_is_bounded_at_both_ends_and_contents_stay() {
        let pool = Pool::heap(2, 2048);
        let mut f = pool.take().expect("free");
        assert!(f.fill(b"payload"));
        assert!(f.push_front(256) && !f.push_front(1));
        f.data_mut()[..256].fill(1);
        assert!(f.pull_front(256));
        assert_eq!(f.data(), b"payload");
        let room = f.tailroom();
        assert_eq!(room, 2048 - 256 - 7);
        assert!(f.push_back(room) && !f.push_back(1));
        f.truncate(7);
        assert_eq!(f.data(), b"payload");
        assert!(!f.pull_front(8));
        assert!(!f.fill(&[0; 1793]) && f.is_empty());
    }

    #[test]
    fn a_dropped_frame_is_free_and_exhaustion_is_counted() {
        let pool = Pool::heap(2, 2048);
        let (a, b) = (pool.take().expect("free"), pool.take().expect("free"));
        assert!(pool.take().is_none());
        assert_eq!((pool.free_count(), pool.exhausted()), (0, 1));
        drop(a);
        assert_eq!(pool.free_count(), 1);
        // A chunk in a ring has no owner until the ring returns it; the pool can still be dropped.
        let (addr, len) = b.into_addr();
        assert_eq!((pool.chunk_of(addr), addr % 2048, len), (1, 256, 0));
        assert_eq!((pool.free_count(), Rc::strong_count(&pool)), (1, 1));
    }
}
