//! Two endpoints, a clock that only tests move, a network that does what a script says, and a dataplane that is a list
//! of SAs: enough to see whether a packet would have been lost.

use crate::compute::{Job, JobId, Outcome};
use crate::output::{ChildId, ChildSaKeys, Event, Output};
use crate::{
    AuthConfig, CloseCause, Endpoint, EndpointConfig, Identity, IdentityPolicy, IkeError, PskKeys, Role,
};
use core::time::Duration;
use sipsec_net::entropy::TestEntropy;
use sipsec_net::{Instant, SecretBox};

pub(crate) const LATENCY: Duration = Duration::from_millis(10);

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Side {
    A,
    B,
}

impl Side {
    pub const fn other(self) -> Self {
        match self {
            Self::A => Self::B,
            Self::B => Self::A,
        }
    }

    const fn index(self) -> usize {
        self as usize
    }
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Packet {
    Ike(Vec<u8>),
    /// SPI and key of the sender's outbound SA.
    Esp(u32, Vec<u8>),
}

/// What the network does with a packet.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Fate {
    Deliver,
    Drop,
    Twice,
    Late(Duration),
}

struct InstalledSa {
    child: ChildId,
    inbound: ChildSaKeys,
    outbound: ChildSaKeys,
}

/// One gateway: endpoint and dataplane.
pub(crate) struct Gateway {
    pub endpoint: Endpoint,
    pub events: Vec<Event>,
    sas: Vec<InstalledSa>,
    /// Those on which a packet has come, as the dataplane reports it once.
    used: Vec<ChildId>,
    pub bound: Option<ChildId>,
    /// Whether the dataplane applies what it is told, and how late.
    pub install: Install,
    pending: Vec<(Instant, ChildId)>,
    jobs: Vec<(Instant, JobId, Job)>,
    /// When keepalives went out.
    pub keepalives: Vec<Instant>,
    pub received: u64,
    pub lost: u64,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Install {
    After(Duration),
    Never,
    Reject,
}

impl Gateway {
    fn new(config: EndpointConfig, seed: u64) -> Self {
        Self {
            endpoint: Endpoint::new(config, Box::new(TestEntropy::new(seed))),
            events: Vec::new(),
            sas: Vec::new(),
            used: Vec::new(),
            bound: None,
            install: Install::After(Duration::ZERO),
            pending: Vec::new(),
            jobs: Vec::new(),
            keepalives: Vec::new(),
            received: 0,
            lost: 0,
        }
    }

    pub fn failed(&self) -> Option<&IkeError> {
        self.events.iter().find_map(|e| match e {
            Event::Failed(e) => Some(e),
            _ => None,
        })
    }

    pub fn closed(&self) -> Option<CloseCause> {
        self.events.iter().find_map(|e| match e {
            Event::Closed(c) => Some(*c),
            _ => None,
        })
    }

    /// The events in short.
    pub fn story(&self) -> Vec<String> {
        let brief = |e: &Event| match e {
            Event::Authenticated(..) => "authenticated".to_owned(),
            Event::ChildSaUp { child, inbound, .. } => format!("up {} ({})", child.0, inbound.spi),
            Event::ChildSaReplaced { old, child, inbound, bind, .. } => {
                format!("{} for {} ({}){}", child.0, old.0, inbound.spi, if *bind { " bound" } else { "" })
            }
            Event::ChildSaBind { child } => format!("bind {}", child.0),
            Event::ChildSaDown { child, cause } => format!("down {} {cause:?}", child.0),
            other => format!("{other:?}"),
        };
        self.events.iter().map(brief).collect()
    }

    pub fn is_authenticated(&self) -> bool {
        self.events.iter().any(|e| matches!(e, Event::Authenticated(..)))
    }

    pub fn installed(&self) -> usize {
        self.sas.len()
    }

    pub fn sa(&self, child: ChildId) -> Option<(&ChildSaKeys, &ChildSaKeys)> {
        self.sas.iter().find(|s| s.child == child).map(|s| (&s.inbound, &s.outbound))
    }
}

type Script = Box<dyn FnMut(Side, usize, &Packet) -> Fate>;

pub(crate) struct Net {
    pub now: Instant,
    pub gateways: [Gateway; 2],
    flying: Vec<(Instant, u64, Side, Packet)>,
    serial: u64,
    /// Sender, number among its packets, packet.
    pub script: Script,
    sent: [usize; 2],
    /// IKE messages as sent.
    pub log: Vec<(Side, Vec<u8>)>,
    /// Time that a job takes.
    pub compute: Duration,
}

pub(crate) const PSK: &[u8] = b"a pre-shared key of the lab";

pub(crate) fn config(side: Side) -> EndpointConfig {
    let number = |s| if s == Side::A { "0388881001" } else { "0388882001" }.parse().expect("a number");
    let addr =
        |s| if s == Side::A { "198.51.100.1:50001" } else { "198.51.100.2:50002" }.parse().expect("valid");
    let role = if side == Side::A { Role::Initiator } else { Role::Responder };
    EndpointConfig::new(
        role,
        addr(side),
        addr(side.other()),
        Identity::number(&number(side)),
        IdentityPolicy::Number(number(side.other())),
        AuthConfig::Psk(PskKeys::one(SecretBox::new(PSK).expect("fits"))),
    )
}

impl Net {
    pub fn new(a: EndpointConfig, b: EndpointConfig) -> Self {
        Self::seeded(a, b, 1)
    }

