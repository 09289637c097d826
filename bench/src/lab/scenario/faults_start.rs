//! Faults at the start: units that give up, profiles that nothing can read, files that are in the way.

use super::support::{both, calls, ensure, ensure_in, no_clear_text, ping_all, wait_status};
use super::{Context, Scenario};
use crate::lab::carrier::Knobs;
use crate::lab::demo::logs;
use crate::lab::error::LabError;
use crate::lab::interrupt::wait_for;
use crate::lab::needs;
use crate::lab::netns::run;
use crate::lab::process::{Process, log_tail};
use crate::lab::topology::{CENTRE_LAN_HOST, SVTI, WAN};
use crate::lab::unit::Unit;
use crate::lab::world::{HEADEND_NUMBER, World};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Command, ExitStatus};
use std::time::Duration;

pub const RESTARTS: Scenario = Scenario {
    about: "the systemd units never give up: after 8 failed starts the next one hangs up the live call",
    run: restarts,
    ..Scenario::new("fault-restarts")
};

pub const PROFILE_TEXTS: Scenario = Scenario {
    about: "hostile profile texts: `check` and both daemons name the place, in bounded time and memory",
    run: profile_texts,
    ..Scenario::new("fault-profile-texts")
};

pub const IN_THE_WAY: Scenario = Scenario {
    about: "a file instead of a socket, open permissions, a smaller WAN MTU, a second gateway on the same WAN",
    run: in_the_way,
    ..Scenario::new("fault-in-the-way")
};

const FAILURES: u32 = 8;
const START_LIMIT: Duration = Duration::from_secs(20);
/// systemd must not end a control plane that still hangs up: RFC 3261 §17.1.2.2, timer F, and what the core adds.
const STOP_LEAST_S: u64 = 40;

/// Keys of systemd 254, which an earlier one ignores.
const NEWER_KEYS: [&str; 2] = ["'RestartSteps'", "'RestartMaxDelaySec'"];

fn restarts(context: &Context) -> Result<(), LabError> {
    let units = context.places.profiles.join("../systemd");
    let control = Unit::read(&units.join("sipsec-controlplane@.service"))?;
    let data = Unit::read(&units.join("sipsec-dataplane@.service"))?;
    for unit in [&control, &data] {
        ensure(unit.restarts_always(), "the unit is started again after any end", || unit.text().to_owned())?;
    }
    let stop = control.seconds("Service", "TimeoutStopSec").unwrap_or_default();
    ensure(stop >= STOP_LEAST_S, "systemd waits for the last BYE", || format!("{stop} s"))?;

    let mut world = context.world("restart", Knobs::default())?;
    world.start_gateways()?;
    if needs::in_path("systemd-analyze") {
        let dir = world.profile("branch")?.dir().join("units");
        std::fs::create_dir_all(&dir).map_err(LabError::io("units"))?;
        let programs = &context.places.programs;
        let data_path = data.installed_as(&dir, "sipsec-dataplane@lab.service", programs)?;
        let control_path = control.installed_as(&dir, "sipsec-controlplane@lab.service", programs)?;
        let output = Command::new("systemd-analyze")
            .args(["verify", "--man=no", "--recursive-errors=no"])
            .args([data_path, control_path])
            .output()
            .map_err(LabError::io("systemd-analyze"))?;
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        let complaints: Vec<_> =
            said.lines().filter(|l| !NEWER_KEYS.iter().any(|key| l.contains(key))).collect();
        ensure(complaints.is_empty(), "systemd takes the units", || complaints.join("\n"))?;
    }

    ping_all(&world, &world.topology.branch_lan, CENTRE_LAN_HOST)?;
    let journal = world.profile("branch")?.dir().join("state/journal.redb");
    let aside = journal.with_extension("aside");
    kill_controlplane(&mut world);
    std::fs::rename(&journal, &aside).map_err(LabError::io("journal"))?;
    std::fs::write(&journal, [0x5a; 8192]).map_err(LabError::io("journal"))?;
    for failures in 1..=FAILURES {
        let status = start_and_wait(&mut world)?;
        ensure_in(&world, !status.success(), "a damaged journal stops the start", || status.to_string())?;
        ensure(!control.gives_up_after(failures), "systemd starts it again", || failures.to_string())?;
    }
    let text = log_tail(&both(&world).0.log("controlplane"));
    let cure = text.contains("ask the carrier") && text.contains("move the file away");
    ensure(cure, "the log says what to do about a damaged journal", || text.clone())?;
    let up = world.carrier.calls_up();
    ensure_in(&world, up == 1, "the call is still up", || world.carrier.bill_text())?;

    std::fs::rename(&aside, &journal).map_err(LabError::io("journal"))?;
    let branch = world.branch.as_mut().expect("started");
    branch.start_controlplane(&world.topology.branch)?;
    world.wait_hung_up(START_LIMIT).map_err(|e| LabError::failed(e.to_string(), logs(&world)))?;
    let call = &calls(&world.carrier)[0];
    ensure_in(&world, call["ended_by"] == "caller", "the branch hangs up", || format!("{call:#}"))?;
    no_clear_text(&world)
}

