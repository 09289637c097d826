//! All interleavings of the algorithms that two processes run on shared memory. Build with `--cfg loom`; see the crate's
//! documentation for the command.
#![cfg(loom)]

use loom::sync::{Arc, Notify};
use loom::thread;
use sipsec_abi::bell::SleepFlag;
use sipsec_abi::handoff::handoff;
use sipsec_abi::ring::{Consumer, Cursors, Geometry, Producer, RingMemory};
use sipsec_abi::seqcell;
use sipsec_abi::sync::{AtomicU64, Ordering};

const SMALL: Geometry = Geometry { capacity: 2, slot_words: 2 };
/// One slot, so that it is used again at once.
const ONE: Geometry = Geometry { capacity: 1, slot_words: 2 };
/// Involuntary switches of thread per execution that are explored. More find nothing new in protocols of this size (each
/// needs two or three for its classic failure) and multiply the time.
const PREEMPTIONS_MAX: usize = 3;

fn explore(test: impl Fn() + Sync + Send + 'static) {
    explore_with(PREEMPTIONS_MAX, test);
}

fn explore_with(preemptions: usize, test: impl Fn() + Sync + Send + 'static) {
    let mut model = loom::model::Builder::new();
    model.preemption_bound = Some(preemptions);
    model.check(test);
}

#[derive(Clone)]
struct Heap(Arc<(Cursors, Vec<AtomicU64>)>);

impl Heap {
    fn new(geometry: Geometry) -> Self {
        let slots = (0..geometry.capacity * geometry.slot_words).map(|_| AtomicU64::new(0)).collect();
        Self(Arc::new((Cursors::default(), slots)))
    }
}

impl RingMemory for Heap {
    fn cursors(&self) -> &Cursors {
        &self.0.0
    }
    fn slots(&self) -> &[AtomicU64] {
        &self.0.1
    }
}

#[test]
fn slots_are_seen_in_order_and_whole_also_when_they_are_used_again() {
    const MESSAGES: u64 = 3;
    explore(|| {
        let memory = Heap::new(ONE);
        let mut producer = Producer::new(memory.clone(), ONE);
        let writer = thread::spawn(move || {
            for n in 1..=MESSAGES {
                while producer.free().expect("an honest cursor") == 0 {
                    thread::yield_now();
                }
                producer.stage(0, &[n, n]);
                producer.publish(1);
            }
        });
        let mut consumer = Consumer::new(memory, ONE);
        for n in 1..=MESSAGES {
            while consumer.available().expect("an honest cursor") == 0 {
                thread::yield_now();
            }
            let mut slot = [0; 2];
            consumer.read(0, 0, &mut slot);
            assert_eq!(slot, [n, n]);
            consumer.wipe(1);
            consumer.release(1);
        }
        writer.join().expect("the writer ends");
    });
}

#[test]
fn what_is_published_together_is_seen_together() {
    explore(|| {
        let memory = Heap::new(SMALL);
        let mut producer = Producer::new(memory.clone(), SMALL);
        let writer = thread::spawn(move || {
            for n in 1..=2 {
                while producer.free().expect("an honest cursor") < 2 {
                    thread::yield_now();
                }
                producer.stage(0, &[n, 1]);
                producer.stage(1, &[n, 2]);
                producer.publish(2);
            }
        });
        let mut consumer = Consumer::new(memory, SMALL);
        for n in 1..=2 {
            let available = loop {
                match consumer.available().expect("an honest cursor") {
                    0 => thread::yield_now(),
                    available => break available,
                }
            };
            assert_eq!(available, 2, "half a transaction was seen");
            let mut slots = [[0; 2]; 2];
            consumer.read(0, 0, &mut slots[0]);
            consumer.read(1, 0, &mut slots[1]);
            assert_eq!(slots, [[n, 1], [n, 2]]);
            consumer.release(2);
        }
        writer.join().expect("the writer ends");
    });
}

