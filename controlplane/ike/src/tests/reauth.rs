//! Further IKE SAs in the same call (RFC 7296 §2.8.3, RFC 4478).

use super::by_hand::{MS, ask, configs, count, net};
use crate::state::State;
use crate::testing::{Fate, Net, Packet, Side};
use crate::wire::header::HEADER_LEN;
use crate::wire::{Chain, Exchange, Header, Message, NotifyType, PayloadType};
use crate::{AuthConfig, CloseCause, Endpoint, EndpointConfig, Event, PskKeys};
use core::time::Duration;
use sipsec_net::SecretBox;
use sipsec_net::entropy::TestEntropy;

const SECOND: Duration = Duration::from_secs(1);

fn is_authenticated(e: &Event) -> bool {
    matches!(e, Event::Authenticated(..))
}

/// Packets both ways all the time.
fn run_with_traffic(net: &mut Net, span: Duration) {
    for _ in 0..span.as_millis() / 5 {
        net.run(MS * 5);
        for from in [Side::A, Side::B] {
            net.send_esp(from);
            // What a dataplane reports; an endpoint may hear it more than once.
            for child in net.gateways[from as usize].endpoint.view().children {
                if !child.retired && net.gateways[from as usize].received > 0 {
                    let other = &net.gateways[from.other() as usize];
                    let sends = other.bound.and_then(|c| other.sa(c)).map(|(_, out)| out.spi);
                    if sends == Some(child.spi_in) {
                        net.with(from, |e, now| e.inbound_used(now, child.child));
                    }
                }
            }
        }
    }
    net.run(MS * 50);
}

/// One IKE SA and one CHILD_SA on each side, the same, and traffic in both directions.
fn assert_settled(net: &mut Net, times: usize) {
    let spis = [Side::A, Side::B].map(|side| {
        let g = &net.gateways[side as usize];
        assert_eq!((g.failed(), g.closed()), (None, None), "{:?}", g.story());
        assert_eq!(count(net, side, is_authenticated), times, "{:?}", g.story());
        let State::Established(s) = &g.endpoint.state else { panic!("{:?} {:?}", g.endpoint, g.story()) };
        assert_eq!((s.slots.len(), g.installed()), (1, 1), "{side:?} {:?}", g.story());
        let view = g.endpoint.view();
        (view.spi_i, view.spi_r)
    });
    assert_eq!(spis[0], spis[1]);
    let before = [net.a().received, net.b().received];
    for from in [Side::A, Side::B] {
        net.send_esp(from);
    }
    net.run(MS * 50);
    assert!(net.a().received > before[0] && net.b().received > before[1]);
}

fn lost(net: &Net) -> u64 {
    net.a().lost + net.b().lost
}

#[test]
fn beside_the_one_that_is_up_and_no_packet_is_lost() {
    for beginner in [Side::A, Side::B] {
        let mut net = net();
        run_with_traffic(&mut net, SECOND);
        net.with(beginner, |e, now| e.reauthenticate(now));
        run_with_traffic(&mut net, SECOND * 2);
        net.run(SECOND * 200);
        assert_eq!(lost(&net), 0, "{beginner:?} {:?} {:?}", net.a().story(), net.b().story());
        assert_settled(&mut net, 2);
        assert_eq!(net.b().endpoint.view().counters.reauthentications, 1);
    }
}

#[test]
fn each_further_ike_sa_has_proofs_of_its_own() {
    let mut net = net();
    net.with(Side::A, |e, now| e.reauthenticate(now));
    net.run(SECOND);
    for g in [net.a(), net.b()] {
        let proofs: Vec<_> = g
            .events
            .iter()
            .filter_map(|e| match e {
                Event::Authenticated(peer, fingerprint) => Some((peer.sa(), fingerprint.sa())),
                _ => None,
            })
            .collect();
        let [first, second] = proofs[..] else { panic!("{proofs:?}") };
        assert!(first.0 == first.1 && second.0 == second.1 && first != second);
        let view = g.endpoint.view();
        assert_eq!((second.0.spi_i, second.0.spi_r), (view.spi_i, view.spi_r));
    }
}

