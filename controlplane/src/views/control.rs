//! The control plane itself, and its registrations.

use super::session::unconfirmed;
use crate::api::model::{Control, Registration};
use crate::carriers::CarrierIo;
use crate::clock;
use crate::runtime::Runtime;
use sipsec_session::CarrierId;
use sipsec_sip::RegistrationState;
use std::collections::BTreeMap;

impl Runtime {
    pub(super) fn registrations(&self) -> Vec<Registration> {
        let now = clock::now();
        let why: BTreeMap<CarrierId, Option<String>> =
            self.carriers.ids().into_iter().map(|id| (id, self.carrier_trouble(id))).collect();
        let view = |(carrier, v): (CarrierId, sipsec_sip::RegistrationView)| {
            let name = self.carriers.get(carrier).map(|io| io.name.clone()).unwrap_or_default();
            let no_address = why.get(&carrier).cloned().flatten().or_else(|| self.wan.missing());
            let registered = v.state == RegistrationState::Registered;
            let reason = match v.state {
                RegistrationState::Registered => None,
                RegistrationState::NoAddress => {
                    Some(no_address.unwrap_or_else(|| "the WAN has no address".to_owned()))
                }
                RegistrationState::Registering => Some(v.last_failure.unwrap_or_else(|| {
                    let registrar = self.profile.sip_named(&name).map(|sip| sip.registrar.to_string());
                    format!("waiting for {}", registrar.unwrap_or_default())
                })),
                RegistrationState::Failed { reason } => Some(reason),
                RegistrationState::Unregistered => Some("unregistered".to_owned()),
            };
            Registration {
                number: v.line.to_string(),
                registered,
                contact: v.contact,
                domain: v.domain,
                expires_s: v.expires_at.map(|at| at.saturating_duration_since(now).as_secs()),
                transport: v.server.as_ref().map_or_else(|| "-".to_owned(), |s| s.transport.via().to_owned()),
                server: v.server.map(|s| s.addr),
                call_id: v.call_id,
                failed_over: self.core.carrier_stats(carrier).failed_over,
                carrier: name,
                reason,
            }
        };
        self.core.registrations().map(view).collect()
    }

    /// Where SIP is spoken, or why it is not.
    fn sip_places(&self) -> Result<String, String> {
        let all: Vec<_> = self.carriers.iter().collect();
        match all.as_slice() {
            [(_, io)] => io.sip.local().map(|local| local.to_string()),
            all => {
                let one = |(_, io): &(CarrierId, &CarrierIo)| match io.sip.local() {
                    Ok(local) => Ok(format!("{}: {local}", io.name)),
                    Err(why) => Err(format!("{}: {why}", io.name)),
                };
                all.iter().map(one).collect::<Result<Vec<_>, _>>().map(|all| all.join(", "))
            }
        }
    }

    pub(super) fn control(&self) -> Control {
        let (sip, journal, compute, link) =
            (self.carriers.counters(), self.journal.counters, self.compute.counters, self.link.counters);
        let (stats, kernel) = (self.core.sip_stats(), self.netlink.health());
        let tokens = self.core.crash_tokens();
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
            ("sip_failed_over", stats.failed_over),
            ("sip_byes_unanswered", stats.byes_unanswered),
            ("sip_byes_owed", self.core.byes_owed()),
            ("peer_ports_learnt", self.core.peer_ports_learnt()),
            ("calls_unconfirmed", calls_unconfirmed.len() as u64),
            ("sip_received", sip.received),
            ("sip_sent", sip.sent),
            ("sip_send_failed", sip.send_failed),
            ("sip_receive_failed", sip.receive_failed),
            ("sip_connections_opened", sip.opened),
            ("sip_connections_accepted", sip.accepted),
            ("sip_connections_refused", sip.refused),
            ("sip_connections_ended", sip.failed),
            ("journal_written", journal.written),
            ("journal_failed", journal.failed),
            ("journal_overflowed", journal.overflowed),
            ("journal_late", journal.late),
            ("compute_run", compute.run),
            ("compute_waiting_max", compute.waiting_max),
            ("compute_beyond_room", compute.beyond_room),
            ("compute_cold", compute.cold),
            ("dataplane_connections", link.connections),
            ("dataplane_transactions", link.transactions),
            ("dataplane_transactions_lost", link.transactions_lost),
            ("dataplane_malformed", link.malformed),
            ("ike_lost", link.ike_lost),
            ("ike_crash_tokens_sent", tokens.sent),
            ("ike_crash_tokens_proved", tokens.proved),
            ("ike_crash_tokens_bad", tokens.bad),
            ("netlink_requests", kernel.requests),
            ("netlink_timeouts", kernel.timeouts),
            ("netlink_reports", kernel.reports),
            ("netlink_overruns", kernel.overruns),
            ("netlink_restarts", kernel.restarts),
        ]);
        Control {
            version: crate::version::line().to_owned(),
            uptime_s: clock::now().saturating_duration_since(self.started).as_secs(),
            wan: self.wan.first().into(),
            sip: self.sip_places().into(),
            dataplane: self.link.status().into(),
            journal: self.journal.health().map(|()| "written".to_owned()).into(),
            kernel: kernel.failure.map_or(Ok("followed".to_owned()), Err).into(),
            routes: self.routes.clone(),
            log_filter: self.log.shown().filter,
            unconfirmed: calls_unconfirmed.iter().map(unconfirmed).collect(),
            counters: counters.into_iter().map(|(name, n)| (name.to_owned(), n)).collect(),
        }
    }
}
