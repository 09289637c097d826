//! Which crate of the workspace may depend on which, and which outside crates the cores may not have.

use crate::Violation;
use std::path::Path;
use std::process::Command;

/// Allowed edges between crates of the workspace (ordinary dependencies; tests may look further).
const ALLOWED: &[(&str, &[&str])] = &[
    ("sipsec-net", &[]),
    ("sipsec-abi", &["sipsec-net"]),
    ("sipsec-nat", &["sipsec-net"]),
    ("sipsec-pipeline", &["sipsec-net", "sipsec-nat"]),
    ("sipsec-xsk", &["sipsec-net", "sipsec-pipeline"]),
    ("sipsec-ebpf", &["sipsec-net", "sipsec-abi"]),
    (
        "sipsec-dataplane",
        &["sipsec-net", "sipsec-abi", "sipsec-pipeline", "sipsec-xsk", "sipsec-ebpf", "sipsec-profile"],
    ),
    ("sipsec-ike", &["sipsec-net"]),
    ("sipsec-sip", &["sipsec-net"]),
    ("sipsec-session", &["sipsec-net", "sipsec-ike", "sipsec-sip"]),
    ("sipsec-profile", &["sipsec-net"]),
    ("sipsec-dhcp", &["sipsec-net"]),
    ("sipsec-track", &["sipsec-net"]),
    (
        "sipsec-controlplane",
        &[
            "sipsec-net",
            "sipsec-abi",
            "sipsec-ike",
            "sipsec-sip",
            "sipsec-session",
            "sipsec-profile",
            "sipsec-dhcp",
            "sipsec-track",
        ],
    ),
    // The bench crate measures and joins everything.
    (
        "sipsec-bench",
        &[
            "sipsec-net",
            "sipsec-abi",
            "sipsec-nat",
            "sipsec-pipeline",
            "sipsec-xsk",
            "sipsec-ebpf",
            "sipsec-dataplane",
            "sipsec-ike",
            "sipsec-sip",
            "sipsec-session",
            "sipsec-profile",
            "sipsec-dhcp",
            "sipsec-track",
            "sipsec-controlplane",
        ],
    ),
    ("xtask", &[]),
];

/// Crates that do I/O or know an operating system: shells only.
const SHELL_ONLY: &[&str] =
    &["tokio", "libc", "aya", "rustix", "socket2", "rtnetlink", "axum", "redb", "xsk-rs"];
const CORES: &[&str] = &[
    "sipsec-net",
    "sipsec-nat",
    "sipsec-pipeline",
    "sipsec-ike",
    "sipsec-sip",
    "sipsec-session",
    "sipsec-profile",
    "sipsec-dhcp",
    "sipsec-track",
];

pub fn check(root: &Path) -> Vec<Violation> {
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--format-version", "1", "--no-deps", "--offline"])
        .current_dir(root)
        .output()
        .expect("cargo runs");
    let metadata: serde_json::Value =
        serde_json::from_slice(&output.stdout).expect("cargo metadata prints JSON");
    let mut violations = Vec::new();
    for package in metadata["packages"].as_array().into_iter().flatten() {
        let name = package["name"].as_str().unwrap_or_default();
        let Some((_, allowed)) = ALLOWED.iter().find(|(n, _)| *n == name) else {
            violations.push(Violation::new(
                name,
                "crate is not in the import table: add it with its allowed imports",
            ));
            continue;
        };
        for dep in package["dependencies"].as_array().into_iter().flatten() {
            if dep["kind"].as_str().is_some() {
                continue; // dev and build dependencies
            }
            let dep = dep["name"].as_str().unwrap_or_default();
            if dep.starts_with("sipsec-") && !allowed.contains(&dep) {
                violations.push(Violation::new(name, format!("must not import {dep}")));
            }
            if CORES.contains(&name) && SHELL_ONLY.contains(&dep) {
                violations.push(Violation::new(
                    name,
                    format!("is a core and must not use {dep}: I/O belongs to the shells"),
                ));
            }
        }
    }
    violations
}
