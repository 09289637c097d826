//! Digest authentication (RFC 7616, with the SIP profile of RFC 8760; RFC 2617's MD5 for older carriers).

mod challenge;

pub use challenge::{Challenge, Qop};

use crate::message::quote;
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
enum Hash {
    Md5,
    Sha256,
    Sha512_256,
}

/// A hash function, and whether a session key is made of it (RFC 7616 §3.4.2 `-sess`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Algorithm {
    hash: Hash,
    session: bool,
}

impl Algorithm {
    /// RFC 7616 §3.3: of a challenge that names none.
    const DEFAULT: Self = Self { hash: Hash::Md5, session: false };
    const ALL: [(Self, &'static str); 6] = [
        (Self { hash: Hash::Md5, session: false }, "MD5"),
        (Self { hash: Hash::Md5, session: true }, "MD5-sess"),
        (Self { hash: Hash::Sha256, session: false }, "SHA-256"),
        (Self { hash: Hash::Sha256, session: true }, "SHA-256-sess"),
        (Self { hash: Hash::Sha512_256, session: false }, "SHA-512-256"),
        (Self { hash: Hash::Sha512_256, session: true }, "SHA-512-256-sess"),
    ];

    fn from_token(token: &str) -> Option<Self> {
        Self::ALL.iter().find(|(_, name)| token.eq_ignore_ascii_case(name)).map(|(a, _)| *a)
    }

    fn token(self) -> &'static str {
        Self::ALL.iter().find(|(a, _)| *a == self).map_or("", |(_, name)| name)
    }

    /// The hash of the parts joined by colons, in hexadecimal.
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
        let bytes = match self.hash {
            Hash::Md5 => run::<Md5>(parts),
            Hash::Sha256 => run::<Sha256>(parts),
            Hash::Sha512_256 => run::<Sha512_256>(parts),
        };
        bytes.iter().fold(String::new(), |mut s, b| {
            let _ = write!(s, "{b:02x}");
            s
        })
    }
}

/// The parts of a request that a response is computed over.
#[derive(Clone, Copy, Debug)]
pub struct Request<'a> {
    pub method: &'a str,
    pub uri: &'a str,
    pub body: &'a [u8],
}

/// A challenge in use: its nonce counter goes up with every request (RFC 7616 §3.4).
#[derive(Clone, Debug)]
pub struct DigestSession {
    pub challenge: Challenge,
    nonce_count: u32,
    /// RFC 7616 §3.4.2: the session key is made once, with the cnonce of the first request. All requests repeat it, so
    /// that servers which compute the key anew each time find the same.
    cnonce: Option<String>,
}

impl DigestSession {
    pub const fn new(challenge: Challenge) -> Self {
        Self { challenge, nonce_count: 0, cnonce: None }
    }

    /// The value of Authorization or Proxy-Authorization for one request.
    pub fn answer(&mut self, who: &Credentials, request: Request<'_>, entropy: &mut dyn Entropy) -> String {
        let mut bytes = [0; 8];
        entropy.fill(&mut bytes);
        let fresh = format!("{:016x}", u64::from_be_bytes(bytes));
        let cnonce =
            if self.challenge.algorithm.session { self.cnonce.get_or_insert(fresh).clone() } else { fresh };
        self.answer_with(who, request, &cnonce)
    }

    /// The digest that a server computes for itself.
    #[cfg(test)]
    pub fn expected(&mut self, who: &Credentials, request: Request<'_>, cnonce: &str, count: u32) -> String {
        self.nonce_count = count - 1;
        let answer = self.answer_with(who, request, cnonce);
        answer.split("response=\"").nth(1).and_then(|r| r.split('"').next()).unwrap_or_default().to_owned()
    }

