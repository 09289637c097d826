//! `cargo run -p xtask`: holds the rules of ARCHITECTURE.md that the compiler does not: who may import whom, and where I/O,
//! `unsafe` and the YAML library may stand, and that tests, files and links which documents name are there.
#![forbid(unsafe_code)]

mod documents;
mod imports;
mod sources;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// One broken rule: where, and what to do about it.
#[derive(Debug)]
pub struct Violation {
    pub place: String,
    pub rule: String,
}

impl Violation {
    fn new(place: impl Into<String>, rule: impl Into<String>) -> Self {
        Self { place: place.into(), rule: rule.into() }
    }
}

fn main() -> ExitCode {
    let root = workspace_root();
    let mut violations = imports::check(&root);
    violations.extend(sources::check(&root));
    violations.extend(documents::check(&root));
    for v in &violations {
        eprintln!("{}: {}", v.place, v.rule);
    }
    if violations.is_empty() {
        println!("rules: imports, I/O, unsafe, confined libraries and what documents name hold");
        ExitCode::SUCCESS
    } else {
        eprintln!("{} rule(s) broken; the rules and their reasons are in ARCHITECTURE.md", violations.len());
        ExitCode::FAILURE
    }
}

fn workspace_root() -> PathBuf {
    // The manifest is at deploy/xtask/Cargo.toml.
    Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(2).expect("two levels below the root").to_path_buf()
}
