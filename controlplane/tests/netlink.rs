//! The kernel's side, in a network namespace of this test's own. Needs root.

mod support;

use sipsec_controlplane::net::netlink::{
    self, Change, DISCARD_PROTOCOL, Netlink, ROUTE_PROTOCOL, Routed, Target, TunnelDevice, Wanted, Watch,
};
use sipsec_net::{MacAddr, MediaPort};
use std::io::Write;
use std::process::Command;
use support::{in_namespace, sh};

async fn wan(netlink: &mut Netlink) -> Result<std::net::IpAddr, String> {
    loop {
        if let Change::Wan { address: wan, .. } = netlink.next().await {
            return wan;
        }
    }
}

async fn routes(netlink: &mut Netlink) -> Vec<String> {
    loop {
        if let Change::Routes(states) = netlink.next().await {
            return states.into_iter().map(|(prefix, state)| format!("{prefix} {state}")).collect();
        }
    }
}

async fn hop(netlink: &mut Netlink) -> (u16, MacAddr) {
    loop {
        if let Change::NextHop { media_port, mac } = netlink.next().await {
            return (media_port.0, mac);
        }
    }
}

type Routes<'a> = [(&'a str, Option<u32>)];

fn watch(routes: &Routes<'_>) -> Watch {
    Watch {
        wan: "wan0".into(),
        families: (true, false),
        svti: Some("svti0".into()),
        routed: Routed {
            tunnels: routes.iter().map(|(prefix, _)| prefix.parse().expect("a prefix")).collect(),
            ..Routed::default()
        },
        ledger: None,
    }
}

/// A gateway whose route policy has decided for its tunnels.
fn start(routes: &Routes<'_>) -> Netlink {
    let netlink = Netlink::start(watch(routes));
    for (prefix, metric) in routes {
        let wanted = Wanted {
            target: Target::Tunnel("Tunnel1".into()),
            table: sipsec_track::config::Table::Main,
            metric: metric.unwrap_or(0),
        };
        netlink.routes().route(prefix.parse().expect("a prefix"), Some(wanted));
    }
    netlink
}

#[test]
fn the_wan_address_is_followed_and_its_absence_explained() {
    in_namespace(async || {
        let mut netlink = start(&[]);
        assert_eq!(wan(&mut netlink).await, Err("there is no interface wan0".into()));
        sh("ip link add wan0 type veth peer name peer0");
        assert_eq!(wan(&mut netlink).await, Err("wan0 is down: `ip link set wan0 up`".into()));
        sh("ip link set wan0 up");
        assert_eq!(wan(&mut netlink).await, Err("wan0 has no IPv4 address".into()));
        sh("ip addr add 192.0.2.1/24 dev wan0");
        assert_eq!(wan(&mut netlink).await, Ok("192.0.2.1".parse().expect("address")));
        // A second address changes nothing; losing the first does.
        sh("ip addr add 198.51.100.1/24 dev wan0");
        sh("ip addr del 192.0.2.1/24 dev wan0");
        assert_eq!(wan(&mut netlink).await, Ok("198.51.100.1".parse().expect("address")));
        sh("ip link del wan0");
        assert_eq!(wan(&mut netlink).await, Err("there is no interface wan0".into()));
    });
}

