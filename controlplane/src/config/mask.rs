//! How the secrets of a profile stay out of diagnostics, which show lines of it.

use super::yaml::{self, Node};

/// What the keys of secrets have in them, however they are misspelt.
const SECRET_PARTS: &[&str] = &["psk", "ppk", "pas", "pwd", "word", "secret", "shared", "key"];
/// Keys that look like it and are none.
const NOT_SECRET: &[&str] = &["key", "keyring", "lab_key_log", "psk_fingerprint", "ppk_id", "ppk_required"];
/// The value says where the secret is.
const NOT_SECRET_ENDS: &[&str] = &["_file", "_env"];
/// In these groups every key is taken for a misspelt secret that is not known to be none.
const SECRET_GROUPS: &[&str] = &["auth", "keyring"];
const PLAIN_IN_GROUPS: &[&str] = &["number", "username", "certificate", "peer", "ppk_id", "ppk_required"];

/// The text with every value of a secret key blanked out, character by character, so that places stay the same. It looks
/// at the text, because it must also work when the text is no YAML, and it rather blanks too much.
#[must_use]
pub fn mask(text: &str) -> String {
    let mut named = Vec::new();
    if let Ok(root) = yaml::parse(text) {
        misspelt(&root, &mut named);
    }
    let mut out = String::with_capacity(text.len());
    let mut state = State::Clear;
    for line in text.split_inclusive('\n') {
        let (body, end) = line.strip_suffix('\n').map_or((line, ""), |b| (b, "\n"));
        state = mask_line(body, state, &named, &mut out);
        out.push_str(end);
    }
    out
}

/// Names whose values are blanked wherever they stand: those that nobody knows in groups that have secrets, and such a
/// group itself if it is none.
fn misspelt(node: &Node, out: &mut Vec<String>) {
    match node {
        Node::List(items) => items.iter().for_each(|item| misspelt(item, out)),
        Node::Map(entries) => {
            for (key, value) in entries {
                let name = normal(key);
                if SECRET_GROUPS.contains(&name.as_str()) {
                    entry(&name, value, out);
                } else {
                    misspelt(value, out);
                }
            }
        }
        _ => {}
    }
}

fn entry(group: &str, node: &Node, out: &mut Vec<String>) {
    match node {
        Node::List(items) => items.iter().for_each(|item| entry(group, item, out)),
        Node::Map(entries) => {
            let names = entries.iter().map(|(key, _)| normal(key));
            out.extend(names.filter(|n| !PLAIN_IN_GROUPS.contains(&n.as_str()) && !says_where(n)));
        }
        _ => out.push(group.to_owned()),
    }
}

fn normal(key: &str) -> String {
    key.trim().to_lowercase().replace(['-', ' '], "_")
}

fn says_where(name: &str) -> bool {
    NOT_SECRET_ENDS.iter().any(|end| name.ends_with(end))
}

fn is_secret(name: &str, named: &[String]) -> bool {
    let looks_so = SECRET_PARTS.iter().any(|part| name.contains(part));
    looks_so && !NOT_SECRET.contains(&name) && !says_where(name) || named.iter().any(|n| n == name)
}

#[derive(Clone, Copy)]
enum State {
    Clear,
    /// In a quoted secret.
    Quoted(char),
    /// After a plain or block secret: lines deeper than its key belong to it, and the items of a list right below a key
    /// that is in no braces.
    Deeper {
        column: usize,
        items: bool,
    },
}

fn mask_line(line: &str, state: State, named: &[String], out: &mut String) -> State {
    let chars: Vec<char> = line.chars().collect();
    let indent = chars.iter().take_while(|c| **c == ' ').count();
    let mut at = 0;
    let mut state = state;
    if let State::Deeper { column, items } = state {
        let item = items && indent == column && chars.get(indent) == Some(&'-');
        if chars.len() == indent || indent > column || item {
            stars(out, &chars);
            return state;
        }
        state = State::Clear;
    }
    while at < chars.len() {
        match state {
            State::Quoted(quote) => {
                let c = chars[at];
                let escaped = quote == '"' && c == '\\'
                    || quote == '\'' && c == '\'' && chars.get(at + 1) == Some(&'\'');
                if escaped && at + 1 < chars.len() {
                    out.push_str("**");
                    at += 2;
                } else {
                    state = if c == quote { State::Clear } else { state };
                    out.push(if c == quote { c } else { '*' });
                    at += 1;
                }
            }
            State::Deeper { .. } => {
                stars(out, &chars[at..]);
                return state;
            }
            State::Clear => match secret_key(&chars, at, named) {
                Some(value_at) => {
                    out.extend(&chars[at..value_at]);
                    // Block scalars start on the next line; a plain one may go on there.
                    let item = column_of_item(&chars);
                    let items = at <= item;
                    let column = if items { item } else { indent };
                    at = value_at;
                    state = match chars.get(at) {
                        Some(q @ ('"' | '\'')) => {
                            out.push(*q);
                            at += 1;
                            State::Quoted(*q)
                        }
                        _ => State::Deeper { column, items },
                    };
                }
                None => {
                    out.push(chars[at]);
                    at += 1;
                }
            },
        }
    }
    state
}

