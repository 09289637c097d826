//! The core: inputs, timers, and everything that follows from them.

use crate::addresses::WanAddresses;
use crate::carriers::{CarrierId, Carriers, HANG_UP_MAX, UNREGISTER_MAX};
use crate::change::Change;
use crate::config::SessionConfig;
use crate::failure::SessionFailure;
use crate::input::{Admin, Input};
use crate::journal::Journal;
use crate::ledger::Ledger;
use crate::lost::{LostCall, LostCalls};
use crate::output::{EventKind, Output, SessionEvent, Transaction};
use crate::ports::MediaPorts;
use crate::routes::Routes;
use crate::tunnel::Tunnel;
use crate::tunnels::Tunnels;
use sipsec_ike::{ChildId, CrashTokens, Endpoint};
use sipsec_net::dp::{OPS_MAX, Op};
use sipsec_net::{Entropy, Instant, MediaPort, SaId, TunnelId, TxnId};
use sipsec_sip::CallId;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::IpAddr;
use std::time::Duration;

/// What a transaction under way will mean when it is answered.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Pending {
    Configure,
    /// A part of a change of the profile.
    Change,
    /// What takes such a part back.
    Undo,
    MediaOpen {
        tunnel: usize,
        port: MediaPort,
    },
    Install {
        tunnel: usize,
        port: MediaPort,
        child: ChildId,
    },
    Replace {
        tunnel: usize,
        port: MediaPort,
        child: ChildId,
    },
    /// The SAs of a call that has ended are removed: its counters are final.
    Counted {
        tunnel: TunnelId,
        call: CallId,
    },
    /// A child that is there already is bound.
    Bind {
        tunnel: usize,
        port: MediaPort,
        child: ChildId,
    },
    /// The media port of a call of an earlier run.
    LostOpen {
        port: MediaPort,
    },
    /// What route policy has decided.
    Routes,
    /// Nothing waits for it.
    Cleanup,
}

impl Pending {
    /// The call whose packets are counted until the answer comes, and its tunnel.
    pub(crate) const fn counts(&self) -> Option<(TunnelId, CallId)> {
        match self {
            Self::Counted { tunnel, call } => Some((*tunnel, *call)),
            _ => None,
        }
    }
}

/// All sessions of a gateway.
pub struct Core {
    pub(crate) config: SessionConfig,
    pub(crate) entropy: Box<dyn Entropy>,
    pub(crate) carriers: Carriers,
    pub(crate) tunnels: Tunnels,
    pub(crate) routes: Routes,
    /// Calls that may be charged.
    pub(crate) calls: BTreeMap<CallId, Ledger>,
    /// Those of them that are being hung up.
    pub(crate) leaving: usize,
    /// BYEs that were refused, not answered in time or could not be sent.
    pub(crate) byes_owed: u64,
    pub(crate) peer_ports_learnt: u64,
    pub(crate) crash_tokens: CrashTokens,
    /// Calls of an earlier run whose peers may still ask for their IKE SAs.
    pub(crate) lost: LostCalls,
    /// Tunnels whose brake may have to be written.
    pub(crate) braked: BTreeSet<usize>,
    pub(crate) ports: MediaPorts,
    /// Seconds since 1970, at that instant; 0 if it is not known.
    wall_clock: (Instant, u64),
    pub(crate) dataplane: Dataplane,
    pub(crate) pending: BTreeMap<TxnId, Pending>,
    next_txn: u64,
    next_sa: u32,
    pub(crate) out: VecDeque<Output>,
    /// Sessions whose endpoint may have outputs.
    pub(crate) unpumped: BTreeSet<usize>,
    pub(crate) journal: Journal,
    /// A change of the profile that the dataplane has not answered.
    pub(crate) change: Option<Box<Change>>,
    /// Everything is being hung up.
    shutdown: Option<Shutdown>,
}

#[derive(Debug)]
struct Shutdown {
    since: Instant,
    /// How long calls may take to be hung up.
    until: Instant,
    complete: bool,
}

#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Dataplane {
    Absent,
    /// The snapshot is being received; these tunnels are live in it, with their highest SA.
    Snapshot {
        tunnels: BTreeSet<TunnelId>,
        sa_max: u32,
    },
    /// This many transactions of the configuration are unanswered.
    Configuring(usize),
    /// It does not take the configuration.
    Refused,
    Ready,
}

impl std::fmt::Debug for Core {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Core").field("tunnels", &self.tunnels.len()).finish_non_exhaustive()
    }
}

