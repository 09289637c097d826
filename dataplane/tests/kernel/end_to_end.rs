//! Two dataplane processes joined by a WAN, each obeying a control plane that the test plays.

use crate::control::{Control, TUNNEL, media_addr, media_open, media_port, session, tunnel};
use crate::process::Dataplane;
use crate::support::{PATIENCE_S, Tap, destination, inside, is_root, sh};
use crate::topology::{Side, Topology};
use sipsec_abi::{Count, Port};
use sipsec_net::DropReason;
use sipsec_net::dp::{Adjacency, Event, Op, RejectReason};
use std::net::UdpSocket;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

const SECTION: &str = "{ outside: { device: wan0 }, inside: { mode: host, device: svti0 } }";
const TUN: &str = "{ outside: { device: wan0 }, inside: { mode: tun, device: svti0 } }";
/// In every ping's payload, and in no sealed packet.
const PATTERN: &str = "5345435245543432";
const PATTERN_BYTES: &[u8] = b"SECRET42";

struct Gateway {
    dataplane: Dataplane,
    control: Control,
}

fn start(topology: &Topology, side: Side) -> Gateway {
    start_as(topology, side, SECTION)
}

fn start_as(topology: &Topology, side: Side, section: &str) -> Gateway {
    let dataplane = Dataplane::start(topology, side, section);
    let mut control = Control::connect(&dataplane.socket);
    control.apply(&tunnel(side));
    sh(&format!("ip -n {} route add {} dev svti0", topology.gateway(side), side.other().lan_prefix()));
    Gateway { dataplane, control }
}

fn establish(gateway: &mut Gateway, side: Side) {
    gateway.control.apply(&[media_open(side)]);
    gateway.control.apply(&session(side));
}

fn ping(topology: &Topology, from: Side, count: u32, interval: &str) -> Child {
    Command::new("ip")
        .args(["netns", "exec", &topology.host(from), "ping", "-q", "-p", PATTERN])
        .args(["-c", &count.to_string(), "-i", interval, "-W", &PATIENCE_S.to_string()])
        .arg(from.other().lan_host().to_string())
        .stdout(Stdio::piped())
        .spawn()
        .expect("ping")
}

/// Every echo was answered.
fn assert_no_loss(ping: Child) {
    let out = ping.wait_with_output().expect("ping ends by itself");
    let text = String::from_utf8_lossy(&out.stdout);
    assert!(text.contains(" 0% packet loss"), "{text}");
}

fn wan_tap(topology: &Topology, side: Side) -> Tap {
    inside(&topology.gateway(side), || Tap::open("wan0"))
}

/// Whether a frame on the WAN shows what belongs into the tunnel.
fn is_clear(frame: &[u8]) -> bool {
    let inner = |f: &[u8]| destination(f).is_some_and(|d| d.octets()[0] == 10);
    inner(frame) || frame.windows(PATTERN_BYTES.len()).any(|w| w == PATTERN_BYTES)
}

/// Sends one datagram from a gateway's kernel; the tap's proof that everything sent before it has been seen.
fn marker(topology: &Topology, from: Side) {
    let to = (from.other().wan(), 9);
    inside(&topology.gateway(from), move || {
        UdpSocket::bind("0.0.0.0:0").expect("socket").send_to(b"MARKER", to).expect("sent");
    });
}

fn assert_nothing_clear(tap: &Tap) {
    let frames = tap.until(|f| f.windows(6).any(|w| w == b"MARKER"));
    let clear = frames.iter().find(|f| is_clear(f));
    assert!(clear.is_none(), "in clear on the WAN: {clear:02x?}");
}

#[test]
fn a_call_from_the_first_packet_to_the_last() {
    call("call", SECTION);
}

#[test]
fn a_call_from_the_first_packet_to_the_last_in_tun_mode() {
    call("calltun", TUN);
}

