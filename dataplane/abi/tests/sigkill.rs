//! A control plane is killed at random points, many times: the dataplane only ever sees whole transactions, valid messages
//! and, after each death, an empty ring.
//!
//! The test starts copies of itself (no harness): a copy connects and pushes as fast as it can until it is killed.

use sipsec_abi::{Command, ControlSide, DataplaneSide, Listener, SendError};
use sipsec_net::dp::{
    Direction, EspCipher, Event, MediaBinding, OPS_MAX, Op, OuterDscp, SaSpec, Selectors, TunnelSpec,
};
use sipsec_net::{
    Entropy, Kbps, MacAddr, MediaPort, SaId, SecretBox, Spi, TunnelId, TxnId, entropy::TestEntropy,
};
use std::env;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::{Child, Command as Process, ExitCode, Stdio};

const CHILD: &str = "--push-until-killed";
/// Control planes killed.
const ROUNDS: u32 = 100;
/// A child is killed after at most so many of its transactions were taken, and then some.
const TRANSACTIONS_MAX: u32 = 300;
/// Transactions that a child has on the ring: one that waits for room is killed while it waits, not while it writes.
const UNANSWERED_MAX: u64 = 8;

fn main() -> ExitCode {
    let args: Vec<String> = env::args().collect();
    if let [_, flag, path, ..] = &args[..]
        && flag == CHILD
    {
        push_until_killed(Path::new(path));
        return ExitCode::SUCCESS;
    }
    if args.iter().any(|a| a == "--list") {
        println!("sigkill: test");
        return ExitCode::SUCCESS;
    }
    let totals = run();
    println!(
        "killed {ROUNDS} control planes: {} transactions whole ({} of them left behind), {} messages valid",
        totals.transactions, totals.left_behind, totals.messages
    );
    assert!(totals.transactions > ROUNDS as usize, "the children were given time to push");
    ExitCode::SUCCESS
}

#[derive(Default)]
struct Totals {
    transactions: usize,
    messages: usize,
    /// Transactions that were found in the ring after their child's death.
    left_behind: usize,
}

fn run() -> Totals {
    let dir = TempDir::new();
    let path = dir.0.join("dataplane.sock");
    let mut listener = Listener::bind(&path, "sigkill", &[]).expect("bind");
    let mut random = TestEntropy::new(0x51_6b11);
    let mut totals = Totals::default();
    for round in 1..=ROUNDS {
        let mut child = Killed(
            Process::new(env::current_exe().expect("own path"))
                .args([CHILD.as_ref(), path.as_os_str()])
                .stdin(Stdio::null())
                .spawn()
                .expect("a copy of this test starts"),
        );
        let mut side = accept(&mut listener, &mut child.0);
        assert_eq!(side.epoch, u64::from(round));
        let mut taken = Taken::default();
        let kill_at = random.below(TRANSACTIONS_MAX) as usize;
        while taken.transactions.len() < kill_at {
            taken.drain(&mut side);
        }
        // Within the child's next few operations, too.
        for _ in 0..random.below(1_000) {
            std::hint::spin_loop();
        }
        child.0.kill().expect("kill");
        child.0.wait().expect("wait");
        assert!(!side.connection.is_open(), "the connection ends with the child");
        let before = taken.transactions.len();
        // What it had published is there to the last slot and makes sense; what it had not does not exist.
        while taken.drain(&mut side) {}
        taken.check();
        totals.left_behind += taken.transactions.len() - before;
        totals.transactions += taken.transactions.len();
        totals.messages += taken.messages.len();
        assert_eq!((side.commands.faults(), side.commands.discarded()), (0, 0));
        assert_eq!((side.punts_down.faults(), side.punts_down.malformed()), (0, 0));
    }
    totals
}

/// What a child sends in its `n`th transaction: told from the id alone, so that the parent knows it too.
fn transaction(txn: TxnId) -> Vec<Op> {
    let mut random = TestEntropy::new(txn.0);
    let count = random.below(OPS_MAX as u32 + 1);
    (0..count).map(|_| operation(&mut random)).collect()
}

fn operation(random: &mut TestEntropy) -> Op {
    let tunnel = TunnelId(random.u32());
    match random.below(4) {
        0 => Op::TunnelAdd(TunnelSpec {
            tunnel,
            inner_mtu: random.u32() as u16,
            mss_clamp: random.below(2) == 1,
            check_source: random.below(2) == 1,
            routing_hellos: random.below(2) == 1,
            own_device: random.below(2) == 1,
            trigger_packets_max: random.u32() as u16,
            trigger_bytes_max: random.u32(),
            trigger_age_ms_max: random.u32(),
        }),
        1 => Op::MediaOpen(MediaBinding {
            tunnel,
            inside_local: (Ipv4Addr::from(random.u32()), 4500).into(),
            outside_local: (Ipv4Addr::from(random.u32()), random.u32() as u16).into(),
            remote: (Ipv4Addr::from(random.u32()), random.u32() as u16).into(),
            rate: Kbps(random.u32()),
            next_hop: MacAddr([random.u32() as u8; 6]),
            outer_dscp: OuterDscp::Fixed(46),
        }),
        2 => Op::TunnelBind { tunnel, outbound: SaId(random.u32()) },
        _ => {
            let mut keymat = [0; 36];
            random.fill(&mut keymat);
            Op::SaAdd(SaSpec {
                sa: SaId(random.u32()),
                tunnel,
                direction: Direction::Out,
                spi: Spi::new(random.u32() | Spi::MIN).expect("not reserved"),
                media_port: MediaPort(random.u32() as u16),
                cipher: EspCipher::Aes256Gcm16,
                keymat: SecretBox::new(&keymat).expect("fits"),
                esn: false,
                replay_window: 1024,
                selectors: Selectors::ANY_V4,
                soft_bytes_max: random.u64(),
                hard_bytes_max: random.u64(),
            })
        }
    }
}

