//! Keys and passwords: readable, strong enough, and not readable by others.

use super::strength::estimated_bits;
use crate::diagnose::{Problem, Sink};
use crate::model::secret::{PASSWORD, PPK, PRIVATE_KEY, PSK, PSK_NEXT, SecretKeys, psk_octets};
use crate::model::{PeerKind, PpkEntry, Profile, Proof, Secret, SecretError, SecretSource};
use crate::read::KeyPath;
use crate::surroundings::Surroundings;

/// Below, a hash of the key in clear-text SIP can be tried out offline.
const PSK_BITS_MIN: f64 = 128.0;
/// A random key may look a little regular by chance.
const ESTIMATE_SLACK_BITS: f64 = 8.0;
/// Below, the key can be guessed by anyone who records an IKE_AUTH.
const PSK_BITS_WARN: f64 = 64.0;
/// RFC 8784 §6: at least 256 bits of entropy.
const PPK_BITS_WARN: f64 = 256.0;
const STRONG: &str = "write 32 random bytes: `openssl rand -hex 32`, prefixed with 0x";
/// Bits of a mode that let others read a file.
const OTHERS: u32 = 0o077;

pub fn check(profile: &Profile, sink: &Sink, around: &dyn Surroundings) {
    for (path, source) in all(profile) {
        exposed(source, &path, sink, around);
    }
    for (i, entry) in profile.ike.keyring.iter().enumerate() {
        let at = KeyPath::dotted("ike.keyring").index(i);
        if entry.peer == PeerKind::Cisco {
            let message =
                format!("AES-CBC with SHA-1 and the groups 5 and 2 are accepted from {}", entry.owner);
            let problem = Problem::warning("ike::weak-algorithms", &at.key("peer"), message);
            sink.push(
                problem
                    .label("weak (RFC 8247, RFC 8221)")
                    .hint("remove it as soon as the peer has SHA-2 and one of the groups 14, 19, 20 and 21"),
            );
        }
        if let Some(ppk) = &entry.ppk {
            check_ppk(ppk, &path(&at, PPK, &ppk.key), sink, around);
        }
        if let Proof::Psk(psk) = &entry.proof {
            let key = check_psk(profile, psk, &path(&at, PSK, psk), sink, around);
            if let Some(next) = &entry.next_psk {
                let at = path(&at, PSK_NEXT, next);
                let next = check_psk(profile, next, &at, sink, around);
                if next.is_some_and(|next| key.is_some_and(|key| key.expose() == next.expose())) {
                    let problem = Problem::warning(
                        "ike::next-key",
                        &at,
                        format!("the next key of {} is its current one", entry.owner),
                    );
                    sink.push(problem.label("no other key is accepted").hint(
                        "write the new key here, or remove it once both ends have the new key as the current one",
                    ));
                }
            }
        }
    }
    for (path, password) in passwords(profile) {
        load(password, &path, sink, around);
    }
}

/// The passwords of all carriers' lines.
fn passwords(profile: &Profile) -> impl Iterator<Item = (KeyPath, &SecretSource)> {
    super::carriers(profile).flat_map(|(at, sip)| {
        let auth = sip.lines.iter().enumerate().filter_map(|(i, line)| Some((i, line.auth.as_ref()?)));
        auth.map(move |(i, auth)| {
            let at = at.key("lines").index(i).key("auth");
            (path(&at, PASSWORD, &auth.password), &auth.password)
        })
    })
}

/// Every secret with its path.
fn all(profile: &Profile) -> Vec<(KeyPath, &SecretSource)> {
    let mut out: Vec<_> = passwords(profile).collect();
    for (at, sip) in super::carriers(profile) {
        if let Some(own) = &sip.tls.own {
            out.push((path(&at.key("tls"), PRIVATE_KEY, &own.key), &own.key));
        }
    }
    for (i, entry) in profile.ike.keyring.iter().enumerate() {
        let at = KeyPath::dotted("ike.keyring").index(i);
        if let Proof::Psk(psk) = &entry.proof {
            out.push((path(&at, PSK, psk), psk));
        }
        if let Some(next) = &entry.next_psk {
            out.push((path(&at, PSK_NEXT, next), next));
        }
        if let Some(ppk) = &entry.ppk {
            out.push((path(&at, PPK, &ppk.key), &ppk.key));
        }
    }
    out
}

