//! The exchanges that a DHCP client has with its server after the first one, as dnsmasq and Kea see them.

use super::line::{KEA, line, wan_address};
use super::support::{Shown, ask, ensure, explained, ping_unanswered, session, wait_shown};
use super::{Context, Scenario};
use crate::lab::carrier::Kind;
use crate::lab::error::LabError;
use crate::lab::interrupt::wait_for;
use crate::lab::peer::dnsmasq::Pool;
use crate::lab::peer::kea::Lifetime;
use crate::lab::peer::{Dnsmasq, Kea};
use crate::lab::topology::{CENTRE_LAN_HOST, WAN};
use crate::lab::world::{BRANCH_NUMBER, DOMAIN, HEADEND_NUMBER, World};
use serde_json::Value;
use std::time::Duration;

pub const DHCP: Scenario = Scenario {
    about: "DHCPv4: renewal, a server that restarts, rebinding, NAK, INIT-REBOOT, release, DHCPINFORM",
    tools: KEA,
    nightly: true,
    run: dhcp,
    ..Scenario::new("line-dhcp")
};

pub const DHCPV6: Scenario = Scenario {
    about: "DHCPv6: a server that restarts, rebinding, renewal, release",
    tools: KEA,
    nightly: true,
    run: dhcpv6,
    ..Scenario::new("line-dhcpv6")
};

pub const KEA_DHCPV4: Scenario = Scenario {
    about: "Kea as DHCPv4 server: a call by what it names, renewal, a restart without a memory, rebinding, INIT-REBOOT, release",
    tools: &[("dnsmasq", "dnsmasq-base"), ("kea-dhcp4", "kea-dhcp4-server")],
    nightly: true,
    run: kea_dhcpv4,
    ..Scenario::new("line-kea")
};

/// The client renews after 30 s at the earliest.
const LIFETIME: Lifetime = Lifetime { valid: Duration::from_secs(80), timers: Some((30, 33)) };
/// Of dnsmasq's leases.
const LEASE_S: u64 = 120;
const TIMERS: Option<(u32, u32)> = Some((4, 8));
const FIRST: Pool = Pool { timers: TIMERS, ..Pool::FIRST };
const SECOND: Pool = Pool { timers: TIMERS, ..Pool::SECOND };
/// T2, and what an exchange takes; a new lease is probed for conflicts as well.
const LIMIT: Duration = Duration::from_secs(45);

fn dhcp(context: &Context) -> Result<(), LabError> {
    on_a_line(context, "dhcp", exchanges)
}

fn dhcpv6(context: &Context) -> Result<(), LabError> {
    on_a_line(context, "dhcp6", exchanges6)
}

fn kea_dhcpv4(context: &Context) -> Result<(), LabError> {
    let mut world = line(context, "kea4", Kind::NttDirect)?;
    world.dhcp = None;
    let mut kea = Some(Kea::start_v4(&world.topology.carrier, "kea4", LIFETIME)?);
    let result = kea_exchanges(&mut world, &mut kea);
    let log = log4_of_kea(kea.as_ref());
    explained(&world, result).map_err(|e| LabError::failed(e.to_string(), format!("--- kea\n{log}")))
}

fn log4_of_kea(kea: Option<&Kea>) -> String {
    kea.map(Kea::log).unwrap_or_default()
}

