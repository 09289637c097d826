//! The table of algorithms against the requirement tables of RFC 8247 (IKE) and RFC 8221 (ESP), row by row.

use crate::algorithm::{
    DhGroup, Encr, EspEncr, EspProposal, HashAlg, IkeProposal, Integ, Prf, ProposalError, Scheme,
    SignatureHash, esp_integ, words,
};

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Level {
    Must,
    /// Expected to become MAY: implementations drop it when their users can.
    MustMinus,
    Should,
    /// SHOULD for constrained devices alone.
    ShouldIot,
    ShouldNot,
    MustNot,
}
use Level::{Must, MustMinus, MustNot, Should, ShouldIot, ShouldNot};

/// RFC 8247 §2.1, with key lengths for the rows that name them.
const IKE_ENCR: [(u16, Option<u16>, Level); 9] = [
    (12, Some(128), Must),
    (12, Some(256), Must),
    (28, None, Should),
    (20, Some(128), Should),
    (20, Some(256), Should),
    (14, Some(128), ShouldIot),
    (2, None, MustNot),
    (11, None, MustNot),
    // ENCR_3DES, MAY: 64-bit blocks.
    (3, None, ShouldNot),
];
/// RFC 8247 §2.2.
const IKE_PRF: [(u16, Level); 5] = [(5, Must), (7, Should), (2, MustMinus), (4, ShouldIot), (1, MustNot)];
/// RFC 8247 §2.3.
const IKE_INTEG: [(u16, Level); 7] =
    [(12, Must), (14, Should), (2, MustMinus), (5, ShouldIot), (1, MustNot), (3, MustNot), (4, MustNot)];
/// RFC 8247 §2.4.
const IKE_GROUPS: [(u16, Level); 8] = [
    (14, Must),
    (19, Should),
    (5, ShouldNot),
    (2, ShouldNot),
    (1, MustNot),
    (22, MustNot),
    (23, ShouldNot),
    (24, ShouldNot),
];
/// RFC 8221 §5.
const ESP_ENCR: [(u16, Option<u16>, Level); 13] = [
    (1, None, MustNot),
    (2, None, MustNot),
    (3, None, ShouldNot),
    (7, None, MustNot),
    (8, None, MustNot),
    (9, None, MustNot),
    (11, None, Must),
    (12, Some(128), Must),
    (12, Some(256), Must),
    (14, Some(128), ShouldIot),
    (20, Some(128), Must),
    (20, Some(256), Must),
    (28, None, Should),
];
/// RFC 8247 §3.2.
const HASHES: [(u16, Level); 3] = [(1, MustNot), (2, Must), (4, Should)];

fn judge(what: &str, level: Level, present: bool) {
    let wanted = match level {
        Must | Should => true,
        // SHA-1 is kept by RFC 8247 for peers of RFC 4307 alone; a peer of VPN-SIP is newer than that. Constrained
        // devices are no peers of VPN-SIP.
        MustMinus | ShouldIot | ShouldNot | MustNot => false,
    };
    assert_eq!(present, wanted, "{what} is {level:?}");
}

#[test]
fn ike_has_what_rfc_8247_wants_and_nothing_it_warns_of() {
    for (id, bits, level) in IKE_ENCR {
        judge(&format!("encryption {id}/{bits:?}"), level, Encr::from_transform(id, bits).is_some());
    }
    for (id, level) in IKE_PRF {
        judge(&format!("PRF {id}"), level, Prf::from_transform(id).is_some());
    }
    for (id, level) in IKE_INTEG {
        judge(&format!("integrity {id}"), level, Integ::from_transform(id).is_some());
    }
    for (id, level) in IKE_GROUPS {
        judge(&format!("group {id}"), level, DhGroup::from_transform(id).is_some());
    }
    for (id, level) in HASHES {
        judge(&format!("hash {id}"), level, SignatureHash::ALL.iter().any(|h| h.number() == id));
    }
    // RFC 8247 §3.2.1: RSASSA-PSS and ECDSA with SHA-256; sha1WithRSAEncryption and PSS with default parameters are
    // refused by the identifier test beside the table.
    for scheme in [Scheme::RsaPss(HashAlg::Sha256), Scheme::Ecdsa(HashAlg::Sha256)] {
        assert!(Scheme::all().any(|s| s == scheme));
    }
    // A 192-bit key is MAY for all, and is not there.
    assert!([12, 20].iter().all(|id| Encr::from_transform(*id, Some(192)).is_none()));
}

#[test]
fn esp_has_what_rfc_8221_wants() {
    for (id, bits, level) in ESP_ENCR {
        let present = EspEncr::ALL.iter().any(|e| (e.transform_id(), e.key_bits()) == (id, bits));
        // RFC 8221 §5, MUST in the table and not here: ENCR_NULL does not encrypt.
        let on_purpose = matches!((id, level), (11, Must));
        judge(&format!("ESP {id}/{bits:?}"), if on_purpose { MustMinus } else { level }, present);
    }
    // RFC 8221 §6: what is the IKE table's for integrity is ESP's.
    for encr in [EspEncr::Aes128Cbc, EspEncr::Aes256Cbc] {
        for integ in Integ::ALL.into_iter().chain(Integ::LEGACY) {
            let cipher = encr.with(Some(integ)).expect("a suite");
            assert_eq!((EspEncr::of(cipher), esp_integ(cipher)), (encr, Some(integ)));
            assert_eq!(cipher.key_len(), cipher.encryption_key_len() + integ.key_len());
            assert_eq!(cipher.layout().icv_len(), integ.icv_len());
        }
    }
    for encr in EspEncr::ALL.into_iter().filter(|e| e.is_aead()) {
        let cipher = encr.with(None).expect("a suite");
        assert_eq!((EspEncr::of(cipher), esp_integ(cipher)), (encr, None));
        assert_eq!(encr.with(Some(Integ::HmacSha256_128)), None);
    }
    assert_eq!(EspEncr::Aes128Cbc.with(None), None);
    // RFC 8750 §6.
    let iiv = [EspEncr::Aes128Gcm16Iiv, EspEncr::Aes256Gcm16Iiv, EspEncr::ChaCha20Poly1305Iiv];
    assert_eq!(iiv.map(|e| (e.transform_id(), e.key_bits())), [(30, Some(128)), (30, Some(256)), (31, None)]);
}

