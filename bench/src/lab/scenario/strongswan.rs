//! strongSwan as the other side of IKE and ESP, in both roles. SIP is played for it: the stand-in's SDP names
//! strongSwan's address and port.

use super::support::{ask, ensure, ensure_in, no_clear_text, pings, session, wait_status};
use super::{Context, Scenario};
use crate::lab::error::LabError;
use crate::lab::interrupt::wait_for;
use crate::lab::netns::{Namespace, run};
use crate::lab::peer::charon::{self, Auth, Connection};
use crate::lab::peer::{Capture, Charon, Scratch, StandIn, capture};
use crate::lab::probe::{Receiver, Sender};
use crate::lab::profile::Profile;
use crate::lab::topology::{
    BRANCH_LAN_HOST, BRANCH_PREFIX, BRANCH_WAN, CARRIER_HEADEND_SIDE, CENTRE_LAN_HOST, CENTRE_PREFIX,
    HEADEND_WAN, Options, TO_HEADEND,
};
use crate::lab::world::{BRANCH_NUMBER, HEADEND_NUMBER, World};
use std::net::{Ipv4Addr, SocketAddrV4};
use std::time::Duration;

pub(super) const TOOLS: &[(&str, &str)] =
    &[charon::TOOLS[0], charon::TOOLS[1], capture::TOOLS[0], capture::TOOLS[1]];

pub const INITIATOR: Scenario = Scenario {
    about: "we dial and start IKE with strongSwan: rekeys under traffic, iperf3, every ICV good in tshark",
    tools: TOOLS,
    run: |context| peer(context, Role::Initiator),
    ..Scenario::new("strongswan-initiator")
};

pub const RESPONDER: Scenario = Scenario {
    about: "we are called and strongSwan starts IKE: rekeys under traffic, iperf3, every ICV good in tshark",
    tools: TOOLS,
    run: |context| peer(context, Role::Responder),
    ..Scenario::new("strongswan-responder")
};

pub const LOSS: Scenario = Scenario {
    about: "strongSwan rekeys every 3 s and 7 s over a line that loses 5 % each way: the session lives on",
    tools: &[TOOLS[0], TOOLS[1], ("nft", "nftables")],
    run: loss,
    nightly: true,
    ..Scenario::new("strongswan-loss")
};

/// Ours.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Role {
    Initiator,
    Responder,
}

impl Role {
    const fn esp(self) -> &'static str {
        match self {
            Self::Initiator => "aes256gcm16",
            Self::Responder => ESP_PFS,
        }
    }
}

/// Not 4500: RFC 6193 §5.4 lets SDP name any port.
pub(super) const PORT: u16 = 50_002;
const KBPS: u32 = 10_000;
/// Rekey times of the CHILD_SA and of the IKE SA.
pub(super) const REKEY_S: [u32; 2] = [3, 7];
/// With a key exchange of its own for each CHILD_SA.
pub(super) const ESP_PFS: &str = "aes256gcm16-ecp256";
/// Numbered packets over several rekeys: 10 s of them, or 24 s.
pub(super) const PACKETS: u32 = 2000;
const PACKETS_LOSS: u32 = 4800;
const GAP: Duration = Duration::from_millis(5);
const IPERF_SECONDS: &str = "2";

pub(super) type Lab = World<StandIn>;

fn ip(text: &str) -> Ipv4Addr {
    text.parse().expect("a constant address")
}

pub(super) fn connection(gateway_port: u16, role: Role) -> Connection {
    let [rekey_child_s, rekey_ike_s] = REKEY_S;
    Connection {
        local: SocketAddrV4::new(ip(HEADEND_WAN), PORT),
        remote: SocketAddrV4::new(ip(BRANCH_WAN), gateway_port),
        auth: Auth::Psk {
            id: HEADEND_NUMBER.into(),
            remote_id: BRANCH_NUMBER.into(),
            psk: "lab-only-3f9d1c7a5be04826d1907cf2a4e86b53".into(),
        },
        ike: "aes256gcm16-prfsha256-x25519",
        esp: role.esp(),
        rekey_child_s,
        rekey_ike_s,
        local_ts: CENTRE_PREFIX.into(),
        remote_ts: BRANCH_PREFIX.into(),
    }
}

