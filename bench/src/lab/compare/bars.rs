//! The picture of a comparison: groups of bars, one group per packet length.

use super::{Plan, Series};
use std::fmt::Write as _;

const WIDTH: f64 = 720.0;
const HEIGHT: f64 = 360.0;
const MARGIN: f64 = 60.0;
const COLOURS: [&str; 4] = ["#9aa5b1", "#2f6fde", "#d9822b", "#3a9d6b"];

/// A stand-alone SVG document.
pub fn svg(plan: &Plan, series: &[Series]) -> String {
    let medians: Vec<Vec<f64>> = series.iter().map(Series::medians).collect();
    let most = medians.iter().flatten().copied().fold(1.0, f64::max);
    let mut out = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" font-family=\"sans-serif\" \
         font-size=\"12\">\n<title>Throughput by packet length</title>\n\
         <rect width=\"{WIDTH}\" height=\"{HEIGHT}\" fill=\"white\"/>\n\
         <text x=\"{MARGIN}\" y=\"20\">thousand packets per second, at most {} % lost, median of {}</text>\n",
        plan.loss, plan.rounds
    );
    let (plot, floor) = (HEIGHT - 2.0 * MARGIN, HEIGHT - MARGIN);
    let group = (WIDTH - 2.0 * MARGIN) / plan.sizes.len().max(1) as f64;
    let bar = group * 0.8 / series.len().max(1) as f64;
    for (at, size) in plan.sizes.iter().enumerate() {
        let left = MARGIN + group * at as f64;
        for (n, m) in medians.iter().enumerate() {
            let (x, height) = (left + bar * n as f64, plot * m[at] / most);
            let colour = COLOURS[n % COLOURS.len()];
            let (y, middle) = (floor - height, x + bar / 2.0);
            let _ = writeln!(
                out,
                "<rect class=\"bar\" x=\"{x:.1}\" y=\"{y:.1}\" width=\"{:.1}\" height=\"{height:.1}\" \
                 fill=\"{colour}\"/><text x=\"{middle:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{:.0}</text>",
                bar * 0.95,
                y - 4.0,
                m[at] / 1e3
            );
        }
        let middle = left + group * 0.4;
        let _ = writeln!(
            out,
            "<text x=\"{middle:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{size} bytes</text>",
            floor + 18.0
        );
    }
    for (n, s) in series.iter().enumerate() {
        let x = MARGIN + 130.0 * n as f64;
        let y = HEIGHT - 20.0;
        let _ = writeln!(
            out,
            "<rect x=\"{x}\" y=\"{:.1}\" width=\"10\" height=\"10\" fill=\"{}\"/><text x=\"{:.1}\" y=\"{y}\">{}</text>",
            y - 9.0,
            COLOURS[n % COLOURS.len()],
            x + 15.0,
            s.name
        );
    }
    out += "</svg>\n";
    out
}
