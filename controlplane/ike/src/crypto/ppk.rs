//! Mixing in a post-quantum pre-shared key (RFC 8784 §3).

use super::prf::prf_plus;
use crate::algorithm::Prf;
use crate::secret::Secret;

/// SK_d, SK_pi and SK_pr with the PPK in them.
pub(crate) struct PpkKeys {
    pub d: Secret,
    pub pi: Secret,
    pub pr: Secret,
}

impl PpkKeys {
    /// RFC 8784 §3: SK_d = prf+ (PPK, SK_d'), and so on; of the size that each has.
    pub fn derive(alg: Prf, ppk: &[u8], d: &Secret, pi: &Secret, pr: &Secret) -> Self {
        let mix = |key: &Secret| prf_plus(alg, ppk, &[key.expose()], key.expose().len());
        Self { d: mix(d), pi: mix(pi), pr: mix(pr) }
    }
}
