//! Two user agents, a carrier's proxy between them, and a network that can lose, repeat, delay and reorder.

pub mod called;
mod proxy;

use crate::digest::Credentials;
use crate::sdp::{IkeMedia, IkeSetup, SessionDescription};
use crate::{Call, CallId, Config, DialogRecord, Event, Flow, Line, Locals, Output, Target, UserAgent};
use proxy::Proxy;
use sipsec_net::entropy::TestEntropy;
use sipsec_net::{Entropy, Instant, Kbps, SecretBytes, TelNumber};
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

pub const PROXY: &str = "198.51.100.10:5060";
pub const A: usize = 0;
pub const B: usize = 1;
const ADDRS: [&str; 2] = ["198.51.100.11:5060", "198.51.100.12:5060"];
const NUMBERS: [&str; 2] = ["0388881001", "0388882001"];
pub const PASSWORD: &[u8] = b"pw-1001";

pub fn addr(i: usize) -> SocketAddr {
    ADDRS[i].parse().expect("address")
}

pub fn number(i: usize) -> TelNumber {
    NUMBERS[i].parse().expect("number")
}

pub fn proxy_addr() -> SocketAddr {
    PROXY.parse().expect("address")
}

pub fn sdp(i: usize) -> SessionDescription {
    SessionDescription::new(
        1000 + i as u64,
        IkeMedia {
            addr: SocketAddr::new(addr(i).ip(), 50_001),
            bandwidth: Some(Kbps(512)),
            setup: Some(if i == A { IkeSetup::Active } else { IkeSetup::Passive }),
            fingerprints: Vec::new(),
            psk_fingerprints: Vec::new(),
        },
    )
}

/// The value of a header field that a message has.
pub fn field(message: &str, name: &str) -> String {
    let prefix = format!("{name}: ");
    message.lines().find_map(|l| l.strip_prefix(&prefix)).map(str::to_owned).expect("the field is there")
}

pub fn config(i: usize) -> Config {
    let password = SecretBytes::new(PASSWORD).expect("short");
    let auth = Some(Credentials { username: NUMBERS[i].into(), password });
    let lines = vec![Line { number: number(i), auth }];
    let config = Config::new(Target::udp(proxy_addr()), "carrier.example", lines);
    Config { user_agent: Some("sipsec".into()), ..config }
}

/// One gateway: its user agent, its journal, and what it was told.
pub struct Node {
    pub ua: UserAgent,
    pub journal: BTreeMap<CallId, DialogRecord>,
    /// Handles by id, until they are given back.
    pub handles: BTreeMap<CallId, Call>,
    pub log: Vec<String>,
    pub ended: Vec<CallId>,
    /// Accept calls as they come.
    pub auto_accept: bool,
    /// The journal answers after this long.
    pub persist_delay: Duration,
    life: u64,
    up: bool,
}

impl Drop for Node {
    /// A test may end in the middle of a call.
    fn drop(&mut self) {
        for (_, call) in std::mem::take(&mut self.handles) {
            call.ended();
        }
    }
}

/// What the network does to a datagram.
#[derive(Clone, Copy, Debug)]
pub struct Weather {
    pub loss_percent: u32,
    pub duplicate_percent: u32,
    pub delay_max: Duration,
}

pub const CALM: Weather = Weather { loss_percent: 0, duplicate_percent: 0, delay_max: Duration::ZERO };

enum Happening {
    Datagram { from: SocketAddr, to: SocketAddr, bytes: Vec<u8> },
    Persisted { node: usize, life: u64, call: CallId, record: Option<DialogRecord> },
}

pub struct World {
    pub now: Instant,
    pub nodes: Vec<Node>,
    pub proxy: Proxy,
    pub weather: Weather,
    /// Everything that a node sent, in order.
    pub wire: Vec<(usize, String)>,
    /// Datagrams for which this says `true` do not arrive.
    pub filter: Box<dyn FnMut(&str) -> bool>,
    pub notices: Vec<(usize, crate::Notice)>,
    queue: BTreeMap<(Instant, u64), Happening>,
    seq: u64,
    entropy: TestEntropy,
}

impl World {
    /// Both registered.
    pub fn new() -> Self {
        let mut world = Self::empty(7);
        for i in [A, B] {
            let now = world.now;
            world.nodes[i].ua.set_locals(now, Locals::of(Some(addr(i))));
        }
        world.run_for(Duration::from_secs(1));
        for node in &mut world.nodes {
            assert_eq!(node.log.last().map(String::as_str), Some("Registered"), "{:?}", node.log);
            node.log.clear();
        }
        world.wire.clear();
        world
    }

    pub fn empty(seed: u64) -> Self {
        let node = |i: usize| Node {
            ua: UserAgent::new(config(i), Box::new(TestEntropy::new(seed * 2 + i as u64))),
            journal: BTreeMap::new(),
            handles: BTreeMap::new(),
            log: Vec::new(),
            ended: Vec::new(),
            auto_accept: true,
            persist_delay: Duration::from_millis(1),
            life: 0,
            up: true,
        };
        Self {
            now: Instant::from_nanos(1_000_000_000),
            nodes: vec![node(A), node(B)],
            proxy: Proxy::default(),
            weather: CALM,
            wire: Vec::new(),
            filter: Box::new(|_| false),
            notices: Vec::new(),
            queue: BTreeMap::new(),
            seq: 0,
            entropy: TestEntropy::new(seed ^ 0x5eed),
        }
    }

