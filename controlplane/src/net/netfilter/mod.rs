//! The kernel's netfilter: transactions of nftables, and a socket for them.

mod rule;
mod socket;
mod transaction;

pub use rule::{
    ACCEPT, DESTINATION_TRANSLATED, DROP, EQUAL, FIRST, Fib, JUMP, KEY, Meta, RETURN, Rule, SECOND,
    SOURCE_TRANSLATED, TCP, Tracked, UDP, VALUE, Way,
};
pub use socket::{Changes, DUMP, Netfilter, blocking, explain};
#[cfg(test)]
pub use transaction::NEW_TABLE;
pub use transaction::{Batch, Hook, Set, Writer};
