//! Two gateways back to back, once for each ESP suite: what goes in on one LAN comes out on the other, and what is not the
//! peer's is counted.

use sipsec_dataplane::engines;
use sipsec_net::dp::{Adjacency, EspCipher, Op};
use sipsec_net::esp::Layout;
use sipsec_net::{DropReason, Instant, IpPrefix, Kbps};
use sipsec_pipeline::testing::{Gateway, Inner, Keys, Side, VecPacket};
use sipsec_pipeline::{AeadEngine, AeadError, AeadKey, InsideMode, Packet};
use sipsec_profile::model::Engine;
use std::net::IpAddr;
use std::sync::{LazyLock, Mutex};

const FAST: Kbps = Kbps(10_000_000);
const NOW: Instant = Instant::from_nanos(1_000_000_000);
/// Ethernet, IPv4 and UDP.
const OUTER_V4: usize = 14 + 20 + 8;
const OUTER_V6: usize = 14 + 40 + 8;

/// Chosen once: that takes longer than all tests.
static ENGINE: LazyLock<Mutex<Box<dyn AeadEngine>>> =
    LazyLock::new(|| Mutex::new(engines::select(Engine::AesGcm).expect("part of the build").engine));

/// Makes the keys of [`ENGINE`].
struct Shared;

impl AeadEngine for Shared {
    fn name(&self) -> &str {
        "shared"
    }
    fn new_key(&self, cipher: EspCipher, key: &[u8]) -> Result<Box<dyn AeadKey>, AeadError> {
        ENGINE.lock().expect("no panic").new_key(cipher, key)
    }
    fn wipes_keys(&self, cipher: EspCipher) -> bool {
        ENGINE.lock().expect("no panic").wipes_keys(cipher)
    }
}

/// Both gateways in a call, with IPv6 inside and this outer family.
fn pair(keys: &Keys, outer_v6: bool) -> [Gateway; 2] {
    [Side::A, Side::B].map(|side| {
        let mut g = Gateway::with_engine(side, InsideMode::Host, Box::new(Shared));
        let prefix: IpPrefix = "2001:db8::/32".parse().expect("valid");
        let mut binding = Gateway::binding(side, FAST);
        if outer_v6 {
            let addr = |s: Side| format!("[2001:db8::{:x}]:{}", s.media_port().0, s.media_port()).parse();
            binding.outside_local = addr(side).expect("valid");
            binding.remote = addr(side.other()).expect("valid");
        }
        g.apply(&[
            Op::RouteAdd { prefix, tunnel: Gateway::TUNNEL, adjacency: Adjacency::Tunnel },
            Op::MediaOpen(binding),
        ]);
        g.apply(&Gateway::session(side, keys));
        g
    })
}

fn drops(g: &Gateway, reason: DropReason) -> u64 {
    g.pipeline.drops()[reason.index()]
}

fn udp(v6: bool, len: usize) -> Inner {
    let (from, to): (IpAddr, IpAddr) = if v6 {
        ("2001:db8:1::9".parse().expect("valid"), "2001:db8:2::9".parse().expect("valid"))
    } else {
        (Side::A.host().into(), Side::B.host().into())
    };
    Inner::udp(from, to, len)
}

#[test]
fn every_suite_carries_every_size_in_both_families() {
    for cipher in EspCipher::ALL {
        for esn in [false, true] {
            for outer_v6 in [false, true] {
                let [mut a, mut b] = pair(&Keys::new(cipher, esn), outer_v6);
                let outer = if outer_v6 { OUTER_V6 } else { OUTER_V4 };
                let packets: Vec<Vec<u8>> = (0..40)
                    .chain([100, 511, 512, 513, 1000, 1300])
                    .flat_map(|len| [udp(false, len), udp(true, len)])
                    .map(|inner| inner.to_bytes())
                    .collect();
                for batch in packets.chunks(11) {
                    a.lan_batch(NOW, batch);
                }
                let lens: Vec<usize> = a.out.outside.iter().map(|f| f.data().len() - outer).collect();
                let layout = cipher.layout();
                let wanted: Vec<usize> = packets.iter().map(|p| layout.packet_len(p.len())).collect();
                assert_eq!(lens, wanted, "{cipher:?}");
                a.carry_to(NOW, &mut b);
                let got: Vec<&[u8]> = b.out.inside.iter().map(|f| &f.data()[14..]).collect();
                assert_eq!(got, packets, "{cipher:?} {esn}");
                assert_eq!(b.pipeline.drops().iter().sum::<u64>(), 0, "{cipher:?} {esn}");
            }
        }
    }
}

/// RFC 4303 §3.4.4: every bit of the packet but that of the header before the SPI is protected.
#[test]
fn every_damaged_byte_is_one_counted_drop() {
    for cipher in EspCipher::ALL {
        let [mut a, mut b] = pair(&Keys::new(cipher, true), false);
        a.lan(NOW, &udp(false, 20).to_bytes());
        let frame = a.out.outside[0].clone();
        let len = frame.data().len();
        // Behind the SPI, which finds the SA.
        for at in OUTER_V4 + 4..len {
            let mut damaged = frame.clone();
            damaged.data_mut()[at] ^= 0x10;
            b.wan(NOW, damaged);
        }
        let sequence = drops(&b, DropReason::IcvFailed) + drops(&b, DropReason::ReplayOld);
        assert_eq!(sequence, (len - OUTER_V4 - 4) as u64, "{cipher:?}");
        assert!(b.out.inside.is_empty());
        b.wan(NOW, frame.clone());
        b.wan(NOW, frame);
        assert_eq!((b.out.inside.len(), drops(&b, DropReason::ReplayDuplicate)), (1, 1), "{cipher:?}");
    }
}

