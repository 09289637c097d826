//! The calls that have ended: when, why, how much they carried and what they cost. They are kept in a file, so that a restart
//! forgets none.

mod file;

pub use file::{HistoryError, HistoryFile};

use crate::api::model::{Call, Cost};
use crate::config::Profile;
use sipsec_net::TelNumber;
use sipsec_net::TunnelId;
use sipsec_net::dp::TunnelActivity;
use sipsec_profile::check::tariff;
use sipsec_profile::model::{SipSection, Tariff};
use sipsec_session::{CallSummary, Carried, EventKind, Origin, SessionEvent};
use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

/// Calls that are kept in memory, and at least as many on disk.
const CALLS_MAX: usize = 10_000;
/// Calls that are up: one for each tunnel, and those whose end is not confirmed.
const OPEN_MAX: usize = 32_768;

/// The tariff of each carrier, by its lines.
#[derive(Clone, Debug, Default)]
pub struct Tariffs {
    first: Tariff,
    others: HashMap<TelNumber, Tariff>,
}

impl Tariffs {
    #[must_use]
    pub fn of(profile: &Profile) -> Self {
        let of = |sip: &SipSection| sip.lines.iter().map(|l| (l.number, sip.tariff)).collect::<Vec<_>>();
        let others = profile.carriers.iter().flat_map(|c| of(&c.sip));
        Self { first: profile.sip.tariff, others: others.collect() }
    }

    fn of_line(&self, line: Option<TelNumber>) -> Tariff {
        line.and_then(|line| self.others.get(&line).copied()).unwrap_or(self.first)
    }
}

#[derive(Debug)]
pub struct History {
    tariffs: Tariffs,
    /// By tunnel and Call-ID.
    open: BTreeMap<(TunnelId, String), Open>,
    ended: VecDeque<Arc<Call>>,
    file: Option<HistoryFile>,
}

/// What the tunnel had carried when the call began, and when it carried nothing any more.
#[derive(Debug)]
struct Open {
    before: TunnelActivity,
    after: Option<TunnelActivity>,
}

impl History {
    #[must_use]
    pub const fn new(tariffs: Tariffs) -> Self {
        Self { tariffs, open: BTreeMap::new(), ended: VecDeque::new(), file: None }
    }

    /// Those of calls that end from now on.
    pub fn set_tariffs(&mut self, tariffs: Tariffs) {
        self.tariffs = tariffs;
    }

    /// Continues what an earlier run has left in a file, and keeps it there.
    pub fn keep_in(&mut self, file: HistoryFile, found: Vec<Call>) {
        let skip = found.len().saturating_sub(CALLS_MAX);
        self.ended = found.into_iter().skip(skip).map(Arc::new).collect();
        self.file = Some(file);
    }

    /// Whether an event needs what its tunnel has carried.
    #[must_use]
    pub const fn counts(kind: &EventKind) -> bool {
        matches!(kind, EventKind::InviteSent { .. } | EventKind::Incoming { .. } | EventKind::CallEnded(_))
    }

    pub fn event(&mut self, event: &SessionEvent, activity: Option<TunnelActivity>) {
        match (&event.kind, event.tunnel, &event.call_id) {
            (EventKind::InviteSent { .. } | EventKind::Incoming { .. }, Some(tunnel), Some(call_id)) => {
                self.begin(tunnel, call_id, activity.unwrap_or_default());
            }
            // It never became a call of the tunnel.
            (EventKind::IncomingRefused { .. }, Some(tunnel), Some(call_id)) => {
                self.open.remove(&(tunnel, call_id.clone()));
            }
            (EventKind::CallEnded(summary), tunnel, _) => {
                let interface = event.interface.clone().unwrap_or_default();
                let open = self.take_open(tunnel, &summary.call_id);
                let carried = open.map_or(summary.carried, |o| carried(&o, activity, summary.carried));
                self.end(call(summary, interface, carried, self.tariffs.of_line(summary.local)));
            }
            _ => {}
        }
    }

    /// The call carries nothing any more. Calls that its tunnel has begun meanwhile have carried nothing yet.
    pub fn counted(&mut self, tunnel: TunnelId, call_id: &str, now: TunnelActivity) {
        for (id, open) in self.of_tunnel(tunnel) {
            if id == call_id {
                open.after = Some(now);
            } else if open.after.is_none() {
                open.before = now;
            }
        }
    }

    fn of_tunnel(&mut self, tunnel: TunnelId) -> impl Iterator<Item = (&str, &mut Open)> {
        let calls =
            self.open.range_mut((tunnel, String::new())..).take_while(move |((t, _), _)| *t == tunnel);
        calls.map(|((_, id), open)| (id.as_str(), open))
    }

