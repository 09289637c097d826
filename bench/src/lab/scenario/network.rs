//! The network itself: it carries what it should, and leaves nothing behind.

use super::{Context, Scenario, ensure};
use crate::lab::carrier::Knobs;
use crate::lab::error::LabError;
use crate::lab::netns::{PREFIX, run};
use crate::lab::topology::{CENTRE_LAN_HOST, HEADEND_WAN};
use std::path::PathBuf;

pub const SCENARIO: Scenario = Scenario {
    about: "the namespaces reach each other as they should, and go",
    gateways: false,
    run: body,
    ..Scenario::new("network")
};

fn body(context: &Context) -> Result<(), LabError> {
    let world = context.world("net", Knobs::default())?;
    let ping = |namespace: &crate::lab::netns::Namespace, to: &str| {
        run(namespace.command("ping").args(["-c", "1", "-W", "1", to]))
    };
    ping(&world.topology.branch, HEADEND_WAN)?;
    ping(&world.topology.branch_lan, "10.1.0.1")?;
    let through = ping(&world.topology.branch_lan, CENTRE_LAN_HOST);
    ensure(through.is_err(), "the carrier routes private addresses", String::new)?;
    // The gateways here are plain routers: what a LAN host sends arrives at the carrier in clear, and is seen.
    let seen = world.tally.clear_text.load(std::sync::atomic::Ordering::Relaxed);
    ensure(seen > 0, "the observer does not see clear text", String::new)?;

    let again = context.world("net", Knobs::default());
    ensure(again.is_err(), "a second lab of the same name takes the first one's namespaces", String::new)?;
    let names = ["branch-lan", "branch", "carrier", "headend", "centre-lan"];
    let path = |role: &str| PathBuf::from(format!("/run/netns/{PREFIX}net-{role}"));
    ensure(names.iter().all(|n| path(n).exists()), "the refused lab removed something", String::new)?;
    drop(world);
    let left: Vec<_> = names.iter().filter(|n| path(n).exists()).collect();
    ensure(left.is_empty(), "namespaces are left", || format!("{left:?}"))
}
