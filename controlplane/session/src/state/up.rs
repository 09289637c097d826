//! The session is up: both proofs hold and the SAs are in the dataplane.

use super::one_way::OneWay;
use super::{Bounds, CallMedia, Ended, Leg, State};
use crate::ledger::Carried;
use sipsec_ike::{ChildId, Endpoint, FingerprintMatched, PeerAuthenticated};
use sipsec_net::dp::TunnelActivity;
use sipsec_net::{Instant, SaId};
use sipsec_sip::sdp::SetupRole;
use std::collections::BTreeMap;
use std::time::Duration;

/// IKE authentication and the SDP fingerprint: made by `sipsec-ike` alone, for one IKE SA, and both are needed for [`Up`].
#[derive(Debug)]
pub struct Proofs {
    peer: PeerAuthenticated,
    fingerprint: FingerprintMatched,
}

impl Proofs {
    /// `None` if they are of two IKE SAs.
    #[must_use]
    pub fn new(peer: PeerAuthenticated, fingerprint: FingerprintMatched) -> Option<Self> {
        (peer.sa() == fingerprint.sa()).then_some(Self { peer, fingerprint })
    }

    #[must_use]
    pub const fn peer(&self) -> &PeerAuthenticated {
        &self.peer
    }

    #[must_use]
    pub const fn fingerprint(&self) -> &FingerprintMatched {
        &self.fingerprint
    }
}

/// How often, at least, the dataplane is asked when it last heard and sent, for dead peer detection and NAT keepalives.
const ACTIVITY_EVERY: Duration = Duration::from_secs(1);

#[derive(Clone, Copy, Debug)]
pub struct ChildSas {
    pub inbound: SaId,
    pub outbound: SaId,
    /// What the tunnel had carried when these began, once the dataplane has said it.
    pub began: Option<TunnelActivity>,
}

#[derive(Debug)]
pub struct Up {
    pub(super) leg: Leg,
    pub(super) media: CallMedia,
    pub(super) endpoint: Endpoint,
    proofs: Proofs,
    children: BTreeMap<ChildId, ChildSas>,
    since: Instant,
    activity: TunnelActivity,
    /// What the tunnel had carried when this session began, once the dataplane has said it.
    began: Option<TunnelActivity>,
    /// Responder only: when to send what waits in the trigger queue, and the outbound SA to bind first.
    release: Option<(Instant, Option<SaId>)>,
    check_at: Instant,
    every: Duration,
    ends_at: Option<Instant>,
    one_way: OneWay,
}

impl From<Up> for State {
    fn from(up: Up) -> Self {
        Self::Up(Box::new(up))
    }
}

impl Up {
    pub(super) fn new(
        now: Instant,
        (leg, media, endpoint): (Leg, CallMedia, Endpoint),
        proofs: Proofs,
        first: (ChildId, ChildSas),
        bounds: Bounds,
    ) -> Self {
        // Twice within it: DPD on demand and keepalives are for when the dataplane has heard or sent nothing.
        let every = ACTIVITY_EVERY.min(bounds.silence / 2);
        let ends_at = bounds.call_max.map(|max| leg.answered_at.unwrap_or(now) + max);
        let responder = matches!(media.role, SetupRole::Passive);
        let release = responder.then_some((now + bounds.responder_hold, Some(first.1.outbound)));
        Self {
            leg,
            media,
            endpoint,
            proofs,
            children: BTreeMap::from([first]),
            since: now,
            activity: TunnelActivity::default(),
            began: None,
            release,
            check_at: now + bounds.idle.min(every),
            every,
            ends_at,
            one_way: OneWay::default(),
        }
    }

    /// Another bound of the call, counted from its answer.
    pub fn set_call_max(&mut self, call_max: Option<Duration>) {
        self.ends_at = call_max.map(|max| self.leg.answered_at.unwrap_or(self.since) + max);
    }

    // ---- its CHILD_SAs ----

    /// No CHILD_SA is left: another is being negotiated, or the end is near.
    #[must_use]
    pub fn is_bare(&self) -> bool {
        self.children.is_empty()
    }

    /// A CHILD_SA that takes the place of one that was removed. What waits in the trigger queue goes with it.
    pub fn adopt(&mut self, child: ChildId, sas: ChildSas) {
        self.children.insert(child, sas);
        self.release = None;
    }

    /// A CHILD_SA from a rekey.
    pub fn replace(&mut self, child: ChildId, sas: ChildSas) {
        self.children.insert(child, sas);
    }

    /// The dataplane has refused it.
    pub fn refuse(&mut self, child: ChildId) {
        self.children.remove(&child);
    }

