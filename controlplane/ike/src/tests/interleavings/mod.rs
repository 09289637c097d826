//! Crossing rekeys, deletes and ends, in every order in which two endpoints can see them: each act, each message in
//! flight, each finished job and each change of a dataplane is a choice, and all sequences of choices are walked.
//!
//! Time stands still until nothing is left to choose, so an endpoint is a function of what it was given, in order. Two
//! sequences of choices that give both endpoints the same are one state, and walked once. What time adds (loss,
//! retransmission, timers in between) is the random tests' part, in `rekey`.

mod node;
mod world;

use crate::testing::Side;
use Act::{Close, DeleteChild, Expire, RekeyChild, RekeyIke};
use Side::{A, B};
use std::collections::HashSet;
use world::World;

/// Most states of one scenario; beyond it the scenario is not walked whole, and the test fails.
const STATES_MAX: usize = 20_000;
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Act {
    RekeyChild(Side),
    RekeyIke(Side),
    /// As a peer does that has no use for its only CHILD_SA any more.
    DeleteChild(Side),
    /// The hard limit of the one that carries the traffic.
    Expire(Side),
    Close(Side),
}

impl Act {
    const fn ends(self) -> bool {
        matches!(self, Self::Close(_) | Self::Expire(_))
    }
}

/// How finely it is looked at: what is not a choice happens at once.
#[derive(Clone, Copy, Debug)]
struct Grain {
    jobs: bool,
    installs: bool,
}

const FINE: Grain = Grain { jobs: true, installs: true };
const INSTALLS: Grain = Grain { jobs: false, installs: true };
const COARSE: Grain = Grain { jobs: false, installs: false };

/// Which of the four nonces of two crossing exchanges is the lowest: one side's first or second.
#[derive(Clone, Copy, Debug)]
struct Lowest {
    side: Side,
    turn: usize,
}

const EVERY_NONCE: [Lowest; 4] = [
    Lowest { side: A, turn: 0 },
    Lowest { side: A, turn: 1 },
    Lowest { side: B, turn: 0 },
    Lowest { side: B, turn: 1 },
];

/// The key exchanges of a rekey of the CHILD_SA.
#[derive(Clone, Copy, Debug)]
enum Secrecy {
    None,
    Group,
    /// With IKE_FOLLOWUP_KE (RFC 9370 §2.2.4); for both sides, or for A alone.
    Hybrid,
    HybridOfA,
}

const fn is_delete(act: &Act) -> bool {
    matches!(act, DeleteChild(_))
}

#[derive(Clone, Copy, Debug)]
struct Scenario {
    acts: &'static [Act],
    grain: Grain,
    secrecy: Secrecy,
    lowest: Lowest,
}

/// Walks every state of the scenario; how many there are.
fn walk(scenario: Scenario) -> usize {
    let mut seen = HashSet::new();
    // Where one could have gone on otherwise.
    let mut open = vec![Vec::new()];
    while let Some(path) = open.pop() {
        let mut world = World::new(scenario);
        for choice in path {
            world.take(choice);
        }
        loop {
            let choices = world.choices();
            if choices.is_empty() {
                world.settle();
                world.judge();
                break;
            }
            let mut fresh = choices.into_iter().filter(|c| seen.insert(world.after(*c)));
            let first = fresh.next();
            open.extend(fresh.map(|c| [&world.path[..], &[c]].concat()));
            assert!(seen.len() <= STATES_MAX, "too many states to walk all of them");
            let Some(first) = first else { break };
            world.take(first);
        }
    }
    seen.len()
}

fn walk_all(sets: &'static [&'static [Act]], grain: Grain, secrecy: Secrecy, nonces: &[Lowest]) {
    let mut states = 0;
    for acts in sets {
        for lowest in nonces {
            states += walk(Scenario { acts, grain, secrecy, lowest: *lowest });
        }
    }
    assert!(states > 10 * sets.len(), "{states} states are hardly any");
}

#[test]
fn crossing_rekeys_of_the_child() {
    walk_all(&[&[RekeyChild(A), RekeyChild(B)]], INSTALLS, Secrecy::None, &EVERY_NONCE);
    walk_all(&[&[RekeyChild(A), RekeyChild(B)]], FINE, Secrecy::Group, &EVERY_NONCE);
}

/// RFC 9370 §2.2.4: the one that made the lowest nonce does not go on, so that there is nothing to delete.
#[test]
fn crossing_rekeys_of_the_child_with_a_further_exchange() {
    for secrecy in [Secrecy::Hybrid, Secrecy::HybridOfA] {
        walk_all(&[&[RekeyChild(A), RekeyChild(B)]], FINE, secrecy, &EVERY_NONCE);
    }
}

