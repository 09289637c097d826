//! Digest authentication (RFC 7616, with the SIP profile of RFC 8760; RFC 2617's MD5 for older carriers).

use crate::message::list;
use md5::Md5;
use sha2::{Digest, Sha256, Sha512_256};
use sipsec_net::{Entropy, SecretBytes};
use std::fmt::Write as _;

/// Longest password.
pub const PASSWORD_MAX: usize = 128;

#[derive(Clone, Debug)]
pub struct Credentials {
    pub username: String,
    pub password: SecretBytes<PASSWORD_MAX>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Algorithm {
    Md5,
    Sha256,
    Sha512_256,
}

impl Algorithm {
    fn from_token(token: &str) -> Option<Self> {
        [Self::Md5, Self::Sha256, Self::Sha512_256]
            .into_iter()
            .find(|a| token.eq_ignore_ascii_case(a.token()))
    }

    const fn token(self) -> &'static str {
        match self {
            Self::Md5 => "MD5",
            Self::Sha256 => "SHA-256",
            Self::Sha512_256 => "SHA-512-256",
        }
    }

    fn hex(self, parts: &[&[u8]]) -> String {
        fn run<D: Digest>(parts: &[&[u8]]) -> Vec<u8> {
            let mut d = D::new();
            for (i, p) in parts.iter().enumerate() {
                if i > 0 {
                    d.update(b":");
                }
                d.update(p);
            }
            d.finalize().to_vec()
        }
        let bytes = match self {
            Self::Md5 => run::<Md5>(parts),
            Self::Sha256 => run::<Sha256>(parts),
            Self::Sha512_256 => run::<Sha512_256>(parts),
        };
        bytes.iter().fold(String::new(), |mut s, b| {
            let _ = write!(s, "{b:02x}");
            s
        })
    }
}

/// One challenge that we can answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Challenge {
    pub realm: String,
    pub nonce: String,
    pub opaque: Option<String>,
    pub algorithm: Algorithm,
    pub qop_auth: bool,
    pub stale: bool,
}

impl Challenge {
    /// RFC 8760 §2.4: the topmost challenge that is supported. Basic is never answered.
    pub fn choose<'a>(headers: impl Iterator<Item = &'a str>) -> Option<Self> {
        headers.filter_map(Self::parse).next()
    }

    fn parse(value: &str) -> Option<Self> {
        let (scheme, rest) = value.trim().split_once(char::is_whitespace)?;
        if !scheme.eq_ignore_ascii_case("Digest") {
            return None;
        }
        // RFC 7616 §3.4: the value without its quotes, escapes left as they are, is what is hashed and sent back.
        let get = |name: &str| {
            list(rest)?.into_iter().find_map(|p| {
                let (n, v) = p.split_once('=')?;
                n.trim().eq_ignore_ascii_case(name).then(|| v.trim().trim_matches('"').to_owned())
            })
        };
        let qop_auth = match get("qop") {
            // RFC 7616 §3.3: a list; auth-int alone cannot be answered here.
            Some(list) => list.split(',').any(|q| q.trim().eq_ignore_ascii_case("auth")).then_some(true)?,
            None => false,
        };
        Some(Self {
            realm: get("realm")?,
            nonce: get("nonce")?,
            opaque: get("opaque"),
            algorithm: get("algorithm").map_or(Some(Algorithm::Md5), |t| Algorithm::from_token(&t))?,
            qop_auth,
            stale: get("stale").is_some_and(|s| s.eq_ignore_ascii_case("true")),
        })
    }
}

/// A challenge in use: its nonce counter goes up with every request (RFC 7616 §3.4).
#[derive(Clone, Debug)]
pub struct Session {
    pub challenge: Challenge,
    nonce_count: u32,
}

impl Session {
    pub const fn new(challenge: Challenge) -> Self {
        Self { challenge, nonce_count: 0 }
    }

    /// The value of Authorization or Proxy-Authorization for one request.
    pub fn answer(
        &mut self,
        who: &Credentials,
        method: &str,
        uri: &str,
        entropy: &mut dyn Entropy,
    ) -> String {
        let mut bytes = [0; 8];
        entropy.fill(&mut bytes);
        let cnonce = format!("{:016x}", u64::from_be_bytes(bytes));
        self.answer_with(who, method, uri, &cnonce)
    }

