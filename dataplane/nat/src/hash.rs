//! SipHash-1-3 (Aumasson and Bernstein, 2012) over 64-bit words: hosts choose addresses and ports, so without a secret key
//! they could choose ones that fall into one chain.

#[derive(Clone, Copy)]
pub(crate) struct HashKey([u64; 2]);

impl core::fmt::Debug for HashKey {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("HashKey(…)")
    }
}

#[inline]
const fn round(mut v: [u64; 4]) -> [u64; 4] {
    v[0] = v[0].wrapping_add(v[1]);
    v[2] = v[2].wrapping_add(v[3]);
    v[1] = v[1].rotate_left(13) ^ v[0];
    v[3] = v[3].rotate_left(16) ^ v[2];
    v[0] = v[0].rotate_left(32);
    v[2] = v[2].wrapping_add(v[1]);
    v[0] = v[0].wrapping_add(v[3]);
    v[1] = v[1].rotate_left(17) ^ v[2];
    v[3] = v[3].rotate_left(21) ^ v[0];
    v[2] = v[2].rotate_left(32);
    v
}

impl HashKey {
    pub(crate) const fn new(key: [u64; 2]) -> Self {
        Self(key)
    }

    #[inline]
    pub(crate) fn hash<const N: usize>(self, words: [u64; N]) -> u64 {
        let [k0, k1] = self.0;
        let mut v = [
            k0 ^ 0x736f_6d65_7073_6575,
            k1 ^ 0x646f_7261_6e64_6f6d,
            k0 ^ 0x6c79_6765_6e65_7261,
            k1 ^ 0x7465_6462_7974_6573,
        ];
        // The last word is the length in bytes, with no bytes left over.
        for word in words.into_iter().chain([(8 * N as u64) << 56]) {
            v[3] ^= word;
            v = round(v);
            v[0] ^= word;
        }
        v[2] ^= 0xff;
        v = round(round(round(v)));
        v[0] ^ v[1] ^ v[2] ^ v[3]
    }
}

/// SplitMix64: which ports a host gets is not to be guessed from those that others have (RFC 6056).
#[derive(Clone, Copy)]
pub(crate) struct Random(u64);

impl core::fmt::Debug for Random {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("Random(…)")
    }
}

impl Random {
    pub(crate) const fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub(crate) const fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    /// A value below `bound`, which is not 0.
    pub(crate) const fn below(&mut self, bound: u32) -> u32 {
        (((self.next() >> 32) * bound as u64) >> 32) as u32
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::hash::{BuildHasher, Hasher, RandomState};

    /// The standard library hashes with SipHash-1-3. Its key is not to be seen, but zero is `DefaultHasher`'s.
    #[test]
    fn words_hash_as_the_standard_library_hashes_their_bytes() {
        let key = HashKey::new([0, 0]);
        let mut random = Random::new(1);
        for _ in 0..100 {
            let words = [random.next(), random.next(), random.next()];
            let mut hasher = std::hash::DefaultHasher::new();
            words.iter().for_each(|w| hasher.write(&w.to_le_bytes()));
            assert_eq!(key.hash(words), hasher.finish());
        }
        assert_ne!(RandomState::new().build_hasher().finish(), key.hash([]), "the key matters");
    }
}
