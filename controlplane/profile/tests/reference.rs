//! `deploy/CONFIGURATION.md` is generated: `UPDATE_GOLDEN=1` writes it.

use sipsec_profile::schema::{all, reference};
use std::path::Path;

#[test]
fn the_configuration_reference_is_current() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../deploy/CONFIGURATION.md");
    let text = reference();
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::write(&path, &text).expect("writable");
    }
    let written = std::fs::read_to_string(&path).unwrap_or_default();
    assert_eq!(written, text, "deploy/CONFIGURATION.md is not current; UPDATE_GOLDEN=1 writes it");
    for (path, key) in all() {
        assert!(text.contains(&format!("| `{}` |", key.name)), "{path}");
    }
}
