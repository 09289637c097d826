//! Another profile while calls are up: who keeps the call, who loses it, and that a refused change changes nothing.

use super::support::{Setup, TUNNEL, World, keyring, number};
use super::{SECOND, up};
use sipsec_net::dp::{Event, PacketSummary};
use sipsec_net::{IpPrefix, Kbps, TunnelId};
use sipsec_session::{Input, ReconfigureError, Reconfigured, TunnelConfig};
use std::time::Duration;

/// Another branch, which gets no call.
fn branch(like: &TunnelConfig, n: u32) -> TunnelConfig {
    let mut t = like.clone();
    t.name = format!("Branch{n}");
    t.spec.tunnel = TunnelId(n);
    t.remote_number = number(&format!("03888{n:05}"));
    t.routes = vec![IpPrefix::new([172, 16, (n / 256) as u8, (n % 256) as u8].into(), 32).expect("a prefix")];
    t
}

/// What must not change under a call: its SIP dialog, its SPIs, its start, and the entries of the dataplane.
fn identity(w: &World, side: usize) -> String {
    let (session, g) = (w.session(side), &w.gateways[side]);
    let crypto = g.core.crypto_sessions(w.now).into_iter().find(|c| c.tunnel == TUNNEL).expect("its tunnel");
    let spis: Vec<_> = crypto.sa.iter().flat_map(|sa| &sa.children).map(|c| (c.spi_in, c.spi_out)).collect();
    assert!(!spis.is_empty());
    format!(
        "{:?} {:?} {spis:?} {:?} {:?} {:?} {:?}",
        session.sip_call, session.uptime, g.dp.sas, g.dp.media, g.dp.bound, g.journal
    )
}

#[test]
fn adding_branch_501_leaves_the_call_alone() {
    let mut w = up();
    let before = identity(&w, 0);
    let events = w.gateways[0].events.len();
    let done = w.reconfigure(0, |new| {
        let first = new.tunnels[0].clone();
        new.tunnels.extend((2..=501).map(|n| branch(&first, n)));
    });
    assert_eq!(done, Some(Ok(Reconfigured { added: 500, ..Reconfigured::default() })));
    assert_eq!(identity(&w, 0), before);
    assert_eq!(w.gateways[0].events[events..], ["reconfigured"]);
    assert_eq!((w.gateways[0].dp.tunnels.len(), w.gateways[0].dp.routes.len()), (501, 501));
    assert_eq!(w.gateways[0].core.sessions(w.now).len(), 501);
    // And removing them again.
    let done = w.reconfigure(0, |_| {});
    assert_eq!(done, Some(Ok(Reconfigured { removed: 500, ..Reconfigured::default() })));
    assert_eq!(identity(&w, 0), before);
    assert_eq!((w.gateways[0].dp.tunnels.len(), w.gateways[0].core.sessions(w.now).len()), (1, 1));
    assert_eq!(w.status(), ["SESSION_UP"; 2]);
}

#[test]
fn a_new_branch_can_call_and_be_called() {
    let mut w = up();
    // The tunnel with the peer is the new one; the other has no peer.
    w.reconfigure(0, |new| new.tunnels[0] = branch(&new.tunnels[0].clone(), 7));
    w.advance(5 * SECOND);
    assert_eq!(w.status(), ["READY_TO_CONNECT"; 2]);
    w.assert_no_call();
    let done = w.reconfigure(0, |new| {
        let mut first = branch(&new.tunnels[0], 8);
        (first.remote_number, first.routes) = (new.tunnels[0].remote_number, new.tunnels[0].routes.clone());
        new.tunnels = vec![first, branch(&new.tunnels[0], 7)];
    });
    assert_eq!(done, Some(Ok(Reconfigured { added: 1, ..Reconfigured::default() })));
    w.packet(1);
    w.advance(SECOND);
    let up = w.gateways[0].core.sessions(w.now).into_iter().find(|s| s.status == "SESSION_UP");
    assert_eq!(up.map(|s| s.interface), Some("Branch8".to_owned()));
}

