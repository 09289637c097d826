//! The management API: HTTP with JSON over a unix socket. Handlers know nothing: they ask the loop, which owns everything.
//! Each answer but the events stands in a [`model::Answer`].
//!
//! | request | answer |
//! |---|---|
//! | `GET /v1/sessions[?remote_number=N]` | list of [`model::Session`] |
//! | `GET /v1/registrations[?registered=true]` | list of [`model::Registration`] |
//! | `GET /v1/crypto-sessions` | list of [`model::CryptoSession`] |
//! | `GET /v1/nat-translations` | list of [`model::Translation`] |
//! | `GET /v1/dataplane` | [`model::Dataplane`] |
//! | `GET /v1/control` | [`model::Control`] |
//! | `GET /v1/events` | [`model::EventLine`], one a line, without end; as server-sent events if so accepted |
//! | `POST /v1/clear` | [`model::Clear`] → [`model::Cleared`] |
//! | `PUT /v1/log-filter` | [`model::LogFilter`] → the same |

pub mod client;
pub mod model;
mod server;

pub use server::{ApiError, EVENTS_MAX, Query, Reply, Request, listen, serve};
