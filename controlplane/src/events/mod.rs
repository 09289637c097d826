//! Events of sessions: to the log, to watchers and to the history. The SIP messages of the last calls are
//! kept as well.

mod history;
pub mod messages;
mod trace;

use history::Tariffs;
pub use history::{History, HistoryError, HistoryFile};
pub use trace::Trace;

use crate::api::model::{Call, CallMessages, EventLine};
use crate::clock;
use crate::config::Profile;
use crate::logging::{Throttle, Verdict};
use messages::Direction;
use sipsec_net::dp::TunnelActivity;
use sipsec_net::{Instant, TelNumber, TunnelId};
use sipsec_session::{EventKind, SessionEvent};
use sipsec_sip::RegistrationState;
use sipsec_track::Event as PolicyEvent;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::broadcast;

/// Events that are kept for those who ask later.
const PAST_MAX: usize = 4096;
/// Warnings of one kind in a minute.
const WARNINGS: (u32, Duration) = (20, Duration::from_secs(60));
/// Lines of one kind about one caller in a minute: each of its calls may be refused, ten a second.
const CALLER_LINES: (u32, Duration) = (3, Duration::from_secs(60));
/// Logged SIP messages in a second, when their target is turned on.
const MESSAGES: (u32, Duration) = (400, Duration::from_secs(1));

/// Which past events are asked for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PastEvents {
    pub interface: Option<String>,
    /// Not older than this, in seconds; none at all without it.
    pub since_s: Option<u64>,
}

#[derive(Debug)]
pub struct Events {
    watchers: broadcast::Sender<Arc<EventLine>>,
    past: VecDeque<Arc<EventLine>>,
    sequence: u64,
    /// Remote number of each tunnel.
    numbers: BTreeMap<TunnelId, TelNumber>,
    /// Lines that have been registered.
    registered: BTreeSet<TelNumber>,
    warnings: Throttle,
    /// Lines about each caller.
    callers: Throttle,
    messages: Throttle,
    history: History,
    trace: Trace,
}

impl Events {
    #[must_use]
    pub fn new(watchers: broadcast::Sender<Arc<EventLine>>, profile: &Profile) -> Self {
        Self {
            watchers,
            past: VecDeque::new(),
            sequence: 0,
            numbers: profile.tunnels.iter().map(|t| (t.id, t.remote_number)).collect(),
            registered: BTreeSet::new(),
            warnings: Throttle::new(WARNINGS.0, WARNINGS.1),
            callers: Throttle::new(CALLER_LINES.0, CALLER_LINES.1),
            messages: Throttle::new(MESSAGES.0, MESSAGES.1),
            history: History::new(Tariffs::of(profile)),
            trace: Trace::default(),
        }
    }

    /// Another profile is in force.
    pub fn set_profile(&mut self, profile: &Profile) {
        self.numbers = profile.tunnels.iter().map(|t| (t.id, t.remote_number)).collect();
        self.history.set_tariffs(Tariffs::of(profile));
    }

    /// A SIP message that went, or came from the carrier: to the log, and to the call that it belongs to.
    pub fn sip(&mut self, now: Instant, way: Direction, peer: SocketAddr, bytes: &[u8]) {
        if messages::sip_is_logged() {
            match self.messages.line(now, "sip") {
                Verdict::Write { left_out } => messages::log_sip(way, peer, bytes, left_out),
                Verdict::LeaveOut => {}
            }
        }
        self.trace.message(clock::wall_us(), way, bytes);
    }

    /// Keeps the history in a file of this directory, and shows what is there.
    ///
    /// # Errors
    /// If there can be no such file.
    pub fn keep_history(&mut self, directory: &Path) -> Result<(), HistoryError> {
        let (file, found) = HistoryFile::open(directory)?;
        self.history.keep_in(file, found);
        Ok(())
    }

