//! Both sides and what is under way between them.

use super::node::{Node, outcome};
use super::{Act, Grain, Scenario, is_delete};
use crate::compute::{JobId, Outcome};
use crate::output::{Event, Output};
use crate::state::State;
use crate::task::Todo;
use crate::task::child::Stage;
use crate::testing::Side;
use crate::{CloseCause, Endpoint, IkeError};
use Act::{Close, DeleteChild, Expire, RekeyChild, RekeyIke};
use Side::{A, B};
use core::time::Duration;
use sipsec_net::Instant;
use std::hash::{DefaultHasher, Hash, Hasher};

/// Most turns until two endpoints that have nothing new to do come to rest.
const CALM_MAX: usize = 2_000;
/// Longer than every retry and linger of the configuration.
const AFTERWARDS: Duration = Duration::from_secs(90);
const SIDES: [Side; 2] = [A, B];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Choice {
    Act(usize),
    /// Receiver and which of those in flight to it.
    Deliver(Side, usize),
    Job(Side, usize),
    Apply(Side),
}

pub(super) struct World {
    scenario: Scenario,
    now: Instant,
    pub nodes: [Node; 2],
    /// Messages on their way, by destination node.
    flying: [Vec<Vec<u8>>; 2],
    done: Vec<bool>,
    pub path: Vec<Choice>,
    /// Whether what was to be seen of it is as it should be; else the way to it is told.
    pub passed: bool,
}

fn hash(parts: impl Hash) -> u64 {
    let mut h = DefaultHasher::new();
    parts.hash(&mut h);
    h.finish()
}

impl World {
    /// Up, and nothing under way.
    pub fn new(scenario: Scenario) -> Self {
        let mut world = Self {
            scenario,
            now: Instant::ZERO + Duration::from_secs(1),
            nodes: SIDES.map(|side| Node::new(side, scenario)),
            flying: [const { Vec::new() }; 2],
            done: vec![false; scenario.acts.len()],
            path: Vec::new(),
            passed: false,
        };
        for side in [B, A] {
            world.with(side, Endpoint::start);
        }
        world.calm();
        assert!(world.nodes.iter().all(|n| n.carrying().is_some()), "up");
        world
    }

    fn with(&mut self, side: Side, f: impl FnOnce(&mut Endpoint, Instant)) {
        let node = &mut self.nodes[side as usize];
        f(&mut node.endpoint, self.now);
        while let Some(output) = node.endpoint.poll_output() {
            match output {
                Output::Transmit(bytes) | Output::Probe(bytes) => {
                    self.flying[side.other() as usize].push(bytes)
                }
                Output::NatKeepalive => {}
                Output::Compute(id, job) => node.jobs.push_back((id, job)),
                Output::Event(event) => node.on_event(event),
            }
        }
    }

    /// Does one of the acts, and no more.
    pub fn begin(&mut self, act: usize) {
        self.done[act] = true;
        self.act(self.scenario.acts[act]);
    }

    fn act(&mut self, act: Act) {
        match act {
            Act::RekeyChild(side) => {
                if let Some(child) = self.nodes[side as usize].bound {
                    self.with(side, |e, now| e.rekey_child(now, child));
                }
            }
            Act::RekeyIke(side) => self.with(side, Endpoint::rekey_ike),
            Act::Expire(side) => {
                if let Some(child) = self.nodes[side as usize].bound {
                    self.with(side, |e, now| e.expire_child(now, child));
                }
            }
            Act::Close(side) => self.with(side, |e, now| e.close(now, CloseCause::Admin)),
            Act::DeleteChild(side) => {
                let Some(child) = self.nodes[side as usize].bound else { return };
                self.with(side, |e, now| {
                    if let State::Established(s) = &mut e.state
                        && s.children
                            .iter()
                            .all(|c| c.id == child || matches!(c.stage, Stage::Retired { .. }))
                        && let Some(c) = s.child_mut(child)
                    {
                        c.stage = Stage::Deleting;
                        s.enqueue(Todo::DeleteChild(child));
                    }
                    // An outcome without a waiting job makes it look at its queue.
                    e.handle_compute(now, JobId(u64::MAX), Outcome::SignFailed);
                });
            }
        }
    }

