//! Every key of a profile, in one table: the reader takes bounds and defaults from it, the masking of secrets decides by
//! it, and the JSON schema, `check --explain` and the configuration reference are printed from it.

mod dataplane;
mod filters;
mod ike;
mod json;
mod kind;
mod nat;
mod private_key;
mod profile;
mod qos;
mod reference;
mod sip;
mod track;
mod tunnels;
mod wan;

pub use json::json_schema;
pub use kind::{Group, Key, Kind, Presence, Takes, Text};
pub use profile::PROFILE;
pub use reference::{explain, reference, similar};
pub use track::{ROUTE, SLA, TRACK};

/// Finds a key by the path that messages show, with or without indices: `ike.keyring[0].psk`, `tunnels.idle_s`.
#[must_use]
pub fn find(path: &str) -> Option<&'static Key> {
    let mut group: &'static Group = &PROFILE;
    let mut found = None;
    for part in path.split('.') {
        let name = part.split('[').next().unwrap_or_default();
        let key = group.key(name)?;
        found = Some(key);
        group = key.kind.group().unwrap_or(&kind::NOTHING);
    }
    found
}

/// Every key with its path, in the order of the reference.
#[must_use]
pub fn all() -> Vec<(String, &'static Key)> {
    let mut out = Vec::new();
    walk(&PROFILE, "", &mut out);
    out
}

fn walk(group: &'static Group, prefix: &str, out: &mut Vec<(String, &'static Key)>) {
    for key in group.keys {
        let path = if prefix.is_empty() { key.name.to_owned() } else { format!("{prefix}.{}", key.name) };
        out.push((path.clone(), key));
        if let Some(below) = key.kind.group() {
            let path = if key.kind.is_list() { format!("{path}[]") } else { path };
            walk(below, &path, out);
        }
    }
}
