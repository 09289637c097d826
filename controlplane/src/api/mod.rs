//! The management API: HTTP with JSON over a unix socket. Handlers know nothing: they ask the loop, which owns everything.
//! Each answer but the events stands in a [`model::Answer`].
//!
//! | request | answer |
//! |---|---|
//! | `GET /v1/sessions[?remote_number=N][&interface=NAME]` | list of [`model::Session`] |
//! | `GET /v1/registrations[?registered=true]` | list of [`model::Registration`] |
//! | `GET /v1/dhcp` | [`model::DhcpView`] |
//! | `GET /v1/crypto-sessions` | list of [`model::CryptoSession`] |
//! | `GET /v1/nat-translations` | list of [`model::Translation`], at most 100,000 |
//! | `GET /v1/nat-statistics` | [`model::NatStatistics`] |
//! | `GET /v1/policy-maps[?interface=NAME]` | list of [`model::PolicyMap`] |
//! | `GET /v1/dataplane` | [`model::Dataplane`] |
//! | `GET /v1/dataplane/topology` | [`model::Topology`] |
//! | `GET /v1/control` | [`model::Control`] |
//! | `GET /v1/interfaces` | list of [`interfaces::Interface`] |
//! | `GET /v1/sla` | list of [`policy::SlaOperation`] |
//! | `GET /v1/track` | list of [`policy::TrackObject`] |
//! | `GET /v1/routes` | list of [`policy::PrefixRoutes`] |
//! | `GET /v1/summary` | [`model::Summary`] |
//! | `GET /v1/history[?interface=NAME][&since_s=N]` | list of [`model::Call`], the latest first |
//! | `GET /v1/call?call_id=ID` | [`model::CallMessages`]; the beginning of a Call-ID is enough |
//! | `GET /v1/events[?interface=NAME][&since_s=N]` | [`model::EventLine`], one a line, without end; as server-sent events if so accepted |
//! | `POST /v1/clear` | [`model::Clear`] → [`model::Cleared`] |
//! | `POST /v1/nat-clear` | [`model::NatClear`] → nothing |
//! | `POST /v1/call` | [`model::Dial`] → nothing; the call is being placed. 409 says why none can be placed now |
//! | `GET /v1/profile` | [`change::RunningProfile`] |
//! | `POST /v1/profile/diff` | [`change::NewProfile`] → [`change::Difference`] |
//! | `POST /v1/profile/apply` | [`change::Apply`] → [`change::Applied`] |
//! | `POST /v1/profile/confirm` | [`change::Nothing`] → [`change::Confirmed`] |
//! | `POST /v1/profile/rollback` | [`change::Rollback`] → [`change::Applied`] |
//! | `POST /v1/profile/saved` | [`change::Nothing`] → [`change::Confirmed`] |
//! | `GET /v1/profile/history` | list of [`change::Version`], the latest first |
//! | `GET /v1/log-filter` | [`model::LogFilter`] |
//! | `PUT /v1/log-filter` | [`model::LogFilter`] → the same |
//!
//! Unknown names in bodies and queries are refused with 400 or 422, and nothing is done.

mod asked;
pub mod change;
pub mod client;
pub mod interfaces;
pub mod model;
pub mod policy;
mod profile;
mod query;
mod server;
mod stream;

pub use query::{Page, Query, Reply, Request, Target};
pub use server::{ApiError, EVENTS_MAX, listen, serve};
