//! IPv6 inside the tunnel, whose outside is IPv4.

use super::support::{ensure_in, no_clear_text, ping_all};
use super::{Context, Scenario};
use crate::lab::carrier::Knobs;
use crate::lab::error::LabError;
use crate::lab::topology::CENTRE_LAN_HOST;
use crate::lab::world::{BRANCH_NUMBER, HEADEND_NUMBER};

pub const INNER_IPV6: Scenario = Scenario {
    about: "an IPv6 packet opens the call and is not lost; one session carries both families",
    run: inner_ipv6,
    ..Scenario::new("inner-ipv6")
};

const BRANCH: &str = "fd01::";
const CENTRE: &str = "fd02::";

fn inner_ipv6(context: &Context) -> Result<(), LabError> {
    let mut world = context.world("v6", Knobs::default())?;
    world.topology.inner_ipv6(BRANCH, CENTRE)?;
    let routed = |gateway, v4: &str, net: &str| {
        world.profile(gateway)?.with(&format!("[{v4}]"), &format!("[{v4}, \"{net}/64\"]"))
    };
    let branch = routed("branch", "10.2.0.0/16", CENTRE)?;
    let headend = routed("headend", "10.1.0.0/16", BRANCH)?;
    world.start_headend(&headend)?;
    world.start_branch(&branch)?;
    world.wait_registered(&[BRANCH_NUMBER, HEADEND_NUMBER])?;
    ping_all(&world, &world.topology.branch_lan, &format!("{CENTRE}2"))?;
    ping_all(&world, &world.topology.centre_lan, &format!("{BRANCH}2"))?;
    ping_all(&world, &world.topology.branch_lan, CENTRE_LAN_HOST)?;
    ensure_in(&world, world.carrier.calls() == 1, "one call carries both", || world.carrier.bill_text())?;
    no_clear_text(&world)?;
    world.check()
}
