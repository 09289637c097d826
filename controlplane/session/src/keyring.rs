//! Which key or certificate is for which peer, what SDP says of ours, and what it may say of theirs.

use crate::config::{Credential, KeyEntry, PeerKind};
use crate::core::Core;
use crate::failure::SessionFailure;
use crate::state::Announced;
use sipsec_ike::{AuthConfig, FingerprintPolicy, Identity, IdentityPolicy};
use sipsec_net::{Fingerprint, HashFunc, TelNumber};

impl Core {
    pub(crate) fn key_for(&self, number: TelNumber) -> Result<&KeyEntry, SessionFailure> {
        let ring = &self.config.keyring;
        let entry = |want: Option<TelNumber>| ring.iter().find(|k| k.number == want);
        let found = entry(Some(number)).or_else(|| entry(None));
        found.ok_or_else(|| SessionFailure::NoKey { number, closest: closest(number, ring) })
    }
}

impl KeyEntry {
    /// The fingerprints of our SDP.
    pub(crate) fn announced(&self, psk_fingerprint: bool) -> Result<Announced, SessionFailure> {
        let mut announced = Announced::default();
        // SHA-1 for a peer that knows nothing else; RFC 8122 §5.1 lets the others choose the stronger one.
        let sha1 = (self.peer == PeerKind::Cisco).then_some(HashFunc::Sha1);
        match &self.credential {
            // RFC 8122 §5.1: the peer's key has to match one value of a hash function. Both keys are announced.
            Credential::Psk(keys) if psk_fingerprint => {
                for hash in [Some(HashFunc::Sha256), sha1].into_iter().flatten() {
                    let keys = [Some(&keys.current), keys.next.as_ref()].into_iter().flatten();
                    let hashes = keys.map(|key| sipsec_ike::psk_fingerprint(key.expose(), hash));
                    announced.psk.extend(hashes);
                }
            }
            Credential::Psk(_) => {}
            Credential::Certificate(auth) => {
                announced.certificate = auth.fingerprints().map_err(SessionFailure::OwnCertificate)?;
                let own = auth.chain.first().zip(sha1);
                let weak = own.map(|(der, hash)| sipsec_ike::certificate_fingerprint(der, hash));
                announced.certificate.extend(weak);
            }
        }
        Ok(announced)
    }

    /// What the peer's key is compared with. Without a value that counts, a call that needs one fails here.
    pub(crate) fn expected(
        &self,
        theirs: &Announced,
        psk_fingerprint: bool,
    ) -> Result<FingerprintPolicy, SessionFailure> {
        let cisco = self.peer == PeerKind::Cisco;
        let (given, required) = match &self.credential {
            // RFC 6193 §8.2 names psk-fingerprint.
            Credential::Psk(_) if cisco && theirs.psk.is_empty() => (&theirs.certificate, psk_fingerprint),
            Credential::Psk(_) => (&theirs.psk, psk_fingerprint),
            // RFC 6193 §7, §8.1: the certificate must be the one that SDP announced, also if an authority signed it.
            Credential::Certificate(_) => (&theirs.certificate, true),
        };
        let counts = |f: &&Fingerprint| cisco || f.hash() != HashFunc::Sha1;
        let expected: Vec<_> = given.iter().filter(counts).copied().collect();
        if required && expected.is_empty() && !given.is_empty() {
            return Err(SessionFailure::WeakFingerprint);
        }
        Ok(FingerprintPolicy { expected, required })
    }

    pub(crate) fn auth(&self) -> AuthConfig {
        match &self.credential {
            Credential::Psk(keys) => AuthConfig::Psk(keys.clone()),
            Credential::Certificate(auth) => AuthConfig::Certificate(auth.clone()),
        }
    }

    /// Our identity, and the identity that the peer must prove. A pre-shared key is found by number; a certificate is
    /// bound to the call by its fingerprint, and is presented under its own name.
    pub(crate) fn identities(
        &self,
        local: TelNumber,
        remote: TelNumber,
    ) -> Result<(Identity, IdentityPolicy), SessionFailure> {
        let (own, theirs) = match &self.credential {
            Credential::Psk(_) => (Identity::number(&local), IdentityPolicy::Number(remote)),
            Credential::Certificate(auth) => {
                (auth.subject().map_err(SessionFailure::OwnCertificate)?, IdentityPolicy::Any)
            }
        };
        let theirs = self.remote_id.clone().unwrap_or(theirs);
        Ok((self.local_id.clone().unwrap_or(own), theirs))
    }
}

/// The entry with the longest common beginning or end: most likely a typing error.
fn closest(number: TelNumber, ring: &[KeyEntry]) -> Option<TelNumber> {
    let common = |a: &str, b: &str| {
        let front = a.bytes().zip(b.bytes()).take_while(|(x, y)| x == y).count();
        let back = a.bytes().rev().zip(b.bytes().rev()).take_while(|(x, y)| x == y).count();
        front.max(back)
    };
    ring.iter().filter_map(|k| k.number).max_by_key(|n| common(n.as_str(), number.as_str()))
}
