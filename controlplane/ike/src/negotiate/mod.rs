//! Choosing what both sides accept (RFC 7296 §2.7, §2.9).

pub(crate) mod esp;
pub(crate) mod ike;
pub(crate) mod ts;

use crate::wire::sa::{Proposal, Transform};

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
