//! Answers to the API: from the core's views to the words of the JSON.

use crate::api::model::{
    Cleared, Control, CryptoSession, Failure, Flow, IkeSa, Phase, Rates, Registration, Role, SaHalf, Session,
    Summary, Traffic, Translation, Unconfirmed,
};
use crate::api::{Page, Query, Reply, Request, Target};
use crate::clock;
use crate::runtime::Runtime;
use sipsec_ike::view::{ChildView, SaView, StateName};
use sipsec_ike::{AuthMethod, FingerprintBasis};
use sipsec_net::dp::{Selector, TunnelActivity};
use sipsec_net::{Instant, TunnelId};
use sipsec_profile::model::limits::ESP_OVERHEAD_V4;
use sipsec_session::{Admin, CryptoView, Input, SessionView, UnconfirmedView};
use sipsec_sip::RegistrationState;
use std::collections::{BTreeMap, HashMap};
use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

/// IOS shows handles with the top bit set; ours carry the tunnel's and the call's number.
const HANDLE: u32 = 0x8000_0000;

type Activities = HashMap<TunnelId, TunnelActivity>;

impl Runtime {
    pub(crate) fn answer(&mut self, request: Request) {
        let reply = match request.query {
            Query::Sessions(target, page) => self.sessions(&target, page),
            Query::Registrations { registered } => {
                let list = self.registrations().into_iter().filter(|r| r.registered || !registered);
                Reply::Registrations(list.collect())
            }
            Query::Dhcp => Reply::Dhcp(Box::new(self.learnt.view(&self.profile, clock::now()))),
            Query::CryptoSessions(page) => {
                let (now, activities) = (clock::now(), self.link.activities());
                let views = self.core.crypto_sessions_in(now, page.places());
                let list = views.iter().map(|v| crypto(v, now, &activities)).collect();
                Reply::CryptoSessions(list, page.next(self.core.session_count()))
            }
            Query::NatTranslations => {
                let views = self.core.nat_translations();
                let entry = |t: &sipsec_session::Translation| Translation {
                    protocol: "udp".to_owned(),
                    inside_global: t.inside_global,
                    inside_local: t.inside_local,
                    outside_local: t.outside,
                    outside_global: t.outside,
                };
                Reply::NatTranslations(views.iter().map(entry).collect())
            }
            Query::Dataplane => Reply::Dataplane(Box::new(self.link.view())),
            Query::Control => Reply::Control(Box::new(self.control())),
            Query::Clear(target) => self.clear(target),
            Query::Summary => Reply::Summary(self.summary()),
            Query::PastEvents(wanted) => Reply::PastEvents(self.events.past(&wanted)),
            Query::History { interface, since_s } => {
                Reply::History(self.events.history(interface.as_deref(), since_s))
            }
            Query::Call(id) => self.events.call(&id).map_or(Reply::NoSuchCall(id), Reply::Call),
        };
        // The client may have gone.
        let _ = request.reply.send(reply);
    }

    fn sessions(&self, target: &Target, page: Page) -> Reply {
        let (now, activities) = (clock::now(), self.link.activities());
        let mut views = self.core.sessions_in(now, page.places());
        views.retain(|v| target.covers(&v.interface, v.remote_number));
        let list = views.iter().map(|v| self.session(v, now, &activities)).collect();
        Reply::Sessions(list, page.next(self.core.session_count()))
    }

