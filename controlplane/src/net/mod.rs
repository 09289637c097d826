//! Kernel sockets: SIP over UDP, DHCP, and netlink.

pub mod dhcp;
pub mod netlink;
pub mod resolve;
pub mod sip;
pub mod track;
pub mod wan;
