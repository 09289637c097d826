//! The event loop: everything that happens becomes an input of the session core, everything it wants is done, and there is
//! nothing else. The whole flow is [`Runtime::turn`].

mod inputs;
mod outputs;

use crate::adjacency::Adjacencies;
use crate::api::Request;
use crate::carriers::{CarrierEvent, CarrierIos};
use crate::change::run::Changes;
use crate::clock;
use crate::compute::Compute;
use crate::config::Profile;
use crate::dataplane::DataplaneLink;
use crate::events::Events;
use crate::journal::Journal;
use crate::logging::LogControl;
use crate::net::dhcp::{self, Dhcp, Learnt};
use crate::net::netlink::Netlink;
use crate::net::primary::Primary;
use crate::net::track::Track;
use crate::net::wan::Wan;
use crate::rates::RateMeter;
use crate::signals::{SignalAction, Signals};
use crate::supervise::Supervisor;
use crate::views::NatPages;
use futures_util::FutureExt;
use sipsec_net::Instant;
use sipsec_session::{Admin, Core, Input};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::time::sleep_until;

/// Messages taken from the dataplane before the others have their turn.
const TAKE_MAX: usize = 256;
/// Answers of one kind taken before anything new.
const ANSWERS_MAX: usize = 256;
/// How often this process shows that it is alive.
const BEAT: Duration = Duration::from_millis(500);
/// The core ends a shutdown by itself; this much later it is ended without it.
const SHUTDOWN_MORE: Duration = Duration::from_secs(2);
/// How long the disk may take for what the last calls left.
const FLUSH_MAX: Duration = Duration::from_secs(2);
/// How long the kernel may take for the release of a DHCP lease.
const RELEASE_MAX: Duration = Duration::from_secs(2);
/// Both clocks are read one after the other and in whole seconds, so they may differ by this without being set.
const CLOCK_STEP_S: u64 = 2;

/// Everything the loop owns.
#[derive(Debug)]
pub struct Runtime {
    pub(crate) profile: Arc<Profile>,
    /// Where it was read.
    pub(crate) profile_path: Option<PathBuf>,
    pub(crate) core: Core,
    pub(crate) carriers: CarrierIos,
    pub(crate) link: DataplaneLink,
    pub(crate) netlink: Netlink,
    /// The kernel's translation to primary lines.
    pub(crate) primary: Primary,
    /// Operations, track objects and routes.
    pub(crate) track: Track,
    pub(crate) adjacencies: Adjacencies,
    pub(crate) dhcp: Option<Dhcp>,
    /// What DHCP has said.
    pub(crate) learnt: Learnt,
    /// What was last told of the line's number.
    pub(crate) other_number: Option<String>,
    pub(crate) journal: Journal,
    pub(crate) compute: Compute<Input>,
    pub(crate) requests: mpsc::Receiver<Request>,
    pub(crate) changes: Changes,
    pub(crate) events: Events,
    pub(crate) log: LogControl,
    pub(crate) rates: RateMeter,
    /// Questions about translations that the dataplane has not answered.
    pub(crate) nat: NatPages,
    pub(crate) signals: Signals,
    pub(crate) supervisor: Supervisor,
    pub(crate) wan: Wan,
    pub(crate) routes: BTreeMap<String, String>,
    pub(crate) started: Instant,
    /// In seconds since 1970, as far as the core knows.
    pub(crate) booted_at_s: u64,
    pub(crate) state: Running,
    /// Whether the log says that the kernel's routing is not followed.
    pub(crate) netlink_failed: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Running {
    Yes,
    /// Every call is being hung up, until then at most.
    Stopping(Instant),
    /// The core has nothing left to say.
    Done,
}

impl Runtime {
    /// Where a reload reads the profile again.
    pub(crate) fn set_profile_path(&mut self, path: &Path) {
        self.profile_path = Some(std::path::absolute(path).unwrap_or_else(|_| path.to_owned()));
    }

    /// Runs until the gateway is shut down.
    pub async fn run(mut self) {
        let mut beat = tokio::time::interval(BEAT);
        beat.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Skip);
        self.supervisor.ready();
        while self.state != Running::Done {
            self.turn(&mut beat).await;
        }
        if tokio::time::timeout(FLUSH_MAX, self.journal.flush()).await.is_err() {
            tracing::warn!(
                "the journal was not written in time; the next start hangs up calls that have ended"
            );
        }
        if let Some(dhcp) = &mut self.dhcp
            && tokio::time::timeout(RELEASE_MAX, dhcp.release()).await.is_err()
        {
            tracing::warn!("the DHCP lease was not released in time; it expires");
        }
        // A socket that stays behind is replaced at the next start.
        let _ = std::fs::remove_file(self.profile.control_socket());
        tracing::info!("ended");
    }

