//! The user agent: all lines of a gateway with their registrations and calls.

mod fail_over;
mod prove;
pub(crate) mod receive;
mod refresh;
mod register;
pub(crate) mod respond;
mod send;
mod values;

use crate::calls::Calls;
use crate::config::Config;
use crate::notice::Notices;
use crate::output::{Output, RegistrationView};
use crate::pace::Pace;
use crate::registration::Registration;
use crate::schedule::{Due, Schedule};
use crate::target::Targets;
use crate::transaction::{ClientTransaction, Owner, ServerTransaction};
use crate::transport::{Flows, Locals};
use sipsec_net::{Entropy, Instant};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

pub use receive::of_invite;
pub use respond::SUPPORTED;
pub use send::client_key;

/// Counters of messages that were not acted upon, and of faults.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// Datagrams that are no message, dropped or answered 400 to 505.
    pub malformed: u64,
    /// Datagrams from elsewhere than the outbound proxy.
    pub untrusted: u64,
    /// Responses to nothing that we asked.
    pub stray_responses: u64,
    /// Requests dropped or refused because a table is full.
    pub overload: u64,
    /// Registrations anew because a call was refused as if the registrar did not know the line.
    pub reregistered: u64,
    /// Responses of which a part could not be read; they were used all the same.
    pub flawed_responses: u64,
    /// Final responses that came again and were not acknowledged any more.
    pub acks_withheld: u64,
    /// Second answers to one INVITE, hung up.
    pub forked: u64,
    /// Requests of more than 1300 bytes (RFC 3261 §18.1.1).
    pub oversize: u64,
    /// Requests that went to another server, because one did not answer or answered 503.
    pub failed_over: u64,
    /// BYEs that were refused, not answered or could not be sent, each of which is sent again.
    pub byes_owed: u64,
    /// Calls whose BYE was refused or not answered, as often as it was sent.
    pub byes_unanswered: u64,
}

impl std::iter::Sum for Stats {
    fn sum<I: Iterator<Item = Self>>(all: I) -> Self {
        all.fold(Self::default(), |a, b| Self {
            malformed: a.malformed + b.malformed,
            untrusted: a.untrusted + b.untrusted,
            stray_responses: a.stray_responses + b.stray_responses,
            overload: a.overload + b.overload,
            reregistered: a.reregistered + b.reregistered,
            flawed_responses: a.flawed_responses + b.flawed_responses,
            acks_withheld: a.acks_withheld + b.acks_withheld,
            forked: a.forked + b.forked,
            oversize: a.oversize + b.oversize,
            failed_over: a.failed_over + b.failed_over,
            byes_owed: a.byes_owed + b.byes_owed,
            byes_unanswered: a.byes_unanswered + b.byes_unanswered,
        })
    }
}

pub struct UserAgent {
    pub(crate) config: Config,
    pub(crate) entropy: Box<dyn Entropy>,
    pub(crate) locals: Locals,
    pub(crate) registrars: Targets,
    /// Empty if the registrars take everything.
    pub(crate) proxies: Targets,
    /// What comes from these addresses is read: the servers of now, and those through which live calls were made.
    pub(crate) trusted: BTreeSet<IpAddr>,
    pub(crate) flows: Flows,
    /// Where TCP was refused, until when it is not tried again.
    pub(crate) no_tcp: BTreeMap<SocketAddr, Instant>,
    pub(crate) out: VecDeque<Output>,
    pub(crate) registrations: Vec<Registration>,
    /// User part of each line's Contact.
    pub(crate) contact_users: Vec<String>,
    pub(crate) calls: Calls,
    pub(crate) clients: BTreeMap<Arc<str>, ClientTransaction>,
    pub(crate) servers: BTreeMap<Arc<str>, ServerTransaction>,
    pub(crate) pace_byes: Pace,
    /// REGISTERs and session refreshes: they must not delay a BYE.
    pub(crate) pace_others: Pace,
    pub(crate) schedule: Schedule,
    pub(crate) stats: Stats,
    pub(crate) notices: Notices,
    /// Makes the tags of answers without state.
    tag_key: [u8; 16],
    /// The lines are being given up: no calls any more.
    pub(crate) stopping: bool,
}

impl std::fmt::Debug for UserAgent {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("UserAgent").field("calls", &self.calls.live()).finish_non_exhaustive()
    }
}

impl UserAgent {
    #[must_use]
    pub fn new(config: Config, entropy: Box<dyn Entropy>) -> Self {
        Self::in_space(config, entropy, 0)
    }

