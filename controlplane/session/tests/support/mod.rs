//! Two gateways, a carrier between them, dataplanes that obey, and a clock that only the test moves.

pub mod carrier;

pub use carrier::CARRIER;
use carrier::Carrier;
use sipsec_ike::algorithm::{EspProposal, IkeProposal};
use sipsec_ike::{CertificateAuth, Identity, IdentityPolicy, PskKeys};
use sipsec_net::dp::{
    Adjacency, Direction, Event, MediaBinding, Op, PacketSummary, PeerSource, TunnelActivity, TunnelSpec,
};
use sipsec_net::entropy::TestEntropy;
use sipsec_net::qos::{ClassSpec, Filter};
use sipsec_net::{
    Entropy, Instant, IpPrefix, Kbps, MacAddr, MediaPort, SaId, SecretBox, TelNumber, TunnelId,
};
use sipsec_session::{
    BackOff, CarrierConfig, CarrierId, Core, Credential, IkeConfig, Input, KeyEntry, MediaConfig, Output,
    PeerKind, Reconfiguration, ReconfigureError, Reconfigured, SessionConfig, SessionView, TunnelConfig,
    TunnelQos,
};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

pub const TUNNEL: TunnelId = TunnelId(1);
/// 2026-07-01, when a gateway starts.
pub const WALL_CLOCK: u64 = 1_782_864_000;
pub const NUMBERS: [&str; 2] = ["0388881001", "0388882001"];
pub const WANS: [&str; 2] = ["198.51.100.6", "203.0.113.9"];

pub fn number(s: &str) -> TelNumber {
    s.parse().expect("a number")
}

/// What a gateway is configured with, for tests to change.
#[derive(Clone)]
pub struct Setup {
    pub psk: &'static [u8],
    pub psk_next: Option<&'static [u8]>,
    pub psk_fingerprint: bool,
    /// Instead of the key.
    pub certificate: Option<Arc<CertificateAuth>>,
    pub peer: PeerKind,
    pub local_id: Option<Identity>,
    pub remote_id: Option<IdentityPolicy>,
    /// Has what IOS has by default, and nothing else.
    pub is_old_router: bool,
    pub remote: &'static str,
    pub key_for: &'static str,
    pub kbps: u32,
    pub idle: Duration,
    pub dpd: Duration,
    pub one_way: Option<Duration>,
    pub routes: &'static [&'static str],
    pub outside: &'static [&'static str],
    /// Of a policy; none: the tunnel has no policy.
    pub filters: usize,
    pub strict_cisco: bool,
    pub back_off: BackOff,
    pub learn_peer_port: bool,
    pub delayed_offers: bool,
    pub crash_detection: bool,
}

impl Setup {
    pub fn of(side: usize) -> Self {
        Self {
            psk: b"a key that both ends have, long enough",
            psk_next: None,
            psk_fingerprint: true,
            certificate: None,
            peer: PeerKind::Generic,
            local_id: None,
            remote_id: None,
            is_old_router: false,
            remote: NUMBERS[1 - side],
            key_for: NUMBERS[1 - side],
            kbps: [1000, 64][side],
            // The branch gives up first, as a branch should: its packets opened the call.
            idle: Duration::from_secs([30, 90][side]),
            dpd: Duration::from_secs(10),
            one_way: None,
            routes: &["10.0.0.0/8"],
            outside: &[],
            filters: 0,
            strict_cisco: false,
            back_off: BackOff::default(),
            learn_peer_port: false,
            delayed_offers: false,
            crash_detection: true,
        }
    }
}

pub fn keyring(s: &Setup) -> Vec<KeyEntry> {
    vec![KeyEntry {
        number: Some(number(s.key_for)),
        credential: match &s.certificate {
            Some(auth) => Credential::Certificate(Arc::clone(auth)),
            None => {
                let key = |text| SecretBox::new(text).expect("fits");
                Credential::Psk(PskKeys { current: key(s.psk), next: s.psk_next.map(key) })
            }
        },
        ppk: None,
        peer: s.peer,
        local_id: s.local_id.clone(),
        remote_id: s.remote_id.clone(),
    }]
}

fn qos(s: &Setup) -> TunnelQos {
    let plain = TunnelQos::plain(TUNNEL);
    if s.filters == 0 {
        return plain;
    }
    let spec = plain.spec.with_classes(&[ClassSpec::default(); 2]).expect("few");
    let filters = vec![Filter::any(1); s.filters];
    TunnelQos { spec, filters, policy: Some("P".to_owned()), fails_calls: s.strict_cisco, ..plain }
}

