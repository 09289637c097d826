//! IKE suites.

use super::{NONE, has, integ_is_none, ke1_transforms, left_out, match_ke1, only_kinds};
use crate::algorithm::{DhGroup, IkeProposal, IkeSuite};
use crate::wire::notify::PROTOCOL_IKE;
use crate::wire::sa::{
    Proposal, TYPE_ADDKE1, TYPE_ADDKE7, TYPE_ENCR, TYPE_INTEG, TYPE_KE, TYPE_PRF, Transform,
};

/// Our offer; `spi` is empty in IKE_SA_INIT (RFC 7296 §3.3.1).
pub(crate) fn offer(ours: &[IkeProposal], spi: &[u8]) -> Vec<Proposal> {
    ours.iter()
        .zip(1..=u8::MAX)
        .map(|(p, number)| {
            let mut transforms = Vec::new();
            transforms.extend(p.encr.iter().map(|e| Transform {
                key_bits: e.key_bits(),
                ..Transform::new(TYPE_ENCR, e.transform_id())
            }));
            transforms.extend(p.prf.iter().map(|x| Transform::new(TYPE_PRF, x.transform_id())));
            transforms.extend(p.integ.iter().map(|x| Transform::new(TYPE_INTEG, x.transform_id())));
            transforms.extend(p.groups.iter().map(|x| Transform::new(TYPE_KE, x.transform_id())));
            transforms.extend(ke1_transforms(&p.ke1));
            Proposal { number, protocol: PROTOCOL_IKE, spi: spi.to_vec(), transforms }
        })
        .collect()
}

/// What was taken of an offer.
pub(crate) struct Chosen {
    pub suite: IkeSuite,
    number: u8,
    /// Their SPI, in a rekey.
    pub spi: Option<u64>,
    /// Additional key exchanges that were offered and left out.
    left_out: Vec<u8>,
}

impl Chosen {
    /// As the single proposal of an answer: one transform of each type (RFC 7296 §3.3), also where that is NONE.
    pub fn answer(&self, spi: &[u8]) -> Proposal {
        let suite = &self.suite;
        let (encr, key_bits) = (suite.encr.transform_id(), suite.encr.key_bits());
        let mut transforms = vec![
            Transform { key_bits, ..Transform::new(TYPE_ENCR, encr) },
            Transform::new(TYPE_PRF, suite.prf.transform_id()),
        ];
        transforms.extend(suite.integ.map(|i| Transform::new(TYPE_INTEG, i.transform_id())));
        transforms.push(Transform::new(TYPE_KE, suite.group.transform_id()));
        transforms.extend(suite.ke1.map(|k| Transform::new(TYPE_ADDKE1, k.transform_id())));
        transforms.extend(self.left_out.iter().map(|kind| Transform::new(*kind, NONE)));
        Proposal { number: self.number, protocol: PROTOCOL_IKE, spi: spi.to_vec(), transforms }
    }
}

/// The first of our proposals that suits one of theirs. The group of the KE payload that came with the offer is taken
/// if it is acceptable, since any other costs a round trip. `additional`: further key exchanges are possible.
pub(crate) fn choose(
    theirs: &[Proposal],
    ours: &[IkeProposal],
    sent_group: u16,
    additional: bool,
) -> Option<Chosen> {
    let kinds: Vec<u8> =
        [TYPE_ENCR, TYPE_PRF, TYPE_INTEG, TYPE_KE].into_iter().chain(TYPE_ADDKE1..=TYPE_ADDKE7).collect();
    ours.iter().find_map(|our| {
        theirs.iter().filter(|p| p.protocol == PROTOCOL_IKE && only_kinds(p, &kinds)).find_map(|p| {
            let suite = match_one(p, our, sent_group, additional)?;
            let left_out = left_out(p, suite.ke1);
            Some(Chosen { suite, number: p.number, spi: p.ike_spi().filter(|s| *s != 0), left_out })
        })
    })
}

fn match_one(p: &Proposal, our: &IkeProposal, sent_group: u16, additional: bool) -> Option<IkeSuite> {
    let encr = *our.encr.iter().find(|e| has(p, TYPE_ENCR, e.transform_id(), e.key_bits()))?;
    let prf = *our.prf.iter().find(|x| has(p, TYPE_PRF, x.transform_id(), None))?;
    let integ = if encr.is_aead() {
        if !integ_is_none(p) {
            return None;
        }
        None
    } else {
        Some(*our.integ.iter().find(|x| has(p, TYPE_INTEG, x.transform_id(), None))?)
    };
    let acceptable = |g: &&DhGroup| has(p, TYPE_KE, g.transform_id(), None);
    let group = *our
        .groups
        .iter()
        .find(|g| g.transform_id() == sent_group && acceptable(g))
        .or_else(|| our.groups.iter().find(acceptable))?;
    let ke1 = match_ke1(p, &our.ke1, additional)?;
    Some(IkeSuite { encr, integ, prf, group, ke1 })
}

/// RFC 7296 §2.7: the answer holds one proposal with one transform of each type; it must be among those that we sent.
pub(crate) fn accept(answer: &[Proposal], ours: &[IkeProposal], additional: bool) -> Option<IkeSuite> {
    let [p] = answer else { return None };
    for kind in [TYPE_ENCR, TYPE_PRF, TYPE_KE] {
        if p.of_kind(kind).count() != 1 {
            return None;
        }
    }
    if [TYPE_INTEG, TYPE_ADDKE1].into_iter().any(|kind| p.of_kind(kind).count() > 1) {
        return None;
    }
    let group = p.of_kind(TYPE_KE).next()?.id;
    let our = ours.get(usize::from(p.number).checked_sub(1)?)?;
    choose(answer, core::slice::from_ref(our), group, additional).map(|chosen| chosen.suite)
}