    /// The digest that a server computes for itself.
    #[cfg(test)]
    pub fn expected(
        &mut self,
        who: &Credentials,
        method: &str,
        uri: &str,
        cnonce: &str,
        count: u32,
    ) -> String {
        self.nonce_count = count - 1;
        let answer = self.answer_with(who, method, uri, cnonce);
        answer.split("response=\"").nth(1).and_then(|r| r.split('"').next()).unwrap_or_default().to_owned()
    }

    fn answer_with(&mut self, who: &Credentials, method: &str, uri: &str, cnonce: &str) -> String {
        self.nonce_count += 1;
        let c = &self.challenge;
        let a = c.algorithm;
        let ha1 = a.hex(&[who.username.as_bytes(), c.realm.as_bytes(), who.password.expose()]);
        let ha2 = a.hex(&[method.as_bytes(), uri.as_bytes()]);
        let nc = format!("{:08x}", self.nonce_count);
        let response = if c.qop_auth {
            a.hex(&[
                ha1.as_bytes(),
                c.nonce.as_bytes(),
                nc.as_bytes(),
                cnonce.as_bytes(),
                b"auth",
                ha2.as_bytes(),
            ])
        } else {
            a.hex(&[ha1.as_bytes(), c.nonce.as_bytes(), ha2.as_bytes()])
        };
        let mut out = format!(
            "Digest username=\"{}\", realm=\"{}\", nonce=\"{}\", uri=\"{uri}\", response=\"{response}\", algorithm={}",
            who.username.replace('\\', "\\\\").replace('"', "\\\""),
            c.realm,
            c.nonce,
            a.token()
        );
        if c.qop_auth {
            let _ = write!(out, ", qop=auth, nc={nc}, cnonce=\"{cnonce}\"");
        }
        if let Some(opaque) = &c.opaque {
            let _ = write!(out, ", opaque=\"{opaque}\"");
        }
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mufasa(password: &str) -> Credentials {
        Credentials {
            username: "Mufasa".into(),
            password: SecretBytes::new(password.as_bytes()).expect("short"),
        }
    }

    /// RFC 7616 §3.9.1.
    #[test]
    fn the_examples_of_rfc_7616() {
        let common = r#"realm="http-auth@example.org", qop="auth, auth-int", nonce="7ypf/xlj9XXwfDPEoM4URrv/xwf94BcCAzFZH4GiTo0v", opaque="FQhe/qaU925kfnzjCev0ciny7QMkPqMAFRtzCUYo5tdS""#;
        let cnonce = "f2/wE4q74E6zIJEtWaHKaf5wv/H5QzzpXusqGemxURZJ";
        for (algorithm, response) in [
            ("MD5", "8ca523f5e9506fed4657c9700eebdbec"),
            ("SHA-256", "753927fa0e85d155564e2e272a28d1802ca10daf4496794697cf8db5856cb6c1"),
        ] {
            let value = format!("Digest {common}, algorithm={algorithm}");
            let challenge = Challenge::choose([value.as_str()].into_iter()).expect("supported");
            let answer = Session::new(challenge).answer_with(
                &mufasa("Circle of Life"),
                "GET",
                "/dir/index.html",
                cnonce,
            );
            assert!(answer.contains(&format!("response=\"{response}\"")), "{answer}");
            assert!(answer.contains("nc=00000001"));
        }
    }

    /// RFC 2617 §3.5.
    #[test]
    fn the_example_of_rfc_2617() {
        let value = r#"Digest realm="testrealm@host.com", qop="auth,auth-int", nonce="dcd98b7102dd2f0e8b11d0f600bfb0c093", opaque="5ccc069c403ebaf9f0171e9517f40e41""#;
        let challenge = Challenge::choose([value].into_iter()).expect("supported");
        let answer = Session::new(challenge).answer_with(
            &mufasa("Circle Of Life"),
            "GET",
            "/dir/index.html",
            "0a4f113b",
        );
        assert!(answer.contains("response=\"6629fae49393a05397450978507c4ef1\""), "{answer}");
    }

    #[test]
    fn the_topmost_supported_challenge_is_taken() {
        let list = [
            "Basic realm=\"x\"",
            "Digest realm=\"a\", nonce=\"1\", algorithm=AKAv1-MD5",
            "Digest realm=\"b\", nonce=\"2\", algorithm=SHA-256, qop=\"auth\"",
            "Digest realm=\"c\", nonce=\"3\"",
        ];
        assert_eq!(Challenge::choose(list.into_iter()).expect("one").realm, "b");
        assert_eq!(Challenge::choose(list[..2].iter().copied()), None);
    }
}
