//! Both processes without root, as the systemd units start them.

use super::support::{both, ensure, ensure_in, no_clear_text, ping_all, wait_status};
use super::{Context, Scenario};
use crate::lab::account::{Account, UID, capabilities};
use crate::lab::carrier::Knobs;
use crate::lab::demo::logs;
use crate::lab::error::LabError;
use crate::lab::interrupt::wait_for;
use crate::lab::netns::run;
use crate::lab::topology::{CENTRE_LAN_HOST, SVTI};
use crate::lab::world::{BRANCH_NUMBER, HEADEND_NUMBER, World};
use std::path::Path;
use std::time::Duration;

pub const UNPRIVILEGED: Scenario = Scenario {
    about: "both processes as the units start them, without root: a call, an sVTI that is deleted, nothing in clear",
    tools: &[("setpriv", "util-linux")],
    run: |context| unprivileged(context, "host"),
    ..Scenario::new("unprivileged")
};

pub const UNPRIVILEGED_TUN: Scenario = Scenario {
    about: "the same in tun mode",
    tools: &[("setpriv", "util-linux")],
    run: |context| unprivileged(context, "tun"),
    nightly: true,
    ..Scenario::new("unprivileged-tun")
};

const RECOVERY: Duration = Duration::from_secs(15);
/// capabilities(7), as /proc shows the sets.
const NUMBERS: [(&str, u32); 7] = [
    ("net_bind_service", 10),
    ("net_admin", 12),
    ("net_raw", 13),
    ("ipc_lock", 14),
    ("sys_nice", 23),
    ("perfmon", 38),
    ("bpf", 39),
];

fn unprivileged(context: &Context, mode: &str) -> Result<(), LabError> {
    let mut world = context.world(&format!("unpriv{mode}"), Knobs::default())?;
    let in_mode = |gateway| world.profile(gateway)?.with("mode: host", &format!("mode: {mode}"));
    let (branch, headend) = (in_mode("branch")?, in_mode("headend")?);
    world.start_headend(&headend)?;
    world.start_branch(&branch)?;
    world.wait_registered(&[BRANCH_NUMBER, HEADEND_NUMBER])?;
    let units = context.places.profiles.join("../systemd");
    let branch = world.branch.as_mut().expect("started");
    branch.stop();
    // What root has made belongs to the next start.
    world.topology.branch.ip(&["link", "del", SVTI])?;
    let branch = world.branch.as_mut().expect("started");
    branch.run_as(Account::of_units(&units)?)?;
    branch.start_dataplane(&world.topology.branch)?;
    branch.start_controlplane(&world.topology.branch)?;
    branch.wait_ready().map_err(|e| LabError::failed(e.to_string(), logs(&world)))?;
    world.wait_registered(&[BRANCH_NUMBER])?;
    has_what_the_units_give(&mut world, &units)?;
    let ping = ping_all(&world, &world.topology.branch_lan, CENTRE_LAN_HOST);
    ping.map_err(|e| LabError::failed(e.to_string(), logs(&world)))?;
    wait_status(&world, both(&world).0, HEADEND_NUMBER, "SESSION_UP")?;

    // Programs, sockets and the device are made anew with what is left.
    world.topology.branch.ip(&["link", "del", SVTI])?;
    world.branch.as_mut().expect("started").wait_ready()?;
    wait_for("an answer through the new sVTI", RECOVERY, || {
        let lan = &world.topology.branch_lan;
        let ping = run(lan.command("ping").args(["-c", "1", "-W", "2", CENTRE_LAN_HOST]));
        Ok(ping.is_ok().then_some(()))
    })
    .map_err(|e| LabError::failed(e.to_string(), logs(&world)))?;
    no_clear_text(&world)?;
    world.check()?;
    // As `systemctl stop`: the call is hung up, and the kernel lets go of the sockets.
    world.branch.as_mut().expect("started").stop();
    world.wait_hung_up(RECOVERY)
}

/// No thread has more than its unit gives, and the one that reads packets has nothing.
fn has_what_the_units_give(world: &mut World, units: &Path) -> Result<(), LabError> {
    let branch = world.branch.as_mut().expect("started");
    let processes = [
        ("dataplane", branch.dataplane().map(|p| p.pid())),
        ("controlplane", branch.controlplane().map(|p| p.pid())),
    ];
    for (what, pid) in processes {
        let given: u64 = capabilities(units, what)?
            .iter()
            .map(|name| NUMBERS.iter().find(|(n, _)| n == name).map_or(0, |(_, bit)| 1 << bit))
            .sum();
        let tasks = format!("/proc/{}/task", pid.unwrap_or_default());
        let mut worker = false;
        for task in std::fs::read_dir(&tasks).map_err(LabError::io(tasks.clone()))?.flatten() {
            let status = std::fs::read_to_string(task.path().join("status")).map_err(LabError::io(what))?;
            let field = |name: &str| {
                let line = status.lines().find_map(|l| l.strip_prefix(name)?.strip_prefix(':'));
                line.and_then(|l| l.split_whitespace().next()).unwrap_or_default()
            };
            let set = |name| u64::from_str_radix(field(name), 16).unwrap_or(u64::MAX);
            let reads_packets = field("Name").starts_with("worker");
            worker |= reads_packets;
            let may = if reads_packets { 0 } else { given };
            let right = field("Uid") == UID.to_string()
                && set("CapPrm") & !may == 0
                && set("CapEff") == set("CapPrm")
                && set("CapInh") == 0
                && set("CapAmb") == 0
                && field("NoNewPrivs") == "1";
            ensure(right, &format!("a thread of the {what} has what it may have"), || status.clone())?;
        }
        let there = worker == (what == "dataplane");
        ensure_in(world, there, "the worker is among the threads", || tasks.clone())?;
    }
    Ok(())
}
