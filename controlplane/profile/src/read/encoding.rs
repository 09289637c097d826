//! From the bytes of a file to text. A profile is UTF-8; every other encoding is named, with the command that converts it.

use crate::diagnose::Place;

/// The bytes are not a text in UTF-8.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NotText {
    pub message: String,
    pub hint: String,
    pub place: Place,
}

/// The text, without a byte order mark. Some editors begin a text with one; it means nothing in UTF-8.
///
/// # Errors
/// If the bytes are in another encoding, or hold characters that end lines or stand in no text.
pub fn decode(bytes: &[u8]) -> Result<&str, NotText> {
    if let Some(name) = utf16(bytes) {
        return Err(foreign(name, Place::START));
    }
    let bytes = bytes.strip_prefix("\u{feff}".as_bytes()).unwrap_or(bytes);
    let text = std::str::from_utf8(bytes);
    if let Some((at, found)) = unreadable(bytes, text.is_err()) {
        return Err(NotText { place: place(bytes, at), ..found });
    }
    text.map_err(|error| foreign(guess(bytes), place(bytes, error.valid_up_to())))
}

/// The first character that no profile has. Readers of YAML differ in whether U+0085, U+2028 and U+2029 end a line, so what one
/// takes for a comment is values for another.
fn unreadable(bytes: &[u8], binary: bool) -> Option<(usize, NotText)> {
    let control = |b: u8| (b < 0x20 && !matches!(b, b'\t' | b'\n' | b'\r')) || b == 0x7f;
    let suspect = |b: &u8| control(*b) || (!binary && matches!(b, 0xc2 | 0xe2));
    let mut from = 0;
    while let Some(at) = bytes.get(from..)?.iter().position(suspect).map(|at| from + at) {
        let found = match &bytes[at..] {
            [0, ..] => Some((
                "the profile has a NUL byte: it is not a text file".to_owned(),
                "remove the byte, or give the path of the profile",
            )),
            [0x1b, b'$' | b'(', ..] if !binary => {
                return Some((at, foreign("ISO-2022-JP", Place::START)));
            }
            [0xc2, 0x85, ..] => Some(separator("U+0085")),
            [0xe2, 0x80, 0xa8, ..] => Some(separator("U+2028")),
            [0xe2, 0x80, 0xa9, ..] => Some(separator("U+2029")),
            [b, ..] if control(*b) => Some(control_character(*b)),
            [0xc2, b @ 0x80..=0x9f, ..] => Some(control_character(*b)),
            _ => None,
        };
        if let Some((message, hint)) = found {
            return Some((at, NotText { message, hint: hint.to_owned(), place: Place::START }));
        }
        from = at + 1;
    }
    None
}

fn control_character(code: u8) -> (String, &'static str) {
    let hint =
        "remove the character; if the file is no text (an archive, a program), give the path of the profile";
    (format!("the profile has the control character U+{code:04X}"), hint)
}

fn separator(code: &str) -> (String, &'static str) {
    let message = format!(
        "the profile has the character {code}, which ends a line for some readers of YAML and not for others"
    );
    (message, "write an ordinary end of line in its place, or remove it")
}

fn foreign(name: &str, place: Place) -> NotText {
    NotText {
        message: format!("the profile is not UTF-8; it looks like {name}"),
        hint: format!("convert it with `iconv -f {name} -t UTF-8 FILE`, or save it with that encoding"),
        place,
    }
}

/// By its byte order mark, or by the NUL bytes of its first Latin letters.
fn utf16(bytes: &[u8]) -> Option<&'static str> {
    match bytes {
        [0xff, 0xfe, 0, 0, ..] => Some("UTF-32LE"),
        [0, 0, 0xfe, 0xff, ..] => Some("UTF-32BE"),
        [0xff, 0xfe, ..] => Some("UTF-16LE"),
        [0xfe, 0xff, ..] => Some("UTF-16BE"),
        [first, 0, second, 0, ..] if *first != 0 && *second != 0 => Some("UTF-16LE"),
        [0, first, 0, second, ..] if *first != 0 && *second != 0 => Some("UTF-16BE"),
        _ => None,
    }
}

