//! Translation of addresses into the tunnel: many hosts by one address, and two sites that have the same network.

use super::support::{ask, both, ensure, ensure_in, no_clear_text, pings};
use super::{Context, Scenario};
use crate::lab::carrier::Knobs;
use crate::lab::error::LabError;
use crate::lab::interrupt::wait_for;
use crate::lab::netns::{Namespace, run};
use crate::lab::process::Process;
use crate::lab::topology::{BRANCH_LAN_HOST, CENTRE_LAN_HOST, LAN, SVTI};
use crate::lab::world::{BRANCH_NUMBER, HEADEND_NUMBER, World};
use std::ffi::OsStr;
use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::path::Path;
use std::time::Duration;

pub const TRANSLATION: Scenario = Scenario {
    about: "a LAN behind one address, and one network at both ends: ping, TCP, UDP, traceroute, too-big; no inside address leaves",
    tools: &[("tcpdump", "tcpdump")],
    run: translation,
    ..Scenario::new("nat")
};

/// What the centre sees of the branch's LAN; its routes lead to it.
const GLOBAL: &str = "10.1.200.1";
/// Both sites have 192.168.1.0/24 as well, and call the other's by these.
const SITE: [&str; 2] = ["192.168.1.1/24", "192.168.1.2/24"];
const SITE_HOST: &str = "192.168.1.2";
const BRANCH_SITE_HOST: &str = "10.1.77.2";
const CENTRE_SITE_HOST: &str = "10.2.77.2";
const LIMIT: Duration = Duration::from_secs(5);

fn translation(context: &Context) -> Result<(), LabError> {
    let mut world = context.world("xlat", Knobs::default())?;
    let topology = &world.topology;
    for (gateway, lan) in
        [(&topology.branch, &topology.branch_lan), (&topology.headend, &topology.centre_lan)]
    {
        gateway.ip(&["addr", "add", SITE[0], "dev", LAN])?;
        lan.ip(&["addr", "add", SITE[1], "dev", "eth0"])?;
    }
    let with = |gateway, route: &str, rules: &str| {
        let routes = format!("routes: [{route}]\n");
        world.profile(gateway)?.with(&routes, &format!("{routes}    nat:\n{rules}"))
    };
    let network =
        |global: &str| format!("      - {{ rule: network, local: 192.168.1.0/24, global: {global} }}\n");
    let overload = format!("      - {{ rule: overload, source: 10.1.0.0/24, pool: {GLOBAL} }}\n");
    let port =
        format!("      - {{ rule: port, local: \"{BRANCH_LAN_HOST}:8080\", global: \"{GLOBAL}:80\" }}\n");
    let branch = with("branch", "10.2.0.0/16", &(network("10.1.77.0/24") + &port + &overload))?;
    let headend = with("headend", "10.1.0.0/16", &network("10.2.77.0/24"))?;
    world.start_headend(&headend)?;
    world.start_branch(&branch)?;
    world.wait_registered(&[BRANCH_NUMBER, HEADEND_NUMBER])?;
    // Whose address the kernel's ICMP errors bear.
    world.topology.headend.ip(&["addr", "add", "10.2.0.1/32", "dev", SVTI])?;

    let file = branch.dir().join("centre.pcap");
    let mut capture = capture(&world.topology.centre_lan, "eth0", &file)?;
    overloaded(&world)?;
    overlapping(&world)?;
    shows(&world)?;
    capture.terminate();
    let seen = std::fs::read(&file).map_err(LabError::io(file.display().to_string()))?;
    let inside: [u8; 4] = [10, 1, 0, 2];
    let packets = seen.len();
    ensure(packets > 1000, "the centre has seen packets", || format!("{packets} bytes"))?;
    ensure(
        !seen.windows(4).any(|w| w == inside),
        "no packet, nor what it quotes, names the inside address",
        || file.display().to_string(),
    )?;
    no_clear_text(&world)?;
    world.check()
}