/// Nothing of it may depend on who was first, nor on what the network does with a message or two.
#[test]
fn both_sides_begin_and_messages_are_lost() {
    for dropped in 0..24 {
        let mut net = net();
        run_with_traffic(&mut net, MS * 100);
        let mut seen = 0;
        net.script = Box::new(move |_, _, packet| {
            let Packet::Ike(_) = packet else { return Fate::Deliver };
            seen += 1;
            if seen == dropped || seen == dropped + 3 { Fate::Drop } else { Fate::Deliver }
        });
        for side in [Side::A, Side::B] {
            net.with(side, |e, now| e.reauthenticate(now));
        }
        run_with_traffic(&mut net, SECOND * 8);
        net.run(SECOND * 240);
        assert_eq!(lost(&net), 0, "{dropped}: {:?} {:?}", net.a().story(), net.b().story());
        let times = count(&net, Side::A, is_authenticated);
        assert!(times >= 2);
        assert_settled(&mut net, times);
    }
}

/// An endpoint that knows nothing of before, in the place of A's.
fn begin_anew(net: &mut Net, change: impl FnOnce(&mut EndpointConfig)) {
    let mut config = configs().0;
    change(&mut config);
    net.restart(Side::A, Endpoint::new(config, Box::new(TestEntropy::new(77))));
}

#[test]
fn a_peer_that_deletes_and_begins_anew() {
    let mut net = net();
    run_with_traffic(&mut net, MS * 100);
    let mut delete = Chain::new();
    delete.delete_ike();
    ask(&mut net, Side::A, Exchange::INFORMATIONAL, delete).expect("answered");
    assert_eq!((net.b().installed(), net.b().closed()), (0, None), "not the end of the call yet");
    net.run(MS * 200);
    begin_anew(&mut net, |_| {});
    net.run(SECOND);
    assert!(net.is_up() && net.b().closed().is_none(), "{:?}", net.b().story());
    let before = [net.a().received, net.b().received, lost(&net)];
    net.send_esp(Side::A);
    net.send_esp(Side::B);
    net.run(SECOND * 30);
    assert_eq!([net.a().received, net.b().received, lost(&net)], [before[0] + 1, before[1] + 1, before[2]]);
}

#[test]
fn a_peer_that_deletes_and_nothing_else() {
    let mut net = net();
    let mut delete = Chain::new();
    delete.delete_ike();
    ask(&mut net, Side::A, Exchange::INFORMATIONAL, delete).expect("answered");
    net.run(MS * 400);
    assert_eq!(net.b().closed(), None);
    net.run(MS * 200);
    assert_eq!(net.b().closed(), Some(CloseCause::PeerDeleted));
}

/// The peer's process was restarted in the middle of a call. RFC 7296 §2.4: INITIAL_CONTACT says so.
#[test]
fn a_peer_that_lost_its_state() {
    let mut net = net();
    net.run(SECOND * 30);
    let asked = net.b().endpoint.view().counters.dpd_sent;
    begin_anew(&mut net, |_| {});
    net.run(SECOND);
    assert_eq!(net.b().endpoint.view().counters.dpd_sent, asked + 1, "asked at once whether it lives");
    assert!(net.is_up(), "{:?} {:?}", net.a().story(), net.b().story());
    let before = net.a().received;
    net.send_esp(Side::B);
    net.run(SECOND * 60);
    assert_eq!((net.a().received, net.b().installed()), (before + 1, 1), "{:?}", net.b().story());
    assert!(net.b().closed().is_none() && net.b().failed().is_none());
}