    pub fn dial(&mut self, from: usize) -> CallId {
        let node = &mut self.nodes[from];
        let call = node.ua.dial(self.now, number(from), number(1 - from), &sdp(from)).expect("may dial");
        let id = call.id();
        node.handles.insert(id, call);
        self.drain(from);
        id
    }

    /// A has called B, which has answered with this.
    pub fn answered_with(answer: &SessionDescription) -> Self {
        let mut w = Self::new();
        w.nodes[B].auto_accept = false;
        w.dial(A);
        w.run_for(Duration::from_secs(1));
        let node = &mut w.nodes[B];
        let call = node.handles.values().next().expect("a call");
        node.ua.accept(w.now, call, answer);
        w.drain(B);
        w.run_for(Duration::from_secs(1));
        w
    }

    pub fn hang_up(&mut self, node: usize, id: CallId) {
        if let Some(call) = self.nodes[node].handles.remove(&id) {
            self.nodes[node].ua.hang_up(self.now, call);
        }
        self.drain(node);
    }

    pub fn hang_up_because(&mut self, node: usize, id: CallId, reason: crate::Reason) {
        if let Some(call) = self.nodes[node].handles.remove(&id) {
            self.nodes[node].ua.hang_up_because(self.now, call, reason);
        }
        self.drain(node);
    }

    pub fn reject_because(&mut self, node: usize, id: CallId, status: u16, text: &str) {
        if let Some(call) = self.nodes[node].handles.remove(&id) {
            self.nodes[node].ua.reject_because(self.now, call, status, text);
        }
        self.drain(node);
    }

    pub fn accept(&mut self, node: usize, id: CallId) {
        let n = &mut self.nodes[node];
        if let Some(call) = n.handles.get(&id) {
            n.ua.accept(self.now, call, &sdp(node));
        }
        self.drain(node);
    }

    pub fn reject(&mut self, node: usize, id: CallId, status: u16) {
        if let Some(call) = self.nodes[node].handles.remove(&id) {
            self.nodes[node].ua.reject(self.now, call, status);
        }
        self.drain(node);
    }

    pub fn set_addr(&mut self, node: usize, up: bool) {
        self.nodes[node].up = up;
        self.nodes[node].ua.set_locals(self.now, Locals::of(up.then(|| addr(node))));
        self.drain(node);
    }

    /// The process dies; another starts with what the journal has.
    pub fn crash(&mut self, node: usize) {
        let n = &mut self.nodes[node];
        n.life += 1;
        n.ua = UserAgent::new(config(node), Box::new(TestEntropy::new(n.life * 1000 + node as u64)));
        for (_, call) in std::mem::take(&mut n.handles) {
            call.ended();
        }
        n.log.clear();
        n.up = true;
        n.ua.set_locals(self.now, Locals::of(Some(addr(node))));
        let records = std::mem::take(&mut n.journal);
        for record in records.values() {
            let bytes = record.to_bytes();
            let id = n.ua.recover(self.now, &DialogRecord::from_bytes(&bytes).expect("whole"));
            n.journal.insert(id, record.clone());
        }
        self.drain(node);
    }

    /// A datagram that no node sent.
    pub fn inject(&mut self, to: usize, message: impl AsRef<[u8]>) {
        self.nodes[to].ua.handle_message(self.now, &Flow::udp(addr(to), proxy_addr()), message.as_ref());
        self.drain(to);
    }

    /// Hands out what a node wants done.
    pub fn drain(&mut self, i: usize) {
        while let Some(output) = self.nodes[i].ua.poll_output() {
            match output {
                Output::Transmit { flow, bytes } => {
                    self.wire.push((i, String::from_utf8_lossy(&bytes).into_owned()));
                    if self.nodes[i].up {
                        self.send(flow.local, flow.remote, bytes);
                    }
                }
                Output::Persist { call, record, .. } => {
                    let (life, delay) = (self.nodes[i].life, self.nodes[i].persist_delay);
                    self.at(delay, Happening::Persisted { node: i, life, call, record });
                }
                Output::Open { flow, .. } => self.wire.push((i, format!("open {}", flow.remote))),
                Output::Event(event) => self.event(i, event),
            }
        }
    }