    /// One turn: do what the core wants, wait for one thing to happen, tell the core. While more jobs wait than should, no
    /// message is taken from the rings and the socket, because it could cause further ones. Timers run all the same: they
    /// repeat BYEs and end calls that cost money.
    async fn turn(&mut self, beat: &mut tokio::time::Interval) {
        self.drain();
        self.answers();
        let room = self.compute.has_room();
        let deadline = self.core.poll_timeout();
        let timeout = async {
            match deadline {
                Some(at) => sleep_until(clock::wake_at(at)).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            action = self.signals.next() => match action {
                SignalAction::Stop(signal) => self.stop(signal),
                SignalAction::Reload => self.reload(),
            },
            event = self.link.next(), if room => self.dataplane(event),
            (carrier, event) = self.carriers.next(room) => match event {
                CarrierEvent::Sip(event) => self.sip(carrier, event),
                CarrierEvent::Found(found) => {
                    if let Err(reason) = &found {
                        tracing::warn!(reason, "the carrier's servers are not known");
                    }
                    if let Some(io) = self.carriers.get_mut(carrier) {
                        io.found = found;
                    }
                    self.servers(carrier);
                }
            },
            input = self.compute.next() => self.input(input),
            written = self.journal.next() => self.written(written),
            change = self.netlink.next() => self.kernel(change),
            change = self.track.next() => self.policies(change),
            change = dhcp_change(&mut self.dhcp) => self.dhcp(change),
            Some(request) = self.requests.recv() => self.answer(request),
            Some(request) = self.changes.requests.recv() => self.change_request(request),
            () = timeout => self.core.handle_timeout(clock::now()),
            _ = beat.tick() => self.beat(),
        }
    }

    /// Takes the answers for which calls wait: next hops, results of jobs, records on disk. All of them come before the next
    /// message of the carrier, which may begin a call: with many calls at once, new ones wait in the socket, and not with a
    /// timer that runs out while their answers are there.
    fn answers(&mut self) {
        for _ in 0..ANSWERS_MAX {
            let Some(change) = self.netlink.next().now_or_never() else { break };
            self.kernel(change);
            self.drain();
        }
        for _ in 0..ANSWERS_MAX {
            let Some(written) = self.journal.next().now_or_never() else { break };
            self.written(written);
            self.drain();
        }
        for _ in 0..ANSWERS_MAX {
            let Some(input) = self.compute.next().now_or_never() else { break };
            self.input(input);
            self.drain();
        }
    }

    fn stop(&mut self, signal: &'static str) {
        match self.state {
            Running::Yes => {
                let now = clock::now();
                let limit = self.core.shutdown_max(now) + SHUTDOWN_MORE;
                let calls = self.core.live_calls();
                tracing::info!(
                    signal,
                    calls,
                    limit_s = limit.as_secs(),
                    "hanging up every call; a second signal ends at once"
                );
                self.supervisor.stopping(limit);
                self.track.stop();
                self.state = Running::Stopping(now + limit);
                self.input(Input::Admin(Admin::Shutdown));
            }
            Running::Stopping(_) | Running::Done => {
                tracing::warn!(signal, "ended with calls left; the next start hangs them up");
                self.state = Running::Done;
            }
        }
    }

    fn beat(&mut self) {
        let now = clock::now();
        self.check_clock(now);
        self.link.beat(now);
        self.watch_netlink();
        self.check_confirmation(now);
        self.number_learnt();
        if self.rates.is_due(now) {
            self.rates.sample(now, &self.link.activities());
        }
        if matches!(self.state, Running::Stopping(until) if now >= until) {
            self.stop("timeout");
        }
    }

    /// Without the kernel's routing every call would be paid for and fail: systemd's watchdog is told of life only while it
    /// is followed. The netlink task is restarted by its own supervisor long before that.
    fn watch_netlink(&mut self) {
        let failure = self.netlink.health().failure;
        if failure.is_none() {
            self.supervisor.alive();
        }
        if failure.is_some() != self.netlink_failed {
            self.netlink_failed = failure.is_some();
            match failure {
                Some(reason) => tracing::error!(reason, "the kernel's routing is not followed"),
                None => tracing::info!("the kernel's routing is followed again"),
            }
        }
    }

    /// The dates of certificates depend on the wall clock, which may be set at any time.
    fn check_clock(&mut self, now: Instant) {
        let unix_time_s = clock::unix_time_s();
        let booted_at_s = unix_time_s.saturating_sub(now.as_nanos() / 1_000_000_000);
        if booted_at_s.abs_diff(self.booted_at_s) > CLOCK_STEP_S {
            self.booted_at_s = booted_at_s;
            self.input(Input::WallClock { unix_time_s });
        }
    }

    pub(crate) fn input(&mut self, input: Input) {
        self.core.handle_input(clock::now(), input);
    }
}

/// The next change of DHCP, if DHCP is used.
async fn dhcp_change(dhcp: &mut Option<Dhcp>) -> dhcp::Change {
    match dhcp {
        Some(dhcp) => dhcp.next().await,
        None => std::future::pending().await,
    }
}
