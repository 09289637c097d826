//! Flows that stay in a tunnel after traffic has returned to a primary (`failback.drain`), in host mode.
//!
//! The kernel forwards, so the kernel tells flows apart: nftables remembers those that enter a tunnel's device, and marks their
//! packets while they stay; a rule of the system routes what is marked by a table that leads into the tunnel. A task keeps all of
//! it as it is wanted: also after another program has flushed the tables, and what an earlier run has left is removed.

mod flows;
mod routes;
mod rules;

pub use rules::Rules;

use super::netfilter::{Changes, Netfilter, blocking, explain};
use super::netlink::{Kernel, KernelError};
use crate::clock;
use rules::FAMILY;
use sipsec_net::{Instant, IpPrefix};
use std::collections::BTreeMap;
use std::io;
use std::time::Duration;
use tokio::sync::watch;
use tokio::task::JoinSet;

/// A route that waits for its flows to be kept changes after this time in any case.
const IN_FORCE_MAX: Duration = Duration::from_millis(500);

/// Which gateway's flows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Setup {
    /// The kernel's end of the sVTI.
    pub svti: String,
    /// The name of the gateway's table.
    pub table: String,
    /// What is remembered; nothing where all flows move.
    pub rules: Option<Rules>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Kept {
    device: String,
    /// In nanoseconds since 1970.
    until: u64,
}

#[derive(Clone, Debug)]
struct Wanted {
    setup: Setup,
    kept: BTreeMap<IpPrefix, Kept>,
    generation: u64,
}

/// What the task has done last.
#[derive(Clone, Debug, Default)]
struct Done {
    generation: u64,
    failure: Option<String>,
}

/// The end of route policy. The task ends with it.
#[derive(Debug)]
pub struct Drains {
    wanted: watch::Sender<Wanted>,
    done: watch::Receiver<Done>,
    _task: JoinSet<()>,
}

impl Drains {
    /// Must be called within a tokio runtime.
    #[must_use]
    pub fn start(setup: Setup) -> Self {
        let (wanted, receiver) = watch::channel(Wanted { setup, kept: BTreeMap::new(), generation: 1 });
        let (sender, done) = watch::channel(Done::default());
        let mut task = JoinSet::new();
        task.spawn(async move {
            let mut state = State::default();
            state.run(receiver, sender).await;
        });
        Self { wanted, done, _task: task }
    }

    /// Other rules: of another profile, or none any more. What is not remembered under the new ones moves.
    pub fn set_rules(&self, rules: Option<Rules>) {
        self.wanted.send_if_modified(|wanted| {
            let differs = wanted.setup.rules != rules;
            if differs {
                wanted.setup.rules = rules;
                wanted.generation += 1;
            }
            differs
        });
    }

    /// Flows to these prefixes stay in their devices, each until then. Returns when the kernel does so, or why it does not.
    ///
    /// # Errors
    /// If the kernel refuses, or does not answer in time. The flows move.
    pub async fn keep(&self, list: Vec<(IpPrefix, String, Instant)>) -> Result<(), String> {
        if self.wanted.borrow().setup.rules.is_none() {
            return Err("the gateway keeps no flows now".to_owned());
        }
        let now = (clock::now(), clock::unix_time_s());
        let prefixes: Vec<IpPrefix> = list.iter().map(|(prefix, ..)| *prefix).collect();
        let mut generation = 0;
        self.wanted.send_modify(|wanted| {
            wanted.kept.extend(list.into_iter().map(|(prefix, device, until)| {
                let left = until.saturating_duration_since(now.0) + Duration::from_secs(1);
                let until = (Duration::from_secs(now.1) + left).as_nanos();
                (prefix, Kept { device, until: u64::try_from(until).unwrap_or(u64::MAX) })
            }));
            wanted.generation += 1;
            generation = wanted.generation;
        });
        let mut done = self.done.clone();
        let in_force = done.wait_for(|done| done.generation >= generation);
        let kept = match tokio::time::timeout(IN_FORCE_MAX, in_force).await {
            Ok(Ok(done)) => done.failure.clone().map_or(Ok(()), Err),
            Ok(Err(_)) => Err("the task has ended".to_owned()),
            Err(_) => Err("the kernel does not answer".to_owned()),
        };
        if kept.is_err() {
            // They must not come back into the tunnel when the kernel does it later.
            self.release(&prefixes);
        }
        kept
    }

    pub fn release(&self, prefixes: &[IpPrefix]) {
        self.wanted.send_if_modified(|wanted| {
            let before = wanted.kept.len();
            for prefix in prefixes {
                wanted.kept.remove(prefix);
            }
            let differs = wanted.kept.len() < before;
            wanted.generation += u64::from(differs);
            differs
        });
    }

    /// Why no flow can be kept now.
    #[must_use]
    pub fn failure(&self) -> Option<String> {
        self.done.borrow().failure.clone()
    }

