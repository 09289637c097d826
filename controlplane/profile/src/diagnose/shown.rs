//! Values in messages: bounded, on one line, without control characters.

/// Characters of a value that a message repeats at most.
const VALUE_MAX: usize = 80;
const KEY_MAX: usize = 40;

/// In double quotes.
#[must_use]
pub fn shown(value: &str) -> String {
    format!("\"{}\"", cut(value, VALUE_MAX))
}

/// Without quotes.
#[must_use]
pub fn shown_raw(value: &str) -> String {
    cut(value, VALUE_MAX)
}

/// A key.
#[must_use]
pub fn shown_key(key: &str) -> String {
    cut(key, KEY_MAX)
}

/// At most `max` characters and an ellipsis.
pub fn cut(text: &str, max: usize) -> String {
    let mut out = String::new();
    for (i, c) in text.chars().enumerate() {
        if i == max {
            out.push('…');
            break;
        }
        if c.is_control() || is_format(c) {
            out.extend(c.escape_unicode());
        } else {
            out.push(c);
        }
    }
    out
}

/// Characters that change the direction of a line or have no width: a terminal would show another text.
pub fn is_format(c: char) -> bool {
    matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{2069}' | '\u{feff}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_and_hostile_values_are_cut_and_escaped() {
        assert_eq!(shown("ten"), "\"ten\"");
        assert_eq!(shown(&"x".repeat(1_000_000)).chars().count(), VALUE_MAX + 3);
        assert_eq!(shown("a\nb\u{1b}[2J\u{202e}"), "\"a\\u{a}b\\u{1b}[2J\\u{202e}\"");
    }
}