    fn answer_with(&mut self, who: &Credentials, request: Request<'_>, cnonce: &str) -> String {
        self.nonce_count += 1;
        let c = &self.challenge;
        let a = c.algorithm;
        let mut ha1 = a.hex(&[who.username.as_bytes(), c.realm.as_bytes(), who.password.expose()]);
        if a.session {
            ha1 = a.hex(&[ha1.as_bytes(), c.nonce.as_bytes(), cnonce.as_bytes()]);
        }
        let (method, uri) = (request.method.as_bytes(), request.uri.as_bytes());
        let (ha2, qop) = match c.qop {
            Qop::None => (a.hex(&[method, uri]), None),
            Qop::Auth => (a.hex(&[method, uri]), Some("auth")),
            Qop::AuthInt => (a.hex(&[method, uri, a.hex(&[request.body]).as_bytes()]), Some("auth-int")),
        };
        let nc = format!("{:08x}", self.nonce_count);
        let response = match qop {
            Some(qop) => a.hex(&[
                ha1.as_bytes(),
                c.nonce.as_bytes(),
                nc.as_bytes(),
                cnonce.as_bytes(),
                qop.as_bytes(),
                ha2.as_bytes(),
            ]),
            None => a.hex(&[ha1.as_bytes(), c.nonce.as_bytes(), ha2.as_bytes()]),
        };
        let mut out = format!(
            "Digest username={}, realm=\"{}\", nonce=\"{}\", uri=\"{}\", response=\"{response}\", algorithm={}",
            quote(&who.username),
            c.realm,
            c.nonce,
            request.uri,
            a.token()
        );
        if let Some(qop) = qop {
            let _ = write!(out, ", qop={qop}, nc={nc}, cnonce=\"{cnonce}\"");
        } else if a.session {
            // The server cannot make the session key without it.
            let _ = write!(out, ", cnonce=\"{cnonce}\"");
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

    const GET: Request<'_> = Request { method: "GET", uri: "/dir/index.html", body: b"" };

    fn one(value: &str) -> Challenge {
        let [challenge] = &Challenge::choose([value].into_iter())[..] else { panic!("one: {value}") };
        challenge.clone()
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
            let answer = DigestSession::new(one(&value)).answer_with(&mufasa("Circle of Life"), GET, cnonce);
            assert!(answer.contains(&format!("response=\"{response}\"")), "{answer}");
            assert!(answer.contains("nc=00000001"));
        }
    }

    /// RFC 2617 §3.5.
    #[test]
    fn the_example_of_rfc_2617() {
        let value = r#"Digest realm="testrealm@host.com", qop="auth,auth-int", nonce="dcd98b7102dd2f0e8b11d0f600bfb0c093", opaque="5ccc069c403ebaf9f0171e9517f40e41""#;
        let answer = DigestSession::new(one(value)).answer_with(&mufasa("Circle Of Life"), GET, "0a4f113b");
        assert!(answer.contains("response=\"6629fae49393a05397450978507c4ef1\""), "{answer}");
    }

    #[test]
    fn of_each_realm_the_topmost_supported_challenge_is_taken() {
        let list = [
            "Basic realm=\"x\"",
            "Digest realm=\"a\", nonce=\"1\", algorithm=AKAv1-MD5",
            "Digest realm=\"b\", nonce=\"2\", algorithm=SHA-256, qop=\"auth\"",
            "Digest realm=\"c\", nonce=\"3\"",
            "Digest realm=\"b\", nonce=\"4\"",
        ];
        let taken = Challenge::choose(list.into_iter());
        assert_eq!(taken.iter().map(|c| c.nonce.as_str()).collect::<Vec<_>>(), ["2", "3"]);
        assert_eq!(Challenge::choose(list[..2].iter().copied()), []);
        // RFC 7235 §4.1: several in one field.
        let joined = list.join(", ");
        assert_eq!(Challenge::choose([joined.as_str()].into_iter()), taken);
    }

    /// RFC 7235 §2.1 with §7 of RFC 7230: empty elements, white space, no quotes, and quotes inside.
    #[test]
    fn challenges_as_they_come() {
        for value in [
            "Digest realm=\"r\", nonce=\"n\",",
            "Digest realm=\"r\",, nonce=\"n\"",
            "digest ,realm=r,nonce=n , ,",
            "Digest\trealm = \"r\" , nonce = \"n\", qop=\"\"",
            "Digest REALM=\"r\", Nonce=\"n\", algorithm=\"md5\", stale=maybe, opaque-x=1",
        ] {
            let c = one(value);
            assert_eq!(
                (c.realm.as_str(), c.nonce.as_str(), c.qop, c.opaque),
                ("r", "n", Qop::None, None),
                "{value}"
            );
            assert_eq!((c.algorithm.token(), c.stale), ("MD5", false));
        }
        // Escapes are sent back and hashed as they came.
        let c = one(r#"Digest realm="a\"b, c=d", nonce="\\", qop="auth-conf,auth-int""#);
        assert_eq!((c.realm.as_str(), c.nonce.as_str(), c.qop), (r#"a\"b, c=d"#, r"\\", Qop::AuthInt));
        for bad in [
            "Digest realm=\"r\"",
            "Digest nonce=\"n\"",
            "Digest",
            "",
            "Digest realm=r, nonce=n, qop=\"auth-conf\"",
            "Digest realm=r, nonce=n, algorithm=MD6",
        ] {
            assert_eq!(Challenge::choose([bad].into_iter()), [], "{bad}");
        }
    }

    /// RFC 7616 §3.4.2, §3.4.3; the expected digests were computed with Python's hashlib.
    #[test]
    fn session_keys_and_bodies() {
        let who = mufasa("Circle Of Life");
        let request = Request { method: "INVITE", uri: "sip:bob@biloxi.example.com", body: b"v=0\r\n" };
        for (algorithm, qop, response) in [
            ("MD5-sess", "auth", "6c49e8f2a4ee98e1a69c26b744238992"),
            ("SHA-256-sess", "auth", "0237053bfb59ab02d06e081726904d658d4088da772adcbfe51882519405d187"),
            ("MD5", "auth-int", "c4a6ab1f4fe3b12e84cc0a41f46c1f72"),
            ("SHA-256", "auth-int", "5af8a1e7b1901adc4088c8610266c70b7e58630c2863813a3fb3558266fcc205"),
            (
                "SHA-512-256-sess",
                "auth-int",
                "bb0b3a356f4049e9658624d66e2b9e673aa63d10bbb14884bd82687d36e3bfe9",
            ),
        ] {
            let value = format!("Digest realm=\"r\", nonce=\"n\", qop=\"{qop}\", algorithm={algorithm}");
            let mut session = DigestSession::new(one(&value));
            let answer = session.answer_with(&who, request, "c");
            assert!(answer.contains(&format!("response=\"{response}\"")), "{algorithm} {qop}: {answer}");
            assert!(answer.contains(&format!("algorithm={algorithm}, qop={qop}, nc=00000001, cnonce=\"c\"")));
        }
        // All requests of a session key have one cnonce.
        let mut entropy = sipsec_net::entropy::TestEntropy::new(3);
        let mut session = DigestSession::new(one("Digest realm=r, nonce=n, qop=auth, algorithm=MD5-sess"));
        let cnonce = |answer: String| answer.split("cnonce=\"").nth(1).map(|c| c[..16].to_owned());
        let first = cnonce(session.answer(&who, request, &mut entropy));
        assert_eq!(cnonce(session.answer(&who, request, &mut entropy)), first);
        let mut session = DigestSession::new(one("Digest realm=r, nonce=n, qop=auth"));
        let first = cnonce(session.answer(&who, request, &mut entropy));
        assert_ne!(cnonce(session.answer(&who, request, &mut entropy)), first);
    }
}