    fn apply(&mut self, side: Side) {
        if let Some(child) = self.nodes[side as usize].apply() {
            self.with(side, |e, now| e.handle_child_installed(now, child));
        }
    }

    fn compute(&mut self, side: Side, at: usize) {
        if let Some((id, job)) = self.nodes[side as usize].jobs.remove(at) {
            self.with(side, |e, now| e.handle_compute(now, id, outcome(job)));
        }
    }

    /// What is no choice at this grain.
    fn at_once(&mut self) {
        let Grain { jobs, installs } = self.scenario.grain;
        for side in SIDES {
            while !jobs && !self.nodes[side as usize].jobs.is_empty() {
                self.compute(side, 0);
            }
            while !installs && !self.nodes[side as usize].commands.is_empty() {
                self.apply(side);
            }
        }
        if !jobs && self.nodes.iter().any(|n| !n.jobs.is_empty()) {
            self.at_once();
        }
    }

    pub fn choices(&self) -> Vec<Choice> {
        let acts = (0..self.done.len()).filter(|i| !self.done[*i]).map(Choice::Act);
        let mut out: Vec<_> = acts.collect();
        for side in SIDES {
            let node = &self.nodes[side as usize];
            out.extend((0..self.flying[side as usize].len()).map(|i| Choice::Deliver(side, i)));
            out.extend((0..node.jobs.len()).map(|i| Choice::Job(side, i)));
            if !node.commands.is_empty() {
                out.push(Choice::Apply(side));
            }
        }
        out
    }

    pub fn take(&mut self, choice: Choice) {
        let after = self.after(choice);
        for (node, history) in self.nodes.iter_mut().zip(after) {
            node.history = history;
        }
        self.path.push(choice);
        match choice {
            Choice::Act(i) => self.begin(i),
            Choice::Deliver(side, i) => {
                let bytes = self.flying[side as usize].remove(i);
                self.with(side, |e, now| e.handle_datagram(now, &bytes));
            }
            Choice::Job(side, i) => self.compute(side, i),
            Choice::Apply(side) => self.apply(side),
        }
        self.at_once();
        self.check();
    }

    /// What tells the state after the choice from every other.
    pub fn after(&self, choice: Choice) -> [u64; 2] {
        let mut out = self.nodes.each_ref().map(|n| n.history);
        let (side, what) = self.about(choice);
        out[side as usize] = hash((out[side as usize], what));
        out
    }

    /// The side that a choice concerns, and an id of the choice on that side.
    fn about(&self, choice: Choice) -> (Side, u64) {
        match choice {
            Choice::Act(i) => {
                let (RekeyChild(side) | RekeyIke(side) | DeleteChild(side) | Expire(side) | Close(side)) =
                    self.scenario.acts[i];
                (side, hash(("act", i)))
            }
            Choice::Deliver(side, i) => (side, hash(("message", &self.flying[side as usize][i]))),
            Choice::Job(side, i) => (side, hash(("job", self.nodes[side as usize].jobs[i].0))),
            // They come in one order.
            Choice::Apply(side) => (side, hash("apply")),
        }
    }

    /// Nothing is sealed for an SA that the other side does not have.
    fn check(&self) {
        let gone = |a: &Act| a.ends() || is_delete(a);
        let any_gone = self.scenario.acts.iter().zip(&self.done).any(|(a, done)| *done && gone(a));
        for side in SIDES {
            let (node, peer) = (&self.nodes[side as usize], &self.nodes[side.other() as usize]);
            let Some(sa) = node.carrying() else {
                assert!(any_gone, "{side:?} has nothing to send on");
                continue;
            };
            let known = peer.sas.iter().any(|p| (p.inbound, p.outbound) == (sa.outbound, sa.inbound));
            assert!(
                known || any_gone,
                "{side:?} seals for {sa:?}, which the other side has not: {:?}",
                peer.sas
            );
        }
    }

