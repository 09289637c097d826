//! Route policy with real probes and a real kernel, in a network namespace of this test's own. Needs root.

#[path = "support/policy.rs"]
mod policy;
mod support;

use policy::{Gateway, ip, network, operation, reachability, route, routed};
use sipsec_controlplane::net::netlink::{DISCARD_PROTOCOL, ROUTE_PROTOCOL};
use sipsec_controlplane::net::track::Policy;
use sipsec_track::config::{Config, Failback, Flows, NextHop, Object, Operation, Probe, What};
use sipsec_track::view::State;
use sipsec_track::{Cause, Event};
use std::net::SocketAddr;
use std::time::Duration;
use support::{in_namespace, sh};

fn primary_and_backup() -> Config {
    Config {
        operations: vec![operation(1, Probe::IcmpEcho { target: ip("192.0.2.1") })],
        objects: vec![reachability(1)],
        routes: vec![
            route("10.2.0.0/16", NextHop::Via { hop: ip("192.0.2.1"), device: None }, 1, Some(1)),
            route("10.2.0.0/16", NextHop::Tunnel("Tunnel1".into()), 250, None),
        ],
        failback: Failback { hold: Duration::ZERO, good_probes: 0, flows: Flows::Move, calls_per_hour: 0 },
    }
}

const OURS: &str = "ip route show 10.2.0.0/16 proto 83";

fn is_primary(table: &str) -> bool {
    table.trim() == "10.2.0.0/16 via 192.0.2.1 dev wan1 metric 1"
}

fn is_backup(table: &str) -> bool {
    table.trim() == "10.2.0.0/16 via 169.254.83.1 dev svti0 metric 250 onlink"
}

#[test]
fn a_cut_line_moves_its_route_into_the_tunnel_and_back() {
    assert_eq!(ROUTE_PROTOCOL, 83);
    in_namespace(async || {
        let far = network();
        let mut gateway = Gateway::start(primary_and_backup());
        assert_eq!(gateway.object(1).await.0, State::Up);
        gateway.until(OURS, is_primary).await;
        let discards = sh(&format!("ip route show proto {DISCARD_PROTOCOL}"));
        assert!(discards.contains("blackhole 10.2.0.0/16"), "{discards}");

        // The far end is deaf; the carrier stays. Meanwhile the table never has neither route.
        far.sh("link set far1 down");
        sh("ip link set wan1 down");
        assert_eq!(gateway.object_or_route().await, "route");
        gateway.until(OURS, is_backup).await;
        far.sh("link set far1 up");
        sh("ip link set wan1 up");
        gateway.until(OURS, is_primary).await;

        // Frames are lost without a change of the carrier.
        far.sh("addr del 192.0.2.1/24 dev far1");
        let (state, cause) = gateway.object(1).await;
        assert_eq!(state, State::Down);
        let Cause::Operation { id: 1, evidence, .. } = &cause else { panic!("{cause:?}") };
        assert!(evidence.iter().filter(|e| e.is_err()).count() >= 3, "{cause}");
        gateway.until(OURS, is_backup).await;

        // The process ends and starts again while the line is down: the route stays all the time.
        drop(gateway);
        for _ in 0..8 {
            tokio::task::yield_now().await;
        }
        assert!(is_backup(&sh(OURS)));
        let mut gateway = Gateway::start(primary_and_backup());
        while gateway.object(1).await.0 != State::Down {}
        assert!(is_backup(&sh(OURS)), "{}", sh(OURS));
        far.sh("addr add 192.0.2.1/24 dev far1");
        gateway.until(OURS, is_primary).await;
        // A route that is removed by hand comes back.
        sh("ip route del 10.2.0.0/16 proto 83");
        gateway.until(OURS, is_primary).await;
    });
}

impl Gateway {
    /// What the loop does with another profile.
    fn reconfigure(&self, config: Config) {
        self.netlink.set_routed(routed(&config));
        self.track.reconfigure(Policy { config, ..Policy::default() }).expect("a good configuration");
    }

    async fn object(&mut self, id: u32) -> (State, Cause) {
        loop {
            match self.event().await {
                Event::Object { id: of, to, cause, .. } if of == id => return (to, cause),
                _ => {}
            }
        }
    }

    async fn object_or_route(&mut self) -> &'static str {
        loop {
            match self.event().await {
                Event::Route { .. } => return "route",
                Event::Object { .. } => return "object",
                _ => {}
            }
        }
    }
}

