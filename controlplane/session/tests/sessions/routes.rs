//! The dataplane's routes follow what route policy decides.

use crate::support::{FakeDataplane, Setup, TUNNEL, World};
use crate::{SECOND, up};
use sipsec_net::dp::Adjacency;
use sipsec_net::{IpPrefix, TunnelId};
use sipsec_session::{Chosen, Input};

fn prefix(text: &str) -> IpPrefix {
    text.parse().expect("a prefix")
}

fn route(w: &World, text: &str) -> Option<(TunnelId, Adjacency)> {
    w.gateways[0].dp.routes.get(&prefix(text)).copied()
}

fn choose(w: &mut World, text: &str, chosen: Chosen) {
    w.tell(0, Input::Routes(vec![(prefix(text), chosen)]));
    w.run();
}

#[test]
fn a_prefix_moves_with_each_decision_and_the_call_stays() {
    let mut w = up();
    let (to, call) =
        (w.gateways[0].dp.routes.keys().next().expect("a route").to_string(), w.session(0).sip_call);
    for (chosen, adjacency) in [
        (Chosen::Outside, Adjacency::Outside),
        (Chosen::Discard, Adjacency::Discard),
        (Chosen::Tunnel(TUNNEL), Adjacency::Tunnel),
        (Chosen::Outside, Adjacency::Outside),
    ] {
        w.gateways[0].routes_taken.clear();
        choose(&mut w, &to, chosen);
        assert_eq!(route(&w, &to), Some((TUNNEL, adjacency)));
        assert_eq!(w.gateways[0].routes_taken, [prefix(&to)]);
    }
    assert_eq!(w.session(0).sip_call, call);
    // A prefix of no tunnel is nothing to the dataplane, and is answered all the same.
    choose(&mut w, "198.51.100.0/24", Chosen::Outside);
    assert_eq!(
        (route(&w, "198.51.100.0/24"), w.gateways[0].routes_taken.last()),
        (None, Some(&prefix("198.51.100.0/24")))
    );
    // A tunnel that is not there, as one of an earlier profile: the profile's has the prefix.
    choose(&mut w, &to, Chosen::Tunnel(TunnelId(999)));
    assert_eq!(route(&w, &to), Some((TUNNEL, Adjacency::Tunnel)));
}

#[test]
fn a_primary_is_used_from_the_start_and_by_the_next_dataplane() {
    let to = "10.0.0.0/8";
    let setup = Setup { outside: &["10.0.0.0/8"], ..Setup::of(0) };
    let mut w = World::new([setup, Setup::of(1)]);
    w.advance(SECOND);
    assert_eq!(route(&w, to), Some((TUNNEL, Adjacency::Outside)));
    choose(&mut w, to, Chosen::Tunnel(TUNNEL));
    w.tell(0, Input::DataplaneDown);
    w.gateways[0].routes_taken.clear();
    choose(&mut w, to, Chosen::Outside);
    assert_eq!(w.gateways[0].routes_taken, [prefix(to)], "without a dataplane there is nothing to wait for");
    choose(&mut w, to, Chosen::Discard);
    w.gateways[0].dp = FakeDataplane::default();
    w.tell(0, Input::DataplaneUp);
    w.advance(SECOND);
    assert_eq!(route(&w, to), Some((TUNNEL, Adjacency::Discard)));
}

#[test]
fn a_decision_during_a_change_of_the_profile_counts_after_it() {
    let mut w = up();
    let to = w.gateways[0].dp.routes.keys().next().expect("a route").to_string();
    w.ask_for(0, |new| {
        new.tunnels[0].routes.push(prefix("172.16.5.0/24"));
        new.outside.insert(prefix("172.16.5.0/24"));
    });
    w.tell(0, Input::Routes(vec![(prefix(&to), Chosen::Outside)]));
    w.run();
    assert_eq!(route(&w, &to), Some((TUNNEL, Adjacency::Outside)));
    assert_eq!(route(&w, "172.16.5.0/24"), Some((TUNNEL, Adjacency::Outside)), "it comes with its primary");
    assert!(w.gateways[0].routes_taken.contains(&prefix(&to)));
    // What is gone is forgotten: it begins anew when it comes back.
    w.reconfigure(0, |new| new.tunnels[0].routes.retain(|r| *r != prefix("172.16.5.0/24")));
    assert_eq!(route(&w, "172.16.5.0/24"), None);
    w.reconfigure(0, |new| new.tunnels[0].routes.push(prefix("172.16.5.0/24")));
    assert_eq!(route(&w, "172.16.5.0/24"), Some((TUNNEL, Adjacency::Tunnel)));
}

