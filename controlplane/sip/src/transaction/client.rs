//! A request of ours until it is answered.

use super::timers::{Effects, Fired, Timers};
use super::{client_invite, client_non_invite};
use crate::call::CallId;
use crate::config::ACKS_AGAIN_MAX;
use crate::transport::Flow;
use sipsec_net::Instant;

/// The owner of a transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Owner {
    Register(usize),
    /// Proves that the server of a line is there.
    Options(usize),
    Invite(CallId),
    Cancel(CallId),
    Prack(CallId),
    /// A re-INVITE or UPDATE that refreshes the session (RFC 4028).
    Refresh(CallId),
    Bye(CallId),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Invite(client_invite::State),
    Other(client_non_invite::State),
}

#[derive(Clone, Debug)]
pub struct ClientTransaction {
    pub method: &'static str,
    pub owner: Owner,
    pub bytes: Vec<u8>,
    pub flow: Flow,
    /// The ACK of a non-2xx final response, for each repetition of it.
    pub ack: Option<Vec<u8>>,
    /// The request as it goes by UDP, of one that went by TCP for its size (RFC 3261 §18.1.1).
    pub by_udp: Option<(Flow, Vec<u8>)>,
    /// It was sent again because a connection that had worked was closed.
    pub resent: bool,
    /// The end of the whole wait, while another server would be tried earlier.
    whole: Option<Instant>,
    /// Final responses that came after the first.
    again: u32,
    state: State,
    timers: Timers,
}

impl ClientTransaction {
    pub fn new(method: &'static str, owner: Owner, bytes: Vec<u8>, flow: Flow) -> Self {
        let state = match method {
            "INVITE" => State::Invite(client_invite::State::Calling),
            _ => State::Other(client_non_invite::State::Trying),
        };
        Self {
            method,
            owner,
            bytes,
            flow,
            ack: None,
            by_udp: None,
            resent: false,
            whole: None,
            again: 0,
            state,
            timers: Timers::default(),
        }
    }

    /// Stretches the retransmission intervals of a non-INVITE request by up to an eighth, as its branch has it, so that
    /// requests which left together are not repeated together. Timers F and K stay (RFC 3261 §17.1.2.2).
    pub fn spread(&mut self, branch: &str) {
        if self.method != "INVITE" {
            let random =
                branch.get(branch.len().saturating_sub(2)..).and_then(|d| u8::from_str_radix(d, 16).ok());
            self.timers.stretch(random.unwrap_or(0));
        }
    }

    pub fn start(&mut self, now: Instant) -> Effects {
        self.step(now, client_invite::Input::Start, client_non_invite::Input::Start)
    }

    /// Another server is there: a silent one is not waited for as long as timers B and F have it.
    pub fn hurry(&mut self, until: Instant) {
        self.whole = self.timers.end_by(until);
    }

    /// From the beginning, by another way.
    pub fn restart(&mut self, now: Instant, flow: Flow, bytes: Vec<u8>) -> Effects {
        self.state = match self.state {
            State::Invite(_) => State::Invite(client_invite::State::Calling),
            State::Other(_) => State::Other(client_non_invite::State::Trying),
        };
        (self.flow, self.bytes, self.whole) = (flow, bytes, None);
        self.timers = Timers::default();
        self.start(now)
    }

    /// An INVITE that an earlier process sent and that is cancelled now: nothing is sent, the answer is awaited.
    pub fn resume_cancelled(&mut self, now: Instant) {
        if let State::Invite(state) = &mut self.state {
            *state = client_invite::State::Proceeding;
        }
        self.cancelled(now);
    }

    pub fn response(&mut self, now: Instant, status: u16) -> Effects {
        let invite = match status {
            ..200 => client_invite::Input::Provisional,
            200..300 => client_invite::Input::Success,
            _ => client_invite::Input::Failure,
        };
        let other = match status {
            ..200 => client_non_invite::Input::Provisional,
            _ => client_non_invite::Input::Final,
        };
        // A server that has sent a provisional response gets the whole time.
        if let (..200, State::Other(_), Some(whole)) = (status, self.state, self.whole.take()) {
            self.timers.end_at(whole);
        }
        if status >= 200 && !self.pending() {
            self.again = self.again.saturating_add(1);
        }
        // Other branches of a fork may answer an INVITE of a call; the call counts their repetitions.
        let forks = matches!(self.owner, Owner::Invite(_)) && (200..300).contains(&status);
        if self.again > ACKS_AGAIN_MAX && !forks {
            return Effects { withheld: true, ..Effects::default() };
        }
        self.step(now, invite, other)
    }

    pub fn cancelled(&mut self, now: Instant) {
        if let State::Invite(state) = self.state {
            let (next, todo) =
                client_invite::step(state, client_invite::Input::Cancelled, self.is_reliable());
            self.state = State::Invite(next);
            self.timers.run(now, todo);
        }
    }

    /// Waits for an answer no longer than that.
    pub fn end_by(&mut self, until: Instant) {
        self.timers.end_by(until);
    }

    /// `None` if nothing is due.
    pub fn tick(&mut self, now: Instant) -> Option<Effects> {
        Some(match self.timers.fire(now)? {
            Fired::Again => self.step(now, client_invite::Input::Again, client_non_invite::Input::Again),
            Fired::End => self.step(now, client_invite::Input::End, client_non_invite::Input::End),
        })
    }

    pub fn due(&self) -> Option<Instant> {
        self.timers.due()
    }

    pub fn terminated(&self) -> bool {
        matches!(
            self.state,
            State::Invite(client_invite::State::Terminated)
                | State::Other(client_non_invite::State::Terminated)
        )
    }

    /// No final response has come.
    pub fn pending(&self) -> bool {
        use client_invite::State as I;
        use client_non_invite::State as N;
        matches!(
            self.state,
            State::Invite(I::Calling | I::Proceeding) | State::Other(N::Trying | N::Proceeding)
        )
    }

    const fn is_reliable(&self) -> bool {
        self.flow.transport.is_reliable()
    }

    fn step(
        &mut self,
        now: Instant,
        invite: client_invite::Input,
        other: client_non_invite::Input,
    ) -> Effects {
        let reliable = self.is_reliable();
        let todo = match &mut self.state {
            State::Invite(state) => {
                let (next, todo) = client_invite::step(*state, invite, reliable);
                *state = next;
                todo
            }
            State::Other(state) => {
                let (next, todo) = client_non_invite::step(*state, other, reliable);
                *state = next;
                todo
            }
        };
        self.timers.run(now, todo)
    }
}
