//! The call is answered and costs money; IKE runs against a deadline.

use super::{CallMedia, ChildSas, Draining, Ended, Leg, Proofs, State, Up};
use crate::failure::Evidence;
use crate::failure::SessionFailure;
use sipsec_ike::{ChildId, Endpoint, FingerprintMatched, PeerAuthenticated};
use sipsec_net::Instant;
use sipsec_sip::sdp::SetupRole;
use std::net::SocketAddr;
use std::time::Duration;

#[derive(Debug)]
pub struct Negotiating {
    pub(super) leg: Leg,
    pub(super) media: CallMedia,
    pub(super) endpoint: Endpoint,
    pub(super) deadline: Instant,
    proofs: Option<Proofs>,
    /// The first child, on its way into the dataplane.
    installing: Option<(ChildId, ChildSas)>,
    evidence: Evidence,
}

/// What bounds a session that comes up.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    pub idle: Duration,
    pub call_max: Option<Duration>,
    /// The shortest silence that dead peer detection or a NAT keepalive looks for.
    pub silence: Duration,
    /// How long a responder keeps its trigger queue back.
    pub responder_hold: Duration,
}

impl From<Negotiating> for State {
    fn from(n: Negotiating) -> Self {
        Self::Negotiating(Box::new(n))
    }
}

impl Negotiating {
    pub(super) fn new(leg: Leg, media: CallMedia, endpoint: Endpoint, deadline: Instant) -> Self {
        let evidence = Evidence::default();
        Self { leg, media, endpoint, deadline, proofs: None, installing: None, evidence }
    }

    // ---- what is seen meanwhile ----

    pub const fn evidence(&self) -> &Evidence {
        &self.evidence
    }

    pub fn sends(&mut self, message: &[u8]) {
        self.evidence.sends(message);
    }

    pub fn hears(&mut self, message: &[u8]) {
        self.evidence.hears(message);
    }

    pub const fn next_hop_known(&mut self) {
        self.evidence.next_hop_known = true;
    }

    pub const fn heard_from_elsewhere(&mut self, from: SocketAddr) {
        self.evidence.wrong_source = Some(from);
        self.evidence.expected_source = Some(self.media.remote);
    }

    pub fn refused(&mut self, ours: String, theirs: String) {
        self.evidence.refused = Some((ours, theirs));
    }

    // ---- steps ----

    /// The media port is open; whether IKE may start: the active side starts it once the peer knows its address.
    pub const fn port_opened(&mut self) -> bool {
        self.media.open = true;
        self.evidence.port_open = true;
        self.evidence.next_hop_known = true;
        self.leg.caller || self.leg.acknowledged || matches!(self.media.role, SetupRole::Passive)
    }

    /// Our 200 is out: from here on the call is paid.
    pub const fn accepted(&mut self, now: Instant) {
        self.leg.answered_at = Some(now);
    }

    /// The ACK for our 200 has come; whether IKE starts with it.
    pub const fn acknowledged(&mut self) -> bool {
        self.leg.acknowledged = true;
        !self.leg.caller && matches!(self.media.role, SetupRole::Active)
    }

    pub fn authenticated(&mut self, peer: PeerAuthenticated, fingerprint: FingerprintMatched) {
        self.proofs = Proofs::new(peer, fingerprint);
    }

    pub const fn install(&mut self, child: ChildId, sas: ChildSas) {
        self.installing = Some((child, sas));
    }

    /// The dataplane has refused the child.
    pub const fn not_installed(&mut self) {
        self.installing = None;
    }

    /// IKE has deleted the child: its SAs, if it was on its way into the dataplane.
    pub fn delete(&mut self, child: ChildId) -> Option<ChildSas> {
        self.installing.take_if(|(c, _)| *c == child).map(|(_, sas)| sas)
    }

    pub fn is_installing(&self, child: ChildId) -> bool {
        self.installing.is_some_and(|(c, _)| c == child)
    }

    /// The first child is in the dataplane. The session is up if both proofs are there, which the endpoint gives before a child.
    #[must_use]
    pub fn installed(mut self, now: Instant, child: ChildId, bounds: Bounds) -> State {
        match (self.installing.take_if(|(c, _)| *c == child), self.proofs.take()) {
            (Some(first), Some(proofs)) => {
                self.endpoint.handle_child_installed(now, child);
                Up::new(now, (self.leg, self.media, self.endpoint), proofs, first, bounds).into()
            }
            (installing, proofs) => {
                Self { installing: installing.or(self.installing), proofs, ..self }.into()
            }
        }
    }

    /// Whether IKE could still tell why the peer hangs up.
    pub const fn listens(&self) -> bool {
        self.media.open && self.installing.is_none()
    }

    /// The peer has hung up: IKE goes on until it tells the reason, or time is up.
    #[must_use]
    pub fn listen(self, now: Instant, otherwise: SessionFailure) -> State {
        let call = self.leg.call.id();
        let draining = Draining::listening(now, call, self.leg.media_port, self.endpoint, otherwise);
        self.leg.call.ended();
        State::Draining(draining)
    }

    #[must_use]
    pub(super) fn end(self) -> Ended {
        // SAs that are on their way in would otherwise stay.
        let sas: Vec<_> = self.installing.map(|(_, sas)| sas).into_iter().collect();
        let bound = !sas.is_empty();
        Ended { leg: self.leg, port_asked: self.media.asked, endpoint: Some(self.endpoint), sas, bound }
    }
}
