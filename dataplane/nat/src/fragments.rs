//! The first fragments of packets in several: the others have no ports, and follow them by their identification. A table of
//! fixed size in which the oldest of a row makes room.

use crate::hash::HashKey;
use core::net::Ipv4Addr;

const ROWS: usize = 256;
const PER_ROW: usize = 4;
/// RFC 8200 §4.5 and RFC 1122 §3.3.2 give a receiver 60 seconds.
const LIFETIME_S: u32 = 60;

/// What all fragments of one packet have in common (RFC 791 §3.2), where it was met.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Datagram {
    pub space: u32,
    pub is_out: bool,
    pub source: Ipv4Addr,
    pub destination: Ipv4Addr,
    pub protocol: u8,
    pub identification: u16,
}

/// Its addresses after translation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Translated {
    pub source: Ipv4Addr,
    pub destination: Ipv4Addr,
}

#[derive(Clone, Copy, Debug)]
struct Entry {
    datagram: Datagram,
    translated: Translated,
    since_s: u32,
}

#[derive(Debug)]
pub(crate) struct Fragments {
    key: HashKey,
    rows: Vec<[Option<Entry>; PER_ROW]>,
}

impl Fragments {
    pub(crate) fn new(key: HashKey) -> Self {
        Self { key, rows: vec![[None; PER_ROW]; ROWS] }
    }

    pub(crate) fn clear(&mut self) {
        self.rows.fill([None; PER_ROW]);
    }

    fn row(&self, d: &Datagram) -> usize {
        let addresses = u64::from(d.source.to_bits()) << 32 | u64::from(d.destination.to_bits());
        let rest = u64::from(d.identification) << 16 | u64::from(d.protocol) << 8 | u64::from(d.is_out);
        self.key.hash([addresses, rest, d.space.into()]) as usize % ROWS
    }

    pub(crate) fn put(&mut self, second: u32, datagram: Datagram, translated: Translated) {
        let row = self.row(&datagram);
        let row = &mut self.rows[row];
        let same = row.iter().position(|e| e.is_some_and(|e| e.datagram == datagram));
        let age = |i: &usize| row[*i].map_or(u32::MAX, |e| second.saturating_sub(e.since_s));
        let place = same.or_else(|| (0..PER_ROW).max_by_key(age)).unwrap_or(0);
        row[place] = Some(Entry { datagram, translated, since_s: second });
    }

    pub(crate) fn find(&self, second: u32, datagram: &Datagram) -> Option<Translated> {
        let found = self.rows[self.row(datagram)].iter().flatten().find(|e| e.datagram == *datagram)?;
        (second.saturating_sub(found.since_s) <= LIFETIME_S).then_some(found.translated)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_of_first_fragments_costs_the_oldest_and_time_ends_the_rest() {
        let mut fragments = Fragments::new(HashKey::new([1, 2]));
        let ip = Ipv4Addr::from_bits;
        let datagram = |n: u32| Datagram {
            space: 0,
            is_out: true,
            source: ip(n),
            destination: ip(9),
            protocol: 17,
            identification: 7,
        };
        let to = |n: u32| Translated { source: ip(!n), destination: ip(9) };
        fragments.put(10, datagram(1), to(1));
        assert_eq!(fragments.find(70, &datagram(1)), Some(to(1)));
        assert_eq!(fragments.find(71, &datagram(1)), None);
        assert_eq!(fragments.find(10, &Datagram { is_out: false, ..datagram(1) }), None);
        assert_eq!(fragments.find(10, &Datagram { identification: 8, ..datagram(1) }), None);
        fragments.put(11, datagram(1), to(5));
        assert_eq!(fragments.find(11, &datagram(1)), Some(to(5)), "the same identification again");
        for n in 2..100_000 {
            fragments.put(12, datagram(n), to(n));
            assert_eq!(fragments.find(12, &datagram(n)), Some(to(n)));
        }
        let kept = (0..100_000).filter(|n| fragments.find(12, &datagram(*n)).is_some()).count();
        assert_eq!(kept, ROWS * PER_ROW);
    }
}
