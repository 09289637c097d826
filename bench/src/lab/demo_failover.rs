//! The primary is cut; this shows how the tunnel takes over and hands back.

use super::clock;
use super::demo::{commands, finish, logs, title};
use super::error::LabError;
use super::failover::{wait_primary, world};
use super::interrupt::check;
use super::primary::Path;
use super::probe::{Receiver, Sender};
use super::topology::CENTRE_LAN_HOST;
use super::world::{Places, World};
use std::io::IsTerminal as _;
use std::time::Duration;

const FAILBACK: &str = "hold_s: 2, good_probes: 5, calls_per_hour: 6";
const GAP: Duration = Duration::from_millis(10);
const PACKETS: u32 = 200;
const BEFORE: u32 = 20;
const IDLE_LIMIT: Duration = Duration::from_secs(20);
const SHOWS: [(bool, &[&str]); 2] = [(true, &["show", "track"]), (true, &["show", "ip", "route"])];
const SHOWS_OF_CALL: [(bool, &[&str]); 2] =
    [(true, &["show", "ip", "sla", "statistics"]), (true, &["show", "vpn-sip", "session", "brief"])];

pub fn demo(places: Places, keep: bool) -> Result<(), LabError> {
    let color = std::io::stdout().is_terminal();
    title(color, "network namespaces, carrier, gateways, and a primary path beside the carrier");
    finish(world(places, "", FAILBACK, 3)?, keep, |world| show(world, color))
}

fn show(world: &mut World, color: bool) -> Result<(), LabError> {
    title(color, "the primary carries the traffic; the tunnel has no call");
    commands(world, &SHOWS, color)?;
    title(
        color,
        &format!("a packet every {} ms to {CENTRE_LAN_HOST}; then the primary is cut", GAP.as_millis()),
    );
    cut(world)?;
    wait_primary(world, false)?;
    commands(world, &SHOWS, color)?;
    commands(world, &SHOWS_OF_CALL, color)?;
    check()?;
    title(color, "the primary is back: five good probes and 2 s later the traffic returns");
    world.topology.primary()?.set(Path::Good)?;
    wait_primary(world, true)?;
    commands(world, &SHOWS, color)?;
    title(color, "idle: the call ends");
    world.wait_hung_up(IDLE_LIMIT)?;
    say!("{}", world.carrier.bill_text().trim_end());
    let clear = world.tally.clear_text.load(std::sync::atomic::Ordering::Relaxed);
    say!("the carrier's lines carried {clear} packets in clear");
    Ok(())
}

fn cut(world: &World) -> Result<(), LabError> {
    let receiver = Receiver::new(&world.topology.centre_lan)?;
    let sender = Sender::new(&world.topology.branch_lan, CENTRE_LAN_HOST)?;
    let (cut_at, arrived) = std::thread::scope(|scope| {
        let reader = scope.spawn(|| receiver.take(0, PACKETS, GAP * PACKETS + Duration::from_secs(2)));
        let mut cut_at = clock::now();
        for number in 0..PACKETS {
            if number == BEFORE {
                world.topology.primary()?.set(Path::Cut)?;
                cut_at = clock::now();
            }
            sender.send(0, number)?;
            std::thread::sleep(GAP);
        }
        let arrived = reader.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))?;
        Ok::<_, LabError>((cut_at, arrived))
    })?;
    let first = arrived.iter().filter(|(probe, _)| probe.departed >= cut_at).map(|(_, at)| *at).min();
    match first {
        Some(at) => {
            let took = at.saturating_duration_since(cut_at).as_millis();
            say!("    {took} ms from the cut to the first packet by the tunnel, the call included");
            say!("    {} of {PACKETS} packets arrived", arrived.len());
            Ok(())
        }
        None => Err(LabError::failed("no packet arrived after the cut", logs(world))),
    }
}