fn old_esp() -> EspProposal {
    let mut old = EspProposal::cisco();
    old.integ.retain(|i| *i == sipsec_ike::algorithm::Integ::HmacSha1_96);
    old
}

/// The WAN's address is this one.
pub fn wan_address(ip: Option<IpAddr>) -> Input {
    Input::WanAddress { carrier: CarrierId::default(), wan: sipsec_session::WanAddresses::of(ip) }
}

pub fn config(side: usize, s: &Setup) -> SessionConfig {
    let local = number(NUMBERS[side]);
    let line = sipsec_sip::Line { number: local, auth: None };
    let target = sipsec_sip::Target::udp(CARRIER.parse().expect("an address"));
    let mut sip = sipsec_sip::Config::new(target, "carrier.example", vec![line]);
    sip.dialect.delayed_offers = s.delayed_offers;
    let mut carrier = CarrierConfig::new("default", sip);
    carrier.media.learn_peer_port = s.learn_peer_port;
    carrier.back_off = s.back_off;
    let spec = TunnelSpec::new(TUNNEL, 1438);
    SessionConfig {
        carriers: vec![carrier],
        tunnels: vec![TunnelConfig {
            bandwidth: Kbps(s.kbps),
            idle: s.idle,
            one_way: s.one_way,
            routes: s.routes.iter().map(|r| r.parse::<IpPrefix>().expect("a prefix")).collect(),
            qos: qos(s),
            ..TunnelConfig::new("Tunnel1".to_owned(), spec, local, number(s.remote))
        }],
        keyring: keyring(s),
        ike: IkeConfig {
            proposals: if s.is_old_router { vec![IkeProposal::cisco()] } else { IkeProposal::defaults() },
            esp_proposals: if s.is_old_router { vec![old_esp()] } else { EspProposal::defaults() },
            dpd: sipsec_ike::Dpd { interval: s.dpd, ..sipsec_ike::Dpd::default() },
            psk_fingerprint: s.psk_fingerprint,
            crash_detection: s.crash_detection.then(|| SecretBox::new(&[side as u8 + 1; 32]).expect("fits")),
            ..IkeConfig::default()
        },
        media: MediaConfig {
            port_first: 50_000,
            port_last: 50_099,
            tunnel_source: "10.255.0.1".parse().expect("an address"),
            even_ports: false,
        },
        outside: s.outside.iter().map(|r| r.parse().expect("a prefix")).collect(),
    }
}

/// A dataplane that does what it is told and remembers it.
#[derive(Clone, Default)]
pub struct FakeDataplane {
    pub media: BTreeMap<MediaPort, MediaBinding>,
    pub sas: BTreeMap<SaId, Direction>,
    pub bound: Option<SaId>,
    pub configured: bool,
    pub tunnels: BTreeMap<TunnelId, TunnelSpec>,
    pub routes: BTreeMap<IpPrefix, (TunnelId, Adjacency)>,
    /// Of the tunnel.
    pub classes: usize,
    pub filters: usize,
    /// Tunnels beyond these are refused.
    pub tunnels_max: Option<usize>,
    pub acquire_out: bool,
    pub replayed: usize,
    pub flushed: usize,
    pub activity: TunnelActivity,
    pub sources: BTreeMap<MediaPort, PeerSource>,
    /// Answers MediaOpen with a rejection.
    pub refuse_media: bool,
    /// Answers no transaction.
    pub silent: bool,
}

pub struct Gateway {
    pub core: Core,
    pub dp: FakeDataplane,
    pub journal: BTreeMap<u64, Vec<u8>>,
    pub brakes: BTreeMap<String, Vec<u8>>,
    pub events: Vec<String>,
    /// The same with their texts.
    pub log: Vec<String>,
    /// What became of changes of the profile.
    pub changes: Vec<Result<Reconfigured, ReconfigureError>>,
    /// Of [`Output::RoutesTaken`].
    pub routes_taken: Vec<IpPrefix>,
    /// Ports whose next hops are followed.
    pub resolved: BTreeSet<MediaPort>,
    /// The neighbour table does not answer.
    pub no_next_hop: bool,
    setup: Setup,
    life: u64,
}

