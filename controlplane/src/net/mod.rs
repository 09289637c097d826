//! Kernel sockets: SIP over UDP, DHCP, and netlink, of routing and of netfilter.

pub mod dhcp;
pub mod drain;
mod netfilter;
pub mod netlink;
pub mod primary;
pub mod resolve;
pub mod sip;
pub mod track;
pub mod wan;
