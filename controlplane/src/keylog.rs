//! Key tables for tshark (`ike.lab_key_log`), so that a capture from the lab can be decrypted and its ICVs checked.

use sipsec_ike::keylog::{KeyLogEntry, KeyLogTable};
use std::fs::OpenOptions;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

/// Appends a line to its table in `directory`, readable by the owner alone.
pub fn append(directory: &Path, entry: &KeyLogEntry) {
    let file = directory.join(match entry.table {
        KeyLogTable::Ikev2 => "ikev2_decryption_table",
        KeyLogTable::EspSa => "esp_sa",
    });
    let opened = OpenOptions::new().create(true).append(true).mode(0o600).open(&file);
    if let Err(error) = opened.and_then(|mut f| writeln!(f, "{}", entry.line)) {
        tracing::warn!(file = %file.display(), %error, "the key log cannot be written");
    }
}
