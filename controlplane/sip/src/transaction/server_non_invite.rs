//! Non-INVITE server transaction: RFC 3261 §17.2.2 (figure 8).

use super::{AT_ONCE, Do, Row, T64, row};
use Do::{End, Send};
use Input::{Final, Request};
use State::{Completed, Terminated, Trying};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    Trying,
    Completed,
    Terminated,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Input {
    /// The request again.
    Request,
    /// The user agent answers. It does so at once, so that Proceeding is never seen (RFC 4320 §4.1).
    Final,
    /// Timer J.
    End,
}

#[rustfmt::skip]
pub const TABLE: &[Row<State, Input>] = &[
    (Trying,    Final,      Completed,  &[Send, End(T64)], Some(&[Send, End(AT_ONCE)])), // timer J
    (Completed, Request,    Completed,  &[Send],           None),
    (Completed, Input::End, Terminated, &[],               None),
];

pub fn step(state: State, input: Input, reliable: bool) -> (State, &'static [Do]) {
    row(TABLE, state, &input, reliable)
}
