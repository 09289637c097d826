use super::*;
use sipsec_abi::{ControlSide, Listener, Punt};
use sipsec_net::dp::{Adjacency, Event, ExpireCause, Op, RejectReason, TunnelSpec};
use sipsec_net::{MediaPort, SaId, TunnelId, TxnId};
use sipsec_pipeline::{Limits, PuntRefused};

/// Far more than the ring of events holds.
const TUNNELS: u32 = 10_000;

fn uplink() -> Uplink {
    Uplink::new(&Limits::for_tunnels(TUNNELS, 0))
}

/// A pipeline that knows tunnels alone.
struct Tunnels {
    live: Vec<TunnelId>,
    applied: usize,
    ike: Vec<(MediaPort, Vec<u8>)>,
    up: Uplink,
}

impl Default for Tunnels {
    fn default() -> Self {
        Self { live: Vec::new(), applied: 0, ike: Vec::new(), up: uplink() }
    }
}

impl Target for Tunnels {
    type Validated = Vec<TunnelId>;

    fn validate(&self, ops: &[Op]) -> Result<Vec<TunnelId>, (u16, RejectReason)> {
        let mut live = self.live.clone();
        for (op, i) in ops.iter().zip(0..) {
            match op {
                Op::TunnelAdd(t) if live.contains(&t.tunnel) => {
                    return Err((i, RejectReason::DuplicateTunnel));
                }
                Op::TunnelAdd(t) => live.push(t.tunnel),
                _ => return Err((i, RejectReason::UnknownTunnel)),
            }
        }
        Ok(live)
    }
    fn begin(&mut self, _: Vec<Op>, _: bool, live: Vec<TunnelId>) -> Result<(), (u16, RejectReason)> {
        self.applied += 1;
        self.live = live;
        Ok(())
    }
    fn snapshot(&mut self) {
        for &tunnel in &self.live {
            self.up.report(Event::SnapshotTunnel { tunnel, outbound: None });
        }
        self.up.report(Event::SnapshotEnd);
    }
    fn send_ike(&mut self, punt: Punt<'_>) {
        self.ike.push((punt.media_port, punt.message.to_vec()));
    }
    fn has_room_for_answer(&self) -> bool {
        self.up.has_room_for_answer()
    }
    fn has_room_for_ike(&self) -> bool {
        true
    }
    fn report(&mut self, event: Event) {
        self.up.report(event);
    }
}

fn add(tunnel: u32) -> Op {
    Op::TunnelAdd(TunnelSpec::new(TunnelId(tunnel), 1400))
}

/// A worker that applies at once.
fn turn(down: &mut Downlink<Vec<TunnelId>>, tunnels: &mut Tunnels) -> usize {
    let mut work = down.turn(tunnels);
    while let Some(answer) = down.applied_answer() {
        tunnels.up.report(answer);
        work += down.turn(tunnels);
    }
    work
}

/// Both ends of a connection, over a real socket in a temporary directory.
pub(crate) fn connect(name: &str) -> (Listener, ControlSide, Link, Connection) {
    let path = std::env::temp_dir().join(format!("sipsec-peer-{name}-{}", std::process::id()));
    let mut listener = Listener::bind(&path, "test", &[]).expect("bind");
    let client = std::thread::spawn(move || ControlSide::connect(&path, "test"));
    let side = loop {
        let mut fds = [rustix::event::PollFd::new(&listener, rustix::event::PollFlags::IN)];
        rustix::event::poll(&mut fds, None).expect("poll");
        if let Some(side) = listener.accept(false).expect("welcome") {
            break side;
        }
    };
    let (link, connection) = Link::new(side, 0);
    (listener, client.join().expect("no panic").expect("connected"), link, connection)
}

