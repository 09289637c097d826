//! Access lines as NTT's are: everything by DHCP, media through a relay, and what such a line refuses.

use super::support::{
    Shown, answered_calls, ask, both, ensure, ensure_in, explained, no_clear_text, ping_all, ping_unanswered,
    session, wait_shown, wait_status,
};
use super::{Context, Scenario};
use crate::lab::carrier::{Kind, Knobs};
use crate::lab::error::LabError;
use crate::lab::interrupt::wait_for;
use crate::lab::peer::dnsmasq::Pool;
use crate::lab::peer::kea;
use crate::lab::topology::{CENTRE_LAN_HOST, Options, RELAY, RELAY6, TO_BRANCH};
use crate::lab::world::{BRANCH_NUMBER, DOMAIN, HEADEND_NUMBER, World};
use std::sync::atomic::Ordering;
use std::time::Duration;

const HANG_UP_LIMIT: Duration = Duration::from_secs(40);
const SHOWN_LIMIT: Duration = Duration::from_secs(25);
/// DHCP with its conflict probes (RFC 5227), then REGISTER.
const LEASE_LIMIT: Duration = Duration::from_secs(40);
pub(super) const KEA: &[(&str, &str)] = &[("dnsmasq", "dnsmasq-base"), ("kea-dhcp6", "kea-dhcp6-server")];
const DNSMASQ: &[(&str, &str)] = &[("dnsmasq", "dnsmasq-base")];

pub const NTT_DIRECT: Scenario = Scenario {
    about: "address, routes, SIP server, number and domain by DHCP; a call through a relay whose source port is learnt",
    tools: DNSMASQ,
    run: ntt_direct,
    ..Scenario::new("ntt-direct")
};

