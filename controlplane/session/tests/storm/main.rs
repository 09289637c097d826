//! Money under random schedules of packets, losses, crashes and changes, after which nothing may be left.

#[path = "../support/carrier.rs"]
mod carrier;
mod dataplane;
mod scripts;
mod world;

use proptest::prelude::*;
use sipsec_session::{Admin, Input};
use std::time::Duration;
use world::{Happening, IDLE, World};

/// Longer than anything that a session, a call or a back-off may take by itself.
const CALM: Duration = Duration::from_secs(1200);

#[derive(Clone, Copy, Debug)]
enum Fault {
    Packets {
        side: usize,
        count: u8,
    },
    Crash {
        side: usize,
    },
    DataplaneDies {
        side: usize,
        gone_ms: u64,
    },
    LinkCut {
        side: usize,
        gone_ms: u64,
    },
    AddressLost {
        side: usize,
        gone_ms: u64,
    },
    Loss {
        percent: u32,
        for_ms: u64,
    },
    CarrierBusy {
        for_ms: u64,
    },
    Carrier {
        trouble: Trouble,
        for_ms: u64,
    },
    JournalFails {
        side: usize,
        times: u32,
    },
    DataplaneRefuses {
        side: usize,
        times: u32,
    },
    SoftLimit {
        side: usize,
    },
    Cleared {
        side: usize,
    },
    /// A profile without the tunnel, and the whole one again.
    TunnelGone {
        side: usize,
        gone_ms: u64,
    },
    Bounced {
        side: usize,
    },
}

