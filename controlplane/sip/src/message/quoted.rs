//! Quoted strings (RFC 3261 §25.1), and text of a peer that a log may show.

use super::octets;

/// `text` as a quoted-string. Control characters become blanks: a quoted-string cannot hold them (RFC 3261 §25.1
/// `qdtext`, `quoted-pair`).
pub fn quote(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 2);
    out.push('"');
    for c in text.chars() {
        match c {
            '"' | '\\' => out.extend(['\\', c]),
            c if c.is_control() => out.push(' '),
            c => out.push(c),
        }
    }
    out.push('"');
    out
}

/// The text of a token or of a quoted-string, with its escapes undone. `None` if a quote stays open, or text follows
/// the closing quote.
pub fn unquote(value: &str) -> Option<String> {
    let value = value.trim();
    let Some(rest) = value.strip_prefix('"') else { return Some(value.to_owned()) };
    let mut out = String::with_capacity(rest.len());
    let mut chars = rest.chars();
    loop {
        match chars.next()? {
            '\\' => out.push(chars.next()?),
            '"' => break,
            c => out.push(c),
        }
    }
    chars.as_str().is_empty().then_some(out)
}

/// At most `chars_max` characters, on one line, without characters that a terminal acts upon or that change the
/// direction of the text around them.
pub fn printable(text: &str, chars_max: usize) -> String {
    let shown = |c: char| {
        let invisible = matches!(c, '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}'..='\u{200f}'
            | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffc}'
            | '\u{e0000}'..='\u{e0fff}');
        !invisible && !octets::stands_for_octet(c) && (!c.is_control() || c.is_ascii_whitespace())
    };
    let mut out = String::new();
    let mut left = chars_max;
    for word in text.split(|c: char| c.is_whitespace()) {
        let blank = usize::from(!out.is_empty());
        let mut word = word.chars().filter(|c| shown(*c)).peekable();
        if word.peek().is_none() || left <= blank {
            continue;
        }
        if blank == 1 {
            out.push(' ');
        }
        left -= blank;
        for c in word.take(left) {
            out.push(c);
            left -= 1;
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quoting_and_back() {
        for (text, quoted) in [
            ("plain", "\"plain\""),
            ("pas\"sive", "\"pas\\\"sive\""),
            ("back\\slash", "\"back\\\\slash\""),
            ("東京 支店", "\"東京 支店\""),
        ] {
            assert_eq!(quote(text), quoted);
            assert_eq!(unquote(quoted).as_deref(), Some(text));
        }
        assert_eq!(quote("a\r\nb\tc\u{7}"), "\"a  b c \"");
        assert_eq!(unquote(" token "), Some("token".into()));
        for bad in ["\"open", "\"a\" b", "\"a\\"] {
            assert_eq!(unquote(bad), None, "{bad}");
        }
    }

    #[test]
    fn a_log_shows_one_short_line() {
        assert_eq!(printable(" a\r\n b\u{1b}[31m\u{202e}c\u{200b} ", 64), "a b[31mc");
        assert_eq!(printable("one two three", 7), "one two");
        assert_eq!(printable("one two three", 8), "one two");
        assert_eq!(printable("a東京都", 3), "a東京");
        assert_eq!(printable("\u{85}\u{0}", 3), "");
    }
}
