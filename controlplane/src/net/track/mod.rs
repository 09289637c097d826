//! Route policy: the core of `sipsec-track` with its probes, and what the kernel reports.
//!
//! ```text
//!   probes ──┐                    ┌─> netlink: routes
//!   links ───┼─> sipsec_track ────┼─> loop: events, questions
//!   routes ──┘   (a task)         ├─> API: views
//!                                 └─> flows that stay in tunnels
//! ```

mod bfd;
mod dns;
mod http;
mod icmp;
mod parts;
mod probes;
mod socket;
mod sys;
mod task;
mod tcp;
mod udp;
mod view;
mod watch;

use super::drain;
use super::netlink::{RouteSink, Wanted};
use crate::api::Reply;
use sipsec_net::{Instant, IpPrefix};
use sipsec_track::config::NextHop;
use sipsec_track::{Config, ConfigError, Event};
use std::collections::{BTreeMap, BTreeSet};
use tokio::sync::watch::{Sender as Latest, channel as latest};
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinSet;

/// Changes and commands that may wait.
const QUEUE: usize = 1024;

/// Which gateway's routes, and where its tunnels are.
#[derive(Clone, Debug)]
pub struct Setup {
    pub policy: Policy,
    /// The kernel's end of the sVTI; none in router mode.
    pub svti: Option<String>,
    /// The table of nftables for flows that stay in tunnels.
    pub drain_table: String,
}

/// What a profile says of routes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Policy {
    pub config: Config,
    /// The devices of tunnels that have their own.
    pub devices: BTreeMap<String, String>,
    /// Router mode: the prefixes that tunnels take, and the LAN device.
    pub taken: (BTreeSet<IpPrefix>, String),
    /// What is remembered of flows in tunnels, if they stay there when traffic returns.
    pub drain: Option<drain::Rules>,
}

#[derive(Debug, thiserror::Error)]
pub enum StartError {
    #[error("route policy: {0}")]
    Config(#[from] ConfigError),
    #[error("route policy: {0}")]
    Io(#[from] std::io::Error),
}

/// What the loop is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    Event(Event),
    /// When did this tunnel last carry a packet?
    QueryTraffic(String),
    /// What was decided of a prefix that the dataplane has to do with; in router mode of every one, whose kernel route is
    /// then the loop's to change.
    Route {
        prefix: IpPrefix,
        next: Option<NextHop>,
        wanted: Option<Wanted>,
    },
    /// Router mode: the kernel has a better route of another program than the one that leads into a tunnel, or for a part of it.
    Foreign(IpPrefix),
    /// Router mode: a route of another program inside a tunnel's prefix has gone.
    ForeignGone(IpPrefix),
}

/// A list that is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum List {
    Operations,
    Objects,
    Routes,
}

#[derive(Debug)]
enum Command {
    Traffic { tunnel: String, last: Option<Instant> },
    Refused { prefix: IpPrefix, wanted: Wanted, reason: String },
    CallEnded { tunnel: String },
    Stop,
    Show { list: List, kernel: BTreeMap<String, String>, reply: oneshot::Sender<Reply> },
}

/// The loop's end. The task ends with it.
#[derive(Debug)]
pub struct Track {
    commands: mpsc::Sender<Command>,
    /// The latest one counts: none can be lost.
    policy: Latest<Policy>,
    changes: mpsc::Receiver<Change>,
    _task: JoinSet<()>,
}

impl Track {
    /// Must be called within a tokio runtime.
    ///
    /// # Errors
    /// If the configuration is wrong, or the kernel gives no socket.
    pub fn start(setup: Setup, routes: RouteSink) -> Result<Self, StartError> {
        let (commands, commanded) = mpsc::channel(QUEUE);
        let (sender, changes) = mpsc::channel(QUEUE);
        let (policy, configured) = latest(setup.policy.clone());
        let ends = task::Ends { commands: commanded, policy: configured, changes: sender };
        let task = task::Task::new(setup, routes, ends)?;
        let mut tasks = JoinSet::new();
        tasks.spawn(task.run());
        Ok(Self { commands, policy, changes, _task: tasks })
    }

    /// The next change. May be cancelled at any time.
    pub async fn next(&mut self) -> Change {
        match self.changes.recv().await {
            Some(change) => change,
            None => std::future::pending().await,
        }
    }

    /// Replaces the configuration. Objects that are in both keep their state.
    ///
    /// # Errors
    /// If it is wrong. Nothing changes then.
    pub fn reconfigure(&self, policy: Policy) -> Result<(), ConfigError> {
        policy.config.check()?;
        self.policy.send_if_modified(|current| {
            let is_new = *current != policy;
            *current = policy;
            is_new
        });
        Ok(())
    }

    /// A change that is there already.
    pub fn try_next(&mut self) -> Option<Change> {
        self.changes.try_recv().ok()
    }

    /// The answer to [`Change::QueryTraffic`].
    pub fn traffic(&self, tunnel: String, last: Option<Instant>) {
        self.command(Command::Traffic { tunnel, last });
    }

    /// The call of this tunnel has ended.
    pub fn call_ended(&self, tunnel: String) {
        self.command(Command::CallEnded { tunnel });
    }

    /// The gateway hangs up all calls: from now on no flow stays in a tunnel.
    pub fn stop(&self) {
        self.command(Command::Stop);
    }

    /// The kernel has refused a route.
    pub fn refused(&self, prefix: IpPrefix, wanted: Wanted, reason: String) {
        self.command(Command::Refused { prefix, wanted, reason });
    }

    /// Answers a question of the API. `kernel` is the state of each prefix in the kernel.
    pub fn show(&self, list: List, kernel: BTreeMap<String, String>, reply: oneshot::Sender<Reply>) {
        self.command(Command::Show { list, kernel, reply });
    }

    fn command(&self, command: Command) {
        if self.commands.try_send(command).is_err() {
            tracing::warn!("route policy does not keep up; a message to it is left out");
        }
    }
}
