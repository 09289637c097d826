//! Gateways that prove themselves by certificate: made with `sipsec pki`, self-signed or issued by an authority.

use super::bad_input::drop_calls;
use super::pki::Pki;
use super::support::{
    Shown, ask, both, clear_all, ensure, ensure_in, no_clear_text, ping_all, ping_unanswered, wait_back_off,
    wait_shown,
};
use super::{Context, Scenario};
use crate::lab::carrier::{Knobs, NumberKnobs, Rewrite};
use crate::lab::error::LabError;
use crate::lab::gateway::Gateway;
use crate::lab::interrupt::wait_for;
use crate::lab::topology::{BRANCH_LAN_HOST, CENTRE_LAN_HOST};
use crate::lab::world::{BRANCH_NUMBER, HEADEND_NUMBER, World};
use std::sync::atomic::Ordering;
use std::time::Duration;

pub const CERTIFICATES: Scenario = Scenario {
    about: "self-signed certificates both ways, a changed fingerprint refused with its reason, an authority's in fragments",
    tools: &[("openssl", "openssl")],
    run: certificates,
    ..Scenario::new("certificates")
};

const REASON_LIMIT: Duration = Duration::from_secs(10);
fn start(pki: &Pki<'_>, world: &mut World, trust: &str) -> Result<(), LabError> {
    let branch = pki.profile(world.profile("branch")?, trust)?;
    let headend = pki.profile(world.profile("headend")?, trust)?;
    pki.check(&branch)?;
    pki.check(&headend)?;
    world.start_headend(&headend)?;
    world.start_branch(&branch)?;
    world.wait_registered(&[BRANCH_NUMBER, HEADEND_NUMBER])
}

fn certificates(context: &Context) -> Result<(), LabError> {
    self_signed(context)?;
    of_an_authority(context)
}

fn self_signed(context: &Context) -> Result<(), LabError> {
    let mut world = context.world("cert", Knobs::default())?;
    let pki = Pki::new(context, "cert")?;
    pki.sipsec(&["self-signed", "branch"])?;
    pki.sipsec(&["self-signed", "headend", "--key-type", "ed25519"])?;
    start(&pki, &mut world, "self_signed: true")?;

    // Each side calls once.
    ping_all(&world, &world.topology.branch_lan, CENTRE_LAN_HOST)?;
    shown_on_both(&world, &pki, ["ecdsa-sha256", "ed25519"])?;
    clear_all(&mut world)?;
    ping_all(&world, &world.topology.centre_lan, BRANCH_LAN_HOST)?;
    shown_on_both(&world, &pki, ["ecdsa-sha256", "ed25519"])?;
    clear_all(&mut world)?;

    renewed(&mut world, &pki)?;
    // RFC 6193 §7: a certificate other than the one in SDP is an authentication failure.
    let spoil = vec![Rewrite::SpoilFingerprint("fingerprint")];
    for at_headend in [true, false] {
        let knobs = if at_headend {
            NumberKnobs { offer: spoil.clone(), ..NumberKnobs::default() }
        } else {
            NumberKnobs { answer: spoil.clone(), ..NumberKnobs::default() }
        };
        world.carrier.set_knobs(|k| drop(k.numbers.insert(HEADEND_NUMBER.into(), knobs)));
        let esp = world.tally.esp.load(Ordering::Relaxed);
        ping_unanswered(&world, &world.topology.branch_lan, CENTRE_LAN_HOST)?;
        let (branch, headend) = both(&world);
        let (gateway, remote, peer) =
            if at_headend { (headend, BRANCH_NUMBER, "branch") } else { (branch, HEADEND_NUMBER, "headend") };
        let got = pki.fingerprint(peer)?;
        let words = ["the peer's key is", &got, "SDP announced"];
        wait_shown(
            &world,
            gateway,
            Shown { remote, code: "fingerprint-mismatch", words: &words },
            REASON_LIMIT,
        )?;
        drop_calls(&mut world)?;
        let passed = world.tally.esp.load(Ordering::Relaxed) - esp;
        ensure_in(&world, passed == 0, "no ESP with a certificate that was not announced", || {
            passed.to_string()
        })?;
        world.carrier.set_knobs(|k| k.numbers.clear());
        let (branch, _) = both(&world);
        wait_back_off(branch, HEADEND_NUMBER)?;
        ping_all(&world, &world.topology.branch_lan, CENTRE_LAN_HOST)?;
        clear_all(&mut world)?;
    }
    no_clear_text(&world)?;
    world.check()
}

