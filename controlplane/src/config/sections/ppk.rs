//! `ppk…` of a keyring entry (RFC 8784)

use super::{flag, secret};
use crate::config::diagnostic::Problem;
use crate::config::profile::Ppk;
use crate::config::reader::Table;
use sipsec_ike::config::PPK_ID_MAX;

pub const KEYS: [&str; 3] = ["ppk", "ppk_file", "ppk_env"];
/// RFC 8784 §5.1 recommends the base64 alphabet; other products' names may have these too.
const ID_PUNCTUATION: &str = "+/=-_.@:";

/// The outer `None` is an error; the inner one, that there is none.
pub fn read(table: &Table<'_>) -> Option<Option<Ppk>> {
    let required = flag(table, "ppk_required", false);
    let written = KEYS.into_iter().filter_map(|key| table.optional(key)).count() != 0;
    let Some(id) = table.optional("ppk_id") else {
        if written || required == Some(true) {
            let message = format!("`{}` has a PPK without a name", table.path);
            let problem = Problem::error("ike::ppk", &table.path, message);
            table.report(
                problem.cure("add `ppk_id: NAME`, the same at both ends; the peer finds the key by it"),
            );
            return None;
        }
        return required.map(|_| None);
    };
    let text = id.text()?;
    let allowed = |c: char| c.is_ascii_alphanumeric() || ID_PUNCTUATION.contains(c);
    if text.is_empty() || text.len() > PPK_ID_MAX || !text.chars().all(allowed) {
        let cure = format!("write 1 to {PPK_ID_MAX} letters, digits or any of {ID_PUNCTUATION}");
        id.bad_value(text, "the name of a PPK", &cure);
        return None;
    }
    let key = secret(table, KEYS)?;
    Some(Some(Ppk { id: text.to_owned(), key, required: required? }))
}
