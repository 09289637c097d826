//! Kea as the home gateways' DHCPv6 server: it delegates a prefix to each line, names the SIP server, and tells clients with a
//! vendor class the line's number and domain. And as the DHCPv4 server of the branch's line, with the same data.

use super::Scratch;
use crate::lab::error::LabError;
use crate::lab::interrupt::wait_for;
use crate::lab::netns::Namespace;
use crate::lab::process::Process;
use crate::lab::topology::{
    BRANCH_DELEGATED, CARRIER_BRANCH_SIDE, CARRIER_BRANCH_SIDE6, HEADEND_DELEGATED, TO_BRANCH, TO_HEADEND,
};
use crate::lab::world::{BRANCH_NUMBER, DOMAIN, HEADEND_NUMBER};
use serde_json::{Value, json};
use std::net::Ipv4Addr;
use std::time::Duration;

const READY_LIMIT: Duration = Duration::from_secs(10);
/// IANA enterprise number of NTT.
const NTT: &str = "210";
const NTT_ID: u32 = 210;
/// A delegated prefix lives as short as a test can wait for.
pub const VALID: Duration = Duration::from_secs(12);

/// How long a delegated prefix lives, and T1 and T2 (RFC 8415 §14.2) if Kea does not compute them.
#[derive(Clone, Copy, Debug)]
pub struct Lifetime {
    pub valid: Duration,
    pub timers: Option<(u32, u32)>,
}

impl Lifetime {
    pub const SHORT: Self = Self { valid: VALID, timers: None };
}

#[derive(Debug)]
pub struct Kea {
    process: Process,
    // Last: the program writes into it until it has ended.
    _scratch: Scratch,
}

impl Kea {
    pub fn start(namespace: &Namespace, tag: &str, lifetime: Lifetime) -> Result<Self, LabError> {
        Self::launch(namespace, tag, "kea-dhcp6", &config(lifetime), "DHCP6_STARTED")
    }

    /// The DHCPv4 server of the branch's line: address, SIP server, routes, number and domain.
    pub fn start_v4(namespace: &Namespace, tag: &str, lifetime: Lifetime) -> Result<Self, LabError> {
        Self::launch(namespace, tag, "kea-dhcp4", &config4(lifetime), "DHCP4_STARTED")
    }

    fn launch(
        namespace: &Namespace,
        tag: &str,
        program: &str,
        config: &Value,
        ready: &str,
    ) -> Result<Self, LabError> {
        let scratch = Scratch::new(&format!("{tag}-{program}"))?;
        let config = scratch.write("kea.json", &config.to_string())?;
        let mut command = namespace.command(program);
        command.arg("-c").arg(config);
        for directory in ["KEA_PIDFILE_DIR", "KEA_LOCKFILE_DIR"] {
            command.env(directory, scratch.path());
        }
        let mut process = Process::spawn(program, command, scratch.path().join("log"))?;
        wait_for(program, READY_LIMIT, || {
            process.check()?;
            let log = std::fs::read_to_string(process.log()).unwrap_or_default();
            Ok(log.contains(ready).then_some(()))
        })?;
        Ok(Self { process, _scratch: scratch })
    }

    /// What the server has said.
    #[must_use]
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.process.log()).unwrap_or_default()
    }
}