/// The branch registered, with more lines under `ike:`, and the stand-in that plays SIP for strongSwan.
pub(super) fn start(
    context: &Context,
    tag: &str,
    keys: &Scratch,
    role: Role,
    ike: &str,
) -> Result<Lab, LabError> {
    let esp = format!("  esp_proposals: [{}]\n{ike}", role.esp());
    start_with(context, tag, keys, &esp, Ok)
}

pub(super) fn start_with(
    context: &Context,
    tag: &str,
    keys: &Scratch,
    ike: &str,
    change: impl FnOnce(Profile) -> Result<Profile, LabError>,
) -> Result<Lab, LabError> {
    let options = Options { tag: tag.into(), ..Options::default() };
    let program = context.places.standin();
    let mut world = World::with(context.places.clone(), options, |topology| {
        let media = SocketAddrV4::new(ip(HEADEND_WAN), PORT).into();
        StandIn::start(&topology.carrier, &program, tag, HEADEND_NUMBER, media, KBPS, &[])
    })?;
    let profile = world
        .profile("branch")?
        .with("ike:\n", &format!("ike:\n  lab_key_log: {}\n{ike}", keys.path().display()))?
        .with("idle_s: 5", "idle_s: 60")?
        .with("bandwidth_kbps: 1000", &format!("bandwidth_kbps: {KBPS}"))?;
    let profile = change(profile)?;
    world.start_branch(&profile)?;
    world.wait_registered(&[BRANCH_NUMBER])?;
    Ok(world)
}

fn peer(context: &Context, role: Role) -> Result<(), LabError> {
    let tag = if role == Role::Initiator { "swi" } else { "swr" };
    let keys = Scratch::new(&format!("{tag}-keys"))?;
    let mut world = start(context, tag, &keys, role, "")?;
    let capture = Capture::start(&world.topology.carrier, TO_HEADEND, keys.path())?;

    // As initiator it has no need of our port; a port there is has to be written.
    let mut charon = Charon::start(&world.topology.headend, tag, &connection(PORT, role))?;
    let result = call(&mut world, &charon, role);
    let gateway_port = result.map_err(|e| LabError::failed(e.to_string(), charon.log_tail()))?;
    charon.check()?;
    world.check()?;

    let verdict = capture.judge(keys.path(), &[PORT, gateway_port])?;
    let good = verdict.icv_bad == 0 && verdict.icv_good == verdict.esp && verdict.esp > 2 * PACKETS as usize;
    ensure(good, "every ESP packet has a good ICV in tshark", || format!("{verdict:?}"))?;
    let read = verdict.ike_decrypted > 0;
    ensure(read, "tshark reads IKE with the key log", || format!("{verdict:?}"))
}

/// Linux cuts what is too large after encryption; the dataplane puts it together.
fn outer_fragments(world: &Lab) -> Result<(), LabError> {
    let narrow = [BRANCH_WAN, "via", CARRIER_HEADEND_SIDE, "mtu", "lock", "1300"];
    world.topology.headend.ip(&[&["route", "add"], &narrow[..]].concat())?;
    // 1390 bytes outside.
    let args = ["-M", "dont", "-s", "1300", "-c", "5", "-i", "0.1", "-W", "3", BRANCH_LAN_HOST];
    let output = run(world.topology.centre_lan.command("ping").args(args))?;
    world.topology.headend.ip(&["route", "del", BRANCH_WAN])?;
    ensure_in(world, output.contains(" 0% packet loss"), "fragments of ESP arrive", || output.clone())?;
    let branch = world.branch.as_ref().expect("started");
    wait_for("five packets that came in fragments", Duration::from_secs(5), || {
        let taken = ask(branch, &["show", "dataplane"])?["drops"]["fragment-taken"].as_u64();
        Ok(taken.is_some_and(|n| n >= 5).then_some(()))
    })
}

