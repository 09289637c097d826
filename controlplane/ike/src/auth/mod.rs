//! Authentication of the IKE SA (RFC 7296 §2.15, RFC 7427) and its binding to SDP (RFC 6193 §7).

pub(crate) mod certificate;
mod facts;
mod fingerprint;
mod int_auth;
mod map;
mod name;
mod ppk;
mod proof;
mod psk;
mod signature;
mod signing_key;
#[cfg(test)]
mod wycheproof;

use crate::algorithm::{Prf, SignatureHash};
use crate::compute::Job;
use crate::config::{AuthConfig, CertificateAuth, EndpointConfig, PskSlot};
use crate::crypto::prf::prf;
use crate::error::{BadConfig, CertError, IkeError, Party};
use crate::secret::Secret;
use crate::wire::auth::{Auth, METHOD_PSK, METHOD_SIGNATURE};
use crate::wire::message::IdPayload;
use crate::wire::{Chain, Message, NotifyType};
use certificate::PeerCertificate;
pub use facts::{CertificateFacts, Date, believes, crl_next_update};
pub(crate) use fingerprint::check_before_start;
pub use fingerprint::{certificate_fingerprint, psk_fingerprint};
pub(crate) use int_auth::int_auth;
pub use map::{CertificateMap, MapField, MapOp, MapRule};
pub(crate) use ppk::{PpkStage, conclude as conclude_ppk, respond as respond_ppk};
pub use proof::{AuthMethod, FingerprintBasis, FingerprintMatched, PeerAuthenticated, ProvenSa};
use sha1::{Digest, Sha1};
pub use signature::{SignJob, VerifyJob};
pub use signing_key::{SigningKey, UnsupportedKey};
use sipsec_net::{Fingerprint, HashFunc};

/// The proofs of the peer's identity.
pub(crate) type Peer = (PeerAuthenticated, FingerprintMatched);

/// What one side signs: RFC 7296 §2.15, RealMessage | NonceOfPeer | MACedID.
pub(crate) struct SignedOctets<'a> {
    pub prf: Prf,
    /// The IKE SA that is being authenticated.
    pub sa: ProvenSa,
    /// SK_pi or SK_pr, of the side that signs.
    pub sk_p: &'a Secret,
    /// That side's first message, whole.
    pub message: &'a [u8],
    /// The other side's nonce.
    pub nonce: &'a [u8],
    /// Body of that side's ID payload.
    pub id: &'a [u8],
    /// RFC 9242 §3.3.2: | IntAuth, if there was an IKE_INTERMEDIATE exchange.
    pub int_auth: &'a [u8],
}

impl SignedOctets<'_> {
    fn parts<R>(&self, f: impl FnOnce(&[&[u8]]) -> R) -> R {
        let mac = prf(self.prf, self.sk_p.expose(), &[self.id]);
        f(&[self.message, self.nonce, mac.expose(), self.int_auth])
    }
}

/// Something that is known at once, or a job whose outcome it will be.
pub(crate) enum Step<T> {
    Ready(T),
    Job(Job),
}

/// The pre-shared key of an AUTH payload that we send first: the one proven in this call before, or the one that the peer's
/// SDP names.
pub(crate) fn own_psk(config: &EndpointConfig, proven: Option<PskSlot>) -> PskSlot {
    match &config.auth {
        AuthConfig::Psk(keys) => {
            proven.unwrap_or_else(|| keys.announced(&config.peer_fingerprints).unwrap_or_default())
        }
        AuthConfig::Certificate(_) => PskSlot::default(),
    }
}

/// Method and data of our AUTH payload. `psk`: with this one of our pre-shared keys.
pub(crate) fn sign(
    config: &AuthConfig,
    octets: &SignedOctets<'_>,
    peer_hashes: &[u16],
    psk: PskSlot,
) -> Result<Step<(u8, Vec<u8>)>, IkeError> {
    match config {
        AuthConfig::Psk(keys) => Ok(Step::Ready((METHOD_PSK, psk::mac(keys.key(psk), octets)))),
        AuthConfig::Certificate(auth) => {
            SignJob::new(auth, octets, peer_hashes).map(|j| Step::Job(Job::Sign(Box::new(j))))
        }
    }
}

/// Both proofs of the peer, or why there are none. RFC 6193 §7: the fingerprint is checked in addition to AUTH.
pub(crate) fn verify(
    config: &EndpointConfig,
    octets: &SignedOctets<'_>,
    id: &IdPayload<'_>,
    auth: &Auth<'_>,
    certs: &[&[u8]],
) -> Result<Step<Peer>, IkeError> {
    match (&config.auth, auth.method) {
        (AuthConfig::Psk(keys), METHOD_PSK) => {
            let proven = keys.proven(octets, auth.data);
            let psk = proven.ok_or(IkeError::AuthenticationFailed { by: Party::Us })?;
            check_identity(config, id)?;
            let basis = fingerprint::check_psk(keys.key(psk), &config.peer_fingerprints)?;
            let peer = PeerAuthenticated::new(id.id.clone(), AuthMethod::Psk(psk), octets.sa);
            Ok(Step::Ready((peer, FingerprintMatched::new(basis, octets.sa))))
        }
        (AuthConfig::Certificate(ours), METHOD_SIGNATURE) => {
            check_identity(config, id)?;
            VerifyJob::new(config, ours, octets, id, auth, certs).map(|j| Step::Job(Job::Verify(Box::new(j))))
        }
        (_, method) => Err(IkeError::AuthMethodMismatch { method }),
    }
}

