//! What scenarios ask and require, in their words.

use crate::lab::carrier::Server;
use crate::lab::demo::logs;
use crate::lab::error::LabError;
use crate::lab::gateway::Gateway;
use crate::lab::interrupt::wait_for;
use crate::lab::netns::{Namespace, run};
use crate::lab::world::{BRANCH_NUMBER, Exchange, HEADEND_NUMBER, World};
use serde_json::Value;
use std::io::Read as _;
use std::process::{Child, Stdio};
use std::sync::atomic::Ordering;
use std::time::Duration;

/// The answer to the last question may be on its way.
const SETTLE: Duration = Duration::from_secs(5);
/// The gateways' first back-off is 5 s with a quarter of jitter.
const BACK_OFF_MAX: Duration = Duration::from_secs(15);

/// A condition of a test.
pub fn ensure(holds: bool, what: &str, details: impl FnOnce() -> String) -> Result<(), LabError> {
    if holds { Ok(()) } else { Err(LabError::failed(what, details())) }
}

/// The same, explained by the ends of all logs.
pub fn ensure_in<C: Exchange>(
    world: &World<C>,
    holds: bool,
    what: &str,
    details: impl FnOnce() -> String,
) -> Result<(), LabError> {
    ensure(holds, what, || details() + &logs(world))
}

/// A failure with the ends of all logs.
pub fn explained<C: Exchange>(world: &World<C>, result: Result<(), LabError>) -> Result<(), LabError> {
    result.map_err(|e| match e {
        LabError::Interrupted => e,
        e => LabError::failed(e.to_string(), logs(world)),
    })
}

/// This many pings, all answered.
pub fn pings<C: Exchange>(
    world: &World<C>,
    from: &Namespace,
    to: &str,
    count: &str,
    gap_s: &str,
) -> Result<(), LabError> {
    let output = run(from.command("ping").args(["-c", count, "-i", gap_s, "-W", "5", to]))
        .map_err(|e| LabError::failed("ping", format!("{e}{}", logs(world))))?;
    ensure_in(world, output.contains(" 0% packet loss"), "packets were lost", || output.clone())
}

pub fn ping_all<C: Exchange>(world: &World<C>, from: &Namespace, to: &str) -> Result<(), LabError> {
    pings(world, from, to, &PINGS.to_string(), "0.05")
}

/// Pings every 50 ms, beside what the test does.
#[derive(Debug)]
pub struct Traffic(Child);

impl Traffic {
    pub fn start(from: &Namespace, to: &str) -> Result<Self, LabError> {
        let mut command = from.command("ping");
        command.args(["-q", "-i", "0.05", to]).stdout(Stdio::piped()).stderr(Stdio::null());
        Ok(Self(command.spawn().map_err(LabError::io("ping"))?))
    }

    /// Ends it. Gives how many were not answered; the last one may have been under way.
    pub fn lost(mut self) -> Result<u64, LabError> {
        if let Some(pid) = rustix::process::Pid::from_raw(self.0.id().cast_signed()) {
            let _ = rustix::process::kill_process(pid, rustix::process::Signal::INT);
        }
        let mut said = String::new();
        if let Some(mut out) = self.0.stdout.take() {
            out.read_to_string(&mut said).map_err(LabError::io("ping"))?;
        }
        let count = |word: &str| {
            let before = said.split(word).next()?;
            before.split([' ', '\n']).rfind(|w| !w.is_empty())?.parse::<u64>().ok()
        };
        let (Some(sent), Some(received)) = (count(" packets transmitted"), count(" received")) else {
            return Err(LabError::failed("ping gives no summary", said));
        };
        ensure(received > 0, "pings were answered", || said.clone())?;
        Ok(sent.saturating_sub(received + 1))
    }
}

