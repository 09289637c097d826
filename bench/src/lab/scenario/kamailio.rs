//! Kamailio as the carrier: what the embedded one and the user agent might both get wrong.

use super::support::{ask, both, ensure, ensure_in, no_clear_text, ping_all, wait_status};
use super::{Context, Scenario};
use crate::lab::demo::logs;
use crate::lab::error::LabError;
use crate::lab::interrupt::wait_for;
use crate::lab::peer::Kamailio;
use crate::lab::topology::{BRANCH_LAN_HOST, CENTRE_LAN_HOST, Options};
use crate::lab::world::{BRANCH_NUMBER, Exchange as _, HEADEND_NUMBER, World};
use std::sync::PoisonError;
use std::time::Duration;

pub const KAMAILIO: Scenario = Scenario {
    about: "Kamailio as carrier: 401 and 407, first packet each way, idle BYE, unregistration",
    tools: &[("kamailio", "kamailio"), ("kamcmd", "kamailio")],
    run: kamailio,
    ..Scenario::new("kamailio")
};

const IDLE_LIMIT: Duration = Duration::from_secs(15);

fn kamailio(context: &Context) -> Result<(), LabError> {
    let options = Options { tag: "kam".into(), ..Options::default() };
    let config = context.places.peers.join("kamailio/kamailio.cfg");
    let mut world = World::with(context.places.clone(), options, |topology| {
        Kamailio::start(&topology.carrier, &config, "kam")
    })?;
    let result = whole_call(&mut world);
    let log = crate::lab::process::log_tail(world.carrier.log());
    result.map_err(|e| LabError::failed(e.to_string(), format!("{}\n--- kamailio\n{log}", logs(&world))))
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
