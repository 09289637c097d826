//! Two workers in each gateway: several tunnels, several flows in each, both directions and a rekey. Nothing is lost, and no flow's
//! packets change their order, although most come by a queue of the worker that does not own their tunnel.

use super::faults_support::many;
use super::support::{ask, both, ensure_in, no_clear_text};
use super::{Context, Scenario};
use crate::lab::error::LabError;
use crate::lab::gateway::Gateway;
use crate::lab::netns::Namespace;
use crate::lab::probe::{Receiver, Sender};
use crate::lab::profile::Profile;
use crate::lab::topology::{BRANCH_LAN_HOST, CENTRE_LAN_HOST, Options};
use crate::lab::world::World;
use serde_json::Value;
use std::net::{Ipv4Addr, UdpSocket};
use std::ops::ControlFlow;
use std::time::{Duration, Instant};

pub const WORKERS: Scenario = Scenario {
    about: "two workers on devices with two queues: flows of six tunnels both ways through a rekey, none lost or out of order",
    run: |context| workers(context, 2),
    ..Scenario::new("workers")
};

pub const ONE_QUEUE: Scenario = Scenario {
    about: "two workers and a WAN with one queue: the second forwards what the first hands over",
    run: |context| workers(context, 1),
    ..Scenario::new("workers-one-queue")
};

const TUNNELS: usize = 6;
const FLOWS_PER_TUNNEL: usize = 4;
const FLOWS: usize = TUNNELS * FLOWS_PER_TUNNEL;
const ROUNDS: u32 = 250;
const ROUND: Duration = Duration::from_millis(10);
/// Of one packet on an otherwise idle line.
const TAIL: Duration = Duration::from_secs(5);
/// More than nine tenths of `child_kb` below.
const BULK_PACKETS: u32 = 2000;
const BULK_LEN: usize = 1372;
const UP_LIMIT: Duration = Duration::from_secs(60);
const BRANCH_PREFIXES: &str = "10.128.0.0/10";

/// The LAN's device has one queue: the kernel spreads what it forwards over the sVTI's by flow. Behind a device with several it
/// keeps the queue by which a packet came.
fn workers(context: &Context, wan_queues: u16) -> Result<(), LabError> {
    let tag = format!("workers{wan_queues}");
    let options = Options { tag, wan_queues: Some(wan_queues), ..Options::default() };
    let mut world = World::with(context.places.clone(), options, |t| Ok(many::carrier(t, TUNNELS)?.0))?;
    start(&mut world)?;
    many::call_all(&world, TUNNELS, UP_LIMIT)?;

    let (to_centre, to_branch) = flows();
    let topology = &world.topology;
    let (lan, centre) = (&topology.branch_lan, &topology.centre_lan);
    let bulk = bulk(lan)?;
    std::thread::scope(|scope| {
        let directions = [(lan, centre, to_centre), (centre, lan, to_branch)]
            .map(|(from, to, pairs)| scope.spawn(move || stream(from, to, &pairs)));
        let bulk = scope.spawn(|| fill(&bulk));
        for direction in directions {
            direction.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))?;
        }
        bulk.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        Ok::<_, LabError>(())
    })
    .map_err(|e| LabError::failed(e.to_string(), shows(&world)))?;

    let (branch, headend) = both(&world);
    for gateway in [branch, headend] {
        divided(&world, gateway, wan_queues)?;
    }
    let log = std::fs::read_to_string(branch.log("controlplane")).unwrap_or_default();
    let rekeys = log.matches("event=\"rekeyed\"").count();
    ensure_in(&world, rekeys >= 2, "SAs of both workers were replaced meanwhile", || {
        format!("{rekeys} were")
    })?;
    no_clear_text(&world)?;
    world.check()
}

fn start(world: &mut World) -> Result<(), LabError> {
    let fast = |profile: Profile| {
        profile
            .with("bandwidth_kbps: 64", "bandwidth_kbps: 20000")?
            .with("worker: { idle: adaptive }", "worker: { count: 2, idle: adaptive }")?
            .with("\nike:\n", "\nike:\n  lifetime: { child_kb: 2560 }\n")
    };
    let (branch, headend) = many::profiles(world, TUNNELS)?;
    let (branch, headend) = (fast(branch)?, fast(headend)?);
    let topology = &world.topology;
    topology.branch_lan.ip(&["route", "add", "local", BRANCH_PREFIXES, "dev", "lo"])?;
    topology.centre_lan.ip(&["route", "add", "local", many::PREFIXES, "dev", "lo"])?;
    topology.branch.ip(&["route", "add", BRANCH_PREFIXES, "via", BRANCH_LAN_HOST])?;
    topology.headend.ip(&["route", "add", many::PREFIXES, "via", CENTRE_LAN_HOST])?;
    world.start_unrouted(&branch, &headend)?;
    many::wait_registered(world, TUNNELS)
}

