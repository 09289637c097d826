//! dnsmasq as the DHCP server of both access lines: address, routes, SIP server, and to clients with NTT's vendor class the
//! line's number and domain.

use super::Scratch;
use crate::lab::error::LabError;
use crate::lab::interrupt::wait_for;
use crate::lab::netns::Namespace;
use crate::lab::process::Process;
use crate::lab::topology::{
    CARRIER_BRANCH_SIDE, CARRIER_HEADEND_SIDE, RELAY, RELAY_PREFIX, TO_BRANCH, TO_HEADEND,
};
use crate::lab::world::{BRANCH_NUMBER, DOMAIN, HEADEND_NUMBER};
use std::ffi::OsStr;
use std::path::Path;
use std::time::Duration;

const READY_LIMIT: Duration = Duration::from_secs(10);
/// Access lines, each with a range of its own.
const LINES: usize = 2;
/// IANA enterprise number of NTT.
const NTT: u32 = 210;

#[derive(Debug)]
pub struct Dnsmasq {
    process: Process,
    // Last: the program writes into it until it has ended.
    _scratch: Scratch,
}

/// The last octets of the addresses that a line's clients get.
#[derive(Clone, Copy, Debug)]
pub struct Pool {
    pub branch: (u8, u8),
    pub headend: (u8, u8),
    /// T1 and T2 in seconds (RFC 2131 §4.4.5); without them half and seven eighths of the lease, which is of 120 s.
    pub timers: Option<(u32, u32)>,
}

impl Pool {
    pub const FIRST: Self = Self { branch: (6, 9), headend: (9, 12), timers: None };
    /// After a renumbering.
    pub const SECOND: Self = Self { branch: (106, 109), headend: (109, 112), timers: None };
}

impl Dnsmasq {
    pub fn start(namespace: &Namespace, tag: &str, pool: Pool) -> Result<Self, LabError> {
        let scratch = Scratch::new(&format!("{tag}-dnsmasq"))?;
        let config = scratch.write("dnsmasq.conf", &config(pool))?;
        let mut words = vec!["-k".into(), "-C".into(), config.into_os_string()];
        words.push(format!("--dhcp-leasefile={}", scratch.path().join("leases").display()).into());
        words.push(format!("--pid-file={}", scratch.path().join("pid").display()).into());
        let words: Vec<_> = words.iter().map(|w: &std::ffi::OsString| OsStr::new(w)).collect();
        let log = scratch.path().join("log");
        let mut process = Process::start("dnsmasq", namespace, Path::new("dnsmasq"), &words, log)?;
        wait_for("dnsmasq", READY_LIMIT, || {
            process.check()?;
            let log = std::fs::read_to_string(process.log()).unwrap_or_default();
            Ok((log.matches("DHCP, IP range").count() == LINES).then_some(()))
        })?;
        Ok(Self { process, _scratch: scratch })
    }

    pub fn check(&mut self) -> Result<(), LabError> {
        self.process.check()
    }

    /// What the server has said of every exchange.
    #[must_use]
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.process.log()).unwrap_or_default()
    }
}

fn config(pool: Pool) -> String {
    let mut out = String::from(
        "port=0\nbind-interfaces\nno-resolv\nno-hosts\ndhcp-authoritative\ndhcp-sequential-ip\nno-ping\nuser=root\n\
         log-dhcp\nlog-facility=-\n",
    );
    out += &format!("dhcp-match=set:ntt,vi-encap:{NTT}\n");
    if let Some((t1, t2)) = pool.timers {
        out += &format!("dhcp-option-force=option:T1,{t1}s\ndhcp-option-force=option:T2,{t2}s\n");
    }
    let far = |here: &str| if here == CARRIER_BRANCH_SIDE { "203.0.113.0/24" } else { "198.51.100.0/24" };
    for (device, here, number, (first, last)) in [
        (TO_BRANCH, CARRIER_BRANCH_SIDE, BRANCH_NUMBER, pool.branch),
        (TO_HEADEND, CARRIER_HEADEND_SIDE, HEADEND_NUMBER, pool.headend),
    ] {
        let network = here.rsplit_once('.').map_or("", |(network, _)| network);
        let domain: String = DOMAIN.split('.').fold(String::new(), |out, label| {
            let hex: Vec<_> = label.bytes().map(|byte| format!("{byte:02x}")).collect();
            out + &format!("{:02x}:{}:", label.len(), hex.join(":"))
        });
        out += &format!(
            "interface={device}\n\
             dhcp-range=set:{device},{network}.{first},{network}.{last},255.255.255.0,120s\n\
             dhcp-option=tag:{device},option:router,{here}\n\
             dhcp-option-force=tag:{device},option:sip-server,{CARRIER_BRANCH_SIDE}\n\
             dhcp-option-force=tag:{device},option:classless-static-route,{RELAY_PREFIX},{here},{},{here}\n\
             dhcp-option-force=tag:{device},tag:ntt,vi-encap:{NTT},202,\"{number}\"\n\
             dhcp-option-force=tag:{device},tag:ntt,vi-encap:{NTT},204,{domain}00\n",
            far(here)
        );
    }
    debug_assert!(RELAY_PREFIX.starts_with(&RELAY[..RELAY.len() - 2]));
    out
}