fn kill_controlplane(world: &mut World) {
    world.branch.as_mut().and_then(|b| b.controlplane()).map(Process::kill);
}

fn start_and_wait(world: &mut World) -> Result<ExitStatus, LabError> {
    let branch = world.branch.as_mut().expect("started");
    branch.start_controlplane(&world.topology.branch)?;
    branch.controlplane().expect("just started").wait(START_LIMIT)
}

/// Longest time that a program may take for a profile that it refuses, and what it may say about it.
const REFUSE_LIMIT: Duration = Duration::from_secs(10);
const OUTPUT_MAX: usize = 300_000;
/// Address space of the program, in KiB.
const MEMORY_KIB: u32 = 2 << 20;

/// Texts, each with the place that has to be named, or none where the file as a whole is refused.
fn texts() -> Vec<(&'static str, Vec<u8>, Option<&'static str>)> {
    let long = "k".repeat(1_000_000);
    let list = |n: usize, item: &str| vec![item; n].join(", ");
    let nested = |open: &str, close: &str, n: usize| {
        format!("version: 1\nx: {}{}\n", open.repeat(n), close.repeat(n)).into_bytes()
    };
    let laughs = (1..14).fold("a0: &a0 [x, x, x, x, x, x, x, x, x]\n".to_owned(), |text, i| {
        text + &format!("a{i}: &a{i} [{}]\n", list(9, &format!("*a{}", i - 1)))
    });
    vec![
        ("a key of 1 MB", format!("version: 1\n{long}: 1\n").into_bytes(), Some(":2:1")),
        ("a value of 1 MB", format!("version: 1\ngateway: \"{long}\"\n").into_bytes(), Some(":2:")),
        ("nested lists", nested("[", "]", 20_000), Some(":2:")),
        ("nested maps", nested("{a: ", "}", 20_000), Some(":2:")),
        ("nested maps without an end", nested("{a: ", "", 20_000), Some(":2:")),
        (
            "one alias many times",
            format!("x: &x [{}]\ny: [{}]\n", list(20_000, "a"), list(20_000, "*x")).into_bytes(),
            Some(":2:"),
        ),
        ("aliases of aliases", laughs.into_bytes(), Some(":")),
        ("an alias of itself", b"version: 1\nx: &x [*x]\n".to_vec(), Some(":2:")),
        ("a tab", b"version: 1\nsip:\n\tport: 1\n".to_vec(), Some(":3:")),
        ("a NUL", b"version: 1\ngateway: a\0b\n".to_vec(), Some(":2:11")),
        ("bytes that are no text", b"version: 1\ngateway: \xff\xfe\x80\n".to_vec(), Some(":2:")),
        ("a key that appears twice", b"version: 1\nsip: { port: 1, port: 2 }\n".to_vec(), Some(":2:")),
        ("100,000 unknown keys", unknown_keys(100_000), Some(":")),
        ("nothing", Vec::new(), Some(":1:1")),
        ("more than a profile may have", vec![b'#'; 64 << 20], None),
    ]
}

