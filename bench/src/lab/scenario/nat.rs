//! A NAT between the gateway and its peer, and keepalives that hold its mapping (RFC 3948 §4).

use super::strongswan::{PORT, Role, TOOLS, connection, start};
use super::support::{ensure_in, ping_unanswered, pings};
use super::{Context, Scenario};
use crate::lab::error::LabError;
use crate::lab::netns::{Namespace, run};
use crate::lab::peer::{Charon, Scratch};
use crate::lab::topology::{BRANCH_LAN_HOST, BRANCH_WAN, CARRIER_HEADEND_SIDE, CENTRE_LAN_HOST, TO_HEADEND};
use std::sync::atomic::Ordering;
use std::time::Duration;

pub const NAT: Scenario = Scenario {
    about: "behind a NAT that forgets, strongSwan still reaches us after a silence: keepalives, and not without them",
    tools: &[TOOLS[0], TOOLS[1], ("nft", "nftables")],
    run: both,
    ..Scenario::new("strongswan-nat")
};

/// The NAT forgets what has been silent for so long.
const NAT_MEMORY_S: u32 = 3;
const SILENCE: Duration = Duration::from_secs(8);

fn body(context: &Context, keepalive_s: u32) -> Result<(), LabError> {
    let tag = "nat";
    let keys = Scratch::new("nat-keys")?;
    // Only keepalives are to be seen in the silence.
    let ike = format!("  dpd_mode: off\n  nat_keepalive_s: {keepalive_s}\n");
    let mut world = start(context, tag, &keys, Role::Initiator, &ike)?;
    translate(&world.topology.carrier)?;
    let mut seen = connection(PORT, Role::Initiator);
    seen.remote.set_ip(CARRIER_HEADEND_SIDE.parse().expect("a constant address"));
    [seen.rekey_child_s, seen.rekey_ike_s] = [0, 0];
    let mut charon = Charon::start(&world.topology.headend, tag, &seen)?;
    pings(&world, &world.topology.branch_lan, CENTRE_LAN_HOST, "3", "0.05")?;

    let before = world.tally.keepalives.load(Ordering::Relaxed);
    std::thread::sleep(SILENCE);
    let sent = world.tally.keepalives.load(Ordering::Relaxed) - before;
    let details = || format!("{sent} keepalives on the line{}", charon.log_tail());
    if keepalive_s == 0 {
        ensure_in(&world, sent == 0, "no keepalive is sent", details)?;
        // Without keepalives the mapping has expired.
        ping_unanswered(&world, &world.topology.centre_lan, BRANCH_LAN_HOST)?;
    } else {
        pings(&world, &world.topology.centre_lan, BRANCH_LAN_HOST, "3", "0.05")?;
        let due = SILENCE.as_secs() / u64::from(keepalive_s);
        ensure_in(&world, sent.abs_diff(due) <= 1, "a keepalive in each silence, and no more", details)?;
    }
    charon.check()?;
    world.check()
}

fn both(context: &Context) -> Result<(), LabError> {
    for keepalive_s in [1, 0] {
        body(context, keepalive_s)?;
    }
    Ok(())
}

/// The branch's media port appears at the head-end as the carrier's.
fn translate(carrier: &Namespace) -> Result<(), LabError> {
    let rules = format!(
        "table ip nat {{ chain out {{ type nat hook postrouting priority 100; \
         oifname {TO_HEADEND} ip saddr {BRANCH_WAN} udp dport {PORT} snat to {CARRIER_HEADEND_SIDE}; }}; }}"
    );
    run(carrier.command("nft").arg(rules))?;
    for memory in ["", "_stream"] {
        let key = format!("netfilter/nf_conntrack_udp_timeout{memory}");
        carrier.sysctl(&key, &NAT_MEMORY_S.to_string())?;
    }
    Ok(())
}