/// The consumer really sleeps (loom's `Notify` is an eventfd: a notification waits for its waiter): a lost wake-up is a
/// deadlock, which loom reports.
#[test]
fn no_wake_up_is_lost() {
    explore(|| {
        let memory = Heap::new(SMALL);
        let shared = Arc::new((SleepFlag::default(), Notify::new()));
        let mut producer = Producer::new(memory.clone(), SMALL);
        let bell = shared.clone();
        let writer = thread::spawn(move || {
            for n in 1..=2 {
                // Two messages, two slots: there is always room.
                assert_ne!(producer.free(), Ok(0));
                producer.stage(0, &[n, n]);
                producer.publish(1);
                if bell.0.must_ring() {
                    bell.1.notify();
                }
            }
        });
        let (flag, event) = &*shared;
        let mut consumer = Consumer::new(memory, SMALL);
        let mut received = 0;
        while received < 2 {
            let available = consumer.available().expect("an honest cursor");
            received += available;
            consumer.release(available);
            if received == 2 {
                break;
            }
            flag.announce();
            if consumer.available().expect("an honest cursor") == 0 {
                event.wait();
            }
            flag.withdraw();
        }
        writer.join().expect("the writer ends");
    });
}

/// Two rings with one doorbell, as in each direction of the segment: one of the two producers is told to ring.
#[test]
fn two_producers_share_a_doorbell() {
    explore(|| {
        let shared = Arc::new((SleepFlag::default(), Notify::new(), AtomicU64::new(0), AtomicU64::new(0)));
        let writers = [2, 3].map(|word| {
            let shared = shared.clone();
            thread::spawn(move || {
                let (flag, event, a, b) = &*shared;
                let ring = if word == 2 { a } else { b };
                ring.store(1, Ordering::Release);
                if flag.must_ring() {
                    event.notify();
                }
            })
        });
        let (flag, event, a, b) = &*shared;
        let done = || a.load(Ordering::Acquire) + b.load(Ordering::Acquire);
        let mut seen = 0;
        while seen < 2 {
            flag.announce();
            let now = done();
            if now == seen {
                event.wait();
            }
            flag.withdraw();
            seen = done();
        }
        for writer in writers {
            writer.join().expect("the writer ends");
        }
    });
}

/// Loom's cells report an access that is not ordered after the other side's.
#[test]
fn handed_packets_are_seen_in_order_and_whole() {
    const MESSAGES: u64 = 3;
    for places in [1, 2] {
        explore(move || {
            let (mut to, mut from) = handoff(places, || [0; 2]);
            let writer = thread::spawn(move || {
                for n in 1..=MESSAGES {
                    while !to.send(|place| *place = [n, n]) {
                        thread::yield_now();
                    }
                }
            });
            for n in 1..=MESSAGES {
                let message = loop {
                    match from.receive(|message| *message) {
                        Some(message) => break message,
                        None => thread::yield_now(),
                    }
                };
                assert_eq!(message, [n, n]);
            }
            writer.join().expect("the writer ends");
        });
    }
}

/// A worker sleeps on one bell while others hand packets to it, each by a queue of its own. Three threads: a lost wake-up needs two
/// switches (between a look and the announcement, between the announcement and the sleep), and a third takes minutes.
#[test]
fn a_sleeping_worker_misses_no_packet() {
    explore_with(2, || {
        let bell = Arc::new((SleepFlag::default(), Notify::new()));
        let (ends, mut queues): (Vec<_>, Vec<_>) = (0..2).map(|_| handoff(1, || 0)).unzip();
        let writers: Vec<_> = ends
            .into_iter()
            .map(|mut to| {
                let bell = bell.clone();
                thread::spawn(move || {
                    assert!(to.send(|place| *place = 1), "one message, one place");
                    if bell.0.must_ring() {
                        bell.1.notify();
                    }
                })
            })
            .collect();
        let (flag, event) = &*bell;
        let mut received = 0;
        while received < 2 {
            received += queues.iter_mut().filter_map(|q| q.receive(|m| *m)).sum::<u64>();
            if received == 2 {
                break;
            }
            flag.announce();
            if queues.iter().all(|q| q.is_empty()) {
                event.wait();
            }
            flag.withdraw();
        }
        for writer in writers {
            writer.join().expect("the writer ends");
        }
    });
}

#[test]
fn a_cell_is_read_as_it_was_written_once() {
    explore(|| {
        let cell: Arc<Vec<AtomicU64>> = Arc::new((0..3).map(|_| AtomicU64::new(0)).collect());
        let written = cell.clone();
        let writer = thread::spawn(move || {
            seqcell::write(&written, &[1, 1]);
            seqcell::write(&written, &[2, 2]);
        });
        let mut last = 0;
        for _ in 0..2 {
            let mut words = [0; 2];
            if seqcell::read(&cell, &mut words) {
                assert_eq!(words[0], words[1], "half of a write was seen");
                assert!(words[0] >= last, "an older value came after a newer one");
                last = words[0];
            }
        }
        writer.join().expect("the writer ends");
    });
}
