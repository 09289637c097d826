//! The configuration reference, and what `sipsec check --explain` prints.

use super::{Key, Kind, PROFILE, Presence, find};
use crate::model::Word;
use crate::model::carrier::{CarrierKind, SEEN};
use std::fmt::Write;

/// The reference in Markdown. `deploy/CONFIGURATION.md` is this text.
#[must_use]
pub fn reference() -> String {
    let mut out = String::from(
        "# Configuration reference\n\n\
         A gateway has one profile: a YAML file in UTF-8. This file is generated from the schema that the reader uses \
         (`UPDATE_GOLDEN=1 cargo test -p sipsec-profile --test reference`); do not edit it by hand.\n\n\
         `sipsec check FILE` reports every problem of a profile, `sipsec check --explain KEY` prints one entry of this \
         reference, and `sipsec schema` prints a JSON schema for editors. *Required* keys have no default. A key without a \
         value has its default, and `sipsec check` warns of it.\n\n\
         An editor with a YAML language server completes keys and words, and shows this reference, where the first line of a \
         profile is `# yaml-language-server: $schema=sipsec.schema.json` (`sipsec schema > sipsec.schema.json`).\n\n\
         `sipsec check --json FILE [FILE]` prints one object: `schema` is `sipsec/1`, and `data` has `errors` and `warnings` \
         (numbers), `findings` (at most 100 of each profile) and `more` (how many were left out). A finding has `severity` \
         (`error`, `warning`), `code` (stable, as `config::range`), `file`, `line` and `column` (from 1, in characters), `path` \
         (`sip.lines[0].number`), `message` and `cure`. `carriers` has the values in force of each carrier, by the keys of the \
         last table. For two files `pair` has `joined` (tunnels that join them) and `differences`, each with `severity`, `code`, \
         `between`, `message` and `cure`. The exit status is 1 with an error, and 2 if a file cannot be read.\n\n\
         `sipsec apply FILE` and SIGHUP change a running gateway. The column *change* says when another value counts: \
         `now`, also for calls that are up; at the `next call`, while calls that are up keep the old value; `hangs up`: \
         now, and calls that it concerns are hung up; or after a `restart`. A list changes entry by entry.\n",
    );
    section(&mut out, "", PROFILE.about, PROFILE.keys);
    let mut stack: Vec<(String, &'static Key)> = below("", PROFILE.keys);
    stack.reverse();
    while let Some((path, key)) = stack.pop() {
        // Those of a further carrier are those of `sip`.
        let Some(group) = key.kind.group().filter(|_| path != "carriers[].sip") else { continue };
        section(&mut out, &path, group.about, group.keys);
        let mut more = below(&path, group.keys);
        more.reverse();
        stack.extend(more);
    }
    carriers(&mut out);
    out
}

/// The values of each kind of carrier, and where they were observed.
fn carriers(out: &mut String) {
    let kinds = CarrierKind::WORDS.iter().map(|(kind, word, _)| (*word, kind.values().rows()));
    let kinds: Vec<_> = kinds.collect();
    out.push_str(
        "\n## Values of `sip.carrier`\n\nThe keys whose default is \"as `sip.carrier` says\". No specification of NTT's \
         interface is published; the last column says where a value was seen, and what is not known. `media.assumed_kbps: 0` \
         refuses an SDP without `b=AS`.\n\n",
    );
    let head: Vec<_> = kinds.iter().map(|(word, _)| code(word)).collect();
    let _ = writeln!(out, "| key | {} | seen |\n|---|{}---|", head.join(" | "), "---|".repeat(head.len()));
    for (at, (key, seen)) in SEEN.iter().enumerate() {
        let values: Vec<_> = kinds.iter().map(|(_, rows)| rows[at].1.clone()).collect();
        let _ = writeln!(out, "| {} | {} | {seen} |", code(key), values.join(" | "));
    }
}

/// The keys that are groups, with their paths.
fn below(path: &str, keys: &'static [Key]) -> Vec<(String, &'static Key)> {
    let full = |key: &Key| {
        let name = if path.is_empty() { key.name.to_owned() } else { format!("{path}.{}", key.name) };
        if key.kind.is_list() { format!("{name}[]") } else { name }
    };
    keys.iter().filter(|key| key.kind.group().is_some()).map(|key| (full(key), key)).collect()
}

fn section(out: &mut String, path: &str, about: &str, keys: &[Key]) {
    let title = if path.is_empty() { "Top level".to_owned() } else { format!("`{path}`") };
    let _ = write!(out, "\n## {title}\n\n{about}\n\n");
    let _ = writeln!(out, "| key | type | bounds | default | change | since | IOS | meaning |");
    let _ = writeln!(out, "|---|---|---|---|---|---|---|---|");
    for key in keys {
        let cells = [
            code(key.name),
            kind(key),
            bounds(key),
            default(key),
            takes(key),
            key.since.to_owned(),
            ios(key),
            meaning(key),
        ];
        let _ = writeln!(out, "| {} |", cells.map(|cell| cell.replace('|', "\\|")).join(" | "));
    }
}

fn code(text: &str) -> String {
    format!("`{text}`")
}

fn kind(key: &Key) -> String {
    match key.kind {
        Kind::Word(_) => "word".to_owned(),
        _ => key.kind.name(),
    }
}

fn bounds(key: &Key) -> String {
    let unit = if key.unit.is_empty() { String::new() } else { format!(" {}", key.unit) };
    match key.kind {
        Kind::Int { min, max } if min == max => format!("{min}{unit}"),
        Kind::Int { min, max } => format!("{min} to {max}{unit}"),
        _ => String::new(),
    }
}

fn default(key: &Key) -> String {
    match key.presence {
        Presence::Required(_) => "*required*".to_owned(),
        Presence::Default(value) => code(value),
        Presence::Optional(absent) => absent.to_owned(),
    }
}

fn takes(key: &Key) -> String {
    match key.kind {
        Kind::Group(_) => String::new(),
        _ => key.takes.word().to_owned(),
    }
}

fn ios(key: &Key) -> String {
    if key.ios.is_empty() { String::new() } else { code(key.ios) }
}

fn meaning(key: &Key) -> String {
    let mut out = key.about.to_owned();
    if let Kind::Word(words) = key.kind {
        for (word, means) in words {
            let _ = write!(out, " `{word}`: {means}.");
        }
    }
    out
}

/// One key in plain text. `None` if there is no such key.
#[must_use]
pub fn explain(path: &str) -> Option<String> {
    let key = find(path)?;
    let mut out = format!("{path}: {}\n\n  type      {}\n", key.about, key.kind.name());
    let mut line = |name: &str, value: String| {
        if !value.is_empty() {
            let _ = writeln!(out, "  {name:<9} {value}");
        }
    };
    line("bounds", bounds(key));
    match key.presence {
        Presence::Required(example) => line("required", format!("write `{}: {example}`", key.name)),
        Presence::Default(value) => line("default", value.to_owned()),
        Presence::Optional(absent) => line("if absent", absent.to_owned()),
    }
    line("change", takes(key));
    line("since", key.since.to_owned());
    line("IOS", key.ios.to_owned());
    if let Kind::Word(words) = key.kind {
        words.iter().for_each(|(word, means)| line("", format!("{word}: {means}")));
    }
    if let Some(group) = key.kind.group() {
        line("keys", group.keys.iter().map(|key| key.name).collect::<Vec<_>>().join(", "));
    }
    Some(out)
}

/// The keys whose last word is like the one asked for, as paths.
#[must_use]
pub fn similar(path: &str) -> Vec<String> {
    let word = path.rsplit('.').next().unwrap_or(path);
    // The keys of a further carrier are those of `sip`.
    let mut all = super::all();
    all.retain(|(path, _)| !path.starts_with("carriers[].sip."));
    let same: Vec<_> = all.iter().filter(|(_, key)| key.name == word).map(|(path, _)| path.clone()).collect();
    if !same.is_empty() {
        return same;
    }
    let meant = crate::diagnose::nearest(word, all.iter().map(|(_, key)| key.name));
    all.iter().filter(|(_, key)| Some(key.name) == meant).map(|(path, _)| path.clone()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_explained_with_its_bounds_and_its_ios_words() {
        let text = explain("tunnels[3].idle_s").expect("a key");
        assert!(
            text.contains("1 to 86400 s") && text.contains("default   120") && text.contains("idle-time"),
            "{text}"
        );
        assert!(explain("ike.keyring.number").expect("a key").contains("`any`"));
        assert!(explain("ike.dpd_mode").expect("a key").contains("periodic: "));
        assert_eq!(explain("sip.registar"), None);
        assert_eq!(similar("sip.registar"), ["sip.registrar"]);
        assert_eq!(similar("psk"), ["ike.keyring[].psk"]);
    }
}
