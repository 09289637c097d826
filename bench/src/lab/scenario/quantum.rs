//! What a profile may ask of IKE beyond the defaults, between two gateways.

use super::support::{ask, both, ensure, ensure_in, no_clear_text, ping_all};
use super::{Context, Scenario};
use crate::lab::carrier::Knobs;
use crate::lab::error::LabError;
use crate::lab::interrupt::wait_for;
use crate::lab::netns::run;
use crate::lab::topology::CENTRE_LAN_HOST;
use crate::lab::world::{BRANCH_NUMBER, HEADEND_NUMBER};
use serde_json::Value;
use std::time::Duration;

pub const QUANTUM: Scenario = Scenario {
    about: "ML-KEM-768 and a PPK are in the keys; an SA is renewed by its kilobytes and no packet is lost",
    run: quantum,
    ..Scenario::new("quantum")
};

const SUITE: &str = "aes256gcm16-prfsha384-x25519-ke1_mlkem768";
const ESP: &str = "aes256gcm16-x25519-ke1_mlkem768";
const PPK: &str = "0x3f1c9a7e05b2d846c17f9e03a8d5642b0c7e91f3d24a68b57e0d93c1f6a2b845";
const CHILD_KB: u64 = 2560;
const PINGS: &str = "2200";

fn quantum(context: &Context) -> Result<(), LabError> {
    let mut world = context.world("pq", Knobs::default())?;
    let ike = format!(
        "ike:\n  proposals: [{SUITE}]\n  esp_proposals: [{ESP}]\n  lifetime: {{ child_kb: {CHILD_KB} }}\n"
    );
    let keys = format!("ppk_id: lab, ppk: \"{PPK}\", ppk_required: true, psk:");
    let profile = |gateway| {
        let profile = world.profile(gateway)?.with("ike:\n", &ike)?.with("psk:", &keys)?;
        profile.with("bandwidth_kbps: 1000", "bandwidth_kbps: 100000")
    };
    let (branch, headend) = (profile("branch")?, profile("headend")?);
    world.start_headend(&headend)?;
    world.start_branch(&branch)?;
    world.wait_registered(&[BRANCH_NUMBER, HEADEND_NUMBER])?;
    ping_all(&world, &world.topology.branch_lan, CENTRE_LAN_HOST)?;
    let (branch, headend) = both(&world);
    let shown = |gateway| -> Result<Value, LabError> {
        Ok(ask(gateway, &["show", "crypto", "session", "detail"])?[0].take())
    };
    for gateway in [branch, headend] {
        let crypto = shown(gateway)?;
        let agreed = crypto["ike"]["algorithms"] == format!("{SUITE} with a PPK");
        ensure(agreed, "what was agreed on is shown", || format!("{crypto:#}"))?;
    }
    let first = shown(branch)?["flows"][0].take();
    let left = |flow: &Value| flow["outbound"]["life_kb"].as_u64().unwrap_or(0);
    let plausible = (CHILD_KB - 20..=CHILD_KB).contains(&left(&first));
    ensure(plausible, "the SA has nearly all of its kilobytes", || format!("{first:#}"))?;

    // More than the limit, so that the SA ends unless it is renewed.
    let ping = ["-q", "-c", PINGS, "-s", "1372", "-i", "0.002", "-W", "5", CENTRE_LAN_HOST];
    let output = run(world.topology.branch_lan.command("ping").args(ping))?;
    ensure_in(&world, output.contains(" 0% packet loss"), "packets were lost", || output.clone())?;
    let (branch, _) = both(&world);
    let mut flow = Value::Null;
    let renewed = wait_for("another SA", Duration::from_secs(5), || {
        flow = shown(branch)?["flows"][0].take();
        Ok((flow["outbound"]["spi"] != first["outbound"]["spi"]).then_some(()))
    });
    renewed.map_err(|e| LabError::failed(e.to_string(), format!("{first:#} {flow:#}")))?;
    let algorithm = shown(branch)?["flows"][0]["algorithm"].take();
    ensure(algorithm == ESP, "both key exchanges are shown", || algorithm.to_string())?;
    ensure(world.carrier.calls() == 1, "one call", || world.carrier.bill_text())?;
    no_clear_text(&world)?;
    world.check()
}
