//! What the loop and the netlink task share: which next hops are wanted, and whether the task works.

use super::Routed;
use super::kernel::KernelError;
use super::wan::Inside;
use super::wanted::{Wanted as WantedRoute, WantedRoutes};
use sipsec_net::{IpPrefix, MediaPort};
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::Notify;
use tokio::time::Instant;

/// The task shows progress at least this often: longer than the limit of one request.
pub const STUCK_AFTER: Duration = Duration::from_secs(15);
/// Without a complete poll of the kernel for this long the gateway no longer knows its addresses, routes and next hops.
const STALE_AFTER: Duration = Duration::from_secs(60);

#[derive(Debug)]
pub struct Shared {
    wanted: Mutex<Wanted>,
    routes: Mutex<WantedRoutes>,
    /// Set when another profile than that of the start is in force.
    routed: Mutex<Option<Routed>>,
    routed_changed: AtomicBool,
    inside: Mutex<(Inside, bool)>,
    state: Mutex<State>,
    pub changed: Notify,
    started: Instant,
    /// When the task last made progress, in milliseconds since `started`.
    beat_ms: AtomicU64,
    counters: Counters,
}

/// The next hops that live calls need. A map and not a queue: nothing can be lost for want of room, and a task that is
/// restarted finds all of it. At most one entry for each media port.
#[derive(Debug, Default)]
struct Wanted {
    remotes: BTreeMap<MediaPort, IpAddr>,
    /// Those that the task has not taken over.
    changed: BTreeSet<MediaPort>,
}

#[derive(Debug, Default)]
struct State {
    /// Why the task is not running.
    failure: Option<String>,
    /// The last complete poll.
    polled: Option<Instant>,
}

#[derive(Debug, Default)]
struct Counters {
    requests: AtomicU64,
    timeouts: AtomicU64,
    reports: AtomicU64,
    overruns: AtomicU64,
    restarts: AtomicU64,
}

/// For `show control` and the watchdog.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Health {
    /// Why the kernel's state is not known; `None` if it is.
    pub failure: Option<String>,
    /// Requests, and those without an answer in time.
    pub requests: u64,
    pub timeouts: u64,
    /// Change reports that concerned this gateway.
    pub reports: u64,
    /// Times that reports were lost; each is followed by a complete poll.
    pub overruns: u64,
    /// Times that the task was started again.
    pub restarts: u64,
}

