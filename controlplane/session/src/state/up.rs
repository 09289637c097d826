//! The session is up: both proofs hold and the SAs are in the dataplane.

use super::one_way::OneWay;
use super::{Leg, Media};
use crate::ledger::Carried;
use sipsec_ike::{ChildId, Endpoint, FingerprintMatched, PeerAuthenticated};
use sipsec_net::dp::TunnelActivity;
use sipsec_net::{Instant, SaId};
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
    pub leg: Leg,
    pub media: Media,
    pub endpoint: Endpoint,
    pub proofs: Proofs,
    pub children: BTreeMap<ChildId, ChildSas>,
    pub since: Instant,
    pub activity: TunnelActivity,
    /// What the tunnel had carried when this session began, once the dataplane has said it.
    began: Option<TunnelActivity>,
    /// Responder only: when to send what waits in the trigger queue, and the outbound SA to bind first.
    pub release: Option<(Instant, Option<SaId>)>,
    check_at: Instant,
    every: Duration,
    ends_at: Option<Instant>,
    one_way: OneWay,
}

impl Up {
    #[expect(clippy::too_many_arguments, reason = "everything that makes a session, each exactly once")]
    pub fn new(
        now: Instant,
        leg: Leg,
        media: Media,
        endpoint: Endpoint,
        proofs: Proofs,
        child: (ChildId, ChildSas),
        idle: Duration,
        call_max: Option<Duration>,
        silence: Duration,
    ) -> Self {
        // Twice within it: DPD on demand and keepalives are for when the dataplane has heard or sent nothing.
        let every = ACTIVITY_EVERY.min(silence / 2);
        let ends_at = call_max.map(|max| leg.answered_at.unwrap_or(now) + max);
        Self {
            leg,
            media,
            endpoint,
            proofs,
            children: BTreeMap::from([child]),
            since: now,
            activity: TunnelActivity::default(),
            began: None,
            release: None,
            check_at: now + idle.min(every),
            every,
            ends_at,
            one_way: OneWay::default(),
        }
    }

    /// Another bound of the call, counted from its answer.
    pub fn set_call_max(&mut self, call_max: Option<Duration>) {
        self.ends_at = call_max.map(|max| self.leg.answered_at.unwrap_or(self.since) + max);
    }

    #[must_use]
    pub fn due(&self) -> Instant {
        let release_at = self.release.map(|(at, _)| at);
        [self.ends_at, release_at].into_iter().flatten().fold(self.check_at, Instant::min)
    }

    #[must_use]
    pub fn wants_activity(&self, now: Instant) -> bool {
        self.check_at <= now
    }

    #[must_use]
    pub fn over_limit(&self, now: Instant) -> bool {
        self.ends_at.is_some_and(|at| at <= now)
    }

    /// The last data, or the beginning. DPD and IKE do not count (RFC 7296 §2.4 is about liveness, not use).
    #[must_use]
    pub fn last_data(&self) -> Instant {
        self.activity.last_data().max(self.since)
    }

    /// What the dataplane said; `true` once it has been idle too long.
    pub fn looked_at(&mut self, now: Instant, activity: TunnelActivity, idle: Duration) -> bool {
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
}
