//! What the user agent is told at start.

use crate::digest::Credentials;
use sipsec_net::TelNumber;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

/// RFC 3261 Table 4.
pub const T1: Duration = Duration::from_millis(500);
pub const T2: Duration = Duration::from_secs(4);
pub const T4: Duration = Duration::from_secs(5);
/// Timers B, F, H: 64·T1.
pub const T64: Duration = Duration::from_secs(32);
/// BYEs of one call, each repeated for [`T64`]: RFC 3261 §15.1.1 would leave after the first, but until the carrier has
/// heard one the call may still be charged.
pub const BYES_MAX: u8 = 12;
/// Calls at a time, both directions.
pub const CALLS_MAX: usize = 8192;
/// Server transactions remembered.
pub const SERVER_TRANSACTIONS_MAX: usize = 16_384;
/// RFC 3261 §8.1.1.6.
pub const MAX_FORWARDS: u8 = 70;

#[derive(Clone, Debug)]
pub struct Config {
    /// Registrar and outbound proxy: everything is sent there, and only what comes from there is trusted.
    pub registrar: SocketAddr,
    pub domain: String,
    pub lines: Vec<Line>,
    pub expires_s: u32,
    /// RFC 3581 `rport` in Via; some carriers must not see it.
    pub rport: bool,
    pub user_agent: Option<String>,
}

impl Config {
    pub(crate) fn trusts(&self, ip: IpAddr) -> bool {
        self.registrar.ip() == ip
    }
}

/// One local number.
#[derive(Clone, Debug)]
pub struct Line {
    pub number: TelNumber,
    pub auth: Option<Credentials>,
}
