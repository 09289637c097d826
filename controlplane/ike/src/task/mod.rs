//! The work of an established SA, one file each. What we ask of the peer is a [`Task`] that travels with its request;
//! what waits for the request window is a [`Todo`].

mod answer_child;
mod answer_ike;
pub(crate) mod budget;
pub(crate) mod child;
mod childless;
mod create_child;
mod delete;
mod dpd;
mod early;
mod followup;
mod followup_child;
pub(crate) mod handover;
mod install;
mod lifetime;
mod lost;
mod probe;
pub(crate) mod reauth;
pub(crate) mod refused;
pub(crate) mod rekey_child;
pub(crate) mod rekey_ike;

use crate::algorithm::DhGroup;
use crate::output::ChildId;
use crate::secret::Secret;
pub(crate) use answer_child::AnswerChild;
#[cfg(feature = "fuzz")]
pub(crate) use answer_child::CHILDREN_MAX;
pub(crate) use answer_ike::AnswerIke;
pub(crate) use rekey_child::{AgreeChild, RekeyChild};
pub(crate) use rekey_ike::{AgreeIke, RekeyIke};
use sipsec_net::Spi;

/// What an outstanding request is for.
pub(crate) enum Task {
    Auth,
    /// IKE_INTERMEDIATE.
    KeyExchange,
    Dpd,
    /// INFORMATIONAL of a certain size.
    Probe,
    /// INFORMATIONAL with our token of RFC 6290.
    Token,
    DeleteChildren(Vec<ChildId>),
    DeleteIke,
    RekeyChild(Box<RekeyChild>),
    RekeyIke(Box<RekeyIke>),
    /// IKE_FOLLOWUP_KE of our rekey of the IKE SA, and of a CHILD_SA.
    FollowupIke,
    FollowupChild,
}

/// What waits for the window of 1.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Todo {
    Dpd,
    Probe,
    Token,
    DeleteChild(ChildId),
    /// What the peer has made of an offer of ours with this SPI, and we cannot use.
    DeleteOffered(Spi),
    RekeyChild(ChildId),
    /// IKE_AUTH made no CHILD_SA.
    FirstChild,
    RekeyIke,
}

/// Most waiting todos. Each kind stands in the queue once, for each child once.
pub(crate) const TODO_MAX: usize = 32;

/// Our half of a key exchange.
pub(crate) struct Dh {
    pub group: DhGroup,
    pub private: Secret,
}

/// The lower of two nonces (RFC 7296 §2.8.1: octet by octet; the end of one makes it the lower).
pub(crate) fn lower(a: &[u8], b: &[u8]) -> Vec<u8> {
    a.min(b).to_vec()
}
