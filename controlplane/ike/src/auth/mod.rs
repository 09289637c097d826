//! Authentication of the IKE SA (RFC 7296 §2.15) and its binding to SDP (RFC 6193 §7).

mod fingerprint;
mod proof;
mod psk;

use crate::algorithm::Prf;
use crate::compute::Secret;
use crate::config::{AuthConfig, EndpointConfig};
use crate::crypto::prf::prf;
use crate::error::{IkeError, Party};
use crate::wire::auth::{Auth, METHOD_PSK};
use crate::wire::message::IdPayload;
pub(crate) use fingerprint::check_before_start;
pub use fingerprint::psk_fingerprint;
pub use proof::{AuthMethod, FingerprintBasis, FingerprintMatched, PeerAuthenticated};
use subtle::ConstantTimeEq;

/// What one side signs: RFC 7296 §2.15, RealMessage | NonceOfPeer | MACedID.
pub(crate) struct SignedOctets<'a> {
    pub prf: Prf,
    /// SK_pi or SK_pr, of the side that signs.
    pub sk_p: &'a Secret,
    /// That side's first message, whole.
    pub message: &'a [u8],
    /// The other side's nonce.
    pub nonce: &'a [u8],
    /// Body of that side's ID payload.
    pub id: &'a [u8],
}

impl SignedOctets<'_> {
    fn parts<R>(&self, f: impl FnOnce(&[&[u8]]) -> R) -> R {
        let mac = prf(self.prf, self.sk_p.expose(), &[self.id]);
        f(&[self.message, self.nonce, mac.expose()])
    }
}

/// Method and data of our AUTH payload.
pub(crate) fn sign(config: &AuthConfig, octets: &SignedOctets<'_>) -> (u8, Vec<u8>) {
    match config {
        AuthConfig::Psk { key } => (METHOD_PSK, psk::mac(key.expose(), octets)),
    }
}

/// Both proofs of the peer, or why there are none. RFC 6193 §7: the fingerprint is checked in addition to AUTH.
pub(crate) fn verify(
    config: &EndpointConfig,
    octets: &SignedOctets<'_>,
    id: &IdPayload<'_>,
    auth: &Auth<'_>,
) -> Result<(PeerAuthenticated, FingerprintMatched), IkeError> {
    let method = match (&config.auth, auth.method) {
        (AuthConfig::Psk { key }, METHOD_PSK) => {
            let want = psk::mac(key.expose(), octets);
            if !bool::from(want.as_slice().ct_eq(auth.data)) {
                return Err(IkeError::AuthenticationFailed { by: Party::Us });
            }
            AuthMethod::Psk
        }
        (AuthConfig::Psk { .. }, method) => return Err(IkeError::AuthMethodMismatch { method }),
    };
    if !config.remote_id.accepts(&id.id) {
        let expected = config.remote_id.expected().unwrap_or_else(|| id.id.clone());
        return Err(IkeError::IdentityMismatch { expected, got: id.id.clone() });
    }
    let basis = match &config.auth {
        AuthConfig::Psk { key } => fingerprint::check_psk(key.expose(), &config.peer_fingerprints)?,
    };
    Ok((PeerAuthenticated::new(id.id.clone(), method), FingerprintMatched::new(basis)))
}
