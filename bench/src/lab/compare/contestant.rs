//! The systems that are compared, each with a tester: a namespace with the devices of generator and sink.

use crate::lab::carrier::Knobs;
use crate::lab::error::LabError;
use crate::lab::measure::StrongSwans;
use crate::lab::needs;
use crate::lab::netns::{End, Ledger, Namespace, Offload, PREFIX, link, run};
use crate::lab::peer::charon::TOOLS;
use crate::lab::process::Process;
use crate::lab::topology::{BRANCH_LAN_HOST, CENTRE_LAN_HOST, LAN, Options, Topology};
use crate::lab::world::{BRANCH_NUMBER, HEADEND_NUMBER, Places, World};
use std::ffi::OsStr;
use std::path::Path;

/// Devices of every tester, and the ends of its stream.
pub const TX: &str = "eth0";
pub const RX: &str = "eth1";
pub const SOURCE: &str = BRANCH_LAN_HOST;
pub const DESTINATION: &str = CENTRE_LAN_HOST;
const MTU: u16 = 1500;
/// Longer than any comparison; the forwarder is ended before.
const FORWARDER_SECONDS: &str = "3600";

#[derive(Debug)]
pub struct Contestant {
    name: &'static str,
    system: System,
    /// MAC address of the device to which the generator sends.
    next_hop: String,
}

#[derive(Debug)]
enum System {
    // Fields drop in order: processes before their namespaces.
    Forwarder { _process: Process, tester: Namespace, _namespace: Namespace, _ledger: Ledger },
    Sipsec(Box<World>),
    StrongSwan(Box<StrongSwans>),
}

/// All that this machine can run.
pub fn all(places: Places) -> Result<Vec<Contestant>, LabError> {
    let mut all = vec![forwarder(&places.target.join("sipsec-pktgen"))?, sipsec(places)?];
    if TOOLS.iter().all(|(tool, _)| needs::in_path(tool)) {
        let options = Options { tag: "cmpw".into(), unobserved: true, ..Options::default() };
        let both = StrongSwans::up(&options)?;
        let next_hop = join_lans(&both.topology)?;
        all.push(Contestant { name: "strongSwan", system: System::StrongSwan(Box::new(both)), next_hop });
    } else {
        crate::say!("strongSwan is not installed (deploy/lab setup): without it");
    }
    Ok(all)
}

impl Contestant {
    pub const fn name(&self) -> &'static str {
        self.name
    }

    pub fn tester(&self) -> &Namespace {
        match &self.system {
            System::Forwarder { tester, .. } => tester,
            System::Sipsec(world) => &world.topology.branch_lan,
            System::StrongSwan(both) => &both.topology.branch_lan,
        }
    }

    pub fn next_hop(&self) -> &str {
        &self.next_hop
    }
}

fn mac(namespace: &Namespace, device: &str) -> Result<String, LabError> {
    let text = run(namespace.command("cat").arg(format!("/sys/class/net/{device}/address")))?;
    Ok(text.trim().to_owned())
}

fn forwarder(pktgen: &Path) -> Result<Contestant, LabError> {
    let mut ledger = Ledger::create("cmpf")?;
    let tester = Namespace::create(format!("{PREFIX}cmpf-tester"), &mut ledger)?;
    let namespace = Namespace::create(format!("{PREFIX}cmpf-forwarder"), &mut ledger)?;
    let end = |namespace, device, address| End { namespace, device, address };
    link(end(&tester, TX, "10.1.0.2/24"), end(&namespace, "a0", "10.1.0.1/24"), MTU, Offload::Off)?;
    link(end(&tester, RX, "10.2.0.2/24"), end(&namespace, "b0", "10.2.0.1/24"), MTU, Offload::Off)?;
    let next_hop = mac(&namespace, "a0")?;
    let (to_a, to_b) = (mac(&tester, TX)?, mac(&tester, RX)?);
    let args = [
        "forward",
        "--a",
        "a0",
        "--b",
        "b0",
        "--to-a",
        &to_a,
        "--to-b",
        &to_b,
        "--seconds",
        FORWARDER_SECONDS,
    ]
    .map(OsStr::new);
    let log = std::env::temp_dir().join("sipsec-cmpf-forwarder.log");
    let process = Process::start("sipsec-pktgen forward", &namespace, pktgen, &args, log)?;
    let system = System::Forwarder { _process: process, tester, _namespace: namespace, _ledger: ledger };
    Ok(Contestant { name: "forwarder", system, next_hop })
}

fn sipsec(places: Places) -> Result<Contestant, LabError> {
    let options = Options { tag: "cmps".into(), unobserved: true, ..Options::default() };
    let mut world = World::up(places, options, Knobs::default())?;
    let fast = |gateway, world: &World| {
        world.profile(gateway)?.with("bandwidth_kbps: 1000", "bandwidth_kbps: 10000000")
    };
    let (branch, headend) = (fast("branch", &world)?, fast("headend", &world)?);
    world.start_headend(&headend)?;
    world.start_branch(&branch)?;
    world.wait_registered(&[BRANCH_NUMBER, HEADEND_NUMBER])?;
    let next_hop = join_lans(&world.topology)?;
    Ok(Contestant { name: "sipsec", system: System::Sipsec(Box::new(world)), next_hop })
}

/// Moves the centre LAN's host into the branch LAN's namespace, so that one process holds both ends of the path. Returns
/// the MAC address of the branch gateway.
fn join_lans(topology: &Topology) -> Result<String, LabError> {
    let Topology { branch_lan, branch, headend, centre_lan, .. } = topology;
    centre_lan.ip(&["link", "set", "eth0", "netns", branch_lan.name(), "name", RX])?;
    branch_lan.ip(&["link", "set", RX, "up"])?;
    // The tester answers no ARP.
    let sink = mac(branch_lan, RX)?;
    headend.ip(&["neigh", "replace", CENTRE_LAN_HOST, "lladdr", &sink, "dev", LAN, "nud", "permanent"])?;
    mac(branch, LAN)
}
