//! Our routes in the kernel. A prefix with a tunnel has two: the one that route policy has chosen, and one of last resort that
//! discards. They carry protocol numbers of ours, and outlive this process: without them, packets for a tunnel would leave in
//! clear by the default route. The kernel removes routes by a device with the device, and when it is set down; the
//! discarding routes name no device and stay. Routes with other protocol numbers are never changed or removed.

use super::kernel::{Kernel, KernelError};
use super::message::{self, Present};
use super::wanted::{Target, Wanted};
use sipsec_net::{IpPrefix, discard};
use sipsec_track::config::Table;
use std::collections::{BTreeMap, BTreeSet};

/// `rtm_protocol` of our routes: one that neither linux/rtnetlink.h nor iproute2 assigns. `ip route show proto 83` lists
/// them.
pub const PROTOCOL: u8 = 83;
/// `rtm_protocol` of discarding routes: `ip route show proto 183`.
pub const DISCARD_PROTOCOL: u8 = discard::PROTOCOL;

/// What became of a prefix.
pub type States = BTreeMap<IpPrefix, Result<String, String>>;

/// Our routes in the kernel, as far as this gateway's.
#[derive(Debug, Default)]
pub struct Installed {
    present: BTreeMap<IpPrefix, Vec<Present>>,
}

/// What a gateway's routes are recognised by.
#[derive(Clone, Copy, Debug)]
pub struct Ours<'a> {
    /// The sVTI, and the devices of single tunnels.
    pub tunnels: &'a BTreeSet<u32>,
    /// Prefixes with a route of ours that is not into a tunnel. Such routes of other prefixes are another gateway's.
    pub elsewhere: &'a BTreeSet<IpPrefix>,
}

impl Installed {
    /// Reads what the kernel has.
    pub async fn read(kernel: &Kernel, ours: Ours<'_>) -> Result<Self, KernelError> {
        let mut present: BTreeMap<IpPrefix, Vec<Present>> = BTreeMap::new();
        for route in message::ours(kernel, PROTOCOL).await?.iter().filter_map(message::read) {
            let is_main = route.table == message::MAIN;
            let into_tunnel = is_main && route.device.is_some_and(|device| ours.tunnels.contains(&device));
            if into_tunnel || ours.elsewhere.contains(&route.prefix) {
                present.entry(route.prefix).or_default().push(route);
            }
        }
        Ok(Self { present })
    }

    pub fn prefixes(&self) -> impl Iterator<Item = IpPrefix> {
        self.present.keys().copied()
    }

    /// Makes `wanted` the only route of ours with this prefix. The new one is there before the old one goes, so that no packet
    /// finds neither. If the kernel refuses the new one, the old one stays. Returns the state, for the show.
    pub async fn apply(
        &mut self,
        kernel: &Kernel,
        prefix: IpPrefix,
        wanted: Option<&Wanted>,
        (device, table): (Option<u32>, u32),
    ) -> Result<Result<String, String>, KernelError> {
        let there = self.present.remove(&prefix).unwrap_or_default();
        let mut kept = None;
        let mut state = Ok("not installed".to_owned());
        if let Some(wanted) = wanted {
            let route = message::wanted(prefix, wanted, device, table);
            kept = there.iter().find(|p| p.is(&route)).cloned();
            if kept.is_none() {
                // Another route of ours with the same key is replaced in one step.
                let replaces = there.iter().any(|p| (p.table, p.metric) == (route.table, route.metric));
                let set = match message::write(&route) {
                    message if replaces => kernel.route_set(message).await,
                    message => kernel.route_add(message).await,
                };
                match set {
                    Ok(()) => {
                        tracing::debug!(%prefix, ?wanted, "route installed");
                        kept = Some(route);
                    }
                    Err(error) if error.is_fatal() => return Err(error),
                    Err(error) => {
                        self.present.insert(prefix, there);
                        return Ok(Err(explain(&error, wanted)));
                    }
                }
            }
            state = Ok(describe(wanted));
        }
        let replaced = kept.as_ref().map(|k| (k.table, k.metric));
        for old in &there {
            if Some(old) == kept.as_ref() || Some((old.table, old.metric)) == replaced {
                continue;
            }
            delete(kernel, old).await?;
        }
        if let Some(kept) = kept {
            self.present.insert(prefix, vec![kept]);
        }
        Ok(state)
    }
}

/// The discarding routes of one gateway: what its tunnels do not take is dropped. Returns the prefixes that have none, each
/// with the reason.
pub async fn discards(
    kernel: &Kernel,
    device: &str,
    wanted: &BTreeSet<IpPrefix>,
) -> Result<Vec<(IpPrefix, String)>, KernelError> {
    let metric = discard::metric(device);
    let mut present = BTreeSet::new();
    for route in message::ours(kernel, DISCARD_PROTOCOL).await?.iter().filter_map(message::read) {
        if !route.discards || route.metric != metric {
            continue; // another gateway's
        }
        if wanted.contains(&route.prefix) {
            present.insert(route.prefix);
        } else {
            delete(kernel, &route).await?;
        }
    }
    let mut refused = Vec::new();
    let discard = Wanted { target: Target::Discard, table: Table::Main, metric };
    for prefix in wanted.difference(&present) {
        let route =
            Present { protocol: DISCARD_PROTOCOL, ..message::wanted(*prefix, &discard, None, message::MAIN) };
        match kernel.route_add(message::write(&route)).await {
            Ok(()) => tracing::info!(%prefix, metric, "discarding route installed"),
            Err(error) if error.is_fatal() => return Err(error),
            Err(error) => refused.push((*prefix, explain(&error, &discard))),
        }
    }
    Ok(refused)
}

fn describe(wanted: &Wanted) -> String {
    let table = match &wanted.table {
        Table::Main => String::new(),
        Table::Vrf(name) => format!("vrf {name} "),
        Table::Number(number) => format!("table {number} "),
    };
    match &wanted.target {
        Target::Tunnel(_) => format!("proto {PROTOCOL}"),
        Target::Device(device) => format!("{table}dev {device} proto {PROTOCOL}"),
        Target::Via { hop, device } => format!("{table}via {hop} dev {device} proto {PROTOCOL}"),
        Target::Discard => format!("{table}blackhole proto {PROTOCOL}"),
    }
}

fn explain(error: &KernelError, wanted: &Wanted) -> String {
    match (error.errno(), &wanted.target) {
        (Some(libc::EEXIST), _) => "another route has this prefix and metric; it is left alone".to_owned(),
        (Some(libc::ENETDOWN), Target::Device(device) | Target::Via { device, .. }) => {
            format!("{device} is down: `ip link set {device} up`")
        }
        (Some(libc::ENETDOWN), Target::Tunnel(_)) => "Network is down".to_owned(),
        (Some(libc::EPERM), _) => "not permitted: run as root, or with CAP_NET_ADMIN".to_owned(),
        _ => error.to_string(),
    }
}

async fn delete(kernel: &Kernel, route: &Present) -> Result<(), KernelError> {
    match kernel.route_delete(message::write(route)).await {
        Err(error) if error.is_fatal() => Err(error),
        Err(error) if error.errno() != Some(libc::ESRCH) => {
            tracing::warn!(%error, prefix = %route.prefix, "a route cannot be removed");
            Ok(())
        }
        _ => Ok(()),
    }
}