#[test]
fn a_further_exchange_crosses_everything_else() {
    const SETS: &[&[Act]] = &[
        &[RekeyChild(A), RekeyIke(B)],
        &[RekeyChild(A), RekeyIke(A)],
        &[DeleteChild(B), RekeyChild(A)],
        &[DeleteChild(A), RekeyChild(B)],
        &[Close(A), RekeyChild(A)],
        &[Close(A), RekeyChild(B)],
        &[Expire(A), RekeyChild(A)],
        &[Expire(A), RekeyChild(B)],
    ];
    walk_all(SETS, FINE, Secrecy::Hybrid, &EVERY_NONCE[..1]);
    const THREE: &[&[Act]] = &[&[RekeyChild(A), RekeyChild(B), RekeyIke(B)]];
    walk_all(THREE, COARSE, Secrecy::Hybrid, &EVERY_NONCE[..1]);
}

/// RFC 7296 §2.8.1: of two SAs made at once, the one with the lowest of the four nonces goes.
#[test]
fn the_lowest_nonce_loses() {
    for lowest in EVERY_NONCE {
        let acts = &[RekeyChild(A), RekeyChild(B)];
        let mut world = World::new(Scenario { acts, grain: COARSE, secrecy: Secrecy::None, lowest });
        for request in [A, B] {
            world.begin(request as usize);
        }
        world.settle();
        world.judge();
        // A side's first nonce is of its own exchange, its second of the peer's.
        let loser = if lowest.turn == 0 { lowest.side } else { lowest.side.other() };
        assert_eq!(
            world.nodes.each_ref().map(|n| n.made),
            [loser == B, loser == A].map(u32::from),
            "{lowest:?}"
        );
        world.passed = true;
    }
}

#[test]
fn crossing_rekeys_of_the_ike_sa() {
    walk_all(&[&[RekeyIke(A), RekeyIke(B)]], FINE, Secrecy::None, &EVERY_NONCE);
}

#[test]
fn rekeys_of_the_child_and_of_the_ike_sa_cross() {
    const SETS: &[&[Act]] =
        &[&[RekeyChild(A), RekeyIke(B)], &[RekeyChild(B), RekeyIke(A)], &[RekeyChild(A), RekeyIke(A)]];
    walk_all(SETS, FINE, Secrecy::None, &EVERY_NONCE[..1]);
    walk_all(SETS, COARSE, Secrecy::Group, &EVERY_NONCE[..1]);
}

#[test]
fn three_rekeys_cross() {
    const SETS: &[&[Act]] = &[
        &[RekeyChild(A), RekeyChild(B), RekeyIke(A)],
        &[RekeyChild(A), RekeyChild(B), RekeyIke(B)],
        &[RekeyIke(A), RekeyIke(B), RekeyChild(A)],
        &[RekeyIke(A), RekeyIke(B), RekeyChild(B)],
    ];
    // Either side loses.
    walk_all(SETS, COARSE, Secrecy::None, &EVERY_NONCE[..2]);
}

#[test]
fn deletes_cross_rekeys() {
    const SETS: &[&[Act]] = &[
        &[DeleteChild(A), RekeyChild(B)],
        &[DeleteChild(A), RekeyIke(B)],
        &[DeleteChild(A), RekeyIke(A)],
        &[DeleteChild(A), DeleteChild(B)],
        &[DeleteChild(B), RekeyChild(A)],
    ];
    walk_all(SETS, INSTALLS, Secrecy::None, &EVERY_NONCE[..1]);
}

#[test]
fn ends_cross_rekeys() {
    const SETS: &[&[Act]] = &[
        &[Close(A), Close(B)],
        &[Close(A), RekeyChild(A)],
        &[Close(A), RekeyChild(B)],
        &[Close(A), RekeyIke(A)],
        &[Close(A), RekeyIke(B)],
        &[Close(B), RekeyIke(A)],
        &[Expire(A), RekeyChild(A)],
        &[Expire(A), RekeyChild(B)],
        &[Expire(A), RekeyIke(B)],
    ];
    walk_all(SETS, FINE, Secrecy::None, &EVERY_NONCE[..1]);
}

#[test]
fn an_end_among_crossing_rekeys() {
    const SETS: &[&[Act]] = &[
        &[Close(A), RekeyChild(A), RekeyChild(B)],
        &[Close(A), RekeyIke(A), RekeyIke(B)],
        &[Close(B), RekeyIke(A), RekeyChild(B)],
        &[Close(A), RekeyIke(A), RekeyChild(B)],
    ];
    walk_all(SETS, COARSE, Secrecy::None, &EVERY_NONCE[..1]);
}
