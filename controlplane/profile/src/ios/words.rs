//! The words of a command, and IOS's rules for shortening them.

/// A word and its place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Word<'a> {
    pub text: &'a str,
    /// Octet of the line at which it begins.
    pub at: usize,
}

/// Splits at blanks.
#[must_use]
pub fn split(line: &str) -> Vec<Word<'_>> {
    let mut out = Vec::new();
    let mut start = None;
    for (i, c) in line.char_indices() {
        match (c.is_whitespace(), start) {
            (true, Some(from)) => {
                out.push(Word { text: &line[from..i], at: from });
                start = None;
            }
            (false, None) => start = Some(i),
            _ => {}
        }
    }
    if let Some(from) = start {
        out.push(Word { text: &line[from..], at: from });
    }
    out
}

/// Whether `given` is `word` or a beginning of it; case does not count.
#[must_use]
pub fn shortens(given: &str, word: &str) -> bool {
    !given.is_empty()
        && given.len() <= word.len()
        && word.as_bytes()[..given.len()].eq_ignore_ascii_case(given.as_bytes())
}

/// Which of `words` is meant, if only one can be.
pub fn meant<'w>(given: &str, words: &[&'w str]) -> Option<&'w str> {
    if let Some(exact) = words.iter().find(|w| w.eq_ignore_ascii_case(given)) {
        return Some(exact);
    }
    let mut found = words.iter().filter(|w| shortens(given, w));
    match (found.next(), found.next()) {
        (Some(one), None) => Some(one),
        _ => None,
    }
}

/// The words that follow a command.
#[derive(Clone, Copy, Debug)]
pub struct Words<'a> {
    line: &'a str,
    list: &'a [Word<'a>],
}

impl<'a> Words<'a> {
    #[must_use]
    pub const fn new(line: &'a str, list: &'a [Word<'a>]) -> Self {
        Self { line, list }
    }

    pub fn next(&mut self) -> Option<&'a str> {
        let (first, rest) = self.list.split_first()?;
        self.list = rest;
        Some(first.text)
    }

    #[must_use]
    pub fn peek(&self) -> Option<&'a str> {
        self.list.first().map(|w| w.text)
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    #[must_use]
    pub fn len(&self) -> usize {
        self.list.len()
    }

    /// Takes one of these words or a beginning of it.
    pub fn keyword(&mut self, words: &[&'static str]) -> Option<&'static str> {
        let found = meant(self.peek()?, words)?;
        self.next();
        Some(found)
    }

    pub fn number<T: std::str::FromStr>(&mut self) -> Option<T> {
        let value = self.peek()?.parse().ok()?;
        self.next();
        Some(value)
    }

    /// Everything up to the end of the line, blanks between words included.
    #[must_use]
    pub fn rest(&self) -> &'a str {
        self.list.first().map_or("", |w| self.line[w.at..].trim_end())
    }

    pub fn iter(&self) -> impl Iterator<Item = &'a str> + use<'a> {
        self.list.iter().map(|w| w.text)
    }
}

/// The known words closest to one that is not known, closest first.
#[must_use]
pub fn nearest<'a>(word: &str, known: impl IntoIterator<Item = &'a str>, most: usize) -> Vec<&'a str> {
    let limit = (word.chars().count() / 2).max(1);
    let known = known.into_iter().take(NEAREST_KNOWN_MAX);
    let mut scored: Vec<_> = known
        .map(|k| {
            let begins = word.len() >= 3 && shortens(word, k);
            (if begins { 1 } else { distance(word, k, limit) }, k)
        })
        .filter(|(d, _)| *d <= limit)
        .collect();
    scored.sort_unstable();
    scored.dedup();
    scored.into_iter().take(most).map(|(_, k)| k).collect()
}

/// Whether a few letters make the word that known one.
#[must_use]
pub fn is_misspelt(word: &str, known: &str) -> bool {
    let most = (word.chars().count() / 3).max(1);
    distance(word, known, most) <= most
}

/// Comparing costs the product of the lengths.
const NEAREST_KNOWN_MAX: usize = 512;
const NEAREST_LENGTH_MAX: usize = 64;

fn distance(a: &str, b: &str, limit: usize) -> usize {
    let fold =
        |s: &str| s.chars().take(NEAREST_LENGTH_MAX).map(|c| c.to_ascii_lowercase()).collect::<Vec<_>>();
    let (a, b) = (fold(a), fold(b));
    if a.len().abs_diff(b.len()) > limit {
        return limit + 1;
    }
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.iter().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, y) in b.iter().enumerate() {
            let cost = diagonal + usize::from(x != y);
            diagonal = row[j + 1];
            row[j + 1] = cost.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_shorten_to_what_is_unique() {
        assert_eq!(meant("rem", &["local", "remote"]), Some("remote"));
        assert_eq!(meant("re", &["remote", "request"]), None);
        assert_eq!(meant("SIP-LOCAL", &["sip-local", "local-number"]), Some("sip-local"));
        assert_eq!(meant("", &["a"]), None);
        assert_eq!(meant("é", &["e"]), None);
    }

    #[test]
    fn the_rest_keeps_its_blanks() {
        let line = "description  a  b ";
        let list = split(line);
        let mut words = Words::new(line, &list);
        assert_eq!(words.next(), Some("description"));
        assert_eq!(words.rest(), "a  b");
    }

    #[test]
    fn near_words_come_first() {
        assert_eq!(nearest("loging", ["logging", "enable", "tunnel"], 2), ["logging"]);
        assert_eq!(nearest("selfcert", ["selfCert", "CA"], 1), ["selfCert"]);
    }
}
