//! A kernel device of one tunnel alone: always up, with the LAN's address, and the way into its tunnel for any prefix.

use super::support::{both, calls, ensure, ensure_in, no_clear_text, ping_all, ping_unanswered};
use super::{Context, Scenario};
use crate::lab::carrier::Knobs;
use crate::lab::error::LabError;
use crate::lab::interrupt::wait_for;
use crate::lab::netns::{Namespace, run};
use crate::lab::process::Process;
use crate::lab::topology::{CENTRE_LAN_HOST, LAN, Options, SVTI};
use crate::lab::world::{BRANCH_NUMBER, HEADEND_NUMBER, World};
use std::time::Duration;

pub const OWN_DEVICE: Scenario = Scenario {
    about: "a tunnel's own device: up across restarts and losses, unnumbered, and it carries prefixes that no route of the profile has",
    run: own_device,
    nightly: true,
    ..Scenario::new("tunnel-device")
};

const DEVICE: &str = "sipsec7";
/// The netlink task looks at once when a report comes.
const LIMIT: Duration = Duration::from_secs(10);
const HANG_UP_LIMIT: Duration = Duration::from_secs(20);
/// Behind the centre, and in no profile.
const LEARNT: &str = "10.88.0.1";

fn show(namespace: &Namespace, args: &[&str]) -> Result<String, LabError> {
    run(namespace.command("ip").args(args))
}

/// Until the device is up with what it should have, and the tunnel's route leads to it.
fn wait_device(world: &World, address: &str) -> Result<(), LabError> {
    let branch = &world.topology.branch;
    let (mut link, mut addresses, mut routes) = (String::new(), String::new(), String::new());
    let all = wait_for("the tunnel's device", LIMIT, || {
        link = show(branch, &["-d", "link", "show", "dev", DEVICE]).unwrap_or_default();
        addresses = show(branch, &["addr", "show", "dev", DEVICE]).unwrap_or_default();
        routes = show(branch, &["route", "show", "10.2.0.0/16"])?;
        let is_up = link.contains("LOWER_UP") && link.contains("mtu 1400") && link.contains("macvlan");
        let borrows =
            addresses.contains(&format!("inet {address}/32")) && addresses.matches("inet ").count() == 1;
        Ok((is_up && borrows && routes.contains(&format!("dev {DEVICE} proto 83"))).then_some(()))
    });
    all.map_err(|e| {
        LabError::failed(e.to_string(), format!("{link}{addresses}{routes}{}", crate::lab::demo::logs(world)))
    })
}

