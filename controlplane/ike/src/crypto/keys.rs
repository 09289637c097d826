//! Key derivation (RFC 7296 §2.14, §2.17, §2.18).

use super::prf::{prf, prf_plus};
use crate::algorithm::{IkeSuite, Integ, Prf};
use crate::secret::Secret;
use sipsec_net::SecretBox;
use sipsec_net::dp::{EspCipher, KEYMAT_MAX};

/// {SK_d | SK_ai | SK_ar | SK_ei | SK_er | SK_pi | SK_pr}
pub(crate) struct IkeKeys {
    pub d: Secret,
    pub ai: Secret,
    pub ar: Secret,
    pub ei: Secret,
    pub er: Secret,
    pub pi: Secret,
    pub pr: Secret,
}

/// What the keys of an IKE SA are derived from, besides the key exchange.
pub(crate) struct Seed<'a> {
    pub ni: &'a [u8],
    pub nr: &'a [u8],
    pub spi_i: u64,
    pub spi_r: u64,
}

impl IkeKeys {
    /// RFC 7296 §2.14: SKEYSEED = prf(Ni | Nr, g^ir). (Only the AES-XCBC and CMAC PRFs shorten the nonces.)
    pub fn initial(suite: &IkeSuite, shared: &Secret, seed: &Seed<'_>) -> Self {
        let key = [seed.ni, seed.nr].concat();
        let skeyseed = prf(suite.prf, &key, &[shared.expose()]);
        Self::expand(suite, &skeyseed, seed)
    }

    /// RFC 7296 §2.18: SKEYSEED = prf(SK_d (old), g^ir (new) | Ni | Nr), with the prf of the *old* SA.
    pub fn rekeyed(suite: &IkeSuite, old: (Prf, &Secret), shared: &Secret, seed: &Seed<'_>) -> Self {
        Self::rekeyed_with(suite, old, shared, None, seed)
    }

    /// RFC 9370 §2.2.4: with an additional key exchange SKEYSEED = prf(SK_d (old), SK(0) | Ni | Nr | SK(1)).
    pub fn rekeyed_with(
        suite: &IkeSuite,
        old: (Prf, &Secret),
        shared: &Secret,
        additional: Option<&Secret>,
        seed: &Seed<'_>,
    ) -> Self {
        let mut parts = vec![shared.expose(), seed.ni, seed.nr];
        parts.extend(additional.map(Secret::expose));
        let skeyseed = prf(old.0, old.1.expose(), &parts);
        Self::expand(suite, &skeyseed, seed)
    }

    fn expand(suite: &IkeSuite, skeyseed: &Secret, seed: &Seed<'_>) -> Self {
        let p = suite.prf.output_len();
        let a = suite.integ.map_or(0, Integ::key_len);
        let e = suite.encr.keymat_len();
        let (si, sr) = (seed.spi_i.to_be_bytes(), seed.spi_r.to_be_bytes());
        let stream =
            prf_plus(suite.prf, skeyseed.expose(), &[seed.ni, seed.nr, &si, &sr], 3 * p + 2 * a + 2 * e);
        let mut rest = stream.expose();
        let mut next = |n: usize| {
            let (head, tail) = rest.split_at(n);
            rest = tail;
            Secret::new(head.to_vec())
        };
        Self { d: next(p), ai: next(a), ar: next(a), ei: next(e), er: next(e), pi: next(p), pr: next(p) }
    }
}

/// Keys of the two SAs of a CHILD_SA, by the role in the exchange that made it.
pub(crate) struct ChildKeys {
    pub initiator_to_responder: SecretBox<KEYMAT_MAX>,
    pub responder_to_initiator: SecretBox<KEYMAT_MAX>,
}

impl ChildKeys {
    /// RFC 7296 §2.17: KEYMAT = prf+(SK_d, [g^ir (new) |] Ni | Nr); the SA from the exchange's initiator to its
    /// responder takes its keys first. RFC 9370 §2.2.4: with an additional key exchange, … Ni | Nr | SK(1).
    pub fn derive(
        alg: Prf,
        sk_d: &Secret,
        (shared, additional): (Option<&Secret>, Option<&Secret>),
        nonces: (&[u8], &[u8]),
        cipher: EspCipher,
    ) -> Self {
        let one = cipher.keymat_len();
        let mut seed: Vec<&[u8]> = Vec::with_capacity(4);
        seed.extend(shared.map(Secret::expose));
        seed.extend([nonces.0, nonces.1]);
        seed.extend(additional.map(Secret::expose));
        let keymat = prf_plus(alg, sk_d.expose(), &seed, 2 * one);
        let (first, second) = keymat.expose().split_at(one);
        let boxed = |bytes| SecretBox::new(bytes).expect("KEYMAT_MAX is the longest of all ciphers");
        Self { initiator_to_responder: boxed(first), responder_to_initiator: boxed(second) }
    }
}
