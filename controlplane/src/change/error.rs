//! Why a change is refused.

use super::history::HistoryError;
use super::{APPLY_MAX, CONFIRM_MAX, CONFIRM_MIN, view};
use crate::config::LoadError;
use crate::setup::SetupError;
use sipsec_session::ReconfigureError;

/// Why nothing was changed.
#[derive(Debug, thiserror::Error)]
pub enum ChangeError {
    #[error("{0}")]
    Profile(#[from] LoadError),
    #[error("{0}")]
    Setup(#[from] SetupError),
    #[error("{error}; {}", error.cure())]
    Refused { error: ReconfigureError },
    #[error("{0}")]
    History(#[from] HistoryError),
    #[error("{}", needs_restart(.0))]
    Restart(Vec<sipsec_profile::change::Change>),
    #[error("route policy: {0}")]
    Policy(#[from] sipsec_track::ConfigError),
    #[error("{}", refused_by_ios(.0))]
    Locked(Vec<String>),
    #[error("{} waits to be confirmed: `sipsec confirm` keeps it, `sipsec rollback` takes it back", waiting(*.0))]
    Unconfirmed(Option<u64>),
    #[error("no change waits to be confirmed")]
    NothingToConfirm,
    #[error("the history has no profile {0}: `sipsec show configuration history` lists them")]
    NoSuch(u64),
    #[error("the history has no profile before this one")]
    NoneBefore,
    #[error("--confirm takes {} to {} seconds", CONFIRM_MIN.as_secs(), CONFIRM_MAX.as_secs())]
    Confirm,
    #[error("the control plane is shutting down")]
    Ended,
    #[error(
        "the dataplane did not answer within {} s; `sipsec show configuration history` says what is in force",
        APPLY_MAX.as_secs()
    )]
    Timeout,
}

fn waiting(number: Option<u64>) -> String {
    let unrecorded = || "a change that is not in the history".to_owned();
    number.map_or_else(unrecorded, |number| format!("change {number}"))
}

fn needs_restart(changes: &[sipsec_profile::change::Change]) -> String {
    let mut out = String::from("these keys need a restart, so nothing was changed:\n");
    for change in changes {
        let value = |v: &Option<String>| v.clone().unwrap_or_else(|| "absent".to_owned());
        let (path, process) = (&change.path, view::restarts(&change.path));
        out +=
            &format!("  {path}: {} now, {} wanted: {process}\n", value(&change.before), value(&change.after));
    }
    out + "`--partial` applies the rest; or write the profile over the start file and restart what is named"
}

fn refused_by_ios(reasons: &[String]) -> String {
    let mut out = String::from("the profile in force has `compat: cisco`, so nothing was changed:\n");
    for reason in reasons {
        out += &format!("  {reason}\n");
    }
    out + "or apply a profile without `compat: cisco` first"
}
