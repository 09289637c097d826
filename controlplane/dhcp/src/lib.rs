//! DHCPv4 (RFC 2131) and DHCPv6 (RFC 8415) clients for a line whose SIP server, number and domain come by DHCP.
//!
//! Both clients are sans-IO cores: `handle_message` and `handle_timeout` change the state, `poll_output` is drained
//! until it is empty, then `poll_timeout` says when to call `handle_timeout`. Time and randomness are arguments. The
//! caller owns the sockets: DHCPv4 needs raw frames, since the client has no address yet.
//!
//! Messages are read and written here instead of by a library. A SIP line depends on options that repeat and must be
//! concatenated before they are read (RFC 3396 §7), and a list of options that ends early must not look complete.
#![forbid(unsafe_code)]

#[cfg(any(test, feature = "fuzz"))]
pub mod fuzz;
mod labels;
pub mod sip_data;
mod tlv;
pub mod v4;
pub mod v6;

#[cfg(test)]
mod tests;

pub use sip_data::{SipData, SipServers, VendorData};

/// Why a received message was not used. Each is counted by the client.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Ignored {
    #[error("the message is malformed")]
    Malformed,
    #[error("the message belongs to another transaction or client")]
    NotOurs,
    #[error("the message does not fit the client's state")]
    Unexpected,
}

/// Counters of one client.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    pub sent: u64,
    pub received: u64,
    pub malformed: u64,
    pub not_ours: u64,
    pub unexpected: u64,
}

impl Stats {
    fn count(&mut self, outcome: Result<(), Ignored>) {
        self.received += 1;
        match outcome {
            Ok(()) => {}
            Err(Ignored::Malformed) => self.malformed += 1,
            Err(Ignored::NotOurs) => self.not_ours += 1,
            Err(Ignored::Unexpected) => self.unexpected += 1,
        }
    }
}
