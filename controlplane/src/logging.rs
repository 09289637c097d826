//! The log: to standard error, with a filter that can be changed while running. Secrets have types that do not print.

use std::os::fd::AsFd;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::reload;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Layer, Registry, fmt};

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Format {
    Text,
    Json,
}

/// Whether a stream is the one that systemd names, as `device:inode` (systemd.exec(5)): children inherit the variable even
/// where their output goes elsewhere.
fn leads_to(named: &str, stream: impl AsFd) -> bool {
    let Ok(stat) = rustix::fs::fstat(stream) else { return false };
    named == format!("{}:{}", stat.st_dev, stat.st_ino)
}

/// For messages about what is no filter.
pub const EXAMPLES: &str = "write info, debug, or info,sipsec::sip=debug,sipsec::ike=debug";

/// # Errors
/// A sentence about what is wrong with it.
pub fn filter(text: &str) -> Result<EnvFilter, String> {
    if text.trim().is_empty() {
        return Err("it is empty".to_owned());
    }
    EnvFilter::try_new(text).map_err(|e| e.to_string())
}

/// Changes the filter.
#[derive(Clone, Debug)]
pub struct LogControl {
    handle: Option<reload::Handle<EnvFilter, Registry>>,
}

impl LogControl {
    /// Starts the log of this process.
    ///
    /// # Errors
    /// If `filter` is none.
    pub fn start(filter: &str, format: Format) -> Result<Self, String> {
        let (filter, handle) = reload::Layer::new(self::filter(filter)?);
        // The journal of systemd has the time already.
        let journald =
            std::env::var("JOURNAL_STREAM").is_ok_and(|stream| leads_to(&stream, std::io::stderr()));
        let layer = fmt::layer().with_writer(std::io::stderr).with_ansi(false);
        let layer = match (format, journald) {
            (Format::Json, _) => layer.json().flatten_event(true).boxed(),
            (Format::Text, true) => layer.without_time().boxed(),
            (Format::Text, false) => layer.boxed(),
        };
        // A second start in one process keeps the first log: only tests do that.
        let _ = tracing_subscriber::registry().with(filter).with(layer).try_init();
        Ok(Self { handle: Some(handle) })
    }

    /// Without a log: for embedding in tests.
    #[must_use]
    pub const fn none() -> Self {
        Self { handle: None }
    }

    /// # Errors
    /// A sentence about what is wrong with `filter`; the former one stays.
    pub fn set(&self, filter: &str) -> Result<(), String> {
        let parsed = self::filter(filter)?;
        match &self.handle {
            Some(handle) => handle.reload(parsed).map_err(|e| e.to_string()),
            None => Ok(()),
        }
    }

    #[must_use]
    pub fn filter(&self) -> String {
        let shown = self.handle.as_ref().and_then(|h| h.with_current(ToString::to_string).ok());
        shown.unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_journal_is_known_by_its_stream_and_not_by_the_variable_alone() {
        let (ours, theirs) = std::io::pipe().expect("a pipe");
        let stat = rustix::fs::fstat(&ours).expect("its inode");
        assert!(leads_to(&format!("{}:{}", stat.st_dev, stat.st_ino), &ours));
        assert!(!leads_to(&format!("{}:{}", stat.st_dev, stat.st_ino + 1), &theirs));
        assert!(!leads_to("", &ours));
    }
}
