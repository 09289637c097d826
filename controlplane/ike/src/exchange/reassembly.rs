//! Fragments of one message (RFC 7383 §2.6).

use super::octets::Head;
use crate::wire::PayloadType;
use crate::wire::header::MESSAGE_MAX;
use crate::wire::skf::SkfFields;

/// Most fragments of one message: those of the longest message in pieces of 200 bytes, the least that a profile may ask for; AES-CBC
/// with HMAC-SHA2-512 leaves 111 bytes of it.
pub(crate) const FRAGMENTS_MAX: u16 = 600;

#[derive(Default)]
pub(crate) struct Reassembly {
    id: u32,
    total: u16,
    first: Option<(PayloadType, Head)>,
    parts: Vec<Option<Vec<u8>>>,
    bytes: usize,
    /// Bytes of the largest datagram.
    largest: usize,
}

/// A message of fragments that have all come.
pub(crate) struct Whole {
    /// Type of its first payload.
    pub first: PayloadType,
    pub head: Head,
    pub plaintext: Vec<u8>,
    /// Bytes of the largest fragment, if there were several.
    pub largest: Option<usize>,
}

impl Reassembly {
    /// Whether a fragment is worth decrypting. RFC 7383 §2.6: check the message ID, the numbers, and that it has not
    /// been received before, first.
    pub fn wants(&self, id: u32, fields: SkfFields) -> bool {
        if fields.total > FRAGMENTS_MAX {
            return false;
        }
        if self.total == 0 || id != self.id {
            return true;
        }
        // A larger total is a new attempt with smaller fragments; a smaller one is of the attempt given up.
        match fields.total.cmp(&self.total) {
            core::cmp::Ordering::Greater => true,
            core::cmp::Ordering::Less => false,
            core::cmp::Ordering::Equal => self.parts[usize::from(fields.number) - 1].is_none(),
        }
    }

    /// Takes a fragment whose ICV held, of a datagram of `len` bytes; the whole message once all are here.
    pub fn add(
        &mut self,
        id: u32,
        fields: SkfFields,
        (next, head): (PayloadType, Head),
        plaintext: Vec<u8>,
        len: usize,
    ) -> Option<Whole> {
        if self.total == 0 || id != self.id || fields.total > self.total {
            *self = Self {
                id,
                total: fields.total,
                first: None,
                parts: vec![None; usize::from(fields.total)],
                bytes: 0,
                largest: 0,
            };
        }
        if self.bytes + plaintext.len() > MESSAGE_MAX {
            self.clear();
            return None;
        }
        // RFC 7383 §2.5: only the first fragment names the first payload; the others hold zero.
        if fields.number == 1 {
            self.first = Some((next, head));
        }
        self.bytes += plaintext.len();
        self.largest = self.largest.max(len);
        *self.parts.get_mut(usize::from(fields.number) - 1)? = Some(plaintext);
        if self.parts.iter().any(Option::is_none) {
            return None;
        }
        let plaintext = self.parts.iter().flatten().flatten().copied().collect();
        let (first, head) = self.first?;
        let largest = (self.total > 1).then_some(self.largest);
        self.clear();
        Some(Whole { first, head, plaintext, largest })
    }

    pub fn clear(&mut self) {
        *self = Self::default();
    }
}
