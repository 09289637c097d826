//! A frame as the pipeline sees it: bytes with room on both sides. The worker passes UMEM frames, tests pass vectors.

/// An owned packet buffer. Dropping it frees the frame.
pub trait Packet {
    fn data(&self) -> &[u8];
    fn data_mut(&mut self) -> &mut [u8];
    /// `n` more bytes in front, contents unspecified; `false` and no change without room. The pipeline needs
    /// [`HEADROOM_MIN`] bytes in front of a received Ethernet frame and of a fresh one.
    #[must_use]
    fn push_front(&mut self, n: usize) -> bool;
    /// `n` bytes fewer in front; `false` and no change if there are fewer.
    #[must_use]
    fn pull_front(&mut self, n: usize) -> bool;
    /// `n` more bytes behind, contents unspecified; `false` and no change without room. The pipeline needs
    /// [`TAILROOM_MIN`] bytes behind the largest frame.
    #[must_use]
    fn push_back(&mut self, n: usize) -> bool;
    /// Keeps the first `len` bytes; no effect if there are fewer.
    fn truncate(&mut self, len: usize);

    #[inline]
    fn len(&self) -> usize {
        self.data().len()
    }

    fn is_empty(&self) -> bool {
        self.data().is_empty()
    }
}

/// Outer IPv6, UDP, ESP header and IV.
pub const HEADROOM_MIN: usize = 40 + 8 + 8 + 16;
/// Padding, pad length, next header and ICV.
pub const TAILROOM_MIN: usize = 15 + 2 + 32;
