//! The lab: network namespaces, a carrier, two gateways and what is asked of them.

pub mod carrier;
pub mod clock;
