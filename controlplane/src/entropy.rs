//! Randomness of the kernel.

use sipsec_net::Entropy;

#[derive(Clone, Copy, Debug, Default)]
pub struct KernelEntropy;

impl KernelEntropy {
    #[must_use]
    pub const fn new() -> Self {
        Self
    }
}

impl Entropy for KernelEntropy {
    fn fill(&mut self, buf: &mut [u8]) {
        getrandom::fill(buf).expect("getrandom(2) of a running kernel does not fail");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_draws_differ() {
        let (mut a, mut b) = ([0; 32], [0; 32]);
        KernelEntropy::new().fill(&mut a);
        KernelEntropy::new().fill(&mut b);
        assert_ne!(a, b);
    }
}
