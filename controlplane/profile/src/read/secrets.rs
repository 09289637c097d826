//! Secrets under one of three keys. The value itself appears in no message.

use super::item::Table;
use super::text::path;
use crate::diagnose::Problem;
use crate::model::limits::SECRET_MAX;
use crate::model::secret::{SecretKeys, SecretSource};

pub fn one(table: &Table<'_>, keys: SecretKeys) -> Option<SecretSource> {
    let SecretKeys { inline, file, env } = keys;
    let found: Vec<_> =
        keys.all().into_iter().filter_map(|k| table.optional(k).map(|item| (k, item))).collect();
    let (key, item) = match found.as_slice() {
        [one] => one,
        [] => {
            let message = format!("`{}` has no secret", table.path);
            let problem = Problem::error("secret::missing", &table.path, message);
            table.report(
                problem.hint(format!("add one of `{inline}: \"…\"`, `{file}: PATH`, `{env}: VARIABLE`")),
            );
            return None;
        }
        [_, (_, second), ..] => {
            let message = format!("`{}` has more than one secret", table.path);
            let problem = Problem::error("secret::several", &second.path, message).at_key();
            table.report(
                problem.label("the second one").hint(format!("keep one of `{inline}`, `{file}`, `{env}`")),
            );
            return None;
        }
    };
    if *key == file {
        return path(item).map(SecretSource::File);
    }
    if *key == env {
        return item.text().map(|name| SecretSource::Env(name.to_owned()));
    }
    let secret = SecretSource::inline(item.text()?);
    if let Err(error) = &secret {
        let message = format!("`{}` cannot be used: {error}", item.path);
        item.report(
            Problem::error("secret::value", &item.path, message)
                .hint(format!("write 1 to {SECRET_MAX} bytes")),
        );
    }
    secret.ok()
}