/// A whole call; gives our media port.
fn call(world: &mut Lab, charon: &Charon, role: Role) -> Result<u16, LabError> {
    match role {
        Role::Initiator => pings(world, &world.topology.branch_lan, CENTRE_LAN_HOST, "10", "0.05")?,
        Role::Responder => {
            let port = call_branch(world)?;
            charon.load(&connection(port, role))?;
            charon.initiate()?;
            let branch = world.branch.as_ref().expect("started");
            wait_status(world, branch, HEADEND_NUMBER, "SESSION_UP")?;
            pings(world, &world.topology.centre_lan, BRANCH_LAN_HOST, "10", "0.05")?;
        }
    }
    let branch = world.branch.as_ref().expect("started");
    let state = session(branch, HEADEND_NUMBER)?;
    let letter = if role == Role::Initiator { "I" } else { "R" };
    ensure(state["role"] == letter, "our role in the call", || format!("{state:#}"))?;
    let port = state["local_port"].as_u64().and_then(|p| u16::try_from(p).ok()).unwrap_or_default();
    let crypto = ask(branch, &["show", "crypto", "session", "detail"])?[0].take();
    ensure(crypto["status"] == "UP-ACTIVE", "show crypto session", || format!("{crypto:#}"))?;

    outer_fragments(world)?;
    under_rekeys(world, charon)?;
    iperf(world)?;
    no_clear_text(world)?;

    let branch = world.branch.as_ref().expect("started");
    match role {
        Role::Initiator => {
            branch.cli(&["clear", "vpn-sip", "session"])?;
            let hung_up = world.carrier.wait("hung-up")?;
            ensure(hung_up["by"] == "gateway", "the gateway says BYE", || hung_up.to_string())?;
        }
        // The peer removes its SAs and does not say BYE: the call would be paid for nothing.
        Role::Responder => {
            charon.swanctl(&["--terminate", "--ike", "gw", "--timeout", "5"])?;
            let hung_up = world.carrier.wait("hung-up")?;
            ensure(hung_up["by"] == "gateway", "the gateway says BYE in its stead", || hung_up.to_string())?;
        }
    }
    let branch = world.branch.as_ref().expect("started");
    wait_status(world, branch, HEADEND_NUMBER, "READY_TO_CONNECT")?;
    crate::lab::interrupt::wait_for("the end of strongSwan's SA", Duration::from_secs(5), || {
        Ok(charon.swanctl(&["--list-sas"])?.trim().is_empty().then_some(()))
    })?;
    Ok(port)
}

fn loss(context: &Context) -> Result<(), LabError> {
    let keys = Scratch::new("swl-keys")?;
    let mut world = start(context, "swl", &keys, Role::Initiator, "")?;
    let mut charon = Charon::start(&world.topology.headend, "swl", &connection(PORT, Role::Initiator))?;
    pings(&world, &world.topology.branch_lan, CENTRE_LAN_HOST, "10", "0.05")?;

    let line = Loss::start(&world.topology.carrier)?;
    let before = Rekeys::count(&world, &charon);
    let lost = numbered(&world, PACKETS_LOSS)?;
    drop(line);
    let rekeys = Rekeys::count(&world, &charon).since(&before);

    let details = || format!("{rekeys:?}, lost from and to the branch: {lost:?}{}", charon.log_tail());
    let enough = rekeys.children >= 4 && rekeys.parents >= 2;
    ensure_in(&world, enough, "SAs were replaced in spite of loss", details)?;
    // 5 % and chance, but no gap: a rekey that breaks the tunnel for a second alone costs 200 packets.
    let tenth = PACKETS_LOSS as usize / 10;
    ensure_in(
        &world,
        lost.iter().all(|l| (1..tenth).contains(l)),
        "no more is lost than the line loses",
        details,
    )?;
    pings(&world, &world.topology.branch_lan, CENTRE_LAN_HOST, "10", "0.05")?;
    let branch = world.branch.as_ref().expect("started");
    let state = session(branch, HEADEND_NUMBER)?;
    let same_call = state["status"] == "SESSION_UP" && state["uptime_s"].as_u64().is_some_and(|s| s >= 20);
    ensure_in(&world, same_call, "it is still the same call", || format!("{state:#}"))?;
    charon.check()?;
    world.check()
}

/// Loses 5 % of what passes between both gateways' media ports, as long as it lives.
struct Loss<'a>(&'a Namespace);

impl<'a> Loss<'a> {
    fn start(carrier: &'a Namespace) -> Result<Self, LabError> {
        let rules = format!(
            "table inet loss {{ chain forward {{ type filter hook forward priority 0; \
             udp sport {PORT} numgen random mod 100 < 5 drop; udp dport {PORT} numgen random mod 100 < 5 drop; }}; }}"
        );
        run(carrier.command("nft").arg(rules))?;
        Ok(Self(carrier))
    }
}

