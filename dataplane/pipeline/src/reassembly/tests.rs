use super::*;
use proptest::prelude::*;
use std::collections::{BTreeMap, BTreeSet};

const TIMEOUT: Duration = Duration::from_secs(3);
const LIMITS: ReassemblyLimits =
    ReassemblyLimits { datagrams_max: 6, per_peer_max: 3, fragments_max: 8, timeout: TIMEOUT };

fn at(ms: u64) -> Instant {
    Instant::ZERO + Duration::from_millis(ms)
}

fn key(peer: u8, identification: u32) -> DatagramKey {
    let ip = |last| IpAddr::from([192, 0, 2, last]);
    DatagramKey { source: ip(peer), destination: ip(200), identification }
}

fn header(key: DatagramKey, offset: u16, more: bool) -> FragmentHeader {
    FragmentHeader { key, offset, more, class: 0 }
}

struct Bench {
    reassembly: Reassembly,
    drops: Drops,
}

impl Bench {
    fn new() -> Self {
        Self { reassembly: Reassembly::new(LIMITS, 7), drops: [0; DropReason::COUNT] }
    }

    fn take(
        &mut self,
        ms: u64,
        header: &FragmentHeader,
        payload: &[u8],
    ) -> Result<Option<Vec<u8>>, DropReason> {
        let taken = self.reassembly.take(at(ms), header, payload, &mut self.drops);
        taken.map(|whole| whole.map(|w| w.bytes.to_vec()))
    }

    fn lost(&self, reason: DropReason) -> u64 {
        self.drops[reason.index()]
    }
}

fn bytes(n: usize) -> Vec<u8> {
    (0..n).map(|i| (i * 7 + i / 256) as u8).collect()
}

#[test]
fn any_order_makes_the_datagram() {
    let whole = bytes(8 * 9 + 3);
    let cuts = [0, 24, 48, whole.len()];
    for order in [[0, 1, 2], [2, 1, 0], [1, 2, 0], [0, 2, 1]] {
        let mut b = Bench::new();
        let mut made = None;
        for i in order {
            let h = header(key(1, 5), cuts[i] as u16, i < 2);
            made = b.take(0, &h, &whole[cuts[i]..cuts[i + 1]]).expect("fits");
        }
        assert_eq!(made.as_deref(), Some(&whole[..]), "{order:?}");
        assert_eq!((b.reassembly.held(), b.lost(DropReason::FragmentTaken)), (0, 2));
        assert_eq!(b.reassembly.deadline(), Instant::MAX);
    }
}

#[test]
fn a_copy_is_dropped_alone_and_an_overlap_ends_the_datagram() {
    let mut b = Bench::new();
    let first = header(key(1, 5), 0, true);
    assert_eq!(b.take(0, &first, &[1; 16]), Ok(None));
    assert_eq!(b.take(1, &first, &[1; 16]), Err(DropReason::FragmentDuplicate));
    // RFC 5722 §3: the same place with other bytes, or eight bytes of it.
    let mut other = Bench::new();
    for (n, (overlap, payload)) in
        [(header(key(1, 5), 0, true), [2; 16]), (header(key(1, 5), 8, true), [1; 16])].iter().enumerate()
    {
        let b = if n == 0 { &mut b } else { &mut other };
        let _ = b.take(0, &first, &[1; 16]);
        assert_eq!(b.take(2, overlap, payload), Err(DropReason::FragmentOverlap));
        assert_eq!((b.lost(DropReason::FragmentOverlap), b.reassembly.held()), (1, 0));
        // "including those not yet received".
        assert_eq!(b.take(3, &header(key(1, 5), 16, false), &[9; 4]), Err(DropReason::FragmentOverlap));
        assert_eq!(b.take(3, &first, &[1; 16]), Err(DropReason::FragmentOverlap));
        b.reassembly.expire(at(3000), &mut b.drops);
        assert_eq!(b.take(3001, &first, &[1; 16]), Ok(None), "the identification is free again");
    }
}

#[test]
fn fragments_that_disagree_about_the_end_end_the_datagram() {
    for (second, payload) in [
        // Behind the last; another last; more behind what was the last; a last before what has come.
        (header(key(1, 1), 32, true), 8),
        (header(key(1, 1), 32, false), 8),
        (header(key(1, 1), 8, true), 8),
    ] {
        let mut b = Bench::new();
        assert_eq!(b.take(0, &header(key(1, 1), 16, false), &[0; 4]), Ok(None));
        let taken = b.take(0, &second, &vec![0; payload]);
        let fits = second.offset + (payload as u16) < 20;
        assert_eq!(taken, if fits { Ok(None) } else { Err(DropReason::FragmentOverlap) });
    }
    let mut b = Bench::new();
    assert_eq!(b.take(0, &header(key(1, 1), 16, true), &[0; 8]), Ok(None));
    assert_eq!(b.take(0, &header(key(1, 1), 0, false), &[0; 8]), Err(DropReason::FragmentOverlap));
}

