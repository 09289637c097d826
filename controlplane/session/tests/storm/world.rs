//! Two gateways with everything that can go wrong between and inside them: latency, loss, cut links, slow and failing
//! journals, dataplanes that refuse or restart, processes that die, addresses that change. Time is simulated.

use crate::carrier::{CARRIER, Carrier};
use crate::dataplane::{Dataplane, Esp};
use sipsec_net::dp::{Direction, Event, ExpireCause, Op, TunnelSpec};
use sipsec_net::entropy::TestEntropy;
use sipsec_net::{Entropy, Instant, MacAddr, MediaPort, SaId, SecretBox, TelNumber, TunnelId, TxnId};
use sipsec_session::{
    CarrierConfig, CarrierId, Core, Credential, IkeConfig, Input, KeyEntry, MediaConfig, Output, PeerKind,
    Reconfiguration, SessionConfig, SessionView, TunnelConfig,
};
use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

pub const TUNNEL: TunnelId = TunnelId(1);
const NUMBERS: [&str; 2] = ["0388881001", "0388882001"];
/// One way through the network; jitter comes on top.
const LATENCY: Duration = Duration::from_millis(8);
pub const RING: Duration = Duration::from_millis(1);
pub const IDLE: Duration = Duration::from_secs(30);
/// The end of the world is told with this much of its history.
const LOG_MAX: usize = 400;

pub struct Gateway {
    pub core: Core,
    pub dp: Dataplane,
    pub journal: BTreeMap<u64, Vec<u8>>,
    brakes: BTreeMap<String, Vec<u8>>,
    wan: Option<IpAddr>,
    addresses: u8,
    link: bool,
    dp_alive: bool,
    life: u32,
    dp_life: u32,
    pub journal_takes: Duration,
    pub journal_fails: u32,
    /// The neighbour table never answers.
    pub no_next_hop: bool,
    /// Ports whose next hops are followed.
    pub resolved: BTreeSet<MediaPort>,
    last_write: Instant,
}

pub enum Happening {
    ToCarrier {
        from: SocketAddr,
        bytes: Vec<u8>,
    },
    ToGateway {
        to: SocketAddr,
        bytes: Vec<u8>,
    },
    Ike {
        from: SocketAddr,
        to: SocketAddr,
        bytes: Vec<u8>,
    },
    Esp(Esp),
    Tell {
        side: usize,
        life: u32,
        input: Input,
    },
    DataplaneSays {
        side: usize,
        life: u32,
        dp_life: u32,
        event: Event,
    },
    Transact {
        side: usize,
        life: u32,
        dp_life: u32,
        sent: Instant,
        id: TxnId,
        ops: Vec<Op>,
    },
    Written {
        side: usize,
        life: u32,
        key: u64,
        record: Option<Vec<u8>>,
    },
    Packet {
        side: usize,
    },
    DataplaneStarts {
        side: usize,
    },
    LinkUp {
        side: usize,
    },
    Address {
        side: usize,
    },
    /// The whole profile is applied, until it is taken.
    Profile {
        side: usize,
    },
    LossEnds,
    CarrierWell,
}

/// What the carrier bills.
#[derive(Default, Clone, Debug)]
pub struct Bill {
    pub answered: Option<Instant>,
    pub ended: Option<Instant>,
}

pub struct World {
    pub now: Instant,
    pub gateways: [Gateway; 2],
    pub carrier: Carrier,
    pub bills: BTreeMap<String, Bill>,
    pub loss_percent: u32,
    pub sent: u64,
    queue: BTreeMap<(Instant, u64), Happening>,
    serial: u64,
    dice: TestEntropy,
    log: Vec<String>,
}

fn number(s: &str) -> TelNumber {
    s.parse().expect("a number")
}

fn carrier() -> SocketAddr {
    CARRIER.parse().expect("an address")
}

fn wan_address(ip: Option<IpAddr>) -> Input {
    Input::WanAddress { carrier: CarrierId::default(), wan: sipsec_session::WanAddresses::of(ip) }
}

