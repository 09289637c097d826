//! One trial: a stream for a given time, then a pause in which late packets arrive (RFC 2544 §24).

use super::error::PktgenError;
use super::pace::{Pace, Rate};
use super::packet::{Path, Stamp, Template};
use super::ports::Ports;
use super::sizes::Sizes;
use super::tally::Tally;
use crate::lab::clock;
use sipsec_xsk::port::BATCH_MAX;
use sipsec_xsk::{Frame, Port as _};
use std::time::Duration;

/// The stream of a trial.
#[derive(Clone, Debug)]
pub struct Stream {
    pub path: Path,
    pub sizes: Sizes,
    pub flows: u16,
    pub rate: Rate,
    pub duration: Duration,
    /// Stops after this many packets, if the time is not over before.
    pub count: Option<u64>,
    /// How long to listen after the last packet. RFC 2544 §23 wants 2 s.
    pub drain: Duration,
}

/// The result of a trial.
#[derive(Debug)]
pub struct Trial {
    pub sent: u64,
    /// Packets that the generator could not send in time; not lost by the device under test.
    pub missed: u64,
    /// From the first packet to the last.
    pub seconds: f64,
    pub tally: Tally,
}

impl Trial {
    #[must_use]
    pub const fn lost(&self) -> u64 {
        self.sent.saturating_sub(self.tally.received)
    }

    /// Share of the sent packets.
    #[must_use]
    pub fn loss(&self) -> f64 {
        if self.sent == 0 { 0.0 } else { self.lost() as f64 / self.sent as f64 }
    }

    #[must_use]
    pub fn sent_per_second(&self) -> f64 {
        if self.seconds > 0.0 { self.sent as f64 / self.seconds } else { 0.0 }
    }

    #[must_use]
    pub fn received_per_second(&self) -> f64 {
        if self.seconds > 0.0 { self.tally.received as f64 / self.seconds } else { 0.0 }
    }
}

/// Sends by the first port and counts what the second receives.
pub fn trial(ports: &mut Ports, stream: &Stream) -> Result<Trial, PktgenError> {
    let mut frames = Frames::new(stream)?;
    let [tx, rx] = &mut ports.ports;
    let mut tally = Tally::new(stream.flows);
    let mut arrived: Vec<Frame> = Vec::with_capacity(BATCH_MAX);
    // Frames of an earlier trial that came after its end.
    while rx.receive(BATCH_MAX, &mut arrived) > 0 {
        arrived.clear();
    }
    let start = clock::now();
    let mut pace = Pace::new(stream.rate, start);
    let (mut sent, mut last) = (0_u64, start);
    let failed = |source| PktgenError::Send { device: "the transmitting device".to_owned(), source };
    loop {
        let now = clock::now();
        let left = stream.count.map_or(u64::MAX, |count| count - sent);
        if now.saturating_duration_since(start) >= stream.duration || left == 0 {
            break;
        }
        let batch = usize::try_from(left).unwrap_or(BATCH_MAX).min(BATCH_MAX);
        let mut done = 0;
        for _ in 0..pace.due(now, batch) {
            let Some(mut frame) = ports.pool.take() else { break };
            if !frames.fill(&mut frame, now) || tx.transmit(frame).is_err() {
                break;
            }
            frames.sent();
            done += 1;
        }
        // What the device does not take now stays queued and goes with the next kick.
        tx.kick().map_err(failed)?;
        if done > 0 {
            pace.sent(done);
            sent += done as u64;
            last = now;
        }
        receive(rx, &mut arrived, &mut tally);
        // Takes back sent frames.
        tx.receive(BATCH_MAX, &mut arrived);
        arrived.clear();
    }
    let end = clock::now();
    while clock::now().saturating_duration_since(end) < stream.drain {
        tx.kick().map_err(failed)?;
        receive(rx, &mut arrived, &mut tally);
        tx.receive(BATCH_MAX, &mut arrived);
        arrived.clear();
    }
    let seconds = last.saturating_duration_since(start).as_secs_f64();
    Ok(Trial { sent, missed: pace.missed(), seconds, tally })
}

fn receive(rx: &mut sipsec_xsk::XskPort, arrived: &mut Vec<Frame>, tally: &mut Tally) {
    if rx.receive(BATCH_MAX, arrived) > 0 {
        let now = clock::now();
        for frame in arrived.drain(..) {
            tally.frame(now, frame.data());
        }
    }
}

/// Makes the frames of a stream, one after the other.
struct Frames {
    templates: Vec<Template>,
    /// The template of each packet of a round.
    round: Vec<usize>,
    at: usize,
    flow: u16,
    /// The next number of each flow.
    numbers: Vec<u64>,
}

impl Frames {
    fn new(stream: &Stream) -> Result<Self, PktgenError> {
        let mut lens: Vec<u16> = Vec::new();
        let mut round = Vec::new();
        for len in stream.sizes.round() {
            let at = lens.iter().position(|l| *l == len).unwrap_or_else(|| {
                lens.push(len);
                lens.len() - 1
            });
            round.push(at);
        }
        let templates: Result<Vec<_>, String> =
            lens.iter().map(|len| Template::new(&stream.path, *len)).collect();
        let templates = templates.map_err(PktgenError::Arguments)?;
        let numbers = vec![0; usize::from(stream.flows.max(1))];
        Ok(Self { templates, round, at: 0, flow: 0, numbers })
    }

    /// Writes the next packet into the frame; `false` if it does not fit.
    fn fill(&self, frame: &mut Frame, now: sipsec_net::Instant) -> bool {
        let template = &self.templates[self.round[self.at]];
        if !frame.fill(template.bytes()) {
            return false;
        }
        let number = self.numbers[usize::from(self.flow)];
        template.stamp(frame.data_mut(), Stamp { flow: self.flow, number, departed: now });
        true
    }

    /// The packet of the last [`Self::fill`] has left.
    fn sent(&mut self) {
        self.numbers[usize::from(self.flow)] += 1;
        self.at = (self.at + 1) % self.round.len();
        self.flow = (self.flow + 1) % self.numbers.len() as u16;
    }
}