fn check_identity(config: &EndpointConfig, id: &IdPayload<'_>) -> Result<(), IkeError> {
    if config.remote_id.accepts(&id.id) {
        return Ok(());
    }
    let expected = config.remote_id.shown().unwrap_or_else(|| id.id.clone());
    Err(IkeError::IdentityMismatch { expected, got: id.id.clone() })
}

/// RFC 7427 §4: what we can verify, said in IKE_SA_INIT.
pub(crate) fn announce_hashes(chain: &mut Chain, config: &AuthConfig) {
    if let AuthConfig::Certificate(_) = config {
        let numbers: Vec<u8> = SignatureHash::ALL.iter().flat_map(|h| h.number().to_be_bytes()).collect();
        chain.notify(NotifyType::SIGNATURE_HASH_ALGORITHMS, &numbers);
    }
}

/// What the peer can verify.
pub(crate) fn announced_hashes(m: &Message<'_>) -> Vec<u16> {
    let data = m.notify(NotifyType::SIGNATURE_HASH_ALGORITHMS).map_or(&[][..], |n| n.data);
    data.as_chunks().0.iter().map(|b| u16::from_be_bytes(*b)).collect()
}

/// RFC 6193 §7: each side presents a certificate.
pub(crate) fn present(chain: &mut Chain, config: &AuthConfig) {
    if let AuthConfig::Certificate(auth) = config {
        for der in &auth.chain {
            chain.cert(der);
        }
    }
}

/// RFC 7296 §3.7: the authorities that we trust. Some peers send no certificate unless asked, so a side that trusts
/// self-signed ones alone asks with its own key for want of an authority's.
pub(crate) fn request(chain: &mut Chain, config: &AuthConfig) {
    if let AuthConfig::Certificate(auth) = config {
        let known = if auth.trust.anchors.is_empty() { &auth.chain[..] } else { &auth.trust.anchors };
        let hashes: Vec<[u8; 20]> = known
            .iter()
            .filter_map(|der| Some(Sha1::digest(PeerCertificate::parse(der).ok()?.public_key_info()).into()))
            .collect();
        chain.cert_request(&hashes);
    }
}

/// What is wrong with our own side, before anything is sent.
pub(crate) fn check_config(auth: &AuthConfig) -> Result<(), BadConfig> {
    match auth {
        AuthConfig::Psk(keys) if !keys.is_usable() => Err(BadConfig::EmptyPsk),
        AuthConfig::Psk(_) => Ok(()),
        AuthConfig::Certificate(auth) => {
            let own = auth.chain.first().ok_or(BadConfig::NoCertificate)?;
            if !auth.key.belongs_to(own).map_err(|_| BadConfig::NoCertificate)? {
                return Err(BadConfig::KeyMismatch);
            }
            if !auth.trust.self_signed && auth.trust.anchors.is_empty() {
                return Err(BadConfig::NoTrust);
            }
            Ok(())
        }
    }
}

impl CertificateAuth {
    /// The subject of our certificate as an identity: what a peer that looks for the ID in the certificate expects.
    /// RFC 5280 §4.1.2.6: an empty subject leaves the naming to the alternative names.
    pub fn subject(&self) -> Result<crate::identity::Identity, CertError> {
        /// SEQUENCE of nothing.
        const EMPTY: [u8; 2] = [0x30, 0];
        let own = PeerCertificate::parse(self.chain.first().ok_or(CertError::Malformed)?)?;
        let alternative = (own.subject_der() == EMPTY).then(|| own.alternative_names().into_iter().next());
        let subject = || crate::identity::Identity::DerAsn1Dn(own.subject_der().to_vec());
        Ok(alternative.flatten().unwrap_or_else(subject))
    }

    /// The values of `a=fingerprint`. RFC 8122 §5.1: as a minimum SHA-256 and the hash function of the certificate's
    /// own signature, where that is one by itself (RFC 8420: Ed25519 has none) and none that RFC 8247 §3.2 forbids.
    pub fn fingerprints(&self) -> Result<Vec<Fingerprint>, CertError> {
        let der = self.chain.first().ok_or(CertError::Malformed)?;
        let signed_with = PeerCertificate::parse(der)?.signature_scheme().map(|s| s.hash());
        let own = match signed_with {
            Ok(SignatureHash::Sha384) => Some(HashFunc::Sha384),
            Ok(SignatureHash::Sha512) => Some(HashFunc::Sha512),
            Ok(SignatureHash::Sha256 | SignatureHash::Identity) | Err(_) => None,
        };
        let hashes = [Some(HashFunc::Sha256), own].into_iter().flatten();
        Ok(hashes.map(|hash| certificate_fingerprint(der, hash)).collect())
    }
}