#[test]
fn next_hops_are_found_provoked_and_followed() {
    in_namespace(async || {
        sh("ip link add wan0 type veth peer name peer0");
        sh("ip link set wan0 address 02:00:00:00:00:01");
        sh("ip link set peer0 address 02:00:00:00:00:02");
        for device in ["wan0", "peer0"] {
            sh(&format!("ip link set {device} up"));
        }
        sh("ip addr add 192.0.2.1/24 dev wan0");
        sh("ip route add 203.0.113.0/24 via 192.0.2.254");
        let mut netlink = start(&[]);
        wan(&mut netlink).await.expect("an address");

        // An entry that is there already: by gateway, and on the link.
        sh("ip neigh add 192.0.2.254 lladdr 02:00:00:00:00:fe dev wan0 nud stale");
        netlink.resolve(MediaPort(50001), "203.0.113.7".parse().expect("address"));
        assert_eq!(hop(&mut netlink).await, (50001, MacAddr([2, 0, 0, 0, 0, 0xfe])));
        // It changes: told again.
        sh("ip neigh replace 192.0.2.254 lladdr 02:00:00:00:00:fd dev wan0 nud reachable");
        assert_eq!(hop(&mut netlink).await, (50001, MacAddr([2, 0, 0, 0, 0, 0xfd])));
        netlink.forget(MediaPort(50001));

        // None is there: the kernel is made to look (an entry appears), and what it finds is told.
        netlink.resolve(MediaPort(50003), "192.0.2.2".parse().expect("address"));
        let provoked = async {
            while !sh("ip neigh show dev wan0").contains("192.0.2.2 ") {
                tokio::task::yield_now().await;
            }
        };
        tokio::join!(provoked, async {
            // Gives the netlink task its turns.
            tokio::task::yield_now().await;
        });
        sh("ip neigh replace 192.0.2.2 lladdr 02:00:00:00:00:02 dev wan0 nud reachable");
        assert_eq!(hop(&mut netlink).await, (50003, MacAddr([2, 0, 0, 0, 0, 2])));
    });
}

#[test]
fn routes_follow_the_device_and_leave_those_of_others_alone() {
    in_namespace(async || {
        let wanted = [("10.2.0.0/16", None), ("10.3.0.0/16", Some(254)), ("10.4.0.0/16", None)];
        let mut netlink = start(&wanted);
        let states = routes(&mut netlink).await;
        assert!(states.iter().all(|s| s.contains("waits for the device svti0")), "{states:?}");

        // Discarding routes are there before the device is.
        let discards = sh(&format!("ip route show proto {DISCARD_PROTOCOL}"));
        assert!(discards.contains("blackhole 10.3.0.0/16") && discards.lines().count() == 3, "{discards}");

        sh("ip link add svti0 type veth peer name svti0-x");
        sh("ip link set svti0 up");
        let mut states = routes(&mut netlink).await;
        while states.iter().any(|s| s.contains("down") || s.contains("waits")) {
            states = routes(&mut netlink).await;
        }
        let ours = sh(&format!("ip route show proto {ROUTE_PROTOCOL}"));
        assert!(ours.contains("10.3.0.0/16 via 169.254.83.1 dev svti0 metric 254 onlink"), "{ours}");
        assert_eq!(ours.lines().count(), 3, "{ours}");

        // The device goes and comes back: so do the routes.
        sh("ip link del svti0");
        while !routes(&mut netlink).await.iter().all(|s| s.contains("waits")) {}
        sh("ip link add svti0 type veth peer name svti0-x");
        sh("ip link set svti0 up");
        sh("ip route add 10.99.0.0/16 dev svti0 proto static");
        sh(&format!("ip route add 10.98.0.0/16 dev svti0 proto {ROUTE_PROTOCOL}"));
        while routes(&mut netlink).await.iter().any(|s| s.contains("down") || s.contains("waits")) {}
        while sh("ip route show").contains("10.98.0.0/16") {
            tokio::task::yield_now().await;
        }

        // The process ends, and nothing may leave in clear by another route until the next one, whose profile is shorter.
        drop(netlink);
        for _ in 0..8 {
            tokio::task::yield_now().await; // the turns in which its task ends
        }
        let left = sh("ip route show dev svti0");
        assert_eq!(left.lines().filter(|l| l.starts_with("10.")).count(), 4, "{left}");
        let mut netlink = start(&[("10.2.0.0/16", None)]);
        routes(&mut netlink).await;
        let left = sh("ip route show dev svti0");
        let left: Vec<_> =
            left.lines().filter_map(|l| l.split(' ').next()).filter(|p| p.starts_with("10.")).collect();
        assert_eq!(left, ["10.2.0.0/16", "10.99.0.0/16"]);
        let discards = sh(&format!("ip route show proto {DISCARD_PROTOCOL}"));
        assert!(discards.contains("blackhole 10.2.0.0/16") && discards.lines().count() == 1, "{discards}");
    });
}

