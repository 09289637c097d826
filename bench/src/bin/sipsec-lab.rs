//! `sipsec-lab`: the demonstration, the end-to-end tests, and the pieces of both to play with.
#![forbid(unsafe_code)]

use clap::{Parser, Subcommand};
use sipsec_bench::lab::carrier::{Algorithm, Kind, Knobs};
use sipsec_bench::lab::scenario::{self, Context, SCENARIOS, Selection};
use sipsec_bench::lab::topology::{CENTRE_LAN_HOST, Options};
use sipsec_bench::lab::world::{Places, World};
use sipsec_bench::lab::{
    LabError, compare, demo, demo_failover, interrupt, measure, measure_failover, measure_scale,
    measure_shaper, needs, netns,
};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

#[derive(Parser)]
#[command(version, about = "The lab of sipsec: network namespaces, a carrier and two gateways")]
struct Args {
    /// The checkout.
    #[arg(long, default_value = ".", global = true)]
    root: PathBuf,
    /// Where the built programs are; ROOT/target/release unless given.
    #[arg(long, global = true)]
    programs: Option<PathBuf>,
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// One ping opens a tunnel by telephone number; shows everything and cleans up.
    Demo {
        /// Leave logs and profiles.
        #[arg(long)]
        keep: bool,
        /// The kind of access line: generic, ntt-direct or ntt-hgw.
        #[arg(long, default_value = "generic", value_parser = kind)]
        carrier: Kind,
        /// The primary is cut instead: the tunnel takes over, and hands back.
        #[arg(long, conflicts_with = "carrier")]
        failover: bool,
    },
    /// End-to-end tests: those of every change, or those named.
    Test {
        names: Vec<String>,
        /// All, also those that are too slow for every change.
        #[arg(long, conflicts_with = "names")]
        nightly: bool,
        /// Only list them.
        #[arg(long)]
        list: bool,
    },
    /// Time from the first packet's departure to its arrival, over fresh calls, and the gateway's own share of it.
    MeasureTrigger {
        #[arg(long, default_value_t = 100)]
        calls: u32,
    },
    /// Many calls between two gateways at a rate: set-up, first packets, memory, and what it costs the others when they end.
    MeasureScale {
        /// Calls.
        #[arg(long, default_value_t = 1024, value_parser = clap::value_parser!(u32).range(64..=4096))]
        tunnels: u32,
        /// First packets per second.
        #[arg(long, default_value_t = 500, value_parser = clap::value_parser!(u32).range(1..=10_000))]
        rate: u32,
    },
    /// How long traffic stands still when the primary is cut: its distribution, packets lost, and a picture.
    MeasureFailover {
        #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..))]
        cuts: u32,
        /// The picture.
        #[arg(long, default_value = "failover.svg")]
        svg: PathBuf,
    },
    /// iperf3 through both gateways at a rate that only the machine limits, and beside it through two strongSwans.
    MeasureThroughput {
        /// Only the UDP stream at its fixed rate, which says where packets are lost.
        #[arg(long)]
        udp: bool,
        /// Of each stream.
        #[arg(long, default_value_t = 5)]
        seconds: u32,
        /// Streams of each, in turn, in each direction.
        #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..))]
        rounds: u32,
    },
    /// Bytes in each second on the wire at 64, 512, 1000 kbps and 100 Mbit/s, and a ping beside a bulk upload at 64 kbps.
    MeasureShaper {
        /// At each rate.
        #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u32).range(3..=600))]
        seconds: u32,
    },
    /// Packets per second through a plain AF_XDP forwarder, two sipsec gateways and two strongSwans, in turn.
    Compare {
        /// Searches of each, in turn, per packet length.
        #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=100))]
        rounds: u32,
        /// Length of each trial of a search.
        #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=60))]
        seconds: u32,
        /// Lost packets that are tolerated, in percent.
        #[arg(long, default_value_t = 0.1)]
        loss: f64,
        /// Lengths of the inner IP packets.
        #[arg(long, value_delimiter = ',', default_values_t = [64, 512, 1400])]
        sizes: Vec<u16>,
        /// Directory for the picture and the list of results.
        #[arg(long, default_value = "bench/history")]
        out: PathBuf,
    },
    /// Network, carrier and, if they are built, both gateways, until Ctrl-C.
    Up {
        /// The carrier knows MD5 digests only.
        #[arg(long)]
        md5_only: bool,
        /// The carrier asks for credentials with every INVITE (407).
        #[arg(long)]
        authenticate_invite: bool,
    },
    /// Removes what killed labs left behind.
    Clean,
    /// Says what this machine lacks.
    Check,
}

fn kind(word: &str) -> Result<Kind, String> {
    Kind::of_word(word).ok_or_else(|| "one of generic, ntt-direct, ntt-hgw".to_owned())
}

