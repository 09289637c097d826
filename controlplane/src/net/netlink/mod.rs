//! The kernel's state: the WAN's address, the next hop of every media peer, and the routes of the tunnels.
//!
//! A supervised task owns two netlink sockets, one for requests and one for change reports. It polls again what a report
//! concerns, and everything from time to time. See [`task`] for the flow.

mod devices;
mod health;
pub(crate) mod kernel;
mod ledger;
pub(crate) mod message;
mod neighbour;
mod pace;
mod reports;
mod routes;
mod supervise;
mod task;
mod wan;
mod wanted;

pub use devices::{TunnelDevice, TunnelDevices};
pub use health::Health;
pub(crate) use kernel::{Kernel, KernelError, enlarge};
pub use routes::{DISCARD_PROTOCOL, PROTOCOL as ROUTE_PROTOCOL};
pub(super) use wan::address as wan_address;
pub use wanted::{Target, Wanted};

use health::Shared;
use sipsec_net::{IpPrefix, MacAddr, MediaPort};
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::Arc;
use task::Setup;
use tokio::sync::mpsc;
use tokio::task::JoinSet;

/// Changes that may wait for the loop; the task waits for room.
const QUEUE: usize = 1024;

/// What to watch.
#[derive(Clone, Debug)]
pub struct Watch {
    pub wan: String,
    /// The families that SIP uses: IPv4, IPv6.
    pub families: (bool, bool),
    /// The kernel's end of the sVTI; none in router mode.
    pub svti: Option<String>,
    pub routed: Routed,
    /// The file that has [`Routed::elsewhere`] for the next run, which may have another profile: what it no longer has is removed then.
    pub ledger: Option<PathBuf>,
}

/// What a profile says of routes, and of the devices that they lead to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Routed {
    /// Prefixes with a route into a tunnel: each has a discarding route as well.
    pub tunnels: BTreeSet<IpPrefix>,
    /// Prefixes with a route of ours that is not into a tunnel.
    pub elsewhere: BTreeSet<IpPrefix>,
    /// Host mode: the devices of tunnels that have their own.
    pub devices: TunnelDevices,
}

impl Routed {
    pub(crate) fn has(&self, prefix: &IpPrefix) -> bool {
        self.tunnels.contains(prefix) || self.elsewhere.contains(prefix)
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// The WAN's address of one family, or why it has none.
    Wan {
        v6: bool,
        address: Result<IpAddr, String>,
    },
    NextHop {
        media_port: MediaPort,
        mac: MacAddr,
    },
    /// State of each kernel route, for the show.
    Routes(BTreeMap<String, String>),
    /// Router mode: the kernel has these routes now, which it was given since the last time.
    Installed(Vec<IpPrefix>),
    /// The kernel has refused a route that is not into the sVTI.
    Refused {
        prefix: IpPrefix,
        wanted: Wanted,
        reason: String,
    },
}

/// Takes the routes that the kernel should have.
#[derive(Clone, Debug)]
pub struct RouteSink(Arc<Shared>);

impl RouteSink {
    /// From now on this is the only route of ours with this prefix; none withdraws it.
    pub fn route(&self, prefix: IpPrefix, wanted: Option<Wanted>) {
        self.0.route(prefix, wanted);
    }

    #[cfg(test)]
    pub(crate) fn alone() -> Self {
        Self(Arc::new(Shared::new()))
    }

    /// What was last said of this prefix.
    #[cfg(test)]
    pub(crate) fn wanted(&self, prefix: IpPrefix) -> Option<Option<Wanted>> {
        self.0.all_routes().remove(&prefix)
    }
}

/// The loop's end. The task ends with it.
#[derive(Debug)]
pub struct Netlink {
    shared: Arc<Shared>,
    changes: mpsc::Receiver<Change>,
    _supervisor: JoinSet<()>,
}

impl Netlink {
    /// Must be called within a tokio runtime.
    #[must_use]
    pub fn start(watch: Watch) -> Self {
        let shared = Arc::new(Shared::new());
        let (sender, changes) = mpsc::channel(QUEUE);
        let setup = Setup { watch, shared: shared.clone(), changes: sender };
        let mut supervisor = JoinSet::new();
        supervisor.spawn(supervise::supervise(shared.clone(), move || task::run(setup.clone())));
        Self { shared, changes, _supervisor: supervisor }
    }

    /// Asks for the next hop towards a peer, now and whenever it changes, until [`Self::forget`].
    pub fn resolve(&self, media_port: MediaPort, remote: IpAddr) {
        self.shared.want(media_port, Some(remote));
    }

    pub fn forget(&self, media_port: MediaPort) {
        self.shared.want(media_port, None);
    }

    /// Another profile is in force.
    pub fn set_routed(&self, routed: Routed) {
        self.shared.set_routed(routed);
    }

    /// The IPv6 prefixes inside which the WAN's address must be, or why there is none now.
    pub fn set_inside(&self, inside: Option<Result<Vec<IpPrefix>, String>>) {
        self.shared.set_inside(inside);
    }

    /// Where route policy puts its routes.
    #[must_use]
    pub fn routes(&self) -> RouteSink {
        RouteSink(self.shared.clone())
    }

    /// Whether the task works, and what it has done.
    #[must_use]
    pub fn health(&self) -> Health {
        self.shared.health()
    }

    /// The next change. May be cancelled at any time.
    pub async fn next(&mut self) -> Change {
        match self.changes.recv().await {
            Some(change) => change,
            // The supervisor ends after this receiver only; [`Self::health`] would tell.
            None => std::future::pending().await,
        }
    }
}

/// Installs the discarding routes of a gateway, before anything else of it runs. Returns the prefixes that have none, each with
/// the reason.
///
/// # Errors
/// If the kernel cannot be asked.
pub async fn discard_at_boot(watch: &Watch) -> io::Result<Vec<(String, String)>> {
    let Some(device) = &watch.svti else { return Ok(Vec::new()) };
    let kernel = Kernel::open(Arc::new(Shared::new()))?;
    let refused = routes::discards(&kernel, device, &watch.routed.tunnels).await.map_err(io::Error::other)?;
    Ok(refused.into_iter().map(|(prefix, reason)| (prefix.to_string(), reason)).collect())
}
