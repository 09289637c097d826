//! What an operation has measured.

use crate::view::{ReturnCode, Statistics};
use std::time::Duration;

/// Results that the loss is computed of.
const WINDOW: u32 = 100;

#[derive(Clone, Debug, Default)]
pub(super) struct Measured {
    sent: u64,
    by_code: [u64; ReturnCode::ALL.len()],
    last: Option<Duration>,
    min: Option<Duration>,
    max: Option<Duration>,
    sum: Duration,
    answers: u64,
    smoothed: Option<(Duration, Duration)>,
    jitter: Option<Duration>,
    /// The latest result is the lowest bit; set means lost.
    window: u128,
    filled: u32,
    late: u64,
}

impl Measured {
    pub const fn sent(&mut self) {
        self.sent += 1;
    }

    pub const fn late(&mut self) {
        self.late += 1;
    }

    pub fn ended(&mut self, code: ReturnCode, rtt: Option<Duration>) {
        if let Some(place) = ReturnCode::ALL.iter().position(|c| *c == code) {
            self.by_code[place] += 1;
        }
        let lost = rtt.is_none();
        self.window = (self.window << 1 | u128::from(lost)) & ((1 << WINDOW) - 1);
        self.filled = (self.filled + 1).min(WINDOW);
        if let Some(rtt) = rtt {
            self.round_trip(rtt);
        }
    }

    fn round_trip(&mut self, rtt: Duration) {
        self.min = Some(self.min.map_or(rtt, |m| m.min(rtt)));
        self.max = Some(self.max.map_or(rtt, |m| m.max(rtt)));
        self.sum = self.sum.saturating_add(rtt);
        self.answers += 1;
        // RFC 6298 §2.2 and §2.3, alpha 1/8 and beta 1/4.
        self.smoothed = Some(match self.smoothed {
            None => (rtt, rtt / 2),
            Some((smoothed, variation)) => {
                (smoothed * 7 / 8 + rtt / 8, variation * 3 / 4 + smoothed.abs_diff(rtt) / 4)
            }
        });
        // RFC 3550 §6.4.1: J += (|D| - J) / 16.
        if let Some(last) = self.last {
            let difference = last.abs_diff(rtt);
            let jitter = self.jitter.unwrap_or_default();
            self.jitter = Some(jitter * 15 / 16 + difference / 16);
        }
        self.last = Some(rtt);
    }

    pub const fn last(&self) -> Option<Duration> {
        self.last
    }

    pub fn view(&self) -> Statistics {
        let average = |sum: Duration| sum.as_nanos() / u128::from(self.answers.max(1));
        Statistics {
            sent: self.sent,
            by_code: self.by_code,
            rtt_last: self.last,
            rtt_min: self.min,
            rtt_avg: self
                .min
                .map(|_| Duration::from_nanos(u64::try_from(average(self.sum)).unwrap_or(u64::MAX))),
            rtt_max: self.max,
            rtt_smoothed: self.smoothed.map(|(s, _)| s),
            rtt_variation: self.smoothed.map(|(_, v)| v),
            jitter: self.jitter,
            loss_percent: u8::try_from((self.window.count_ones() * 100).div_ceil(self.filled.max(1)))
                .unwrap_or(100),
            late: self.late,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ms(n: u64) -> Duration {
        Duration::from_millis(n)
    }

    #[test]
    fn round_trips_are_smoothed_and_losses_counted() {
        let mut measured = Measured::default();
        for rtt in [80, 160, 80] {
            measured.sent();
            measured.ended(ReturnCode::Ok, Some(ms(rtt)));
        }
        measured.sent();
        measured.ended(ReturnCode::Timeout, None);
        let view = measured.view();
        assert_eq!(
            (view.rtt_min, view.rtt_avg, view.rtt_max),
            (Some(ms(80)), Some(Duration::from_nanos(106_666_666)), Some(ms(160)))
        );
        // 80, then 90, then 88.75; RTTVAR 40, then 50, then 40.
        assert_eq!(
            (view.rtt_smoothed, view.rtt_variation),
            (Some(Duration::from_micros(88_750)), Some(ms(40)))
        );
        // 80/16 = 5, then 5 * 15/16 + 5.
        assert_eq!(view.jitter, Some(Duration::from_nanos(9_687_500)));
        assert_eq!((view.sent, view.count(ReturnCode::Ok), view.count(ReturnCode::Timeout)), (4, 3, 1));
        assert_eq!(view.loss_percent, 25);
    }

    #[test]
    fn old_losses_are_forgotten() {
        let mut measured = Measured::default();
        for _ in 0..50 {
            measured.ended(ReturnCode::Timeout, None);
        }
        assert_eq!(measured.view().loss_percent, 100);
        for _ in 0..99 {
            measured.ended(ReturnCode::Ok, Some(ms(1)));
        }
        assert_eq!(measured.view().loss_percent, 1);
        measured.ended(ReturnCode::Ok, Some(ms(1)));
        assert_eq!(measured.view().loss_percent, 0);
    }
}