fn own_device(context: &Context) -> Result<(), LabError> {
    // With a primary in its network a gateway does not wait for a route into the sVTI.
    let options = Options { tag: "owndev".into(), primary: true, ..Options::default() };
    let mut world = World::up(context.places.clone(), options, Knobs::default())?;
    let own = format!(
        "idle_s: 3\n    device: {DEVICE}\n    unnumbered: {LAN}\n    mtu: 1400\n    check_source: false"
    );
    let branch = world.profile("branch")?.with("idle_s: 5", &own)?;
    let headend = world.profile("headend")?;
    world.start_headend(&headend)?;
    world.start_branch(&branch)?;
    world.wait_registered(&[BRANCH_NUMBER, HEADEND_NUMBER])?;
    wait_device(&world, "10.1.0.1")?;
    ping_all(&world, &world.topology.branch_lan, CENTRE_LAN_HOST)?;
    let counted = show(&world.topology.branch, &["-s", "link", "show", "dev", DEVICE])?;
    let packets = |direction: &str| {
        let line = counted.split(direction).nth(1).and_then(|rest| rest.lines().nth(1));
        line.and_then(|l| l.split_whitespace().nth(1)).and_then(|n| n.parse::<u64>().ok()).unwrap_or(0)
    };
    ensure(packets("RX:") >= 10 && packets("TX:") >= 10, "the device counts both directions", || {
        counted.clone()
    })?;

    // What the kernel routes to the device goes into its tunnel, as a routing daemon would have it.
    world.topology.headend.ip(&["addr", "add", &format!("{LEARNT}/32"), "dev", "lo"])?;
    world.topology.branch.ip(&["route", "add", "10.88.0.0/16", "dev", DEVICE])?;
    ping_all(&world, &world.topology.branch_lan, LEARNT)?;
    let (gateway, _) = both(&world);
    let brief = gateway.cli(&["show", "ip", "interface", "brief"])?;
    ensure(brief.lines().any(|l| l.starts_with(DEVICE) && l.contains("10.1.0.1")), "it is shown", || brief)?;

    // The lender's address changes.
    world.topology.branch.ip(&["addr", "add", "10.1.0.9/16", "dev", LAN])?;
    world.topology.branch.ip(&["addr", "del", "10.1.0.1/24", "dev", LAN])?;
    wait_device(&world, "10.1.0.9")?;
    world.topology.branch.ip(&["addr", "add", "10.1.0.1/24", "dev", LAN])?;
    world.topology.branch.ip(&["addr", "del", "10.1.0.9/16", "dev", LAN])?;
    wait_device(&world, "10.1.0.1")?;

    // Set down, removed, and removed with the sVTI below it: it comes back, and nothing leaves in clear meanwhile.
    world.topology.branch.ip(&["link", "set", DEVICE, "down"])?;
    wait_device(&world, "10.1.0.1")?;
    world.topology.branch.ip(&["link", "del", DEVICE])?;
    wait_device(&world, "10.1.0.1")?;
    ping_all(&world, &world.topology.branch_lan, CENTRE_LAN_HOST)?;
    world.topology.branch.ip(&["link", "del", SVTI])?;
    wait_device(&world, "10.1.0.1")?;
    world.branch.as_mut().expect("started").wait_ready()?;
    wait_for("an answer through the new sVTI", LIMIT, || {
        let ping =
            run(world.topology.branch_lan.command("ping").args(["-c", "1", "-W", "2", CENTRE_LAN_HOST]));
        Ok(ping.is_ok().then_some(()))
    })
    .map_err(|e| LabError::failed(e.to_string(), crate::lab::demo::logs(&world)))?;
    ping_all(&world, &world.topology.branch_lan, CENTRE_LAN_HOST)?;
    world.wait_hung_up(HANG_UP_LIMIT)?;

    // Without both processes it stays up, and discards.
    let gateway = world.branch.as_mut().expect("started");
    gateway.controlplane().map(Process::kill);
    gateway.dataplane().map(Process::kill);
    wait_device(&world, "10.1.0.1")?;
    ping_unanswered(&world, &world.topology.branch_lan, CENTRE_LAN_HOST)?;
    no_clear_text(&world)?;
    let index = show(&world.topology.branch, &["-o", "link", "show", "dev", DEVICE])?;
    let gateway = world.branch.as_mut().expect("started");
    gateway.start_dataplane(&world.topology.branch)?;
    gateway.start_controlplane(&world.topology.branch)?;
    gateway.wait_ready()?;
    world.wait_registered(&[BRANCH_NUMBER, HEADEND_NUMBER])?;
    ping_all(&world, &world.topology.branch_lan, CENTRE_LAN_HOST)?;
    let after = show(&world.topology.branch, &["-o", "link", "show", "dev", DEVICE])?;
    let number = |text: &str| text.split(':').next().unwrap_or_default().to_owned();
    ensure(number(&index) == number(&after), "the same device serves the next run", || {
        format!("{index}{after}")
    })?;
    // Without the key it goes, and its routes lead to the sVTI.
    let gateway = world.branch.as_ref().expect("started");
    let path = gateway.dir().join("shared.yaml");
    let shared = branch.text().replace(&format!("    device: {DEVICE}\n    unnumbered: {LAN}\n"), "");
    std::fs::write(&path, shared).map_err(LabError::io(path.display().to_string()))?;
    std::fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o600))
        .map_err(LabError::io(path.display().to_string()))?;
    gateway.cli(&["apply", &path.display().to_string()])?;
    let mut routes = String::new();
    let removed = wait_for("the removal of the device", LIMIT, || {
        routes = show(&world.topology.branch, &["route", "show", "10.2.0.0/16"])?;
        let on_svti = routes.contains(&format!("dev {SVTI} proto 83"));
        Ok((on_svti && !world.topology.branch.has_device(DEVICE)).then_some(()))
    });
    removed.map_err(|e| {
        LabError::failed(e.to_string(), format!("{routes}{}", crate::lab::demo::logs(&world)))
    })?;
    ping_all(&world, &world.topology.branch_lan, CENTRE_LAN_HOST)?;
    let bill = calls(&world.carrier);
    ensure_in(&world, world.carrier.calls_up() == 1, "one call is up", || format!("{bill:#?}"))?;
    no_clear_text(&world)?;
    world.check()
}
