//! Digest authentication from the server's side: RFC 7616 with the SIP rules of RFC 3261 §22 and RFC 8760.

use md5::Md5;
use sha2::{Digest as _, Sha256};
use sipsec_net::{Entropy, Instant};
use std::collections::HashMap;
use std::time::Duration;

/// Nonces remembered; the oldest goes first, and its holder is told `stale`.
pub const NONCES_MAX: usize = 4096;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Algorithm {
    Md5,
    Sha256,
}

impl Algorithm {
    #[must_use]
    pub const fn token(self) -> &'static str {
        match self {
            Self::Md5 => "MD5",
            Self::Sha256 => "SHA-256",
        }
    }

    fn hex(self, text: &str) -> String {
        let digest = match self {
            Self::Md5 => Md5::digest(text.as_bytes()).to_vec(),
            Self::Sha256 => Sha256::digest(text.as_bytes()).to_vec(),
        };
        digest.iter().map(|b| format!("{b:02x}")).collect()
    }
}

/// Why credentials are not accepted; all but `Forged` are answered with a new challenge.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    Absent,
    /// RFC 7616 §3.3: the password may be right, the nonce is too old.
    Stale,
    /// RFC 7616 §3.4: the nonce count did not rise.
    Replayed,
    /// Wrong user, password, realm, URI or an algorithm that was not offered.
    Forged,
    Malformed,
}

#[derive(Debug)]
struct Nonce {
    issued: Instant,
    count: u32,
}

/// Issues nonces and checks answers.
#[derive(Debug)]
pub struct Authenticator {
    realm: String,
    nonces: HashMap<String, Nonce>,
    nonce_lifetime: Duration,
    algorithms: Vec<Algorithm>,
}

impl Authenticator {
    #[must_use]
    pub fn new(realm: &str, algorithms: Vec<Algorithm>, nonce_lifetime: Duration) -> Self {
        Self { realm: realm.to_owned(), nonces: HashMap::new(), nonce_lifetime, algorithms }
    }

    /// Nonces given out stay good for as long as the new lifetime says.
    pub fn set(&mut self, algorithms: Vec<Algorithm>, nonce_lifetime: Duration) {
        self.algorithms = algorithms;
        self.nonce_lifetime = nonce_lifetime;
    }

    /// Values of WWW-Authenticate or Proxy-Authenticate, one for each algorithm.
    pub fn challenge(&mut self, now: Instant, entropy: &mut dyn Entropy, refusal: Refusal) -> Vec<String> {
        if self.nonces.len() >= NONCES_MAX
            && let Some(oldest) = self.nonces.iter().min_by_key(|(_, n)| n.issued).map(|(k, _)| k.clone())
        {
            self.nonces.remove(&oldest);
        }
        let nonce = format!("{:016x}{:016x}", entropy.u64(), entropy.u64());
        self.nonces.insert(nonce.clone(), Nonce { issued: now, count: 0 });
        let stale = if refusal == Refusal::Stale { ", stale=true" } else { "" };
        let realm = &self.realm;
        self.algorithms
            .iter()
            .map(|a| {
                let algorithm = a.token();
                format!(
                    "Digest realm=\"{realm}\", nonce=\"{nonce}\", algorithm={algorithm}, qop=\"auth\"{stale}"
                )
            })
            .collect()
    }