fn config(side: usize) -> SessionConfig {
    let [local, remote] = [side, 1 - side].map(|i| number(NUMBERS[i]));
    let line = sipsec_sip::Line { number: local, auth: None };
    let sip = sipsec_sip::Config::new(sipsec_sip::Target::udp(carrier()), "carrier.example", vec![line]);
    SessionConfig {
        carriers: vec![CarrierConfig::new("default", sip)],
        tunnels: vec![TunnelConfig {
            idle: IDLE,
            call_max: Some(Duration::from_secs(300)),
            routes: vec!["10.0.0.0/8".parse().expect("a prefix")],
            ..TunnelConfig::new("Tunnel1".to_owned(), TunnelSpec::new(TUNNEL, 1438), local, remote)
        }],
        keyring: vec![KeyEntry {
            number: None,
            credential: Credential::Psk(sipsec_ike::PskKeys::one(
                SecretBox::new(b"a key for all ends").expect("fits"),
            )),
            ppk: None,
            peer: PeerKind::Generic,
            local_id: None,
            remote_id: None,
        }],
        ike: IkeConfig {
            crash_detection: Some(SecretBox::new(&[side as u8 + 1; 32]).expect("fits")),
            ..IkeConfig::default()
        },
        media: MediaConfig {
            port_first: 50_000,
            port_last: 50_099,
            tunnel_source: "10.255.0.1".parse().expect("an address"),
            even_ports: false,
        },
        outside: BTreeSet::new(),
    }
}

fn new_core(side: usize, life: u32, seed: u64) -> Core {
    let mut seed = seed ^ ((side as u64 + 1) << 32) ^ (u64::from(life) << 40);
    Core::new(config(side), move || -> Box<dyn Entropy> {
        seed += 1;
        Box::new(TestEntropy::new(seed))
    })
}

impl World {
    pub fn new(seed: u64) -> Self {
        let now = Instant::from_nanos(1_000_000_000);
        let gateway = |side: usize| Gateway {
            core: new_core(side, 0, seed),
            dp: Dataplane::default(),
            journal: BTreeMap::new(),
            brakes: BTreeMap::new(),
            wan: None,
            addresses: 0,
            link: true,
            dp_alive: true,
            life: 0,
            dp_life: 0,
            journal_takes: Duration::from_millis([1, 4][side]),
            journal_fails: 0,
            no_next_hop: false,
            resolved: BTreeSet::new(),
            last_write: now,
        };
        let mut world = Self {
            now,
            gateways: [gateway(0), gateway(1)],
            carrier: Carrier::default(),
            bills: BTreeMap::new(),
            loss_percent: 0,
            sent: 0,
            queue: BTreeMap::new(),
            serial: 0,
            dice: TestEntropy::new(seed),
            log: Vec::new(),
        };
        for side in 0..2 {
            world.boot(side);
            world.address(side);
        }
        world.advance(Duration::from_secs(1));
        world
    }

    // ---- what a schedule does to it ----

    pub fn at(&mut self, late: Duration, what: Happening) {
        self.serial += 1;
        self.queue.insert((self.now + late, self.serial), what);
    }

    fn boot(&mut self, side: usize) {
        let records = self.gateways[side].journal.iter().map(|(k, v)| (*k, v.clone())).collect();
        let brakes = self.gateways[side].brakes.iter().map(|(k, v)| (k.clone(), v.clone())).collect();
        self.tell(side, Input::RecoveredBrakes(brakes));
        self.tell(side, Input::Recovered(records));
        if self.gateways[side].dp_alive {
            self.gateways[side].dp.connected();
            self.tell(side, Input::DataplaneUp);
        }
    }

    pub fn crash(&mut self, side: usize, seed: u64) {
        self.note(format!("{side} crashes"));
        let g = &mut self.gateways[side];
        g.life += 1;
        g.core = new_core(side, g.life, seed);
        g.resolved.clear();
        self.boot(side);
        let wan = self.gateways[side].wan;
        self.tell(side, wan_address(wan));
    }

    pub fn restart_dataplane(&mut self, side: usize, gone: Duration) {
        self.note(format!("{side}'s dataplane dies for {gone:?}"));
        let g = &mut self.gateways[side];
        g.dp_life += 1;
        g.dp.restart();
        if std::mem::replace(&mut g.dp_alive, false) {
            self.tell(side, Input::DataplaneDown);
        }
        self.at(gone, Happening::DataplaneStarts { side });
    }

    /// Another profile is applied.
    pub fn apply_profile(&mut self, side: usize, change: impl FnOnce(&mut Reconfiguration)) {
        let SessionConfig { tunnels, keyring, ike, carriers, outside, .. } = config(side);
        let bounced = BTreeSet::new();
        let replaced = BTreeSet::new();
        let mut new = Reconfiguration { tunnels, keyring, ike, carriers, replaced, bounced, outside };
        change(&mut new);
        self.tell(side, Input::Reconfigure(Box::new(new)));
    }

