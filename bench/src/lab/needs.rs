//! What the lab needs of the machine, asked before anything is made.

use super::error::{LabError, Missing};
use super::gateway::Programs;
use std::path::Path;

const TOOLS: [(&str, &str); 4] =
    [("ip", "iproute2"), ("ethtool", "ethtool"), ("ping", "iputils-ping"), ("iperf3", "iperf3")];

/// Everything missing at once, each with its cure.
pub fn check(programs: Option<&Programs>) -> Result<(), LabError> {
    let mut missing = Vec::new();
    let mut lack = |what: &str, cure: String| missing.push(Missing { what: what.to_owned(), cure });
    let root = rustix::process::geteuid().is_root();
    if !root {
        lack("root (network namespaces, XDP and AF_XDP need it)", "run the same command with sudo".into());
    }
    for (tool, package) in TOOLS {
        if !in_path(tool) {
            lack(&format!("the program {tool}"), format!("apt-get install {package}, or `deploy/lab setup`"));
        }
    }
    if !af_xdp() {
        lack(
            "AF_XDP sockets",
            "a kernel with CONFIG_XDP_SOCKETS=y (every Debian and Ubuntu kernel since 5.4 has it; containers and some \
             cloud kernels do not): use a virtual machine"
                .into(),
        );
    }
    if root
        && !Path::new("/sys/kernel/btf/vmlinux").exists()
        && !Path::new("/proc/sys/net/core/bpf_jit_enable").exists()
    {
        lack("BPF", "a kernel with CONFIG_BPF_SYSCALL=y and CONFIG_BPF_JIT=y".into());
    }
    if let Some(programs) = programs {
        for program in programs.absent() {
            lack(&format!("{}", program.display()), "cargo build --release, or `deploy/lab demo`".into());
        }
    }
    if missing.is_empty() { Ok(()) } else { Err(LabError::Missing(missing)) }
}

/// One program that not every use of the lab needs.
pub fn tool(tool: &str, package: &str) -> Result<(), LabError> {
    if in_path(tool) {
        return Ok(());
    }
    let cure = format!("apt-get install {package}, or `deploy/lab setup`");
    Err(LabError::Missing(vec![Missing { what: format!("the program {tool}"), cure }]))
}

/// Whether a program is where the shell finds it; a path is taken as it is.
#[must_use]
pub fn in_path(tool: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .chain(["/usr/sbin".into(), "/sbin".into()])
        .any(|dir: std::path::PathBuf| dir.join(tool).is_file())
}

/// A kernel that has the family knows it for every user; without root it refuses for another reason.
fn af_xdp() -> bool {
    let socket = rustix::net::socket(rustix::net::AddressFamily::XDP, rustix::net::SocketType::RAW, None);
    !matches!(socket, Err(rustix::io::Errno::AFNOSUPPORT))
}
