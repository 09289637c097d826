//! Whether a worker still turns. In looks, not in time: a process that was stopped has not hung.

/// Looks without a turn of the worker until it counts as hung. It never sleeps longer than one.
const LOOKS_WITHOUT_TURN_MAX: u32 = 50;

#[derive(Debug, Default)]
pub struct Watchdog {
    turns: u64,
    looks_without: u32,
    is_told: bool,
}

impl Watchdog {
    pub fn look(&mut self, turns: u64) {
        let turned = std::mem::replace(&mut self.turns, turns) != turns;
        // Before its first turn it has a machine's memory to touch.
        let counts = !turned && turns > 0;
        self.looks_without = if counts { self.looks_without.saturating_add(1) } else { 0 };
        self.is_told &= !turned;
    }

    /// It may have slept through one look.
    #[must_use]
    pub const fn lives(&self) -> bool {
        self.turns > 0 && self.looks_without < LOOKS_WITHOUT_TURN_MAX / 5
    }

    #[must_use]
    pub const fn hangs(&self) -> bool {
        self.looks_without >= LOOKS_WITHOUT_TURN_MAX
    }

    /// That it hangs, once.
    pub const fn has_news(&mut self) -> bool {
        self.hangs() && !std::mem::replace(&mut self.is_told, true)
    }
}
