//! End-to-end tests in namespaces, on the built programs. `sipsec-lab test` runs all, `sipsec-lab test NAME` one.

mod bad_input;
mod call;
mod carrier_faults;
mod carriers;
mod certificates;
mod change;
mod change_orders;
mod commands;
mod crash;
mod crash_token;
mod dhcp;
mod failover;
mod failover_drain;
mod failover_foreign;
mod families;
mod faults;
mod faults_money;
mod faults_start;
pub(super) mod faults_support;
mod filters;
mod imported;
mod inner_ipv6;
mod kamailio;
mod line;
mod nat;
mod network;
mod own_device;
mod path_mtu;
mod pki;
mod primary_nat;
mod qos;
mod quantum;
mod router;
mod routing;
mod sipp;
mod strongswan;
mod strongswan_certificates;
mod strongswan_fragments;
mod strongswan_keys;
mod strongswan_path_mtu;
mod strongswan_reauth;
mod strongswan_selectors;
mod strongswan_suites;
pub(super) mod support;
mod translation;
mod tun;
mod unprivileged;
mod workers;

use super::carrier::Knobs;
use super::error::LabError;
use super::needs;
use super::topology::Options;
use super::world::{Places, World};
use std::time::Instant;
use support::ensure;

/// What a scenario is given.
#[derive(Clone, Debug)]
pub struct Context {
    pub places: Places,
}

impl Context {
    /// A network of its own, with a carrier.
    pub fn world(&self, tag: &str, knobs: Knobs) -> Result<World, LabError> {
        World::up(self.places.clone(), Options { tag: tag.into(), ..Options::default() }, knobs)
    }
}

#[derive(Clone, Copy)]
pub struct Scenario {
    pub name: &'static str,
    pub about: &'static str,
    /// Whether it runs the gateways' programs.
    pub gateways: bool,
    /// Foreign programs and their packages; without them it is skipped.
    pub tools: &'static [(&'static str, &'static str)],
    /// Runs with `--nightly` or by its name: it repeats for longer what a faster scenario proves.
    pub nightly: bool,
    pub run: fn(&Context) -> Result<(), LabError>,
}

impl Scenario {
    const fn new(name: &'static str) -> Self {
        Self { name, about: "", gateways: true, tools: &[], nightly: false, run: |_| Ok(()) }
    }
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
    call::BURST,
    call::HEADEND_CALLS,
    call::GLARE,
    call::PEER_GONE,
    quantum::QUANTUM,
    inner_ipv6::INNER_IPV6,
    path_mtu::PATH_MTU,
    qos::QOS,
    router::FIRST_PACKET,
    router::LAN_ROUTERS,
    tun::FORWARDING,
    tun::CLEAR_TEXT,
    filters::FILTERS,
    own_device::OWN_DEVICE,
    translation::TRANSLATION,
    primary_nat::PRIMARY_NAT,
    bad_input::BAD_INPUT,
    bad_input::UNKNOWN_NUMBER,
    bad_input::WRONG_PSK,
    certificates::CERTIFICATES,
    imported::IMPORTED,
    carriers::CARRIERS,
    change::CHANGE,
    change::REPLACED,
    change_orders::ORDERS,
    crash::CONTROL_PLANE,
    crash::DATAPLANE,
    crash::POWER_CUT,
    crash_token::CRASH_TOKEN,
    faults::ADDRESS_SCAN,
    faults::ROUTE_CHURN,
    faults::RINGING_CRASH,
    faults::CALLED_CRASH,
    faults::DATAPLANE_FLAPS,
    faults::CARRIER_RESTART,
    faults::SVTI_AWAY,
    faults_money::MASS_HANG_UP,
    faults_money::MISSPELT_CLEAR,
    faults_money::OTHER_JOURNAL,
    faults_start::RESTARTS,
    faults_start::PROFILE_TEXTS,
    faults_start::IN_THE_WAY,
    unprivileged::UNPRIVILEGED,
    unprivileged::UNPRIVILEGED_TUN,
    workers::WORKERS,
    workers::ONE_QUEUE,
    line::NTT_DIRECT,
    line::NTT_HGW,
    line::RENUMBERED,
    line::PREFIX,
    line::REFUSES,
    dhcp::DHCP,
    dhcp::DHCPV6,
    dhcp::KEA_DHCPV4,
    commands::COMMANDS,
    carrier_faults::FAULTS,
    carrier_faults::STANDBY,
    carrier_faults::DELAYED_OFFER,
    carrier_faults::STORM,
    families::FAMILIES,
    failover::FAILOVER,
    failover::ROUTER,
    failover_foreign::FOREIGN,
    failover::TABLES,
    failover::LOSSY,
    failover::ONE_WAY,
    failover::SLOW,
    failover::BOTH,
    failover::FLAP,
    failover::CRASH,
    failover::DEVICE,
    failover::DATAPLANE,
    failover::DATAPLANE_ROUTER,
    failover::PHASES,
    failover_drain::DRAIN,
    failover_drain::DRAIN_BOUND,
    failover_drain::DRAIN_FAULTS,
    routing::FRR,
    kamailio::KAMAILIO,
    kamailio::STREAMS,
    kamailio::IPV6,
    sipp::SIPP,
    strongswan::INITIATOR,
    strongswan::RESPONDER,
    strongswan::LOSS,
    strongswan_suites::SUITES,
    strongswan_keys::KEY_CHANGE,
    strongswan_reauth::REAUTH,
    strongswan_selectors::NARROWS,
    strongswan_fragments::FRAGMENTS,
    strongswan_path_mtu::BLACK_HOLE,
    nat::NAT,
    strongswan_certificates::CERTIFICATES,
];

