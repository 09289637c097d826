//! Tells the compiler that `cfg(loom)` is meant, not misspelt.

fn main() {
    println!("cargo::rustc-check-cfg=cfg(loom)");
    println!("cargo::rerun-if-changed=build.rs");
}
