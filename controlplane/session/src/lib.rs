//! VPN-SIP sessions: joins SIP, IKE and the dataplane in one deterministic core.
//!
//! ```text
//!  Acquire ─> Dialing ── 200 (reliable) ──> NegotiatingIke ── proofs, SAs applied ──> SessionUp
//!  INVITE ──> Dialing ── media open, 200 ─> NegotiatingIke                               │ idle, BYE, failure
//!                 └──────────── failure ───────────┴──────────────> Draining <───────────┘
//! ```
//! Money: a call is in the journal before its INVITE leaves or its 200 is sent, and stays there until SIP has ended it.
//! From the answer on a deadline runs; every end of a session hangs up.
#![forbid(unsafe_code)]

mod addresses;
mod brake;
mod calls;
mod carriers;
mod change;
pub mod config;
mod core;
mod dataplane;
mod dial;
mod ending;
mod entropy;
pub mod failure;
mod ike;
mod incoming;
pub mod input;
mod journal;
mod keyring;
pub mod ledger;
mod lost;
mod media;
pub mod output;
mod ports;
mod record;
mod routes;
mod selectors;
mod state;
mod tunnel;
mod tunnels;
pub mod view;

pub use addresses::WanAddresses;
pub use carriers::{CARRIERS_MAX, CarrierId};
pub use change::{Reconfiguration, ReconfigureError, Reconfigured};
pub use config::{
    BackOff, CarrierConfig, CarrierMedia, Credential, IkeConfig, KeyEntry, MediaConfig, PeerKind,
    SessionConfig, TunnelConfig, TunnelFilters, TunnelNat, TunnelQos,
};
pub use core::Core;
pub use dial::Rehearsal;
pub use failure::SessionFailure;
pub use input::{Admin, ComputeKey, Input};
pub use ledger::{CallSummary, Carried, EndReason, Origin};
pub use output::{EventKind, Output, SessionEvent, Transaction};
pub use routes::Chosen;
pub use selectors::Narrowed;
pub use view::{CryptoView, SessionView, Translation, TunnelStatus, UnconfirmedView};
