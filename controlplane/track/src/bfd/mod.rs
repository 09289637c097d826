//! Bidirectional Forwarding Detection: one session in asynchronous mode, active role, without echo and authentication
//! (RFC 5880). A single hop (RFC 5881) needs a TTL of 255, which the receiver of the packets checks.

mod packet;

pub use packet::{Diagnostic, LEN, Malformed, Packet, SessionState};

use crate::view::{BfdView, State};
use sipsec_net::{Entropy, Instant};
use std::collections::VecDeque;
use std::time::Duration;

/// RFC 5880 §6.8.3: the transmit interval while the session is not up is not less than one second.
const SLOW: Duration = Duration::from_secs(1);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timing {
    pub transmit: Duration,
    pub receive: Duration,
    pub multiplier: u8,
}

/// The variables of RFC 5880 §6.8.1.
#[derive(Debug)]
pub struct Session {
    timing: Timing,
    state: SessionState,
    remote_state: SessionState,
    local_discriminator: u32,
    remote_discriminator: u32,
    diagnostic: Diagnostic,
    remote_diagnostic: Diagnostic,
    desired_min_tx: Duration,
    remote_desired_min_tx: Duration,
    remote_min_rx: Duration,
    remote_demand: bool,
    remote_multiplier: u8,
    /// A Poll Sequence is under way (§6.5).
    polling: bool,
    transmit_at: Option<Instant>,
    detect_at: Option<Instant>,
    /// Until then nothing is concluded from the absence of packets.
    unknown_until: Option<Instant>,
    out: VecDeque<Vec<u8>>,
    packets_out: u64,
    packets_in: u64,
    pub(crate) packets_bad: u64,
}

impl Session {
    pub fn new(timing: Timing, now: Instant, entropy: &mut dyn Entropy) -> Self {
        let slow = timing.transmit.max(SLOW);
        let mut session = Self {
            timing,
            state: SessionState::Down,
            remote_state: SessionState::Down,
            local_discriminator: entropy.u32().max(1),
            remote_discriminator: 0,
            diagnostic: Diagnostic::NONE,
            remote_diagnostic: Diagnostic::NONE,
            desired_min_tx: slow,
            remote_desired_min_tx: Duration::ZERO,
            remote_min_rx: Duration::from_micros(1), // §6.8.1
            remote_demand: false,
            remote_multiplier: 0,
            polling: false,
            transmit_at: None,
            detect_at: None,
            unknown_until: Some(now + slow * u32::from(timing.multiplier.max(3))),
            out: VecDeque::new(),
            packets_out: 0,
            packets_in: 0,
            packets_bad: 0,
        };
        // Sessions that start together do not send together.
        let wait = entropy.below(u32::try_from(slow.as_micros()).unwrap_or(u32::MAX));
        session.transmit_at = Some(now + Duration::from_micros(wait.into()));
        session
    }

    pub const fn discriminator(&self) -> u32 {
        self.local_discriminator
    }

    /// What the session says of the path. A neighbour that is administratively down says nothing of it (RFC 5882 §4.2).
    pub fn path(&self) -> State {
        match self.state {
            SessionState::Up => State::Up,
            _ if self.remote_state == SessionState::AdminDown => State::Unknown,
            _ if self.unknown_until.is_some() => State::Unknown,
            _ => State::Down,
        }
    }

    pub fn due(&self) -> Option<Instant> {
        [self.transmit_at, self.detect_at, self.unknown_until].into_iter().flatten().min()
    }

    /// The next packet to send.
    pub fn transmit(&mut self) -> Option<Vec<u8>> {
        self.out.pop_front()
    }

    pub fn timeout(&mut self, now: Instant, entropy: &mut dyn Entropy) {
        if self.unknown_until.is_some_and(|at| at <= now) {
            self.unknown_until = None;
        }
        if self.detect_at.is_some_and(|at| at <= now) {
            self.detect_at = None;
            self.remote_discriminator = 0; // §6.8.1
            if matches!(self.state, SessionState::Init | SessionState::Up) {
                self.change(SessionState::Down, Diagnostic::DETECTION_EXPIRED);
                self.send(now, entropy);
            }
            // The neighbour's word of being down on purpose has expired with it.
            self.remote_state = SessionState::Down;
        }
        if self.transmit_at.is_some_and(|at| at <= now) {
            self.send(now, entropy);
        }
    }

