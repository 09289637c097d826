//! A thousand calls at once to one head-end, IKE and all, while sessions that are up go on rekeying: how long it takes, and
//! how long those sessions wait for an answer.
//!
//! ```sh
//! cargo bench -p sipsec-bench --bench negotiations -- --count 1000 --established 50
//! ```
//! Two threads, one for the head-end and one for all branches, each with a pool of its own; network, carrier, dataplanes and
//! journals cost next to nothing. The branches compute as much as the head-end does, on the same processors.

#[path = "../../../controlplane/session/tests/support/carrier.rs"]
mod carrier;
mod node;

use carrier::Carrier;
use clap::Parser;
use hdrhistogram::Histogram;
use node::{BRANCHES, CARRIER, HEADEND, Node, Sent, Setup, side_of};
use sipsec_bench::lab::clock;
use sipsec_net::{Instant, MediaPort};
use sipsec_session::Input;
use std::collections::HashMap;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

/// One established session asks for a rekey so often.
const REKEY_EVERY: Duration = Duration::from_millis(10);
const TICK: Duration = Duration::from_millis(1);

#[derive(Parser)]
struct Args {
    /// Calls at once.
    #[arg(long, default_value_t = 1000)]
    count: u32,
    /// Sessions that are up before.
    #[arg(long, default_value_t = 50)]
    established: u32,
    /// IKE proposal instead of the defaults, as in the profile.
    #[arg(long)]
    proposal: Option<String>,
    /// From cargo.
    #[arg(long, hide = true)]
    bench: bool,
}

struct Arrival {
    at: Instant,
    input: Input,
}

/// What the threads share.
struct Network {
    carrier: Mutex<Carrier>,
    inboxes: [UnboundedSender<Arrival>; 2],
    stage: AtomicU32,
    up: AtomicU32,
}

const CONNECT: u32 = 0;
const STORM: u32 = 1;
const STOP: u32 = 2;

impl Network {
    fn send(&self, sent: Sent) {
        let at = clock::now();
        match sent {
            Sent::Sip { from, bytes } => {
                let forwarded = self.carrier.lock().expect("not poisoned").datagram(from, &bytes);
                for (to, bytes) in forwarded {
                    let from = CARRIER.parse().expect("an address");
                    let input = Input::Sip {
                        carrier: sipsec_session::CarrierId::default(),
                        flow: sipsec_sip::Flow::udp(to, from),
                        bytes,
                    };
                    self.deliver(side_of(to.ip()), Arrival { at, input });
                }
            }
            Sent::Ike { to, from, bytes } => {
                let input = Input::IkeDatagram { media_port: MediaPort(to.port()), from, bytes };
                self.deliver(side_of(to.ip()), Arrival { at, input });
            }
        }
    }

    fn deliver(&self, side: usize, arrival: Arrival) {
        // A node that has stopped hears nothing.
        let _ = self.inboxes[side].send(arrival);
    }
}

/// Waits of the established sessions, in microseconds.
struct Waits {
    heard: Histogram<u64>,
    answered: Histogram<u64>,
    /// Ports of the sessions that were up before the storm, with what they wait for.
    ports: HashMap<u16, Option<Instant>>,
}

fn micros(since: Instant) -> u64 {
    u64::try_from(clock::now().saturating_duration_since(since).as_micros()).unwrap_or(u64::MAX).max(1)
}

struct Outcome {
    node: Node,
    waits: Waits,
}

