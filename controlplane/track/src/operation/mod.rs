//! One operation: when probes are sent, which of them are awaited, and what their ends mean.
//!
//! ```text
//!   period ──> probe … probe (a series has several) ──> answer, error or timeout of each ──> result ──> dwell ──> state
//! ```

mod dwell;
mod statistics;

use crate::bfd;
use crate::config::{Operation as Config, Probe, Start};
use crate::view::{Activity, OperationView, ReturnCode, State};
use dwell::Dwell;
use sipsec_net::{Entropy, Instant};
use statistics::Measured;
use std::collections::VecDeque;
use std::time::Duration;

/// The first probes are spread over this time at most, so that thousands of operations do not send at once.
const SPREAD_MAX: Duration = Duration::from_secs(10);
/// Results that are kept as evidence.
const EVIDENCE_MAX: usize = 5;

/// How one probe ended: its round trip, or why there is none.
pub type Outcome = Result<Duration, ReturnCode>;

#[derive(Debug)]
pub(crate) struct Operation {
    config: Config,
    activity: Activity,
    ends_at: Option<Instant>,
    period: Option<Period>,
    next_at: Option<Instant>,
    next_probe: u64,
    reachability: Dwell,
    state: Dwell,
    since: Instant,
    return_code: ReturnCode,
    last_at: Option<Instant>,
    measured: Measured,
    evidence: VecDeque<Outcome>,
    pub(crate) bfd: Option<bfd::Session>,
}

/// A period whose probes have not all ended.
#[derive(Debug)]
struct Period {
    /// Probes of the series that are not sent yet, and when the next one is.
    unsent: u16,
    send_at: Instant,
    awaited: Vec<Awaited>,
    answers: u32,
    sum: Duration,
    failure: ReturnCode,
}

#[derive(Clone, Copy, Debug)]
struct Awaited {
    probe: u64,
    until: Instant,
}

/// What a step has brought.
#[derive(Debug, Default)]
pub(crate) struct Step {
    /// Probes to send.
    pub send: Vec<u64>,
    pub bfd: Vec<Vec<u8>>,
    /// The reachability or the state has changed.
    pub changed: bool,
    /// Good probes in a row have become so many.
    pub good_in_row: Option<u32>,
}

impl Operation {
    pub fn new(config: Config, now: Instant, entropy: &mut dyn Entropy) -> Self {
        let mut operation = Self {
            activity: Activity::Pending,
            ends_at: None,
            period: None,
            next_at: None,
            next_probe: 0,
            reachability: Dwell::default(),
            state: Dwell::default(),
            since: now,
            return_code: ReturnCode::Unknown,
            last_at: None,
            measured: Measured::default(),
            evidence: VecDeque::new(),
            bfd: None,
            config,
        };
        match operation.config.start {
            Start::Now => operation.start(now, entropy),
            Start::Pending => operation.judge(State::Down),
        }
        operation
    }

    /// The same operation with another configuration. What was measured counts on as long as the path is the same.
    pub fn reconfigured(mut self, config: Config, now: Instant, entropy: &mut dyn Entropy) -> Self {
        let path = |c: &Config| (c.probe.clone(), c.source, c.device.clone(), c.start, c.lifetime);
        if path(&self.config) != path(&config) {
            // Answers to what the former one has sent are not for this one.
            return Self { next_probe: self.next_probe, ..Self::new(config, now, entropy) };
        }
        self.next_at = self.next_at.map(|at| at.min(now + config.frequency));
        self.config = config;
        self
    }

    fn start(&mut self, now: Instant, entropy: &mut dyn Entropy) {
        self.activity = Activity::Active;
        self.ends_at = self.config.lifetime.map(|life| now + life);
        let config = &self.config;
        if let Probe::Bfd { transmit, receive, multiplier, .. } = config.probe {
            let timing = bfd::Timing { transmit, receive, multiplier };
            self.bfd = Some(bfd::Session::new(timing, now, entropy));
            return;
        }
        let spread = config.frequency.min(SPREAD_MAX).as_micros();
        let wait = entropy.below(u32::try_from(spread).unwrap_or(u32::MAX));
        self.next_at = Some(now + Duration::from_micros(wait.into()));
    }

