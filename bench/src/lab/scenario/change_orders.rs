//! Changes in odd orders. Each ends in a state that is known, and is said.

use super::change::Profiles;
use super::support::{ask, both, ensure, no_clear_text, ping_all, wait_status};
use super::{Context, Scenario};
use crate::lab::carrier::Knobs;
use crate::lab::error::LabError;
use crate::lab::gateway::Gateway;
use crate::lab::interrupt::wait_for;
use crate::lab::process::Process;
use crate::lab::topology::CENTRE_LAN_HOST;
use crate::lab::world::{HEADEND_NUMBER, World};
use std::path::Path;
use std::time::Duration;

pub const ORDERS: Scenario = Scenario {
    about: "apply twice, within the time to confirm, of files that are gone, with a full disk, and a crash before the confirmation",
    nightly: true,
    run: orders,
    ..Scenario::new("change-orders")
};

/// No test waits for it.
const LONG_S: &str = "300";
const SHORT_S: &str = "10";
const HANG_UP_LIMIT: Duration = Duration::from_secs(30);

fn orders(context: &Context) -> Result<(), LabError> {
    let mut world = context.world("orders", Knobs::default())?;
    let headend = world.profile("headend")?;
    let profiles = Profiles::of_a_call(&mut world, headend)?;
    let gateway = both(&world).1;
    twice(gateway, &profiles)?;
    within_the_time(gateway, &profiles)?;
    back_and_back(gateway, &profiles)?;
    gone(gateway, &profiles)?;
    full_disk(gateway, &profiles)?;
    crash(&mut world, &profiles)?;
    // The call of the control plane that was killed is ended by the next one.
    world.wait_registered(&[HEADEND_NUMBER])?;
    world.wait_hung_up(HANG_UP_LIMIT)?;
    wait_status(&world, both(&world).0, HEADEND_NUMBER, "READY_TO_CONNECT")?;
    ping_all(&world, &world.topology.branch_lan, CENTRE_LAN_HOST)?;
    no_clear_text(&world)?;
    world.check()
}

/// A profile with another idle time, which ends no call.
fn idle(profiles: &Profiles, seconds: u32) -> Result<String, LabError> {
    profiles.write(&format!("idle-{seconds}.yaml"), |p| p.with("idle_s: 300", &format!("idle_s: {seconds}")))
}

fn in_force(gateway: &Gateway, file: &str) -> Result<(), LabError> {
    let diff = ask(gateway, &["diff", file])?;
    let same = diff["changes"].as_array().is_some_and(Vec::is_empty);
    ensure(same, "the profile in force", || format!("{file} differs: {diff:#}"))
}

/// The number in the history of the profile in force; none if it is not there.
fn number(gateway: &Gateway) -> Result<Option<u64>, LabError> {
    let history = ask(gateway, &["show", "configuration", "history"])?;
    let running = history.as_array().into_iter().flatten().find(|v| v["running"] == true);
    Ok(running.and_then(|v| v["number"].as_u64()))
}

fn refused(gateway: &Gateway, command: &[&str], words: &str) -> Result<(), LabError> {
    let said = gateway.cli(command).err().map(|e| e.to_string()).unwrap_or_default();
    ensure(said.contains(words), "a refusal that says why", || format!("{command:?}: {said}"))
}

/// The same profile again is no change.
fn twice(gateway: &Gateway, profiles: &Profiles) -> Result<(), LabError> {
    let file = idle(profiles, 301)?;
    for _ in 0..2 {
        let applied = ask(gateway, &["apply", &file])?;
        ensure(applied["number"] == 2 && applied["hung_up"] == 0, "one profile", || format!("{applied:#}"))?;
    }
    let applied = ask(gateway, &["apply", &file, "--confirm", LONG_S])?;
    ensure(applied["confirm_within_s"].is_null(), "nothing waits", || format!("{applied:#}"))?;
    refused(gateway, &["confirm"], "no change waits")?;
    in_force(gateway, &file)
}

