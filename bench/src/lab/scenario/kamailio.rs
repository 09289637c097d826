//! Kamailio as the carrier: what the embedded one and the user agent might both get wrong.

use super::commands::{call, once};
use super::pki::Pki;
use super::support::{Traffic, ask, both, ensure, ensure_in, no_clear_text, ping_all, session, wait_status};
use super::{Context, Scenario};
use crate::lab::demo::logs;
use crate::lab::error::LabError;
use crate::lab::interrupt::wait_for;
use crate::lab::peer::{Kamailio, Speaks};
use crate::lab::profile::Profile;
use crate::lab::topology::{BRANCH_LAN_HOST, CENTRE_LAN_HOST, Options};
use crate::lab::world::{
    BRANCH_NUMBER, DOMAIN, Exchange as _, HEADEND_NUMBER, World, carrier_address, carrier_address6,
};
use std::net::SocketAddr;
use std::sync::PoisonError;
use std::time::Duration;

const TOOLS: &[(&str, &str)] = &[("kamailio", "kamailio"), ("kamcmd", "kamailio")];
const TLS_MODULE: &str = "/usr/lib/x86_64-linux-gnu/kamailio/modules/tls.so";

pub const KAMAILIO: Scenario = Scenario {
    about: "Kamailio as carrier: 401 and 407, first packet each way, idle BYE, unregistration",
    tools: TOOLS,
    run: kamailio,
    ..Scenario::new("kamailio")
};

pub const STREAMS: Scenario = Scenario {
    about: "the same over TCP, then over TLS; Kamailio restarts in the middle of a call, which stays and ends with a BYE",
    tools: &[TOOLS[0], TOOLS[1], ("openssl", "openssl"), (TLS_MODULE, "kamailio-tls-modules")],
    nightly: true,
    run: streams,
    ..Scenario::new("kamailio-streams")
};

pub const IPV6: Scenario = Scenario {
    about: "Kamailio over IPv6: UDP, TCP and TLS, a call each way",
    tools: STREAMS.tools,
    nightly: true,
    run: ipv6,
    ..Scenario::new("kamailio-ipv6")
};

const IDLE_LIMIT: Duration = Duration::from_secs(15);
/// The first REGISTER meets a closed port; the next follows after 5 s and a quarter of jitter.
const AGAIN_LIMIT: Duration = Duration::from_secs(20);

fn world(context: &Context, tag: &str, speaks: &Speaks, at: SocketAddr) -> Result<World<Kamailio>, LabError> {
    let options = Options { tag: tag.into(), ipv6: at.is_ipv6(), ..Options::default() };
    let config = context.places.peers.join("kamailio/kamailio.cfg");
    World::with(context.places.clone(), options, |topology| {
        Kamailio::start(&topology.carrier, &config, tag, speaks, at)
    })
}

/// Failures with the ends of all logs.
fn explained(world: &World<Kamailio>, result: Result<(), LabError>) -> Result<(), LabError> {
    let log = crate::lab::process::log_tail(world.carrier.log());
    result.map_err(|e| LabError::failed(e.to_string(), format!("{}\n--- kamailio\n{log}", logs(world))))
}

fn kamailio(context: &Context) -> Result<(), LabError> {
    let mut world = world(context, "kam", &Speaks::Udp, carrier_address())?;
    let result = whole_call(context, &mut world);
    explained(&world, result)
}

