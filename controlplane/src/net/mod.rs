//! Kernel sockets: SIP over UDP, DHCP, and netlink.

pub mod dhcp;
pub mod netlink;
pub mod track;
pub mod udp;
