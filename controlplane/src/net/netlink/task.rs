//! The task that keeps the loop's knowledge of the kernel current.
//!
//! ```text
//!   reports ──> Dirty ──┐
//!   wanted next hops ───┼──> poll what is dirty and due ──> Change, to the loop
//!   timers ─────────────┘         └─ requests, on the other socket
//! ```
//! The last poll is true; reports only say when to poll.

use super::health::Shared;
use super::kernel::{Kernel, KernelError, table_of_vrf};
use super::ledger::Ledger;
use super::neighbour::{self, Neighbours, Stale};
use super::pace::Pace;
use super::reports::{Devices, Dirty, Reports};
use super::routes::{Installed, Ours, States};
use super::wanted::{Target, Wanted};
use super::{Change, Watch, devices, message, routes, wan};
use sipsec_net::{IpPrefix, MacAddr, MediaPort};
use sipsec_track::config::Table;
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until};

/// Everything is polled this often, in case a report was lost; neighbour entries in use are verified then.
const REFRESH: Duration = Duration::from_secs(30);
/// The task shows that it is alive at least this often.
const BEAT: Duration = Duration::from_secs(1);

#[derive(Debug, thiserror::Error)]
pub enum TaskError {
    #[error("{0}")]
    Kernel(#[from] KernelError),
    #[error("netlink: {0}")]
    Io(#[from] std::io::Error),
    /// The loop has ended.
    #[error("the event loop has ended")]
    Unheard,
}

impl<T> From<mpsc::error::SendError<T>> for TaskError {
    fn from(_: mpsc::error::SendError<T>) -> Self {
        Self::Unheard
    }
}

/// A task is made anew when it fails; this is what it starts with.
#[derive(Clone, Debug)]
pub struct Setup {
    pub watch: Watch,
    pub shared: Arc<Shared>,
    pub changes: mpsc::Sender<Change>,
}

/// Runs until a socket fails or the loop has ended.
pub async fn run(mut setup: Setup) -> Result<(), TaskError> {
    if let Some(routed) = setup.shared.routed() {
        setup.watch.routed = routed;
    }
    let mut ledger = Ledger::read(setup.watch.ledger.as_deref());
    ledger.add(&setup.watch.routed.elsewhere).await;
    let kernel = Kernel::open(setup.shared.clone())?;
    let reports = Reports::open()?;
    setup.shared.start_over();
    let devices = Devices {
        wan: (setup.watch.wan.clone(), None),
        svti: setup.watch.svti.as_ref().map(|name| (name.clone(), None)),
        ..Devices::default()
    };
    let task = Task {
        setup,
        kernel,
        reports,
        devices,
        neighbours: Neighbours::default(),
        dirty: Dirty::ALL,
        verify: false,
        new_targets: false,
        addresses: [None, None],
        own: devices::Found::default(),
        installed: Installed::default(),
        ledger,
        first: true,
        routes: BTreeMap::new(),
        pace: Paces {
            wan: Pace::new(Duration::from_millis(5)),
            routes: Pace::new(Duration::from_millis(5)),
            hops: Pace::new(Duration::from_millis(200)),
            entries: Pace::new(Duration::from_millis(5)),
        },
    };
    task.run().await
}

struct Paces {
    wan: Pace,
    routes: Pace,
    hops: Pace,
    entries: Pace,
}

struct Task {
    setup: Setup,
    kernel: Kernel,
    reports: Reports,
    devices: Devices,
    neighbours: Neighbours,
    dirty: Dirty,
    verify: bool,
    new_targets: bool,
    /// What the loop knows.
    addresses: [Option<Result<IpAddr, String>>; 2],
    /// The devices of single tunnels.
    own: devices::Found,
    installed: Installed,
    ledger: Ledger,
    /// No complete poll of routes yet: what an earlier task has told is not known.
    first: bool,
    routes: States,
    pace: Paces,
}

impl Task {
    async fn run(mut self) -> Result<(), TaskError> {
        let mut refresh_at = Instant::now() + REFRESH;
        let mut retry_at = None;
        loop {
            self.setup.shared.beat();
            for (media_port, remote) in self.setup.shared.take_changes() {
                self.neighbours.set(media_port, remote);
                self.new_targets |= remote.is_some();
            }
            if let Some(routed) = self.setup.shared.take_routed() {
                self.ledger.add(&routed.elsewhere).await;
                self.setup.watch.routed = routed;
                self.dirty.routes = true;
            }
            self.dirty.wan |= self.setup.shared.take_inside_changed();
            self.change_routes().await?;
            self.poll().await?;
            let now = Instant::now();
            retry_at = if self.neighbours.unresolved() {
                Some(retry_at.filter(|at| *at > now).unwrap_or(now + neighbour::RETRY))
            } else {
                None
            };
            let wake = [self.next_poll(now), retry_at, Some(refresh_at), Some(now + BEAT)];
            let wake = wake.into_iter().flatten().min().unwrap_or(now + BEAT);
            tokio::select! {
                read = self.reports.next(&self.devices) => {
                    let read = read?;
                    self.dirty |= read.dirty;
                    self.setup.shared.reported(read.reports);
                    if read.overrun {
                        tracing::debug!("netlink reports were lost: everything is polled");
                        self.setup.shared.overrun();
                    }
                }
                () = self.setup.shared.changed.notified() => {}
                () = sleep_until(wake) => {
                    let now = Instant::now();
                    if now >= refresh_at {
                        refresh_at = now + REFRESH;
                        self.verify = true;
                        self.dirty = Dirty::ALL;
                    }
                    self.dirty.entries |= retry_at.is_some_and(|at| now >= at);
                }
            }
            if self.setup.changes.is_closed() {
                return Err(TaskError::Unheard);
            }
        }
    }

    /// When something dirty may be polled that may not yet.
    fn next_poll(&self, now: Instant) -> Option<Instant> {
        let Paces { wan, routes, hops, entries } = &self.pace;
        let waits = [
            (self.dirty.wan, wan),
            (self.dirty.routes, routes),
            (self.dirty.hops, hops),
            (self.dirty.entries || self.new_targets, entries),
        ];
        waits.iter().filter(|(dirty, _)| *dirty).map(|(_, pace)| pace.wait(now).unwrap_or(now)).min()
    }

    /// Polls what is dirty and due.
    async fn poll(&mut self) -> Result<(), TaskError> {
        let began = Instant::now();
        if self.dirty.wan && self.pace.wan.wait(began).is_none() {
            self.dirty.wan = false;
            self.poll_wan().await?;
            self.pace.wan.polled(began, Instant::now());
        }
        let began = Instant::now();
        if self.dirty.routes && self.pace.routes.wait(began).is_none() {
            self.dirty.routes = false;
            self.poll_routes().await?;
            self.pace.routes.polled(began, Instant::now());
        }
        let began = Instant::now();
        let stale = Stale {
            hops: self.dirty.hops && self.pace.hops.wait(began).is_none(),
            entries: self.dirty.entries && self.pace.entries.wait(began).is_none(),
            verify: self.verify,
        };
        if stale.hops || stale.entries || (self.new_targets && self.pace.entries.wait(began).is_none()) {
            self.dirty.hops &= !stale.hops;
            self.dirty.entries &= !stale.entries;
            (self.new_targets, self.verify) = (false, false);
            let found = self.poll_next_hops(stale).await?;
            let ended = Instant::now();
            // What is new is looked up once, so however long it took it is no load that goes on.
            self.pace.entries.polled(if stale.entries { began } else { ended }, ended);
            if stale.hops {
                self.pace.hops.polled(began, ended);
            }
            // The loop's time is not the kernel's.
            for (media_port, mac) in found {
                self.setup.changes.send(Change::NextHop { media_port, mac }).await?;
            }
        }
        if !self.dirty.any() {
            self.setup.shared.polled();
        }
        Ok(())
    }

    async fn poll_wan(&mut self) -> Result<(), TaskError> {
        let Watch { wan: name, families, .. } = &self.setup.watch;
        let link = self.kernel.link(name).await?;
        let index = link.as_ref().map(|l| l.header.index);
        if self.devices.wan.1 != index {
            self.devices.wan.1 = index;
            self.reports.narrow(index);
            // What was reported under the former filter is not complete.
            (self.dirty.hops, self.dirty.entries) = (true, true);
        }
        let inside = self.setup.shared.inside();
        for (i, used) in [families.0, families.1].into_iter().enumerate() {
            if !used {
                continue;
            }
            let v6 = i == 1;
            let known = &mut self.addresses[i];
            let current = known.as_ref().and_then(|a| a.as_ref().ok()).copied();
            let inside = if v6 { &inside } else { &None };
            let address = wan::address(&self.kernel, name, link.as_ref(), v6, current, inside).await?;
            if known.as_ref() != Some(&address) {
                *known = Some(address.clone());
                self.setup.changes.send(Change::Wan { v6, address }).await?;
            }
        }
        Ok(())
    }

    /// Everything that is ours in the kernel becomes what is wanted.
    async fn poll_routes(&mut self) -> Result<(), TaskError> {
        let watch = self.setup.watch.clone();
        let mut undiscarded = Vec::new();
        let mut svti = None;
        if let Some(name) = &watch.svti {
            undiscarded = routes::discards(&self.kernel, name, &watch.routed.tunnels).await?;
            svti = self.kernel.link(name).await?.map(|l| l.header.index);
            if let Some((_, known)) = &mut self.devices.svti {
                *known = svti;
            }
        }
        self.own = match svti {
            Some(svti) => devices::ensure(&self.kernel, svti, &watch.routed.devices).await?,
            None => devices::Found::default(),
        };
        self.devices.own = watch.routed.devices.values().map(|own| own.device.clone()).collect();
        self.devices.lenders.clone_from(&self.own.lenders);
        let into_tunnels = self.own.all().chain(svti).collect();
        let ours = Ours { tunnels: &into_tunnels, elsewhere: self.ledger.prefixes() };
        self.installed = Installed::read(&self.kernel, ours).await?;
        let changed: BTreeSet<IpPrefix> =
            self.setup.shared.take_routes().into_iter().map(|(prefix, _)| prefix).collect();
        let wanted = self.setup.shared.all_routes();
        // What an earlier profile has left.
        let stale: BTreeSet<IpPrefix> = self.installed.prefixes().filter(|p| !watch.routed.has(p)).collect();
        for prefix in stale {
            tracing::info!(%prefix, "a route of an earlier profile is removed");
            self.installed.apply(&self.kernel, prefix, None, (None, message::MAIN)).await?.ok();
        }
        self.ledger.only(&watch.routed.elsewhere);
        let mut states = States::new();
        // What route policy has not yet withdrawn of an earlier profile is no longer this gateway's.
        for (prefix, wanted) in wanted.into_iter().filter(|(prefix, _)| watch.routed.has(prefix)) {
            states.extend(self.set(prefix, wanted.as_ref()).await?.map(|state| (prefix, state)));
        }
        self.own.remove_left(&self.kernel).await?;
        let all = std::mem::take(&mut self.first);
        self.tell_installed(&states, |prefix| all || changed.contains(prefix)).await?;
        for (prefix, error) in undiscarded {
            let state = states.entry(prefix).or_insert_with(|| Ok(String::new()));
            let (Ok(text) | Err(text)) = &*state;
            *state = Err(format!("{text}; no discarding route: {error}"));
        }
        self.tell_routes(states).await
    }

    /// Executes what route policy has just decided, without a look at the rest.
    async fn change_routes(&mut self) -> Result<(), TaskError> {
        if self.dirty.routes {
            // The complete poll that is due includes them; before it, what the kernel has is not known.
            return Ok(());
        }
        let changes = self.setup.shared.take_routes();
        if changes.is_empty() {
            return Ok(());
        }
        let mut states = self.routes.clone();
        let mut changed = BTreeSet::new();
        for (prefix, wanted) in changes {
            changed.insert(prefix);
            states.remove(&prefix);
            states.extend(self.set(prefix, wanted.as_ref()).await?.map(|state| (prefix, state)));
        }
        self.tell_installed(&states, |prefix| changed.contains(prefix)).await?;
        self.tell_routes(states).await
    }

    /// The state of a route that is wanted.
    async fn set(
        &mut self,
        prefix: IpPrefix,
        wanted: Option<&Wanted>,
    ) -> Result<Option<Result<String, String>>, TaskError> {
        match wanted {
            Some(wanted) => self.set_route(prefix, wanted).await.map(Some),
            None => {
                self.installed.apply(&self.kernel, prefix, None, (None, message::MAIN)).await?.ok();
                Ok(None)
            }
        }
    }

    async fn set_route(
        &mut self,
        prefix: IpPrefix,
        wanted: &Wanted,
    ) -> Result<Result<String, String>, TaskError> {
        let own = match &wanted.target {
            Target::Tunnel(tunnel) => {
                self.setup.watch.routed.devices.get(tunnel).map(|own| own.device.clone())
            }
            Target::Device(_) | Target::Via { .. } | Target::Discard => None,
        };
        let device = match &wanted.target {
            Target::Tunnel(_) => own.clone().or_else(|| self.setup.watch.svti.clone()),
            Target::Device(device) | Target::Via { device, .. } => Some(device.clone()),
            Target::Discard => None,
        };
        let into_tunnel = matches!(wanted.target, Target::Tunnel(_));
        let svti = self.devices.svti.as_ref();
        let index = match (&wanted.target, &device) {
            (Target::Tunnel(tunnel), _) if own.is_some() => match self.own.devices.get(tunnel) {
                Some(Ok(index)) => Some(*index),
                Some(Err(why)) => return Ok(Err(why.clone())),
                // Without the sVTI there is none.
                None => None,
            },
            (_, Some(name)) if svti.is_some_and(|(svti, _)| svti == name) => {
                svti.and_then(|(_, index)| *index)
            }
            (_, Some(name)) => self.kernel.link(name).await?.map(|l| l.header.index),
            (_, None) => None,
        };
        let name = device.as_deref().unwrap_or_default();
        if device.is_some() && index.is_none() {
            let why = match (into_tunnel, svti) {
                (true, Some((svti, _))) if svti == name => ", which the dataplane makes".to_owned(),
                (true, Some((svti, _))) => format!(", which stands on {svti}, which the dataplane makes"),
                _ => String::new(),
            };
            return Ok(Err(format!("waits for the device {name}{why}")));
        }
        let table = match &wanted.table {
            Table::Main => message::MAIN,
            Table::Number(number) => *number,
            Table::Vrf(vrf) => match self.kernel.link(vrf).await?.as_ref().map(table_of_vrf) {
                Some(Some(table)) => table,
                Some(None) => return Ok(Err(format!("{vrf} is no VRF device"))),
                None => return Ok(Err(format!("waits for the VRF {vrf}"))),
            },
        };
        let state = self.installed.apply(&self.kernel, prefix, Some(wanted), (index, table)).await?;
        match state {
            Ok(_) if into_tunnel => Ok(Ok(format!("dev {name} proto {}", routes::PROTOCOL))),
            Err(reason) if into_tunnel && reason.contains("Network is down") => {
                Ok(Err(format!("{name} is down: `ip link set {name} up`")))
            }
            Err(reason) if !into_tunnel => {
                let refused = Change::Refused { prefix, wanted: wanted.clone(), reason: reason.clone() };
                self.setup.changes.send(refused).await?;
                Ok(Err(reason))
            }
            state => Ok(state),
        }
    }

    /// In router mode the dataplane leaves a prefix to the kernel once the kernel has its route.
    async fn tell_installed(
        &self,
        states: &States,
        news: impl Fn(&IpPrefix) -> bool,
    ) -> Result<(), TaskError> {
        if self.setup.watch.svti.is_some() {
            return Ok(());
        }
        let there = states.iter().filter(|(prefix, state)| state.is_ok() && news(prefix));
        let installed: Vec<IpPrefix> = there.map(|(prefix, _)| *prefix).collect();
        if !installed.is_empty() {
            self.setup.changes.send(Change::Installed(installed)).await?;
        }
        Ok(())
    }

    async fn tell_routes(&mut self, states: States) -> Result<(), TaskError> {
        if states != self.routes {
            self.routes.clone_from(&states);
            let text = |(Ok(text) | Err(text)): Result<String, String>| text;
            let shown = states.into_iter().map(|(prefix, state)| (prefix.to_string(), text(state))).collect();
            self.setup.changes.send(Change::Routes(shown)).await?;
        }
        Ok(())
    }

    async fn poll_next_hops(&mut self, stale: Stale) -> Result<Vec<(MediaPort, MacAddr)>, TaskError> {
        match self.devices.wan.1 {
            Some(index) if self.neighbours.any() => {
                Ok(self.neighbours.poll(&self.kernel, index, stale).await?)
            }
            _ => Ok(Vec::new()),
        }
    }
}
