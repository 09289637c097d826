//! The brake of a tunnel: after a failure no packet places a call for a while, longer with each failure in a row. It is kept
//! in the journal, so that neither a crash of this process nor a restart releases it.

use crate::config::BackOff;
use serde::{Deserialize, Serialize};
use sipsec_net::Instant;
use std::time::Duration;

/// Version of the encoding in the journal.
const VERSION: u8 = 1;
/// A failure longer ago than this does not count any more. Longer than the longest back-off with its jitter (300 s + 25 %).
const FORGET: Duration = Duration::from_secs(900);
/// A pause read from the journal is never longer: the wall clock may have been set.
const RECOVERED_MAX: Duration = Duration::from_secs(3600);

/// What a failure means for the next call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Braking {
    /// Most likely over: a changed address, a dataplane or a control plane that is gone, a peer that has restarted. The first
    /// one in a row brakes nothing, because the next call most likely succeeds; each further one costs as much as any other
    /// failure.
    Passing,
    /// The call was not answered, so it cost nothing.
    Unpaid,
    /// The call was answered, and each try costs at least one unit of the tariff.
    Paid,
}

#[derive(Debug, Default)]
pub struct Brake {
    /// In a row.
    failures: u32,
    last: Option<Instant>,
    retry_at: Option<Instant>,
    /// The journal has another state than this.
    unsaved: bool,
}

/// In the journal. Times are of the wall clock.
#[derive(Serialize, Deserialize)]
struct Record {
    failures: u32,
    last_unix_s: u64,
    retry_at_unix_s: u64,
}

impl Brake {
    #[must_use]
    pub const fn failures(&self) -> u32 {
        self.failures
    }

    #[must_use]
    pub const fn retry_at(&self) -> Option<Instant> {
        self.retry_at
    }

    /// Counts a failure and gives the pause before the next call, without jitter. Zero: the next packet may call.
    pub fn failed(&mut self, now: Instant, braking: Braking, back_off: &BackOff) -> Duration {
        if self.last.is_some_and(|last| last + FORGET <= now) {
            self.failures = 0;
        }
        let first = self.failures == 0;
        let doubled = back_off.first * 2u32.pow(self.failures.min(16));
        self.failures = self.failures.saturating_add(1);
        self.last = Some(now);
        self.unsaved = true;
        match braking {
            Braking::Passing if first => Duration::ZERO,
            Braking::Unpaid => doubled.min(back_off.unpaid_max),
            Braking::Passing | Braking::Paid => doubled.min(back_off.max),
        }
    }

    /// No packet calls before `until`.
    pub fn hold(&mut self, until: Instant) {
        self.retry_at = Some(until);
        self.unsaved |= self.failures > 0;
    }

    /// The pause is over, or there is no reason for it any more; the failures still count.
    pub fn release(&mut self) {
        self.unsaved |= self.failures > 0 && self.retry_at.is_some();
        self.retry_at = None;
    }

    /// What failed before does not count any more.
    pub fn reset(&mut self) {
        self.unsaved |= self.failures > 0;
        (self.failures, self.last, self.retry_at) = (0, None, None);
    }

    /// For the journal, if it has to be written: `Some(None)` removes it.
    pub fn save(&mut self, now: Instant, unix_time_s: u64) -> Option<Option<Vec<u8>>> {
        if !std::mem::take(&mut self.unsaved) {
            return None;
        }
        if self.failures == 0 {
            return Some(None);
        }
        let last = self.last.map_or(Duration::ZERO, |at| now.saturating_duration_since(at));
        let left = self.retry_at.map_or(Duration::ZERO, |at| at.saturating_duration_since(now));
        let record = Record {
            failures: self.failures,
            last_unix_s: unix_time_s.saturating_sub(last.as_secs()),
            // Rounded up: a restart does not shorten the pause.
            retry_at_unix_s: unix_time_s + left.as_secs() + u64::from(left.subsec_nanos() > 0),
        };
        Some(postcard::to_extend(&record, vec![VERSION]).ok())
    }

