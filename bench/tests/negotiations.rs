//! A thousand calls at once to one head-end: every one of them comes up. Time stands still while anything is under way, so a
//! slow machine changes nothing; the jobs run in the real pool.

#[path = "../../controlplane/session/tests/support/carrier.rs"]
mod carrier;
#[path = "../benches/negotiations/node.rs"]
mod node;

use carrier::Carrier;
use node::{BRANCHES, CARRIER, HEADEND, Node, Sent, Setup, side_of};
use sipsec_net::{Instant, MediaPort};
use sipsec_session::Input;
use std::collections::VecDeque;
use std::time::Duration;

const COUNT: u32 = 1000;
/// Up before the others call, and rekeyed while they do.
const BEFORE: u32 = 20;

struct World {
    now: Instant,
    nodes: [Node; 2],
    carrier: Carrier,
    wires: VecDeque<(usize, Input)>,
}

impl World {
    fn send(&mut self, sent: Vec<Sent>) {
        for s in sent {
            match s {
                Sent::Sip { from, bytes } => {
                    for (to, bytes) in self.carrier.datagram(from, &bytes) {
                        let from = CARRIER.parse().expect("an address");
                        let input = Input::Sip {
                            carrier: sipsec_session::CarrierId::default(),
                            flow: sipsec_sip::Flow::udp(to, from),
                            bytes,
                        };
                        self.wires.push_back((side_of(to.ip()), input));
                    }
                }
                Sent::Ike { to, from, bytes } => {
                    let input = Input::IkeDatagram { media_port: MediaPort(to.port()), from, bytes };
                    self.wires.push_back((side_of(to.ip()), input));
                }
            }
        }
    }

    fn turn(&mut self, side: usize) {
        let mut sent = Vec::new();
        self.nodes[side].turn(self.now, |s| sent.push(s));
        self.send(sent);
    }

    /// Everything that is under way, computing included.
    async fn settle(&mut self) {
        loop {
            for side in [HEADEND, BRANCHES] {
                self.turn(side);
            }
            if let Some((to, input)) = self.wires.pop_front() {
                self.nodes[to].core.handle_input(self.now, input);
                continue;
            }
            let Some(side) = [HEADEND, BRANCHES].into_iter().find(|s| self.nodes[*s].compute.is_busy())
            else {
                return;
            };
            let input = self.nodes[side].compute.next().await;
            self.nodes[side].core.handle_input(self.now, input);
        }
    }

    async fn run(&mut self, span: Duration) {
        let end = self.now + span;
        self.settle().await;
        while let Some(at) =
            self.nodes.iter().filter_map(|n| n.core.poll_timeout()).min().filter(|at| *at <= end)
        {
            self.now = self.now.max(at);
            for side in [HEADEND, BRANCHES] {
                self.nodes[side].core.handle_timeout(self.now);
            }
            self.settle().await;
        }
        self.now = end;
    }
}

#[tokio::test]
async fn a_thousand_calls_at_once_all_come_up_and_established_sessions_go_on() {
    let setup = Setup { tunnels: COUNT + BEFORE, proposal: None };
    let mut world = World {
        now: Instant::ZERO + Duration::from_secs(1),
        nodes: [HEADEND, BRANCHES].map(|side| Node::new(side, &setup)),
        carrier: Carrier::default(),
        wires: VecDeque::new(),
    };
    world.settle().await;
    assert!(world.nodes.iter().all(|n| n.configured));
    // Each branch has a line of its own, and REGISTERs are paced: 1,020 at 100 a second.
    world.run(Duration::from_secs(12)).await;
    (0..BEFORE).for_each(|i| world.nodes[BRANCHES].trigger(i));
    world.run(Duration::from_secs(2)).await;
    assert_eq!(world.nodes.each_ref().map(|n| n.up), [BEFORE; 2]);

    (BEFORE..BEFORE + COUNT).for_each(|i| world.nodes[BRANCHES].trigger(i));
    (0..BEFORE).for_each(|i| world.nodes[BRANCHES].spend(i));
    world.run(Duration::from_secs(2)).await;
    for node in &world.nodes {
        assert_eq!(node.failures, Vec::<String>::new());
        assert_eq!(node.up, COUNT + BEFORE);
        assert!(node.rekeyed >= BEFORE, "{} of {BEFORE} rekeyed", node.rekeyed);
    }
    assert_eq!(world.carrier.billed.len(), (COUNT + BEFORE) as usize);
}
