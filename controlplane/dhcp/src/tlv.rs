//! A cursor over bytes that are not trusted.

use crate::Ignored;

/// Reads from the front of a slice; each read is checked.
#[derive(Clone, Copy, Debug)]
pub struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    pub const fn new(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    pub const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub fn take(&mut self, len: usize) -> Result<&'a [u8], Ignored> {
        let (head, tail) = self.0.split_at_checked(len).ok_or(Ignored::Malformed)?;
        self.0 = tail;
        Ok(head)
    }

    pub fn array<const N: usize>(&mut self) -> Result<[u8; N], Ignored> {
        let (head, tail) = self.0.split_first_chunk::<N>().ok_or(Ignored::Malformed)?;
        self.0 = tail;
        Ok(*head)
    }

    pub fn u8(&mut self) -> Result<u8, Ignored> {
        Ok(u8::from_be_bytes(self.array()?))
    }

    pub fn u16(&mut self) -> Result<u16, Ignored> {
        Ok(u16::from_be_bytes(self.array()?))
    }

    pub fn u32(&mut self) -> Result<u32, Ignored> {
        Ok(u32::from_be_bytes(self.array()?))
    }
}
