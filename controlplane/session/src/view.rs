//! The data of the show commands.

use crate::carriers::CarrierId;
use crate::config::TunnelConfig;
use crate::core::Core;
use crate::failure::SessionFailure;
use crate::state::State;
use sipsec_ike::{ChildId, CrashTokens, FingerprintBasis, Identity, SaView};
use sipsec_net::dp::TunnelActivity;
use sipsec_net::{Instant, Kbps, TelNumber, TunnelId};
use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::ops::Range;
use std::time::Duration;

#[derive(Clone, Debug)]
pub struct SessionView {
    pub tunnel: TunnelId,
    pub interface: String,
    pub status: &'static str,
    /// Whether we placed the call; `None` without one.
    pub caller: Option<bool>,
    /// Since the session is up, or since the call was answered.
    pub uptime: Option<Duration>,
    /// Since the answer: what the carrier charges.
    pub charged_for: Option<Duration>,
    pub remote_number: TelNumber,
    pub local_number: TelNumber,
    pub remote: Option<SocketAddr>,
    /// The source port of the peer's packets, if it was learnt and is not that of `remote`.
    pub peer_port: Option<u16>,
    pub local_ip: Option<IpAddr>,
    pub local_port: u16,
    pub sip_call: Option<u64>,
    pub bandwidth_configured: Kbps,
    pub bandwidth_negotiated: Option<Kbps>,
    pub last_failure: Option<FailureView>,
    pub retry_in: Option<Duration>,
    pub waits_for: Option<&'static str>,
    /// Calls of this tunnel that may still be charged although they were hung up.
    pub unconfirmed: Vec<UnconfirmedView>,
    pub phases: Vec<(&'static str, Duration)>,
    pub idle_max: Duration,
    pub activity: Option<TunnelActivity>,
}

/// What a tunnel is doing. It borrows, so that looking at thousands of tunnels allocates nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TunnelStatus<'a> {
    pub tunnel: TunnelId,
    pub interface: &'a str,
    pub remote_number: TelNumber,
    pub status: &'static str,
    /// A call is being placed, received or is up.
    pub in_call: bool,
    /// The last call failed. An operator's clear, and a call that lasts or ends as it should, ends this.
    pub failed: bool,
    /// Why no call can be placed now.
    pub waits_for: Option<&'static str>,
    /// A failure or a busy peer holds the next call back.
    pub backs_off: bool,
}

/// A call that was hung up, and whose end neither the peer nor the carrier has confirmed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnconfirmedView {
    /// `None` if it is of no tunnel of this profile.
    pub interface: Option<String>,
    pub remote_number: Option<TelNumber>,
    /// The Call-ID header field.
    pub call_id: String,
    /// An earlier run of this process placed or received it.
    pub recovered: bool,
    /// Since the answer; `None` if that is not known.
    pub charged_for: Option<Duration>,
    /// Since it was hung up.
    pub hung_up_ago: Duration,
    /// A BYE was refused, not answered in time, or could not be sent.
    pub owed: bool,
    /// The status with which the last BYE was refused.
    pub refused: Option<u16>,
    /// Until the next BYE is sent; `None` while one is being repeated, or while the WAN has no address.
    pub next_bye_in: Option<Duration>,
}

#[derive(Clone, Debug)]
pub struct FailureView {
    pub failure: SessionFailure,
    pub ago: Duration,
    pub count: u32,
}

#[derive(Clone, Debug)]
pub struct CryptoView {
    pub tunnel: TunnelId,
    pub interface: String,
    pub status: &'static str,
    pub uptime: Option<Duration>,
    pub peer: Option<SocketAddr>,
    /// IKE's own address inside the PAT.
    pub inside_local: SocketAddr,
    pub remote_number: TelNumber,
    /// Whom the peer proved to be, and what its key was compared with.
    pub phase1_id: Option<Identity>,
    pub fingerprint: Option<FingerprintBasis>,
    pub sa: Option<SaView>,
    /// What the tunnel had carried when each CHILD_SA began.
    pub began: BTreeMap<ChildId, TunnelActivity>,
    pub activity: Option<TunnelActivity>,
}

/// One binding of the PAT, in the columns of `show ip nat translations`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Translation {
    pub inside_local: SocketAddr,
    pub inside_global: SocketAddr,
    pub outside: SocketAddr,
}

impl Core {
    #[must_use]
    pub fn sessions(&self, now: Instant) -> Vec<SessionView> {
        self.sessions_in(now, 0..self.tunnels.places())
    }

