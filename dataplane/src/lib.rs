//! The poll-mode dataplane process: boots devices and sockets, runs the packet pipeline on a pinned worker, and answers
//! to a control plane that may come and go.
#![deny(unsafe_code)]

pub mod boot;
pub mod config;
pub mod control;
pub mod device;
mod device_port;
pub mod engines;
pub mod error;
pub mod housekeeping;
pub mod huge_pages;
pub mod idle;
pub mod io;
pub mod local;
pub mod mailbox;
pub mod neighbours;
pub mod netlink;
mod offloads;
pub mod privileges;
pub mod sys;
pub mod translation_table;
pub mod tun;
pub mod worker;
