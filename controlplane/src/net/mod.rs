//! Kernel sockets: SIP over UDP, and netlink.

pub mod netlink;
pub mod udp;