/// Until the kernel says so; the netlink task has its turns meanwhile.
async fn wait_shown(netlink: &mut Netlink, command: &str, holds: impl Fn(&str) -> bool) {
    let shown = async {
        while !holds(&sh(command)) {
            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        }
    };
    let task = async {
        loop {
            netlink.next().await;
        }
    };
    let limit = tokio::time::sleep(std::time::Duration::from_secs(20));
    tokio::select! {
        () = shown => {}
        () = task => {}
        () = limit => panic!("{command}: {}", sh(command)),
    }
}

#[test]
fn a_tunnel_has_a_device_of_its_own() {
    in_namespace(async || {
        const LINK: &str = "ip -d link show";
        sh("ip link add lan0 type veth peer name lan1");
        sh("ip addr add 10.1.0.1/24 dev lan0");
        let own = |id: u32, device: &str| TunnelDevice {
            id: sipsec_net::TunnelId(id),
            device: device.to_owned(),
            mtu: 1400,
            unnumbered: Some("lan0".to_owned()),
        };
        let routed = |devices: &[(&str, TunnelDevice)]| Routed {
            tunnels: ["10.2.0.0/16".parse().expect("a prefix")].into(),
            devices: devices.iter().map(|(tunnel, own)| ((*tunnel).to_owned(), own.clone())).collect(),
            ..Routed::default()
        };
        let mut netlink =
            Netlink::start(Watch { routed: routed(&[("Tunnel1", own(7, "sipsec7"))]), ..watch(&[]) });
        let wanted = Wanted {
            target: Target::Tunnel("Tunnel1".into()),
            table: sipsec_track::config::Table::Main,
            metric: 0,
        };
        netlink.routes().route("10.2.0.0/16".parse().expect("a prefix"), Some(wanted));
        let waits = routes(&mut netlink).await;
        assert!(waits[0].contains("waits for the device sipsec7, which stands on svti0"), "{waits:?}");
        sh("ip link add svti0 mtu 1438 type veth peer name far0");
        sh("ip link set svti0 up");
        wait_shown(&mut netlink, LINK, |t| t.contains("sipsec7@svti0") && t.contains("macvlan mode private"))
            .await;
        let addressed = |device: &str| format!("inet 10.1.0.1/32 scope global {device}");
        wait_shown(&mut netlink, "ip addr", |t| t.contains(&addressed("sipsec7"))).await;
        let link = sh("ip -d link show dev sipsec7");
        let is_made = link.contains("link/ether 02:53:00:00:00:07")
            && link.contains("mtu 1400")
            && link.contains("NOARP")
            && link.contains("addrgenmode none");
        assert!(is_made, "{link}");
        let into = |device: &str| format!("10.2.0.0/16 via 169.254.83.1 dev {device} proto 83 onlink");
        wait_shown(&mut netlink, "ip route", |t| t.contains(&into("sipsec7"))).await;
        // It comes back, with its route.
        sh("ip link del sipsec7");
        wait_shown(&mut netlink, "ip route", |t| t.contains(&into("sipsec7"))).await;
        sh("ip link set sipsec7 down");
        wait_shown(&mut netlink, "ip route", |t| t.contains(&into("sipsec7"))).await;
        // The lender's address.
        sh("ip addr add 10.1.0.2/16 dev lan0");
        sh("ip addr del 10.1.0.1/24 dev lan0");
        wait_shown(&mut netlink, "ip addr show dev sipsec7", |t| {
            t.contains("inet 10.1.0.2/32") && t.matches("inet ").count() == 1
        })
        .await;
        // Another profile: the tunnel has another device, and then none.
        netlink.set_routed(routed(&[("Tunnel1", own(9, "sipsec9"))]));
        wait_shown(&mut netlink, "ip route", |t| t.contains(&into("sipsec9"))).await;
        wait_shown(&mut netlink, LINK, |t| !t.contains("sipsec7")).await;
        netlink.set_routed(routed(&[]));
        wait_shown(&mut netlink, "ip route", |t| t.contains(&into("svti0"))).await;
        wait_shown(&mut netlink, LINK, |t| !t.contains("sipsec9")).await;
        // A device that is not ours is left alone.
        sh("ip link add sipsec9 type veth peer name other0");
        netlink.set_routed(routed(&[("Tunnel1", own(9, "sipsec9"))]));
        loop {
            if routes(&mut netlink).await[0].contains("sipsec9 is another device") {
                break;
            }
        }
        assert!(sh("ip -d link show dev sipsec9").contains("veth"));
    });
}