/// The Japanese encodings are told by their pairs of bytes; what is neither is called Latin-1.
fn guess(bytes: &[u8]) -> &'static str {
    let euc = |lead: u8, trail: Option<u8>| match lead {
        0x8e => trail.is_some_and(|t| (0xa1..=0xdf).contains(&t)).then_some(2),
        0xa1..=0xfe => trail.is_some_and(|t| (0xa1..=0xfe).contains(&t)).then_some(2),
        _ => None,
    };
    let sjis = |lead: u8, trail: Option<u8>| match lead {
        0xa1..=0xdf => Some(1), // half-width katakana
        0x81..=0x9f | 0xe0..=0xef => {
            trail.is_some_and(|t| matches!(t, 0x40..=0x7e | 0x80..=0xfc)).then_some(2)
        }
        _ => None,
    };
    if consists_of(bytes, euc) {
        "EUC-JP"
    } else if consists_of(bytes, sjis) && bytes.iter().any(|b| (0x81..=0x9f).contains(b)) {
        // These lead most of its characters; Latin-1 has no characters there.
        "SHIFT_JIS"
    } else {
        "ISO-8859-1"
    }
}

/// Whether every byte above ASCII begins a character of as many bytes as `length` says.
fn consists_of(bytes: &[u8], length: impl Fn(u8, Option<u8>) -> Option<usize>) -> bool {
    let mut at = 0;
    while let Some(byte) = bytes.get(at) {
        let Some(len) = (if byte.is_ascii() { Some(1) } else { length(*byte, bytes.get(at + 1).copied()) })
        else {
            return false;
        };
        at += len;
    }
    true
}

/// Columns count bytes here: there are no characters to count.
fn place(bytes: &[u8], at: usize) -> Place {
    let before = &bytes[..at];
    let line = before.iter().filter(|b| **b == b'\n').count() + 1;
    let column = before.iter().rev().take_while(|b| **b != b'\n').count() + 1;
    Place { line, column }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn other_encodings_are_named_with_their_place() {
        let utf16: Vec<u8> = "version: 1\n".encode_utf16().flat_map(u16::to_le_bytes).collect();
        let marked: Vec<u8> = [0xff, 0xfe].into_iter().chain(utf16.iter().copied()).collect();
        let big: Vec<u8> = "version: 1\n".encode_utf16().flat_map(u16::to_be_bytes).collect();
        let cases: [(&[u8], &str, usize); 7] = [
            (&utf16, "UTF-16LE", 1),
            (&marked, "UTF-16LE", 1),
            (&big, "UTF-16BE", 1),
            (b"a: 1\n# \x93\x8c\x8b\x9e\n", "SHIFT_JIS", 2), // 東京
            (b"a: 1\n# \xc5\xec\xb5\xfe\n", "EUC-JP", 2),
            (b"a: 1\nb: M\xfcnchen\n", "ISO-8859-1", 2),
            (b"a: 1\nb: \xff\n", "ISO-8859-1", 2),
        ];
        for (bytes, name, line) in cases {
            let error = decode(bytes).expect_err(name);
            assert!(error.message.ends_with(name), "{}", error.message);
            assert!(error.hint.contains(&format!("iconv -f {name} -t UTF-8")), "{}", error.hint);
            assert_eq!(error.place.line, line, "{name}");
        }
    }

    #[test]
    fn a_mark_is_skipped_and_a_nul_is_not() {
        assert_eq!(decode("\u{feff}a: 1".as_bytes()), Ok("a: 1"));
        assert_eq!(decode(b""), Ok(""));
        let error = decode(b"a: 1\nb: x\0y\n").expect_err("NUL");
        assert_eq!(error.place, Place { line: 2, column: 5 });
    }

    #[test]
    fn what_ends_lines_for_some_readers_is_refused() {
        for (text, code) in [
            ("a: 1 # b\u{85}c: 2\n", "U+0085"),
            ("a: 1 # b\u{2028}c: 2\n", "U+2028"),
            ("a: 1 # b\u{2029}c: 2\n", "U+2029"),
            ("a: 1 # b\u{1b}[0m\n", "U+001B"),
            ("a: 1 # b\u{1a}", "U+001A"),
            ("a: 1 # b\u{7f}", "U+007F"),
        ] {
            let error = decode(text.as_bytes()).expect_err(code);
            assert!(error.message.contains(code) && !error.hint.is_empty(), "{}", error.message);
            assert_eq!(error.place, Place { line: 1, column: 9 }, "{code}");
        }
        let iso2022 = decode(b"a: 1\n# \x1b$BEl5~\x1b(B\n").expect_err("escapes");
        assert!(iso2022.message.ends_with("ISO-2022-JP") && iso2022.place.line == 2, "{}", iso2022.message);
        let packed = decode(b"\x1f\x8b\x08\0\0\0").expect_err("gzip");
        assert!(packed.message.contains("U+001F"), "{}", packed.message);
        for text in ["a: \u{20ac}\u{a9}\u{2026}\u{2019}\u{a0}\n", "a: \u{2027}\u{202a}", "\u{e2}"] {
            assert_eq!(decode(text.as_bytes()), Ok(text));
        }
    }
}
