//! The packet pipeline: what happens to a packet between the two ports. Pure: time, frames and everything that leaves are
//! arguments, so two pipelines can be run back to back in a test. Packets are moved, never copied; the packet path does
//! not allocate. [`graph`] is the page to read first.
#![forbid(unsafe_code)]

mod apply;
mod arp;
mod config;
mod ecn;
mod engine;
mod esp_decap;
mod esp_encap;
mod fib;
pub mod graph;
mod icmp_error;
mod ike;
mod mss;
mod nat;
mod outer;
mod packet;
mod parse;
mod pmtu;
mod replay;
mod sad;
mod selector;
mod seq;
mod shaper;
mod sink;
mod snapshot;
mod stage;
mod table;
#[cfg(feature = "testing")]
pub mod testing;
mod trigger;
mod tunnel;
mod waiting;

pub use config::{Config, InsideMode, InsidePort, Limits, OutsidePort};
pub use engine::{AeadEngine, AeadError, AeadKey, ICV_LEN, NONCE_LEN};
pub use esp_encap::Sealed;
pub use graph::Pipeline;
pub use ike::IkeFrame;
pub use nat::Translation;
pub use packet::{HEADROOM_MIN, Packet, TAILROOM_MIN};
pub use replay::{CandidateSeq, ReplayError, ReplayWindow};
pub use seq::{SealSeq, SequenceCounter};
pub use sink::{OutsideFrame, PuntRefused, Sink};
pub use snapshot::Live;
pub use stage::{CycleCounter, Stage, StageStats};
