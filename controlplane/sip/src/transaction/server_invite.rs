//! INVITE server transaction: RFC 6026 §8.2, §8.5 (figure 7).

use super::{Do, T1, T2, T4, T64, row};
use Do::{Double, End, Every, Pass, Quiet, Send};
use Input::{Ack, Again, Failure, Provisional, Request, Success};
use State::{Accepted, Completed, Confirmed, Proceeding, Terminated};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    Proceeding,
    Completed,
    Confirmed,
    Accepted,
    Terminated,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Input {
    /// The INVITE again.
    Request,
    /// The user agent answers 100–199.
    Provisional,
    /// 200–299.
    Success,
    /// 300–699.
    Failure,
    /// An ACK that matches the transaction.
    Ack,
    /// Timer G.
    Again,
    /// Timers H, I and L.
    End,
}

#[rustfmt::skip]
pub const TABLE: &[(State, Input, State, &[Do])] = &[
    (Proceeding, Request,     Proceeding, &[Send]),
    (Proceeding, Provisional, Proceeding, &[Send]),
    (Proceeding, Success,     Accepted,   &[Send, End(T64)]),              // timer L
    (Proceeding, Failure,     Completed,  &[Send, Every(T1), End(T64)]),   // timers G and H
    (Completed,  Request,     Completed,  &[Send]),
    (Completed,  Again,       Completed,  &[Send, Double(T2)]),
    (Completed,  Ack,         Confirmed,  &[Quiet, End(T4)]),              // timer I
    (Completed,  Input::End,  Terminated, &[]),
    (Confirmed,  Input::End,  Terminated, &[]),
    // RFC 6026 §7.1: an INVITE again is absorbed; the user agent repeats its 2xx by itself.
    (Accepted,   Ack,         Accepted,   &[Pass]),
    (Accepted,   Input::End,  Terminated, &[]),
];

pub fn step(state: State, input: Input) -> (State, &'static [Do]) {
    row(TABLE, state, &input)
}
