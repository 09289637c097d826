//! strongSwan as a peer that proves itself by certificate, through our dataplane. Its certificates are openssl's, ours
//! are `sipsec pki`'s; SDP names its fingerprint, or another one.

use super::pki::Pki;
use super::strongswan::{ESP_PFS, REKEY_S, media_port, under_rekeys};
use super::support::{
    Shown, ask, ensure, ensure_in, no_clear_text, ping_unanswered, pings, wait_shown, wait_status,
};
use super::{Context, Scenario};
use crate::lab::error::LabError;
use crate::lab::peer::charon::{self, Auth, Connection, Trusted};
use crate::lab::peer::{Charon, StandIn};
use crate::lab::topology::{
    BRANCH_LAN_HOST, BRANCH_PREFIX, BRANCH_WAN, CENTRE_LAN_HOST, CENTRE_PREFIX, HEADEND_WAN, Options,
};
use crate::lab::world::{BRANCH_NUMBER, HEADEND_NUMBER, World};
use std::net::{Ipv4Addr, SocketAddrV4};
use std::path::PathBuf;
use std::time::Duration;

pub const CERTIFICATES: Scenario = Scenario {
    about: "certificates with strongSwan in both roles, self-signed, and of an authority in fragments with rekeys under traffic; \
            a wrong fingerprint",
    tools: &[charon::TOOLS[0], charon::TOOLS[1], ("openssl", "openssl")],
    run: certificates,
    ..Scenario::new("strongswan-certificates")
};

const PORT: u16 = 50_002;
const KBPS: u32 = 1000;
const REASON_LIMIT: Duration = Duration::from_secs(10);

type Lab = World<StandIn>;

#[derive(Clone, Copy)]
struct Case {
    tag: &'static str,
    of_an_authority: bool,
    /// The type of our key, as `sipsec pki` names it, and the signature scheme of strongSwan's key.
    our_key: &'static str,
    their_key: &'static [&'static str],
    their_scheme: &'static str,
    right_fingerprint: bool,
}

impl Case {
    /// With an authority there are rekeys, each with a key exchange of its own.
    const fn esp(self) -> &'static str {
        if self.of_an_authority { ESP_PFS } else { "aes256gcm16" }
    }
}

const SELF_SIGNED: Case = Case {
    tag: "swc",
    of_an_authority: false,
    our_key: "ecdsa-p256",
    their_key: &["ed25519"],
    their_scheme: "ed25519",
    right_fingerprint: true,
};

fn certificates(context: &Context) -> Result<(), LabError> {
    let p256 = &["ec", "-pkeyopt", "ec_paramgen_curve:P-256"];
    let authority = Case {
        tag: "swa",
        of_an_authority: true,
        our_key: "rsa-3072",
        their_key: &["rsa:3072"],
        their_scheme: "rsa-sha256",
        ..SELF_SIGNED
    };
    let other_kinds =
        Case { tag: "swe", our_key: "ed25519", their_key: p256, their_scheme: "ecdsa-sha256", ..SELF_SIGNED };
    let wrong = Case { tag: "sww", right_fingerprint: false, ..SELF_SIGNED };
    for case in [SELF_SIGNED, other_kinds, authority, wrong] {
        one(context, case)
            .map_err(|e| LabError::failed(format!("the case of {}: {e}", case.tag), String::new()))?;
    }
    Ok(())
}

fn one(context: &Context, case: Case) -> Result<(), LabError> {
    let pki = Pki::new(context, case.tag)?;
    make(&pki, case)?;
    let mut announced = pki.fingerprint("headend")?;
    if !case.right_fingerprint {
        let last = announced.pop();
        announced.push(if last == Some('0') { '1' } else { '0' });
    }
    let options = Options { tag: case.tag.into(), ..Options::default() };
    let program = context.places.standin();
    let mut world = World::with(context.places.clone(), options, |topology| {
        let media = SocketAddrV4::new(ip(HEADEND_WAN), PORT).into();
        let attributes = [format!("fingerprint:{announced}")];
        StandIn::start(&topology.carrier, &program, case.tag, HEADEND_NUMBER, media, KBPS, &attributes)
    })?;
    let trust = if case.of_an_authority {
        format!("ca: [{}]", pki.path("corp.crt"))
    } else {
        "self_signed: true".to_owned()
    };
    let profile = pki
        .profile(world.profile("branch")?, &trust)?
        .with("ike:\n", &format!("ike:\n  esp_proposals: [{}]\n", case.esp()))?;
    world.start_branch(&profile)?;
    world.wait_registered(&[BRANCH_NUMBER])?;
    let mut charon = Charon::start(&world.topology.headend, case.tag, &connection(&pki, case, PORT))?;
    let result = if case.right_fingerprint {
        both_roles(&mut world, &charon, &pki, case)
    } else {
        refused(&mut world, &charon, &pki)
    };
    result.map_err(|e| LabError::failed(e.to_string(), charon.log_tail()))?;
    no_clear_text(&world)?;
    charon.check()?;
    world.check()
}

