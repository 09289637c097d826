//! Digital signature authentication (RFC 7427), as jobs: too heavy for the event loop.

use super::certificate::{CHAIN_MAX, PeerCertificate};
use super::proof::{AuthMethod, FingerprintMatched, PeerAuthenticated, ProvenSa};
use super::signing_key::verify;
use super::{Peer, SignedOctets, fingerprint};
use crate::algorithm::Scheme;
use crate::compute::Outcome;
use crate::config::{CertificateAuth, EndpointConfig, FingerprintPolicy};
use crate::error::{CertError, IkeError, Party, Violation};
use crate::identity::Identity;
use crate::wire::auth::{Auth, METHOD_SIGNATURE};
use crate::wire::message::IdPayload;
use core::fmt;
use std::sync::Arc;

/// Our AUTH payload.
pub struct SignJob {
    auth: Arc<CertificateAuth>,
    scheme: Scheme,
    octets: Vec<u8>,
}

impl SignJob {
    pub(super) fn new(
        auth: &Arc<CertificateAuth>,
        octets: &SignedOctets<'_>,
        peer_hashes: &[u16],
    ) -> Result<Self, IkeError> {
        let scheme = auth.key.scheme(peer_hashes).ok_or(IkeError::NoCommonSignature { by: Party::Peer })?;
        let octets = octets.parts(|p| p.concat());
        Ok(Self { auth: Arc::clone(auth), scheme, octets })
    }

    pub(crate) fn run(self) -> Outcome {
        let Some(signature) = self.auth.key.sign(self.scheme, &self.octets) else {
            return Outcome::SignFailed;
        };
        // RFC 7427 §3: length of the AlgorithmIdentifier, itself, the signature.
        let identifier = self.scheme.identifier();
        let len = u8::try_from(identifier.len()).expect("identifiers are shorter than 128 bytes");
        Outcome::Signed { method: METHOD_SIGNATURE, data: [&[len][..], &identifier, &signature].concat() }
    }
}

impl fmt::Debug for SignJob {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SignJob({})", self.scheme.name())
    }
}

/// The peer's AUTH payload, its certificate, and the fingerprint of that.
pub struct VerifyJob {
    auth: Arc<CertificateAuth>,
    fingerprints: FingerprintPolicy,
    unix_time_s: u64,
    /// The peer's own first.
    chain: Vec<Vec<u8>>,
    identity: Identity,
    sa: ProvenSa,
    scheme: Scheme,
    signature: Vec<u8>,
    octets: Vec<u8>,
}

impl VerifyJob {
    pub(super) fn new(
        config: &EndpointConfig,
        ours: &Arc<CertificateAuth>,
        octets: &SignedOctets<'_>,
        id: &IdPayload<'_>,
        auth: &Auth<'_>,
        certs: &[&[u8]],
    ) -> Result<Self, IkeError> {
        if certs.is_empty() {
            return Err(IkeError::ProtocolViolation(Violation::MissingPayload("CERT")));
        }
        let malformed = IkeError::ProtocolViolation(Violation::Malformed("AUTH"));
        let (len, rest) = auth.data.split_first().ok_or(malformed.clone())?;
        let (identifier, signature) = rest.split_at_checked(usize::from(*len)).ok_or(malformed)?;
        let scheme =
            Scheme::from_identifier(identifier).ok_or(IkeError::NoCommonSignature { by: Party::Us })?;
        Ok(Self {
            auth: Arc::clone(ours),
            fingerprints: config.peer_fingerprints.clone(),
            unix_time_s: config.unix_time_s,
            chain: certs.iter().take(CHAIN_MAX).map(|c| c.to_vec()).collect(),
            identity: id.id.clone(),
            sa: octets.sa,
            scheme,
            signature: signature.to_vec(),
            octets: octets.parts(|p| p.concat()),
        })
    }

    pub(crate) fn run(self) -> Result<Peer, IkeError> {
        let (der, intermediates) =
            self.chain.split_first().ok_or(IkeError::ProtocolViolation(Violation::MissingPayload("CERT")))?;
        let rejected = |error, subject| IkeError::CertificateRejected { error, subject };
        let cert = PeerCertificate::parse(der).map_err(|e| rejected(e, String::new()))?;
        let reject = |error| rejected(error, cert.subject());
        let (kind, public) = cert.public_key().map_err(reject)?;
        // The signature first: all further checks are about the holder of this key.
        if !verify(kind, public, self.scheme, &self.octets, &self.signature) {
            return Err(IkeError::AuthenticationFailed { by: Party::Us });
        }
        let trust = &self.auth.trust;
        let self_signed = cert.claims_self_signed();
        let basis = fingerprint::check_certificate(der, &self.fingerprints, self_signed)?;
        cert.check(intermediates, trust, self.unix_time_s).map_err(reject)?;
        // An authority vouches for a name, not for this call: something must bind the two.
        let bound = self_signed || !self.fingerprints.expected.is_empty() || !trust.maps.is_empty();
        if !bound && !cert.names(&self.identity) {
            return Err(reject(CertError::Identity));
        }
        let peer = PeerAuthenticated::new(self.identity, AuthMethod::Signature(self.scheme), self.sa);
        Ok((peer, FingerprintMatched::new(basis, self.sa)))
    }
}

impl fmt::Debug for VerifyJob {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "VerifyJob({} for {})", self.scheme.name(), self.identity)
    }
}