    /// Everything that is under way happens, first come first served.
    fn calm(&mut self) {
        for _ in 0..CALM_MAX {
            if let Some(side) = SIDES.into_iter().find(|s| !self.flying[*s as usize].is_empty()) {
                let bytes = self.flying[side as usize].remove(0);
                self.with(side, |e, now| e.handle_datagram(now, &bytes));
            } else if let Some(side) = SIDES.into_iter().find(|s| !self.nodes[*s as usize].jobs.is_empty()) {
                self.compute(side, 0);
            } else if let Some(side) =
                SIDES.into_iter().find(|s| !self.nodes[*s as usize].commands.is_empty())
            {
                self.apply(side);
            } else {
                return;
            }
        }
        panic!("two endpoints talk without end");
    }

    /// Time goes on until every retry and linger is over.
    pub fn settle(&mut self) {
        let end = self.now + AFTERWARDS;
        self.calm();
        let due = |n: &Node| n.endpoint.poll_timeout();
        while let Some(at) = self.nodes.iter().filter_map(due).min().filter(|at| *at <= end) {
            self.now = self.now.max(at);
            let now = self.now;
            for side in SIDES {
                if due(&self.nodes[side as usize]).is_some_and(|at| at <= now) {
                    self.with(side, Endpoint::handle_timeout);
                }
            }
            self.calm();
            self.check();
        }
    }

    /// Both sides have the same SA and nothing else, or both have ended.
    pub fn judge(&self) {
        let [a, b] = &self.nodes;
        let acts = self.scenario.acts;
        for (side, node, peer) in [(A, a, b), (B, b, a)] {
            let closes = acts.contains(&Close(side));
            let closed = matches!(node.ended, Some(Event::Closed(CloseCause::Admin)));
            assert!(closes || !closed, "{:?}", node.ended);
            // RFC 7296 §2.8.2: a DELETE of the SA that its sender is rekeying looks like the end of the rekey. Then
            // the new SA, of which the sender knows nothing, falls silent.
            let taken_for_rekey = acts.contains(&RekeyIke(side.other())) && peer.ended.is_some();
            match node.ended {
                Some(Event::Failed(IkeError::NoResponse(_))) if taken_for_rekey => {}
                None | Some(Event::Closed(_)) => {}
                _ => panic!("{:?}, and the other side {:?}", node.ended, peer.ended),
            }
        }
        assert_eq!(a.ended.is_some(), b.ended.is_some(), "{:?} {:?}", a.ended, b.ended);
        if a.ended.is_some() {
            assert!(acts.iter().any(|a| a.ends() || is_delete(a)), "{:?} {:?}", a.ended, b.ended);
            assert_eq!(a.sas.len() + b.sas.len(), 0);
            assert_eq!(
                (a.endpoint.poll_timeout(), b.endpoint.poll_timeout()),
                (None, None),
                "nothing is left to do"
            );
            return;
        }
        assert!(!acts.iter().any(|a| matches!(a, Close(_))), "a close ends both");
        assert_eq!(a.sas.len(), b.sas.len(), "{:?} {:?}", a.sas, b.sas);
        let (State::Established(sa), State::Established(sb)) = (&a.endpoint.state, &b.endpoint.state) else {
            panic!("{:?} {:?}", a.endpoint, b.endpoint)
        };
        assert_eq!((sa.slots.len(), sb.slots.len()), (1, 1), "IKE SAs");
        let (va, vb) = (a.endpoint.view(), b.endpoint.view());
        assert_eq!((va.spi_i, va.spi_r), (vb.spi_i, vb.spi_r));
        assert_eq!((sa.children.len(), sb.children.len()), (a.sas.len(), b.sas.len()), "each is installed");
        assert!(sa.queue.is_empty() && sb.queue.is_empty() && sa.held.is_empty() && sb.held.is_empty());
        assert_eq!(a.sas.len(), 1, "{:?}", a.sas);
        let (ca, cb) = (a.carrying().expect("bound"), b.carrying().expect("bound"));
        assert_eq!((ca.inbound, ca.outbound), (cb.outbound, cb.inbound));
    }
}

impl Drop for World {
    fn drop(&mut self) {
        if !self.passed {
            eprintln!("{:?}\n{:?}", self.scenario, self.path);
        }
    }
}
