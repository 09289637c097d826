//! Hides secrets in lines that are shown.

use super::words::{nearest, shortens, split};

const HIDDEN: &str = " <hidden>";
/// What follows one of these is a secret.
const WORDS: &[&str] = &[
    "pre-shared-key",
    "pre-share",
    "password",
    "passwd",
    "secret",
    "community",
    "key-string",
    "passphrase",
    "psk",
    "ppk",
    "wpa-psk",
    "authentication-key",
    "auth-key",
    "md5",
    "nas-key",
    "server-key",
    "isakmp-key",
    "shared-secret",
    "snmp-community",
    "credentials",
    "preshared-key",
];
/// `key WORD` that is no key.
const KEY_VERBS: &[&str] = &[
    "generate",
    "chain",
    "config-key",
    "zeroize",
    "import",
    "export",
    "pubkey-chain",
    "encrypt",
    "decrypt",
    "storage",
    "move",
];
/// Abbreviations of fewer letters mean anything.
const SHORT: [(&str, usize); 5] =
    [("password", 3), ("secret", 3), ("community", 3), ("pre-shared-key", 3), ("passphrase", 5)];
/// Letters that a misspelt word may differ in.
const MISSPELT_MIN: usize = 5;
const SHOWN_MAX: usize = 240;

/// The line up to and with its first `words` words.
#[must_use]
pub fn keep(line: &str, words: usize) -> String {
    let list = split(line);
    match list.get(words) {
        Some(next) => cut(line[..next.at].trim_end()) + HIDDEN,
        None => cut(line),
    }
}

/// Hides the secrets of a command that was read: its words are known, so none of them is short for another. Its arguments
/// may be what damage leaves of a secret's name: `p re-shared-key SECRET` reads as `proposal`.
#[must_use]
pub fn hide_known(line: &str) -> String {
    let list = split(line);
    match list.iter().position(|w| holds_secret_word(w.text)) {
        Some(i) => keep(line, i + 1),
        None => cut(line),
    }
}

/// Hides what a line that shapes nothing may tell.
#[must_use]
pub fn hide(line: &str) -> String {
    let list = split(line);
    let found = (0..list.len()).find(|i| {
        let word = list[*i].text;
        let is = |w: &str| w.eq_ignore_ascii_case(word);
        let short = |(whole, least): &(&str, usize)| word.len() >= *least && shortens(word, whole);
        let verb = list.get(i + 1).is_some_and(|next| KEY_VERBS.iter().any(|v| shortens(next.text, v)));
        let misspelt =
            || word.len() >= MISSPELT_MIN && word.chars().count() <= 16 && !nearest_secret(word).is_empty();
        WORDS.iter().any(|w| is(w))
            || SHORT.iter().any(short)
            || (is("key") && !verb)
            || holds_secret_word(word)
            || misspelt()
    });
    match found {
        Some(i) => keep(line, i + 1),
        None => cut(line),
    }
}

/// Whether a word of it is the name of a secret, or what damage leaves of one.
#[must_use]
pub fn names_secret(text: &str) -> bool {
    text.split(|c: char| c.is_whitespace() || c.is_control())
        .any(|w| holds_secret_word(w) || WORDS.contains(&w))
}

/// `shared-key`, and what damage leaves of such a word.
fn holds_secret_word(word: &str) -> bool {
    let word = word.to_ascii_lowercase();
    let part = ["-share", "secret", "passw", "communit"].iter().any(|part| word.contains(part));
    part || (word.len() > 3 && word.ends_with("key"))
}

fn nearest_secret(word: &str) -> Vec<&'static str> {
    let close = |w: &&str| w.len().abs_diff(word.len()) <= 2 && w.len() > MISSPELT_MIN;
    let candidates =
        ["pre-shared-key", "password", "secret", "community", "passphrase"].into_iter().filter(close);
    // Two letters of each word.
    nearest(word, candidates, 1).into_iter().filter(|w| differs(word, w) <= 2).collect()
}

fn differs(a: &str, b: &str) -> usize {
    let common = a.chars().zip(b.chars()).take_while(|(x, y)| x.eq_ignore_ascii_case(y)).count();
    let tail = a.chars().rev().zip(b.chars().rev()).take_while(|(x, y)| x.eq_ignore_ascii_case(y)).count();
    a.chars().count().max(b.chars().count()).saturating_sub(common + tail)
}

fn cut(line: &str) -> String {
    let line = line.trim_end();
    match line.char_indices().nth(SHOWN_MAX) {
        Some((end, _)) => format!("{}…", &line[..end]),
        None => line.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_hidden_wherever_they_stand() {
        for line in [
            "enable secret 5 SECRET",
            "username a privilege 15 secret 5 SECRET",
            "snmp-server community SECRET RO 10",
            "  pre-shared-key SECRET",
            "pre-shred-key SECRET",
            "  ipsec ike pre-shared-key 1 text SECRET",
            "crypto isakmp key SECRET address 10.0.0.1",
            "ikev2 authentication psk id keyid N key char SECRET",
            "pasword SECRET",
            "usern x pass SECRET",
            "ppk manual id x key SECRET",
            "authentication remote pre-share key SECRET",
            "key-string SECRET",
        ] {
            assert!(!hide(line).contains("SECRET"), "{line}");
        }
        for line in [
            "identity key-id 0388882001",
            "crypto key generate rsa",
            "service password-encryption",
            "key chain A",
        ] {
            assert_eq!(hide(line), line);
        }
        let line = "pre-shared-key SECRET";
        for at in 1.."pre-shared-key".len() {
            let damaged = format!("{} {}", &line[..at], &line[at..]);
            assert!(!hide_known(&damaged).contains("SECRET"), "{damaged}");
        }
        assert_eq!(keep("  pre-shared-key a b", 1), "  pre-shared-key <hidden>");
    }
}