/// While a change waits, no other comes; the one before can come back.
fn within_the_time(gateway: &Gateway, profiles: &Profiles) -> Result<(), LabError> {
    let (before, waits, other) = (idle(profiles, 301)?, idle(profiles, 302)?, idle(profiles, 303)?);
    ask(gateway, &["apply", &waits, "--confirm", LONG_S])?;
    for command in
        [&["apply", other.as_str()][..], &["apply", &waits], &["apply", &other, "--confirm", LONG_S]]
    {
        refused(gateway, command, "change 3 waits to be confirmed")?;
    }
    in_force(gateway, &waits)?;
    ask(gateway, &["rollback"])?;
    in_force(gateway, &before)?;
    refused(gateway, &["confirm"], "no change waits")?;
    ask(gateway, &["apply", &waits, "--confirm", LONG_S])?;
    ask(gateway, &["confirm"])?;
    in_force(gateway, &waits)?;
    refused(gateway, &["confirm"], "no change waits")
}

/// The profile before is the one that was in force, not the one whose number is the next below.
fn back_and_back(gateway: &Gateway, profiles: &Profiles) -> Result<(), LabError> {
    ask(gateway, &["rollback", "2"])?;
    ask(gateway, &["apply", &idle(profiles, 303)?])?;
    ensure(number(gateway)? == Some(5), "a new number", String::new)?;
    for before in [2, 1] {
        ask(gateway, &["rollback"])?;
        ensure(number(gateway)? == Some(before), "the profile before", || format!("not {before}"))?;
    }
    refused(gateway, &["rollback"], "no profile before this one")?;
    refused(gateway, &["rollback", "77"], "the history has no profile 77")
}

fn gone(gateway: &Gateway, profiles: &Profiles) -> Result<(), LabError> {
    let file = idle(profiles, 304)?;
    std::fs::remove_file(&file).map_err(LabError::io(file.clone()))?;
    refused(gateway, &["apply", &file], &file)?;
    refused(gateway, &["diff", &file], &file)?;
    let kept = history(gateway).join("000005.yaml");
    std::fs::remove_file(&kept).map_err(LabError::io(kept.display().to_string()))?;
    refused(gateway, &["rollback", "5"], "000005.yaml")?;
    ensure(number(gateway)? == Some(1), "what was in force", String::new)
}

fn history(gateway: &Gateway) -> std::path::PathBuf {
    gateway.dir().join("state/profiles")
}

/// Nothing can be written: a change is in force and not recorded, and can be taken back, confirmed and recorded.
fn full_disk(gateway: &Gateway, profiles: &Profiles) -> Result<(), LabError> {
    let start = profiles.write("same.yaml", Ok)?;
    let file = idle(profiles, 305)?;
    let fail = |path: &Path| LabError::io(path.display().to_string());
    // Directories stand where the files would be written.
    let in_the_way = ["000006.yaml.new", "index.json.new"].map(|name| history(gateway).join(name));
    in_the_way.iter().try_for_each(|path| std::fs::create_dir(path).map_err(fail(path)))?;
    let applied = ask(gateway, &["apply", &file])?;
    let told =
        applied["number"].is_null() && applied["warnings"].to_string().contains("a restart forgets it");
    ensure(told, "the change is not recorded", || format!("{applied:#}"))?;
    in_force(gateway, &file)?;
    ensure(number(gateway)?.is_none(), "it is none of the history", String::new)?;
    ask(gateway, &["rollback"])?;
    in_force(gateway, &start)?;
    let applied = ask(gateway, &["apply", &file, "--confirm", LONG_S])?;
    ensure(applied["confirm_within_s"].is_u64(), "it waits", || format!("{applied:#}"))?;
    refused(gateway, &["confirm"], "cannot be")?;
    // There is room again.
    in_the_way.iter().try_for_each(|path| std::fs::remove_dir(path).map_err(fail(path)))?;
    ask(gateway, &["confirm"])?;
    in_force(gateway, &file)?;
    ensure(number(gateway)?.is_some_and(|n| n > 5), "it is recorded", String::new)
}

/// The next control plane goes on waiting, and takes the change back.
fn crash(world: &mut World, profiles: &Profiles) -> Result<(), LabError> {
    let (before, waits) = (idle(profiles, 305)?, idle(profiles, 306)?);
    let headend = both(world).1;
    let known = number(headend)?;
    ask(headend, &["apply", &waits, "--confirm", SHORT_S])?;
    let headend = world.headend.as_mut().expect("started");
    headend.controlplane().map(Process::kill);
    headend.start_controlplane(&world.topology.headend)?;
    headend.wait_ready()?;
    wait_for("the profile before", Duration::from_secs(30), || {
        Ok((number(both(world).1)? == known).then_some(()))
    })?;
    in_force(both(world).1, &before)?;
    refused(both(world).1, &["confirm"], "no change waits")
}