    fn session(&self, v: &SessionView, now: Instant, activities: &Activities) -> Session {
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
            traffic: activities.get(&v.tunnel).map(|a| traffic(v, a, now)),
            rates: self.rates.kbps(v.tunnel).map(|(kbps_in, kbps_out)| Rates { kbps_in, kbps_out }),
        }
    }

    fn summary(&self) -> Summary {
        let mut out = Summary::default();
        for v in self.core.sessions(clock::now()) {
            out.tunnels += 1;
            let (kbps_in, kbps_out) = self.rates.kbps(v.tunnel).unwrap_or_default();
            out.kbps_in += kbps_in;
            out.kbps_out += kbps_out;
            match v.status {
                "SESSION_UP" => out.up += 1,
                "DIALING" => out.dialing += 1,
                "NEGOTIATING_IKE" => out.negotiating += 1,
                "DRAINING" => out.draining += 1,
                _ if v.last_failure.is_some() => out.failed += 1,
                _ if v.waits_for.is_some() => out.waiting += 1,
                _ => out.ready += 1,
            }
        }
        for line in self.core.registrations() {
            out.lines += 1;
            out.lines_registered += u64::from(line.state == RegistrationState::Registered);
        }
        out
    }

    /// What this gateway lacks to place any call.
    fn missing(&self) -> Option<String> {
        self.wan
            .as_ref()
            .err()
            .cloned()
            .or_else(|| self.sip.local().err())
            .or_else(|| self.link.status().err())
    }

    fn registrations(&self) -> Vec<Registration> {
        let now = clock::now();
        let no_address = self.wan.as_ref().err().cloned().or_else(|| self.sip.local().err());
        let view = |v: sipsec_sip::RegistrationView| {
            let registered = v.state == RegistrationState::Registered;
            let reason = match v.state {
                RegistrationState::Registered => None,
                RegistrationState::NoAddress => {
                    Some(no_address.clone().unwrap_or_else(|| "the WAN has no address".to_owned()))
                }
                RegistrationState::Registering => Some(
                    v.last_failure.unwrap_or_else(|| format!("waiting for {}", self.profile.sip.registrar)),
                ),
                RegistrationState::Failed { reason } => Some(reason),
                RegistrationState::Unregistered => Some("unregistered".to_owned()),
            };
            Registration {
                number: v.line.to_string(),
                registered,
                contact: v.contact,
                domain: v.domain,
                expires_s: v.expires_at.map(|at| at.saturating_duration_since(now).as_secs()),
                transport: "UDP".to_owned(),
                call_id: v.call_id,
                reason,
            }
        };
        self.core.registrations().map(view).collect()
    }

    fn control(&self) -> Control {
        let (sip, journal, compute, link) =
            (self.sip.counters, self.journal.counters, self.compute.counters, self.link.counters);
        let (stats, kernel) = (self.core.sip_stats(), self.netlink.health());
        let calls_unconfirmed = self.core.unconfirmed_calls(clock::now());
        let counters: BTreeMap<&str, u64> = BTreeMap::from([
            ("sip_malformed", stats.malformed),
            ("sip_untrusted", stats.untrusted),
            ("sip_stray_responses", stats.stray_responses),
            ("sip_flawed_responses", stats.flawed_responses),
            ("sip_acks_withheld", stats.acks_withheld),
            ("sip_overload", stats.overload),
            ("sip_reregistered", stats.reregistered),
            ("sip_forked", stats.forked),
            ("sip_oversize", stats.oversize),
            ("sip_byes_unanswered", stats.byes_unanswered),
            ("sip_byes_owed", self.core.byes_owed()),
            ("calls_unconfirmed", calls_unconfirmed.len() as u64),
            ("sip_received", sip.received),
            ("sip_sent", sip.sent),
            ("sip_send_failed", sip.send_failed),
            ("sip_receive_failed", sip.receive_failed),
            ("journal_written", journal.written),
            ("journal_failed", journal.failed),
            ("journal_overflowed", journal.overflowed),
            ("compute_run", compute.run),
            ("compute_waiting_max", compute.waiting_max),
            ("compute_beyond_room", compute.beyond_room),
            ("dataplane_connections", link.connections),
            ("dataplane_transactions", link.transactions),
            ("dataplane_transactions_lost", link.transactions_lost),
            ("dataplane_malformed", link.malformed),
            ("ike_lost", link.ike_lost),
            ("netlink_requests", kernel.requests),
            ("netlink_timeouts", kernel.timeouts),
            ("netlink_reports", kernel.reports),
            ("netlink_overruns", kernel.overruns),
            ("netlink_restarts", kernel.restarts),
        ]);
        Control {
            version: crate::version::line().to_owned(),
            uptime_s: clock::now().saturating_duration_since(self.started).as_secs(),
            wan: self.wan.clone().into(),
            sip: self.sip.local().into(),
            dataplane: self.link.status().into(),
            kernel: kernel.failure.map_or(Ok("followed".to_owned()), Err).into(),
            routes: self.routes.clone(),
            log_filter: self.log.shown().filter,
            unconfirmed: calls_unconfirmed.iter().map(unconfirmed).collect(),
            counters: counters.into_iter().map(|(name, n)| (name.to_owned(), n)).collect(),
        }
    }

    fn clear(&mut self, target: Target) -> Reply {
        let mut views = self.core.sessions(clock::now());
        views.retain(|v| target.covers(&v.interface, v.remote_number));
        if views.is_empty() && target != Target::All {
            return Reply::NoSuch(target);
        }
        let waiting = |v: &&SessionView| v.caller.is_none() && v.retry_in.is_some_and(|d| d > Duration::ZERO);
        let cleared = Cleared {
            sessions: u32::try_from(views.iter().filter(|v| v.caller.is_some()).count()).unwrap_or(u32::MAX),
            back_off_reset: views.iter().filter(waiting).map(|v| v.interface.clone()).collect(),
        };
        match target {
            Target::All => self.input(Input::Admin(Admin::Clear { remote_number: None })),
            Target::Number(number) => {
                self.input(Input::Admin(Admin::Clear { remote_number: Some(number) }));
            }
            Target::Interface(_) => {
                for v in &views {
                    self.input(Input::Admin(Admin::ClearTunnel(v.tunnel)));
                }
            }
        }
        Reply::Cleared(cleared)
    }
}

