//! Router mode: XDP on the LAN device takes what is for a tunnel; the kernel keeps the rest.

use super::support::{both, calls, ensure, ensure_in, no_clear_text, ping_all, ping_unanswered};
use super::{Context, Scenario};
use crate::lab::carrier::Knobs;
use crate::lab::error::LabError;
use crate::lab::failover::router;
use crate::lab::netns::run;
use crate::lab::topology::{BRANCH_LAN_HOST, CARRIER_BRANCH_SIDE, CENTRE_LAN_HOST, Options};
use crate::lab::world::{BRANCH_NUMBER, HEADEND_NUMBER, World};
use std::time::Duration;

pub const FIRST_PACKET: Scenario = Scenario {
    about: "the first packet in router mode; other traffic passes; a killed dataplane leaks nothing",
    run: first_packet,
    ..Scenario::new("router-mode")
};

fn first_packet(context: &Context) -> Result<(), LabError> {
    let options = Options { tag: "router".into(), router_mode: true, ..Options::default() };
    let mut world = World::up(context.places.clone(), options, Knobs::default())?;
    let branch = router(&world, "branch", &world.topology.branch_lan)?;
    let headend = router(&world, "headend", &world.topology.centre_lan)?;
    world.start_headend(&headend)?;
    world.start_branch(&branch)?;
    world.wait_registered(&[BRANCH_NUMBER, HEADEND_NUMBER])?;
    // What is not for a tunnel goes its way: here to the gateway itself.
    run(world.topology.branch_lan.command("ping").args(["-c", "1", "-W", "2", "10.1.0.1"]))?;
    ping_all(&world, &world.topology.branch_lan, CENTRE_LAN_HOST)?;
    let (branch, _) = both(&world);
    let routes = super::support::ask(branch, &["show", "control"])?["routes"].take();
    ensure(routes.as_object().is_none_or(serde_json::Map::is_empty), "no kernel route", || {
        routes.to_string()
    })?;
    no_clear_text(&world)?;
    world.wait_hung_up(Duration::from_secs(40))?;
    ping_all(&world, &world.topology.centre_lan, BRANCH_LAN_HOST)?;
    ensure_in(&world, calls(&world.carrier).len() == 2, "two calls", || world.carrier.bill_text())?;

    // The kernel would route what XDP no longer takes, by its default route to the carrier.
    let gateway = world.branch.as_mut().expect("started");
    gateway.dataplane().map(crate::lab::process::Process::kill);
    ping_unanswered(&world, &world.topology.branch_lan, CENTRE_LAN_HOST)?;
    world.wait_hung_up(Duration::from_secs(10))?;
    ping_unanswered(&world, &world.topology.branch_lan, CENTRE_LAN_HOST)?;
    no_clear_text(&world)?;
    let reachable =
        run(world.topology.branch.command("ping").args(["-c", "1", "-W", "2", CARRIER_BRANCH_SIDE]));
    ensure(reachable.is_ok(), "the kernel still has its WAN", String::new)
}
