//! Measurements in the lab: how long a first packet takes, and how much goes through. Numbers are printed, never asserted.

use super::carrier::Knobs;
use super::clock;
use super::error::LabError;
use super::interrupt::{check, wait_for};
use super::netns::{Namespace, run};
use super::process::Process;
use super::topology::{CENTRE_LAN_HOST, Options};
use super::world::{Places, World};
use hdrhistogram::Histogram;
use sipsec_net::Instant;
use std::ffi::OsStr;
use std::io::ErrorKind;
use std::net::UdpSocket;
use std::path::Path;
use std::time::Duration;

/// Packets of one trigger: the first opens the call, the others come while it is being set up.
const BURST: u32 = 10;
const BURST_GAP: Duration = Duration::from_millis(1);
const PORT: u16 = 9000;
const ARRIVAL_LIMIT: Duration = Duration::from_secs(10);
const HANG_UP_LIMIT: Duration = Duration::from_secs(30);
/// Microseconds; longer ones are counted as this.
const LATENCY_MAX_US: u64 = 60_000_000;
/// What a probe carries: its call, its number in the burst, and when it was sent.
const PROBE_LEN: usize = 4 + 4 + 8;

/// From the first packet's departure at the branch LAN to its arrival at the centre LAN, over fresh calls.
pub fn trigger(places: Places, calls: u32) -> Result<(), LabError> {
    let mut world = World::up(places, Options { tag: "trig".into(), router_mode: false }, Knobs::default())?;
    let branch = world.profile("branch")?.with("idle_s: 5", "idle_s: 1")?;
    let headend = world.profile("headend")?;
    world.start_headend(&headend)?;
    world.start_branch(&branch)?;
    world.wait_registered(&[super::world::BRANCH_NUMBER, super::world::HEADEND_NUMBER])?;

    let sender = world.topology.branch_lan.run(|| {
        let socket = UdpSocket::bind("0.0.0.0:0")?;
        socket.connect((CENTRE_LAN_HOST, PORT))?;
        Ok(socket)
    })?;
    let receiver = world.topology.centre_lan.run(|| UdpSocket::bind(("0.0.0.0", PORT)))?;
    receiver.set_read_timeout(Some(Duration::from_millis(20))).map_err(LabError::io("receiver"))?;

    let mut first = Histogram::<u64>::new_with_bounds(1, LATENCY_MAX_US, 3).expect("constant bounds");
    let (mut sent, mut arrived, mut reordered) = (0_u64, 0_u64, 0_u64);
    for call in 0..calls {
        check()?;
        let arrivals = std::thread::scope(|scope| {
            let reader = scope.spawn(|| receive(&receiver, call));
            for number in 0..BURST {
                let probe = Probe { call, number, departed: clock::now() };
                sender.send(&probe.to_bytes()).map_err(LabError::io("probe"))?;
                sent += 1;
                std::thread::sleep(BURST_GAP);
            }
            reader.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        })?;
        arrived += arrivals.len() as u64;
        reordered += arrivals.windows(2).filter(|w| w[1].0.number < w[0].0.number).count() as u64;
        if let Some((probe, at)) = arrivals.iter().find(|(p, _)| p.number == 0) {
            let took = at.saturating_duration_since(probe.departed);
            first.saturating_record(u64::try_from(took.as_micros()).unwrap_or(LATENCY_MAX_US).max(1));
        }
        world.wait_hung_up(HANG_UP_LIMIT)?;
        for gateway in [&mut world.branch, &mut world.headend].into_iter().flatten() {
            gateway.check()?;
        }
    }
    let ms = |us: u64| us as f64 / 1e3;
    println!(
        "first packet, {calls} fresh calls: p50 {:.1} ms, p90 {:.1} ms, p99 {:.1} ms, max {:.1} ms",
        ms(first.value_at_quantile(0.5)),
        ms(first.value_at_quantile(0.9)),
        ms(first.value_at_quantile(0.99)),
        ms(first.max())
    );
    println!("packets: {sent} sent, {} lost, {reordered} out of order", sent - arrived);
    println!("calls: {} placed, {} still up", world.carrier.calls(), world.carrier.calls_up());
    Ok(())
}