    pub fn seeded(a: EndpointConfig, b: EndpointConfig, seed: u64) -> Self {
        Self {
            now: Instant::ZERO + Duration::from_secs(1),
            gateways: [Gateway::new(a, seed << 1), Gateway::new(b, seed << 1 | 1)],
            flying: Vec::new(),
            serial: 0,
            script: Box::new(|_, _, _| Fate::Deliver),
            sent: [0; 2],
            log: Vec::new(),
            compute: Duration::ZERO,
        }
    }

    /// Both sides up, as most tests want it.
    pub fn established(a: EndpointConfig, b: EndpointConfig) -> Self {
        Self::established_seeded(a, b, 1)
    }

    pub fn established_seeded(a: EndpointConfig, b: EndpointConfig, seed: u64) -> Self {
        let mut net = Self::seeded(a, b, seed);
        net.start();
        net.run(Duration::from_millis(200));
        assert!(net.is_up(), "{:?} {:?}", net.a().story(), net.b().story());
        net
    }

    pub fn a(&self) -> &Gateway {
        &self.gateways[0]
    }

    pub fn b(&self) -> &Gateway {
        &self.gateways[1]
    }

    pub fn is_up(&self) -> bool {
        self.gateways.iter().all(|g| g.is_authenticated() && g.bound.is_some() && g.failed().is_none())
    }

    pub fn start(&mut self) {
        let now = self.now;
        for g in &mut self.gateways {
            g.endpoint.start(now);
        }
        self.drain();
    }

    pub fn with(&mut self, side: Side, f: impl FnOnce(&mut Endpoint, Instant)) {
        let now = self.now;
        f(&mut self.gateways[side.index()].endpoint, now);
        self.drain();
    }

    /// The process of one side, and its dataplane, begin anew.
    pub fn restart(&mut self, side: Side, endpoint: Endpoint) {
        let g = &mut self.gateways[side.index()];
        g.endpoint = endpoint;
        g.bound = None;
        g.sas.clear();
        g.pending.clear();
        g.jobs.clear();
        self.with(side, |e, now| e.start(now));
    }

    /// How many are being computed for one side.
    pub fn jobs(&self, side: Side) -> usize {
        self.gateways[side.index()].jobs.len()
    }

    /// What is being computed is done now.
    pub fn finish_jobs(&mut self) {
        for side in [Side::A, Side::B] {
            for (_, id, job) in core::mem::take(&mut self.gateways[side.index()].jobs) {
                self.with(side, |e, now| e.handle_compute(now, id, job.run()));
            }
        }
    }

    /// What is being computed for one side comes to no end.
    pub fn fail_jobs(&mut self, side: Side) {
        for (_, id, _) in core::mem::take(&mut self.gateways[side.index()].jobs) {
            self.with(side, |e, now| e.handle_compute(now, id, Outcome::Failed));
        }
    }

    /// Hands a datagram to one side as if it came from the network.
    pub fn inject(&mut self, to: Side, bytes: &[u8]) {
        self.with(to, |e, now| e.handle_datagram(now, bytes));
    }

    fn put(&mut self, from: Side, packet: Packet) {
        let number = self.sent[from.index()];
        self.sent[from.index()] += 1;
        let fate = (self.script)(from, number, &packet);
        let fly = |net: &mut Self, late: Duration, packet: Packet| {
            net.serial += 1;
            net.flying.push((net.now + LATENCY + late, net.serial, from.other(), packet));
        };
        match fate {
            Fate::Deliver => fly(self, Duration::ZERO, packet),
            Fate::Drop => {}
            Fate::Twice => {
                fly(self, Duration::ZERO, packet.clone());
                fly(self, Duration::from_millis(3), packet);
            }
            Fate::Late(late) => fly(self, late, packet),
        }
    }

    /// One inner packet of `from`, sealed with the SA that its tunnel is bound to.
    pub fn send_esp(&mut self, from: Side) {
        let g = &self.gateways[from.index()];
        let Some((_, out)) = g.bound.and_then(|c| g.sa(c)) else { return };
        let packet = Packet::Esp(out.spi.get(), out.keymat.expose().to_vec());
        let now = self.now;
        self.gateways[from.index()].endpoint.traffic_seen(now, Instant::ZERO, now);
        self.put(from, packet);
    }

