//! Tunnels and their calls.

use crate::api::model::{Failure, Mtu, Phase, Rates, Role, Session, Summary, Traffic, Unconfirmed};
use crate::api::{Page, Reply, Target};
use crate::clock;
use crate::runtime::Runtime;
use sipsec_net::dp::TunnelActivity;
use sipsec_net::{Instant, TunnelId};
use sipsec_session::{SessionView, UnconfirmedView};
use sipsec_sip::RegistrationState;
use std::time::Duration;

/// IOS shows handles with the top bit set; ours carry the tunnel's and the call's number.
const HANDLE: u32 = 0x8000_0000;

impl Runtime {
    pub(super) fn sessions(&mut self, target: &Target, page: Page) -> Reply {
        let now = clock::now();
        let mut views = self.core.sessions_in(now, page.places());
        views.retain(|v| target.covers(&v.interface, v.remote_number));
        let list = views
            .iter()
            .map(|v| {
                let (mtu, activity) = (self.mtu(v.tunnel), self.link.activity(v.tunnel));
                Session { mtu, ..self.session(v, now, activity.as_ref()) }
            })
            .collect();
        Reply::Sessions(list, page.next(self.core.session_places()))
    }

    fn session(&self, v: &SessionView, now: Instant, activity: Option<&TunnelActivity>) -> Session {
        // The shell knows more than the core about what is missing.
        let waits_for = v.waits_for.map(|why| self.missing().unwrap_or_else(|| why.to_owned()));
        Session {
            interface: v.interface.clone(),
            status: v.status.to_owned(),
            role: v.caller.map(|caller| if caller { Role::Initiator } else { Role::Responder }),
            uptime_s: v.uptime.map(|d| d.as_secs()),
            remote_number: v.remote_number.to_string(),
            local_number: v.local_number.to_string(),
            remote: v.remote,
            peer_port: v.peer_port,
            local_ip: v.local_ip,
            local_port: v.local_port,
            crypto_handle: HANDLE | v.tunnel.0,
            sip_handle: v.sip_call.map_or(0, |id| HANDLE | low_bits(id)),
            sip_call_id: v.sip_call,
            bandwidth_configured_kbps: v.bandwidth_configured.0,
            bandwidth_negotiated_kbps: v.bandwidth_negotiated.map_or(0, |rate| rate.0),
            last_failure: v.last_failure.as_ref().map(|f| Failure {
                code: f.failure.code().to_owned(),
                reason: f.failure.to_string(),
                cure: f.failure.cure().to_owned(),
                ago_s: f.ago.as_secs(),
                count: f.count,
            }),
            retry_in_s: v.retry_in.filter(|d| *d > Duration::ZERO).map(|d| d.as_secs() + 1),
            waits_for,
            unconfirmed: v.unconfirmed.iter().map(unconfirmed).collect(),
            phases: v
                .phases
                .iter()
                .map(|(name, at)| Phase { name: (*name).to_owned(), at_ms: millis(*at) })
                .collect(),
            traffic: activity.map(|a| traffic(v, a, now)),
            rates: self.rates.kbps(v.tunnel).map(|(kbps_in, kbps_out)| Rates { kbps_in, kbps_out }),
            mtu: None,
        }
    }

    fn mtu(&mut self, tunnel: TunnelId) -> Option<Mtu> {
        let qos = self.link.qos(tunnel).filter(|q| q.outer_mtu > 0)?;
        Some(Mtu { inner: qos.inner_mtu, outer: qos.outer_mtu, of_path: qos.is_path_mtu })
    }

    pub(super) fn summary(&self) -> Summary {
        let mut out = Summary::default();
        for t in self.core.statuses(clock::now()) {
            out.tunnels += 1;
            let (kbps_in, kbps_out) = self.rates.kbps(t.tunnel).unwrap_or_default();
            out.kbps_in += kbps_in;
            out.kbps_out += kbps_out;
            match t.status {
                "SESSION_UP" => out.up += 1,
                "DIALING" => out.dialing += 1,
                "NEGOTIATING_IKE" => out.negotiating += 1,
                "DRAINING" => out.draining += 1,
                _ if t.failed => out.failed += 1,
                _ if t.waits_for.is_some() => out.waiting += 1,
                _ => out.ready += 1,
            }
        }
        for (_, line) in self.core.registrations() {
            out.lines += 1;
            out.lines_registered += u64::from(line.state == RegistrationState::Registered);
        }
        out
    }

    /// What this gateway lacks to place any call.
    pub(super) fn missing(&self) -> Option<String> {
        self.no_carrier().or_else(|| self.link.status().err()).or_else(|| self.wan.missing())
    }
}

/// Truncation is meant: a handle is for the eye.
const fn low_bits(id: u64) -> u32 {
    (id & 0x7fff_ffff) as u32
}

fn millis(d: Duration) -> u64 {
    u64::try_from(d.as_millis()).unwrap_or(u64::MAX)
}

pub(super) fn unconfirmed(v: &UnconfirmedView) -> Unconfirmed {
    Unconfirmed {
        interface: v.interface.clone(),
        remote_number: v.remote_number.map(|n| n.to_string()),
        call_id: v.call_id.clone(),
        recovered: v.recovered,
        charged_s: v.charged_for.map(|d| d.as_secs()),
        hung_up_s: v.hung_up_ago.as_secs(),
        refused: v.refused,
        next_bye_s: v.next_bye_in.map(|d| d.as_secs()),
    }
}

fn traffic(v: &SessionView, a: &TunnelActivity, now: Instant) -> Traffic {
    let idle = now.saturating_duration_since(a.last_data()).as_secs();
    Traffic {
        idle_s: (a.last_data() != Instant::ZERO && v.caller.is_some()).then_some(idle),
        idle_max_s: v.idle_max.as_secs(),
        packets_in: a.packets_in,
        bytes_in: a.bytes_in,
        packets_out: a.packets_out,
        bytes_out: a.bytes_out,
        drops_in: a.drops_in,
        drops_out: a.drops_out,
        trigger_queued: a.trigger_queued,
        trigger_replayed: a.trigger_replayed,
        trigger_dropped: a.trigger_dropped,
    }
}
