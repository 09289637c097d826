//! A path to strongSwan that drops large packets without an ICMP error: probes find its MTU (RFC 8899).

use super::strongswan::{PORT, Role, TOOLS, connection, start};
use super::support::{ask, ensure_in, no_clear_text, pings, session};
use super::{Context, Scenario};
use crate::lab::error::LabError;
use crate::lab::interrupt::wait_for;
use crate::lab::netns::run;
use crate::lab::peer::{Charon, Scratch};
use crate::lab::topology::{CENTRE_LAN_HOST, HEADEND_WAN};
use crate::lab::world::HEADEND_NUMBER;
use std::time::Duration;

pub const BLACK_HOLE: Scenario = Scenario {
    about: "a path to strongSwan drops packets above 1,454 bytes in silence: probes find that, and the tunnel's MTU follows",
    tools: &[TOOLS[0], TOOLS[1], ("nft", "nftables")],
    run: black_hole,
    ..Scenario::new("strongswan-path-mtu")
};

/// PPPoE with L2TP; inside AES-GCM between IPv4 addresses 62 bytes less, in steps of 4.
const PATH: u64 = 1454;
const INSIDE: u64 = 1390;
/// Two sizes that do not pass, each asked for three times in 3 s.
const SEARCH_LIMIT: Duration = Duration::from_secs(20);

fn black_hole(context: &Context) -> Result<(), LabError> {
    let keys = Scratch::new("spm-keys")?;
    let mut world = start(context, "spm", &keys, Role::Initiator, "")?;
    let rules = format!(
        "table inet hole {{ chain forward {{ type filter hook forward priority 0; \
         ip daddr {HEADEND_WAN} ip length > {PATH} counter drop; }}; }}"
    );
    run(world.topology.carrier.command("nft").arg(rules))?;
    let mut there = connection(PORT, Role::Initiator);
    [there.rekey_child_s, there.rekey_ike_s] = [0, 0];
    let mut charon = Charon::start(&world.topology.headend, "spm", &there)?;
    let explained = |e: LabError| LabError::failed(e.to_string(), charon.log_tail());
    pings(&world, &world.topology.branch_lan, CENTRE_LAN_HOST, "3", "0.05").map_err(explained)?;

    let branch = world.branch.as_ref().ok_or_else(|| LabError::failed("no branch", String::new()))?;
    let found = wait_for("the MTU of the path", SEARCH_LIMIT, || {
        let mut crypto = ask(branch, &["show", "crypto", "session", "detail"])?;
        let path = crypto[0]["ike"]["path"].take();
        Ok((path["phase"] == "complete").then_some(path))
    })
    .map_err(explained)?;
    let right = found["proved"] == PATH && found["probes_lost"].as_u64().is_some_and(|lost| lost >= 1);
    ensure_in(&world, right, "another MTU was found", || format!("{found:#}{}", charon.log_tail()))?;
    // The dataplane publishes it a little later.
    wait_for("the tunnel's MTU", SEARCH_LIMIT, || {
        let mtu = session(branch, HEADEND_NUMBER)?["mtu"].take();
        Ok((mtu["outer"] == PATH && mtu["inner"] == INSIDE).then_some(()))
    })?;

    // What may be cut is cut inside and arrives; the sender of what may not is told. The pings are as large as the WAN carries.
    let whole = world.topology.branch_lan.command("ping");
    let large = ["-s", "1400", "-W", "3", "-i", "0.1", "-c", "3"];
    let ping = |mut command: std::process::Command, mode: &str| -> Result<String, LabError> {
        let output = command
            .args(["-M", mode])
            .args(large)
            .arg(CENTRE_LAN_HOST)
            .output()
            .map_err(LabError::io("ping"))?;
        Ok([output.stdout, output.stderr].map(|b| String::from_utf8_lossy(&b).into_owned()).concat())
    };
    let told = ping(whole, "do")?;
    ensure_in(&world, told.contains(&INSIDE.to_string()), "its sender was not told", || told.clone())?;
    let cut = ping(world.topology.branch_lan.command("ping"), "dont")?;
    ensure_in(&world, cut.contains(" 0% packet loss"), "what is cut inside was lost", || cut.clone())?;
    // The exchanges of the lost probes were answered without padding: the IKE SA lives.
    let state = session(branch, HEADEND_NUMBER)?;
    ensure_in(&world, state["status"] == "SESSION_UP", "the session lives", || format!("{state:#}"))?;
    no_clear_text(&world)?;
    charon.check()?;
    world.check()
}