/// With the UDP and IP lengths of what is left.
fn cut(frame: &VecPacket, by: usize) -> VecPacket {
    let mut bytes = frame.data().to_vec();
    bytes.truncate(bytes.len() - by);
    let (ip, udp) = ((bytes.len() - 14) as u16, (bytes.len() - 34) as u16);
    bytes[16..18].copy_from_slice(&ip.to_be_bytes());
    bytes[38..40].copy_from_slice(&udp.to_be_bytes());
    bytes[24..26].fill(0);
    let sum: u32 = bytes[14..34].chunks(2).map(|w| u32::from(u16::from_be_bytes([w[0], w[1]]))).sum();
    let sum = !((sum & 0xffff) + (sum >> 16)) as u16;
    bytes[24..26].copy_from_slice(&sum.to_be_bytes());
    VecPacket::new(&bytes)
}

/// RFC 3602 §2.4: the ciphertext is whole blocks; what is not is known to be wrong without its keys.
#[test]
fn a_packet_of_any_length_is_one_counted_drop() {
    for cipher in EspCipher::ALL {
        let [mut a, mut b] = pair(&Keys::new(cipher, false), false);
        a.lan(NOW, &udp(false, 20).to_bytes());
        let frame = a.out.outside[0].clone();
        let esp = frame.data().len() - OUTER_V4;
        let layout = cipher.layout();
        let shortest = layout.front_len() + layout.icv_len() + layout.block_len();
        for by in 1..esp - 8 {
            b.wan(NOW, cut(&frame, by));
            let left = esp - by;
            let whole = left >= shortest
                && (left - layout.front_len() - layout.icv_len()).is_multiple_of(layout.block_len());
            let reason = if whole { DropReason::IcvFailed } else { DropReason::EspMalformed };
            let dropped = b.pipeline.drops().iter().sum::<u64>();
            let counted = drops(&b, DropReason::IcvFailed) + drops(&b, DropReason::EspMalformed);
            assert_eq!((dropped, counted), (by as u64, by as u64), "{cipher:?} {left} is {reason:?}");
        }
        let malformed = (1..esp - 8)
            .filter(|by| {
                let left = esp - by;
                left < shortest
                    || !(left - layout.front_len() - layout.icv_len()).is_multiple_of(layout.block_len())
            })
            .count();
        assert_eq!(drops(&b, DropReason::EspMalformed), malformed as u64, "{cipher:?}");
    }
}

/// The tunnel's MTU follows the cipher of its SA: the largest packet fits the WAN, and the next one is cut or its sender told.
#[test]
fn the_largest_packet_of_each_suite_fits_the_wan() {
    for cipher in EspCipher::ALL {
        for outer_v6 in [false, true] {
            let [mut a, mut b] = pair(&Keys::new(cipher, false), outer_v6);
            let outer = if outer_v6 { OUTER_V6 } else { OUTER_V4 };
            let most = cipher.layout().inner_mtu(1500, outer_v6).min(1438);
            let mut largest = udp(false, most - 28);
            largest.dont_fragment = true;
            a.lan(NOW, &largest.to_bytes());
            let sent = a.out.outside[0].data().len();
            assert!(sent <= 1514 && sent == outer + cipher.layout().packet_len(most), "{cipher:?} {sent}");
            a.carry_to(NOW, &mut b);
            assert_eq!(b.out.inside.len(), 1, "{cipher:?}");

            let mut larger = udp(false, most - 28 + 1);
            larger.dont_fragment = true;
            a.lan(NOW, &larger.to_bytes());
            assert_eq!((a.out.outside.len(), drops(&a, DropReason::TooBigDf)), (0, 1), "{cipher:?}");
            // RFC 1191 §4: the MTU of the next hop, in the second half of the ICMP header.
            let told =
                a.out.inside.pop().expect("a Fragmentation Needed").data()[14 + 20 + 6..][..2].to_vec();
            assert_eq!(u16::from_be_bytes([told[0], told[1]]), most as u16, "{cipher:?}");

            larger.dont_fragment = false;
            a.lan(NOW, &larger.to_bytes());
            assert_eq!(a.out.outside.len(), 2, "{cipher:?}");
            assert!(a.out.outside.iter().all(|f| f.data().len() <= 1514));
        }
    }
}

/// RFC 3602 §3: the IV of one packet says nothing about the next. RFC 8750 §4: an implicit IV is not sent.
#[test]
fn ivs_of_cbc_are_unpredictable_and_implicit_ones_absent() {
    let [mut a, _] = pair(&Keys::new(EspCipher::Aes128CbcSha1, false), false);
    let inner = udp(false, 20).to_bytes();
    (0..64).for_each(|_| a.lan(NOW, &inner));
    let ivs: Vec<u128> = a
        .out
        .outside
        .iter()
        .map(|f| u128::from_be_bytes(*f.data()[OUTER_V4 + 8..].first_chunk().expect("an IV")))
        .collect();
    for pair in ivs.windows(2) {
        let differing = (pair[0] ^ pair[1]).count_ones();
        assert!((30..98).contains(&differing), "{differing} of 128 bits");
    }
    let [mut a, _] = pair(&Keys::new(EspCipher::Aes128Gcm16, false), false);
    let [mut i, _] = pair(&Keys::new(EspCipher::Aes128Gcm16Iiv, false), false);
    a.lan(NOW, &inner);
    i.lan(NOW, &inner);
    let (a, i) = (a.out.outside[0].data(), i.out.outside[0].data());
    assert_eq!(a.len() - i.len(), Layout::AEAD.iv_len());
    // The same nonce and the same additional data: what is sealed is equal.
    assert_eq!(a[OUTER_V4 + 16..], i[OUTER_V4 + 8..]);
}