fn kea_exchanges(world: &mut World, kea: &mut Option<Kea>) -> Result<(), LabError> {
    let profile = world.profile("branch")?;
    world.start_branch(&profile)?;
    world.wait_registered(&[BRANCH_NUMBER])?;
    said(|| log4_of_kea(kea.as_ref()), "DHCP4_LEASE_ADVERT", 1)?;
    let view = shown(world, "ipv4")?.to_string();
    for expected in
        [BRANCH_NUMBER, DOMAIN, "198.51.100.1", "198.51.100.6/24", "192.0.2.0/24", "203.0.113.0/24"]
    {
        ensure(view.contains(expected), "what DHCP has said", || format!("{expected}: {view}"))?;
    }
    // The carrier named by DHCP is asked for the call; the head-end is not there.
    ping_unanswered(world, &world.topology.branch_lan, CENTRE_LAN_HOST)?;
    let branch = world.branch.as_ref().expect("started");
    let shown_failure = Shown { remote: HEADEND_NUMBER, code: "sip-status", words: &["480"] };
    wait_shown(world, branch, shown_failure, LIMIT)?;
    said(|| log4_of_kea(kea.as_ref()), "DHCP4_LEASE_ALLOC", 2)?;
    kept(world, "after a renewal")?;

    // The server is back without a memory before T2: the next question is for any server, and keeps the address.
    *kea = None;
    *kea = Some(Kea::start_v4(&world.topology.carrier, "kea4", LIFETIME)?);
    said(|| log4_of_kea(kea.as_ref()), "DHCP4_LEASE_ALLOC", 1)?;
    kept(world, "after the restart")?;
    ensure(wan_address(world)?.contains("198.51.100.6"), "the same address", || log4_of_kea(kea.as_ref()))?;

    // After a crash the client asks for the address that it had (INIT-REBOOT).
    let branch = world.branch.as_mut().expect("started");
    branch.controlplane().map(crate::lab::process::Process::kill);
    branch.start_controlplane(&world.topology.branch)?;
    branch.wait_ready()?;
    said(|| log4_of_kea(kea.as_ref()), "DHCP4_LEASE_ALLOC", 2)?;
    ensure(!log4_of_kea(kea.as_ref()).contains("DHCP4_LEASE_ADVERT"), "no DISCOVER", || {
        log4_of_kea(kea.as_ref())
    })?;

    world.branch = None;
    said(|| log4_of_kea(kea.as_ref()), "DHCP4_RELEASE", 1)
}

/// With the ends of the servers' logs where it fails.
fn on_a_line(
    context: &Context,
    tag: &str,
    run: impl FnOnce(&mut World) -> Result<(), LabError>,
) -> Result<(), LabError> {
    let mut world = line(context, tag, Kind::NttHgw)?;
    let result = run(&mut world);
    let logs = format!("--- dnsmasq\n{}\n--- kea\n{}", log4(&world), log6(&world));
    explained(&world, result).map_err(|e| LabError::failed(e.to_string(), logs))
}

fn log4(world: &World) -> String {
    world.dhcp.as_ref().map(Dnsmasq::log).unwrap_or_default()
}

fn log6(world: &World) -> String {
    world.dhcp6.as_ref().map(Kea::log).unwrap_or_default()
}

/// Until a server has said this so often.
fn said(log: impl Fn() -> String, words: &str, times: usize) -> Result<(), LabError> {
    wait_for(&format!("{times} times {words}"), LIMIT, || {
        Ok((log().matches(words).count() >= times).then_some(()))
    })
}

/// What `show vpn-sip sip dhcp` has of one IP version.
fn shown(world: &World, family: &str) -> Result<Value, LabError> {
    let branch = world.branch.as_ref().expect("started");
    Ok(ask(branch, &["show", "vpn-sip", "sip", "dhcp"])?[family].take())
}

/// The log of the branch's control plane.
fn own_log(world: &World) -> String {
    let branch = world.branch.as_ref().expect("started");
    std::fs::read_to_string(branch.log("controlplane")).unwrap_or_default()
}

/// No lease was lost.
fn kept(world: &World, what: &str) -> Result<(), LabError> {
    let log = own_log(world);
    ensure(!log.contains("lease is gone"), what, || log.clone())
}

/// Until no more than this is left of the lease: T1 has passed without an answer, and T2 has not.
fn unanswered(world: &World, family: &str, left_s: u64, limit: Duration) -> Result<(), LabError> {
    wait_for("T1 without an answer", limit, || {
        Ok(shown(world, family)?["expires_s"].as_u64().is_none_or(|s| s <= left_s).then_some(()))
    })
}