pub struct World {
    pub now: Instant,
    pub gateways: [Gateway; 2],
    pub carrier: Carrier,
    /// Drops IKE of one side.
    pub mute_ike: [bool; 2],
    /// IKE of one side arrives that much later.
    pub delay_ike: [Option<Duration>; 2],
    late: Vec<(Instant, Wire)>,
    /// IKE arrives from another port than SDP said.
    pub move_source: bool,
    wires: VecDeque<Wire>,
}

enum Wire {
    Sip { to: usize, bytes: Vec<u8> },
    Ike { from: usize, port: MediaPort, bytes: Vec<u8> },
    Tell { to: usize, input: Input },
}

fn new_core(side: usize, life: u64, s: &Setup) -> Core {
    let mut seed = (side as u64 + 1) * 1000 + life * 10;
    Core::new(config(side, s), move || -> Box<dyn Entropy> {
        seed += 1;
        Box::new(TestEntropy::new(seed))
    })
}

impl World {
    /// Both registered and configured.
    pub fn new(setups: [Setup; 2]) -> Self {
        let gateway = |side: usize| Gateway {
            core: new_core(side, 0, &setups[side]),
            dp: FakeDataplane::default(),
            journal: BTreeMap::new(),
            brakes: BTreeMap::new(),
            events: Vec::new(),
            log: Vec::new(),
            changes: Vec::new(),
            routes_taken: Vec::new(),
            resolved: BTreeSet::new(),
            no_next_hop: false,
            setup: setups[side].clone(),
            life: 0,
        };
        let mut world = Self {
            now: Instant::from_nanos(1_000_000_000),
            gateways: [gateway(0), gateway(1)],
            carrier: Carrier::default(),
            mute_ike: [false; 2],
            delay_ike: [None; 2],
            late: Vec::new(),
            move_source: false,
            wires: VecDeque::new(),
        };
        for side in 0..2 {
            world.boot(side);
        }
        world
    }

    pub fn default() -> Self {
        Self::new([Setup::of(0), Setup::of(1)])
    }

    fn boot(&mut self, side: usize) {
        let records = self.gateways[side].journal.iter().map(|(k, v)| (*k, v.clone())).collect();
        let brakes = self.gateways[side].brakes.iter().map(|(k, v)| (k.clone(), v.clone())).collect();
        self.tell(side, Input::WallClock { unix_time_s: WALL_CLOCK + self.now.as_nanos() / 1_000_000_000 });
        self.tell(side, Input::RecoveredBrakes(brakes));
        self.tell(side, Input::Recovered(records));
        self.tell(side, Input::DataplaneUp);
        let wan: IpAddr = WANS[side].parse().expect("an address");
        self.tell(side, wan_address(Some(wan)));
        self.run();
    }

    /// The process dies and starts again; the journal and the dataplane stay.
    pub fn crash(&mut self, side: usize) {
        let g = &mut self.gateways[side];
        g.life += 1;
        g.core = new_core(side, g.life, &g.setup);
        g.resolved.clear();
        self.wires.retain(|w| !matches!(w, Wire::Tell { to, .. } if *to == side));
        self.boot(side);
    }

    /// The profile of one side is changed under its calls; what became of it.
    pub fn reconfigure(
        &mut self,
        side: usize,
        change: impl FnOnce(&mut Reconfiguration),
    ) -> Option<Result<Reconfigured, ReconfigureError>> {
        self.ask_for(side, change);
        self.run();
        self.gateways[side].changes.pop()
    }

    /// The same, before anything has answered.
    pub fn ask_for(&mut self, side: usize, change: impl FnOnce(&mut Reconfiguration)) {
        let config = config(side, &self.gateways[side].setup);
        let mut new = Reconfiguration {
            tunnels: config.tunnels,
            keyring: config.keyring,
            ike: config.ike,
            outside: config.outside,
            carriers: config.carriers,
            replaced: std::collections::BTreeSet::new(),
            bounced: std::collections::BTreeSet::new(),
        };
        change(&mut new);
        self.gateways[side].changes.clear();
        self.tell(side, Input::Reconfigure(Box::new(new)));
    }

    pub fn tell(&mut self, side: usize, input: Input) {
        self.gateways[side].core.handle_input(self.now, input);
        self.drain(side);
    }

