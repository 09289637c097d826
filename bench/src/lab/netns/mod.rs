//! Network namespaces that go when their owner goes.

mod ledger;

pub use ledger::{DIR, Ledger, clean};

use super::error::LabError;
use std::fs::File;
use std::io::ErrorKind;
use std::os::fd::AsFd as _;
use std::path::PathBuf;
use std::process::{Command, Stdio};

/// Every namespace of the lab begins with it.
pub const PREFIX: &str = "sipsec-";

/// A namespace that we made. Dropping it removes it with its devices.
#[derive(Debug)]
pub struct Namespace {
    name: String,
}

impl Namespace {
    /// Makes a namespace with loopback up, forwarding off and no IPv6 chatter.
    pub fn create(name: String, ledger: &mut Ledger) -> Result<Self, LabError> {
        debug_assert!(name.starts_with(PREFIX));
        if netns_path(&name).exists() {
            return Err(LabError::NamespaceExists(name));
        }
        ledger.record(&name)?;
        ip(&["netns", "add", &name])?;
        let namespace = Self { name };
        namespace.ip(&["link", "set", "lo", "up"])?;
        // Router solicitations and duplicate address detection would reach rings that tests want quiet.
        namespace.sysctl("ipv6/conf/all/disable_ipv6", "1")?;
        namespace.sysctl("ipv6/conf/default/disable_ipv6", "1")?;
        namespace.sysctl("ipv4/conf/all/rp_filter", "0")?;
        namespace.sysctl("ipv4/conf/default/rp_filter", "0")?;
        Ok(namespace)
    }

    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// `ip -n NAME …`
    pub fn ip(&self, args: &[&str]) -> Result<(), LabError> {
        ip(&[&["-n", self.name.as_str()], args].concat())
    }

    /// A program that will run in the namespace. `ip netns exec` becomes the program, so that its pid is the program's.
    #[must_use]
    pub fn command(&self, program: impl AsRef<std::ffi::OsStr>) -> Command {
        let mut command = Command::new("ip");
        command.args(["netns", "exec", &self.name]).arg(program).stdin(Stdio::null());
        command
    }

    /// Runs a function in the namespace, in a thread of its own. Sockets that it opens stay there.
    pub fn run<T: Send>(&self, body: impl FnOnce() -> std::io::Result<T> + Send) -> Result<T, LabError> {
        let what = || format!("in namespace {}", self.name);
        let file = File::open(netns_path(&self.name)).map_err(LabError::io(what()))?;
        let inside = std::thread::scope(|scope| {
            scope
                .spawn(move || {
                    let network = Some(rustix::thread::LinkNameSpaceType::Network);
                    rustix::thread::move_into_link_name_space(file.as_fd(), network)?;
                    body()
                })
                .join()
        });
        match inside {
            Ok(result) => result.map_err(LabError::io(what())),
            Err(panic) => std::panic::resume_unwind(panic),
        }
    }

    pub fn sysctl(&self, key: &str, value: &str) -> Result<(), LabError> {
        let path = PathBuf::from("/proc/sys/net").join(key);
        self.run(|| match std::fs::write(&path, value) {
            // A kernel without IPv6 has nothing to disable.
            Err(e) if e.kind() == ErrorKind::NotFound => Ok(()),
            other => other,
        })
    }

    /// True once the device is there.
    #[must_use]
    pub fn has_device(&self, device: &str) -> bool {
        self.ip(&["link", "show", "dev", device]).is_ok()
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        if let Err(e) = ip(&["netns", "del", &self.name]) {
            eprintln!("the namespace {} could not be removed: {e}", self.name);
        }
    }
}

/// One end of a pair.
#[derive(Clone, Copy, Debug)]
pub struct End<'a> {
    pub namespace: &'a Namespace,
    pub device: &'a str,
    /// With its prefix length; empty for none.
    pub address: &'a str,
}

/// Joins two namespaces by a veth pair, both ends up.
pub fn link(a: End<'_>, b: End<'_>, mtu: u16, offload: Offload) -> Result<(), LabError> {
    link_with_queues(a, b, mtu, offload, 1)
}

/// The same with so many queues in each direction.
pub fn link_with_queues(
    a: End<'_>,
    b: End<'_>,
    mtu: u16,
    offload: Offload,
    queues: u16,
) -> Result<(), LabError> {
    let (mtu, queues) = (mtu.to_string(), queues.to_string());
    let (na, nb) = (a.namespace.name(), b.namespace.name());
    let both = ["mtu", &mtu, "numtxqueues", &queues, "numrxqueues", &queues];
    let one = ["link", "add", a.device, "netns", na];
    let other = ["type", "veth", "peer", "name", b.device, "netns", nb];
    ip(&[&one[..], &both, &other, &both].concat())?;
    for end in [a, b] {
        if !end.address.is_empty() {
            end.namespace.ip(&["addr", "add", end.address, "dev", end.device])?;
        }
        if offload == Offload::Off {
            let mut ethtool = end.namespace.command("ethtool");
            run(ethtool.args(["-K", end.device, "tx", "off"]))?;
        }
        end.namespace.ip(&["link", "set", end.device, "up"])?;
    }
    Ok(())
}

/// Checksums of locally sent packets. On a pair whose far end reads frames through AF_XDP they must be computed: the kernel
/// otherwise leaves them for hardware that is not there.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Offload {
    On,
    Off,
}

fn netns_path(name: &str) -> PathBuf {
    PathBuf::from("/run/netns").join(name)
}

fn ip(args: &[&str]) -> Result<(), LabError> {
    run(Command::new("ip").args(args)).map(drop)
}

/// Runs a command to its end and gives its standard output.
pub fn run(command: &mut Command) -> Result<String, LabError> {
    let shown = || {
        let words: Vec<_> = std::iter::once(command.get_program())
            .chain(command.get_args())
            .map(|w| w.to_string_lossy().into_owned())
            .collect();
        words.join(" ")
    };
    let shown = shown();
    let output = command.stdin(Stdio::null()).output().map_err(LabError::io(&shown))?;
    if output.status.success() {
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    } else {
        let stderr = String::from_utf8_lossy(&output.stderr).trim().to_owned();
        Err(LabError::Command { command: shown, status: output.status, stderr })
    }
}
