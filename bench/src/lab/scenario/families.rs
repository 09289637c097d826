//! IP versions outside of the tunnel: SIP and media over IPv6, and registration over IPv4 with calls over IPv6. Each carries
//! both versions inside; `inner-ipv6` has IPv6 inside of IPv4.

use super::support::{
    ask, both, ensure, ensure_in, explained, no_clear_text, ping_all, session, wait_status,
};
use super::{Context, Scenario};
use crate::lab::carrier::Knobs;
use crate::lab::error::LabError;
use crate::lab::profile::Profile;
use crate::lab::topology::{
    BRANCH_LAN_HOST, BRANCH_WAN6, CARRIER_BRANCH_SIDE, CARRIER_BRANCH_SIDE6, CENTRE_LAN_HOST, HEADEND_WAN6,
    Options,
};
use crate::lab::world::{BRANCH_NUMBER, HEADEND_NUMBER, World};
use std::time::Duration;

pub const FAMILIES: Scenario = Scenario {
    about: "SIP and media over IPv6, then REGISTER over IPv4 with calls over IPv6; both IP versions inside",
    run: families,
    ..Scenario::new("families")
};

const BRANCH: &str = "fd01::";
const CENTRE: &str = "fd02::";
const HANG_UP: Duration = Duration::from_secs(10);

fn families(context: &Context) -> Result<(), LabError> {
    let options = Options { tag: "fam".into(), ipv6: true, ..Options::default() };
    let mut world = World::up(context.places.clone(), options, Knobs::default())?;
    world.topology.inner_ipv6(BRANCH, CENTRE)?;
    let result = each(&mut world);
    explained(&world, result)
}

fn each(world: &mut World) -> Result<(), LabError> {
    let v6 = format!("registrar: \"[{CARRIER_BRANCH_SIDE6}]:5060\"");
    over(world, CARRIER_BRANCH_SIDE6, &v6)?;
    let apart = format!(
        "registrar: {CARRIER_BRANCH_SIDE}:5060\n  outbound_proxy: \"[{CARRIER_BRANCH_SIDE6}]:5060\"\n  \
         registration_family: ipv4\n  call_family: ipv6"
    );
    over(world, CARRIER_BRANCH_SIDE, &apart)
}

/// A call in each direction with these servers, of which the first takes the registrations. Its media are of IPv6.
fn over(world: &mut World, registrar: &str, servers: &str) -> Result<(), LabError> {
    let before = world.carrier.calls();
    let with = |world: &World, gateway, routes: &str, net: &str| -> Result<Profile, LabError> {
        world
            .profile(gateway)?
            .with("registrar: 198.51.100.1:5060", servers)?
            .with(&format!("[{routes}]"), &format!("[{routes}, \"{net}/64\"]"))
    };
    (world.branch, world.headend) = (None, None);
    let headend = with(world, "headend", "10.1.0.0/16", BRANCH)?;
    let branch = with(world, "branch", "10.2.0.0/16", CENTRE)?;
    world.start_headend(&headend)?;
    world.start_branch(&branch)?;
    world.wait_registered(&[BRANCH_NUMBER, HEADEND_NUMBER])?;
    for from_branch in [true, false] {
        let topology = &world.topology;
        let (lan, v4, v6) = if from_branch {
            (&topology.branch_lan, CENTRE_LAN_HOST, CENTRE)
        } else {
            (&topology.centre_lan, BRANCH_LAN_HOST, BRANCH)
        };
        // The first packet of each call is of IPv6 once, and of IPv4 once.
        let v6 = format!("{v6}2");
        for to in if from_branch { [v6.as_str(), v4] } else { [v4, v6.as_str()] } {
            ping_all(world, lan, to)?;
        }
        let (branch, headend) = both(world);
        for (gateway, remote, peer) in
            [(branch, HEADEND_NUMBER, HEADEND_WAN6), (headend, BRANCH_NUMBER, BRANCH_WAN6)]
        {
            let session = session(gateway, remote)?;
            let at_peer = session["remote"].as_str().is_some_and(|r| r.contains(peer));
            ensure_in(world, at_peer, "media over IPv6", || format!("{session:#}"))?;
            let line = ask(gateway, &["show", "vpn-sip", "sip", "registrar"])?[0].take();
            let here = line["server"].as_str().is_some_and(|s| s.contains(registrar));
            ensure(here, "registered there", || line.to_string())?;
        }
        branch.cli(&["clear", "vpn-sip", "session", "--yes"])?;
        world.wait_hung_up(HANG_UP)?;
        let (branch, headend) = both(world);
        // To it the call has failed early; the pause after that is of no interest here.
        headend.cli(&["clear", "vpn-sip", "session", "--yes"])?;
        wait_status(world, branch, HEADEND_NUMBER, "READY_TO_CONNECT")?;
        wait_status(world, headend, BRANCH_NUMBER, "READY_TO_CONNECT")?;
    }
    let calls = world.carrier.calls() - before;
    ensure(calls == 2, "two calls", || world.carrier.bill_text())?;
    let stats = world.carrier.stats();
    ensure(stats.route_missing + stats.malformed == 0, "no request was wrong", || format!("{stats:?}"))?;
    no_clear_text(world)?;
    world.check()
}
