//! Measurements in the lab: how long a first packet takes, and how much goes through. Numbers are printed, never asserted.

use super::carrier::Knobs;
use super::drops::Drops;
use super::error::LabError;
use super::interrupt::check;
use super::iperf::{self, Datagrams};
use super::needs;
use super::peer::Charon;
use super::peer::charon::{Auth, Connection, TOOLS};
use super::probe::{Receiver, Sender};
use super::share::{Share, share};
use super::topology::{
    BRANCH_PREFIX, BRANCH_WAN, CENTRE_LAN_HOST, CENTRE_PREFIX, HEADEND_WAN, Options, Topology,
};
use super::world::{BRANCH_NUMBER, HEADEND_NUMBER, Places, World};
use hdrhistogram::Histogram;
use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::time::Duration;

/// Packets of one trigger: the first opens the call, the others come while it is being set up.
const BURST: u32 = 10;
const BURST_GAP: Duration = Duration::from_millis(1);
const ARRIVAL_LIMIT: Duration = Duration::from_secs(10);
const HANG_UP_LIMIT: Duration = Duration::from_secs(30);
/// Packets of the UDP stream: each is an ESP packet of its own, far below what either gateway can carry, so that a loss is one.
const DATAGRAM_LEN: u32 = 512;
const DATAGRAMS_PER_SECOND: u32 = 20_000;
/// Microseconds; longer ones are counted as this.
const LATENCY_MAX_US: u64 = 60_000_000;

/// From the first packet's departure at the branch LAN to its arrival at the centre LAN, over fresh calls; and the branch
/// gateway's own share of it.
pub fn trigger(places: Places, calls: u32) -> Result<(), LabError> {
    let mut world =
        World::up(places, Options { tag: "trig".into(), ..Options::default() }, Knobs::default())?;
    let branch = world.profile("branch")?.with("idle_s: 5", "idle_s: 1")?;
    let headend = world.profile("headend")?;
    world.start_headend(&headend)?;
    world.start_branch(&branch)?;
    world.wait_registered(&[BRANCH_NUMBER, HEADEND_NUMBER])?;

    let sender = Sender::new(&world.topology.branch_lan, CENTRE_LAN_HOST)?;
    let receiver = Receiver::new(&world.topology.centre_lan)?;
    let us = BRANCH_WAN.parse::<Ipv4Addr>().expect("a constant address").into();

    let events =
        world.take_events().ok_or_else(|| LabError::failed("the events are taken", String::new()))?;
    let mut first = latencies();
    let mut shares = Shares::new();
    let (mut sent, mut arrived, mut reordered) = (0_u64, 0_u64, 0_u64);
    for call in 0..calls {
        check()?;
        let arrivals = std::thread::scope(|scope| {
            let reader = scope.spawn(|| receiver.take(call, BURST, ARRIVAL_LIMIT));
            for number in 0..BURST {
                sender.send(call, number)?;
                sent += 1;
                std::thread::sleep(BURST_GAP);
            }
            reader.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        })?;
        arrived += arrivals.len() as u64;
        reordered += arrivals.windows(2).filter(|w| w[1].0.number < w[0].0.number).count() as u64;
        if let Some((probe, at)) = arrivals.iter().find(|(p, _)| p.number == 0) {
            let took = at.saturating_duration_since(probe.departed);
            first.saturating_record(micros(took));
            world.wait_hung_up(HANG_UP_LIMIT)?;
            shares.take(share(probe.departed, us, &events.drain()));
        }
        world.wait_hung_up(HANG_UP_LIMIT)?;
        // A fresh call is one that nothing of the last one holds back.
        for gateway in [&mut world.branch, &mut world.headend].into_iter().flatten() {
            gateway.wait_free()?;
        }
        world.check()?;
    }
    println!("first packet, {calls} fresh calls: {}", quantiles(&first));
    shares.print();
    println!("packets: {sent} sent, {} lost, {reordered} out of order", sent - arrived);
    println!("calls: {} placed, {} still up", world.carrier.calls(), world.carrier.calls_up());
    Ok(())
}

/// The branch gateway's shares of all calls.
struct Shares {
    whole: Histogram<u64>,
    /// By what ended the turn, in the order of a call.
    turns: BTreeMap<(usize, String), Histogram<u64>>,
    unseen: u32,
}

impl Shares {
    fn new() -> Self {
        Self { whole: latencies(), turns: BTreeMap::new(), unseen: 0 }
    }

