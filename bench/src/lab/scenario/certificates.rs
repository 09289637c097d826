//! Gateways that prove themselves by certificate: made with `sipsec pki`, self-signed or issued by an authority.

use super::bad_input::drop_calls;
use super::support::{
    Shown, ask, both, clear_all, ensure, ensure_in, no_clear_text, ping_all, ping_unanswered, wait_back_off,
    wait_shown,
};
use super::{Context, Scenario};
use crate::lab::carrier::{Knobs, NumberKnobs, Rewrite};
use crate::lab::error::LabError;
use crate::lab::gateway::Gateway;
use crate::lab::interrupt::wait_for;
use crate::lab::netns::run;
use crate::lab::peer::Scratch;
use crate::lab::profile::Profile;
use crate::lab::topology::{BRANCH_LAN_HOST, CENTRE_LAN_HOST};
use crate::lab::world::{BRANCH_NUMBER, HEADEND_NUMBER, World};
use std::path::Path;
use std::process::Command;
use std::sync::atomic::Ordering;
use std::time::Duration;

pub const CERTIFICATES: Scenario = Scenario {
    about: "self-signed certificates both ways, a changed fingerprint refused with its reason, an authority's in fragments",
    tools: &[("openssl", "openssl")],
    run: certificates,
    ..Scenario::new("certificates")
};

const REASON_LIMIT: Duration = Duration::from_secs(10);
/// Of the profiles: what proves the peer.
const PSK: &str = "psk: \"lab-only-3f9d1c7a5be04826d1907cf2a4e86b53\" }\n";

/// Keys and certificates of one case, kept where `sipsec pki` is told to.
struct Pki<'a> {
    context: &'a Context,
    files: Scratch,
}

impl<'a> Pki<'a> {
    fn new(context: &'a Context, tag: &str) -> Result<Self, LabError> {
        Ok(Self { context, files: Scratch::new(&format!("{tag}-pki"))? })
    }

    fn path(&self, name: &str) -> String {
        self.files.path().join(name).display().to_string()
    }

    /// `sipsec pki …`
    fn sipsec(&self, words: &[&str]) -> Result<String, LabError> {
        run(Command::new(&self.context.places.programs.cli)
            .arg("pki")
            .args(words)
            .arg("--dir")
            .arg(self.files.path()))
    }

    fn openssl(&self, words: &[&str]) -> Result<String, LabError> {
        run(Command::new("openssl").args(words).current_dir(self.files.path()))
    }

    /// As SDP has it.
    fn fingerprint(&self, gateway: &str) -> Result<String, LabError> {
        let text = self.sipsec(&["fingerprint", &self.path(&format!("{gateway}.crt"))])?;
        let value = text.lines().find_map(|l| l.strip_prefix("fingerprint")).map(|v| v.trim().to_owned());
        value.ok_or_else(|| LabError::failed("no fingerprint", text))
    }

    /// The gateway's profile with its certificate in the place of the key.
    fn profile(&self, world: &World, gateway: &'static str, trust: &str) -> Result<Profile, LabError> {
        let file = |kind: &str| self.path(&format!("{gateway}.{kind}"));
        let by = format!(
            "certificate: own }}\n  certificates:\n    - {{ name: own, certificate: {}, key: {}, trust: {{ {trust} }} }}\n",
            file("crt"),
            file("key"),
        );
        let profile = world.profile(gateway)?.with(PSK, &by)?;
        let idle = if gateway == "branch" { "idle_s: 5" } else { "idle_s: 20" };
        profile.with(idle, "idle_s: 60")
    }