/// Into a file, all of IPv4 that this device of a namespace sees.
pub(super) fn capture(namespace: &Namespace, device: &str, file: &Path) -> Result<Process, LabError> {
    let log = file.with_extension("log");
    // Otherwise the kernel keeps packets for up to a second, and the end of tcpdump loses them.
    let words = ["--immediate-mode", "-U", "-n", "-Z", "root", "-i", device, "-w"].map(OsStr::new);
    let args = [&words[..], &[file.as_os_str(), OsStr::new("ip")]].concat();
    let mut process = Process::start("tcpdump", namespace, Path::new("tcpdump"), &args, log.clone())?;
    wait_for("the start of tcpdump", LIMIT, || {
        process.check()?;
        let log = std::fs::read_to_string(&log).unwrap_or_default();
        Ok(log.contains("listening on").then_some(()))
    })?;
    Ok(process)
}

fn address(text: &str) -> SocketAddr {
    text.parse().expect("a constant address")
}

/// Sends there and back, and gives the address under which the sender is known.
pub(super) fn udp(
    from: &Namespace,
    at: &Namespace,
    source: &str,
    target: &str,
    bound: &str,
) -> Result<SocketAddr, LabError> {
    let server = at.run(|| UdpSocket::bind(address(bound)))?;
    let client = from.run(|| UdpSocket::bind(address(source)))?;
    let exchange = || -> std::io::Result<SocketAddr> {
        let mut buffer = [0; 2000];
        client.connect(address(target))?;
        for socket in [&client, &server] {
            socket.set_read_timeout(Some(LIMIT))?;
        }
        client.send(b"question")?;
        let (_, peer) = server.recv_from(&mut buffer)?;
        server.send_to(b"answer", peer)?;
        let len = client.recv(&mut buffer)?;
        if &buffer[..len] == b"answer" { Ok(peer) } else { Err(ErrorKind::InvalidData.into()) }
    };
    exchange().map_err(LabError::io(format!("UDP from {source} to {target}")))
}

pub(super) fn tcp(
    from: &Namespace,
    at: &Namespace,
    target: &str,
    bound: &str,
) -> Result<SocketAddr, LabError> {
    let server = at.run(|| TcpListener::bind(address(bound)))?;
    let mut client = from.run(|| TcpStream::connect_timeout(&address(target), LIMIT))?;
    let mut exchange = || -> std::io::Result<SocketAddr> {
        let (mut accepted, peer) = server.accept()?;
        for stream in [&client, &accepted] {
            stream.set_read_timeout(Some(LIMIT))?;
        }
        client.write_all(&[7; 4000])?;
        accepted.read_exact(&mut [0; 4000])?;
        accepted.write_all(b"answer")?;
        client.read_exact(&mut [0; 6])?;
        Ok(peer)
    };
    exchange().map_err(LabError::io(format!("TCP to {target}")))
}

fn known_as(peer: SocketAddr, wanted: &str) -> Result<(), LabError> {
    ensure(peer.ip().to_string() == wanted, "the centre knows the host by its global address", || {
        peer.to_string()
    })
}

fn overloaded(world: &World) -> Result<(), LabError> {
    let (lan, centre) = (&world.topology.branch_lan, &world.topology.centre_lan);
    pings(world, lan, CENTRE_LAN_HOST, "5", "0.05")?;
    known_as(udp(lan, centre, "10.1.0.2:5004", "10.2.0.2:5006", "10.2.0.2:5006")?, GLOBAL)?;
    known_as(tcp(lan, centre, "10.2.0.2:5007", "10.2.0.2:5007")?, GLOBAL)?;
    // The port rule, from the centre.
    let peer = tcp(centre, lan, "10.1.200.1:80", "10.1.0.2:8080")?;
    ensure(peer.ip().to_string() == CENTRE_LAN_HOST, "the port rule", || peer.to_string())?;
    // An ICMP error about UDP finds its socket, so what it quotes is as it was sent.
    let closed = lan.run(|| UdpSocket::bind(address("10.1.0.2:5008")))?;
    let refused = || -> std::io::Result<std::io::Result<usize>> {
        closed.connect(address("10.2.0.2:5999"))?;
        closed.set_read_timeout(Some(LIMIT))?;
        closed.send(b"anybody?")?;
        Ok(closed.recv(&mut [0; 10]))
    };
    let told = refused().map_err(LabError::io("UDP to a closed port"))?;
    let is_refused = told.as_ref().is_err_and(|e| e.kind() == ErrorKind::ConnectionRefused);
    ensure_in(world, is_refused, "port unreachable reaches the socket", || format!("{told:?}"))?;
    // As traceroute asks, and as path MTU discovery is told, both by the router behind the tunnel.
    told_by_router(lan, &["-c", "1", "-W", "3", "-t", "2", CENTRE_LAN_HOST], "Time to live exceeded")?;
    world.topology.headend.ip(&["link", "set", LAN, "mtu", "1300"])?;
    told_by_router(lan, &["-c", "1", "-W", "3", "-M", "do", "-s", "1350", CENTRE_LAN_HOST], "mtu = 1300")?;
    world.topology.headend.ip(&["link", "set", LAN, "mtu", "1500"])
}

