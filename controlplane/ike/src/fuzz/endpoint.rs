//! Two endpoints, and between them an attacker who holds the keys of every IKE SA: a peer that is authenticated and
//! malicious. What it does is read from the input; the key exchange is a constant, so that an execution costs little.

use super::forge::{Keys, Seen};
use super::parties::config;
use crate::compute::{Job, JobId, Outcome};
use crate::secret::Secret;
use crate::state::State;
use crate::task::TODO_MAX;
use crate::view::Counters;
use crate::{ChildId, CloseCause, Endpoint, Event, Output};
use arbitrary::{Result, Unstructured};
use core::time::Duration;
use sipsec_net::Instant;
use sipsec_net::entropy::TestEntropy;
use std::collections::{BTreeSet, VecDeque};

const STEPS_MAX: usize = 96;
const FLYING_MAX: usize = 32;
const LOG_MAX: usize = 64;
/// Turns in which a calm network must come to rest.
const CALM_MAX: usize = 400;
/// Most that one input may make an endpoint do: the cached fragments of a response, and events.
const OUTPUTS_MAX: usize = 256;

/// What an endpoint has been told and has said, and what must be true of it.
struct Gateway {
    endpoint: Endpoint,
    jobs: VecDeque<(JobId, Job)>,
    installing: VecDeque<ChildId>,
    installed: BTreeSet<ChildId>,
    authenticated: bool,
    ended: bool,
    taken: u64,
}

struct World {
    now: Instant,
    gateways: [Gateway; 2],
    /// Where to, and what.
    flying: VecDeque<(usize, Vec<u8>)>,
    log: Vec<(usize, Vec<u8>)>,
    seen: Seen,
}

/// One execution.
pub fn endpoint(bytes: &[u8]) {
    let mut u = Unstructured::new(bytes);
    // An input that ends in the middle of a step is a shorter run.
    let _ = run(&mut u);
}

fn run(u: &mut Unstructured<'_>) -> Result<()> {
    let choice: u8 = u.arbitrary()?;
    let mut world = World::new(choice);
    if choice & 1 != 0 {
        world.calm();
        assert!(world.gateways.iter().all(|g| g.authenticated && !g.ended), "two honest sides come up");
    }
    for _ in 0..STEPS_MAX {
        if u.is_empty() {
            break;
        }
        world.step(u)?;
    }
    world.calm();
    Ok(())
}

/// What a job would give, at no cost: both sides agree on a constant.
fn outcome(job: Job) -> Outcome {
    let shared = || Secret::new(vec![7; 32]);
    match job {
        Job::DhGenerate { group, .. } => Outcome::DhGenerated { public: vec![9; group.public_len()] },
        Job::DhAgree { .. } => Outcome::DhAgreed { shared: shared() },
        Job::DhRespond { group, .. } => {
            Outcome::DhResponded { public: vec![9; group.answer_len()], shared: shared() }
        }
        other => other.run(),
    }
}

fn answered_for(c: &Counters) -> u64 {
    c.requests_in
        + c.responses_in
        + c.fragments_in
        + c.duplicates_in
        + c.dropped_malformed
        + c.dropped_version
        + c.dropped_spi
        + c.dropped_window
        + c.dropped_integrity
        + c.dropped_clear_text
        + c.dropped_state
        + c.dropped_full
        + c.cookies_sent
        + c.crash_tokens.proved
        + c.crash_tokens.bad
}

impl Gateway {
    fn new(i: usize, choice: u8) -> Self {
        Self {
            endpoint: Endpoint::new(config(i, choice), Box::new(TestEntropy::new(i as u64 + 1))),
            jobs: VecDeque::new(),
            installing: VecDeque::new(),
            installed: BTreeSet::new(),
            authenticated: false,
            ended: false,
            taken: 0,
        }
    }

    fn on_event(&mut self, seen: &mut Seen, event: Event) {
        match event {
            Event::KeyLog(entry) => return seen.note(&entry),
            Event::Refused { .. } => {}
            _ => assert!(!self.ended, "{event:?} after the end"),
        }
        match event {
            Event::Authenticated(..) => {
                // Again for each further IKE SA of the call.
                self.authenticated = true;
            }
            Event::ChildSaUp { child, inbound, outbound } => {
                assert!(self.authenticated, "a CHILD_SA before any proof");
                assert!(self.installed.insert(child), "{child:?} twice");
                seen.note_child(&inbound, &outbound);
                self.installing.push_back(child);
            }
            Event::ChildSaReplaced { old, child, inbound, outbound, .. } => {
                assert!(self.installed.contains(&old), "{old:?} is not installed");
                assert!(self.installed.insert(child), "{child:?} twice");
                seen.note_child(&inbound, &outbound);
                self.installing.push_back(child);
            }
            Event::ChildSaBind { child } => {
                assert!(self.installed.contains(&child), "{child:?} is not installed");
                self.installing.push_back(child);
            }
            Event::ChildSaDown { child, .. } => {
                assert!(self.installed.remove(&child), "{child:?} is not installed");
                self.installing.retain(|c| *c != child);
            }
            Event::Failed(_) | Event::Closed(_) => {
                self.ended = true;
                self.installed.clear();
                self.installing.clear();
            }
            Event::PathMtu { mtu } => {
                assert!(mtu.is_none_or(|mtu| mtu >= 576), "no less than IPv4's minimum")
            }
            Event::Refused { .. } | Event::ReauthFailed(_) | Event::KeyLog(_) => {}
        }
    }

