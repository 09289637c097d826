//! Bytes that must not be seen: wiped on drop, never printed, compared without a timing leak by their users.

use alloc::boxed::Box;
use core::fmt;
use zeroize::{Zeroize, ZeroizeOnDrop};

/// A secret of at most `N` bytes, held inline: for a secret that stays where it was made. A move copies the bytes and does
/// not wipe the place that they leave; a secret that moves is a [`SecretBox`].
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

/// A secret of at most `N` bytes on the heap. A move copies a pointer, so the bytes exist once and are wiped once.
pub struct SecretBox<const N: usize>(Box<SecretBytes<N>>);

impl<const N: usize> SecretBox<N> {
    /// `None` if `bytes` is longer than `N`.
    #[must_use]
    pub fn new(bytes: &[u8]) -> Option<Self> {
        // The zeros are moved to the heap, the secret is copied there.
        let mut secret = Box::new(SecretBytes { bytes: [0; N], len: bytes.len() });
        secret.bytes.get_mut(..bytes.len())?.copy_from_slice(bytes);
        Some(Self(secret))
    }

    /// The secret itself; the name is meant to be found by a reviewer.
    #[must_use]
    pub fn expose(&self) -> &[u8] {
        self.0.expose()
    }

    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl<const N: usize> Clone for SecretBox<N> {
    /// Copies from heap to heap.
    fn clone(&self) -> Self {
        Self::new(self.expose()).expect("a secret fits a box of its own size")
    }
}

impl<const N: usize> fmt::Debug for SecretBox<N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SecretBox({} bytes)", self.len())
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
        let s = SecretBox::<32>::new(b"hunter2").expect("fits");
        assert_eq!(std::format!("{s:?}"), "SecretBox(7 bytes)");
        assert!(SecretBox::<4>::new(b"hunter2").is_none());
    }

    #[test]
    fn a_boxed_secret_moves_without_its_bytes() {
        let first = SecretBox::<32>::new(b"hunter2").expect("fits");
        let bytes = first.expose().as_ptr();
        let moved = std::vec![first];
        assert_eq!(moved[0].expose().as_ptr(), bytes);
        let copy = moved[0].clone();
        assert_ne!(copy.expose().as_ptr(), bytes);
        assert_eq!((copy.expose(), copy.len(), copy.is_empty()), (&b"hunter2"[..], 7, false));
    }
}
