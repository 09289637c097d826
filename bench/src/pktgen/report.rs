//! Results as text for a terminal of 80 columns and as JSON.

use super::measure::{Stream, Trial};
use super::pace::Rate;
use super::packet::Family;
use super::search::Found;
use hdrhistogram::Histogram;
use serde_json::{Value, json};
use std::fmt::Write as _;

const QUANTILES: [(&str, f64); 4] = [("p50", 0.5), ("p90", 0.9), ("p99", 0.99), ("p99.9", 0.999)];

/// The line that says what was sent.
#[must_use]
pub fn stream(stream: &Stream) -> String {
    let family = Family::of(stream.path.source);
    let rate = match stream.rate {
        Rate::PerSecond(rate) => format!("{rate:.0} packets/s"),
        Rate::Unlimited => "as fast as possible".to_owned(),
    };
    format!(
        "{family}, {} bytes per IP packet, {} flow{}, {rate}, {:.1} s",
        stream.sizes,
        stream.flows,
        if stream.flows == 1 { "" } else { "s" },
        stream.duration.as_secs_f64()
    )
}

#[must_use]
pub fn text(trial: &Trial) -> String {
    let t = &trial.tally;
    let mut out = String::new();
    let _ = writeln!(out, "sent        {:>12}   {:>12.0} packets/s", trial.sent, trial.sent_per_second());
    let _ = writeln!(out, "received    {:>12}   {:>12.0} packets/s", t.received, trial.received_per_second());
    let _ = writeln!(out, "lost        {:>12}   {:>11.4} %", trial.lost(), trial.loss() * 100.0);
    let _ = writeln!(out, "reordered   {:>12}", t.reordered);
    let _ = writeln!(out, "duplicates  {:>12}", t.duplicates);
    if t.foreign > 0 {
        let _ = writeln!(out, "foreign     {:>12}   frames that the generator did not send", t.foreign);
    }
    if trial.missed > 0 {
        let _ = writeln!(out, "not offered {:>12}   the generator was too slow for the rate", trial.missed);
    }
    let _ = writeln!(out, "latency     {}", latency_text(t.latency()));
    out
}

fn latency_text(latency: &Histogram<u64>) -> String {
    if latency.is_empty() {
        return "none: no packet arrived".to_owned();
    }
    let us = |ns: u64| ns as f64 / 1e3;
    let quantiles = QUANTILES.map(|(name, q)| format!("{name} {:.1}", us(latency.value_at_quantile(q))));
    format!("{}, max {:.1} µs", quantiles.join(", "), us(latency.max()))
}

#[must_use]
pub fn json(stream: &Stream, trial: &Trial) -> Value {
    let t = &trial.tally;
    let mut latency = serde_json::Map::new();
    if !t.latency().is_empty() {
        for (name, q) in QUANTILES {
            latency.insert(format!("{name}_ns"), t.latency().value_at_quantile(q).into());
        }
        latency.insert("max_ns".into(), t.latency().max().into());
    }
    json!({
        "family": Family::of(stream.path.source).to_string(),
        "sizes": stream.sizes.to_string(),
        "flows": stream.flows,
        "sent": trial.sent,
        "sent_per_second": trial.sent_per_second(),
        "received": t.received,
        "received_per_second": trial.received_per_second(),
        "lost": trial.lost(),
        "loss": trial.loss(),
        "reordered": t.reordered,
        "duplicates": t.duplicates,
        "foreign": t.foreign,
        "not_offered": trial.missed,
        "latency": latency,
    })
}

/// The table of a search and its result.
#[must_use]
pub fn search_text(found: &Found, loss_max: f64) -> String {
    let mut out = format!("{:>16}{:>16}{:>12}\n", "asked/s", "offered/s", "lost %");
    for step in &found.steps {
        let _ = writeln!(
            out,
            "{:>16.0}{:>16.0}{:>12.4}  {}",
            step.rate,
            step.offered,
            step.loss * 100.0,
            if step.passed { "passed" } else { "failed" }
        );
    }
    let limit = loss_max * 100.0;
    let _ = match found.throughput {
        Some(rate) => writeln!(out, "throughput (at most {limit} % lost): {rate:.0} packets/s"),
        None => writeln!(out, "no rate was carried with at most {limit} % lost"),
    };
    out
}

#[must_use]
pub fn search_json(found: &Found, loss_max: f64) -> Value {
    let steps = found.steps.iter().map(|s| {
        json!({ "asked_per_second": s.rate, "offered_per_second": s.offered, "loss": s.loss, "passed": s.passed })
    });
    json!({
        "loss_max": loss_max,
        "throughput_per_second": found.throughput,
        "steps": steps.collect::<Vec<_>>(),
    })
}
