//! Another profile under a live call: `sipsec diff`, `apply`, `confirm`, `rollback` and SIGHUP.

use super::support::{ask, both, calls, ensure, ensure_in, no_clear_text, ping_all, pings, session};
use super::{Context, Scenario};
use crate::lab::carrier::Knobs;
use crate::lab::error::LabError;
use crate::lab::gateway::Gateway;
use crate::lab::interrupt::wait_for;
use crate::lab::profile::Profile;
use crate::lab::topology::CENTRE_LAN_HOST;
use crate::lab::world::{BRANCH_NUMBER, HEADEND_NUMBER, World};
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Tunnels that are replaced again and again, and how often.
const MANY: &str = "2-4001";
const TIMES: usize = 10;

pub const REPLACED: Scenario = Scenario {
    about: "4,000 tunnels are replaced ten times under a live call: the control plane's memory reaches its bound and stays there",
    nightly: true,
    run: replaced,
    ..Scenario::new("change-replaced")
};

pub const CHANGE: Scenario = Scenario {
    about: "branches are added, changed, refused and removed under a live call that loses no packet; a changed number ends it",
    run: change,
    ..Scenario::new("change")
};

/// Pings while profiles change: 50 each second.
const PINGS: &str = "500";
const GAP_S: &str = "0.02";
/// An unconfirmed change lives this long.
const CONFIRM_S: &str = "10";
const TUNNELS: &str = "tunnels:\n";
const BRANCHES: &str = "tunnels:\n  - for: { n: 2-501 }\n    name: Branch{n}\n    local_number: \"0388882001\"\n    \
                        remote_number: \"04{n:08}\"\n    bandwidth_kbps: 64\n    routes: [\"100.{n/256}.{n%256}.0/24\"]\n";
/// Two more branches, one for each line of a file.
const SITES: &str = "site,number,lan\nKobe,0433330001,100.200.1.0/24\nNara,0433330002,100.200.2.0/24\n";
const OF_SITES: &str = "tunnels:\n  - for: { csv: sites.csv }\n    name: \"{site}\"\n    local_number: \"0388882001\"\n    \
                        remote_number: \"{number}\"\n    bandwidth_kbps: 64\n    routes: [\"{lan}\"]\n";
const KEY: &str = "    - { number: \"0388881001\"";
const ANY_KEY: &str = "    - { number: any, psk: \"lab-only-any-77d0b9c41e5a3f286b90cd17e24f8a53\" }\n    - { number: \"0388881001\"";

/// The head-end's profiles, by name.
pub(super) struct Profiles {
    dir: PathBuf,
    whole: Profile,
}

impl Profiles {
    /// Starts both gateways, the head-end with this profile, and places a call that only the test's own steps may end.
    pub(super) fn of_a_call(world: &mut World, headend: Profile) -> Result<Self, LabError> {
        let branch = world.profile("branch")?.with("idle_s: 5", "idle_s: 300")?;
        let whole = headend.with("idle_s: 20", "idle_s: 300")?;
        world.start_headend(&whole)?;
        world.start_branch(&branch)?;
        world.wait_registered(&[BRANCH_NUMBER, HEADEND_NUMBER])?;
        ping_all(world, &world.topology.branch_lan, CENTRE_LAN_HOST)?;
        Ok(Self { dir: whole.dir().to_owned(), whole })
    }

    /// A profile beside the start file.
    pub(super) fn write(
        &self,
        name: &str,
        change: impl FnOnce(Profile) -> Result<Profile, LabError>,
    ) -> Result<String, LabError> {
        let path = self.dir.join(name);
        let text = change(self.whole.clone())?;
        let fail = || LabError::io(path.display().to_string());
        std::fs::write(&path, text.text()).map_err(fail())?;
        std::fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o600))
            .map_err(fail())?;
        Ok(path.display().to_string())
    }

    /// A file that a profile names.
    fn beside(&self, name: &str, text: &str) -> Result<(), LabError> {
        let path = self.dir.join(name);
        std::fs::write(&path, text).map_err(LabError::io(path.display().to_string()))
    }
}