#[test]
fn another_idle_time_counts_for_the_call_that_is_up() {
    let mut w = up();
    w.advance(10 * SECOND);
    let before = identity(&w, 0);
    let done = w.reconfigure(0, |new| new.tunnels[0].idle = 15 * SECOND);
    assert_eq!(done, Some(Ok(Reconfigured { changed: 1, ..Reconfigured::default() })));
    assert_eq!(identity(&w, 0), before);
    w.advance(3 * SECOND);
    assert_eq!(w.status(), ["SESSION_UP"; 2]);
    w.advance(4 * SECOND);
    assert_eq!(w.status(), ["READY_TO_CONNECT"; 2], "30 s were configured when the call began");
    w.assert_no_call();
}

#[test]
fn another_bound_of_the_call_counts_from_its_answer() {
    let mut w = up();
    w.advance(10 * SECOND);
    w.reconfigure(0, |new| new.tunnels[0].call_max = Some(12 * SECOND));
    assert_eq!(w.status(), ["SESSION_UP"; 2]);
    w.advance(3 * SECOND);
    assert_eq!(w.failure(0), Some("hard-limit"), "{:?}", w.gateways[0].log);
    w.advance(3 * SECOND);
    w.assert_no_call();
}

#[test]
fn values_of_the_dataplane_change_under_the_call() {
    let mut w = up();
    let before = identity(&w, 0);
    w.reconfigure(0, |new| {
        new.tunnels[0].spec.inner_mtu = 1300;
        new.tunnels[0].routes =
            vec!["10.0.0.0/8".parse().expect("a prefix"), "172.20.0.0/16".parse().expect("a prefix")];
    });
    assert_eq!(identity(&w, 0), before);
    let dp = &w.gateways[0].dp;
    assert_eq!((dp.tunnels[&TUNNEL].inner_mtu, dp.routes.len()), (1300, 2));
    w.reconfigure(0, |new| new.tunnels[0].routes.clear());
    assert_eq!((identity(&w, 0), w.gateways[0].dp.routes.len()), (before, 0));
}

#[test]
fn a_removed_tunnel_ends_its_call_and_then_goes() {
    let mut w = up();
    let done = w.reconfigure(0, |new| new.tunnels.clear());
    assert_eq!(done, Some(Ok(Reconfigured { removed: 1, hung_up: 1, ..Reconfigured::default() })));
    assert!(w.gateways[0].dp.routes.is_empty(), "nothing more is sent into it");
    w.advance(5 * SECOND);
    w.assert_no_call();
    assert!(w.gateways[0].dp.tunnels.is_empty() && w.gateways[0].core.sessions(w.now).is_empty());
    assert!(w.gateways[0].events.iter().any(|e| e == "call-ended"));
    // The peer does not know, and calls.
    w.packet(1);
    w.advance(SECOND);
    assert_eq!(w.session(1).status, "READY_TO_CONNECT");
    assert!(w.gateways[0].events.iter().any(|e| e == "incoming-refused"));
    w.assert_no_call();
}

#[test]
fn a_tunnel_that_comes_back_while_its_call_ends_is_the_same() {
    let mut w = up();
    w.carrier.knobs.swallow = vec!["SIP/2.0 200", "BYE"];
    w.reconfigure(0, |new| new.tunnels.clear());
    w.advance(3 * SECOND);
    assert!(w.gateways[0].dp.tunnels.is_empty() || !w.carrier.billed.is_empty());
    let done = w.reconfigure(0, |_| {});
    assert!(done.is_some_and(|d| d.is_ok()));
    assert_eq!(w.gateways[0].dp.tunnels.len(), 1);
    // Its last call may still be charged, so it waits as if it had never been away.
    assert_eq!(w.session(0).unconfirmed.len(), 1);
    w.packet(0);
    w.advance(SECOND);
    assert_eq!(w.carrier.calls_answered, 1, "{:?}", w.gateways[0].log);
    w.carrier.knobs.swallow.clear();
    w.advance(10 * SECOND);
    w.packet(0);
    w.advance(5 * SECOND);
    assert_eq!(w.session(0).status, "SESSION_UP", "{:?}", w.gateways[0].log);
}

#[test]
fn a_bounced_call_is_placed_anew_with_the_new_values() {
    let mut w = up();
    let done = w.reconfigure(0, |new| {
        new.tunnels[0].bandwidth = Kbps(32);
        new.bounced.insert(TUNNEL);
    });
    assert_eq!(done, Some(Ok(Reconfigured { changed: 1, hung_up: 1, ..Reconfigured::default() })));
    w.advance(5 * SECOND);
    w.assert_no_call();
    w.packet(0);
    w.advance(SECOND);
    assert_eq!(w.session(0).bandwidth_negotiated, Some(Kbps(32)));
}

