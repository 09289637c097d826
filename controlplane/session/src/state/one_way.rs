//! Traffic that goes one way: packets leave the tunnel again and again, and none comes.

use sipsec_net::Instant;
use sipsec_net::dp::TunnelActivity;
use std::time::Duration;

#[derive(Clone, Copy, Debug, Default)]
pub struct OneWay {
    before: Option<TunnelActivity>,
    /// Since when packets have left without an answer.
    since: Option<Instant>,
}

impl OneWay {
    /// What the dataplane has counted. Returns how long traffic has gone one way, if that is `limit` or more. One packet
    /// without an answer does not count, nor does one after a pause of more than half of `limit`.
    pub fn looked_at(&mut self, activity: TunnelActivity, limit: Duration) -> Option<Duration> {
        let before = self.before.replace(activity)?;
        if activity.packets_in != before.packets_in {
            self.since = None;
            return None;
        }
        if activity.packets_out == before.packets_out {
            return None;
        }
        let paused = activity.last_out.saturating_duration_since(before.last_out) > limit / 2;
        let since = *self.since.insert(match self.since {
            Some(since) if !paused => since,
            _ => activity.last_out,
        });
        let lasted = activity.last_out.saturating_duration_since(since);
        (lasted >= limit).then_some(lasted)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMIT: Duration = Duration::from_secs(10);

    /// Looks once a second; each step says how many packets came and left in it.
    fn run(steps: impl IntoIterator<Item = (u64, u64)>) -> Option<usize> {
        let mut one_way = OneWay::default();
        let mut activity = TunnelActivity { packets_in: 7, packets_out: 9, ..TunnelActivity::default() };
        steps.into_iter().enumerate().find_map(|(second, (came, left))| {
            let now = Instant::ZERO + Duration::from_secs(second as u64);
            activity.packets_in += came;
            activity.packets_out += left;
            if came > 0 {
                activity.last_in = now;
            }
            if left > 0 {
                activity.last_out = now;
            }
            one_way.looked_at(activity, LIMIT).map(|_| second)
        })
    }

    #[test]
    fn packets_that_leave_without_an_answer_are_noticed_after_the_limit() {
        assert_eq!(run([(0, 5); 60]), Some(11));
        let mut steps = vec![(3, 5); 100];
        steps.extend([(0, 5); 20]);
        assert_eq!(run(steps), Some(110));
        // Every third second is enough.
        assert_eq!(run((0..60).map(|n| (0, u64::from(n % 3 == 0)))), Some(15));
    }

    #[test]
    fn answers_silence_and_single_packets_are_not_one_way() {
        assert_eq!(run([(1, 1); 60]), None);
        assert_eq!(run((0..600).map(|n| (u64::from(n % 9 == 0), 1))), None, "an answer now and then");
        assert_eq!(run([(0, 0); 60]), None);
        assert_eq!(run((0..600).map(|n| (0, u64::from(n % 20 == 0)))), None, "pauses between packets");
        assert_eq!(run([(5, 0); 60]), None, "only inbound");
    }
}
