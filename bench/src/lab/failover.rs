//! A branch and a head-end with a primary path and the tunnel as its backup.

use super::carrier::{Knobs, NumberKnobs};
use super::error::LabError;
use super::gateway::Gateway;
use super::interrupt::wait_for;
use super::netns::{Namespace, run};
use super::primary::policy;
use super::profile::Profile;
use super::topology::Options;
use super::world::{BRANCH_NUMBER, HEADEND_NUMBER, Places, World};
use serde_json::Value;
use std::time::Duration;

/// How long a carrier took to answer on a real line.
pub const ANSWER_AFTER: Duration = Duration::from_millis(361);
/// A gateway sees the end of a failure, holds and returns.
const RETURN_LIMIT: Duration = Duration::from_secs(15);

/// What a lab with a primary differs in.
#[derive(Clone, Copy, Debug)]
pub struct Setup<'a> {
    pub tag: &'a str,
    /// Keys of `failback`.
    pub failback: &'a str,
    /// Of the branch's tunnel.
    pub idle_s: u32,
    pub router_mode: bool,
    /// Texts of the branch's profile, and what stands in their places.
    pub branch: &'a [(&'a str, &'a str)],
}

/// A network whose carrier answers after [`ANSWER_AFTER`], and both gateways on their primaries.
pub fn world(places: Places, tag: &str, failback: &str, idle_s: u32) -> Result<World, LabError> {
    world_with(places, Setup { tag, failback, idle_s, router_mode: false, branch: &[] })
}

pub fn world_with(places: Places, setup: Setup<'_>) -> Result<World, LabError> {
    let Setup { tag, router_mode, .. } = setup;
    let held = NumberKnobs { delay: ANSWER_AFTER, ..NumberKnobs::default() };
    let numbers = [BRANCH_NUMBER, HEADEND_NUMBER].map(|n| (n.to_owned(), held.clone()));
    let options = Options { tag: tag.into(), primary: true, router_mode, ..Options::default() };
    let mut world = World::up(places, options, Knobs { numbers: numbers.into(), ..Knobs::default() })?;
    start(&mut world, setup)?;
    Ok(world)
}

/// The profile with the LAN device as inside, and the LAN's only host as its router.
pub fn router(world: &World, gateway: &'static str, lan: &Namespace) -> Result<Profile, LabError> {
    let mac = run(lan.command("cat").arg("/sys/class/net/eth0/address"))?;
    let inside = format!("{{ mode: router, device: lan0, next_hop: \"{}\" }}", mac.trim());
    world.profile(gateway)?.with("{ mode: host, device: svti0 }", &inside)
}

fn start(world: &mut World, setup: Setup<'_>) -> Result<(), LabError> {
    let Setup { failback, idle_s, router_mode, branch: texts, .. } = setup;
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
    let headend = profile("headend", &world.topology.centre_lan)?
        .with("routes: [10.1.0.0/16]", "routes: [{ prefix: 10.1.0.0/16, distance: 250 }]")?
        .with("dataplane:\n", &(policy(false, failback) + "dataplane:\n"))?;
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
