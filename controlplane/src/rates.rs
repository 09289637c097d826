//! What each tunnel carries now: the mean of the last 30 seconds.

use sipsec_net::dp::TunnelActivity;
use sipsec_net::{Instant, TunnelId};
use std::collections::{HashMap, VecDeque};
use std::time::Duration;

/// Between two samples.
pub const SAMPLE: Duration = Duration::from_secs(5);
/// Samples that are kept: the first and the last are 30 s apart.
const SAMPLES: usize = 7;

type Octets = HashMap<TunnelId, (u64, u64)>;

#[derive(Debug, Default)]
pub struct RateMeter {
    samples: VecDeque<(Instant, Octets)>,
}

impl RateMeter {
    /// Whether it is time for [`Self::sample`].
    #[must_use]
    pub fn is_due(&self, now: Instant) -> bool {
        self.samples.back().is_none_or(|(at, _)| now.saturating_duration_since(*at) >= SAMPLE)
    }

    pub fn sample(&mut self, now: Instant, activities: &HashMap<TunnelId, TunnelActivity>) {
        if self.samples.len() >= SAMPLES {
            self.samples.pop_front();
        }
        let octets = activities.iter().map(|(t, a)| (*t, (a.bytes_in, a.bytes_out))).collect();
        self.samples.push_back((now, octets));
    }

    /// In kbit/s, in and out; `None` before there are two samples of the tunnel. A dataplane that starts anew counts from
    /// zero: until its second sample there is no rate.
    #[must_use]
    pub fn kbps(&self, tunnel: TunnelId) -> Option<(u64, u64)> {
        let (last_at, last) = self.samples.back()?;
        let last = last.get(&tunnel)?;
        let older =
            self.samples.iter().rev().skip(1).map_while(|(at, octets)| Some((at, octets.get(&tunnel)?)));
        let (first_at, first) = older.take_while(|(_, o)| o.0 <= last.0 && o.1 <= last.1).last()?;
        let ms = u64::try_from(last_at.saturating_duration_since(*first_at).as_millis()).ok()?;
        // bit/ms is kbit/s.
        let rate = |before: u64, after: u64| (after - before).saturating_mul(8).checked_div(ms);
        Some((rate(first.0, last.0)?, rate(first.1, last.1)?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn meter(samples: &[(u64, u64, u64)]) -> RateMeter {
        let mut meter = RateMeter::default();
        for (s, bytes_in, bytes_out) in samples {
            let activity =
                TunnelActivity { bytes_in: *bytes_in, bytes_out: *bytes_out, ..TunnelActivity::default() };
            meter.sample(Instant::from_nanos(s * 1_000_000_000), &HashMap::from([(TunnelId(1), activity)]));
        }
        meter
    }

    #[test]
    fn the_rate_is_that_of_the_last_half_minute() {
        assert_eq!(meter(&[(0, 0, 0)]).kbps(TunnelId(1)), None);
        assert_eq!(meter(&[(0, 0, 0), (5, 62_500, 625)]).kbps(TunnelId(1)), Some((100, 1)));
        assert_eq!(meter(&[(0, 0, 0), (5, 62_500, 625)]).kbps(TunnelId(2)), None);
        // The first ten seconds are forgotten.
        let samples: Vec<_> = (0..9).map(|n| (5 * n, if n == 0 { 0 } else { 1_000_000 }, 0)).collect();
        assert_eq!(meter(&samples).kbps(TunnelId(1)), Some((0, 0)));
        // A dataplane that started anew.
        assert_eq!(meter(&[(0, 900, 900), (5, 0, 0)]).kbps(TunnelId(1)), None);
        assert_eq!(meter(&[(0, 900, 900), (5, 0, 0), (10, 6250, 0)]).kbps(TunnelId(1)), Some((10, 0)));
    }
}