#[test]
fn each_kind_of_probe_ends_with_what_is_there() {
    in_namespace(async || {
        let tcp = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("bound");
        let http = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("bound");
        let udp = tokio::net::UdpSocket::bind("127.0.0.1:0").await.expect("bound");
        let dns = tokio::net::UdpSocket::bind("127.0.0.1:0").await.expect("bound");
        let at = |address: std::io::Result<SocketAddr>| address.expect("bound");
        let probes = vec![
            Probe::IcmpEcho { target: ip("127.0.0.1") },
            Probe::IcmpEcho { target: ip("::1") },
            Probe::TcpConnect { target: at(tcp.local_addr()) },
            Probe::UdpEcho { target: at(udp.local_addr()) },
            Probe::Dns { server: at(dns.local_addr()), query: "gateway.example".into() },
            Probe::Http { server: at(http.local_addr()), path: "/health".into() },
            Probe::IcmpJitter { target: ip("127.0.0.1"), packets: 5, interval: Duration::from_millis(10) },
            // Nothing is there.
            Probe::TcpConnect { target: "127.0.0.1:9".parse().expect("an address") },
            Probe::UdpEcho { target: "127.0.0.1:9".parse().expect("an address") },
            Probe::IcmpEcho { target: ip("203.0.113.1") },
        ];
        let operations: Vec<_> = (1..).zip(probes).map(|(id, probe)| operation(id, probe)).collect();
        let slow = |o: Operation| Operation { frequency: Duration::from_millis(500), ..o };
        let operations: Vec<_> = operations.into_iter().map(slow).collect();
        let config = Config {
            objects: operations.iter().map(|o| reachability(o.id)).collect(),
            operations,
            ..Config::default()
        };
        tokio::spawn(async move {
            let mut bytes = [0; 512];
            loop {
                let (len, from) = udp.recv_from(&mut bytes).await.expect("received");
                udp.send_to(&bytes[..len], from).await.expect("sent");
            }
        });
        tokio::spawn(async move {
            let mut bytes = [0; 512];
            loop {
                let (len, from) = dns.recv_from(&mut bytes).await.expect("received");
                bytes[2] |= 0x80;
                bytes[3] = 3; // NXDOMAIN
                dns.send_to(&bytes[..len], from).await.expect("sent");
            }
        });
        tokio::spawn(async move {
            use tokio::io::{AsyncReadExt, AsyncWriteExt};
            loop {
                let (mut stream, _) = http.accept().await.expect("accepted");
                let mut request = [0; 1024];
                let len = stream.read(&mut request).await.expect("read");
                let good = request[..len].starts_with(b"GET /health HTTP/1.1\r\n");
                let status = if good { "204 No Content" } else { "500 No" };
                stream.write_all(format!("HTTP/1.1 {status}\r\n\r\n").as_bytes()).await.expect("written");
            }
        });
        let mut gateway = Gateway::start(config);
        let mut states = std::collections::BTreeMap::new();
        while states.len() < 10 {
            if let Event::Object { id, to, cause, .. } = gateway.event().await {
                let Cause::Operation { code, .. } = cause else { continue };
                states.insert(id, format!("{to} {code}"));
            }
        }
        let states: Vec<_> = states.into_values().collect();
        let mut expected = vec!["Up OK"; 7];
        expected.extend(["Down Refused", "Down Refused", "Down Unreachable"]);
        assert_eq!(states, expected);
        drop(tcp);
    });
}

#[test]
fn two_ends_speak_bfd_and_notice_a_cut() {
    in_namespace(async || {
        let far = network();
        let config = |target: &str| Config {
            operations: vec![operation(
                1,
                Probe::Bfd {
                    target: ip(target),
                    transmit: Duration::from_millis(50),
                    receive: Duration::from_millis(50),
                    multiplier: 3,
                },
            )],
            objects: vec![reachability(1)],
            ..Config::default()
        };
        // The far end is another gateway, in its own namespace and on its own thread.
        let (neighbour, name) = (config("192.0.2.2"), far.0.clone());
        let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
        let end = std::thread::spawn(move || {
            let namespace = std::fs::File::open(format!("/run/netns/{name}")).expect("there");
            rustix::thread::move_into_link_name_space(
                std::os::fd::AsFd::as_fd(&namespace),
                Some(rustix::thread::LinkNameSpaceType::Network),
            )
            .expect("entered");
            let runtime =
                tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
            runtime.block_on(async {
                let mut gateway = Gateway::start(neighbour);
                tokio::select! {
                    _ = stopped => {}
                    () = async { loop { gateway.event().await; } } => {}
                }
            });
        });
        let mut gateway = Gateway::start(config("192.0.2.1"));
        while gateway.object(1).await.0 != State::Up {}
        stop.send(()).expect("running");
        end.join().expect("ended");
        assert_eq!(gateway.object(1).await.0, State::Down);
    });
}

