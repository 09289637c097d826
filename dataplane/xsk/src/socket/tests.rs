//! The port on a driver that sleeps, is busy, is full, and returns frames late and out of order. A ledger knows where each
//! chunk is: no step may lose one or find it in two places.

use super::RingPort;
use crate::desc::DescLayout;
use crate::frame::Frame;
use crate::pool::{HEADROOM, Pool, RESERVE};
use crate::port::{BATCH_MAX, Port};
use crate::rings::Rings;
use proptest::prelude::*;
use std::cell::RefCell;
use std::collections::VecDeque;
use std::io;
use std::rc::Rc;
use xsk_rs::FrameDesc;

const CHUNK: u32 = 2048;
const FRAMES: u32 = 256;
const RING: usize = 64;
const FILL_MAX: usize = 48;
const IN_FLIGHT_MAX: usize = 40;

/// Who has a chunk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Owner {
    /// The pool, a frame, or the port.
    Us,
    FillRing,
    /// The driver, to receive into.
    Receiving,
    ReceiveRing,
    TransmitRing,
    /// The driver, to send.
    Sending,
    CompletionRing,
}

/// What `sendto` does next.
#[derive(Clone, Copy, Debug)]
enum Answer {
    /// Takes so many.
    Takes(usize),
    /// EAGAIN of copy mode: takes a batch and says that there are more.
    Again,
    /// Takes nothing: the driver holds its lock.
    Busy,
    /// Takes nothing: the socket's send buffer is full.
    NoBuffers,
    /// The device has gone.
    Gone,
}

struct Driver {
    layout: DescLayout,
    pool: Rc<Pool>,
    ledger: Vec<Owner>,
    fill: VecDeque<usize>,
    fill_room: usize,
    receiving: VecDeque<usize>,
    received: VecDeque<(usize, usize)>,
    transmit: VecDeque<usize>,
    sending: Vec<usize>,
    completed: VecDeque<usize>,
    asleep: bool,
    send_asleep: bool,
    answers: VecDeque<Answer>,
    sent: u64,
}

impl Driver {
    fn pass(&mut self, address: usize, from: Owner, to: Owner) {
        let owner = &mut self.ledger[address / CHUNK as usize];
        assert_eq!(*owner, from, "chunk {} on its way to {to:?}", address / CHUNK as usize);
        *owner = to;
    }

    fn not_ours(&self) -> usize {
        self.ledger.iter().filter(|owner| **owner != Owner::Us).count()
    }

    /// Takes chunks to receive into; a driver that finds none sleeps.
    fn take(&mut self, count: usize) {
        for _ in 0..count {
            let Some(address) = self.fill.pop_front() else {
                self.asleep = true;
                return;
            };
            self.pass(address, Owner::FillRing, Owner::Receiving);
            self.receiving.push_back(address);
        }
    }

    /// Packets arrive, in the oldest chunks or in the latest.
    fn deliver(&mut self, count: usize, len: usize, latest: bool) {
        for _ in 0..count.min(RING - self.received.len()) {
            let address = if latest { self.receiving.pop_back() } else { self.receiving.pop_front() };
            let Some(address) = address else { return };
            self.pass(address, Owner::Receiving, Owner::ReceiveRing);
            self.received.push_back((address + usize::from(HEADROOM), len));
        }
    }

    /// Completes some of what it sends, in any order.
    fn complete(&mut self, count: usize, turn: usize) {
        for n in 0..count.min(self.sending.len()) {
            let address = self.sending.swap_remove((turn + n) % self.sending.len());
            self.pass(address, Owner::Sending, Owner::CompletionRing);
            self.completed.push_back(address);
            assert!(self.completed.len() <= RING, "the completion ring overflows");
        }
    }

    fn transmit(&mut self, count: usize) {
        for _ in 0..count {
            let Some(address) = self.transmit.pop_front() else { return };
            self.pass(address, Owner::TransmitRing, Owner::Sending);
            self.sending.push(address);
            self.sent += 1;
        }
    }
}