    /// The tunnel may have been removed from the profile since.
    fn take_open(&mut self, tunnel: Option<TunnelId>, call_id: &str) -> Option<Open> {
        let tunnel = tunnel.or_else(|| self.open.keys().find(|(_, id)| id == call_id).map(|(t, _)| *t))?;
        self.open.remove(&(tunnel, call_id.to_owned()))
    }

    fn begin(&mut self, tunnel: TunnelId, call_id: &str, now: TunnelActivity) {
        for (_, open) in self.of_tunnel(tunnel) {
            open.after.get_or_insert(now);
        }
        if self.open.len() < OPEN_MAX {
            self.open.insert((tunnel, call_id.to_owned()), Open { before: now, after: None });
        }
    }

    fn end(&mut self, call: Call) {
        if let Some(file) = &mut self.file {
            file.append(&call);
        }
        if self.ended.len() >= CALLS_MAX {
            self.ended.pop_front();
        }
        self.ended.push_back(Arc::new(call));
    }

    /// Those that ended at or after `from_us`, the latest first.
    #[must_use]
    pub fn calls(&self, interface: Option<&str>, from_us: u64) -> Vec<Arc<Call>> {
        let fits = |c: &&Arc<Call>| {
            c.ended_us >= from_us && interface.is_none_or(|name| c.interface.eq_ignore_ascii_case(name))
        };
        self.ended.iter().rev().filter(fits).cloned().collect()
    }
}

/// From the dataplane's counters, which a restart of it sets to 0; then what the session has seen is more.
fn carried(open: &Open, now: Option<TunnelActivity>, seen: Carried) -> Carried {
    let Some(after) = open.after.or(now) else { return seen };
    let before = &open.before;
    Carried {
        packets_in: after.packets_in.saturating_sub(before.packets_in).max(seen.packets_in),
        bytes_in: after.bytes_in.saturating_sub(before.bytes_in).max(seen.bytes_in),
        packets_out: after.packets_out.saturating_sub(before.packets_out).max(seen.packets_out),
        bytes_out: after.bytes_out.saturating_sub(before.bytes_out).max(seen.bytes_out),
    }
}

