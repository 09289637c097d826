//! One track object: from what it watches to the state that routes follow.
//!
//! ```text
//!   raw ──> delay up/down ──> settled ──> damping ──> state
//! ```

use crate::config::{Object as Config, What};
use crate::damping::Damping;
use crate::view::State;
use sipsec_net::Instant;
use std::time::Duration;

#[derive(Debug)]
pub(crate) struct Object {
    config: Config,
    raw: State,
    settled: State,
    pending: Option<(State, Instant)>,
    damping: Option<Damping>,
    state: State,
    since: Instant,
    changes: u64,
}

impl Object {
    pub fn new(config: Config, now: Instant) -> Self {
        let damping = config.damping.map(|damping| Damping::new(damping, now));
        Self {
            config,
            raw: State::Unknown,
            settled: State::Unknown,
            pending: None,
            damping,
            state: State::Unknown,
            since: now,
            changes: 0,
        }
    }

    /// The same object with another configuration. Its state and its penalty stay while it watches the same.
    pub fn reconfigured(mut self, config: Config, now: Instant) -> Self {
        if self.config.what != config.what {
            return Self::new(config, now);
        }
        if self.config.damping != config.damping {
            self.damping = config.damping.map(|damping| Damping::new(damping, now));
        }
        if (self.config.delay_up, self.config.delay_down) != (config.delay_up, config.delay_down) {
            // The next look at what it watches begins a delay of the new length.
            self.pending = None;
        }
        self.config = config;
        self
    }

    pub const fn config(&self) -> &Config {
        &self.config
    }

    pub const fn state(&self) -> State {
        self.state
    }

    pub const fn raw(&self) -> State {
        self.raw
    }

    pub const fn since(&self) -> Instant {
        self.since
    }

    pub const fn changes(&self) -> u64 {
        self.changes
    }

    pub const fn pending(&self) -> Option<(State, Instant)> {
        self.pending
    }

    pub const fn damping(&self) -> Option<&Damping> {
        self.damping.as_ref()
    }

    pub fn suppressed(&self) -> bool {
        self.damping.as_ref().is_some_and(Damping::suppressed)
    }

    pub fn due(&self) -> Option<Instant> {
        let reuse = self.damping.as_ref().and_then(Damping::reuse_at);
        self.pending.map(|(_, at)| at).into_iter().chain(reuse).min()
    }

    /// What it watches has this state now. Returns the former state if it has changed.
    pub fn observe(&mut self, now: Instant, raw: State) -> Option<State> {
        self.raw = raw;
        if raw == self.settled {
            self.pending = None;
            return None;
        }
        // What is not known yet has no state that a delay could keep.
        let delay = match (self.settled, raw) {
            (State::Unknown, _) | (_, State::Unknown) => Duration::ZERO,
            (_, State::Up) => self.config.delay_up,
            (_, State::Down) => self.config.delay_down,
        };
        if delay.is_zero() {
            return self.settle(now, raw);
        }
        if self.pending.is_none_or(|(to, _)| to != raw) {
            self.pending = Some((raw, now + delay));
        }
        None
    }

    /// Returns the former state if it has changed.
    pub fn timeout(&mut self, now: Instant) -> Option<State> {
        if let Some(damping) = &mut self.damping {
            damping.release(now);
        }
        match self.pending {
            Some((to, at)) if at <= now => self.settle(now, to),
            _ => self.publish(now),
        }
    }

    fn settle(&mut self, now: Instant, to: State) -> Option<State> {
        let from = std::mem::replace(&mut self.settled, to);
        self.pending = None;
        if let Some(damping) = &mut self.damping
            && (from, to) == (State::Up, State::Down)
        {
            damping.flap(now);
        }
        self.publish(now)
    }

    fn publish(&mut self, now: Instant) -> Option<State> {
        let state = match self.settled {
            State::Up if self.suppressed() => State::Down,
            settled => settled,
        };
        if state == self.state {
            return None;
        }
        (self.since, self.changes) = (now, self.changes + 1);
        Some(std::mem::replace(&mut self.state, state))
    }
}

/// The state of a list object, of the states of its members and the state it had.
pub(crate) fn combine(what: &What, before: State, of: impl Fn(u32) -> State) -> State {
    let has = |members: &[u32], state| members.iter().any(|m| of(*m) == state);
    match what {
        What::And(members) if has(members, State::Down) => State::Down,
        What::And(members) if has(members, State::Unknown) => State::Unknown,
        What::And(_) => State::Up,
        What::Or(members) if has(members, State::Up) => State::Up,
        What::Or(members) if has(members, State::Unknown) => State::Unknown,
        What::Or(_) => State::Down,
        What::Not(member) => match of(*member) {
            State::Up => State::Down,
            State::Down => State::Up,
            State::Unknown => State::Unknown,
        },
        What::Weight { members, up, down } => {
            // Members of which nothing is known may be either.
            let sum = |fits: fn(State) -> bool| -> u64 {
                members.iter().filter(|(m, _)| fits(of(*m))).map(|(_, weight)| u64::from(*weight)).sum()
            };
            let (sure, possible) = (sum(|s| s == State::Up), sum(|s| s != State::Down));
            threshold(sure, possible, (*up).into(), (*down).into(), before)
        }
        What::Percentage { members, up, down } => {
            let count = |state| members.iter().filter(|m| of(**m) == state).count() as u64 * 100;
            let (sure, all) = (count(State::Up), members.len() as u64);
            threshold(
                sure,
                sure + count(State::Unknown),
                u64::from(*up) * all,
                u64::from(*down) * all,
                before,
            )
        }
        What::Reachability { .. }
        | What::OperationState { .. }
        | What::LineProtocol { .. }
        | What::RoutePresent { .. } => before,
    }
}