/// One that does not say it: the old IKE SA is asked, and is silent, and the call goes on all the same.
#[test]
fn a_peer_that_lost_its_state_slowly() {
    let mut net = net();
    net.run(SECOND * 30);
    // Its first messages are lost, so that the question is given up before the new IKE SA is up.
    let mut answers = 0;
    net.script = Box::new(move |from, _, packet| match packet {
        Packet::Ike(m) if from == Side::A && m[18] == Exchange::IKE_AUTH.0 => {
            answers += 1;
            if answers < 5 { Fate::Drop } else { Fate::Deliver }
        }
        _ => Fate::Deliver,
    });
    begin_anew(&mut net, |c| {
        c.retransmit.first = SECOND * 3;
        c.retransmit.tries_max = 12;
    });
    net.with(Side::B, |e, _| e.ctx.config.retransmit.tries_max = 3);
    net.run(SECOND * 14);
    assert!(net.b().failed().is_none() && net.b().closed().is_none(), "{:?}", net.b().story());
    let deserted = matches!(net.b().endpoint.state, State::Deserted(_) | State::Established(_));
    assert!(deserted, "{:?}", net.b().endpoint);
}

/// An IKE_SA_INIT in clear may be forged: it costs one question and no key exchange.
#[test]
fn a_forged_beginning_changes_nothing() {
    let mut net = net();
    net.run(SECOND * 30);
    let before = net.b().endpoint.view().counters;
    for n in 0..50u8 {
        let mut request = super::by_hand::init(|_| {});
        request[7] = n;
        net.inject(Side::B, &request);
        net.run(MS * 20);
    }
    let after = net.b().endpoint.view().counters;
    assert_eq!(after.dpd_sent, before.dpd_sent + 1);
    assert_eq!(after.cookies_sent, before.cookies_sent + 50, "each was asked for its cookie first");
    net.run(SECOND * 60);
    assert_settled(&mut net, 1);
}

#[test]
fn a_further_one_that_does_not_prove_itself_changes_nothing() {
    let mut net = net();
    run_with_traffic(&mut net, MS * 100);
    // Another key at the peer that begins: its own endpoint fails, and B's refuses it.
    let mut other = configs().0;
    other.auth = AuthConfig::Psk(PskKeys::one(SecretBox::new(b"another").expect("fits")));
    let mut stranger = Endpoint::new(other, Box::new(TestEntropy::new(5)));
    stranger.start(net.now);
    let mut said = Vec::new();
    for _ in 0..20 {
        let now = net.now;
        while let Some(output) = stranger.poll_output() {
            match output {
                crate::Output::Transmit(bytes) | crate::Output::Probe(bytes) => {
                    let logged = net.log.len();
                    net.script = Box::new(|from, _, p| match p {
                        Packet::Ike(_) if from == Side::B => Fate::Drop,
                        _ => Fate::Deliver,
                    });
                    net.inject(Side::B, &bytes);
                    net.run(MS);
                    said.extend(
                        net.log[logged..].iter().filter(|(s, _)| *s == Side::B).map(|(_, m)| m.clone()),
                    );
                }
                crate::Output::Compute(job, work) => stranger.handle_compute(now, job, work.run()),
                _ => {}
            }
        }
        for bytes in core::mem::take(&mut said) {
            stranger.handle_datagram(net.now, &bytes);
        }
    }
    net.script = Box::new(|_, _, _| Fate::Deliver);
    assert_eq!(count(&net, Side::B, |e| matches!(e, Event::ReauthFailed(_))), 1, "{:?}", net.b().story());
    run_with_traffic(&mut net, SECOND);
    net.run(SECOND * 30);
    assert_settled(&mut net, 1);
    assert_eq!(lost(&net), 0);
}