    /// One of several user agents, whose [`CallId`](crate::CallId)s have this space.
    #[must_use]
    pub fn in_space(config: Config, mut entropy: Box<dyn Entropy>, space: u16) -> Self {
        let (pace_byes, pace_others) = (Pace::new(config.requests_per_s), Pace::new(config.requests_per_s));
        let mut tag_key = [0; 16];
        entropy.fill(&mut tag_key);
        let (registrars, proxies) = (Targets::new(&config.registrars), Targets::new(&config.proxies));
        let user = &config.dialect.contact_user;
        let contact_users = config.lines.iter().map(|l| user.of(l.number, &mut *entropy)).collect();
        let registrations = config.lines.iter().map(|_| Registration::new(&mut *entropy)).collect();
        Self {
            config,
            entropy,
            locals: Locals::default(),
            trusted: registrars.ips().chain(proxies.ips()).collect(),
            registrars,
            proxies,
            flows: Flows::default(),
            no_tcp: BTreeMap::new(),
            out: VecDeque::new(),
            registrations,
            contact_users,
            calls: Calls::new(space),
            clients: BTreeMap::new(),
            servers: BTreeMap::new(),
            pace_byes,
            pace_others,
            schedule: Schedule::default(),
            stats: Stats::default(),
            notices: Notices::default(),
            tag_key,
            stopping: false,
        }
    }

    pub fn poll_output(&mut self) -> Option<Output> {
        self.out.pop_front()
    }

    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.schedule.next()
    }

    pub fn handle_timeout(&mut self, now: Instant) {
        while let Some(due) = self.schedule.pop(now) {
            match due {
                Due::Client(key) => self.client_due(now, &key),
                Due::Server(key) => self.server_due(now, &key),
                Due::Registration(line) => self.register_due(now, line),
                Due::Prove(line) => self.prove_due(now, line),
                Due::Call(id) => self.call_due(now, id),
            }
            self.settle();
        }
    }

    fn client_due(&mut self, now: Instant, key: &Arc<str>) {
        let Some(t) = self.clients.get_mut(key) else { return };
        while let Some(effects) = t.tick(now) {
            if effects.send {
                let (flow, bytes) = (t.flow, t.bytes.clone());
                self.out.push_back(Output::Transmit { flow, bytes });
            }
            if effects.timeout {
                let (owner, flow) = (t.owner, t.flow);
                self.clients.remove(key);
                if !self.fail_over(now, owner, &flow, None) {
                    self.timed_out(now, owner);
                }
                return;
            }
        }
        self.rearm_client(key);
    }

    pub(crate) fn timed_out(&mut self, now: Instant, owner: Owner) {
        match owner {
            Owner::Register(line) => {
                self.register_failed(now, line, "no answer from the registrar".into(), None);
            }
            Owner::Invite(call) => self.invite_timeout(now, call),
            Owner::Refresh(call) => self.refresh_failed(now, call),
            Owner::Bye(call) => self.bye_unanswered(now, call, None, None),
            Owner::Options(line) => self.prove_failed(now, line),
            // The INVITE's own transaction ends the wait (RFC 3261 §9.1, RFC 3262 §4).
            Owner::Cancel(_) | Owner::Prack(_) => {}
        }
    }

    fn server_due(&mut self, now: Instant, key: &Arc<str>) {
        let Some(t) = self.servers.get_mut(key) else { return };
        while let Some(effects) = t.tick(now) {
            if effects.send {
                self.out.push_back(Output::Transmit { flow: t.flow, bytes: t.response.clone() });
            }
        }
        self.rearm_server(key);
    }

    pub(crate) fn rearm_client(&mut self, key: &Arc<str>) {
        let due = match self.clients.get(key) {
            Some(t) if !t.terminated() => t.due(),
            _ => {
                self.clients.remove(key);
                None
            }
        };
        self.schedule.set(Due::Client(key.clone()), due);
    }

    pub(crate) fn rearm_server(&mut self, key: &Arc<str>) {
        let due = match self.servers.get(key) {
            Some(t) if !t.terminated() => t.due(),
            _ => {
                self.servers.remove(key);
                None
            }
        };
        self.schedule.set(Due::Server(key.clone()), due);
    }

    /// Puts the timers of the calls that changed in order. Every entry point ends with it.
    pub(crate) fn settle(&mut self) {
        while let Some(id) = self.calls.pop_touched() {
            let due = self.calls.get(id).and_then(crate::state::CallState::due);
            self.schedule.set(Due::Call(id), due);
        }
    }

    #[must_use]
    pub const fn stats(&self) -> &Stats {
        &self.stats
    }

    /// Calls for which SIP has something left to do.
    #[must_use]
    pub fn live_dialogs(&self) -> usize {
        self.calls.live()
    }

    /// How long it takes until the last BYE and the last REGISTER would have left if everything were ended now: calls hung up
    /// with [`Self::hang_up`], lines given up with [`Self::unregister_all`]. An answer takes one round trip more, and up to
    /// 32 s (64·T1) if the carrier does not answer.
    #[must_use]
    pub fn drain_time(&self, now: Instant) -> Duration {
        let calls = self.calls.live().saturating_sub(self.calls.being_left());
        let lines = self.registrations.iter().filter(|r| r.is_bound()).count();
        self.pace_byes.wait(now, calls).max(self.pace_others.wait(now, lines))
    }

    pub fn registrations(&self) -> impl Iterator<Item = RegistrationView> + '_ {
        let lines = self.registrations.iter().zip(&self.config.lines);
        lines.map(|(r, line)| r.view(line, &self.config.domain))
    }
}
