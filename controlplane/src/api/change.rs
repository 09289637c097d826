//! What the API says of changes of the profile.

use serde::{Deserialize, Serialize};

/// `POST /v1/profile/diff`
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NewProfile {
    /// The profile as YAML, complete: without includes, and with absolute paths.
    pub profile: String,
    /// The name that messages show.
    pub file: String,
}

/// `POST /v1/profile/apply`
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Apply {
    pub profile: String,
    pub file: String,
    pub author: String,
    /// Without what needs a restart, instead of refusing it.
    #[serde(default)]
    pub partial: bool,
    /// The profile before comes back after so many seconds, unless this one is confirmed.
    #[serde(default)]
    pub confirm_s: Option<u64>,
}

/// `POST /v1/profile/rollback`
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rollback {
    /// The number in the history; without it, the profile before.
    #[serde(default)]
    pub number: Option<u64>,
    pub author: String,
}

/// `GET /v1/profile`: what is in force.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunningProfile {
    /// As YAML, complete; secrets are asterisks.
    pub profile: String,
}

/// `POST /v1/profile/confirm`, `POST /v1/profile/saved`
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Nothing {}

/// What a new profile would change, or has changed.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Difference {
    pub changes: Vec<KeyChange>,
    pub tunnels_added: u64,
    pub tunnels_removed: u64,
    pub tunnels_changed: u64,
    /// Calls that are up and are hung up by it.
    pub calls: Vec<LostCall>,
    /// Why `apply` refuses it, if the profile in force has `compat: cisco`.
    #[serde(default)]
    pub locked: Vec<String>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeyChange {
    /// `tunnels[Tunnel1].idle_s`
    pub path: String,
    /// None if it was not there. Secrets are hidden.
    pub before: Option<String>,
    pub after: Option<String>,
    /// `now`, `next call`, `hangs up`, `restart`.
    pub takes: String,
    /// What has to be restarted: `the control plane` or `both processes`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub restarts: Option<String>,
}

/// A call that does not survive the change.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LostCall {
    pub interface: String,
    pub remote_number: String,
    pub reasons: Vec<String>,
    pub kbps: u32,
    /// Since the answer; none if it is not answered and so not charged.
    pub charged_s: Option<u64>,
    /// What is left of the unit that is paid for; none if the profile has no tariff.
    pub paid_left_s: Option<u64>,
    /// What the next call costs at least, in yen; 0 if the profile has no tariff.
    pub again_yen: u64,
}

/// The answer to `apply` and `rollback`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Applied {
    /// In the history; none if nothing differed or it could not be written.
    pub number: Option<u64>,
    pub difference: Difference,
    /// What waits for a restart, and was left out.
    pub left_out: Vec<KeyChange>,
    pub hung_up: u64,
    pub confirm_within_s: Option<u64>,
    /// What an operator must know besides.
    pub warnings: Vec<String>,
    /// The file that a restart reads, and whether it has this profile.
    pub start_file: Option<String>,
    pub is_start_file: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Confirmed {
    pub number: u64,
}

/// `GET /v1/profile/history`, the latest first.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Version {
    pub number: u64,
    pub unix_s: u64,
    pub author: String,
    pub summary: String,
    pub file: Option<String>,
    /// It is in force.
    pub running: bool,
    /// The file at the start has it.
    pub start: bool,
    /// It goes in so many seconds unless it is confirmed.
    pub confirm_within_s: Option<u64>,
}
