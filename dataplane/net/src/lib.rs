//! Vocabulary of all sipsec crates: packet formats, units, ids, time, drop reasons, and the words in which the
//! control plane tells the dataplane what to do ([`dp`]). No I/O, no clock, no unsafe, and `no_std` so that any
//! process or core can use it.
#![cfg_attr(not(test), no_std)]
#![forbid(unsafe_code)]

extern crate alloc;

pub mod checksum;
pub mod discard;
pub mod dp;
pub mod drop_reason;
pub mod entropy;
pub mod esp;
pub mod eth;
pub mod filter;
pub mod fingerprint;
pub mod icmp;
pub mod id;
pub mod instant;
pub mod ipv4;
pub mod ipv6;
pub mod nat;
pub mod number;
pub mod prefix;
pub mod qos;
pub mod secret;
pub mod tcp;
pub mod tunnel_device;
pub mod udp;
pub mod udp_encap;
pub mod unit;

pub use drop_reason::DropReason;
pub use entropy::Entropy;
pub use fingerprint::{Fingerprint, HashFunc};
pub use id::{MediaPort, SaId, Spi, TunnelId, TxnId};
pub use instant::Instant;
pub use number::TelNumber;
pub use prefix::IpPrefix;
pub use secret::{SecretBox, SecretBytes};
pub use unit::{Kbps, MacAddr};
