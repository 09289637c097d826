//! Two carriers in each gateway: every call, bill and failure belongs to one of them.

use super::support::{
    answered_calls, ask, both, calls, clear_all, ensure, ensure_in, no_clear_text, ping_all, session,
};
use super::{Context, Scenario};
use crate::lab::carrier::{Access, Account, Config, Knobs, Server};
use crate::lab::error::LabError;
use crate::lab::gateway::Gateway;
use crate::lab::interrupt::wait_for;
use crate::lab::netns::{Namespace, run};
use crate::lab::profile::Profile;
use crate::lab::topology::{CARRIER_BRANCH_SIDE, CENTRE_LAN_HOST, LAN, Topology};
use crate::lab::world::{BRANCH_NUMBER, HEADEND_NUMBER, World};
use serde_json::Value;
use std::net::{SocketAddr, UdpSocket};
use std::time::Duration;

pub const CARRIERS: Scenario = Scenario {
    about: "two tunnels over two carriers: both bills are right, a changed carrier ends its own call alone, and so does one that dies",
    run: two_carriers,
    nightly: true,
    ..Scenario::new("carriers")
};

/// Lines of the second carrier.
const EAST: [&str; 2] = ["0388881011", "0388882011"];
const EAST_PORT: u16 = 5070;
const EAST_DOMAIN: &str = "east.example";
const EAST_BRANCH_HOST: &str = "10.1.2.2";
const EAST_CENTRE_HOST: &str = "10.2.2.2";
const CHANGE_LIMIT: Duration = Duration::from_secs(20);

fn two_carriers(context: &Context) -> Result<(), LabError> {
    let mut world = context.world("carriers", Knobs::default())?;
    let east = second(&world.topology)?;
    let lans = [
        (&world.topology.branch_lan, &world.topology.branch, EAST_BRANCH_HOST),
        (&world.topology.centre_lan, &world.topology.headend, EAST_CENTRE_HOST),
    ];
    for (host, gateway, address) in lans {
        host.ip(&["address", "add", &format!("{address}/32"), "dev", "eth0"])?;
        gateway.ip(&["route", "add", &format!("{address}/32"), "dev", LAN])?;
    }
    let branch = profile(&world, 0)?;
    world.start_headend(&profile(&world, 1)?)?;
    world.start_branch(&branch)?;
    world.wait_registered(&[BRANCH_NUMBER, HEADEND_NUMBER])?;
    wait_registered(&east)?;
    let lines = ask(both(&world).0, &["show", "vpn-sip", "registration-status"])?.to_string();
    let named = lines.contains(r#""carrier":"default""#) && lines.contains(r#""carrier":"east""#);
    ensure(named, "each line with its carrier", || lines.clone())?;

    ping_all(&world, &world.topology.branch_lan, CENTRE_LAN_HOST)?;
    ping_east(&world)?;
    one_call(&world, BRANCH_NUMBER, &calls(&world.carrier))?;
    one_call(&world, EAST[0], &calls(&east))?;
    let stands = session(both(&world).0, HEADEND_NUMBER)?["sip_call_id"].clone();

    changed(&world, &branch, &east, &stands)?;

    // The second carrier dies under its second call; the BYE of that call has no answer.
    drop(east);
    both(&world).0.cli(&["clear", "vpn-sip", "session", "remote-number", EAST[1]])?;
    ping_all(&world, &world.topology.branch_lan, CENTRE_LAN_HOST)?;
    let unanswered = ask(both(&world).0, &["show", "control"])?["unconfirmed"].to_string();
    ensure(unanswered.contains(EAST[1]), "the call that nothing has confirmed", || unanswered.clone())?;
    same_call(&world, &stands)?;
    let only = calls(&world.carrier);
    ensure(only.len() == 1, "no other call over the first carrier", || world.carrier.bill_text())?;
    clear_all(&mut world)?;
    let hung_up = calls(&world.carrier).iter().all(|c| c["still_up"] == false && c["byes"] == 1);
    ensure(hung_up, "one BYE to the first carrier", || world.carrier.bill_text())?;
    costs(both(&world).0)?;
    no_clear_text(&world)?;
    world.check()
}

/// Another value of the second carrier: its call ends, it registers again, and the next call is its.
fn changed(world: &World, branch: &Profile, east: &Server, stands: &Value) -> Result<(), LabError> {
    let gateway = both(world).0;
    let other = branch.clone().with("requests_per_s: 99", "requests_per_s: 98")?;
    let path = branch.dir().join("other.yaml");
    let fail = || LabError::io(path.display().to_string());
    std::fs::write(&path, other.text()).map_err(fail())?;
    std::fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o600)).map_err(fail())?;
    let path = path.display().to_string();
    let diff = ask(gateway, &["diff", &path])?;
    let lost: Vec<_> = diff["calls"].as_array().into_iter().flatten().map(|c| &c["interface"]).collect();
    ensure(lost == ["Tunnel2"], "the call that the change ends", || format!("{diff:#}"))?;
    let applied = ask(gateway, &["apply", &path])?;
    ensure(applied["hung_up"] == 1, "one call hung up", || format!("{applied:#}"))?;
    wait_for("the end of the call over the second carrier", CHANGE_LIMIT, || {
        Ok((east.calls_up() == 0).then_some(()))
    })?;
    wait_for("the second carrier's line", CHANGE_LIMIT, || {
        let list = ask(gateway, &["show", "vpn-sip", "registration-status"])?;
        let line = list.as_array().into_iter().flatten().find(|r| r["number"] == EAST[0]).cloned();
        Ok(line.is_some_and(|r| r["registered"] == true).then_some(()))
    })?;
    wait_registered(east)?;
    ping_east(world)?;
    let answered = answered_calls(east);
    let paid = answered.len() == 2 && answered[0]["byes"] == 1 && answered[1]["still_up"] == true;
    ensure(paid, "two calls over the second carrier, the first hung up", || east.bill_text())?;
    same_call(world, stands)?;
    ensure(calls(&world.carrier).len() == 1, "one call over the first", || world.carrier.bill_text())
}

