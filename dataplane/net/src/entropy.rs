//! Randomness as an argument, so that a test chooses every nonce, tag, branch and SPI.

/// A source of unpredictable bytes. The shells give one backed by the kernel; tests give a scripted one.
pub trait Entropy: Send {
    /// Fills the whole buffer.
    fn fill(&mut self, buf: &mut [u8]);

    fn u32(&mut self) -> u32 {
        let mut b = [0; 4];
        self.fill(&mut b);
        u32::from_be_bytes(b)
    }

    fn u64(&mut self) -> u64 {
        let mut b = [0; 8];
        self.fill(&mut b);
        u64::from_be_bytes(b)
    }

    /// A value in `0..bound` (0 for `bound` 0); the bias is below 2⁻³² for every bound used here.
    fn below(&mut self, bound: u32) -> u32 {
        ((u128::from(self.u64()) * u128::from(bound)) >> 64) as u32
    }
}

/// Reproducible bytes (SplitMix64) for tests and benchmarks. Never for keys.
#[derive(Debug, Clone)]
pub struct TestEntropy(u64);

impl TestEntropy {
    #[must_use]
    pub const fn new(seed: u64) -> Self {
        Self(seed)
    }
}

impl Entropy for TestEntropy {
    fn fill(&mut self, buf: &mut [u8]) {
        for chunk in buf.chunks_mut(8) {
            self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
            let mut z = self.0;
            z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
            z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
            z ^= z >> 31;
            chunk.copy_from_slice(&z.to_be_bytes()[..chunk.len()]);
        }
    }
}