impl Health {
    #[must_use]
    pub const fn is_working(&self) -> bool {
        self.failure.is_none()
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // No critical section here can panic half-way.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Shared {
    pub fn new() -> Self {
        Self {
            wanted: Mutex::default(),
            routes: Mutex::default(),
            routed: Mutex::default(),
            routed_changed: AtomicBool::new(false),
            inside: Mutex::default(),
            state: Mutex::default(),
            changed: Notify::new(),
            started: Instant::now(),
            beat_ms: AtomicU64::new(0),
            counters: Counters::default(),
        }
    }

    /// Another profile has other prefixes. Of the others route policy has said that they have no route, or says it soon.
    pub fn set_routed(&self, routed: Routed) {
        lock(&self.routes).forget_absent(|prefix| routed.has(prefix));
        *lock(&self.routed) = Some(routed);
        self.routed_changed.store(true, Relaxed);
        self.changed.notify_one();
    }

    /// Those that were set, also for a task that starts anew.
    pub fn routed(&self) -> Option<Routed> {
        lock(&self.routed).clone()
    }

    /// Those that were set since the last call.
    pub fn take_routed(&self) -> Option<Routed> {
        self.routed_changed.swap(false, Relaxed).then(|| self.routed()).flatten()
    }

    pub fn set_inside(&self, inside: Inside) {
        let mut known = lock(&self.inside);
        if known.0 == inside {
            return;
        }
        *known = (inside, true);
        drop(known);
        self.changed.notify_one();
    }

    /// Where the WAN's IPv6 address must be.
    pub fn inside(&self) -> Inside {
        lock(&self.inside).0.clone()
    }

    /// Whether that has changed since the last call.
    pub fn take_inside_changed(&self) -> bool {
        std::mem::take(&mut lock(&self.inside).1)
    }

    pub fn want(&self, media_port: MediaPort, remote: Option<IpAddr>) {
        let mut wanted = lock(&self.wanted);
        match remote {
            Some(remote) => wanted.remotes.insert(media_port, remote),
            None => wanted.remotes.remove(&media_port),
        };
        wanted.changed.insert(media_port);
        drop(wanted);
        self.changed.notify_one();
    }

    /// What has changed since the last call; `None` for a port that is no longer wanted.
    pub fn take_changes(&self) -> Vec<(MediaPort, Option<IpAddr>)> {
        let mut wanted = lock(&self.wanted);
        let changed = std::mem::take(&mut wanted.changed);
        changed.into_iter().map(|port| (port, wanted.remotes.get(&port).copied())).collect()
    }

    pub fn route(&self, prefix: IpPrefix, wanted: Option<WantedRoute>) {
        lock(&self.routes).set(prefix, wanted);
        self.changed.notify_one();
    }

    /// Routes that have changed since the last call.
    pub fn take_routes(&self) -> Vec<(IpPrefix, Option<WantedRoute>)> {
        lock(&self.routes).take_changes()
    }

    pub fn all_routes(&self) -> BTreeMap<IpPrefix, Option<WantedRoute>> {
        lock(&self.routes).all()
    }

    /// A task starts with nothing: everything is a change to it.
    pub fn start_over(&self) {
        let mut wanted = lock(&self.wanted);
        wanted.changed = wanted.remotes.keys().copied().collect();
        drop(wanted);
        self.beat();
        lock(&self.state).failure = None;
    }

    pub fn beat(&self) {
        let ms = u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.beat_ms.store(ms, Relaxed);
    }

    fn silent_for(&self) -> Duration {
        self.started.elapsed().saturating_sub(Duration::from_millis(self.beat_ms.load(Relaxed)))
    }

    pub fn is_stuck(&self) -> bool {
        self.silent_for() > STUCK_AFTER
    }

    pub fn polled(&self) {
        lock(&self.state).polled = Some(Instant::now());
    }

    pub fn failed(&self, reason: &str) {
        self.counters.restarts.fetch_add(1, Relaxed);
        lock(&self.state).failure = Some(reason.to_owned());
    }

    pub fn answered<T>(&self, result: &Result<T, KernelError>) {
        self.counters.requests.fetch_add(1, Relaxed);
        match result {
            Err(KernelError::Timeout) => {
                self.counters.timeouts.fetch_add(1, Relaxed);
            }
            _ => self.beat(),
        }
    }

    pub fn reported(&self, reports: u64) {
        self.counters.reports.fetch_add(reports, Relaxed);
    }

    pub fn overrun(&self) {
        self.counters.overruns.fetch_add(1, Relaxed);
    }

    pub fn health(&self) -> Health {
        let state = lock(&self.state);
        let age = state.polled.map_or_else(|| self.started.elapsed(), |at| at.elapsed());
        let failure = if let Some(reason) = &state.failure {
            Some(format!("restarting: {reason}"))
        } else if self.is_stuck() {
            Some(format!("no progress for {} s", self.silent_for().as_secs()))
        } else if age > STALE_AFTER {
            Some(format!("no complete poll for {} s", age.as_secs()))
        } else {
            None
        };
        Health {
            failure,
            requests: self.counters.requests.load(Relaxed),
            timeouts: self.counters.timeouts.load(Relaxed),
            reports: self.counters.reports.load(Relaxed),
            overruns: self.counters.overruns.load(Relaxed),
            restarts: self.counters.restarts.load(Relaxed),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn any_number_of_wishes_is_kept_and_survives_a_restart() {
        let shared = Shared::new();
        let remote: IpAddr = "192.0.2.7".parse().expect("address");
        for port in 1..=u16::MAX {
            shared.want(MediaPort(port), Some(remote));
        }
        assert_eq!(shared.take_changes().len(), 65_535);
        assert!(shared.take_changes().is_empty());
        shared.want(MediaPort(7), None);
        assert_eq!(shared.take_changes(), [(MediaPort(7), None)]);
        shared.start_over();
        assert_eq!(shared.take_changes().len(), 65_534);
    }

    #[tokio::test(start_paused = true)]
    async fn silence_and_old_knowledge_are_unhealthy() {
        let shared = Shared::new();
        assert!(shared.health().is_working());
        tokio::time::advance(STUCK_AFTER + Duration::from_secs(1)).await;
        assert!(shared.is_stuck() && shared.health().failure.expect("stuck").contains("no progress"));
        shared.beat();
        shared.polled();
        assert!(shared.health().is_working());
        tokio::time::advance(STALE_AFTER + Duration::from_secs(1)).await;
        shared.beat();
        assert!(shared.health().failure.expect("stale").contains("no complete poll"));
        shared.polled();
        shared.failed("a reason");
        assert_eq!(shared.health().failure.as_deref(), Some("restarting: a reason"));
        shared.start_over();
        assert!(shared.health().is_working() && shared.health().restarts == 1);
    }
}