fn unknown_keys(n: usize) -> Vec<u8> {
    let keys: String = (0..n).map(|i| format!("key{i}: {i}\n")).collect();
    format!("version: 1\n{keys}").into_bytes()
}

fn profile_texts(context: &Context) -> Result<(), LabError> {
    let world = context.world("texts", Knobs::default())?;
    let profile = world.profile("branch")?;
    let dir = profile.dir().to_owned();
    std::fs::create_dir_all(&dir).map_err(LabError::io("texts"))?;
    let path = dir.join("profile.yaml");
    let programs = &context.places.programs;
    for (name, text, place) in texts() {
        std::fs::write(&path, text).map_err(LabError::io(name))?;
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600))
            .map_err(LabError::io(name))?;
        for (program, word) in [
            (&programs.cli, "check"),
            (&programs.controlplane, "--profile"),
            (&programs.dataplane, "--profile"),
        ] {
            let what = format!("{} on {name}", program.display());
            let output = dir.join("output");
            let _ = std::fs::remove_file(&output);
            let mut command = world.topology.branch.command("sh");
            command.args(["-c", &format!("ulimit -v {MEMORY_KIB}; exec \"$0\" \"$@\"")]).arg(program);
            let mut process = Process::spawn(&what, command_with(command, word, &path), output.clone())?;
            let status = process.wait(REFUSE_LIMIT)?;
            let said = std::fs::read(&output).map_err(LabError::io(what.clone()))?;
            let shown = String::from_utf8_lossy(&said[..said.len().min(4000)]).into_owned();
            // Neither success, nor a panic (101), nor a signal.
            let refused = matches!(status.code(), Some(1 | 2));
            ensure(refused, &format!("{what}: refused"), || format!("{status}\n{shown}"))?;
            ensure(said.len() <= OUTPUT_MAX, &format!("{what}: bounded"), || said.len().to_string())?;
            let names = place.is_none_or(|place| shown.contains(&format!("profile.yaml{place}")));
            ensure(names, &format!("{what}: the place {place:?} is named"), || shown.clone())?;
        }
    }
    std::fs::remove_dir_all(dir).map_err(LabError::io("texts"))
}

fn command_with(mut command: Command, word: &str, path: &Path) -> Command {
    command.arg(word).arg(path);
    command
}

const SMALL_MTU: &str = "1280";

fn in_the_way(context: &Context) -> Result<(), LabError> {
    let mut world = context.world("way", Knobs::default())?;
    let offloads = |world: &World| run(world.topology.branch.command("ethtool").args(["-k", WAN]));
    let before = offloads(&world)?;
    world.start_gateways()?;
    let dir = world.profile("branch")?.dir().to_owned();
    let mode = |file: &str| -> Result<u32, LabError> {
        let metadata = std::fs::metadata(dir.join(file)).map_err(LabError::io(file.to_owned()))?;
        Ok(metadata.permissions().mode() & 0o7777)
    };
    ensure(mode("state/journal.redb")? == 0o600, "the journal is its owner's", || "journal.redb".into())?;

    // What a careless copy leaves.
    let branch = world.branch.as_mut().expect("started");
    branch.controlplane().map(Process::kill);
    branch.dataplane().map(Process::kill);
    std::fs::set_permissions(dir.join("state/journal.redb"), std::fs::Permissions::from_mode(0o644))
        .map_err(LabError::io("journal"))?;
    for socket in ["dataplane.sock", "control.sock"] {
        let _ = std::fs::remove_file(dir.join(socket));
        std::fs::write(dir.join(socket), "a file").map_err(LabError::io(socket))?;
    }
    branch.start_dataplane(&world.topology.branch)?;
    branch.start_controlplane(&world.topology.branch)?;
    branch.wait_ready().map_err(|e| LabError::failed(e.to_string(), logs(&world)))?;
    ensure(mode("state/journal.redb")? == 0o600, "the journal is its owner's again", String::new)?;
    ping_all(&world, &world.topology.branch_lan, CENTRE_LAN_HOST)?;

    second_gateway(&world, context)?;
    smaller_mtu(&mut world)?;
    no_clear_text(&world)?;
    // The process that was killed could not put them back; the one after it does.
    world.branch.as_mut().expect("started").stop();
    let after = offloads(&world)?;
    ensure(after == before, "offloads are as they were", || format!("{before}\n---\n{after}"))
}