    /// Checks one Authorization value; `password` tells the password of a user name. Gives the user name.
    pub fn verify(
        &mut self,
        now: Instant,
        value: Option<&str>,
        method: &str,
        password: impl Fn(&str) -> Option<String>,
    ) -> Result<String, Refusal> {
        let fields = parse(value.ok_or(Refusal::Absent)?).ok_or(Refusal::Malformed)?;
        let get = |name: &str| fields.get(name).map(String::as_str).ok_or(Refusal::Malformed);
        let (user, nonce, uri) = (get("username")?, get("nonce")?, get("uri")?);
        let algorithm = match fields.get("algorithm").map(|a| a.to_ascii_uppercase()).as_deref() {
            None | Some("MD5") => Algorithm::Md5,
            Some("SHA-256") => Algorithm::Sha256,
            Some(_) => return Err(Refusal::Forged),
        };
        if get("realm")? != self.realm || !self.algorithms.contains(&algorithm) {
            return Err(Refusal::Forged);
        }
        // qop=auth was offered, so it must be used: without it nothing binds the nonce count.
        let (qop, nc, cnonce) = (get("qop")?, get("nc")?, get("cnonce")?);
        let count = u32::from_str_radix(nc, 16).map_err(|_| Refusal::Malformed)?;
        if qop != "auth" || nc.len() != 8 {
            return Err(Refusal::Malformed);
        }
        let password = password(user).ok_or(Refusal::Forged)?;
        // RFC 7616 §3.4.1.
        let a1 = algorithm.hex(&format!("{user}:{}:{password}", self.realm));
        let a2 = algorithm.hex(&format!("{method}:{uri}"));
        let expected = algorithm.hex(&format!("{a1}:{nonce}:{nc}:{cnonce}:{qop}:{a2}"));
        if !get("response")?.eq_ignore_ascii_case(&expected) {
            return Err(Refusal::Forged);
        }
        let Some(known) = self.nonces.get_mut(nonce) else { return Err(Refusal::Stale) };
        if now.saturating_duration_since(known.issued) > self.nonce_lifetime {
            self.nonces.remove(nonce);
            return Err(Refusal::Stale);
        }
        if count <= known.count {
            return Err(Refusal::Replayed);
        }
        known.count = count;
        Ok(user.to_owned())
    }
}

