//! The last answers of the FIB, one for each of some buckets: packets come in flows.

use crate::fib::Answer;
use core::net::{IpAddr, Ipv4Addr};

/// 8 KiB: it is to stay in the first cache.
const BUCKETS: usize = 256;

pub(crate) struct RouteCache(Box<[Known; BUCKETS]>);

#[derive(Clone, Copy)]
struct Known {
    address: IpAddr,
    answer: Answer,
    /// Of the FIB that gave it.
    generation: Option<u64>,
}

impl Default for RouteCache {
    fn default() -> Self {
        let none = Known { address: Ipv4Addr::UNSPECIFIED.into(), answer: Answer::Local, generation: None };
        Self(Box::new([none; BUCKETS]))
    }
}

impl RouteCache {
    /// What the FIB of this generation has said about the address, if that is still known.
    #[inline]
    pub(crate) fn get(&self, generation: u64, address: &IpAddr) -> Option<Answer> {
        let known = &self.0[bucket(address)];
        (known.generation == Some(generation) && known.address == *address).then_some(known.answer)
    }

    pub(crate) fn put(&mut self, generation: u64, address: IpAddr, answer: Answer) {
        self.0[bucket(&address)] = Known { address, answer, generation: Some(generation) };
    }
}

/// Who chooses addresses that share a bucket slows down what the FIB would have cost without this.
#[inline]
fn bucket(address: &IpAddr) -> usize {
    let bits = match address {
        IpAddr::V4(a) => u64::from(a.to_bits()),
        IpAddr::V6(a) => (a.to_bits() >> 64) as u64 ^ a.to_bits() as u64,
    };
    (bits.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 56) as usize
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_for_one_address_and_one_generation() {
        let mut cache = RouteCache::default();
        let address = |n: u32| IpAddr::V4(Ipv4Addr::from_bits(n));
        assert_eq!(cache.get(0, &address(0)), None, "nothing was asked yet");
        for n in 0..1000 {
            cache.put(7, address(n), Answer::Tunnel(n));
            assert_eq!(
                (cache.get(7, &address(n)), cache.get(8, &address(n))),
                (Some(Answer::Tunnel(n)), None)
            );
        }
        let known = (0..1000).filter_map(|n| Some((n, cache.get(7, &address(n))?))).collect::<Vec<_>>();
        assert!(known.iter().all(|(n, answer)| *answer == Answer::Tunnel(*n)) && known.len() <= BUCKETS);
        cache.put(7, "2001:db8::1".parse().expect("valid"), Answer::Local);
        assert_eq!(cache.get(7, &"2001:db8::1".parse().expect("valid")), Some(Answer::Local));
    }
}
