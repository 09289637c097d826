//! One file per section of the profile: from the tree to domain types.

pub mod certificates;
pub mod ike;
pub mod lifetime;
pub mod media;
pub mod ppk;
pub mod proposals;
pub mod sip;
pub mod tunnels;

use super::diagnostic::Problem;
use super::reader::{Item, Table};
use super::secret::{self, SECRET_MAX, SecretSource};
use sipsec_net::TelNumber;
use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

pub fn number(item: &Item<'_>) -> Option<TelNumber> {
    let text = match item.node {
        // A number without a leading zero reads as an integer.
        super::yaml::Node::Int(i) => i.to_string(),
        _ => item.text()?.to_owned(),
    };
    let parsed = text.parse().ok();
    if parsed.is_none() {
        item.bad_value(
            &text,
            "a telephone number",
            "write digits, as in \"0388881001\"; hyphens and +81 are understood",
        );
    }
    parsed
}

/// Whether one host can have it and others reach it.
#[must_use]
pub fn is_host(ip: IpAddr) -> bool {
    let nobody = ip.is_unspecified() || ip.is_multicast() || ip.is_loopback();
    !nobody && ip != IpAddr::V4(Ipv4Addr::BROADCAST)
}

/// RFC 1123 §2.1: labels of letters, digits and hyphens between them.
#[must_use]
pub fn is_host_name(name: &str) -> bool {
    let legal = |c: char| c.is_ascii_alphanumeric() || c == '-';
    let label = |l: &str| !l.is_empty() && !l.starts_with('-') && !l.ends_with('-') && l.chars().all(legal);
    name.split('.').all(label)
}

/// Whole seconds of a key that may be absent.
pub fn seconds(
    table: &Table<'_>,
    key: &'static str,
    default: u64,
    allowed: std::ops::RangeInclusive<u32>,
) -> Option<Duration> {
    match table.optional(key) {
        Some(item) => item.int(allowed).map(|s| Duration::from_secs(s.into())),
        None => Some(Duration::from_secs(default)),
    }
}

pub fn flag(table: &Table<'_>, key: &'static str, default: bool) -> Option<bool> {
    table.optional(key).map_or(Some(default), |item| item.flag())
}

/// A secret under one of three keys. The value itself appears in no message.
pub fn secret(table: &Table<'_>, keys: [&'static str; 3]) -> Option<SecretSource> {
    let [inline, file, env] = keys;
    let found: Vec<_> = keys.into_iter().filter_map(|k| table.optional(k).map(|item| (k, item))).collect();
    let (key, item) = match found.as_slice() {
        [one] => one,
        [] => {
            let message = format!("`{}` has no secret", table.path);
            let problem = Problem::error("secret::missing", &table.path, message);
            table.report(
                problem.cure(format!("add one of `{inline}: \"…\"`, `{file}: PATH`, `{env}: VARIABLE`")),
            );
            return None;
        }
        [_, (_, second), ..] => {
            let message = format!("`{}` has more than one secret", table.path);
            let problem = Problem::error("secret::several", &second.path, message).at_key();
            table.report(
                problem.label("the second one").cure(format!("keep one of `{inline}`, `{file}`, `{env}`")),
            );
            return None;
        }
    };
    if *key == file {
        return item.text().map(|path| SecretSource::File(path.into()));
    }
    if *key == env {
        return item.text().map(|name| SecretSource::Env(name.to_owned()));
    }
    let secret = secret::bounded(item.text()?.as_bytes());
    if let Err(error) = &secret {
        let message = format!("`{}` cannot be used: {error}", item.path);
        item.report(
            Problem::error("secret::value", &item.path, message)
                .cure(format!("write 1 to {SECRET_MAX} bytes")),
        );
    }
    secret.ok().map(Box::new).map(SecretSource::Inline)
}