fn call(name: &str, section: &str) {
    if !is_root() {
        return;
    }
    let topology = Topology::new(name);
    let tap = wan_tap(&topology, Side::B);
    let (mut a, mut b) = (start_as(&topology, Side::A, section), start_as(&topology, Side::B, section));

    // The first packets wait for the SA, and nothing of them is on the wire.
    let pings = ping(&topology, Side::A, 40, "0.02");
    let first = a.control.wait_acquire();
    assert_eq!((first.source, first.destination), (Side::A.lan_host().into(), Side::B.lan_host().into()));
    assert_eq!(first.protocol, 1);
    marker(&topology, Side::A);
    assert_nothing_clear(&tap);

    // IKE through the punt rings, before there is any SA: loopback:4500 inside, the SDP ports outside.
    for (gateway, side) in [(&mut a, Side::A), (&mut b, Side::B)] {
        gateway.control.apply(&[media_open(side)]);
    }
    let ike: Vec<u8> = (1..=200).collect();
    a.control.side.send_ike(media_port(Side::A), media_addr(Side::B), &ike).expect("room");
    assert_eq!(b.control.wait_ike(), (media_port(Side::B), media_addr(Side::A), ike.clone()));
    b.control.side.send_ike(media_port(Side::B), media_addr(Side::A), &ike[..28]).expect("room");
    assert_eq!(a.control.wait_ike(), (media_port(Side::A), media_addr(Side::B), ike[..28].to_vec()));

    // The responder first, so that it can open what the initiator replays.
    b.control.apply(&session(Side::B));
    a.control.apply(&session(Side::A));
    assert_no_loss(pings);
    assert_no_loss(ping(&topology, Side::B, 20, "0.01"));
    marker(&topology, Side::A);
    assert_nothing_clear(&tap);

    // A datagram to the live port from elsewhere: dropped, counted, reported.
    let before = a.control.side.counters.drops()[DropReason::WrongSource.index()];
    let to = media_addr(Side::A);
    inside(&topology.gateway(Side::B), move || {
        UdpSocket::bind("0.0.0.0:0").expect("socket").send_to(&[0; 64], to).expect("sent");
    });
    let event = a.control.wait_for(|e| matches!(e, Event::WrongSource { .. }));
    let Event::WrongSource { media_port: port, from } = event else { unreachable!("waited for it") };
    assert_eq!((port, from.ip()), (media_port(Side::A), Side::B.wan().into()));
    await_drop(&a.control, DropReason::WrongSource, before + 1);

    // The control plane is told of what it did wrong, and nothing of it happened.
    let answer = a.control.transact(&[Op::ReplayTrigger(TUNNEL), media_open(Side::A)]);
    assert!(
        matches!(answer, Event::Rejected { op: 1, reason: RejectReason::DuplicateMediaPort, .. }),
        "{answer:?}"
    );

    // Hung up: the port is the kernel's again, which answers that the port is closed.
    a.control.apply(&[Op::TunnelUnbind(TUNNEL), Op::MediaClose(media_port(Side::A))]);
    let to = media_addr(Side::A);
    let refused = inside(&topology.gateway(Side::B), move || {
        let socket = UdpSocket::bind("0.0.0.0:0").expect("socket");
        socket.connect(to).expect("connect");
        socket.set_read_timeout(Some(Duration::from_secs(PATIENCE_S as u64))).expect("timeout");
        socket.send(&[0; 64]).expect("sent");
        socket.recv(&mut [0; 8]).expect_err("nobody answers").kind()
    });
    assert_eq!(refused, std::io::ErrorKind::ConnectionRefused);
    // And packets wait for the next call.
    let _unanswered = KillOnDrop(ping(&topology, Side::A, 1, "1"));
    a.control.wait_acquire();
    marker(&topology, Side::A);
    assert_nothing_clear(&tap);

    assert!(a.control.side.counters.count(Count::IkeUp) >= 1);
    assert!(a.control.side.counters.port(Port::Outside).rx_packets > 0);
    for gateway in [a, b] {
        assert!(gateway.dataplane.terminate().success());
    }
}

/// Counters are published some time after the fact.
fn await_drop(control: &Control, reason: DropReason, at_least: u64) {
    let deadline = std::time::Instant::now() + Duration::from_secs(PATIENCE_S as u64);
    while control.side.counters.drops()[reason.index()] < at_least {
        assert!(std::time::Instant::now() < deadline, "{} counted", reason.name());
        std::thread::yield_now();
    }
}

struct KillOnDrop(Child);

