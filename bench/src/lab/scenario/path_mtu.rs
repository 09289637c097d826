//! A link of the carrier that is narrower than the access lines: outer packets are cut there, or an ICMP error names it.

use super::support::{ask, ensure_in, no_clear_text, session};
use super::{Context, Scenario};
use crate::lab::carrier::Knobs;
use crate::lab::drops::protocol_counter;
use crate::lab::error::LabError;
use crate::lab::gateway::Gateway;
use crate::lab::interrupt::wait_for;
use crate::lab::topology::{CENTRE_LAN_HOST, HEADEND_WAN, TO_HEADEND};
use crate::lab::world::{BRANCH_NUMBER, HEADEND_NUMBER, World};
use std::time::Duration;

pub const PATH_MTU: Scenario = Scenario {
    about: "a narrow link: fragments of ESP are put together, and its ICMP error reaches the inner sender",
    run: path_mtu,
    ..Scenario::new("path-mtu")
};

/// Of the link, and what it leaves inside with AES-GCM between IPv4 addresses.
const NARROW: &str = "1400";
const INSIDE: u64 = 1338;
/// With 28 bytes of headers, 62 of ESP in UDP: 1490 outside.
const LARGE: &str = "1400";

fn path_mtu(context: &Context) -> Result<(), LabError> {
    let mut world = context.world("pmtu", Knobs::default())?;
    // Of the route and not of the device: a veth drops what is longer than its own MTU, in the other direction, too.
    let narrow = ["route", "add", HEADEND_WAN, "dev", TO_HEADEND, "mtu", "lock", NARROW];
    world.topology.carrier.ip(&narrow)?;
    let branch = world
        .profile("branch")?
        .with("outside: { device: wan0 }", "outside: { device: wan0, dont_fragment: copy }")?
        // A probe would find the narrow link before the packets do.
        .with("idle_s: 5", "idle_s: 60\n    probe_path_mtu: false")?;
    let headend = world.profile("headend")?.with("idle_s: 20", "idle_s: 60")?;
    world.start_headend(&headend)?;
    world.start_branch(&branch)?;
    world.wait_registered(&[BRANCH_NUMBER, HEADEND_NUMBER])?;

    // Packets that may be cut: the carrier's router cuts the ESP.
    let output = ping(&world, &["-M", "dont", "-c", "5", "-i", "0.1", "-s", LARGE])?;
    ensure_in(&world, output.contains(" 0% packet loss"), "fragments were not put together", || {
        output.clone()
    })?;
    let headend = world.headend.as_ref().ok_or_else(|| LabError::failed("no head-end", String::new()))?;
    let fragments = wait_for("fragments at the head-end", Duration::from_secs(5), || {
        let counted = shown(headend, "steering", "outside_fragment_redirect")?;
        Ok((counted >= 10).then_some(counted))
    })?;
    // Two of each packet, of which one goes on as the whole; the kernel sees none of them.
    wait_for("fragments of whole packets", Duration::from_secs(5), || {
        Ok((shown(headend, "drops", "fragment-taken")? * 2 == fragments).then_some(()))
    })?;
    let snmp = world.topology.headend.run(|| std::fs::read_to_string("/proc/thread-self/net/snmp"))?;
    let by_kernel = protocol_counter(&snmp, "Ip", "ReasmReqds");
    ensure_in(&world, by_kernel == Some(0), "the kernel has seen fragments", || format!("{by_kernel:?}"))?;

    // Packets that may not: the router says so, and the gateway tells the sender.
    let branch = world.branch.as_ref().ok_or_else(|| LabError::failed("no branch", String::new()))?;
    let learnt = wait_for("the MTU of the path", Duration::from_secs(5), || {
        let _ = ping(&world, &["-M", "do", "-c", "1", "-s", LARGE])?;
        let shown = session(branch, HEADEND_NUMBER)?;
        Ok((shown["mtu"]["of_path"] == true).then_some(shown))
    })?;
    ensure_in(&world, learnt["mtu"]["inner"] == INSIDE, "another MTU was learnt", || format!("{learnt:#}"))?;
    let output = ping(&world, &["-M", "do", "-c", "2", "-i", "0.2", "-s", LARGE])?;
    ensure_in(&world, output.contains(&INSIDE.to_string()), "its sender was not told", || output.clone())?;
    let fits = (INSIDE - 28).to_string();
    let output = ping(&world, &["-M", "do", "-c", "3", "-i", "0.1", "-s", &fits])?;
    ensure_in(&world, output.contains(" 0% packet loss"), "what fits was lost", || output.clone())?;
    // From here on nothing has to be cut outside.
    let output = ping(&world, &["-M", "dont", "-c", "3", "-i", "0.1", "-s", LARGE])?;
    ensure_in(&world, output.contains(" 0% packet loss"), "what is cut inside was lost", || output.clone())?;
    let now = shown(headend, "steering", "outside_fragment_redirect")?;
    ensure_in(&world, now == fragments, "outer packets are still cut", || format!("{now}"))?;
    ensure_in(&world, world.carrier.calls() == 1, "one call carries all", || world.carrier.bill_text())?;
    no_clear_text(&world)?;
    world.check()
}

/// A counter of `show dataplane`.
fn shown(gateway: &Gateway, group: &str, name: &str) -> Result<u64, LabError> {
    Ok(ask(gateway, &["show", "dataplane"])?[group][name].as_u64().unwrap_or_default())
}

/// What it says, whether or not it is answered.
fn ping(world: &World, args: &[&str]) -> Result<String, LabError> {
    let args = [args, &["-W", "3", CENTRE_LAN_HOST]].concat();
    let output =
        world.topology.branch_lan.command("ping").args(args).output().map_err(LabError::io("ping"))?;
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    Ok(text(&output.stdout) + &text(&output.stderr))
}
