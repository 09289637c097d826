//! Exponential damping of a track object that flaps (RFC 2439 §4).

use crate::config::Damping as Config;
use crate::view::DampingView;
use sipsec_net::Instant;
use std::time::Duration;

/// What one change to down adds.
pub const PENALTY: u32 = 1000;

#[derive(Clone, Debug)]
pub(crate) struct Damping {
    config: Config,
    penalty: f64,
    /// When `penalty` was true.
    at: Instant,
    suppressed: bool,
}

impl Damping {
    pub fn new(config: Config, now: Instant) -> Self {
        Self { config, penalty: 0.0, at: now, suppressed: false }
    }

    pub fn suppressed(&self) -> bool {
        self.suppressed
    }

    fn decayed(&self, now: Instant) -> f64 {
        let half_lives =
            now.saturating_duration_since(self.at).as_secs_f64() / self.config.half_life.as_secs_f64();
        self.penalty * (-half_lives).exp2()
    }

    /// RFC 2439 §4.2: no penalty is so large that it takes longer than `suppress_max` to decay to the reuse threshold.
    fn ceiling(&self) -> f64 {
        let half_lives = self.config.suppress_max.as_secs_f64() / self.config.half_life.as_secs_f64();
        f64::from(self.config.reuse) * half_lives.exp2()
    }

    /// The object has changed to down.
    pub fn flap(&mut self, now: Instant) {
        self.penalty = (self.decayed(now) + f64::from(PENALTY)).min(self.ceiling());
        self.at = now;
        self.suppressed |= self.penalty >= f64::from(self.config.suppress);
    }

    /// Ends the suppression if it is time. Returns whether it has ended.
    pub fn release(&mut self, now: Instant) -> bool {
        let due = self.suppressed && self.reuse_at().is_none_or(|at| at <= now);
        if due {
            self.penalty = self.decayed(now);
            self.at = now;
            self.suppressed = false;
        }
        due
    }

    /// When the suppression ends if the object does not change to down again.
    pub fn reuse_at(&self) -> Option<Instant> {
        if !self.suppressed {
            return None;
        }
        let half_lives = (self.penalty / f64::from(self.config.reuse)).log2().max(0.0);
        // Rounded up to a millisecond, so that the penalty is below the threshold then.
        let millis = (half_lives * self.config.half_life.as_secs_f64() * 1000.0).ceil() + 1.0;
        Some(self.at + Duration::from_millis(millis as u64))
    }

    pub fn view(&self, now: Instant) -> DampingView {
        DampingView {
            penalty: self.decayed(now).round() as u32,
            suppress: self.config.suppress,
            reuse: self.config.reuse,
            half_life: self.config.half_life,
            suppressed: self.suppressed,
            reuse_in: self.reuse_at().map(|at| at.saturating_duration_since(now)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(s: u64) -> Instant {
        Instant::from_nanos(s * 1_000_000_000)
    }

    fn damping() -> Damping {
        let config = Config {
            half_life: Duration::from_secs(60),
            suppress: 2000,
            reuse: 750,
            suppress_max: Duration::from_secs(240),
        };
        Damping::new(config, at(0))
    }

    #[test]
    fn the_penalty_halves_in_each_half_life() {
        let mut damping = damping();
        damping.flap(at(0));
        assert_eq!((damping.view(at(60)).penalty, damping.view(at(120)).penalty), (500, 250));
        assert!(!damping.suppressed());
        damping.flap(at(60));
        assert_eq!(damping.view(at(60)).penalty, 1500);
    }

    #[test]
    fn suppression_begins_above_its_threshold_and_ends_below_reuse() {
        let mut damping = damping();
        for s in 0..3 {
            damping.flap(at(s));
        }
        assert!(damping.suppressed());
        let end = damping.reuse_at().expect("suppressed");
        // log2(2966 / 750) half-lives of 60 s.
        assert_eq!(end.saturating_duration_since(at(2)).as_secs(), 119);
        assert!(!damping.release(at(100)) && damping.suppressed());
        assert!(damping.release(end) && !damping.suppressed());
        assert!(damping.view(end).penalty <= 750);
    }

    #[test]
    fn no_number_of_flaps_suppresses_for_longer_than_the_maximum() {
        let mut damping = damping();
        for _ in 0..1000 {
            damping.flap(at(5));
        }
        let held = damping.reuse_at().expect("suppressed").saturating_duration_since(at(5));
        assert_eq!(held.as_secs(), 240);
    }
}
