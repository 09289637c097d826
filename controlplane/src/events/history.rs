//! The calls that have ended: when, why, how much they carried.

use crate::api::model::{Call, EventLine};
use sipsec_net::TunnelId;
use sipsec_net::dp::TunnelActivity;
use sipsec_session::{EventKind, SessionEvent};
use std::collections::{HashMap, VecDeque};

/// Calls that are kept.
const CALLS_MAX: usize = 1000;

#[derive(Debug, Default)]
pub struct History {
    open: HashMap<TunnelId, Open>,
    ended: VecDeque<Call>,
}

#[derive(Debug)]
struct Open {
    call: Call,
    before: TunnelActivity,
}

impl History {
    #[must_use]
    pub fn is_open(&self, tunnel: TunnelId) -> bool {
        self.open.contains_key(&tunnel)
    }

    /// Whether an event needs what its tunnel has carried.
    #[must_use]
    pub const fn counts(kind: &EventKind) -> bool {
        matches!(kind, EventKind::InviteSent { .. } | EventKind::Incoming { .. } | EventKind::CallEnded(_))
    }

    pub fn event(&mut self, line: &EventLine, event: &SessionEvent, activity: Option<TunnelActivity>) {
        let Some(tunnel) = event.tunnel else { return };
        match &event.kind {
            EventKind::InviteSent { .. } => self.begin(tunnel, line, true, activity),
            EventKind::Incoming { .. } => self.begin(tunnel, line, false, activity),
            kind => {
                let Some(open) = self.open.get_mut(&tunnel) else { return };
                let call = &mut open.call;
                // The end of an earlier call of the tunnel, which was confirmed late.
                if let EventKind::CallEnded(summary) = kind
                    && call.call_id.as_ref().is_some_and(|id| *id != summary.call_id)
                {
                    return;
                }
                call.call_id = line.call_id.clone().or_else(|| call.call_id.take());
                let after_ms = line.time_us.saturating_sub(call.began_us) / 1000;
                match kind {
                    EventKind::Answered { rate, .. } => {
                        call.answered_after_ms = Some(after_ms);
                        call.kbps = Some(rate.0);
                    }
                    EventKind::SessionUp { .. } => call.up_after_ms = Some(after_ms),
                    EventKind::ByeReceived { .. } => call.ended_by = Some("peer".to_owned()),
                    EventKind::ByeSent | EventKind::CallGivenUp if call.ended_by.is_none() => {
                        call.ended_by = Some("us".to_owned());
                    }
                    EventKind::Failed { failure, .. } => {
                        call.code = Some(failure.code().to_owned());
                        call.reason = failure.to_string();
                        // A call that was answered is hung up first.
                        if call.answered_after_ms.is_none() {
                            self.end(tunnel, line.time_us, activity);
                        }
                    }
                    EventKind::CallEnded(summary) => {
                        let millis =
                            |d: std::time::Duration| u64::try_from(d.as_millis()).unwrap_or(u64::MAX);
                        call.lasted_ms = summary.lasted.map(millis);
                        if call.reason.is_empty() {
                            call.reason = summary.reason.to_string();
                        }
                        self.end(tunnel, line.time_us, activity);
                    }
                    _ => {}
                }
            }
        }
    }

    fn begin(&mut self, tunnel: TunnelId, line: &EventLine, caller: bool, activity: Option<TunnelActivity>) {
        self.end(tunnel, line.time_us, activity);
        let call = Call {
            interface: line.interface.clone().unwrap_or_default(),
            remote_number: line.remote_number.clone().unwrap_or_default(),
            call_id: line.call_id.clone(),
            caller,
            began_us: line.time_us,
            ..Call::default()
        };
        self.open.insert(tunnel, Open { call, before: activity.unwrap_or_default() });
    }

