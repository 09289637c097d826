//! One side: an endpoint, what is being computed for it, and its dataplane.

use super::{Scenario, Secrecy};
use crate::Endpoint;
use crate::compute::{Job, JobId, Outcome};
use crate::ctx::NONCE_LEN;
use crate::output::{ChildId, ChildSaKeys, Event};
use crate::secret::Secret;
use crate::testing::{Side, config};
use sipsec_net::Entropy;
use sipsec_net::entropy::TestEntropy;
use std::collections::VecDeque;

/// Reproducible bytes, with nonces by choice: of one side every second one is low, all others are high.
struct Chosen {
    rest: TestEntropy,
    low: Option<usize>,
    nonces: usize,
}

impl Entropy for Chosen {
    fn fill(&mut self, buf: &mut [u8]) {
        self.rest.fill(buf);
        // Private values of the group below are longer.
        if buf.len() == NONCE_LEN {
            // The first made the first SA.
            buf[0] = if self.nonces > 0 && self.low == Some((self.nonces - 1) % 2) { 0x10 } else { 0x80 };
            self.nonces += 1;
        }
    }
}

/// What a dataplane does, in the order in which it is told.
#[derive(Debug)]
pub(super) enum Command {
    Install { child: ChildId, inbound: u32, outbound: u32, bind: bool },
    Bind(ChildId),
    Remove(ChildId),
}

#[derive(Debug)]
pub(super) struct Installed {
    pub child: ChildId,
    pub inbound: u32,
    pub outbound: u32,
}

pub(super) struct Node {
    pub endpoint: Endpoint,
    pub jobs: VecDeque<(JobId, Job)>,
    pub commands: VecDeque<Command>,
    pub sas: Vec<Installed>,
    /// What traffic is sealed for.
    pub bound: Option<ChildId>,
    /// SAs of exchanges of its own that replaced another.
    pub made: u32,
    pub ended: Option<Event>,
    /// The choices that were about it.
    pub history: u64,
}

/// What a job would give, at no cost: both sides agree on a constant.
pub(super) fn outcome(job: Job) -> Outcome {
    let shared = || Secret::new(vec![7; 48]);
    match job {
        Job::DhGenerate { group, .. } => Outcome::DhGenerated { public: vec![9; group.public_len()] },
        Job::DhAgree { .. } => Outcome::DhAgreed { shared: shared() },
        Job::DhRespond { group, .. } => {
            Outcome::DhResponded { public: vec![9; group.answer_len()], shared: shared() }
        }
        other => other.run(),
    }
}

impl Node {
    pub fn new(side: Side, scenario: Scenario) -> Self {
        let mut c = config(side);
        c.ike_proposals = vec!["aes256gcm16-prfsha256-ecp384".parse().expect("a proposal")];
        let esp = match (scenario.secrecy, side) {
            (Secrecy::None, _) => "aes256gcm16",
            (Secrecy::Group, _) => "aes256gcm16-ecp384",
            (Secrecy::HybridOfA, Side::B) => "aes256gcm16-ecp384-ke1_none-ke1_mlkem768",
            (Secrecy::Hybrid | Secrecy::HybridOfA, _) => "aes256gcm16-ecp384-ke1_mlkem768-ke1_none",
        };
        c.esp_proposals = vec![esp.parse().expect("a proposal")];
        // One choice for each message.
        c.fragment_bytes_max = None;
        let low = (scenario.lowest.side == side).then_some(scenario.lowest.turn);
        let rest = TestEntropy::new(side as u64 + 1);
        Self {
            endpoint: Endpoint::new(c, Box::new(Chosen { rest, low, nonces: 0 })),
            jobs: VecDeque::new(),
            commands: VecDeque::new(),
            sas: Vec::new(),
            bound: None,
            made: 0,
            ended: None,
            history: 0,
        }
    }

    pub fn on_event(&mut self, event: Event) {
        let spis = |i: &ChildSaKeys, o: &ChildSaKeys| (i.spi.get(), o.spi.get());
        match &event {
            Event::ChildSaUp { child, inbound, outbound } => {
                let (inbound, outbound) = spis(inbound, outbound);
                self.commands.push_back(Command::Install { child: *child, inbound, outbound, bind: true });
            }
            Event::ChildSaReplaced { child, inbound, outbound, bind, .. } => {
                let (inbound, outbound) = spis(inbound, outbound);
                self.commands.push_back(Command::Install { child: *child, inbound, outbound, bind: *bind });
                self.made += u32::from(*bind);
            }
            Event::ChildSaBind { child } => self.commands.push_back(Command::Bind(*child)),
            Event::ChildSaDown { child, .. } => self.commands.push_back(Command::Remove(*child)),
            Event::Failed(_) | Event::Closed(_) => {
                assert!(self.ended.is_none(), "one end: {:?}, {event:?}", self.ended);
                self.commands.clear();
                self.sas.clear();
                self.bound = None;
                self.ended = Some(event);
            }
            _ => {}
        }
        self.remove();
    }

    /// A removal is not waited for.
    fn remove(&mut self) {
        while let Some(Command::Remove(child)) = self.commands.front() {
            self.sas.retain(|s| s.child != *child);
            self.bound = self.bound.filter(|b| b != child);
            self.commands.pop_front();
        }
    }

    /// Does what stands first; whose SA it was.
    pub fn apply(&mut self) -> Option<ChildId> {
        let child = match self.commands.pop_front()? {
            Command::Install { child, inbound, outbound, bind } => {
                self.sas.push(Installed { child, inbound, outbound });
                if bind {
                    self.bound = Some(child);
                }
                child
            }
            Command::Bind(child) => {
                assert!(self.sas.iter().any(|s| s.child == child), "bound to an SA that is not installed");
                self.bound = Some(child);
                child
            }
            Command::Remove(child) => unreachable!("{child:?} was removed at once"),
        };
        self.remove();
        Some(child)
    }

    pub fn carrying(&self) -> Option<&Installed> {
        self.sas.iter().find(|s| Some(s.child) == self.bound)
    }
}
