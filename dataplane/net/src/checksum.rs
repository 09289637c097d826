//! The Internet checksum (RFC 1071) and its incremental update (RFC 1624).

use core::net::IpAddr;

/// Adds `bytes` as big-endian 16-bit words; an odd last byte is padded with zero. Fold with [`finish`].
#[inline]
#[must_use]
pub fn sum(bytes: &[u8], initial: u32) -> u32 {
    // In the machine's byte order, because the sum of swapped words is the swapped sum (RFC 1071 §2 B); 32-bit words into 64 bits,
    // where the end-around carries are folded once at the end. The compiler makes vectors of this.
    let mut words = bytes.chunks_exact(4);
    let mut acc: u64 = words.by_ref().map(|w| u64::from(u32::from_ne_bytes([w[0], w[1], w[2], w[3]]))).sum();
    let rest = words.remainder();
    let mut last = [0; 4];
    last[..rest.len()].copy_from_slice(rest);
    acc += u64::from(u32::from_ne_bytes(last));
    let acc = (acc & 0xffff_ffff) + (acc >> 32);
    let acc = (acc & 0xffff) + ((acc >> 16) & 0xffff) + (acc >> 32);
    let acc = (acc & 0xffff) + (acc >> 16);
    let acc = (acc & 0xffff) + (acc >> 16);
    u32::from(u16::from_be(acc as u16)) + (initial & 0xffff) + (initial >> 16)
}

/// [`sum`] of an IPv4 header without options.
#[inline(always)]
#[must_use]
pub const fn sum_20(h: &[u8; 20]) -> u32 {
    const fn word(h: &[u8; 20], at: usize) -> u64 {
        u32::from_be_bytes([h[at], h[at + 1], h[at + 2], h[at + 3]]) as u64
    }
    let acc = word(h, 0) + word(h, 4) + word(h, 8) + word(h, 12) + word(h, 16);
    let acc = (acc & 0xffff_ffff) + (acc >> 32);
    ((acc & 0xffff) + (acc >> 16)) as u32
}

/// The checksum field of what was summed.
#[inline]
#[must_use]
pub const fn finish(sum: u32) -> u16 {
    let s = (sum & 0xffff) + (sum >> 16);
    let s = (s & 0xffff) + (s >> 16);
    !(s as u16)
}

/// RFC 1624 §3, equation 3: HC' = ~(~HC + ~m + m'). RFC 1141's equation gives −0 where +0 is right.
#[must_use]
pub const fn update(check: u16, old: u16, new: u16) -> u16 {
    finish((!check) as u32 + (!old) as u32 + new as u32)
}

/// Sum of the pseudo-header (RFC 768, RFC 8200 §8.1).
#[must_use]
pub fn pseudo(source: IpAddr, destination: IpAddr, protocol: u8, len: u16) -> u32 {
    let addr = |a: IpAddr, s: u32| match a {
        IpAddr::V4(a) => sum(&a.octets(), s),
        IpAddr::V6(a) => sum(&a.octets(), s),
    };
    addr(source, addr(destination, u32::from(protocol) + u32::from(len)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn full(words: &[u16]) -> u16 {
        finish(words.iter().map(|w| u32::from(*w)).sum())
    }

    #[test]
    fn odd_tails_and_long_buffers_agree_with_the_definition() {
        let bytes: std::vec::Vec<u8> = (0..4099u32).map(|i| (i * 37 + 11) as u8).collect();
        for len in (0..70).chain([4095, 4096, 4097, 4098, 4099]) {
            let mut padded = bytes[..len].to_vec();
            padded.resize(len.next_multiple_of(2), 0);
            let mut naive: u64 = padded.chunks(2).map(|w| u64::from(u16::from_be_bytes([w[0], w[1]]))).sum();
            while naive > 0xffff {
                naive = (naive & 0xffff) + (naive >> 16);
            }
            assert_eq!(finish(sum(&bytes[..len], 0)), !(naive as u16), "{len} bytes");
        }
    }

    #[test]
    fn incremental_equals_full_for_every_change_of_a_word() {
        for old in (0..=u16::MAX).step_by(251) {
            for new in (0..=u16::MAX).step_by(257) {
                let rest = [0x4500, 0x1234, 0xbeef];
                let check = full(&[rest[0], rest[1], rest[2], old]);
                assert_eq!(update(check, old, new), full(&[rest[0], rest[1], rest[2], new]));
            }
        }
    }

    #[test]
    fn the_short_way_for_twenty_bytes() {
        for seed in 0..1000u32 {
            let h: [u8; 20] = core::array::from_fn(|i| (seed.wrapping_mul(2_654_435_761) >> (i % 24)) as u8);
            assert_eq!(finish(sum_20(&h)), finish(sum(&h, 0)));
        }
        assert_eq!(finish(sum_20(&[0xff; 20])), finish(sum(&[0xff; 20], 0)));
    }

    #[test]
    fn rfc_1624_section_4_example() {
        assert_eq!(update(0xdd2f, 0x5555, 0x3285), 0x0000);
    }
}
