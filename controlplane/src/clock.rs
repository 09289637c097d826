//! The one place that reads clocks.

use rustix::time::{ClockId, clock_gettime};
use sipsec_net::Instant;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// CLOCK_MONOTONIC: the dataplane's instants are of the same clock.
#[must_use]
pub fn now() -> Instant {
    let t = clock_gettime(ClockId::Monotonic);
    let seconds = u64::try_from(t.tv_sec).unwrap_or(0);
    let nanos = u64::try_from(t.tv_nsec).unwrap_or(0);
    Instant::from_nanos(seconds.saturating_mul(1_000_000_000).saturating_add(nanos))
}

/// When the runtime is to wake for `at`.
#[must_use]
pub fn wake_at(at: Instant) -> tokio::time::Instant {
    let away = at.saturating_duration_since(now());
    // An instant that far away is never reached; the runtime's own must not overflow.
    tokio::time::Instant::now() + away.min(Duration::from_secs(86_400))
}

/// Seconds since 1970, for the dates of certificates.
#[must_use]
pub fn unix_time_s() -> u64 {
    wall_us() / 1_000_000
}

/// Microseconds since 1970, for logs that are compared across machines.
#[must_use]
pub fn wall_us() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_micros()).unwrap_or(u64::MAX)
}
