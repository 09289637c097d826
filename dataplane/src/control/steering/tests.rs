use super::*;
use sipsec_net::dp::{Adjacency, MediaBinding, OPS_MAX, OuterDscp};
use sipsec_net::{Kbps, MacAddr};

/// Keeps what it is told; refuses one media port or prefix.
#[derive(Default)]
pub(crate) struct Recorder {
    calls: Vec<String>,
    refuse: Option<&'static str>,
}

impl Recorder {
    pub(crate) fn refusing(what: &'static str) -> Self {
        Self { refuse: Some(what), ..Self::default() }
    }

    fn call(&mut self, what: String) -> Result<(), SteerError> {
        if self.refuse.is_some_and(|refuse| what.starts_with(refuse)) {
            return Err(SteeringError::Full { map: "MAP" }.into());
        }
        self.calls.push(what);
        Ok(())
    }
}

impl Steer for Recorder {
    fn media_open(&mut self, media: Media) -> Result<(), SteerError> {
        self.call(format!("open {} {}", media.local.port(), media.tunnel.0))
    }
    fn media_close(&mut self, port: MediaPort) -> Result<(), SteerError> {
        self.call(format!("close {}", port.0))
    }
    fn prefix_add(
        &mut self,
        prefix: IpPrefix,
        tunnel: TunnelId,
        adjacency: Adjacency,
    ) -> Result<(), SteerError> {
        match adjacency {
            Adjacency::Tunnel => self.call(format!("add {prefix} {}", tunnel.0)),
            Adjacency::Outside | Adjacency::Discard => self.call(format!("pass {prefix} {}", tunnel.0)),
        }
    }
    fn prefix_remove(&mut self, prefix: IpPrefix) -> Result<(), SteerError> {
        self.call(format!("remove {prefix}"))
    }
    fn local(&mut self, _: &[IpPrefix]) {}
    fn counters(&self) -> Vec<u64> {
        Vec::new()
    }
}

pub(crate) fn media(port: u16, tunnel: u32) -> Op {
    Op::MediaOpen(MediaBinding {
        tunnel: TunnelId(tunnel),
        inside_local: "127.0.0.1:4500".parse().expect("valid"),
        outside_local: SocketAddr::new("192.0.2.1".parse().expect("valid"), port),
        remote: "192.0.2.2:6000".parse().expect("valid"),
        rate: Kbps(1000),
        next_hop: MacAddr::default(),
        outer_dscp: OuterDscp::Fixed(0),
    })
}

pub(crate) fn route(prefix: &str, tunnel: u32) -> Op {
    Op::RouteAdd {
        prefix: prefix.parse().expect("valid"),
        tunnel: TunnelId(tunnel),
        adjacency: Adjacency::Tunnel,
    }
}

fn run(steered: &mut Steered, kernel: &mut Recorder, ops: &[Op]) -> Vec<String> {
    run_part(steered, kernel, ops, false)
}

fn run_part(steered: &mut Steered, kernel: &mut Recorder, ops: &[Op], more: bool) -> Vec<String> {
    let plan = steered.plan(&SteerOp::of(ops), more);
    steered.change(plan, kernel).expect("nothing refused");
    std::mem::take(&mut kernel.calls)
}

fn sorted(mut calls: Vec<String>) -> Vec<String> {
    calls.sort();
    calls
}

#[test]
fn what_a_transaction_comes_to_is_told_once() {
    let (mut s, mut k) = (Steered::default(), Recorder::default());
    let ops = [media(5000, 1), media(5001, 2), route("10.2.0.0/16", 1)];
    assert_eq!(run(&mut s, &mut k, &ops), ["open 5000 1", "open 5001 2", "add 10.2.0.0/16 1"]);
    // Closed and opened anew in one transaction for another tunnel; opened and closed in one is nothing at all.
    let ops =
        [Op::MediaClose(MediaPort(5000)), media(5000, 2), media(5009, 2), Op::MediaClose(MediaPort(5009))];
    assert_eq!(run(&mut s, &mut k, &ops), ["close 5000", "open 5000 2"]);
    // A prefix that is exchanged for another always has an owner.
    let ops = [Op::RouteRemove { prefix: "10.2.0.0/16".parse().expect("valid") }, route("10.0.0.0/8", 1)];
    assert_eq!(run(&mut s, &mut k, &ops), ["add 10.0.0.0/8 1", "remove 10.2.0.0/16"]);
    // A tunnel takes its ports and prefixes with it, planned ones too.
    let ops = [media(5002, 2), Op::TunnelRemove(TunnelId(2))];
    assert_eq!(sorted(run(&mut s, &mut k, &ops)), ["close 5000", "close 5001"]);
    assert_eq!(run(&mut s, &mut k, &[Op::TunnelRemove(TunnelId(1))]), ["remove 10.0.0.0/8"]);
    assert!(s.media.is_empty() && s.prefixes.is_empty());
}

