//! A branch and a head-end with a primary path and the tunnel as its backup.

use super::carrier::{Knobs, NumberKnobs};
use super::error::LabError;
use super::gateway::Gateway;
use super::interrupt::wait_for;
use super::netns::{Namespace, run};
use super::primary::{BRANCH_PRIMARY, BRANCH_SIDE, HEADEND_PRIMARY, HEADEND_SIDE, PRIMARY_WAN, policy};
use super::profile::Profile;
use super::topology::{
    BRANCH_PREFIX, CARRIER_BRANCH_SIDE, CARRIER_HEADEND_SIDE, CENTRE_PREFIX, LAN, Options, Topology, WAN,
};
use super::world::{BRANCH_NUMBER, HEADEND_NUMBER, Places, World};
use serde_json::Value;
use std::time::Duration;

/// How long a carrier took to answer on a real line.
pub const ANSWER_AFTER: Duration = Duration::from_millis(361);
/// A gateway sees the end of a failure, holds and returns.
const RETURN_LIMIT: Duration = Duration::from_secs(15);

/// What a lab with a primary differs in.
#[derive(Clone, Copy, Debug, Default)]
pub struct Setup<'a> {
    pub tag: &'a str,
    /// Keys of `failback`.
    pub failback: &'a str,
    /// Of the branch's tunnel.
    pub idle_s: u32,
    pub router_mode: bool,
    /// The carrier's line and the primary have tables of their own.
    pub tables: bool,
    /// Texts of the branch's profile, and what stands in their places.
    pub branch: &'a [(&'a str, &'a str)],
}

/// A network whose carrier answers after [`ANSWER_AFTER`], and both gateways on their primaries.
pub fn world(places: Places, tag: &str, failback: &str, idle_s: u32) -> Result<World, LabError> {
    world_with(places, Setup { tag, failback, idle_s, ..Setup::default() })
}

pub fn world_with(places: Places, setup: Setup<'_>) -> Result<World, LabError> {
    let Setup { tag, router_mode, .. } = setup;
    let held = NumberKnobs { delay: ANSWER_AFTER, ..NumberKnobs::default() };
    let numbers = [BRANCH_NUMBER, HEADEND_NUMBER].map(|n| (n.to_owned(), held.clone()));
    let options = Options { tag: tag.into(), primary: true, router_mode, ..Options::default() };
    let mut world = World::up(places, options, Knobs { numbers: numbers.into(), ..Knobs::default() })?;
    if setup.tables {
        let Topology { branch, headend, .. } = &world.topology;
        tables(branch, BRANCH_PRIMARY, CARRIER_BRANCH_SIDE)?;
        tables(headend, HEADEND_PRIMARY, CARRIER_HEADEND_SIDE)?;
    }
    start(&mut world, setup)?;
    Ok(world)
}

/// The primary's table: a number that does not fit the header of a route's message. And the carrier's.
const PRIMARY_TABLE: &str = "1010";
const CARRIER_TABLE: &str = "20";

/// Gives each line of a gateway a table of its own, as a VRF has it: by rules, because not every kernel has VRF devices. The main
/// table has no route over these lines any more, except to their own networks.
fn tables(gateway: &Namespace, address: &str, carrier: &str) -> Result<(), LabError> {
    for (table, device) in [(PRIMARY_TABLE, PRIMARY_WAN), (CARRIER_TABLE, WAN)] {
        for end in ["iif", "oif"] {
            gateway.ip(&["rule", "add", end, device, "lookup", table])?;
        }
        gateway.ip(&["route", "flush", "proto", "boot", "dev", device])?;
    }
    // The kernel's own answers to probes, which no socket binds to a device.
    gateway.ip(&["rule", "add", "from", address, "lookup", PRIMARY_TABLE])?;
    gateway.ip(&["route", "add", "default", "via", carrier, "dev", WAN, "table", CARRIER_TABLE])
}

/// Routes of the primary's table: to the other end's primary, which is probed, and back to the LAN.
fn table_routes(far: &str, via: &str, lan: &str) -> String {
    format!(
        "  - {{ prefix: {far}, via: {via}, device: {PRIMARY_WAN}, table: {PRIMARY_TABLE} }}\n\
         \x20 - {{ prefix: {lan}, device: {LAN}, table: {PRIMARY_TABLE} }}\nfailback:"
    )
}

/// The profile with the LAN device as inside, and the LAN's only host as its router.
pub fn router(world: &World, gateway: &'static str, lan: &Namespace) -> Result<Profile, LabError> {
    let mac = run(lan.command("cat").arg("/sys/class/net/eth0/address"))?;
    let inside = format!("{{ mode: router, device: lan0, next_hop: \"{}\" }}", mac.trim());
    world.profile(gateway)?.with("{ mode: host, device: svti0 }", &inside)
}

fn start(world: &mut World, setup: Setup<'_>) -> Result<(), LabError> {
    let Setup { failback, idle_s, router_mode, tables, branch: texts, .. } = setup;
    let profile = |gateway, lan| match router_mode {
        true => router(world, gateway, lan),
        false => world.profile(gateway),
    };
    let mut branch = profile("branch", &world.topology.branch_lan)?
        .with("routes: [10.2.0.0/16]", "routes: [{ prefix: 10.2.0.0/16, distance: 250 }]")?
        .with("idle_s: 5", &format!("idle_s: {idle_s}"))?
        .with("dataplane:\n", &(policy(true, failback) + "dataplane:\n"))?;
    for (text, by) in texts {
        branch = branch.with(text, by)?;
    }
    let mut headend = profile("headend", &world.topology.centre_lan)?
        .with("routes: [10.1.0.0/16]", "routes: [{ prefix: 10.1.0.0/16, distance: 250 }]")?
        .with("dataplane:\n", &(policy(false, failback) + "dataplane:\n"))?;
    if tables {
        let (near, far) = ("172.20.0.0/24", "172.21.0.0/24");
        branch = branch.with("failback:", &table_routes(far, BRANCH_SIDE, BRANCH_PREFIX))?;
        headend = headend.with("failback:", &table_routes(near, HEADEND_SIDE, CENTRE_PREFIX))?;
    }
    world.start_headend(&headend)?;
    world.start_branch(&branch)?;
    world.wait_registered(&[BRANCH_NUMBER, HEADEND_NUMBER])?;
    wait_primary(world, true)
}

/// Until both gateways send by the primary, or by the tunnel.
pub fn wait_primary(world: &mut World, primary: bool) -> Result<(), LabError> {
    for gateway in [&mut world.branch, &mut world.headend].into_iter().flatten() {
        let what = if primary { "the primary's route" } else { "the tunnel's route" };
        wait_for(&format!("{what} at the {}", gateway.name), RETURN_LIMIT, || {
            gateway.check()?;
            Ok((on_primary(gateway)? == Some(primary)).then_some(()))
        })?;
    }
    Ok(())
}

/// Where the best route of the watched prefix leads; `None` while there is none.
pub fn on_primary(gateway: &Gateway) -> Result<Option<bool>, LabError> {
    let answer: Value =
        serde_json::from_str(&gateway.cli(&["--json", "show", "ip", "route"])?).unwrap_or_default();
    let candidates = answer["data"].as_array().into_iter().flatten().flat_map(|prefix| {
        let ours = prefix["candidates"].as_array().is_some_and(|list| list.len() > 1);
        prefix["candidates"].as_array().filter(|_| ours).into_iter().flatten()
    });
    Ok(candidates.into_iter().find(|c| c["best"] == true).map(|best| best["tunnel"].is_null()))
}
