//! The log: to standard error, with a filter that can be changed while running. Secrets have types that do not print.

mod filter;
mod throttle;

pub use filter::{EXAMPLES, Filter};
pub use throttle::{Throttle, Verdict};

use crate::api::model::LogFilter;
use std::os::fd::AsFd;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::time::Instant;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::reload;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Layer, Registry, fmt};

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Format {
    Text,
    Json,
}

/// A filter for a time is for so long at most.
const PERIOD_MAX: Duration = Duration::from_secs(7 * 86_400);

/// Whether a stream is the one that systemd names, as `device:inode` (systemd.exec(5)): children inherit the variable even
/// where their output goes elsewhere.
fn leads_to(named: &str, stream: impl AsFd) -> bool {
    let Ok(stat) = rustix::fs::fstat(stream) else { return false };
    named == format!("{}:{}", stat.st_dev, stat.st_ino)
}

/// # Errors
/// A sentence about what is wrong with it.
pub fn filter(text: &str) -> Result<Filter, String> {
    Filter::parse(text)
}

/// Changes the filter.
#[derive(Clone, Debug)]
pub struct LogControl {
    handle: Option<reload::Handle<EnvFilter, Registry>>,
    state: Arc<Mutex<State>>,
}

#[derive(Debug)]
struct State {
    /// The profile's filter.
    base: Filter,
    current: Filter,
    /// When `base` is in force again.
    until: Option<Instant>,
    /// Counts changes, so that a later one is not reverted by an earlier one's timer.
    change: u64,
}

impl LogControl {
    /// Starts the log of this process.
    ///
    /// # Errors
    /// If `filter` is none.
    pub fn start(filter: &str, format: Format) -> Result<Self, String> {
        let base = self::filter(filter)?;
        let (layer, handle) = reload::Layer::new(built(&base)?);
        // The journal of systemd has the time already.
        let journald =
            std::env::var("JOURNAL_STREAM").is_ok_and(|stream| leads_to(&stream, std::io::stderr()));
        let lines = fmt::layer().with_writer(std::io::stderr).with_ansi(false);
        let lines = match (format, journald) {
            (Format::Json, _) => lines.json().flatten_event(true).boxed(),
            (Format::Text, true) => lines.without_time().boxed(),
            (Format::Text, false) => lines.boxed(),
        };
        // A second start in one process keeps the first log: only tests do that.
        let _ = tracing_subscriber::registry().with(layer).with(lines).try_init();
        Ok(Self { handle: Some(handle), state: State::new(base) })
    }

    /// Without a log: for embedding in tests.
    #[must_use]
    pub fn none() -> Self {
        Self { handle: None, state: State::new(Filter::INFO) }
    }

    /// Puts a filter in force, for ever or for a time. A time needs a tokio runtime.
    ///
    /// # Errors
    /// A sentence about what is wrong with `filter`; the former one stays.
    pub fn set(&self, filter: &str, period: Option<Duration>) -> Result<(), String> {
        let filter = self::filter(filter)?;
        self.apply(&filter)?;
        let mut state = self.lock();
        state.current = filter;
        state.change += 1;
        state.until = period.map(|p| Instant::now() + p.min(PERIOD_MAX));
        if let Some(until) = state.until {
            let (control, change) = (self.clone(), state.change);
            tokio::spawn(async move {
                tokio::time::sleep_until(until).await;
                control.revert(change);
            });
        }
        Ok(())
    }

    /// The profile has another filter. One that an operator has put in force for a time stays until then.
    ///
    /// # Errors
    /// As [`Self::set`].
    pub fn set_default(&self, filter: &str) -> Result<(), String> {
        let filter = self::filter(filter)?;
        if self.lock().until.is_none() {
            self.apply(&filter)?;
            let mut state = self.lock();
            state.current = filter.clone();
            state.change += 1;
        }
        self.lock().base = filter;
        Ok(())
    }

    /// The end of a period, unless the filter was changed meanwhile.
    fn revert(&self, change: u64) {
        let mut state = self.lock();
        if state.change != change {
            return;
        }
        let base = state.base.clone();
        if let Err(error) = self.apply(&base) {
            tracing::warn!(error, "the log filter cannot be reset");
            return;
        }
        state.current = base;
        state.until = None;
        let filter = state.current.to_string();
        drop(state);
        tracing::info!(filter, "log filter is that of the start again");
    }

    fn apply(&self, filter: &Filter) -> Result<(), String> {
        match &self.handle {
            Some(handle) => handle.reload(built(filter)?).map_err(|e| e.to_string()),
            None => Ok(()),
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The filter in force, and for how long.
    #[must_use]
    pub fn shown(&self) -> LogFilter {
        let state = self.lock();
        let left = |until: Instant| {
            let ms = until.saturating_duration_since(Instant::now()).as_millis();
            u64::try_from(ms.div_ceil(1000)).unwrap_or(u64::MAX)
        };
        LogFilter { filter: state.current.to_string(), for_s: state.until.map(left) }
    }
}

impl State {
    fn new(base: Filter) -> Arc<Mutex<Self>> {
        Arc::new(Mutex::new(Self { current: base.clone(), base, until: None, change: 0 }))
    }
}

fn built(filter: &Filter) -> Result<EnvFilter, String> {
    EnvFilter::try_new(filter.to_string()).map_err(|e| e.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_filter_for_a_time_is_reverted_unless_it_was_changed_again() {
        let control = LogControl::none();
        let shown = || (control.shown().filter, control.shown().for_s);
        control.set("debug", Some(Duration::from_secs(600))).expect("known");
        assert_eq!(shown(), ("debug".to_owned(), Some(600)));
        assert!(control.set("debugg", None).is_err());
        tokio::time::sleep(Duration::from_secs(599)).await;
        assert_eq!(shown(), ("debug".to_owned(), Some(1)));
        tokio::time::sleep(Duration::from_secs(2)).await;
        assert_eq!(shown(), ("info".to_owned(), None));
        control.set("debug", Some(Duration::from_secs(60))).expect("known");
        control.set("trace", None).expect("known");
        tokio::time::sleep(Duration::from_secs(120)).await;
        assert_eq!(shown(), ("trace".to_owned(), None));
    }

    #[test]
    fn the_journal_is_known_by_its_stream_and_not_by_the_variable_alone() {
        let (ours, theirs) = std::io::pipe().expect("a pipe");
        let stat = rustix::fs::fstat(&ours).expect("its inode");
        assert!(leads_to(&format!("{}:{}", stat.st_dev, stat.st_ino), &ours));
        assert!(!leads_to(&format!("{}:{}", stat.st_dev, stat.st_ino + 1), &theirs));
        assert!(!leads_to("", &ours));
    }
}