fn whole_call(context: &Context, world: &mut World<Kamailio>) -> Result<(), LabError> {
    let branch = world.profile("branch")?.with("idle_s: 5", "idle_s: 2")?;
    let headend = world.profile("headend")?.with("idle_s: 20", "idle_s: 4")?;
    let every = ["<- SIP/2.0 401", "0388881001: registered for 3", "every line registers"];
    once(context, &world.topology.branch, &branch)?.expect("`register --once`", 0, &every)?;
    ensure(world.carrier.registered().is_empty(), "the binding is removed", || {
        format!("{:?}", world.carrier.registered())
    })?;
    world.start_headend(&headend)?;
    world.start_branch(&branch)?;
    world.wait_registered(&[BRANCH_NUMBER, HEADEND_NUMBER])?;
    let (branch, headend) = both(world);
    for (gateway, number) in [(branch, BRANCH_NUMBER), (headend, HEADEND_NUMBER)] {
        let line = ask(gateway, &["show", "vpn-sip", "registration-status"])?[0].take();
        ensure(line["number"] == number && line["registered"] == true, "registered", || line.to_string())?;
    }

    // The branch's call ends by the branch's idle timer, the head-end's by the branch's as well: its timer is shorter.
    for (calls, from_branch) in [(1, true), (2, false)] {
        if from_branch {
            ping_all(world, &world.topology.branch_lan, CENTRE_LAN_HOST)?;
        } else {
            ping_all(world, &world.topology.centre_lan, BRANCH_LAN_HOST)?;
        }
        let tapped = |world: &World<Kamailio>| {
            let tap = world.tap.lock().unwrap_or_else(PoisonError::into_inner);
            (tap.answered().count(), tap.calls_up(), tap.answered().map(|c| c.byes.len()).collect::<Vec<_>>())
        };
        let (answered, up, _) = tapped(world);
        ensure_in(world, (answered, up) == (calls, 1), "one call is up", || format!("{:?}", tapped(world)))?;
        wait_for("the idle BYE", IDLE_LIMIT, || Ok((tapped(world).1 == 0).then_some(())))?;
        let (branch, headend) = both(world);
        wait_status(world, branch, HEADEND_NUMBER, "READY_TO_CONNECT")?;
        wait_status(world, headend, BRANCH_NUMBER, "READY_TO_CONNECT")?;
        let (.., byes) = tapped(world);
        ensure_in(world, byes.iter().all(|n| *n == 1), "one BYE for each call", || format!("{byes:?}"))?;
    }
    no_clear_text(world)?;

    let lan = world.topology.branch_lan.name();
    let ping = ["ip", "netns", "exec", lan, "ping", "-c", "3", "-i", "0.2", CENTRE_LAN_HOST];
    let said = ["3 received", "0388882001: up after ", "the command ended with 0"];
    call(context, world, &ping)?.expect("`call -- COMMAND`", 0, &said)?;
    hung_up(world, 3)?;

    let headend = world.headend.as_mut().expect("started");
    if let Some(controlplane) = headend.controlplane() {
        controlplane.terminate();
    }
    wait_for("the head-end's unregistration", Duration::from_secs(5), || {
        Ok(world.carrier.registered().iter().all(|n| n != HEADEND_NUMBER).then_some(()))
    })
}

/// A transport of SIP, and what a profile says of it.
struct Dress<'a> {
    speaks: Speaks,
    keys: Box<dyn Fn(&str) -> String>,
    // Last: its files are in use.
    _pki: Option<Pki<'a>>,
}

impl<'a> Dress<'a> {
    fn tcp() -> Self {
        let keys = |_: &str| "  transport: tcp\n  keepalive_s: 1\n".to_owned();
        Self { speaks: Speaks::Tcp, keys: Box::new(keys), _pki: None }
    }

    /// With certificates for the carrier and both gateways.
    fn tls(context: &'a Context, tag: &str) -> Result<Self, LabError> {
        let pki = Pki::new(context, tag)?;
        pki.authority()?;
        let carrier = ["req", "-new", "-newkey", "rsa:3072", "-nodes", "-subj", "/CN=carrier"];
        pki.openssl(&[&carrier[..], &["-keyout", "carrier.key", "-out", "carrier.csr"]].concat())?;
        // RFC 5922 §7.1: the SIP domain as a URI.
        pki.sign("root", "carrier.csr", "carrier.pem", &format!("subjectAltName=URI:sip:{DOMAIN}\n"))?;
        for gateway in ["branch", "headend"] {
            let name = format!("{gateway}.example");
            pki.sipsec(&["csr", gateway, "--dns", &name])?;
            let (csr, pem) = (format!("{gateway}.csr"), format!("{gateway}.pem"));
            pki.sign("root", &csr, &pem, &format!("subjectAltName=DNS:{name}\n"))?;
            pki.sipsec(&["cert-import", gateway, &pki.path(&pem), "--ca", &pki.path("root.pem")])?;
        }
        let speaks = Speaks::Tls {
            certificate: pki.path("carrier.pem"),
            key: pki.path("carrier.key"),
            ca: pki.path("root.pem"),
        };
        let (ca, dir) = (pki.path("root.pem"), pki.path(""));
        let keys = move |gateway: &str| {
            let file = |kind: &str| format!("{dir}{gateway}.{kind}");
            let (certificate, key) = (file("crt"), file("key"));
            format!(
                "  transport: tls\n  tls: {{ ca: {ca}, certificate: {certificate}, key: {key} }}\n  keepalive_s: 1\n"
            )
        };
        Ok(Self { speaks, keys: Box::new(keys), _pki: Some(pki) })
    }