fn main() -> ExitCode {
    let args = Args::parse();
    let programs = args.programs.unwrap_or_else(|| args.root.join("target/release"));
    let places = Places::in_checkout(&args.root, &programs);
    match command(args.command, places) {
        Ok(code) => code,
        Err(LabError::Interrupted) => ExitCode::from(130),
        Err(e) => {
            eprintln!("{e}");
            ExitCode::FAILURE
        }
    }
}

fn command(command: Command, places: Places) -> Result<ExitCode, LabError> {
    match command {
        Command::Demo { failover: true, keep, .. } => {
            needs::check(Some(&places.programs))?;
            interrupt::listen()?;
            demo_failover::demo(places, keep)?;
        }
        Command::Demo { keep, carrier, failover: false } => {
            needs::check(Some(&places.programs))?;
            if carrier != Kind::Generic {
                needs::tool("dnsmasq", "dnsmasq-base")?;
            }
            interrupt::listen()?;
            demo::demo(places, keep, carrier)?;
        }
        Command::Test { list: true, .. } => {
            for scenario in SCENARIOS {
                let when = if scenario.nightly { "nightly" } else { "" };
                println!("{:<24} {when:<8} {}", scenario.name, scenario.about);
            }
        }
        Command::Test { names, nightly, .. } => {
            needs::check(None)?;
            interrupt::listen()?;
            let selection = match (nightly, names.as_slice()) {
                (true, _) => Selection::Nightly,
                (false, []) => Selection::EveryChange,
                (false, names) => Selection::Named(names),
            };
            let failures = scenario::run(&Context { places }, selection)?;
            if failures > 0 {
                eprintln!("{failures} of the end-to-end tests failed");
                return Ok(ExitCode::FAILURE);
            }
        }
        Command::MeasureTrigger { calls } => {
            needs::check(Some(&places.programs))?;
            interrupt::listen()?;
            measure::trigger(places, calls)?;
        }
        Command::MeasureScale { tunnels, rate } => {
            needs::check(Some(&places.programs))?;
            interrupt::listen()?;
            measure_scale::scale(places, measure_scale::Plan { tunnels, rate })?;
        }
        Command::MeasureFailover { cuts, svg } => {
            needs::check(Some(&places.programs))?;
            interrupt::listen()?;
            measure_failover::failover(places, cuts, &svg)?;
        }
        Command::MeasureThroughput { udp, seconds, rounds } => {
            needs::check(Some(&places.programs))?;
            interrupt::listen()?;
            measure::throughput(places, seconds, rounds, udp)?;
        }
        Command::MeasureShaper { seconds } => {
            needs::check(Some(&places.programs))?;
            interrupt::listen()?;
            measure_shaper::shaper(places, seconds)?;
        }
        Command::Compare { rounds, seconds, loss, sizes, out } => {
            needs::check(Some(&places.programs))?;
            interrupt::listen()?;
            compare::compare(places, &compare::Plan { rounds, seconds, loss, sizes }, &out)?;
        }
        Command::Up { md5_only, authenticate_invite } => {
            needs::check(None)?;
            interrupt::listen()?;
            let mut knobs = Knobs { authenticate_invite, ..Knobs::default() };
            if md5_only {
                knobs.algorithms = vec![Algorithm::Md5];
            }
            up(places, knobs)?;
        }
        Command::Clean => {
            for name in netns::clean()? {
                println!("removed {name}");
            }
        }
        Command::Check => {
            needs::check(Some(&places.programs))?;
            println!("nothing is missing");
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn up(places: Places, knobs: Knobs) -> Result<(), LabError> {
    let built = places.programs.absent().is_empty();
    let mut world = World::up(places, Options::default(), knobs)?;
    if built {
        world.start_gateways()?;
    } else {
        sipsec_bench::say!("the gateways' programs are not built: network and carrier only");
    }
    sipsec_bench::say!("up until Ctrl-C; in another terminal:");
    sipsec_bench::say!("  ip netns exec sipsec-branch-lan ping {CENTRE_LAN_HOST}");
    for gateway in [&world.branch, &world.headend].into_iter().flatten() {
        sipsec_bench::say!("  {}", gateway.cli_words("show vpn-sip session detail"));
    }
    let events = world.take_events();
    let ladder = sipsec_bench::lab::ladder::Ladder::new(sipsec_bench::lab::clock::now(), false);
    sipsec_bench::say!("{}", ladder.heading());
    let forever = Duration::from_secs(u64::from(u32::MAX));
    let ended: Result<(), LabError> = interrupt::wait_for("an interrupt", forever, || {
        for event in events.iter().flat_map(sipsec_bench::lab::world::Events::drain) {
            sipsec_bench::say!("{}", ladder.render(&event));
        }
        for gateway in [&mut world.branch, &mut world.headend].into_iter().flatten() {
            gateway.check()?;
        }
        Ok(None)
    });
    print!("{}", world.carrier.bill_text());
    ended
}
