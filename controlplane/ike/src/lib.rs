//! IKEv2 (RFC 7296) as a sans-IO core: one [`Endpoint`] per authorised call.
//!
//! Every `handle_…`, `start`, `close` and `rekey_…` may leave outputs: drain [`Endpoint::poll_output`] until it is
//! `None`, then ask [`Endpoint::poll_timeout`] when to call [`Endpoint::handle_timeout`].
//!
//! ```text
//! initiator  Idle → KeyGen → InitSent → Agreeing → [Intermediate →] Signing → AuthSent → Verifying ─┐
//!                                                                                                   ├→ Established → Closing → Closed
//! responder  Listening (bounded half-open SAs, cookies) ────────────────────────────────────────────┘
//! ```
//! An established endpoint may go through the left part again beside or after its IKE SA (`further.rs`).
//! Each state is a file of `state/`, each work of an established SA a file of `task/`, each payload a file of `wire/`.
#![forbid(unsafe_code)]

pub mod algorithm;
pub mod compute;
pub mod config;
pub mod error;
pub mod identity;
pub mod keylog;
pub mod output;
pub mod view;

mod auth;
mod crash;
mod crypto;
mod ctx;
mod endpoint;
mod exchange;
mod further;
mod nat;
mod negotiate;
mod path;
mod secret;
mod state;
mod task;
mod wire;

#[cfg(feature = "fuzz")]
pub mod fuzz;
#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;

pub use auth::{
    AuthMethod, CertificateFacts, Date, FingerprintBasis, FingerprintMatched, PeerAuthenticated, ProvenSa,
    believes, certificate_fingerprint, crl_next_update, psk_fingerprint,
};
pub use config::{
    AuthConfig, CertificateAuth, CertificateMap, Dpd, DpdMode, EndpointConfig, FingerprintPolicy,
    IdentityPolicy, Lifetime, NAT_KEEPALIVE, Ppk, Probe, PskKeys, PskSlot, Retransmit, Revocation, Role,
    SigningKey, Trust,
};
pub use crash::{CRASH_SECRET_LEN, CrashSecret, TokenMaker};
pub use endpoint::Endpoint;
pub use error::{CertError, CloseCause, IkeError, Party, Unanswered};
pub use identity::Identity;
pub use negotiate::ts::TrafficSelectors;
pub use output::{ChildDownCause, ChildId, ChildSaKeys, Event, Output};
pub use path::search::{PathPhase, PathView};
pub use view::{CrashTokens, SaView};
pub use wire::header::Outline;
