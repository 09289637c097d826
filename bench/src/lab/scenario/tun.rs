//! Tun mode: large packets of the kernel are cut in the pipeline, and what comes through the tunnel is merged for the kernel.

use super::support::{ask, both, ensure, ensure_in, no_clear_text, ping_all, ping_unanswered};
use super::{Context, Scenario};
use crate::lab::carrier::Knobs;
use crate::lab::error::LabError;
use crate::lab::interrupt::wait_for;
use crate::lab::iperf;
use crate::lab::netns::{Namespace, run};
use crate::lab::process::Process;
use crate::lab::profile::Profile;
use crate::lab::topology::{BRANCH_LAN_HOST, CENTRE_LAN_HOST, SVTI};
use crate::lab::world::{BRANCH_NUMBER, HEADEND_NUMBER, World};
use std::time::Duration;

pub const FORWARDING: Scenario = Scenario {
    about: "tun mode, two workers: the first packet, TCP and UDP of both families both ways; the kernel gives and gets large packets",
    run: forwarding,
    ..Scenario::new("tun-mode")
};

pub const CLEAR_TEXT: Scenario = Scenario {
    about: "tun mode: the sVTI set down, removed, and without a dataplane: nothing leaves in clear, and it comes back",
    run: clear_text,
    nightly: true,
    ..Scenario::new("tun-mode-away")
};

const BRANCH6: &str = "fd01::";
const CENTRE6: &str = "fd02::";
const LIMIT: Duration = Duration::from_secs(20);
/// Well above what a packet of the MTU has.
const LARGE: u64 = 4000;
const BYTES: &str = "20M";

fn tun(profile: Profile) -> Result<Profile, LabError> {
    profile
        .with("mode: host", "mode: tun")?
        .with("worker: { idle: adaptive }", "worker: { count: 2, idle: adaptive }")?
        .with("bandwidth_kbps: 1000", "bandwidth_kbps: 10000000")
}

fn start(context: &Context, tag: &str) -> Result<World, LabError> {
    let mut world = context.world(tag, Knobs::default())?;
    world.topology.inner_ipv6(BRANCH6, CENTRE6)?;
    let routed = |gateway, v4: &str, net: &str| {
        tun(world.profile(gateway)?)?.with(&format!("[{v4}]"), &format!("[{v4}, \"{net}/64\"]"))
    };
    let branch = routed("branch", "10.2.0.0/16", CENTRE6)?;
    let headend = routed("headend", "10.1.0.0/16", BRANCH6)?;
    world.start_headend(&headend)?;
    world.start_branch(&branch)?;
    world.wait_registered(&[BRANCH_NUMBER, HEADEND_NUMBER])?;
    Ok(world)
}

/// Packets and bytes that the kernel has got from the sVTI, and has given to it.
#[derive(Clone, Copy, Debug)]
struct Counted([(u64, u64); 2]);

impl Counted {
    fn read(gateway: &Namespace) -> Result<Self, LabError> {
        let number = |what: &str| -> Result<u64, LabError> {
            let path = format!("/sys/class/net/{SVTI}/statistics/{what}");
            Ok(run(gateway.command("cat").arg(path))?.trim().parse().unwrap_or_default())
        };
        Ok(Self([(number("rx_packets")?, number("rx_bytes")?), (number("tx_packets")?, number("tx_bytes")?)]))
    }

    /// Mean length since then: received, sent.
    fn mean_since(self, before: Self) -> [u64; 2] {
        let mean = |(now, then): ((u64, u64), (u64, u64))| (now.1 - then.1) / (now.0 - then.0).max(1);
        [mean((self.0[0], before.0[0])), mean((self.0[1], before.0[1]))]
    }
}

