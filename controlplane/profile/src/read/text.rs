//! Forms of text that several sections share.

use super::item::Item;
use super::values::Node;
use crate::model::limits::DEVICE_NAME_MAX;
use crate::schema::{Kind, Text};
use sipsec_net::TelNumber;
use std::net::{IpAddr, Ipv4Addr};
use std::path::PathBuf;

pub fn number(item: &Item<'_>) -> Option<TelNumber> {
    let text = match item.node {
        // A number without a leading zero reads as an integer.
        Node::Int(i) => i.to_string(),
        _ => item.text()?.to_owned(),
    };
    let by_dhcp = matches!(item.kind, Kind::Text(Text::NumberOrDhcp));
    if by_dhcp && text.trim() == TelNumber::DHCP.as_str() {
        return Some(TelNumber::DHCP);
    }
    let parsed = text.parse().ok();
    if parsed.is_none() {
        let any = match item.kind {
            Kind::Text(Text::NumberOrAny) => "; `any` stands for every number without an entry of its own",
            Kind::Text(Text::NumberOrDhcp) => {
                "; `dhcp` stands for the one that the line's vendor options name"
            }
            _ => "",
        };
        let hint = format!("write digits, as in \"0388881001\"; hyphens and +81 are understood{any}");
        item.bad_value(&text, "a telephone number", &hint);
    }
    parsed
}

/// Whether one host can have the address and others reach it.
#[must_use]
pub fn is_host(ip: IpAddr) -> bool {
    let special = ip.is_unspecified() || ip.is_multicast() || ip.is_loopback();
    !special && ip != IpAddr::V4(Ipv4Addr::BROADCAST)
}

/// RFC 1123 §2.1: labels of letters, digits and hyphens between them.
#[must_use]
pub fn is_host_name(name: &str) -> bool {
    let legal = |c: char| c.is_ascii_alphanumeric() || c == '-';
    let label = |l: &str| !l.is_empty() && !l.starts_with('-') && !l.ends_with('-') && l.chars().all(legal);
    name.split('.').all(label)
}

/// Longest path (limits.h, PATH_MAX with its terminator).
const PATH_BYTES_MAX: usize = 4095;

pub fn path(item: &Item<'_>) -> Option<PathBuf> {
    let text = item.text()?;
    if text.is_empty() || text.len() > PATH_BYTES_MAX || text.contains(char::is_control) {
        item.bad_value(text, "a path", "write the path of a file or directory");
        return None;
    }
    Some(PathBuf::from(text))
}

/// The name becomes a directory below /run.
pub fn gateway(item: &Item<'_>) -> Option<String> {
    let text = item.text()?;
    let legal = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
    if text.is_empty() || text.len() > 64 || !text.chars().all(legal) {
        item.bad_value(text, "a gateway's name", "use 1 to 64 letters, digits, '-' and '_'");
        return None;
    }
    Some(text.to_owned())
}

/// A network device; `suffix` bytes of the kernel's limit are needed for another name.
pub fn device(item: &Item<'_>, suffix: usize) -> Option<String> {
    let name = item.text()?;
    let max = DEVICE_NAME_MAX - suffix;
    let bad = |c: char| c == '/' || c == ':' || c.is_whitespace() || c.is_control();
    if name.is_empty() || name.len() > max || name == "." || name == ".." || name.contains(bad) {
        let hint = format!("a device name has 1 to {max} bytes without '/', ':' or spaces");
        item.bad_value(name, "a device name", &hint);
        return None;
    }
    Some(name.to_owned())
}

/// Characters of a label.
const LABEL_MAX: usize = 64;

/// A text for people.
pub fn label(item: &Item<'_>) -> Option<String> {
    let text = item.text()?;
    if text.is_empty() || text.chars().count() > LABEL_MAX || text.contains(char::is_control) {
        let hint = format!("write 1 to {LABEL_MAX} characters in one line");
        item.bad_value(text, "a short text", &hint);
        return None;
    }
    Some(text.to_owned())
}

/// RFC 1035 §2.3.4: at most 253 characters, and 63 in a label.
pub fn domain_name(item: &Item<'_>) -> Option<String> {
    let text = item.text()?.trim();
    let name = text.trim_end_matches('.');
    if name.len() > 253 || !is_host_name(name) || name.split('.').any(|label| label.len() > 63) {
        item.bad_value(text, "a domain name", "write a name as in www.example");
        return None;
    }
    Some(name.to_owned())
}
