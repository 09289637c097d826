//! A gateway without devices: a session core with the pool that computes for the real one, and a dataplane and a journal
//! that obey at once. What it wants to send is handed back; who drives it decides when that arrives.

use sipsec_controlplane::compute::{Compute, Urgency};
use sipsec_ike::algorithm::IkeProposal;
use sipsec_ike::compute::Outcome;
use sipsec_net::dp::{Direction, Event, ExpireCause, Op, PacketSummary, TunnelActivity, TunnelSpec};
use sipsec_net::entropy::TestEntropy;
use sipsec_net::{Entropy, Instant, IpPrefix, MacAddr, MediaPort, SaId, SecretBox, TelNumber, TunnelId};
use sipsec_session::{
    CarrierConfig, CarrierId, Core, Credential, EventKind, IkeConfig, Input, KeyEntry, MediaConfig, Output,
    PeerKind, SessionConfig, TunnelConfig,
};
use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

pub const HEADEND: usize = 0;
pub const BRANCHES: usize = 1;
const WANS: [&str; 2] = ["203.0.113.9", "198.51.100.6"];
pub const CARRIER: &str = "198.51.100.1:5060";
/// Longer than any machine needs: what is measured is how long it takes, not whether it is in time.
const PATIENCE: Duration = Duration::from_secs(600);

#[derive(Clone, Debug)]
pub struct Setup {
    pub tunnels: u32,
    /// Proposal of the IKE SA.
    pub proposal: Option<IkeProposal>,
}

/// What leaves a node.
#[derive(Debug)]
pub enum Sent {
    Sip { from: SocketAddr, bytes: Vec<u8> },
    Ike { to: SocketAddr, from: SocketAddr, bytes: Vec<u8> },
}

pub struct Node {
    pub core: Core,
    pub compute: Compute<Input>,
    pub side: usize,
    /// What the core hears before anything else.
    pub soon: Vec<Input>,
    /// The dataplane has the tunnels: a packet can trigger.
    pub configured: bool,
    pub up: u32,
    pub rekeyed: u32,
    pub failures: Vec<String>,
    remotes: HashMap<MediaPort, SocketAddr>,
    /// Outbound SAs, by tunnel.
    outbound: HashMap<TunnelId, SaId>,
}

fn number(side: usize, i: u32) -> TelNumber {
    format!("03{}8{i:06}", 3 + side).parse().expect("a number")
}

pub fn wan(side: usize) -> SocketAddr {
    SocketAddr::new(WANS[side].parse().expect("an address"), 5060)
}

pub fn side_of(ip: IpAddr) -> usize {
    WANS.iter().position(|w| w.parse() == Ok(ip)).expect("one of the two")
}

fn config(side: usize, setup: &Setup) -> SessionConfig {
    // The head-end has one line, the branches one each.
    let local = |i| number(side, if side == HEADEND { 0 } else { i });
    let remote = |i| number(1 - side, if side == HEADEND { i } else { 0 });
    let lines = if side == HEADEND { 1 } else { setup.tunnels };
    let tunnel = |i: u32| TunnelConfig {
        idle: PATIENCE * 10,
        routes: vec![IpPrefix::new(IpAddr::from([10, 0, (i >> 8) as u8, i as u8]), 32).expect("a host")],
        ..TunnelConfig::new(format!("Tunnel{i}"), TunnelSpec::new(TunnelId(i + 1), 1438), local(i), remote(i))
    };
    let lines = (0..lines).map(|i| sipsec_sip::Line { number: number(side, i), auth: None }).collect();
    let carrier = sipsec_sip::Target::udp(CARRIER.parse().expect("an address"));
    SessionConfig {
        carriers: vec![CarrierConfig::new(
            "default",
            sipsec_sip::Config::new(carrier, "carrier.example", lines),
        )],
        tunnels: (0..setup.tunnels).map(tunnel).collect(),
        keyring: vec![KeyEntry {
            number: None,
            credential: Credential::Psk(sipsec_ike::PskKeys::one(
                SecretBox::new(b"a key for everybody").expect("fits"),
            )),
            ppk: None,
            peer: PeerKind::Generic,
            local_id: None,
            remote_id: None,
        }],
        ike: IkeConfig {
            proposals: setup.proposal.clone().map_or_else(IkeProposal::defaults, |p| vec![p]),
            negotiation_deadline: PATIENCE,
            ..IkeConfig::default()
        },
        media: MediaConfig {
            port_first: 20_000,
            port_last: 59_999,
            tunnel_source: "10.255.0.1".parse().expect("an address"),
            even_ports: false,
        },
        outside: std::collections::BTreeSet::new(),
    }
}

