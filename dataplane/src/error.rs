//! Why the dataplane does not start. Each says what to do.

use sipsec_ebpf::{Program, SteeringError};
use sipsec_profile::{Findings, Style};
use sipsec_xsk::OpenError;
use std::io;
use std::path::PathBuf;

#[derive(Debug, thiserror::Error)]
pub enum BootError {
    #[error("cannot read the profile {}: {error}", path.display())]
    ProfileRead { path: PathBuf, error: io::Error },
    #[error("the profile {} is larger than {max} bytes", path.display())]
    ProfileTooLarge { path: PathBuf, max: u64 },
    #[error("{}", .0.render(Style::PLAIN))]
    Profile(Findings),
    #[error("not permitted to {step} {device}: run as root, or give the process CAP_NET_ADMIN and CAP_BPF")]
    NotPermitted { step: &'static str, device: String },
    #[error("there is no device {device} here: check the name in the profile and the network namespace")]
    DeviceMissing { device: String },
    #[error("{device} is down: `ip link set {device} up`")]
    DeviceDown { device: String },
    #[error("{device} has an MTU of {mtu}; AF_XDP takes at most {max}: `ip link set {device} mtu {max}`")]
    MtuTooLarge { device: String, mtu: u32, max: u32 },
    #[error(
        "{device} exists but is not one end of the pair {device}/{peer}: remove it (`ip link del {device}`) or choose \
         another dataplane.inside.device"
    )]
    ForeignDevice { device: String, peer: String },
    #[error(
        "{device} exists and is no device of the TUN driver: stop the gateway and remove it (`ip link del {device}`), or choose \
         another dataplane.inside.device"
    )]
    NotTun { device: String },
    #[error(
        "cannot open /dev/net/tun ({error}): `modprobe tun`, let this user read and write it, or `dataplane.inside.mode: host`"
    )]
    NoTun { error: io::Error },
    #[error(
        "another process serves {device}; a device serves one gateway: stop the other one, or choose another device in the profile"
    )]
    TunInUse { device: String },
    #[error(
        "routes to {device} would not count while the dataplane is stopped, and packets would leave in clear: `sysctl -w \
         net.{family}.conf.all.ignore_routes_with_linkdown=0 net.{family}.conf.default.ignore_routes_with_linkdown=0`, or `dataplane.inside.mode: host`"
    )]
    LinkdownIgnored { device: String, family: &'static str },
    #[error("cannot {step} {device}: {error}")]
    Device { step: &'static str, device: String, error: io::Error },
    #[error(
        "{device} has {queues} receive queues, of which {max} can be served: `ethtool -L {device} combined {max}`"
    )]
    TooManyQueues { device: String, queues: u32, max: u32 },
    #[error("{0}")]
    Steering(#[from] SteeringError),
    #[error("{0}")]
    Socket(#[from] OpenError),
    #[error("engine {engine} fails its known answers on this machine: name another in dataplane.engine")]
    EngineSelfTest { engine: String },
    #[error("engine {engine} is not there ({why}): install it, or name another in dataplane.engine")]
    EngineMissing { engine: &'static str, why: String },
    #[error(
        "core {core} cannot be used ({error}): dataplane.worker.core and .cores name processors this process may run on"
    )]
    Core { core: u16, error: io::Error },
    #[error("{what}: {error}")]
    Io { what: &'static str, error: io::Error },
    #[error("cannot listen on {}: {error}", path.display())]
    Listen { path: PathBuf, error: io::Error },
    #[error("another dataplane serves {}: stop it first", path.display())]
    AlreadyRunning { path: PathBuf },
    #[error(
        "{device} has an XDP program already: {program}; a device serves one gateway: stop the other one, or choose another \
         device in the profile"
    )]
    DeviceInUse { device: String, program: Program },
    #[error(
        "the dataplane of this gateway runs ({}): stop it first, or its calls end and its packets may leave in clear; --force \
         removes the devices all the same",
        path.display()
    )]
    Running { path: PathBuf },
    #[error("{device} was removed; forwarding stops until the dataplane is started again")]
    DeviceGone { device: String },
    /// Host mode: this process makes it again.
    #[error("{device} was removed")]
    SvtiGone { device: String },
    #[error("a worker stopped by itself; the log lines above say why")]
    WorkerDied,
    #[error("worker-{worker} does not turn any more: the process ends, so that it is started again")]
    WorkerHangs { worker: usize },
}

impl BootError {
    /// A start may succeed as soon as the WAN is there: what this one has made stays, so that routes have their sVTI.
    pub(crate) const fn is_passing(&self) -> bool {
        matches!(self, Self::DeviceMissing { .. } | Self::DeviceDown { .. })
    }

    pub(crate) fn device(step: &'static str, device: String, error: io::Error) -> Self {
        match error.raw_os_error() {
            Some(libc::EPERM | libc::EACCES) => Self::NotPermitted { step, device },
            Some(libc::ENODEV | libc::ENXIO) => Self::DeviceMissing { device },
            _ => Self::Device { step, device, error },
        }
    }
}
