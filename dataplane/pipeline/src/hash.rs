//! A hash under a secret key, for tables whose keys are chosen by senders of packets.

use core::net::IpAddr;

/// Without the key no sender can tell which other words have the same hash.
pub(crate) fn keyed<const N: usize>(key: u64, words: [u64; N]) -> u32 {
    // The finaliser of SplitMix64 after each word, so that the key is between all of them.
    let mixed = words.into_iter().fold(key, |z, word| {
        let mut z = (z ^ word).wrapping_add(0x9E37_79B9_7F4A_7C15);
        z = (z ^ z >> 30).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ z >> 27).wrapping_mul(0x94D0_49BB_1331_11EB);
        (z ^ z >> 31) ^ key.rotate_left(17)
    });
    (mixed >> 32) as u32
}

pub(crate) const fn halves(a: IpAddr) -> [u64; 2] {
    match a {
        IpAddr::V4(a) => [0, a.to_bits() as u64],
        IpAddr::V6(a) => [(a.to_bits() >> 64) as u64, a.to_bits() as u64],
    }
}
