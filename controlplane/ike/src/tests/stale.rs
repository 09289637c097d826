//! What comes too late, twice or too often.

use crate::Unanswered;
use crate::config::DpdMode;
use crate::exchange::ike_sa::MESSAGES_MAX;
use crate::state::State;
use crate::testing::{Fate, Net, Packet, Side, config};
use crate::wire::Exchange;
use crate::{EndpointConfig, IkeError};
use core::time::Duration;

fn configs() -> (EndpointConfig, EndpointConfig) {
    let (mut a, mut b) = (config(Side::A), config(Side::B));
    for c in [&mut a, &mut b] {
        c.dpd.mode = DpdMode::Off;
    }
    (a, b)
}

/// RFC 7296 §2.4: only a fresh message proves life.
#[test]
fn a_replayed_request_is_no_sign_of_life() {
    let (mut a, b) = configs();
    a.dpd.mode = DpdMode::Periodic;
    let mut net = Net::established(a, b);
    net.run(Duration::from_secs(11));
    let (from, request) = net
        .log
        .iter()
        .rfind(|(_, m)| m[18] == Exchange::INFORMATIONAL.0 && m[19] & 0x20 == 0)
        .expect("asked");
    assert_eq!(*from, Side::A);
    let request = request.clone();
    let heard = net.b().endpoint.view().last_heard;
    net.script = Box::new(|_, _, _| Fate::Drop);
    for _ in 0..5 {
        net.run(Duration::from_millis(100));
        net.inject(Side::B, &request);
    }
    let view = net.b().endpoint.view();
    assert_eq!((view.last_heard, view.counters.duplicates_in), (heard, 5));
}

/// RFC 7296 §2.6.1: the network may deliver an answer to the request before.
#[test]
fn a_second_copy_of_what_was_asked_for_changes_nothing() {
    let (a, mut b) = configs();
    b.cookie_threshold = 0;
    let mut net = Net::new(a, b);
    net.script = Box::new(|from, _, _| if from == Side::B { Fate::Twice } else { Fate::Deliver });
    net.start();
    net.run(Duration::from_millis(200));
    assert!(net.is_up());
    // Without, with the cookie, and IKE_AUTH.
    assert_eq!(net.a().endpoint.view().counters.requests_out, 3);

    let (mut a, mut b) = configs();
    a.ike_proposals = vec!["aes256gcm16-prfsha256-x25519-ecp256".parse().expect("valid")];
    b.ike_proposals = vec!["aes256gcm16-prfsha256-ecp256".parse().expect("valid")];
    let mut net = Net::new(a, b);
    net.script = Box::new(|from, n, _| match (from, n) {
        (Side::B, 0) => Fate::Twice,
        (Side::B, _) => Fate::Drop,
        _ => Fate::Deliver,
    });
    net.start();
    net.run(Duration::from_secs(60));
    // Not: our group was refused.
    assert!(
        matches!(net.a().failed(), Some(IkeError::NoResponse(Unanswered { transmissions: 6, .. }))),
        "{:?}",
        net.a().story()
    );
}

#[test]
fn a_half_open_sa_is_not_forgotten_while_we_compute() {
    let (mut a, b) = configs();
    a.retransmit.tries_max = 30;
    let mut net = Net::new(a, b);
    net.start();
    net.run(Duration::ZERO);
    net.compute = Duration::from_secs(20);
    net.run(Duration::from_millis(15));
    net.compute = Duration::ZERO;
    net.run(Duration::from_secs(30));
    assert!(net.is_up(), "{:?}\n{:?}", net.a().story(), net.b().story());
}

#[test]
fn a_limit_that_the_dataplane_reports_is_not_forgotten() {
    let (a, b) = configs();
    let mut net = Net::established(a, b);
    let id = net.a().bound.expect("bound");
    let within = net.now + Duration::from_secs(5);
    net.with(Side::A, |e, now| e.rekey_child(now, id));
    let view = net.a().endpoint.view();
    assert!(view.children[0].rekey_at <= within, "should the attempt be lost, the timer brings it back");
}

/// The key exchange of our CHILD_SA is done while we answer a rekey of the IKE SA: asked on the old IKE SA, it would be
/// refused.
#[test]
fn a_child_rekey_waits_for_the_new_ike_sa() {
    let (mut a, mut b) = configs();
    for c in [&mut a, &mut b] {
        c.esp_proposals = vec!["aes256gcm16-x25519".parse().expect("valid")];
    }
    let mut net = Net::established(a, b);
    net.compute = Duration::from_millis(20);
    net.with(Side::B, |e, now| e.rekey_ike(now));
    net.run(Duration::from_millis(25));
    let id = net.a().bound.expect("bound");
    net.with(Side::A, |e, now| e.rekey_child(now, id));
    net.run(Duration::from_secs(1));
    let counters = net.a().endpoint.view().counters;
    assert_eq!((counters.rekeys_ike, counters.rekeys_child), (1, 1), "{:?}", net.a().story());
}

#[test]
fn a_peer_that_rekeys_without_pause_is_made_to_wait() {
    let (a, b) = configs();
    let mut net = Net::established(a, b);
    for _ in 0..40 {
        if let Some(id) = net.a().bound {
            net.with(Side::A, |e, now| e.rekey_child(now, id));
        }
        net.run(Duration::from_millis(100));
    }
    let done = net.b().endpoint.view().counters.rekeys_child;
    assert!((4..=8).contains(&done), "{done} in four seconds");
    net.run(Duration::from_secs(5));
    assert!(net.is_up());
}

#[test]
fn an_ike_sa_is_replaced_long_before_its_message_ids_end() {
    let (mut a, b) = configs();
    a.dpd.mode = DpdMode::Periodic;
    let mut net = Net::established(a, b);
    for (side, ids) in [(Side::A, (MESSAGES_MAX, 7)), (Side::B, (7, MESSAGES_MAX))] {
        net.with(side, |e, _| {
            let State::Established(s) = &mut e.state else { panic!("up") };
            s.current_mut().sa.skip_to(ids.0, ids.1);
        });
    }
    let before = net.a().endpoint.view().spi_i;
    net.run(Duration::from_secs(9));
    assert_eq!(net.a().endpoint.view().spi_i, before);
    net.run(Duration::from_secs(3));
    assert_ne!(net.a().endpoint.view().spi_i, before);
    assert!(net.is_up());
    // Once is enough.
    net.script = Box::new(|_, _, p| if matches!(p, Packet::Ike(_)) { Fate::Deliver } else { Fate::Drop });
    net.run(Duration::from_secs(60));
    assert!(net.a().endpoint.view().counters.rekeys_ike <= 2);
}
