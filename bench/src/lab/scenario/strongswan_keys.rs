//! A change of the pre-shared key with strongSwan at the other end, which has one key at a time and changes over when it likes.

use super::strongswan::{Lab, PORT, Role, TOOLS, connection, media_port, start_with};
use super::support::{ask, ensure, no_clear_text, pings, wait_status};
use super::{Context, Scenario};
use crate::lab::error::LabError;
use crate::lab::gateway::Gateway;
use crate::lab::peer::charon::{Auth, Connection};
use crate::lab::peer::{Charon, Scratch};
use crate::lab::topology::{BRANCH_LAN_HOST, CENTRE_LAN_HOST};
use crate::lab::world::{BRANCH_NUMBER, HEADEND_NUMBER};

pub const KEY_CHANGE: Scenario = Scenario {
    about: "strongSwan changes its key in its own time: calls go on before, between and after, and a wrong key places none",
    tools: TOOLS,
    run: change,
    nightly: true,
    ..Scenario::new("strongswan-key-change")
};

const OLD: &str = "lab-only-3f9d1c7a5be04826d1907cf2a4e86b53";
const NEW: &str = "lab-only-c5807d1be6a94f13b2dd40a7719e3c28";
const NEITHER: &str = "lab-only-0a66d9e1b7f24c83a15be0d27c9843f7";

fn with_key(psk: &str, gateway_port: u16) -> Connection {
    let auth = Auth::Psk { id: HEADEND_NUMBER.into(), remote_id: BRANCH_NUMBER.into(), psk: psk.into() };
    Connection { auth, rekey_child_s: 0, rekey_ike_s: 0, ..connection(gateway_port, Role::Responder) }
}

fn change(context: &Context) -> Result<(), LabError> {
    let keys = Scratch::new("swk-keys")?;
    let esp = format!("  esp_proposals: [{}]\n", super::strongswan::ESP_PFS);
    let mut world = start_with(context, "swk", &keys, &esp, |profile| {
        profile.with(&format!("psk: \"{OLD}\""), &format!("psk: \"{OLD}\", psk_next: \"{NEW}\""))
    })?;
    let mut charon = Charon::start(&world.topology.headend, "swk", &with_key(OLD, PORT))?;
    let result = phases(&mut world, &charon);
    result.map_err(|e| LabError::failed(e.to_string(), charon.log_tail()))?;
    charon.check()?;
    no_clear_text(&world)?;
    world.check()
}

fn phases(world: &mut Lab, charon: &Charon) -> Result<(), LabError> {
    // The peer has the old key alone, in both roles.
    we_call(world, "psk")?;
    they_call(world, charon, OLD, "psk")?;
    // It has changed over, and we have not.
    they_call(world, charon, NEW, "psk-next")?;
    // We change over, and keep the old key a while: the peer has the new one, and then the old one again.
    let gateway = branch(world)?;
    let path = gateway.profile().with_file_name("changed-over.yaml");
    let failed = || LabError::io(path.display().to_string());
    let text = std::fs::read_to_string(gateway.profile()).map_err(failed())?;
    let both = format!("psk: \"{OLD}\", psk_next: \"{NEW}\"");
    let text = text.replace(&both, &format!("psk: \"{NEW}\", psk_next: \"{OLD}\""));
    std::fs::write(&path, text).map_err(failed())?;
    std::fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o600)).map_err(failed())?;
    let applied = ask(gateway, &["apply", &path.display().to_string()])?;
    ensure(applied["hung_up"] == 0, "the change hangs nothing up", || format!("{applied:#}"))?;
    charon.load(&with_key(NEW, PORT))?;
    we_call(world, "psk")?;
    they_call(world, charon, NEW, "psk")?;
    they_call(world, charon, OLD, "psk-next")?;
    // Its key is neither: no session, and the call ends.
    refused(world, charon)
}

fn branch(world: &Lab) -> Result<&Gateway, LabError> {
    world.branch.as_ref().ok_or_else(|| LabError::failed("no branch", String::new()))
}

/// The session is up, and the peer has proven this key; then the gateway hangs up.
fn proven(world: &mut Lab, key: &str) -> Result<(), LabError> {
    let gateway = branch(world)?;
    wait_status(world, gateway, HEADEND_NUMBER, "SESSION_UP")?;
    let crypto = ask(gateway, &["show", "crypto", "session", "detail"])?[0].take();
    let shown = crypto.to_string().contains(&format!("\"authentication\":\"{key}\""));
    ensure(shown, &format!("the key is shown as {key}"), || format!("{crypto:#}"))?;
    let hung_up = world.carrier.count("hung-up");
    gateway.cli(&["clear", "vpn-sip", "session"])?;
    world.carrier.wait_after("hung-up", hung_up)?;
    wait_status(world, branch(world)?, HEADEND_NUMBER, "READY_TO_CONNECT")
}

fn we_call(world: &mut Lab, key: &str) -> Result<(), LabError> {
    pings(world, &world.topology.branch_lan, CENTRE_LAN_HOST, "3", "0.05")?;
    proven(world, key)
}

/// The carrier calls the branch; the media port of its answer.
fn called(world: &mut Lab) -> Result<u16, LabError> {
    let others = world.carrier.count("answered");
    world.carrier.tell(&format!("call {BRANCH_NUMBER}"))?;
    let answered = world.carrier.wait_after("answered", others)?;
    let port = media_port(answered["sdp"].as_str().unwrap_or_default());
    port.ok_or_else(|| LabError::failed("no media in the answer", answered.to_string()))
}

fn they_call(world: &mut Lab, charon: &Charon, psk: &str, key: &str) -> Result<(), LabError> {
    let port = called(world)?;
    charon.load(&with_key(psk, port))?;
    charon.initiate()?;
    wait_status(world, branch(world)?, HEADEND_NUMBER, "SESSION_UP")?;
    pings(world, &world.topology.centre_lan, BRANCH_LAN_HOST, "3", "0.05")?;
    proven(world, key)
}

fn refused(world: &mut Lab, charon: &Charon) -> Result<(), LabError> {
    let port = called(world)?;
    charon.load(&with_key(NEITHER, port))?;
    let others = world.carrier.count("hung-up");
    ensure(charon.initiate().is_err(), "a key that is neither is refused", String::new)?;
    let hung_up = world.carrier.wait_after("hung-up", others)?;
    ensure(hung_up["by"] == "gateway", "the gateway says BYE", || hung_up.to_string())?;
    wait_status(world, branch(world)?, HEADEND_NUMBER, "READY_TO_CONNECT")
}