    fn check(&self) {
        let c = &self.endpoint.ctx.counters;
        // Those of an IKE SA that is being made are counted when they are looked at.
        let kept = if let State::Established(s) = &self.endpoint.state { s.early.len() as u64 } else { 0 };
        assert_eq!(answered_for(c) + kept, self.taken, "each message ends in one counter: {c:?}");
        if let State::Established(s) = &self.endpoint.state {
            assert!(s.slots.len() <= crate::task::rekey_ike::SLOTS_MAX + 2, "IKE SAs are bounded");
            assert!(s.children.len() <= crate::task::CHILDREN_MAX + 2, "CHILD_SAs are bounded");
            let awaited = s.answer_children.iter().filter(|a| a.awaited_until().is_some()).count();
            assert!(awaited <= 1, "series that wait for the peer are bounded");
            assert!(s.queue.len() <= TODO_MAX, "what waits to be done is bounded");
            assert!(s.held.len() <= s.slots.len(), "one held response for each IKE SA");
            let standing = self.endpoint.poll_timeout();
            assert!(standing.is_some(), "an SA that is up has a deadline");
        }
    }
}

impl World {
    fn new(choice: u8) -> Self {
        let mut world = Self {
            now: Instant::ZERO + Duration::from_secs(1),
            gateways: [Gateway::new(0, choice), Gateway::new(1, choice)],
            flying: VecDeque::new(),
            log: Vec::new(),
            seen: Seen::default(),
        };
        let now = world.now;
        for i in [1, 0] {
            world.with(i, |e| e.start(now));
        }
        world
    }

    fn with(&mut self, i: usize, f: impl FnOnce(&mut Endpoint)) {
        let g = &mut self.gateways[i];
        f(&mut g.endpoint);
        let mut outputs = 0;
        while let Some(output) = g.endpoint.poll_output() {
            outputs += 1;
            assert!(outputs <= OUTPUTS_MAX, "one input makes no flood");
            match output {
                Output::Transmit(bytes) | Output::Probe(bytes) => {
                    if self.flying.len() < FLYING_MAX {
                        self.flying.push_back((1 - i, bytes.clone()));
                    }
                    if self.log.len() < LOG_MAX {
                        self.log.push((1 - i, bytes));
                    }
                }
                Output::NatKeepalive => {}
                Output::Compute(id, job) => g.jobs.push_back((id, job)),
                Output::Event(event) => g.on_event(&mut self.seen, event),
            }
        }
        g.check();
    }

    fn deliver(&mut self, to: usize, bytes: &[u8]) {
        let now = self.now;
        self.gateways[to].taken += 1;
        self.with(to, |e| e.handle_datagram(now, bytes));
    }

    fn compute(&mut self, i: usize, at: usize, fails: bool) {
        let now = self.now;
        if let Some((id, job)) = self.gateways[i].jobs.remove(at) {
            let outcome = if fails { Outcome::BadPeerValue } else { outcome(job) };
            self.with(i, |e| e.handle_compute(now, id, outcome));
        }
    }

    fn install(&mut self, i: usize, rejects: bool) {
        let now = self.now;
        if let Some(child) = self.gateways[i].installing.pop_front() {
            if rejects {
                // A refusal takes both SAs with it; the endpoint says so itself.
                self.with(i, |e| e.handle_child_rejected(now, child));
            } else {
                self.with(i, |e| e.handle_child_installed(now, child));
            }
        }
    }

    /// Time passes at one side. A deadline that has passed is served at once and moves on.
    fn wait(&mut self, i: usize, until: Instant) {
        self.now = self.now.max(until);
        let now = self.now;
        for round in 0.. {
            if self.gateways[i].endpoint.poll_timeout().is_none_or(|at| at > now) {
                break;
            }
            assert!(round < 64, "a deadline is not served: {:?}", self.gateways[i].endpoint);
            self.with(i, |e| e.handle_timeout(now));
        }
    }

    /// Everything arrives, everything is computed and installed, until nothing is under way.
    fn calm(&mut self) {
        for _ in 0..CALM_MAX {
            if let Some((to, bytes)) = self.flying.pop_front() {
                self.deliver(to, &bytes);
            } else if let Some(i) = (0..2).find(|i| !self.gateways[*i].jobs.is_empty()) {
                self.compute(i, 0, false);
            } else if let Some(i) = (0..2).find(|i| !self.gateways[*i].installing.is_empty()) {
                self.install(i, false);
            } else {
                return;
            }
        }
        panic!("two endpoints talk without end");
    }

