//! Challenges of registrar and proxies, and what answers them (RFC 3261 §22).

use crate::digest::{Challenge, Credentials, DigestSession, Request};
use crate::message::Message;
use sipsec_net::Entropy;

/// Realms that challenge one request: registrar or callee, and the proxies before it (§22.3).
const REALMS_MAX: usize = 4;
/// Challenges answered for one request, stale nonces included.
const RETRIES_MAX: u32 = 4;

#[derive(Debug, Default)]
pub struct Auth {
    realms: Vec<Realm>,
    retries: u32,
}

#[derive(Debug)]
struct Realm {
    session: DigestSession,
    proxy: bool,
    /// Its challenge came for the request under way.
    now: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AuthError {
    /// No scheme and algorithm that we know.
    Unsupported,
    /// The credentials were refused.
    Wrong,
}

impl Auth {
    /// A new request begins. Known challenges are answered in advance; the server may refuse the nonce as stale.
    pub fn begin(&mut self) {
        self.retries = 0;
        self.beside();
    }

    /// A request goes out while the one that began is still under way.
    pub fn beside(&mut self) {
        for realm in &mut self.realms {
            realm.now = false;
        }
    }

    /// Takes the challenges of a 401 or 407: of every realm, for a request may pass several proxies that all want
    /// credentials (RFC 3261 §22.3).
    pub fn learn(&mut self, m: &Message) -> Result<(), AuthError> {
        let mut progress = false;
        let mut supported = false;
        self.retries += 1;
        for (name, proxy) in [("WWW-Authenticate", false), ("Proxy-Authenticate", true)] {
            for challenge in Challenge::choose(m.all(name)) {
                supported = true;
                let same = |r: &Realm| r.proxy == proxy && r.session.challenge.realm == challenge.realm;
                let known = self.realms.iter().position(same);
                // RFC 7616 §3.3: a stale nonce says nothing against the password.
                let refused = known.is_some_and(|i| self.realms[i].now) && !challenge.stale;
                progress |= !refused;
                let realm = Realm { session: DigestSession::new(challenge), proxy, now: true };
                match known {
                    Some(i) => self.realms[i] = realm,
                    None if self.realms.len() < REALMS_MAX => self.realms.push(realm),
                    None => progress = false,
                }
            }
        }
        if progress && self.retries <= RETRIES_MAX {
            return Ok(());
        }
        if supported {
            self.realms.clear();
            return Err(AuthError::Wrong);
        }
        Err(AuthError::Unsupported)
    }

    /// The header fields of the next request.
    pub fn headers(
        &mut self,
        who: Option<&Credentials>,
        request: Request<'_>,
        entropy: &mut dyn Entropy,
    ) -> Vec<(&'static str, String)> {
        let Some(who) = who else { return Vec::new() };
        self.realms
            .iter_mut()
            .map(|r| {
                let name = if r.proxy { "Proxy-Authorization" } else { "Authorization" };
                (name, r.session.answer(who, request, entropy))
            })
            .collect()
    }
}
