//! Kamailio as the carrier: what the embedded one and the user agent might both get wrong.

use super::pki::Pki;
use super::support::{Traffic, ask, both, ensure, ensure_in, no_clear_text, ping_all, session, wait_status};
use super::{Context, Scenario};
use crate::lab::demo::logs;
use crate::lab::error::LabError;
use crate::lab::interrupt::wait_for;
use crate::lab::peer::{Kamailio, Speaks};
use crate::lab::profile::Profile;
use crate::lab::topology::{BRANCH_LAN_HOST, CENTRE_LAN_HOST, Options};
use crate::lab::world::{BRANCH_NUMBER, DOMAIN, Exchange as _, HEADEND_NUMBER, World};
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

const IDLE_LIMIT: Duration = Duration::from_secs(15);
/// The first REGISTER meets a closed port; the next follows after 5 s and a quarter of jitter.
const AGAIN_LIMIT: Duration = Duration::from_secs(20);

fn world(context: &Context, tag: &str, speaks: &Speaks) -> Result<World<Kamailio>, LabError> {
    let options = Options { tag: tag.into(), ..Options::default() };
    let config = context.places.peers.join("kamailio/kamailio.cfg");
    World::with(context.places.clone(), options, |topology| {
        Kamailio::start(&topology.carrier, &config, tag, speaks)
    })
}

/// Failures with the ends of all logs.
fn explained(world: &World<Kamailio>, result: Result<(), LabError>) -> Result<(), LabError> {
    let log = crate::lab::process::log_tail(world.carrier.log());
    result.map_err(|e| LabError::failed(e.to_string(), format!("{}\n--- kamailio\n{log}", logs(world))))
}

fn kamailio(context: &Context) -> Result<(), LabError> {
    let mut world = world(context, "kam", &Speaks::Udp)?;
    let result = whole_call(&mut world);
    explained(&world, result)
}

fn whole_call(world: &mut World<Kamailio>) -> Result<(), LabError> {
    let branch = world.profile("branch")?.with("idle_s: 5", "idle_s: 2")?;
    let headend = world.profile("headend")?.with("idle_s: 20", "idle_s: 4")?;
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

    let headend = world.headend.as_mut().expect("started");
    if let Some(controlplane) = headend.controlplane() {
        controlplane.terminate();
    }
    wait_for("the head-end's unregistration", Duration::from_secs(5), || {
        Ok(world.carrier.registered().iter().all(|n| n != HEADEND_NUMBER).then_some(()))
    })
}

fn streams(context: &Context) -> Result<(), LabError> {
    let keys = "  transport: tcp\n  keepalive_s: 1\n";
    restarted(context, "kamt", &Speaks::Tcp, &|profile| {
        profile.with("  domain: carrier.example\n", &format!("{keys}  domain: carrier.example\n"))
    })?;

    let pki = Pki::new(context, "kams")?;
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
    restarted(context, "kams", &speaks, &|profile| {
        let file = |kind: &str| pki.path(&format!("{}.{kind}", profile.gateway));
        let (ca, certificate, key) = (pki.path("root.pem"), file("crt"), file("key"));
        let tls = format!("  tls: {{ ca: {ca}, certificate: {certificate}, key: {key} }}\n");
        let keys = format!("  transport: tls\n{tls}  keepalive_s: 1\n  domain: carrier.example\n");
        profile.with("  domain: carrier.example\n", &keys)
    })
}

/// A call each way over connections. In the middle of the first one Kamailio restarts: every connection and registration is
/// lost, and the call is not.
fn restarted(
    context: &Context,
    tag: &str,
    speaks: &Speaks,
    change: &dyn Fn(Profile) -> Result<Profile, LabError>,
) -> Result<(), LabError> {
    let mut world = world(context, tag, speaks)?;
    let result = through_restart(&mut world, change);
    explained(&world, result)
}

fn through_restart(
    world: &mut World<Kamailio>,
    change: &dyn Fn(Profile) -> Result<Profile, LabError>,
) -> Result<(), LabError> {
    let branch = change(world.profile("branch")?.with("idle_s: 5", "idle_s: 3")?)?;
    let headend = change(world.profile("headend")?)?;
    world.start_headend(&headend)?;
    world.start_branch(&branch)?;
    world.wait_registered(&[BRANCH_NUMBER, HEADEND_NUMBER])?;
    ping_all(world, &world.topology.branch_lan, CENTRE_LAN_HOST)?;

    let traffic = Traffic::start(&world.topology.branch_lan, CENTRE_LAN_HOST)?;
    world.carrier.restart(&world.topology.carrier)?;
    wait_for("registration after the restart", AGAIN_LIMIT, || {
        let registered = world.carrier.registered();
        Ok([BRANCH_NUMBER, HEADEND_NUMBER].iter().all(|n| registered.iter().any(|r| r == n)).then_some(()))
    })?;
    let lost = traffic.lost()?;
    ensure_in(world, lost == 0, "the call stays", || format!("{lost} packets lost"))?;
    let (branch, headend) = both(world);
    for (gateway, remote) in [(branch, HEADEND_NUMBER), (headend, BRANCH_NUMBER)] {
        let session = session(gateway, remote)?;
        ensure_in(world, session["status"] == "SESSION_UP", "the call is up", || format!("{session:#}"))?;
    }
    hung_up(world, 1)?;
    // The other way Kamailio opens the connection to the branch, or uses the branch's.
    ping_all(world, &world.topology.centre_lan, BRANCH_LAN_HOST)?;
    hung_up(world, 2)?;
    no_clear_text(world)
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
