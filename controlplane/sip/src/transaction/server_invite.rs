//! INVITE server transaction: RFC 6026 §8.2, §8.5 (figure 7).

use super::{AT_ONCE, Do, Row, T1, T2, T4, T64, row};
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
pub const TABLE: &[Row<State, Input>] = &[
    (Proceeding, Request,     Proceeding, &[Send],                         None),
    (Proceeding, Provisional, Proceeding, &[Send],                         None),
    (Proceeding, Success,     Accepted,   &[Send, End(T64)],               None),                    // timer L
    (Proceeding, Failure,     Completed,  &[Send, Every(T1), End(T64)],    Some(&[Send, End(T64)])), // timers G and H
    (Completed,  Request,     Completed,  &[Send],                         None),
    (Completed,  Again,       Completed,  &[Send, Double(T2)],             None),
    (Completed,  Ack,         Confirmed,  &[Quiet, End(T4)],               Some(&[End(AT_ONCE)])),   // timer I
    (Completed,  Input::End,  Terminated, &[],                             None),
    (Confirmed,  Input::End,  Terminated, &[],                             None),
    // RFC 6026 §7.1: an INVITE again is absorbed; the user agent repeats its 2xx by itself.
    (Accepted,   Ack,         Accepted,   &[Pass],                         None),
    (Accepted,   Input::End,  Terminated, &[],                             None),
];

pub fn step(state: State, input: Input, reliable: bool) -> (State, &'static [Do]) {
    row(TABLE, state, &input, reliable)
}
