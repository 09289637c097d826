//! So many results in a row before a state changes.

use crate::view::State;

#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Dwell {
    state: State,
    good: u32,
    bad: u32,
}

impl Dwell {
    pub const fn state(self) -> State {
        self.state
    }

    pub const fn good_in_row(self) -> u32 {
        self.good
    }

    pub const fn bad_in_row(self) -> u32 {
        self.bad
    }

    pub const fn set(&mut self, state: State) {
        *self = Self { state, good: 0, bad: 0 };
    }

    /// Returns whether the state has changed. The first good result after the start is enough, because a line that works must
    /// not look broken; the first bad one may be a single loss.
    pub const fn result(&mut self, good: bool, up_count: u32, down_count: u32) -> bool {
        let next = if good {
            (self.good, self.bad) = (self.good.saturating_add(1), 0);
            match self.state {
                State::Unknown => State::Up,
                State::Down if self.good >= up_count => State::Up,
                state => state,
            }
        } else {
            (self.good, self.bad) = (0, self.bad.saturating_add(1));
            if self.bad >= down_count { State::Down } else { self.state }
        };
        let changed = next as u8 != self.state as u8;
        self.state = next;
        changed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_state_changes_after_its_number_of_results_in_a_row() {
        let mut dwell = Dwell::default();
        let mut told = |good: &[bool]| -> Vec<State> {
            good.iter()
                .map(|g| {
                    dwell.result(*g, 2, 3);
                    dwell.state()
                })
                .collect()
        };
        use State::{Down, Unknown, Up};
        assert_eq!(told(&[false, false, true]), [Unknown, Unknown, Up]);
        assert_eq!(told(&[false, false, true, false, false, false]), [Up, Up, Up, Up, Up, Down]);
        assert_eq!(told(&[true, false, true, true]), [Down, Down, Down, Up]);
    }
}
