//! INVITE client transaction: RFC 6026 §8.4 (figure 5).

use super::{AT_ONCE, Do, Row, T1, T64, row};
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
pub const TABLE: &[Row<State, Input>] = &[
    (Calling,    Start,       Calling,    &[Send, Every(T1), End(T64)],     Some(&[Send, End(T64)])),   // timers A and B
    (Calling,    Again,       Calling,    &[Send, Double(T64)],             None),       // A doubles without a cap
    (Calling,    Input::End,  Terminated, &[Timeout],                       None),
    (Calling,    Provisional, Proceeding, &[Pass, Quiet, Open],             None),
    (Calling,    Success,     Accepted,   &[Pass, Quiet, End(T64)],         None),       // timer M
    (Calling,    Failure,     Completed,  &[Pass, Ack, Quiet, End(T64)],    Some(&[Pass, Ack, End(AT_ONCE)])), // timer D: at least 32 s
    (Proceeding, Provisional, Proceeding, &[Pass],                          None),
    (Proceeding, Success,     Accepted,   &[Pass, End(T64)],                None),
    (Proceeding, Failure,     Completed,  &[Pass, Ack, End(T64)],           Some(&[Pass, Ack, End(AT_ONCE)])),
    // RFC 3261 §9.1: without a final response 64·T1 after the CANCEL the transaction is over.
    (Proceeding, Cancelled,   Proceeding, &[End(T64)],                      None),
    (Proceeding, Input::End,  Terminated, &[Timeout],                       None),
    (Completed,  Failure,     Completed,  &[Ack],                           None),
    // Another branch of a fork was answered: it must be acknowledged and hung up (RFC 3261 §13.2.2.4).
    (Completed,  Success,     Completed,  &[Pass],                          None),
    (Completed,  Input::End,  Terminated, &[],                              None),
    (Accepted,   Success,     Accepted,   &[Pass],                          None),       // the user agent sends the ACK
    (Accepted,   Input::End,  Terminated, &[],                              None),
];

pub fn step(state: State, input: Input, reliable: bool) -> (State, &'static [Do]) {
    row(TABLE, state, &input, reliable)
}
