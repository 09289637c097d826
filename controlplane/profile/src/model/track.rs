//! `track:`

use super::serial;
use super::words::words;
use serde::Serialize;
use sipsec_net::IpPrefix;
use std::time::Duration;

/// One track object: up or down, for routes and for other tracks.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct TrackEntry {
    pub id: u32,
    #[serde(flatten)]
    pub watch: Watch,
    /// A change holds this long before the track follows it.
    #[serde(rename = "delay_up_ms", serialize_with = "serial::milliseconds")]
    pub delay_up: Duration,
    #[serde(rename = "delay_down_ms", serialize_with = "serial::milliseconds")]
    pub delay_down: Duration,
    #[serde(flatten)]
    pub damping: Option<Damping>,
}

/// What decides the state of a track.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(untagged)]
pub enum Watch {
    /// An operation.
    Sla {
        sla: u32,
        of: Of,
    },
    /// The line protocol of a device: up and running.
    Device {
        device: String,
    },
    /// A route in the table of the gateway or the kernel.
    Route {
        #[serde(serialize_with = "serial::text")]
        route: IpPrefix,
    },
    And {
        and: Vec<u32>,
    },
    Or {
        or: Vec<u32>,
    },
    Not {
        not: u32,
    },
    /// Up at a sum of the weights of tracks that are up of `up`, down at `down` and below; unchanged in between.
    Weight {
        weight: Vec<Weight>,
        up: u32,
        down: u32,
    },
    /// The same with the percentage of tracks that are up.
    Percentage {
        percentage: Vec<u32>,
        up: u32,
        down: u32,
    },
}

impl Watch {
    /// The tracks that this one follows.
    #[must_use]
    pub fn members(&self) -> Vec<u32> {
        match self {
            Self::And { and: list } | Self::Or { or: list } | Self::Percentage { percentage: list, .. } => {
                list.clone()
            }
            Self::Weight { weight, .. } => weight.iter().map(|w| w.id).collect(),
            Self::Not { not } => vec![*not],
            Self::Sla { .. } | Self::Device { .. } | Self::Route { .. } => Vec::new(),
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Weight {
    pub id: u32,
    pub weight: u32,
}

words! {
    /// What of an operation a track follows.
    pub enum Of {
        Reachability = "reachability", "up while probes are answered, even above the threshold";
        State = "state", "up while probes are answered within the threshold";
    }
}

/// Exponential damping, as RFC 2439 §4.2 describes it for routes: each change to down adds 1000 to a penalty, which decays
/// by half in `half_life`. From `suppress` on the track stays down until the penalty falls below `reuse`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Damping {
    #[serde(rename = "half_life_s", serialize_with = "serial::seconds")]
    pub half_life: Duration,
    pub suppress: u32,
    pub reuse: u32,
    #[serde(rename = "max_suppress_s", serialize_with = "serial::seconds")]
    pub max_suppress: Duration,
}