    /// Logs an event, and hands it to the watchers. `activity` is what its tunnel has carried.
    pub fn publish(&mut self, now: Instant, event: &SessionEvent, activity: Option<TunnelActivity>) {
        if !self.is_true(&event.kind) {
            return;
        }
        let number = event.tunnel.and_then(|t| self.numbers.get(&t)).map(ToString::to_string);
        self.log(now, event, event.call_id.as_deref());
        self.sequence += 1;
        let line = Arc::new(EventLine {
            sequence: self.sequence,
            time_us: clock::wall_us(),
            event: event.kind.name().to_owned(),
            warning: event.kind.is_warning(),
            interface: event.interface.clone(),
            remote_number: number,
            call_id: event.call_id.clone(),
            text: event.kind.to_string(),
        });
        self.history.event(event, activity);
        self.keep(line);
    }

    /// What a tunnel has carried is final for one of its calls.
    pub fn counted(&mut self, tunnel: TunnelId, call_id: &str, activity: TunnelActivity) {
        self.history.counted(tunnel, call_id, activity);
    }

    /// Logs an event of route policy, and hands it to the watchers. Thousands of track objects may change at once: of each
    /// kind of event the log has some.
    pub fn publish_policy(&mut self, now: Instant, event: &PolicyEvent) {
        let (name, interface) = (event.name(), event.tunnel());
        if let Verdict::Write { left_out } = self.warnings.line(now, name) {
            let left_out = Some(left_out).filter(|n| *n > 0);
            if event.is_warning() {
                tracing::warn!(target: "sipsec::event", event = name, interface, left_out, "{event}");
            } else {
                tracing::info!(target: "sipsec::event", event = name, interface, left_out, "{event}");
            }
        }
        self.sequence += 1;
        self.keep(Arc::new(EventLine {
            sequence: self.sequence,
            time_us: clock::wall_us(),
            event: name.to_owned(),
            warning: event.is_warning(),
            interface: interface.map(str::to_owned),
            text: event.to_string(),
            ..EventLine::default()
        }));
    }

    fn keep(&mut self, line: Arc<EventLine>) {
        if self.past.len() >= PAST_MAX {
            self.past.pop_front();
        }
        self.past.push_back(line.clone());
        // Without watchers nothing is missed.
        let _ = self.watchers.send(line);
    }

    /// Whether the event changes anything: a line that was never registered is not unregistered.
    fn is_true(&mut self, kind: &EventKind) -> bool {
        match kind {
            EventKind::Registration { line, state: RegistrationState::Registered } => {
                self.registered.insert(*line);
                true
            }
            EventKind::Registration { line, state: RegistrationState::Unregistered } => {
                self.registered.remove(line)
            }
            _ => true,
        }
    }

    fn log(&mut self, now: Instant, event: &SessionEvent, call_id: Option<&str>) {
        let (name, interface) = (event.kind.name(), event.interface.as_deref());
        if let EventKind::Incoming { caller } = &event.kind {
            // A peer that calls again and again; what becomes of a call has lines of its own.
            match self.callers.line_of(now, name, caller) {
                Verdict::Write { left_out: 0 } => {
                    tracing::info!(target: "sipsec::event", event = name, interface, call_id, "{}", event.kind);
                }
                Verdict::Write { left_out } => {
                    tracing::info!(target: "sipsec::event", event = name, interface, call_id, left_out, "{}", event.kind);
                }
                Verdict::LeaveOut => {}
            }
            return;
        }
        if !event.kind.is_warning() {
            tracing::info!(target: "sipsec::event", event = name, interface, call_id, "{}", event.kind);
            return;
        }
        let verdict = match &event.kind {
            EventKind::IncomingRefused { caller, .. } => self.callers.line_of(now, name, caller),
            _ => self.warnings.line(now, name),
        };
        match verdict {
            Verdict::Write { left_out: 0 } => {
                tracing::warn!(target: "sipsec::event", event = name, interface, call_id, "{}", event.kind);
            }
            Verdict::Write { left_out } => {
                tracing::warn!(target: "sipsec::event", event = name, interface, call_id, left_out, "{}", event.kind);
            }
            Verdict::LeaveOut => {}
        }
    }

    /// Past events, the oldest first.
    #[must_use]
    pub fn past(&self, wanted: &PastEvents) -> Vec<Arc<EventLine>> {
        let Some(since_s) = wanted.since_s else { return Vec::new() };
        let from = clock::wall_us().saturating_sub(since_s.saturating_mul(1_000_000));
        let fits = |line: &&Arc<EventLine>| {
            line.time_us >= from
                && wanted.interface.as_deref().is_none_or(|name| {
                    line.interface.as_deref().is_some_and(|i| i.eq_ignore_ascii_case(name))
                })
        };
        self.past.iter().filter(fits).cloned().collect()
    }

