//! `sipsec-pktgen`: generator, sink and plain forwarder on AF_XDP.
#![forbid(unsafe_code)]

use clap::{Args, Parser, Subcommand};
use sipsec_bench::lab::interrupt;
use sipsec_bench::pktgen::forward::{Rewrite, forward};
use sipsec_bench::pktgen::measure::{Stream, trial};
use sipsec_bench::pktgen::pace::Rate;
use sipsec_bench::pktgen::packet::{FLOWS_MAX, Family, Path};
use sipsec_bench::pktgen::ports::{Ports, check_mtu, mac_of, parse_mac};
use sipsec_bench::pktgen::search::Search;
use sipsec_bench::pktgen::sizes::Sizes;
use sipsec_bench::pktgen::{PktgenError, report};
use sipsec_net::MacAddr;
use std::net::IpAddr;
use std::process::ExitCode;
use std::time::Duration;

/// Longer runs are typing errors.
const SECONDS_MAX: f64 = 3_600.0;
/// Packets per second of the first trial of a search.
const SEARCH_FROM: f64 = 20_000_000.0;

#[derive(Parser)]
#[command(
    version,
    about = "Packet generator, sink and plain forwarder on AF_XDP",
    long_about = "Packet generator, sink and plain forwarder on AF_XDP.\n\nEach command takes queue 0 of its devices: the \
                  kernel gets no frame of them while it runs. It needs root, and ends by itself after its time."
)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Sends a stream by one device, receives it by another; prints loss, order and latency.
    Run(RunArgs),
    /// Finds the highest rate with at most a given loss (RFC 2544 §26.1).
    Throughput {
        #[command(flatten)]
        stream: StreamArgs,
        /// Length of each trial. RFC 2544 §24 wants 60.
        #[arg(long, default_value_t = 5.0)]
        seconds: f64,
        /// Lost packets that are tolerated, in percent.
        #[arg(long, default_value_t = 0.0)]
        loss: f64,
        /// Packets per second of the first trial.
        #[arg(long, default_value_t = SEARCH_FROM)]
        from: f64,
        #[arg(long)]
        json: bool,
    },
    /// Carries every frame of one device to the other, both ways.
    Forward {
        /// The first device.
        #[arg(long)]
        a: String,
        /// The second device.
        #[arg(long)]
        b: String,
        /// Destination MAC of frames that leave by the first device; unchanged if not given.
        #[arg(long, value_parser = mac)]
        to_a: Option<MacAddr>,
        /// Destination MAC of frames that leave by the second device; unchanged if not given.
        #[arg(long, value_parser = mac)]
        to_b: Option<MacAddr>,
        #[arg(long, default_value_t = 60.0)]
        seconds: f64,
    },
}

#[derive(Args)]
struct RunArgs {
    #[command(flatten)]
    stream: StreamArgs,
    /// Packets per second; as many as the device takes if not given.
    #[arg(long)]
    rate: Option<f64>,
    #[arg(long, default_value_t = 5.0)]
    seconds: f64,
    /// Ends after this many packets.
    #[arg(long)]
    count: Option<u64>,
    #[arg(long)]
    json: bool,
}

#[derive(Args)]
struct StreamArgs {
    /// The device that sends.
    #[arg(long)]
    tx: String,
    /// The device that receives.
    #[arg(long)]
    rx: String,
    /// MAC address of the next hop, which is the device under test.
    #[arg(long, value_parser = mac)]
    to: MacAddr,
    /// MAC address of the sending device, if it is not the device's own.
    #[arg(long, value_parser = mac)]
    from_mac: Option<MacAddr>,
    /// Source address of the packets.
    #[arg(long)]
    source: IpAddr,
    /// Destination address of the packets.
    #[arg(long)]
    destination: IpAddr,
    /// Bytes of each IP packet, or a mix such as `64:7,576:4,1400:1`.
    #[arg(long, default_value = "512", conflicts_with = "imix")]
    sizes: Sizes,
    /// The simple IMIX: 7 small packets, 4 of 576 bytes, 1 of 1400 bytes.
    #[arg(long)]
    imix: bool,
    /// Flows, which differ in their source port.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=i64::from(FLOWS_MAX)))]
    flows: u16,
    /// How long to wait for late packets, in seconds. RFC 2544 §23 wants 2.
    #[arg(long, default_value_t = 0.5)]
    drain: f64,
}

fn mac(text: &str) -> Result<MacAddr, String> {
    parse_mac(text).ok_or_else(|| format!("`{text}` is no MAC address such as 02:00:00:00:00:01"))
}

fn main() -> ExitCode {
    match run(Cli::parse().command) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("sipsec-pktgen: {error}");
            ExitCode::from(2)
        }
    }
}