    pub fn cut(&mut self, side: usize, gone: Duration) {
        self.note(format!("{side}'s link is cut for {gone:?}"));
        self.gateways[side].link = false;
        self.at(gone, Happening::LinkUp { side });
    }

    pub fn lose_address(&mut self, side: usize, gone: Duration) {
        self.note(format!("{side} has no address for {gone:?}"));
        self.gateways[side].wan = None;
        self.tell(side, wan_address(None));
        self.at(gone, Happening::Address { side });
    }

    fn address(&mut self, side: usize) {
        let g = &mut self.gateways[side];
        g.addresses = g.addresses % 200 + 1;
        let wan = IpAddr::V4(Ipv4Addr::new(203, 0, 113 + side as u8, g.addresses));
        g.wan = Some(wan);
        self.tell(side, wan_address(Some(wan)));
    }

    pub fn soft_limit(&mut self, side: usize) {
        if let Some(sa) = self.outbound(side) {
            self.limit(side, sa, false);
        }
    }

    /// The first of the SAs by which a gateway sends.
    pub fn outbound(&self, side: usize) -> Option<SaId> {
        let sas = &self.gateways[side].dp.tables.sas;
        sas.values().find(|s| s.direction == Direction::Out).map(|s| s.sa)
    }

    pub fn limit(&mut self, side: usize, sa: SaId, hard: bool) {
        self.note(format!("{side}'s SA is {}", if hard { "spent" } else { "old" }));
        let event = Event::SaExpire { sa, cause: ExpireCause::Bytes, hard };
        self.tell(side, Input::Dataplane(event));
    }

    pub fn tell(&mut self, side: usize, input: Input) {
        self.gateways[side].core.handle_input(self.now, input);
        self.drain(side);
    }

    pub fn session(&self, side: usize) -> SessionView {
        let sessions = self.gateways[side].core.sessions(self.now);
        sessions.into_iter().next().unwrap_or_else(|| panic!("no tunnel\n{}", self.history()))
    }

    pub fn live_calls(&self) -> Vec<(&String, &Bill)> {
        self.bills.iter().filter(|(_, b)| b.answered.is_some() && b.ended.is_none()).collect()
    }

    pub fn delivered(&self) -> usize {
        self.gateways.iter().map(|g| g.dp.delivered.len()).sum()
    }

    pub fn history(&self) -> String {
        let from = self.log.len().saturating_sub(LOG_MAX);
        self.log[from..].join("\n")
    }

    pub fn note(&mut self, text: String) {
        self.log.push(format!("{:?} {text}", self.now));
    }

    // ---- time ----

    pub fn advance(&mut self, by: Duration) {
        let end = self.now + by;
        let mut idle_turns = 0;
        loop {
            let queued = self.queue.keys().next().map(|(at, _)| *at);
            let timer = self.gateways.iter().filter_map(|g| g.core.poll_timeout()).min();
            let Some(next) = [queued, timer].into_iter().flatten().min().filter(|at| *at <= end) else {
                self.now = end;
                return;
            };
            idle_turns = if next > self.now { 0 } else { idle_turns + 1 };
            assert!(idle_turns < 10_000, "the world does not come to rest\n{}", self.history());
            self.now = self.now.max(next);
            if queued.is_some_and(|at| at <= self.now) {
                let (_, what) = self.queue.pop_first().expect("looked at");
                self.happen(what);
            } else {
                for side in 0..2 {
                    if self.gateways[side].core.poll_timeout().is_some_and(|at| at <= self.now) {
                        self.gateways[side].core.handle_timeout(self.now);
                        self.drain(side);
                    }
                }
            }
            self.check();
        }
    }

    /// What must hold at every moment.
    fn check(&self) {
        for side in 0..2 {
            let tables = &self.gateways[side].dp.tables;
            let sessions = self.gateways[side].core.sessions(self.now);
            if sessions.iter().any(|s| s.status == "SESSION_UP") && self.gateways[side].dp_alive {
                let has = |d| tables.sas.values().any(|s| s.direction == d);
                assert!(has(Direction::In) && has(Direction::Out), "{side} has no SAs\n{}", self.history());
            }
        }
    }