fn config(lifetime: Lifetime) -> Value {
    // The vendor options of one line are one object, so each line has a class of its own.
    let class = |device: &str, number: &str| {
        json!({
            "name": device,
            "test": format!("option[16].exists and (pkt.iface == '{device}')"),
            "option-data": [
                { "name": "vendor-opts", "data": NTT, "always-send": true },
                { "space": "vendor-210", "name": "number", "data": number, "always-send": true },
                { "space": "vendor-210", "name": "domain", "data": DOMAIN, "always-send": true },
            ],
        })
    };
    let subnet = |id: u32, device: &str, subnet: &str, delegated: &str| {
        let (prefix, len) = delegated.split_once('/').unwrap_or((delegated, "48"));
        json!({
            "id": id,
            "subnet": subnet,
            "interface": device,
            "pd-pools": [{ "prefix": prefix, "prefix-len": len.parse::<u8>().unwrap_or(48), "delegated-len": 56 }],
        })
    };
    let mut out = json!({ "Dhcp6": {
        "interfaces-config": { "interfaces": [TO_BRANCH, TO_HEADEND] },
        "server-id": { "type": "LL", "htype": 1, "identifier": "020000000009", "persist": false },
        "lease-database": { "type": "memfile", "persist": false },
        "preferred-lifetime": lifetime.valid.as_secs(),
        "valid-lifetime": lifetime.valid.as_secs(),
        "option-def": [
            { "space": "vendor-210", "name": "number", "code": 202, "type": "string" },
            { "space": "vendor-210", "name": "domain", "code": 204, "type": "fqdn" },
        ],
        "option-data": [{ "name": "sip-server-addr", "data": CARRIER_BRANCH_SIDE6 }],
        "client-classes": [
            class(TO_BRANCH, BRANCH_NUMBER),
            class(TO_HEADEND, HEADEND_NUMBER),
            // The log names the classes of each message, and so its kind.
            { "name": "renews", "test": "pkt6.msgtype == 5" },
            { "name": "rebinds", "test": "pkt6.msgtype == 6" },
        ],
        "subnet6": [
            subnet(1, TO_BRANCH, "2001:db8:51::/64", BRANCH_DELEGATED),
            subnet(2, TO_HEADEND, "2001:db8:113::/64", HEADEND_DELEGATED),
        ],
        "loggers": [{ "name": "kea-dhcp6", "severity": "INFO", "output_options": [{ "output": "stdout" }] }],
    } });
    if let Some((t1, t2)) = lifetime.timers {
        out["Dhcp6"]["renew-timer"] = json!(t1);
        out["Dhcp6"]["rebind-timer"] = json!(t2);
    }
    out
}

/// Kea 2.2 knows neither classless routes (RFC 3442) nor a vendor of its own in option 125 (RFC 3925), so both are written octet
/// by octet.
fn config4(lifetime: Lifetime) -> Value {
    let octets = |bytes: &[u8]| bytes.iter().fold(String::new(), |out, b| out + &format!("{b:02X}"));
    let gateway: Ipv4Addr = CARRIER_BRANCH_SIDE.parse().expect("a constant address");
    let route = |net: [u8; 3]| [&[24][..], &net, &gateway.octets()].concat();
    let routes = [route([192, 0, 2]), route([203, 0, 113])].concat();
    let sub = |code: u8, data: &[u8]| {
        let length = u8::try_from(data.len()).expect("short");
        [&[code, length][..], data].concat()
    };
    let domain: Vec<u8> = DOMAIN
        .split('.')
        .chain([""])
        .flat_map(|label| {
            let length = u8::try_from(label.len()).expect("a label");
            std::iter::once(length).chain(label.bytes())
        })
        .collect();
    let subs = [sub(202, BRANCH_NUMBER.as_bytes()), sub(204, &domain)].concat();
    let vendor = [&NTT_ID.to_be_bytes()[..], &sub(0, &subs)[1..]].concat();
    let hex = |code: u8, data: &[u8]| json!({ "code": code, "data": octets(data), "csv-format": false, "always-send": true });
    let mut out = json!({ "Dhcp4": {
        "interfaces-config": { "interfaces": [TO_BRANCH], "dhcp-socket-type": "raw" },
        "lease-database": { "type": "memfile", "persist": false },
        "valid-lifetime": lifetime.valid.as_secs(),
        "option-def": [
            { "name": "sip-servers", "code": 120, "type": "binary" },
            { "name": "classless-routes", "code": 121, "type": "binary" },
        ],
        "client-classes": [
            { "name": "ntt", "test": "option[124].exists", "option-data": [hex(125, &vendor)] },
        ],
        "subnet4": [{
            "id": 1,
            "subnet": "198.51.100.0/24",
            "interface": TO_BRANCH,
            "pools": [{ "pool": "198.51.100.6 - 198.51.100.9" }],
            "option-data": [
                { "name": "routers", "data": CARRIER_BRANCH_SIDE },
                // Addresses (RFC 3361 §3.2).
                hex(120, &[&[1][..], &gateway.octets()].concat()),
                hex(121, &routes),
            ],
        }],
        "loggers": [{ "name": "kea-dhcp4", "severity": "INFO", "output_options": [{ "output": "stdout" }] }],
    } });
    if let Some((t1, t2)) = lifetime.timers {
        out["Dhcp4"]["renew-timer"] = json!(t1);
        out["Dhcp4"]["rebind-timer"] = json!(t2);
    }
    out
}
