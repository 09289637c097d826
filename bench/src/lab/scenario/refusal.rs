//! Calls that fail, each with a reason that is shown and without a call left behind.

use super::{Context, Scenario, ensure};
use crate::lab::carrier::{Knobs, NumberKnobs, Reject};
use crate::lab::demo::logs;
use crate::lab::error::LabError;
use crate::lab::interrupt::wait_for;
use crate::lab::netns::run;
use crate::lab::topology::CENTRE_LAN_HOST;
use crate::lab::world::{BRANCH_NUMBER, HEADEND_NUMBER, World};
use std::time::Duration;

pub const BUSY: Scenario = Scenario {
    name: "busy",
    about: "486 from the called side is shown as the session's failure",
    gateways: true,
    run: busy,
};

pub const UNKNOWN_NUMBER: Scenario = Scenario {
    name: "not-registered",
    about: "480 for a peer that is not registered is shown",
    gateways: true,
    run: not_registered,
};

pub const WRONG_PSK: Scenario = Scenario {
    name: "wrong-psk",
    about: "different keys end in a hung-up call and a reason, and nothing passes",
    gateways: true,
    run: wrong_psk,
};

/// One ping that must not be answered; then the reason that `show` gives, and no call left.
fn fails(world: &mut World, words: &[&str]) -> Result<(), LabError> {
    let ping = run(world.topology.branch_lan.command("ping").args(["-c", "1", "-W", "2", CENTRE_LAN_HOST]));
    ensure(ping.is_err(), "the ping was answered", || logs(world))?;
    world.wait_hung_up(Duration::from_secs(30))?;
    let branch = world.branch.as_ref().expect("started");
    let mut shown = String::new();
    let found = wait_for("a reason in `show vpn-sip session detail`", Duration::from_secs(5), || {
        shown = branch.cli(&["show", "vpn-sip", "session", "detail"])?;
        let text = shown.to_ascii_lowercase();
        Ok(words.iter().any(|w| text.contains(&w.to_ascii_lowercase())).then_some(()))
    });
    found.map_err(|e| LabError::failed(format!("{e}: none of {words:?}"), shown + &logs(world)))
}

fn busy(context: &Context) -> Result<(), LabError> {
    let mut knobs = Knobs::default();
    let busy = NumberKnobs { reject: Some(Reject::busy()), ..NumberKnobs::default() };
    knobs.numbers.insert(HEADEND_NUMBER.into(), busy);
    let mut world = context.world("busy", knobs)?;
    world.start_gateways()?;
    fails(&mut world, &["486", "busy"])
}

fn not_registered(context: &Context) -> Result<(), LabError> {
    let mut world = context.world("absent", Knobs::default())?;
    let branch = world.profile("branch")?;
    world.start_branch(&branch)?;
    world.wait_registered(&[BRANCH_NUMBER])?;
    fails(&mut world, &["480", "unavailable"])
}

fn wrong_psk(context: &Context) -> Result<(), LabError> {
    let mut world = context.world("psk", Knobs::default())?;
    let headend = world
        .profile("headend")?
        .with("lab-only-3f9d1c7a5be04826d1907cf2a4e86b53", "lab-only-00000000000000000000000000000001")?;
    let branch = world.profile("branch")?;
    world.start_headend(&headend)?;
    world.start_branch(&branch)?;
    world.wait_registered(&[BRANCH_NUMBER, HEADEND_NUMBER])?;
    fails(&mut world, &["authentication", "fingerprint", "psk", "pre-shared", "488"])?;
    let esp = world.tally.esp.load(std::sync::atomic::Ordering::Relaxed);
    ensure(esp == 0, "ESP passed between gateways that do not share a key", || esp.to_string())
}
