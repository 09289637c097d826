//! Transactions (RFC 3261 §17 with RFC 6026): their timers and what is sent again.

use crate::call::CallId;
use crate::config::{T1, T2, T4, T64};
use sipsec_net::Instant;
use std::net::SocketAddr;
use std::time::Duration;

/// Whose transaction it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Owner {
    Register(usize),
    Invite(CallId),
    Bye(CallId),
    Cancel(CallId),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClientState {
    /// INVITE: Calling. Others: Trying.
    Trying,
    Proceeding,
    /// A final response has come; its repetitions are absorbed until the end.
    Completed,
}

#[derive(Clone, Debug)]
pub struct ClientTransaction {
    pub method: &'static str,
    pub owner: Owner,
    pub bytes: Vec<u8>,
    pub dest: SocketAddr,
    pub state: ClientState,
    /// The ACK of a non-2xx final response, repeated for each repetition of it.
    pub ack: Option<Vec<u8>>,
    interval: Duration,
    retransmit_at: Option<Instant>,
    pub ends_at: Option<Instant>,
}

impl ClientTransaction {
    pub fn new(now: Instant, method: &'static str, owner: Owner, bytes: Vec<u8>, dest: SocketAddr) -> Self {
        Self {
            method,
            owner,
            bytes,
            dest,
            state: ClientState::Trying,
            ack: None,
            interval: T1,
            retransmit_at: Some(now + T1),
            ends_at: Some(now + T64), // timers B and F
        }
    }

    fn invite(&self) -> bool {
        self.method == "INVITE"
    }

    pub fn provisional(&mut self) {
        if self.state == ClientState::Completed {
            return;
        }
        self.state = ClientState::Proceeding;
        if self.invite() {
            // §17.1.1.2: in Proceeding neither retransmission nor timer B; the caller bounds the ringing.
            self.retransmit_at = None;
            self.ends_at = None;
        } else {
            self.interval = T2;
        }
    }

    pub fn completed(&mut self, now: Instant) {
        self.state = ClientState::Completed;
        self.retransmit_at = None;
        // Timers D (INVITE, > 32 s) and M, and K.
        self.ends_at = Some(now + if self.invite() { T64 } else { T4 });
    }

    /// A bound for an INVITE that only ever gets provisional responses, or whose CANCEL nobody answers.
    pub fn end_at(&mut self, at: Instant) {
        self.ends_at = Some(at);
    }

    pub fn due(&self) -> Option<Instant> {
        [self.retransmit_at, self.ends_at].into_iter().flatten().min()
    }

    /// `true` if it is to be sent again.
    pub fn tick(&mut self, now: Instant) -> bool {
        if self.retransmit_at.is_none_or(|at| at > now) {
            return false;
        }
        // Timer A doubles without bound, timer E up to T2.
        self.interval = if self.invite() { self.interval * 2 } else { (self.interval * 2).min(T2) };
        self.retransmit_at = Some(now + self.interval);
        true
    }
}

/// A server transaction: the last response, for repetitions of the request.
#[derive(Clone, Debug)]
pub struct ServerTransaction {
    pub invite: bool,
    pub call: Option<CallId>,
    pub response: Option<Vec<u8>>,
    pub dest: SocketAddr,
    /// A non-2xx final response to INVITE is repeated until its ACK (timer G).
    retransmit_at: Option<Instant>,
    interval: Duration,
    pub ends_at: Instant,
}

impl ServerTransaction {
    pub fn new(now: Instant, invite: bool, dest: SocketAddr) -> Self {
        // An INVITE stays until it is answered; the ringing is bounded by its caller.
        let life = if invite { T64 * 8 } else { T64 };
        Self {
            invite,
            call: None,
            response: None,
            dest,
            retransmit_at: None,
            interval: T1,
            ends_at: now + life,
        }
    }

    pub fn respond(&mut self, now: Instant, status: u16, bytes: Vec<u8>) {
        self.response = Some(bytes);
        if status >= 200 {
            self.ends_at = now + T64; // timers H, J, L
            if self.invite && status >= 300 {
                self.retransmit_at = Some(now + self.interval);
            }
        }
    }

    pub fn acknowledged(&mut self, now: Instant) {
        self.retransmit_at = None;
        self.ends_at = now + T4; // timer I
    }

    pub fn due(&self) -> Instant {
        self.retransmit_at.map_or(self.ends_at, |at| at.min(self.ends_at))
    }

    pub fn tick(&mut self, now: Instant) -> bool {
        if self.retransmit_at.is_none_or(|at| at > now) {
            return false;
        }
        self.interval = (self.interval * 2).min(T2);
        self.retransmit_at = Some(now + self.interval);
        true
    }
}