    fn judge(&mut self, state: State) {
        self.reachability.set(state);
        self.state.set(state);
    }

    pub const fn config(&self) -> &Config {
        &self.config
    }

    pub const fn reachability(&self) -> State {
        self.reachability.state()
    }

    pub const fn state(&self) -> State {
        self.state.state()
    }

    pub const fn good_in_row(&self) -> u32 {
        // A BFD session that is up has no single probes to wait for.
        if self.bfd.is_some() { u32::MAX } else { self.reachability.good_in_row() }
    }

    pub const fn last(&self) -> (ReturnCode, Option<Duration>) {
        (self.return_code, self.measured.last())
    }

    /// The latest results, the oldest first.
    pub fn evidence(&self) -> Vec<Outcome> {
        self.evidence.iter().copied().collect()
    }

    pub fn due(&self) -> Option<Instant> {
        let period = self.period.as_ref().and_then(|p| {
            let send = (p.unsent > 0).then_some(p.send_at);
            p.awaited.iter().map(|a| a.until).chain(send).min()
        });
        let bfd = self.bfd.as_ref().and_then(bfd::Session::due);
        [period, self.next_at, bfd, self.ends_at].into_iter().flatten().min()
    }

    pub fn timeout(&mut self, now: Instant, entropy: &mut dyn Entropy) -> Step {
        let mut step = Step::default();
        if self.ends_at.is_some_and(|at| at <= now) {
            return self.expire(now);
        }
        if let Some(session) = &mut self.bfd {
            session.timeout(now, entropy);
            self.after_bfd(now, &mut step);
            return step;
        }
        let mut late = Vec::new();
        if let Some(period) = &mut self.period {
            period.awaited.retain(|a| {
                let over = a.until <= now;
                if over {
                    late.push(a.probe);
                }
                !over
            });
        }
        for _ in late {
            self.probe_ended(now, Err(ReturnCode::Timeout));
        }
        self.period_ended(now, &mut step);
        if self.next_at.is_some_and(|at| at <= now) {
            self.begin_period(now);
        }
        self.send(now, &mut step);
        step
    }

    fn expire(&mut self, now: Instant) -> Step {
        self.activity = Activity::Expired;
        (self.ends_at, self.period, self.next_at, self.bfd) = (None, None, None, None);
        self.judge(State::Down);
        self.since = now;
        Step { changed: true, ..Step::default() }
    }

    fn begin_period(&mut self, now: Instant) {
        let planned = self.next_at.unwrap_or(now);
        // After a long stop of this process one probe is sent and not all that were missed.
        let next = planned + self.config.frequency;
        self.next_at = Some(if next <= now { now + self.config.frequency } else { next });
        if self.period.is_some() {
            return; // The configuration check makes a series end in its period; a stop of this process may delay it.
        }
        let packets = match self.config.probe {
            Probe::IcmpJitter { packets, .. } => packets.max(1),
            _ => 1,
        };
        self.period = Some(Period {
            unsent: packets,
            send_at: now,
            awaited: Vec::new(),
            answers: 0,
            sum: Duration::ZERO,
            failure: ReturnCode::Timeout,
        });
    }

    fn send(&mut self, now: Instant, step: &mut Step) {
        let Some(period) = &mut self.period else { return };
        if period.unsent == 0 || period.send_at > now {
            return;
        }
        let probe = self.next_probe;
        self.next_probe += 1;
        period.unsent -= 1;
        if let Probe::IcmpJitter { interval, .. } = self.config.probe {
            period.send_at = now + interval;
        }
        period.awaited.push(Awaited { probe, until: now + self.config.timeout });
        self.measured.sent();
        step.send.push(probe);
    }

