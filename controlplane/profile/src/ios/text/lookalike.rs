//! Characters that look like those of a configuration and are others: web pages and word processors put them in.

/// One such character and its place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LookAlike {
    /// Position in the line, in characters from 1.
    pub column: usize,
    pub found: char,
}

/// The line with plain characters.
#[must_use]
pub fn plain(line: &str) -> (String, Vec<LookAlike>) {
    if line.is_ascii() {
        return (line.to_owned(), Vec::new());
    }
    let (mut out, mut found) = (String::with_capacity(line.len()), Vec::new());
    for (i, c) in line.chars().enumerate() {
        match meant(c) {
            Some(plain) => {
                found.push(LookAlike { column: i + 1, found: c });
                out.push_str(plain.as_str());
            }
            None => out.push(c),
        }
    }
    (out, found)
}

enum Plain {
    Char([u8; 1]),
    Nothing,
}

impl Plain {
    fn as_str(&self) -> &str {
        match self {
            Self::Char(c) => std::str::from_utf8(c).unwrap_or(""),
            Self::Nothing => "",
        }
    }
}

fn meant(c: char) -> Option<Plain> {
    let ascii = |b: u8| Some(Plain::Char([b]));
    match c {
        '\u{a0}' | '\u{1680}' | '\u{2000}'..='\u{200a}' | '\u{202f}' | '\u{205f}' | '\u{3000}' => ascii(b' '),
        '\u{ad}' | '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{2064}' => {
            Some(Plain::Nothing)
        }
        '\u{2066}'..='\u{2069}' | '\u{feff}' => Some(Plain::Nothing),
        '\u{2010}'..='\u{2015}' | '\u{2212}' | '\u{2043}' | '\u{2d7}' | '\u{fe58}' | '\u{fe63}' => {
            ascii(b'-')
        }
        '\u{2018}'..='\u{201b}' | '\u{2032}' | '\u{2bc}' => ascii(b'\''),
        '\u{201c}'..='\u{201f}' | '\u{2033}' => ascii(b'"'),
        // Full-width forms are ASCII, moved.
        '\u{ff01}'..='\u{ff5e}' => u8::try_from(u32::from(c) - 0xfee0).ok().and_then(ascii),
        _ => None,
    }
}

/// What the report calls it.
#[must_use]
pub fn name(c: char) -> &'static str {
    match c {
        '\u{a0}' => "no-break space",
        '\u{3000}' => "ideographic space",
        '\u{2010}'..='\u{2015}' | '\u{2212}' => "dash",
        '\u{2018}'..='\u{201f}' => "curly quote",
        '\u{200b}'..='\u{200f}' | '\u{2060}'..='\u{2064}' | '\u{feff}' => "character without width",
        '\u{ff01}'..='\u{ff5e}' => "full-width form",
        _ => "look-alike",
    }
}

/// Kana, Han, Hangul and their punctuation: prose, never a command.
#[must_use]
pub fn is_cjk(c: char) -> bool {
    matches!(c, '\u{3001}'..='\u{30ff}' | '\u{31f0}'..='\u{31ff}' | '\u{3400}'..='\u{9fff}' | '\u{ac00}'..='\u{d7af}'
        | '\u{f900}'..='\u{faff}' | '\u{ff5f}'..='\u{ff9f}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_is_read_as_its_plain_form_and_named_with_its_column() {
        let (text, found) = plain("\u{3000}identity key\u{2011}id ０３\u{200b}8");
        assert_eq!(text, " identity key-id 038");
        let places: Vec<_> = found.iter().map(|l| (l.column, l.found)).collect();
        assert_eq!(places, [(1, '\u{3000}'), (14, '\u{2011}'), (18, '０'), (19, '３'), (20, '\u{200b}')]);
        assert_eq!(plain("peer 北支店").1, []);
    }
}