/// Up from `up` on, down from `down` on; in between the state stays.
const fn threshold(sure: u64, possible: u64, up: u64, down: u64, before: State) -> State {
    if sure >= up {
        State::Up
    } else if possible <= down {
        State::Down
    } else if sure < possible && matches!(before, State::Unknown) {
        State::Unknown
    } else if matches!(before, State::Unknown) {
        // Nothing is left to wait for, and the list is not good enough to be up.
        State::Down
    } else {
        before
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Damping as DampingConfig;
    use State::{Down, Unknown, Up};

    fn ms(n: u64) -> Instant {
        Instant::from_nanos(n * 1_000_000)
    }

    fn object(up_ms: u64, down_ms: u64, damping: Option<DampingConfig>) -> Object {
        let config = Config {
            id: 1,
            what: What::Reachability { operation: 1 },
            delay_up: Duration::from_millis(up_ms),
            delay_down: Duration::from_millis(down_ms),
            damping,
        };
        Object::new(config, ms(0))
    }

    #[test]
    fn a_change_must_last_as_long_as_its_delay() {
        let mut object = object(500, 100, None);
        assert_eq!(object.observe(ms(0), Up), Some(Unknown), "the first one is not delayed");
        assert_eq!((object.observe(ms(10), Down), object.due()), (None, Some(ms(110))));
        assert_eq!((object.observe(ms(50), Down), object.due()), (None, Some(ms(110))), "it runs on");
        assert_eq!((object.observe(ms(90), Up), object.due()), (None, None), "it did not last");
        object.observe(ms(200), Down);
        assert_eq!(object.timeout(ms(299)), None);
        assert_eq!((object.timeout(ms(300)), object.state(), object.since()), (Some(Up), Down, ms(300)));
        object.observe(ms(400), Up);
        assert_eq!(
            (object.timeout(ms(899)), object.timeout(ms(900)), object.changes()),
            (None, Some(Down), 3)
        );
    }

    #[test]
    fn a_flapping_object_is_held_down_until_its_penalty_has_decayed() {
        let damping = DampingConfig {
            half_life: Duration::from_secs(10),
            suppress: 1500,
            reuse: 1000,
            suppress_max: Duration::from_secs(60),
        };
        let mut object = object(0, 0, Some(damping));
        object.observe(ms(0), Up);
        object.observe(ms(1000), Down);
        assert_eq!(object.observe(ms(2000), Up), Some(Down));
        object.observe(ms(3000), Down);
        assert_eq!((object.observe(ms(4000), Up), object.suppressed()), (None, true));
        let due = object.due().expect("the end of the suppression");
        assert_eq!(object.timeout(due), Some(Down));
        assert_eq!((object.state(), object.suppressed(), object.due()), (Up, false, None));
        // It is down when the suppression ends: it stays down, and comes up by itself.
        for n in 0..4 {
            object.observe(due + Duration::from_millis(2 * n), Down);
            object.observe(due + Duration::from_millis(2 * n + 1), Up);
        }
        object.observe(due + Duration::from_millis(20), Down);
        let due = object.due().expect("suppressed again");
        assert_eq!((object.timeout(due), object.state()), (None, Down));
        assert_eq!(object.observe(due, Up), Some(Down));
    }

    #[test]
    fn lists_combine_what_is_known() {
        let states = [Unknown, Down, Up];
        let of = |id: u32| states[id as usize];
        let and = |m: &[u32]| combine(&What::And(m.to_vec()), Unknown, of);
        let or = |m: &[u32]| combine(&What::Or(m.to_vec()), Unknown, of);
        assert_eq!((and(&[2, 2]), and(&[2, 0]), and(&[0, 1])), (Up, Unknown, Down));
        assert_eq!((or(&[1, 1]), or(&[1, 0]), or(&[0, 2])), (Down, Unknown, Up));
        let not = |m| combine(&What::Not(m), Unknown, of);
        assert_eq!((not(0), not(1), not(2)), (Unknown, Up, Down));
    }

    #[test]
    fn thresholds_have_a_gap_in_which_the_state_stays() {
        let weigh = |states: [State; 3], before| {
            let what = What::Weight { members: vec![(0, 10), (1, 20), (2, 30)], up: 40, down: 20 };
            combine(&what, before, |id| states[id as usize])
        };
        assert_eq!(weigh([Up, Down, Up], Down), Up);
        assert_eq!(weigh([Up, Up, Down], Up), Up, "30 is in the gap");
        assert_eq!(weigh([Up, Up, Down], Down), Down);
        assert_eq!(weigh([Down, Up, Down], Up), Down);
        assert_eq!(weigh([Down, Up, Unknown], Unknown), Unknown);
        assert_eq!(weigh([Unknown, Up, Up], Unknown), Up, "for any value of the first");
        assert_eq!(weigh([Up, Up, Down], Unknown), Down);
        let percent = |states: [State; 3], before| {
            let what = What::Percentage { members: vec![0, 1, 2], up: 60, down: 40 };
            combine(&what, before, |id| states[id as usize])
        };
        assert_eq!(percent([Up, Up, Down], Down), Up);
        assert_eq!(percent([Up, Down, Down], Up), Down);
        assert_eq!(percent([Up, Unknown, Down], Unknown), Unknown);
    }
}
