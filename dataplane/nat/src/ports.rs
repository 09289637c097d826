//! The ports of a pool's addresses, which hosts get in blocks (RFC 6888 §4, RFC 7422 §2). A block is one host's for TCP, UDP
//! and ICMP together, so that one record of it says who had its ports.

use crate::hash::Random;
use crate::index::NONE;
use core::net::Ipv4Addr;
use sipsec_net::nat::{NatPolicy, NatProtocol};
use std::collections::VecDeque;

const WORD: usize = 64;
const WORDS: usize = 65_536 / WORD;
/// Ports of even number in a word.
const EVEN: u64 = 0x5555_5555_5555_5555;

#[derive(Clone, Copy, Debug)]
struct Block {
    /// The owner's next block of this address.
    next: u32,
    /// Ports that the owner uses.
    used: u16,
}

/// One address of a pool.
#[derive(Debug)]
pub(crate) struct Address {
    pub address: Ipv4Addr,
    /// Which ports are taken, for each protocol. Also by port rules and by the gateway itself, who have no block.
    taken: [Vec<u64>; 3],
    blocks: Vec<Block>,
    /// In the order in which they are given: one that has come back waits longest (RFC 6888 REQ-8).
    free: VecDeque<u32>,
    block_ports: u16,
}

/// The blocks of one host, all of one address (RFC 4787 REQ-2: paired).
#[derive(Clone, Copy, Debug)]
pub(crate) struct Blocks {
    first: u32,
    count: u8,
}

impl Blocks {
    pub(crate) const NONE: Self = Self { first: NONE, count: 0 };
}

/// A block that has changed hands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct BlockRange {
    pub first: u16,
    pub last: u16,
}

/// Where a port was taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Taken {
    pub port: u16,
    /// Of the host that took it; [`NONE`] for one outside of blocks.
    pub block: u32,
    /// The block is new.
    pub got: Option<BlockRange>,
}

const fn class(protocol: NatProtocol) -> usize {
    match protocol {
        NatProtocol::Tcp => 0,
        NatProtocol::Udp => 1,
        NatProtocol::Icmp => 2,
    }
}

impl Address {
    pub(crate) fn new(address: Ipv4Addr, policy: &NatPolicy, random: &mut Random) -> Self {
        let block = u32::from(policy.block_ports);
        let count = 65_536 / block;
        let whole = |b: &u32| {
            b * block >= u32::from(policy.port_first) && (b + 1) * block - 1 <= u32::from(policy.port_last)
        };
        let mut free: Vec<u32> = (0..count).filter(whole).collect();
        for i in (1..free.len()).rev() {
            free.swap(i, random.below(i as u32 + 1) as usize);
        }
        Self {
            address,
            taken: [(); 3].map(|()| vec![0; WORDS]),
            blocks: vec![Block { next: NONE, used: 0 }; count as usize],
            free: free.into(),
            block_ports: policy.block_ports,
        }
    }

    pub(crate) fn has_free_block(&self) -> bool {
        !self.free.is_empty()
    }

    pub(crate) fn range(&self, block: u32) -> BlockRange {
        let first = block * u32::from(self.block_ports);
        BlockRange { first: first as u16, last: (first + u32::from(self.block_ports) - 1) as u16 }
    }

    /// Takes exactly this port; `false` if it is taken.
    pub(crate) fn reserve(&mut self, protocol: NatProtocol, port: u16) -> bool {
        let word = &mut self.taken[class(protocol)][usize::from(port) / WORD];
        let bit = 1 << (usize::from(port) % WORD);
        let is_free = *word & bit == 0;
        *word |= bit;
        is_free
    }

    /// A port for the host, of the same parity as the one that it uses itself (RFC 4787 REQ-4) if there is one: from its
    /// blocks, or from another one if it may have more.
    pub(crate) fn take(
        &mut self,
        blocks: &mut Blocks,
        blocks_max: u8,
        protocol: NatProtocol,
        like: u16,
        random: &mut Random,
    ) -> Option<Taken> {
        let parity = if like.is_multiple_of(2) { EVEN } else { !EVEN };
        if let Some(taken) = self.take_own(*blocks, protocol, parity, random) {
            return Some(taken);
        }
        if blocks.count < blocks_max
            && let Some(block) = self.free.pop_front()
        {
            self.blocks[block as usize] = Block { next: blocks.first, used: 0 };
            (blocks.first, blocks.count) = (block, blocks.count + 1);
            let got = Some(self.range(block));
            let mut taken = self.take_in(block, protocol, parity, random);
            taken = taken.or_else(|| self.take_in(block, protocol, u64::MAX, random));
            if let Some(taken) = taken {
                return Some(Taken { got, ..taken });
            }
            // Port rules have all of it.
            self.give_block(block, blocks);
        }
        self.take_own(*blocks, protocol, u64::MAX, random)
    }

    fn take_own(
        &mut self,
        blocks: Blocks,
        protocol: NatProtocol,
        parity: u64,
        random: &mut Random,
    ) -> Option<Taken> {
        let mut block = blocks.first;
        while block != NONE {
            if let Some(taken) = self.take_in(block, protocol, parity, random) {
                return Some(taken);
            }
            block = self.blocks[block as usize].next;
        }
        None
    }