    fn event(&mut self, i: usize, event: Event) {
        let node = &mut self.nodes[i];
        match event {
            Event::Registration { state, .. } => {
                let text = format!("{state:?}");
                node.log.push(text);
            }
            Event::Incoming { call, caller, line, .. } => {
                assert_eq!(line, number(i));
                node.log.push(format!("Incoming {caller:?}"));
                let id = call.id();
                node.ua.ring(&call);
                if node.auto_accept {
                    node.ua.accept(self.now, &call, &sdp(i));
                }
                node.handles.insert(id, call);
            }
            Event::Refused { caller, error, .. } => node.log.push(format!("Refused {caller:?} {error:?}")),
            Event::Provisional { status, .. } => node.log.push(format!("Provisional {status}")),
            Event::Answered { answer, .. } => {
                assert_ne!(answer.description().ike.addr.port(), 0);
                node.log.push("Answered".into());
            }
            Event::Accepted { .. } => {}
            Event::Lost { call, why } => {
                node.log.push(format!("Lost {why:?}"));
                if let Some(call) = node.handles.remove(&call) {
                    call.ended();
                }
            }
            Event::Confirmed { .. } => node.log.push("Confirmed".into()),
            Event::Failed { call, failure } => {
                node.log.push(format!("Failed {failure:?}"));
                if let Some(call) = node.handles.remove(&call) {
                    call.ended();
                }
            }
            Event::PeerHungUp { call, reason } => {
                let why = reason.map(|r| format!(": {r}")).unwrap_or_default();
                node.log.push(format!("PeerHungUp{why}"));
                if let Some(call) = node.handles.remove(&call) {
                    call.ended();
                }
            }
            Event::ByeOwed { refused, .. } => node.log.push(format!("ByeOwed {refused:?}")),
            Event::NotHungUp { call_id, refused, .. } => {
                assert!(self.wire.iter().any(|(from, t)| *from == i && t.contains(&call_id)), "{call_id}");
                node.log.push(format!("NotHungUp {refused:?}"));
            }
            Event::Notice(notice) => self.notices.push((i, notice)),
            Event::Ended { call } => {
                assert!(!node.ended.contains(&call) || node.life > 0, "ended twice");
                assert!(!node.handles.contains_key(&call), "ended under its holder's hands");
                node.ended.push(call);
                node.log.push("Ended".into());
            }
        }
    }

    fn at(&mut self, delay: Duration, what: Happening) {
        self.seq += 1;
        self.queue.insert((self.now + delay, self.seq), what);
    }

    pub fn send(&mut self, from: SocketAddr, to: SocketAddr, bytes: Vec<u8>) {
        let text = String::from_utf8_lossy(&bytes).into_owned();
        if (self.filter)(&text) || self.entropy.below(100) < self.weather.loss_percent {
            return;
        }
        let copies = 1 + u32::from(self.entropy.below(100) < self.weather.duplicate_percent);
        for _ in 0..copies {
            let extra =
                self.entropy.below(u32::try_from(self.weather.delay_max.as_millis()).expect("short") + 1);
            let delay = Duration::from_millis(5) + Duration::from_millis(extra.into());
            self.at(delay, Happening::Datagram { from, to, bytes: bytes.clone() });
        }
    }

    /// When anything happens next.
    pub fn next(&self) -> Option<Instant> {
        let queued = self.queue.first_key_value().map(|((at, _), _)| *at);
        self.nodes.iter().filter_map(|n| n.ua.poll_timeout()).chain(queued).min()
    }

    pub fn run_for(&mut self, time: Duration) {
        self.run_until(self.now + time);
    }

    pub fn run_until(&mut self, end: Instant) {
        while let Some(at) = self.next().filter(|at| *at <= end) {
            self.now = self.now.max(at);
            while self.queue.first_key_value().is_some_and(|((due, _), _)| *due <= at) {
                if let Some((_, what)) = self.queue.pop_first() {
                    self.happen(what);
                }
            }
            for i in 0..self.nodes.len() {
                self.nodes[i].ua.handle_timeout(self.now);
                self.drain(i);
            }
        }
        self.now = self.now.max(end);
    }

    fn happen(&mut self, what: Happening) {
        match what {
            Happening::Datagram { from, to, bytes } => {
                if to == proxy_addr() {
                    for (to, bytes) in self.proxy.receive(from, &bytes) {
                        self.send(proxy_addr(), to, bytes);
                    }
                } else if let Some(i) = (0..self.nodes.len()).find(|i| self.nodes[*i].up && addr(*i) == to) {
                    self.nodes[i].ua.handle_message(self.now, &Flow::udp(to, from), &bytes);
                    self.drain(i);
                }
            }
            Happening::Persisted { node, life, call, record } => {
                let n = &mut self.nodes[node];
                if n.life != life {
                    return; // the process died before the write
                }
                match record {
                    Some(record) => {
                        n.journal.insert(call, record);
                        n.ua.persisted(self.now, call);
                    }
                    None => {
                        n.journal.remove(&call);
                    }
                }
                self.drain(node);
            }
        }
    }

    /// Start lines of what a node sent.
    pub fn sent(&self, node: usize) -> Vec<&str> {
        let own = self.wire.iter().filter(|(i, _)| *i == node);
        own.map(|(_, t)| t.lines().next().unwrap_or_default()).collect()
    }

    /// The last message of a node whose start line begins so.
    pub fn last(&self, node: usize, start: &str) -> &str {
        let own = self.wire.iter().rev().filter(|(i, _)| *i == node);
        own.map(|(_, t)| t.as_str()).find(|t| t.starts_with(start)).unwrap_or_default()
    }

    pub fn count(&self, node: usize, start: &str) -> usize {
        self.sent(node).iter().filter(|l| l.starts_with(start)).count()
    }
}
