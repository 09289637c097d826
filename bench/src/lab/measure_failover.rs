//! How long traffic stands still when the primary is cut, over many cuts.

use super::error::LabError;
use super::failover::{ANSWER_AFTER, Setup, wait_primary, world_with};
use super::interrupt::check;
use super::primary::Path;
use super::probe::{Receiver, Sender};
use super::topology::CENTRE_LAN_HOST;
use super::world::{Places, World};
use hdrhistogram::Histogram;
use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::time::Duration;

const GAP: Duration = Duration::from_millis(5);
/// Packets of one cut: some before it, and so many that the tunnel carries the last ones.
const PACKETS: u32 = 400;
const BEFORE: u32 = 20;
const TAIL: Duration = Duration::from_secs(2);
const OUTAGE_MAX_MS: u64 = 60_000;
/// Back as soon as the primary is good again: the next cut waits for it.
const FAILBACK: &str = "hold_s: 0, good_probes: 2, calls_per_hour: 0";

/// Room for what comes in a second: by default 64 packets wait, which is what comes in 320 ms.
const QUEUE: &str = "idle_s: 5\n    trigger: { packets: 200 }";

/// One cut.
#[derive(Clone, Copy, Debug)]
struct Cut {
    /// From the cut to the first arrival of a packet that was sent after it; `None` if none came.
    outage_ms: Option<u64>,
    /// Sent into the path that was cut, before the probes had told the gateway: no gateway can have them back.
    lost_on_primary: u32,
    /// Any other: the tunnel, or its queue, has lost them.
    lost_elsewhere: u32,
}

/// Cuts the primary `cuts` times, prints the distribution of the outage, and draws it.
pub fn failover(places: Places, cuts: u32, svg: &std::path::Path) -> Result<(), LabError> {
    let branch: &[_] = &[("idle_s: 5", QUEUE)];
    let setup = Setup { tag: "fom", failback: FAILBACK, idle_s: 5, branch, ..Setup::default() };
    let mut world = world_with(places, setup)?;
    let receiver = Receiver::new(&world.topology.centre_lan)?;
    let sender = Sender::new(&world.topology.branch_lan, CENTRE_LAN_HOST)?;
    let mut all = Vec::new();
    for series in 0..cuts {
        check()?;
        all.push(one(&world, &sender, &receiver, series)?);
        world.topology.primary()?.set(Path::Good)?;
        wait_primary(&mut world, true)?;
        // The next cut needs a call of its own.
        for gateway in [&mut world.branch, &mut world.headend].into_iter().flatten() {
            gateway.cli(&["clear", "vpn-sip", "session", "--yes"])?;
            gateway.wait_free()?;
        }
        world.check()?;
    }
    report(&all, &world);
    std::fs::write(svg, picture(&all)).map_err(LabError::io(svg.display().to_string()))?;
    println!("outage of each cut: {}", svg.display());
    Ok(())
}

fn one(world: &World, sender: &Sender, receiver: &Receiver, series: u32) -> Result<Cut, LabError> {
    let primary = world.topology.primary()?;
    let (cut_at, arrived) = std::thread::scope(|scope| {
        let reader = scope.spawn(|| receiver.take(series, PACKETS, GAP * PACKETS + TAIL));
        let mut cut_at = super::clock::now();
        for number in 0..PACKETS {
            if number == BEFORE {
                primary.set(Path::Cut)?;
                cut_at = super::clock::now();
            }
            sender.send(series, number)?;
            std::thread::sleep(GAP);
        }
        let arrived = reader.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))?;
        Ok::<_, LabError>((cut_at, arrived))
    })?;
    let first = arrived.iter().filter(|(probe, _)| probe.departed >= cut_at).map(|(_, at)| *at).min();
    let outage_ms = first.map(|at| at.saturating_duration_since(cut_at).as_millis());
    let numbers: BTreeSet<u32> = arrived.iter().map(|(probe, _)| probe.number).collect();
    let (lost_on_primary, lost_elsewhere) = lost(&numbers);
    Ok(Cut {
        outage_ms: outage_ms.map(|ms| u64::try_from(ms).unwrap_or(OUTAGE_MAX_MS)),
        lost_on_primary,
        lost_elsewhere,
    })
}

/// What did not arrive: of the packets between the cut and the first that the tunnel carried, and of all others.
fn lost(arrived: &BTreeSet<u32>) -> (u32, u32) {
    let by_tunnel = arrived.range(BEFORE..).next().copied().unwrap_or(PACKETS);
    let count = |numbers: std::ops::Range<u32>| {
        u32::try_from(numbers.filter(|n| !arrived.contains(n)).count()).unwrap_or(PACKETS)
    };
    (count(BEFORE..by_tunnel), count(0..BEFORE) + count(by_tunnel..PACKETS))
}

fn histogram(all: &[Cut]) -> Histogram<u64> {
    let mut out = Histogram::new_with_bounds(1, OUTAGE_MAX_MS, 3).expect("constant bounds");
    all.iter().filter_map(|c| c.outage_ms).for_each(|ms| out.saturating_record(ms.max(1)));
    out
}