/// RFC 8247 §2.2 to §2.4: MUST- and SHOULD NOT; in the suite for old routers, and nowhere else.
#[test]
fn the_legacy_suite_stands_alone() {
    let cisco = IkeProposal::cisco();
    let mut ids: Vec<_> = cisco.groups.iter().map(|g| g.transform_id()).collect();
    ids.sort_unstable();
    assert_eq!(ids, [2, 5, 14, 19, 20, 21]);
    assert!(Integ::LEGACY.iter().all(|i| cisco.integ.contains(i) && i.transform_id() == 2));
    assert!(Prf::LEGACY.iter().all(|p| cisco.prf.contains(p) && p.transform_id() == 2));
    assert!(cisco.encr.iter().all(|e| !e.is_aead()));
    for p in IkeProposal::defaults() {
        assert!(DhGroup::LEGACY.iter().all(|g| !p.groups.contains(g)));
        assert!(Integ::LEGACY.iter().all(|i| !p.integ.contains(i)));
        assert!(Prf::LEGACY.iter().all(|x| !p.prf.contains(x)));
    }
    assert!(EspProposal::defaults().iter().all(|p| Integ::LEGACY.iter().all(|i| !p.integ.contains(i))));
}

/// RFC 8247 §2.4 and what a peer may have instead: the whole range that this product promises.
#[test]
fn all_promised_groups_and_lengths() {
    let mut ids: Vec<_> = DhGroup::ALL.iter().map(|g| g.transform_id()).collect();
    ids.sort_unstable();
    assert_eq!(ids, [14, 15, 16, 19, 20, 21, 31]);
    assert_eq!(DhGroup::ADDITIONAL.map(DhGroup::transform_id), [36, 37, 35]);
    assert_eq!(Prf::ALL.map(Prf::transform_id), [5, 6, 7]);
    assert_eq!(Integ::ALL.map(Integ::transform_id), [12, 13, 14]);
}

#[test]
fn everything_of_the_table_is_offered_and_can_be_written() {
    let offered = IkeProposal::defaults();
    let all: Vec<_> = offered.iter().flat_map(|p| &p.encr).collect();
    assert!(Encr::ALL.iter().all(|e| all.contains(&e)) && all.len() == Encr::ALL.len());
    for p in &offered {
        assert!(
            DhGroup::ALL.iter().all(|g| p.groups.contains(g)) && Prf::ALL.iter().all(|x| p.prf.contains(x))
        );
        assert_eq!(p.to_string().parse(), Ok(p.clone()));
    }
    for p in EspProposal::defaults() {
        assert!(p.esn.contains(&true) && p.esn.contains(&false));
        assert_eq!(p.to_string().parse(), Ok(p));
    }
    assert_eq!(
        "aes256gcm16-prfsha384-curve25519".parse::<IkeProposal>().map(|p| p.groups[0]),
        Ok(DhGroup::X25519)
    );
}

#[test]
fn a_proposal_that_makes_no_sense_says_why() {
    let ike = |s: &str| s.parse::<IkeProposal>().expect_err(s);
    let esp = |s: &str| s.parse::<EspProposal>().expect_err(s);
    assert_eq!(ike("aes256gcm16-prfsha1-ecp256"), ProposalError::Legacy("prfsha1"));
    assert_eq!(ike("aes256gcm16-prfsha256-modp1024"), ProposalError::Legacy("modp1024"));
    assert_eq!(esp("aes128-sha1"), ProposalError::Legacy("sha1"));
    assert!(ProposalError::Legacy("sha1").cure().contains("peer: cisco"));
    assert_eq!(ike("3des-sha256-modp2048"), ProposalError::UnknownKeyword("3des".into()));
    assert_eq!(ike("aes256gcm16iiv-prfsha256-ecp256"), ProposalError::NotForIke("aes256gcm16iiv"));
    assert_eq!(ike("prfsha256-ecp256"), ProposalError::NoCipher);
    assert_eq!(ike("aes256gcm16-ecp256"), ProposalError::NoPrf);
    assert_eq!(ike("aes256gcm16-prfsha256"), ProposalError::NoGroup);
    assert_eq!(ike("aes256-prfsha256-ecp256"), ProposalError::NoIntegrity);
    assert_eq!(ike("aes256gcm16-aes256-sha256-ecp256"), ProposalError::MixedModes);
    assert_eq!(
        ike("aes256gcm16-prfsha256-ecp256-x25519-curve25519"),
        ProposalError::Repeated("curve25519".into())
    );
    assert_eq!(ike("aes256gcm16-prfsha256-ecp256-esn"), ProposalError::NotForIke("esn"));
    assert_eq!(esp("aes256-prfsha256"), ProposalError::NotForEsp("prfsha256"));
    assert_eq!(esp("aes256"), ProposalError::NoIntegrity);
    assert_eq!(esp("aes256gcm16-ke1_mlkem768"), ProposalError::NoGroup);
    assert_eq!(esp("aes256gcm16-sha256"), ProposalError::MixedModes);
    assert_eq!(esp("aes256gcm16-aes256-sha256"), ProposalError::MixedModes);
    assert!(words().all(|w| ProposalError::UnknownKeyword(String::new()).cure().contains(w)));
}
