//! Which build this is.

use std::sync::LazyLock;

/// `0.1.0 (1a2b3c4d5 2026-11-30) abi 3f…`: release, commit and its date, and the fingerprint of the bytes that both processes
/// of a gateway share, which must be equal.
#[must_use]
pub fn line() -> &'static str {
    static LINE: LazyLock<String> = LazyLock::new(|| {
        let commit = [env!("SIPSEC_COMMIT"), env!("SIPSEC_COMMIT_DATE")].join(" ");
        format!(
            "{} ({}) abi {:016x} {}",
            env!("CARGO_PKG_VERSION"),
            commit.trim(),
            sipsec_abi::layout::FINGERPRINT,
            std::env::consts::ARCH
        )
    });
    &LINE
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_line_has_release_commit_and_fingerprint() {
        let line = super::line();
        assert!(line.starts_with(concat!(env!("CARGO_PKG_VERSION"), " (")), "{line}");
        let fingerprint = line.split_once(" abi ").and_then(|(_, rest)| rest.get(..16)).expect("there");
        assert_eq!(u64::from_str_radix(fingerprint, 16), Ok(sipsec_abi::layout::FINGERPRINT));
    }
}