fn report(all: &[Cut], world: &World) {
    let outages = histogram(all);
    let never = all.iter().filter(|c| c.outage_ms.is_none()).count();
    println!(
        "outage, {} cuts, probes every 100 ms, answer after {} ms: p50 {} ms, p99 {} ms, max {} ms",
        all.len(),
        ANSWER_AFTER.as_millis(),
        outages.value_at_quantile(0.5),
        outages.value_at_quantile(0.99),
        outages.max()
    );
    if never > 0 {
        println!("cuts after which nothing arrived: {never}");
    }
    let sum = |of: fn(&Cut) -> u32| all.iter().map(of).sum::<u32>();
    let (on_primary, elsewhere) = (sum(|c| c.lost_on_primary), sum(|c| c.lost_elsewhere));
    let each = f64::from(on_primary) / all.len().max(1) as f64;
    println!(
        "packets: {} sent, one each {} ms; {:.1} lost for each cut: {on_primary} in all on the cut path before the probes told the \
         gateway ({each:.1} for each cut, so {:.0} ms), {elsewhere} elsewhere",
        all.len() * PACKETS as usize,
        GAP.as_millis(),
        f64::from(on_primary + elsewhere) / all.len().max(1) as f64,
        each * GAP.as_millis() as f64,
    );
    println!("calls: {} placed, {} still up", world.carrier.calls(), world.carrier.calls_up());
}

/// The outage of each cut, with the median and the 99th percentile.
fn picture(all: &[Cut]) -> String {
    const WIDTH: f64 = 900.0;
    const HEIGHT: f64 = 400.0;
    const LEFT: f64 = 60.0;
    const BOTTOM: f64 = 40.0;
    let outages = histogram(all);
    let top = (outages.max().max(1000) as f64 / 250.0).ceil() * 250.0;
    let x = |cut: usize| LEFT + (WIDTH - LEFT - 10.0) * (cut as f64 + 0.5) / all.len().max(1) as f64;
    let y = |ms: f64| 10.0 + (HEIGHT - BOTTOM - 10.0) * (1.0 - ms.min(top) / top);
    let mut out = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{WIDTH}\" height=\"{HEIGHT}\" font-family=\"sans-serif\" font-size=\"12\">\n\
         <rect width=\"100%\" height=\"100%\" fill=\"white\"/>\n"
    );
    // Writing to a String cannot fail.
    for step in 0..=(top / 250.0) as u32 {
        let ms = f64::from(step) * 250.0;
        let at = y(ms);
        let _ = writeln!(
            out,
            "<line x1=\"{LEFT}\" x2=\"{WIDTH}\" y1=\"{at:.1}\" y2=\"{at:.1}\" stroke=\"#ddd\"/>\
             <text x=\"{:.0}\" y=\"{:.1}\" text-anchor=\"end\">{ms}</text>",
            LEFT - 6.0,
            at + 4.0
        );
    }
    for (cut, found) in all.iter().enumerate() {
        let (ms, colour) = found.outage_ms.map_or((top, "#c00"), |ms| (ms as f64, "#36c"));
        let _ = writeln!(out, "<circle cx=\"{:.1}\" cy=\"{:.1}\" r=\"3\" fill=\"{colour}\"/>", x(cut), y(ms));
    }
    for (quantile, name) in [(0.5, "p50"), (0.99, "p99")] {
        let ms = outages.value_at_quantile(quantile);
        let at = y(ms as f64);
        let _ = writeln!(
            out,
            "<line x1=\"{LEFT}\" x2=\"{WIDTH}\" y1=\"{at:.1}\" y2=\"{at:.1}\" stroke=\"#a50\" stroke-dasharray=\"6 4\"/>\
             <text x=\"{:.0}\" y=\"{:.1}\" fill=\"#a50\">{name} {ms} ms</text>",
            LEFT + 6.0,
            at - 4.0
        );
    }
    let _ = writeln!(
        out,
        "<text x=\"{:.0}\" y=\"{:.0}\" text-anchor=\"middle\">cut (1 to {})</text>\
         <text x=\"14\" y=\"{:.0}\" transform=\"rotate(-90 14 {:.0})\" text-anchor=\"middle\">outage, ms</text>\n</svg>",
        f64::midpoint(LEFT, WIDTH),
        HEIGHT - 10.0,
        all.len(),
        HEIGHT / 2.0,
        HEIGHT / 2.0
    );
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_cut_path_took_is_told_from_other_losses() {
        let all: BTreeSet<u32> = (0..PACKETS).collect();
        let without = |lost: &[u32]| all.iter().copied().filter(|n| !lost.contains(n)).collect();
        assert_eq!(lost(&all), (0, 0));
        assert_eq!(lost(&without(&[BEFORE, BEFORE + 1])), (2, 0));
        assert_eq!(lost(&without(&[3, BEFORE, BEFORE + 2, PACKETS - 1])), (1, 3));
        assert_eq!(lost(&(0..BEFORE).collect()), (PACKETS - BEFORE, 0));
    }

    #[test]
    fn the_picture_has_a_point_for_each_cut() {
        let cut = |outage_ms| Cut { outage_ms, lost_on_primary: 3, lost_elsewhere: 0 };
        let drawn = picture(&[cut(Some(612)), cut(Some(655)), cut(None)]);
        assert_eq!(drawn.matches("<circle").count(), 3);
        assert_eq!(drawn.matches("fill=\"#c00\"").count(), 1);
        assert!(drawn.contains("p50 612 ms") && drawn.ends_with("</svg>\n"), "{drawn}");
        assert!(picture(&[]).contains("</svg>"));
    }
}