fn call(summary: &CallSummary, interface: String, carried: Carried, tariff: Tariff) -> Call {
    let us = |seconds: Option<u64>| seconds.unwrap_or(0).saturating_mul(1_000_000);
    let millis = |d: Duration| u64::try_from(d.as_millis()).unwrap_or(u64::MAX);
    let cost = match (tariff, summary.lasted, summary.rate) {
        (Tariff::DataConnect, Some(lasted), Some(rate)) => {
            let charge = tariff::charge(rate, lasted);
            Some(Cost { units: charge.units, unit_s: charge.unit_s, yen_tenths: charge.yen_tenths })
        }
        _ => None,
    };
    Call {
        interface,
        local_number: summary.local.map(|n| n.to_string()).unwrap_or_default(),
        remote_number: summary.remote.map(|n| n.to_string()).unwrap_or_default(),
        call_id: Some(summary.call_id.clone()),
        caller: summary.origin == Origin::Placed,
        recovered: summary.origin == Origin::Recovered,
        began_us: us(summary.began_unix_s),
        answered_after_ms: summary.answered_after.map(millis),
        up_after_ms: summary.up_after.map(millis),
        ended_us: us(summary.ended_unix_s),
        lasted_ms: summary.lasted.map(millis),
        confirmed: summary.confirmed,
        ended_by: summary.reason.ended_by().map(str::to_owned),
        code: summary.reason.code().map(str::to_owned),
        reason: summary.reason.to_string(),
        kbps: summary.rate.map(|rate| rate.0),
        packets_in: carried.packets_in,
        packets_out: carried.packets_out,
        bytes_in: carried.bytes_in,
        bytes_out: carried.bytes_out,
        cost,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use sipsec_ike::CloseCause;
    use sipsec_net::Kbps;
    use sipsec_session::EndReason;

    fn tell(history: &mut History, call_id: &str, kind: EventKind, bytes: u64) {
        let event = SessionEvent {
            tunnel: Some(TunnelId(1)),
            interface: Some("Tunnel1".into()),
            call_id: Some(call_id.to_owned()),
            kind,
        };
        let activity = TunnelActivity {
            bytes_in: bytes,
            bytes_out: 2 * bytes,
            packets_in: bytes / 100,
            packets_out: bytes / 50,
            ..TunnelActivity::default()
        };
        history.event(&event, Some(activity));
    }

    fn ended(call_id: &str, ended_unix_s: u64, confirmed: bool) -> EventKind {
        EventKind::CallEnded(Box::new(CallSummary {
            origin: Origin::Placed,
            local: "0388881001".parse().ok(),
            remote: "0388882001".parse().ok(),
            call_id: call_id.to_owned(),
            began_unix_s: Some(1),
            answered_unix_s: Some(1),
            ended_unix_s: Some(ended_unix_s),
            answered_after: Some(Duration::from_millis(50)),
            up_after: Some(Duration::from_millis(90)),
            lasted: Some(Duration::from_millis(30_001)),
            reason: EndReason::Closed(CloseCause::Idle),
            confirmed,
            rate: Some(Kbps(512)),
            carried: Carried::default(),
        }))
    }

    fn dials() -> EventKind {
        EventKind::InviteSent { remote: "0388882001".parse().expect("a number") }
    }

    #[test]
    fn each_call_has_its_own_bytes_and_cost_however_late_its_end_is_known() {
        let mut history = History::new(Tariffs { first: Tariff::DataConnect, ..Tariffs::default() });
        tell(&mut history, "a@host", dials(), 100);
        // The next call of the tunnel begins before the end of the first is confirmed.
        tell(&mut history, "b@host", dials(), 600);
        assert!(history.calls(None, 0).is_empty(), "both are up");
        tell(&mut history, "b@host", ended("b@host", 8, true), 1600);
        tell(&mut history, "a@host", ended("a@host", 9, false), 1700);
        let calls = history.calls(Some("tunnel1"), 8_000_000);
        let [a, b] = calls.as_slice() else { panic!("{calls:?}") };
        assert_eq!((a.call_id.as_deref(), a.bytes_in, a.bytes_out), (Some("a@host"), 500, 1000));
        assert_eq!((b.call_id.as_deref(), b.bytes_in, b.packets_out), (Some("b@host"), 1000, 20));
        assert_eq!((a.answered_after_ms, a.up_after_ms, a.lasted_ms), (Some(50), Some(90), Some(30_001)));
        assert_eq!(a.cost, Some(Cost { units: 2, unit_s: 30, yen_tenths: 30 }));
        assert_eq!((a.ended_by.as_deref(), a.confirmed, b.confirmed), (Some("us"), false, true));
        assert!(history.calls(Some("Tunnel2"), 0).is_empty() && history.calls(None, 9_000_001).is_empty());
        assert!(history.open.is_empty());
    }

    /// Numbers are read at most 100 ms after they were counted; those of the end of a call are read when it can carry
    /// nothing more.
    #[test]
    fn the_last_packets_of_a_call_are_its_own() {
        let activity = |bytes| TunnelActivity { bytes_in: bytes, ..TunnelActivity::default() };
        let mut history = History::new(Tariffs { first: Tariff::DataConnect, ..Tariffs::default() });
        tell(&mut history, "a@host", dials(), 100);
        // A packet dials anew before the numbers of the first call are final.
        tell(&mut history, "b@host", dials(), 600);
        history.counted(TunnelId(1), "a@host", activity(900));
        history.counted(TunnelId(2), "a@host", activity(7000));
        tell(&mut history, "a@host", ended("a@host", 8, true), 950);
        history.counted(TunnelId(1), "b@host", activity(1000));
        // Its tunnel was removed from the profile meanwhile.
        let event = SessionEvent {
            tunnel: None,
            interface: None,
            call_id: Some("b@host".to_owned()),
            kind: ended("b@host", 9, true),
        };
        history.event(&event, None);
        let bytes: Vec<_> = history.calls(None, 0).iter().map(|c| c.bytes_in).collect();
        assert_eq!(bytes, [100, 800]);
        assert!(history.open.is_empty());
    }

    #[test]
    fn a_dataplane_that_started_anew_makes_no_number_negative() {
        let mut history = History::new(Tariffs { first: Tariff::None, ..Tariffs::default() });
        tell(&mut history, "a@host", dials(), 5000);
        tell(&mut history, "a@host", ended("a@host", 8, true), 100);
        let calls = history.calls(None, 0);
        assert_eq!((calls[0].bytes_in, &calls[0].cost), (0, &None));
    }

    #[test]
    fn the_history_is_bounded() {
        let mut history = History::new(Tariffs { first: Tariff::DataConnect, ..Tariffs::default() });
        for n in 0..CALLS_MAX as u64 + 10 {
            tell(&mut history, "a@host", ended("a@host", n, true), 0);
        }
        assert_eq!(
            (history.calls(None, 0).len(), history.calls(None, 0)[0].ended_us),
            (CALLS_MAX, 10_009_000_000)
        );
        for n in 0..OPEN_MAX as u32 + 10 {
            let (tunnel, call_id) = (Some(TunnelId(n)), Some("a@host".to_owned()));
            history.event(&SessionEvent { tunnel, interface: None, call_id, kind: dials() }, None);
        }
        assert_eq!(history.open.len(), OPEN_MAX);
    }
}
