//! Short text of a fixed size.

use core::fmt;

/// UTF-8 text of at most `N` bytes, held inline and zero-filled.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Text<const N: usize>([u8; N]);

impl<const N: usize> Text<N> {
    pub const EMPTY: Self = Self([0; N]);

    /// As much of `text` as fits, cut between characters.
    #[must_use]
    pub fn new(text: &str) -> Self {
        let cut = text.floor_char_boundary(N);
        let mut bytes = [0; N];
        bytes[..cut].copy_from_slice(&text.as_bytes()[..cut]);
        Self(bytes)
    }

    /// Accepts any bytes; text that is not UTF-8 reads as empty.
    #[must_use]
    pub(crate) const fn from_bytes(bytes: [u8; N]) -> Self {
        Self(bytes)
    }

    #[must_use]
    pub(crate) const fn into_bytes(self) -> [u8; N] {
        self.0
    }

    #[must_use]
    pub fn as_str(&self) -> &str {
        let len = self.0.iter().position(|b| *b == 0).unwrap_or(N);
        core::str::from_utf8(&self.0[..len]).unwrap_or_default()
    }
}

impl<const N: usize> Default for Text<N> {
    fn default() -> Self {
        Self::EMPTY
    }
}

impl<const N: usize> From<&str> for Text<N> {
    fn from(text: &str) -> Self {
        Self::new(text)
    }
}

impl<const N: usize> fmt::Display for Text<N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl<const N: usize> fmt::Debug for Text<N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self.as_str(), f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_cut_between_characters_and_garbage_is_empty() {
        assert_eq!(Text::<4>::new("ring").as_str(), "ring");
        assert_eq!(Text::<4>::new("aé€").as_str(), "aé");
        assert_eq!(Text::<4>::from_bytes([0xff, 0xfe, b'a', 0]).as_str(), "");
    }
}
