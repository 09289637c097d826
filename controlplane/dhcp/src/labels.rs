//! Domain names as RFC 1035 §3.1 labels, without compression (RFC 3361 §3.1, RFC 3319 §3.1).

use crate::Ignored;
use crate::tlv::Reader;

/// Longest name in text form (RFC 1035 §2.3.4).
const NAME_MAX: usize = 253;

/// Reads names until the bytes end. At most `max` names are kept.
pub fn names(bytes: &[u8], max: usize) -> Result<Vec<String>, Ignored> {
    let mut reader = Reader::new(bytes);
    let mut names = Vec::new();
    while !reader.is_empty() {
        let name = name(&mut reader)?;
        if names.len() < max && !name.is_empty() {
            names.push(name);
        }
    }
    Ok(names)
}

/// One name. A name whose last label lacks the root's zero byte counts, since some servers leave it out.
pub fn name(reader: &mut Reader<'_>) -> Result<String, Ignored> {
    let mut name = String::new();
    while !reader.is_empty() {
        let len = usize::from(reader.u8()?);
        if len == 0 {
            break;
        }
        // §4.1.4: the two upper bits mark a pointer, which these options must not have.
        if len > 63 {
            return Err(Ignored::Malformed);
        }
        let label = reader.take(len)?;
        if !label.iter().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_')) {
            return Err(Ignored::Malformed);
        }
        if !name.is_empty() {
            name.push('.');
        }
        name.extend(label.iter().map(|b| char::from(b.to_ascii_lowercase())));
        if name.len() > NAME_MAX {
            return Err(Ignored::Malformed);
        }
    }
    Ok(name)
}