fn change(context: &Context) -> Result<(), LabError> {
    let mut world = context.world("change", Knobs::default())?;
    let whole = world.profile("headend")?;
    let profiles = Profiles::of_a_call(&mut world, whole)?;
    let before = identity(&world)?;
    std::thread::scope(|scope| {
        let world = &world;
        let flow =
            scope.spawn(move || pings(world, &world.topology.branch_lan, CENTRE_LAN_HOST, PINGS, GAP_S));
        let changed = around_the_call(world, &profiles);
        let flowed = flow.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        changed.and(flowed)
    })?;
    ensure_in(&world, identity(&world)? == before, "the call is the same", || {
        format!("{before}\n{}", identity(&world).unwrap_or_default())
    })?;
    ensure(world.carrier.calls() == 1, "one call", || world.carrier.bill_text())?;
    through_the_call(&mut world, &profiles)?;
    no_clear_text(&world)?;
    world.check()
}

/// What a call that goes on keeps, at both ends.
fn identity(world: &World) -> Result<String, LabError> {
    let (branch, headend) = both(world);
    let of = |gateway: &Gateway, remote: &str| -> Result<String, LabError> {
        let session = session(gateway, remote)?;
        let sessions = ask(gateway, &["show", "crypto", "session", "detail"])?;
        let flows: Vec<_> = sessions.as_array().into_iter().flatten().map(|s| s["flows"].clone()).collect();
        let spis: Vec<_> = flows.iter().flat_map(spis).collect();
        ensure(!spis.is_empty(), "SPIs", || format!("{sessions:#}"))?;
        Ok(format!("{} {} {spis:?}", session["sip_call_id"], session["remote"]))
    };
    let ids: Vec<_> = calls(&world.carrier).iter().map(|c| c["call_id"].clone()).collect();
    Ok(format!("{} | {} | {ids:?}", of(branch, HEADEND_NUMBER)?, of(headend, BRANCH_NUMBER)?))
}

/// Every SPI in what a crypto session shows.
fn spis(value: &Value) -> Vec<String> {
    match value {
        Value::Object(map) => map
            .iter()
            .flat_map(|(key, value)| if key.contains("spi") { vec![value.to_string()] } else { spis(value) })
            .collect(),
        Value::Array(list) => list.iter().flat_map(spis).collect(),
        _ => Vec::new(),
    }
}

