//! A packet generator, a sink and a plain forwarder on AF_XDP: the instruments that measure a gateway from outside.
//!
//! ```text
//!  sipsec-pktgen run            device under test
//!   ┌─ generator ─ tx device ──▶ … ──┐
//!   └─ sink ────── rx device ◀── … ──┘
//! ```
//!
//! Generator and sink share one thread and one clock, so that one core is left for the device under test and a latency
//! needs no clock synchronisation. Each packet carries its flow, its number in the flow and its time of departure.

pub mod error;
pub mod forward;
pub mod measure;
pub mod pace;
pub mod packet;
pub mod ports;
pub mod report;
pub mod search;
pub mod sizes;
pub mod tally;

pub use error::PktgenError;
