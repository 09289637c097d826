//! Classes inside the negotiated rate: what has priority passes a bulk upload that fills the line.

use super::support::{ask, ensure_in, no_clear_text, ping_all, pings};
use super::{Context, Scenario};
use crate::lab::carrier::Knobs;
use crate::lab::error::LabError;
use crate::lab::interrupt::wait_for;
use crate::lab::topology::CENTRE_LAN_HOST;
use crate::lab::world::{BRANCH_NUMBER, HEADEND_NUMBER};
use serde_json::Value;
use std::net::UdpSocket;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

pub const QOS: Scenario = Scenario {
    about: "64 kbps: expedited pings lose nothing beside a bulk upload that overfills the line",
    run: qos,
    ..Scenario::new("qos")
};

const POLICY: &str = "\
qos:
  policies:
    - name: BRANCH
      classes:
        - { name: VOICE, match: [{ dscp: [ef] }], priority: true, guarantee_percent: 40 }
media:
";
/// Three times the rate, in packets that fill the line's MTU.
const BULK_LEN: usize = 1372;
const BULK_GAP: Duration = Duration::from_millis(58);
/// The TOS of DSCP EF.
const EF: &str = "0xb8";

fn qos(context: &Context) -> Result<(), LabError> {
    let mut world = context.world("qos", Knobs::default())?;
    let slow = |gateway| world.profile(gateway)?.with("bandwidth_kbps: 1000", "bandwidth_kbps: 64");
    let branch = slow("branch")?
        .with("media:\n", POLICY)?
        .with("    routes: [10.2.0.0/16]", "    routes: [10.2.0.0/16]\n    qos: BRANCH")?;
    let headend = slow("headend")?;
    world.start_headend(&headend)?;
    world.start_branch(&branch)?;
    world.wait_registered(&[BRANCH_NUMBER, HEADEND_NUMBER])?;
    ping_all(&world, &world.topology.branch_lan, CENTRE_LAN_HOST)?;

    let stop = AtomicBool::new(false);
    let lan = &world.topology.branch_lan;
    let bulk = lan.run(|| {
        let socket = UdpSocket::bind("0.0.0.0:0")?;
        socket.connect((CENTRE_LAN_HOST, 9))?;
        Ok(socket)
    })?;
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !stop.load(Ordering::Relaxed) {
                // The answer "port unreachable" to an earlier one is none of ours.
                let _ = bulk.send(&[0; BULK_LEN]);
                std::thread::sleep(BULK_GAP);
            }
        });
        let measured = wait_for("a full queue", Duration::from_secs(10), || {
            Ok((class(&policy_map(&world)?, "class-default")["drops_full"].as_u64() > Some(0)).then_some(()))
        })
        .and_then(|()| {
            let ping = ["-Q", EF, "-c", "20", "-i", "0.2", "-W", "5", CENTRE_LAN_HOST];
            crate::lab::netns::run(lan.command("ping").args(ping))
        });
        stop.store(true, Ordering::Relaxed);
        let output = measured?;
        ensure_in(&world, output.contains(" 0% packet loss"), "expedited packets were lost", || {
            output.clone()
        })
    })?;
    // What the gateway counts is published every half a second.
    let map = wait_for("twenty packets of VOICE", Duration::from_secs(5), || {
        let map = policy_map(&world)?;
        Ok((class(&map, "VOICE")["packets"].as_u64() >= Some(20)).then_some(map))
    })?;
    let (voice, rest) = (class(&map, "VOICE"), class(&map, "class-default"));
    let number = |of: &Value, key: &str| of[key].as_u64().unwrap_or_default();
    let holds = number(voice, "drops_full") + number(voice, "drops_aqm") == 0
        && number(voice, "delay_p99_us") < number(rest, "delay_p50_us")
        && map["rate_kbps"] == 64;
    ensure_in(&world, holds, "priority is not what the counters say", || format!("{map:#}"))?;
    if let Some(branch) = &world.branch {
        let text = branch.cli(&["show", "policy-map", "interface", "Tunnel1"])?;
        ensure_in(&world, text.contains("Class-map: VOICE"), "no class in the show", || text.clone())?;
    }
    // The queue drains, and the call is the same.
    pings(&world, &world.topology.branch_lan, CENTRE_LAN_HOST, "2", "0.2")?;
    ensure_in(&world, world.carrier.calls() == 1, "one call carries all", || world.carrier.bill_text())?;
    no_clear_text(&world)?;
    world.check()
}

fn policy_map(world: &crate::lab::world::World) -> Result<Value, LabError> {
    let branch = world.branch.as_ref().ok_or_else(|| LabError::failed("no branch", String::new()))?;
    let mut list = ask(branch, &["show", "policy-map", "interface", "Tunnel1"])?;
    Ok(list[0].take())
}

fn class<'a>(map: &'a Value, name: &str) -> &'a Value {
    let classes = map["classes"].as_array().map(Vec::as_slice).unwrap_or_default();
    classes.iter().find(|c| c["name"] == name).unwrap_or(&Value::Null)
}
