//! What places a call and what keeps it up: by the filters of the profile.

use super::support::{ask, both, calls, ensure, ensure_in, no_clear_text, ping_unanswered, pings};
use super::{Context, Scenario};
use crate::lab::carrier::Knobs;
use crate::lab::error::LabError;
use crate::lab::interrupt::wait_for;
use crate::lab::topology::{BRANCH_LAN_HOST, CENTRE_LAN_HOST};
use crate::lab::world::{BRANCH_NUMBER, HEADEND_NUMBER, World};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::time::Duration;

pub const FILTERS: Scenario = Scenario {
    about: "by filter a ping places no call and holds none, at either end; TCP does",
    run: filters,
    nightly: true,
    ..Scenario::new("filters")
};

const PORT: u16 = 9100;
const IDLE_S: u64 = 3;
/// Idle time, the hang-up and a busy machine.
const HANG_UP_LIMIT: Duration = Duration::from_secs(IDLE_S + 12);

fn filters(context: &Context) -> Result<(), LabError> {
    let mut world = context.world("filt", Knobs::default())?;
    let filter = "filters:\n  - { name: interesting, rules: [{ action: deny, protocol: icmp }, { action: permit }] }\n\n";
    let profile = |world: &World, gateway, idle: &str, becomes: u64| {
        let filtered =
            format!("idle_s: {becomes}\n    trigger_filter: interesting\n    idle_filter: interesting");
        world.profile(gateway)?.with(idle, &filtered)?.with("dataplane:\n", &format!("{filter}dataplane:\n"))
    };
    let branch = profile(&world, "branch", "idle_s: 5", IDLE_S)?;
    let headend = profile(&world, "headend", "idle_s: 20", 20)?;
    world.start_headend(&headend)?;
    world.start_branch(&branch)?;
    world.wait_registered(&[BRANCH_NUMBER, HEADEND_NUMBER])?;

    ping_unanswered(&world, &world.topology.branch_lan, CENTRE_LAN_HOST)?;
    ping_unanswered(&world, &world.topology.centre_lan, BRANCH_LAN_HOST)?;
    ensure_in(&world, world.carrier.calls() == 0, "a ping places no call", || world.carrier.bill_text())?;
    for gateway in [both(&world).0, both(&world).1] {
        let shown = ask(gateway, &["show", "dataplane"])?;
        let counted = shown["drops"]["trigger-filtered"].as_u64().unwrap_or_default();
        ensure(counted >= 1, "the ping is counted", || format!("{:#}", shown["drops"]))?;
    }

    let listener = world.topology.centre_lan.run(|| TcpListener::bind(("0.0.0.0", PORT)))?;
    let to: SocketAddr = format!("{CENTRE_LAN_HOST}:{PORT}").parse().expect("an address");
    let stream =
        world.topology.branch_lan.run(|| TcpStream::connect_timeout(&to, Duration::from_secs(10)))?;
    ensure_in(&world, world.carrier.calls_up() == 1, "TCP places a call", || world.carrier.bill_text())?;
    // A tunnel that is up carries what places no call.
    pings(&world, &world.topology.branch_lan, CENTRE_LAN_HOST, "5", "0.05")?;
    drop((stream, listener));

    // Far more often than the idle time, until the call has ended all the same.
    let branch_lan = &world.topology.branch_lan;
    wait_for("the end of the call beside pings", HANG_UP_LIMIT, || {
        let mut ping = branch_lan.command("ping");
        let _ = crate::lab::netns::run(ping.args(["-c", "1", "-W", "0.2", CENTRE_LAN_HOST]));
        Ok((world.carrier.calls_up() == 0).then_some(()))
    })
    .map_err(|e| LabError::failed(e.to_string(), crate::lab::demo::logs(&world)))?;
    world.wait_hung_up(HANG_UP_LIMIT)?;
    ping_unanswered(&world, &world.topology.branch_lan, CENTRE_LAN_HOST)?;
    let bill = calls(&world.carrier);
    let once = bill.len() == 1 && bill[0]["byes"] == 1 && bill[0]["ended_by"] == "caller";
    ensure_in(&world, once, "one call, which ended by the branch's idle time", || world.carrier.bill_text())?;
    no_clear_text(&world)?;
    world.check()
}
