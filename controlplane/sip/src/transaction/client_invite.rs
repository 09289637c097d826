//! INVITE client transaction: RFC 6026 §8.4 (figure 5).

use super::{Do, T1, T64, row};
use Do::{Ack, Double, End, Every, Open, Pass, Quiet, Send, Timeout};
use Input::{Again, Cancelled, Failure, Provisional, Start, Success};
use State::{Accepted, Calling, Completed, Proceeding, Terminated};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    Calling,
    Proceeding,
    Completed,
    Accepted,
    Terminated,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Input {
    Start,
    /// 100–199.
    Provisional,
    /// 200–299.
    Success,
    /// 300–699.
    Failure,
    /// A CANCEL was sent.
    Cancelled,
    /// Timer A.
    Again,
    /// Timers B, D and M.
    End,
}

#[rustfmt::skip]
pub const TABLE: &[(State, Input, State, &[Do])] = &[
    (Calling,    Start,       Calling,    &[Send, Every(T1), End(T64)]),     // timers A and B
    (Calling,    Again,       Calling,    &[Send, Double(T64)]),             // A doubles without a cap
    (Calling,    Input::End,  Terminated, &[Timeout]),
    (Calling,    Provisional, Proceeding, &[Pass, Quiet, Open]),
    (Calling,    Success,     Accepted,   &[Pass, Quiet, End(T64)]),         // timer M
    (Calling,    Failure,     Completed,  &[Pass, Ack, Quiet, End(T64)]),    // timer D: at least 32 s
    (Proceeding, Provisional, Proceeding, &[Pass]),
    (Proceeding, Success,     Accepted,   &[Pass, End(T64)]),
    (Proceeding, Failure,     Completed,  &[Pass, Ack, End(T64)]),
    // RFC 3261 §9.1: without a final response 64·T1 after the CANCEL the transaction is over.
    (Proceeding, Cancelled,   Proceeding, &[End(T64)]),
    (Proceeding, Input::End,  Terminated, &[Timeout]),
    (Completed,  Failure,     Completed,  &[Ack]),
    // Another branch of a fork was answered: it must be acknowledged and hung up (RFC 3261 §13.2.2.4).
    (Completed,  Success,     Completed,  &[Pass]),
    (Completed,  Input::End,  Terminated, &[]),
    (Accepted,   Success,     Accepted,   &[Pass]),                          // the user agent sends the ACK
    (Accepted,   Input::End,  Terminated, &[]),
];

pub fn step(state: State, input: Input) -> (State, &'static [Do]) {
    row(TABLE, state, &input)
}