/// Blanks tell nothing and stay.
fn stars(out: &mut String, chars: &[char]) {
    out.extend(chars.iter().map(|c| if c.is_whitespace() { *c } else { '*' }));
}

/// Where the first key of `- key: …` stands.
fn column_of_item(chars: &[char]) -> usize {
    chars.iter().take_while(|c| matches!(c, ' ' | '-' | '"' | '\'')).count()
}

/// If a secret's key starts here: where its value starts.
fn secret_key(chars: &[char], at: usize, named: &[String]) -> Option<usize> {
    let in_word = |c: char| c.is_alphanumeric() || c == '_';
    if !in_word(chars[at]) || at > 0 && (in_word(chars[at - 1]) || chars[at - 1] == '-') {
        return None;
    }
    let len = chars[at..].iter().take_while(|c| in_word(**c) || matches!(c, '-' | ' ')).count();
    let mut i = at + len;
    while chars.get(i).is_some_and(|c| matches!(c, '"' | '\'' | ' ')) {
        i += 1;
    }
    let name: String = chars[at..at + len].iter().collect();
    if chars.get(i) != Some(&':') || !is_secret(&normal(&name), named) {
        return None;
    }
    i += 1;
    while chars.get(i) == Some(&' ') {
        i += 1;
    }
    Some(i)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_spelling_of_a_secret_survives() {
        for text in [
            "psk: hunter2",
            "  - { number: 1, psk: hunter2, x: 1 }",
            "psk: \"hunter2\" # x",
            "'psk' : 'hun''ter2'",
            "password: |\n  hunter2\n  hunter2\nnext: shown",
            "- number: 1\n  psk: hunter2\n    hunter2\n  next: shown",
            "- psk: hunter2\n  next: shown",
            "- \"psk\": hunter2\n  next: shown",
            "- { number: 1, psk:\n  hunter2 }\nnext: shown",
            "psk:\n- hunter2\nnext: shown",
            "psk: \"hun\n  ter2\\\"hunter2\"\nnext: shown",
            "psk: {{ hunter2", // not even YAML
            "password:\n  hunter2\nnext: shown",
        ] {
            blanked(text);
        }
        assert_eq!(mask("psk_file: /etc/key"), "psk_file: /etc/key");
    }

    #[test]
    fn nor_does_the_value_of_a_misspelt_key() {
        for text in [
            "{ pre_shared_key: hunter2",
            "pre-shared-key: hunter2\nnext: shown",
            "pre shared key: hunter2\nnext: shown",
            "Psk: hunter2\nPSK: hunter2\nnext: shown",
            "pasword: hunter2\nnext: shown",
            "# psk: hunter2\nnext: shown",
            "sip:\n  lines:\n  - auth: { username: shown, geheim: hunter2 }",
            "sip: { lines: [{ auth: hunter2 }] }",
            "ike:\n  keyring:\n  - { number: shown, key: hunter2 }\n",
            "ike:\n  keyring:\n  - number: shown\n    pks: hunter2\n    peer: shown",
            "ike:\n  keyring:\n  - hunter2\n  dpd_s: shown",
        ] {
            blanked(text);
        }
        let plain = "ike:\n  certificates: [{ key: /etc/k, certificate: c }]\n  psk_fingerprint: true\n  lab_key_log: /k\n";
        assert_eq!(mask(plain), plain);
    }

    fn blanked(text: &str) {
        let masked = mask(text);
        assert!(!masked.contains("hunter2") && !masked.contains("ter2"), "{masked}");
        assert_eq!(masked.chars().count(), text.chars().count(), "{masked}");
        assert_eq!(text.matches("shown").count(), masked.matches("shown").count(), "{masked}");
    }
}
