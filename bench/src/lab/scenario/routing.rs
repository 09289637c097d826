//! Routing daemons beside the gateways: BGP over the primary, BGP and OSPF over the tunnel.
//!
//! ```text
//!  primary:  172.20.0.2 ══ BGP ══ 172.21.0.2    the LANs of both ends
//!  tunnel:   10.254.0.1 ══ BGP ══ 10.254.0.2    10.77.0.0/16 and 10.88.0.0/16, which no profile has
//!                       ══ OSPF ══              10.78.0.0/16 and 10.89.0.0/16
//! ```

use super::support::{ask, both, ensure, ensure_in, no_clear_text, ping_all};
use super::{Context, Scenario};
use crate::lab::carrier::Knobs;
use crate::lab::demo::logs;
use crate::lab::error::LabError;
use crate::lab::interrupt::wait_for;
use crate::lab::netns::{Namespace, run};
use crate::lab::peer::Frr;
use crate::lab::primary::{BRANCH_PRIMARY, HEADEND_PRIMARY, Path};
use crate::lab::topology::{BRANCH_LAN_HOST, CENTRE_LAN_HOST, Options};
use crate::lab::world::{BRANCH_NUMBER, HEADEND_NUMBER, World};
use std::time::Duration;

pub const FRR: Scenario = Scenario {
    about: "FRR: BGP is the primary, BGP and OSPF run over the tunnel that takes over, and neither dials nor holds a call",
    run: frr,
    tools: &[("vtysh", "frr"), ("nft", "nftables")],
    nightly: true,
    ..Scenario::new("frr")
};

/// FRR takes the highest byte of a kernel route's metric for its distance (zebra/rt_netlink.c): 250, above the 20 of BGP.
const METRIC: u32 = (250 << 24) + 250;
const IDLE_S: u64 = 4;
/// A hold time of 3 s, the next attempt, and a busy machine.
const BGP_LIMIT: Duration = Duration::from_secs(25);
const HANG_UP_LIMIT: Duration = Duration::from_secs(IDLE_S + 16);