/// Layer-2 address of the default route's next hop.
const NEXT_HOP: MacAddr = MacAddr([2, 0, 0, 0, 0, 0x99]);

/// What leaves towards the default route's next hop. The kernel sends frames of its own (MLD, router solicitations) at any
/// time; packets of this test are known by their contents.
struct Wire {
    frames: socket2::Socket,
    sent: u32,
}

impl Wire {
    /// Sees the frames of all devices of this namespace.
    fn new() -> Self {
        use socket2::{Domain, Protocol, Socket, Type};
        /// ETH_P_ALL of if_ether.h
        const EVERY_PROTOCOL: u16 = 3;
        let protocol = Protocol::from(i32::from(EVERY_PROTOCOL.to_be()));
        let frames = Socket::new(Domain::PACKET, Type::RAW, Some(protocol)).expect("permitted");
        frames.set_nonblocking(true).expect("set");
        Self { frames, sent: 0 }
    }

    /// Sends a packet to each of these addresses, which the kernel may refuse, and gives the number of frames that left.
    fn leaked(&mut self, rounds: u32, addresses: &[&str]) -> usize {
        let v4 = std::net::UdpSocket::bind("0.0.0.0:0").expect("bound");
        let v6 = std::net::UdpSocket::bind("[::]:0").expect("bound");
        let mut leaked = 0;
        for _ in 0..rounds {
            self.sent += 1;
            let payload = format!("in clear {}.", self.sent);
            for address in addresses {
                let address: std::net::IpAddr = address.parse().expect("an address");
                let socket = if address.is_ipv4() { &v4 } else { &v6 };
                let _ = socket.send_to(payload.as_bytes(), (address, 9));
            }
            // A frame is handed to packet sockets while it is being sent; its copy at the other end of the pair may come later.
            leaked += self.frames_with(payload.as_bytes());
        }
        leaked
    }

    fn frames_with(&self, payload: &[u8]) -> usize {
        let mut frame = [0; 2048];
        let mut found = 0;
        while let Ok(len) = rustix::io::read(&self.frames, &mut frame[..]) {
            let frame = &frame[..len];
            found += usize::from(
                frame.starts_with(&NEXT_HOP.0) && frame.windows(payload.len()).any(|w| w == payload),
            );
        }
        found
    }
}

/// A default route that would carry everything in clear.
fn default_route() {
    sh("ip link add def0 type veth peer name def1");
    for device in ["def0", "def1"] {
        std::fs::write(format!("/proc/sys/net/ipv6/conf/{device}/accept_dad"), "0").expect("written");
        sh(&format!("ip link set {device} up"));
    }
    sh("ip addr add 198.51.100.1/24 dev def0");
    sh("ip addr add 2001:db8:f::1/64 dev def0");
    for next_hop in ["198.51.100.2", "2001:db8:f::2"] {
        sh(&format!("ip neigh add {next_hop} lladdr {NEXT_HOP} dev def0 nud permanent"));
    }
    sh("ip route add default via 198.51.100.2");
    sh("ip route add default via 2001:db8:f::2");
}

