//! What an entry of the keyring says of its peer.

use crate::SECOND;
use crate::support::{Setup, World};
use sipsec_ike::{Identity, IdentityPolicy};
use sipsec_session::PeerKind;

fn outcome(a: Setup, b: Setup) -> World {
    let mut w = World::new([a, b]);
    w.packet(0);
    w.advance(3 * SECOND);
    w
}

/// RFC 7296 §3.5: what the peer says it is must be what its entry says, in every form and in both directions.
#[test]
fn an_identity_of_any_form_is_accepted_where_it_is_written() {
    let fqdn = |name: &str| Identity::Fqdn(name.to_owned());
    let forms = [
        (Identity::Ipv4([203, 0, 113, 9].into()), Identity::Ipv4([203, 0, 113, 9].into())),
        (
            Identity::Ipv6("2001:db8::9".parse().expect("valid")),
            Identity::Ipv6("2001:db8::9".parse().expect("valid")),
        ),
        // RFC 4343 §3.
        (fqdn("Headend.example.com"), fqdn("headend.EXAMPLE.com")),
        (Identity::KeyId(b"headend".to_vec()), Identity::KeyId(b"headend".to_vec())),
        (Identity::Rfc822("h@example.com".to_owned()), Identity::Rfc822("h@example.com".to_owned())),
    ];
    let exactly = forms.map(|(said, wanted)| (said, IdentityPolicy::Exactly(wanted)));
    let of_domain = (fqdn("br1.Example.com"), IdentityPolicy::FqdnOf("example.com".to_owned()));
    for (said, wanted) in exactly.into_iter().chain([of_domain]) {
        for side in 0..2 {
            let mut setups = [Setup::of(0), Setup::of(1)];
            setups[side].local_id = Some(said.clone());
            setups[1 - side].remote_id = Some(wanted.clone());
            let [a, b] = setups;
            assert_eq!(outcome(a, b).status(), ["SESSION_UP"; 2], "{said} of side {side}");
        }
    }
}

#[test]
fn no_identity_is_accepted_that_is_not_written() {
    let address = Identity::Ipv4([203, 0, 113, 9].into());
    let other = Identity::Ipv4([203, 0, 113, 10].into());
    let name = Identity::Fqdn("203.0.113.9".to_owned());
    let digits = Identity::KeyId(b"203.0.113.9".to_vec());
    // What it says, and what its entry says; `None` is its number.
    let cases = [
        (Some(&address), None),
        (None, Some(&address)),
        (Some(&other), Some(&address)),
        (Some(&name), Some(&address)),
        (Some(&digits), Some(&name)),
    ];
    for (said, wanted) in cases {
        for side in 0..2 {
            let mut setups = [Setup::of(0), Setup::of(1)];
            setups[side].local_id = said.cloned();
            setups[1 - side].remote_id = wanted.cloned().map(IdentityPolicy::Exactly);
            let [a, b] = setups;
            let w = outcome(a, b);
            assert!(!w.status().contains(&"SESSION_UP"), "{said:?} {wanted:?}");
            assert!(w.failure(1 - side).is_some(), "{said:?} {wanted:?}");
        }
    }
}

/// RFC 8247, RFC 8221: what an IOS router has by default is met in both roles if its entry says so, is told, and is met
/// nowhere else.
#[test]
fn an_old_router_is_met_where_its_entry_says_so() {
    for side in 0..2 {
        let with = |peer| {
            let mut setups = [Setup::of(0), Setup::of(1)];
            setups[side].is_old_router = true;
            setups[1 - side].peer = peer;
            let [a, b] = setups;
            outcome(a, b)
        };
        let told = |w: &World| w.gateways[1 - side].log.iter().any(|l| l.starts_with("weak-algorithms "));
        let met = with(PeerKind::Cisco);
        assert_eq!(met.status(), ["SESSION_UP"; 2], "{:?}", met.gateways[1 - side].events);
        assert!(told(&met), "{:?}", met.gateways[1 - side].log);
        let refused = with(PeerKind::Generic);
        assert!(!refused.status().contains(&"SESSION_UP"));
        assert!(!told(&refused));
    }
    let mut setups = [Setup::of(0), Setup::of(1)];
    setups.iter_mut().for_each(|s| s.peer = PeerKind::Cisco);
    let [a, b] = setups;
    let strong = outcome(a, b);
    assert_eq!(strong.status(), ["SESSION_UP"; 2]);
    assert!(strong.gateways.iter().all(|g| g.log.iter().all(|l| !l.starts_with("weak-algorithms"))));
}
