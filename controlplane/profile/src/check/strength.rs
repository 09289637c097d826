//! How much guessing a key resists.

/// Words that guessers try first; each counts as one guess of some hundreds.
const WORDS: &[&str] = &[
    "password",
    "passwd",
    "secret",
    "cisco",
    "sipsec",
    "vpnsip",
    "vpn",
    "ipsec",
    "ike",
    "psk",
    "presharedkey",
    "preshared",
    "shared",
    "key",
    "admin",
    "root",
    "test",
    "demo",
    "lab",
    "example",
    "changeme",
    "letmein",
    "welcome",
    "qwerty",
    "branch",
    "center",
    "centre",
    "carrier",
    "tokyo",
    "osaka",
    "japan",
    "ntt",
];
const WORD_BITS: f64 = 8.0;

/// Estimated bits of a key as written, for an attacker who knows how people write keys. Random hexadecimal and base64
/// come out at their size; words, runs and repetitions count little.
#[must_use]
pub fn estimated_bits(written: &[u8]) -> f64 {
    let text = String::from_utf8_lossy(written);
    let body = text.strip_prefix("0x").unwrap_or(&text);
    let chars: Vec<char> = body.chars().collect();
    let lower: Vec<char> = chars.iter().map(char::to_ascii_lowercase).collect();
    let word_at = |at: usize| {
        let starts = |w: &&&str| {
            w.chars().zip(lower.get(at..).unwrap_or_default()).filter(|(a, b)| a == *b).count() == w.len()
        };
        WORDS.iter().filter(starts).map(|w| w.len()).max()
    };
    let (mut words, mut rest, mut at) = (0.0, Vec::new(), 0);
    while at < chars.len() {
        match word_at(at) {
            Some(len) => {
                words += 1.0;
                at += len;
            }
            None => {
                rest.push(chars[at]);
                at += 1;
            }
        }
    }
    words * WORD_BITS + letters_bits(&rest)
}

/// Bits of the characters that are left when the words are taken out.
fn letters_bits(chars: &[char]) -> f64 {
    let per_char = alphabet(chars).log2();
    let mut bits = 0.0;
    for at in 0..chars.len() {
        let step = |back: usize| at.checked_sub(back).map(|i| i64::from(u32::from(chars[i])));
        let this = i64::from(u32::from(chars[at]));
        // A run (aaaa, 1234, dcba) predicts its next character; shorter ones are frequent in random text.
        let run = match (step(1), step(2), step(3)) {
            (Some(a), Some(b), Some(c)) => this - a == a - b && a - b == b - c && (this - a).abs() <= 1,
            _ => false,
        };
        bits += if run || repeats(chars, at) { 0.5 } else { per_char };
    }
    bits
}

/// Whether the characters before appear earlier, followed by this one: a repetition of at least four.
fn repeats(chars: &[char], at: usize) -> bool {
    const UNIT: usize = 4;
    at >= UNIT && chars[..at].windows(UNIT).any(|w| *w == chars[at + 1 - UNIT..=at])
}

fn alphabet(chars: &[char]) -> f64 {
    let any = |f: fn(&char) -> bool| chars.iter().any(f);
    if chars.iter().all(char::is_ascii_digit) {
        return 10.0;
    }
    if chars.iter().all(char::is_ascii_hexdigit) {
        return 16.0;
    }
    let mut size = 0.0;
    for (present, count) in [
        (any(char::is_ascii_lowercase), 26.0),
        (any(char::is_ascii_uppercase), 26.0),
        (any(char::is_ascii_digit), 10.0),
        (any(|c| c.is_ascii_punctuation() || *c == ' '), 33.0),
        (any(|c| !c.is_ascii()), 64.0),
    ] {
        size += if present { count } else { 0.0 };
    }
    f64::max(size, 2.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_estimate_tells_random_from_written_by_hand() {
        let strong = ["0xd1f0a93b7c4e58261b7f9c03e6a2d845", "q8ZJ5yLr1uVn0sKcWf3Tb9"];
        for key in strong {
            assert!(estimated_bits(key.as_bytes()) >= 110.0, "{key}: {}", estimated_bits(key.as_bytes()));
        }
        let weak = [
            "key123",
            "psk1",
            "cisco123",
            "psk10337101690",
            "passwordpasswordpasswordpassword",
            "12345678901234567890",
        ];
        for key in weak {
            assert!(estimated_bits(key.as_bytes()) < 60.0, "{key}: {}", estimated_bits(key.as_bytes()));
        }
    }
}