    fn start(&self, world: &mut World, trust: &str) -> Result<(), LabError> {
        let profiles = [self.profile(world, "branch", trust)?, self.profile(world, "headend", trust)?];
        for profile in &profiles {
            let path = profile.write()?;
            let checked = run(Command::new(&self.context.places.programs.cli).arg("check").arg(&path));
            let clean = checked.as_ref().is_ok_and(|text| text.contains(" 0 errors, "));
            ensure(clean && !checked.as_ref().is_ok_and(|t| t.contains("pki::")), "sipsec check", || {
                checked.unwrap_or_else(|e| e.to_string())
            })?;
        }
        world.start_headend(&profiles[1])?;
        world.start_branch(&profiles[0])?;
        world.wait_registered(&[BRANCH_NUMBER, HEADEND_NUMBER])
    }
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
    pki.start(&mut world, "self_signed: true")?;

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
        ensure_in(&world, passed == 0, "no ESP with a certificate that nobody announced", || {
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
    authority(&pki)?;
    pki.sipsec(&["ca-import", "corp", &pki.path("root.pem")])?;
    for gateway in ["branch", "headend"] {
        pki.sipsec(&["csr", gateway, "--key-type", "rsa-3072", "--organization", "Lab Bank"])?;
        let (csr, answer) = (format!("{gateway}.csr"), format!("{gateway}.pem"));
        sign(
            &pki,
            "middle",
            &csr,
            &answer,
            "keyUsage=critical,digitalSignature\nbasicConstraints=CA:FALSE\n",
        )?;
        let chain = ["middle.pem", &answer].map(|name| std::fs::read_to_string(pki.path(name)));
        let [middle, own] = chain.map(|text| text.map_err(LabError::io("a certificate of openssl")));
        pki.files.write(&format!("{gateway}.chain"), &(own? + &middle?))?;
        let chain = pki.path(&format!("{gateway}.chain"));
        // Without its authority it is not taken.
        let refused = pki.sipsec(&["cert-import", gateway, &chain, "--ca", &pki.path("other.pem")]);
        ensure(refused.is_err(), "a certificate of another authority is imported", String::new)?;
        pki.sipsec(&["cert-import", gateway, &chain, "--ca", &pki.path("corp.crt")])?;
    }
    let trust = format!("ca: [{}], maps: [[\"subject co O=Lab Bank\"]]", pki.path("corp.crt"));
    pki.start(&mut world, &trust)?;
    ping_all(&world, &world.topology.branch_lan, CENTRE_LAN_HOST)?;
    shown_on_both(&world, &pki, ["rsa-pss-sha256", "rsa-pss-sha256"])?;
    let (branch, headend) = both(&world);
    for gateway in [branch, headend] {
        let session = ask(gateway, &["show", "crypto", "session", "detail"])?[0].take();
        let fragments = session["ike"]["fragments_in"].as_u64().unwrap_or_default();
        ensure_in(&world, fragments >= 2, "IKE_AUTH came in fragments", || format!("{session:#}"))?;
    }
    clear_all(&mut world)?;

    // The same key under a certificate that the map does not take.
    world.headend = None;
    let other = trust.replace("Lab Bank", "Other Bank");
    let headend = pki.profile(&world, "headend", &other)?;
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

/// Not made by us: another implementation has to understand our requests.
fn authority(pki: &Pki<'_>) -> Result<(), LabError> {
    const ROOT: [&str; 8] = ["req", "-x509", "-newkey", "rsa:3072", "-nodes", "-days", "90", "-addext"];
    for (name, subject) in [("root", "/CN=Lab Root"), ("other", "/CN=Other Root")] {
        let (key, crt) = (format!("{name}.pem.key"), format!("{name}.pem"));
        let rest = ["keyUsage=critical,keyCertSign,cRLSign", "-subj", subject, "-keyout", &key, "-out", &crt];
        pki.openssl(&[&ROOT[..], &rest].concat())?;
    }
    let request = ["req", "-new", "-newkey", "rsa:3072", "-nodes", "-subj", "/CN=Lab Issuing CA"];
    let files = ["-keyout", "middle.pem.key", "-out", "middle.csr"];
    pki.openssl(&[&request[..], &files].concat())?;
    sign(
        pki,
        "root",
        "middle.csr",
        "middle.pem",
        "keyUsage=critical,keyCertSign,cRLSign\nbasicConstraints=critical,CA:TRUE\n",
    )
}

fn sign(pki: &Pki<'_>, by: &str, request: &str, to: &str, extensions: &str) -> Result<(), LabError> {
    pki.files.write("extensions", extensions)?;
    let (ca, key) = (format!("{by}.pem"), format!("{by}.pem.key"));
    let sign = ["x509", "-req", "-days", "90", "-extfile", "extensions", "-CAcreateserial"];
    pki.openssl(&[&sign[..], &["-in", request, "-CA", &ca, "-CAkey", &key, "-out", to]].concat())?;
    ensure(Path::new(&pki.path(to)).exists(), "openssl signs our request", String::new)
}