fn told_by_router(lan: &Namespace, words: &[&str], wanted: &str) -> Result<(), LabError> {
    let output = lan.command("ping").args(words).output().map_err(LabError::io("ping"))?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    ensure(text.contains("10.2.0.1") && text.contains(wanted), &format!("`{wanted}` of the router"), || {
        text.clone()
    })
}

/// Both hosts have the same address.
fn overlapping(world: &World) -> Result<(), LabError> {
    let (lan, centre) = (&world.topology.branch_lan, &world.topology.centre_lan);
    let ping = |from: &Namespace, to: &str| {
        run(from.command("ping").args(["-c", "3", "-i", "0.05", "-W", "3", "-I", SITE_HOST, to]))
    };
    for (from, to) in [(lan, CENTRE_SITE_HOST), (centre, BRANCH_SITE_HOST)] {
        let output = ping(from, to)?;
        ensure_in(world, output.contains(" 0% packet loss"), "packets were lost", || output.clone())?;
    }
    let (own, there) = (format!("{SITE_HOST}:5010"), format!("{CENTRE_SITE_HOST}:5011"));
    let peer = udp(lan, centre, &own, &there, &format!("{SITE_HOST}:5011"))?;
    known_as(peer, BRANCH_SITE_HOST)
}

fn shows(world: &World) -> Result<(), LabError> {
    let (branch, _) = both(world);
    let text = branch.cli(&["show", "ip", "nat", "translations", "verbose"])?;
    for wanted in [
        &format!("{GLOBAL}:80 "),
        &format!("{BRANCH_LAN_HOST}:5004"),
        "10.1.77.0/24",
        "flags: extended, state: ",
        "interface: Tunnel1",
    ] {
        ensure(text.contains(wanted), &format!("`{wanted}` in the table"), || text.clone())?;
    }
    let list = ask(branch, &["show", "ip", "nat", "translations"])?;
    let dynamic = |list: &serde_json::Value| {
        let of = |kind: &str| {
            list.as_array()
                .map_or(0, |l| l.iter().filter(|t| t["kind"] == kind && !t["left_s"].is_null()).count())
        };
        of("overload") + of("port")
    };
    let shown = dynamic(&list);
    let statistics = ask(branch, &["show", "ip", "nat", "statistics"])?;
    let same = statistics["translations"] == shown && statistics["calls"] == 1 && statistics["statics"] == 2;
    ensure(same && shown >= 5, "statistics and table agree", || format!("{shown}: {statistics:#} {list:#}"))?;
    branch.cli(&["clear", "ip", "nat", "translation", "*"])?;
    wait_for("the end of all translations", LIMIT, || {
        let list = ask(branch, &["show", "ip", "nat", "translations"])?;
        Ok((dynamic(&list) == 0).then_some(()))
    })?;
    pings(world, &world.topology.branch_lan, CENTRE_LAN_HOST, "2", "0.05")?;
    let log = std::fs::read_to_string(branch.log("controlplane")).unwrap_or_default();
    ensure(
        log.contains("ports given to a host") && log.contains("ports given back by a host"),
        "the log of port blocks",
        || log.clone(),
    )
}