fn path(at: &KeyPath, keys: SecretKeys, source: &SecretSource) -> KeyPath {
    at.key(keys.of(source))
}

/// The octets of the key, if it can be read and used.
fn check_psk(
    profile: &Profile,
    psk: &SecretSource,
    path: &KeyPath,
    sink: &Sink,
    around: &dyn Surroundings,
) -> Option<Secret> {
    let written = load(psk, path, sink, around)?;
    let octets = usable(&written, path, sink)?;
    let bits = estimated_bits(written.expose());
    if profile.ike.psk_fingerprint && bits < PSK_BITS_MIN - ESTIMATE_SLACK_BITS {
        let message =
            format!("the key is too weak (about {bits:.0} bits): `psk_fingerprint` needs {PSK_BITS_MIN:.0}");
        let hint = format!(
            "its hash travels in clear-text SIP, where anyone on the path can try keys against it: {STRONG}, or set `psk_fingerprint: false`"
        );
        sink.push(Problem::error("ike::weak-key", path, message).label("too easy to guess").hint(hint));
    } else if bits < PSK_BITS_WARN {
        let message = format!("the key is too weak (about {bits:.0} bits)");
        sink.push(Problem::warning("ike::weak-key", path, message).label("easy to guess").hint(STRONG));
    }
    Some(octets)
}

fn usable(written: &Secret, path: &KeyPath, sink: &Sink) -> Option<Secret> {
    let error = match psk_octets(written) {
        Ok(octets) => return Some(octets),
        Err(error) => error,
    };
    let problem = Problem::error("secret::value", path, format!("`{path}` cannot be used: {error}"));
    let hint = "write pairs of hexadecimal digits after 0x, or a key that does not start with 0x";
    sink.push(problem.hint(hint));
    None
}

/// RFC 8784 §6: a quantum computer halves the bits of a key that it searches for.
fn check_ppk(ppk: &PpkEntry, path: &KeyPath, sink: &Sink, around: &dyn Surroundings) {
    let Some(written) = load(&ppk.key, path, sink, around).filter(|w| usable(w, path, sink).is_some()) else {
        return;
    };
    let bits = estimated_bits(written.expose());
    if bits < PPK_BITS_WARN - ESTIMATE_SLACK_BITS {
        let message =
            format!("the PPK is worth about {bits:.0} bits, and half of them against a quantum computer");
        let problem = Problem::warning("ike::weak-ppk", path, message).label("too short for its purpose");
        sink.push(problem.hint(STRONG));
    }
}

fn load(source: &SecretSource, path: &KeyPath, sink: &Sink, around: &dyn Surroundings) -> Option<Secret> {
    match around.secret(source)? {
        Ok(secret) => Some(secret),
        Err(error) => {
            let hint = match source {
                SecretSource::File(_) => {
                    "write the path of a readable file (relative to where the gateway starts, better absolute)"
                }
                SecretSource::Env(_) => "set the variable where the gateway is started",
                SecretSource::Inline(_) => "write another secret",
                SecretSource::Command(_) => {
                    "the program must write the secret to its standard output and end with status 0"
                }
                SecretSource::Credential(_) => {
                    "add `LoadCredential=NAME:PATH` to the unit of the control plane"
                }
            };
            let reason = match &error {
                // A secret may stand by mistake where the path of its file belongs.
                SecretError::File { path, reason } if !path.to_string_lossy().contains('/') => reason.clone(),
                SecretError::Env(name) if name.bytes().any(|b| b.is_ascii_lowercase()) => {
                    "the environment has no such variable".to_owned()
                }
                error => error.to_string(),
            };
            let message = format!("the secret cannot be read: {reason}");
            sink.push(Problem::error("secret::unreadable", path, message).hint(hint));
            None
        }
    }
}

fn exposed(source: &SecretSource, path: &KeyPath, sink: &Sink, around: &dyn Surroundings) {
    if let Some(file) = source.file()
        && around.mode(file).is_some_and(|mode| mode & OTHERS != 0)
    {
        let message = format!("{} can be read by others", file.display());
        sink.push(
            Problem::warning("secret::permissions", path, message)
                .hint(format!("chmod 600 {}", file.display())),
        );
    }
}
