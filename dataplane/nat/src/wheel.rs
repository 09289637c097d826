//! A timing wheel of seconds. A row stands in the slot of the second in which it was to end when it was last looked at; what
//! packets do since costs nothing here. When its slot is due, its owner looks whether it ends or is put into a later slot.

use crate::index::NONE;

/// Somewhat more than the timeout of an established connection; what lives longer is looked at in between.
const SLOTS: u32 = 8192;

#[derive(Debug)]
pub(crate) struct Wheel {
    rows: u32,
    /// Rings: the rows, then a head for each slot.
    next: Vec<u32>,
    prev: Vec<u32>,
    /// The first second whose slot has not been emptied.
    now: u32,
}

impl Wheel {
    pub(crate) fn new(rows: u32) -> Self {
        let mut next = vec![NONE; rows as usize];
        next.extend(rows..rows + SLOTS);
        Self { rows, prev: next.clone(), next, now: 0 }
    }

    const fn head(&self, second: u32) -> usize {
        (self.rows + second % SLOTS) as usize
    }

    /// Puts the row where it is looked at in this second, or earlier if that is too far away.
    pub(crate) fn set(&mut self, row: u32, second: u32) {
        self.remove(row);
        let head = self.head(second.clamp(self.now, self.now.saturating_add(SLOTS - 1)));
        let last = std::mem::replace(&mut self.prev[head], row);
        self.next[last as usize] = row;
        self.prev[row as usize] = last;
        self.next[row as usize] = head as u32;
    }

    /// No effect if it is in no slot.
    pub(crate) fn remove(&mut self, row: u32) {
        let (next, prev) = (self.next[row as usize], self.prev[row as usize]);
        if next != NONE {
            self.next[prev as usize] = next;
            self.prev[next as usize] = prev;
            self.next[row as usize] = NONE;
        }
    }

    /// Takes out a row that is due in this second or was before.
    pub(crate) fn pop_due(&mut self, second: u32) -> Option<u32> {
        // After a long sleep each slot once is enough.
        let mut left = SLOTS;
        while self.now <= second {
            let row = self.next[self.head(self.now)];
            if row < self.rows {
                self.remove(row);
                return Some(row);
            }
            left -= 1;
            self.now = if left == 0 { second + 1 } else { self.now + 1 };
            if left == 0 {
                break;
            }
        }
        None
    }

    /// The second up to which nothing is due.
    pub(crate) const fn now(&self) -> u32 {
        self.now
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_row_is_due_in_its_second_and_not_before() {
        let mut wheel = Wheel::new(4);
        assert_eq!(wheel.pop_due(1000), None);
        wheel.set(0, 1005);
        wheel.set(1, 1003);
        wheel.set(2, 1003);
        wheel.set(3, 900); // in the past: at once
        wheel.set(1, 1004);
        let mut due = Vec::new();
        for second in 1001..1010 {
            while let Some(row) = wheel.pop_due(second) {
                due.push((second, row));
            }
        }
        assert_eq!(due, [(1001, 3), (1003, 2), (1004, 1), (1005, 0)]);
        wheel.set(0, 1012);
        wheel.remove(0);
        wheel.remove(0);
        assert_eq!(wheel.pop_due(2000), None);
    }

    #[test]
    fn what_is_too_far_away_is_looked_at_earlier_and_a_long_sleep_ends() {
        let mut wheel = Wheel::new(2);
        wheel.set(0, 50_000);
        assert_eq!(wheel.pop_due(8190), None);
        assert_eq!(wheel.pop_due(8191), Some(0));
        wheel.set(0, 60_000);
        wheel.set(1, 8192);
        assert_eq!([wheel.pop_due(4_000_000), wheel.pop_due(4_000_000)].map(|r| r.is_some()), [true; 2]);
        assert_eq!((wheel.pop_due(4_000_000), wheel.now()), (None, 4_000_001));
    }
}
