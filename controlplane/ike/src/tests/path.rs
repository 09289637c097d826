//! How large datagrams may be: smaller fragments for want of an answer (RFC 7383 §2.5.2), and probes (RFC 8899).

use crate::config::{DpdMode, Probe};
use crate::path::{Answered, Path};
use crate::testing::{Fate, Net, Packet, Side, config};
use crate::{CloseCause, EndpointConfig, Event, PathPhase};
use core::time::Duration;
use proptest::prelude::*;
use sipsec_net::Instant;
use std::cell::Cell;
use std::rc::Rc;

/// IPv4 and UDP headers, and the marker.
const HEADERS: usize = 20 + 8 + 4;
const LINK: u16 = 1500;

fn configs(probe: bool) -> (EndpointConfig, EndpointConfig) {
    let (mut a, mut b) = (config(Side::A), config(Side::B));
    for c in [&mut a, &mut b] {
        c.dpd.mode = DpdMode::Off;
        c.probe = probe.then_some(Probe { quiet: Duration::ZERO });
        c.ike_lifetime.soft = Duration::from_secs(100_000);
        c.ike_lifetime.hard = Duration::from_secs(200_000);
        c.child_lifetime = c.ike_lifetime;
    }
    (a, b)
}

fn hybrid(mut c: EndpointConfig) -> EndpointConfig {
    c.ike_proposals = vec!["aes256gcm16-prfsha256-x25519-ke1_mlkem768".parse().expect("valid")];
    c
}

/// A path that drops IP packets of more than `mtu` bytes from one side, without a word.
fn narrow(net: &mut Net, from: Side, mtu: Rc<Cell<usize>>) {
    net.script = Box::new(move |side, _, p| match p {
        Packet::Ike(bytes) if side == from && bytes.len() + HEADERS > mtu.get() => Fate::Drop,
        _ => Fate::Deliver,
    });
}

fn cell(mtu: usize) -> Rc<Cell<usize>> {
    Rc::new(Cell::new(mtu))
}

fn bound(net: &Net) -> Option<u16> {
    net.a().events.iter().rev().find_map(|e| match e {
        Event::PathMtu { mtu } => Some(*mtu),
        _ => None,
    })?
}

fn ceiling(net: &mut Net, mtu: u16) {
    net.with(Side::A, |e, now| e.path_ceiling(now, mtu));
}

#[test]
fn a_request_that_is_too_large_goes_on_in_smaller_fragments() {
    // IKE_INTERMEDIATE with ML-KEM has two fragments at 1,200 bytes.
    let (a, b) = configs(false);
    let mut net = Net::new(hybrid(a), hybrid(b));
    narrow(&mut net, Side::A, cell(700));
    net.start();
    net.run(Duration::from_secs(4));
    assert!(net.is_up(), "{:?}", net.a().story());
    let view = net.a().endpoint.view();
    assert_eq!(view.counters.shrunk_out, 1, "what was learnt holds for IKE_AUTH");
    let learnt = view.fragment_bytes.expect("agreed");
    assert!((500..=544).contains(&learnt), "{learnt}");
    // The answers follow the size that the requests had (RFC 7383 §2.5.1).
    let answers = net.log.iter().filter(|(side, _)| *side == Side::B).skip(1);
    assert!(
        answers.clone().all(|(_, m)| m.len() <= 544),
        "{:?}",
        answers.map(|(_, m)| m.len()).collect::<Vec<_>>()
    );
}

#[test]
fn a_response_that_is_too_large_goes_on_in_smaller_fragments() {
    let (a, b) = configs(false);
    let mut net = Net::new(hybrid(a), hybrid(b));
    narrow(&mut net, Side::B, cell(700));
    net.start();
    net.run(Duration::from_secs(6));
    assert!(net.is_up(), "{:?}", net.b().story());
    assert!(net.b().endpoint.view().fragment_bytes.is_some_and(|n| n <= 544));
}