impl Drop for KillOnDrop {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn a_control_plane_that_is_killed_changes_nothing_about_forwarding() {
    if !is_root() {
        return;
    }
    let topology = Topology::new("kill");
    let (mut a, mut b) = (start(&topology, Side::A), start(&topology, Side::B));
    establish(&mut b, Side::B);
    establish(&mut a, Side::A);
    assert_no_loss(ping(&topology, Side::A, 5, "0.01"));

    // Another control plane, a process of its own, takes A over and is killed while pings run.
    drop(a.control);
    a.dataplane.await_log("control plane gone");
    let mut child = Command::new(std::env::current_exe().expect("this test"))
        .args(["--exact", "end_to_end::victim", "--ignored", "--nocapture"])
        .env(VICTIM, &a.dataplane.socket)
        .stdout(Stdio::null())
        .spawn()
        .expect("a victim");
    a.dataplane.await_log("control plane connected");
    let pings = ping(&topology, Side::A, 100, "0.01");
    child.kill().expect("SIGKILL");
    child.wait().expect("a child");
    a.dataplane.await_log("control plane gone");
    assert_no_loss(pings);

    // The next one finds everything live.
    let mut control = Control::connect(&a.dataplane.socket);
    let snapshot = control.snapshot();
    let count = |f: fn(&Event) -> bool| snapshot.iter().filter(|e| f(e)).count();
    assert_eq!(
        count(|e| matches!(e, Event::SnapshotTunnel { tunnel, outbound: Some(_) } if *tunnel == TUNNEL)),
        1
    );
    assert_eq!(count(|e| matches!(e, Event::SnapshotMedia(_))), 1);
    assert_eq!(count(|e| matches!(e, Event::SnapshotSa { .. })), 2);
    // One at a time.
    assert!(sipsec_abi::ControlSide::connect(&a.dataplane.socket, "second").is_err());
    assert!(control.side.counters.activity(TUNNEL).is_some_and(|t| t.packets_out >= 100));
}

const VICTIM: &str = "SIPSEC_TEST_VICTIM";

/// Not a test: the process that the test above kills. It keeps the rings busy until then.
#[test]
#[ignore = "started by another test"]
fn victim() {
    let Some(socket) = std::env::var_os(VICTIM) else { return };
    let mut control = Control::connect(socket.as_ref());
    loop {
        control.snapshot();
    }
}

#[test]
fn a_dataplane_that_dies_leaks_nothing_and_starts_again() {
    if !is_root() {
        return;
    }
    let topology = Topology::new("die");
    let tap = wan_tap(&topology, Side::B);
    let (mut a, mut b) = (start(&topology, Side::A), start(&topology, Side::B));
    establish(&mut b, Side::B);
    establish(&mut a, Side::A);
    assert_no_loss(ping(&topology, Side::A, 5, "0.01"));
    for kill in [true, false] {
        if kill {
            a.dataplane.kill();
        } else {
            assert!(a.dataplane.terminate().success());
        }
        drop(a.control);
        let mut lost = ping(&topology, Side::A, 20, "0.01");
        // What answers now would be a leak; ping gives up only after its patience, so it is ended when all are sent.
        for _ in 0..20 {
            marker(&topology, Side::A);
            assert_nothing_clear(&tap);
        }
        lost.kill().expect("still waiting for answers");
        lost.wait().expect("a child");

        a = Gateway {
            dataplane: Dataplane::start(&topology, Side::A, SECTION),
            control: Control::connect(&topology.dir.join("a/dataplane.sock")),
        };
        a.control.apply(&tunnel(Side::A));
        establish(&mut a, Side::A);
        // Old sequence numbers are behind B's window: both sides start anew, as after a new call.
        b.control.apply(&[Op::MediaClose(media_port(Side::B))]);
        b.control.apply(&[media_open(Side::B)]);
        b.control.apply(&session(Side::B));
        assert_no_loss(ping(&topology, Side::A, 5, "0.01"));
    }
}

/// XDP on the LAN device takes what is for the tunnel; when the process is gone, a route of last resort discards it.
#[test]
fn router_mode_takes_tunnel_prefixes_off_the_lan_and_fails_closed() {
    if !is_root() {
        return;
    }
    let topology = Topology::new("rtr");
    let tap = wan_tap(&topology, Side::B);
    let gateway = topology.gateway(Side::A);
    let router = || {
        let mac = sh(&format!("ip netns exec {} cat /sys/class/net/eth0/address", topology.host(Side::A)));
        let section = format!(
            "{{ outside: {{ device: wan0 }}, inside: {{ mode: router, device: lan0, next_hop: {:?} }} }}",
            mac.trim()
        );
        let mut dataplane = Dataplane::start(&topology, Side::A, &section);
        dataplane.await_log("10.1.0.0/24");
        let mut control = Control::connect(&dataplane.socket);
        control.apply(&tunnel(Side::A));
        Gateway { dataplane, control }
    };
    let routes = || sh(&format!("ip -n {gateway} route show"));
    let (mut a, mut b) = (router(), start(&topology, Side::B));
    let pings = ping(&topology, Side::A, 20, "0.01");
    a.control.wait_acquire();
    establish(&mut b, Side::B);
    establish(&mut a, Side::A);
    assert_no_loss(pings);
    assert_no_loss(ping(&topology, Side::B, 20, "0.01"));
    // The LAN's other traffic is the kernel's as before, also inside the tunnel's prefixes.
    let ten = "10.0.0.0/8".parse().expect("valid");
    a.control.apply(&[Op::RouteAdd { prefix: ten, tunnel: TUNNEL, adjacency: Adjacency::Tunnel }]);
    sh(&format!("ip netns exec {} ping -q -c 1 -W {PATIENCE_S} 10.1.0.1", topology.host(Side::A)));

    a.dataplane.kill();
    let mut lost = ping(&topology, Side::A, 20, "0.01");
    for _ in 0..20 {
        marker(&topology, Side::A);
        assert_nothing_clear(&tap);
    }
    lost.kill().expect("still waiting for answers");
    lost.wait().expect("a child");
    assert!(routes().contains("blackhole 10.2.0.0/16") && routes().contains("blackhole 10.0.0.0/8"));

    // What the next control plane has no use for goes when it has configured everything.
    let mut a = router();
    assert!(routes().contains("blackhole 10.0.0.0/8"));
    establish(&mut a, Side::A);
    assert!(routes().contains("blackhole 10.2.0.0/16") && !routes().contains("blackhole 10.0.0.0/8"));
    // A tunnel that is removed leaves nothing behind.
    a.control.apply(&[Op::TunnelRemove(TUNNEL)]);
    assert!(!routes().contains("blackhole"));
}

#[test]
fn what_cannot_start_says_what_to_do() {
    if !is_root() {
        return;
    }
    let topology = Topology::new("err");
    let cases = [
        ("{ outside: { device: nosuch0 }, inside: { mode: host, device: svti0 } }", "no device nosuch0"),
        ("{ outside: { device: wan0 }, inside: { mode: host, device: lan0 } }", "ip link del lan0"),
        (
            "{ outside: { device: wan0 }, inside: { mode: host, device: svti0 }, worker: { count: 17 } }",
            "allowed: 1 to 16",
        ),
        (
            "{ outside: { device: wan0 }, inside: { mode: host, device: svti0 }, bind_mode: zerocopy }",
            "bind_mode to auto",
        ),
        (
            "{ outside: { device: wan0 }, inside: { mode: host, device: svti0 }, worker: { core: 1000 } }",
            "core 1000",
        ),
    ];
    for (section, cure) in cases {
        let mut dataplane = Dataplane::spawn(&topology, Side::A, section);
        dataplane.await_log(cure);
        assert_eq!(dataplane.wait().code(), Some(1), "{section}");
    }
    // Even without its WAN it has made the sVTI, which routes need lest their packets leave by the default route.
    sh(&format!("ip -n {} route replace 10.2.0.0/16 dev svti0", topology.gateway(Side::A)));
    let mut first = Dataplane::start(&topology, Side::A, SECTION);
    let mut second = Dataplane::spawn(&topology, Side::A, SECTION);
    second.await_log("stop it first");
    assert_eq!(second.wait().code(), Some(1));
    // A WAN that is removed ends the dataplane; its supervisor starts it again.
    sh(&format!("ip -n {} link del wan0", topology.gateway(Side::A)));
    first.await_log("wan0 was removed");
    assert_eq!(first.wait().code(), Some(1));
}
