//! ESP suites.

use super::{NONE, has, integ_is_none, ke1_transforms, left_out, match_ke1, only_kinds};
use crate::algorithm::{DhGroup, EspEncr, EspProposal, EspSuite, esp_integ};
use crate::wire::notify::PROTOCOL_ESP;
use crate::wire::sa::{
    Proposal, TYPE_ADDKE1, TYPE_ADDKE7, TYPE_ENCR, TYPE_ESN, TYPE_INTEG, TYPE_KE, Transform,
};
use sipsec_net::Spi;

/// Where an ESP proposal stands.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Phase {
    /// RFC 7296 §1.2: IKE_AUTH has no KE payload, so its CHILD_SA has no group of its own.
    Auth,
    /// The group of the KE payload in the request, if there is one.
    Rekey { sent_group: Option<u16> },
}

pub(crate) fn offer(ours: &[EspProposal], spi: Spi, phase: Phase) -> Vec<Proposal> {
    ours.iter()
        .zip(1..=u8::MAX)
        .map(|(p, number)| {
            let mut transforms = Vec::new();
            transforms.extend(p.encr.iter().map(|e| encr_transform(*e)));
            transforms.extend(p.integ.iter().map(|i| Transform::new(TYPE_INTEG, i.transform_id())));
            if phase != Phase::Auth {
                transforms.extend(p.groups.iter().map(|g| Transform::new(TYPE_KE, g.transform_id())));
                transforms.extend(ke1_transforms(&p.ke1));
            }
            transforms.extend(p.esn.iter().map(|e| Transform::new(TYPE_ESN, u16::from(*e))));
            Proposal { number, protocol: PROTOCOL_ESP, spi: spi.get().to_be_bytes().to_vec(), transforms }
        })
        .collect()
}

/// What a rekey prefers: the algorithms of the old one (RFC 7296 §2.8: SHOULD NOT differ), then the others of the profile.
pub(crate) fn keeping(ours: &[EspProposal], old: &EspSuite) -> Vec<EspProposal> {
    let mut out = ours.to_vec();
    let (encr, integ) = (EspEncr::of(old.cipher), esp_integ(old.cipher));
    for p in &mut out {
        p.encr.sort_by_key(|e| *e != encr);
        p.integ.sort_by_key(|i| Some(*i) != integ);
        p.esn.sort_by_key(|e| *e != old.esn);
        p.groups.sort_by_key(|g| Some(*g) != old.group);
        // The first one had none, as IKE_AUTH has no place for it: then the profile's order holds.
        p.ke1.sort_by_key(|k| old.ke1.is_some() && *k != old.ke1);
    }
    let has_integ = |p: &EspProposal| integ.is_none_or(|i| p.integ.contains(&i));
    out.sort_by_key(|p| !(p.encr.contains(&encr) && has_integ(p) && p.esn.contains(&old.esn)));
    out
}

fn encr_transform(encr: EspEncr) -> Transform {
    Transform { key_bits: encr.key_bits(), ..Transform::new(TYPE_ENCR, encr.transform_id()) }
}

/// The chosen suite and the peer's inbound SPI, which is our outbound one.
pub(crate) struct Chosen {
    pub number: u8,
    pub suite: EspSuite,
    pub peer_spi: Spi,
    /// Additional key exchanges that were offered and are not done.
    left_out: Vec<u8>,
    /// The offer has a transform for extended sequence numbers, so the answer has one.
    says_esn: bool,
}

