//! Transactions (RFC 3261 §17 as RFC 6026 corrects it): four tables, and one machine that runs them.
//!
//! A row has two lists of actions: over UDP, and over a transport that is reliable. Over the latter nothing is sent again
//! (timers A, E and G), and no repetition has to be waited for (timers D, I, J and K).

mod client;
pub mod client_invite;
pub mod client_non_invite;
mod server;
pub mod server_invite;
pub mod server_non_invite;
mod timers;

pub use client::{ClientTransaction, Owner};
pub use server::ServerTransaction;

use crate::config::{T1, T2, T4, T64};
use std::time::Duration;

/// An action of a table's row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Do {
    /// Send the request, or the latest response, again.
    Send,
    /// Hand the message to the user agent.
    Pass,
    /// Send the ACK of a non-2xx final response.
    Ack,
    /// Tell the user agent that nothing came.
    Timeout,
    /// The next retransmission after twice the last interval, at most this.
    Double(Duration),
    /// The next retransmission after this.
    Every(Duration),
    /// No more retransmissions.
    Quiet,
    /// The state ends after this.
    End(Duration),
    /// The state does not end by itself.
    Open,
}

/// The end of a state that only waits for repetitions, of which a reliable transport has none.
const AT_ONCE: Duration = Duration::ZERO;

/// State, input, next state; actions over UDP; actions over a reliable transport, if they differ.
type Row<S, I> = (S, I, S, &'static [Do], Option<&'static [Do]>);

/// Looks a row up. What a table does not name changes nothing.
fn row<S: Copy + PartialEq, I: PartialEq>(
    table: &[Row<S, I>],
    state: S,
    input: &I,
    reliable: bool,
) -> (S, &'static [Do]) {
    table
        .iter()
        .find(|(s, i, ..)| *s == state && i == input)
        .map_or((state, &[]), |(_, _, next, todo, other)| {
            (*next, other.filter(|_| reliable).unwrap_or(*todo))
        })
}

#[cfg(test)]
mod tests;
