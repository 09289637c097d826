//! Access lines as NTT's are: everything by DHCP, media through a relay, and what such a line refuses.

use super::support::{
    Shown, answered_calls, ask, both, ensure, ensure_in, no_clear_text, ping_all, ping_unanswered, session,
    wait_shown, wait_status,
};
use super::{Context, Scenario};
use crate::lab::carrier::{Kind, Knobs};
use crate::lab::error::LabError;
use crate::lab::interrupt::wait_for;
use crate::lab::peer::dnsmasq::Pool;
use crate::lab::topology::{CENTRE_LAN_HOST, Options, RELAY, TO_BRANCH};
use crate::lab::world::{BRANCH_NUMBER, DOMAIN, HEADEND_NUMBER, World};
use std::sync::atomic::Ordering;
use std::time::Duration;

const HANG_UP_LIMIT: Duration = Duration::from_secs(40);
const SHOWN_LIMIT: Duration = Duration::from_secs(25);
/// DHCP with its conflict probes (RFC 5227), then REGISTER.
const LEASE_LIMIT: Duration = Duration::from_secs(40);
const DNSMASQ: &[(&str, &str)] = &[("dnsmasq", "dnsmasq-base")];

pub const NTT_DIRECT: Scenario = Scenario {
    about: "address, routes, SIP server, number and domain by DHCP; a call through a relay whose source port is learnt",
    tools: DNSMASQ,
    run: ntt_direct,
    ..Scenario::new("ntt-direct")
};

pub const NTT_HGW: Scenario = Scenario {
    about: "behind the home gateway: the profile's Contact, Allow and Supported are put through, the generic ones are not",
    tools: DNSMASQ,
    run: ntt_hgw,
    ..Scenario::new("ntt-hgw")
};

pub const RENUMBERED: Scenario = Scenario {
    about: "an address conflict, then another address in the middle of a call: no call is left, and the next one works",
    tools: DNSMASQ,
    run: renumbered,
    nightly: true,
    ..Scenario::new("line-renumbered")
};

fn line(context: &Context, tag: &str, kind: Kind) -> Result<World, LabError> {
    let options = Options { tag: tag.into(), line: kind, ..Options::default() };
    World::up(context.places.clone(), options, Knobs::default())
}

fn ntt_direct(context: &Context) -> Result<(), LabError> {
    let mut world = line(context, "direct", Kind::NttDirect)?;
    world.start_gateways()?;
    let (branch, _) = both(&world);
    let dhcp = ask(branch, &["show", "vpn-sip", "sip", "dhcp"])?.to_string();
    for expected in [BRANCH_NUMBER, DOMAIN, "ipv4:198.51.100.1", "198.51.100.6/24", "192.0.2.0/24 via"] {
        ensure(dhcp.contains(expected), "what DHCP has said", || format!("{expected}: {dhcp}"))?;
    }
    ping_all(&world, &world.topology.branch_lan, CENTRE_LAN_HOST)?;
    let (branch, headend) = both(&world);
    for (gateway, remote) in [(branch, HEADEND_NUMBER), (headend, BRANCH_NUMBER)] {
        let session = session(gateway, remote)?;
        let at_relay = session["remote"].as_str().is_some_and(|r| r.starts_with(RELAY));
        ensure_in(&world, at_relay, "the peer is the relay", || format!("{session:#}"))?;
        ensure_in(&world, session["peer_port"].is_u64(), "its source port is learnt", || {
            format!("{session:#}")
        })?;
        let even = session["local_port"].as_u64().is_some_and(|port| port % 2 == 0);
        ensure(even, "an even media port", || format!("{session:#}"))?;
        let learnt = ask(gateway, &["show", "control"])?["counters"]["peer_ports_learnt"].take();
        ensure(learnt == 1, "learnt once", || learnt.to_string())?;
    }
    let relay = world.carrier.relayed().expect("an NTT line has a relay");
    let policed = relay.policed.load(Ordering::Relaxed);
    ensure(policed == 0, "nothing is above the negotiated rate", || policed.to_string())?;
    ensure(relay.packets.load(Ordering::Relaxed) > 0, "media passed the relay", String::new)?;
    world.wait_hung_up(HANG_UP_LIMIT)?;
    let stats = world.carrier.stats();
    let clean = stats.malformed + stats.lost_by_rule + stats.refused_by_rule + stats.route_missing == 0;
    ensure(clean, "the line has nothing to complain about", || format!("{stats:?}"))?;
    no_clear_text(&world)?;

    // The same line and a gateway that insists on the port of SDP: it says why it cannot work.
    world.branch = None;
    // The head-end, which has no such limit, would hang up as soon.
    let profile = world.profile("branch")?.with("media:\n", "media:\n  peer_port: strict\n")?;
    let profile = profile.with("ike:\n", "ike:\n  negotiation_deadline_s: 8\n")?;
    world.start_branch(&profile)?;
    world.wait_registered(&[BRANCH_NUMBER])?;
    ping_unanswered(&world, &world.topology.branch_lan, CENTRE_LAN_HOST)?;
    let (branch, _) = both(&world);
    let shown = Shown { remote: HEADEND_NUMBER, code: "wrong-source", words: &[RELAY] };
    wait_shown(&world, branch, shown, SHOWN_LIMIT)?;
    world.wait_hung_up(HANG_UP_LIMIT)
}