    /// How many flows are remembered to each of the prefixes whose flows are kept.
    pub fn count(&self) -> impl Future<Output = io::Result<BTreeMap<IpPrefix, u32>>> + Send + use<> {
        let wanted = self.wanted.borrow();
        let (table, prefixes): (_, Vec<_>) =
            (wanted.setup.table.clone(), wanted.kept.keys().copied().collect());
        async move {
            match prefixes.is_empty() {
                true => Ok(BTreeMap::new()),
                false => blocking(move || flows::count(&table, &prefixes)).await,
            }
        }
    }
}

#[derive(Debug, thiserror::Error)]
enum DrainError {
    #[error("{}", explain(.0, "nf_tables"))]
    Netfilter(#[from] io::Error),
    #[error("{0}")]
    Kernel(#[from] KernelError),
}

/// What the task knows of the kernel.
#[derive(Debug, Default)]
struct State {
    kernel: Option<Kernel>,
    /// The table as it was last written: its rules, their number, and until when it steers.
    written: Option<(Rules, u32, Option<u64>)>,
    is_clean: bool,
}

impl State {
    /// Ends with the sender.
    async fn run(&mut self, mut wanted: watch::Receiver<Wanted>, done: watch::Sender<Done>) {
        loop {
            let now = wanted.borrow_and_update().clone();
            // Before the table is looked at, so that no change is missed between.
            let mut changes = Changes::new(now.setup.rules.is_some());
            let result = self.reconcile(&now).await;
            let failure = result.err().map(|error| error.to_string());
            if let Some(reason) = failure.as_ref().filter(|_| done.borrow().failure != failure) {
                tracing::error!(reason, "flows in tunnels move when traffic returns; it is tried again");
            }
            let has_failed = failure.is_some();
            done.send_replace(Done { generation: now.generation, failure });
            tokio::select! {
                changed = wanted.changed() => if changed.is_err() { return },
                () = changes.look_again(has_failed) => {}
            }
        }
    }

    /// Makes the kernel do what is wanted. A marked packet finds a route at any time.
    async fn reconcile(&mut self, wanted: &Wanted) -> Result<(), DrainError> {
        let Setup { svti, table, rules } = &wanted.setup;
        let kept = if rules.is_some() { wanted.kept.clone() } else { BTreeMap::new() };
        let number = routes::number(svti);
        let devices: BTreeMap<IpPrefix, String> =
            kept.iter().map(|(prefix, kept)| (*prefix, kept.device.clone())).collect();
        if !devices.is_empty() {
            let kernel = self.kernel()?;
            let added = routes::add(kernel, number, &devices).await;
            self.checked(added)?;
            self.is_clean = false;
        }
        match rules {
            Some(rules) => self.write(rules, kept.values().map(|kept| kept.until).max()).await?,
            None => self.unwrite(table).await?,
        }
        if !(devices.is_empty() && self.is_clean) {
            let kernel = self.kernel()?;
            let removed = routes::remove(kernel, number, &devices).await;
            self.checked(removed)?;
            self.is_clean = devices.is_empty();
        }
        Ok(())
    }

    fn kernel(&mut self) -> io::Result<&Kernel> {
        match &mut self.kernel {
            Some(kernel) => Ok(kernel),
            none => Ok(none.insert(Kernel::open_alone()?)),
        }
    }

    fn checked(&mut self, result: Result<(), KernelError>) -> Result<(), DrainError> {
        if result.as_ref().is_err_and(KernelError::is_fatal) {
            self.kernel = None;
        }
        Ok(result?)
    }

    async fn write(&mut self, rules: &Rules, until: Option<u64>) -> Result<(), DrainError> {
        let written = self.written.take();
        let rules = rules.clone();
        let written = blocking(move || {
            let mut netfilter = Netfilter::open()?;
            if let Some((before, count, steered)) = written
                && before == rules
                && netfilter.rules(FAMILY, &rules.table)? == count
            {
                if steered == until {
                    return Ok((rules, count, until));
                }
                let batch = rules.steering(until);
                netfilter.commit(&batch)?;
                let without = count - rules.steering(steered).rules;
                return Ok((rules, without + batch.rules, until));
            }
            let batch = rules.table(until);
            netfilter.commit(&batch)?;
            Ok((rules, batch.rules, until))
        });
        match written.await {
            Ok(written) => self.written = Some(written),
            Err(error) => {
                // The kernel may have a table all the same.
                self.is_clean = false;
                return Err(error.into());
            }
        }
        Ok(())
    }

    async fn unwrite(&mut self, table: &str) -> Result<(), DrainError> {
        if self.is_clean && self.written.is_none() {
            return Ok(());
        }
        let table = table.to_owned();
        blocking(move || {
            // A kernel without netfilter has nothing of ours.
            let Ok(mut netfilter) = Netfilter::open() else { return Ok(()) };
            match netfilter.has_table(FAMILY, &table)? {
                true => netfilter.commit(&Rules::removal(&table)),
                false => Ok(()),
            }
        })
        .await?;
        self.written = None;
        Ok(())
    }
}
