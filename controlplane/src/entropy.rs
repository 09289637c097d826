//! Randomness of the kernel.

use ring::rand::{SecureRandom, SystemRandom};
use sipsec_net::Entropy;

#[derive(Clone, Debug)]
pub struct KernelEntropy(SystemRandom);

impl KernelEntropy {
    #[must_use]
    pub fn new() -> Self {
        Self(SystemRandom::new())
    }
}

impl Default for KernelEntropy {
    fn default() -> Self {
        Self::new()
    }
}

impl Entropy for KernelEntropy {
    fn fill(&mut self, buf: &mut [u8]) {
        self.0.fill(buf).expect("getrandom(2) of a running kernel does not fail");
    }
}