impl Chosen {
    /// As the single proposal of an answer: one transform of each type (RFC 7296 §3.3), also where that is NONE.
    pub fn answer(&self, spi: Spi) -> Proposal {
        let suite = &self.suite;
        let mut transforms = vec![encr_transform(EspEncr::of(suite.cipher))];
        let integ = esp_integ(suite.cipher);
        transforms.extend(integ.map(|i| Transform::new(TYPE_INTEG, i.transform_id())));
        transforms.extend(suite.group.map(|g| Transform::new(TYPE_KE, g.transform_id())));
        if self.says_esn {
            transforms.push(Transform::new(TYPE_ESN, u16::from(suite.esn)));
        }
        transforms.extend(suite.ke1.map(|k| Transform::new(TYPE_ADDKE1, k.transform_id())));
        transforms.extend(self.left_out.iter().map(|kind| Transform::new(*kind, NONE)));
        let spi = spi.get().to_be_bytes().to_vec();
        Proposal { number: self.number, protocol: PROTOCOL_ESP, spi, transforms }
    }
}

pub(crate) fn choose(theirs: &[Proposal], ours: &[EspProposal], phase: Phase) -> Option<Chosen> {
    let kinds: Vec<u8> =
        [TYPE_ENCR, TYPE_INTEG, TYPE_KE, TYPE_ESN].into_iter().chain(TYPE_ADDKE1..=TYPE_ADDKE7).collect();
    ours.iter().find_map(|our| {
        theirs.iter().filter(|p| p.protocol == PROTOCOL_ESP && only_kinds(p, &kinds)).find_map(|p| {
            let suite = match_one(p, our, phase)?;
            let left_out = left_out(p, suite.ke1);
            let (peer_spi, says_esn) = (Spi::new(p.esp_spi()?)?, p.has_kind(TYPE_ESN));
            Some(Chosen { number: p.number, suite, peer_spi, left_out, says_esn })
        })
    })
}

fn match_one(p: &Proposal, our: &EspProposal, phase: Phase) -> Option<EspSuite> {
    let encr = *our.encr.iter().find(|e| has(p, TYPE_ENCR, e.transform_id(), e.key_bits()))?;
    // RFC 7296 §3.3.3: a combined mode has no integrity transform, or one of NONE.
    let integ = if encr.is_aead() {
        if !integ_is_none(p) {
            return None;
        }
        None
    } else {
        Some(*our.integ.iter().find(|i| has(p, TYPE_INTEG, i.transform_id(), None))?)
    };
    let cipher = encr.with(integ)?;
    // RFC 7296 §3.3.3 makes the transform mandatory; peers that know no extended sequence numbers may leave it out.
    let suits =
        |esn: &&bool| if p.has_kind(TYPE_ESN) { has(p, TYPE_ESN, u16::from(**esn), None) } else { !**esn };
    let esn = *our.esn.iter().find(suits)?;
    let group = match phase {
        Phase::Auth => None,
        Phase::Rekey { sent_group } => match_group(p, our, sent_group)?,
    };
    // RFC 9370 §2.2.4: in addition to the key exchange of CREATE_CHILD_SA. IKE_AUTH has neither.
    let ours = if phase == Phase::Auth { &[][..] } else { &our.ke1 };
    let ke1 = match_ke1(p, ours, group.is_some())?;
    Some(EspSuite { cipher, group, ke1, esn })
}

/// The inner `None` is no group at all. A peer that wants forward secrecy gets it even if our profile does not ask.
fn match_group(p: &Proposal, our: &EspProposal, sent_group: Option<u16>) -> Option<Option<DhGroup>> {
    let without = !p.has_kind(TYPE_KE) || has(p, TYPE_KE, 0, None);
    let mut wanted = our.acceptable_groups();
    let acceptable = |g: &&DhGroup| has(p, TYPE_KE, g.transform_id(), None);
    let sent = wanted.clone().filter(|g| Some(g.transform_id()) == sent_group).find(acceptable);
    match sent.or_else(|| wanted.find(acceptable)) {
        Some(_) if our.groups.is_empty() && without && sent.is_none() => Some(None),
        Some(g) => Some(Some(*g)),
        None if without && our.groups.is_empty() => Some(None),
        None => None,
    }
}

