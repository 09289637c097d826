//! Frames made by others (tests/golden/generate.py: OpenSSL's AES-GCM, headers by hand; opened by tshark with a good ICV)
//! against ours, byte for byte.

use sipsec_net::dp::{Adjacency, Direction, EspCipher, Op, OuterDscp};
use sipsec_net::{DropReason, Instant, IpPrefix, Kbps, SecretBox};
use sipsec_pipeline::testing::{Gateway, Keys, Side, VecPacket};
use sipsec_pipeline::{InsideMode, Packet};
use std::collections::HashMap;

const RATE: Kbps = Kbps(1_000_000);
const NOW: Instant = Instant::from_nanos(1_000_000_000);

fn cases() -> Vec<HashMap<&'static str, &'static str>> {
    include_str!("golden/frames.txt")
        .split("\n\n")
        .map(|block| block.lines().filter_map(|line| line.split_once(' ')).collect())
        .filter(|case: &HashMap<_, _>| case.contains_key("case"))
        .collect()
}

fn hex(s: &str) -> Vec<u8> {
    (0..s.len()).step_by(2).map(|i| u8::from_str_radix(&s[i..i + 2], 16).expect("hex")).collect()
}

#[test]
fn what_we_seal_is_what_others_would() {
    let mut frames = 0;
    for case in cases().iter().filter(|c| c["case"] == "seal") {
        let cipher = if case["cipher"] == "aes128" { EspCipher::Aes128Gcm16 } else { EspCipher::Aes256Gcm16 };
        let keys = Keys::new(cipher, case["esn"] == "1");
        let mut a = Gateway::new(Side::A, InsideMode::Host);
        let mut binding = Gateway::binding(Side::A, RATE);
        binding.outer_dscp = OuterDscp::Fixed(10);
        if case["outer"] == "6" {
            binding.outside_local = "[2001:db8:a::1]:50012".parse().expect("valid");
            binding.remote = "[2001:db8:b::7]:24825".parse().expect("valid");
        }
        let v6: IpPrefix = "2001:db8:2::/48".parse().expect("valid");
        let mut sa = Gateway::sa(Side::A, Direction::Out, &keys);
        sa.keymat = SecretBox::new(&hex(case["keymat"])).expect("fits");
        a.apply(&[
            Op::RouteAdd { prefix: v6, tunnel: Gateway::TUNNEL, adjacency: Adjacency::Tunnel },
            Op::MediaOpen(binding),
            Op::SaAdd(sa),
            Op::TunnelBind { tunnel: Gateway::TUNNEL, outbound: Gateway::SA_OUT },
        ]);
        for n in 1..=6 {
            a.lan(NOW, &hex(case[format!("inner{n}").as_str()]));
            let sealed = a.out.outside.pop().expect("sealed");
            assert_eq!(sealed.data(), hex(case[format!("frame{n}").as_str()]), "frame {n} of {case:?}");
            frames += 1;
        }
    }
    assert_eq!(frames, 2 * 2 * 2 * 6);
}

#[test]
fn what_others_sealed_we_open_or_refuse_with_the_right_reason() {
    let mut opened = 0;
    for case in cases().iter().filter(|c| c["case"] == "open") {
        let mut a = Gateway::new(Side::A, InsideMode::Host);
        let mut sa = Gateway::sa(Side::A, Direction::In, &Keys::new(EspCipher::Aes128Gcm16, false));
        sa.keymat = SecretBox::new(&hex(case["keymat"])).expect("fits");
        a.apply(&[Op::MediaOpen(Gateway::binding(Side::A, RATE)), Op::SaAdd(sa)]);
        let frame = hex(case["frame"]);
        a.wan(NOW, VecPacket::new(&frame));
        let reason = DropReason::ALL.iter().find(|r| r.name() == case["expect"]);
        if let Some(reason) = reason {
            assert_eq!(a.pipeline.drops()[reason.index()], 1, "{case:?}");
            assert!(a.out.inside.is_empty());
        } else {
            // The outer header says congestion, the inner one is ECT(0): RFC 6040.
            let mut expected = hex(case["expect"]);
            sipsec_net::ipv4::set_byte(&mut expected, 1, 0x03);
            assert_eq!(a.out.inside.pop().expect("delivered").data()[14..], expected, "{case:?}");
            opened += 1;
        }
        // It cannot be replayed, unless it was never authentic.
        a.wan(NOW, VecPacket::new(&frame));
        let again = if case["expect"] == "icv-failed" {
            (DropReason::IcvFailed, 2)
        } else {
            (DropReason::ReplayDuplicate, 1)
        };
        assert_eq!(a.pipeline.drops()[again.0.index()], again.1, "{case:?}");
    }
    assert_eq!(opened, 3);
}