#[test]
fn a_transaction_is_applied_once_and_answered_as_often_as_it_comes() {
    let (_listener, mut control, link, _connection) = connect("once");
    let (mut down, mut tunnels) = (Downlink::default(), Tunnels::default());
    link.attach(&mut tunnels.up, &mut down);
    let turn = |down: &mut Downlink<Vec<TunnelId>>, tunnels: &mut Tunnels| {
        while turn(down, tunnels) + tunnels.up.flush() > 0 {}
    };
    control.push(TxnId(1), &[add(1), add(2)]).expect("room");
    control.push(TxnId(2), &[add(3), add(1)]).expect("room");
    control.push(TxnId(1), &[add(1), add(2)]).expect("room");
    control.push(TxnId(2), &[add(3)]).expect("room");
    control.request_snapshot().expect("room");
    turn(&mut down, &mut tunnels);
    let refused = Event::Rejected { txn: TxnId(2), op: 1, reason: RejectReason::DuplicateTunnel };
    let live = |t| Event::SnapshotTunnel { tunnel: TunnelId(t), outbound: None };
    let events: Vec<_> = std::iter::from_fn(|| control.pop().expect("sane")).collect();
    assert_eq!(
        events,
        [
            Event::Applied(TxnId(1)),
            refused.clone(),
            Event::Applied(TxnId(1)),
            refused,
            live(1),
            live(2),
            Event::SnapshotEnd
        ]
    );
    assert_eq!((tunnels.applied, tunnels.live.len()), (1, 2));
    assert_eq!((down.counts().applied, down.counts().rejected, down.counts().repeated), (1, 1, 2));
    assert!(down.prepare_sleep(true));

    let to = "192.0.2.1:5000".parse().expect("valid");
    control.send_ike(MediaPort(5), to, &[1, 2, 3]).expect("room");
    assert!(!down.prepare_sleep(true), "there is something to do");
    turn(&mut down, &mut tunnels);
    assert_eq!(tunnels.ike, [(MediaPort(5), vec![1, 2, 3])]);
}

#[test]
fn a_snapshot_larger_than_the_ring_arrives_whole_and_in_order() {
    let (_listener, mut control, link, _connection) = connect("large");
    let (mut down, mut tunnels) = (Downlink::default(), Tunnels::default());
    tunnels.live = (0..TUNNELS).map(TunnelId).collect();
    link.attach(&mut tunnels.up, &mut down);
    control.request_snapshot().expect("room");
    let mut seen = 0;
    loop {
        turn(&mut down, &mut tunnels);
        tunnels.up.flush();
        match control.pop().expect("sane") {
            Some(Event::SnapshotTunnel { tunnel, .. }) => {
                assert_eq!(tunnel, TunnelId(seen));
                seen += 1;
            }
            other => {
                assert_eq!(other, Some(Event::SnapshotEnd));
                break;
            }
        }
    }
    assert_eq!((seen, tunnels.up.counts().events_lost), (TUNNELS, 0));
}

#[test]
fn answers_are_not_lost_whatever_else_is_reported() {
    let (_listener, mut control, link, _connection) = connect("full");
    let (mut down, mut tunnels) = (Downlink::default(), Tunnels::default());
    tunnels.live = (0..TUNNELS).map(TunnelId).collect();
    link.attach(&mut tunnels.up, &mut down);
    let flood = |up: &mut Uplink, event: Event| {
        let lost = up.counts().events_lost;
        while up.counts().events_lost == lost {
            up.report(event.clone());
        }
        up.backlog()
    };
    let from = "192.0.2.66:666".parse().expect("valid");
    let strangers = flood(&mut tunnels.up, Event::WrongSource { media_port: MediaPort(5), from });
    let expire = Event::SaExpire { sa: SaId(1), cause: ExpireCause::Bytes, hard: true };
    let all = flood(&mut tunnels.up, expire);
    assert!(strangers < all, "strangers leave room for what matters");
    // Two snapshots and a transaction find room for the first of them; the others wait until there is some.
    control.request_snapshot().expect("room");
    control.push(TxnId(1), &[add(TUNNELS)]).expect("room");
    control.request_snapshot().expect("room");
    let lost = tunnels.up.counts().events_lost;
    turn(&mut down, &mut tunnels);
    assert_eq!((tunnels.up.backlog(), tunnels.applied), (all + TUNNELS as usize + 1, 0));
    assert!(down.prepare_sleep(tunnels.up.has_room_for_answer()), "until the control plane takes something");
    let (mut ends, mut applied, mut live) = (0, 0, 0);
    while ends < 2 {
        tunnels.up.flush();
        while let Some(event) = control.pop().expect("sane") {
            ends += u32::from(event == Event::SnapshotEnd);
            applied += u32::from(event == Event::Applied(TxnId(1)));
            live += u32::from(matches!(event, Event::SnapshotTunnel { .. }));
        }
        turn(&mut down, &mut tunnels);
    }
    assert_eq!((applied, live), (1, 2 * TUNNELS + 1));
    assert_eq!(tunnels.up.counts().events_lost, lost);
}

#[test]
fn without_a_control_plane_nothing_piles_up() {
    let mut up = uplink();
    for _ in 0..10 {
        up.report(Event::SnapshotEnd);
    }
    assert_eq!((up.backlog(), up.flush()), (0, 0));
    let from = "192.0.2.1:5000".parse().expect("valid");
    assert_eq!(up.ike(MediaPort(5), from, &[0; 28]), Err(PuntRefused::Full));
    let mut down: Downlink<()> = Downlink::default();
    assert!(down.prepare_sleep(true));
}