    fn take(&mut self, share: Option<Share>) {
        let Some(share) = share else {
            self.unseen += 1;
            return;
        };
        self.whole.saturating_record(micros(share.whole()));
        for (place, (what, took)) in share.turns.into_iter().enumerate() {
            self.turns.entry((place, what)).or_insert_with(latencies).saturating_record(micros(took));
        }
    }

    fn print(&self) {
        println!("our own share (carrier, peer and wires taken out): {}", quantiles(&self.whole));
        for ((_, what), took) in &self.turns {
            println!("   until {what:<12} {}", quantiles(took));
        }
        if self.unseen > 0 {
            println!("   calls that the lines did not see whole: {}", self.unseen);
        }
    }
}

/// Of microseconds.
pub(super) fn latencies() -> Histogram<u64> {
    Histogram::new_with_bounds(1, LATENCY_MAX_US, 3).expect("constant bounds")
}

pub(super) fn micros(took: Duration) -> u64 {
    u64::try_from(took.as_micros()).unwrap_or(LATENCY_MAX_US).max(1)
}

pub(super) fn quantiles(of: &Histogram<u64>) -> String {
    let ms = |us: u64| us as f64 / 1e3;
    let [p50, p90, p99] = [0.5, 0.9, 0.99].map(|q| ms(of.value_at_quantile(q)));
    format!("p50 {p50:.1} ms, p90 {p90:.1} ms, p99 {p99:.1} ms, max {:.1} ms", ms(of.max()))
}

/// Host mode, tun mode, and strongSwan.
#[derive(Debug)]
enum System {
    Ours(&'static str, Box<World>),
    Theirs(Box<StrongSwans>),
}

impl System {
    const fn name(&self) -> &'static str {
        match self {
            Self::Ours(name, _) => name,
            Self::Theirs(_) => "strongSwan",
        }
    }

    const fn topology(&self) -> &Topology {
        match self {
            Self::Ours(_, world) => &world.topology,
            Self::Theirs(theirs) => &theirs.topology,
        }
    }
}

/// Two gateways of ours. The rate of the call is so high that only the machine limits it.
fn ours(places: Places, tag: &str, mode: &str) -> Result<Box<World>, LabError> {
    let options = Options { tag: tag.into(), unobserved: true, ..Options::default() };
    let mut world = Box::new(World::up(places, options, Knobs::default())?);
    let fast = |gateway| {
        let fast = world.profile(gateway)?.with("bandwidth_kbps: 1000", "bandwidth_kbps: 10000000")?;
        fast.with("mode: host", &format!("mode: {mode}"))
    };
    let (branch, headend) = (fast("branch")?, fast("headend")?);
    world.start_headend(&headend)?;
    world.start_branch(&branch)?;
    world.wait_registered(&[BRANCH_NUMBER, HEADEND_NUMBER])?;
    Ok(world)
}

/// One TCP stream from LAN to LAN through ours, in host and in tun mode, and through strongSwan's, in turn, so that all meet the
/// same machine; then UDP at a fixed rate.
pub fn throughput(places: Places, seconds: u32, rounds: u32, udp: bool) -> Result<(), LabError> {
    let mut systems = vec![
        System::Ours("sipsec", ours(places.clone(), "tput", "host")?),
        System::Ours("sipsec in tun mode", ours(places, "tptun", "tun")?),
    ];
    if TOOLS.iter().all(|(tool, _)| needs::in_path(tool)) {
        let options = Options { tag: "tpsw".into(), unobserved: true, ..Options::default() };
        systems.push(System::Theirs(Box::new(StrongSwans::up(&options)?)));
    } else {
        println!("strongSwan is not installed (deploy/lab setup): ours alone");
    }
    let directions = [("branch to centre", &[][..]), ("centre to branch", &["-R"][..])];
    for (direction, extra) in directions.into_iter().filter(|_| !udp) {
        let mut all = vec![Vec::new(); systems.len()];
        for _ in 0..rounds {
            for (system, rates) in systems.iter().zip(&mut all) {
                check()?;
                rates.push(stream(system.topology(), seconds, extra)?);
            }
        }
        println!("{direction}:");
        let theirs = all.get(2).map(|rates| median(&mut rates.clone()));
        for (system, rates) in systems.iter().zip(&mut all) {
            let ratio = theirs.map_or(String::new(), |theirs| {
                format!("; {:.2} of strongSwan", median(&mut rates.clone()) / theirs)
            });
            println!("   {:<20} {}{ratio}", system.name(), rates_of(rates));
        }
    }
    let mut all = vec![Vec::new(); systems.len()];
    let before = drops(&systems)?;
    for _ in 0..rounds {
        for (system, runs) in systems.iter().zip(&mut all) {
            check()?;
            runs.push(datagrams(system.topology(), seconds)?);
        }
    }
    println!("UDP, {DATAGRAM_LEN} bytes:");
    for (system, runs) in systems.iter().zip(&all) {
        println!("   {:<20} {}", system.name(), losses(runs));
    }
    for ((name, now), before) in drops(&systems)?.into_iter().zip(&before) {
        for (place, count) in now.grown(&before.1) {
            println!("   lost by {name}: {count:>8}  {place}");
        }
    }
    for system in &mut systems {
        if let System::Ours(_, world) = system {
            world.check()?;
        }
    }
    Ok(())
}

