//! Many calls between two gateways: how fast they are set up, what they hold, and what it costs the others when they end. Numbers
//! are printed, never asserted.

use super::api::post;
use super::error::LabError;
use super::gateway::Gateway;
use super::interrupt::{check, wait_for};
use super::measure::{latencies, micros, quantiles};
use super::probe::{Receiver, Sender};
use super::process::Process;
use super::scenario::faults_support::many;
use super::topology::{CENTRE_LAN_HOST, Options};
use super::world::{Places, World};
use hdrhistogram::Histogram;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use sipsec_net::Instant;
use std::ops::ControlFlow;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// How many calls, and how many first packets per second.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    pub tunnels: u32,
    pub rate: u32,
}

/// What registration and the last calls may take beside the time that the rate gives.
const PATIENCE: Duration = Duration::from_secs(90);
/// A first packet that did not arrive is sent again after this.
const AGAIN: Duration = Duration::from_secs(3);
/// Tunnels that go on while all others end, and what they carry together.
const OTHERS: usize = 16;
const OTHERS_PACKETS_PER_SECOND: u32 = 1000;
/// How long they are watched before.
const BEFORE: Duration = Duration::from_secs(3);
/// The last packets are still under way.
const TAIL: Duration = Duration::from_millis(500);
/// Series of the packets of the others: no tunnel's number.
const STREAM: u32 = 1 << 20;
const BRANCH_PREFIXES: &str = "10.128.0.0/10";

pub fn scale(places: Places, plan: Plan) -> Result<(), LabError> {
    let count = plan.tunnels as usize;
    raise_open_files()?;
    let options = Options { tag: "scale".into(), unobserved: true, ..Options::default() };
    let mut world = World::with(places, options, |topology| Ok(many::carrier(topology, count)?.0))?;
    start(&mut world, plan)?;

    let pairs: Vec<_> = (0..count).map(many::hosts).map(|(centre, branch)| (branch, centre)).collect();
    let senders = Sender::many(&world.topology.branch_lan, &pairs)?;
    let receiver = Receiver::new(&world.topology.centre_lan)?;
    let before = memory(&mut world);
    let began = super::clock::now();
    let first = call(&senders, &receiver, plan)?;
    world.check()?;
    first.print(plan, began);
    print_memory(before, memory(&mut world), count);
    if first.missing() > 0 {
        say!("the end of calls is not measured: not all are up");
        return Ok(());
    }
    end(&mut world, &senders, &receiver, count)?;
    world.check()
}

/// Both gateways, registered, and the way of the tunnels' addresses to the LAN hosts.
fn start(world: &mut World, plan: Plan) -> Result<(), LabError> {
    let count = plan.tunnels as usize;
    let (branch, headend) = many::profiles(world, count)?;
    // As deploy/TUNING.md says: 4,096 frames and 16 for each tunnel.
    let tables = format!("tunnels_max: {}\n  frames: {}\n  worker:", count.max(64), 4096 + 16 * count);
    let sized = |profile: super::profile::Profile| {
        profile
            .with("bandwidth_kbps: 64", "bandwidth_kbps: 1000")?
            .with("ports: 50000-50999", "ports: 40000-49999")?
            .with("worker:", &tables)
    };
    let (branch, headend) = (sized(branch)?, sized(headend)?);
    let topology = &world.topology;
    topology.branch_lan.ip(&["route", "add", "local", BRANCH_PREFIXES, "dev", "lo"])?;
    topology.centre_lan.ip(&["route", "add", "local", many::PREFIXES, "dev", "lo"])?;
    topology.headend.ip(&["route", "add", many::PREFIXES, "via", CENTRE_LAN_HOST])?;
    let began = std::time::Instant::now();
    world.start_unrouted(&branch, &headend)?;
    let lines = count + 1;
    wait_for(&format!("registration of {lines} lines"), PATIENCE, || {
        world.check()?;
        Ok((world.carrier.registered().len() >= lines).then_some(()))
    })?;
    say!("start: {lines} lines are registered after {:.2} s", began.elapsed().as_secs_f64());
    Ok(())
}

/// A socket for each tunnel.
fn raise_open_files() -> Result<(), LabError> {
    let limit = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit })
        .map_err(|e| LabError::Io { what: "open files".into(), source: e.into() })
}