    /// A port of the block, from a random one on.
    fn take_in(
        &mut self,
        block: u32,
        protocol: NatProtocol,
        parity: u64,
        random: &mut Random,
    ) -> Option<Taken> {
        let words = usize::from(self.block_ports) / WORD;
        let first = block as usize * words;
        let start = random.below(self.block_ports.into()) as usize;
        for step in 0..=words {
            let at = first + (start / WORD + step) % words;
            let mut free = !self.taken[class(protocol)][at] & parity;
            let bit = (start % WORD) as u32;
            // The first word twice: behind the start, and before it.
            if step == 0 {
                free &= u64::MAX << bit;
            } else if step == words {
                free &= !(u64::MAX << bit);
            }
            if free != 0 {
                let bit = free.trailing_zeros();
                self.taken[class(protocol)][at] |= 1 << bit;
                self.blocks[block as usize].used += 1;
                return Some(Taken { port: (at * WORD) as u16 + bit as u16, block, got: None });
            }
        }
        None
    }

    /// Gives a port back; the block too if it was its last, and whose range is returned then.
    pub(crate) fn give(
        &mut self,
        blocks: &mut Blocks,
        protocol: NatProtocol,
        port: u16,
        block: u32,
    ) -> Option<BlockRange> {
        self.taken[class(protocol)][usize::from(port) / WORD] &= !(1 << (usize::from(port) % WORD));
        let place = self.blocks.get_mut(block as usize)?;
        place.used -= 1;
        (place.used == 0).then(|| {
            self.give_block(block, blocks);
            self.range(block)
        })
    }

    fn give_block(&mut self, block: u32, blocks: &mut Blocks) {
        let next = self.blocks[block as usize].next;
        if blocks.first == block {
            blocks.first = next;
        } else {
            let mut before = blocks.first;
            while before != NONE {
                let b = &mut self.blocks[before as usize];
                if b.next == block {
                    b.next = next;
                    break;
                }
                before = b.next;
            }
        }
        blocks.count -= 1;
        self.blocks[block as usize] = Block { next: NONE, used: 0 };
        self.free.push_back(block);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    const POLICY: NatPolicy =
        NatPolicy { port_first: 2000, port_last: 2400, block_ports: 64, blocks_per_host_max: 2, ..DEFAULT };
    const DEFAULT: NatPolicy = NatPolicy {
        filtering: sipsec_net::nat::NatFiltering::EndpointIndependent,
        timeouts: sipsec_net::nat::NatTimeouts {
            udp_s: 1,
            icmp_s: 1,
            tcp_s: 1,
            tcp_transitory_s: 1,
            tcp_syn_s: 1,
        },
        port_first: 0,
        port_last: 0,
        block_ports: 0,
        blocks_per_host_max: 0,
        sessions_per_host_max: 1,
    };

    #[test]
    fn every_port_of_every_block_is_given_once_and_comes_back() {
        let mut random = Random::new(7);
        // Whole blocks between 2000 and 2400: 2048 to 2367.
        let mut address = Address::new(Ipv4Addr::LOCALHOST, &POLICY, &mut random);
        assert!(address.reserve(NatProtocol::Udp, 2048) && !address.reserve(NatProtocol::Udp, 2048));
        let mut given = BTreeSet::new();
        let mut hosts = Vec::new();
        for expected in [2, 2, 1, 0] {
            let mut blocks = Blocks::NONE;
            let mut take = || address.take(&mut blocks, 2, NatProtocol::Udp, 5000, &mut random);
            let taken: Vec<Taken> = std::iter::from_fn(&mut take).collect();
            assert!(taken.iter().all(|t| given.insert(t.port)), "none twice");
            let got = taken.iter().filter(|t| t.got.is_some()).count();
            assert_eq!(got, expected, "two at most, five in all");
            hosts.push((blocks, taken));
        }
        assert_eq!(given, (2049..2368).collect());
        // Another protocol has the same ports, and no block is left for it but the host's own.
        let mut blocks = hosts[0].0;
        let icmp = address.take(&mut blocks, 2, NatProtocol::Icmp, 4, &mut random).expect("a port");
        assert!(icmp.got.is_none() && icmp.port.is_multiple_of(2));
        assert!(address.give(&mut blocks, NatProtocol::Icmp, icmp.port, icmp.block).is_none());
        for (host, (mut blocks, taken)) in hosts.into_iter().enumerate() {
            let back: Vec<_> = taken
                .iter()
                .filter_map(|t| address.give(&mut blocks, NatProtocol::Udp, t.port, t.block))
                .collect();
            assert_eq!((back.len(), blocks.count), ([2, 2, 1, 0][host], 0));
        }
        assert_eq!(address.free.len(), 5);
        assert!(address.taken.iter().flatten().map(|w| w.count_ones()).sum::<u32>() == 1, "the reserved one");
    }

    #[test]
    fn parity_is_kept_while_it_can_be() {
        let mut random = Random::new(3);
        let mut address = Address::new(Ipv4Addr::LOCALHOST, &POLICY, &mut random);
        let mut blocks = Blocks::NONE;
        for n in 0..128 {
            let port =
                address.take(&mut blocks, 2, NatProtocol::Udp, 5001, &mut random).expect("a port").port;
            assert_eq!(port % 2 == 1, n < 64, "{n}: {port}");
        }
    }
}
