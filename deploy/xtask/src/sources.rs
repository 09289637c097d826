//! Rules about the text of sources.

use crate::Violation;
use std::fs;
use std::path::{Path, PathBuf};

/// Cores: no I/O, no clock, no environment.
const CORES: &[&str] = &[
    "dataplane/net/src",
    "dataplane/nat/src",
    "dataplane/pipeline/src",
    "controlplane/ike/src",
    "controlplane/sip/src",
    "controlplane/session/src",
    "controlplane/profile/src",
    "controlplane/dhcp/src",
    "controlplane/track/src",
];
const CORE_FORBIDDEN: &[(&str, &str)] = &[
    ("std::fs", "files belong to the shells"),
    ("std::env", "the environment belongs to the shells"),
    ("std::thread", "threads belong to the shells"),
    ("UdpSocket", "sockets belong to the shells"),
    ("TcpStream", "sockets belong to the shells"),
    ("SystemTime", "time is an argument"),
    ("Instant::now", "time is an argument"),
    ("OsRng", "randomness is an argument"),
    ("SystemRandom", "randomness is an argument"),
];
/// Crates that may hold `unsafe`; elsewhere it may stand in a file named `sys.rs` only.
const UNSAFE_CRATES: &[&str] = &["dataplane/abi", "dataplane/xsk", "ebpf"];
/// Libraries that stay in few files, so that they can be replaced there.
const CONFINED: &[(&str, &[&str])] =
    &[("serde_yaml::", &["controlplane/profile/src/read/values.rs", "controlplane/profile/tests"])];

pub fn check(root: &Path) -> Vec<Violation> {
    let mut violations = Vec::new();
    for top in ["dataplane", "controlplane", "ebpf/src", "bench"] {
        for file in rust_files(&root.join(top)) {
            let Ok(text) = fs::read_to_string(&file) else { continue };
            let name = file.strip_prefix(root).unwrap_or(&file).display().to_string();
            check_file(&name, &text, &mut violations);
        }
    }
    violations
}

fn check_file(name: &str, text: &str, violations: &mut Vec<Violation>) {
    let core = CORES.iter().any(|c| name.starts_with(c));
    for (number, line) in text.lines().enumerate() {
        let code = line.split("//").next().unwrap_or_default();
        let mut report =
            |rule: String| violations.push(Violation::new(format!("{name}:{}", number + 1), rule));
        if core {
            for (word, why) in CORE_FORBIDDEN {
                if code.contains(word) {
                    report(format!("`{word}` in a core: {why}"));
                }
            }
        }
        let says_unsafe =
            ["unsafe {", "unsafe fn", "unsafe impl", "unsafe extern"].iter().any(|w| code.contains(w));
        if says_unsafe && !UNSAFE_CRATES.iter().any(|c| name.starts_with(c)) && !name.ends_with("/sys.rs") {
            report("`unsafe` stands only in abi, xsk, ebpf and files named sys.rs".into());
        }
        for (word, places) in CONFINED {
            if code.contains(word) && !places.iter().any(|p| name.starts_with(p)) {
                report(format!("`{word}` is kept to {}", places.join(", ")));
            }
        }
    }
}

pub fn rust_files(dir: &Path) -> Vec<PathBuf> {
    files(dir, "rs")
}

pub fn files(dir: &Path, extension: &str) -> Vec<PathBuf> {
    let mut out = Vec::new();
    for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
        let path = entry.path();
        if path.is_dir() && path.file_name().is_some_and(|n| n != "target") {
            out.extend(files(&path, extension));
        } else if path.extension().is_some_and(|e| e == extension) {
            out.push(path);
        }
    }
    out.sort();
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rules(name: &str, text: &str) -> Vec<String> {
        let mut v = Vec::new();
        check_file(name, text, &mut v);
        v.into_iter().map(|v| v.rule).collect()
    }

    #[test]
    fn io_in_a_core_is_seen_and_comments_are_not() {
        assert_eq!(rules("controlplane/ike/src/a.rs", "use std::fs;").len(), 1);
        assert_eq!(rules("controlplane/ike/src/a.rs", "// std::fs belongs to the shells").len(), 0);
        assert_eq!(rules("controlplane/src/a.rs", "use std::fs;").len(), 0);
    }

    #[test]
    fn unsafe_is_kept_to_its_places() {
        assert_eq!(rules("controlplane/src/a.rs", "let x = unsafe { y() };").len(), 1);
        assert_eq!(rules("controlplane/src/sys.rs", "let x = unsafe { y() };").len(), 0);
        assert_eq!(rules("dataplane/abi/src/ring.rs", "unsafe impl Send for X {}").len(), 0);
    }
}