impl Drop for Loss<'_> {
    fn drop(&mut self) {
        // Without the table there is nothing to do, and the namespace goes soon.
        let _ = run(self.0.command("nft").args(["delete", "table", "inet", "loss"]));
    }
}

/// How many SAs were replaced.
#[derive(Debug)]
struct Rekeys {
    children: usize,
    parents: usize,
}

impl Rekeys {
    fn count(world: &Lab, charon: &Charon) -> Self {
        let log = world.branch.as_ref().map(|b| b.log("controlplane")).unwrap_or_default();
        let children = std::fs::read_to_string(log).unwrap_or_default().matches("event=\"rekeyed\"").count();
        Self { children, parents: charon.logged("rekeyed between") }
    }

    const fn since(&self, before: &Self) -> Self {
        Self { children: self.children - before.children, parents: self.parents - before.parents }
    }
}

/// Numbered packets both ways while strongSwan replaces its SAs.
pub(super) fn under_rekeys(world: &Lab, charon: &Charon) -> Result<(), LabError> {
    let before = Rekeys::count(world, charon);
    let lost = numbered(world, PACKETS)?;
    let details = || format!("lost from and to the branch: {lost:?}{}", charon.log_tail());
    ensure_in(world, lost == [0, 0], "no packet is lost by a rekey", details)?;
    let rekeys = Rekeys::count(world, charon).since(&before);
    ensure_in(world, rekeys.children >= 2 && rekeys.parents >= 1, "SAs were replaced meanwhile", || {
        format!("{rekeys:?}{}", charon.log_tail())
    })
}

/// Sends this many packets each way, a gap apart; how many from the branch and to it did not arrive.
fn numbered(world: &Lab, packets: u32) -> Result<[usize; 2], LabError> {
    let (near, far) = (&world.topology.branch_lan, &world.topology.centre_lan);
    let way = |from, to, address| {
        let receiver = Receiver::new(to)?;
        let sender = Sender::new(from, address)?;
        let arrived = std::thread::scope(|scope| {
            let reader = scope.spawn(|| receiver.take(0, packets, GAP * packets + Duration::from_secs(5)));
            for number in 0..packets {
                sender.send(0, number)?;
                std::thread::sleep(GAP);
            }
            reader.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        })?;
        let mut seen = vec![false; packets as usize];
        for (probe, _) in arrived {
            seen[probe.number as usize] = true;
        }
        Ok::<_, LabError>(seen.iter().filter(|s| !**s).count())
    };
    std::thread::scope(|scope| {
        let back = scope.spawn(|| way(far, near, BRANCH_LAN_HOST));
        let there = way(near, far, CENTRE_LAN_HOST);
        let back = back.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        Ok([there?, back?])
    })
}

/// TCP and bulk. strongSwan does not know of the negotiated rate, so iperf3 keeps to it.
fn iperf(world: &Lab) -> Result<(), LabError> {
    for extra in [&[][..], &["-R", "-b", "10M"][..]] {
        let bits = crate::lab::iperf::run(
            &world.topology.branch_lan,
            &world.topology.centre_lan,
            CENTRE_LAN_HOST,
            &[&["-t", IPERF_SECONDS], extra].concat(),
        )?;
        ensure_in(world, bits > 0.0, "iperf3 carries data", || format!("{bits} bit/s"))?;
    }
    // UDP below the negotiated rate.
    let udp = ["-u", "-b", "5M", "-l", "1200", "-t", "1"];
    let bits = crate::lab::iperf::run(
        &world.topology.branch_lan,
        &world.topology.centre_lan,
        CENTRE_LAN_HOST,
        &udp,
    )?;
    ensure_in(world, bits > 0.0, "iperf3 carries datagrams", || format!("{bits} bit/s"))
}

/// The carrier calls the branch; gives the media port of its answer.
pub fn call_branch(world: &mut Lab) -> Result<u16, LabError> {
    world.carrier.tell(&format!("call {BRANCH_NUMBER}"))?;
    let answered = world.carrier.wait("answered")?;
    let port = media_port(answered["sdp"].as_str().unwrap_or_default());
    port.ok_or_else(|| LabError::failed("no media in the answer", answered.to_string()))
}

pub fn media_port(sdp: &str) -> Option<u16> {
    sdp.lines().find_map(|l| l.strip_prefix("m=application ")?.split(' ').next()?.parse().ok())
}
