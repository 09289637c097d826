//! What the API says, word for word: the types of its JSON. Changing a field's meaning or removing one is a new schema.

mod call;
mod carrier;
mod command;
mod crypto;
mod nat;
mod process;
mod qos;
mod session;
mod topology;

pub use call::{Call, CallMessage, CallMessages, Cost, EventLine};
pub use carrier::{DhcpFamily, DhcpView, Registration};
pub use command::{Clear, Cleared, Dial, LogFilter};
pub use crypto::{CryptoSession, Flow, IkeSa, PathMtu, SaHalf};
pub use nat::{NatClear, NatStatistics, PrimaryStatistics, Translation, TranslationKind};
pub use process::{Control, Dataplane, Port, Stage, WorkerCounts};
pub use qos::{PolicePart, PolicyClass, PolicyMap};
pub use session::{Failure, Mtu, Phase, Rates, Role, Session, Summary, Traffic, Unconfirmed};

pub use topology::{
    CoalescingView, DevicePlace, IrqPlace, MachineView, NicRings, QueuePlace, Topology, UmemView, Verdict,
    WorkerPlace,
};

use serde::{Deserialize, Serialize};

/// Version of everything below.
pub const SCHEMA: &str = "sipsec/1";

/// Every answer, and what every command prints with `--json`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Answer<T> {
    pub schema: String,
    /// None where no gateway was asked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gateway: Option<String>,
    pub data: T,
}

impl<T> Answer<T> {
    pub fn new(gateway: Option<&str>, data: T) -> Self {
        Self { schema: SCHEMA.to_owned(), gateway: gateway.map(str::to_owned), data }
    }
}

/// A value, or the reason why there is none.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Known<T> {
    pub value: Option<T>,
    pub reason: Option<String>,
}

impl<T> Default for Known<T> {
    fn default() -> Self {
        Self { value: None, reason: None }
    }
}

impl<T> From<Result<T, String>> for Known<T> {
    fn from(result: Result<T, String>) -> Self {
        match result {
            Ok(value) => Self { value: Some(value), reason: None },
            Err(reason) => Self { value: None, reason: Some(reason) },
        }
    }
}

/// Every refusal.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refusal {
    pub error: String,
}