impl Node {
    pub fn new(side: usize, setup: &Setup) -> Self {
        let mut seed = (side as u64 + 1) << 32;
        let core = Core::new(config(side, setup), move || -> Box<dyn Entropy> {
            seed += 1;
            Box::new(TestEntropy::new(seed))
        });
        let soon = vec![
            Input::Recovered(Vec::new()),
            Input::DataplaneUp,
            Input::WanAddress {
                carrier: CarrierId::default(),
                wan: sipsec_session::WanAddresses::of(Some(wan(side).ip())),
            },
        ];
        Self {
            core,
            compute: Compute::new(),
            side,
            soon,
            configured: false,
            up: 0,
            rekeyed: 0,
            failures: Vec::new(),
            remotes: HashMap::new(),
            outbound: HashMap::new(),
        }
    }

    /// A packet for a tunnel without SAs.
    pub fn trigger(&mut self, i: u32) {
        let ip = IpAddr::from([10, 0, 0, 1]);
        let first = PacketSummary {
            source: ip,
            destination: ip,
            protocol: 1,
            source_port: 0,
            destination_port: 0,
            len: 84,
        };
        self.soon.push(Input::Dataplane(Event::Acquire { tunnel: TunnelId(i + 1), first }));
    }

    /// The tunnel's SA has carried as much as it should: it is rekeyed.
    pub fn spend(&mut self, i: u32) {
        if let Some(sa) = self.outbound.get(&TunnelId(i + 1)) {
            let event = Event::SaExpire { sa: *sa, cause: ExpireCause::Bytes, hard: false };
            self.soon.push(Input::Dataplane(event));
        }
    }

    /// Tells the core what is due and does what it wants, until only the network and the pool have something to say.
    pub fn turn(&mut self, now: Instant, mut send: impl FnMut(Sent)) {
        loop {
            self.drain(&mut send);
            if self.soon.is_empty() || !self.compute.has_room() {
                return;
            }
            for input in std::mem::take(&mut self.soon) {
                self.core.handle_input(now, input);
            }
        }
    }

    fn drain(&mut self, send: &mut impl FnMut(Sent)) {
        while self.compute.has_room()
            && let Some(output) = self.core.poll_output()
        {
            match output {
                Output::SipTransmit { bytes, .. } => send(Sent::Sip { from: wan(self.side), bytes }),
                Output::IkeTransmit { media_port, bytes, .. } => {
                    if let Some(to) = self.remotes.get(&media_port) {
                        let from = SocketAddr::new(wan(self.side).ip(), media_port.0);
                        send(Sent::Ike { to: *to, from, bytes });
                    }
                }
                Output::NatKeepalive { .. }
                | Output::SipOpen { .. }
                | Output::CarrierAdded { .. }
                | Output::CarrierRemoved(_)
                | Output::CallCounted { .. } => {}
                Output::Dataplane(transaction) => {
                    for op in transaction.ops {
                        self.apply(op);
                    }
                    self.soon.push(Input::Dataplane(Event::Applied(transaction.id)));
                }
                Output::SnapshotRequest => self.soon.push(Input::Dataplane(Event::SnapshotEnd)),
                Output::QueryActivity(tunnel) => {
                    self.soon.push(Input::Activity {
                        tunnel,
                        activity: TunnelActivity::default(),
                        path_ceiling: 0,
                    });
                }
                Output::Compute { key, established, job } => {
                    let urgency = if established { Urgency::Established } else { Urgency::Negotiating };
                    let failed = Input::Compute { key, outcome: Outcome::Failed };
                    self.compute.submit(urgency, failed, move || Input::Compute { key, outcome: job.run() });
                }
                Output::Persist { key, record } => {
                    if record.is_some() {
                        self.soon.push(Input::Persisted { key });
                    }
                }
                Output::ResolveNextHop { media_port, .. } => {
                    self.soon.push(Input::NextHop { media_port, mac: MacAddr([2, 0, 0, 0, 0, 1]) });
                }
                Output::Event(event) => match event.kind {
                    EventKind::Configured { .. } => self.configured = true,
                    EventKind::SessionUp { .. } => self.up += 1,
                    EventKind::Rekeyed => self.rekeyed += 1,
                    EventKind::Failed { .. } | EventKind::IncomingRefused { .. } => {
                        self.failures.push(event.kind.to_string());
                    }
                    _ => {}
                },
                Output::KeyLog(_)
                | Output::PersistBrake { .. }
                | Output::ForgetNextHop { .. }
                | Output::RoutesTaken(_)
                | Output::Reconfigured(_)
                | Output::ShutdownComplete => {}
            }
        }
    }

    fn apply(&mut self, op: Op) {
        match op {
            Op::MediaOpen(binding) => {
                self.remotes.insert(binding.media_port(), binding.remote);
            }
            Op::MediaClose(port) => {
                self.remotes.remove(&port);
            }
            Op::SaAdd(sa) if sa.direction == Direction::Out => {
                self.outbound.insert(sa.tunnel, sa.sa);
            }
            _ => {}
        }
    }
}
