//! Header octets that are no UTF-8 (RFC 3261 §7.3.1 wants UTF-8; some peers send Shift_JIS or Latin-1 in display names).
//!
//! Each such octet becomes one private-use character and is written back as the octet it was, so that a response repeats
//! From, To and Via exactly as they came (RFC 3261 §8.2.6.2). Characters of that range that a peer sends itself are taken
//! octet by octet, so the mapping has no exception.

use std::borrow::Cow;

/// The character of an octet of 0x80 and above.
const BASE: u32 = 0xf700;

const fn is_octet(c: char) -> bool {
    matches!(c as u32, 0xf780..=0xf7ff)
}

fn push_octets(out: &mut String, octets: &[u8]) {
    out.extend(
        octets
            .iter()
            .filter_map(|b| char::from_u32(if *b < 0x80 { (*b).into() } else { BASE + u32::from(*b) })),
    );
}

pub fn decode(mut bytes: &[u8]) -> Cow<'_, str> {
    // The characters of the range begin with this octet in UTF-8.
    if !bytes.contains(&0xef)
        && let Ok(text) = std::str::from_utf8(bytes)
    {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(bytes.len());
    while !bytes.is_empty() {
        let (valid, rest) = match std::str::from_utf8(bytes) {
            Ok(text) => (text, &[][..]),
            Err(e) => {
                let (valid, rest) = bytes.split_at(e.valid_up_to());
                (std::str::from_utf8(valid).unwrap_or_default(), rest)
            }
        };
        for c in valid.chars() {
            if is_octet(c) {
                push_octets(&mut out, c.encode_utf8(&mut [0; 4]).as_bytes());
            } else {
                out.push(c);
            }
        }
        let Some((first, rest)) = rest.split_first() else { break };
        push_octets(&mut out, &[*first]);
        bytes = rest;
    }
    Cow::Owned(out)
}

pub fn encode(text: String) -> Vec<u8> {
    if !text.as_bytes().contains(&0xef) {
        return text.into_bytes();
    }
    let mut out = Vec::with_capacity(text.len());
    for c in text.chars() {
        if is_octet(c) {
            out.extend(u8::try_from(c as u32 - BASE));
        } else {
            out.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes());
        }
    }
    out
}

/// Whether the character stands for an octet.
pub const fn stands_for_octet(c: char) -> bool {
    is_octet(c)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_octet_comes_back() {
        for bytes in [
            &b"plain"[..],
            b"B\xfcro",
            b"\x93\x8c\x8b\x9e\x95\x5c",
            "東京 \u{f7fc} \u{f77f} \u{f800}".as_bytes(),
            b"cut \xe6\x9d",
            &(0..=255).collect::<Vec<u8>>(),
        ] {
            let text = decode(bytes);
            assert_eq!(encode(text.clone().into_owned()), bytes, "{text:?}");
        }
        assert_eq!(decode("東京".as_bytes()), "東京");
    }
}