/// `Digest a=b, c="d, e"` as a table with lower-case names.
fn parse(value: &str) -> Option<HashMap<String, String>> {
    let (scheme, mut rest) = value.trim().split_once(char::is_whitespace)?;
    if !scheme.eq_ignore_ascii_case("Digest") {
        return None;
    }
    let mut out = HashMap::new();
    loop {
        let (name, tail) = rest.trim_start().split_once('=')?;
        let tail = tail.trim_start();
        let (field, after) = match tail.strip_prefix('"') {
            Some(quoted) => quoted.split_once('"')?,
            None => {
                let end = tail.find(',').unwrap_or(tail.len());
                (tail[..end].trim(), &tail[end..])
            }
        };
        out.insert(name.trim().to_ascii_lowercase(), field.to_owned());
        match after.trim_start().strip_prefix(',') {
            Some(more) => rest = more,
            None => return Some(out),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use sipsec_net::entropy::TestEntropy;

    const T0: Instant = Instant::from_nanos(1_000_000_000);
    const LIFETIME: Duration = Duration::from_secs(300);

    fn both(realm: &str) -> Authenticator {
        Authenticator::new(realm, vec![Algorithm::Sha256, Algorithm::Md5], LIFETIME)
    }

    struct Client {
        nonce: String,
        count: u32,
    }

    impl Client {
        fn answer(&mut self, algorithm: Algorithm, password: &str, method: &str) -> String {
            self.count += 1;
            let (nonce, nc) = (&self.nonce, format!("{:08x}", self.count));
            let a1 = algorithm.hex(&format!("1001:carrier.example:{password}"));
            let a2 = algorithm.hex(&format!("{method}:sip:carrier.example"));
            let response = algorithm.hex(&format!("{a1}:{nonce}:{nc}:abc:auth:{a2}"));
            format!(
                "Digest username=\"1001\", realm=\"carrier.example\", nonce=\"{nonce}\", \
                 uri=\"sip:carrier.example\", response=\"{response}\", algorithm={}, cnonce=\"abc\", qop=auth, nc={nc}",
                algorithm.token()
            )
        }
    }

    fn issue(auth: &mut Authenticator, refusal: Refusal) -> (Client, String) {
        let values = auth.challenge(T0, &mut TestEntropy::new(1), refusal);
        let fields = parse(&values[0]).expect("a challenge");
        (Client { nonce: fields["nonce"].clone(), count: 0 }, values.concat())
    }

    fn password(user: &str) -> Option<String> {
        (user == "1001").then(|| "secret".to_owned())
    }

    /// RFC 7616 §3.9.1, both algorithms, on the same A1/A2 arithmetic.
    #[test]
    fn the_examples_of_rfc_7616() {
        for (algorithm, expected) in [
            (Algorithm::Md5, "8ca523f5e9506fed4657c9700eebdbec"),
            (Algorithm::Sha256, "753927fa0e85d155564e2e272a28d1802ca10daf4496794697cf8db5856cb6c1"),
        ] {
            let nonce = "7ypf/xlj9XXwfDPEoM4URrv/xwf94BcCAzFZH4GiTo0v";
            let cnonce = "f2/wE4q74E6zIJEtWaHKaf5wv/H5QzzpXusqGemxURZJ";
            let mut auth = both("http-auth@example.org");
            auth.nonces.insert(nonce.into(), Nonce { issued: T0, count: 0 });
            let value = format!(
                "Digest username=\"Mufasa\", realm=\"http-auth@example.org\", uri=\"/dir/index.html\", \
                 algorithm={}, nonce=\"{nonce}\", nc=00000001, cnonce=\"{cnonce}\", qop=auth, \
                 response=\"{expected}\"",
                algorithm.token()
            );
            let user = auth.verify(T0, Some(&value), "GET", |_| Some("Circle of Life".into()));
            assert_eq!(user.as_deref(), Ok("Mufasa"));
        }
    }

    #[test]
    fn both_algorithms_are_offered_and_the_count_must_rise() {
        let mut auth = both("carrier.example");
        assert_eq!(auth.verify(T0, None, "REGISTER", password), Err(Refusal::Absent));
        let (mut client, text) = issue(&mut auth, Refusal::Absent);
        assert!(
            text.contains("algorithm=SHA-256") && text.contains("algorithm=MD5") && !text.contains("stale")
        );
        let first = client.answer(Algorithm::Sha256, "secret", "REGISTER");
        assert_eq!(auth.verify(T0, Some(&first), "REGISTER", password).as_deref(), Ok("1001"));
        assert_eq!(auth.verify(T0, Some(&first), "REGISTER", password), Err(Refusal::Replayed));
        let second = client.answer(Algorithm::Md5, "secret", "INVITE");
        assert_eq!(auth.verify(T0, Some(&second), "INVITE", password).as_deref(), Ok("1001"));
    }

    #[test]
    fn wrong_passwords_methods_and_algorithms_are_forged() {
        let mut auth = Authenticator::new("carrier.example", vec![Algorithm::Sha256], LIFETIME);
        let (mut client, _) = issue(&mut auth, Refusal::Absent);
        let wrong = client.answer(Algorithm::Sha256, "guess", "REGISTER");
        assert_eq!(auth.verify(T0, Some(&wrong), "REGISTER", password), Err(Refusal::Forged));
        let other_method = client.answer(Algorithm::Sha256, "secret", "INVITE");
        assert_eq!(auth.verify(T0, Some(&other_method), "REGISTER", password), Err(Refusal::Forged));
        let not_offered = client.answer(Algorithm::Md5, "secret", "REGISTER");
        assert_eq!(auth.verify(T0, Some(&not_offered), "REGISTER", password), Err(Refusal::Forged));
        let no_qop = client.answer(Algorithm::Sha256, "secret", "REGISTER").replace(", qop=auth", "");
        assert_eq!(auth.verify(T0, Some(&no_qop), "REGISTER", password), Err(Refusal::Malformed));
    }

    #[test]
    fn an_old_nonce_is_stale_and_the_next_challenge_says_so() {
        let mut auth = both("carrier.example");
        let (mut client, _) = issue(&mut auth, Refusal::Absent);
        let late = T0 + LIFETIME + Duration::from_secs(1);
        let value = client.answer(Algorithm::Sha256, "secret", "REGISTER");
        assert_eq!(auth.verify(late, Some(&value), "REGISTER", password), Err(Refusal::Stale));
        let (_, text) = issue(&mut auth, Refusal::Stale);
        assert_eq!(text.matches("stale=true").count(), 2);
    }
}
