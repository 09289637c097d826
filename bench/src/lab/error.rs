//! Why the lab cannot go on, and what to do about it.

use std::path::PathBuf;

#[derive(Debug, thiserror::Error)]
pub enum LabError {
    #[error("{}", .0.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"))]
    Missing(Vec<Missing>),
    #[error("{what}: {source}")]
    Io { what: String, source: std::io::Error },
    #[error("`{command}` failed ({status}): {stderr}")]
    Command { command: String, status: std::process::ExitStatus, stderr: String },
    #[error(
        "the namespace {0} exists already: another lab runs, or one was killed; `sipsec-lab clean` removes what a \
         killed lab has left behind"
    )]
    NamespaceExists(String),
    #[error("{what} did not happen within {seconds} s")]
    Timeout { what: String, seconds: u64 },
    #[error("{process} has ended ({status}); its log ends with:\n{log}")]
    Died { process: String, status: std::process::ExitStatus, log: String },
    #[error("{path} does not hold `{text}`, which the lab replaces", path = .path.display())]
    Profile { path: PathBuf, text: String },
    #[error("{what}\n{details}")]
    Failed { what: String, details: String },
    #[error("interrupted")]
    Interrupted,
}

impl LabError {
    pub fn io(what: impl Into<String>) -> impl FnOnce(std::io::Error) -> Self {
        let what = what.into();
        move |source| Self::Io { what, source }
    }

    pub fn failed(what: impl Into<String>, details: impl Into<String>) -> Self {
        Self::Failed { what: what.into(), details: details.into() }
    }
}

/// Something this machine lacks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Missing {
    pub what: String,
    pub cure: String,
}

impl std::fmt::Display for Missing {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "missing: {}\n     cure: {}", self.what, self.cure)
    }
}