/// Truncation is meant: a handle is for the eye.
const fn low_bits(id: u64) -> u32 {
    (id & 0x7fff_ffff) as u32
}

fn millis(d: Duration) -> u64 {
    u64::try_from(d.as_millis()).unwrap_or(u64::MAX)
}

fn unconfirmed(v: &UnconfirmedView) -> Unconfirmed {
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

fn crypto(v: &CryptoView, now: Instant, activities: &Activities) -> CryptoSession {
    let activity = activities.get(&v.tunnel).copied().unwrap_or_default();
    CryptoSession {
        interface: v.interface.clone(),
        profile: "vpn-sip".to_owned(),
        uptime_s: v.uptime.map(|d| d.as_secs()),
        status: v.status.to_owned(),
        peer: v.peer,
        phase1_id: v.sa.as_ref().and_then(|sa| sa.remote_id.as_ref()).map(ToString::to_string),
        session_id: u64::from(v.tunnel.0),
        ike: v.sa.as_ref().map(|sa| ike(v, sa, now)),
        flows: v
            .sa
            .iter()
            .flat_map(|sa| &sa.children)
            .filter(|child| !child.retired)
            .map(|child| flow(child, v.began.get(&child.child), &activity, now))
            .collect(),
    }
}

fn ike(v: &CryptoView, sa: &SaView, now: Instant) -> IkeSa {
    let mut capabilities = String::from("D");
    for (letter, has) in [("N", sa.nat.local || sa.nat.remote), ("F", sa.fragmentation), ("S", true)] {
        if has {
            capabilities.push_str(letter);
        }
    }
    IkeSa {
        local: v.inside_local,
        remote: sa.remote,
        state: if sa.state == StateName::Established { "Active" } else { "Negotiating" }.to_owned(),
        capabilities,
        connid: u64::from(v.tunnel.0),
        lifetime_s: sa.expires_at.map(|at| at.saturating_duration_since(now).as_secs()),
        spi_initiator: format!("0x{:016x}", sa.spi_i),
        spi_responder: format!("0x{:016x}", sa.spi_r),
        algorithms: sa.suite.map(|suite| format!("{suite}{}", if sa.ppk { " with a PPK" } else { "" })),
        local_id: sa.local_id.to_string(),
        authentication: sa.auth.map(|method| match method {
            AuthMethod::Psk => "psk".to_owned(),
            AuthMethod::Signature(scheme) => scheme.name().to_owned(),
        }),
        fingerprint: sa.fingerprint.map(|basis| match basis {
            FingerprintBasis::Certificate(f) | FingerprintBasis::PskFingerprint(f) => f.to_string(),
            FingerprintBasis::CertificateNotExchanged | FingerprintBasis::PskNotExchanged => {
                "not exchanged".to_owned()
            }
        }),
        fragments_in: sa.counters.fragments_in,
    }
}

/// The counters are the tunnel's, which has one CHILD_SA.
fn flow(child: &ChildView, began: Option<&TunnelActivity>, a: &TunnelActivity, now: Instant) -> Flow {
    let life_s = Some(child.expires_at.saturating_duration_since(now).as_secs());
    let half = |spi: sipsec_net::Spi, carried: fn(&TunnelActivity) -> (u64, u64), drops| {
        let (packets, bytes) = carried(a);
        let before = began.map_or((packets, bytes), carried);
        // As the dataplane counts: the packets of ESP, which are larger than those inside.
        let overhead = packets.saturating_sub(before.0) * u64::from(ESP_OVERHEAD_V4);
        let esp = bytes.saturating_sub(before.1) + overhead;
        SaHalf {
            spi: spi.to_string(),
            packets,
            drops,
            life_kb: (child.hard_bytes_max != 0).then(|| child.hard_bytes_max.saturating_sub(esp) / 1024),
            life_s,
        }
    };
    Flow {
        local: selectors(&child.selectors.local),
        remote: selectors(&child.selectors.remote),
        active_sas: 2,
        inbound: half(child.spi_in, |a| (a.packets_in, a.bytes_in), a.drops_in),
        outbound: half(child.spi_out, |a| (a.packets_out, a.bytes_out), a.drops_out),
        algorithm: child.suite.to_string(),
    }
}

fn selectors(list: &[Selector]) -> String {
    let shown: Vec<_> = list.iter().map(selector).collect();
    shown.join(" ")
}

/// `address/mask` as IOS has it, where the range is a prefix.
fn selector(s: &Selector) -> String {
    if let (IpAddr::V4(start), IpAddr::V4(end)) = (s.addr_start, s.addr_end) {
        let host_bits = start.to_bits() ^ end.to_bits();
        let is_prefix = host_bits.wrapping_add(1) & host_bits == 0 && start.to_bits() & host_bits == 0;
        if is_prefix {
            return format!("{start}/{}", Ipv4Addr::from_bits(!host_bits));
        }
    }
    if let (IpAddr::V6(start), IpAddr::V6(end)) = (s.addr_start, s.addr_end) {
        let host_bits = start.to_bits() ^ end.to_bits();
        if host_bits.wrapping_add(1) & host_bits == 0 && start.to_bits() & host_bits == 0 {
            return format!("{start}/{}", host_bits.leading_zeros());
        }
    }
    format!("{}-{}", s.addr_start, s.addr_end)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn selectors_are_shown_as_masks_where_they_are_prefixes() {
        let range = |a: &str, b: &str| Selector {
            addr_start: a.parse().expect("address"),
            addr_end: b.parse().expect("address"),
            ..Selector::ANY_V4
        };
        assert_eq!(selector(&Selector::ANY_V4), "0.0.0.0/0.0.0.0");
        assert_eq!(selector(&range("10.2.0.0", "10.2.255.255")), "10.2.0.0/255.255.0.0");
        assert_eq!(selector(&range("10.2.0.1", "10.2.0.1")), "10.2.0.1/255.255.255.255");
        assert_eq!(selector(&Selector::ANY_V6), "::/0");
        assert_eq!(selector(&range("2001:db8::", "2001:db8::ffff")), "2001:db8::/112");
        assert_eq!(selector(&range("10.2.0.1", "10.2.0.9")), "10.2.0.1-10.2.0.9");
    }
}