    /// Calls that have ended, the latest first.
    #[must_use]
    pub fn history(&self, interface: Option<&str>, since_s: Option<u64>) -> Vec<Arc<Call>> {
        let from = since_s.map_or(0, |s| clock::wall_us().saturating_sub(s.saturating_mul(1_000_000)));
        self.history.calls(interface, from)
    }

    /// The SIP messages of a call, by its Call-ID or the beginning of it.
    #[must_use]
    pub fn call(&self, call_id: &str) -> Option<CallMessages> {
        self.trace.call(call_id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config;

    fn events() -> Events {
        let text = "version: 1\ngateway: test\n\
            sip: { interface: wan0, registrar: 192.0.2.2, domain: carrier.example, lines: [{ number: '0388881001' }] }\n\
            ike: { keyring: [{ number: '0388882001', psk: '0x9d1f0a93b7c4e58261b7f9c03e6a2d84' }] }\n\
            tunnels: [{ name: Tunnel1, local_number: '0388881001', remote_number: '0388882001', bandwidth_kbps: 512 }]\n\
            dataplane: { outside: { device: wan0 }, inside: { mode: host, device: svti0 } }\n";
        let (profile, findings) = config::examine("test.yaml", text);
        let profile = profile.unwrap_or_else(|| panic!("{}", findings.render(config::Style::PLAIN)));
        Events::new(broadcast::channel(8).0, &profile)
    }

    fn of_tunnel(kind: EventKind) -> SessionEvent {
        let call_id = Some("abc@host".to_owned());
        SessionEvent { tunnel: Some(TunnelId(1)), interface: Some("Tunnel1".into()), call_id, kind }
    }

    fn shown(events: &Events) -> Vec<String> {
        let all = PastEvents { since_s: Some(3600), ..PastEvents::default() };
        events.past(&all).iter().map(|l| l.event.clone()).collect()
    }

    const INVITE: &[u8] =
        b"INVITE sip:0388882001@carrier.example SIP/2.0\r\nCall-ID: abc@host\r\nCSeq: 1 INVITE\r\n\r\n";

    #[test]
    fn a_line_that_never_was_registered_is_not_unregistered() {
        let mut events = events();
        let line = "0388881001".parse().expect("a number");
        let change = |state| SessionEvent {
            tunnel: None,
            interface: None,
            call_id: None,
            kind: EventKind::Registration { line, state },
        };
        events.publish(Instant::ZERO, &change(RegistrationState::Unregistered), None);
        assert!(shown(&events).is_empty());
        events.publish(Instant::ZERO, &change(RegistrationState::Registered), None);
        events.publish(Instant::ZERO, &change(RegistrationState::Unregistered), None);
        assert_eq!(shown(&events), ["registration", "registration"]);
    }

    #[test]
    fn events_of_a_call_have_its_number_and_call_id() {
        let mut events = events();
        let number = "0388882001".parse().expect("a number");
        events.publish(Instant::ZERO, &of_tunnel(EventKind::InviteSent { remote: number }), None);
        let carrier = "192.0.2.2:5060".parse().expect("an address");
        events.sip(Instant::ZERO, Direction::Out, carrier, INVITE);
        events.publish(Instant::ZERO, &of_tunnel(EventKind::Ringing { status: 180 }), None);
        let lines = events.past(&PastEvents { interface: Some("TUNNEL1".into()), since_s: Some(60) });
        let ids: Vec<_> = lines.iter().map(|l| (l.remote_number.as_deref(), l.call_id.as_deref())).collect();
        assert_eq!(ids, [(Some("0388882001"), Some("abc@host")); 2]);
        assert!(events.past(&PastEvents { interface: Some("Tunnel2".into()), since_s: Some(60) }).is_empty());
        assert!(events.past(&PastEvents::default()).is_empty());
        for _ in 0..2 * PAST_MAX {
            events.publish(Instant::ZERO, &of_tunnel(EventKind::Ringing { status: 180 }), None);
        }
        assert_eq!(shown(&events).len(), PAST_MAX);
    }
}
