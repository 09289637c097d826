//! What an endpoint wants done and what it has to say.

use crate::auth::{FingerprintMatched, PeerAuthenticated};
use crate::compute::{Job, JobId};
use crate::error::{CloseCause, IkeError};
use crate::keylog::KeyLogEntry;
use crate::negotiate::ts::TrafficSelectors;
use sipsec_net::dp::{EspCipher, KEYMAT_MAX};
use sipsec_net::{SecretBox, Spi};

#[derive(Debug)]
pub enum Output {
    /// An IKE message for the peer, without the non-ESP marker.
    Transmit(Vec<u8>),
    /// The same for a probe of the path: over IPv4 with DF, since it asks whether its size passes (RFC 8899 §3).
    Probe(Vec<u8>),
    /// One 0xFF byte for the peer, without a marker (RFC 3948 §2.3).
    NatKeepalive,
    /// Run it off the loop and give the outcome to [`crate::Endpoint::handle_compute`].
    Compute(JobId, Job),
    Event(Event),
}

/// A CHILD_SA of one endpoint; never reused.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct ChildId(pub u32);

#[derive(Debug)]
pub enum Event {
    /// Both proofs hold, for a new IKE SA. Comes before its first [`Event::ChildSaUp`] or [`Event::ChildSaReplaced`]; each
    /// further IKE SA of the call brings its own.
    Authenticated(PeerAuthenticated, FingerprintMatched),
    /// A further IKE SA of the call was not made. The one before goes on.
    ReauthFailed(IkeError),
    /// Install both SAs and bind the tunnel, then call [`crate::Endpoint::handle_child_installed`]: the responder's
    /// answer waits for it, since the initiator may send ESP as soon as it has that answer.
    ChildSaUp { child: ChildId, inbound: ChildSaKeys, outbound: ChildSaKeys },
    /// A rekey: install both SAs of `child` beside those of `old`, bind the tunnel to the new outbound SA at once if
    /// `bind` (RFC 7296 §2.8: the initiator of a rekey may send on the new SA, its responder waits for the peer),
    /// then call [`crate::Endpoint::handle_child_installed`].
    ChildSaReplaced { old: ChildId, child: ChildId, inbound: ChildSaKeys, outbound: ChildSaKeys, bind: bool },
    /// The peer is on the new SA: bind the tunnel to the outbound SA of `child`, then call
    /// [`crate::Endpoint::handle_child_installed`].
    ChildSaBind { child: ChildId },
    /// The largest IP packet that the path to the peer is known to carry, once one was lost for its size; `None`: nothing is
    /// known to be lost any more.
    PathMtu { mtu: Option<u16> },
    /// Remove both SAs of `child`.
    ChildSaDown { child: ChildId, cause: ChildDownCause },
    /// An offer in clear that suits nothing of ours was answered NO_PROPOSAL_CHOSEN. A forger could have sent it, so
    /// the endpoint listens on; when nothing better comes, this is why.
    Refused { ours: String, theirs: String },
    /// The end, before or after the SA was up; every child is down with it.
    Failed(IkeError),
    /// The end, as asked by us or the peer; every child is down with it.
    Closed(CloseCause),
    /// Only with [`crate::EndpointConfig::lab_key_log`].
    KeyLog(KeyLogEntry),
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ChildDownCause {
    /// Its successor carries the traffic.
    Replaced,
    /// The peer deleted it.
    PeerDeleted,
    /// Its hard limit was reached before a rekey succeeded.
    HardLimit,
    /// It was never used: a crossing rekey won, or the dataplane refused it.
    Abandoned,
}

/// One direction of a CHILD_SA.
#[derive(Clone, Debug)]
pub struct ChildSaKeys {
    pub spi: Spi,
    pub cipher: EspCipher,
    /// Key ‖ salt.
    pub keymat: SecretBox<KEYMAT_MAX>,
    pub esn: bool,
    pub selectors: TrafficSelectors,
    /// From [`crate::EndpointConfig::child_lifetime`]; 0 for none.
    pub soft_bytes_max: u64,
    pub hard_bytes_max: u64,
}
