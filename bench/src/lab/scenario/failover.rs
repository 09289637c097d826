//! The primary fails: the tunnel takes over, and hands back.

use super::support::{both, calls, ensure, ensure_in, no_clear_text, ping_all};
use super::{Context, Scenario};
use crate::lab::error::LabError;
use crate::lab::failover::{on_primary, wait_primary, world};
use crate::lab::interrupt::wait_for;
use crate::lab::primary::{PRIMARY_WAN, Path};
use crate::lab::probe::{Receiver, Sender};
use crate::lab::topology::CENTRE_LAN_HOST;
use crate::lab::world::World;
use std::time::{Duration, Instant};

const NFT: &[(&str, &str)] = &[("nft", "nftables")];
const FAILBACK: &str = "hold_s: 1, good_probes: 3, calls_per_hour: 60";
const HANG_UP_LIMIT: Duration = Duration::from_secs(15);

pub const FAILOVER: Scenario = Scenario {
    about: "the primary is cut: the tunnel takes over, hands back, and its call ends by idle",
    run: |context| failover(context, "fo", Path::Cut),
    tools: NFT,
    ..Scenario::new("failover")
};

pub const LOSSY: Scenario = Scenario {
    about: "the same with a primary that loses 95 of 100 packets",
    run: |context| failover(context, "folo", Path::Lossy(95)),
    tools: NFT,
    nightly: true,
    ..Scenario::new("failover-lossy")
};

pub const ONE_WAY: Scenario = Scenario {
    about: "the same with a primary that carries one direction alone",
    run: |context| failover(context, "foow", Path::OneWay),
    tools: NFT,
    nightly: true,
    ..Scenario::new("failover-one-way")
};

pub const FLAP: Scenario = Scenario {
    about: "a primary that flaps causes no more calls than the profile allows in an hour",
    run: flap,
    tools: NFT,
    ..Scenario::new("failover-flap")
};

pub const CRASH: Scenario = Scenario {
    about: "the control plane is killed while it fails over; the next one finishes, and hands back",
    run: crash,
    tools: NFT,
    ..Scenario::new("failover-crash")
};

pub const DEVICE: Scenario = Scenario {
    about: "the primary's device is removed and made again: the tunnel takes over, and hands back",
    run: device,
    tools: NFT,
    ..Scenario::new("failover-device")
};

/// Numbered packets from before a failure until the tunnel carries them.
fn through(world: &mut World, path: Path) -> Result<(), LabError> {
    const PACKETS: u32 = 200;
    const BEFORE: u32 = 20;
    const GAP: Duration = Duration::from_millis(10);
    let receiver = Receiver::new(&world.topology.centre_lan)?;
    let sender = Sender::new(&world.topology.branch_lan, CENTRE_LAN_HOST)?;
    let arrived = std::thread::scope(|scope| {
        let reader = scope.spawn(|| receiver.take(0, PACKETS, GAP * PACKETS + Duration::from_secs(2)));
        for number in 0..PACKETS {
            if number == BEFORE {
                world.topology.primary()?.set(path)?;
            }
            sender.send(0, number)?;
            std::thread::sleep(GAP);
        }
        reader.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })?;
    let last = arrived.iter().map(|(probe, _)| probe.number).max();
    ensure_in(world, last == Some(PACKETS - 1), "the last packet arrives by the tunnel", || {
        format!("{} of {PACKETS} arrived, the last is {last:?}", arrived.len())
    })?;
    wait_primary(world, false)
}

fn failover(context: &Context, tag: &str, path: Path) -> Result<(), LabError> {
    let mut world = world(context.places.clone(), tag, FAILBACK, 1)?;
    ping_all(&world, &world.topology.branch_lan, CENTRE_LAN_HOST)?;
    ensure_in(&world, world.carrier.calls() == 0, "the primary needs no call", || world.carrier.bill_text())?;
    through(&mut world, path)?;
    let track = both(&world).0.cli(&["show", "track"])?;
    ensure(track.contains("Reachability is Down"), "show track tells it", || track.clone())?;
    world.topology.primary()?.set(Path::Good)?;
    wait_primary(&mut world, true)?;
    ping_all(&world, &world.topology.branch_lan, CENTRE_LAN_HOST)?;
    world.wait_hung_up(HANG_UP_LIMIT)?;
    let bill = calls(&world.carrier);
    ensure_in(&world, bill.len() == 1 && bill[0]["byes"] == 1, "one call, which ends once", || {
        world.carrier.bill_text()
    })?;
    // What the primary carried is in clear on the primary alone.
    no_clear_text(&world)?;
    world.check()
}

