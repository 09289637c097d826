//! The ring against a queue, over any sequence of what its two ends can do.

use crate::ring::{Consumer, Cursors, Geometry, Producer, RingMemory};
use crate::sync::AtomicU64;
use proptest::prelude::*;
use std::collections::VecDeque;
use std::rc::Rc;

const GEOMETRY: Geometry = Geometry { capacity: 8, slot_words: 3 };

#[derive(Clone)]
struct Heap(Rc<(Cursors, Vec<AtomicU64>)>);

impl RingMemory for Heap {
    fn cursors(&self) -> &Cursors {
        &self.0.0
    }
    fn slots(&self) -> &[AtomicU64] {
        &self.0.1
    }
}

#[derive(Clone, Debug)]
enum Step {
    /// Stage so many slots and publish them, if there is room for all.
    Push(usize),
    /// Stage as many as there is room for, and die before publishing.
    StageOnly(usize),
    /// Read so many, wipe and release them, or as many as there are.
    Pop(usize),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        (0..=10usize).prop_map(Step::Push),
        (1..=8usize).prop_map(Step::StageOnly),
        (0..=10usize).prop_map(Step::Pop),
    ]
}

proptest! {
    #[test]
    fn a_ring_is_a_bounded_queue(steps in proptest::collection::vec(step(), 1..200)) {
        let slots = (0..GEOMETRY.capacity * GEOMETRY.slot_words).map(|_| AtomicU64::new(0)).collect();
        let memory = Heap(Rc::new((Cursors::default(), slots)));
        let mut producer = Producer::new(memory.clone(), GEOMETRY);
        let mut consumer = Consumer::new(memory, GEOMETRY);
        let mut model = VecDeque::new();
        let mut next = 1u64;
        for step in steps {
            match step {
                Step::Push(count) => {
                    let free = producer.free().expect("an honest cursor");
                    prop_assert_eq!(free, GEOMETRY.capacity - model.len());
                    if count > free {
                        producer.overflow();
                        continue;
                    }
                    for ahead in 0..count {
                        let slot = [next, !next, next.wrapping_mul(7)];
                        producer.stage(ahead, &slot);
                        model.push_back(slot);
                        next += 1;
                    }
                    producer.publish(count);
                }
                Step::StageOnly(count) => {
                    let free = producer.free().expect("an honest cursor");
                    for ahead in 0..count.min(free) {
                        producer.stage(ahead, &[u64::MAX; 3]);
                    }
                }
                Step::Pop(count) => {
                    let available = consumer.available().expect("an honest cursor");
                    prop_assert_eq!(available, model.len());
                    let count = count.min(available);
                    for ahead in 0..count {
                        let (mut whole, mut tail) = ([0; 3], [0; 1]);
                        consumer.read(ahead, 0, &mut whole);
                        consumer.read(ahead, 2, &mut tail);
                        let expected = model.pop_front().expect("as many as the ring");
                        prop_assert_eq!(whole, expected);
                        prop_assert_eq!(tail[0], expected[2]);
                    }
                    consumer.wipe(count);
                    consumer.release(count);
                }
            }
            prop_assert_eq!(consumer.overflowed(), producer.overflowed());
        }
        prop_assert_eq!((producer.faults(), consumer.faults()), (0, 0));
    }
}