/// One end.
struct End {
    name: &'static str,
    number: u32,
    device: &'static str,
    primary: [&'static str; 2],
    lan: &'static str,
    learnt: [&'static str; 2],
}

const BRANCH: End = End {
    name: "branch",
    number: 1,
    device: "sipsec7",
    primary: [BRANCH_PRIMARY, HEADEND_PRIMARY],
    lan: "10.1.0.0/16",
    learnt: ["10.77.0.1", "10.78.0.1"],
};
const CENTRE: End = End {
    name: "headend",
    number: 2,
    device: "sipsec8",
    primary: [HEADEND_PRIMARY, BRANCH_PRIMARY],
    lan: "10.2.0.0/16",
    learnt: ["10.88.0.1", "10.89.0.1"],
};

impl End {
    fn tunnel(&self) -> [String; 2] {
        [format!("10.254.0.{}", self.number), format!("10.254.0.{}", 3 - self.number)]
    }

    /// Its addresses, and the daemons. BGP of the primary tells the LAN, BGP of the tunnel one network more.
    fn start(&self, tag: &str, namespace: &Namespace) -> Result<Frr, LabError> {
        let [own, peer] = self.tunnel();
        for address in self.learnt {
            namespace.ip(&["addr", "add", &format!("{address}/32"), "dev", "lo"])?;
        }
        namespace.ip(&["addr", "add", &format!("{own}/32"), "dev", self.device])?;
        let (asn, peer_asn) = (65000 + self.number, 65003 - self.number);
        let ([by_bgp, by_ospf], [here, there]) = (self.learnt, self.primary);
        let (lan, device) = (self.lan, self.device);
        let neighbor = |address: &str, source: &str, list: &str| {
            format!(
                " neighbor {address} remote-as {peer_asn}\n neighbor {address} update-source {source}\n \
                 neighbor {address} ebgp-multihop\n neighbor {address} timers 1 3\n neighbor {address} timers connect 1\n \
                 address-family ipv4 unicast\n  neighbor {address} prefix-list {list} out\n exit-address-family\n"
            )
        };
        let bgp = format!(
            "ip prefix-list LAN permit {lan}\nip prefix-list MORE permit {by_bgp}/32\n\
             router bgp {asn}\n bgp router-id {own}\n no bgp ebgp-requires-policy\n no bgp network import-check\n{}{} \
             address-family ipv4 unicast\n  network {lan}\n  network {by_bgp}/32\n exit-address-family\n",
            neighbor(there, here, "LAN"),
            neighbor(&peer, &own, "MORE"),
        );
        let ospf = format!(
            "interface {device}\n ip ospf network point-to-point\n ip ospf hello-interval 1\n ip ospf dead-interval 4\n\
             router ospf\n ospf router-id {own}\n network {own}/32 area 0\n network {by_ospf}/32 area 0\n"
        );
        Frr::start(&format!("{tag}-frr-{}", self.name), namespace, "", &[("bgpd", &bgp), ("ospfd", &ospf)])
    }
}

fn route(namespace: &Namespace, to: &str) -> Result<String, LabError> {
    run(namespace.command("ip").args(["route", "show", to]))
}

/// Until the branch's kernel has a route by this protocol and device, while the other condition is kept true.
fn wait_route(
    world: &World,
    frr: &[Frr; 2],
    to: &str,
    words: &[&str],
    mut beside: impl FnMut() -> Result<(), LabError>,
) -> Result<(), LabError> {
    let mut routes = String::new();
    let there = wait_for(&format!("{words:?} to {to}"), BGP_LIMIT, || {
        beside()?;
        routes = route(&world.topology.branch, to)?;
        Ok(routes.lines().any(|line| words.iter().all(|w| line.contains(w))).then_some(()))
    });
    there.map_err(|e| {
        let ask = |frr: &Frr, what: &str| frr.ask(what).unwrap_or_default();
        let told: String = frr
            .iter()
            .flat_map(|f| {
                [ask(f, "show bgp summary"), ask(f, "show ip ospf neighbor"), ask(f, "show ip route")]
            })
            .collect();
        LabError::failed(e.to_string(), format!("{routes}\n{told}{}", logs(world)))
    })
}

fn frr(context: &Context) -> Result<(), LabError> {
    let tag = "frr";
    let options = Options { tag: tag.into(), primary: true, ..Options::default() };
    let mut world = World::up(context.places.clone(), options, Knobs::default())?;
    let profile = |world: &World, end: &End, lan: &str, idle: &str| {
        let [_, peer] = end.tunnel();
        let own = format!(
            "idle_s: {IDLE_S}\n    device: {}\n    check_source: false\n    routing_hellos: true\n    \
             trigger_filter: routing\n    idle_filter: routing",
            end.device
        );
        // The backup of what BGP has, and the way to the daemon of the other end.
        let routes = format!("metric: {METRIC}\n    routes: [{lan}, {peer}/32]");
        world.profile(end.name)?.with(idle, &own)?.with(&format!("routes: [{lan}]"), &routes)
    };
    let headend = profile(&world, &CENTRE, "10.1.0.0/16", "idle_s: 20")?;
    let branch = profile(&world, &BRANCH, "10.2.0.0/16", "idle_s: 5")?;
    world.start_headend(&headend)?;
    world.start_branch(&branch)?;
    world.wait_registered(&[BRANCH_NUMBER, HEADEND_NUMBER])?;
    for (end, namespace) in [(&BRANCH, &world.topology.branch), (&CENTRE, &world.topology.headend)] {
        wait_for("the tunnel's device", BGP_LIMIT, || Ok(namespace.has_device(end.device).then_some(())))?;
    }
    let mut frr = [BRANCH.start(tag, &world.topology.branch)?, CENTRE.start(tag, &world.topology.headend)?];
    let nothing = || Ok(());

    // The primary: its route is BGP's, and better than the tunnel's.
    wait_route(&world, &frr, "10.2.0.0/16", &["dev wan1", "proto bgp"], nothing)?;
    wait_for("the centre's route", BGP_LIMIT, || {
        Ok(route(&world.topology.headend, "10.1.0.0/16")?.contains("proto bgp").then_some(()))
    })?;
    ping_all(&world, &world.topology.branch_lan, CENTRE_LAN_HOST)?;
    let filtered = |world: &World| -> Result<u64, LabError> {
        let shown = ask(both(world).0, &["show", "dataplane"])?;
        Ok(shown["drops"]["trigger-filtered"].as_u64().unwrap_or_default())
    };
    wait_for("BGP's attempts through the tunnel", BGP_LIMIT, || Ok((filtered(&world)? >= 3).then_some(())))?;
    ensure_in(&world, world.carrier.calls() == 0, "routing protocols place no call", || {
        world.carrier.bill_text()
    })?;
    let shown = both(&world).0.cli(&["show", "ip", "route"])?;
    ensure(
        shown.contains("10.2.0.0/16") && shown.to_ascii_lowercase().contains("bgp"),
        "BGP's route is shown",
        || shown.clone(),
    )?;

    // It fails: BGP notices, the tunnel's route is left, and the first packet calls.
    world.topology.primary()?.set(Path::Cut)?;
    let lan = &world.topology.branch_lan;
    let ping = || {
        let _ = run(lan.command("ping").args(["-c", "1", "-W", "0.3", CENTRE_LAN_HOST]));
        Ok(())
    };
    wait_for("a ping through the tunnel", BGP_LIMIT, || {
        Ok(run(lan.command("ping").args(["-c", "1", "-W", "0.3", CENTRE_LAN_HOST])).ok())
    })
    .map_err(|e| LabError::failed(e.to_string(), logs(&world)))?;
    ensure_in(&world, world.carrier.calls_up() == 1, "one call", || world.carrier.bill_text())?;

    // Both protocols run over the tunnel, and what they learn goes into it.
    wait_route(&world, &frr, "10.88.0.1", &["dev sipsec7", "proto bgp"], ping)?;
    wait_route(&world, &frr, "10.89.0.1", &["dev sipsec7", "proto ospf"], ping)?;
    ping_all(&world, &world.topology.branch_lan, "10.88.0.1")?;
    ping_all(&world, &world.topology.branch_lan, "10.89.0.1")?;
    ping_all(&world, &world.topology.centre_lan, BRANCH_LAN_HOST)?;

    // Keepalives each second do not hold the call, and the attempts after it place none.
    world.wait_hung_up(HANG_UP_LIMIT)?;
    wait_for("the withdrawal of what was learnt", BGP_LIMIT, || {
        let routes =
            route(&world.topology.branch, "10.88.0.1")? + &route(&world.topology.branch, "10.89.0.1")?;
        Ok(routes.is_empty().then_some(()))
    })?;
    let before = filtered(&world)?;
    wait_for("BGP's next attempts", BGP_LIMIT, || Ok((filtered(&world)? >= before + 3).then_some(())))?;
    let calls = world.carrier.calls();
    ensure_in(&world, calls == 1, "routing protocols place no call", || world.carrier.bill_text())?;

    world.topology.primary()?.set(Path::Good)?;
    wait_route(&world, &frr, "10.2.0.0/16", &["dev wan1", "proto bgp"], nothing)?;
    wait_for("the centre's route", BGP_LIMIT, || {
        Ok(route(&world.topology.headend, "10.1.0.0/16")?.contains("proto bgp").then_some(()))
    })?;
    ping_all(&world, &world.topology.branch_lan, CENTRE_LAN_HOST)?;
    ensure_in(&world, world.carrier.calls() == 1, "the primary needs no call", || world.carrier.bill_text())?;
    frr.iter_mut().try_for_each(Frr::check)?;
    no_clear_text(&world)?;
    world.check()
}
