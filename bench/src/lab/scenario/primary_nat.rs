//! A LAN behind the address of its primary line, and behind the tunnel's own rules while that line is down.

use super::support::{ask, ensure, ensure_in, no_clear_text, ping_all};
use super::translation::{capture, tcp, udp};
use super::{Context, Scenario};
use crate::lab::error::LabError;
use crate::lab::failover::{Setup, wait_primary, world_with};
use crate::lab::interrupt::wait_for;
use crate::lab::netns::run;
use crate::lab::primary::{BRANCH_PRIMARY, BRANCH_SIDE, Path, TO_BRANCH};
use crate::lab::topology::{BRANCH_LAN_HOST, CENTRE_LAN_HOST};
use crate::lab::world::World;
use std::net::{SocketAddr, UdpSocket};
use std::time::Duration;

pub const PRIMARY_NAT: Scenario = Scenario {
    about: "a LAN behind its primary line's address: ping, TCP, UDP, traceroute, a forwarded port, hairpin, endpoint-independent filtering; failover to the tunnel and back by the same ports",
    tools: &[("nft", "nftables"), ("tcpdump", "tcpdump")],
    run: primary_nat,
    ..Scenario::new("primary-nat")
};

/// What the centre sees of the LAN by the tunnel.
const GLOBAL: &str = "10.1.200.1";
const LIMIT: Duration = Duration::from_secs(15);

fn primary_nat(context: &Context) -> Result<(), LabError> {
    let nat = format!(
        "nat:\n  primary:\n    - device: wan1\n      sources: [10.1.0.0/16]\n      filtering: endpoint-independent\n      forwards: [{{ port: 8080, local: \"{BRANCH_LAN_HOST}:8081\" }}]\n\ndataplane:\n"
    );
    let tunnel =
        format!("distance: 250 }}]\n    nat: [{{ rule: overload, source: 10.1.0.0/24, pool: {GLOBAL} }}]\n");
    let texts = [("dataplane:\n", &nat[..]), ("distance: 250 }]\n", &tunnel[..])];
    let setup = Setup {
        tag: "pnat",
        failback: "hold_s: 1, good_probes: 3, calls_per_hour: 60",
        idle_s: 2,
        branch: &texts,
        ..Setup::default()
    };
    let mut world = world_with(context.places.clone(), setup)?;
    let branch = world.branch.as_ref().expect("started");
    wait_for("the kernel's rules", LIMIT, || {
        Ok(run(world.topology.branch.command("nft").args(["list", "ruleset"]))?
            .contains("guard")
            .then_some(()))
    })?;
    let file = branch.dir().join("primary.pcap");
    let mut capture = capture(world.topology.primary()?.router(), TO_BRANCH, &file)?;
    by_the_primary(&world)?;
    shows(&world)?;
    world.topology.primary()?.set(Path::Cut)?;
    wait_primary(&mut world, false)?;
    // The same endpoints, by another way: the kernel's translation does not follow them.
    known_in_time(&world, GLOBAL)?;
    world.topology.primary()?.set(Path::Good)?;
    wait_primary(&mut world, true)?;
    known_in_time(&world, BRANCH_PRIMARY)?;
    capture.terminate();
    let seen = std::fs::read(&file).map_err(LabError::io(file.display().to_string()))?;
    ensure(seen.len() > 1000, "the primary has seen packets", || format!("{} bytes", seen.len()))?;
    for inside in [[10, 1, 0, 2], [10, 1, 200, 1]] {
        ensure(
            !seen.windows(4).any(|w| w == inside),
            "no packet on the primary, nor what it quotes, names an inside address",
            || format!("{inside:?} in {}", file.display()),
        )?;
    }
    // Another program loads its rules, and begins with an empty kernel: ours come back.
    run(world.topology.branch.command("nft").args(["flush", "ruleset"]))?;
    known_in_time(&world, BRANCH_PRIMARY)?;
    no_clear_text(&world)?;
    world.check()
}

fn known(world: &World) -> Result<String, LabError> {
    let (lan, centre) = (&world.topology.branch_lan, &world.topology.centre_lan);
    Ok(udp(lan, centre, "10.1.0.2:5004", "10.2.0.2:5006", "10.2.0.2:5006")?.ip().to_string())
}

