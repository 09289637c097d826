//! Choosing what both sides accept (RFC 7296 §2.7, §2.9).

pub(crate) mod esp;
pub(crate) mod ike;
pub(crate) mod ts;

use crate::algorithm::DhGroup;
use crate::wire::sa::{Proposal, TYPE_ADDKE1, TYPE_ADDKE7, Transform};

/// RFC 9370 §2.2.1: the Transform ID that makes an additional key exchange optional.
const NONE: u16 = 0;

/// RFC 9370 §2.2.1: what we do not do can be left out only if NONE is among it.
fn can_omit(p: &Proposal, kind: u8) -> bool {
    !p.has_kind(kind) || has(p, kind, NONE, None)
}

/// The additional key exchanges of an offer; its answer names each, also where that is NONE (RFC 7296 §3.3).
fn additional_kinds(p: &Proposal) -> impl Iterator<Item = u8> {
    (TYPE_ADDKE1..=TYPE_ADDKE7).filter(|kind| p.has_kind(*kind))
}

/// Which additional key exchange is done of those offered; the inner `None` is none. `possible`: one can be done.
fn match_ke1(p: &Proposal, ours: &[Option<DhGroup>], possible: bool) -> Option<Option<DhGroup>> {
    let wanted = if ours.is_empty() { &[None] } else { ours };
    let suits = |k: &&Option<DhGroup>| match k {
        Some(k) => possible && has(p, TYPE_ADDKE1, k.transform_id(), None),
        None => can_omit(p, TYPE_ADDKE1),
    };
    let others_omitted = (TYPE_ADDKE1 + 1..=TYPE_ADDKE7).all(|kind| can_omit(p, kind));
    wanted.iter().find(suits).filter(|_| others_omitted).copied()
}

/// In the order of preference.
fn ke1_transforms(ke1: &[Option<DhGroup>]) -> impl Iterator<Item = Transform> {
    ke1.iter().map(|k| Transform::new(TYPE_ADDKE1, k.map_or(NONE, DhGroup::transform_id)))
}

/// The additional key exchanges of an offer that are not done.
fn left_out(p: &Proposal, ke1: Option<DhGroup>) -> Vec<u8> {
    additional_kinds(p).filter(|kind| *kind != TYPE_ADDKE1 || ke1.is_none()).collect()
}

/// RFC 7296 §3.3.6: a proposal with a transform type that we do not know is passed over as a whole.
fn only_kinds(p: &Proposal, kinds: &[u8]) -> bool {
    p.transforms.iter().all(|t| kinds.contains(&t.kind))
}

/// RFC 7296 §3.3.3 and RFC 5282 §8: an integrity transform of NONE is the same as none.
fn integ_is_none(p: &Proposal) -> bool {
    p.transforms.iter().all(|t| t.kind != crate::wire::sa::TYPE_INTEG || t.id == 0)
}

fn has(p: &Proposal, kind: u8, id: u16, key_bits: Option<u16>) -> bool {
    p.of_kind(kind).any(|t| t.id == id && t.key_bits == key_bits)
}

/// What a peer offered, for the log: IANA numbers, since it may be what we have no name for.
pub(crate) fn describe(proposals: &[Proposal]) -> String {
    use core::fmt::Write;
    /// Enough for a log line.
    const SHOWN_MAX: usize = 8;
    let mut out = String::new();
    for p in proposals.iter().take(SHOWN_MAX) {
        let _ = write!(out, "{}#{}(", if out.is_empty() { "" } else { " " }, p.number);
        for (i, Transform { kind, id, key_bits, .. }) in p.transforms.iter().enumerate() {
            let _ = write!(out, "{}{kind}:{id}", if i == 0 { "" } else { "," });
            if let Some(bits) = key_bits {
                let _ = write!(out, "/{bits}");
            }
        }
        out.push(')');
    }
    out
}
