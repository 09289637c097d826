//! The two timers that a transaction has at a time: the next retransmission and the end of its state.

use super::Do;
use sipsec_net::Instant;
use std::time::Duration;

#[derive(Clone, Copy, Debug, Default)]
pub struct Timers {
    again: Option<Instant>,
    interval: Duration,
    /// Stretch of an interval, in 1/2048.
    stretch: u32,
    end: Option<Instant>,
}

/// Actions of the user agent for a transaction.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Effects {
    pub send: bool,
    pub pass: bool,
    pub ack: bool,
    pub timeout: bool,
    /// A final response came more often than any network repeats it.
    pub withheld: bool,
}

/// A timer that has fired.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fired {
    Again,
    End,
}

impl Timers {
    /// Makes every interval longer by `by`/2048.
    pub fn stretch(&mut self, by: u8) {
        self.stretch = by.into();
    }

    fn stretched(&self) -> Duration {
        self.interval + self.interval * self.stretch / 2048
    }

    pub fn due(&self) -> Option<Instant> {
        [self.again, self.end].into_iter().flatten().min()
    }

    /// The timer that is due. The end comes first: what ends is not sent again.
    pub fn fire(&mut self, now: Instant) -> Option<Fired> {
        if self.end.is_some_and(|at| at <= now) {
            self.end = None;
            Some(Fired::End)
        } else if self.again.is_some_and(|at| at <= now) {
            self.again = None;
            Some(Fired::Again)
        } else {
            None
        }
    }

    /// Ends the state by then, if it would last longer. Gives the end that it had.
    pub fn end_by(&mut self, until: Instant) -> Option<Instant> {
        let end = self.end.filter(|end| *end > until)?;
        self.end = Some(until);
        Some(end)
    }

    pub fn end_at(&mut self, at: Instant) {
        self.end = Some(at);
    }

    pub fn run(&mut self, now: Instant, todo: &[Do]) -> Effects {
        let mut effects = Effects::default();
        for action in todo {
            match *action {
                Do::Send => effects.send = true,
                Do::Pass => effects.pass = true,
                Do::Ack => effects.ack = true,
                Do::Timeout => effects.timeout = true,
                Do::Double(cap) => {
                    self.interval = (self.interval * 2).min(cap);
                    self.again = Some(now + self.stretched());
                }
                Do::Every(interval) => {
                    self.interval = interval;
                    self.again = Some(now + self.stretched());
                }
                Do::Quiet => self.again = None,
                Do::End(after) => self.end = Some(now + after),
                Do::Open => self.end = None,
            }
        }
        effects
    }
}