async fn serve(
    mut node: Node,
    mut inbox: UnboundedReceiver<Arrival>,
    net: Arc<Network>,
    args: Arc<Args>,
) -> Outcome {
    let histogram = || Histogram::new(3).expect("three digits are allowed");
    let mut waits = Waits { heard: histogram(), answered: histogram(), ports: HashMap::new() };
    let mut tick = tokio::time::interval(TICK);
    let (mut stage, mut next_rekey, mut rekeyed) = (CONNECT, clock::now(), 0);
    let mut called = node.side == HEADEND;
    loop {
        let side = node.side;
        let mut sent = Vec::new();
        node.turn(clock::now(), |s| sent.push(s));
        for s in sent {
            if let Sent::Ike { from, .. } = &s
                && side == HEADEND
                && let Some(since) = waits.ports.get_mut(&from.port()).and_then(Option::take)
            {
                waits.answered.record(micros(since)).expect("in range");
            }
            net.send(s);
        }
        if !called && node.configured {
            called = true;
            (0..args.established).for_each(|i| node.trigger(i));
        }
        let now_stage = net.stage.load(Ordering::Acquire);
        if now_stage != stage {
            stage = now_stage;
            match (stage, side) {
                (STOP, _) => return Outcome { node, waits },
                (_, BRANCHES) => {
                    (args.established..args.established + args.count).for_each(|i| node.trigger(i))
                }
                _ => {}
            }
        }
        if side == BRANCHES && stage == STORM && args.established > 0 && clock::now() >= next_rekey {
            next_rekey = clock::now() + REKEY_EVERY;
            node.spend(rekeyed % args.established);
            rekeyed += 1;
        }
        let room = node.compute.has_room();
        tokio::select! {
            Some(Arrival { at, input }) = inbox.recv(), if room => {
                let port = match &input {
                    Input::IkeDatagram { media_port, .. } => Some(media_port.0),
                    _ => None,
                };
                // Until the storm every port is one of theirs.
                if let Some(port) = port.filter(|_| side == HEADEND && stage == CONNECT) {
                    waits.ports.insert(port, None);
                }
                node.core.handle_input(clock::now(), input);
                if stage == STORM && let Some(since) = port.and_then(|p| waits.ports.get_mut(&p)) {
                    waits.heard.record(micros(at)).expect("in range");
                    *since = Some(at);
                }
            }
            input = node.compute.next() => node.core.handle_input(clock::now(), input),
            _ = tick.tick() => {
                if room && node.core.poll_timeout().is_some_and(|at| at <= clock::now()) {
                    node.core.handle_timeout(clock::now());
                }
            }
        }
        if side == HEADEND {
            net.up.store(node.up, Ordering::Release);
        }
    }
}

fn wait_for(net: &Network, up: u32) -> Duration {
    let start = clock::now();
    while net.up.load(Ordering::Acquire) < up {
        std::thread::sleep(TICK);
    }
    clock::now().saturating_duration_since(start)
}

fn show(name: &str, h: &Histogram<u64>) {
    let ms = |v: u64| v as f64 / 1000.0;
    println!(
        "{name:<42} n {:>6}   p50 {:>8.2} ms   p99 {:>8.2} ms   max {:>8.2} ms",
        h.len(),
        ms(h.value_at_quantile(0.5)),
        ms(h.value_at_quantile(0.99)),
        ms(h.max())
    );
}

fn main() {
    let args = Arc::new(Args::parse());
    let proposal = args.proposal.as_ref().map(|p| p.parse().expect("an IKE proposal as in the profile"));
    let setup = Setup { tunnels: args.established + args.count, proposal };
    let (to_headend, of_headend) = unbounded_channel();
    let (to_branches, of_branches) = unbounded_channel();
    let net = Arc::new(Network {
        carrier: Mutex::new(Carrier::default()),
        inboxes: [to_headend, to_branches],
        stage: AtomicU32::new(CONNECT),
        up: AtomicU32::new(0),
    });
    let spawn = |side, inbox| {
        let (setup, net, args) = (setup.clone(), Arc::clone(&net), Arc::clone(&args));
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build();
            runtime.expect("a runtime").block_on(serve(Node::new(side, &setup), inbox, net, args))
        })
    };
    let headend = spawn(HEADEND, of_headend);
    let branches = spawn(BRANCHES, of_branches);
    wait_for(&net, args.established);
    net.stage.store(STORM, Ordering::Release);
    let took = wait_for(&net, args.established + args.count);
    net.stage.store(STOP, Ordering::Release);
    let headend = headend.join().expect("the head-end has not panicked");
    let branches = branches.join().expect("the branches have not panicked");

    println!(
        "{} negotiations in {:.2} s: {:.0} per second; jobs waiting at most {}; failures {}",
        args.count,
        took.as_secs_f64(),
        f64::from(args.count) / took.as_secs_f64(),
        headend.node.compute.counters.waiting_max,
        headend.node.failures.len() + branches.node.failures.len(),
    );
    for f in headend.node.failures.iter().chain(&branches.node.failures).take(5) {
        println!("  {f}");
    }
    println!("{} established sessions, {} rekeys meanwhile:", args.established, headend.node.rekeyed);
    show("  their input waited for the head-end", &headend.waits.heard);
    show("  until it was answered, computing included", &headend.waits.answered);
}
