//! Two pre-shared keys are accepted while the ends change over from one to the other.

use super::by_hand::{MS, configs};
use crate::auth::psk_fingerprint;
use crate::config::Ppk;
use crate::testing::{Net, Side, config};
use crate::{AuthConfig, AuthMethod, EndpointConfig, IkeError, Party, PskKeys, PskSlot};
use core::time::Duration;
use sipsec_net::{HashFunc, SecretBox};

const OLD: &[u8] = b"the key of last year";
const NEW: &[u8] = b"the key of this year";

/// The current key and the next one.
type Keys = (&'static [u8], Option<&'static [u8]>);

fn keys(current: &[u8], next: Option<&[u8]>) -> AuthConfig {
    let key = |text| SecretBox::new(text).expect("fits");
    AuthConfig::Psk(PskKeys { current: key(current), next: next.map(key) })
}

fn pair(a: AuthConfig, b: AuthConfig) -> (EndpointConfig, EndpointConfig) {
    let (mut ca, mut cb) = configs();
    (ca.auth, cb.auth) = (a, b);
    (ca, cb)
}

fn run((a, b): (EndpointConfig, EndpointConfig)) -> Net {
    let mut net = Net::new(a, b);
    net.start();
    net.run(Duration::from_secs(60));
    net
}

/// The keys that the peer of each side has proven, if the session is up.
fn proven(net: &Net) -> Option<[PskSlot; 2]> {
    if !net.is_up() {
        assert_eq!(net.a().installed() + net.b().installed(), 0);
        return None;
    }
    Some([net.a(), net.b()].map(|side| match side.endpoint.view().auth {
        Some(AuthMethod::Psk(slot)) => slot,
        other => panic!("{other:?}"),
    }))
}

/// A calls B. Each row is a state that a change of keys passes through, or one that must fail.
#[test]
fn each_side_changes_in_its_own_time() {
    use PskSlot::{Current, Next};
    let rows: [(Keys, Keys, Option<[PskSlot; 2]>); 11] = [
        // B accepts the new key before anything has it.
        ((OLD, None), (OLD, Some(NEW)), Some([Current, Current])),
        ((OLD, Some(NEW)), (OLD, None), Some([Current, Current])),
        // A has changed over; B answers with the key that A has.
        ((NEW, None), (OLD, Some(NEW)), Some([Current, Next])),
        ((NEW, Some(OLD)), (OLD, None), None),
        ((NEW, Some(OLD)), (OLD, Some(NEW)), Some([Current, Next])),
        ((OLD, Some(NEW)), (NEW, Some(OLD)), Some([Current, Next])),
        // B has, and A has not.
        ((OLD, None), (NEW, Some(OLD)), Some([Current, Next])),
        // Both have; what is left over does no harm.
        ((NEW, Some(OLD)), (NEW, None), Some([Current, Current])),
        ((NEW, None), (NEW, Some(OLD)), Some([Current, Current])),
        // A forgot to change over while B has dropped the old key.
        ((OLD, Some(NEW)), (NEW, None), None),
        ((b"neither", Some(b"of them")), (OLD, Some(NEW)), None),
    ];
    for (a, b, want) in rows {
        let net = run(pair(keys(a.0, a.1), keys(b.0, b.1)));
        assert_eq!(proven(&net), want, "{a:?} {b:?} {:?} {:?}", net.a().story(), net.b().story());
        if want.is_none() {
            assert_eq!(net.a().failed(), Some(&IkeError::AuthenticationFailed { by: Party::Peer }));
            assert_eq!(net.b().failed(), Some(&IkeError::AuthenticationFailed { by: Party::Us }));
        }
    }
}

/// With fingerprints in SDP the initiator knows beforehand which key the peer has.
#[test]
fn the_initiator_takes_the_key_that_sdp_names() {
    let fingerprints = |keys: &[&[u8]]| keys.iter().map(|k| psk_fingerprint(k, HashFunc::Sha256)).collect();
    let (mut a, mut b) = pair(keys(OLD, Some(NEW)), keys(NEW, None));
    a.peer_fingerprints.expected = fingerprints(&[NEW]);
    b.peer_fingerprints.expected = fingerprints(&[OLD, NEW]);
    let net = run((a.clone(), b.clone()));
    assert_eq!(proven(&net), Some([PskSlot::Next, PskSlot::Current]), "{:?}", net.b().story());
    // None of ours: nothing is sent.
    a.peer_fingerprints.expected = fingerprints(&[b"a third one"]);
    let net = run((a, b.clone()));
    assert!(matches!(net.a().failed(), Some(IkeError::PskFingerprintMismatch { .. })));
    assert!(net.log.is_empty());
    // A key of ours that is not the one in SDP is refused though its proof holds (RFC 6193 §7).
    let (a, mut b) = pair(keys(NEW, None), keys(OLD, Some(NEW)));
    b.peer_fingerprints.expected = fingerprints(&[OLD]);
    let net = run((a, b));
    assert!(
        matches!(net.b().failed(), Some(IkeError::PskFingerprintMismatch { .. })),
        "{:?}",
        net.b().story()
    );
}

/// The side that was called begins the reauthentication, and its current key is not the one that the caller has.
#[test]
fn a_reauthentication_keeps_to_the_key_of_the_call() {
    for side in [Side::A, Side::B] {
        let mut net = run(pair(keys(NEW, None), keys(OLD, Some(NEW))));
        assert_eq!(proven(&net), Some([PskSlot::Current, PskSlot::Next]));
        net.with(side, |e, now| e.reauthenticate(now));
        net.run(MS * 500);
        for gateway in [net.a(), net.b()] {
            assert_eq!(
                gateway.endpoint.view().counters.reauthentications,
                1,
                "{side:?} {:?}",
                gateway.story()
            );
        }
        net.run(Duration::from_secs(120));
        assert!(net.is_up(), "{:?} {:?}", net.a().story(), net.b().story());
        let [a, b] = proven(&net).expect("up");
        assert_eq!((a, b), (PskSlot::Current, PskSlot::Next));
    }
}

#[test]
fn a_ppk_goes_with_either_key() {
    for (required, of_b) in [(true, true), (false, true), (false, false)] {
        let ppk = |has: bool| {
            let key = SecretBox::new(b"thirty-two bytes that nobody knows").expect("fits");
            has.then(|| Ppk { id: b"lab-1".to_vec(), key, required })
        };
        let (mut a, mut b) = pair(keys(NEW, None), keys(OLD, Some(NEW)));
        (a.ppk, b.ppk) = (ppk(true), ppk(of_b));
        let net = run((a, b));
        assert_eq!(proven(&net), Some([PskSlot::Current, PskSlot::Next]), "{:?}", net.b().story());
        assert_eq!(net.b().endpoint.view().ppk, of_b);
    }
}

#[test]
fn an_empty_second_key_is_refused() {
    let mut a = config(Side::A);
    a.auth = keys(OLD, Some(b""));
    let net = run((a, config(Side::B)));
    assert!(matches!(net.a().failed(), Some(IkeError::BadConfig(_))), "{:?}", net.a().story());
    assert!(net.log.is_empty());
}