type Pairs = Vec<(Ipv4Addr, Ipv4Addr)>;

/// Source and destination of each flow, to the centre and to the branch.
fn flows() -> (Pairs, Pairs) {
    let hosts = (0..FLOWS).map(|flow| many::hosts(flow / FLOWS_PER_TUNNEL));
    hosts.map(|(centre, branch)| ((branch, centre), (centre, branch))).unzip()
}

/// Sends every flow's packets and takes them at the other end: all of them, in order.
fn stream(from: &Namespace, to: &Namespace, pairs: &Pairs) -> Result<(), LabError> {
    let receiver = Receiver::new(to)?;
    let senders = Sender::many(from, pairs)?;
    let (mut next, mut left, mut wrong) = ([0; FLOWS], FLOWS * ROUNDS as usize, Vec::new());
    std::thread::scope(|scope| {
        let sender = scope.spawn(|| {
            let began = Instant::now();
            for round in 0..ROUNDS {
                std::thread::sleep((ROUND * round).saturating_sub(began.elapsed()));
                for (flow, sender) in (0u32..).zip(&senders) {
                    sender.send(flow, round)?;
                }
            }
            Ok::<_, LabError>(())
        });
        receiver.each(ROUND * ROUNDS + TAIL, |probe, _| {
            let Some(expected) = next.get_mut(probe.series as usize) else {
                return ControlFlow::Continue(());
            };
            if probe.number != *expected {
                wrong.push((probe.series, *expected, probe.number));
            }
            *expected = probe.number + 1;
            left -= 1;
            if left == 0 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        })?;
        sender.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })?;
    if left == 0 && wrong.is_empty() {
        return Ok(());
    }
    wrong.truncate(20);
    Err(LabError::failed(
        "packets were lost or out of order",
        format!("{left} are missing; flow, expected, came: {wrong:?}"),
    ))
}

/// Sockets into a tunnel of each worker.
fn bulk(lan: &Namespace) -> Result<Vec<UdpSocket>, LabError> {
    lan.run(|| {
        let one = |tunnel| {
            let (centre, branch) = many::hosts(tunnel);
            let socket = UdpSocket::bind((branch, 0))?;
            socket.connect((centre, 9))?;
            Ok(socket)
        };
        (0..2).map(one).collect()
    })
}

/// As much as the life of an SA.
fn fill(sockets: &[UdpSocket]) {
    let gap = ROUND * ROUNDS / BULK_PACKETS;
    let began = Instant::now();
    for n in 0..BULK_PACKETS {
        std::thread::sleep((gap * n).saturating_sub(began.elapsed()));
        for socket in sockets {
            // The answer "port unreachable" to an earlier one is none of ours.
            let _ = socket.send(&[0; BULK_LEN]);
        }
    }
}

/// Both workers have tunnels and carried packets, and one hands to the other.
fn divided(world: &World, gateway: &Gateway, wan_queues: u16) -> Result<(), LabError> {
    let shown = ask(gateway, &["show", "dataplane"])?;
    let number = |of: &Value, key: &str| of[key].as_u64().unwrap_or_default();
    let workers = shown["by_worker"].as_array().map(Vec::as_slice).unwrap_or_default();
    let carries = |w: &Value| {
        let [rx, tx] = ["rx", "tx"]
            .map(|way| number(w, &format!("{way}_outside")) + number(w, &format!("{way}_inside")));
        rx > 0 && tx > 0 && number(w, "sas") >= 2 && number(w, "handed_in") > 0
    };
    let sum = |key: &str| workers.iter().map(|w| number(w, key)).sum::<u64>();
    let holds = shown["workers"] == 2
        && workers.len() == 2
        && workers.iter().all(carries)
        && sum("handed_over") > 0
        && sum("handed_over") == number(&shown["counters"], "handed_over")
        && sum("queues_inside") == 2
        && sum("queues_outside") == u64::from(wan_queues)
        && shown["drops"]["hand-off-full"].is_null();
    ensure_in(world, holds, "the work is not divided", || format!("{shown:#}"))?;
    let topology = ask(gateway, &["show", "dataplane", "topology"])?;
    let names =
        topology["workers"].as_array().map(|all| all.iter().map(|w| w["name"].clone()).collect::<Vec<_>>());
    let holds = names == Some(vec!["worker-0".into(), "worker-1".into()]);
    ensure_in(world, holds, "two workers in the topology", || format!("{topology:#}"))
}

fn shows(world: &World) -> String {
    let (branch, headend) = both(world);
    let show = |gateway: &Gateway| gateway.cli(&["show", "dataplane"]).unwrap_or_else(|e| e.to_string());
    format!("branch: {}\nheadend: {}", show(branch), show(headend))
}