impl Drop for Core {
    /// The process ends: what is left is in the journal, and the next run hangs it up.
    fn drop(&mut self) {
        self.tunnels.iter_mut().for_each(Tunnel::abandon);
    }
}

impl Core {
    /// `entropy` gives a new independent source for each call of it.
    #[must_use]
    pub fn new(mut config: SessionConfig, mut entropy: impl FnMut() -> Box<dyn Entropy>) -> Self {
        let carriers = Carriers::new(std::mem::take(&mut config.carriers), &mut entropy);
        let tunnels = Tunnels::new(std::mem::take(&mut config.tunnels).into_iter().map(Tunnel::new));
        let ports = MediaPorts::new(config.media.port_first, config.media.port_last, config.media.even_ports);
        let mut own = entropy();
        Self {
            carriers,
            tunnels,
            routes: Routes::new(&config.outside),
            calls: BTreeMap::new(),
            leaving: 0,
            byes_owed: 0,
            peer_ports_learnt: 0,
            crash_tokens: CrashTokens::default(),
            lost: LostCalls::new(),
            braked: BTreeSet::new(),
            ports,
            wall_clock: (Instant::ZERO, 0),
            dataplane: Dataplane::Absent,
            pending: BTreeMap::new(),
            next_txn: 1,
            // Ids of an earlier run may still be in the dataplane for a moment.
            next_sa: 1 + (own.u32() & 0xffff),
            out: VecDeque::new(),
            unpumped: BTreeSet::new(),
            journal: Journal::default(),
            change: None,
            shutdown: None,
            entropy: own,
            config,
        }
    }

