//! Crash detection by tokens (RFC 6290).

use super::by_hand::MS;
use crate::config::DpdMode;
use crate::crash::{CrashSecret, TokenMaker};
use crate::state::{Established, State};
use crate::testing::{LATENCY, Net, Side, config};
use crate::wire::header::HEADER_LEN;
use crate::wire::{Chain, Exchange, Header, Message, NotifyType, PayloadType};
use crate::{CloseCause, Endpoint, EndpointConfig, Event, IkeError};
use core::net::SocketAddr;
use core::time::Duration;
use sipsec_net::Instant;
use sipsec_net::entropy::TestEntropy;

fn secret(side: Side) -> CrashSecret {
    CrashSecret::new(&[1 + side as u8; 32]).expect("fits")
}

fn own_config(side: Side) -> EndpointConfig {
    let mut c = config(side);
    c.crash_detection = Some(secret(side));
    // A periodic question, so that the peer's loss comes to light.
    c.dpd.mode = DpdMode::Periodic;
    c
}

fn net() -> Net {
    Net::established(own_config(Side::A), own_config(Side::B))
}

fn state(net: &mut Net, side: Side) -> &mut Established {
    let State::Established(s) = &mut net.gateways[side as usize].endpoint.state else { panic!("up") };
    s
}

/// The next request of a side; it was not delivered.
fn question(net: &mut Net, side: Side) -> Vec<u8> {
    net.script = Box::new(|_, _, _| crate::testing::Fate::Drop);
    net.with(side, |e, now| {
        let State::Established(s) = &mut e.state else { panic!("up") };
        s.ask_alive(&mut e.ctx, now);
    });
    net.script = Box::new(|_, _, _| crate::testing::Fate::Deliver);
    net.log.last().expect("asked").1.clone()
}

fn addresses(side: Side) -> (SocketAddr, SocketAddr) {
    let c = config(side);
    (c.local, c.remote)
}

/// What a gateway with this secret answers that has no IKE SA of the call.
fn answer_unknown(
    secret: &CrashSecret,
    own: SocketAddr,
    peer: SocketAddr,
    request: &[u8],
) -> Option<Vec<u8>> {
    TokenMaker::new(secret.clone(), own, peer.ip()).answer(Instant::ZERO, request)
}

/// What a side that has lost everything answers.
fn lost_answer(side: Side, request: &[u8]) -> Vec<u8> {
    let (own, peer) = addresses(side);
    answer_unknown(&secret(side), own, peer, request).expect("a protected request")
}

fn restart(net: &mut Net, side: Side) {
    net.restart(side, Endpoint::new(own_config(side), Box::new(TestEntropy::new(99))));
}

/// The tokens of RFC 6290 in a message in clear, and its errors.
fn said(bytes: &[u8]) -> (Vec<NotifyType>, usize) {
    let h = Header::parse(bytes).expect("ours");
    let m = Message::parse(h.first, &bytes[HEADER_LEN..]).expect("in clear");
    (m.notifies.iter().map(|n| n.kind).collect(), m.notifies.last().map_or(0, |n| n.data.len()))
}

#[test]
fn a_restarted_peer_is_found_out_in_one_round_trip() {
    let mut net = net();
    net.run(Duration::from_secs(3));
    restart(&mut net, Side::B);
    let sent = net.log.len();
    let asked = net.now;
    net.with(Side::A, |e, now| {
        let State::Established(s) = &mut e.state else { panic!("up") };
        s.ask_alive(&mut e.ctx, now);
    });
    net.run(LATENCY * 2);
    assert_eq!(net.a().failed(), Some(&IkeError::PeerRestarted), "{:?}", net.a().story());
    assert_eq!(net.now, asked + LATENCY * 2);
    let request = Header::parse(&net.log[sent].1).expect("ours");
    let answer = Header::parse(&net.log[sent + 1].1).expect("ours");
    assert_eq!(
        answer,
        Header { first: PayloadType::NOTIFY, from_initiator: false, response: true, ..request },
        "RFC 7296 §1.5"
    );
    assert_eq!(said(&net.log[sent + 1].1), (vec![NotifyType::INVALID_IKE_SPI, NotifyType::QCD_TOKEN], 32));
    // RFC 6290 §3: silently.
    net.run(Duration::from_secs(20));
    assert_eq!(net.log.len(), sent + 2);
    assert_eq!(net.a().endpoint.poll_timeout(), None);
    let (a, b) = (net.a().endpoint.view().counters, net.b().endpoint.view().counters);
    assert_eq!((a.crash_tokens.proved, a.crash_tokens.bad, b.crash_tokens.sent), (1, 0, 1));
}