    fn put_on(&self, profile: Profile) -> Result<Profile, LabError> {
        let keys = (self.keys)(profile.gateway);
        profile.with("  domain: carrier.example\n", &format!("{keys}  domain: carrier.example\n"))
    }
}

fn streams(context: &Context) -> Result<(), LabError> {
    let at = carrier_address();
    for (tag, dress) in [("kamt", Dress::tcp()), ("kams", Dress::tls(context, "kams")?)] {
        let mut world = world(context, tag, &dress.speaks, at)?;
        let result = each_way(&mut world, &dress, true);
        explained(&world, result)?;
    }
    Ok(())
}

fn ipv6(context: &Context) -> Result<(), LabError> {
    let at = carrier_address6();
    let udp = Dress { speaks: Speaks::Udp, keys: Box::new(|_| String::new()), _pki: None };
    for (tag, dress) in [("kam6u", udp), ("kam6t", Dress::tcp()), ("kam6s", Dress::tls(context, "kam6s")?)] {
        let mut world = world(context, tag, &dress.speaks, at)?;
        let result = each_way(&mut world, &dress, false);
        explained(&world, result)?;
    }
    Ok(())
}

/// A call each way. With `restart` Kamailio restarts in the middle of the first one: every connection and registration is lost,
/// and the call is not.
fn each_way(world: &mut World<Kamailio>, dress: &Dress<'_>, restart: bool) -> Result<(), LabError> {
    let server = format!("registrar: \"{}\"", world.carrier.address());
    let profile = |world: &World<Kamailio>, gateway| -> Result<Profile, LabError> {
        dress.put_on(world.profile(gateway)?.with("registrar: 198.51.100.1:5060", &server)?)
    };
    let branch = profile(world, "branch")?.with("idle_s: 5", "idle_s: 3")?;
    let headend = profile(world, "headend")?;
    world.start_headend(&headend)?;
    world.start_branch(&branch)?;
    world.wait_registered(&[BRANCH_NUMBER, HEADEND_NUMBER])?;
    ping_all(world, &world.topology.branch_lan, CENTRE_LAN_HOST)?;
    if restart {
        restarted(world)?;
    }
    let (branch, headend) = both(world);
    for (gateway, remote) in [(branch, HEADEND_NUMBER), (headend, BRANCH_NUMBER)] {
        let session = session(gateway, remote)?;
        ensure_in(world, session["status"] == "SESSION_UP", "the call is up", || format!("{session:#}"))?;
        let line = ask(gateway, &["show", "vpn-sip", "sip", "registrar"])?[0].take();
        let there =
            line["server"].as_str().is_some_and(|s| s.starts_with(&world.carrier.address().to_string()));
        ensure(there, "registered over this IP version", || line.to_string())?;
    }
    hung_up(world, 1)?;
    // The other way Kamailio opens the connection to the branch, or uses the branch's.
    ping_all(world, &world.topology.centre_lan, BRANCH_LAN_HOST)?;
    hung_up(world, 2)?;
    no_clear_text(world)
}

/// Kamailio restarts under a call, of which nothing is lost.
fn restarted(world: &mut World<Kamailio>) -> Result<(), LabError> {
    let traffic = Traffic::start(&world.topology.branch_lan, CENTRE_LAN_HOST)?;
    world.carrier.restart(&world.topology.carrier)?;
    wait_for("registration after the restart", AGAIN_LIMIT, || {
        let registered = world.carrier.registered();
        Ok([BRANCH_NUMBER, HEADEND_NUMBER].iter().all(|n| registered.iter().any(|r| r == n)).then_some(()))
    })?;
    let lost = traffic.lost()?;
    ensure_in(world, lost == 0, "the call stays", || format!("{lost} packets lost"))
}

/// Kamailio has passed an ACK and one BYE of each call, and both gateways have none left.
fn hung_up(world: &World<Kamailio>, calls: usize) -> Result<(), LabError> {
    let ended = || {
        let passed = world.carrier.passed();
        passed.len() == calls && passed.values().all(|call| call.acks >= 1 && call.byes == 1)
    };
    wait_for("the idle BYE", IDLE_LIMIT, || Ok(ended().then_some(())))
        .map_err(|e| LabError::failed(e.to_string(), format!("{:?}", world.carrier.passed())))?;
    let (branch, headend) = both(world);
    wait_status(world, branch, HEADEND_NUMBER, "READY_TO_CONNECT")?;
    wait_status(world, headend, BRANCH_NUMBER, "READY_TO_CONNECT")
}