/// RFC 4478: the responder says how long a proof holds; the initiator authenticates anew before that.
#[test]
fn a_limited_authentication_is_renewed_in_time() {
    let mut net = net();
    let mut chain = Chain::new();
    chain.notify(NotifyType::AUTH_LIFETIME, &60u32.to_be_bytes());
    ask(&mut net, Side::B, Exchange::INFORMATIONAL, chain).expect("answered");
    net.run(SECOND * 39);
    assert_eq!(count(&net, Side::A, is_authenticated), 1);
    net.run(SECOND * 2);
    assert_eq!(count(&net, Side::A, is_authenticated), 2, "{:?}", net.a().story());
    // Not by the responder, whose notification it is.
    let mut chain = Chain::new();
    chain.notify(NotifyType::AUTH_LIFETIME, &0u32.to_be_bytes());
    ask(&mut net, Side::A, Exchange::INFORMATIONAL, chain).expect("answered");
    net.run(SECOND * 30);
    assert_eq!(count(&net, Side::A, is_authenticated), 2);
}

#[test]
fn a_lifetime_in_ike_auth_and_a_peer_that_overdoes_it() {
    let (a, b) = configs();
    let mut net = Net::new(a, b);
    net.gateways[1].install = crate::testing::Install::Never;
    net.start();
    net.run(MS * 200);
    super::by_hand::rewrite_held(&mut net, |payloads, c| {
        for (kind, body) in payloads {
            c.push(kind, &body);
        }
        c.notify(NotifyType::AUTH_LIFETIME, &1u32.to_be_bytes());
    });
    net.gateways[1].install = crate::testing::Install::After(Duration::ZERO);
    net.run(SECOND * 4);
    assert_eq!(count(&net, Side::A, is_authenticated), 1, "not more often than every 5 s");
    net.run(SECOND * 2);
    assert_eq!(count(&net, Side::A, is_authenticated), 2);
    net.run(SECOND * 100);
    assert_settled(&mut net, 2);
}

/// RFC 7296 §4: a peer that makes no further SAs on an IKE SA makes them with a new one.
#[test]
fn a_peer_that_rekeys_nothing_is_authenticated_to_anew() {
    let mut net = net();
    net.run(SECOND * 10);
    let id = net.a().bound.expect("up");
    net.with(Side::A, |e, now| e.rekey_child(now, id));
    net.run(MS * 5);
    // B's answer in other words: its own is held back, and then says no.
    net.script = Box::new(|from, _, _| if from == Side::B { Fate::Drop } else { Fate::Deliver });
    net.run(MS * 10);
    let now = net.now;
    let e = &mut net.gateways[0].endpoint;
    let State::Established(s) = &mut e.state else { panic!("up") };
    let Some(crate::task::Task::RekeyChild(task)) = s.current_mut().sa.abandon_request() else {
        panic!("asked")
    };
    let mut chain = Chain::new();
    chain.notify(NotifyType::NO_ADDITIONAL_SAS, &[]);
    let (first, bytes) = chain.finish();
    let m = Message::parse(first, &bytes).expect("ours");
    assert!(s.on_rekey_child_answer(&mut e.ctx, now, *task, &m).is_ok());
    net.script = Box::new(|_, _, _| Fate::Deliver);
    net.run(SECOND);
    assert_eq!(count(&net, Side::A, is_authenticated), 2, "{:?}", net.a().story());
}

/// The first IKE SA of a call says INITIAL_CONTACT; a further one, beside one that is up, must not.
#[test]
fn initial_contact_is_for_the_first() {
    let mut net = net();
    let logged = net.log.len();
    net.with(Side::A, |e, now| e.reauthenticate(now));
    net.run(SECOND);
    assert_eq!(count(&net, Side::B, |e| matches!(e, Event::ChildSaReplaced { bind: true, .. })), 0);
    let (_, init) = net.log[logged..].iter().find(|(s, _)| *s == Side::A).expect("sent");
    let header = Header::parse(init).expect("ours");
    assert!(header.begins() && Message::parse(header.first, &init[HEADER_LEN..]).is_ok());
    assert_ne!(header.first, PayloadType::NONE);
}
