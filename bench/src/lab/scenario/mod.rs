//! End-to-end tests in namespaces, on the built programs. `sipsec-lab test` runs all, `sipsec-lab test NAME` one.

mod call;
mod network;
mod refusal;

use super::carrier::Knobs;
use super::error::LabError;
use super::topology::Options;
use super::world::{Places, World};
use std::time::Instant;

/// What a scenario is given.
#[derive(Clone, Debug)]
pub struct Context {
    pub places: Places,
}

impl Context {
    /// A network of its own, with a carrier.
    pub fn world(&self, tag: &str, knobs: Knobs) -> Result<World, LabError> {
        World::up(self.places.clone(), Options { tag: tag.into(), router_mode: false }, knobs)
    }
}

#[derive(Clone, Copy)]
pub struct Scenario {
    pub name: &'static str,
    pub about: &'static str,
    /// Whether it runs the gateways' programs.
    pub gateways: bool,
    pub run: fn(&Context) -> Result<(), LabError>,
}

impl std::fmt::Debug for Scenario {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name)
    }
}

/// In the order in which they run: what the others stand on first.
pub const SCENARIOS: &[Scenario] = &[
    network::SCENARIO,
    call::FIRST_PACKET,
    call::HEADEND_CALLS,
    call::PEER_GONE,
    refusal::BUSY,
    refusal::UNKNOWN_NUMBER,
    refusal::WRONG_PSK,
];

/// Runs those whose name is given, or all. Gives the number of failures.
pub fn run(context: &Context, names: &[String]) -> Result<usize, LabError> {
    if let Some(unknown) = names.iter().find(|n| SCENARIOS.iter().all(|s| s.name != **n)) {
        let known: Vec<_> = SCENARIOS.iter().map(|s| s.name).collect();
        return Err(LabError::failed(format!("there is no test {unknown}"), known.join("\n")));
    }
    let mut failures = 0;
    for scenario in SCENARIOS.iter().filter(|s| names.is_empty() || names.iter().any(|n| n == s.name)) {
        super::interrupt::check()?;
        super::needs::check(scenario.gateways.then_some(&context.places.programs))?;
        let started = Instant::now();
        let result = (scenario.run)(context);
        let seconds = started.elapsed().as_secs_f64();
        match result {
            Ok(()) => println!("ok      {:<16} {seconds:>5.1} s  {}", scenario.name, scenario.about),
            Err(LabError::Interrupted) => return Err(LabError::Interrupted),
            Err(e) => {
                failures += 1;
                println!("FAILED  {:<16} {seconds:>5.1} s  {}\n{e}", scenario.name, scenario.about);
            }
        }
    }
    Ok(failures)
}

/// A condition of a test.
fn ensure(holds: bool, what: &str, details: impl FnOnce() -> String) -> Result<(), LabError> {
    if holds { Ok(()) } else { Err(LabError::failed(what, details())) }
}
