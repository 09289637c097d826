//! `sipsec-lab compare`: the throughput of a plain forwarder, of two sipsec gateways and of two strongSwans, measured in turn,
//! so that all three meet the same machine.
//!
//! Each contestant carries UDP from one device of a tester to another. For sipsec and strongSwan that is the whole path:
//! encryption at the branch and decryption at the centre, on this machine's cores.

mod bars;
mod contestant;
mod history;

use super::error::LabError;
use super::interrupt::check;
use super::measure::median;
use super::netns;
use super::world::Places;
use contestant::Contestant;
use serde_json::{Value, json};
use std::path::Path;

/// Packets per second of the first trial: more than a core carries.
const HIGHEST: &str = "5000000";

/// What to measure.
#[derive(Clone, Debug)]
pub struct Plan {
    pub rounds: u32,
    /// Length of each trial of a search.
    pub seconds: u32,
    /// Tolerated loss in percent.
    pub loss: f64,
    /// Lengths of inner IP packets.
    pub sizes: Vec<u16>,
}

/// Packets per second of all rounds, by length.
#[derive(Clone, Debug)]
struct Series {
    name: &'static str,
    /// For each length of the plan: one value per round; 0 where no rate was carried.
    rates: Vec<Vec<f64>>,
}

impl Series {
    fn medians(&self) -> Vec<f64> {
        self.rates.iter().map(|rates| median(&mut rates.clone())).collect()
    }
}

/// Prints a table; writes a picture and appends a line to the list of results in `out`.
pub fn compare(places: Places, plan: &Plan, out: &Path) -> Result<(), LabError> {
    let pktgen = places.target.join("sipsec-pktgen");
    let contestants = contestant::all(places)?;
    let mut series: Vec<Series> = contestants
        .iter()
        .map(|c| Series { name: c.name(), rates: vec![Vec::new(); plan.sizes.len()] })
        .collect();
    for (at, size) in plan.sizes.iter().enumerate() {
        for round in 1..=plan.rounds {
            for (contestant, series) in contestants.iter().zip(&mut series) {
                check()?;
                let rate = throughput(contestant, &pktgen, *size, plan)?;
                crate::say!("{size} bytes, round {round}: {} {rate:.0} packets/s", contestant.name());
                series.rates[at].push(rate);
            }
        }
    }
    crate::say!("{}", table(plan, &series));
    std::fs::create_dir_all(out).map_err(LabError::io(out.display().to_string()))?;
    let picture = out.join("compare.svg");
    std::fs::write(&picture, bars::svg(plan, &series))
        .map_err(LabError::io(picture.display().to_string()))?;
    let results = out.join("compare.jsonl");
    history::append(&results, &record(plan, &series))?;
    crate::say!("picture: {}\nresults: {}", picture.display(), results.display());
    Ok(())
}

fn throughput(contestant: &Contestant, pktgen: &Path, size: u16, plan: &Plan) -> Result<f64, LabError> {
    let size = size.to_string();
    let start = |subcommand: &str| {
        let mut command = contestant.tester().command(pktgen);
        command.args([subcommand, "--json", "--tx", contestant::TX, "--rx", contestant::RX]);
        command.args(["--to", contestant.next_hop(), "--source", contestant::SOURCE]);
        command.args(["--destination", contestant::DESTINATION, "--sizes", &size]);
        command
    };
    // A slow stream first: it opens the call, if there is none.
    let mut warm_up = start("run");
    netns::run(warm_up.args(["--rate", "1000", "--seconds", "2"]))?;
    let mut command = start("throughput");
    command.args(["--from", HIGHEST, "--seconds", &plan.seconds.to_string()]);
    command.args(["--loss", &plan.loss.to_string()]);
    let output = command.output().map_err(LabError::io(pktgen.display().to_string()))?;
    let report: Value = serde_json::from_slice(&output.stdout).map_err(|_| {
        let stderr = String::from_utf8_lossy(&output.stderr).trim().to_owned();
        LabError::failed(format!("sipsec-pktgen gives no result for {}", contestant.name()), stderr)
    })?;
    Ok(report["throughput_per_second"].as_f64().unwrap_or_default())
}

fn table(plan: &Plan, series: &[Series]) -> String {
    let mut out = format!(
        "packets/s with at most {} % lost, median of {} ({} s per trial)\n{:>8}",
        plan.loss, plan.rounds, plan.seconds, "bytes"
    );
    for s in series {
        out += &format!("{:>14}", s.name);
    }
    for s in &series[1..] {
        out += &format!("{:>15}", format!("{}/fwd", s.name));
    }
    let medians: Vec<Vec<f64>> = series.iter().map(Series::medians).collect();
    for (at, size) in plan.sizes.iter().enumerate() {
        out += &format!("\n{size:>8}");
        for m in &medians {
            out += &format!("{:>14.0}", m[at]);
        }
        for m in &medians[1..] {
            let ratio =
                if medians[0][at] > 0.0 { format!("{:.2}", m[at] / medians[0][at]) } else { "-".into() };
            out += &format!("{ratio:>15}");
        }
    }
    out
}

fn record(plan: &Plan, series: &[Series]) -> Value {
    let all: serde_json::Map<String, Value> = series
        .iter()
        .map(|s| {
            let by_size: serde_json::Map<String, Value> = plan
                .sizes
                .iter()
                .zip(&s.rates)
                .map(|(size, rates)| (size.to_string(), json!(rates)))
                .collect();
            (s.name.to_owned(), by_size.into())
        })
        .collect();
    json!({
        "what": "compare",
        "loss_percent_max": plan.loss,
        "trial_seconds": plan.seconds,
        "packets_per_second": all,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan() -> Plan {
        Plan { rounds: 3, seconds: 1, loss: 0.1, sizes: vec![64, 1400] }
    }

    fn series() -> Vec<Series> {
        vec![
            Series { name: "forwarder", rates: vec![vec![100.0, 300.0, 200.0], vec![90.0, 80.0, 100.0]] },
            Series { name: "sipsec", rates: vec![vec![100.0, 101.0, 99.0], vec![0.0, 0.0, 0.0]] },
        ]
    }

    #[test]
    fn the_table_has_medians_and_ratios_within_80_columns() {
        let table = table(&plan(), &series());
        let rows: Vec<Vec<&str>> = table.lines().skip(2).map(|l| l.split_whitespace().collect()).collect();
        assert_eq!(rows, [["64", "200", "100", "0.50"], ["1400", "90", "0", "0.00"]]);
        assert!(table.lines().all(|l| l.len() <= 80), "{table}");
    }

    #[test]
    fn the_picture_has_a_bar_for_each_value_and_escapes_nothing_by_hand() {
        let svg = bars::svg(&plan(), &series());
        assert_eq!(svg.matches("class=\"bar\"").count(), 4);
        assert!(svg.starts_with("<svg ") && svg.ends_with("</svg>\n"));
    }
}