fn second(topology: &Topology) -> Result<Server, LabError> {
    let address = SocketAddr::new(CARRIER_BRANCH_SIDE.parse().expect("a constant address"), EAST_PORT);
    let socket = topology.carrier.run(|| UdpSocket::bind(address))?;
    let account = |number: &str| Account {
        number: number.to_owned(),
        username: number.to_owned(),
        password: password(number),
    };
    let access = |(number, prefix): (&str, &str)| Access {
        number: number.to_owned(),
        prefixes: vec![prefix.parse().expect("a constant prefix")],
    };
    let config = Config {
        address,
        others: Vec::new(),
        domain: EAST_DOMAIN.to_owned(),
        accounts: EAST.map(account).to_vec(),
        lines: EAST.into_iter().zip(["198.51.100.0/24", "203.0.113.0/24"]).map(access).collect(),
        relay: None,
        knobs: Knobs::default(),
    };
    Server::start(vec![socket], None, config).map_err(LabError::io("carrier"))
}

fn password(number: &str) -> String {
    format!("lab-only-east-{number}")
}

/// The gateway's profile with a second carrier and a tunnel over it.
fn profile(world: &World, side: usize) -> Result<Profile, LabError> {
    let (gateway, idle, there) = match side {
        0 => ("branch", "idle_s: 5\n", "10.2.2.0/24"),
        _ => ("headend", "idle_s: 20\n", "10.1.2.0/24"),
    };
    let (ours, theirs) = (EAST[side], EAST[1 - side]);
    let carrier = format!(
        "\ncarriers:\n  - name: east\n    sip:\n      interface: wan0\n      port: 5062\n      \
         registrar: {CARRIER_BRANCH_SIDE}:{EAST_PORT}\n      domain: {EAST_DOMAIN}\n      tariff: none\n      \
         requests_per_s: 99\n      lines:\n      - number: \"{ours}\"\n        \
         auth: {{ username: \"{ours}\", password: \"{}\" }}\n\nike:\n",
        password(ours)
    );
    let tunnel = format!(
        "\n  - name: Tunnel2\n    local_number: \"{ours}\"\n    remote_number: \"{theirs}\"\n    \
         bandwidth_kbps: 512\n    idle_s: 300\n    routes: [{there}]\n\ndataplane:\n"
    );
    let key = "ike:\n  keyring:\n";
    let keyed = format!(
        "{key}    - {{ number: \"{theirs}\", psk: \"lab-only-7b1e9d4c2f6a8035e9c1d7f4a6b8203c\" }}\n"
    );
    world
        .profile(gateway)?
        .with(idle, "idle_s: 300\n")?
        .with(key, &keyed)?
        .with("\nike:\n", &carrier)?
        .with("\n\ndataplane:\n", &tunnel)
}

fn wait_registered(carrier: &Server) -> Result<(), LabError> {
    wait_for("registration with the second carrier", CHANGE_LIMIT, || {
        let registered = carrier.registered();
        Ok(EAST.iter().all(|n| registered.iter().any(|r| r == n)).then_some(()))
    })
}

/// Ten pings through the second tunnel, all answered.
fn ping_east(world: &World) -> Result<(), LabError> {
    let lan: &Namespace = &world.topology.branch_lan;
    let args = ["-c", "10", "-i", "0.05", "-W", "5", "-I", EAST_BRANCH_HOST, EAST_CENTRE_HOST];
    let output = run(lan.command("ping").args(args))?;
    ensure_in(world, output.contains(" 0% packet loss"), "pings over the second carrier", || output.clone())
}

fn one_call(world: &World, caller: &str, bill: &[Value]) -> Result<(), LabError> {
    let right = bill.len() == 1 && bill[0]["caller"] == caller && bill[0]["still_up"] == true;
    ensure_in(world, right, "one call of this carrier's line", || format!("{caller}: {bill:#?}"))
}

fn same_call(world: &World, stands: &Value) -> Result<(), LabError> {
    let now = session(both(world).0, HEADEND_NUMBER)?["sip_call_id"].clone();
    ensure_in(world, now == *stands, "the call over the first carrier stands", || format!("{stands} {now}"))
}

/// The history counts money by the tariff of each carrier.
fn costs(gateway: &Gateway) -> Result<(), LabError> {
    let history = ask(gateway, &["show", "vpn-sip", "history"])?;
    let of = |line: &str| -> Vec<Value> {
        let all = history.as_array().into_iter().flatten();
        all.filter(|c| c["local_number"] == line).map(|c| c["cost"].clone()).collect()
    };
    let (first, east) = (of(BRANCH_NUMBER), of(EAST[0]));
    let right =
        first.len() == 1 && first[0]["units"].is_u64() && !east.is_empty() && east.iter().all(Value::is_null);
    ensure(right, "the cost of the first carrier's call alone", || format!("{history:#}"))
}
