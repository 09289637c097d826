//! SIP user agent (RFC 3261) and SDP (RFC 6193) as a sans-IO core: datagrams, time and randomness come in, datagrams,
//! events and records to keep come out.
#![forbid(unsafe_code)]

mod auth;
pub mod call;
mod calls;
pub mod config;
pub mod dialect;
mod dialog;
pub mod digest;
mod ending;
#[cfg(feature = "fuzz")]
pub mod fuzz;
pub mod locate;
mod message;
pub mod notice;
pub mod output;
mod pace;
pub mod reason;
pub mod record;
mod recover;
mod registration;
mod schedule;
pub mod sdp;
mod session_timer;
mod state;
pub mod target;
mod transaction;
pub mod transport;
mod ua;
mod uac;
mod uas;

#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;

pub use call::{Call, CallId};
pub use config::{Config, Line, MIN_SE_S, REQUESTS_PER_S, SESSION_EXPIRES_S};
pub use dialect::{CalledSource, CallerSource, ContactUser, Dialect, Identity};
pub use notice::{Notice, NoticeKind};
pub use output::{
    CallFailure, Caller, Event, LostWhy, Output, RegistrationState, RegistrationView, ReliableAnswer,
};
pub use reason::{Cause, Reason};
pub use record::{DialogRecord, RecordError};
pub use target::Target;
pub use transport::{Flow, FlowId, Locals, Transport};
pub use ua::{Stats, UserAgent};
pub use uac::DialError;
