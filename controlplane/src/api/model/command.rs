//! Commands and their answers.

use serde::{Deserialize, Serialize};

/// Body of `POST /v1/clear`: exactly one of the three. A body that names nothing hangs up nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Clear {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub remote_number: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub interface: Option<String>,
    /// `true` hangs up every call.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub all: bool,
}

/// Body of `POST /v1/call`: the tunnel to call for.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Dial {
    pub interface: String,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cleared {
    /// Calls that are hung up.
    pub sessions: u32,
    /// Interfaces without a call whose pause after failures was ended: the next packet calls.
    #[serde(default)]
    pub back_off_reset: Vec<String>,
}

/// Body of `PUT /v1/log-filter`, and the answer to `GET`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LogFilter {
    pub filter: String,
    /// For so many seconds; then the filter of the start is in force again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub for_s: Option<u64>,
}