/// Which scenarios run.
#[derive(Clone, Copy, Debug)]
pub enum Selection<'a> {
    /// Those of every change.
    EveryChange,
    /// All: also those that are too slow for every change.
    Nightly,
    Named(&'a [String]),
}

impl Selection<'_> {
    fn takes(self, scenario: &Scenario) -> bool {
        match self {
            Self::EveryChange => !scenario.nightly,
            Self::Nightly => true,
            Self::Named(names) => names.iter().any(|n| n == scenario.name),
        }
    }
}

/// Runs the selected scenarios. Gives the number of failures.
pub fn run(context: &Context, selection: Selection<'_>) -> Result<usize, LabError> {
    let names = if let Selection::Named(names) = selection { names } else { &[] };
    if let Some(unknown) = names.iter().find(|n| SCENARIOS.iter().all(|s| s.name != **n)) {
        let known: Vec<_> = SCENARIOS.iter().map(|s| s.name).collect();
        return Err(LabError::failed(format!("there is no test {unknown}"), known.join("\n")));
    }
    let mut failures = 0;
    for scenario in SCENARIOS.iter().filter(|s| selection.takes(s)) {
        super::interrupt::check()?;
        needs::check(scenario.gateways.then_some(&context.places.programs))?;
        let absent: Vec<_> = scenario.tools.iter().filter(|(tool, _)| !needs::in_path(tool)).collect();
        if !absent.is_empty() {
            let cures: Vec<_> =
                absent.iter().map(|(tool, package)| format!("{tool} (package {package})")).collect();
            println!("skipped {:<24} needs {}", scenario.name, cures.join(", "));
            // A test that was asked for by its name must run.
            failures += usize::from(!names.is_empty());
            continue;
        }
        let started = Instant::now();
        let result = (scenario.run)(context);
        let seconds = started.elapsed().as_secs_f64();
        match result {
            Ok(()) => println!("ok      {:<24} {seconds:>5.1} s  {}", scenario.name, scenario.about),
            Err(LabError::Interrupted) => return Err(LabError::Interrupted),
            Err(e) => {
                failures += 1;
                println!("FAILED  {:<24} {seconds:>5.1} s  {}\n{e}", scenario.name, scenario.about);
            }
        }
    }
    Ok(failures)
}