/// branch.crt is ours, headend.crt strongSwan's.
fn make(pki: &Pki<'_>, case: Case) -> Result<(), LabError> {
    const USE: &str = "keyUsage=critical,digitalSignature\nbasicConstraints=CA:FALSE\n";
    let request = [
        &["req", "-nodes", "-subj", "/O=Lab Bank/CN=headend", "-keyout", "headend.key", "-newkey"][..],
        case.their_key,
    ]
    .concat();
    if !case.of_an_authority {
        pki.sipsec(&["self-signed", "branch", "--key-type", case.our_key])?;
        let own = [
            "-x509",
            "-days",
            "90",
            "-out",
            "headend.crt",
            "-addext",
            "keyUsage=critical,digitalSignature",
            "-addext",
            "basicConstraints=critical,CA:FALSE",
        ];
        return pki.openssl(&[&request[..], &own].concat()).map(drop);
    }
    pki.authority()?;
    pki.sipsec(&["ca-import", "corp", &pki.path("root.pem")])?;
    pki.sipsec(&["csr", "branch", "--key-type", case.our_key])?;
    pki.sign("root", "branch.csr", "branch.pem", USE)?;
    pki.sipsec(&["cert-import", "branch", &pki.path("branch.pem"), "--ca", &pki.path("corp.crt")])?;
    pki.openssl(&[&request[..], &["-new", "-out", "headend.csr"]].concat())?;
    pki.sign("root", "headend.csr", "headend.crt", USE)
}

fn connection(pki: &Pki<'_>, case: Case, gateway_port: u16) -> Connection {
    let file = |name: &str| PathBuf::from(pki.path(name));
    let trusted = if case.of_an_authority {
        Trusted::Authority(file("root.pem"))
    } else {
        Trusted::Peer(file("branch.crt"))
    };
    let [rekey_child_s, rekey_ike_s] = if case.of_an_authority { REKEY_S } else { [0; 2] };
    Connection {
        local: SocketAddrV4::new(ip(HEADEND_WAN), PORT),
        remote: SocketAddrV4::new(ip(BRANCH_WAN), gateway_port),
        auth: Auth::Certificate { own: file("headend.crt"), key: file("headend.key"), trusted },
        ike: "aes256gcm16-prfsha256-x25519",
        esp: case.esp(),
        rekey_child_s,
        rekey_ike_s,
        local_ts: CENTRE_PREFIX.into(),
        remote_ts: BRANCH_PREFIX.into(),
    }
}

fn both_roles(world: &mut Lab, charon: &Charon, pki: &Pki<'_>, case: Case) -> Result<(), LabError> {
    // We dial and start IKE.
    pings(world, &world.topology.branch_lan, CENTRE_LAN_HOST, "10", "0.05")?;
    proven(world, pki, case)?;
    if case.of_an_authority {
        under_rekeys(world, charon)?;
    }
    let branch = world.branch.as_ref().expect("started");
    branch.cli(&["clear", "vpn-sip", "session"])?;
    world.carrier.wait("hung-up")?;
    let branch = world.branch.as_ref().expect("started");
    wait_status(world, branch, HEADEND_NUMBER, "READY_TO_CONNECT")?;

    // We are called, and it starts IKE.
    world.carrier.tell(&format!("call {BRANCH_NUMBER}"))?;
    let answered = world.carrier.wait("answered")?;
    let sdp = answered["sdp"].as_str().unwrap_or_default();
    let ours = pki.fingerprint("branch")?;
    ensure(sdp.contains(&format!("a=fingerprint:{ours}")), "our fingerprint in the answer", || {
        sdp.to_owned()
    })?;
    let port = media_port(sdp).ok_or_else(|| LabError::failed("no media in the answer", sdp))?;
    charon.load(&connection(pki, case, port))?;
    charon.initiate()?;
    let branch = world.branch.as_ref().expect("started");
    wait_status(world, branch, HEADEND_NUMBER, "SESSION_UP")?;
    pings(world, &world.topology.centre_lan, BRANCH_LAN_HOST, "10", "0.05")?;
    proven(world, pki, case)
}

/// What `show crypto session detail` says of strongSwan.
fn proven(world: &Lab, pki: &Pki<'_>, case: Case) -> Result<(), LabError> {
    let branch = world.branch.as_ref().expect("started");
    let session = ask(branch, &["show", "crypto", "session", "detail"])?[0].take();
    let ike = &session["ike"];
    let proof = ike["authentication"] == case.their_scheme
        && ike["fingerprint"] == pki.fingerprint("headend")?.as_str()
        && session["phase1_id"].as_str().is_some_and(|id| id.contains("CN=headend"));
    ensure_in(world, proof, "strongSwan's proof is shown", || format!("{session:#}"))?;
    let fragments = ike["fragments_in"].as_u64().unwrap_or_default();
    let as_long = (fragments > 0) == case.of_an_authority;
    ensure_in(world, as_long, "long certificates come in fragments", || format!("{session:#}"))
}

/// Its certificate is good, but SDP announced another.
fn refused(world: &mut Lab, charon: &Charon, pki: &Pki<'_>) -> Result<(), LabError> {
    ping_unanswered(world, &world.topology.branch_lan, CENTRE_LAN_HOST)?;
    let branch = world.branch.as_ref().expect("started");
    let theirs = pki.fingerprint("headend")?;
    let words = ["the peer's key is", &theirs, "SDP announced"];
    let shown = Shown { remote: HEADEND_NUMBER, code: "fingerprint-mismatch", words: &words };
    wait_shown(world, branch, shown, REASON_LIMIT)?;
    let hung_up = world.carrier.wait("hung-up")?;
    ensure(hung_up["by"] == "gateway", "the gateway hangs up", || hung_up.to_string())?;
    crate::lab::interrupt::wait_for("the end of strongSwan's SA", Duration::from_secs(5), || {
        Ok(charon.swanctl(&["--list-sas"])?.trim().is_empty().then_some(()))
    })
}

fn ip(text: &str) -> Ipv4Addr {
    text.parse().expect("a constant address")
}