/// A child's `n`th message and its destination.
fn message(n: u64) -> (MediaPort, SocketAddr, Vec<u8>) {
    let mut random = TestEntropy::new(!n);
    let mut bytes = vec![0; random.below(sipsec_abi::PUNT_PAYLOAD_MAX as u32 + 1) as usize];
    random.fill(&mut bytes);
    (MediaPort(n as u16), (Ipv4Addr::from(random.u32()), n as u16).into(), bytes)
}

fn push_until_killed(path: &Path) {
    let mut side = ControlSide::connect(path, "child").expect("connect");
    let (mut txn, mut sent, mut answered) = (1, 1, 0);
    let mut ops = transaction(TxnId(txn));
    // Ends by itself only if the parent died first.
    while side.connection.is_open() {
        while let Some(event) = side.pop().expect("valid events") {
            answered += 1;
            assert_eq!(event, Event::Applied(TxnId(answered)));
        }
        if txn - answered <= UNANSWERED_MAX {
            match side.push(TxnId(txn), &ops) {
                Ok(()) => {
                    txn += 1;
                    ops = transaction(TxnId(txn));
                }
                Err(SendError::WouldBlock) => {}
                Err(error) => panic!("{error}"),
            }
        }
        let (port, remote, bytes) = message(sent);
        match side.send_ike(port, remote, &bytes) {
            Ok(()) => sent += 1,
            Err(SendError::WouldBlock) => {}
            Err(error) => panic!("{error}"),
        }
    }
}

/// What was taken from one child. Compared only when the child is dead: a dataplane that is slower than its control plane
/// would always find it waiting for room, and never kill it while it writes.
#[derive(Default)]
struct Taken {
    transactions: Vec<(Command, Vec<Op>)>,
    messages: Vec<(MediaPort, SocketAddr, Vec<u8>)>,
}

impl Taken {
    /// `false` if there was nothing.
    fn drain(&mut self, side: &mut DataplaneSide) -> bool {
        let mut any = false;
        let mut ops = Vec::with_capacity(OPS_MAX);
        if let Some(command) = side.pop(&mut ops).expect("whole transactions") {
            self.transactions.push((command, ops));
            // The other direction turns as well; a dead control plane takes nothing, and that is not our fault.
            match side.events.push(&Event::Applied(TxnId(self.transactions.len() as u64))) {
                Ok(()) | Err(SendError::WouldBlock) => {}
                Err(error) => panic!("{error}"),
            }
            any = true;
        }
        if let Some(punt) = side.punts_down.recv().expect("valid messages") {
            self.messages.push((punt.media_port, punt.remote, punt.message.to_vec()));
            any = true;
        }
        any
    }

    /// Each transaction and message once, in order, from the child's first on, and as it sent them.
    fn check(&self) {
        for (txn, (command, ops)) in (1..).map(TxnId).zip(&self.transactions) {
            assert_eq!(*command, Command::Transaction { txn, more: false });
            let expected = transaction(txn);
            assert_eq!(text(ops), text(&expected), "transaction {txn}");
            for (got, sent) in ops.iter().zip(&expected) {
                if let (Op::SaAdd(got), Op::SaAdd(sent)) = (got, sent) {
                    assert_eq!(got.keymat.expose(), sent.keymat.expose());
                }
            }
        }
        for (n, got) in (1..).zip(&self.messages) {
            assert!(*got == message(n), "message {n}");
        }
    }
}

/// Operations without their keys, which have no Debug output.
fn text(ops: &[Op]) -> String {
    format!("{ops:?}")
}

fn accept(listener: &mut Listener, child: &mut Child) -> DataplaneSide {
    loop {
        if let Some(side) = listener.accept(false).expect("handshake") {
            return side;
        }
        assert_eq!(child.try_wait().expect("wait"), None, "the child ended before it connected");
        std::thread::yield_now();
    }
}

/// A child that does not outlive the test, however that ends.
struct Killed(Child);

impl Drop for Killed {
    fn drop(&mut self) {
        // Already dead in the ordinary case.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

struct TempDir(PathBuf);

impl TempDir {
    fn new() -> Self {
        let dir = env::temp_dir().join(format!("sipsec-abi-sigkill-{}", std::process::id()));
        std::fs::create_dir(&dir).expect("a new directory");
        Self(dir)
    }
}

impl Drop for TempDir {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}
