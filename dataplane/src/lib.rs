//! The poll-mode dataplane process: boots devices and sockets, runs the packet pipeline on a pinned worker, and answers
//! to a control plane that may come and go.
#![deny(unsafe_code)]

pub mod device;
pub mod error;
pub mod netlink;
pub mod sys;