fn seconds(value: f64, what: &str) -> Result<Duration, PktgenError> {
    if value.is_finite() && value > 0.0 && value <= SECONDS_MAX {
        Ok(Duration::from_secs_f64(value))
    } else {
        Err(PktgenError::Arguments(format!("{what} {value}: more than 0 and at most {SECONDS_MAX} s")))
    }
}

impl StreamArgs {
    fn stream(&self, rate: Rate, duration: Duration, count: Option<u64>) -> Result<Stream, PktgenError> {
        let family = Family::of(self.source);
        if family != Family::of(self.destination) {
            let text = "--source and --destination are addresses of different families";
            return Err(PktgenError::Arguments(text.to_owned()));
        }
        if self.tx == self.rx {
            let text = "--tx and --rx are the same device: the sink needs one of its own";
            return Err(PktgenError::Arguments(text.to_owned()));
        }
        let sizes = if self.imix { Sizes::imix(family) } else { self.sizes.clone() };
        sizes.check(family).map_err(PktgenError::Arguments)?;
        let source_mac = match self.from_mac {
            Some(mac) => mac,
            None => mac_of(&self.tx, "--from-mac")?,
        };
        let path =
            Path { source_mac, destination_mac: self.to, source: self.source, destination: self.destination };
        let drain = seconds(self.drain, "--drain")?;
        Ok(Stream { path, sizes, flows: self.flows, rate, duration, count, drain })
    }

    fn ports(&self, stream: &Stream) -> Result<Ports, PktgenError> {
        let longest = stream.sizes.round().into_iter().max().unwrap_or_default();
        for device in [&self.tx, &self.rx] {
            check_mtu(device, longest)?;
        }
        Ports::open([&self.tx, &self.rx], longest > 1500)
    }
}

fn per_second(rate: f64, option: &str) -> Result<f64, PktgenError> {
    if rate.is_finite() && rate >= 1.0 {
        Ok(rate)
    } else {
        Err(PktgenError::Arguments(format!("{option} {rate}: at least 1 packet per second")))
    }
}

fn run(command: Command) -> Result<ExitCode, PktgenError> {
    match command {
        Command::Run(args) => {
            let rate = match args.rate {
                Some(rate) => Rate::PerSecond(per_second(rate, "--rate")?),
                None => Rate::Unlimited,
            };
            let stream = args.stream.stream(rate, seconds(args.seconds, "--seconds")?, args.count)?;
            let mut ports = args.stream.ports(&stream)?;
            let result = trial(&mut ports, &stream)?;
            if args.json {
                println!("{:#}", report::json(&stream, &result));
            } else {
                println!("{} ({})", report::stream(&stream), ports.mode.name());
                print!("{}", report::text(&result));
            }
            // A script sees by the status that nothing came through.
            Ok(if result.tally.received > 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
        }
        Command::Throughput { stream: args, seconds: length, loss, from, json } => {
            if !(0.0..100.0).contains(&loss) {
                return Err(PktgenError::Arguments(format!("--loss {loss}: 0 to 100 percent")));
            }
            let length = seconds(length, "--seconds")?;
            let mut stream = args.stream(Rate::PerSecond(per_second(from, "--from")?), length, None)?;
            let mut ports = args.ports(&stream)?;
            let search = Search { highest: from, loss_max: loss / 100.0, resolution: 0.01, trials_max: 24 };
            let found = search.run(|rate| {
                stream.rate = Rate::PerSecond(rate);
                trial(&mut ports, &stream).map(|t| (t.sent_per_second(), t.loss()))
            })?;
            if json {
                println!("{:#}", report::search_json(&found, search.loss_max));
            } else {
                println!("{} ({})", report::stream(&stream), ports.mode.name());
                print!("{}", report::search_text(&found, search.loss_max));
            }
            Ok(if found.throughput.is_some() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
        }
        Command::Forward { a, b, to_a, to_b, seconds: length } => {
            let length = seconds(length, "--seconds")?;
            let leave = |device: &str, to: Option<MacAddr>| match to {
                Some(destination) => mac_of(device, "another namespace's sysfs")
                    .map(|source| Some(Rewrite { source, destination })),
                None => Ok(None),
            };
            let rewrite = [leave(&a, to_a)?, leave(&b, to_b)?];
            let mut ports = Ports::open([&a, &b], false)?;
            interrupt::listen().map_err(|e| PktgenError::Arguments(e.to_string()))?;
            println!("{a} <-> {b} ({})", ports.mode.name());
            let carried = forward(&mut ports, rewrite, length, || interrupt::check().is_err())?;
            for (direction, at) in [(format!("{a} to {b}"), 0), (format!("{b} to {a}"), 1)] {
                println!("{direction}: {} carried, {} dropped", carried.frames[at], carried.dropped[at]);
            }
            Ok(ExitCode::SUCCESS)
        }
    }
}