/// A target that accepts everything but what it is told to refuse, and counts.
#[derive(Default)]
struct Accepts {
    begun: Vec<(usize, bool)>,
    refuses: Option<(u16, RejectReason)>,
    sent: usize,
    is_full: bool,
    events: Vec<Event>,
}

impl Target for Accepts {
    type Validated = ();

    fn validate(&self, _: &[Op]) -> Result<(), (u16, RejectReason)> {
        Ok(())
    }
    fn begin(&mut self, ops: Vec<Op>, more: bool, (): ()) -> Result<(), (u16, RejectReason)> {
        if let Some(refused) = self.refuses {
            return Err(refused);
        }
        self.begun.push((ops.len(), more));
        Ok(())
    }
    fn snapshot(&mut self) {
        self.events.push(Event::SnapshotEnd);
    }
    fn send_ike(&mut self, _: Punt<'_>) {
        self.sent += 1;
    }
    fn has_room_for_answer(&self) -> bool {
        true
    }
    fn has_room_for_ike(&self) -> bool {
        !self.is_full
    }
    fn report(&mut self, event: Event) {
        self.events.push(event);
    }
}

#[test]
fn a_transaction_is_answered_when_the_worker_has_applied_it_and_ike_does_not_wait() {
    let (_listener, mut control, link, _connection) = connect("later");
    let (mut up, mut down, mut target) = (uplink(), Downlink::default(), Accepts::default());
    link.attach(&mut up, &mut down);
    let route = Op::RouteAdd {
        prefix: "10.2.0.0/16".parse().expect("valid"),
        tunnel: TunnelId(1),
        adjacency: Adjacency::Tunnel,
    };
    control.push(TxnId(1), &[add(1), route.clone()]).expect("room");
    control.push_part(TxnId(2), &[add(2)], true).expect("room");
    let to = "192.0.2.1:5000".parse().expect("valid");
    control.send_ike(MediaPort(5), to, &[1, 2, 3]).expect("room");
    for _ in 0..3 {
        down.turn(&mut target);
    }
    // IKE goes on; the second transaction waits for its turn.
    assert_eq!((&target.begun[..], target.sent, target.events.len()), (&[(2, false)][..], 1, 0));
    assert!(down.prepare_sleep(true), "the worker ends the sleep");
    down.woke();
    assert_eq!(down.applied_answer(), Some(Event::Applied(TxnId(1))));
    down.turn(&mut target);
    assert_eq!(target.begun, [(2, false), (1, true)]);
    assert_eq!(down.applied_answer(), Some(Event::Applied(TxnId(2))));
    assert_eq!(down.applied_answer(), None, "once");

    // A refusal names the operation, and nothing is on its way.
    target.refuses = Some((1, RejectReason::TableFull));
    control.push(TxnId(3), &[route]).expect("room");
    down.turn(&mut target);
    let refused = Event::Rejected { txn: TxnId(3), op: 1, reason: RejectReason::TableFull };
    assert_eq!((target.events.last(), down.applied_answer()), (Some(&refused), None));

    // Messages that the worker has no room for stay in their ring.
    target.is_full = true;
    control.send_ike(MediaPort(5), to, &[4]).expect("room");
    down.turn(&mut target);
    assert_eq!(target.sent, 1);
    target.is_full = false;
    down.turn(&mut target);
    assert_eq!(target.sent, 2);
}

#[test]
fn a_connection_that_ends_in_between_gets_no_answer_and_leaves_no_half() {
    let (_listener, mut control, link, _connection) = connect("orphan");
    let (mut up, mut down, mut target) = (uplink(), Downlink::default(), Accepts::default());
    link.attach(&mut up, &mut down);
    control.push(TxnId(1), &[add(1)]).expect("room");
    down.turn(&mut target);
    detach(&mut up, &mut down);
    let (_listener, mut next, link, _connection) = connect("orphan-next");
    link.attach(&mut up, &mut down);
    next.push(TxnId(1), &[add(1), add(2)]).expect("room");
    down.turn(&mut target);
    assert_eq!(target.begun, [(1, false)], "one at a time");
    assert_eq!(down.applied_answer(), None, "of the connection that has ended");
    down.turn(&mut target);
    assert_eq!(target.begun, [(1, false), (2, false)]);
    assert_eq!(down.applied_answer(), Some(Event::Applied(TxnId(1))), "of the new connection's own");
}
