//! The packet pipeline: what happens to a packet between the two ports. Pure: time, frames and everything that leaves are
//! arguments, so two pipelines can be run back to back in a test. Packets are moved, never copied; the packet path does
//! not allocate. [`graph`] is the page to read first.
//!
//! Types exclude wrong orders at compile time. A sequence number (which is also the nonce) seals one packet:
//! ```compile_fail,E0599
//! # use sipsec_pipeline::SequenceCounter;
//! let seq = SequenceCounter::new(false).next().expect("the first");
//! let again = seq.clone();
//! ```
//! The replay window does not move without the proof of an integrity check, which only opening a packet makes:
//! ```compile_fail,E0061
//! # use sipsec_pipeline::ReplayWindow;
//! let mut window = ReplayWindow::new(64, false).expect("a valid size");
//! let candidate = window.check(1).expect("new");
//! window.commit(candidate);
//! ```
//! And a packet in clear is no frame for the outside port:
//! ```compile_fail,E0423
//! # use sipsec_pipeline::{OutsideFrame, Sealed};
//! let clear: Vec<u8> = vec![];
//! let frame = OutsideFrame::Esp(Sealed(clear));
//! ```
#![deny(unsafe_code)]

mod activity;
mod apply;
mod batch;
mod class_queues;
mod codel;
mod config;
mod ecn;
mod engine;
mod esp_decap;
mod esp_encap;
mod fib;
mod first_fragments;
mod flow_queues;
pub mod graph;
mod hash;
mod icmp_error;
mod lan_routers;
mod media;
mod mss;
mod outside_mtu;
mod owner;
mod packet;
mod packet_queue;
mod parse;
mod path_mtu;
mod pmtu;
mod police;
mod qos_counters;
mod reassembly;
mod registry;
mod replay;
mod route_cache;
mod sad;
mod selector;
mod seq;
mod shaper;
mod sink;
mod slab;
mod snapshot;
mod stage_profiler;
mod sys;
#[cfg(feature = "testing")]
pub mod testing;
mod timers;
mod trigger;
mod tunnel;
mod tunnel_filter;

pub use activity::Activities;
pub use config::{Config, DontFragment, InsideMode, InsidePort, Limits, Local, OutsidePort};
pub use engine::{AeadEngine, AeadError, AeadKey, ICV_LEN, Job, NONCE_LEN, Nonce};
pub use esp_encap::Sealed;
pub use graph::Pipeline;
pub use lan_routers::{LAN_ROUTERS_MAX, LanRouters};
pub use media::IkeFrame;
pub use owner::{HandOver, Owners, WorkerIndex};
pub use packet::{HEADROOM_MIN, Packet, TAILROOM_MIN};
pub use path_mtu::PathMtu;
pub use qos_counters::QosCounters;
pub use reassembly::{REASSEMBLY_FRAGMENTS_MAX, ReassemblyLimits};
pub use registry::{Registry, Validated};
pub use replay::{CandidateSeq, ReplayError, ReplayWindow, WINDOW_MAX, WINDOW_MIN};
pub use seq::{SealSeq, SequenceCounter};
pub use sink::{OutsideFrame, PuntRefused, Sink};
pub use snapshot::Live;
pub use stage_profiler::{CycleCounter, Stage, StageStats};
