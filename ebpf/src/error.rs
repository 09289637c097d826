//! Why steering cannot be had.

use crate::attach::XdpMode;
use aya::EbpfError;
use aya::maps::MapError;
use aya::programs::ProgramError;
use sipsec_net::{IpPrefix, MediaPort};

#[derive(Debug, thiserror::Error)]
pub enum SteeringError {
    /// The kernel refused the object: no CAP_BPF or CAP_SYS_ADMIN, a locked-memory limit, or no BPF at all.
    #[error("the kernel does not load the XDP object (root and CONFIG_BPF_SYSCALL are needed): {0}")]
    Load(#[source] Box<EbpfError>),
    #[error("the verifier refuses program {program}: {source}")]
    Verify { program: &'static str, source: Box<ProgramError> },
    #[error("the XDP object has no {0}; sipsec and its object are of different versions")]
    Missing(&'static str),
    #[error(
        "interface {ifindex}: another XDP program is attached; detach it with `ip link set DEVICE xdp off`"
    )]
    Busy { ifindex: u32 },
    #[error("interface {ifindex} does not take the XDP program in {mode} mode: {source}")]
    Attach { ifindex: u32, mode: XdpMode, source: Box<ProgramError> },
    #[error("port {0} has an XDP program already")]
    AttachedBefore(crate::Port),
    #[error("map {map}: {source}")]
    Map { map: &'static str, source: Box<MapError> },
    /// The table's size is `Limits`.
    #[error("map {map} is full")]
    Full { map: &'static str },
    #[error("media port {0} is open already")]
    MediaPortOpen(MediaPort),
    #[error("media port {0} is not open")]
    MediaPortNotOpen(MediaPort),
    #[error("prefix {0} is not there")]
    PrefixNotThere(IpPrefix),
}
