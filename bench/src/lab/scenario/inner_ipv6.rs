//! IPv6 inside the tunnel, whose outside is IPv4.

use super::support::{ensure_in, no_clear_text, ping_all};
use super::{Context, Scenario};
use crate::lab::carrier::Knobs;
use crate::lab::error::LabError;
use crate::lab::netns::Namespace;
use crate::lab::topology::{CENTRE_LAN_HOST, LAN};
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
    let topology = &world.topology;
    for (lan, gateway, net) in
        [(&topology.branch_lan, &topology.branch, BRANCH), (&topology.centre_lan, &topology.headend, CENTRE)]
    {
        address(gateway, LAN, &format!("{net}1/64"))?;
        address(lan, "eth0", &format!("{net}2/64"))?;
        lan.ip(&["-6", "route", "add", "default", "via", &format!("{net}1")])?;
        gateway.sysctl("ipv6/conf/all/forwarding", "1")?;
        // The sVTI is yet to be made. The WAN keeps what it was made with: IPv4 alone.
        gateway.sysctl("ipv6/conf/default/disable_ipv6", "0")?;
    }
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

/// Ready at once: without duplicate address detection.
fn address(namespace: &Namespace, device: &str, address: &str) -> Result<(), LabError> {
    namespace.sysctl(&format!("ipv6/conf/{device}/disable_ipv6"), "0")?;
    namespace.ip(&["-6", "addr", "add", address, "dev", device, "nodad"])
}