#[test]
fn what_no_sender_makes_is_malformed_and_holds_nothing() {
    let mut b = Bench::new();
    for (h, len) in [
        (header(key(1, 1), 8, false), 0),
        (header(key(1, 1), 0, true), 12),
        (header(key(1, 1), 65_528, false), 8),
    ] {
        assert_eq!(b.take(0, &h, &vec![0; len]), Err(DropReason::FragmentMalformed));
    }
    assert_eq!((b.reassembly.held(), b.reassembly.deadline()), (0, Instant::MAX));
    assert_eq!(b.take(0, &header(key(1, 1), 1600, false), &[0; 108]), Ok(None));
    assert_eq!(b.take(0, &header(key(1, 2), 1600, false), &[0; 109]), Err(DropReason::OuterTooLong));
    assert_eq!(b.reassembly.held(), 1);
}

#[test]
fn without_room_the_oldest_ends_of_the_same_peer_first() {
    let mut b = Bench::new();
    let first = |peer, id| header(key(peer, id), 0, true);
    let last = |peer, id| header(key(peer, id), 8, false);
    for id in 0..3 {
        assert_eq!(b.take(id.into(), &first(1, id), &[0; 8]), Ok(None));
    }
    assert_eq!(b.take(3, &first(1, 3), &[0; 8]), Ok(None));
    assert_eq!(b.lost(DropReason::FragmentLimit), 1);
    assert!(b.take(3, &last(1, 1), &[0; 8]).is_ok_and(|whole| whole.is_some()));
    // The first of the same peer waits again, as the last of a datagram that has begun anew.
    for peer in 2..6 {
        assert_eq!(b.take(10, &first(peer, 0), &[0; 8]), Ok(None));
    }
    assert_eq!(b.take(11, &first(7, 0), &[0; 8]), Ok(None), "all have room for six");
    assert_eq!(b.lost(DropReason::FragmentLimit), 2);
    assert_eq!(b.take(11, &last(1, 2), &[0; 8]), Ok(None), "the oldest of all has gone");
}

#[test]
fn a_datagram_of_too_many_fragments_ends() {
    let mut b = Bench::new();
    for n in 0..8 {
        assert_eq!(b.take(0, &header(key(1, 1), n * 8, true), &[0; 8]), Ok(None));
    }
    assert_eq!(b.take(0, &header(key(1, 1), 64, false), &[0; 8]), Err(DropReason::FragmentLimit));
    assert_eq!((b.lost(DropReason::FragmentLimit), b.reassembly.held()), (8, 0));
}

#[test]
fn time_ends_what_lacks_a_fragment() {
    let mut b = Bench::new();
    assert_eq!(b.take(5, &header(key(1, 1), 0, true), &[0; 8]), Ok(None));
    assert_eq!(b.take(2000, &header(key(1, 1), 8, true), &[0; 8]), Ok(None));
    assert_eq!(b.reassembly.deadline(), at(3005), "counted from the first that came");
    b.reassembly.expire(at(3004), &mut b.drops);
    assert_eq!(b.reassembly.held(), 2);
    b.reassembly.expire(at(3005), &mut b.drops);
    assert_eq!((b.lost(DropReason::FragmentTimeout), b.reassembly.held()), (2, 0));
}

#[test]
fn marks_of_fragments_are_the_datagrams() {
    let classes = |first: u8, last: u8| {
        let mut b = Bench::new();
        let h = |offset, more, class| FragmentHeader { class, ..header(key(1, 1), offset, more) };
        let _ = b.reassembly.take(at(0), &h(8, false, last), &[0; 8], &mut b.drops);
        let taken = b.reassembly.take(at(0), &h(0, true, first), &[0; 8], &mut b.drops);
        let end = taken.map(|w| w.map(|w| w.class));
        (end, b.drops[DropReason::EcnIllegal.index()])
    };
    assert_eq!(classes(0xb8, 0), (Ok(Some(0xb8)), 0));
    assert_eq!(classes(0xba, 0xba), (Ok(Some(0xba)), 0));
    assert_eq!(classes(0xba, 0xbb), (Ok(Some(0xbb)), 0));
    assert_eq!(classes(0xbb, 0x02), (Ok(Some(0xbb)), 0));
    // RFC 3168 §5.3: "must be discarded". The caller counts the other.
    assert_eq!(classes(0xb8, 0xbb), (Err(DropReason::EcnIllegal), 1));
}

/// What the table should do, in plain words: all fragments of each datagram, kept for its time.
#[derive(Default)]
struct Model {
    /// In the order in which they began.
    open: Vec<Open>,
}