    /// IKE has deleted it. What waits for its SA waits for the next one.
    pub fn delete(&mut self, child: ChildId) -> Option<ChildSas> {
        let sas = self.children.remove(&child)?;
        self.release.take_if(|(_, sa)| *sa == Some(sas.outbound));
        Some(sas)
    }

    #[must_use]
    pub fn sas(&self, child: ChildId) -> Option<&ChildSas> {
        self.children.get(&child)
    }

    /// The CHILD_SA that an SA is a half of.
    #[must_use]
    pub fn child_of(&self, sa: SaId) -> Option<ChildId> {
        let its = self.children.iter().find(|(_, sas)| sas.inbound == sa || sas.outbound == sa);
        its.map(|(child, _)| *child)
    }

    /// What the tunnel had carried when each of them began, as far as it is known.
    #[must_use]
    pub fn children_began(&self) -> BTreeMap<ChildId, TunnelActivity> {
        self.children.iter().filter_map(|(id, sas)| Some((*id, sas.began?))).collect()
    }

    // ---- the trigger queue ----

    /// Nothing is kept back: what waits in the trigger queue may be sent at once.
    #[must_use]
    pub const fn has_released(&self) -> bool {
        self.release.is_none()
    }

    #[must_use]
    pub(super) const fn release_at(&self) -> Option<Instant> {
        match self.release {
            Some((at, _)) => Some(at),
            None => None,
        }
    }

    /// What waits in the trigger queue is sent; the SA to bind before.
    pub fn release(&mut self) -> Option<SaId> {
        self.release.take().and_then(|(_, sa)| sa)
    }

    /// A rekey has bound the tunnel to another SA.
    pub const fn bound_anew(&mut self) {
        if let Some((_, sa)) = &mut self.release {
            *sa = None;
        }
    }

    // ---- its life ----

    /// A further IKE SA of the call is authenticated.
    pub fn authenticated(&mut self, proofs: Proofs) {
        self.proofs = proofs;
    }

    #[must_use]
    pub const fn proofs(&self) -> &Proofs {
        &self.proofs
    }

    #[must_use]
    pub const fn since(&self) -> Instant {
        self.since
    }

    #[must_use]
    pub const fn activity(&self) -> TunnelActivity {
        self.activity
    }

    /// The latest end of the call.
    #[must_use]
    pub const fn ends_at(&self) -> Option<Instant> {
        self.ends_at
    }

    /// When the dataplane is asked next.
    #[must_use]
    pub const fn check_at(&self) -> Instant {
        self.check_at
    }

    /// The last data, or the beginning. DPD and IKE do not count (RFC 7296 §2.4 is about liveness, not use).
    #[must_use]
    pub fn last_data(&self) -> Instant {
        self.activity.last_data().max(self.since)
    }

    /// When data last came from the peer, in this session or before.
    pub const fn last_in(&self) -> Instant {
        self.activity.last_in
    }

    /// When data or IKE last came from the peer.
    pub const fn last_heard(&self) -> Instant {
        self.endpoint.last_heard()
    }

    /// What the dataplane said; `true` once it has been idle too long.
    pub fn looked_at(&mut self, now: Instant, activity: TunnelActivity, idle: Duration) -> bool {
        self.endpoint.traffic_seen(now, activity.last_in, activity.last_out);
        self.activity = activity;
        self.began.get_or_insert(activity);
        for sas in self.children.values_mut() {
            sas.began.get_or_insert(activity);
        }
        let idle_at = self.last_data() + idle;
        self.check_at = idle_at.min(now + self.every);
        idle_at <= now
    }

    /// How long packets have left and none has come, if that is `limit` or more.
    pub fn one_way(&mut self, limit: Option<Duration>) -> Option<Duration> {
        self.one_way.looked_at(self.activity, limit?)
    }

    /// User data of this session, as far as the dataplane has told it.
    #[must_use]
    pub fn carried(&self) -> Carried {
        let Some(began) = self.began else { return Carried::default() };
        let a = &self.activity;
        Carried {
            packets_in: a.packets_in.saturating_sub(began.packets_in),
            bytes_in: a.bytes_in.saturating_sub(began.bytes_in),
            packets_out: a.packets_out.saturating_sub(began.packets_out),
            bytes_out: a.bytes_out.saturating_sub(began.bytes_out),
        }
    }

    /// The question is out; the next one comes if no answer does.
    pub fn asked(&mut self, now: Instant) {
        self.check_at = now + self.every;
    }

    #[must_use]
    pub(super) fn end(self) -> Ended {
        let sas = self.children.into_values().collect();
        Ended { leg: self.leg, port_asked: true, endpoint: Some(self.endpoint), sas, bound: true }
    }
}
