use super::rings::tests::connect;
use super::steering::tests::Recorder;
use super::worker_link::{Update, WorkerEnd, worker_link};
use super::*;
use crate::engines;
use sipsec_net::dp::{Adjacency, Event, Op};
use sipsec_net::{MediaPort, TxnId};
use sipsec_pipeline::testing::{Gateway, Side, ipv4_udp};
use sipsec_pipeline::{InsideMode, Owners};
use sipsec_profile::model as profile;

fn control() -> (Control<Recorder>, WorkerEnd, Mailbox<FromControl>) {
    let config = Gateway::config(Side::A, InsideMode::Host);
    let (end, worker) = worker_link().expect("eventfds");
    let outbox = Mailbox::new().expect("eventfd");
    let setup = ControlSetup {
        config,
        engine: engines::select(profile::Engine::Auto).expect("passes").engine,
        kernel: Recorder::refusing("nothing"),
        workers: Workers::new(Owners::ONE, vec![end]),
        activities: vec![Activities::new(config.limits.tunnels_max)],
        sockets: vec![Default::default()],
        places: vec![WorkerPlace::default()],
        inbox: Mailbox::new().expect("eventfd"),
        outbox: outbox.clone(),
    };
    (Control::new(setup), worker, outbox)
}

fn ops() -> Vec<Op> {
    vec![
        Op::TunnelAdd(Gateway::tunnel()),
        Op::RouteAdd { prefix: Side::B.lan(), tunnel: Gateway::TUNNEL, adjacency: Adjacency::Tunnel },
    ]
}

#[test]
fn the_answer_follows_the_workers_commit_and_what_it_reported_before() {
    let (mut control, mut worker, _outbox) = control();
    let (_listener, mut peer, link, _connection) = connect("commit");
    control.inbox.send(ToControl::Attach(Box::new(link))).expect("room");
    assert!(control.mail());
    peer.push(TxnId(1), &ops()).expect("room");
    peer.request_snapshot().expect("room");
    let mut seen = || {
        while control.turn() > 0 {}
        std::iter::from_fn(|| peer.pop().expect("sane")).collect::<Vec<_>>()
    };
    assert_eq!(seen(), [], "the worker has not answered, and the snapshot waits behind");
    let Some(Update::Transaction { ops, .. }) = worker.updates.pop() else { panic!("validated") };
    let expired =
        Event::SaExpire { sa: sipsec_net::SaId(1), cause: sipsec_net::dp::ExpireCause::Bytes, hard: false };
    worker.event(expired.clone());
    worker.applied(ops);
    let tunnel = Event::SnapshotTunnel { tunnel: Gateway::TUNNEL, outbound: None };
    assert_eq!(seen(), [expired, Event::Applied(TxnId(1)), tunnel, Event::SnapshotEnd]);
    assert!(matches!(worker.updates.pop(), Some(Update::Reacquire)), "what waits for a call is told again");
}

/// What a call has carried is known when its end is answered, however long ago the counters were published.
#[test]
fn the_answer_to_the_end_of_a_call_follows_its_last_numbers() {
    let (mut control, mut worker, _outbox) = control();
    let mut gateway = Gateway::new(Side::A, InsideMode::Host);
    control.activities = vec![gateway.pipeline.activities()];
    let (_listener, mut peer, link, _connection) = connect("numbers");
    control.inbox.send(ToControl::Attach(Box::new(link))).expect("room");
    assert!(control.mail());
    control.publish(sys::now());
    let mut transact = |id, ops: &[Op], meanwhile: &mut dyn FnMut()| {
        peer.push(TxnId(id), ops).expect("room");
        while control.turn() > 0 {}
        meanwhile();
        let Some(Update::Transaction { ops, .. }) = worker.updates.pop() else { panic!("validated") };
        worker.applied(ops);
        while control.turn() > 0 {}
        assert_eq!(peer.pop().expect("sane"), Some(Event::Applied(TxnId(id))));
        peer.counters.activity(Gateway::TUNNEL).map(|activity| activity.trigger_queued)
    };
    assert_eq!(transact(1, &ops(), &mut || {}), Some(0));
    let packet = ipv4_udp(Side::A.host(), Side::B.host(), 64);
    let end = [Op::TunnelUnbind(Gateway::TUNNEL)];
    assert_eq!(transact(2, &end, &mut || gateway.lan(sys::now(), &packet)), Some(1));
}

#[test]
fn ike_passes_in_both_directions() {
    let (mut control, mut worker, _outbox) = control();
    let (_listener, mut peer, link, _connection) = connect("ike");
    control.inbox.send(ToControl::Attach(Box::new(link))).expect("room");
    assert!(control.mail());
    let remote = "192.0.2.1:5000".parse().expect("valid");
    peer.send_ike(MediaPort(5), remote, &[1, 2, 3]).expect("room");
    worker.ike(MediaPort(6), remote, &[4, 5]).expect("room");
    while control.turn() > 0 {}
    let down = worker.ike_down.pop().expect("sent");
    assert_eq!((down.media_port, down.remote, &down.bytes[..]), (MediaPort(5), remote, &[1, 2, 3][..]));
    let up = peer.recv_ike().expect("sane").expect("one");
    assert_eq!((up.media_port, up.remote, up.message), (MediaPort(6), remote, &[4, 5][..]));
    // Without a control plane it is lost and counted.
    control
        .inbox
        .send(ToControl::Detach { epoch: control.session.as_ref().expect("attached").epoch })
        .expect("room");
    assert!(control.mail());
    worker.ike(MediaPort(6), remote, &[4, 5]).expect("room");
    while control.turn() > 0 {}
    assert_eq!(control.punts_lost, 1);
}

#[test]
fn a_worker_that_does_not_turn_is_reported_once() {
    let (mut control, worker, outbox) = control();
    let at = |ms: u64| Instant::from_nanos(ms * 1_000_000);
    let turned = |turns| cells::WorkerNumbers { turns, ..cells::WorkerNumbers::default() };
    for n in 1..200 {
        control.publish(at(n * 100));
    }
    assert!(outbox.receive().is_none(), "it has not started yet");
    for n in 200..400 {
        worker.cells.store(turned(n));
        control.publish(at(n * 100));
    }
    assert!(control.watchdogs[0].lives() && outbox.receive().is_none());
    for n in 400..600 {
        control.publish(at(n * 100));
    }
    assert!(!control.watchdogs[0].lives());
    assert!(matches!(outbox.receive(), Some(FromControl::WorkerHangs { worker: 0 })));
    assert!(outbox.receive().is_none(), "once");
}