/// Changes that the call must not notice.
fn around_the_call(world: &World, profiles: &Profiles) -> Result<(), LabError> {
    let (_, headend) = both(world);
    let tunnels =
        || Ok::<_, LabError>(ask(headend, &["show", "vpn-sip", "session"])?.as_array().map_or(0, Vec::len));
    let with_branches = profiles.write("branches.yaml", |p| p.with(TUNNELS, BRANCHES)?.with(KEY, ANY_KEY))?;
    let diff = ask(headend, &["diff", &with_branches])?;
    let said = diff["tunnels_added"] == 500 && diff["calls"].as_array().is_some_and(Vec::is_empty);
    ensure(said, "500 branches are new and no call ends", || format!("{diff:#}"))?;
    let applied = ask(headend, &["apply", &with_branches, "--author", "ada"])?;
    ensure(applied["number"] == 2 && applied["hung_up"] == 0, "applied", || format!("{applied:#}"))?;
    ensure(tunnels()? == 501, "501 tunnels", String::new)?;
    wait_for("the kernel route of a new branch", Duration::from_secs(10), || {
        let routes = world.topology.headend.command("ip").args(["route", "show", "100.0.7.0/24"]).output();
        Ok(routes.is_ok_and(|r| !r.stdout.is_empty()).then_some(()))
    })?;

    // Two more, from a file that the profile includes and its lines of values.
    profiles.beside("sites.csv", SITES)?;
    profiles.beside("sites.yaml", OF_SITES)?;
    let with_sites = profiles.write("with-sites.yaml", |p| {
        p.with(TUNNELS, BRANCHES)?
            .with(KEY, ANY_KEY)?
            .with("version: 1\n", "version: 1\ninclude: [sites.yaml]\n")
    })?;
    let applied = ask(headend, &["apply", &with_sites])?;
    let difference = &applied["difference"];
    let added = difference["tunnels_added"] == 2 && difference["tunnels_changed"] == 0;
    ensure(added && applied["hung_up"] == 0, "two sites are new", || format!("{applied:#}"))?;
    ensure(
        tunnels()? == 503 && session(headend, "0433330002")?["interface"] == "Nara",
        "both sites",
        String::new,
    )?;

    // The timer of another tunnel, and then all of the branches away.
    let timer = profiles.write("timer.yaml", |p| {
        p.with(TUNNELS, &BRANCHES.replace("bandwidth_kbps: 64", "bandwidth_kbps: 64\n    idle_s: 33"))?
            .with(KEY, ANY_KEY)
    })?;
    let applied = ask(headend, &["apply", &timer])?;
    let changed = applied["difference"]["tunnels_changed"] == 500 && applied["hung_up"] == 0;
    ensure(changed, "timers of other tunnels", || format!("{applied:#}"))?;

    // What needs a restart is refused by name, and changes nothing.
    let larger =
        profiles.write("larger.yaml", |p| p.with("  worker: { idle: adaptive }", "  tunnels_max: 2000"))?;
    let refused = headend.cli(&["apply", &larger]).err().map(|e| e.to_string()).unwrap_or_default();
    let named = refused.contains("dataplane.tunnels_max") && refused.contains("--partial");
    ensure(named && tunnels()? == 501, "the key that needs a restart is named", || refused.clone())?;
    // One with a mistake, with its place.
    let wrong = profiles.write("wrong.yaml", |p| p.with("10.1.0.0/16", "10.1.0.1/16"))?;
    let refused = headend.cli(&["apply", &wrong]).err().map(|e| e.to_string()).unwrap_or_default();
    ensure(refused.contains("wrong.yaml:") && tunnels()? == 501, "the place of the mistake", || {
        refused.clone()
    })?;

    let same = profiles.write("same.yaml", Ok)?;
    let applied = ask(headend, &["apply", &same, "--confirm", CONFIRM_S])?;
    let removed = applied["difference"]["tunnels_removed"] == 500 && applied["hung_up"] == 0;
    ensure(removed && tunnels()? == 1, "500 branches are gone", || format!("{applied:#}"))?;
    wait_for("the profile before, which comes back", Duration::from_secs(30), || {
        Ok((tunnels()? == 501).then_some(()))
    })?;
    ask(headend, &["rollback", "1"])?;
    ensure(tunnels()? == 1, "the profile of the start", String::new)?;
    let history = ask(headend, &["show", "configuration", "history"])?;
    let authors: Vec<_> = history.as_array().into_iter().flatten().map(|v| v["author"].clone()).collect();
    let named = authors.contains(&Value::from("ada")) && history.to_string().contains("\"running\":true");
    ensure(named && !history.to_string().contains("lab-only"), "authors, and no secret", || {
        format!("{history:#}")
    })
}