    fn lost(&mut self, side: usize) -> bool {
        !self.gateways[side].link || self.dice.below(100) < self.loss_percent
    }

    fn jitter(&mut self) -> Duration {
        LATENCY + Duration::from_micros(self.dice.below(4000).into())
    }

    fn owner(&self, ip: IpAddr) -> Option<usize> {
        self.gateways.iter().position(|g| g.wan == Some(ip))
    }

    fn happen(&mut self, what: Happening) {
        match what {
            Happening::ToCarrier { from, bytes } => self.carrier_gets(from, &bytes),
            Happening::ToGateway { to, bytes } => {
                if let Some(side) = self.owner(to.ip())
                    && !self.lost(side)
                {
                    let flow = sipsec_sip::Flow::udp(to, carrier());
                    self.tell(side, Input::Sip { carrier: CarrierId::default(), flow, bytes });
                }
            }
            Happening::Ike { from, to, bytes } => {
                let Some(side) = self.owner(to.ip()) else { return };
                let media_port = MediaPort(to.port());
                let g = &self.gateways[side];
                let Some(binding) = g.dp.tables.media.get(&media_port) else { return };
                let right = binding.remote == from;
                if self.lost(side) {
                    return;
                }
                if right {
                    self.tell(side, Input::IkeDatagram { media_port, from, bytes });
                } else {
                    self.tell(side, Input::Dataplane(Event::WrongSource { media_port, from }));
                }
            }
            Happening::Esp(esp) => {
                if let Some(side) = self.owner(esp.to.ip())
                    && !self.lost(side)
                {
                    self.gateways[side].dp.outside(self.now, &esp);
                }
            }
            Happening::Tell { side, life, input } => {
                if self.gateways[side].life == life {
                    self.tell(side, input);
                }
            }
            Happening::DataplaneSays { side, life, dp_life, event } => {
                let g = &self.gateways[side];
                if g.life == life && g.dp_life == dp_life {
                    self.tell(side, Input::Dataplane(event));
                }
            }
            Happening::Transact { side, life, dp_life, sent, id, ops } => {
                let g = &mut self.gateways[side];
                if g.life != life || g.dp_life != dp_life {
                    return;
                }
                let (answer, released) = g.dp.transact(self.now, sent, id, &ops);
                self.says(side, answer);
                for id in released {
                    self.inside(side, id);
                }
            }
            Happening::Written { side, life, key, record } => {
                let g = &mut self.gateways[side];
                if g.life != life {
                    return;
                }
                match record {
                    Some(_) if g.journal_fails > 0 => {
                        g.journal_fails -= 1;
                        self.note(format!("{side}'s journal fails"));
                        self.tell(side, Input::PersistFailed { key });
                    }
                    Some(record) => {
                        g.journal.insert(key, record);
                        self.tell(side, Input::Persisted { key });
                    }
                    None => {
                        g.journal.remove(&key);
                    }
                }
            }
            Happening::Packet { side } => {
                self.sent += 1;
                self.inside(side, self.sent);
            }
            Happening::DataplaneStarts { side } => {
                if !std::mem::replace(&mut self.gateways[side].dp_alive, true) {
                    self.note(format!("{side}'s dataplane is back"));
                    self.tell(side, Input::DataplaneUp);
                }
            }
            Happening::LinkUp { side } => self.gateways[side].link = true,
            Happening::Address { side } => self.address(side),
            Happening::Profile { side } => self.apply_profile(side, |_| {}),
            Happening::LossEnds => self.loss_percent = 0,
            Happening::CarrierWell => self.carrier.knobs = crate::carrier::Knobs::default(),
        }
    }

    fn says(&mut self, side: usize, event: Event) {
        let g = &self.gateways[side];
        let (life, dp_life) = (g.life, g.dp_life);
        self.at(RING, Happening::DataplaneSays { side, life, dp_life, event });
    }

    fn inside(&mut self, side: usize, id: u64) {
        if !self.gateways[side].dp_alive {
            return;
        }
        let (esp, event) = self.gateways[side].dp.inside(self.now, TUNNEL, id);
        if let Some(event) = event {
            self.says(side, event);
        }
        if let Some(esp) = esp
            && !self.lost(side)
        {
            let late = self.jitter();
            self.at(late, Happening::Esp(esp));
        }
    }

    // ---- the carrier ----

