//! Keys as lines hold them: `[local|remote] [0|6|7|hex] KEY`.

use super::document::{Direction, KeyFault, Secret};
use super::words::{shortens, split};

/// Longest secret that a profile takes.
const KEY_MAX: usize = 256;

/// A key, its direction, and what follows it in the line.
#[derive(Debug)]
pub struct Read<'a> {
    pub direction: Direction,
    pub key: Result<Secret, KeyFault>,
    pub rest: Vec<&'a str>,
}

/// Reads a key that goes on to the end of the line, after so many words.
#[must_use]
pub fn whole(line: &str, skip: usize) -> Option<Read<'_>> {
    let words = split(line);
    let words = words.get(skip..)?;
    let mut i = 0;
    let direction = match words {
        [first, _, ..] if first.text.len() >= 3 && shortens(first.text, "local") => Direction::Local,
        [first, _, ..] if first.text.len() >= 3 && shortens(first.text, "remote") => Direction::Remote,
        _ => Direction::Both,
    };
    i += usize::from(direction != Direction::Both);
    let text = line[words.get(i)?.at..].trim_end();
    if is_mask(text) {
        return Some(Read { direction, key: Err(KeyFault::Masked), rest: Vec::new() });
    }
    let kind = words.get(i).map(|w| w.text).filter(|_| words.len() > i + 1);
    let from = match kind {
        Some("0" | "hex" | "HEX") => words.get(i + 1)?.at,
        Some("6") => return Some(Read { direction, key: Err(KeyFault::Type("6")), rest: Vec::new() }),
        Some("7") => return Some(Read { direction, key: Err(KeyFault::Type("7")), rest: Vec::new() }),
        _ => words.get(i)?.at,
    };
    let key = one(line, from, without_arrow(line[from..].trim_end()), matches!(kind, Some("hex" | "HEX")));
    Some(Read { direction, key, rest: Vec::new() })
}

/// Reads a key of one word after so many words; the words behind it are returned.
#[must_use]
pub fn word(line: &str, skip: usize) -> Option<Read<'_>> {
    let words = split(line);
    let words = words.get(skip..)?;
    let first = words.first()?;
    let (key, used) = match (first.text, words.get(1)) {
        ("6", Some(_)) => (Err(KeyFault::Type("6")), 2),
        ("7", Some(_)) => (Err(KeyFault::Type("7")), 2),
        ("0", Some(next)) => (one(line, next.at, next.text, false), 2),
        ("hex" | "HEX", Some(next)) => (one(line, next.at, next.text, true), 2),
        _ => (one(line, first.at, first.text, false), 1),
    };
    Some(Read { direction: Direction::Both, key, rest: words.iter().skip(used).map(|w| w.text).collect() })
}

fn one(line: &str, from: usize, text: &str, hex: bool) -> Result<Secret, KeyFault> {
    if is_mask(text) {
        return Err(KeyFault::Masked);
    }
    let column = line[..from].chars().count() + 1;
    let odd: Vec<_> = (column..)
        .zip(text.chars())
        .filter(|(_, c)| !c.is_ascii_graphic() && *c != ' ' && *c != '\t')
        .collect();
    if !odd.is_empty() {
        return Err(KeyFault::Characters(odd));
    }
    if text.contains([' ', '\t']) {
        return Err(KeyFault::Blank);
    }
    if text.len() > KEY_MAX {
        return Err(KeyFault::TooLong);
    }
    if hex {
        let digits = text.strip_prefix("0x").or_else(|| text.strip_prefix("0X")).unwrap_or(text);
        if digits.is_empty()
            || !digits.len().is_multiple_of(2)
            || !digits.bytes().all(|b| b.is_ascii_hexdigit())
        {
            return Err(KeyFault::NotHex);
        }
        return Ok(Secret::new(&format!("0x{}", digits.to_ascii_lowercase())));
    }
    if text.starts_with("0x") {
        // A profile takes 0x… for hexadecimal; on the router these are characters.
        let octets: String = text.bytes().map(|b| format!("{b:02x}")).collect();
        return if octets.len() + 2 > KEY_MAX {
            Err(KeyFault::TooLong)
        } else {
            Ok(Secret::new(&format!("0x{octets}")))
        };
    }
    Ok(Secret::new(text))
}

