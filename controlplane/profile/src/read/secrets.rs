//! Secrets under one of several keys. The value itself appears in no message.

use super::item::{Item, Table};
use super::text::path;
use crate::diagnose::Problem;
use crate::model::limits::SECRET_MAX;
use crate::model::secret::{SecretKeys, SecretSource};

/// Words of a command, and bytes of one.
const WORDS_MAX: usize = 32;
const WORD_BYTES_MAX: usize = 4096;
/// systemd takes no longer name of a credential.
const CREDENTIAL_MAX: usize = 255;

pub fn one(table: &Table<'_>, keys: SecretKeys) -> Option<SecretSource> {
    let found: Vec<_> = keys.all().filter_map(|k| table.optional(k).map(|item| (k, item))).collect();
    let (key, item) = match found.as_slice() {
        [one] => one,
        [] => {
            let message = format!("`{}` has no secret", table.path);
            let problem = Problem::error("secret::missing", &table.path, message);
            let inline = keys.inline.map(|key| format!("`{key}: \"…\"`, ")).unwrap_or_default();
            let SecretKeys { file, env, command, credential, .. } = keys;
            table.report(problem.hint(format!(
                "add one of {inline}`{file}: PATH`, `{env}: VARIABLE`, `{command}: [PROGRAM, …]`, `{credential}: NAME`"
            )));
            return None;
        }
        [_, (_, second), ..] => {
            let message = format!("`{}` has more than one secret", table.path);
            let problem = Problem::error("secret::several", &second.path, message).at_key();
            let names: Vec<_> = keys.all().map(|key| format!("`{key}`")).collect();
            table.report(problem.label("the second one").hint(format!("keep one of {}", names.join(", "))));
            return None;
        }
    };
    if *key == keys.file {
        return path(item).map(SecretSource::File);
    }
    if *key == keys.env {
        return item.text().map(|name| SecretSource::Env(name.to_owned()));
    }
    if *key == keys.command {
        return command(item).map(SecretSource::Command);
    }
    if *key == keys.credential {
        return credential(item).map(SecretSource::Credential);
    }
    let secret = SecretSource::inline(item.text()?);
    if let Err(error) = &secret {
        bad(item, &format!("cannot be used: {error}"), &format!("write 1 to {SECRET_MAX} bytes"));
    }
    secret.ok()
}

fn bad(item: &Item<'_>, what: &str, hint: &str) {
    item.report(Problem::error("secret::value", &item.path, format!("`{}` {what}", item.path)).hint(hint));
}

/// A program and its arguments.
fn command(item: &Item<'_>) -> Option<Vec<String>> {
    let hint = "write the absolute path of a program, or a list of it and its arguments, as in [/usr/bin/pass, show, branch]; \
                a shell runs only if it is named: [/bin/sh, -c, \"…\"]";
    let words: Vec<String> =
        item.several()?.iter().map(|word| word.text().map(str::to_owned)).collect::<Option<_>>()?;
    let legal = |word: &String| word.len() <= WORD_BYTES_MAX && !word.contains('\0');
    let what = match words.as_slice() {
        [] => "names no program",
        [program, ..] if !program.starts_with('/') => "does not begin with the absolute path of a program",
        [program] if program.contains(char::is_whitespace) => "has a program and arguments in one text",
        words if words.len() > WORDS_MAX || !words.iter().all(legal) => {
            "has too many words, or one that is too long"
        }
        _ => return Some(words),
    };
    bad(item, what, hint);
    None
}

fn credential(item: &Item<'_>) -> Option<String> {
    let name = item.text()?;
    let legal = |c: char| c.is_ascii_graphic() && c != '/' && c != ':';
    if name.is_empty() || name.len() > CREDENTIAL_MAX || name.starts_with('.') || !name.chars().all(legal) {
        let hint = "write the NAME of `LoadCredential=NAME:PATH` or `LoadCredentialEncrypted=NAME:PATH` in the unit of the control plane";
        bad(item, "is not the name of a credential", hint);
        return None;
    }
    Some(name.to_owned())
}