    /// A packet for the tunnel.
    pub fn packet(&mut self, side: usize) {
        let dp = &mut self.gateways[side].dp;
        if dp.bound.is_some() {
            dp.activity.last_out = self.now;
        } else if dp.configured && !std::mem::replace(&mut dp.acquire_out, true) {
            let ip = |s: &str| s.parse().expect("an address");
            let first = PacketSummary {
                source: ip("10.1.0.2"),
                destination: ip("10.2.0.2"),
                protocol: 1,
                source_port: 0,
                destination_port: 0,
                len: 84,
            };
            self.wires.push_back(Wire::Tell {
                to: side,
                input: Input::Dataplane(Event::Acquire { tunnel: TUNNEL, first }),
            });
        }
    }

    /// Everything that happens without time passing.
    pub fn run(&mut self) {
        for _ in 0..10_000 {
            if !self.step() {
                return;
            }
        }
        panic!("the world does not come to rest");
    }

    /// One thing; `false` if nothing is left.
    pub fn step(&mut self) -> bool {
        let Some(wire) = self.wires.pop_front() else { return false };
        match wire {
            Wire::Sip { to, bytes } => {
                let from = CARRIER.parse().expect("an address");
                let local = SocketAddr::new(WANS[to].parse().expect("an address"), 5060);
                self.tell(
                    to,
                    Input::Sip {
                        carrier: CarrierId::default(),
                        flow: sipsec_sip::Flow::udp(local, from),
                        bytes,
                    },
                );
            }
            Wire::Ike { from, port, bytes } => self.ike(from, port, bytes),
            Wire::Tell { to, input } => self.tell(to, input),
        }
        true
    }

    /// Time passes, timers fire in order.
    pub fn advance(&mut self, by: Duration) {
        let end = self.now + by;
        self.run();
        for _ in 0..100_000 {
            let timers = (0..2).filter_map(|s| self.gateways[s].core.poll_timeout());
            let next = timers.chain(self.late.first().map(|(at, _)| *at)).min();
            match next.filter(|at| *at <= end) {
                None => {
                    self.now = end;
                    return;
                }
                Some(at) => {
                    self.now = self.now.max(at);
                    let due = self.late.iter().take_while(|(at, _)| *at <= self.now).count();
                    self.wires.extend(self.late.drain(..due).map(|(_, wire)| wire));
                    for side in 0..2 {
                        self.gateways[side].core.handle_timeout(self.now);
                        self.drain(side);
                    }
                    self.run();
                }
            }
        }
        panic!("timers fire for ever");
    }

    fn ike(&mut self, from: usize, port: MediaPort, bytes: Vec<u8>) {
        let Some(binding) = self.gateways[from].dp.media.get(&port).copied() else { return };
        if self.mute_ike[from] {
            return;
        }
        let to = 1 - from;
        let peer_port = MediaPort(binding.remote.port());
        let Some(theirs) = self.gateways[to].dp.media.get(&peer_port).copied() else { return };
        let mut source = binding.outside_local;
        if self.move_source {
            source.set_port(source.port() ^ 1);
        }
        let admitted = match self.gateways[to].dp.sources.get(&peer_port) {
            Some(PeerSource::Unproven) => true,
            Some(PeerSource::Port(port)) => *port == source.port(),
            None => false,
        };
        let admitted = theirs.remote.ip() == source.ip() && (theirs.remote == source || admitted);
        if !admitted || binding.remote != theirs.outside_local {
            self.tell(to, Input::Dataplane(Event::WrongSource { media_port: peer_port, from: source }));
        } else {
            self.tell(to, Input::IkeDatagram { media_port: peer_port, from: source, bytes });
        }
    }