    /// All tunnels, in the order of the profile.
    pub fn statuses(&self, now: Instant) -> impl Iterator<Item = TunnelStatus<'_>> + '_ {
        self.tunnels.enumerated().map(move |(i, t)| TunnelStatus {
            tunnel: t.config().id(),
            interface: &t.config().name,
            remote_number: t.config().remote_number,
            status: t.state().word(),
            in_call: t.state().leg().is_some(),
            failed: t.last_failure().is_some() && t.failures() > 0,
            waits_for: if t.ready() { self.may_dial(i).err() } else { None },
            backs_off: t.retry_at().is_some_and(|at| at > now),
        })
    }

    /// The places of the list of sessions. One that a removed tunnel has left is empty.
    #[must_use]
    pub const fn session_places(&self) -> usize {
        self.tunnels.places()
    }

    /// What tunnels at these places of the list of sessions are to be.
    pub fn tunnel_configs_in(&self, places: Range<usize>) -> impl Iterator<Item = &TunnelConfig> + '_ {
        let end = places.end.min(self.tunnels.places());
        (places.start..end).filter_map(|i| self.tunnels.get(i)).map(|t| t.config())
    }

    /// Those at these places of the list, as far as it reaches.
    #[must_use]
    pub fn sessions_in(&self, now: Instant, places: Range<usize>) -> Vec<SessionView> {
        let since = |at: Instant| now.saturating_duration_since(at);
        let mut unconfirmed: BTreeMap<usize, Vec<UnconfirmedView>> = BTreeMap::new();
        for (tunnel, view) in self.unconfirmed(now, |tunnel| tunnel.is_some_and(|i| places.contains(&i))) {
            unconfirmed.entry(tunnel.unwrap_or_default()).or_default().push(view);
        }
        (places.start..places.end.min(self.tunnels.places()))
            .filter_map(|i| Some((i, self.tunnels.get(i)?)))
            .map(|(i, t)| {
                let leg = t.state().leg();
                let media = t.state().media();
                let up = match t.state() {
                    State::Up(u) => Some(u),
                    _ => None,
                };
                let begun = t.phases().first().map(|(_, at)| *at);
                SessionView {
                    tunnel: t.config().id(),
                    interface: t.config().name.clone(),
                    status: t.state().word(),
                    caller: leg.map(|l| l.caller),
                    uptime: up.map(|u| u.since()).or_else(|| leg.and_then(|l| l.answered_at)).map(since),
                    charged_for: leg.and_then(|l| l.answered_at).map(since),
                    remote_number: t.config().remote_number,
                    local_number: t.config().local_number,
                    remote: media.map(|m| m.remote),
                    peer_port: media.and_then(|m| m.peer_port.filter(|port| *port != m.remote.port())),
                    local_ip: t.state().local_ip().or_else(|| self.call_ip(now, i)),
                    local_port: leg.map_or(0, |l| l.media_port.0),
                    sip_call: t.state().call_id().map(sipsec_sip::CallId::number),
                    bandwidth_configured: t.config().bandwidth,
                    bandwidth_negotiated: media.map(|m| m.rate),
                    last_failure: t.last_failure().map(|(at, failure)| FailureView {
                        failure: failure.clone(),
                        ago: since(*at),
                        count: t.failures(),
                    }),
                    retry_in: t.retry_at().map(|at| at.saturating_duration_since(now)),
                    unconfirmed: unconfirmed.remove(&i).unwrap_or_default(),
                    waits_for: if t.ready() { self.may_dial(i).err() } else { None },
                    phases: t
                        .phases()
                        .iter()
                        .map(|(name, at)| {
                            (*name, begun.map_or(Duration::ZERO, |b| at.saturating_duration_since(b)))
                        })
                        .collect(),
                    idle_max: t.config().idle,
                    activity: up.map(|u| u.activity()),
                }
            })
            .collect()
    }

    fn unconfirmed(
        &self,
        now: Instant,
        of: impl Fn(Option<usize>) -> bool,
    ) -> impl Iterator<Item = (Option<usize>, UnconfirmedView)> {
        let since = move |at: Instant| now.saturating_duration_since(at);
        self.calls.values().filter_map(move |l| {
            let bye = l.bye.as_ref().filter(|_| of(l.tunnel))?;
            let view = UnconfirmedView {
                interface: l.tunnel.map(|i| self.tunnels[i].config().name.clone()),
                remote_number: l.remote,
                call_id: l.call_id.clone(),
                recovered: l.origin == crate::ledger::Origin::Recovered,
                charged_for: l.answered.map(since),
                hung_up_ago: since(bye.since),
                owed: bye.owed,
                refused: bye.refused,
                next_bye_in: bye.next_at.map(|at| at.saturating_duration_since(now)),
            };
            Some((l.tunnel, view))
        })
    }

    /// Calls that were hung up and may still be charged, of all tunnels and of earlier runs.
    #[must_use]
    pub fn unconfirmed_calls(&self, now: Instant) -> Vec<UnconfirmedView> {
        self.unconfirmed(now, |_| true).map(|(_, view)| view).collect()
    }

    /// BYEs so far that were refused, not answered in time or could not be sent; each was or is sent again.
    #[must_use]
    pub const fn byes_owed(&self) -> u64 {
        self.byes_owed
    }

    /// Calls so far whose peer sent from another port than that of SDP.
    #[must_use]
    pub const fn peer_ports_learnt(&self) -> u64 {
        self.peer_ports_learnt
    }

    /// Of all calls since the start.
    #[must_use]
    pub const fn crash_tokens(&self) -> CrashTokens {
        self.crash_tokens
    }

    #[must_use]
    pub fn crypto_sessions(&self, now: Instant) -> Vec<CryptoView> {
        self.crypto_sessions_in(now, 0..self.tunnels.places())
    }

    /// The carriers of the profile, with their names.
    pub fn carriers(&self) -> impl Iterator<Item = (CarrierId, &str)> + '_ {
        self.carriers.names()
    }

    pub fn registrations(&self) -> impl Iterator<Item = (CarrierId, sipsec_sip::RegistrationView)> + '_ {
        self.carriers.registrations()
    }

    /// Those at these places of the list, as far as it reaches.
    #[must_use]
    pub fn crypto_sessions_in(&self, now: Instant, places: Range<usize>) -> Vec<CryptoView> {
        let inside_local = SocketAddr::new(self.config.media.tunnel_source, 4500);
        (places.start..places.end.min(self.tunnels.places()))
            .filter_map(|i| self.tunnels.get(i))
            .map(|t| CryptoView {
                tunnel: t.config().id(),
                interface: t.config().name.clone(),
                status: match t.state() {
                    State::Up(_) => "UP-ACTIVE",
                    State::Negotiating(_) => "DOWN-NEGOTIATING",
                    _ => "DOWN",
                },
                uptime: match t.state() {
                    State::Up(u) => Some(now.saturating_duration_since(u.since())),
                    _ => None,
                },
                peer: t.state().media().map(|m| m.remote),
                inside_local,
                remote_number: t.config().remote_number,
                phase1_id: match t.state() {
                    State::Up(u) => Some(u.proofs().peer().id().clone()),
                    _ => None,
                },
                fingerprint: match t.state() {
                    State::Up(u) => Some(u.proofs().fingerprint().basis()),
                    _ => None,
                },
                began: match t.state() {
                    State::Up(u) => u.children_began(),
                    _ => BTreeMap::new(),
                },
                sa: t.state().endpoint().map(sipsec_ike::Endpoint::view),
                activity: match t.state() {
                    State::Up(u) => Some(u.activity()),
                    _ => None,
                },
            })
            .collect()
    }

    #[must_use]
    pub fn nat_translations(&self) -> Vec<Translation> {
        let inside_local = SocketAddr::new(self.config.media.tunnel_source, 4500);
        self.tunnels
            .iter()
            .filter_map(|t| t.state().media())
            .filter(|m| m.is_asked())
            .map(|m| Translation { inside_local, inside_global: m.local, outside: m.remote })
            .collect()
    }

    /// Whether SIP reads datagrams from this address at all. One from elsewhere is counted, and a log should leave it out.
    #[must_use]
    pub fn sip_trusts(&self, carrier: CarrierId, from: std::net::SocketAddr) -> bool {
        self.carriers.get(carrier).is_some_and(|c| c.ua.trusts(from))
    }

    /// Counters of SIP, of all carriers.
    #[must_use]
    pub fn sip_stats(&self) -> sipsec_sip::Stats {
        self.carriers.stats()
    }

    /// Counters of SIP, of one carrier.
    #[must_use]
    pub fn carrier_stats(&self, carrier: CarrierId) -> sipsec_sip::Stats {
        self.carriers.get(carrier).map(|c| *c.ua.stats()).unwrap_or_default()
    }
}
