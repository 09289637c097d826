//! Distinguished names as text (RFC 4514), in the order in which the certificate has them.

use x509_parser::asn1_rs::Tag;
use x509_parser::objects::{oid_registry, oid2abbrev};
use x509_parser::prelude::X509Name;
use x509_parser::x509::{AttributeTypeAndValue, RelativeDistinguishedName};

/// RFC 4514 §2.4: what separates parts of a name is escaped inside a value, so that no value passes for two parts.
fn escaped(value: &str) -> String {
    let mut out = String::with_capacity(value.len());
    let last = value.chars().count().saturating_sub(1);
    for (i, c) in value.chars().enumerate() {
        let edge = (c == ' ' && (i == 0 || i == last)) || (c == '#' && i == 0);
        if edge || matches!(c, ',' | '+' | '"' | '\\' | '<' | '>' | ';') {
            out.push('\\');
        }
        out.push(c);
    }
    out
}

fn attribute(a: &AttributeTypeAndValue<'_>) -> String {
    let oid = a.attr_type();
    let kind = oid2abbrev(oid, oid_registry()).map_or_else(|_| oid.to_id_string(), ToOwned::to_owned);
    let text = match a.as_str() {
        Ok(text) => Some(text.to_owned()),
        Err(_) if a.attr_value().tag() == Tag::BmpString => {
            let units = a.as_slice().chunks_exact(2).map(|c| u16::from_be_bytes([c[0], c[1]]));
            Some(char::decode_utf16(units).map(|c| c.unwrap_or(char::REPLACEMENT_CHARACTER)).collect())
        }
        Err(_) => None,
    };
    match text {
        Some(text) => format!("{kind}={}", escaped(&text)),
        // RFC 4514 §2.4: a value that is not a string is shown as its encoding.
        None => {
            let hex: String = a.as_slice().iter().map(|b| format!("{b:02x}")).collect();
            format!("{kind}=#{hex}")
        }
    }
}

/// `C=JP, O=Example Bank, CN=gw`; `+` between the attributes of one part.
pub(super) fn text(name: &X509Name<'_>) -> String {
    let part =
        |rdn: &RelativeDistinguishedName<'_>| rdn.iter().map(attribute).collect::<Vec<_>>().join(" + ");
    name.iter().map(part).collect::<Vec<_>>().join(", ")
}

/// The parts of a name, in lower case and without the spaces between them, which make no difference.
pub(super) fn parts(text: &str) -> Vec<String> {
    let mut out = vec![String::new()];
    let mut escape = false;
    for c in text.chars() {
        if !escape && matches!(c, ',' | '+') {
            out.push(String::new());
            continue;
        }
        escape = c == '\\' && !escape;
        out.last_mut().expect("there is always a part").push(c);
    }
    out.iter().map(|part| part.trim().to_lowercase()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_value_passes_for_two_parts() {
        assert_eq!(escaped(" a, O=b+c\\"), "\\ a\\, O=b\\+c\\\\");
        assert_eq!(escaped("#x "), "\\#x\\ ");
        assert_eq!(parts("CN=x\\, O=y , O=Z+ou=q"), ["cn=x\\, o=y", "o=z", "ou=q"]);
        assert_eq!(parts("a\\\\,b"), ["a\\\\", "b"]);
    }
}
