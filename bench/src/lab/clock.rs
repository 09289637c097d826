//! The clock of the lab: CLOCK_MONOTONIC, as the gateways' own.

use sipsec_net::Instant;
use std::time::Duration;

#[must_use]
pub fn now() -> Instant {
    let t = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    Instant::from_nanos(t.tv_sec.unsigned_abs() * 1_000_000_000 + t.tv_nsec.unsigned_abs())
}

/// Since midnight UTC, as logs date their lines.
#[must_use]
pub fn time_of_day() -> Duration {
    let t = rustix::time::clock_gettime(rustix::time::ClockId::Realtime);
    Duration::new(t.tv_sec.unsigned_abs() % 86_400, u32::try_from(t.tv_nsec).unwrap_or_default())
}
