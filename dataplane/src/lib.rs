//! The poll-mode dataplane process: boots devices and sockets, runs the packet pipeline on a pinned worker, and answers
//! to a control plane that may come and go.
#![deny(unsafe_code)]

pub mod boot;
pub mod config;
pub mod device;
pub mod error;
pub mod idle;
pub mod mailbox;
pub mod netlink;
pub mod peer;
pub mod steer;
pub mod sys;
