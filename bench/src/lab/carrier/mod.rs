//! A carrier in a box: SIP registrar and proxy over UDP with digest authentication, and a biller.
//!
//! It is a peer of `sipsec-sip`, not its mirror: it shares no code with it, so that a misreading of an RFC in one is not
//! agreed with by the other. [`core::Carrier`] is the protocol without a socket, [`server`] the socket.

pub mod biller;
pub mod config;
pub mod core;
pub mod digest;
#[cfg(test)]
mod fault_tests;
pub mod line;
pub mod location;
pub mod message;
mod proxy;
mod registrar;
pub mod relay;
pub mod rewrite;
pub mod server;
pub mod tariff;
#[cfg(test)]
mod tests;
pub mod trace;
mod transaction;

pub use config::{Access, Account, Config, Faults, Knobs, NumberKnobs, Reject};
pub use digest::Algorithm;
pub use line::{Kind, Rules};
pub use rewrite::Rewrite;
pub use server::Server;
pub use trace::Hop;