fn ntt_hgw(context: &Context) -> Result<(), LabError> {
    let mut world = line(context, "hgw", Kind::NttHgw)?;
    world.start_gateways()?;
    ping_all(&world, &world.topology.branch_lan, CENTRE_LAN_HOST)?;
    world.wait_hung_up(HANG_UP_LIMIT)?;
    let refused = world.carrier.stats().refused_by_rule;
    ensure(refused == 0, "the call was put through at once", || refused.to_string())?;

    world.branch = None;
    let profile = world
        .profile("branch")?
        .with("  carrier: ntt-hgw\n", "  carrier: ntt-hgw\n  contact_user: number\n")?;
    world.start_branch(&profile)?;
    world.wait_registered(&[BRANCH_NUMBER])?;
    ping_unanswered(&world, &world.topology.branch_lan, CENTRE_LAN_HOST)?;
    let (branch, _) = both(&world);
    let shown = Shown { remote: HEADEND_NUMBER, code: "sip-status", words: &["488", "Media type"] };
    wait_shown(&world, branch, shown, SHOWN_LIMIT)?;
    ensure(answered_calls(&world.carrier).len() == 1, "one call was charged", || world.carrier.bill_text())
}

fn renumbered(context: &Context) -> Result<(), LabError> {
    let mut world = line(context, "renum", Kind::NttDirect)?;
    // Another host has the first address of the branch's line.
    world.topology.carrier.ip(&["addr", "add", "198.51.100.6/32", "dev", "lo"])?;
    world.start_gateways()?;
    let log = world.dhcp.as_ref().map(crate::lab::peer::Dnsmasq::log).unwrap_or_default();
    ensure(log.contains("DHCPDECLINE"), "the address in use is declined", || log.clone())?;
    ping_all(&world, &world.topology.branch_lan, CENTRE_LAN_HOST)?;
    let before = wan_address(&world)?;
    ensure(before != "198.51.100.6", "the declined address is not used", || before.clone())?;

    // The line gives other addresses, as after a change in the network; the link goes for a moment, and the call is up.
    world.renumber(Pool::SECOND)?;
    ensure(world.carrier.calls_up() == 1, "the call is up", || world.carrier.bill_text())?;
    world.topology.carrier.ip(&["link", "set", TO_BRANCH, "down"])?;
    wait_for("the loss of the address", LEASE_LIMIT, || Ok(wan_address(&world)?.is_empty().then_some(())))?;
    world.topology.carrier.ip(&["link", "set", TO_BRANCH, "up"])?;
    wait_for("another address", LEASE_LIMIT, || {
        Ok(wan_address(&world)?.starts_with("198.51.100.10").then_some(()))
    })?;
    world.wait_hung_up(LEASE_LIMIT)?;
    let (branch, headend) = both(&world);
    wait_status(&world, branch, HEADEND_NUMBER, "READY_TO_CONNECT")?;
    wait_status(&world, headend, BRANCH_NUMBER, "READY_TO_CONNECT")?;
    wait_for("registration from the other address", LEASE_LIMIT, || {
        Ok(session(branch, HEADEND_NUMBER)?["waits_for"].is_null().then_some(()))
    })?;
    ping_all(&world, &world.topology.branch_lan, CENTRE_LAN_HOST)?;
    let bill = answered_calls(&world.carrier);
    let ended = bill.first().is_some_and(|call| call["byes"].as_u64().is_some_and(|n| n >= 1));
    ensure(bill.len() == 2 && ended, "the first call has ended with a BYE", || world.carrier.bill_text())?;
    no_clear_text(&world)?;
    world.check()
}

/// Of the branch, as the gateway uses it; empty without one.
fn wan_address(world: &World) -> Result<String, LabError> {
    let (branch, _) = both(world);
    let control = ask(branch, &["show", "control"])?;
    Ok(control["wan"]["value"].as_str().unwrap_or_default().to_owned())
}