    /// From the journal of an earlier run. `None` if it is damaged or another release wrote it.
    #[must_use]
    pub fn load(bytes: &[u8], now: Instant, unix_time_s: u64) -> Option<Self> {
        let [VERSION, rest @ ..] = bytes else { return None };
        let (record, []) = postcard::take_from_bytes::<Record>(rest).ok()? else { return None };
        let ago = Duration::from_secs(unix_time_s.saturating_sub(record.last_unix_s));
        if ago >= FORGET {
            return Some(Self { unsaved: true, ..Self::default() });
        }
        let left = Duration::from_secs(record.retry_at_unix_s.saturating_sub(unix_time_s));
        Some(Self {
            failures: record.failures,
            // An instant of this run; one before its beginning cannot be told from the beginning.
            last: Some(now),
            retry_at: (left > Duration::ZERO).then(|| now + left.min(RECOVERED_MAX)),
            unsaved: record.failures == 0,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const UNIX: u64 = 1_782_864_000;

    fn at(s: u64) -> Instant {
        Instant::from_nanos((1 + s) * 1_000_000_000)
    }

    fn pauses(braking: Braking, n: usize) -> Vec<u64> {
        let mut brake = Brake::default();
        (0..n).map(|_| brake.failed(at(0), braking, &BackOff::default()).as_secs()).collect()
    }

    #[test]
    fn the_cause_decides_how_long_the_pause_becomes() {
        assert_eq!(pauses(Braking::Paid, 8), [5, 10, 20, 40, 80, 160, 300, 300]);
        assert_eq!(pauses(Braking::Unpaid, 5), [5, 10, 20, 30, 30]);
        assert_eq!(pauses(Braking::Passing, 4), [0, 10, 20, 40]);
    }

    #[test]
    fn a_failure_long_ago_does_not_count() {
        let mut brake = Brake::default();
        for s in [0, 899, 1798] {
            brake.failed(at(s), Braking::Paid, &BackOff::default());
        }
        assert_eq!(brake.failures(), 3);
        assert_eq!(brake.failed(at(1798 + 900), Braking::Passing, &BackOff::default()), Duration::ZERO);
    }

    #[test]
    fn a_restart_releases_nothing() {
        let mut brake = Brake::default();
        brake.failed(at(10), Braking::Paid, &BackOff::default());
        let wait = brake.failed(at(10), Braking::Paid, &BackOff::default());
        brake.hold(at(10) + wait);
        let saved = brake.save(at(10), UNIX).expect("changed").expect("has failures");
        assert!(brake.save(at(10), UNIX).is_none(), "once");
        // Another process, whose clock begins anew, 4 s later.
        let recovered = Brake::load(&saved, at(0), UNIX + 4).expect("ours");
        assert_eq!((recovered.failures(), recovered.retry_at()), (2, Some(at(6))));
        // The wall clock was set back by a year: bounded.
        let odd = Brake::load(&saved, at(0), UNIX - 31_536_000).expect("ours");
        assert_eq!(odd.retry_at(), Some(at(0) + RECOVERED_MAX));
        let old = Brake::load(&saved, at(0), UNIX + 900).expect("ours");
        assert_eq!((old.failures(), old.retry_at()), (0, None));
        brake.reset();
        assert_eq!(brake.save(at(20), UNIX), Some(None), "removed");
    }

    #[test]
    fn what_another_release_wrote_is_no_brake() {
        assert!(Brake::load(&[], at(0), UNIX).is_none());
        assert!(Brake::load(&[2, 1, 1, 1], at(0), UNIX).is_none());
        assert!(Brake::load(&[VERSION, 1, 1, 1, 1], at(0), UNIX).is_none());
        assert!(Brake::load(&[VERSION, 0x80], at(0), UNIX).is_none());
    }
}
