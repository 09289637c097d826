//! Which crate of the workspace may depend on which, and which outside crates the cores may not have.

use crate::Violation;
use std::path::Path;
use std::process::Command;

/// Allowed edges between crates of the workspace (ordinary dependencies; tests may look further).
const ALLOWED: &[(&str, &[&str])] = &[
    ("sipsec-net", &[]),
    ("sipsec-abi", &["sipsec-net"]),
    ("sipsec-nat", &["sipsec-net"]),
    ("sipsec-offload", &["sipsec-net"]),
    ("sipsec-pipeline", &["sipsec-net", "sipsec-nat"]),
    ("sipsec-xsk", &["sipsec-net", "sipsec-pipeline"]),
    ("sipsec-ebpf", &["sipsec-net", "sipsec-abi"]),
    (
        "sipsec-dataplane",
        &[
            "sipsec-net",
            "sipsec-abi",
            "sipsec-offload",
            "sipsec-pipeline",
            "sipsec-xsk",
            "sipsec-ebpf",
            "sipsec-profile",
        ],
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
    let architecture = std::fs::read_to_string(root.join("ARCHITECTURE.md")).unwrap_or_default();
    let mut violations = differences(&architecture);
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

/// Where the table of ARCHITECTURE.md differs from [`ALLOWED`]. Its rows name crates in the first column and imports, without
/// `sipsec-`, in the last.
fn differences(document: &str) -> Vec<Violation> {
    let mut violations = Vec::new();
    let rows = document.lines().filter(|line| line.starts_with("| `sipsec-"));
    let mut described = Vec::new();
    for row in rows {
        let cells: Vec<_> = row.trim_matches('|').split('|').map(str::trim).collect();
        let (Some(names), Some(imports)) = (cells.first(), cells.last()) else { continue };
        let imports = imports.split('(').next().unwrap_or_default();
        let mut imports: Vec<_> =
            imports.split(',').map(str::trim).filter(|i| !matches!(*i, "" | "–")).collect();
        imports.sort_unstable();
        for name in names.split(',').map(|name| name.trim().trim_matches('`')) {
            described.push(name.to_owned());
            let Some((_, allowed)) = ALLOWED.iter().find(|(n, _)| *n == name) else {
                violations.push(Violation::new(
                    "ARCHITECTURE.md",
                    format!("{name} is no crate of the import table"),
                ));
                continue;
            };
            let mut allowed: Vec<_> = allowed.iter().map(|a| a.trim_start_matches("sipsec-")).collect();
            allowed.sort_unstable();
            if imports != ["any"] && imports != allowed {
                let rule = format!(
                    "{name} may import {}; the document says {}",
                    allowed.join(", "),
                    imports.join(", ")
                );
                violations.push(Violation::new("ARCHITECTURE.md", rule));
            }
        }
    }
    let missing = ALLOWED
        .iter()
        .filter(|(name, _)| name.starts_with("sipsec-") && !described.iter().any(|d| d == name));
    violations.extend(
        missing.map(|(name, _)| {
            Violation::new("ARCHITECTURE.md", format!("{name} is not in the table of crates"))
        }),
    );
    violations
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_document_that_differs_from_the_table_is_seen() {
        let document = include_str!("../../../ARCHITECTURE.md");
        assert!(differences(document).is_empty(), "{:?}", differences(document));
        let more = document
            .replace("| the packet path, pure | net, nat |", "| the packet path, pure | net, nat, abi |");
        assert!(more != document);
        assert_eq!(differences(&more).len(), 1);
        let fewer: String =
            document.lines().filter(|l| !l.contains("`sipsec-track`")).map(|l| format!("{l}\n")).collect();
        assert_eq!(differences(&fewer).len(), 1);
    }
}
