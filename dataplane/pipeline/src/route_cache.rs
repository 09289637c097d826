//! The last answers of the FIB, one for each of some buckets: packets come in flows.

use crate::fib::Answer;
use core::net::IpAddr;

/// For thousands of flows.
const BUCKETS_V4: usize = 2048;
const BUCKETS_V6: usize = 256;

/// Of no answer: the FIB does not change so often.
const NEVER: u64 = u64::MAX;

pub(crate) struct RouteCache {
    v4: Box<[Known<u32>; BUCKETS_V4]>,
    v6: Box<[Known<u128>; BUCKETS_V6]>,
}

#[derive(Clone, Copy)]
struct Known<A> {
    /// Of the FIB that gave the answer.
    generation: u64,
    address: A,
    answer: Answer,
}

impl<A: Copy + PartialEq> Known<A> {
    #[inline]
    fn get(&self, generation: u64, address: A) -> Option<Answer> {
        (self.generation == generation && self.address == address).then_some(self.answer)
    }
}

impl Default for RouteCache {
    fn default() -> Self {
        let answer = Answer::Local;
        Self {
            v4: Box::new([Known { generation: NEVER, address: 0, answer }; BUCKETS_V4]),
            v6: Box::new([Known { generation: NEVER, address: 0, answer }; BUCKETS_V6]),
        }
    }
}

impl RouteCache {
    /// What the FIB of this generation has said about the address, if that is still known.
    #[inline]
    pub(crate) fn get(&self, generation: u64, address: &IpAddr) -> Option<Answer> {
        match address {
            IpAddr::V4(a) => self.v4[bucket_v4(a.to_bits())].get(generation, a.to_bits()),
            IpAddr::V6(a) => self.v6[bucket_v6(a.to_bits())].get(generation, a.to_bits()),
        }
    }

    pub(crate) fn put(&mut self, generation: u64, address: IpAddr, answer: Answer) {
        match address {
            IpAddr::V4(a) => {
                self.v4[bucket_v4(a.to_bits())] = Known { generation, address: a.to_bits(), answer };
            }
            IpAddr::V6(a) => {
                self.v6[bucket_v6(a.to_bits())] = Known { generation, address: a.to_bits(), answer };
            }
        }
    }
}

/// Who chooses addresses that share a bucket slows down what the FIB would have cost without this.
#[inline]
const fn bucket<const BUCKETS: usize>(bits: u64) -> usize {
    (bits.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> (u64::BITS - BUCKETS.trailing_zeros())) as usize
}

#[inline]
const fn bucket_v4(address: u32) -> usize {
    bucket::<BUCKETS_V4>(address as u64)
}

#[inline]
const fn bucket_v6(address: u128) -> usize {
    bucket::<BUCKETS_V6>((address >> 64) as u64 ^ address as u64)
}

#[cfg(test)]
mod tests {
    use super::*;
    use core::net::Ipv4Addr;

    #[test]
    fn an_answer_is_for_one_address_and_one_generation() {
        let mut cache = RouteCache::default();
        let address = |n: u32| IpAddr::V4(Ipv4Addr::from_bits(n));
        assert_eq!(cache.get(0, &address(0)), None, "nothing was asked yet");
        for n in 0..10_000 {
            cache.put(7, address(n), Answer::Tunnel(n));
            assert_eq!(
                (cache.get(7, &address(n)), cache.get(8, &address(n))),
                (Some(Answer::Tunnel(n)), None)
            );
        }
        let known = (0..10_000).filter_map(|n| Some((n, cache.get(7, &address(n))?))).collect::<Vec<_>>();
        assert!(known.iter().all(|(n, answer)| *answer == Answer::Tunnel(*n)) && known.len() <= BUCKETS_V4);
        cache.put(7, "2001:db8::1".parse().expect("valid"), Answer::Local);
        assert_eq!(cache.get(7, &"2001:db8::1".parse().expect("valid")), Some(Answer::Local));
    }
}