/// Without a token it is no more than a hint (RFC 7296 §2.21.4), and the peer is asked until it has been silent for long.
#[test]
fn without_it_at_either_side_nothing_is_given_or_believed() {
    for (on_a, on_b) in [(false, true), (true, false), (false, false)] {
        let (mut a, mut b) = (own_config(Side::A), own_config(Side::B));
        a.crash_detection = a.crash_detection.filter(|_| on_a);
        b.crash_detection = b.crash_detection.filter(|_| on_b);
        let mut net = Net::established(a, b.clone());
        net.restart(Side::B, Endpoint::new(b, Box::new(TestEntropy::new(99))));
        let request = question(&mut net, Side::A);
        net.inject(Side::B, &request);
        net.inject(Side::A, &lost_answer(Side::B, &request));
        net.run(MS * 100);
        assert!(net.a().failed().is_none(), "{on_a} {on_b}");
        let c = net.a().endpoint.view().counters;
        let seen = (c.crash_tokens.proved, c.crash_tokens.bad, c.dropped_clear_text);
        let answered = u64::from(on_b);
        // A side without it takes tokens for what any message in clear is.
        let want = if on_a { (0, 1 + answered, 0) } else { (0, 0, 1 + answered) };
        assert_eq!(seen, want, "{on_a} {on_b}");
    }
}

/// The initiator of IKE gives and takes them as the responder does.
#[test]
fn either_side_may_be_the_one_that_forgets() {
    for loser in [Side::A, Side::B] {
        let mut net = net();
        let keeper = loser.other();
        let request = question(&mut net, keeper);
        net.inject(keeper, &lost_answer(loser, &request));
        assert_eq!(net.gateways[keeper as usize].failed(), Some(&IkeError::PeerRestarted), "{loser:?}");
    }
}

#[test]
fn tokens_follow_a_rekey_by_either_side() {
    const HYBRID: &str = "aes256gcm16-prfsha384-x25519-ke1_mlkem768";
    for hybrid in [false, true] {
        for by in [Side::A, Side::B] {
            for loser in [Side::A, Side::B] {
                let (mut a, mut b) = (own_config(Side::A), own_config(Side::B));
                for c in [&mut a, &mut b] {
                    if hybrid {
                        c.ike_proposals = vec![HYBRID.parse().expect("a proposal")];
                    }
                }
                let mut net = Net::established(a, b);
                let before = question(&mut net, loser.other());
                let _ = state(&mut net, loser.other()).current_mut().sa.unsend();
                net.with(by, |e, now| e.rekey_ike(now));
                net.run(Duration::from_secs(1));
                assert_eq!(net.a().endpoint.view().counters.rekeys_ike, 1);
                let request = question(&mut net, loser.other());
                let keeper = loser.other();
                // That of the IKE SA before is of no use any more.
                net.inject(keeper, &lost_answer(loser, &before));
                assert!(net.gateways[keeper as usize].failed().is_none());
                net.inject(keeper, &lost_answer(loser, &request));
                let failed = net.gateways[keeper as usize].failed();
                assert_eq!(failed, Some(&IkeError::PeerRestarted), "{hybrid} by {by:?}, {loser:?} forgets");
            }
        }
    }
}

#[test]
fn a_bad_token_is_counted_and_changes_nothing() {
    let mut net = net();
    let request = question(&mut net, Side::A);
    let good = lost_answer(Side::B, &request);
    let (own, peer) = addresses(Side::B);
    let other = |own, peer| answer_unknown(&secret(Side::B), own, peer, &request).expect("answered");
    let port = |at: SocketAddr| SocketAddr::new(at.ip(), at.port() ^ 1);
    let host = |at: SocketAddr| SocketAddr::new("198.51.100.77".parse().expect("valid"), at.port());
    let by_others = answer_unknown(&secret(Side::A), own, peer, &request).expect("answered");
    let mut changed = good.clone();
    *changed.last_mut().expect("a token") ^= 1;
    // Of another secret, of another call, for another taker, and one that was changed on the way.
    let bad = [by_others, other(port(own), peer), other(host(own), peer), other(own, host(peer)), changed];
    for (n, bytes) in (1..).zip(&bad) {
        // RFC 6290 §8.1: four at once, one more a second.
        net.run(Duration::from_secs(2));
        net.inject(Side::A, bytes);
        let c = net.a().endpoint.view().counters;
        assert_eq!((c.crash_tokens.bad, c.crash_tokens.proved), (n, 0));
    }
    assert!(net.a().failed().is_none());
    // The taker's port does not count (RFC 6290 §3: from any address and port).
    assert_eq!(other(own, port(peer)), good);
}

