//! Why a measurement cannot run.

use std::io;

#[derive(Debug, thiserror::Error)]
pub enum PktgenError {
    #[error("no device {device} in this network namespace: {source}")]
    Device { device: String, source: io::Error },
    #[error("{device} has no usable MAC address: {reason}; give it with {option}")]
    Mac { device: String, option: &'static str, reason: String },
    #[error("the XDP program cannot be attached to {device}: {source}")]
    Steering { device: String, source: Box<sipsec_ebpf::SteeringError> },
    #[error("AF_XDP: {0}")]
    Open(#[from] sipsec_xsk::OpenError),
    #[error("{device} does not send: {source}")]
    Send { device: String, source: io::Error },
    #[error("{0}")]
    Arguments(String),
}
