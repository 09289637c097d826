//! Two sessions and a line between them, with a clock of its own.

use super::*;
use sipsec_net::entropy::TestEntropy;

fn ms(n: u64) -> Duration {
    Duration::from_millis(n)
}

const FAST: Timing =
    Timing { transmit: Duration::from_millis(50), receive: Duration::from_millis(50), multiplier: 3 };

struct Pair {
    now: Instant,
    ends: [Session; 2],
    entropy: TestEntropy,
    /// Whether packets of each end reach the other.
    passes: [bool; 2],
    sent: Vec<(Instant, usize, Packet)>,
}

impl Pair {
    fn new(timing: [Timing; 2]) -> Self {
        let mut entropy = TestEntropy::new(7);
        let ends = timing.map(|t| Session::new(t, Instant::ZERO, &mut entropy));
        Self { now: Instant::ZERO, ends, entropy, passes: [true; 2], sent: Vec::new() }
    }

    fn exchange(&mut self) {
        loop {
            let Some((from, bytes)) = (0..2).find_map(|end| Some((end, self.ends[end].transmit()?))) else {
                return;
            };
            let packet = Packet::read(&bytes).expect("our own");
            self.sent.push((self.now, from, packet));
            if self.passes[from] {
                self.ends[1 - from].received(self.now, &packet, &mut self.entropy);
            }
        }
    }

    fn run(&mut self, time: Duration) {
        let until = self.now + time;
        while let Some(at) = self.ends.iter().filter_map(Session::due).min().filter(|at| *at <= until) {
            self.now = at;
            for end in &mut self.ends {
                if end.due().is_some_and(|due| due <= at) {
                    end.timeout(at, &mut self.entropy);
                }
            }
            self.exchange();
        }
        self.now = until;
    }

    fn states(&self) -> [SessionState; 2] {
        [self.ends[0].state, self.ends[1].state]
    }
}

use SessionState::{AdminDown, Down, Init, Up};

#[test]
fn three_packets_bring_it_up_and_a_poll_makes_it_fast() {
    let mut pair = Pair::new([FAST, FAST]);
    assert_eq!(pair.ends[0].path(), State::Unknown);
    pair.run(ms(3000));
    assert_eq!(pair.states(), [Up, Up]);
    assert_eq!([pair.ends[0].path(), pair.ends[1].path()], [State::Up; 2]);
    // §6.8.3: before it is up, no interval is announced below one second.
    let early = pair.sent.iter().filter(|(_, _, p)| p.state != Up);
    assert!(early.clone().count() > 0 && early.clone().all(|(_, _, p)| p.desired_min_tx >= SLOW));
    assert!(pair.sent.iter().any(|(_, _, p)| p.poll) && pair.sent.iter().any(|(_, _, p)| p.final_));
    assert!(pair.sent.iter().all(|(_, _, p)| !(p.poll && p.final_)), "§6.5: never both");
    assert!(pair.ends.iter().all(|e| !e.polling), "each poll was answered");
    // §6.8.7: 75 to 100 % of 50 ms.
    let of_first: Vec<_> =
        pair.sent.iter().filter(|(at, from, _)| *from == 0 && *at > Instant::ZERO + ms(2000)).collect();
    assert!(of_first.len() >= 20);
    for pair in of_first.windows(2) {
        let gap = pair[1].0.saturating_duration_since(pair[0].0);
        assert!((ms(37)..=ms(50)).contains(&gap), "{gap:?}");
    }
}

#[test]
fn silence_is_noticed_within_the_detection_time() {
    let mut pair = Pair::new([FAST, FAST]);
    pair.run(ms(3000));
    pair.passes = [true, false];
    let cut = pair.now;
    while pair.ends[0].state == Up {
        pair.run(ms(1));
    }
    let noticed = pair.now.saturating_duration_since(cut);
    assert!((ms(100)..=ms(151)).contains(&noticed), "{noticed:?}");
    assert_eq!((pair.ends[0].path(), pair.ends[0].diagnostic), (State::Down, Diagnostic::DETECTION_EXPIRED));
    // The other end still hears, and learns it by the state at once.
    assert_eq!((pair.ends[1].state, pair.ends[1].diagnostic), (Down, Diagnostic::NEIGHBOUR_DOWN));
    pair.run(ms(5000));
    assert_ne!(pair.states(), [Up, Up], "one way only is not up");
    pair.passes = [true, true];
    pair.run(ms(3000));
    assert_eq!(pair.states(), [Up, Up]);
}

