//! The dataplane's link over a real segment, with the dataplane's own side of it played by this test.

use sipsec_abi::{Command, DataplaneSide, Listener};
use sipsec_controlplane::dataplane::{DataplaneLink, LinkEvent, Received};
use sipsec_net::dp::{Event, MediaBinding, Op, OuterDscp};
use sipsec_net::{Kbps, MacAddr, MediaPort, TunnelId, TxnId};
use std::net::SocketAddr;
use std::path::PathBuf;

fn socket() -> PathBuf {
    let dir = std::env::temp_dir().join(format!("sipsec-link-{}", std::process::id()));
    std::fs::create_dir_all(&dir).expect("made");
    dir.join("dataplane.sock")
}

/// Accepts one control plane, however long it takes to come.
async fn accept(mut listener: Listener) -> (Listener, DataplaneSide) {
    tokio::task::spawn_blocking(move || {
        loop {
            if let Some(side) = listener.accept(false).expect("a true hello") {
                return (listener, side);
            }
            std::thread::yield_now();
        }
    })
    .await
    .expect("no panic")
}

/// Turns the link until it has something to hand over.
async fn taken(link: &mut DataplaneLink) -> Received {
    loop {
        if let Some(taken) = link.take() {
            return taken;
        }
        assert!(matches!(link.next().await, LinkEvent::Ready), "the link went down");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_link_connects_carries_and_comes_back() {
    let path = socket();
    let mut link = DataplaneLink::new(&path);
    // No dataplane yet: the reason is there, and what is sent is lost and counted.
    assert!(tokio::time::timeout(std::time::Duration::from_millis(50), link.next()).await.is_err());
    let why = link.status().expect_err("no dataplane");
    assert!(why.contains("start sipsec-dataplane"), "{why}");
    link.send(TxnId(1), vec![], false);
    assert_eq!(link.counters.transactions_lost, 1);

    let listener = Listener::bind(&path, "fake 1", &[]).expect("bound");
    let dataplane = tokio::spawn(accept(listener));
    assert!(matches!(link.next().await, LinkEvent::Up));
    let (listener, mut side) = dataplane.await.expect("no panic");
    assert_eq!(link.status().as_deref(), Ok("fake 1"));

    // A transaction goes down, its answer comes up.
    let remote: SocketAddr = "203.0.113.9:50002".parse().expect("address");
    let binding = MediaBinding {
        tunnel: TunnelId(1),
        inside_local: "10.255.0.1:4500".parse().expect("address"),
        outside_local: "198.51.100.6:50001".parse().expect("address"),
        remote,
        rate: Kbps(1000),
        next_hop: MacAddr([2; 6]),
        outer_dscp: OuterDscp::Fixed(0),
    };
    link.send(TxnId(2), vec![Op::MediaOpen(binding)], false);
    let mut ops = Vec::new();
    assert_eq!(side.pop(&mut ops).expect("valid"), Some(Command::Transaction { txn: TxnId(2), more: false }));
    assert!(matches!(ops.as_slice(), [Op::MediaOpen(b)] if *b == binding));
    side.events.push(&Event::Applied(TxnId(2))).expect("room");
    assert!(matches!(taken(&mut link).await, Received::Event(Event::Applied(TxnId(2)))));

    // IKE finds its way by the media port, both ways.
    link.send_ike(MediaPort(50001), b"request", false);
    let punt = side.punts_down.recv().expect("valid").expect("there");
    assert_eq!(
        (punt.media_port, punt.remote, punt.message),
        (MediaPort(50001), remote, b"request".as_slice())
    );
    side.punts_up.send(MediaPort(50001), remote, b"response").expect("room");
    let Received::Ike { media_port, from, bytes } = taken(&mut link).await else { panic!("an IKE message") };
    assert_eq!((media_port, from, &*bytes), (MediaPort(50001), remote, b"response".as_slice()));
    link.send(TxnId(3), vec![Op::MediaClose(MediaPort(50001))], false);
    link.send_ike(MediaPort(50001), b"late", false);
    assert_eq!(link.counters.ike_lost, 1);

    // More than the ring holds waits, and goes down in order as the dataplane takes it.
    let last = 2000;
    for id in 4..=last {
        link.send(TxnId(id), vec![], false);
    }
    let mut next = 3;
    while next <= last {
        match side.pop(&mut ops).expect("valid") {
            Some(Command::Transaction { txn: id, .. }) => {
                assert_eq!(id, TxnId(next));
                next += 1;
            }
            Some(Command::Snapshot) => panic!("not asked for"),
            None => assert!(link.take().is_none()),
        }
    }

    // The dataplane ends and comes back.
    drop(side);
    assert!(matches!(link.next().await, LinkEvent::Down));
    assert!(link.view().reason.expect("why").contains("ended"));
    let dataplane = tokio::spawn(accept(listener));
    assert!(matches!(link.next().await, LinkEvent::Up));
    let (_listener, mut side) = dataplane.await.expect("no panic");
    link.request_snapshot();
    assert_eq!(side.pop(&mut ops).expect("valid"), Some(Command::Snapshot));
    assert!(link.view().connected);

    // One that takes nothing any more is given up while a transaction is sent, and the loop hears of that too.
    for id in 0..20_000 {
        link.send(TxnId(id), vec![], false);
    }
    assert!(!link.view().connected);
    assert!(matches!(link.next().await, LinkEvent::Down));
    assert!(link.view().reason.expect("why").contains("takes no commands"));
}