#[test]
fn what_the_kernel_refuses_leaves_everything_as_it_was() {
    let (mut s, mut k) = (Steered::default(), Recorder::default());
    run(&mut s, &mut k, &[media(5000, 1), route("10.1.0.0/16", 1), route("10.2.0.0/16", 1)]);
    let before = format!("{:?}{:?}", s.media, s.prefixes);
    k.refuse = Some("add 10.4");
    let ops = [
        Op::MediaClose(MediaPort(5000)),
        media(5001, 2),
        route("10.1.0.0/16", 2),
        route("10.3.0.0/16", 2),
        route("10.4.0.0/16", 2),
        Op::RouteRemove { prefix: "10.2.0.0/16".parse().expect("valid") },
    ];
    assert_eq!(s.change(s.plan(&SteerOp::of(&ops), false), &mut k), Err(4));
    let there = ["close 5000", "open 5001 2", "add 10.1.0.0/16 2", "add 10.3.0.0/16 2"];
    let back = ["remove 10.3.0.0/16", "add 10.1.0.0/16 1", "close 5001", "open 5000 1"];
    assert_eq!(k.calls, [there, back].concat());
    assert_eq!(format!("{:?}{:?}", s.media, s.prefixes), before);
}

/// A control plane that starts anew takes a tunnel away and puts it back.
#[test]
fn a_tunnel_that_is_put_back_is_never_nobodys() {
    let (mut s, mut k) = (Steered::default(), Recorder::default());
    let prefix = |i: usize| format!("10.{}.{}.0/24", i / 256, i % 256);
    let add = |i: usize| route(&prefix(i), 1);
    for at in [0, 40, 80] {
        run(&mut s, &mut k, &(at..at + 40).map(add).collect::<Vec<_>>());
    }
    // In one transaction: only what is not put back goes.
    run(&mut s, &mut k, &[route("10.9.0.0/16", 2), route("10.8.0.0/16", 2)]);
    let ops = [Op::TunnelRemove(TunnelId(2)), route("10.8.0.0/16", 2)];
    assert_eq!(run(&mut s, &mut k, &ops), ["remove 10.9.0.0/16"]);
    // In several, of any length: what has not come back by the last goes.
    let again: Vec<Op> = [Op::TunnelRemove(TunnelId(1))].into_iter().chain((0..110).map(add)).collect();
    for part in [&again[..1], &again[1..2], &again[2..40], &again[40..104]] {
        assert_eq!(run_part(&mut s, &mut k, part, true), Vec::<String>::new());
    }
    let gone: Vec<String> = (110..120).map(|i| format!("remove {}", prefix(i))).collect();
    assert_eq!(sorted(run(&mut s, &mut k, &again[104..])), sorted(gone));
    assert_eq!(s.prefixes.len(), 111);
}

/// A transaction's length says nothing: only the flag does.
#[test]
fn a_full_transaction_that_is_the_last_keeps_nothing() {
    let (mut s, mut k) = (Steered::default(), Recorder::default());
    run(&mut s, &mut k, &[route("10.1.0.0/16", 1), route("10.2.0.0/16", 1)]);
    let mut ops = vec![Op::TunnelRemove(TunnelId(1))];
    ops.extend((1..OPS_MAX).map(|i| route(&format!("10.9.{i}.0/24"), 1)));
    let calls = run(&mut s, &mut k, &ops);
    let removed: Vec<_> = calls.into_iter().filter(|c| c.starts_with("remove")).collect();
    assert_eq!(sorted(removed), ["remove 10.1.0.0/16", "remove 10.2.0.0/16"]);
}

/// A route that goes to another tunnel in a later transaction is steered in between.
#[test]
fn a_prefix_that_changes_its_tunnel_in_two_transactions_stays_steered() {
    let (mut s, mut k) = (Steered::default(), Recorder::default());
    run(&mut s, &mut k, &[route("10.1.0.0/16", 1), route("10.2.0.0/16", 1)]);
    let away = [
        Op::RouteRemove { prefix: "10.1.0.0/16".parse().expect("valid") },
        Op::RouteRemove { prefix: "10.2.0.0/16".parse().expect("valid") },
    ];
    assert_eq!(run_part(&mut s, &mut k, &away, true), Vec::<String>::new());
    assert_eq!(run(&mut s, &mut k, &[route("10.1.0.0/16", 2)]), ["add 10.1.0.0/16 2", "remove 10.2.0.0/16"]);
}

#[test]
fn a_prefix_changes_between_tunnel_and_kernel_in_one_step_and_back_if_it_is_refused() {
    let with = |adjacency| Op::RouteAdd {
        prefix: "10.2.0.0/16".parse().expect("valid"),
        tunnel: TunnelId(1),
        adjacency,
    };
    let mut steered = Steered::default();
    let mut kernel = Recorder::refusing("open 7");
    let mut run = |ops: &[Op]| {
        let plan = steered.plan(&SteerOp::of(ops), false);
        let result = steered.change(plan, &mut kernel);
        (result, std::mem::take(&mut kernel.calls))
    };
    assert_eq!(run(&[with(Adjacency::Outside)]), (Ok(()), vec!["pass 10.2.0.0/16 1".to_owned()]));
    assert_eq!(run(&[with(Adjacency::Outside)]), (Ok(()), vec![]), "it is so already");
    assert_eq!(run(&[with(Adjacency::Tunnel)]), (Ok(()), vec!["add 10.2.0.0/16 1".to_owned()]));
    let there_and_back = run(&[with(Adjacency::Discard), route("10.3.0.0/16", 1), media(7, 1)]);
    assert_eq!(there_and_back, (Err(2), vec![]), "calls come before prefixes");
    assert_eq!(run(&[with(Adjacency::Tunnel)]), (Ok(()), vec![]), "nothing has changed");
}
