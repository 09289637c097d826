//! The ends of the sequence space, which no test reaches by sending.

use super::*;
use crate::sad::SaRef;
use crate::seq::SequenceCounter;
use crate::testing::{Gateway, Keys, Side, VecPacket, ipv4_udp};
use sipsec_net::Kbps;
use sipsec_net::dp::{EspCipher, ExpireCause};

const NOW: Instant = Instant::from_nanos(1_000_000_000);

fn pair(esn: bool) -> (Gateway, Gateway) {
    Gateway::pair(InsideMode::Host, Kbps(10_000_000), &Keys::new(EspCipher::Aes128Gcm16, esn))
}

fn sequence(g: &mut Gateway) -> &mut SequenceCounter {
    let Some(SaRef::Out(index)) = g.pipeline.sad.find(Gateway::SA_OUT) else { panic!("bound") };
    &mut g.pipeline.sad.outbound_mut(index).expect("there").sequence
}

fn send(g: &mut Gateway) {
    g.lan(NOW, &ipv4_udp(Side::A.host(), Side::B.host(), 100));
}

#[test]
fn without_esn_it_warns_in_time_and_stops_at_the_end() {
    let (mut a, mut b) = pair(false);
    sequence(&mut a).skip_to(u64::from(u32::MAX) / 4 * 3 - 1);
    send(&mut a);
    send(&mut a);
    let expire = |hard| Event::SaExpire { sa: Gateway::SA_OUT, cause: ExpireCause::Sequence, hard };
    assert_eq!(a.out.events, [expire(false)]);
    sequence(&mut a).skip_to(u64::from(u32::MAX) - 1);
    for _ in 0..3 {
        send(&mut a);
    }
    assert_eq!(a.out.outside.len(), 3);
    assert_eq!(a.pipeline.drops()[DropReason::SequenceExhausted.index()], 2);
    assert_eq!(a.out.events, [expire(false), expire(true)]);
    assert_eq!(a.carry_to(NOW, &mut b), 3);
    assert_eq!(b.out.inside.len(), 3);
}

#[test]
fn with_esn_both_sides_cross_2_to_the_32_with_loss_and_disorder() {
    let (mut a, mut b) = pair(true);
    // As near as a receiver must have come to follow: it learns the high half from the window alone.
    for at in [1u64 << 31, (1 << 32) - 600] {
        sequence(&mut a).skip_to(at);
        send(&mut a);
        a.carry_to(NOW, &mut b);
    }
    assert_eq!(b.out.inside.len(), 2);
    for _ in 0..2000 {
        send(&mut a);
    }
    let frames: Vec<VecPacket> = a.out.outside.drain(..).collect();
    let mut sent = 0;
    // Every seventh is lost, blocks of 50 come in reverse, and all come twice.
    for block in frames.chunks(50) {
        for (i, f) in block.iter().enumerate().rev().filter(|(i, _)| i % 7 != 0) {
            for _ in 0..2 {
                b.wan(NOW, f.clone());
            }
            sent += usize::from(i % 7 != 0);
        }
    }
    assert_eq!(b.out.inside.len(), 2 + sent);
    let drops = b.pipeline.drops();
    assert_eq!(drops[DropReason::ReplayDuplicate.index()] as usize, sent);
    assert_eq!(drops.iter().sum::<u64>() as usize, sent);
}

/// Ticks by one at each look.
struct Ticks(core::sync::atomic::AtomicU64);

impl CycleCounter for Ticks {
    fn now(&self) -> u64 {
        self.0.fetch_add(1, core::sync::atomic::Ordering::Relaxed)
    }
}

#[test]
fn stages_are_sampled_in_their_order() {
    let (mut a, mut b) = pair(false);
    let clean = |g: &mut Gateway| g.pipeline.stages = Stages::new(Some(Box::new(Ticks(0.into()))));
    [&mut a, &mut b].into_iter().for_each(clean);
    let seen = |g: &Gateway| g.pipeline.stages().map(|s| (s.packets, s.cycles));
    for _ in 0..128 {
        send(&mut a);
    }
    a.carry_to(NOW, &mut b);
    // Two of 128 batches of one packet.
    assert_eq!(seen(&a), [(2, 2), (2, 2), (2, 2), (2, 2), (0, 0), (0, 0), (0, 0), (0, 0)]);
    assert_eq!(seen(&b), [(0, 0), (0, 0), (0, 0), (0, 0), (2, 2), (2, 2), (2, 2), (2, 2)]);
    // One batch of ten: what the packets pass together is looked at once.
    [&mut a, &mut b].into_iter().for_each(clean);
    a.lan_batch(NOW, &vec![ipv4_udp(Side::A.host(), Side::B.host(), 100); 10]);
    let frames = std::mem::take(&mut a.out.outside);
    b.pipeline.batch_from_outside(NOW, frames, &mut b.out);
    assert_eq!(seen(&a), [(10, 10), (10, 10), (10, 10), (10, 1), (0, 0), (0, 0), (0, 0), (0, 0)]);
    assert_eq!(seen(&b), [(0, 0), (0, 0), (0, 0), (0, 0), (10, 10), (10, 10), (10, 1), (10, 1)]);
}
