//! Which of the known words was probably meant.

/// The closest of `known` to `word`, if it is close enough to be meant.
pub fn nearest<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let limit = (word.chars().count() / 2).max(1);
    // A word that only lacks its end (`age` for `age_ms`) is as good as one letter off.
    let begins = |k: &str| word.len() >= 3 && k.starts_with(word);
    let scored = known.into_iter().map(|k| (if begins(k) { 1 } else { distance(word, k) }, k));
    scored.filter(|(d, _)| *d <= limit).min().map(|(_, k)| k)
}

/// Levenshtein distance, with `-` and `_` taken as equal.
fn distance(a: &str, b: &str) -> usize {
    let fold = |c: char| if c == '-' { '_' } else { c.to_ascii_lowercase() };
    let b: Vec<char> = b.chars().map(fold).collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.chars().map(fold).enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, y) in b.iter().enumerate() {
            let cost = diagonal + usize::from(x != *y);
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
    fn typing_errors_find_their_word_and_other_words_do_not() {
        let known = ["registrar", "domain", "lines", "expires_s"];
        assert_eq!(nearest("registar", known), Some("registrar"));
        assert_eq!(nearest("expires-s", known), Some("expires_s"));
        assert_eq!(nearest("exp", known), Some("expires_s"));
        assert_eq!(nearest("colour", known), None);
        assert_eq!(nearest("0612349999", ["0645676666", "0612349990"]), Some("0612349990"));
    }
}