#[test]
fn a_path_of_the_links_size_costs_one_probe() {
    let (a, b) = configs(true);
    let mut net = Net::established(a, b);
    ceiling(&mut net, LINK);
    net.run(Duration::from_secs(1));
    let probe = net.log.iter().rev().find(|(side, _)| *side == Side::A).map(|(_, m)| m.len() + HEADERS);
    assert_eq!(probe, Some(usize::from(LINK)));
    let path = net.a().endpoint.view().path;
    assert_eq!((path.phase, path.proved, path.probes), (PathPhase::Complete, LINK, 1));
    assert_eq!(bound(&net), None);
}

#[test]
fn a_black_hole_is_found_by_its_sign_and_lifted_by_the_raise_timer() {
    let (mut a, b) = configs(true);
    a.dpd.mode = DpdMode::OnDemand;
    let mut net = Net::established(a, b);
    let mtu = cell(usize::from(LINK));
    narrow(&mut net, Side::A, Rc::clone(&mtu));
    ceiling(&mut net, LINK);
    net.run(Duration::from_secs(60));
    assert_eq!(bound(&net), None);
    mtu.set(1400);
    // ESP leaves and none comes; dead peer detection is answered.
    net.send_esp(Side::A);
    let before = net.now;
    net.gateways[0].endpoint.traffic_seen(before, Instant::ZERO, before);
    net.run(Duration::from_secs(40));
    assert_eq!(bound(&net), Some(1400));
    assert!(net.is_up(), "{:?}", net.a().story());
    mtu.set(usize::from(LINK));
    net.run(Duration::from_secs(650));
    assert_eq!(bound(&net), None, "{:?}", net.a().endpoint.view().path);
}

#[test]
fn an_icmp_error_ends_a_probe_that_cannot_pass() {
    let (a, b) = configs(true);
    let mut net = Net::established(a, b);
    narrow(&mut net, Side::A, cell(1400));
    ceiling(&mut net, LINK);
    net.run(Duration::from_millis(100));
    ceiling(&mut net, 1400);
    net.run(Duration::from_millis(200));
    let path = net.a().endpoint.view().path;
    assert_eq!((path.phase, path.proved, path.probes), (PathPhase::Complete, 1400, 2));
    assert_eq!(bound(&net), None, "the dataplane knows it from the error");
}

#[test]
fn a_peer_without_fragments_is_probed_as_well() {
    let (a, mut b) = configs(true);
    b.fragment_bytes_max = None;
    let mut net = Net::established(a, b);
    narrow(&mut net, Side::A, cell(1460));
    ceiling(&mut net, LINK);
    net.run(Duration::from_secs(20));
    let path = net.a().endpoint.view().path;
    assert_eq!((path.phase, path.proved, bound(&net)), (PathPhase::Complete, 1460, Some(1460)));
    assert!(net.is_up());
}

#[test]
fn a_slow_line_is_probed_when_it_is_quiet() {
    let (mut a, b) = configs(true);
    a.probe = Some(Probe { quiet: Duration::from_secs(2) });
    let mut net = Net::established(a, b);
    ceiling(&mut net, LINK);
    for _ in 0..5 {
        net.send_esp(Side::A);
        net.run(Duration::from_secs(1));
    }
    assert_eq!(net.a().endpoint.view().path.probes, 0);
    net.run(Duration::from_secs(2));
    assert_eq!(net.a().endpoint.view().path.probes, 1);
}

/// Its DELETE comes behind the probe in the peer's window, which must not hold it back.
#[test]
fn a_call_ends_while_a_probe_is_lost() {
    let (a, b) = configs(true);
    let mut net = Net::established(a, b);
    narrow(&mut net, Side::A, cell(1400));
    ceiling(&mut net, LINK);
    net.run(Duration::from_millis(100));
    let sent = |net: &Net| net.log.iter().filter(|(side, _)| *side == Side::A).count();
    let before = sent(&net);
    net.with(Side::A, |e, now| e.close(now, CloseCause::Idle));
    net.run(Duration::from_secs(1));
    assert_eq!(sent(&net) - before, 2, "the probe without its padding, and DELETE");
    assert_eq!(net.b().closed(), Some(CloseCause::PeerDeleted));
    assert_eq!(net.a().endpoint.view().counters.retransmits_out, 1);
}

