//! Network address translation of what a tunnel carries: many to few with ports (RFC 3022, RFC 4787, RFC 5382, RFC 5508,
//! RFC 6888, RFC 7857), ports that are reachable from outside, one network for another, and IPv6 prefixes (RFC 6296).
//!
//! ```text
//!            outbound ──▶ port rule? ─▶ network? ─▶ first rule that matches ─▶ mapping ─▶ session ─▶ rewritten
//!  LAN side ─┤                                       (none, or exempt: as it is)                               ├─ tunnel
//!            └─ rewritten ◀─ session (or filter) ◀─ mapping ◀─ network? ◀──────────────────────── inbound ◀──
//! ```
//!
//! Pure: packets, time and randomness are arguments. Tables have their size from the start, every packet
//! costs a bounded number of steps, and every refusal is one [`DropReason`]. [`Nat`] has the verbs; `translate.rs` and
//! `icmp.rs` the ways of packets; `table.rs` the rows; `ports.rs` the pools.
//!
//! [`DropReason`]: sipsec_net::DropReason
#![forbid(unsafe_code)]

mod ahead;
mod fragments;
mod hash;
mod icmp;
mod index;
mod nat;
mod ports;
mod prefix;
mod rewrite;
mod sessions;
mod space;
mod table;
mod tcp;
mod translate;
mod translate_v6;
mod wheel;

pub use ahead::AHEAD_MAX;
pub use nat::{Nat, NatLimits};

#[cfg(test)]
mod tests;