pub const NTT_HGW: Scenario = Scenario {
    about: "behind the home gateway: REGISTER over IPv4, call and media over IPv6 from the delegated prefix; 488 for a generic Contact",
    tools: KEA,
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

pub const PREFIX: Scenario = Scenario {
    about: "calls from outside of the delegated prefix are lost in silence; a prefix that expired is known before a call",
    tools: KEA,
    nightly: true,
    run: prefix,
    ..Scenario::new("line-prefix")
};

pub const REFUSES: Scenario = Scenario {
    about: "an odd media port is refused with 500, and says so; more than the agreed rate is never above it on the line",
    tools: DNSMASQ,
    nightly: true,
    run: refuses,
    ..Scenario::new("line-refuses")
};

pub(super) fn line(context: &Context, tag: &str, kind: Kind) -> Result<World, LabError> {
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
    let result = behind_a_home_gateway(&mut world);
    explained(&world, result)
}

fn behind_a_home_gateway(world: &mut World) -> Result<(), LabError> {
    world.start_gateways()?;
    let (branch, _) = both(world);
    let dhcp = ask(branch, &["show", "vpn-sip", "sip", "dhcp"])?.to_string();
    for expected in ["2001:db8:b1:", "ipv6:2001:db8:51::1", "ipv4:198.51.100.1", DOMAIN, BRANCH_NUMBER] {
        ensure(dhcp.contains(expected), "what DHCP has said", || format!("{expected}: {dhcp}"))?;
    }
    // DHCP of each IP version names the line's own number.
    ensure(dhcp.matches(BRANCH_NUMBER).count() == 2, "the line's number", || dhcp.clone())?;
    ping_all(world, &world.topology.branch_lan, CENTRE_LAN_HOST)?;
    for (gateway, remote) in [(both(world).0, HEADEND_NUMBER), (both(world).1, BRANCH_NUMBER)] {
        let session = session(gateway, remote)?;
        let at_relay = session["remote"].as_str().is_some_and(|r| r.contains(RELAY6));
        ensure_in(world, at_relay, "media over IPv6", || format!("{session:#}"))?;
        let line = ask(gateway, &["show", "vpn-sip", "sip", "registrar"])?[0].take();
        let v4 = line["server"].as_str().is_some_and(|s| s.starts_with("198.51.100.1:"));
        ensure(v4, "registration over IPv4", || line.to_string())?;
    }
    world.wait_hung_up(HANG_UP_LIMIT)?;
    let refused = world.carrier.stats().refused_by_rule;
    ensure(refused == 0, "the call was put through at once", || refused.to_string())?;

    world.branch = None;
    let profile = world
        .profile("branch")?
        .with("  carrier: ntt-hgw\n", "  carrier: ntt-hgw\n  contact_user: number\n")?;
    world.start_branch(&profile)?;
    world.wait_registered(&[BRANCH_NUMBER])?;
    ping_unanswered(world, &world.topology.branch_lan, CENTRE_LAN_HOST)?;
    let (branch, _) = both(world);
    let shown = Shown { remote: HEADEND_NUMBER, code: "sip-status", words: &["488", "Media type"] };
    wait_shown(world, branch, shown, SHOWN_LIMIT)?;
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

fn prefix(context: &Context) -> Result<(), LabError> {
    let mut world = line(context, "prefix", Kind::NttHgw)?;
    let result = inside_the_prefix(&mut world);
    explained(&world, result)
}

fn inside_the_prefix(world: &mut World) -> Result<(), LabError> {
    world.start_gateways()?;
    // The interface has an address outside of the prefix as well, as from a router advertisement.
    ping_all(world, &world.topology.branch_lan, CENTRE_LAN_HOST)?;
    world.wait_hung_up(HANG_UP_LIMIT)?;
    let (branch, headend) = both(world);
    wait_status(world, branch, HEADEND_NUMBER, "READY_TO_CONNECT")?;
    wait_status(world, headend, BRANCH_NUMBER, "READY_TO_CONNECT")?;

    // The server goes, and the prefix with it.
    world.dhcp6 = None;
    let (branch, _) = both(world);
    let mut why = String::new();
    wait_for("the end of the prefix", kea::VALID * 3, || {
        why = session(branch, HEADEND_NUMBER)?["waits_for"].to_string();
        Ok(why.contains("DHCPv6").then_some(()))
    })
    .map_err(|e| LabError::failed(e.to_string(), why.clone()))?;
    let seen = |world: &World| (world.carrier.stats().lost_by_rule, world.carrier.calls());
    let before = seen(world);
    ping_unanswered(world, &world.topology.branch_lan, CENTRE_LAN_HOST)?;
    ensure_in(world, seen(world) == before, "no INVITE without a prefix", || {
        format!("{before:?} {:?}", seen(world))
    })?;

    // A gateway that uses the other address: its REGISTER is answered, and its INVITE lost.
    world.dhcp6 = Some(kea::Kea::start(&world.topology.carrier, "prefix", kea::Lifetime::SHORT)?);
    world.branch = None;
    let outside = world.profile("branch")?.with("ipv6: prefix", "ipv6: options")?;
    world.start_branch(&outside)?;
    world.wait_registered(&[BRANCH_NUMBER])?;
    let before = seen(world);
    ping_unanswered(world, &world.topology.branch_lan, CENTRE_LAN_HOST)?;
    let after = seen(world);
    ensure_in(world, after.0 > before.0 && after.1 == before.1, "the INVITE is lost", || {
        format!("{before:?} {after:?}")
    })?;
    world.check()
}

fn refuses(context: &Context) -> Result<(), LabError> {
    let mut world = line(context, "refuses", Kind::NttDirect)?;
    let result = ports_and_rate(&mut world);
    explained(&world, result)
}

fn ports_and_rate(world: &mut World) -> Result<(), LabError> {
    let headend = world.profile("headend")?;
    let branch = world.profile("branch")?;
    let odd = branch.clone().with("  ports: 50000-50999\n", "  ports: 50001-50001\n  even_ports: false\n")?;
    world.start_headend(&headend)?;
    world.start_branch(&odd)?;
    world.wait_registered(&[BRANCH_NUMBER, HEADEND_NUMBER])?;
    ping_unanswered(world, &world.topology.branch_lan, CENTRE_LAN_HOST)?;
    let shown = Shown { remote: HEADEND_NUMBER, code: "sip-status", words: &["500"] };
    wait_shown(world, both(world).0, shown, SHOWN_LIMIT)?;
    ensure(answered_calls(&world.carrier).is_empty(), "nothing is charged", || world.carrier.bill_text())?;

    // Several times the agreed rate for three seconds, both ways.
    world.branch = None;
    world.start_branch(&branch)?;
    world.wait_registered(&[BRANCH_NUMBER])?;
    ping_all(world, &world.topology.branch_lan, CENTRE_LAN_HOST)?;
    let flood = ["-q", "-c", "1500", "-i", "0.002", "-s", "1200", "-W", "1", CENTRE_LAN_HOST];
    let said =
        world.topology.branch_lan.command("ping").args(flood).output().map_err(LabError::io("ping"))?;
    let said = String::from_utf8_lossy(&said.stdout).into_owned();
    ensure(!said.contains(" 0% packet loss"), "the rate is limited", || said.clone())?;
    let relay = world.carrier.relayed().expect("an NTT line has a relay");
    let (passed, policed) = (relay.packets.load(Ordering::Relaxed), relay.policed.load(Ordering::Relaxed));
    ensure_in(world, passed > 200 && policed == 0, "nothing is above the negotiated rate", || {
        format!("{passed} passed, {policed} policed; {said}")
    })?;
    world.wait_hung_up(HANG_UP_LIMIT)?;
    no_clear_text(world)?;
    world.check()
}

/// Of the branch, as the gateway uses it; empty without one.
pub(super) fn wan_address(world: &World) -> Result<String, LabError> {
    let branch = world.branch.as_ref().expect("started");
    let control = ask(branch, &["show", "control"])?;
    Ok(control["wan"]["value"].as_str().unwrap_or_default().to_owned())
}
