//! Commands, and a network namespace of a test's own.

use rustix::thread::UnshareFlags;
use std::io::Write;
use std::process::Command;

/// The output of a command that must succeed.
pub fn sh(line: &str) -> String {
    let mut words = line.split_whitespace();
    let out = Command::new(words.next().expect("a command")).args(words).output().expect(line);
    assert!(out.status.success(), "{line}: {}", String::from_utf8_lossy(&out.stderr));
    String::from_utf8_lossy(&out.stdout).into_owned()
}

/// This thread gets a fresh network namespace, which ends with it.
pub fn own_namespace() {
    #[expect(
        deprecated,
        reason = "unsafe for shared file tables; a network namespace shares nothing with other threads"
    )]
    rustix::thread::unshare(UnshareFlags::NEWNET).expect("a namespace");
    sh("ip link set lo up");
}

/// Runs a test in a fresh namespace. Without root it is skipped.
pub fn in_namespace(test: impl AsyncFnOnce()) {
    if !rustix::process::geteuid().is_root() {
        let _ = writeln!(std::io::stderr(), "SKIPPED: network namespaces need root");
        return;
    }
    own_namespace();
    // One thread, so that every socket is of this namespace.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(test());
}