struct Double(Rc<RefCell<Driver>>);

impl Rings for Double {
    unsafe fn received(&mut self, out: &mut [FrameDesc]) -> usize {
        let mut driver = self.0.borrow_mut();
        let count = out.len().min(driver.received.len());
        for desc in &mut out[..count] {
            let (address, len) = driver.received.pop_front().expect("counted");
            driver.pass(address, Owner::ReceiveRing, Owner::Us);
            *desc = driver.layout.make(address, len);
        }
        count
    }

    unsafe fn completed(&mut self, out: &mut [FrameDesc]) -> usize {
        let mut driver = self.0.borrow_mut();
        let count = out.len().min(driver.completed.len());
        for desc in &mut out[..count] {
            let address = driver.completed.pop_front().expect("counted");
            driver.pass(address, Owner::CompletionRing, Owner::Us);
            *desc = driver.layout.make(address, 0);
        }
        count
    }

    unsafe fn fill(&mut self, chunks: &[FrameDesc]) -> usize {
        let mut driver = self.0.borrow_mut();
        assert!(driver.pool.free_count() >= RESERVE, "receiving takes nothing of the reserve");
        if driver.fill.len() + chunks.len() > driver.fill_room {
            return 0;
        }
        for desc in chunks {
            driver.pass(desc.addr(), Owner::Us, Owner::FillRing);
            driver.fill.push_back(desc.addr());
        }
        chunks.len()
    }

    unsafe fn send(&mut self, packets: &[FrameDesc]) -> usize {
        let mut driver = self.0.borrow_mut();
        if driver.transmit.len() + packets.len() > RING {
            return 0;
        }
        for desc in packets {
            driver.pass(desc.addr(), Owner::Us, Owner::TransmitRing);
            driver.transmit.push_back(desc.addr());
        }
        packets.len()
    }

    fn fill_needs_wakeup(&self) -> bool {
        self.0.borrow().asleep
    }

    fn wake_fill(&mut self) {
        self.0.borrow_mut().asleep = false;
    }

    fn send_needs_wakeup(&self) -> bool {
        self.0.borrow().send_asleep
    }

    fn wake_send(&mut self) -> io::Result<()> {
        let mut driver = self.0.borrow_mut();
        match driver.answers.pop_front().unwrap_or(Answer::Again) {
            Answer::Takes(count) => driver.transmit(count),
            Answer::Again => driver.transmit(super::KERNEL_TX_BATCH),
            Answer::Busy | Answer::NoBuffers => {}
            Answer::Gone => return Err(io::Error::from_raw_os_error(libc::ENXIO)),
        }
        Ok(())
    }

    fn send_room(&mut self) -> usize {
        RING - self.0.borrow().transmit.len()
    }
}

#[derive(Clone, Debug)]
enum Step {
    Receive(usize),
    /// Sends frames that were received, or new ones.
    Transmit(usize),
    Kick,
    /// Lets go of frames that are held.
    Release(usize),
    /// The driver's.
    Take(usize),
    Deliver(usize, usize, bool),
    Complete(usize, usize),
    /// Of a driver that looks at the ring by itself.
    Transmits(usize),
    SendSleeps(bool),
    FillRoom(usize),
    Answer(Answer),
}

fn answer() -> impl Strategy<Value = Answer> {
    prop_oneof![
        (0..RING).prop_map(Answer::Takes),
        Just(Answer::Again),
        Just(Answer::Busy),
        Just(Answer::NoBuffers),
        Just(Answer::Gone),
    ]
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        3 => (0..=BATCH_MAX).prop_map(Step::Receive),
        3 => (0..=BATCH_MAX).prop_map(Step::Transmit),
        3 => Just(Step::Kick),
        1 => (0..=BATCH_MAX).prop_map(Step::Release),
        3 => (0..=FILL_MAX).prop_map(Step::Take),
        3 => ((0..=RING), (0..1500_usize), any::<bool>()).prop_map(|(n, len, latest)| Step::Deliver(n, len, latest)),
        3 => ((0..=RING), (0..RING)).prop_map(|(n, turn)| Step::Complete(n, turn)),
        1 => (0..=RING).prop_map(Step::Transmits),
        1 => any::<bool>().prop_map(Step::SendSleeps),
        1 => (0..=RING).prop_map(Step::FillRoom),
        2 => answer().prop_map(Step::Answer),
    ]
}