#[derive(Clone, Copy, Debug)]
struct Probe {
    call: u32,
    number: u32,
    departed: Instant,
}

impl Probe {
    fn to_bytes(self) -> [u8; PROBE_LEN] {
        let mut out = [0; PROBE_LEN];
        out[..4].copy_from_slice(&self.call.to_be_bytes());
        out[4..8].copy_from_slice(&self.number.to_be_bytes());
        out[8..].copy_from_slice(&self.departed.as_nanos().to_be_bytes());
        out
    }

    fn from_bytes(bytes: &[u8; PROBE_LEN]) -> Self {
        let [c0, c1, c2, c3, n0, n1, n2, n3, t @ ..] = *bytes;
        Self {
            call: u32::from_be_bytes([c0, c1, c2, c3]),
            number: u32::from_be_bytes([n0, n1, n2, n3]),
            departed: Instant::from_nanos(u64::from_be_bytes(t)),
        }
    }
}

/// The probes of one call with the times of their arrival, until all have come or the time is over.
fn receive(socket: &UdpSocket, call: u32) -> Result<Vec<(Probe, Instant)>, LabError> {
    let end = clock::now() + ARRIVAL_LIMIT;
    let mut out = Vec::new();
    let mut bytes = [0; PROBE_LEN];
    while out.len() < BURST as usize && clock::now() < end {
        check()?;
        match socket.recv(&mut bytes) {
            Ok(PROBE_LEN) => {
                let probe = Probe::from_bytes(&bytes);
                if probe.call == call {
                    out.push((probe, clock::now()));
                }
            }
            Ok(_) => {}
            Err(e) if matches!(e.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {}
            Err(e) => return Err(LabError::Io { what: "receiver".into(), source: e }),
        }
    }
    Ok(out)
}

/// One TCP stream from LAN to LAN, with the rate of the call set so high that only the machine limits it.
pub fn throughput(places: Places, seconds: u32) -> Result<(), LabError> {
    let mut world = World::up(places, Options { tag: "tput".into(), router_mode: false }, Knobs::default())?;
    let fast = |gateway, world: &World| {
        world.profile(gateway)?.with("bandwidth_kbps: 1000", "bandwidth_kbps: 10000000")
    };
    let (branch, headend) = (fast("branch", &world)?, fast("headend", &world)?);
    world.start_headend(&headend)?;
    world.start_branch(&branch)?;
    world.wait_registered(&[super::world::BRANCH_NUMBER, super::world::HEADEND_NUMBER])?;
    let log = branch.dir().join("iperf3-server.log");
    println!("{}", iperf(&world.topology.branch_lan, &world.topology.centre_lan, &log, seconds)?);
    Ok(())
}

/// The receiver's line of a run in each direction.
fn iperf(client: &Namespace, server: &Namespace, log: &Path, seconds: u32) -> Result<String, LabError> {
    let seconds = seconds.to_string();
    let mut out = String::new();
    for (direction, extra) in [("branch to centre", &[][..]), ("centre to branch", &["-R"][..])] {
        let args = ["-s", "-1"].map(OsStr::new);
        let mut process = Process::start("iperf3 -s", server, Path::new("iperf3"), &args, log.to_owned())?;
        wait_for("the iperf3 server", Duration::from_secs(5), || {
            process.check()?;
            let listening = run(server.command("ss").args(["-Hltn", "sport", "=", ":5201"]))?;
            Ok((!listening.is_empty()).then_some(()))
        })?;
        let args = [&["-c", CENTRE_LAN_HOST, "-t", seconds.as_str(), "-f", "m"], extra].concat();
        let report = run(client.command("iperf3").args(args))?;
        let line = report.lines().rfind(|l| l.contains("receiver")).unwrap_or_default();
        out.push_str(&format!("{direction}: {}\n", line.trim()));
    }
    Ok(out)
}
