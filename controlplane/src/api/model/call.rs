//! Events, and calls that are over.

use serde::{Deserialize, Serialize};

/// One line of the event stream.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct EventLine {
    /// Counts the events of this run.
    #[serde(default)]
    pub sequence: u64,
    /// Microseconds since the epoch.
    pub time_us: u64,
    /// Stable name.
    pub event: String,
    /// Whether it asks for attention.
    #[serde(default)]
    pub warning: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub interface: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub remote_number: Option<String>,
    /// SIP's, of the latest call with this number.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub call_id: Option<String>,
    pub text: String,
}

/// A call that has ended. Times are microseconds since the epoch, in whole seconds; 0 if the clock was not known.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Call {
    /// Empty if it is of no tunnel of this profile.
    pub interface: String,
    pub local_number: String,
    pub remote_number: String,
    pub call_id: Option<String>,
    /// Whether we placed it.
    pub caller: bool,
    /// An earlier run of the control plane left it, and this one hung it up.
    pub recovered: bool,
    pub began_us: u64,
    pub answered_after_ms: Option<u64>,
    pub up_after_ms: Option<u64>,
    pub ended_us: u64,
    /// Since it was answered; none if it never was, or if only an earlier run knew when.
    pub lasted_ms: Option<u64>,
    /// Whether the peer or the carrier confirmed the end. If not, it may have lasted longer.
    pub confirmed: bool,
    /// `us` or `peer`.
    pub ended_by: Option<String>,
    /// Stable name of the failure.
    pub code: Option<String>,
    pub reason: String,
    pub kbps: Option<u32>,
    pub packets_in: u64,
    pub packets_out: u64,
    pub bytes_in: u64,
    pub bytes_out: u64,
    /// None if it was never answered, or if the profile has no tariff.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cost: Option<Cost>,
}

/// What a call cost by the tariff of the profile, without tax.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cost {
    /// Units that were begun, and the length of one.
    pub units: u64,
    pub unit_s: u64,
    pub yen_tenths: u64,
}

impl Cost {
    /// `4.5`
    #[must_use]
    pub fn yen(&self) -> String {
        format!("{}.{}", self.yen_tenths / 10, self.yen_tenths % 10)
    }
}

/// The SIP messages of a call.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CallMessages {
    pub call_id: String,
    pub messages: Vec<CallMessage>,
    /// Later messages that were not kept.
    pub left_out: u64,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CallMessage {
    pub time_us: u64,
    /// By us.
    pub sent: bool,
    pub first_line: String,
    /// The message, what authenticates masked.
    pub text: String,
}