/// RFC 4787 §5: a host that has never been sent to reaches a port that a host of the LAN sends from, and none that it does not.
fn from_another_host(world: &World) -> Result<(), LabError> {
    const LOCAL: &str = "10.1.0.2:5204";
    let outside: SocketAddr = format!("{BRANCH_PRIMARY}:5204").parse().expect("an endpoint");
    let lan = world.topology.branch_lan.run(|| UdpSocket::bind(LOCAL))?;
    let router = world.topology.primary()?.router();
    // Of two ports: the first packet begins a connection to the gateway itself, which its later ones belong to.
    let [early, late] = [7204, 7205].map(|port| (BRANCH_SIDE, port));
    let (early, late) = (router.run(|| UdpSocket::bind(early))?, router.run(|| UdpSocket::bind(late))?);
    let exchange = || -> std::io::Result<[(Vec<u8>, SocketAddr); 2]> {
        let receive = |socket: &UdpSocket| {
            socket.set_read_timeout(Some(LIMIT))?;
            let mut buffer = [0; 100];
            let (len, from) = socket.recv_from(&mut buffer)?;
            Ok::<_, std::io::Error>((buffer[..len].to_vec(), from))
        };
        early.send_to(b"too early", outside)?;
        lan.send_to(b"opens", "10.2.0.2:5206")?;
        late.send_to(b"question", outside)?;
        let asked = receive(&lan)?;
        lan.send_to(b"answer", asked.1)?;
        Ok([asked, receive(&late)?])
    };
    let [asked, answered] = exchange().map_err(LabError::io("UDP from another host"))?;
    let wanted = (b"question".to_vec(), SocketAddr::new(BRANCH_SIDE.parse().expect("an address"), 7205));
    ensure_in(world, asked == wanted, "the host hears who sends, when it has sent", || format!("{asked:?}"))?;
    ensure_in(world, answered == (b"answer".to_vec(), outside), "and answers by the same port", || {
        format!("{answered:?}")
    })
}

/// Packets are lost while routes change.
fn known_in_time(world: &World, wanted: &str) -> Result<(), LabError> {
    wait_for(&format!("the host to be known as {wanted}"), LIMIT, || {
        Ok(known(world).ok().filter(|address| address == wanted).map(drop))
    })
}

fn by_the_primary(world: &World) -> Result<(), LabError> {
    let (lan, centre) = (&world.topology.branch_lan, &world.topology.centre_lan);
    ping_all(world, lan, CENTRE_LAN_HOST)?;
    let address = known(world)?;
    ensure_in(world, address == BRANCH_PRIMARY, "the centre knows the host by the line's address", || {
        address
    })?;
    let peer = tcp(lan, centre, "10.2.0.2:5007", "10.2.0.2:5007")?;
    ensure_in(world, peer.ip().to_string() == BRANCH_PRIMARY, "TCP as well", || peer.to_string())?;
    // RFC 4787 REQ-1: an endpoint of the LAN has one port towards every remote one, also if the line's range has not its own.
    for local in ["10.1.0.2:5104", "10.1.0.2:55104"] {
        let seen =
            ["10.2.0.2:5106", "10.2.0.2:5107", "10.2.0.2:5108"].map(|to| udp(lan, centre, local, to, to));
        let seen = seen.into_iter().collect::<Result<std::collections::BTreeSet<_>, _>>()?;
        ensure_in(world, seen.len() == 1, "one mapping for all remote endpoints", || format!("{seen:?}"))?;
    }
    from_another_host(world)?;
    // A forwarded port: from the centre, and from the LAN itself.
    let port = format!("{BRANCH_PRIMARY}:8080");
    let peer = tcp(centre, lan, &port, "10.1.0.2:8081")?;
    ensure_in(world, peer.ip().to_string() == CENTRE_LAN_HOST, "the forwarded port", || peer.to_string())?;
    tcp(lan, lan, &port, "10.1.0.2:8081")?;
    // What traceroute sees: the line's router, and the one behind it.
    for (hops, router) in [("2", "172.20.0.1"), ("3", "172.21.0.2")] {
        let words = ["-c", "1", "-W", "3", "-t", hops, CENTRE_LAN_HOST];
        let output = lan.command("ping").args(words).output().map_err(LabError::io("ping"))?;
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        ensure_in(world, text.contains(router) && text.contains("Time to live exceeded"), router, || text)?;
    }
    ensure_in(world, world.carrier.calls() == 0, "the primary needs no call", || world.carrier.bill_text())
}

fn shows(world: &World) -> Result<(), LabError> {
    let branch = world.branch.as_ref().expect("started");
    let text = branch.cli(&["show", "ip", "nat", "translations", "verbose"])?;
    for wanted in [format!("{BRANCH_PRIMARY}:5004"), "wan1:8080".into(), "interface: wan1".into()] {
        ensure(text.contains(&wanted), &format!("`{wanted}` in the table"), || text.clone())?;
    }
    let dynamic = || -> Result<usize, LabError> {
        let list = ask(branch, &["show", "ip", "nat", "translations"])?;
        let ours = |t: &&serde_json::Value| t["device"] == "wan1" && !t["left_s"].is_null();
        Ok(list.as_array().map_or(0, |list| list.iter().filter(ours).count()))
    };
    let shown = dynamic()?;
    let statistics = ask(branch, &["show", "ip", "nat", "statistics"])?;
    ensure(shown >= 3 && statistics["primary"]["translations"] == shown, "statistics", || {
        format!("{shown}: {statistics:#}")
    })?;
    branch.cli(&["clear", "ip", "nat", "translation", "*"])?;
    wait_for("the end of all translations", LIMIT, || Ok((dynamic()? == 0).then_some(())))
}
