//! The words of a log filter. Only known levels and targets are accepted, and nothing that the operator must see can be turned
//! off: information, warnings and errors are always logged.

use std::collections::BTreeMap;
use std::fmt;

/// For messages about what is no filter.
pub const EXAMPLES: &str = "write info, debug, or info,sipsec::sip=debug,sipsec::ike=debug";

/// What can be named. A target covers those below it (`sipsec` covers `sipsec::sip`).
pub const TARGETS: &[&str] = &[
    "sipsec",
    "sipsec::event",
    "sipsec::ike",
    "sipsec::sip",
    "sipsec_controlplane",
    "sipsec_controlplane::api",
    "sipsec_controlplane::dataplane",
    "sipsec_controlplane::journal",
    "sipsec_controlplane::net",
    "sipsec_ike",
    "sipsec_session",
    "sipsec_sip",
];

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    Info,
    Debug,
    Trace,
}

impl Level {
    const NAMES: [&str; 6] = ["off", "error", "warn", "info", "debug", "trace"];

    /// Less than information is information.
    fn parse(text: &str) -> Result<Self, String> {
        match text.to_ascii_lowercase().as_str() {
            "error" | "warn" | "warning" | "info" => Ok(Self::Info),
            "debug" => Ok(Self::Debug),
            "trace" => Ok(Self::Trace),
            "off" => {
                Err("the log cannot be turned off: information and warnings are always logged".to_owned())
            }
            _ => Err(format!("there is no level {text:?}{}", meant(text, &Self::NAMES[1..]))),
        }
    }

    const fn name(self) -> &'static str {
        match self {
            Self::Info => "info",
            Self::Debug => "debug",
            Self::Trace => "trace",
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Filter {
    base: Level,
    targets: BTreeMap<&'static str, Level>,
}

impl Filter {
    pub const INFO: Self = Self { base: Level::Info, targets: BTreeMap::new() };

    /// # Errors
    /// A sentence about the first word that is not known.
    pub fn parse(text: &str) -> Result<Self, String> {
        if text.trim().is_empty() {
            return Err("it is empty".to_owned());
        }
        let mut out = Self::INFO;
        for word in text.split(',').map(str::trim) {
            let (target, level) = match word.split_once('=') {
                Some((target, level)) => (Some(target.trim()), Level::parse(level.trim())?),
                // A target alone means all of it, as in other programs.
                None if TARGETS.contains(&word) => (Some(word), Level::Trace),
                None => (None, Level::parse(word).map_err(|error| with_target(word, error))?),
            };
            match target {
                None => out.base = level,
                Some(target) => {
                    let known = TARGETS.iter().find(|t| **t == target);
                    let known = known
                        .ok_or_else(|| format!("there is no target {target:?}{}", meant(target, TARGETS)))?;
                    out.targets.insert(known, level);
                }
            }
        }
        Ok(out)
    }
}

/// What may have been meant by a word that is no level.
fn with_target(word: &str, error: String) -> String {
    match nearest(word, TARGETS) {
        Some(target) if word.starts_with("sipsec") => {
            format!("there is no target {word:?}; did you mean {target}=debug?")
        }
        _ => error,
    }
}

fn meant(word: &str, known: &[&str]) -> String {
    nearest(word, known)
        .map_or_else(|| format!("; known are {}", known.join(", ")), |best| format!("; did you mean {best}?"))
}

fn nearest<'a>(word: &str, known: &[&'a str]) -> Option<&'a str> {
    let distance = |k: &str| strsim::damerau_levenshtein(&word.to_ascii_lowercase(), k);
    let best = known.iter().min_by_key(|k| distance(k))?;
    (distance(best) <= (word.chars().count() / 3).max(1)).then_some(*best)
}

impl fmt::Display for Filter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.base.name())?;
        self.targets.iter().try_for_each(|(target, level)| write!(f, ",{target}={}", level.name()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn known_words_are_taken_and_written_out() {
        for (given, shown) in [
            ("info", "info"),
            (" DEBUG ", "debug"),
            ("info,sipsec::sip=debug,sipsec::ike=debug", "info,sipsec::ike=debug,sipsec::sip=debug"),
            ("sipsec::sip=debug", "info,sipsec::sip=debug"),
            ("sipsec::sip", "info,sipsec::sip=trace"),
            ("sipsec::sip=trace,debug", "debug,sipsec::sip=trace"),
            // Nothing below information.
            ("error", "info"),
            ("warn,sipsec::event=error", "info,sipsec::event=info"),
        ] {
            assert_eq!(Filter::parse(given).map(|f| f.to_string()), Ok(shown.to_owned()), "{given}");
        }
    }

    #[test]
    fn unknown_words_are_refused_with_what_was_meant() {
        for (given, part) in [
            ("debugg", "did you mean debug?"),
            ("inof", "did you mean info?"),
            ("sipsec::sipp=debug", "did you mean sipsec::sip?"),
            ("sipsec::sip=debgu", "did you mean debug?"),
            ("sipsec::spi", "did you mean sipsec::sip=debug?"),
            ("off", "always logged"),
            ("sipsec=off", "always logged"),
            ("loud", "known are error"),
            ("info,,debug", "no level"),
            ("hyper=debug", "known are sipsec"),
            ("info,sipsec::sip[x=debug", "no target"),
            ("", "empty"),
            (" ", "empty"),
        ] {
            let error = Filter::parse(given).expect_err(given);
            assert!(error.contains(part), "{given}: {error}");
        }
    }

    proptest! {
        /// What is accepted is a filter that lets information through for every target.
        #[test]
        fn no_filter_silences_information(text in "[a-z_:=,* ]{0,40}|(info|warn|off|error|sipsec(::sip)?)(=|,|)(off|warn|debug|x)?") {
            if let Ok(filter) = Filter::parse(&text) {
                prop_assert_eq!(Filter::parse(&filter.to_string()), Ok(filter.clone()));
                let built = tracing_subscriber::EnvFilter::try_new(filter.to_string());
                let hint = built.map(|f| f.max_level_hint());
                prop_assert!(hint.is_ok_and(|h| h >= Some(tracing_subscriber::filter::LevelFilter::INFO)), "{}", filter);
            }
        }
    }
}
