//! The carrier's tariff for data calls, without tax.

use sipsec_net::Kbps;

/// The bandwidths up to which a call costs the same: 64 kbps 1 yen, 512 kbps 1.5 yen and 1 Mbps 2 yen for 30 s, 2.6 Mbps
/// 15 yen and above 110 yen for 3 min.
pub const STEPS: [Kbps; 4] = [Kbps(64), Kbps(512), Kbps(1000), Kbps(2600)];

/// Yen of a call, or of a part of one. Started units count whole.
#[must_use]
pub fn yen(rate: Kbps, seconds: u64) -> u64 {
    let units = |length: u64| seconds.div_ceil(length);
    match rate.0 {
        0..=64 => units(30),
        65..=512 => (units(30) * 3).div_ceil(2),
        513..=1000 => units(30) * 2,
        1001..=2600 => units(180) * 15,
        _ => units(180) * 110,
    }
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
