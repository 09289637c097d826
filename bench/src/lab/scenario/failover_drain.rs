//! Flows that stay in the tunnel when the primary returns (`failback.drain`).

use super::support::{ask, ensure, ensure_in, no_clear_text, ping_all};
use super::{Context, Scenario};
use crate::lab::error::LabError;
use crate::lab::failover::{Setup, wait_primary, world_with};
use crate::lab::interrupt::wait_for;
use crate::lab::netns::{Namespace, run};
use crate::lab::primary::{PRIMARY_WAN, Path};
use crate::lab::topology::{BRANCH_LAN_HOST, CENTRE_LAN_HOST};
use crate::lab::world::World;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::Duration;

const NFT: &[(&str, &str)] = &[("nft", "nftables")];
const LIMIT: Duration = Duration::from_secs(20);
const PAUSE: Duration = Duration::from_millis(20);
/// Exchanges of a stream that show that it goes on.
const SOME: u32 = 40;

pub const DRAIN: Scenario = Scenario {
    about: "the primary returns: a TCP stream keeps its way through the tunnel until it ends, a new one takes the primary",
    run: |context| drain(context, "fodr"),
    tools: NFT,
    ..Scenario::new("failover-drain")
};

pub const DRAIN_BOUND: Scenario = Scenario {
    about: "the same with a stream that does not end: it moves when its time is over, and after a crash of the control plane",
    run: bound,
    tools: NFT,
    nightly: true,
    ..Scenario::new("failover-drain-bound")
};

pub const DRAIN_FAULTS: Scenario = Scenario {
    about: "while flows stay in the tunnel, the primary's device is removed and made again, and the dataplane is killed",
    run: faults,
    tools: NFT,
    nightly: true,
    ..Scenario::new("failover-drain-faults")
};

/// A stream on which one byte goes to and fro, until it is dropped.
struct Stream<'scope> {
    exchanges: &'scope AtomicU32,
    stopped: &'scope AtomicBool,
}

#[derive(Default)]
struct Shared {
    exchanges: AtomicU32,
    stopped: AtomicBool,
}

impl Drop for Stream<'_> {
    fn drop(&mut self) {
        self.stopped.store(true, Ordering::Release);
    }
}

impl Stream<'_> {
    fn goes_on(&self) -> Result<(), LabError> {
        let before = self.exchanges.load(Ordering::Acquire);
        wait_for("the stream to go on", LIMIT, || {
            Ok((self.exchanges.load(Ordering::Acquire) > before + SOME).then_some(()))
        })
    }
}

fn connect(world: &World, port: u16) -> Result<(TcpStream, TcpStream), LabError> {
    let (lan, centre) = (&world.topology.branch_lan, &world.topology.centre_lan);
    let at = SocketAddr::new(CENTRE_LAN_HOST.parse().expect("an address"), port);
    let server = centre.run(|| TcpListener::bind(at))?;
    let client = lan.run(|| TcpStream::connect_timeout(&at, LIMIT))?;
    let accepted = server.accept().map_err(LabError::io("accept"))?.0;
    for stream in [&client, &accepted] {
        stream.set_read_timeout(Some(LIMIT)).map_err(LabError::io("TCP"))?;
        stream.set_nodelay(true).map_err(LabError::io("TCP"))?;
    }
    Ok((client, accepted))
}

fn exchange((client, server): &mut (TcpStream, TcpStream)) -> std::io::Result<()> {
    client.write_all(&[1])?;
    server.read_exact(&mut [0])?;
    server.write_all(&[2])?;
    client.read_exact(&mut [0])
}