    /// A probe has ended before its timeout. One that is not awaited any more is counted as late.
    pub fn ended(&mut self, now: Instant, probe: u64, outcome: Outcome) -> Step {
        let mut step = Step::default();
        let Some(period) = &mut self.period else {
            self.count_late(probe, outcome);
            return step;
        };
        let Some(place) = period.awaited.iter().position(|a| a.probe == probe) else {
            self.count_late(probe, outcome);
            return step;
        };
        period.awaited.swap_remove(place);
        let outcome = match outcome {
            Ok(rtt) if rtt > self.config.timeout => Err(ReturnCode::Timeout),
            other => other,
        };
        self.probe_ended(now, outcome);
        self.period_ended(now, &mut step);
        step
    }

    const fn count_late(&mut self, probe: u64, outcome: Outcome) {
        if probe < self.next_probe && outcome.is_ok() {
            self.measured.late();
        }
    }

    fn probe_ended(&mut self, now: Instant, outcome: Outcome) {
        let Some(period) = &mut self.period else { return };
        let code = match outcome {
            Ok(rtt) => {
                period.answers += 1;
                period.sum += rtt;
                if rtt > self.config.threshold { ReturnCode::OverThreshold } else { ReturnCode::Ok }
            }
            Err(code) => {
                period.failure = code;
                code
            }
        };
        self.measured.ended(code, outcome.ok());
        self.last_at = Some(now);
        if self.evidence.len() >= EVIDENCE_MAX {
            self.evidence.pop_front();
        }
        self.evidence.push_back(outcome);
    }

    /// The result of a period whose probes have all ended.
    fn period_ended(&mut self, now: Instant, step: &mut Step) {
        let Some(period) = self.period.take_if(|p| p.unsent == 0 && p.awaited.is_empty()) else { return };
        self.return_code = match period.sum.checked_div(period.answers) {
            None => period.failure,
            Some(average) if average > self.config.threshold => ReturnCode::OverThreshold,
            Some(_) => ReturnCode::Ok,
        };
        let (up, down) = (self.config.up_count, self.config.down_count);
        let reachable = matches!(self.return_code, ReturnCode::Ok | ReturnCode::OverThreshold);
        let changed = self.reachability.result(reachable, up, down)
            | self.state.result(self.return_code == ReturnCode::Ok, up, down);
        if changed {
            self.since = now;
        }
        step.changed |= changed;
        step.good_in_row = reachable.then(|| self.reachability.good_in_row());
    }

    /// A BFD packet of the session's neighbour.
    pub fn bfd_packet(&mut self, now: Instant, packet: &bfd::Packet, entropy: &mut dyn Entropy) -> Step {
        let mut step = Step::default();
        if let Some(session) = &mut self.bfd {
            session.received(now, packet, entropy);
            self.last_at = Some(now);
            self.after_bfd(now, &mut step);
        }
        step
    }

    fn after_bfd(&mut self, now: Instant, step: &mut Step) {
        let Some(session) = &mut self.bfd else { return };
        while let Some(packet) = session.transmit() {
            step.bfd.push(packet);
        }
        let state = session.path();
        if state == self.reachability.state() {
            return;
        }
        self.return_code = match state {
            State::Up => ReturnCode::Ok,
            State::Down => ReturnCode::Timeout,
            State::Unknown => ReturnCode::Unknown,
        };
        self.judge(state);
        self.since = now;
        step.changed = true;
    }

    pub fn view(&self) -> OperationView {
        OperationView {
            config: self.config.clone(),
            activity: self.activity,
            reachability: self.reachability.state(),
            state: self.state.state(),
            since: self.since,
            return_code: self.return_code,
            last_at: self.last_at,
            next_at: self.next_at,
            good_in_row: self.reachability.good_in_row(),
            bad_in_row: self.reachability.bad_in_row(),
            statistics: self.measured.view(),
            bfd: self.bfd.as_ref().map(bfd::Session::view),
        }
    }
}