impl Drop for Traffic {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Packets of [`ping_all`], and answers.
pub const PINGS: u64 = 10;

/// One ping that must not be answered.
pub fn ping_unanswered<C: Exchange>(world: &World<C>, from: &Namespace, to: &str) -> Result<(), LabError> {
    let ping = run(from.command("ping").args(["-c", "1", "-W", "1", to]));
    ensure_in(world, ping.is_err(), "the ping was answered", String::new)
}

/// Nothing with an inner address on the carrier's lines.
pub fn no_clear_text<C: Exchange>(world: &World<C>) -> Result<(), LabError> {
    let clear = world.tally.clear_text.load(Ordering::Relaxed);
    ensure_in(world, clear == 0, "packets went in clear", || format!("{clear} packets"))
}

/// `sipsec --json …`, without its envelope.
pub fn ask(gateway: &Gateway, words: &[&str]) -> Result<Value, LabError> {
    let text = gateway.cli(&[&["--json"], words].concat())?;
    let mut answer: Value =
        serde_json::from_str(&text).map_err(|e| LabError::failed(format!("not JSON: {e}"), text))?;
    Ok(answer["data"].take())
}

/// What `show vpn-sip session detail` says of one tunnel.
pub fn session(gateway: &Gateway, remote: &str) -> Result<Value, LabError> {
    let mut list = ask(gateway, &["show", "vpn-sip", "session", "detail", "remote-number", remote])?;
    Ok(list[0].take())
}

pub fn wait_status<C: Exchange>(
    world: &World<C>,
    gateway: &Gateway,
    remote: &str,
    status: &str,
) -> Result<(), LabError> {
    let what = format!("{status} at the {}", gateway.name);
    wait_for(&what, BACK_OFF_MAX, || Ok((session(gateway, remote)?["status"] == status).then_some(())))
        .map_err(|e| LabError::failed(e.to_string(), logs(world)))
}

/// The bill's calls.
pub fn calls(carrier: &Server) -> Vec<Value> {
    carrier.bill_json()["calls"].as_array().cloned().unwrap_or_default()
}

pub fn answered_calls(carrier: &Server) -> Vec<Value> {
    calls(carrier).into_iter().filter(|c| !c["answered_at_s"].is_null()).collect()
}

/// A failure as `show vpn-sip session detail` has to show it.
#[derive(Clone, Copy, Debug)]
pub struct Shown<'a> {
    pub remote: &'a str,
    /// Stable name.
    pub code: &'a str,
    /// In the sentence.
    pub words: &'a [&'a str],
}

/// Waits until it is shown, in both forms.
pub fn wait_shown<C: Exchange>(
    world: &World<C>,
    gateway: &Gateway,
    shown: Shown<'_>,
    limit: Duration,
) -> Result<Value, LabError> {
    let mut last = Value::Null;
    let found = wait_for("a reason in `show vpn-sip session detail`", limit, || {
        last = session(gateway, shown.remote)?;
        let failure = &last["last_failure"];
        let reason = failure["reason"].as_str().unwrap_or_default();
        let held = failure["code"] == shown.code && shown.words.iter().all(|w| reason.contains(w));
        Ok(held.then(|| last.clone()))
    });
    let state = found.map_err(|e| {
        LabError::failed(
            format!("{e} at the {}: {shown:?}", gateway.name),
            format!("{last:#}{}", logs(world)),
        )
    })?;
    let words = ["show", "vpn-sip", "session", "detail", "remote-number", shown.remote];
    let text = gateway.cli(&words)?;
    let reason = state["last_failure"]["reason"].as_str().unwrap_or_default();
    ensure(text.contains(reason), "the reason in the text", || text.clone())?;
    Ok(state)
}

/// A packet during the back-off opens no call.
pub fn held_back(
    world: &World,
    gateway: &Gateway,
    remote: &str,
    packet: impl FnOnce() -> Result<(), LabError>,
) -> Result<(), LabError> {
    let before = world.carrier.calls();
    packet()?;
    let still = session(gateway, remote)?["retry_in_s"].is_u64();
    let called = world.carrier.calls() - before;
    ensure_in(world, !still || called == 0, "a call during the back-off", || called.to_string())
}

/// Until the back-off is over.
pub fn wait_back_off(gateway: &Gateway, remote: &str) -> Result<(), LabError> {
    wait_for("the end of the back-off", BACK_OFF_MAX, || {
        Ok(session(gateway, remote)?["retry_in_s"].is_null().then_some(()))
    })
}

/// Packet after packet, until one has called again.
pub fn wait_called_again(world: &World, packet: impl Fn() -> Result<(), LabError>) -> Result<(), LabError> {
    let before = world.carrier.calls();
    wait_for("the next call", BACK_OFF_MAX, || {
        packet()?;
        Ok((world.carrier.calls() > before).then_some(()))
    })
}

/// Hangs up everything and waits until both sides are ready again.
pub fn clear_all(world: &mut World) -> Result<(), LabError> {
    let (branch, headend) = both(world);
    for gateway in [branch, headend] {
        gateway.cli(&["clear", "vpn-sip", "session"])?;
    }
    world.wait_hung_up(SETTLE)?;
    let (branch, headend) = both(world);
    wait_status(world, branch, HEADEND_NUMBER, "READY_TO_CONNECT")?;
    wait_status(world, headend, BRANCH_NUMBER, "READY_TO_CONNECT")
}

pub fn both<C: Exchange>(world: &World<C>) -> (&Gateway, &Gateway) {
    (world.branch.as_ref().expect("started"), world.headend.as_ref().expect("started"))
}