/// As the runbook says: a new certificate under a live call, which goes on; the next one uses it.
fn renewed(world: &mut World, pki: &Pki<'_>) -> Result<(), LabError> {
    let before = pki.fingerprint("branch")?;
    ping_all(world, &world.topology.branch_lan, CENTRE_LAN_HOST)?;
    pki.sipsec(&["self-signed", "branch", "--force"])?;
    let branch = world.branch.as_mut().expect("started");
    let mut events = branch.events();
    if let Some(controlplane) = branch.controlplane() {
        controlplane.reload();
    }
    wait_for("the reload", REASON_LIMIT, || {
        Ok(events.lines().iter().any(|l| l.contains("are read anew")).then_some(()))
    })?;
    ping_all(world, &world.topology.branch_lan, CENTRE_LAN_HOST)?;
    let (_, headend) = both(world);
    let session = ask(headend, &["show", "crypto", "session", "detail"])?[0].take();
    let kept = session["ike"]["fingerprint"] == before.as_str() && world.carrier.calls_up() == 1;
    ensure_in(world, kept, "the live call goes on as it was", || format!("{session:#}"))?;
    clear_all(world)?;
    ping_all(world, &world.topology.branch_lan, CENTRE_LAN_HOST)?;
    shown_on_both(world, pki, ["ecdsa-sha256", "ed25519"])?;
    clear_all(world)
}

/// `show crypto session detail` names the scheme, the subject and the fingerprint of the other side.
fn shown_on_both(
    world: &World,
    pki: &Pki<'_>,
    [branch_scheme, headend_scheme]: [&str; 2],
) -> Result<(), LabError> {
    let (branch, headend) = both(world);
    for (gateway, scheme, peer) in [(branch, headend_scheme, "headend"), (headend, branch_scheme, "branch")] {
        let session = ask(gateway, &["show", "crypto", "session", "detail"])?[0].take();
        let fingerprint = pki.fingerprint(peer)?;
        let ike = &session["ike"];
        let right = ike["authentication"] == scheme
            && ike["fingerprint"] == fingerprint.as_str()
            && session["phase1_id"].as_str().is_some_and(|id| id.contains(&format!("CN={peer}")));
        ensure_in(world, right, "the peer's proof is shown", || format!("{fingerprint}\n{session:#}"))?;
        let text = gateway.cli(&["show", "crypto", "session", "detail"])?;
        ensure(text.contains(&fingerprint) && text.contains(scheme), "and in the text", || text.clone())?;
    }
    Ok(())
}

/// A root that issued an intermediate, that issued both gateways' certificates: too long for one IKE message.
fn of_an_authority(context: &Context) -> Result<(), LabError> {
    let mut world = context.world("ca", Knobs::default())?;
    let pki = Pki::new(context, "ca")?;
    pki.authority()?;
    pki.sipsec(&["ca-import", "corp", &pki.path("root.pem")])?;
    for gateway in ["branch", "headend"] {
        pki.sipsec(&["csr", gateway, "--key-type", "rsa-3072", "--organization", "Lab Bank"])?;
        let (csr, answer) = (format!("{gateway}.csr"), format!("{gateway}.pem"));
        pki.sign("middle", &csr, &answer, "keyUsage=critical,digitalSignature\nbasicConstraints=CA:FALSE\n")?;
        let chain = ["middle.pem", &answer].map(|name| std::fs::read_to_string(pki.path(name)));
        let [middle, own] = chain.map(|text| text.map_err(LabError::io("a certificate of openssl")));
        pki.write(&format!("{gateway}.chain"), &(own? + &middle?))?;
        let chain = pki.path(&format!("{gateway}.chain"));
        // Without its authority it is not taken.
        let refused = pki.sipsec(&["cert-import", gateway, &chain, "--ca", &pki.path("other.pem")]);
        ensure(refused.is_err(), "a certificate of another authority is imported", String::new)?;
        pki.sipsec(&["cert-import", gateway, &chain, "--ca", &pki.path("corp.crt")])?;
    }
    let trust = format!("ca: [{}], maps: [[\"subject co O=Lab Bank\"]]", pki.path("corp.crt"));
    start(&pki, &mut world, &trust)?;
    ping_all(&world, &world.topology.branch_lan, CENTRE_LAN_HOST)?;
    shown_on_both(&world, &pki, ["rsa-pss-sha256", "rsa-pss-sha256"])?;
    let (branch, headend) = both(&world);
    for gateway in [branch, headend] {
        let session = ask(gateway, &["show", "crypto", "session", "detail"])?[0].take();
        let fragments = session["ike"]["fragments_in"].as_u64().unwrap_or_default();
        ensure_in(&world, fragments > 0, "IKE_AUTH came in fragments", || format!("{session:#}"))?;
    }
    clear_all(&mut world)?;

    // The same key under a certificate that the map does not take.
    world.headend = None;
    let other = trust.replace("Lab Bank", "Other Bank");
    let headend = pki.profile(world.profile("headend")?, &other)?;
    world.start_headend(&headend)?;
    world.wait_registered(&[HEADEND_NUMBER])?;
    ping_unanswered(&world, &world.topology.branch_lan, CENTRE_LAN_HOST)?;
    let shown = Shown {
        remote: BRANCH_NUMBER,
        code: "certificate-rejected",
        words: &["CN=branch", "no certificate map accepts it"],
    };
    let headend: &Gateway = world.headend.as_ref().expect("started");
    wait_shown(&world, headend, shown, REASON_LIMIT)?;
    drop_calls(&mut world)?;
    no_clear_text(&world)?;
    world.check()
}