#[test]
fn the_slower_end_decides() {
    let slow = Timing { transmit: ms(300), receive: ms(200), multiplier: 5 };
    let mut pair = Pair::new([FAST, slow]);
    pair.run(ms(5000));
    assert_eq!(pair.states(), [Up, Up]);
    // §6.8.4: the other's multiplier, and the greater of its transmit and our receive interval.
    assert_eq!((pair.ends[0].detection(), pair.ends[1].detection()), (ms(1500), ms(600)));
    assert_eq!((pair.ends[0].view().transmit, pair.ends[1].view().transmit), (ms(200), ms(300)));
}

#[test]
fn a_neighbour_that_is_never_there_is_down_after_a_while() {
    let mut pair = Pair::new([FAST, FAST]);
    pair.passes = [false, false];
    pair.run(ms(2900));
    assert_eq!(pair.ends[0].path(), State::Unknown);
    pair.run(ms(200));
    assert_eq!(pair.ends[0].path(), State::Down);
    assert!(pair.ends[0].packets_out < 6, "one a second at most");
}

fn packet(state: SessionState, session: &Session) -> Packet {
    Packet {
        diagnostic: Diagnostic::NONE,
        state,
        poll: false,
        final_: false,
        demand: false,
        multiplier: 3,
        my_discriminator: 77,
        your_discriminator: session.discriminator(),
        desired_min_tx: ms(50),
        required_min_rx: ms(50),
    }
}

#[test]
fn the_state_machine_is_that_of_the_rfc() {
    // §6.2 and §6.8.6: (state, received) → state.
    let table = [
        (Down, AdminDown, Down),
        (Down, Down, Init),
        (Down, Init, Up),
        (Down, Up, Down),
        (Init, AdminDown, Down),
        (Init, Down, Init),
        (Init, Init, Up),
        (Init, Up, Up),
        (Up, AdminDown, Down),
        (Up, Down, Down),
        (Up, Init, Up),
        (Up, Up, Up),
    ];
    for (from, received, to) in table {
        let mut entropy = TestEntropy::new(1);
        let mut session = Session::new(FAST, Instant::ZERO, &mut entropy);
        session.state = from;
        let packet = packet(received, &session);
        session.received(Instant::ZERO + ms(1), &packet, &mut entropy);
        assert_eq!(session.state, to, "{from:?} receives {received:?}");
        assert_eq!(session.remote_discriminator, 77);
    }
}

#[test]
fn administratively_down_says_nothing_of_the_path() {
    let mut pair = Pair::new([FAST, FAST]);
    pair.run(ms(3000));
    let down = packet(AdminDown, &pair.ends[0]);
    let now = pair.now;
    pair.ends[0].received(now, &down, &mut pair.entropy);
    assert_eq!((pair.ends[0].state, pair.ends[0].path()), (Down, State::Unknown));
    assert_eq!(pair.ends[0].diagnostic, Diagnostic::NEIGHBOUR_DOWN);
    // Its silence afterwards does: the word has expired.
    pair.passes = [false, false];
    pair.run(ms(1000));
    assert_eq!(pair.ends[0].path(), State::Down);
}

#[test]
fn a_poll_is_answered_at_once_and_a_zero_interval_silences() {
    let mut pair = Pair::new([FAST, FAST]);
    pair.run(ms(3000));
    let now = pair.now;
    let end = &mut pair.ends[0];
    let poll = Packet { poll: true, ..packet(Up, end) };
    end.received(now, &poll, &mut pair.entropy);
    let answer = Packet::read(&end.transmit().expect("at once")).expect("our own");
    assert!(answer.final_ && !answer.poll);
    // §6.8.7: RequiredMinRxInterval 0.
    let quiet = Packet { required_min_rx: Duration::ZERO, ..packet(Up, end) };
    end.received(now, &quiet, &mut pair.entropy);
    assert!(end.transmit_at.is_none() && end.transmit().is_none());
    // §6.8.7: demand mode of the neighbour.
    let demand = Packet { demand: true, ..packet(Up, end) };
    end.received(now, &demand, &mut pair.entropy);
    assert!(end.transmit_at.is_none());
    let ordinary = packet(Up, end);
    end.received(now, &ordinary, &mut pair.entropy);
    assert!(end.transmit_at.is_some());
}
