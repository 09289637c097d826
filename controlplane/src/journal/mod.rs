//! The call journal: what must be known about a call after a crash, on disk before the call can cost anything; and the brakes
//! of tunnels, which outlive a crash.
//!
//! A thread of its own writes, because a disk may take its time. Everything that waits is written in one transaction, and
//! acknowledged when the disk has it.

mod file;
mod store;

pub use file::JournalError;

use file::{failed, lost, make_private, mark, open};
use std::collections::{BTreeSet, VecDeque};
use std::path::Path;
use std::sync::mpsc as blocking;
use std::time::Duration;
use store::{Store, read, serve};
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until};

/// Writes that may wait for the disk; the loop does not go on without them, so this is a few per call.
const QUEUE: usize = 65_536;
/// A disk that takes longer does not answer: what waits counts as not written, and the call that waits for it fails with that
/// reason. An answered call waits less (`sipsec_sip`: 4 s), because it is charged.
const ANSWER_MAX: Duration = Duration::from_secs(10);

/// A write, answered by [`Journal::next`] if it is of a call.
#[derive(Debug)]
enum Write {
    /// The record of a call, or that it is over.
    Call {
        key: u64,
        record: Option<Vec<u8>>,
    },
    Brake {
        key: String,
        record: Option<Vec<u8>>,
    },
}

/// What became of the write of a call.
#[derive(Debug)]
pub struct Written {
    pub key: u64,
    /// Whether a record was written (not removed).
    pub record: bool,
    pub result: Outcome,
}

/// Whether the disk has it.
type Outcome = Result<(), String>;

/// A record found at the start.
pub type Record = (u64, Vec<u8>);

/// What the journal held at the start.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Found {
    pub calls: Vec<Record>,
    /// The brakes of tunnels, by their numbers.
    pub brakes: Vec<(String, Vec<u8>)>,
    /// What an operator must know of calls that this process cannot know.
    pub warnings: Vec<String>,
}

#[derive(Debug)]
struct Outstanding {
    since: Instant,
    /// The key of a call, and whether with a record; `None` for a brake.
    call: Option<(u64, bool)>,
}

#[derive(Debug)]
pub struct Journal {
    writes: blocking::SyncSender<Write>,
    results: mpsc::UnboundedReceiver<Outcome>,
    /// What the thread has to answer, in order.
    outstanding: VecDeque<Outstanding>,
    /// So many of them, the first ones, were given up.
    given_up: usize,
    /// What became of the last one.
    last: Outcome,
    /// What it was never given.
    refused: VecDeque<Written>,
    pub counters: JournalCounters,
}

#[derive(Clone, Copy, Debug, Default)]
pub struct JournalCounters {
    pub written: u64,
    pub failed: u64,
    pub overflowed: u64,
    /// Writes that the disk did not answer in time. They may be done later.
    pub late: u64,
}

impl Journal {
    /// Opens the journal and returns what it holds.
    ///
    /// # Errors
    /// If it cannot be opened; a gateway without a journal must not place calls.
    pub fn open(path: &Path) -> Result<(Self, Found), JournalError> {
        let lost = lost(path);
        if let Some(dir) = path.parent() {
            make_private(dir).map_err(|error| JournalError::Directory { path: dir.to_owned(), error })?;
        }
        let database = open(path)?;
        let mut found = read(&database).map_err(|e| failed(path, e))?;
        found.warnings.extend(lost);
        mark(path);
        let (writes, requests) = blocking::sync_channel(QUEUE);
        let (acks, results) = mpsc::unbounded_channel();
        let store = Store { path: path.to_owned(), database: Some(database), removals: BTreeSet::new() };
        std::thread::Builder::new()
            .name("journal".into())
            .spawn(move || serve(store, &requests, &acks))
            .map_err(JournalError::Thread)?;
        Ok((Self::of(writes, results), found))
    }

    fn of(writes: blocking::SyncSender<Write>, results: mpsc::UnboundedReceiver<Outcome>) -> Self {
        let (outstanding, refused) = (VecDeque::new(), VecDeque::new());
        let (given_up, last, counters) = (0, Ok(()), JournalCounters::default());
        Self { writes, results, outstanding, given_up, last, refused, counters }
    }

    /// The record of a call, or with `None` that the call is over. Answered by [`Self::next`] in every case.
    pub fn write_call(&mut self, key: u64, record: Option<Vec<u8>>) {
        let is_record = record.is_some();
        match self.writes.try_send(Write::Call { key, record }) {
            Ok(()) => self.wait_for(Some((key, is_record))),
            Err(error) => {
                self.counters.overflowed += 1;
                self.refused.push_back(Written { key, record: is_record, result: Err(error.to_string()) });
            }
        }
    }

    /// The brake of a tunnel, or with `None` that it has none. Not answered: a failure is only counted.
    pub fn write_brake(&mut self, key: String, record: Option<Vec<u8>>) {
        match self.writes.try_send(Write::Brake { key, record }) {
            Ok(()) => self.wait_for(None),
            Err(_) => self.counters.overflowed += 1,
        }
    }

    /// Waits until the disk has everything.
    pub async fn flush(&mut self) {
        while let Some(_written) = self.answer().await {}
    }

    /// The next answer. May be cancelled at any time.
    pub async fn next(&mut self) -> Written {
        match self.answer().await {
            Some(written) => written,
            None => std::future::pending().await, // nothing is under way
        }
    }

    fn wait_for(&mut self, call: Option<(u64, bool)>) {
        self.outstanding.push_back(Outstanding { since: Instant::now(), call });
    }

    /// Whether the disk takes what is written, or why not.
    ///
    /// # Errors
    /// If it does not answer, or the last write failed.
    pub fn health(&self) -> Outcome {
        match self.outstanding.front() {
            Some(first) if first.since.elapsed() >= ANSWER_MAX => {
                Err(format!("the disk has not answered for {} s", first.since.elapsed().as_secs()))
            }
            _ => self.last.clone(),
        }
    }

    /// `None` once nothing is under way.
    async fn answer(&mut self) -> Option<Written> {
        loop {
            if let Some(refused) = self.refused.pop_front() {
                return Some(refused);
            }
            if self.outstanding.is_empty() {
                return None;
            }
            let next = self.outstanding.get(self.given_up);
            let late = next.map(|waits| waits.since + ANSWER_MAX);
            let result = tokio::select! {
                biased;
                result = self.results.recv() => result,
                () = sleep_until(late.unwrap_or_else(Instant::now)), if late.is_some() => {
                    self.given_up += 1;
                    self.counters.late += 1;
                    let error = format!("the disk has not answered for {} s", ANSWER_MAX.as_secs());
                    match self.outstanding.get(self.given_up - 1).and_then(|waits| waits.call) {
                        Some((key, record)) => return Some(Written { key, record, result: Err(error) }),
                        None => continue,
                    }
                }
            };
            let result = result.unwrap_or_else(|| Err("the journal's thread has ended".to_owned()));
            match &result {
                Ok(()) => self.counters.written += 1,
                Err(_) => self.counters.failed += 1,
            }
            self.last.clone_from(&result);
            let done = self.outstanding.pop_front();
            if self.given_up > 0 {
                self.given_up -= 1;
            } else if let Some((key, record)) = done.and_then(|waits| waits.call) {
                return Some(Written { key, record, result });
            }
        }
    }
}

#[cfg(test)]
mod tests;
