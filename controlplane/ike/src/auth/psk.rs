//! Shared key message integrity code, by one of two keys.

use super::SignedOctets;
use super::fingerprint::check_psk;
use crate::config::{FingerprintPolicy, PskKeys, PskSlot};
use crate::crypto::prf::prf;
use crate::error::IkeError;
use subtle::{Choice, ConstantTimeEq};

const KEY_PAD: &[u8] = b"Key Pad for IKEv2";

/// RFC 7296 §2.15: AUTH = prf( prf(Shared Secret, "Key Pad for IKEv2"), <SignedOctets>).
pub(super) fn mac(key: &[u8], octets: &SignedOctets<'_>) -> Vec<u8> {
    #[cfg(test)]
    tests::MADE.with(|made| made.set(made.get() + 1));
    let padded = prf(octets.prf, key, &[KEY_PAD]);
    octets.parts(|parts| prf(octets.prf, padded.expose(), parts).expose().to_vec())
}

impl PskKeys {
    /// A slot that is empty stands for the current key.
    pub(super) fn key(&self, slot: PskSlot) -> &[u8] {
        match (slot, &self.next) {
            (PskSlot::Next, Some(next)) => next.expose(),
            _ => self.current.expose(),
        }
    }

    fn slots(&self) -> impl Iterator<Item = PskSlot> {
        [PskSlot::Current].into_iter().chain(self.next.as_ref().map(|_| PskSlot::Next))
    }

    pub(super) fn is_usable(&self) -> bool {
        self.slots().all(|slot| !self.key(slot).is_empty())
    }

    /// The key that `data` was made with. Every key is tried, even after a match, so the time does not tell which
    /// one the peer has.
    pub(super) fn proven(&self, octets: &SignedOctets<'_>, data: &[u8]) -> Option<PskSlot> {
        let made = |key: &[u8]| mac(key, octets).as_slice().ct_eq(data);
        let current = made(self.current.expose());
        let next = self.next.as_ref().map_or(Choice::from(0), |key| made(key.expose()));
        if bool::from(current) { Some(PskSlot::Current) } else { bool::from(next).then_some(PskSlot::Next) }
    }

    /// The key that the peer has, as far as SDP tells: the current one unless the fingerprints name the next.
    pub(super) fn announced(&self, policy: &FingerprintPolicy) -> Result<PskSlot, IkeError> {
        let first = check_psk(self.current.expose(), policy);
        match (&self.next, first) {
            (_, Ok(_)) => Ok(PskSlot::Current),
            (Some(next), Err(first)) => {
                check_psk(next.expose(), policy).map(|_| PskSlot::Next).map_err(|_| first)
            }
            (None, Err(first)) => Err(first),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::algorithm::Prf;
    use crate::auth::ProvenSa;
    use crate::secret::Secret;
    use sipsec_net::SecretBox;
    use std::cell::Cell;

    thread_local! {
        /// AUTH values that this thread has computed.
        pub(super) static MADE: Cell<usize> = const { Cell::new(0) };
    }

    /// A right key, the next one and a wrong one cost the same.
    #[test]
    fn both_keys_are_tried_each_time() {
        let sk_p = Secret::new(vec![7; 32]);
        let octets = SignedOctets {
            prf: Prf::HmacSha256,
            sa: ProvenSa { spi_i: 1, spi_r: 2 },
            sk_p: &sk_p,
            message: b"IKE_SA_INIT",
            nonce: b"nonce",
            id: b"identity",
            int_auth: &[],
        };
        let key = |text: &[u8]| SecretBox::new(text).expect("fits");
        let keys = PskKeys { current: key(b"old"), next: Some(key(b"new")) };
        let tried = |proof: &[u8]| {
            let before = MADE.get();
            (keys.proven(&octets, proof), MADE.get() - before)
        };
        assert_eq!(tried(&mac(b"old", &octets)), (Some(PskSlot::Current), 2));
        assert_eq!(tried(&mac(b"new", &octets)), (Some(PskSlot::Next), 2));
        assert_eq!(tried(&mac(b"other", &octets)), (None, 2));
        assert_eq!(tried(&mac(b"new", &octets)[..8]), (None, 2));
        assert_eq!(tried(b""), (None, 2));
        let one = PskKeys::one(key(b"old"));
        assert_eq!(one.proven(&octets, &mac(b"new", &octets)), None);
    }
}