#[test]
fn foreign_routes_are_seen_and_next_hops_follow_them() {
    in_namespace(async || {
        let _far = network();
        let mut config = primary_and_backup();
        config.operations.clear();
        config.objects = vec![Object {
            what: What::RoutePresent { prefix: "203.0.113.0/24".parse().expect("a prefix") },
            ..reachability(1)
        }];
        let mut gateway = Gateway::start(config);
        gateway.until(OURS, is_backup).await;
        // A routing daemon finds the way: the primary is usable.
        sh("ip route add 203.0.113.0/24 via 192.0.2.1 proto bgp metric 20");
        assert_eq!(
            gateway.object(1).await,
            (State::Up, Cause::Route { prefix: "203.0.113.0/24".parse().expect("a prefix") })
        );
        gateway.until(OURS, is_primary).await;
        // The network of the next hop goes.
        sh("ip addr del 192.0.2.2/24 dev wan1");
        gateway.until(OURS, is_backup).await;
        sh("ip addr add 192.0.2.2/24 dev wan1");
        sh("ip route replace 203.0.113.0/24 via 192.0.2.1 proto bgp metric 20");
        gateway.until(OURS, is_primary).await;
        // The device goes and comes back.
        sh("ip link del wan1");
        gateway.until(OURS, is_backup).await;
        sh("ip link add wan1 type veth peer name far2");
        sh("ip addr add 192.0.2.2/24 dev wan1");
        sh("ip link set far2 up");
        sh("ip link set wan1 up");
        sh("ip route add 203.0.113.0/24 via 192.0.2.1 proto bgp metric 20");
        gateway.until(OURS, is_primary).await;
    });
}

/// A primary with a probe, and the tunnel behind it.
fn pair(prefix: &str, target: &str) -> Config {
    let probe = Probe::IcmpEcho { target: ip(target) };
    Config {
        operations: vec![operation(1, probe)],
        objects: vec![reachability(1)],
        routes: vec![
            route(prefix, NextHop::Device("wan1".into()), 1, Some(1)),
            route(prefix, NextHop::Tunnel("Tunnel1".into()), 250, None),
        ],
        failback: Failback { hold: Duration::ZERO, good_probes: 0, flows: Flows::Move, calls_per_hour: 0 },
    }
}

#[test]
fn another_configuration_changes_what_differs_and_removes_what_is_gone() {
    in_namespace(async || {
        let _far = network();
        let mut gateway = Gateway::start(pair("10.2.0.0/16", "192.0.2.1"));
        assert_eq!(gateway.object(1).await.0, State::Up);
        gateway.until("ip route show 10.2.0.0/16", |text| text.contains("dev wan1 proto 83")).await;
        // A second primary and another prefix; the probe's state is kept, so nothing fails over meanwhile.
        let mut more = pair("10.2.0.0/16", "192.0.2.1");
        more.routes.push(route(
            "10.3.0.0/16",
            NextHop::Via { hop: ip("192.0.2.1"), device: None },
            1,
            Some(1),
        ));
        more.routes.push(route("10.4.0.0/16", NextHop::Discard, 1, None));
        gateway.reconfigure(more.clone());
        gateway
            .until("ip route show proto 83", |text| {
                text.contains("10.3.0.0/16 via 192.0.2.1 dev wan1") && text.contains("blackhole 10.4.0.0/16")
            })
            .await;
        assert!(sh("ip route show 10.2.0.0/16").contains("dev wan1"));
        // A target that does not answer: the tunnel, after the new probe's losses.
        let mut other = pair("10.2.0.0/16", "192.0.2.77");
        other.routes.push(more.routes[2].clone());
        gateway.reconfigure(other);
        assert_eq!(gateway.object(1).await.0, State::Unknown);
        assert_eq!(gateway.object(1).await.0, State::Down);
        gateway
            .until("ip route show proto 83", |text| {
                text.contains("10.2.0.0/16 via 169.254.83.1 dev svti0")
                    && !text.contains("10.3")
                    && !text.contains("10.4")
            })
            .await;
        gateway.reconfigure(Config::default());
        gateway.until("ip route show proto 83", str::is_empty).await;
        assert_eq!(sh("ip route show proto 183"), "");
    });
}

/// The routes of a process that was killed, whose profile the next one does not have.
#[test]
fn a_later_run_with_another_profile_removes_the_static_routes_of_an_earlier_one() {
    in_namespace(async || {
        let _far = network();
        let directory = std::env::temp_dir().join(format!("sipsec-track-{}", std::process::id()));
        std::fs::create_dir_all(&directory).expect("made");
        let ledger = directory.join("static-routes");
        let mut config = pair("10.2.0.0/16", "192.0.2.1");
        config.routes.push(route("10.4.0.0/16", NextHop::Discard, 1, None));
        let mut first = Gateway::start_with(config, Some(ledger.clone()));
        first.until("ip route show proto 83", |text| text.contains("10.2") && text.contains("10.4")).await;
        drop(first);
        // One of another gateway on this host.
        sh("ip route add blackhole 10.9.0.0/16 proto 83");
        let mut second = Gateway::start_with(pair("10.5.0.0/16", "192.0.2.1"), Some(ledger.clone()));
        second
            .until("ip route show proto 83", |text| {
                text.contains("10.5.0.0/16 dev wan1") && !text.contains("10.2") && !text.contains("10.4")
            })
            .await;
        assert!(sh("ip route show proto 83").contains("10.9.0.0/16"));
        assert_eq!(std::fs::read_to_string(&ledger).expect("there"), "10.5.0.0/16\n");
        std::fs::remove_dir_all(directory).expect("removed");
    });
}