/// When the first packet of each tunnel arrived, and how long it took.
struct First {
    arrived: Vec<Option<Instant>>,
    took: Histogram<u64>,
    /// Tunnels whose very first packet was lost, so that a later one was the first to arrive.
    repeated: u64,
}

impl First {
    fn new(count: usize) -> Self {
        Self { arrived: vec![None; count], took: latencies(), repeated: 0 }
    }

    fn missing(&self) -> usize {
        self.arrived.iter().filter(|at| at.is_none()).count()
    }

    fn print(&self, plan: Plan, began: Instant) {
        let last = self.arrived.iter().flatten().max().copied().unwrap_or(began);
        let seconds = last.saturating_duration_since(began).as_secs_f64();
        let up = self.arrived.len() - self.missing();
        say!(
            "set-up: {up} of {} calls, {}/s asked, {:.0}/s reached ({seconds:.2} s from the first packet to the last arrival)",
            plan.tunnels,
            plan.rate,
            up as f64 / seconds.max(1e-9)
        );
        say!("time to the first packet: {}", quantiles(&self.took));
        if self.repeated > 0 {
            say!("   first packets that were lost, and sent again: {}", self.repeated);
        }
    }
}

/// One packet into each tunnel at the rate, and again into those that stay silent.
fn call(senders: &[Sender], receiver: &Receiver, plan: Plan) -> Result<First, LabError> {
    let limit = Duration::from_secs_f64(senders.len() as f64 / f64::from(plan.rate)) + PATIENCE;
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let reader = scope.spawn(|| {
            let mut first = First::new(senders.len());
            let mut missing = senders.len();
            let result = receiver.each(limit, |probe, at| {
                let Some(slot) = first.arrived.get_mut(probe.series as usize) else {
                    return ControlFlow::Continue(());
                };
                if slot.is_none() {
                    *slot = Some(at);
                    first.took.saturating_record(micros(at.saturating_duration_since(probe.departed)));
                    first.repeated += u64::from(probe.number > 0);
                    missing -= 1;
                }
                if missing == 0 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
            });
            done.store(true, Ordering::Relaxed);
            result.map(|()| first)
        });
        let sent = repeat(senders, plan, &done);
        let first = reader.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))?;
        sent.map(|()| first)
    })
}

/// A packet for each tunnel in turn, round after round, until `done`. A tunnel that has its call carries one more.
fn repeat(senders: &[Sender], plan: Plan, done: &AtomicBool) -> Result<(), LabError> {
    for round in 0.. {
        let began = std::time::Instant::now();
        for (tunnel, sender) in (0u32..).zip(senders) {
            let due = Duration::from_secs_f64(f64::from(tunnel) / f64::from(plan.rate));
            std::thread::sleep(due.saturating_sub(began.elapsed()));
            check()?;
            if done.load(Ordering::Relaxed) {
                return Ok(());
            }
            // An ICMP error of an earlier packet shows here; the next round sends again.
            let _ = sender.send(tunnel, round);
        }
        let resume = std::time::Instant::now() + AGAIN;
        while std::time::Instant::now() < resume {
            check()?;
            if done.load(Ordering::Relaxed) {
                return Ok(());
            }
            std::thread::sleep(Duration::from_millis(5));
        }
    }
    Ok(())
}

/// Resident memory of the four processes, in bytes.
#[derive(Clone, Copy)]
struct Memory {
    dataplanes: [u64; 2],
    controlplanes: [u64; 2],
}

fn memory(world: &mut World) -> Memory {
    let of = |process: Option<&mut Process>| process.map_or(0, |p| p.resident());
    let mut memory = Memory { dataplanes: [0; 2], controlplanes: [0; 2] };
    for (side, gateway) in [&mut world.branch, &mut world.headend].into_iter().enumerate() {
        let Some(gateway) = gateway else { continue };
        memory.dataplanes[side] = of(gateway.dataplane());
        memory.controlplanes[side] = of(gateway.controlplane());
    }
    memory
}

fn print_memory(before: Memory, after: Memory, count: usize) {
    for (side, name) in ["branch", "head-end"].into_iter().enumerate() {
        for (process, before, after) in [
            ("dataplane", before.dataplanes[side], after.dataplanes[side]),
            ("control plane", before.controlplanes[side], after.controlplanes[side]),
        ] {
            say!(
                "memory, {name} {process}: {:.1} MiB, {:.1} KiB per tunnel; calls added {:.1} KiB each",
                after as f64 / f64::from(1 << 20),
                after as f64 / 1024.0 / count as f64,
                after.saturating_sub(before) as f64 / 1024.0 / count as f64
            );
        }
    }
}