#[test]
fn guesses_are_limited_in_rate() {
    let mut net = net();
    let request = question(&mut net, Side::A);
    let wrong = answer_unknown(&secret(Side::A), addresses(Side::B).0, addresses(Side::B).1, &request);
    let wrong = wrong.expect("answered");
    for _ in 0..100 {
        net.inject(Side::A, &wrong);
    }
    let c = net.a().endpoint.view().counters;
    assert_eq!((c.crash_tokens.bad, c.dropped_full), (4, 96));
    net.run(MS * 1100);
    net.inject(Side::A, &lost_answer(Side::B, &request));
    assert_eq!(net.a().failed(), Some(&IkeError::PeerRestarted));
}

/// Only what is wholly of its form: with an error that says so, with our SPIs, as a response.
#[test]
fn a_good_token_elsewhere_is_none() {
    let mut net = net();
    let request = question(&mut net, Side::A);
    let good = lost_answer(Side::B, &request);
    let h = Header::parse(&good).expect("ours");
    let m = Message::parse(h.first, &good[HEADER_LEN..]).expect("ours");
    let token = m.notify(NotifyType::QCD_TOKEN).expect("there").data.to_vec();
    let mut alone = Chain::new();
    alone.notify(NotifyType::QCD_TOKEN, &token);
    let mut whole = Chain::new();
    whole.notify(NotifyType::INVALID_IKE_SPI, &[]);
    whole.notify(NotifyType::QCD_TOKEN, &token);
    let mut short = Chain::new();
    short.notify(NotifyType::INVALID_IKE_SPI, &[]);
    short.notify(NotifyType::QCD_TOKEN, &token[..15]);
    let mut fifth = Chain::new();
    fifth.notify(NotifyType::INVALID_IKE_SPI, &[]);
    for n in 0..4 {
        fifth.notify(NotifyType::QCD_TOKEN, &[n; 32]);
    }
    fifth.notify(NotifyType::QCD_TOKEN, &token);
    for (name, bytes) in [
        ("without the error", h.with_payloads(alone)),
        ("too short", h.with_payloads(short)),
        ("more than four", h.with_payloads(fifth)),
        ("a request", Header { response: false, ..h }.with_payloads(whole.clone())),
        ("from ourselves", Header { from_initiator: true, ..h }.with_payloads(whole.clone())),
        ("other SPIs", Header { spi_i: h.spi_i ^ 1, ..h }.with_payloads(whole.clone())),
    ] {
        net.run(Duration::from_secs(1));
        net.inject(Side::A, &bytes);
        assert!(net.a().failed().is_none(), "{name}");
    }
    // With INVALID_SPI it may answer ESP (RFC 6290 §8.2).
    let mut esp = Chain::new();
    esp.notify(NotifyType::INVALID_SPI, &[]);
    esp.notify(NotifyType::QCD_TOKEN, &[7; 128]);
    esp.notify(NotifyType::QCD_TOKEN, &token);
    net.inject(Side::A, &h.with_payloads(esp));
    assert_eq!(net.a().failed(), Some(&IkeError::PeerRestarted));
}

