//! What the control thread and a worker say to each other.
//!
//! ```text
//!  control thread ── Update: validated transactions, addresses, MTU ──▶ worker     one queue, in order
//!                 ── IKE messages to send ───────────────────────────▶
//!                 ◀── Report: events, "applied" ──────────────────────            one queue, in order
//!                 ◀── IKE messages that came in ──────────────────────
//!                 ◀── numbers, activity: cells ───────────────────────
//! ```
//!
//! The worker looks at its queues between two batches, takes a bounded number and never waits for room: what it has to report
//! and finds none for is lost and counted.

use super::cells::WorkerCells;
use super::queue::{Receiver, Sender, queue};
use arrayvec::ArrayVec;
use sipsec_abi::PUNT_PAYLOAD_MAX as PAYLOAD_MAX;
use sipsec_net::MediaPort;
use sipsec_net::dp::{Event, Op};
use sipsec_pipeline::{Local, PathMtu, PuntRefused, Validated};
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

/// Transactions on their way; one is applied before the next is validated, so this is room for the rest.
const UPDATES: usize = 16;
/// Events between two looks of the control thread.
const EVENTS: usize = 1 << 14;
/// IKE messages in each direction: as many as a burst of calls sends between two looks.
const IKE: usize = 256;

#[derive(Debug)]
pub enum Update {
    Transaction {
        ops: Arc<Vec<Op>>,
        validated: Validated,
    },
    /// Router mode: the host's addresses have changed.
    Local(Box<Local>),
    /// The MTU of the WAN has changed.
    OutsideMtu(u16),
    /// An ICMP error names the MTU of a path.
    PathMtu(PathMtu),
    /// A control plane has connected: what waits for a call is told again.
    Reacquire,
    Stop,
}

#[derive(Debug)]
pub enum Report {
    Event(Event),
    /// The transaction is applied. Its operations come back: the keys in them are wiped by the control thread, when the last
    /// worker has given them back.
    Applied(Arc<Vec<Op>>),
}

/// Without its marker. To the worker, an empty one is a NAT keepalive.
#[derive(Debug)]
pub struct IkeMessage {
    pub media_port: MediaPort,
    /// Where it came from, or where it is to go.
    pub remote: SocketAddr,
    pub bytes: ArrayVec<u8, PAYLOAD_MAX>,
    /// To the worker: it is a probe, which no router may fragment.
    pub dont_fragment: bool,
}

impl IkeMessage {
    /// `None` if it is too long.
    #[must_use]
    pub fn new(media_port: MediaPort, remote: SocketAddr, message: &[u8]) -> Option<Self> {
        let bytes = ArrayVec::try_from(message).ok()?;
        Some(Self { media_port, remote, bytes, dont_fragment: false })
    }
}

/// The control thread's end.
#[derive(Debug)]
pub struct ControlEnd {
    pub updates: Sender<Update>,
    pub ike_down: Sender<IkeMessage>,
    pub reports: Receiver<Report>,
    pub ike_up: Receiver<IkeMessage>,
    pub cells: WorkerCells,
}

/// The worker's end.
#[derive(Debug)]
pub struct WorkerEnd {
    pub updates: Receiver<Update>,
    pub ike_down: Receiver<IkeMessage>,
    pub cells: WorkerCells,
    reports: Sender<Report>,
    ike_up: Sender<IkeMessage>,
    events_lost: u64,
    /// Something was sent since the receiver was rung.
    is_pending: bool,
}

pub fn worker_link() -> io::Result<(ControlEnd, WorkerEnd)> {
    let (updates, updates_in) = queue(UPDATES)?;
    let (ike_down, ike_down_in) = queue(IKE)?;
    // One more: the room of "applied", of which one is on its way at most.
    let (reports, reports_in) = queue(EVENTS + 1)?;
    let (ike_up, ike_up_in) = queue(IKE)?;
    let cells = WorkerCells::default();
    let control =
        ControlEnd { updates, ike_down, reports: reports_in, ike_up: ike_up_in, cells: cells.clone() };
    let worker = WorkerEnd {
        updates: updates_in,
        ike_down: ike_down_in,
        cells,
        reports,
        ike_up,
        events_lost: 0,
        is_pending: false,
    };
    Ok((control, worker))
}

impl WorkerEnd {
    pub fn event(&mut self, event: Event) {
        let kept = self.reports.room() > 1 && self.reports.push(Report::Event(event)).is_ok();
        self.events_lost += u64::from(!kept);
        self.is_pending |= kept;
    }

    pub fn applied(&mut self, ops: Arc<Vec<Op>>) {
        // The control thread sends one transaction at a time, so there is room.
        let _ = self.reports.push(Report::Applied(ops));
        self.is_pending = true;
    }

    pub fn ike(&mut self, port: MediaPort, from: SocketAddr, message: &[u8]) -> Result<(), PuntRefused> {
        let message = IkeMessage::new(port, from, message).ok_or(PuntRefused::TooLong)?;
        self.ike_up.push(message).map_err(|_| PuntRefused::Full)?;
        self.is_pending = true;
        Ok(())
    }

    #[must_use]
    pub const fn events_lost(&self) -> u64 {
        self.events_lost
    }

    /// At the end of a turn: one system call at most, however much was sent.
    pub fn ring(&mut self) {
        if std::mem::take(&mut self.is_pending) {
            self.reports.ring();
            self.ike_up.ring();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use sipsec_net::TxnId;

    #[test]
    fn events_that_find_no_room_are_counted_and_an_answer_always_finds_some() {
        let (control, mut worker) = worker_link().expect("eventfds");
        for n in 0..=EVENTS as u64 {
            worker.event(Event::Applied(TxnId(n)));
        }
        assert_eq!(worker.events_lost(), 1);
        worker.applied(Arc::default());
        let events = std::iter::from_fn(|| control.reports.pop());
        assert_eq!(events.filter(|r| matches!(r, Report::Applied(_))).count(), 1);
    }

    #[test]
    fn a_message_that_is_too_long_or_finds_no_room_is_refused() {
        let (control, mut worker) = worker_link().expect("eventfds");
        let from = "192.0.2.1:5000".parse().expect("valid");
        let mut ike = |len| worker.ike(MediaPort(5), from, &vec![7; len]);
        assert_eq!(ike(PAYLOAD_MAX + 1), Err(PuntRefused::TooLong));
        for _ in 0..IKE {
            ike(PAYLOAD_MAX).expect("room");
        }
        assert_eq!(ike(1), Err(PuntRefused::Full));
        assert_eq!(control.ike_up.pop().map(|m| m.bytes.len()), Some(PAYLOAD_MAX));
    }
}