#[test]
fn nothing_for_a_tunnel_leaves_in_clear_when_the_svti_goes() {
    in_namespace(async || {
        default_route();
        let inside = ["10.2.0.1", "10.2.255.254", "10.3.7.7", "2001:db8:2::1"];
        let elsewhere = ["203.0.113.9", "2001:db8:9::9"];
        let mut wire = Wire::new();
        assert!(wire.leaked(1, &elsewhere) >= 2, "the default route works");
        let mut leaked = |rounds| wire.leaked(rounds, &inside);
        assert!(leaked(10) >= 40, "without a gateway they leave");
        let wanted = [("10.2.0.0/16", None), ("10.3.0.0/16", Some(254)), ("2001:db8:2::/48", None)];
        let refused = netlink::discard_at_boot(&watch(&wanted)).await.expect("installed");
        assert_eq!((refused, leaked(50)), (vec![], 0), "before anything else of the gateway runs");
        let mut netlink = start(&wanted);
        routes(&mut netlink).await;
        assert_eq!(leaked(50), 0, "before the sVTI");
        for round in 0..3 {
            sh("ip link add svti0 type veth peer name svti0-x");
            assert_eq!(leaked(50), 0, "made, round {round}");
            sh("ip link set svti0-x up");
            sh("ip link set svti0 up");
            while !routes(&mut netlink).await.iter().all(|s| s.ends_with("dev svti0 proto 83")) {}
            assert_eq!(leaked(50), 0, "up, round {round}");
            sh("ip link set svti0 down");
            assert_eq!(leaked(50), 0, "down, round {round}");
            while !routes(&mut netlink).await.iter().all(|s| s.contains("is down")) {}
            sh("ip link set svti0 up");
            assert_eq!(leaked(50), 0, "up again, round {round}");
            sh("ip link del svti0");
            assert_eq!(leaked(50), 0, "deleted, round {round}");
            while !routes(&mut netlink).await.iter().all(|s| s.contains("waits")) {}
        }
        // A discarding route that is removed comes back.
        sh(&format!("ip route del blackhole 10.2.0.0/16 proto {DISCARD_PROTOCOL}"));
        while !sh("ip route show").contains("blackhole 10.2.0.0/16") {
            tokio::task::yield_now().await;
        }
        // The process ends: they stay.
        drop(netlink);
        for _ in 0..8 {
            tokio::task::yield_now().await;
        }
        assert_eq!(leaked(50), 0, "stopped");
        assert!(wire.leaked(1, &elsewhere) >= 2, "what is for others leaves still");
    });
}

#[test]
fn routes_of_the_operator_and_of_routing_daemons_are_respected() {
    in_namespace(async || {
        default_route();
        // A primary path, by the operator and by a routing daemon (bgp is protocol 186), and another gateway's routes.
        sh("ip route add 10.2.0.0/16 via 198.51.100.2 proto static metric 100");
        sh("ip route add 10.3.0.0/16 via 198.51.100.2 proto 186 metric 20");
        sh(&format!("ip route add blackhole 10.9.0.0/16 proto {DISCARD_PROTOCOL} metric 4278190081"));
        sh(&format!("ip route add 10.3.0.0/16 dev def0 proto {ROUTE_PROTOCOL} metric 4000"));
        sh("ip link add svti0 type veth peer name svti0-x");
        sh("ip link set svti0-x up");
        sh("ip link set svti0 up");
        let wanted = [("10.2.0.0/16", Some(254)), ("10.3.0.0/16", Some(254)), ("10.4.0.0/16", None)];
        let mut netlink = start(&wanted);
        while !routes(&mut netlink).await.iter().all(|s| s.ends_with("dev svti0 proto 83")) {}
        let mut wire = Wire::new();
        let mut leaves = |address: &str| wire.leaked(1, &[address]) > 0;
        assert!(leaves("10.2.0.1") && leaves("10.3.0.1") && !leaves("10.4.0.1"), "the primary path is used");
        // The primary path is withdrawn: the tunnel, and then nothing.
        sh("ip route del 10.2.0.0/16 proto static");
        assert!(!leaves("10.2.0.1") && leaves("10.3.0.1"));
        sh("ip link del svti0");
        assert!(!leaves("10.2.0.1") && leaves("10.3.0.1") && !leaves("10.4.0.1"));
        let table = sh("ip route show");
        assert!(
            table.contains("10.3.0.0/16 via 198.51.100.2 dev def0 proto bgp")
                && table.contains("blackhole 10.9.0.0/16")
                && table.contains("10.3.0.0/16 dev def0 proto 83"),
            "{table}"
        );
        drop(netlink);
    });
}

