//! Hides secrets in lines that are shown.

use super::words::{Word, nearest, shortens, split};

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
    "token",
];
/// Commands whose secret follows no word of [`WORDS`]: their words in order, others between them, and what follows the last.
const COMMANDS: &[&[&str]] = &[
    &["snmp-server", "host", "*"],
    &["snmp-server", "user", "auth"],
    &["snmp-server", "user", "priv"],
    &["nhrp", "authentication"],
    &["standby", "authentication"],
    &["vrrp", "authentication"],
    &["glbp", "authentication"],
    &["authentication", "ipsec", "spi"],
    &["sim", "authenticate"],
    &["sim", "unlock"],
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
    let found = found.map(|i| i + 1);
    match found.into_iter().chain(by_form(&list)).chain(by_command(&list)).min() {
        Some(words) => keep(line, words),
        None => cut(line),
    }
}

/// How many words come before a secret that its own form shows: `7 0822455D0A16`, `$9$…`, `scheme://user:SECRET@host`.
fn by_form(list: &[Word<'_>]) -> Option<usize> {
    list.iter().enumerate().find_map(|(i, word)| {
        let text = word.text;
        let hashed =
            text.strip_prefix('$').and_then(|rest| rest.split_once('$')).is_some_and(|(kind, rest)| {
                !kind.is_empty() && kind.bytes().all(|b| b.is_ascii_digit()) && !rest.is_empty()
            });
        let in_url = text.split_once("://").is_some_and(|(_, rest)| {
            // A password may have a slash of its own.
            rest.rsplit_once('@').is_some_and(|(user, _)| user.contains(':'))
        });
        if hashed || in_url {
            return Some(i);
        }
        let kind = i.checked_sub(1).and_then(|before| list.get(before)).map(|w| w.text);
        let hex = || text.bytes().all(|b| b.is_ascii_hexdigit());
        let encrypted =
            || text.bytes().any(|b| b.is_ascii_uppercase()) && text.bytes().any(|b| b.is_ascii_lowercase());
        let typed = match kind {
            // Two digits of the salt, and two for each character.
            Some("7") => text.len() >= 6 && text.len().is_multiple_of(2) && hex(),
            Some("3") => text.len() >= 16 && text.len().is_multiple_of(2) && hex(),
            Some("6") => text.len() >= 8 && encrypted(),
            _ => false,
        };
        typed.then_some(i)
    })
}

/// How many words come before the secret of one of [`COMMANDS`].
fn by_command(list: &[Word<'_>]) -> Option<usize> {
    COMMANDS.iter().find_map(|command| {
        let mut at = 0;
        for word in *command {
            at +=
                1 + list.get(at..)?.iter().position(|w| *word == "*" || w.text.eq_ignore_ascii_case(word))?;
        }
        (at < list.len()).then_some(at)
    })
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
    // `ah-md5 3 KEY`, and not `esp-md5-hmac`.
    part || (word.len() > 3 && word.ends_with("key")) || word.ends_with("-md5")
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
            "snmp-server host 10.0.0.16 version 2c SECRET",
            "snmp-server user u V3 v3 encrypted auth sha SECRET priv aes 256 SECRET",
            "ip nhrp authentication SECRET",
            "standby 1 authentication SECRET",
            "vrrp 1 authentication text SECRET",
            "ipv6 ospf authentication ipsec spi 300 sha1 SECRET",
            "add http://user:SECRET@10.0.0.1/update?h=<h>",
            "archive ftp://user:SEC/SECRET@10.0.0.1",
            "enable algorithm-type scrypt $9$SECRET",
            "token SECRET",
            "ip pim hello-authentication ah-md5 3 SECRET",
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
        for (line, shown) in [
            (
                "authentication mode hmac-sha-256 7 0822455D0A16",
                "authentication mode hmac-sha-256 7 <hidden>",
            ),
            ("aaa x 6 AbCdEfGhIj", "aaa x 6 <hidden>"),
            ("cts x 3 32a67eb4d3078aa8", "cts x 3 <hidden>"),
            ("line vty 0 4", "line vty 0 4"),
            ("match tag 7 10", "match tag 7 10"),
            ("snmp-server host 10.0.0.16", "snmp-server host 10.0.0.16"),
            ("path ftp://backup@10.0.0.17/$h-$t", "path ftp://backup@10.0.0.17/$h-$t"),
        ] {
            assert_eq!(hide(line), shown);
        }
        let line = "pre-shared-key SECRET";
        for at in 1.."pre-shared-key".len() {
            let damaged = format!("{} {}", &line[..at], &line[at..]);
            assert!(!hide_known(&damaged).contains("SECRET"), "{damaged}");
        }
        assert_eq!(keep("  pre-shared-key a b", 1), "  pre-shared-key <hidden>");
    }
}
