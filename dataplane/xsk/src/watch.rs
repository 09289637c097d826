//! What the kernel counts of a port's sockets, for a thread that does not own them.

use crate::options;
use crate::port::PortStats;
use std::os::fd::{AsFd, OwnedFd};

/// The sockets of one port.
#[derive(Debug, Default)]
pub struct SocketWatch(Vec<OwnedFd>);

impl SocketWatch {
    pub(crate) const fn new(sockets: Vec<OwnedFd>) -> Self {
        Self(sockets)
    }

    /// `SO_BUSY_POLL` in microseconds, from [`crate::Config::busy_poll_us`], else from
    /// `net.core.busy_read`; 0 is off.
    #[must_use]
    pub fn busy_poll_us(&self) -> u32 {
        self.0.first().and_then(|socket| options::busy_poll_us(socket.as_fd()).ok()).unwrap_or(0)
    }

    /// Adds what the kernel has dropped. A socket that does not answer adds nothing.
    pub fn add_to(&self, stats: &mut PortStats) {
        for x in self.0.iter().filter_map(|socket| options::statistics(socket.as_fd()).ok()) {
            stats.rx_ring_full += x.rx_ring_full;
            stats.rx_fill_empty += x.rx_fill_ring_empty_descs;
            stats.rx_dropped += x.rx_dropped;
            stats.rx_invalid += x.rx_invalid_descs;
            stats.tx_invalid += x.tx_invalid_descs;
        }
    }
}