    /// A packet of this session that [`Packet::read`] has accepted: §6.8.6.
    pub fn received(&mut self, now: Instant, packet: &Packet, entropy: &mut dyn Entropy) {
        self.packets_in += 1;
        self.remote_discriminator = packet.my_discriminator;
        self.remote_state = packet.state;
        self.remote_diagnostic = packet.diagnostic;
        self.remote_demand = packet.demand;
        self.remote_desired_min_tx = packet.desired_min_tx;
        self.remote_multiplier = packet.multiplier;
        let rate_before = self.interval();
        self.remote_min_rx = packet.required_min_rx;
        if packet.final_ {
            self.polling = false;
        }
        let before = self.state;
        match (self.state, packet.state) {
            (SessionState::Down, SessionState::AdminDown) => {}
            (_, SessionState::AdminDown) => self.change(SessionState::Down, Diagnostic::NEIGHBOUR_DOWN),
            (SessionState::Down, SessionState::Down) => self.change(SessionState::Init, self.diagnostic),
            (SessionState::Down, SessionState::Init)
            | (SessionState::Init, SessionState::Init | SessionState::Up) => {
                self.change(SessionState::Up, Diagnostic::NONE);
            }
            (SessionState::Up, SessionState::Down) => {
                self.change(SessionState::Down, Diagnostic::NEIGHBOUR_DOWN);
            }
            _ => {}
        }
        let detection = self.detection();
        self.detect_at = (!detection.is_zero()).then(|| now + detection);
        if packet.poll {
            self.push(true);
        }
        if self.state != before {
            self.send(now, entropy);
        } else if self.interval() != rate_before || self.transmit_at.is_none() {
            // A new rate of the neighbour's: the next packet is sent when it was due, or earlier.
            let planned = self.transmit_at;
            self.schedule(now, entropy);
            self.transmit_at = self.transmit_at.map(|at| planned.map_or(at, |planned| planned.min(at)));
        }
    }

    fn change(&mut self, state: SessionState, diagnostic: Diagnostic) {
        self.state = state;
        self.diagnostic = diagnostic;
        let wanted = match state {
            SessionState::Up => self.timing.transmit,
            _ => self.timing.transmit.max(SLOW),
        };
        // §6.8.3: a change of the interval is announced by a Poll Sequence.
        self.polling = wanted != self.desired_min_tx && state == SessionState::Up;
        self.desired_min_tx = wanted;
        if state == SessionState::Up {
            self.unknown_until = None;
        }
    }

    /// §6.8.2 and §6.8.7; none while periodic packets must not be sent.
    fn interval(&self) -> Option<Duration> {
        if self.remote_min_rx.is_zero() {
            return None;
        }
        let both_up = self.state == SessionState::Up && self.remote_state == SessionState::Up;
        if self.remote_demand && both_up && !self.polling {
            return None;
        }
        Some(self.desired_min_tx.max(self.remote_min_rx))
    }

    /// §6.8.4.
    fn detection(&self) -> Duration {
        self.timing.receive.max(self.remote_desired_min_tx) * u32::from(self.remote_multiplier)
    }

    fn send(&mut self, now: Instant, entropy: &mut dyn Entropy) {
        if self.interval().is_some() {
            self.push(false);
        }
        self.schedule(now, entropy);
    }

    /// §6.8.7: each interval is shortened by up to 25 %, and with a multiplier of 1 to between 75 and 90 %.
    fn schedule(&mut self, now: Instant, entropy: &mut dyn Entropy) {
        self.transmit_at = self.interval().map(|interval| {
            let percent =
                if self.timing.multiplier == 1 { 75 + entropy.below(16) } else { 75 + entropy.below(26) };
            now + interval * percent / 100
        });
    }

    fn push(&mut self, final_: bool) {
        self.packets_out += 1;
        let packet = Packet {
            diagnostic: self.diagnostic,
            state: self.state,
            poll: self.polling && !final_,
            final_,
            demand: false,
            multiplier: self.timing.multiplier,
            my_discriminator: self.local_discriminator,
            your_discriminator: self.remote_discriminator,
            desired_min_tx: self.desired_min_tx,
            required_min_rx: self.timing.receive,
        };
        self.out.push_back(packet.write());
    }

    pub fn view(&self) -> BfdView {
        BfdView {
            state: self.state.name(),
            remote_state: self.remote_state.name(),
            local_discriminator: self.local_discriminator,
            remote_discriminator: self.remote_discriminator,
            diagnostic: self.diagnostic.name(),
            remote_diagnostic: self.remote_diagnostic.name(),
            transmit: self.desired_min_tx.max(self.remote_min_rx),
            detection: self.detection(),
            packets_out: self.packets_out,
            packets_in: self.packets_in,
            packets_bad: self.packets_bad,
        }
    }
}

#[cfg(test)]
mod tests;