    fn drain(&mut self, side: usize) {
        while let Some(output) = self.gateways[side].core.poll_output() {
            let local = SocketAddr::new(WANS[side].parse().expect("an address"), 5060);
            match output {
                Output::SipTransmit { flow, bytes, .. } => {
                    assert_eq!(flow.remote, CARRIER.parse().expect("an address"));
                    for (to, bytes) in self.carrier.datagram(local, &bytes) {
                        let to = WANS.iter().position(|w| *w == to.ip().to_string()).expect("a gateway");
                        self.wires.push_back(Wire::Sip { to, bytes });
                    }
                }
                Output::IkeTransmit { media_port, bytes, .. } => {
                    let wire = Wire::Ike { from: side, port: media_port, bytes };
                    match self.delay_ike[side] {
                        Some(late) => self.late.push((self.now + late, wire)),
                        None => self.wires.push_back(wire),
                    }
                }
                Output::NatKeepalive { .. }
                | Output::SipOpen { .. }
                | Output::CarrierAdded { .. }
                | Output::CarrierRemoved(_) => {}
                Output::Dataplane(_) if self.gateways[side].dp.silent => {}
                Output::Dataplane(t) => {
                    let before = self.gateways[side].dp.clone();
                    let answer = self.gateways[side].dp.apply(&t.ops);
                    if answer.is_err() {
                        self.gateways[side].dp = before;
                    }
                    let event = match answer {
                        Ok(()) => Event::Applied(t.id),
                        Err((op, reason)) => Event::Rejected { txn: t.id, op, reason },
                    };
                    self.wires.push_back(Wire::Tell { to: side, input: Input::Dataplane(event) });
                }
                Output::SnapshotRequest => {
                    if self.gateways[side].dp.configured {
                        let event = Event::SnapshotTunnel { tunnel: TUNNEL, outbound: None };
                        self.wires.push_back(Wire::Tell { to: side, input: Input::Dataplane(event) });
                    }
                    self.wires
                        .push_back(Wire::Tell { to: side, input: Input::Dataplane(Event::SnapshotEnd) });
                }
                Output::QueryActivity(tunnel) => {
                    let activity = self.gateways[side].dp.activity;
                    let input = Input::Activity { tunnel, activity, path_ceiling: 0 };
                    self.wires.push_back(Wire::Tell { to: side, input });
                }
                Output::CallCounted { .. } => self.gateways[side].events.push("call-counted".into()),
                Output::Compute { key, job, .. } => {
                    let outcome = job.run();
                    self.wires.push_back(Wire::Tell { to: side, input: Input::Compute { key, outcome } });
                }
                Output::Persist { key, record } => {
                    let journal = &mut self.gateways[side].journal;
                    match record {
                        Some(record) => {
                            journal.insert(key, record);
                            self.wires.push_back(Wire::Tell { to: side, input: Input::Persisted { key } });
                        }
                        None => {
                            journal.remove(&key);
                        }
                    }
                }
                Output::PersistBrake { key, record } => {
                    let brakes = &mut self.gateways[side].brakes;
                    match record {
                        Some(record) => drop(brakes.insert(key, record)),
                        None => drop(brakes.remove(&key)),
                    }
                }
                Output::ForgetNextHop { media_port } => {
                    self.gateways[side].resolved.remove(&media_port);
                }
                Output::ResolveNextHop { media_port, .. } => {
                    self.gateways[side].resolved.insert(media_port);
                    if self.gateways[side].no_next_hop {
                        continue;
                    }
                    let mac = MacAddr([2, 0, 0, 0, 0, 1]);
                    self.wires.push_back(Wire::Tell { to: side, input: Input::NextHop { media_port, mac } });
                }
                Output::Event(e) => {
                    let g = &mut self.gateways[side];
                    g.events.push(e.kind.name().to_owned());
                    g.log.push(format!("{} {}", e.kind.name(), e.kind));
                }
                Output::RoutesTaken(prefixes) => self.gateways[side].routes_taken.extend(prefixes),
                Output::Reconfigured(result) => self.gateways[side].changes.push(result),
                Output::KeyLog(_) => panic!("no key log was asked for"),
                Output::ShutdownComplete => self.gateways[side].events.push("shutdown-complete".into()),
            }
        }
    }

    pub fn session(&self, side: usize) -> SessionView {
        self.gateways[side].core.sessions(self.now).remove(0)
    }

    pub fn status(&self) -> [&'static str; 2] {
        [self.session(0).status, self.session(1).status]
    }

    /// The failure's stable name.
    pub fn failure(&self, side: usize) -> Option<&'static str> {
        self.session(side).last_failure.map(|f| f.failure.code())
    }

    /// A call is paid while it is answered: at rest, only with a session that is up, on both sides.
    pub fn assert_no_call(&self) {
        assert!(
            self.carrier.billed.is_empty(),
            "calls left: {:?}\n{:#?}",
            self.carrier.billed,
            self.carrier.seen
        );
        for g in &self.gateways {
            assert!(g.dp.sas.is_empty() && g.dp.media.is_empty() && g.dp.bound.is_none(), "{:?}", g.events);
            assert!(g.journal.is_empty(), "records left: {:?}", g.events);
            assert!(g.resolved.is_empty(), "next hops of no call are followed: {:?}", g.events);
        }
    }
}

