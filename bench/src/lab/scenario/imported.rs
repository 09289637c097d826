//! Gateways whose profiles `sipsec import ios` made of a router's configuration place a call.

use super::pki::Pki;
use super::support::{both, clear_all, ensure, no_clear_text, ping_all};
use super::{Context, Scenario};
use crate::lab::carrier::Knobs;
use crate::lab::error::LabError;
use crate::lab::profile::Profile;
use crate::lab::topology::{BRANCH_LAN_HOST, CENTRE_LAN_HOST};
use crate::lab::world::{BRANCH_NUMBER, HEADEND_NUMBER, World};
use std::process::Command;

pub const IMPORTED: Scenario = Scenario {
    about: "profiles imported from IOS, with a pre-shared key and with self-signed certificates, place calls both ways",
    run: imported,
    ..Scenario::new("imported")
};

/// The procedure with pre-shared keys, and the example with self-signed certificates, of the vendor's chapter.
const PSK: &str =
    include_str!("../../../../controlplane/profile/tests/ios/cases/chapter-20-procedure-psk.txt");
const SELF_SIGNED: &str =
    include_str!("../../../../controlplane/profile/tests/ios/cases/chapter-30-example-self-signed.txt");

/// One end: what of the chapter's configuration differs there.
struct End {
    gateway: &'static str,
    own: &'static str,
    peer: &'static str,
    /// The prefix behind the peer, in IOS's way.
    behind: &'static str,
    source: &'static str,
}

const ENDS: [End; 2] = [
    End {
        gateway: "branch",
        own: BRANCH_NUMBER,
        peer: HEADEND_NUMBER,
        behind: "10.2.0.0 255.255.0.0",
        source: "10.11.1.1",
    },
    End {
        gateway: "headend",
        own: HEADEND_NUMBER,
        peer: BRANCH_NUMBER,
        behind: "10.1.0.0 255.255.0.0",
        source: "10.17.1.1",
    },
];

fn imported(context: &Context) -> Result<(), LabError> {
    let psk = |end: &End| {
        PSK.replace("5678", end.own)
            .replace("1234", end.peer)
            .replace("key123", "lab-only-imported-4c1f7a90d2e85b36")
            .replace("0.0.0.0 0.0.0.0 Tunnel1", &format!("{} Tunnel1", end.behind))
            .replace("10.11.1.1 255.0.0.0", &format!("{} 255.255.255.255", end.source))
    };
    calls(context, "ios-psk", psk)?;
    // The example has a profile that is not defined and routes with host bits; `sipsec import` names both.
    let self_signed = |end: &End| {
        let (good, _) = SELF_SIGNED.split_once("ip route 10.0.0.0").unwrap_or((SELF_SIGNED, ""));
        let text = good
            .replace("0388883001", end.own)
            .replace("0388884001", end.peer)
            .replace("ikev2-profile iprof", "ikev2-profile vpn-sip-profile")
            .replace("GigabitEthernet1", "GigabitEthernet8")
            .replace("10.9.9.9", end.source);
        format!("{text}ip route {} tunnel 0 250\n", end.behind)
    };
    calls(context, "ios-cert", self_signed)
}

fn calls(
    context: &Context,
    tag: &'static str,
    configuration: impl Fn(&End) -> String,
) -> Result<(), LabError> {
    let mut world = context.world(tag, Knobs::default())?;
    let pki = Pki::new(context, tag)?;
    for end in ENDS {
        // A probe of an inner address would count as clear text here: there is no primary line.
        let text = configuration(&end).replace("10.11.11.1", "192.0.2.1");
        let profile = import(context, &world, &pki, &end, &text)?;
        pki.check(&profile)?;
        match end.gateway {
            "branch" => world.start_branch(&profile)?,
            _ => world.start_headend(&profile)?,
        }
    }
    world.wait_registered(&[BRANCH_NUMBER, HEADEND_NUMBER])?;
    ping_all(&world, &world.topology.branch_lan, CENTRE_LAN_HOST)?;
    ensure(world.carrier.calls_up() == 1, "one call is up", || world.carrier.bill_text())?;
    clear_all(&mut world)?;
    ping_all(&world, &world.topology.centre_lan, BRANCH_LAN_HOST)?;
    let (branch, _) = both(&world);
    let shown = branch.cli(&["show", "vpn-sip", "session"])?;
    ensure(shown.contains("SESSION_UP"), "the tunnel of the router's name is up", || shown.clone())?;
    clear_all(&mut world)?;
    no_clear_text(&world)?;
    world.check()
}

/// Imports the configuration, and fills in what it cannot know.
fn import(
    context: &Context,
    world: &World,
    pki: &Pki<'_>,
    end: &End,
    text: &str,
) -> Result<Profile, LabError> {
    let lab = world.profile(end.gateway)?;
    pki.write(&format!("{}.txt", end.gateway), text)?;
    let output = pki.path(&format!("{}.yaml", end.gateway));
    let mut command = Command::new(&context.places.programs.cli);
    command.args([
        "import",
        "ios",
        &pki.path(&format!("{}.txt", end.gateway)),
        "--ifmap",
        "Gi8=wan0,Tunnel0=lan0",
    ]);
    let done = command
        .args(["--name", end.gateway, "-o", &output])
        .output()
        .map_err(LabError::io("sipsec import"))?;
    let said = String::from_utf8_lossy(&done.stdout).into_owned();
    // 3: converted, with warnings.
    ensure(done.status.code() == Some(3), "the import has warnings and no error", || said)?;
    if text.contains("selfCert") {
        pki.sipsec(&["self-signed", end.gateway])?;
    }
    let written = std::fs::read_to_string(&output).map_err(LabError::io(output.clone()))?;
    let (number, password) =
        (end.own, if end.gateway == "branch" { "lab-only-branch-81f4c2" } else { "lab-only-headend-5d20b7" });
    let directory = lab.dir().display().to_string();
    let filled = written
        // The router with pre-shared keys learns them by DHCP, which this carrier does not have.
        .replace("wan:\n  ipv4: dhcp\n", "")
        .replace("registrar: dhcp", "registrar: 198.51.100.1:5060")
        .replace("domain: dhcp", "domain: carrier.example")
        .replace("<the carrier's registrar as ADDRESS:PORT>", "198.51.100.1:5060")
        .replace("<the carrier's SIP domain>", "carrier.example")
        .replace(
            &format!("  - number: '{number}'\n"),
            &format!(
                "  - number: '{number}'\n    auth: {{ username: \"{number}\", password: \"{password}\" }}\n"
            ),
        )
        .replace(
            &format!("\ngateway: {}\n", end.gateway),
            &format!("\ngateway: {}\nruntime_dir: {directory}\nstate_dir: {directory}/state\n", end.gateway),
        )
        .replace("/etc/sipsec/pki/selfCert", &pki.path(end.gateway));
    Ok(lab.with_text(filled))
}