fn forwarding(context: &Context) -> Result<(), LabError> {
    let world = &mut start(context, "tun")?;
    let (lan, centre) = (&world.topology.branch_lan, &world.topology.centre_lan);
    ping_all(world, lan, CENTRE_LAN_HOST)?;
    ping_all(world, centre, &format!("{BRANCH6}2"))?;
    // More than a packet carries: cut by IP, not by offload.
    run(lan.command("ping").args(["-q", "-c", "3", "-i", "0.1", "-W", "5", "-s", "4000", CENTRE_LAN_HOST]))?;
    for to in [CENTRE_LAN_HOST, &format!("{CENTRE6}2")] {
        for way in [&[][..], &["-R"]] {
            let ends = [&world.topology.branch, &world.topology.headend];
            let before = ends.map(Counted::read);
            iperf::run(lan, centre, to, &[&["-n", BYTES], way].concat())?;
            let [branch, headend] = ends.map(Counted::read);
            let [branch0, headend0] = before;
            let (branch, headend) = (branch?.mean_since(branch0?), headend?.mean_since(headend0?));
            // Data goes into one sVTI and comes out of the other; what goes the other way are acknowledgements.
            let means = if way.is_empty() { [branch[1], headend[0]] } else { [headend[1], branch[0]] };
            ensure_in(world, means.iter().all(|mean| *mean > LARGE), "TCP passes in large packets", || {
                format!("mean lengths into and out of the tunnel to {to} {way:?}: {means:?}")
            })?;
        }
        let udp = iperf::datagrams(lan, centre, to, &["-n", "1M", "-b", "10M", "-l", "1200"])?;
        ensure_in(world, udp.sent > 0 && udp.lost == 0, "no datagram is lost", || format!("{udp:?}"))?;
    }
    let (branch, headend) = both(world);
    for gateway in [branch, headend] {
        let shown = ask(gateway, &["show", "dataplane"])?;
        let port = shown["ports"].as_array().and_then(|ports| ports.iter().find(|p| p["side"] == "inside"));
        let holds = port.is_some_and(|p| p["bind_mode"] == "virtio" && p["queues"] == 2)
            && shown["drops"]["virtio-malformed"].is_null()
            && shown["drops"]["svti-refused"].is_null();
        ensure_in(world, holds, "both workers have a queue, and nothing is refused", || {
            format!("{shown:#}")
        })?;
        let text = gateway.cli(&["show", "dataplane", "topology"])?;
        ensure(text.contains("TUN queues with virtio headers"), "the topology says so", || text.clone())?;
    }
    no_clear_text(world)?;
    world.check()
}

fn wait_answer(world: &World, to: &str) -> Result<(), LabError> {
    let lan = &world.topology.branch_lan;
    wait_for("an answer through the sVTI", LIMIT, || {
        Ok(run(lan.command("ping").args(["-c", "1", "-W", "2", to])).is_ok().then_some(()))
    })
    .map_err(|e| LabError::failed(e.to_string(), crate::lab::demo::logs(world)))
}

fn clear_text(context: &Context) -> Result<(), LabError> {
    let mut world = start(context, "tunaway")?;
    let (v4, v6) = (CENTRE_LAN_HOST, format!("{CENTRE6}2"));
    ping_all(&world, &world.topology.branch_lan, v4)?;
    // Set down: its routes go, and come back with it.
    world.topology.branch.ip(&["link", "set", SVTI, "down"])?;
    wait_answer(&world, v4)?;
    // Removed: the dataplane starts anew on a new one, and calls again.
    world.topology.branch.ip(&["link", "del", SVTI])?;
    wait_answer(&world, v4)?;
    no_clear_text(&world)?;
    // Without both processes the device stays, without carrier, and its routes discard.
    let gateway = world.branch.as_mut().expect("started");
    gateway.controlplane().map(Process::kill);
    gateway.dataplane().map(Process::kill);
    let link = run(world.topology.branch.command("ip").args(["link", "show", "dev", SVTI]))?;
    ensure(link.contains("NO-CARRIER") && link.contains(",UP"), "it stays, without carrier", || {
        link.clone()
    })?;
    ping_unanswered(&world, &world.topology.branch_lan, v4)?;
    ping_unanswered(&world, &world.topology.branch_lan, &v6)?;
    no_clear_text(&world)?;
    let gateway = world.branch.as_mut().expect("started");
    gateway.start_dataplane(&world.topology.branch)?;
    gateway.start_controlplane(&world.topology.branch)?;
    gateway.wait_ready()?;
    world.wait_registered(&[BRANCH_NUMBER, HEADEND_NUMBER])?;
    wait_answer(&world, v4)?;
    wait_answer(&world, &v6)?;
    ping_all(&world, &world.topology.centre_lan, BRANCH_LAN_HOST)?;
    no_clear_text(&world)
}
