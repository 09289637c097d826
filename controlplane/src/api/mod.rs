//! The management API: HTTP with JSON over a unix socket.

pub mod client;
pub mod model;
