//! Independent sources for the parts of the core, derived from the one that the shell gave.

use sha2::{Digest, Sha256};
use sipsec_net::Entropy;
use zeroize::Zeroize;

/// SHA-256 in counter mode under a secret 256-bit seed: its output is as unpredictable as the seed (NIST SP 800-90A
/// Hash_DRBG without reseeding, for the few kilobytes that one call needs). The seed is replaced after every request, so
/// that what was given out cannot be computed from what is still in memory.
pub struct Stream {
    seed: [u8; 32],
    counter: u64,
}

impl Stream {
    pub const fn new(seed: [u8; 32]) -> Self {
        Self { seed, counter: 0 }
    }

    fn block(&mut self, label: u8) -> [u8; 32] {
        self.counter += 1;
        Sha256::new()
            .chain_update([label])
            .chain_update(self.counter.to_be_bytes())
            .chain_update(self.seed)
            .finalize()
            .into()
    }
}

impl Entropy for Stream {
    fn fill(&mut self, buf: &mut [u8]) {
        for chunk in buf.chunks_mut(32) {
            let mut block = self.block(0);
            chunk.copy_from_slice(&block[..chunk.len()]);
            block.zeroize();
        }
        let next = self.block(1);
        self.seed.zeroize();
        self.seed = next;
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        self.seed.zeroize();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn streams_of_different_seeds_and_positions_differ() {
        let (mut a, mut b) = (Stream::new([1; 32]), Stream::new([2; 32]));
        let mut seen = std::collections::HashSet::new();
        for _ in 0..100 {
            assert!(seen.insert(a.u64()) && seen.insert(b.u64()));
        }
        assert_eq!(Stream::new([1; 32]).u64(), Stream::new([1; 32]).u64());
    }
}