/// By their offsets: the bytes, and whether more follow.
type Parts = BTreeMap<u16, (Vec<u8>, bool)>;

struct Open {
    key: DatagramKey,
    since: u64,
    parts: Parts,
    is_broken: bool,
}

impl Model {
    fn take(&mut self, ms: u64, h: &FragmentHeader, payload: &[u8]) -> Result<Option<Vec<u8>>, DropReason> {
        if !self.open.iter().any(|o| o.key == h.key) {
            let of_peer = self.open.iter().filter(|o| o.key.source == h.key.source).count();
            if of_peer >= LIMITS.per_peer_max.into() {
                let oldest = self.open.iter().position(|o| o.key.source == h.key.source).expect("counted");
                self.open.remove(oldest);
            } else if self.open.len() >= LIMITS.datagrams_max as usize {
                self.open.remove(0);
            }
            self.open.push(Open { key: h.key, since: ms, parts: Parts::new(), is_broken: false });
        }
        let index = self.open.iter().position(|o| o.key == h.key).expect("open");
        let Open { parts, is_broken, .. } = &mut self.open[index];
        if *is_broken {
            return Err(DropReason::FragmentOverlap);
        }
        if parts.get(&h.offset) == Some(&(payload.to_vec(), h.more)) {
            return Err(DropReason::FragmentDuplicate);
        }
        let covered =
            |from: u16, len: usize| (usize::from(from)..usize::from(from) + len).collect::<BTreeSet<_>>();
        let own = covered(h.offset, payload.len());
        let mut all = parts.clone();
        let overlaps = parts.iter().any(|(s, (p, _))| !covered(*s, p.len()).is_disjoint(&own));
        if !overlaps {
            all.insert(h.offset, (payload.to_vec(), h.more));
        }
        let ends: Vec<usize> =
            all.iter().filter(|(_, (_, more))| !more).map(|(s, (p, _))| usize::from(*s) + p.len()).collect();
        let past = ends.first().is_some_and(|end| {
            all.iter().any(|(s, (p, more))| {
                let stop = usize::from(*s) + p.len();
                stop > *end || *more && stop == *end
            })
        });
        if overlaps || ends.len() > 1 || past {
            *is_broken = true;
            parts.clear();
            return Err(DropReason::FragmentOverlap);
        }
        if all.len() > LIMITS.fragments_max.into() {
            self.open.remove(index);
            return Err(DropReason::FragmentLimit);
        }
        *parts = all;
        let whole: Vec<u8> = parts.values().flat_map(|(p, _)| p.clone()).collect();
        if ends.first() == Some(&whole.len()) {
            self.open.remove(index);
            return Ok(Some(whole));
        }
        Ok(None)
    }

    fn expire(&mut self, ms: u64) {
        self.open.retain(|o| o.since + 3000 > ms);
    }

    fn held(&self) -> usize {
        self.open.iter().map(|o| o.parts.len()).sum()
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    /// In any order, with copies, overlaps, gaps and pauses: the table does what the model does, and every fragment has one end.
    #[test]
    fn the_table_is_the_model(steps in prop::collection::vec(
        (1u8..4, 0u32..4, 0u16..6, 1usize..4, any::<bool>(), 0u8..8, 0u64..400), 1..120
    )) {
        let (mut b, mut model, mut ms) = (Bench::new(), Model::default(), 0);
        let (mut given, mut ended) = (0u64, 0u64);
        for (peer, id, offset, len, more, odd, pause) in steps {
            ms += if pause > 390 { 3000 } else { pause / 20 };
            b.reassembly.expire(at(ms), &mut b.drops);
            model.expire(ms);
            let h = header(key(peer, id), offset * 8, more);
            // The same bytes for the same place, as a sender has, but for a few.
            let salt = u8::from(odd == 0);
            let payload: Vec<u8> = (0..len * 8).map(|i| (usize::from(offset) * 8 + i) as u8 ^ salt).collect();
            let payload = if more { &payload[..] } else { &payload[..len * 8 - usize::from(odd)] };
            given += 1;
            let (got, expected) = (b.take(ms, &h, payload), model.take(ms, &h, payload));
            prop_assert_eq!(&got, &expected);
            ended += u64::from(!matches!(got, Ok(None)));
            let held = b.reassembly.held();
            prop_assert_eq!(held as usize, model.held());
            prop_assert_eq!(given, ended + b.drops.iter().sum::<u64>() + u64::from(held));
            prop_assert!(model.open.len() <= LIMITS.datagrams_max as usize);
            prop_assert_eq!(b.reassembly.deadline(), model.open.first().map_or(Instant::MAX, |o| at(o.since + 3000)));
        }
        b.reassembly.expire(at(ms + 3000), &mut b.drops);
        prop_assert_eq!((b.reassembly.held(), b.reassembly.free.len()), (0, LIMITS.datagrams_max as usize));
    }
}
