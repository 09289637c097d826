//! Router mode with routes of another program.

use super::support::{ask, both, calls, ensure_in, no_clear_text, ping_all};
use super::{Context, Scenario};
use crate::lab::carrier::Knobs;
use crate::lab::error::LabError;
use crate::lab::failover::router;
use crate::lab::interrupt::wait_for;
use crate::lab::netns::Namespace;
use crate::lab::primary::{BRANCH_SIDE, HEADEND_SIDE, PRIMARY_WAN};
use crate::lab::topology::{CENTRE_LAN_HOST, Options, Topology};
use crate::lab::world::{BRANCH_NUMBER, HEADEND_NUMBER, World};
use std::time::Duration;

const IDLE_S: u32 = 2;
const HANG_UP_LIMIT: Duration = Duration::from_secs(15);

pub const FOREIGN: Scenario = Scenario {
    about: "router mode with a primary that is another program's route: packets follow it, and the tunnel while it is away; the same for a longer prefix inside the tunnel's",
    run: foreign,
    ..Scenario::new("failover-foreign")
};

fn foreign(context: &Context) -> Result<(), LabError> {
    let options = Options { tag: "fofor".into(), primary: true, router_mode: true, ..Options::default() };
    let mut world = World::up(context.places.clone(), options, Knobs::default())?;
    let routes = |world: &World, verb: &str, len: &str| {
        let Topology { branch, headend, .. } = &world.topology;
        for (gateway, to, via) in [(branch, "10.2.0.0", BRANCH_SIDE), (headend, "10.1.0.0", HEADEND_SIDE)] {
            let to = format!("{to}/{len}");
            gateway.ip(&["route", verb, &to, "via", via, "dev", PRIMARY_WAN, "metric", "20"])?;
        }
        Ok::<_, LabError>(())
    };
    let primaries = |world: &World, verb: &str| routes(world, verb, "16");
    primaries(&world, "add")?;
    let backup = |gateway, lan: &Namespace, to: &str| {
        let floating = format!("routes: [{{ prefix: {to}, distance: 250 }}]");
        router(&world, gateway, lan)?.with(&format!("routes: [{to}]"), &floating)
    };
    let branch = backup("branch", &world.topology.branch_lan, "10.2.0.0/16")?;
    let branch = branch.with("idle_s: 5", &format!("idle_s: {IDLE_S}"))?;
    let headend = backup("headend", &world.topology.centre_lan, "10.1.0.0/16")?;
    world.start_headend(&headend)?;
    world.start_branch(&branch)?;
    world.wait_registered(&[BRANCH_NUMBER, HEADEND_NUMBER])?;
    let wait_used = |world: &World, used: bool| {
        wait_for("the kernel's route to be used, or not", HANG_UP_LIMIT, || {
            let both = both(world);
            for gateway in [both.0, both.1] {
                if ask(gateway, &["show", "ip", "route"])?[0]["foreign_used"] != used {
                    return Ok(None);
                }
            }
            Ok(Some(()))
        })
    };
    wait_used(&world, true)?;
    ping_all(&world, &world.topology.branch_lan, CENTRE_LAN_HOST)?;
    ensure_in(&world, world.carrier.calls() == 0, "the primary needs no call", || world.carrier.bill_text())?;
    primaries(&world, "del")?;
    wait_used(&world, false)?;
    ping_all(&world, &world.topology.branch_lan, CENTRE_LAN_HOST)?;
    ensure_in(&world, world.carrier.calls_up() == 1, "the tunnel stands in", || world.carrier.bill_text())?;
    primaries(&world, "add")?;
    wait_used(&world, true)?;
    ping_all(&world, &world.topology.branch_lan, CENTRE_LAN_HOST)?;
    world.wait_hung_up(HANG_UP_LIMIT)?;
    ensure_in(&world, calls(&world.carrier).len() == 1, "one call", || world.carrier.bill_text())?;
    // A longer prefix inside the tunnel's takes its part, and the tunnel has it again afterwards.
    primaries(&world, "del")?;
    wait_used(&world, false)?;
    let wait_part = |world: &World, used: bool| {
        wait_for("the part to be the kernel's, or not", HANG_UP_LIMIT, || {
            let both = both(world);
            for (gateway, part) in [(both.0, "10.2.0.0/24"), (both.1, "10.1.0.0/24")] {
                let routes = ask(gateway, &["show", "ip", "route"])?;
                let is = |r: &serde_json::Value| r["prefix"] == part && r["foreign_used"] == true;
                if routes.as_array().is_some_and(|list| list.iter().any(is)) != used {
                    return Ok(None);
                }
            }
            Ok(Some(()))
        })
    };
    routes(&world, "add", "24")?;
    wait_part(&world, true)?;
    wait_for("packets by the longer prefix", HANG_UP_LIMIT, || {
        Ok(ping_all(&world, &world.topology.branch_lan, CENTRE_LAN_HOST).ok())
    })?;
    ensure_in(&world, calls(&world.carrier).len() == 1, "it needs no call", || world.carrier.bill_text())?;
    routes(&world, "del", "24")?;
    wait_part(&world, false)?;
    ping_all(&world, &world.topology.branch_lan, CENTRE_LAN_HOST)?;
    ensure_in(&world, world.carrier.calls() == 2, "the tunnel has it again", || world.carrier.bill_text())?;
    no_clear_text(&world)?;
    world.check()
}
