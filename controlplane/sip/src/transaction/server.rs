//! A request that we received, with its latest response.

use super::timers::{Effects, Fired, Timers};
use super::{server_invite, server_non_invite};
use crate::call::CallId;
use crate::transport::Flow;
use sipsec_net::Instant;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Invite(server_invite::State),
    Other(server_non_invite::State),
}

#[derive(Clone, Debug)]
pub struct ServerTransaction {
    /// The call that an INVITE made.
    pub call: Option<CallId>,
    pub response: Vec<u8>,
    /// Where responses go (RFC 3261 §18.2.2, RFC 3581 §4).
    pub flow: Flow,
    /// The port of its Via: where a response goes if the connection is gone (RFC 3261 §18.2.2).
    pub sent_by_port: u16,
    state: State,
    timers: Timers,
}

impl ServerTransaction {
    pub fn new(invite: bool, flow: Flow, sent_by_port: u16) -> Self {
        let state = if invite {
            State::Invite(server_invite::State::Proceeding)
        } else {
            State::Other(server_non_invite::State::Trying)
        };
        Self { call: None, response: Vec::new(), flow, sent_by_port, state, timers: Timers::default() }
    }

    /// The same request again. It is not to be answered with nothing.
    pub fn request(&mut self, now: Instant) -> Effects {
        self.step(now, server_invite::Input::Request, Some(server_non_invite::Input::Request))
    }

    /// After a final response there is no other.
    pub fn respond(&mut self, now: Instant, status: u16, bytes: Vec<u8>) -> Effects {
        let invite = match status {
            ..200 => server_invite::Input::Provisional,
            200..300 => server_invite::Input::Success,
            _ => server_invite::Input::Failure,
        };
        let effects = self.step(now, invite, (status >= 200).then_some(server_non_invite::Input::Final));
        if effects.send {
            self.response = bytes;
        }
        effects
    }

    pub fn acknowledged(&mut self, now: Instant) -> Effects {
        self.step(now, server_invite::Input::Ack, None)
    }

    pub fn tick(&mut self, now: Instant) -> Option<Effects> {
        Some(match self.timers.fire(now)? {
            Fired::Again => self.step(now, server_invite::Input::Again, None),
            Fired::End => self.step(now, server_invite::Input::End, Some(server_non_invite::Input::End)),
        })
    }

    pub fn due(&self) -> Option<Instant> {
        self.timers.due()
    }

    pub fn terminated(&self) -> bool {
        matches!(
            self.state,
            State::Invite(server_invite::State::Terminated)
                | State::Other(server_non_invite::State::Terminated)
        )
    }

    fn step(
        &mut self,
        now: Instant,
        invite: server_invite::Input,
        other: Option<server_non_invite::Input>,
    ) -> Effects {
        let reliable = self.flow.transport.is_reliable();
        let todo = match (&mut self.state, other) {
            (State::Invite(state), _) => {
                let (next, todo) = server_invite::step(*state, invite, reliable);
                *state = next;
                todo
            }
            (State::Other(state), Some(other)) => {
                let (next, todo) = server_non_invite::step(*state, other, reliable);
                *state = next;
                todo
            }
            (State::Other(_), None) => &[],
        };
        self.timers.run(now, todo)
    }
}