/// What a carrier does to calls.
#[derive(Clone, Copy, Debug)]
enum Trouble {
    /// Of a kind of message nothing passes.
    Swallows(&'static str),
    RefusesByes,
    /// No bandwidth is in the SDP that passes.
    Spoils,
    /// No caller is told.
    HidesCallers,
    /// INVITEs are passed on without their offer.
    TakesOffers,
}

fn trouble() -> impl Strategy<Value = Trouble> {
    const KINDS: [&str; 8] =
        ["INVITE", "ACK", "BYE", "CANCEL", "UPDATE", "SIP/2.0 1", "SIP/2.0 2", "SIP/2.0 4"];
    prop_oneof![
        4 => prop::sample::select(&KINDS).prop_map(Trouble::Swallows),
        1 => Just(Trouble::RefusesByes),
        1 => Just(Trouble::Spoils),
        1 => Just(Trouble::HidesCallers),
        1 => Just(Trouble::TakesOffers),
    ]
}

fn fault() -> impl Strategy<Value = Fault> {
    let side = || 0usize..2;
    let short = || prop_oneof![0u64..300, 0u64..20_000, 0u64..100_000];
    prop_oneof![
        6 => (side(), 1u8..20).prop_map(|(side, count)| Fault::Packets { side, count }),
        3 => side().prop_map(|side| Fault::Crash { side }),
        1 => (side(), short()).prop_map(|(side, gone_ms)| Fault::DataplaneDies { side, gone_ms }),
        1 => (side(), short()).prop_map(|(side, gone_ms)| Fault::LinkCut { side, gone_ms }),
        1 => (side(), short()).prop_map(|(side, gone_ms)| Fault::AddressLost { side, gone_ms }),
        2 => (1u32..60, short()).prop_map(|(percent, for_ms)| Fault::Loss { percent, for_ms }),
        1 => short().prop_map(|for_ms| Fault::CarrierBusy { for_ms }),
        2 => (trouble(), short()).prop_map(|(trouble, for_ms)| Fault::Carrier { trouble, for_ms }),
        1 => (side(), 1u32..3).prop_map(|(side, times)| Fault::JournalFails { side, times }),
        1 => (side(), 1u32..3).prop_map(|(side, times)| Fault::DataplaneRefuses { side, times }),
        1 => side().prop_map(|side| Fault::SoftLimit { side }),
        1 => side().prop_map(|side| Fault::Cleared { side }),
        2 => (side(), short()).prop_map(|(side, gone_ms)| Fault::TunnelGone { side, gone_ms }),
        1 => side().prop_map(|side| Fault::Bounced { side }),
    ]
}

fn apply(w: &mut World, fault: Fault, seed: u64) {
    let ms = Duration::from_millis;
    match fault {
        Fault::Packets { side, count } => {
            for n in 0..u64::from(count) {
                w.at(ms(n * 700), Happening::Packet { side });
            }
        }
        Fault::Crash { side } => w.crash(side, seed),
        Fault::DataplaneDies { side, gone_ms } => w.restart_dataplane(side, ms(gone_ms)),
        Fault::LinkCut { side, gone_ms } => w.cut(side, ms(gone_ms)),
        Fault::AddressLost { side, gone_ms } => w.lose_address(side, ms(gone_ms)),
        Fault::Loss { percent, for_ms } => {
            w.note(format!("{percent} % are lost for {for_ms} ms"));
            w.loss_percent = percent;
            w.at(ms(for_ms), Happening::LossEnds);
        }
        Fault::CarrierBusy { for_ms } => {
            w.note(format!("the carrier is busy for {for_ms} ms"));
            w.carrier.knobs.reject = Some("503 Service Unavailable");
            w.at(ms(for_ms), Happening::CarrierWell);
        }
        Fault::Carrier { trouble, for_ms } => {
            w.note(format!("the carrier for {for_ms} ms: {trouble:?}"));
            let knobs = &mut w.carrier.knobs;
            match trouble {
                Trouble::Swallows(what) => knobs.swallow.push(what),
                Trouble::RefusesByes => knobs.refuse_bye = Some("500 Server Internal Error"),
                Trouble::Spoils => knobs.rewrite = vec![("b=AS:", "b=X:")],
                Trouble::HidesCallers => knobs.no_identity = true,
                Trouble::TakesOffers => knobs.takes_offers = Some("actpass"),
            }
            w.at(ms(for_ms), Happening::CarrierWell);
        }
        Fault::JournalFails { side, times } => w.gateways[side].journal_fails = times,
        Fault::DataplaneRefuses { side, times } => w.gateways[side].dp.refuse = times,
        Fault::SoftLimit { side } => w.soft_limit(side),
        Fault::TunnelGone { side, gone_ms } => {
            w.apply_profile(side, |new| new.tunnels.clear());
            w.at(ms(gone_ms), Happening::Profile { side });
        }
        Fault::Bounced { side } => w.apply_profile(side, |new| {
            new.tunnels[0].bandwidth = sipsec_net::Kbps(512);
            new.bounced.insert(world::TUNNEL);
        }),
        Fault::Cleared { side } => w.tell(side, Input::Admin(Admin::Clear { remote_number: None })),
    }
}

/// At rest: nothing is billed, nothing is kept, and the next packet gets through.
fn at_rest(w: &mut World) -> Result<(), TestCaseError> {
    prop_assert!(w.live_calls().is_empty(), "billed: {:?}\n{}", w.live_calls(), w.history());
    for side in 0..2 {
        let status = w.session(side).status;
        prop_assert_eq!(status, "READY_TO_CONNECT", "{}", w.history());
        let g = &w.gateways[side];
        prop_assert!(g.journal.is_empty(), "{} keeps records\n{}", side, w.history());
        prop_assert!(g.resolved.is_empty(), "{} follows next hops of no call\n{}", side, w.history());
        prop_assert!(g.dp.is_empty(), "{}'s dataplane keeps state\n{}", side, w.history());
        prop_assert!(g.dp.surprised.is_empty(), "{:?}\n{}", g.dp.surprised, w.history());
    }
    for side in 0..2 {
        for g in &mut w.gateways {
            (g.journal_fails, g.dp.refuse) = (0, 0);
        }
        let before = w.delivered();
        w.at(Duration::ZERO, Happening::Packet { side });
        w.advance(Duration::from_secs(2));
        let status = [w.session(0).status, w.session(1).status];
        prop_assert_eq!(status, ["SESSION_UP"; 2], "{}", w.history());
        prop_assert_eq!(w.delivered(), before + 1, "the first packet is not lost\n{}", w.history());
        w.advance(IDLE + Duration::from_secs(10));
        prop_assert!(w.live_calls().is_empty(), "idle and billed\n{}", w.history());
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn after_any_storm_nothing_is_billed_and_nothing_is_stuck(
        seed in any::<u64>(),
        schedule in prop::collection::vec((prop_oneof![0u64..60, 0u64..2000, 0u64..30_000], fault()), 1..14),
    ) {
        let mut w = World::new(seed);
        for (n, (late_ms, fault)) in (1u64..).zip(schedule) {
            w.advance(Duration::from_millis(late_ms));
            apply(&mut w, fault, seed ^ n);
        }
        w.advance(CALM);
        at_rest(&mut w)?;
    }
}

/// Both ends take the tunnel out of their profile while the call between them is being set up.
#[test]
fn a_tunnel_that_both_ends_remove_while_they_call_comes_back() -> Result<(), TestCaseError> {
    const SEED: u64 = 5_961_047_598_605_445_941;
    let mut w = World::new(SEED);
    for (n, late_ms, fault) in [
        (1, 0, Fault::Packets { side: 0, count: 1 }),
        (2, 2, Fault::TunnelGone { side: 1, gone_ms: 19 }),
        (3, 39, Fault::TunnelGone { side: 0, gone_ms: 0 }),
    ] {
        w.advance(Duration::from_millis(late_ms));
        apply(&mut w, fault, SEED ^ n);
    }
    w.advance(CALM);
    at_rest(&mut w)
}

/// The caller crashes and hangs up while the dataplane of the called side refuses the port: it is closed before the
/// refusal is told.
#[test]
fn a_port_that_is_refused_and_closed_at_once_keeps_nothing() -> Result<(), TestCaseError> {
    const SEED: u64 = 1_440_395_160_725_119_231;
    let mut w = World::new(SEED);
    for (n, late_ms, fault) in [
        (1, 0, Fault::DataplaneRefuses { side: 0, times: 1 }),
        (2, 0, Fault::Packets { side: 1, count: 1 }),
        (3, 9, Fault::Crash { side: 1 }),
    ] {
        w.advance(Duration::from_millis(late_ms));
        apply(&mut w, fault, SEED ^ n);
    }
    w.advance(CALM);
    at_rest(&mut w)
}

/// What waits for a tunnel goes with it, even if it is cleared while the dataplane removes it.
#[test]
fn a_tunnel_that_is_cleared_while_it_is_removed_is_gone() -> Result<(), TestCaseError> {
    let mut w = World::new(0);
    w.advance(Duration::ZERO);
    apply(&mut w, Fault::TunnelGone { side: 1, gone_ms: 0 }, 1);
    apply(&mut w, Fault::Cleared { side: 1 }, 2);
    w.advance(CALM);
    at_rest(&mut w)
}

/// A call is answered while the tunnel is away, and comes back with it.
#[test]
fn a_tunnel_that_comes_back_while_its_call_ends_is_whole() -> Result<(), TestCaseError> {
    let mut w = World::new(0);
    w.advance(Duration::from_millis(0));
    apply(&mut w, Fault::Packets { side: 0, count: 1 }, 1);
    w.advance(Duration::from_millis(54));
    apply(&mut w, Fault::TunnelGone { side: 0, gone_ms: 201 }, 2);
    w.advance(CALM);
    at_rest(&mut w)
}