impl FakeDataplane {
    fn remove(&mut self, tunnel: TunnelId) {
        assert!(self.tunnels.remove(&tunnel).is_some(), "removed what was not there");
        self.routes.retain(|_, (owner, _)| *owner != tunnel);
        if tunnel == TUNNEL {
            let (tunnels, routes) = (std::mem::take(&mut self.tunnels), std::mem::take(&mut self.routes));
            let (activity, tunnels_max) = (self.activity, self.tunnels_max);
            *self = Self { activity, tunnels, routes, tunnels_max, ..Self::default() };
        }
    }

    fn apply(&mut self, ops: &[Op]) -> Result<(), (u16, sipsec_net::dp::RejectReason)> {
        for (index, op) in (0u16..).zip(ops) {
            match op {
                Op::TunnelAdd(_) if self.tunnels_max.is_some_and(|max| self.tunnels.len() >= max) => {
                    return Err((index, sipsec_net::dp::RejectReason::TableFull));
                }
                Op::TunnelAdd(spec) => {
                    self.configured = true;
                    assert!(self.tunnels.insert(spec.tunnel, *spec).is_none(), "tunnel added twice");
                }
                Op::TunnelSet(spec) => {
                    assert!(self.tunnels.insert(spec.tunnel, *spec).is_some(), "values of no tunnel");
                }
                Op::TunnelQos(spec) => {
                    assert!(self.tunnels.contains_key(&spec.tunnel), "classes of no tunnel");
                    self.classes = spec.classes().len();
                }
                Op::TunnelQosFilters(more) => {
                    assert!(self.tunnels.contains_key(&more.tunnel), "filters of no tunnel");
                    self.filters += more.filters.iter().flatten().count();
                }
                Op::TunnelRemove(t) => self.remove(*t),
                Op::FilterAdd { tunnel, .. } | Op::FilterClear { tunnel, .. } => {
                    assert!(self.tunnels.contains_key(tunnel), "a filter of no tunnel");
                }
                Op::RouteAdd { prefix, tunnel, adjacency } => {
                    assert!(self.tunnels.contains_key(tunnel), "a route of no tunnel");
                    self.routes.insert(*prefix, (*tunnel, *adjacency));
                }
                Op::RouteRemove { prefix } => {
                    assert!(self.routes.remove(prefix).is_some(), "no such route");
                }
                Op::MediaOpen(_) if self.refuse_media => {
                    return Err((index, sipsec_net::dp::RejectReason::TableFull));
                }
                Op::MediaOpen(b) => {
                    assert!(self.media.insert(b.media_port(), *b).is_none(), "opened twice");
                }
                Op::MediaClose(port) => {
                    self.sources.remove(port);
                    assert!(self.media.remove(port).is_some(), "closed what was not open");
                }
                Op::SaAdd(s) => {
                    assert!(self.media.contains_key(&s.media_port), "an SA without its media port");
                    assert!(self.sas.insert(s.sa, s.direction).is_none(), "SA added twice");
                }
                Op::SaSelectors { sa, .. } => assert!(self.sas.contains_key(sa), "selectors of no SA"),
                Op::SaRemove(sa) => {
                    assert!(self.sas.remove(sa).is_some(), "removed what was not there");
                    if self.bound == Some(*sa) {
                        self.bound = None;
                    }
                }
                Op::TunnelBind { outbound, .. } => {
                    assert_eq!(self.sas.get(outbound), Some(&Direction::Out));
                    self.bound = Some(*outbound);
                }
                Op::TunnelUnbind(_) => self.bound = None,
                Op::ReplayTrigger(_) => {
                    assert!(self.bound.is_some(), "nothing to replay through");
                    self.replayed += 1;
                    self.acquire_out = false;
                }
                Op::FlushTrigger(_) => {
                    self.flushed += 1;
                    self.acquire_out = false;
                }
                Op::NatRule { tunnel, .. } | Op::NatRemove(tunnel) => {
                    assert!(self.tunnels.contains_key(tunnel), "rules of no tunnel");
                }
                Op::NextHop { .. }
                | Op::PathMtu { .. }
                | Op::NatPolicy(_)
                | Op::NatClear(_)
                | Op::NatPage { .. } => {}
                Op::PeerSource { media_port, source } => drop(self.sources.insert(*media_port, *source)),
            }
        }
        Ok(())
    }
}
