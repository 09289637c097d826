//! The carrier's tariff for data calls, without tax.

use sipsec_net::Kbps;
use std::time::Duration;

/// The bandwidths up to which a call costs the same: 64 kbps 1 yen, 512 kbps 1.5 yen and 1 Mbps 2 yen for 30 s, 2.6 Mbps
/// 15 yen and above 110 yen for 3 min.
pub const STEPS: [Kbps; 4] = [Kbps(64), Kbps(512), Kbps(1000), Kbps(2600)];

/// Length of a unit in seconds, and its price in tenths of a yen.
const fn unit(rate: Kbps) -> (u64, u64) {
    match rate.0 {
        0..=64 => (30, 10),
        65..=512 => (30, 15),
        513..=1000 => (30, 20),
        1001..=2600 => (180, 150),
        _ => (180, 1100),
    }
}

/// Yen of a part of a call. Started units count whole, and a started yen, too.
#[must_use]
pub fn yen(rate: Kbps, seconds: u64) -> u64 {
    let (length, tenths) = unit(rate);
    (seconds.div_ceil(length) * tenths).div_ceil(10)
}

/// What a whole call costs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Charge {
    /// Units that were begun.
    pub units: u64,
    /// Length of one, in seconds.
    pub unit_s: u64,
    pub yen_tenths: u64,
}

/// The price of a call that was answered: at least one unit.
#[must_use]
pub fn charge(rate: Kbps, lasted: Duration) -> Charge {
    let (unit_s, tenths) = unit(rate);
    let units = lasted.as_nanos().div_ceil(Duration::from_secs(unit_s).as_nanos()).max(1);
    let units = u64::try_from(units).unwrap_or(u64::MAX);
    Charge { units, unit_s, yen_tenths: units.saturating_mul(tenths) }
}

/// The unit that is charged whole, in seconds.
#[must_use]
pub const fn unit_s(rate: Kbps) -> u64 {
    if rate.0 <= 1000 { 30 } else { 180 }
}

/// The bandwidth that costs as much as `rate`; `None` above the last step.
#[must_use]
pub fn step(rate: Kbps) -> Option<Kbps> {
    STEPS.into_iter().find(|step| rate <= *step)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn half_an_hour_of_silence_at_one_megabit_costs_134_yen() {
        assert_eq!(yen(Kbps(1000), 2000), 134);
        assert_eq!(yen(Kbps(64), 120), 4);
        assert_eq!(yen(Kbps(512), 31), 3);
        assert_eq!(yen(Kbps(2600), 181), 30);
    }

    #[test]
    fn a_unit_that_was_begun_is_paid() {
        let of = |rate, lasted| {
            let c = charge(Kbps(rate), lasted);
            (c.units, c.yen_tenths)
        };
        assert_eq!(of(64, Duration::ZERO), (1, 10));
        assert_eq!(of(65, Duration::from_secs(30)), (1, 15));
        assert_eq!(of(512, Duration::from_millis(30_001)), (2, 30));
        assert_eq!(of(1000, Duration::from_secs(86_400)), (2880, 57_600));
        assert_eq!(of(2600, Duration::from_secs(181)), (2, 300));
        assert_eq!(of(100_000, Duration::from_secs(1)), (1, 1100));
        assert_eq!(
            of(u32::MAX, Duration::MAX).0,
            u64::try_from(Duration::MAX.as_nanos().div_ceil(180_000_000_000)).unwrap_or(u64::MAX)
        );
    }

    #[test]
    fn a_step_costs_what_its_last_kilobit_costs() {
        assert_eq!(step(Kbps(128)), Some(Kbps(512)));
        assert_eq!(step(Kbps(512)), Some(Kbps(512)));
        assert_eq!(step(Kbps(2601)), None);
        for rate in [1, 64, 65, 300, 900, 2000] {
            let step = step(Kbps(rate)).expect("a step");
            assert_eq!(yen(Kbps(rate), 100), yen(step, 100), "{rate}");
        }
    }
}