struct Bench {
    pool: Rc<Pool>,
    driver: Rc<RefCell<Driver>>,
    port: RingPort<Double>,
    held: Vec<Frame>,
    accepted: u64,
}

impl Bench {
    fn new() -> Self {
        let layout = DescLayout::probe().expect("a known layout");
        let pool = Pool::heap(FRAMES, CHUNK);
        let driver = Rc::new(RefCell::new(Driver {
            layout,
            pool: Rc::clone(&pool),
            ledger: vec![Owner::Us; FRAMES as usize],
            fill: VecDeque::new(),
            fill_room: RING,
            receiving: VecDeque::new(),
            received: VecDeque::new(),
            transmit: VecDeque::new(),
            sending: Vec::new(),
            completed: VecDeque::new(),
            asleep: false,
            send_asleep: true,
            answers: VecDeque::new(),
            sent: 0,
        }));
        let rings = vec![Double(Rc::clone(&driver))];
        let port = RingPort::new(Rc::clone(&pool), layout, rings, FILL_MAX, IN_FLIGHT_MAX, RING);
        Self { pool, driver, port, held: Vec::new(), accepted: 0 }
    }

    fn step(&mut self, step: Step) {
        match step {
            Step::Receive(max) => {
                let got = self.port.receive(max, &mut self.held);
                assert!(got <= max);
                let driver = self.driver.borrow();
                assert!(
                    !driver.asleep || driver.fill.is_empty(),
                    "a driver that sleeps beside chunks is woken"
                );
            }
            Step::Transmit(count) => {
                for _ in 0..count {
                    let Some(frame) = self.held.pop().or_else(|| self.pool.take()) else { break };
                    match self.port.transmit(frame) {
                        Ok(()) => self.accepted += 1,
                        Err(frame) => {
                            self.held.push(frame);
                            break;
                        }
                    }
                }
            }
            Step::Kick => {
                if let Ok(left) = self.port.kick() {
                    let driver = self.driver.borrow();
                    let expected = if driver.send_asleep { driver.transmit.len() } else { 0 };
                    assert_eq!(left, expected, "what is left is told, so that it is kicked again");
                }
            }
            Step::Release(count) => {
                let from = self.held.len().saturating_sub(count);
                self.held.truncate(from);
            }
            Step::Take(count) => self.driver.borrow_mut().take(count),
            Step::Deliver(count, len, latest) => self.driver.borrow_mut().deliver(count, len, latest),
            Step::Complete(count, turn) => self.driver.borrow_mut().complete(count, turn),
            Step::Transmits(count) => {
                let mut driver = self.driver.borrow_mut();
                if !driver.send_asleep {
                    driver.transmit(count);
                }
            }
            Step::SendSleeps(asleep) => self.driver.borrow_mut().send_asleep = asleep,
            Step::FillRoom(room) => self.driver.borrow_mut().fill_room = room,
            Step::Answer(answer) => self.driver.borrow_mut().answers.push_back(answer),
        }
        self.check();
    }

    /// Each chunk is in one place.
    fn check(&self) {
        let (free, held, queued) = (self.pool.free_count(), self.held.len(), self.port.queued.len());
        let theirs = self.driver.borrow().not_ours();
        assert_eq!(
            free + held + queued + theirs,
            FRAMES as usize,
            "{free} free, {held} held, {queued} queued, {theirs} theirs"
        );
        assert!(self.port.in_flight <= IN_FLIGHT_MAX);
        let driver = self.driver.borrow();
        let under_way = driver.transmit.len() + driver.sending.len() + driver.completed.len();
        assert_eq!(self.port.in_flight, queued + under_way, "what is in flight is counted");
    }