/// A line for `ip -batch`.
fn batch(lines: impl Iterator<Item = String>) {
    use std::process::Stdio;
    let mut ip = Command::new("ip").args(["-batch", "-"]).stdin(Stdio::piped()).spawn().expect("started");
    let text: String = lines.collect();
    ip.stdin.take().expect("piped").write_all(text.as_bytes()).expect("written");
    assert!(ip.wait().expect("ended").success());
}

/// Runs `disturb` on a thread of the same namespace, and checks that the task still does all that it is for. Figures go to the
/// output of the test.
async fn follows_everything_under(netlink: &mut Netlink, disturb: impl FnOnce() + Send + 'static) {
    let began = std::time::Instant::now();
    let disturbed = tokio::task::spawn_blocking(disturb);
    let mut round = 0_u32;
    loop {
        round += 1;
        // A route that is deleted comes back.
        sh("ip route del 10.2.0.0/16 dev svti0");
        while !sh("ip route show dev svti0").contains("10.2.0.0/16") {
            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        }
        // A new call's next hop is found.
        let port = MediaPort(50_000 + (round % 1000) as u16);
        netlink.resolve(port, "203.0.113.7".parse().expect("address"));
        assert_eq!(hop(netlink).await, (port.0, MacAddr([2, 0, 0, 0, 0, 0xfe])));
        netlink.forget(port);
        // A changed address is noticed.
        let (new, old) = if sh("ip addr show dev wan0").contains("192.0.2.2/") { (3, 2) } else { (2, 3) };
        sh(&format!("ip addr add 192.0.2.{new}/24 dev wan0"));
        sh(&format!("ip addr del 192.0.2.{old}/24 dev wan0"));
        let address = format!("192.0.2.{new}").parse().expect("address");
        while wan(netlink).await != Ok(address) {}
        sh("ip neigh replace 192.0.2.254 lladdr 02:00:00:00:00:fe dev wan0 nud permanent");
        sh("ip route replace 203.0.113.0/24 via 192.0.2.254");
        if disturbed.is_finished() && round > 2 {
            break;
        }
    }
    disturbed.await.expect("no panic");
    let health = netlink.health();
    println!("{round} rounds in {:.1} s: {health:?}", began.elapsed().as_secs_f64());
    assert!(health.is_working() && health.restarts == 0 && health.timeouts == 0, "{health:?}");
}

/// A WAN with a gateway, and a sVTI.
async fn gateway() -> Netlink {
    sh("ip link add wan0 type veth peer name peer0");
    sh("ip link add svti0 type veth peer name svti0-x");
    for device in ["wan0", "peer0", "svti0-x"] {
        sh(&format!("ip link set {device} up"));
    }
    sh("ip link set svti0 up arp off");
    // A secondary address stays when the first goes.
    std::fs::write("/proc/sys/net/ipv4/conf/wan0/promote_secondaries", "1").expect("written");
    sh("ip addr add 192.0.2.2/24 dev wan0");
    sh("ip neigh add 192.0.2.254 lladdr 02:00:00:00:00:fe dev wan0 nud permanent");
    sh("ip route add 203.0.113.0/24 via 192.0.2.254");
    let mut netlink = start(&[("10.2.0.0/16", None)]);
    while !routes(&mut netlink).await.iter().all(|s| s.ends_with("dev svti0 proto 83")) {}
    netlink
}