fn flap(context: &Context) -> Result<(), LabError> {
    const CALLS: usize = 2;
    let failback = format!("hold_s: 0, good_probes: 1, calls_per_hour: {CALLS}");
    let mut world = world(context.places.clone(), "flap", &failback, 1)?;
    // Without it each packet would be answered with an ICMP error.
    let _receiver = Receiver::new(&world.topology.centre_lan)?;
    let sender = Sender::new(&world.topology.branch_lan, CENTRE_LAN_HOST)?;
    let end = Instant::now() + Duration::from_secs(10);
    let mut number = 0;
    // Down for 1 s, up for 1 s, with traffic all the time.
    for path in [Path::Cut, Path::Good].into_iter().cycle().take_while(|_| Instant::now() < end) {
        world.topology.primary()?.set(path)?;
        let next = Instant::now() + Duration::from_secs(1);
        while Instant::now() < next {
            sender.send(0, number)?;
            number += 1;
            std::thread::sleep(Duration::from_millis(20));
        }
        world.check()?;
    }
    let made = world.carrier.calls();
    ensure_in(&world, (1..=CALLS).contains(&made), "the calls are bounded", || {
        format!("{made} calls\n{}", world.carrier.bill_text())
    })?;
    no_clear_text(&world)
}

fn crash(context: &Context) -> Result<(), LabError> {
    let mut world = world(context.places.clone(), "focr", FAILBACK, 1)?;
    let receiver = Receiver::new(&world.topology.centre_lan)?;
    let sender = Sender::new(&world.topology.branch_lan, CENTRE_LAN_HOST)?;
    world.topology.primary()?.set(Path::Cut)?;
    let mut number = 0;
    let branch = world.branch.as_ref().expect("started");
    // Killed as soon as its route has left the primary: the call is being placed.
    wait_for("the failover", HANG_UP_LIMIT, || {
        sender.send(0, number)?;
        number += 1;
        Ok((on_primary(branch)? == Some(false)).then_some(()))
    })?;
    let branch = world.branch.as_mut().expect("started");
    branch.controlplane().map(crate::lab::process::Process::kill);
    no_clear_text(&world)?;
    let branch = world.branch.as_mut().expect("started");
    branch.start_controlplane(&world.topology.branch)?;
    wait_for("packets by the tunnel", Duration::from_secs(20), || {
        sender.send(1, number)?;
        number += 1;
        Ok((!receiver.take(1, 1, Duration::from_millis(50))?.is_empty()).then_some(()))
    })?;
    no_clear_text(&world)?;
    world.topology.primary()?.set(Path::Good)?;
    wait_primary(&mut world, true)?;
    ping_all(&world, &world.topology.branch_lan, CENTRE_LAN_HOST)?;
    world.wait_hung_up(HANG_UP_LIMIT)?;
    no_clear_text(&world)
}

fn device(context: &Context) -> Result<(), LabError> {
    let mut world = world(context.places.clone(), "fodev", FAILBACK, 1)?;
    ping_all(&world, &world.topology.branch_lan, CENTRE_LAN_HOST)?;
    world.topology.branch.ip(&["link", "del", PRIMARY_WAN])?;
    wait_primary(&mut world, false)?;
    ping_all(&world, &world.topology.branch_lan, CENTRE_LAN_HOST)?;
    world.topology.primary()?.rejoin_branch(&world.topology.branch)?;
    wait_primary(&mut world, true)?;
    ping_all(&world, &world.topology.branch_lan, CENTRE_LAN_HOST)?;
    world.wait_hung_up(HANG_UP_LIMIT)?;
    no_clear_text(&world)?;
    world.check()
}
