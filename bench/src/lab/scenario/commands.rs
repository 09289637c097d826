//! Commands that rehearse and use a call: `register --once` and `call NUMBER -- COMMAND`, with the exit status of each outcome.

use super::support::{answered_calls, both, ensure, ensure_in, wait_status};
use super::{Context, Scenario};
use crate::lab::carrier::{Knobs, NumberKnobs, Reject, Rewrite};
use crate::lab::error::LabError;
use crate::lab::interrupt::wait_for;
use crate::lab::netns::Namespace;
use crate::lab::profile::Profile;
use crate::lab::topology::CENTRE_LAN_HOST;
use crate::lab::world::{BRANCH_NUMBER, Exchange, HEADEND_NUMBER, World};
use std::process::{Command, Stdio};
use std::time::Duration;

pub const COMMANDS: Scenario = Scenario {
    about: "`register --once`, and `call -- COMMAND`: the call is up while the command runs; exit status by kind of failure",
    run: commands,
    ..Scenario::new("commands")
};

const LIMIT: Duration = Duration::from_secs(15);
const PASSWORD: &str = "lab-only-branch-81f4c2";

/// How a command ended, and what it said.
#[derive(Debug)]
pub(super) struct Ended {
    code: Option<i32>,
    out: String,
    err: String,
}

impl Ended {
    fn of(command: &mut Command) -> Result<Self, LabError> {
        let output = command.stdin(Stdio::null()).output().map_err(LabError::io("sipsec"))?;
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        Ok(Self { code: output.status.code(), out: text(&output.stdout), err: text(&output.stderr) })
    }

    /// It ended with this status, and has said all of these words.
    pub(super) fn expect(self, what: &str, code: i32, words: &[&str]) -> Result<Self, LabError> {
        let said = format!("{}{}", self.out, self.err);
        let held = self.code == Some(code) && words.iter().all(|w| said.contains(w));
        ensure(held, what, || format!("expected {code} and {words:?}: {self:#?}"))?;
        ensure(!said.contains(PASSWORD), "no secret is shown", || said.clone())?;
        Ok(self)
    }
}

fn commands(context: &Context) -> Result<(), LabError> {
    let mut world = context.world("commands", Knobs::default())?;
    let profile = world.profile("branch")?;
    registers(context, &world, &profile)?;
    let headend = world.profile("headend")?;
    world.start_headend(&headend)?;
    world.start_branch(&profile.with("idle_s: 5", "idle_s: 60")?)?;
    world.wait_registered(&[BRANCH_NUMBER, HEADEND_NUMBER])?;
    // The gateway has the port.
    let again = world.profile("branch")?;
    once(context, &world.topology.branch, &again)?.expect(
        "beside a gateway",
        2,
        &["used by another program"],
    )?;
    calls(context, &world)?;
    world.check()
}

/// `register --once` where the gateway does not run.
pub(super) fn once(context: &Context, namespace: &Namespace, profile: &Profile) -> Result<Ended, LabError> {
    let path = profile.dir().join("once.yaml");
    std::fs::create_dir_all(profile.dir()).map_err(LabError::io("profile"))?;
    std::fs::write(&path, profile.text()).map_err(LabError::io("profile"))?;
    std::fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o600))
        .map_err(LabError::io("profile"))?;
    let mut command = namespace.command(&context.places.programs.cli);
    Ended::of(command.arg("--profile").arg(&path).args(["register", "--once"]))
}

fn registers(context: &Context, world: &World, profile: &Profile) -> Result<(), LabError> {
    let branch = &world.topology.branch;
    let granted = ["<- SIP/2.0 401", "0388881001: registered for 3", "every line registers"];
    once(context, branch, profile)?.expect("the registrar takes the line", 0, &granted)?;
    ensure(world.carrier.registered().is_empty(), "the binding is removed", || {
        format!("{:?}", world.carrier.registered())
    })?;
    let wrong = profile.clone().with(PASSWORD, "lab-only-wrong")?;
    let refused = ["0388881001: not registered", "password is wrong"];
    once(context, branch, &wrong)?.expect("a wrong password", 1, &refused)?;
    let unknown = profile.clone().with("domain: carrier.example", "domain: dhcp")?;
    once(context, branch, &unknown)?.expect("a profile that asks no DHCP server", 2, &["dhcp"])?;
    Ok(())
}