/// RFC 6290 §9.2: no token of an IKE SA that exists, for any request.
#[test]
fn a_gateway_that_has_the_ike_sa_never_shows_its_token() {
    let mut net = net();
    let request = question(&mut net, Side::A);
    let h = Header::parse(&request).expect("ours");
    let body = &request[HEADER_LEN..];
    let forged = |h: Header| [&h.encode(request.len())[..], body].concat();
    let sent = net.log.len();
    for from_initiator in [false, true] {
        for id in [0, 1, 7] {
            net.inject(Side::B, &forged(Header { from_initiator, id, ..h }));
        }
    }
    let b = net.b().endpoint.view().counters;
    assert_eq!(b.crash_tokens.sent, 0);
    // Nor of one of another call, to which the port does not belong: the token is another.
    let stray = forged(Header { spi_i: 1, spi_r: 2, ..h });
    net.inject(Side::B, &stray);
    assert_eq!(net.b().endpoint.view().counters.crash_tokens.sent, 1);
    let shown = net.log.last().expect("answered").1.clone();
    assert!(net.log.len() > sent);
    let (own, peer) = addresses(Side::B);
    let elsewhere = SocketAddr::new(own.ip(), own.port() + 2);
    assert_ne!(answer_unknown(&secret(Side::B), elsewhere, peer, &stray), Some(shown));
    // After its end it has nothing to say of it, either.
    net.with(Side::B, |e, now| e.close(now, CloseCause::Idle));
    let before = net.b().endpoint.view().counters.crash_tokens.sent;
    net.inject(Side::B, &request);
    assert_eq!(net.b().endpoint.view().counters.crash_tokens.sent, before);
}

/// The peer may be on an IKE SA that is not made here yet: that is none that was lost.
#[test]
fn no_token_of_an_ike_sa_that_is_being_made() {
    let mut net = net();
    let spi = net.b().endpoint.view().spi_i;
    net.with(Side::A, |e, now| e.rekey_ike(now));
    net.run(MS * 5);
    net.compute = MS * 50;
    while net.b().endpoint.view().spi_i == spi {
        net.run(MS);
    }
    let request = question(&mut net, Side::B);
    assert_ne!(Header::parse(&request).expect("ours").spi_i, spi);
    net.inject(Side::A, &request);
    assert_eq!(net.a().endpoint.view().counters.crash_tokens.sent, 0);
    net.run(Duration::from_secs(2));
    let (a, b) = (net.a().endpoint.view().counters, net.b().endpoint.view().counters);
    assert_eq!((a.crash_tokens.sent, a.dropped_spi, b.retransmits_out), (0, 0, 0));
    assert!(net.is_up() && state(&mut net, Side::B).current().sa.can_request());
}

#[test]
fn only_protected_requests_are_answered_and_not_without_limit() {
    let mut net = net();
    let request = question(&mut net, Side::A);
    let h = Header::parse(&request).expect("ours");
    let (own, peer) = addresses(Side::B);
    let answer = |bytes: &[u8]| answer_unknown(&secret(Side::B), own, peer, bytes);
    let sealed = |h: Header| [&h.encode(request.len())[..], &request[HEADER_LEN..]].concat();
    assert!(answer(&request).is_some());
    for (name, bytes) in [
        ("a response", sealed(Header { response: true, ..h })),
        ("IKE_SA_INIT", sealed(Header { exchange: Exchange::IKE_SA_INIT, ..h })),
        ("without SPI", sealed(Header { spi_r: 0, ..h })),
        ("in clear", h.with_payloads(Chain::new())),
        ("cut", request[..request.len() - 1].to_vec()),
        ("empty", Vec::new()),
    ] {
        assert!(answer(&bytes).is_none(), "{name}");
    }
    restart(&mut net, Side::B);
    let sent = net.log.len();
    for _ in 0..100 {
        net.inject(Side::B, &request);
    }
    assert_eq!(net.log.len() - sent, 4);
    let c = net.b().endpoint.view().counters;
    assert_eq!((c.crash_tokens.sent, c.dropped_spi), (4, 100));
    net.run(Duration::from_secs(1));
    net.inject(Side::B, &request);
    assert_eq!(net.b().endpoint.view().counters.crash_tokens.sent, 5);
}

/// A restarted peer that begins anew in the same call (RFC 7296 §2.8.3) is not cut off by its token.
#[test]
fn a_further_ike_sa_goes_on_after_the_loss_of_the_first() {
    let mut net = net();
    let request = question(&mut net, Side::B);
    restart(&mut net, Side::A);
    // B has sent a cookie, and A has come back with it.
    net.run(LATENCY * 3);
    assert!(net.b().endpoint.further_until().is_some());
    net.inject(Side::B, &lost_answer(Side::A, &request));
    net.run(Duration::from_secs(1));
    let failed = |e: &Event| matches!(e, Event::Failed(_) | Event::Closed(_));
    assert!(!net.b().events.iter().any(failed), "{:?}", net.b().story());
    assert!(net.is_up());
}
