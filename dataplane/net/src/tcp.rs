//! The one thing of TCP a router may touch: the maximum segment size of a SYN (RFC 9293 §3.7.1).

use crate::checksum;

pub const PROTOCOL: u8 = 6;
pub const HEADER_LEN: usize = 20;
const FLAGS_AT: usize = 13;
const SYN: u8 = 2;
const CHECKSUM_AT: usize = 16;

/// Lowers the MSS option of a SYN to `mss` if it is larger, keeping the checksum right; never raises it and never adds
/// one. Whether it changed.
pub fn clamp_mss(segment: &mut [u8], mss: u16) -> bool {
    if segment.len() < HEADER_LEN || segment[FLAGS_AT] & SYN == 0 {
        return false;
    }
    let end = (usize::from(segment[12] >> 4) * 4).min(segment.len());
    let mut at = HEADER_LEN;
    while at < end {
        match segment[at] {
            0 => return false,
            1 => at += 1,
            kind => {
                let Some(&len) = segment[..end].get(at + 1) else { return false };
                if kind == 2 && len == 4 && at + 4 <= end {
                    return lower(segment, at + 2, mss);
                }
                if len < 2 {
                    return false;
                }
                at += usize::from(len);
            }
        }
    }
    false
}

fn lower(segment: &mut [u8], at: usize, mss: u16) -> bool {
    let old = u16::from_be_bytes([segment[at], segment[at + 1]]);
    if old <= mss {
        return false;
    }
    segment[at..at + 2].copy_from_slice(&mss.to_be_bytes());
    let check = u16::from_be_bytes([segment[CHECKSUM_AT], segment[CHECKSUM_AT + 1]]);
    // An option may begin at an odd offset: then its bytes stand in the checksum's other halves.
    let (old, new) = if at.is_multiple_of(2) { (old, mss) } else { (old.swap_bytes(), mss.swap_bytes()) };
    let check = checksum::update(check, old, new);
    segment[CHECKSUM_AT..CHECKSUM_AT + 2].copy_from_slice(&check.to_be_bytes());
    true
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::vec::Vec;

    fn syn(options: &[u8]) -> Vec<u8> {
        let mut s = std::vec![0u8; 20];
        s[3] = 80;
        s[FLAGS_AT] = SYN;
        s.extend_from_slice(options);
        assert!(s.len().is_multiple_of(4));
        s[12] = ((s.len() / 4) as u8) << 4;
        s.extend_from_slice(b"fast open data");
        let check = checksum::finish(checksum::sum(&s, 0));
        s[16..18].copy_from_slice(&check.to_be_bytes());
        s
    }

    #[test]
    fn larger_is_lowered_at_even_and_odd_offsets_and_the_checksum_holds() {
        for options in [[2, 4, 0x05, 0xb4, 1, 1, 1, 0], [1, 2, 4, 0x05, 0xb4, 1, 1, 0]] {
            let mut s = syn(&options);
            assert!(clamp_mss(&mut s, 1360));
            assert_eq!(checksum::finish(checksum::sum(&s, 0)), 0);
            let at = if options[0] == 2 { 22 } else { 23 };
            assert_eq!(s[at..at + 2], 1360u16.to_be_bytes());
            assert!(!clamp_mss(&mut s, 1360), "already there");
        }
    }

    #[test]
    fn nothing_else_is_touched() {
        let cases: [&[u8]; 6] = [
            &[2, 4, 0x02, 0x18],             // smaller
            &[1, 1, 1, 1],                   // no MSS
            &[0, 2, 4, 0xff],                // after the end
            &[3, 0, 2, 4],                   // a length of zero
            &[1, 1, 1, 2],                   // cut off
            &[2, 6, 0xff, 0xff, 0, 0, 1, 1], // a wrong length
        ];
        for options in cases {
            let mut s = syn(options);
            let before = s.clone();
            assert!(!clamp_mss(&mut s, 1360));
            assert_eq!(s, before);
        }
        let mut ack = syn(&[2, 4, 0x05, 0xb4]);
        ack[FLAGS_AT] = 0x10;
        assert!(!clamp_mss(&mut ack, 536));
        let whole = syn(&[2, 4, 0x05, 0xb4]);
        for len in 0..24 {
            assert!(!clamp_mss(&mut whole[..len].to_vec(), 536));
        }
    }
}