    fn carrier_gets(&mut self, from: SocketAddr, bytes: &[u8]) {
        let Some(side) = self.owner(from.ip()) else { return };
        if self.lost(side) {
            return;
        }
        let text = String::from_utf8_lossy(bytes).into_owned();
        let first = text.lines().next().unwrap_or_default().to_owned();
        let header = |name: &str| text.lines().find_map(|l| l.strip_prefix(name)).map(str::to_owned);
        let call_id = header("Call-ID: ").unwrap_or_default();
        let cseq = header("CSeq: ").unwrap_or_default();
        if !cseq.ends_with("REGISTER") {
            let short = first.replace("SIP/2.0", "").trim().to_owned();
            self.note(format!("{side} {short} ({cseq}) {}", &call_id[..6.min(call_id.len())]));
        }
        if first.starts_with("SIP/2.0 2") && cseq.ends_with("INVITE") {
            let now = self.now;
            self.bills.entry(call_id).or_default().answered.get_or_insert(now);
        } else if first.starts_with("BYE") {
            let now = self.now;
            self.bills.entry(call_id).or_default().ended.get_or_insert(now);
        }
        for (to, bytes) in self.carrier.datagram(from, bytes) {
            let late = self.jitter();
            self.at(late, Happening::ToGateway { to, bytes });
        }
    }

    // ---- what a core wants ----

    fn drain(&mut self, side: usize) {
        while let Some(output) = self.gateways[side].core.poll_output() {
            let g = &self.gateways[side];
            let (life, dp_life) = (g.life, g.dp_life);
            let soon = |input| Happening::Tell { side, life, input };
            match output {
                Output::SipTransmit { bytes, .. } => {
                    if let Some(ip) = g.wan {
                        let late = self.jitter();
                        self.at(late, Happening::ToCarrier { from: SocketAddr::new(ip, 5060), bytes });
                    }
                }
                Output::IkeTransmit { media_port, bytes, .. } => {
                    let binding = g.dp.tables.media.get(&media_port).copied();
                    let right = binding.filter(|b| g.wan == Some(b.outside_local.ip()));
                    if let Some(b) = right
                        && !self.lost(side)
                    {
                        let late = self.jitter();
                        self.at(late, Happening::Ike { from: b.outside_local, to: b.remote, bytes });
                    }
                }
                Output::NatKeepalive { .. }
                | Output::SipOpen { .. }
                | Output::CarrierAdded { .. }
                | Output::CarrierRemoved(_)
                | Output::CallCounted { .. } => {}
                Output::Dataplane(t) => {
                    let (sent, id, ops) = (self.now, t.id, t.ops);
                    self.at(RING, Happening::Transact { side, life, dp_life, sent, id, ops });
                }
                Output::SnapshotRequest => {
                    for event in self.gateways[side].dp.snapshot() {
                        self.says(side, event);
                    }
                }
                Output::QueryActivity(tunnel) => {
                    let activity = g.dp.activity();
                    self.at(Duration::ZERO, soon(Input::Activity { tunnel, activity, path_ceiling: 1500 }));
                }
                Output::Compute { key, job, .. } => {
                    let outcome = job.run();
                    self.at(Duration::from_millis(2), soon(Input::Compute { key, outcome }));
                }
                Output::Persist { key, record } => {
                    // The journal writes in order.
                    let at = (self.now + g.journal_takes).max(g.last_write);
                    self.gateways[side].last_write = at;
                    let late = at.saturating_duration_since(self.now);
                    self.at(late, Happening::Written { side, life, key, record });
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
                    let g = &mut self.gateways[side];
                    g.resolved.insert(media_port);
                    if g.no_next_hop {
                        continue;
                    }
                    let mac = MacAddr([2, 0, 0, 0, 0, 1]);
                    self.at(Duration::from_millis(3), soon(Input::NextHop { media_port, mac }));
                }
                Output::RoutesTaken(_) => {}
                Output::Reconfigured(result) => {
                    self.note(format!("{side} change: {result:?}"));
                    if result.is_err() {
                        self.at(Duration::from_secs(1), Happening::Profile { side });
                    }
                }
                Output::Event(e) => self.note(format!("{side} * {} {}", e.kind.name(), e.kind)),
                Output::KeyLog(_) => unreachable!("no key log was asked for"),
                Output::ShutdownComplete => self.note(format!("{side} shut down")),
            }
        }
    }
}