fn scan(packets: u32) {
    let socket = std::net::UdpSocket::bind("0.0.0.0:0").expect("bound");
    for n in 0..packets {
        // A walk through the whole /16 in an order without neighbours.
        let [_, _, c, d] = n.wrapping_mul(40_503).to_be_bytes();
        let _ = socket.send_to(b"scan", (std::net::Ipv4Addr::new(10, 2, c, d), 9));
    }
}

#[test]
fn a_scan_of_a_tunnels_own_prefix_stops_nothing() {
    in_namespace(async || {
        let mut netlink = gateway().await;
        let before = netlink.health();
        follows_everything_under(&mut netlink, || scan(200_000)).await;
        let after = netlink.health();
        // The sVTI's neighbour entries (each destination is one) are filtered out by the kernel.
        assert_eq!(after.overruns, before.overruns, "{after:?}");
        assert!(after.reports < 20_000, "{after:?}");
    });
}

fn churn(routes: u32, rounds: u32, by: &str) {
    let line = |verb: &str, n: u32| {
        let [_, b, c, d] = (n << 8).to_be_bytes();
        format!("route {verb} 11.{b}.{c}.{d}/32 {by} proto 186\n").replace(".0/32", ".0/24")
    };
    for _ in 0..rounds {
        batch((0..routes).map(|n| line("add", n)));
        batch((0..routes).map(|n| line("del", n)));
    }
}

#[test]
fn churn_of_foreign_routes_stops_nothing() {
    in_namespace(async || {
        let mut netlink = gateway().await;
        sh("ip link add other0 type veth peer name other1");
        sh("ip link set other1 up");
        sh("ip link set other0 up");
        // By another device, then by the WAN itself, where each may change a next hop.
        follows_everything_under(&mut netlink, || churn(10_000, 2, "dev other0")).await;
        follows_everything_under(&mut netlink, || churn(10_000, 2, "via 192.0.2.254 dev wan0 onlink")).await;
    });
}

#[test]
#[ignore = "a lab's: it takes minutes and about 1 GB; `cargo test -p sipsec-controlplane --test netlink -- --ignored`"]
fn a_million_routes_stop_nothing() {
    in_namespace(async || {
        let mut netlink = gateway().await;
        follows_everything_under(&mut netlink, || churn(65_000, 15, "via 192.0.2.254 dev wan0 onlink")).await;
        follows_everything_under(&mut netlink, || scan(4_000_000)).await;
    });
}

#[test]
fn many_calls_share_their_look_ups() {
    in_namespace(async || {
        let mut netlink = gateway().await;
        const CALLS: u16 = 4096;
        for n in 0..CALLS {
            let [c, d] = n.to_be_bytes();
            netlink.resolve(MediaPort(10_000 + n), std::net::Ipv4Addr::new(203, 0, 113, d ^ c).into());
        }
        let mut found = std::collections::BTreeSet::new();
        while found.len() < usize::from(CALLS) {
            found.insert(hop(&mut netlink).await.0);
        }
        // 256 peers behind one gateway: a route look-up each (again after a report), and lists of neighbours.
        let health = netlink.health();
        assert!(health.requests < 1024, "{health:?}");
        // A change of the gateway's address is one more list.
        sh("ip neigh replace 192.0.2.254 lladdr 02:00:00:00:00:fd dev wan0 nud permanent");
        for _ in 0..CALLS {
            assert_eq!(hop(&mut netlink).await.1, MacAddr([2, 0, 0, 0, 0, 0xfd]));
        }
        let after = netlink.health();
        assert!(after.requests - health.requests < 50, "{after:?}");
    });
}