/// Works while a stream on the port goes on.
fn with_stream(
    world: &mut World,
    port: u16,
    work: impl FnOnce(&mut World, Stream<'_>) -> Result<(), LabError>,
) -> Result<(), LabError> {
    let mut ends = connect(world, port)?;
    let shared = Shared::default();
    std::thread::scope(|scope| {
        let Shared { exchanges, stopped } = &shared;
        let stream = Stream { exchanges, stopped };
        let runner = scope.spawn(move || {
            while !stopped.load(Ordering::Acquire) {
                exchange(&mut ends)?;
                exchanges.fetch_add(1, Ordering::AcqRel);
                std::thread::sleep(PAUSE);
            }
            Ok::<_, std::io::Error>(())
        });
        let done = work(world, stream);
        let ran = runner.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        done.and(ran.map_err(LabError::io("the stream")))
    })
}

/// Counts what the primary's router forwards of each port.
fn count(router: &Namespace, ports: &[u16]) -> Result<(), LabError> {
    let mut rules = "table ip watch { ".to_owned();
    for port in ports {
        rules += &format!("counter p{port} {{ }}; ");
    }
    rules += "chain seen { type filter hook forward priority -5; ";
    for port in ports {
        rules += &format!("tcp dport {port} counter name p{port}; tcp sport {port} counter name p{port}; ");
    }
    run(router.command("nft").arg(rules + "}; }"))?;
    Ok(())
}

fn counted(router: &Namespace, port: u16) -> Result<u64, LabError> {
    let text = run(router.command("nft").args(["list", "counter", "ip", "watch", &format!("p{port}")]))?;
    let packets = text.split_whitespace().skip_while(|word| *word != "packets").nth(1);
    packets
        .and_then(|n| n.parse().ok())
        .ok_or_else(|| LabError::io("nft")(std::io::Error::other(text.clone())))
}

/// What `show ip route` says of flows that stay in the tunnel.
fn draining(world: &World) -> Result<Option<serde_json::Value>, LabError> {
    let routes = ask(world.branch.as_ref().expect("started"), &["show", "ip", "route"])?;
    let list = routes.as_array().into_iter().flatten();
    Ok(list.map(|prefix| prefix["draining"].clone()).find(|draining| !draining.is_null()))
}

/// Rules and routes of flows that stay.
fn steering(world: &World) -> Result<(bool, bool), LabError> {
    let branch = &world.topology.branch;
    let rules = run(branch.command("ip").args(["rule", "show"]))?;
    let table = run(branch.command("nft").args(["list", "ruleset"]))?;
    Ok((rules.contains("fwmark 0x10000000/0x10000000"), table.contains("jump steer")))
}

/// On the tunnel, because the primary is cut.
fn failed(context: &Context, tag: &str, failback: &str) -> Result<World, LabError> {
    let failback = format!("hold_s: 1, good_probes: 3, calls_per_hour: 60, drain: drain, {failback}");
    let setup = Setup { tag, failback: &failback, idle_s: 2, ..Setup::default() };
    let mut world = world_with(context.places.clone(), setup)?;
    world.topology.primary()?.set(Path::Cut)?;
    wait_primary(&mut world, false)?;
    ping_all(&world, &world.topology.branch_lan, CENTRE_LAN_HOST)?;
    Ok(world)
}

fn drain(context: &Context, tag: &str) -> Result<(), LabError> {
    const OLD: u16 = 7001;
    const NEW: u16 = 7002;
    let mut world = failed(context, tag, "drain_s: 120")?;
    count(world.topology.primary()?.router(), &[OLD, NEW])?;
    with_stream(&mut world, OLD, |world, stream| {
        stream.goes_on()?;
        world.topology.primary()?.set(Path::Good)?;
        wait_primary(world, true)?;
        let router = world.topology.primary()?.router();
        let shown = wait_for("`show ip route` to tell of the stream", LIMIT, || {
            Ok(draining(world)?.filter(|shown| shown["flows"].as_u64() > Some(0)))
        })?;
        ensure(shown["tunnel"] == "Tunnel1" && shown["failure"].is_null(), "its tunnel", || {
            shown.to_string()
        })?;
        stream.goes_on()?;
        let mut new = connect(world, NEW)?;
        exchange(&mut new).map_err(LabError::io("a new stream"))?;
        ensure_in(world, counted(router, NEW)? > 0, "a new stream takes the primary", String::new)?;
        stream.goes_on()?;
        let moved = counted(router, OLD)?;
        ensure_in(world, moved == 0, "the old one stays in the tunnel", || format!("{moved} packets"))?;
        ensure(steering(world)? == (true, true), "rules of the kernel", String::new)?;
        ensure_in(world, world.carrier.calls_up() == 1, "its call goes on", || world.carrier.bill_text())?;
        drop(stream);
        Ok(())
    })?;
    wait_for("the end of it", LIMIT, || Ok(draining(&world)?.is_none().then_some(())))?;
    world.wait_hung_up(LIMIT)?;
    wait_for("the kernel's rules to go", LIMIT, || Ok((steering(&world)? == (false, false)).then_some(())))?;
    ping_all(&world, &world.topology.branch_lan, CENTRE_LAN_HOST)?;
    ping_all(&world, &world.topology.centre_lan, BRANCH_LAN_HOST)?;
    let calls = world.carrier.calls();
    ensure_in(&world, calls == 1, "one call", || world.carrier.bill_text())?;
    no_clear_text(&world)?;
    world.check()
}

fn bound(context: &Context) -> Result<(), LabError> {
    const FIRST: u16 = 7003;
    const SECOND: u16 = 7004;
    let mut world = failed(context, "fodb", "drain_s: 4")?;
    count(world.topology.primary()?.router(), &[FIRST, SECOND])?;
    with_stream(&mut world, FIRST, |world, stream| {
        world.topology.primary()?.set(Path::Good)?;
        wait_primary(world, true)?;
        wait_for("the stream to move", LIMIT, || {
            Ok((counted(world.topology.primary()?.router(), FIRST)? > 0).then_some(()))
        })?;
        stream.goes_on()?;
        drop(stream);
        Ok(())
    })?;
    world.wait_hung_up(LIMIT)?;
    world.topology.primary()?.set(Path::Cut)?;
    wait_primary(&mut world, false)?;
    ping_all(&world, &world.topology.branch_lan, CENTRE_LAN_HOST)?;
    // Killed while flows stay: what is left of it ends with the deadline, or with the next start.
    with_stream(&mut world, SECOND, |world, stream| {
        world.topology.primary()?.set(Path::Good)?;
        wait_primary(world, true)?;
        let gateway = world.branch.as_mut().expect("started");
        gateway.controlplane().map(crate::lab::process::Process::kill);
        ensure(steering(world)? == (true, true), "the rules outlive the process", String::new)?;
        let gateway = world.branch.as_mut().expect("started");
        gateway.start_controlplane(&world.topology.branch)?;
        wait_for("the rules to go", LIMIT, || Ok((steering(world)? == (false, false)).then_some(())))?;
        wait_primary(world, true)?;
        stream.goes_on()?;
        let moved = counted(world.topology.primary()?.router(), SECOND)?;
        ensure_in(world, moved > 0, "the stream has moved", String::new)?;
        drop(stream);
        Ok(())
    })?;
    world.wait_hung_up(LIMIT)?;
    no_clear_text(&world)
}

fn faults(context: &Context) -> Result<(), LabError> {
    const PORT: u16 = 7005;
    let mut world = failed(context, "fodf", "drain_s: 120")?;
    count(world.topology.primary()?.router(), &[PORT])?;
    with_stream(&mut world, PORT, |world, stream| {
        world.topology.primary()?.set(Path::Good)?;
        wait_primary(world, true)?;
        stream.goes_on()?;
        world.topology.branch.ip(&["link", "del", PRIMARY_WAN])?;
        wait_primary(world, false)?;
        stream.goes_on()?;
        ensure(draining(world)?.is_none(), "all of it is in the tunnel again", String::new)?;
        world.topology.primary()?.rejoin_branch(&world.topology.branch)?;
        wait_primary(world, true)?;
        stream.goes_on()?;
        ensure(draining(world)?.is_some(), "it stays there once more", String::new)?;
        let moved = counted(world.topology.primary()?.router(), PORT)?;
        ensure_in(world, moved == 0, "it has never left", || format!("{moved} packets"))?;
        let calls = world.carrier.calls();
        ensure_in(world, calls == 1, "one call", || world.carrier.bill_text())?;
        // The call ends with its dataplane.
        let gateway = world.branch.as_mut().expect("started");
        gateway.dataplane().map(crate::lab::process::Process::kill);
        wait_for("the stream to move", LIMIT, || {
            Ok((counted(world.topology.primary()?.router(), PORT)? > 0).then_some(()))
        })?;
        stream.goes_on()?;
        drop(stream);
        Ok(())
    })?;
    no_clear_text(&world)
}