fn drops(systems: &[System]) -> Result<Vec<(&'static str, Drops)>, LabError> {
    let ours = systems.iter().filter_map(|system| match system {
        System::Ours(name, world) => Some(Drops::read(world).map(|drops| (*name, drops))),
        System::Theirs(_) => None,
    });
    ours.collect()
}

/// Two of them through the same network: AES-256-GCM, ESP in userspace (kernel-libipsec), no SIP.
#[derive(Debug)]
pub(super) struct StrongSwans {
    _daemons: [Charon; 2],
    pub(super) topology: Topology,
}

impl StrongSwans {
    pub(super) fn up(options: &Options) -> Result<Self, LabError> {
        const PORT: u16 = 4500;
        let topology = Topology::up(options)?;
        let at = |ip: &str| SocketAddrV4::new(ip.parse().expect("a constant address"), PORT);
        let side = |ours: (&str, &str, &str), theirs: (&str, &str, &str)| Connection {
            local: at(ours.0),
            remote: at(theirs.0),
            auth: Auth::Psk {
                id: ours.1.into(),
                remote_id: theirs.1.into(),
                psk: "lab-only-throughput-of-the-others".into(),
            },
            ike: "aes256gcm16-prfsha256-x25519",
            esp: "aes256gcm16",
            rekey_child_s: 0,
            rekey_ike_s: 0,
            local_ts: ours.2.into(),
            remote_ts: theirs.2.into(),
        };
        let branch = (BRANCH_WAN, BRANCH_NUMBER, BRANCH_PREFIX);
        let centre = (HEADEND_WAN, HEADEND_NUMBER, CENTRE_PREFIX);
        let responder =
            Charon::start(&topology.headend, &format!("{}-h", options.tag), &side(centre, branch))?;
        let initiator =
            Charon::start(&topology.branch, &format!("{}-b", options.tag), &side(branch, centre))?;
        initiator.initiate()?;
        Ok(Self { _daemons: [initiator, responder], topology })
    }
}

/// Mbit/s.
fn stream(topology: &Topology, seconds: u32, extra: &[&str]) -> Result<f64, LabError> {
    let seconds = seconds.to_string();
    let args = [&["-t", seconds.as_str()], extra].concat();
    Ok(iperf::run(&topology.branch_lan, &topology.centre_lan, CENTRE_LAN_HOST, &args)? / 1e6)
}

fn datagrams(topology: &Topology, seconds: u32) -> Result<Datagrams, LabError> {
    let rate = (DATAGRAM_LEN * 8 * DATAGRAMS_PER_SECOND).to_string();
    let (seconds, len) = (seconds.to_string(), DATAGRAM_LEN.to_string());
    let args = ["-t", &seconds, "-b", &rate, "-l", &len];
    iperf::datagrams(&topology.branch_lan, &topology.centre_lan, CENTRE_LAN_HOST, &args)
}

fn losses(runs: &[Datagrams]) -> String {
    let sent: u64 = runs.iter().map(|r| r.sent).sum();
    let lost: u64 = runs.iter().map(|r| r.lost).sum();
    let seconds: f64 = runs.iter().map(|r| r.seconds).sum();
    format!("{:.0} packets/s, {lost} of {sent} lost", sent as f64 / seconds)
}

pub(super) fn median(values: &mut [f64]) -> f64 {
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    if values.len().is_multiple_of(2) {
        f64::midpoint(values[middle - 1], values[middle])
    } else {
        values[middle]
    }
}

fn rates_of(values: &mut [f64]) -> String {
    let median = median(values);
    let (least, most) = (values.first().copied(), values.last().copied());
    let (least, most) = (least.unwrap_or_default(), most.unwrap_or_default());
    format!("{median:.0} Mbit/s (median of {}, {least:.0} to {most:.0})", values.len())
}