    fn pick(&self, u: &mut Unstructured<'_>) -> Result<Option<usize>> {
        if self.flying.is_empty() { Ok(None) } else { u.choose_index(self.flying.len()).map(Some) }
    }

    fn step(&mut self, u: &mut Unstructured<'_>) -> Result<()> {
        let now = self.now;
        let side = usize::from(u.arbitrary::<u8>()? & 1);
        match u.int_in_range(0..=17)? {
            0..=2 => {
                if let Some((to, bytes)) = self.flying.pop_front() {
                    self.deliver(to, &bytes);
                }
            }
            3 => self.calm(),
            4 => {
                if let Some((to, bytes)) = self.pick(u)?.and_then(|i| self.flying.remove(i)) {
                    self.deliver(to, &bytes);
                }
            }
            5 => {
                if let Some((to, bytes)) = self.pick(u)?.and_then(|i| self.flying.get(i).cloned()) {
                    self.deliver(to, &bytes);
                }
            }
            6 => {
                let _ = self.pick(u)?.and_then(|i| self.flying.remove(i));
            }
            7 => {
                if !self.log.is_empty() {
                    let (to, bytes) = u.choose(&self.log)?.clone();
                    self.deliver(to, &bytes);
                }
            }
            // An attacker on the path, without keys.
            8 => {
                if let Some((to, mut bytes)) = self.pick(u)?.and_then(|i| self.flying.get(i).cloned()) {
                    damage(u, &mut bytes)?;
                    self.deliver(to, &bytes);
                }
            }
            // With keys: another message in place of one of the peer's, or one that it never sent.
            9 | 10 => {
                if let Some(i) = self.pick(u)?
                    && let Some((to, bytes)) = self.flying.get(i).cloned()
                    && let Some(forged) = self.seen.rewrite(u, &bytes)?
                {
                    let _ = self.flying.remove(i);
                    self.deliver(to, &forged);
                }
            }
            11 | 12 => {
                if let Some((to, datagrams)) = self.seen.forge(u)? {
                    for d in datagrams {
                        self.deliver(to, &d);
                    }
                }
            }
            13 => {
                let next = self.gateways[side].endpoint.poll_timeout();
                let until = if u.arbitrary()? { next } else { None };
                let late = Duration::from_millis(u.int_in_range(0..=20_000)?);
                self.wait(side, until.unwrap_or(now + late));
            }
            14 => {
                let jobs = self.gateways[side].jobs.len();
                if jobs > 0 {
                    let at = u.choose_index(jobs)?;
                    let fails = u.ratio(1, 8)?;
                    self.compute(side, at, fails);
                }
            }
            15 => {
                let rejects = u.ratio(1, 8)?;
                self.install(side, rejects);
            }
            16 => match u.int_in_range(0..=7)? {
                0 => {
                    let child = ChildId(u.int_in_range(0..=4)?);
                    self.with(side, |e| e.rekey_child(now, child));
                }
                1 => self.with(side, |e| e.rekey_ike(now)),
                2 => self.with(side, |e| e.traffic_seen(now, now, now)),
                3 => self.with(side, |e| e.close(now, CloseCause::Idle)),
                4 => self.with(side, |e| e.reauthenticate(now)),
                5 => {
                    let child = ChildId(u.int_in_range(0..=8)?);
                    self.with(side, |e| e.inbound_used(now, child));
                }
                6 => {
                    let mtu = u.arbitrary()?;
                    self.with(side, |e| e.path_ceiling(now, mtu));
                }
                _ => {
                    // Outcomes and answers without a question.
                    let id = JobId(u.int_in_range(0..=16)?);
                    self.with(side, |e| e.handle_compute(now, id, Outcome::SignFailed));
                    let child = ChildId(u.int_in_range(0..=4)?);
                    self.with(side, |e| e.handle_child_installed(now, child));
                }
            },
            _ => {
                let len = u.int_in_range(0..=80)?;
                let mut bytes = u.bytes(len)?.to_vec();
                Keys::address(&self.seen, u, &mut bytes)?;
                self.deliver(side, &bytes);
            }
        }
        Ok(())
    }
}

/// Truncated, extended, or with a byte changed.
fn damage(u: &mut Unstructured<'_>, bytes: &mut Vec<u8>) -> Result<()> {
    for _ in 0..u.int_in_range(1..=3)? {
        match u.int_in_range(0..=2)? {
            0 => bytes.truncate(u.int_in_range(0..=bytes.len())?),
            1 => bytes.push(u.arbitrary()?),
            _ if bytes.is_empty() => {}
            _ => {
                let at = u.choose_index(bytes.len())?;
                bytes[at] ^= u.arbitrary::<u8>()?;
            }
        }
    }
    // Mostly with a length that fits, so that more than the header is looked at.
    if u.ratio(3, 4)? {
        fix_len(bytes);
    }
    Ok(())
}

/// The header's length as it should be.
pub(super) fn fix_len(bytes: &mut [u8]) {
    if let (Ok(len), Some(field)) = (u32::try_from(bytes.len()), bytes.get_mut(24..28)) {
        field.copy_from_slice(&len.to_be_bytes());
    }
}