    fn drain(&mut self) {
        for side in [Side::A, Side::B] {
            while let Some(output) = self.gateways[side.index()].endpoint.poll_output() {
                match output {
                    Output::Transmit(bytes) | Output::Probe(bytes) => {
                        self.log.push((side, bytes.clone()));
                        self.put(side, Packet::Ike(bytes));
                    }
                    Output::NatKeepalive => self.gateways[side.index()].keepalives.push(self.now),
                    Output::Compute(id, job) => {
                        let due = self.now + self.compute;
                        self.gateways[side.index()].jobs.push((due, id, job));
                    }
                    Output::Event(event) => self.on_event(side, event),
                }
            }
        }
    }

    fn on_event(&mut self, side: Side, event: Event) {
        let now = self.now;
        let g = &mut self.gateways[side.index()];
        match &event {
            Event::ChildSaUp { child, inbound, outbound } => {
                g.sas.push(InstalledSa {
                    child: *child,
                    inbound: inbound.clone(),
                    outbound: outbound.clone(),
                });
                g.pending.push((now, *child));
            }
            Event::ChildSaReplaced { child, inbound, outbound, bind, .. } => {
                g.sas.push(InstalledSa {
                    child: *child,
                    inbound: inbound.clone(),
                    outbound: outbound.clone(),
                });
                g.pending.push((now, *child));
                if *bind {
                    g.bound = Some(*child);
                }
            }
            Event::ChildSaBind { child } => {
                assert!(g.sa(*child).is_some(), "bound to an SA that the dataplane has not");
                g.bound = Some(*child);
                g.pending.push((now, *child));
            }
            Event::ChildSaDown { child, .. } => {
                g.sas.retain(|s| s.child != *child);
                if g.bound == Some(*child) {
                    g.bound = None;
                }
            }
            Event::Failed(_) | Event::Closed(_) => {
                g.sas.clear();
                g.bound = None;
            }
            _ => {}
        }
        if matches!(&event, Event::ChildSaUp { .. }) {
            g.bound = g.sas.last().map(|s| s.child);
        }
        g.events.push(event);
    }

    /// Runs everything that happens in the next `span`.
    pub fn run(&mut self, span: Duration) {
        let end = self.now + span;
        self.drain();
        let mut idle = 0;
        while let Some(at) = self.next_at().filter(|at| *at <= end) {
            idle = if at > self.now { 0 } else { idle + 1 };
            assert!(
                idle < 10_000,
                "a deadline is not served: {:?} {:?}",
                self.a().endpoint,
                self.b().endpoint
            );
            self.now = self.now.max(at);
            self.step();
        }
        self.now = end;
    }

    fn next_at(&self) -> Option<Instant> {
        let packets = self.flying.iter().map(|p| p.0);
        let timers = self.gateways.iter().filter_map(|g| g.endpoint.poll_timeout());
        let jobs = self.gateways.iter().flat_map(|g| g.jobs.iter().map(|j| j.0));
        let installs = self.gateways.iter().flat_map(|g| {
            g.pending.iter().filter_map(|(at, _)| match g.install {
                Install::After(late) => Some(*at + late),
                Install::Reject => Some(*at),
                Install::Never => None,
            })
        });
        packets.chain(timers).chain(jobs).chain(installs).min()
    }

    fn step(&mut self) {
        let now = self.now;
        self.flying.sort_by_key(|p| (p.0, p.1));
        if self.flying.first().is_some_and(|p| p.0 <= now) {
            let (_, _, to, packet) = self.flying.remove(0);
            self.deliver(to, packet);
        }
        for g in &mut self.gateways {
            if let Some(i) = g.jobs.iter().position(|j| j.0 <= now) {
                let (_, id, job) = g.jobs.remove(i);
                g.endpoint.handle_compute(now, id, job.run());
            }
            let late = if let Install::After(late) = g.install { late } else { Duration::ZERO };
            if g.install != Install::Never
                && let Some(i) = g.pending.iter().position(|p| p.0 + late <= now)
            {
                let (_, child) = g.pending.remove(i);
                if g.install == Install::Reject {
                    g.endpoint.handle_child_rejected(now, child);
                } else {
                    g.endpoint.handle_child_installed(now, child);
                }
            }
            if g.endpoint.poll_timeout().is_some_and(|t| t <= now) {
                g.endpoint.handle_timeout(now);
            }
        }
        self.drain();
    }

    fn deliver(&mut self, to: Side, packet: Packet) {
        let now = self.now;
        let g = &mut self.gateways[to.index()];
        match packet {
            Packet::Ike(bytes) => g.endpoint.handle_datagram(now, &bytes),
            Packet::Esp(spi, key) => {
                let hit =
                    g.sas.iter().find(|s| s.inbound.spi.get() == spi && s.inbound.keymat.expose() == key);
                let Some(child) = hit.map(|s| s.child) else {
                    g.lost += 1;
                    return;
                };
                g.received += 1;
                g.endpoint.traffic_seen(now, now, Instant::ZERO);
                if !g.used.contains(&child) {
                    g.used.push(child);
                    g.endpoint.inbound_used(now, child);
                }
            }
        }
    }
}