/// Changes that the call cannot survive, and that are said before.
fn through_the_call(world: &mut World, profiles: &Profiles) -> Result<(), LabError> {
    let (_, headend) = both(world);
    let slower = profiles.write("slower.yaml", |p| p.with("bandwidth_kbps: 1000", "bandwidth_kbps: 512"))?;
    let diff = ask(headend, &["diff", &slower])?;
    let call = &diff["calls"][0];
    let priced = call["reasons"][0] == "bandwidth_kbps changes"
        && call["again_yen"] == 2
        && call["charged_s"].is_u64();
    ensure(priced, "the call that ends, why, and its price", || format!("{diff:#}"))?;
    let text = headend.cli(&["diff", &slower])?;
    ensure(text.contains("would be hung up: 1"), "the text says so", || text.clone())?;
    let applied = ask(headend, &["apply", &slower, "--save"])?;
    ensure(applied["hung_up"] == 1, "one call is hung up", || format!("{applied:#}"))?;
    let start = profiles.dir.join("profile.yaml");
    let saved = read(&start)? == read(Path::new(&slower))?;
    ensure(saved, "the start file has it", || start.display().to_string())?;
    world.wait_hung_up(Duration::from_secs(10))?;
    ping_all(world, &world.topology.branch_lan, CENTRE_LAN_HOST)?;
    let bill = calls(&world.carrier);
    let rate = bill.last().is_some_and(|c| c["kbps"] == 512);
    ensure_in(world, bill.len() == 2 && rate, "the next call has the new rate", || format!("{bill:#?}"))?;

    // SIGHUP reads the start file, which an operator has edited.
    let edited = read(&start)?.replace("name: Tunnel1", "name: Osaka");
    std::fs::write(&start, edited).map_err(LabError::io(start.display().to_string()))?;
    if let Some(controlplane) = world.headend.as_mut().and_then(Gateway::controlplane) {
        controlplane.reload();
    }
    let (_, headend) = both(world);
    wait_for("the new name", Duration::from_secs(10), || {
        Ok((session(headend, BRANCH_NUMBER)?["interface"] == "Osaka").then_some(()))
    })?;
    ensure_in(world, world.carrier.calls_up() == 1, "a name ends no call", || world.carrier.bill_text())
}

fn read(path: &Path) -> Result<String, LabError> {
    std::fs::read_to_string(path).map_err(LabError::io(path.display().to_string()))
}

/// Every change brings tunnels that none had before, so nothing of an earlier profile serves the next one.
fn replaced(context: &Context) -> Result<(), LabError> {
    let mut world = context.world("replaced", Knobs::default())?;
    let whole = world
        .profile("headend")?
        .with("  worker: { idle: adaptive }", "  tunnels_max: 8192\n  worker: { idle: adaptive }")?;
    let profiles = Profiles::of_a_call(&mut world, whole)?;
    let before = identity(&world)?;
    let mut resident = Vec::new();
    for time in 0..TIMES {
        let branches = BRANCHES
            .replace("2-501", MANY)
            .replace("Branch{n}", &format!("Branch{time}-{{n}}"))
            .replace("04{n:08}", &format!("05{time}{{n:07}}"));
        let name = format!("replaced-{}.yaml", time % 2);
        let next = profiles.write(&name, |p| p.with(TUNNELS, &branches)?.with(KEY, ANY_KEY))?;
        let (_, headend) = both(&world);
        let applied = ask(headend, &["apply", &next])?;
        let whole = applied["difference"]["tunnels_added"] == 4000 && applied["hung_up"] == 0;
        ensure(whole, "4,000 others", || format!("{applied:#}"))?;
        resident.push(world.headend.as_mut().and_then(Gateway::controlplane).map_or(0, |p| p.resident()));
    }
    let (half, last) = (resident[TIMES / 2 - 1], resident[TIMES - 1]);
    let megabytes: Vec<u64> = resident.iter().map(|bytes| bytes >> 20).collect();
    say!("resident memory after each change: {megabytes:?} MiB");
    ensure(half > 0 && last <= half + half / 8, "memory stays", || format!("{megabytes:?} MiB"))?;
    ensure_in(&world, identity(&world)? == before, "the call is the same", String::new)?;
    ping_all(&world, &world.topology.branch_lan, CENTRE_LAN_HOST)?;
    no_clear_text(&world)?;
    world.check()
}
