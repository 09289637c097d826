//! ESP suites.

use super::{NONE, additional_kinds, can_omit, has, integ_is_none, only_kinds};
use crate::algorithm::{DhGroup, Encr, EspProposal, EspSuite};
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
            transforms.extend(p.ciphers.iter().map(|c| encr_transform(Encr::from_esp(*c))));
            if phase != Phase::Auth {
                transforms.extend(p.groups.iter().map(|g| Transform::new(TYPE_KE, g.transform_id())));
            }
            transforms.extend(p.esn.iter().map(|e| Transform::new(TYPE_ESN, u16::from(*e))));
            Proposal { number, protocol: PROTOCOL_ESP, spi: spi.get().to_be_bytes().to_vec(), transforms }
        })
        .collect()
}

/// What a rekey prefers: the algorithms of the old one (RFC 7296 §2.8: SHOULD NOT differ), then the others of the profile.
pub(crate) fn keeping(ours: &[EspProposal], old: &EspSuite) -> Vec<EspProposal> {
    let mut out = ours.to_vec();
    for p in &mut out {
        p.ciphers.sort_by_key(|c| *c != old.cipher);
        p.esn.sort_by_key(|e| *e != old.esn);
        p.groups.sort_by_key(|g| Some(*g) != old.group);
    }
    out.sort_by_key(|p| !(p.ciphers.contains(&old.cipher) && p.esn.contains(&old.esn)));
    out
}

fn encr_transform(encr: Encr) -> Transform {
    Transform { key_bits: encr.key_bits(), ..Transform::new(TYPE_ENCR, encr.transform_id()) }
}

/// The chosen suite and the peer's inbound SPI, which is our outbound one.
pub(crate) struct Chosen {
    pub number: u8,
    pub suite: EspSuite,
    pub peer_spi: Spi,
    /// Additional key exchanges that were offered; none of them is done.
    left_out: Vec<u8>,
}

impl Chosen {
    /// As the single proposal of an answer: one transform of each type (RFC 7296 §3.3), also where that is NONE.
    pub fn answer(&self, spi: Spi) -> Proposal {
        let suite = &self.suite;
        let mut transforms = vec![encr_transform(Encr::from_esp(suite.cipher))];
        transforms.extend(suite.group.map(|g| Transform::new(TYPE_KE, g.transform_id())));
        transforms.push(Transform::new(TYPE_ESN, u16::from(suite.esn)));
        transforms.extend(self.left_out.iter().map(|kind| Transform::new(*kind, NONE)));
        let spi = spi.get().to_be_bytes().to_vec();
        Proposal { number: self.number, protocol: PROTOCOL_ESP, spi, transforms }
    }
}

pub(crate) fn choose(theirs: &[Proposal], ours: &[EspProposal], phase: Phase) -> Option<Chosen> {
    let kinds: Vec<u8> =
        [TYPE_ENCR, TYPE_INTEG, TYPE_KE, TYPE_ESN].into_iter().chain(TYPE_ADDKE1..=TYPE_ADDKE7).collect();
    ours.iter().find_map(|our| {
        theirs
            .iter()
            .filter(|p| {
                p.protocol == PROTOCOL_ESP
                    && only_kinds(p, &kinds)
                    && integ_is_none(p)
                    && additional_kinds(p).all(|kind| can_omit(p, kind))
            })
            .find_map(|p| {
                Some(Chosen {
                    number: p.number,
                    suite: match_one(p, our, phase)?,
                    peer_spi: Spi::new(p.esp_spi()?)?,
                    left_out: additional_kinds(p).collect(),
                })
            })
    })
}

fn match_one(p: &Proposal, our: &EspProposal, phase: Phase) -> Option<EspSuite> {
    let cipher = *our.ciphers.iter().find(|c| {
        let t = encr_transform(Encr::from_esp(**c));
        has(p, TYPE_ENCR, t.id, t.key_bits)
    })?;
    let esn = *our.esn.iter().find(|e| has(p, TYPE_ESN, u16::from(**e), None))?;
    let group = match phase {
        Phase::Auth => None,
        Phase::Rekey { sent_group } => match_group(p, our, sent_group)?,
    };
    Some(EspSuite { cipher, group, esn })
}

/// The inner `None` is no group at all. A peer that wants forward secrecy gets it even if our profile does not ask.
fn match_group(p: &Proposal, our: &EspProposal, sent_group: Option<u16>) -> Option<Option<DhGroup>> {
    let without = !p.has_kind(TYPE_KE) || has(p, TYPE_KE, 0, None);
    let wanted = if our.groups.is_empty() { DhGroup::ALL.as_slice() } else { &our.groups };
    let acceptable = |g: &&DhGroup| has(p, TYPE_KE, g.transform_id(), None);
    let sent = wanted.iter().filter(|g| Some(g.transform_id()) == sent_group).find(acceptable);
    match sent.or_else(|| wanted.iter().find(acceptable)) {
        Some(_) if our.groups.is_empty() && without && sent.is_none() => Some(None),
        Some(g) => Some(Some(*g)),
        None if without && our.groups.is_empty() => Some(None),
        None => None,
    }
}

/// The answer to our offer: one proposal, one transform of each type, all of them ours.
pub(crate) fn accept(answer: &[Proposal], ours: &[EspProposal], phase: Phase) -> Option<Chosen> {
    let [p] = answer else { return None };
    if p.of_kind(TYPE_ENCR).count() != 1 || p.of_kind(TYPE_ESN).count() != 1 || p.of_kind(TYPE_KE).count() > 1
    {
        return None;
    }
    let our = ours.get(usize::from(p.number).checked_sub(1)?)?;
    let chosen = choose(answer, core::slice::from_ref(our), phase)?;
    // A group that we did not offer must not creep in.
    match chosen.suite.group {
        Some(g) if !our.groups.contains(&g) => None,
        // Nor a type.
        _ if !chosen.left_out.is_empty() => None,
        _ => Some(chosen),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use sipsec_net::dp::EspCipher;

    #[test]
    fn a_rekey_prefers_what_the_old_one_has() {
        let ours: Vec<EspProposal> =
            ["aes256gcm16-x25519", "chacha20poly1305-aes128gcm16-x25519-ecp256-noesn-esn"]
                .map(|p| p.parse().expect("valid"))
                .to_vec();
        let old = EspSuite { cipher: EspCipher::Aes128Gcm16, group: Some(DhGroup::Ecp256), esn: true };
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
}