    fn end(&mut self, tunnel: TunnelId, at_us: u64, activity: Option<TunnelActivity>) {
        let Some(Open { mut call, before }) = self.open.remove(&tunnel) else { return };
        call.ended_us = at_us;
        if let Some(after) = activity {
            call.bytes_in = after.bytes_in.saturating_sub(before.bytes_in);
            call.bytes_out = after.bytes_out.saturating_sub(before.bytes_out);
        }
        if self.ended.len() >= CALLS_MAX {
            self.ended.pop_front();
        }
        self.ended.push_back(call);
    }

    /// Those that ended at or after `from_us`, the latest first.
    pub fn calls(&self, interface: Option<&str>, from_us: u64) -> Vec<Call> {
        let fits = |c: &&Call| {
            c.ended_us >= from_us && interface.is_none_or(|name| c.interface.eq_ignore_ascii_case(name))
        };
        self.ended.iter().rev().filter(fits).cloned().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use sipsec_ike::CloseCause;
    use sipsec_net::Kbps;
    use sipsec_session::{CallSummary, Carried, EndReason, Origin};
    use std::time::Duration;

    fn line(time_us: u64) -> EventLine {
        EventLine {
            time_us,
            interface: Some("Tunnel1".into()),
            remote_number: Some("0388882001".into()),
            call_id: Some("a@host".into()),
            ..EventLine::default()
        }
    }

    fn tell(history: &mut History, at_us: u64, kind: EventKind, bytes: u64) {
        let event = SessionEvent { tunnel: Some(TunnelId(1)), interface: Some("Tunnel1".into()), kind };
        let activity = TunnelActivity { bytes_in: bytes, bytes_out: 2 * bytes, ..TunnelActivity::default() };
        history.event(&line(at_us), &event, Some(activity));
    }

    #[test]
    fn a_call_is_a_record_from_its_beginning_to_its_end() {
        let mut history = History::default();
        let number = "0388882001".parse().expect("a number");
        tell(&mut history, 1_000_000, EventKind::InviteSent { remote: number }, 100);
        let remote = "192.0.2.9:50000".parse().expect("an address");
        tell(&mut history, 1_050_000, EventKind::Answered { remote, rate: Kbps(512) }, 100);
        tell(&mut history, 1_090_000, EventKind::SessionUp { initiator: true }, 100);
        tell(&mut history, 9_000_000, EventKind::ByeReceived { said: None }, 600);
        assert!(history.calls(None, 0).is_empty(), "it is still up");
        let ended = |call_id: &str| {
            EventKind::CallEnded(Box::new(CallSummary {
                origin: Origin::Placed,
                local: None,
                remote: Some(number),
                call_id: call_id.to_owned(),
                began_unix_s: None,
                answered_unix_s: None,
                ended_unix_s: None,
                lasted: Some(Duration::from_millis(7950)),
                reason: EndReason::Closed(CloseCause::Idle),
                confirmed: true,
                rate: None,
                carried: Carried::default(),
            }))
        };
        tell(&mut history, 9_005_000, ended("an earlier call"), 600);
        assert!(history.calls(None, 0).is_empty(), "another one has ended");
        tell(&mut history, 9_010_000, ended("a@host"), 600);
        let calls = history.calls(Some("tunnel1"), 9_000_000);
        let call = calls.first().expect("one");
        assert_eq!((call.answered_after_ms, call.up_after_ms, call.kbps), (Some(50), Some(90), Some(512)));
        assert_eq!((call.lasted_ms, call.bytes_in, call.bytes_out), (Some(7950), 500, 1000));
        assert_eq!((call.ended_by.as_deref(), call.call_id.as_deref()), (Some("peer"), Some("a@host")));
        assert!(!call.reason.is_empty());
        assert!(history.calls(Some("Tunnel2"), 0).is_empty() && history.calls(None, 9_010_001).is_empty());
        for n in 0..2 * CALLS_MAX as u64 {
            tell(&mut history, 10_000_000 + n, EventKind::InviteSent { remote: number }, 0);
        }
        assert_eq!(history.calls(None, 0).len(), CALLS_MAX);
    }
}