fn exchanges(world: &mut World) -> Result<(), LabError> {
    world.renumber(FIRST)?;
    let profile = world.profile("branch")?;
    world.start_branch(&profile)?;
    world.wait_registered(&[BRANCH_NUMBER])?;
    said(|| log4(world), "DHCPACK(", 2)?;
    ensure(log4(world).matches("DHCPDISCOVER(").count() == 1, "renewed", || log4(world))?;
    kept(world, "after a renewal")?;

    // The server goes before T1 and is back, without a memory, before T2: the next question is for any server.
    world.dhcp = None;
    unanswered(world, "ipv4", LEASE_S - 5, LIMIT)?;
    world.renumber(FIRST)?;
    said(|| log4(world), "DHCPACK(", 1)?;
    ensure(!log4(world).contains("DHCPDISCOVER("), "rebound", || log4(world))?;
    kept(world, "after rebinding")?;
    ensure(wan_address(world)?.contains("198.51.100.6"), "the same address", || log4(world))?;

    // The line has other addresses from now on.
    world.renumber(SECOND)?;
    said(|| log4(world), "DHCPNAK(", 1)?;
    said(|| log4(world), "DHCPACK(", 1)?;
    let at = |world: &World| Ok(wan_address(world)?.contains("198.51.100.106").then_some(()));
    wait_for("the other address", LIMIT, || at(world))?;
    // It is on disk before this is said.
    said(|| own_log(world), "DHCP lease address=198.51.100.106", 1)?;
    world.wait_registered(&[BRANCH_NUMBER])?;

    // After a crash the client asks for the address that it had.
    let discovers = log4(world).matches("DHCPDISCOVER(").count();
    let acks = log4(world).matches("DHCPACK(").count();
    let branch = world.branch.as_mut().expect("started");
    branch.controlplane().map(crate::lab::process::Process::kill);
    branch.start_controlplane(&world.topology.branch)?;
    branch.wait_ready()?;
    said(|| log4(world), "DHCPACK(", acks + 1)?;
    let log = log4(world);
    ensure(log.matches("DHCPDISCOVER(").count() == discovers, "INIT-REBOOT", || log.clone())?;
    wait_for("the address of before", LIMIT, || at(world))?;

    // A gateway that ends gives everything back.
    world.branch = None;
    said(|| log4(world), "DHCPRELEASE(", 1)?;
    said(|| log6(world), "DHCP6_RELEASE_PD", 1)?;

    // The system configures the addresses, and DHCP tells of SIP alone.
    world.topology.branch.ip(&["addr", "add", "198.51.100.6/24", "dev", WAN])?;
    let informed =
        profile.with("wan: { ipv4: dhcp, ipv6: prefix }", "wan: { ipv4: options, ipv6: options }")?;
    world.start_branch(&informed)?;
    world.wait_registered(&[BRANCH_NUMBER])?;
    ensure(log4(world).contains("DHCPINFORM("), "DHCPINFORM", || log4(world))?;
    for family in ["ipv4", "ipv6"] {
        let view = shown(world, family)?;
        let told =
            view["sip_domain"] == DOMAIN && view["sip_servers"].as_array().is_some_and(|s| !s.is_empty());
        let no_lease = view["expires_s"].is_null() && view["prefixes"] == serde_json::json!([]);
        ensure(told && no_lease, "SIP data without a lease", || format!("{family}: {view:#}"))?;
    }
    let branch = world.branch.as_ref().expect("started");
    let waits = session(branch, HEADEND_NUMBER)?["waits_for"].take();
    ensure(waits.is_null(), "calls can be placed", || waits.to_string())?;
    world.check()
}

fn exchanges6(world: &mut World) -> Result<(), LabError> {
    let kea = |world: &World| Kea::start(&world.topology.carrier, "dhcp6", LIFETIME).map(Some);
    world.dhcp6 = None;
    world.dhcp6 = kea(world)?;
    let profile = world.profile("branch")?;
    world.start_branch(&profile)?;
    world.wait_registered(&[BRANCH_NUMBER])?;

    world.dhcp6 = None;
    unanswered(world, "ipv6", LIFETIME.valid.as_secs() - 31, LIMIT)?;
    world.dhcp6 = kea(world)?;
    said(|| log6(world), "Expression rebinds evaluated to 1", 1)?;
    said(|| log6(world), "DHCP6_PD_LEASE_RENEW", 1)?;
    kept(world, "after rebinding")?;
    said(|| log6(world), "Expression renews evaluated to 1", 1)?;
    said(|| log6(world), "DHCP6_PD_LEASE_RENEW", 2)?;
    ensure(!log6(world).contains("DHCP6_PD_LEASE_ALLOC"), "one lease", || log6(world))?;
    kept(world, "after a renewal")?;

    world.branch = None;
    said(|| log6(world), "DHCP6_RELEASE_PD", 1)?;
    world.check()
}
