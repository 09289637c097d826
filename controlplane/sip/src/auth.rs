//! Challenges of registrar and proxies, and what answers them (RFC 3261 §22).

use crate::digest::{Challenge, Credentials, DigestSession, Request};
use crate::message::Message;
use sipsec_net::Entropy;

/// Servers that challenge one request: registrar or callee, and the proxies before it (§22.3).
const SERVERS_MAX: usize = 4;
/// Proxies of one realm that challenge one request one after the other.
const PROXIES_OF_REALM_MAX: usize = 2;
/// Challenges answered for one request, stale nonces included.
const RETRIES_MAX: u32 = 4;

#[derive(Debug, Default)]
pub struct Auth {
    /// In the order in which they challenged, which is that of the path: a proxy takes what is first of its realm.
    servers: Vec<Server>,
    retries: u32,
}

/// One server that challenged us. Several may have one realm; their nonces differ.
#[derive(Debug)]
struct Server {
    session: DigestSession,
    proxy: bool,
    /// Its challenge came for the request under way.
    now: bool,
}

impl Server {
    fn is_of(&self, proxy: bool, realm: &str) -> bool {
        self.proxy == proxy && self.session.challenge.realm == realm
    }
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
        for server in &mut self.servers {
            server.now = false;
        }
    }

    /// Takes the challenges of a 401 or 407: of every server, for a request may pass several proxies that all want
    /// credentials (RFC 3261 §22.3), also of one realm.
    pub fn learn(&mut self, m: &Message) -> Result<(), AuthError> {
        let (mut progress, mut supported) = (false, false);
        self.retries += 1;
        for (name, proxy) in [("WWW-Authenticate", false), ("Proxy-Authenticate", true)] {
            let challenges = Challenge::choose(m.all(name));
            for challenge in &challenges {
                supported = true;
                let beside = challenges.iter().filter(|c| c.realm == challenge.realm).count();
                progress |= self.take(challenge, proxy, beside);
            }
        }
        if progress && self.retries <= RETRIES_MAX {
            return Ok(());
        }
        if supported {
            self.servers.clear();
            return Err(AuthError::Wrong);
        }
        Err(AuthError::Unsupported)
    }

    /// Takes one of `beside` challenges of its realm in this response. `false` if it refuses our credentials.
    fn take(&mut self, challenge: &Challenge, proxy: bool, beside: usize) -> bool {
        let of_realm = |s: &Server| s.is_of(proxy, &challenge.realm);
        let server = Server { session: DigestSession::new(challenge.clone()), proxy, now: true };
        let same = |s: &Server| of_realm(s) && s.session.challenge.nonce == challenge.nonce;
        if let Some(i) = self.servers.iter().position(same) {
            // RFC 7616 §3.3: a stale nonce says nothing against the password.
            let refused = self.servers[i].now && !challenge.stale;
            self.servers[i] = server;
            return !refused;
        }
        // Of several servers it is unknown which one no longer takes its nonce. Without credentials they challenge in the
        // order of the path.
        let mut known = self.servers.iter().filter(|s| of_realm(s));
        if beside == 1 && known.clone().count() > 1 && known.all(|s| !s.now) {
            self.servers.retain(|s| !of_realm(s));
            return true;
        }
        // Replaces a nonce of an earlier request; without one, a stale challenge replaces the first nonce of the realm.
        let earlier = self.servers.iter().position(|s| of_realm(s) && !s.now);
        let stale = || self.servers.iter().position(|s| of_realm(s) && challenge.stale);
        if let Some(i) = earlier.or_else(stale) {
            self.servers[i] = server;
            return true;
        }
        // Another nonce, and the one before has been answered: a second proxy of the realm, or a wrong password. A registrar
        // or callee has none before it that could challenge in WWW-Authenticate.
        let known = self.servers.iter().filter(|s| of_realm(s)).count();
        let room = if proxy { PROXIES_OF_REALM_MAX.max(beside) } else { beside };
        let fits = known < room && self.servers.len() < SERVERS_MAX;
        if fits {
            self.servers.push(server);
        }
        fits
    }

    /// The header fields of the next request.
    pub fn headers(
        &mut self,
        who: Option<&Credentials>,
        request: Request<'_>,
        entropy: &mut dyn Entropy,
    ) -> Vec<(&'static str, String)> {
        let Some(who) = who else { return Vec::new() };
        self.servers
            .iter_mut()
            .map(|r| {
                let name = if r.proxy { "Proxy-Authorization" } else { "Authorization" };
                (name, r.session.answer(who, request, entropy))
            })
            .collect()
    }
}
