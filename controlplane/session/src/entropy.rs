//! Independent sources of randomness for the parts of the core, each seeded from the one that the shell gave.

use chacha20::ChaCha20Rng;
use chacha20::rand_core::{Rng, SeedableRng};
use sipsec_net::Entropy;
use zeroize::Zeroize;

const SEED_LEN: usize = 32;

/// ChaCha20 under a secret 256-bit seed. The seed is replaced by output of its own after every request (fast key erasure),
/// so that what was given out cannot be computed from what is still in memory.
pub struct Stream(ChaCha20Rng);

impl Stream {
    /// Takes 256 bits of `source`.
    pub fn of(source: &mut dyn Entropy) -> Self {
        let mut seed = [0; SEED_LEN];
        source.fill(&mut seed);
        let stream = Self(ChaCha20Rng::from_seed(seed));
        seed.zeroize();
        stream
    }
}

impl Entropy for Stream {
    fn fill(&mut self, buf: &mut [u8]) {
        self.0.fill_bytes(buf);
        let mut next = [0; SEED_LEN];
        self.0.fill_bytes(&mut next);
        self.0 = ChaCha20Rng::from_seed(next);
        next.zeroize();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use sipsec_net::entropy::TestEntropy;

    fn stream(seed: u64) -> Stream {
        Stream::of(&mut TestEntropy::new(seed))
    }

    #[test]
    fn streams_of_different_seeds_and_positions_differ() {
        let (mut a, mut b) = (stream(1), stream(2));
        let mut seen = std::collections::HashSet::new();
        for _ in 0..100 {
            assert!(seen.insert(a.u64()) && seen.insert(b.u64()));
        }
        assert_eq!(stream(1).u64(), stream(1).u64());
    }

    /// RFC 8439's ChaCha20 with a zero nonce and counter: the first request is the plain keystream, and the second is under
    /// the key that follows it.
    #[test]
    fn each_request_has_a_key_of_its_own() {
        let mut zero = ChaCha20Rng::from_seed([0; SEED_LEN]);
        let (mut first, mut key) = ([0; 16], [0; SEED_LEN]);
        zero.fill_bytes(&mut first);
        zero.fill_bytes(&mut key);
        // The first block of the keystream for key 0 (RFC 8439 appendix A.1, test vector 1).
        assert_eq!(
            first,
            [0x76, 0xb8, 0xe0, 0xad, 0xa0, 0xf1, 0x3d, 0x90, 0x40, 0x5d, 0x6a, 0xe5, 0x53, 0x86, 0xbd, 0x28]
        );
        let mut stream = Stream(ChaCha20Rng::from_seed([0; SEED_LEN]));
        let mut got = [0; 16];
        stream.fill(&mut got);
        assert_eq!(got, first);
        let mut second = [0; 16];
        ChaCha20Rng::from_seed(key).fill_bytes(&mut second);
        stream.fill(&mut got);
        assert_eq!(got, second);
    }
}