/// `====> …` behind a key is a remark of the document: a key of IOS has no blank.
fn without_arrow(text: &str) -> &str {
    match text.split_once(" ==").or_else(|| text.split_once(" ←")) {
        Some((key, _)) => key.trim_end(),
        None => text,
    }
}

/// Tools for backups and support put these in place of keys.
#[must_use]
pub fn is_mask(text: &str) -> bool {
    const WORDS: &[&str] =
        &["removed", "redacted", "hidden", "masked", "snip", "sanitized", "deleted", "suppressed"];
    let text = text.trim();
    let inner = text.trim_matches(['<', '>', '[', ']', '(', ')', '*', '{', '}']);
    let bracketed = (text.starts_with('<') && text.ends_with('>')) && text.len() > 2;
    let says = WORDS.iter().any(|w| inner.to_ascii_lowercase().contains(w));
    let stars = !text.is_empty() && text.bytes().all(|b| matches!(b, b'*' | b'.' | b'#'));
    let crosses = text.len() >= 4 && text.bytes().all(|b| matches!(b, b'x' | b'X'));
    bracketed
        || stars
        || crosses
        || (says && (inner.len() != text.len() || WORDS.iter().any(|w| inner.eq_ignore_ascii_case(w))))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(line: &str) -> (Direction, Result<String, KeyFault>) {
        let read = whole(line, 1).expect("a key");
        (read.direction, read.key.map(|k| k.expose().to_owned()))
    }

    #[test]
    fn types_directions_and_marks_in_keys() {
        let both = |key: &str| (Direction::Both, Ok(key.to_owned()));
        assert_eq!(read("pre-shared-key Tz!8#q//Lm^4&(Xw\"5=9"), both("Tz!8#q//Lm^4&(Xw\"5=9"));
        assert_eq!(read("pre-shared-key 0 Rn4vKq81   "), both("Rn4vKq81"));
        assert_eq!(read("pre-shared-key 6"), both("6"));
        assert_eq!(read("pre-shared-key local"), both("local"));
        assert_eq!(read("pre-shared-key hex 0A1B"), both("0x0a1b"));
        assert_eq!(read("pre-shared-key 0xab"), both("0x30786162"));
        assert_eq!(read("pre-shared-key remote 0 abc"), (Direction::Remote, Ok("abc".to_owned())));
        assert_eq!(read("pre-shared-key psk1 ====> wrong"), both("psk1"));
        for (line, fault) in [
            ("pre-shared-key 6 ABC", KeyFault::Type("6")),
            ("pre-shared-key 7 08271D", KeyFault::Type("7")),
            ("pre-shared-key local 7 08271D", KeyFault::Type("7")),
            ("pre-shared-key <removed>", KeyFault::Masked),
            ("pre-shared-key <configuration removed>", KeyFault::Masked),
            ("pre-shared-key ********", KeyFault::Masked),
            ("pre-shared-key 0 <secret hidden>", KeyFault::Masked),
            ("pre-shared-key [REDACTED]", KeyFault::Masked),
            ("pre-shared-key hex 0A1", KeyFault::NotHex),
            ("pre-shared-key two words", KeyFault::Blank),
            ("pre-shared-key a\u{2013}b", KeyFault::Characters(vec![(17, '\u{2013}')])),
        ] {
            assert_eq!(read(line).1, Err(fault), "{line}");
        }
        let ppk = word("key 0 K1 required", 1).expect("a key");
        assert_eq!((ppk.key.expect("good").expose(), ppk.rest), ("K1", vec!["required"]));
    }
}