/// `call 0388882001 -- …`
pub(super) fn call<C: Exchange>(
    context: &Context,
    world: &World<C>,
    command: &[&str],
) -> Result<Ended, LabError> {
    let profile = both(world).0.profile().to_owned();
    let mut cli = Command::new(&context.places.programs.cli);
    Ended::of(cli.arg("--profile").arg(profile).args(["call", HEADEND_NUMBER, "--"]).args(command))
}

fn calls(context: &Context, world: &World) -> Result<(), LabError> {
    let (branch, headend) = both(world);
    let lan = world.topology.branch_lan.name();
    let ping = ["ip", "netns", "exec", lan, "ping", "-c", "3", "-i", "0.2", CENTRE_LAN_HOST];
    let said = ["3 received", "0388882001: up after ", " kbps, about 2 yen, the command ended with 0"];
    call(context, world, &ping)?.expect("a command through the tunnel", 0, &said)?;
    let over = |n: usize| -> Result<(), LabError> {
        wait_status(world, branch, HEADEND_NUMBER, "READY_TO_CONNECT")?;
        wait_status(world, headend, BRANCH_NUMBER, "READY_TO_CONNECT")?;
        let bill = answered_calls(&world.carrier);
        let ended = bill.len() == n && bill.iter().all(|c| c["still_up"] == false);
        ensure_in(world, ended, "the call ends with its command", || world.carrier.bill_text())
    };
    over(1)?;
    call(context, world, &["sh", "-c", "exit 7"])?.expect(
        "the command's own status",
        7,
        &["ended with 7"],
    )?;
    over(2)?;
    call(context, world, &["/nonexistent"])?.expect("no such command", 127, &["/nonexistent"])?;
    over(3)?;

    // The peer hangs up under the command.
    let clear = format!("{} && sleep 1", headend.cli_words("clear vpn-sip session --yes"));
    call(context, world, &["sh", "-c", &clear])?.expect("a call that is lost", 74, &[" charged"])?;
    over(4)?;
    reset(world)?;

    let knobs = |of: NumberKnobs| {
        world.carrier.set_knobs(|k| drop(k.numbers.insert(HEADEND_NUMBER.to_owned(), of)));
    };
    let refuses = Reject { status: 404, reason: "Not Found".into(), retry_after_s: None };
    knobs(NumberKnobs { reject: Some(refuses), ..NumberKnobs::default() });
    call(context, world, &["true"])?.expect("a refusal", 71, &["404"])?;
    call(context, world, &["true"])?.expect("in the pause after it", 70, &["cannot be called now"])?;
    reset(world)?;
    knobs(NumberKnobs { answer: vec![Rewrite::DropBandwidth], ..NumberKnobs::default() });
    call(context, world, &["true"])?.expect("an answer without bandwidth", 73, &["b=AS"])?;
    knobs(NumberKnobs::default());
    over(5)?;
    reset(world)?;
    let other = Command::new(&context.places.programs.cli)
        .arg("--profile")
        .arg(branch.profile())
        .args(["call", "0388889999", "--", "true"])
        .output()
        .map_err(LabError::io("sipsec"))?;
    let words = String::from_utf8_lossy(&other.stderr).into_owned();
    ensure(!other.status.success() && words.contains("0388889999"), "another number", || words.clone())
}

/// An operator takes the pause after a failure away, on both sides.
fn reset(world: &World) -> Result<(), LabError> {
    let (branch, headend) = both(world);
    wait_for("the end of all calls", LIMIT, || Ok((world.carrier.calls_up() == 0).then_some(())))?;
    for gateway in [branch, headend] {
        gateway.cli(&["clear", "vpn-sip", "session", "--yes"])?;
    }
    wait_status(world, branch, HEADEND_NUMBER, "READY_TO_CONNECT")?;
    wait_status(world, headend, BRANCH_NUMBER, "READY_TO_CONNECT")
}