    /// A driver that does what it should, until nothing is under way.
    fn settle(&mut self) {
        self.held.clear();
        {
            let mut driver = self.driver.borrow_mut();
            driver.answers.clear();
            driver.fill_room = RING;
            driver.send_asleep = true;
        }
        for _ in 0..8 {
            self.step(Step::Kick);
            self.step(Step::Complete(RING, 0));
            self.step(Step::Deliver(RING, 64, false));
            self.step(Step::Receive(BATCH_MAX));
            self.held.clear();
        }
    }
}

proptest! {
    #[test]
    fn no_frame_is_lost_or_used_twice(steps in proptest::collection::vec(step(), 1..400)) {
        let mut bench = Bench::new();
        bench.check();
        for step in steps {
            bench.step(step);
        }
        bench.settle();
        let driver = bench.driver.borrow();
        prop_assert_eq!(bench.port.in_flight, 0, "everything was sent and came back");
        prop_assert_eq!(driver.sent, bench.accepted, "each packet was sent once");
        prop_assert_eq!(bench.port.stats().sent, bench.accepted);
        prop_assert_eq!(bench.pool.free_count() + driver.not_ours(), FRAMES as usize);
        // The fill ring is as full as it was in the beginning.
        prop_assert_eq!(driver.fill.len() + driver.receiving.len() + driver.received.len(), FILL_MAX);
    }
}

#[test]
fn a_busy_device_keeps_its_packets_until_it_takes_them() {
    let mut bench = Bench::new();
    for answer in [Answer::Busy, Answer::NoBuffers, Answer::Takes(3), Answer::Takes(0), Answer::Again] {
        bench.step(Step::Answer(answer));
    }
    bench.step(Step::Transmit(10));
    let mut left = Vec::new();
    for _ in 0..5 {
        left.push(bench.port.kick().expect("not gone"));
        bench.check();
    }
    // The third kick goes on after it got three away, and meets the fourth answer.
    assert_eq!(left, [10, 10, 7, 0, 0]);
    assert_eq!(bench.driver.borrow().sent, 10);
}

#[test]
fn a_device_that_is_gone_is_an_error_and_its_packets_stay_accounted_for() {
    let mut bench = Bench::new();
    bench.step(Step::Answer(Answer::Gone));
    bench.step(Step::Transmit(4));
    assert_eq!(bench.port.kick().map_err(|e| e.raw_os_error()), Err(Some(libc::ENXIO)));
    bench.check();
    // It comes back.
    bench.settle();
    assert_eq!((bench.driver.borrow().sent, bench.port.in_flight), (4, 0));
}

#[test]
fn completions_that_are_late_stop_the_sender_before_the_ring_overflows() {
    let mut bench = Bench::new();
    for _ in 0..4 {
        bench.step(Step::Transmit(BATCH_MAX));
        bench.step(Step::Kick);
    }
    assert_eq!((bench.accepted, bench.driver.borrow().sent), (IN_FLIGHT_MAX as u64, IN_FLIGHT_MAX as u64));
    bench.step(Step::Complete(5, 0));
    bench.step(Step::Receive(0));
    bench.step(Step::Transmit(BATCH_MAX));
    assert_eq!(bench.accepted, IN_FLIGHT_MAX as u64 + 5);
}

#[test]
fn a_full_fill_ring_gives_its_chunks_back_and_is_filled_later() {
    let mut bench = Bench::new();
    bench.step(Step::Take(FILL_MAX));
    bench.step(Step::FillRoom(0));
    bench.step(Step::Deliver(10, 64, false));
    bench.step(Step::Receive(BATCH_MAX));
    assert_eq!((bench.held.len(), bench.driver.borrow().fill.len()), (10, 0));
    bench.step(Step::FillRoom(RING));
    bench.step(Step::Receive(BATCH_MAX));
    assert_eq!(bench.driver.borrow().fill.len(), 10);
}
