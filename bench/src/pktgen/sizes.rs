//! Packet lengths of a stream: one length, or a weighted mix (RFC 6985 calls the latter an IMIX genome).

use super::packet::{Family, LEN_MAX};
use std::fmt;
use std::str::FromStr;

/// Lengths of IP packets with weights, in a fixed order that repeats.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sizes(Vec<(u16, u16)>);

/// More would be a typing error.
const WEIGHT_MAX: u16 = 1_000;
const KINDS_MAX: usize = 16;

impl Sizes {
    /// The simple IMIX, 7:4:1, with lengths that an encrypted path with an MTU of 1500 carries without fragments.
    #[must_use]
    pub fn imix(family: Family) -> Self {
        Self(vec![(family.len_min().max(64), 7), (576, 4), (1400, 1)])
    }

    #[must_use]
    pub fn one(len: u16) -> Self {
        Self(vec![(len, 1)])
    }

    /// The shortest length must hold the headers and the stamp.
    pub fn check(&self, family: Family) -> Result<(), String> {
        match self.0.iter().find(|(len, _)| *len < family.len_min()) {
            Some((len, _)) => Err(format!(
                "a packet of {len} bytes has no room for its stamp: {family} needs at least {} bytes",
                family.len_min()
            )),
            None => Ok(()),
        }
    }

    /// The order of lengths within one round. Lengths are interleaved by weight, so that no size comes in one block.
    #[must_use]
    pub fn round(&self) -> Vec<u16> {
        let total: usize = self.0.iter().map(|(_, weight)| usize::from(*weight)).sum();
        let mut credit = vec![0_i64; self.0.len()];
        let mut round = Vec::with_capacity(total);
        for _ in 0..total {
            for (credit, (_, weight)) in credit.iter_mut().zip(&self.0) {
                *credit += i64::from(*weight);
            }
            let most = credit.iter().enumerate().max_by_key(|(at, credit)| (**credit, usize::MAX - *at));
            let Some((at, _)) = most else { break };
            credit[at] -= total as i64;
            round.push(self.0[at].0);
        }
        round
    }

    /// Bytes per packet on average.
    #[must_use]
    pub fn mean(&self) -> f64 {
        let weights: f64 = self.0.iter().map(|(_, weight)| f64::from(*weight)).sum();
        self.0.iter().map(|(len, weight)| f64::from(*len) * f64::from(*weight)).sum::<f64>() / weights
    }
}

impl fmt::Display for Sizes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let [(len, _)] = self.0[..] {
            return write!(f, "{len}");
        }
        for (at, (len, weight)) in self.0.iter().enumerate() {
            let comma = if at > 0 { "," } else { "" };
            write!(f, "{comma}{len}:{weight}")?;
        }
        Ok(())
    }
}

impl FromStr for Sizes {
    type Err = String;

    /// `512`, or `64:7,576:4,1400:1`.
    fn from_str(text: &str) -> Result<Self, String> {
        let mut kinds = Vec::new();
        for item in text.split(',') {
            let (len, weight) = item.split_once(':').unwrap_or((item, "1"));
            let len: u16 = len.trim().parse().map_err(|_| format!("`{len}` is no length in bytes"))?;
            let weight: u16 = weight.trim().parse().map_err(|_| format!("`{weight}` is no weight"))?;
            if len == 0 || len > LEN_MAX {
                return Err(format!("{len} bytes: lengths are 1 to {LEN_MAX}"));
            }
            if weight == 0 || weight > WEIGHT_MAX {
                return Err(format!("weight {weight}: weights are 1 to {WEIGHT_MAX}"));
            }
            kinds.push((len, weight));
        }
        if kinds.len() > KINDS_MAX {
            return Err(format!("{} lengths: at most {KINDS_MAX}", kinds.len()));
        }
        Ok(Self(kinds))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_round_has_each_length_by_its_weight_and_interleaved() {
        let sizes: Sizes = "64:7,576:4,1400:1".parse().expect("well formed");
        let round = sizes.round();
        let count = |len| round.iter().filter(|l| **l == len).count();
        assert_eq!((round.len(), count(64), count(576), count(1400)), (12, 7, 4, 1));
        assert!(round.windows(3).all(|w| w != [576, 576, 576]), "{round:?}");
        assert_eq!(sizes.to_string(), "64:7,576:4,1400:1");
        assert!((sizes.mean() - (64.0 * 7.0 + 576.0 * 4.0 + 1400.0) / 12.0).abs() < 1e-9);
    }

    #[test]
    fn what_is_no_length_is_refused() {
        for bad in [
            "",
            "0",
            "64:",
            "64:0",
            "70000",
            "9001",
            "64;7",
            "64:1001",
            "1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17",
        ] {
            assert!(bad.parse::<Sizes>().is_err(), "{bad}");
        }
        let short: Sizes = "40".parse().expect("a length");
        assert!(short.check(Family::V4).is_err());
        let enough: Sizes = "46".parse().expect("a length");
        assert_eq!(enough.check(Family::V4), Ok(()));
        assert!(enough.check(Family::V6).is_err());
    }
}
