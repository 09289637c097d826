//! Non-INVITE client transaction: RFC 3261 §17.1.2 (figure 6).

use super::{AT_ONCE, Do, Row, T1, T2, T4, T64, row};
use Do::{Double, End, Every, Pass, Quiet, Send, Timeout};
use Input::{Again, Final, Provisional, Start};
use State::{Completed, Proceeding, Terminated, Trying};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    Trying,
    Proceeding,
    Completed,
    Terminated,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Input {
    Start,
    /// 100–199.
    Provisional,
    /// 200–699.
    Final,
    /// Timer E.
    Again,
    /// Timers F and K.
    End,
}

#[rustfmt::skip]
pub const TABLE: &[Row<State, Input>] = &[
    (Trying,     Start,       Trying,     &[Send, Every(T1), End(T64)],    Some(&[Send, End(T64)])),           // timers E and F
    (Trying,     Again,       Trying,     &[Send, Double(T2)],             None),
    (Trying,     Input::End,  Terminated, &[Timeout],                      None),
    (Trying,     Provisional, Proceeding, &[Pass, Every(T2)],              Some(&[Pass])),
    (Trying,     Final,       Completed,  &[Pass, Quiet, End(T4)],         Some(&[Pass, End(AT_ONCE)])),       // timer K
    (Proceeding, Again,       Proceeding, &[Send, Every(T2)],              None),
    (Proceeding, Input::End,  Terminated, &[Timeout],                      None),
    (Proceeding, Provisional, Proceeding, &[Pass],                         None),
    (Proceeding, Final,       Completed,  &[Pass, Quiet, End(T4)],         Some(&[Pass, End(AT_ONCE)])),
    (Completed,  Input::End,  Terminated, &[],                             None),
];

pub fn step(state: State, input: Input, reliable: bool) -> (State, &'static [Do]) {
    row(TABLE, state, &input, reliable)
}
