//! Bytes that must not be seen: wiped on drop, never printed, compared without a timing leak by their users.

use core::fmt;
use zeroize::{Zeroize, ZeroizeOnDrop};

/// A secret of at most `N` bytes, held inline (no heap copy to forget).
#[derive(Clone, Zeroize, ZeroizeOnDrop)]
pub struct SecretBytes<const N: usize> {
    bytes: [u8; N],
    len: usize,
}

impl<const N: usize> SecretBytes<N> {
    /// `None` if `bytes` is longer than `N`.
    #[must_use]
    pub fn new(bytes: &[u8]) -> Option<Self> {
        let mut out = Self { bytes: [0; N], len: bytes.len() };
        out.bytes.get_mut(..bytes.len())?.copy_from_slice(bytes);
        Some(out)
    }

    /// The secret itself; the name is meant to be found by a reviewer.
    #[must_use]
    pub fn expose(&self) -> &[u8] {
        &self.bytes[..self.len]
    }

    #[must_use]
    pub fn len(&self) -> usize {
        self.len
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }
}

impl<const N: usize> fmt::Debug for SecretBytes<N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SecretBytes({} bytes)", self.len)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debug_output_shows_no_byte() {
        let s = SecretBytes::<32>::new(b"hunter2").expect("fits");
        assert_eq!(std::format!("{s:?}"), "SecretBytes(7 bytes)");
        assert!(SecretBytes::<4>::new(b"hunter2").is_none());
    }
}