/// What the others carried.
struct Carried {
    sent: u64,
    arrived: u64,
    took: Histogram<u64>,
}

impl Carried {
    fn print(&self, when: &str) {
        let lost = self.sent.saturating_sub(self.arrived);
        say!("others, {when}: {} packets, {lost} lost, {}", self.sent, quantiles(&self.took));
    }
}

/// All calls but those of the others end at once.
fn end(world: &mut World, senders: &[Sender], receiver: &Receiver, count: usize) -> Result<(), LabError> {
    let others = OTHERS.min(count / 4).max(1);
    let streamed = senders.get(..others).unwrap_or_default();
    carry(streamed, receiver, STREAM, || {
        std::thread::sleep(BEFORE);
        Ok(())
    })?
    .0
    .print("before");
    let (carried, (asked, ended)) = carry(streamed, receiver, STREAM + 1, || hang_up(world, others..count))?;
    say!(
        "end: {} calls were asked to end within {:.2} s and had ended after {:.2} s (BYEs are paced)",
        count - others,
        asked.as_secs_f64(),
        ended.as_secs_f64()
    );
    carried.print("while they ended");
    Ok(())
}

/// Packets of the others while `body` runs.
fn carry<T>(
    senders: &[Sender],
    receiver: &Receiver,
    series: u32,
    body: impl FnOnce() -> Result<T, LabError>,
) -> Result<(Carried, T), LabError> {
    let (done, over) = (AtomicBool::new(false), AtomicBool::new(false));
    std::thread::scope(|scope| {
        let sender = scope.spawn(|| {
            let began = std::time::Instant::now();
            let mut sent = 0_u32;
            while !done.load(Ordering::Relaxed) {
                let due = Duration::from_secs_f64(f64::from(sent) / f64::from(OTHERS_PACKETS_PER_SECOND));
                std::thread::sleep(due.saturating_sub(began.elapsed()));
                if let Some(sender) = senders.get(sent as usize % senders.len().max(1)) {
                    // What is not sent is lost, and counts as such.
                    let _ = sender.send(series, sent);
                }
                sent += 1;
            }
            u64::from(sent)
        });
        let reader = scope.spawn(|| {
            let (mut arrived, mut took) = (0, latencies());
            while !over.load(Ordering::Relaxed) {
                receiver.each(Duration::from_millis(50), |probe, at| {
                    if probe.series == series {
                        arrived += 1;
                        took.saturating_record(micros(at.saturating_duration_since(probe.departed)));
                    }
                    ControlFlow::Continue(())
                })?;
            }
            Ok::<_, LabError>((arrived, took))
        });
        let result = body();
        done.store(true, Ordering::Relaxed);
        let sent = sender.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        std::thread::sleep(TAIL);
        over.store(true, Ordering::Relaxed);
        let read = reader.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        let (result, (arrived, took)) = (result?, read?);
        Ok((Carried { sent, arrived, took }, result))
    })
}

/// Asks the branch to end these calls as fast as its API takes it. How long the asking took, and until all had ended.
fn hang_up(world: &World, tunnels: std::ops::Range<usize>) -> Result<(Duration, Duration), LabError> {
    let socket = world.branch.as_ref().map(Gateway::socket).unwrap_or_default();
    let began = std::time::Instant::now();
    let (left, end) = (tunnels.start, tunnels.len());
    for tunnel in tunnels {
        check()?;
        let body = format!(r#"{{"remote_number":"{}"}}"#, many::number(tunnel));
        let (status, answer) = post(&socket, "/v1/clear", &body)?;
        if status != 200 {
            return Err(LabError::failed(format!("hanging up was refused with {status}"), answer));
        }
    }
    let asked = began.elapsed();
    let limit = PATIENCE + Duration::from_millis(20) * u32::try_from(end).unwrap_or(u32::MAX);
    wait_for("the end of the calls", limit, || Ok((world.carrier.calls_up() <= left).then_some(())))?;
    Ok((asked, began.elapsed()))
}
