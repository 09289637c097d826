//! IKEv2 (RFC 7296) as a sans-IO core: one [`Endpoint`] per authorised call.
//!
//! Every `handle_…`, `start`, `close` and `rekey_…` may leave outputs: drain [`Endpoint::poll_output`] until it is
//! `None`, then ask [`Endpoint::poll_timeout`] when to call [`Endpoint::handle_timeout`].
//!
//! ```text
//! initiator  Idle → KeyGen → InitSent → Agreeing → AuthSent ─┐
//!                                                            ├→ Established → Closing → Closed
//! responder  Listening (bounded half-open SAs, cookies) ─────┘
//! ```
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

mod endpoint;

pub use config::{
    AuthConfig, Dpd, DpdMode, EndpointConfig, FingerprintPolicy, IdentityPolicy, Lifetime, Retransmit, Role,
};
pub use endpoint::{Endpoint, psk_fingerprint};
pub use error::{CloseCause, IkeError, Party};
pub use identity::Identity;
pub use output::{
    AuthMethod, ChildDownCause, ChildId, ChildSaKeys, Event, FingerprintBasis, FingerprintMatched, Output,
    PeerAuthenticated,
};
pub use view::SaView;