#[test]
fn a_part_of_a_tunnels_prefix_is_left_to_the_host_while_it_has_a_route() {
    let mut w = up();
    let whole = *w.gateways[0].dp.routes.keys().next().expect("a route");
    let part = IpPrefix::new(whole.addr(), whole.prefix_len() + 8).expect("a longer prefix").to_string();
    for _ in 0..2 {
        choose(&mut w, &part, Chosen::Outside);
        assert_eq!(route(&w, &part), Some((TUNNEL, Adjacency::Outside)));
        assert_eq!(
            route(&w, &whole.to_string()),
            Some((TUNNEL, Adjacency::Tunnel)),
            "the rest is the tunnel's"
        );
        w.gateways[0].routes_taken.clear();
        choose(&mut w, &part, Chosen::Gone);
        assert_eq!(route(&w, &part), None);
        assert_eq!(w.gateways[0].routes_taken, [prefix(&part)]);
        choose(&mut w, &part, Chosen::Gone);
    }
    assert_eq!(route(&w, &whole.to_string()), Some((TUNNEL, Adjacency::Tunnel)));
    // What is not inside a tunnel's prefix is nothing to the dataplane.
    choose(&mut w, "198.51.100.0/24", Chosen::Outside);
    assert_eq!(route(&w, "198.51.100.0/24"), None);
}

#[test]
fn a_tunnels_own_prefix_without_a_route_is_discarded_also_by_a_new_dataplane() {
    let mut w = up();
    let whole = w.gateways[0].dp.routes.keys().next().expect("a route").to_string();
    choose(&mut w, &whole, Chosen::Gone);
    assert_eq!(route(&w, &whole), Some((TUNNEL, Adjacency::Discard)));
    choose(&mut w, &whole, Chosen::Tunnel(TUNNEL));
    // Decided while there is no dataplane.
    w.tell(0, Input::DataplaneDown);
    w.gateways[0].dp = FakeDataplane::default();
    choose(&mut w, &whole, Chosen::Gone);
    w.tell(0, Input::DataplaneUp);
    w.advance(SECOND);
    assert_eq!(route(&w, &whole), Some((TUNNEL, Adjacency::Discard)));
}

#[test]
fn parts_survive_a_new_dataplane_and_follow_the_profile() {
    let mut w = up();
    let whole = *w.gateways[0].dp.routes.keys().next().expect("a route");
    let part = IpPrefix::new(whole.addr(), whole.prefix_len() + 8).expect("a longer prefix").to_string();
    choose(&mut w, &part, Chosen::Outside);
    w.tell(0, Input::DataplaneDown);
    w.gateways[0].dp = FakeDataplane::default();
    w.tell(0, Input::DataplaneUp);
    w.advance(SECOND);
    assert_eq!(route(&w, &part), Some((TUNNEL, Adjacency::Outside)));
    // A change of the profile that leaves it, with a decision meanwhile.
    w.ask_for(0, |new| new.tunnels[0].routes.push(prefix("172.16.5.0/24")));
    w.tell(0, Input::Routes(vec![(prefix(&part), Chosen::Gone)]));
    w.run();
    assert_eq!(route(&w, &part), None);
    choose(&mut w, "172.16.5.128/25", Chosen::Outside);
    assert_eq!(route(&w, "172.16.5.128/25"), Some((TUNNEL, Adjacency::Outside)));
    // Without the prefix that it is a part of, it goes as well.
    w.reconfigure(0, |new| new.tunnels[0].routes.retain(|r| *r != prefix("172.16.5.0/24")));
    assert_eq!((route(&w, "172.16.5.0/24"), route(&w, "172.16.5.128/25")), (None, None));
    w.reconfigure(0, |new| new.tunnels[0].routes.push(prefix("172.16.5.0/24")));
    assert_eq!(route(&w, "172.16.5.128/25"), None, "it is told again by those who know");
}