#[test]
fn another_number_has_another_peer() {
    let mut w = up();
    w.reconfigure(0, |new| {
        new.tunnels[0].remote_number = number("0388889999");
        new.bounced.insert(TUNNEL);
    });
    w.advance(5 * SECOND);
    w.assert_no_call();
    w.packet(1);
    w.advance(SECOND);
    assert_ne!(w.session(1).status, "SESSION_UP", "it is no peer of this gateway any more");
    w.assert_no_call();
}

#[test]
fn what_the_dataplane_refuses_changes_nothing() {
    let mut w = up();
    w.gateways[0].dp.tunnels_max = Some(150);
    let before = (identity(&w, 0), w.gateways[0].dp.tunnels.clone(), w.gateways[0].dp.routes.clone());
    let done = w.reconfigure(0, |new| {
        let first = new.tunnels[0].clone();
        new.tunnels[0].idle = SECOND;
        new.tunnels[0].spec.inner_mtu = 1300;
        new.tunnels.extend((2..=501).map(|n| branch(&first, n)));
    });
    let refused = Some(Err(ReconfigureError::Refused {
        tunnel: Some("Branch151".to_owned()),
        reason: sipsec_net::dp::RejectReason::TableFull,
    }));
    assert_eq!(done, refused);
    let after = (identity(&w, 0), w.gateways[0].dp.tunnels.clone(), w.gateways[0].dp.routes.clone());
    assert_eq!(after, before);
    assert_eq!(w.gateways[0].core.sessions(w.now).len(), 1);
    w.advance(5 * SECOND);
    assert_eq!(w.status(), ["SESSION_UP"; 2], "the idle time is as it was");
}

#[test]
fn a_dataplane_that_goes_meanwhile_has_not_taken_the_change() {
    let mut w = up();
    w.ask_for(0, |new| new.tunnels[0].spec.inner_mtu = 1300);
    w.tell(0, Input::DataplaneDown);
    assert_eq!(w.gateways[0].changes, [Err(ReconfigureError::DataplaneLost)]);
    w.run();
    let refused = w.reconfigure(0, |new| new.tunnels[0].spec.inner_mtu = 1300);
    assert_eq!(refused, Some(Err(ReconfigureError::NotReady)));
    // Keys do not need it.
    let other = Setup { psk: b"another key that only one end has", ..Setup::of(0) };
    let done = w.reconfigure(0, |new| new.keyring = keyring(&other));
    assert_eq!(done, Some(Ok(Reconfigured::default())));
    w.advance(40 * SECOND);
    assert!(w.carrier.billed.is_empty());
}

#[test]
fn a_second_change_waits_for_the_first() {
    let mut w = up();
    w.ask_for(0, |new| new.tunnels[0].spec.inner_mtu = 1300);
    w.ask_for(0, |new| new.tunnels[0].spec.inner_mtu = 1200);
    assert_eq!(w.gateways[0].changes, [Err(ReconfigureError::Busy)], "answered at once");
    w.run();
    assert_eq!(w.gateways[0].dp.tunnels[&TUNNEL].inner_mtu, 1300);
    assert!(matches!(w.gateways[0].changes[..], [_, Ok(_)]), "{:?}", w.gateways[0].changes);
}

/// The dataplane forwards for a tunnel as soon as it has it, which is before the core knows.
#[test]
fn a_packet_for_a_new_tunnel_is_not_forgotten() {
    let mut w = World::default();
    w.reconfigure(0, |new| new.tunnels.clear());
    w.advance(SECOND);
    let ip = |s: &str| s.parse().expect("an address");
    let first = PacketSummary {
        source: ip("10.1.0.2"),
        destination: ip("10.2.0.2"),
        protocol: 1,
        source_port: 0,
        destination_port: 0,
        len: 84,
    };
    let acquire = Input::Dataplane(Event::Acquire { tunnel: TUNNEL, first });
    w.ask_for(0, |_| {});
    w.tell(0, acquire);
    w.run();
    w.advance(Duration::from_millis(500));
    assert_eq!(w.carrier.calls_answered, 1, "{:?}", w.gateways[0].log);
}
