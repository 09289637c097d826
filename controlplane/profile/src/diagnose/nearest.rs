//! The known word that was probably meant.

/// Longer words are not compared: they are no typing errors of a known word.
const WORD_MAX: usize = 64;

/// The closest of `known` to `word`, if it is close enough to be meant.
pub fn nearest<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    if word.len() > WORD_MAX {
        return None;
    }
    let limit = (word.chars().count() / 2).max(1);
    let folded = fold(word);
    // A word that lacks only its end (`age` for `age_ms`) counts as one letter off.
    let begins = |k: &str| word.len() >= 3 && k.starts_with(word);
    let scored =
        known.into_iter().map(|k| (if begins(k) { 1 } else { strsim::levenshtein(&folded, &fold(k)) }, k));
    scored.filter(|(distance, _)| *distance <= limit).min().map(|(_, k)| k)
}

/// `-` and `_` count as equal, and so do letters of both cases.
fn fold(word: &str) -> String {
    word.chars().map(|c| if c == '-' { '_' } else { c.to_ascii_lowercase() }).collect()
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
        assert_eq!(nearest(&"registrar".repeat(100_000), known), None);
    }
}
