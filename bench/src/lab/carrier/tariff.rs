//! What a data call costs: the published classes of Hikari Denwa data connect, by negotiated bandwidth.

use std::time::Duration;

/// Prices are in tenths of a yen, since a class costs 1.5 yen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Class {
    /// Highest bandwidth of the class, in kbit/s; `u32::MAX` for the last.
    pub kbps_max: u32,
    pub unit_s: u64,
    pub deciyen_per_unit: u64,
}

pub const CLASSES: [Class; 5] = [
    Class { kbps_max: 64, unit_s: 30, deciyen_per_unit: 10 },
    Class { kbps_max: 512, unit_s: 30, deciyen_per_unit: 15 },
    Class { kbps_max: 1000, unit_s: 30, deciyen_per_unit: 20 },
    Class { kbps_max: 2600, unit_s: 180, deciyen_per_unit: 150 },
    Class { kbps_max: u32::MAX, unit_s: 180, deciyen_per_unit: 1100 },
];

/// Units begun and their price. An answered call costs one unit at least.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Charge {
    pub unit_s: u64,
    pub units: u64,
    pub deciyen: u64,
}

#[must_use]
pub fn charge(kbps: u32, duration: Duration) -> Charge {
    let class = CLASSES.iter().find(|c| kbps <= c.kbps_max).expect("the last class has no limit");
    let unit = Duration::from_secs(class.unit_s).as_nanos();
    let units = u64::try_from(duration.as_nanos().div_ceil(unit)).unwrap_or(u64::MAX).max(1);
    Charge { unit_s: class.unit_s, units, deciyen: units.saturating_mul(class.deciyen_per_unit) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn units_begun_are_paid() {
        let s = Duration::from_secs;
        for (kbps, duration, units, deciyen) in [
            (64, Duration::ZERO, 1, 10),
            (64, s(30), 1, 10),
            (64, s(30) + Duration::from_nanos(1), 2, 20),
            (65, s(10), 1, 15),
            (512, s(90), 3, 45),
            (1000, s(24 * 3600), 2880, 57_600),
            (1001, s(181), 2, 300),
            (10_000, s(1), 1, 1100),
        ] {
            let c = charge(kbps, duration);
            assert_eq!((c.units, c.deciyen), (units, deciyen), "{kbps} kbps, {duration:?}");
        }
    }
}