    pub fn poll_output(&mut self) -> Option<Output> {
        self.out.pop_front()
    }

    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        let shutdown = self.shutdown.as_ref().filter(|s| !s.complete).map(|s| self.shutdown_end(s));
        let lines = self.journal.due();
        let own = [self.tunnels.next_due(), self.carriers.poll_timeout(), shutdown, lines];
        own.into_iter().flatten().min()
    }

    pub fn handle_input(&mut self, now: Instant, input: Input) {
        match input {
            Input::Sip { carrier, flow, bytes } => {
                if let Some(carrier) = self.carriers.get_mut(carrier) {
                    carrier.ua.handle_message(now, &flow, &bytes);
                }
            }
            Input::SipFlowClosed { carrier, flow, reason } => {
                if let Some(carrier) = self.carriers.get_mut(carrier) {
                    carrier.ua.handle_flow_closed(now, flow, &reason);
                }
            }
            Input::IkeDatagram { media_port, from, bytes } => {
                self.ike_datagram(now, media_port, from, &bytes)
            }
            Input::Dataplane(event) => self.dataplane_event(now, event),
            Input::DataplaneUp => self.dataplane_up(now),
            Input::DataplaneDown => self.dataplane_down(now),
            Input::Activity { tunnel, activity, path_ceiling } => {
                self.activity(now, tunnel, activity, path_ceiling);
            }
            Input::Compute { key, outcome } => {
                if let Some(i) = self.tunnels.with_id(key.tunnel)
                    && self.tunnels[i].state().media_port() == Some(key.media_port)
                {
                    self.computed(now, i, key.job, outcome);
                }
            }
            Input::Persisted { key } => {
                if let Some(call) = self.call_of_key(key) {
                    self.carriers.persisted(now, call);
                }
            }
            Input::PersistFailed { key } => {
                if let Some(call) = self.call_of_key(key) {
                    self.not_written(now, call);
                }
            }
            Input::Recovered(records) => self.recovered(now, records),
            Input::RecoveredBrakes(brakes) => self.recovered_brakes(now, brakes),
            Input::Reconfigure(new) => self.reconfigure(now, *new),
            Input::WallClock { unix_time_s } => self.wall_clock = (now, unix_time_s),
            Input::WanAddress { carrier, wan } => self.wan_address(now, carrier, wan),
            Input::SipServers { carrier, registrars, proxies, domain } => {
                if let Some(carrier) = self.carriers.get_mut(carrier) {
                    carrier.ua.set_servers(now, &registrars, &proxies, &domain);
                }
            }
            Input::Routes(decided) => self.routes_chosen(decided),
            Input::NextHop { media_port, mac } => self.next_hop(media_port, mac),
            Input::Admin(admin) => self.admin(now, admin),
        }
        self.drain_parts(now);
    }

    fn not_written(&mut self, now: Instant, call: CallId) {
        if !self.carriers.not_persisted(call) {
            return;
        }
        if let Some(i) = self.tunnel_of(call)
            && self.tunnels[i].state().leg().is_some_and(|l| l.call.id() == call)
        {
            self.fail(now, i, SessionFailure::Journal);
        }
        // What is left is to refuse or to hang up, and that must not wait for a disk.
        self.carriers.persisted(now, call);
    }

    pub fn handle_timeout(&mut self, now: Instant) {
        if self.carriers.handle_timeout(now) {
            self.release_triggers(now);
        }
        self.give_up_waiting(now);
        for i in self.tunnels.due(now) {
            // What was due may have been served with another.
            if self.tunnels[i].due().is_some_and(|at| at <= now) {
                self.session_due(now, i);
            }
        }
        self.drain_parts(now);
    }

    /// Drains the user agent and the endpoints until neither has an output.
    fn drain_parts(&mut self, now: Instant) {
        loop {
            if let Some((carrier, output)) = self.carriers.poll_output() {
                self.sip_output(now, carrier, output);
            } else if let Some(i) = self.unpumped.pop_first() {
                self.pump_endpoint(now, i);
            } else {
                break;
            }
        }
        self.remove_carriers(now);
        self.check_shutdown(now);
        self.remove_left();
        self.save_brakes(now);
        self.tunnels.refresh();
    }

    // ---- addresses ----

    fn wan_address(&mut self, now: Instant, id: CarrierId, wan: WanAddresses) {
        let Some(carrier) = self.carriers.get_mut(id).filter(|c| c.wan() != wan) else { return };
        // First, so that what is hung up is hung up from where we are now.
        let had = carrier.set_wan(now, wan);
        for i in self.tunnels.indices() {
            let Some(leg) = self.tunnels[i].state().leg() else { continue };
            if leg.call.id().space() != id.0 {
                continue;
            }
            // The addresses of ours that the call names: in SDP, and in SIP as the peer's requests need it.
            let media = self.tunnels[i].state().local_ip();
            let sip = self.carriers.server_of(leg.call.id()).and_then(|server| had.towards(server));
            let lost = |ip: Option<IpAddr>| ip.is_some_and(|ip| !wan.has(ip));
            if lost(media) || lost(sip) {
                // RFC 6193 §5.2 forbids a re-INVITE to maintain the VPN, and SDP named the old address.
                let replaced = media.or(sip).is_some_and(|ip| wan.towards(ip).is_some());
                let failure =
                    if replaced { SessionFailure::AddressChanged } else { SessionFailure::AddressLost };
                self.fail(now, i, failure);
            }
        }
        let carriers = &self.carriers;
        let astray = |l: &LostCall| carriers.of_call(l.call()).is_none_or(|c| !c.wan().has(l.local_ip()));
        let astray: BTreeSet<CallId> = self.lost.values().filter(|l| astray(l)).map(LostCall::call).collect();
        self.forget_lost(now, |lost| astray.contains(&lost.call()));
        self.hang_up_recovered(now);
        if wan.any().is_some() {
            self.release_triggers(now);
        }
    }

    /// Seconds since 1970.
    pub(crate) fn unix_time_s(&self, now: Instant) -> u64 {
        let (at, unix_time_s) = self.wall_clock;
        unix_time_s + now.saturating_duration_since(at).as_secs()
    }

    /// The same for an instant of this run, if the wall clock is known.
    pub(crate) fn unix_time_at(&self, at: Instant) -> Option<u64> {
        let (then, unix_time_s) = self.wall_clock;
        let later = at.saturating_duration_since(then).as_secs();
        let earlier = then.saturating_duration_since(at).as_secs();
        (unix_time_s > 0).then(|| (unix_time_s + later).saturating_sub(earlier))
    }

    // ---- operators ----

    fn admin(&mut self, now: Instant, admin: Admin) {
        match admin {
            Admin::Clear { .. } | Admin::ClearTunnel(_) => {
                for i in self.tunnels.indices() {
                    let config = self.tunnels[i].config();
                    let wanted = match admin {
                        Admin::Clear { remote_number } => {
                            remote_number.is_none_or(|n| n == config.remote_number)
                        }
                        Admin::ClearTunnel(id) => id == config.id(),
                        _ => false,
                    };
                    if wanted {
                        // The operator has judged what went wrong before.
                        self.tunnels[i].succeeded();
                        self.braked.insert(i);
                        self.hang_up(now, i, sipsec_ike::CloseCause::Admin);
                        self.flush_trigger(i);
                    }
                }
                self.release_triggers(now);
            }
            Admin::NatPage { from } => self.transact(vec![Op::NatPage { from }], Pending::Cleanup),
            Admin::NatClear(host) => self.transact(vec![Op::NatClear(host)], Pending::Cleanup),
            Admin::Call(tunnel) => self.call_by_command(now, tunnel),
            Admin::Shutdown => {
                if self.shutdown.is_none() {
                    let until = now + self.shutdown_max(now);
                    self.shutdown = Some(Shutdown { since: now, until, complete: false });
                    // Calls first: they cost money.
                    for i in self.tunnels.indices() {
                        self.hang_up(now, i, sipsec_ike::CloseCause::Shutdown);
                    }
                    self.forget_lost(now, |_| true);
                    self.carriers.unregister_all(now);
                }
            }
        }
    }

    pub(crate) const fn stopping(&self) -> bool {
        self.shutdown.is_some()
    }

    /// Calls that SIP has not ended.
    #[must_use]
    pub fn live_calls(&self) -> usize {
        self.carriers.live_dialogs()
    }

    /// How long a shutdown that begins now may take: BYEs of many calls are paced, and each is repeated until it is answered.
    #[must_use]
    pub fn shutdown_max(&self, now: Instant) -> Duration {
        HANG_UP_MAX + self.carriers.drain_time(now)
    }

    fn shutdown_end(&self, shutdown: &Shutdown) -> Instant {
        if self.carriers.live_dialogs() > 0 { shutdown.until } else { shutdown.since + UNREGISTER_MAX }
    }

    fn check_shutdown(&mut self, now: Instant) {
        let Some(shutdown) = self.shutdown.as_ref().filter(|s| !s.complete) else { return };
        let quiet = self.carriers.live_dialogs() == 0
            && self.carriers.unregistered()
            && self.tunnels.iter().all(|t| t.state().media_port().is_none())
            && self.calls.values().all(|ledger| !ledger.counting);
        if quiet || self.shutdown_end(shutdown) <= now {
            self.count_no_longer(now);
            if let Some(shutdown) = &mut self.shutdown {
                shutdown.complete = true;
            }
            self.out.push_back(Output::ShutdownComplete);
        }
    }

    // ---- shared by the other files ----

    /// Gives an input to the endpoint of a session, whose outputs are then taken; `false` if it has none.
    pub(crate) fn drive(&mut self, i: usize, what: impl FnOnce(&mut Endpoint)) -> bool {
        let Some(endpoint) = self.tunnels[i].endpoint() else { return false };
        what(endpoint);
        self.unpumped.insert(i);
        true
    }

    /// An event of a tunnel and of the call that it has.
    pub(crate) fn event(&mut self, tunnel: Option<usize>, kind: EventKind) {
        let of_tunnel = || {
            let call = self.tunnels[tunnel?].state().call_id()?;
            self.calls.get(&call).map(|ledger| ledger.call_id.clone())
        };
        let call_id = kind.call_id().map(str::to_owned).or_else(of_tunnel);
        self.event_of(tunnel, call_id, kind);
    }

    /// An event of a call that the tunnel may not have taken.
    pub(crate) fn event_of(&mut self, tunnel: Option<usize>, call_id: Option<String>, kind: EventKind) {
        let t = tunnel.map(|i| self.tunnels[i].config());
        self.out.push_back(Output::Event(SessionEvent {
            tunnel: t.map(crate::config::TunnelConfig::id),
            interface: t.map(|t| t.name.clone()),
            call_id,
            kind,
        }));
    }

    pub(crate) fn transact(&mut self, ops: Vec<Op>, pending: Pending) {
        self.transact_part(ops, pending, false);
    }

    /// With `more`, the next transaction belongs to the same change.
    pub(crate) fn transact_part(&mut self, ops: Vec<Op>, pending: Pending, more: bool) {
        debug_assert!(!ops.is_empty() && ops.len() <= OPS_MAX, "a transaction has 1 to {OPS_MAX} operations");
        if self.dataplane == Dataplane::Absent {
            return; // the next one is configured anew
        }
        let id = TxnId(self.next_txn);
        self.next_txn += 1;
        self.pending.insert(id, pending);
        self.out.push_back(Output::Dataplane(Transaction { id, ops, more }));
    }

    pub(crate) fn new_sa(&mut self) -> SaId {
        let id = SaId(self.next_sa);
        self.next_sa = self.next_sa.wrapping_add(1).max(1);
        id
    }

    pub(crate) fn raise_sa(&mut self, above: u32) {
        self.next_sa = self.next_sa.max(above.wrapping_add(1));
    }

    /// A source of its own for one part of the core.
    pub(crate) fn new_entropy(&mut self) -> Box<dyn Entropy> {
        Box::new(crate::entropy::Stream::of(&mut *self.entropy))
    }
}
