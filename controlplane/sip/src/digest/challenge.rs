//! Challenges: WWW-Authenticate and Proxy-Authenticate (RFC 7616 §3.3, RFC 7235 §2.1).

use super::Algorithm;
use crate::message::list;

/// Challenges read from one message; no server sends a fraction of it.
const CHALLENGES_MAX: usize = 16;

/// The part of a request that the response covers (RFC 7616 §3.3 `qop`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Qop {
    /// RFC 2069: no `qop`, neither counter nor cnonce.
    None,
    Auth,
    /// The body, too.
    AuthInt,
}

/// One challenge that we can answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Challenge {
    /// RFC 7616 §3.4: `unq(X)`: without the quotes, escapes left as they are; so it is hashed and sent back.
    pub realm: String,
    pub nonce: String,
    pub opaque: Option<String>,
    pub algorithm: Algorithm,
    pub qop: Qop,
    pub stale: bool,
}

impl Challenge {
    /// RFC 8760 §2.4: of each realm the topmost challenge that is supported. Basic is never answered. Another nonce with the
    /// same algorithm is another server of the realm, which a forked request has reached (RFC 3261 §22.3).
    pub fn choose<'a>(headers: impl Iterator<Item = &'a str>) -> Vec<Self> {
        let mut out: Vec<Self> = Vec::new();
        for challenge in headers.flat_map(split).take(CHALLENGES_MAX).filter_map(|c| Self::read(&c)) {
            let mut of_realm = out.iter().filter(|c| c.realm == challenge.realm);
            if of_realm.all(|c| c.algorithm == challenge.algorithm && c.nonce != challenge.nonce) {
                out.push(challenge);
            }
        }
        out
    }

    fn read((scheme, params): &(&str, Vec<&str>)) -> Option<Self> {
        if !scheme.eq_ignore_ascii_case("Digest") {
            return None;
        }
        let get = |name: &str| {
            params.iter().find_map(|p| {
                let (n, v) = p.split_once('=')?;
                n.trim().eq_ignore_ascii_case(name).then(|| inner(v.trim()))
            })
        };
        Some(Self {
            realm: get("realm")?.to_owned(),
            nonce: get("nonce")?.to_owned(),
            opaque: get("opaque").map(str::to_owned),
            algorithm: get("algorithm").map_or(Some(Algorithm::DEFAULT), Algorithm::from_token)?,
            qop: qop(get("qop"))?,
            stale: get("stale").is_some_and(|s| s.eq_ignore_ascii_case("true")),
        })
    }
}

/// `None` if none of the list is known. An empty list is none.
fn qop(value: Option<&str>) -> Option<Qop> {
    let offered: Vec<_> =
        value.unwrap_or_default().split(',').map(str::trim).filter(|q| !q.is_empty()).collect();
    let has = |name: &str| offered.iter().any(|q| q.eq_ignore_ascii_case(name));
    match () {
        () if offered.is_empty() => Some(Qop::None),
        () if has("auth") => Some(Qop::Auth),
        () if has("auth-int") => Some(Qop::AuthInt),
        () => None,
    }
}

/// The challenges of one header field. RFC 3261 §20.44 allows one; RFC 7235 §4.1 allows a list of them.
fn split(value: &str) -> Vec<(&str, Vec<&str>)> {
    let mut out: Vec<(&str, Vec<&str>)> = Vec::new();
    for element in list(value) {
        // `Scheme name=value` begins a challenge, `name = value` does not.
        let scheme = element.split_once([' ', '\t']).filter(|(first, rest)| {
            let rest = rest.trim_start();
            !first.contains('=') && !rest.starts_with('=')
        });
        match (scheme, out.last_mut()) {
            (Some((scheme, first)), _) => out.push((scheme, vec![first.trim()])),
            (None, Some((_, params))) if element.contains('=') => params.push(element),
            // A scheme whose first parameter is empty.
            (None, _) => out.push((element, Vec::new())),
        }
    }
    out
}

/// The text between the quotes, if there are any.
fn inner(value: &str) -> &str {
    value.strip_prefix('"').and_then(|v| v.strip_suffix('"')).unwrap_or(value)
}
