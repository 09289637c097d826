//! Why steering cannot be had.

use crate::attach::XdpMode;
use aya::EbpfError;
use aya::maps::MapError;
use aya::programs::ProgramError;
use core::fmt;
use sipsec_net::{IpPrefix, MediaPort};

/// A program of another process, as far as the kernel tells.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Program {
    pub id: Option<u32>,
    pub name: Option<String>,
}

impl Program {
    /// The program with this number.
    #[must_use]
    pub fn with_id(id: u32) -> Self {
        let mut all = aya::programs::loaded_programs().filter_map(Result::ok);
        let name = all.find(|p| p.id() == id).and_then(|p| p.name_as_str().map(str::to_owned));
        Self { id: Some(id), name: name.filter(|n| !n.is_empty()) }
    }
}

impl fmt::Display for Program {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.name, self.id) {
            (Some(name), Some(id)) => write!(f, "`{name}` (id {id}, see `bpftool prog show id {id}`)"),
            (None, Some(id)) => write!(f, "id {id}, see `bpftool prog show id {id}`"),
            (_, None) => f.write_str("the kernel does not say which"),
        }
    }
}

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
        "{device} has an XDP program already: {program}; if it is not another gateway's, detach it with \
         `ip link set {device} xdp off`"
    )]
    Busy { device: String, program: Program },
    #[error("{device} does not take the XDP program in {mode} mode: {source}")]
    Attach { device: String, mode: XdpMode, source: Box<ProgramError> },
    #[error("interface {ifindex} cannot be looked up: {source}")]
    Link { ifindex: u32, source: std::io::Error },
    #[error(
        "{device} keeps a part of each frame from XDP and this cannot be turned off ({source}): \
         `ethtool -K {device} {offload} off`, or another device"
    )]
    Offload { device: String, offload: &'static str, source: std::io::Error },
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
