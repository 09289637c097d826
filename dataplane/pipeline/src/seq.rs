//! Outbound sequence numbers (RFC 4303 §3.3.3). A number is a value that sealing consumes: using one twice does not compile.

/// The right to seal one packet. Not `Clone`: its number is also the IV, and an IV used twice breaks GCM.
#[derive(Debug, PartialEq, Eq)]
pub struct SealSeq(u64);

impl SealSeq {
    /// Gives the number up for one packet.
    pub(crate) const fn consume(self) -> u64 {
        self.0
    }
}

/// The counter of one outbound SA.
#[derive(Debug)]
pub struct SequenceCounter {
    last: u64,
    max: u64,
    soft: u64,
}

/// RFC 4303 §3.3.3: "the sender's counter … MUST NOT be allowed to cycle".
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Exhausted;

impl SequenceCounter {
    #[must_use]
    pub const fn new(esn: bool) -> Self {
        let max = if esn { u64::MAX } else { u32::MAX as u64 };
        // A quarter of the space is left for the rekey.
        Self { last: 0, max, soft: max / 4 * 3 }
    }

    /// RFC 4303 §3.3.3: the first packet has number 1.
    pub const fn next(&mut self) -> Result<SealSeq, Exhausted> {
        if self.last == self.max {
            return Err(Exhausted);
        }
        self.last += 1;
        Ok(SealSeq(self.last))
    }

    /// Whether it is time for a new SA.
    #[must_use]
    pub const fn is_near_end(&self) -> bool {
        self.last >= self.soft
    }

    /// As if so many numbers had been used.
    #[cfg(test)]
    pub(crate) const fn skip(&mut self, numbers: u64) {
        self.last = self.last.saturating_add(numbers);
        if self.last > self.max {
            self.last = self.max;
        }
    }

    /// As if all numbers up to this had been used.
    #[cfg(test)]
    pub(crate) const fn skip_to(&mut self, last: u64) {
        self.last = last;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_stops_before_the_wrap_and_warns_before_that() {
        for (esn, max) in [(false, u64::from(u32::MAX)), (true, u64::MAX)] {
            let mut c = SequenceCounter::new(esn);
            assert_eq!(c.next().map(SealSeq::consume), Ok(1));
            assert!(!c.is_near_end());
            c.last = max - 2;
            assert!(c.is_near_end());
            assert_eq!(c.next().map(SealSeq::consume), Ok(max - 1));
            assert_eq!(c.next().map(SealSeq::consume), Ok(max));
            for _ in 0..3 {
                assert_eq!(c.next(), Err(Exhausted));
            }
        }
    }
}
