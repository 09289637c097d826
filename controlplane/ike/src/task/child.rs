//! A CHILD_SA and how it is made.

use super::refused::Refused;
use crate::algorithm::{EspSuite, Prf};
use crate::crypto::keys::ChildKeys;
use crate::ctx::Ctx;
use crate::keylog;
use crate::negotiate::ts::TrafficSelectors;
use crate::output::{ChildId, ChildSaKeys};
use crate::secret::Secret;
use crate::view::ChildView;
use sipsec_net::{Instant, Spi};

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Stage {
    /// The dataplane was told; `standby_of` if the peer rekeys that one.
    Installing {
        standby_of: Option<ChildId>,
    },
    /// Receives, but we send on the one it replaces until the peer is known to use this one (RFC 7296 §2.8), or `guard`.
    Standby {
        replaces: ChildId,
        guard: Instant,
    },
    /// The dataplane was told to send on it.
    Binding,
    Live,
    /// We send on its successor. It receives until the peer deletes it; after `until` we do.
    Superseded {
        until: Instant,
    },
    /// Lost against a crossing rekey before the dataplane knew of it; to be deleted at the peer.
    Redundant,
    /// Our DELETE is queued or outstanding.
    Deleting,
    /// Gone at both ends; its inbound half waits for late packets.
    Retired {
        until: Instant,
    },
}

pub(crate) struct Child {
    pub id: ChildId,
    pub spi_in: Spi,
    pub spi_out: Spi,
    pub suite: EspSuite,
    pub selectors: TrafficSelectors,
    pub established_at: Instant,
    pub rekey_at: Instant,
    pub expires_at: Instant,
    pub hard_bytes_max: u64,
    pub stage: Stage,
    /// A packet of the peer came on it.
    pub used: bool,
    /// The authentication of the call that it comes from.
    pub generation: u32,
    pub refused: Refused,
}

/// Everything a CHILD_SA is made of.
pub(crate) struct Ingredients<'a> {
    pub id: ChildId,
    pub prf: Prf,
    pub sk_d: &'a Secret,
    /// Of its own key exchange, if there was one, and of an additional one (RFC 9370 §2.2.4).
    pub shared: (Option<&'a Secret>, Option<&'a Secret>),
    pub ni: &'a [u8],
    pub nr: &'a [u8],
    /// We began the exchange (not: the IKE SA).
    pub exchange_initiator: bool,
    pub spi_in: Spi,
    pub spi_out: Spi,
    pub suite: EspSuite,
    pub selectors: TrafficSelectors,
}

/// A CHILD_SA with its keys, on the way to the dataplane.
pub(crate) struct Made {
    pub child: Child,
    pub inbound: ChildSaKeys,
    pub outbound: ChildSaKeys,
}

impl Child {
    pub fn make(ctx: &mut Ctx, now: Instant, from: Ingredients<'_>) -> Made {
        let cipher = from.suite.cipher;
        let keys = ChildKeys::derive(from.prf, from.sk_d, from.shared, (from.ni, from.nr), cipher);
        let (to_peer, to_us) = if from.exchange_initiator {
            (keys.initiator_to_responder, keys.responder_to_initiator)
        } else {
            (keys.responder_to_initiator, keys.initiator_to_responder)
        };
        let lifetime = ctx.config.child_lifetime;
        let (soft, soft_bytes_max) = lifetime.jittered(ctx.random());
        let half = |spi, keymat| ChildSaKeys {
            spi,
            cipher,
            keymat,
            esn: from.suite.esn,
            selectors: from.selectors.clone(),
            soft_bytes_max,
            hard_bytes_max: lifetime.hard_bytes_max,
        };
        let inbound = half(from.spi_in, to_us);
        let outbound = half(from.spi_out, to_peer);
        keylog::esp(ctx, &inbound, &outbound);
        let child = Self {
            id: from.id,
            spi_in: from.spi_in,
            spi_out: from.spi_out,
            suite: from.suite,
            selectors: from.selectors,
            established_at: now,
            rekey_at: now + soft,
            expires_at: now + lifetime.hard,
            hard_bytes_max: lifetime.hard_bytes_max,
            stage: Stage::Installing { standby_of: None },
            used: false,
            generation: ctx.generation(),
            refused: Refused::default(),
        };
        Made { child, inbound, outbound }
    }

    /// Carries traffic in at least one direction and is no leftover.
    pub const fn is_live(&self) -> bool {
        matches!(self.stage, Stage::Live | Stage::Standby { .. } | Stage::Binding)
    }

    pub fn view(&self) -> ChildView {
        ChildView {
            child: self.id,
            spi_in: self.spi_in,
            spi_out: self.spi_out,
            suite: self.suite,
            selectors: self.selectors.clone(),
            established_at: self.established_at,
            rekey_at: self.rekey_at,
            expires_at: self.expires_at,
            hard_bytes_max: self.hard_bytes_max,
            retired: matches!(
                self.stage,
                Stage::Redundant | Stage::Deleting | Stage::Superseded { .. } | Stage::Retired { .. }
            ),
        }
    }
}