/// The answer to our offer: one proposal, one transform of each type, all of them ours.
pub(crate) fn accept(answer: &[Proposal], ours: &[EspProposal], phase: Phase) -> Option<Chosen> {
    let [p] = answer else { return None };
    let count = |kind| p.of_kind(kind).count();
    let at_most_one = [TYPE_KE, TYPE_INTEG, TYPE_ADDKE1, TYPE_ESN].into_iter().all(|kind| count(kind) <= 1);
    if count(TYPE_ENCR) != 1 || !at_most_one {
        return None;
    }
    let our = ours.get(usize::from(p.number).checked_sub(1)?)?;
    let chosen = choose(answer, core::slice::from_ref(our), phase)?;
    // A group that we did not offer must not creep in.
    match chosen.suite.group {
        Some(g) if !our.groups.contains(&g) => None,
        // Nor a type. Of ours NONE may be said.
        _ if chosen.left_out.iter().any(|kind| *kind != TYPE_ADDKE1 || our.ke1.is_empty()) => None,
        _ => Some(chosen),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::algorithm::Integ;
    use sipsec_net::dp::EspCipher;

    #[test]
    fn a_rekey_prefers_what_the_old_one_has() {
        let ours: Vec<EspProposal> =
            ["aes256gcm16-x25519", "chacha20poly1305-aes128gcm16-x25519-ecp256-noesn-esn"]
                .map(|p| p.parse().expect("valid"))
                .to_vec();
        let group = Some(DhGroup::Ecp256);
        let old = EspSuite { cipher: EspCipher::Aes128Gcm16, group, ke1: None, esn: true };
        let spi = Spi::new(0x1234_5678).expect("valid");
        let phase = Phase::Rekey { sent_group: Some(DhGroup::Ecp256.transform_id()) };
        let kept = keeping(&ours, &old);
        let offered = offer(&kept, spi, phase);
        for take in [&ours, &kept] {
            assert!(choose(&offered, take, phase).is_some());
        }
        assert_eq!(choose(&offered, &kept, phase).expect("suits").suite, old);
        // A peer that takes the first of each list takes the same.
        let first = |kind| offered[0].of_kind(kind).next().map(|t| (t.id, t.key_bits));
        assert_eq!(first(TYPE_ENCR), Some((20, Some(128))));
        assert_eq!((first(TYPE_KE), first(TYPE_ESN)), (Some((19, None)), Some((1, None))));
        assert_eq!(offered.len(), ours.len(), "and the rest is there too");
    }

    /// Both MUST be acceptable (RFC 8221 §5, §6), each with the other's kind in an offer of its own.
    #[test]
    fn a_cipher_that_needs_integrity_is_agreed_with_it() {
        let spi = Spi::new(0x1234_5678).expect("valid");
        let cases = [
            ("aes128-sha256", EspCipher::Aes128CbcSha256),
            ("aes256-sha384", EspCipher::Aes256CbcSha384),
            ("aes256-aes128-sha512-sha256-noesn-esn", EspCipher::Aes256CbcSha512),
            ("aes256gcm16iiv-esn", EspCipher::Aes256Gcm16Iiv),
            ("aes128gcm16iiv", EspCipher::Aes128Gcm16Iiv),
            ("chacha20poly1305iiv", EspCipher::ChaCha20Poly1305Iiv),
        ];
        for (text, cipher) in cases {
            let ours: Vec<EspProposal> = vec![text.parse().expect("valid")];
            let offered = offer(&ours, spi, Phase::Auth);
            let chosen = choose(&offered, &ours, Phase::Auth).expect("our own offer");
            assert_eq!(chosen.suite.cipher, cipher, "{text}");
            let mut answer = chosen.answer(spi);
            assert_eq!(
                accept(&[answer.clone()], &ours, Phase::Auth).expect("of the offer").suite,
                chosen.suite
            );
            // An integrity algorithm that is not ours, beside the cipher that is.
            answer.transforms.retain(|t| t.kind != TYPE_INTEG);
            answer.transforms.push(Transform::new(TYPE_INTEG, 1));
            assert!(accept(&[answer], &ours, Phase::Auth).is_none(), "{text}");
        }
        let with_none = Transform::new(TYPE_INTEG, NONE);
        for (text, taken) in [("aes256gcm16", true), ("aes256-sha256", false)] {
            let ours: Vec<EspProposal> = vec![text.parse().expect("valid")];
            let mut offered = offer(&ours, spi, Phase::Auth);
            offered[0].transforms.retain(|t| t.kind != TYPE_INTEG);
            offered[0].transforms.push(with_none);
            assert_eq!(choose(&offered, &ours, Phase::Auth).is_some(), taken, "{text}");
        }
    }

    /// SHA-1 and the groups 5 and 2 are for a peer of that kind alone, as what we offer and as what we accept.
    #[test]
    fn what_old_routers_have_is_taken_from_them_alone() {
        let spi = Spi::new(0x1234_5678).expect("valid");
        let theirs = EspProposal {
            encr: vec![EspEncr::Aes128Cbc],
            integ: vec![Integ::HmacSha1_96],
            groups: vec![DhGroup::Modp1536],
            ke1: vec![],
            esn: vec![false],
        };
        for phase in [Phase::Auth, Phase::Rekey { sent_group: Some(5) }] {
            let offered = offer(std::slice::from_ref(&theirs), spi, phase);
            assert!(choose(&offered, &EspProposal::defaults(), phase).is_none());
            let mut ours = EspProposal::defaults();
            ours.push(EspProposal::cisco());
            let suite = choose(&offered, &ours, phase).expect("for them").suite;
            assert_eq!(suite.cipher, EspCipher::Aes128CbcSha1);
            let weak: Vec<_> = suite.weak().collect();
            let group = if phase == Phase::Auth { &["sha1"][..] } else { &["sha1", "modp1536"] };
            assert_eq!(weak, group);
        }
        let strong = offer(&EspProposal::defaults(), spi, Phase::Auth);
        let ours = [EspProposal::defaults(), vec![EspProposal::cisco()]].concat();
        let suite = choose(&strong, &ours, Phase::Auth).expect("ours").suite;
        assert_eq!((suite.cipher, suite.weak().count()), (EspCipher::Aes256Gcm16, 0));
        assert!(
            offer(&EspProposal::defaults(), spi, Phase::Auth).iter().all(|p| !has(p, TYPE_INTEG, 2, None))
        );
    }

    /// An offer or an answer without a word about extended sequence numbers means that there are none.
    #[test]
    fn extended_sequence_numbers_that_are_not_mentioned() {
        let spi = Spi::new(0x1234_5678).expect("valid");
        for (text, taken) in
            [("aes256gcm16", true), ("aes256gcm16-esn-noesn", true), ("aes256gcm16-esn", false)]
        {
            let ours: Vec<EspProposal> = vec![text.parse().expect("valid")];
            let mut offered = offer(&ours, spi, Phase::Auth);
            offered[0].transforms.retain(|t| t.kind != TYPE_ESN);
            let chosen = choose(&offered, &ours, Phase::Auth);
            assert_eq!(chosen.as_ref().map(|c| c.suite.esn), taken.then_some(false), "{text}");
            let Some(chosen) = chosen else { continue };
            let answer = chosen.answer(spi);
            assert!(!answer.has_kind(TYPE_ESN), "no transform of a kind that was not offered");
            assert!(accept(&[answer], &ours, Phase::Auth).is_some_and(|c| !c.suite.esn), "{text}");
        }
    }

    /// RFC 9370 §2.2.1: an additional key exchange is left out if NONE is offered for it, and the answer says so.
    #[test]
    fn an_additional_key_exchange_is_left_out_only_where_the_peer_allows_it() {
        let ours = vec!["aes256gcm16".parse().expect("valid")];
        let spi = Spi::new(0x1234_5678).expect("valid");
        let phase = Phase::Rekey { sent_group: None };
        let mut theirs = offer(&ours, spi, phase);
        let ml_kem = Transform::new(TYPE_ADDKE1, DhGroup::MlKem768.transform_id());
        theirs[0].transforms.push(ml_kem);
        assert!(choose(&theirs, &ours, phase).is_none(), "they insist");
        theirs[0].transforms.push(Transform::new(TYPE_ADDKE1, NONE));
        theirs[0].transforms.push(Transform::new(TYPE_ADDKE7, NONE));
        let answer = choose(&theirs, &ours, phase).expect("without").answer(spi);
        for kind in [TYPE_ADDKE1, TYPE_ADDKE7] {
            assert!(answer.of_kind(kind).map(|t| t.id).eq([NONE]), "{answer:?}");
        }
        assert!(accept(&[answer], &ours, phase).is_none(), "we have not offered any");
    }

    /// RFC 9370 §2.2.1: agreed as in IKE_SA_INIT, where CREATE_CHILD_SA has a key exchange of its own.
    #[test]
    fn an_additional_key_exchange_is_agreed_in_rekeys_alone() {
        const MUST: &str = "aes256gcm16-x25519-ke1_mlkem768";
        const MAY: &str = "aes256gcm16-x25519-ke1_mlkem1024-ke1_mlkem768-ke1_none";
        const OTHER: &str = "aes256gcm16-x25519-ke1_mlkem512";
        const NEVER: &str = "aes256gcm16-x25519";
        let spi = Spi::new(0x1234_5678).expect("valid");
        let rekey = Phase::Rekey { sent_group: Some(31) };
        let some = Some(Some(DhGroup::MlKem768));
        for (theirs, ours, want) in [
            (MUST, MUST, some),
            (MAY, MUST, some),
            (MUST, MAY, some),
            (MAY, MAY, Some(Some(DhGroup::MlKem1024))),
            (MAY, NEVER, Some(None)),
            (NEVER, MAY, Some(None)),
            (MUST, NEVER, None),
            (NEVER, MUST, None),
            (MUST, OTHER, None),
            (OTHER, MAY, None),
        ] {
            let parse = |text: &str| -> Vec<EspProposal> { vec![text.parse().expect("valid")] };
            let (theirs, ours) = (parse(theirs), parse(ours));
            let offered = offer(&theirs, spi, rekey);
            let chosen = choose(&offered, &ours, rekey);
            assert_eq!(chosen.as_ref().map(|c| c.suite.ke1), want, "{theirs:?} {ours:?}");
            if let Some(chosen) = chosen {
                let answer = chosen.answer(spi);
                let accepted = accept(core::slice::from_ref(&answer), &theirs, rekey).expect("of our offer");
                assert_eq!(accepted.suite, chosen.suite);
                // A second one of the kind is no choice.
                let mut twice = answer;
                twice.transforms.extend(
                    [DhGroup::MlKem768, DhGroup::MlKem1024]
                        .map(|g| Transform::new(TYPE_ADDKE1, g.transform_id())),
                );
                assert!(accept(&[twice], &theirs, rekey).is_none());
            }
            let first =
                choose(&offer(&theirs, spi, Phase::Auth), &ours, Phase::Auth).expect("the cipher suits");
            assert_eq!((first.suite.group, first.suite.ke1), (None, None));
            assert!(first.left_out.is_empty());
        }
    }

    #[test]
    fn a_rekey_keeps_the_additional_key_exchange() {
        let ours: Vec<EspProposal> =
            vec!["aes256gcm16-x25519-ke1_none-ke1_mlkem768-ke1_mlkem1024".parse().expect("valid")];
        let cipher = EspCipher::Aes256Gcm16;
        let old =
            EspSuite { cipher, group: Some(DhGroup::X25519), ke1: Some(DhGroup::MlKem1024), esn: false };
        assert_eq!(keeping(&ours, &old)[0].ke1[0], old.ke1);
        // The first one had none, and says nothing.
        assert_eq!(keeping(&ours, &EspSuite { ke1: None, group: None, ..old })[0].ke1, ours[0].ke1);
    }
}