/// A second gateway on the same WAN cannot start, and takes away what it made.
fn second_gateway(world: &World, context: &Context) -> Result<(), LabError> {
    let (dir, other) = (world.profile("branch")?, "svti1");
    let text = std::fs::read_to_string(dir.dir().join("profile.yaml")).map_err(LabError::io("profile"))?;
    let second = dir.dir().join("second");
    let text = text
        .replace(&format!("{}\n", dir.dir().display()), &format!("{}\n", second.display()))
        .replace(&format!("{}/state", dir.dir().display()), &format!("{}/state", second.display()))
        .replace("gateway: branch", "gateway: second")
        .replace(SVTI, other);
    std::fs::create_dir_all(&second).map_err(LabError::io("second"))?;
    let path = second.join("profile.yaml");
    std::fs::write(&path, text).map_err(LabError::io("second"))?;
    let log = second.join("dataplane.log");
    let mut command = world.topology.branch.command(&context.places.programs.dataplane);
    command.arg("--profile").arg(&path);
    let mut process = Process::spawn("the second dataplane", command, log.clone())?;
    let status = process.wait(START_LIMIT)?;
    let said = log_tail(&log);
    let why = !status.success() && said.contains(WAN) && said.contains("XDP program");
    ensure(why, "the second gateway says why it cannot start", || format!("{status}\n{said}"))?;
    let branch = &world.topology.branch;
    ensure(!branch.has_device(other), "it leaves no device behind", || said.clone())?;
    ping_all(world, &world.topology.branch_lan, CENTRE_LAN_HOST)
}

/// The WAN takes smaller packets from now on: it is told, and hosts learn it by ICMP (RFC 1191).
fn smaller_mtu(world: &mut World) -> Result<(), LabError> {
    let large = |world: &World| -> Result<String, LabError> {
        let lan = &world.topology.branch_lan;
        let output = lan
            .command("ping")
            .args(["-c", "1", "-W", "2", "-M", "do", "-s", "1350", CENTRE_LAN_HOST])
            .output()
            .map_err(LabError::io("ping"))?;
        Ok(String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned())
    };
    let before = large(world)?;
    ensure_in(world, before.contains(" 0% packet loss"), "1,378 bytes pass", || before.clone())?;
    world.topology.branch.ip(&["link", "set", WAN, "mtu", SMALL_MTU])?;
    wait_for("the new MTU in the log", START_LIMIT, || {
        let log = log_tail(&both(world).0.log("dataplane"));
        Ok((log.contains("MTU of the WAN has changed") && log.contains(SMALL_MTU)).then_some(()))
    })
    .map_err(|e| LabError::failed(e.to_string(), logs(world)))?;
    wait_for("the new MTU in `show dataplane`", START_LIMIT, || {
        let dataplane = super::support::ask(both(world).0, &["show", "dataplane"])?;
        Ok((dataplane["ports"][0]["mtu"] == 1280).then_some(()))
    })
    .map_err(|e| LabError::failed(e.to_string(), logs(world)))?;
    wait_for("an ICMP that names the smaller MTU", START_LIMIT, || {
        let after = large(world)?;
        Ok((after.contains("mtu =") || after.contains("mtu=")).then_some(()))
    })
    .map_err(|e| LabError::failed(e.to_string(), logs(world)))?;
    let small = run(world.topology.branch_lan.command("ping").args([
        "-c",
        "3",
        "-i",
        "0.05",
        "-s",
        "1000",
        CENTRE_LAN_HOST,
    ]));
    ensure_in(world, small.is_ok(), "smaller packets pass", || format!("{small:?}"))?;
    wait_status(world, both(world).0, HEADEND_NUMBER, "SESSION_UP")
}
