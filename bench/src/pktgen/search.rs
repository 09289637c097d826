//! The throughput of RFC 2544 §26.1: the highest rate at which no more than a given share of packets is lost.

/// Bounds of a search.
#[derive(Clone, Copy, Debug)]
pub struct Search {
    /// Packets per second of the first trial.
    pub highest: f64,
    /// The share of packets that may be lost; RFC 2544 means 0.
    pub loss_max: f64,
    /// The search ends when the two bounds differ by less than this share.
    pub resolution: f64,
    pub trials_max: u32,
}

/// One step.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Step {
    pub rate: f64,
    /// The rate that the generator reached.
    pub offered: f64,
    pub loss: f64,
    pub passed: bool,
}

/// All steps in order, and the throughput: the offered rate of the fastest step that passed.
#[derive(Clone, Debug, Default)]
pub struct Found {
    pub steps: Vec<Step>,
    pub throughput: Option<f64>,
}

impl Search {
    /// `trial` sends at a rate and returns the rate that it offered and the share that was lost.
    pub fn run<E>(&self, mut trial: impl FnMut(f64) -> Result<(f64, f64), E>) -> Result<Found, E> {
        let mut found = Found::default();
        let (mut low, mut high) = (0.0, self.highest);
        let mut rate = self.highest;
        for _ in 0..self.trials_max {
            let (offered, loss) = trial(rate)?;
            let passed = loss <= self.loss_max;
            found.steps.push(Step { rate, offered, loss, passed });
            if passed {
                if found.throughput.is_none_or(|best| offered > best) {
                    found.throughput = Some(offered);
                }
                // A generator that cannot reach the rate has no faster one either.
                if rate >= self.highest || offered < rate * (1.0 - self.resolution) {
                    break;
                }
                low = rate;
            } else {
                // The device saw the offered rate, which may be below the one asked for.
                high = rate.min(offered.max(low));
            }
            if high - low <= high * self.resolution {
                break;
            }
            // What the device carried of too much is a good guess; then halfway, in factors once there is a lower bound.
            let carried = offered * (1.0 - loss);
            rate = if !passed && carried > low && carried < high * (1.0 - self.resolution) {
                carried
            } else if low > 0.0 {
                (low * high).sqrt()
            } else {
                f64::midpoint(low, high)
            };
        }
        Ok(found)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SEARCH: Search = Search { highest: 1_000_000.0, loss_max: 0.0, resolution: 0.01, trials_max: 16 };

    /// A device that carries `limit` packets per second and drops the rest, behind a generator that makes `most`.
    fn device(limit: f64, most: f64) -> impl FnMut(f64) -> Result<(f64, f64), ()> {
        move |rate| {
            let offered = rate.min(most);
            Ok((offered, (1.0 - limit / offered).max(0.0)))
        }
    }

    #[test]
    fn the_limit_of_a_device_is_found_within_the_resolution() {
        for limit in [1_000.0, 123_456.0, 500_000.0, 999_000.0] {
            let found = SEARCH.run(device(limit, f64::INFINITY)).expect("no trial fails");
            let throughput = found.throughput.unwrap_or_default();
            assert!(throughput <= limit && throughput >= limit * 0.98, "{limit}: {found:?}");
        }
    }

    #[test]
    fn a_generator_that_is_the_limit_ends_the_search_at_once() {
        let found = SEARCH.run(device(f64::INFINITY, 300_000.0)).expect("no trial fails");
        assert_eq!((found.steps.len(), found.throughput), (1, Some(300_000.0)));
    }

    #[test]
    fn a_device_that_drops_everything_has_no_throughput_and_the_search_ends() {
        let found = SEARCH.run(|rate| Ok::<_, ()>((rate, 1.0))).expect("no trial fails");
        assert_eq!((found.steps.len(), found.throughput), (16, None));
        assert_eq!(SEARCH.run(|_| Err::<(f64, f64), _>("broken")).err(), Some("broken"));
    }

    #[test]
    fn a_tolerated_loss_is_tolerated() {
        let search = Search { loss_max: 0.01, ..SEARCH };
        let found = search.run(device(500_000.0, f64::INFINITY)).expect("no trial fails");
        let throughput = found.throughput.unwrap_or_default();
        assert!((500_000.0..=505_100.0).contains(&throughput), "{found:?}");
    }
}
