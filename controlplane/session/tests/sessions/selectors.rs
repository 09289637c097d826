//! What an SA is for follows from the routes of the tunnel.

use super::support::{Setup, World};
use sipsec_net::dp::Selector;
use std::time::Duration;

/// Local and remote selectors of the SA at each side.
fn selectors(routes: [&'static [&'static str]; 2]) -> [[Vec<Selector>; 2]; 2] {
    let setup = |side: usize| Setup { routes: routes[side], ..Setup::of(side) };
    let mut w = World::new([setup(0), setup(1)]);
    w.packet(0);
    w.advance(Duration::from_secs(1));
    assert_eq!(w.status(), ["SESSION_UP"; 2], "{:?} {:?}", w.gateways[0].events, w.gateways[1].events);
    [0, 1].map(|side| {
        let crypto = w.gateways[side].core.crypto_sessions(w.now);
        let sa = crypto[0].sa.as_ref().expect("up");
        let both = &sa.children[0].selectors;
        [&both.local, &both.remote].map(|list| list.to_vec())
    })
}

#[test]
fn ipv6_is_negotiated_where_both_route_it() {
    const V4: &[&str] = &["10.0.0.0/8"];
    const V6: &[&str] = &["2001:db8::/32"];
    const BOTH: &[&str] = &["10.0.0.0/8", "2001:db8::/32"];
    let (v4, v6) = (vec![Selector::ANY_V4], vec![Selector::ANY_V6]);
    let both = vec![Selector::ANY_V4, Selector::ANY_V6];
    for (routes, want) in [
        ([V4, V4], &v4),
        ([BOTH, BOTH], &both),
        ([V6, V6], &v6),
        ([BOTH, V4], &v4),
        ([V6, BOTH], &v6),
        ([&[], &[]], &v4),
    ] {
        for side in selectors(routes) {
            assert_eq!(side, [want.clone(), want.clone()], "{routes:?}");
        }
    }
}
