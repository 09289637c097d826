//! The primary path between branch and head-end, beside the carrier.
//!
//! ```text
//!  branch ──172.20.0.0/24── primary ──172.21.0.0/24── headend
//!  wan1 .2                .1       .1                .2 wan1
//! ```
//!
//! The router in the middle loses what it is told to lose, while both links stay up: a gateway learns of it by its probes
//! alone.

use super::error::LabError;
use super::netns::{End, Namespace, Offload, link, run};

/// The gateways' device to it.
pub const PRIMARY_WAN: &str = "wan1";
pub const BRANCH_PRIMARY: &str = "172.20.0.2";
pub const HEADEND_PRIMARY: &str = "172.21.0.2";
pub const BRANCH_SIDE: &str = "172.20.0.1";
pub const HEADEND_SIDE: &str = "172.21.0.1";
/// Devices of the router.
pub const TO_BRANCH: &str = "pbranch0";
const TO_HEADEND: &str = "pheadend0";

/// The path and its router.
#[derive(Debug)]
pub struct Primary {
    router: Namespace,
    mtu: u16,
}

/// What the router does with packets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Path {
    Good,
    /// It drops everything.
    Cut,
    /// It drops so many of a hundred, in both directions.
    Lossy(u8),
    /// It drops what goes to the branch.
    OneWay,
    /// It sends so many bits in a second.
    Slow(u32),
}

impl Primary {
    /// Joins the gateways, whose LANs are behind them.
    pub fn up(
        router: Namespace,
        branch: &Namespace,
        headend: &Namespace,
        mtu: u16,
    ) -> Result<Self, LabError> {
        let end = |namespace, device, address| End { namespace, device, address };
        let primary = Self { router, mtu };
        let router = &primary.router;
        link(
            end(headend, PRIMARY_WAN, "172.21.0.2/24"),
            end(router, TO_HEADEND, "172.21.0.1/24"),
            mtu,
            Offload::Off,
        )?;
        router.sysctl("ipv4/ip_forward", "1")?;
        router.ip(&["route", "add", "10.2.0.0/16", "via", HEADEND_PRIMARY])?;
        headend.ip(&["route", "add", "172.20.0.0/24", "via", HEADEND_SIDE])?;
        primary.rejoin_branch(branch)?;
        Ok(primary)
    }

    /// Makes the branch's link, which is not there, with the routes over it.
    pub fn rejoin_branch(&self, branch: &Namespace) -> Result<(), LabError> {
        let end = |namespace, device, address| End { namespace, device, address };
        let ends = [end(branch, PRIMARY_WAN, "172.20.0.2/24"), end(&self.router, TO_BRANCH, "172.20.0.1/24")];
        let [ours, routers] = ends;
        link(ours, routers, self.mtu, Offload::Off)?;
        self.router.ip(&["route", "add", "10.1.0.0/16", "via", BRANCH_PRIMARY])?;
        branch.ip(&["route", "add", "172.21.0.0/24", "via", BRANCH_SIDE])
    }

    #[must_use]
    pub const fn router(&self) -> &Namespace {
        &self.router
    }

    /// From the next packet on.
    pub fn set(&self, path: Path) -> Result<(), LabError> {
        let rule = match path {
            Path::Good | Path::Slow(_) => String::new(),
            Path::Cut => "drop".to_owned(),
            Path::Lossy(percent) => format!("numgen random mod 100 < {percent} drop"),
            Path::OneWay => format!("oifname {TO_BRANCH} drop"),
        };
        // One transaction: there is no moment between the old rule and the new one.
        let rules = format!(
            "table ip primary {{}}; delete table ip primary; table ip primary {{ chain path {{ type filter hook forward priority 0; {rule}; }}; }}"
        );
        run(self.router.command("nft").arg(rules.replace("; ; }", "; }")))?;
        for device in [TO_BRANCH, TO_HEADEND] {
            let mut tc = self.router.command("tc");
            match path {
                Path::Slow(bits) => {
                    let rate = format!("{bits}bit");
                    run(tc
                        .args(["qdisc", "replace", "dev", device, "root", "tbf", "rate", &rate])
                        .args(["burst", "1600", "latency", "2s"]))?;
                }
                // There may be none.
                _ => drop(run(tc.args(["qdisc", "del", "dev", device, "root"]))),
            }
        }
        Ok(())
    }
}

/// The part of a gateway's profile that watches the path: the probe's target, the router, the network behind the other end,
/// and how soon the gateway acts.
#[must_use]
pub fn policy(branch: bool, failback: &str) -> String {
    let (target, via, prefix) = match branch {
        true => (HEADEND_PRIMARY, BRANCH_SIDE, "10.2.0.0/16"),
        false => (BRANCH_PRIMARY, HEADEND_SIDE, "10.1.0.0/16"),
    };
    format!(
        "sla:\n  - {{ id: 1, name: primary, type: icmp-echo, target: {target}, device: {PRIMARY_WAN}, frequency_ms: 100, timeout_ms: 50, up_count: 3, down_count: 2 }}\n\
         track:\n  - {{ id: 1, sla: 1 }}\n\
         routes:\n  - {{ prefix: {prefix}, via: {via}, device: {PRIMARY_WAN}, track: 1, name: primary }}\n\
         failback: {{ {failback} }}\n\n"
    )
}
