//! A change of the pre-shared key at two ends, one after the other, under calls.

use super::SECOND;
use super::support::{Setup, World, keyring};
use sipsec_ike::{AuthMethod, PskSlot};

const OLD: &[u8] = b"a key that both ends have, long enough";
const NEW: &[u8] = b"another key for both ends, long enough";

fn setups(fingerprint: bool) -> [Setup; 2] {
    [0, 1].map(|side| Setup { psk: OLD, psk_fingerprint: fingerprint, ..Setup::of(side) })
}

/// The key that the peer of each side has proven.
fn proven(w: &World) -> [PskSlot; 2] {
    [0, 1].map(|side| {
        let sessions = w.gateways[side].core.crypto_sessions(w.now);
        match sessions.iter().find_map(|c| c.sa.as_ref()?.auth) {
            Some(AuthMethod::Psk(slot)) => slot,
            other => panic!("{other:?}"),
        }
    })
}

fn call(w: &mut World, from: usize) {
    w.packet(from);
    w.advance(SECOND);
    assert_eq!(w.status(), ["SESSION_UP"; 2], "{:?} {:?}", w.gateways[0].events, w.gateways[1].events);
}

fn told(w: &World, side: usize) -> usize {
    w.gateways[side].events.iter().filter(|e| *e == "next-key-used").count()
}

/// The steps of the runbook: the new key beside the old one at the head-end (1); the branch (0) changes over; the head-end
/// drops the old one. Between any two steps both ends can call, and no step ends a call.
#[test]
fn no_step_of_a_change_of_keys_costs_a_call() {
    for fingerprint in [false, true] {
        let mut setups = setups(fingerprint);
        let mut w = World::new(setups.clone());
        call(&mut w, 0);
        let steps = [(1, OLD, Some(NEW)), (0, NEW, Some(OLD)), (1, NEW, None), (0, NEW, None)];
        for (step, (side, psk, psk_next)) in steps.into_iter().enumerate() {
            // The call that is up stays up.
            setups[side] = Setup { psk, psk_next, ..setups[side].clone() };
            let done = w.reconfigure(side, |new| new.keyring = keyring(&setups[side]));
            assert!(matches!(done, Some(Ok(_))), "{done:?}");
            w.advance(SECOND);
            assert_eq!(w.status(), ["SESSION_UP"; 2], "step {step}");
            // And new ones come up in both directions.
            for from in [0, 1, 0] {
                w.advance(300 * SECOND);
                w.assert_no_call();
                let before = [told(&w, 0), told(&w, 1)];
                call(&mut w, from);
                let next = proven(&w).map(|slot| usize::from(slot == PskSlot::Next));
                assert_eq!([told(&w, 0) - before[0], told(&w, 1) - before[1]], next, "step {step}");
                // Between the second and the third step the current keys differ, and the caller's counts.
                let mut want = [0, 0];
                want[1 - from] = usize::from(step == 1);
                assert_eq!(next, want, "step {step}, call from {from}");
            }
        }
        let ended = |w: &World| w.gateways.iter().flat_map(|g| &g.events).filter(|e| *e == "failed").count();
        assert_eq!(ended(&w), 0);
    }
}

/// A branch that was forgotten is told by the event, and fails only when the old key is gone.
#[test]
fn a_branch_that_keeps_the_old_key_is_named() {
    let [branch, headend] = setups(false);
    let mut w = World::new([branch, Setup { psk: NEW, psk_next: Some(OLD), ..headend }]);
    call(&mut w, 0);
    assert_eq!((told(&w, 0), told(&w, 1)), (0, 1));
    assert_eq!(proven(&w), [PskSlot::Current, PskSlot::Next]);
}
