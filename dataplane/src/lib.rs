//! The poll-mode dataplane process.
