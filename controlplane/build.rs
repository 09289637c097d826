//! Tells a release build which commit it is of. Builds for development are not built anew for each commit.

use std::process::Command;

fn main() {
    println!("cargo::rerun-if-env-changed=SIPSEC_COMMIT");
    println!("cargo::rerun-if-env-changed=SIPSEC_COMMIT_DATE");
    println!("cargo::rerun-if-changed=build.rs");
    let release = std::env::var("PROFILE").is_ok_and(|p| p == "release");
    // A package is built outside of the repository and says so itself.
    let told = |name: &str| std::env::var(name).ok().filter(|v| !v.is_empty());
    let commit =
        told("SIPSEC_COMMIT").or_else(|| release.then(|| git(&["rev-parse", "--short=9", "HEAD"]))?);
    let date = told("SIPSEC_COMMIT_DATE").or_else(|| release.then(|| git(&["log", "-1", "--format=%cs"]))?);
    if release && let Some(path) = git(&["rev-parse", "--git-path", "logs/HEAD"]) {
        println!("cargo::rerun-if-changed={path}");
    }
    println!("cargo::rustc-env=SIPSEC_COMMIT={}", commit.as_deref().unwrap_or("development"));
    println!("cargo::rustc-env=SIPSEC_COMMIT_DATE={}", date.as_deref().unwrap_or(""));
}

fn git(words: &[&str]) -> Option<String> {
    let output = Command::new("git").args(words).output().ok().filter(|o| o.status.success())?;
    let text = String::from_utf8(output.stdout).ok()?;
    Some(text.trim().to_owned()).filter(|t| !t.is_empty())
}