/// Over IPv4 a router may fragment what has no DF; over IPv6 only we may.
#[test]
fn only_a_probe_proves_a_size_over_ipv4() {
    for (remote, proved) in [("192.0.2.1", 0), ("2001:db8::1", 1300 + 52)] {
        let mut path = Path::new(remote.parse().expect("an address"), true);
        let now = Instant::from_nanos(1);
        path.answered(now, Answered { largest: 1300, refused: None, probe: false });
        assert_eq!(path.search.view().proved, proved, "{remote}");
        path.answered(now, Answered { largest: 1400, refused: None, probe: true });
        assert!(path.search.view().proved > 1400, "{remote}");
    }
}

/// With AES-CBC a message grows in steps of 16 bytes: what cannot be asked is not assumed.
#[test]
fn the_steps_of_a_block_cipher_are_not_skipped() {
    let (mut a, mut b) = configs(true);
    for c in [&mut a, &mut b] {
        c.ike_proposals = vec!["aes256-sha256-ecp256".parse().expect("valid")];
    }
    let mut net = Net::established(a, b);
    narrow(&mut net, Side::A, cell(1492));
    ceiling(&mut net, LINK);
    net.run(Duration::from_secs(30));
    let path = net.a().endpoint.view().path;
    assert_eq!(path.phase, PathPhase::Complete);
    assert!(bound(&net).is_some_and(|mtu| (1477..=1492).contains(&mtu)), "{path:?}");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Any path is found, and never taken for larger than it is.
    #[test]
    fn the_search_converges(mtu in 600u16..=1500, start in 1281u16..=9000) {
        let (a, b) = configs(true);
        let mut net = Net::established(a, b);
        narrow(&mut net, Side::A, cell(mtu.into()));
        ceiling(&mut net, start);
        net.run(Duration::from_secs(120));
        prop_assert!(net.is_up(), "{:?}", net.a().story());
        let path = net.a().endpoint.view().path;
        let found = bound(&net).unwrap_or(start.min(2080));
        prop_assert!(found <= mtu.max(start.min(mtu)), "{found} {path:?}");
        prop_assert!(found + 16 >= mtu.min(start), "{found} {path:?}");
        prop_assert_eq!(path.phase, if found < 1200 { PathPhase::Error } else { PathPhase::Complete });
        prop_assert!(path.probes <= 14, "{:?}", path);
    }

    /// Loss and reordering may make it seem smaller, never larger; when they are over, it is found.
    #[test]
    fn loss_and_reordering_mislead_for_one_period_at_most(
        mtu in 600u16..=1500,
        fates in prop::collection::vec(0u8..=9, 60),
        seed in 1u64..1000,
    ) {
        let (mut a, b) = configs(true);
        a.retransmit.tries_max = 40;
        a.retransmit.wait_max = Duration::from_secs(1);
        let mut net = Net::established_seeded(a, b, seed);
        let too_large = move |from: Side, p: &Packet| matches!(p, Packet::Ike(bytes) if from == Side::A && bytes.len() + HEADERS > mtu.into());
        let mut fates = fates.into_iter();
        net.script = Box::new(move |from, _, p| {
            let fate = fates.next().unwrap_or(9);
            match p {
                _ if too_large(from, p) => Fate::Drop,
                _ if fate < 2 => Fate::Drop,
                _ if fate < 4 => Fate::Late(Duration::from_millis(700 * u64::from(fate))),
                _ if fate < 5 => Fate::Twice,
                _ => Fate::Deliver,
            }
        });
        ceiling(&mut net, LINK);
        for _ in 0..30 {
            net.run(Duration::from_secs(10));
            let path = net.a().endpoint.view().path;
            prop_assert!(path.proved <= mtu, "{path:?}");
            // The base is taken to pass while the search is on.
            prop_assert!(bound(&net).is_none_or(|found| found <= mtu.max(1200)), "{path:?}");
        }
        // The losses are over, also those that few packets have met so far.
        net.script = Box::new(move |from, _, p| if too_large(from, p) { Fate::Drop } else { Fate::Deliver });
        net.run(Duration::from_secs(2000));
        prop_assert!(net.is_up(), "{:?}", net.a().story());
        let path = net.a().endpoint.view().path;
        prop_assert!(bound(&net).unwrap_or(LINK) + 16 >= mtu, "{:?}", path);
        prop_assert!(path.probes <= 60, "{:?}", path);
    }
}
