//! Bytes of a file → text.

use encoding_rs::{EUC_JP, Encoding, ISO_2022_JP, SHIFT_JIS, UTF_16BE, UTF_16LE};
use zeroize::Zeroizing;

/// Text of a file, and how its bytes were read.
#[derive(Debug)]
pub struct Decoded {
    pub text: Zeroizing<String>,
    /// A name for the report; `None` for UTF-8.
    pub encoding: Option<&'static str>,
    /// Characters that the encoding does not have, each replaced by U+FFFD.
    pub replaced: bool,
}

/// The file holds no text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NoText;

/// One control character in so many bytes is a capture of a terminal; more is no text.
const BYTES_PER_CONTROL: usize = 8;

/// # Errors
/// If the bytes are no text in any encoding that IOS configurations come in.
pub fn decode(bytes: &[u8]) -> Result<Decoded, NoText> {
    if let Some(rest) = bytes.strip_prefix(b"\xef\xbb\xbf") {
        return text(rest);
    }
    if bytes.starts_with(b"\xff\xfe") {
        return Ok(with(UTF_16LE, "UTF-16", &bytes[2..]));
    }
    if bytes.starts_with(b"\xfe\xff") {
        return Ok(with(UTF_16BE, "UTF-16", &bytes[2..]));
    }
    match zeros(bytes) {
        (even, odd) if odd > bytes.len() / 4 && even == 0 => Ok(with(UTF_16LE, "UTF-16", bytes)),
        (even, odd) if even > bytes.len() / 4 && odd == 0 => Ok(with(UTF_16BE, "UTF-16", bytes)),
        _ => text(bytes),
    }
}

/// NUL octets at even and at odd offsets: ASCII in UTF-16 has one in two octets.
fn zeros(bytes: &[u8]) -> (usize, usize) {
    bytes
        .iter()
        .enumerate()
        .filter(|(_, b)| **b == 0)
        .fold((0, 0), |(even, odd), (i, _)| if i % 2 == 0 { (even + 1, odd) } else { (even, odd + 1) })
}

fn text(bytes: &[u8]) -> Result<Decoded, NoText> {
    let is_control = |b: &&u8| matches!(**b, 0..=7 | 14..=26 | 28..=31) && **b != 3;
    if bytes.iter().filter(is_control).count() > bytes.len() / BYTES_PER_CONTROL {
        return Err(NoText);
    }
    if let Ok(text) = std::str::from_utf8(bytes) {
        if text.contains("\u{1b}$B") || text.contains("\u{1b}$@") {
            return Ok(with(ISO_2022_JP, "ISO-2022-JP", bytes));
        }
        return Ok(Decoded { text: Zeroizing::new(text.to_owned()), encoding: None, replaced: false });
    }
    let (sjis, euc) = (with(SHIFT_JIS, "Shift_JIS", bytes), with(EUC_JP, "EUC-JP", bytes));
    let best = match (sjis.replaced, euc.replaced) {
        (false, true) => sjis,
        (true, false) => euc,
        (false, false) if oddities(&euc.text) < oddities(&sjis.text) => euc,
        (false, false) => sjis,
        // Several encodings in one file, or one that is not Japanese: UTF-8 with gaps keeps what is ASCII.
        (true, true) => Decoded {
            text: Zeroizing::new(String::from_utf8_lossy(bytes).into_owned()),
            encoding: Some("UTF-8 with unreadable bytes"),
            replaced: true,
        },
    };
    Ok(best)
}

fn with(encoding: &'static Encoding, name: &'static str, bytes: &[u8]) -> Decoded {
    let (text, replaced) = encoding.decode_without_bom_handling(bytes);
    Decoded { text: Zeroizing::new(text.into_owned()), encoding: Some(name), replaced }
}

/// Half-width katakana are what EUC-JP looks like when it is read as Shift_JIS.
fn oddities(text: &str) -> usize {
    text.chars().filter(|c| matches!(c, '\u{ff61}'..='\u{ff9f}' | '\u{e000}'..='\u{f8ff}')).count()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn japanese_comes_in_every_encoding() {
        let text = "description 表示用 予備\ninterface Tunnel1\n";
        for encoding in [SHIFT_JIS, EUC_JP, ISO_2022_JP] {
            let (bytes, _, _) = encoding.encode(text);
            let decoded = decode(&bytes).expect("text");
            assert_eq!(*decoded.text, text, "{}", encoding.name());
            assert!(decoded.encoding.is_some() && !decoded.replaced);
        }
        let little: Vec<u8> = text.encode_utf16().flat_map(u16::to_le_bytes).collect();
        assert_eq!(*decode(&[b"\xff\xfe".as_slice(), &little].concat()).expect("text").text, text);
        let ascii: Vec<u8> = "hostname A\n".encode_utf16().flat_map(u16::to_be_bytes).collect();
        assert_eq!(*decode(&ascii).expect("text").text, "hostname A\n");
        assert_eq!(*decode(b"\xef\xbb\xbfR1#").expect("text").text, "R1#");
    }

    #[test]
    fn what_is_no_text_is_refused_and_unreadable_bytes_are_not() {
        assert_eq!(decode(&[0, 1, 2, 3, 4, 5, 6, 7, 0, 1]).err(), Some(NoText));
        let decoded = decode(b"hostname \xff\xff\xfe\ninterface \xe5\x8c\x97\n").expect("text");
        assert!(decoded.replaced && decoded.text.contains("hostname"));
    }
}
