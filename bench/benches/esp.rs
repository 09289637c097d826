//! ESP through the whole pipeline without I/O: an Ethernet frame from the LAN in, a sealed frame for the WAN out, and the
//! reverse. Beside it the engine alone on the same bytes: the difference is the pipeline's own. One core; throughput is
//! packets per second. `cargo bench -p sipsec-bench --bench esp`

use criterion::measurement::WallTime;
use criterion::{BenchmarkGroup, Criterion, Throughput, criterion_group, criterion_main};
use sipsec_dataplane::engines;
use sipsec_net::dp::EspCipher;
use sipsec_net::{Instant, Kbps, esp};
use sipsec_pipeline::testing::{Gateway, Keys, Side, VecPacket, ipv4_udp};
use sipsec_pipeline::{AeadEngine, AeadKey, ICV_LEN, InsideMode, Nonce};
use sipsec_profile::model as profile;
use std::net::Ipv4Addr;
use std::time::Duration;

/// Inner IP packets of these lengths.
const SIZES: [usize; 3] = [64, 512, 1420];
/// Far above what a core seals, so that the shaper never waits.
const RATE: Kbps = Kbps(4_000_000);
/// A batch is sealed untimed before it is opened: sequence numbers are used once.
const BATCH: usize = 256;
/// Packets that the worker takes from a port at once.
const TURN: usize = 64;

/// `None` where the machine has not the library.
fn engine(choice: profile::Engine) -> Option<Box<dyn AeadEngine>> {
    engines::select(choice).map(|s| s.engine).inspect_err(|e| println!("skipped: {e}")).ok()
}

/// Tunnels of the cases with many, one flow in each.
const TUNNELS: u16 = 1000;

struct Bench {
    a: Gateway,
    b: Gateway,
    /// What a batch is filled with, in turn.
    frames: Vec<Vec<u8>>,
    next: usize,
    now: Instant,
    free: Vec<VecPacket>,
}

impl Bench {
    fn new(choice: profile::Engine, cipher: EspCipher, size: usize) -> Self {
        let keys = Keys::new(cipher, false);
        Self::with(vec![frame(Side::A.host(), Side::B.host(), size)], |side| {
            let mut g =
                Gateway::with_engine(side, InsideMode::Host, engine(choice).expect("looked for before"));
            g.call(RATE, &keys);
            g
        })
    }

    /// Every packet in another tunnel than the one before it.
    fn many(choice: profile::Engine, cipher: EspCipher, size: usize) -> Self {
        let keys = Keys::new(cipher, false);
        let host = |side: Side, n| side.host_of(n);
        let frames = (0..TUNNELS).map(|n| frame(host(Side::A, n), host(Side::B, n), size)).collect();
        Self::with(frames, |side| {
            Gateway::with_tunnels(side, TUNNELS, RATE, &keys, engine(choice).expect("looked for before"))
        })
    }

    fn with(frames: Vec<Vec<u8>>, up: impl Fn(Side) -> Gateway) -> Self {
        let free = vec![VecPacket::new(&[]); BATCH];
        Self { a: up(Side::A), b: up(Side::B), frames, next: 0, now: Instant::ZERO, free }
    }

    fn load(&mut self) -> Vec<VecPacket> {
        let mut batch = std::mem::take(&mut self.free);
        for p in &mut batch {
            p.set(&self.frames[self.next % self.frames.len()]);
            self.next += 1;
        }
        batch
    }

    fn seal(&mut self, batch: Vec<VecPacket>) -> Vec<VecPacket> {
        let mut packets = batch.into_iter();
        while packets.len() > 0 {
            self.now = self.now + Duration::from_micros(20) * TURN as u32;
            self.a.pipeline.batch_from_inside(self.now, packets.by_ref().take(TURN), &mut self.a.out);
        }
        std::mem::take(&mut self.a.out.outside)
    }

    fn open(&mut self, batch: Vec<VecPacket>) -> Vec<VecPacket> {
        let mut packets = batch.into_iter();
        while packets.len() > 0 {
            self.b.pipeline.batch_from_outside(self.now, packets.by_ref().take(TURN), &mut self.b.out);
        }
        std::mem::take(&mut self.b.out.inside)
    }

    /// One batch; gives the time that the measured half took. Numbers are never used twice, so sealing needs no opening.
    fn round(&mut self, measure_open: bool) -> Duration {
        let batch = self.load();
        let start = std::time::Instant::now();
        let sealed = self.seal(batch);
        let seal = start.elapsed();
        assert_eq!(sealed.len(), BATCH, "every packet is sealed");
        if !measure_open {
            // A gateway has its core's caches for itself: what the other one would bring into them is not its cost.
            self.free = sealed;
            return seal;
        }
        let start = std::time::Instant::now();
        let opened = self.open(sealed);
        let open = start.elapsed();
        assert_eq!(opened.len(), BATCH, "every packet is opened");
        self.free = opened;
        open
    }
}

const ENGINES: [(&str, profile::Engine); 5] = [
    ("ipsec-mb", profile::Engine::IpsecMb),
    ("ring", profile::Engine::Ring),
    ("aws-lc-rs", profile::Engine::AwsLcRs),
    ("graviola", profile::Engine::Graviola),
    ("aes-gcm", profile::Engine::AesGcm),
];
const CIPHERS: [(&str, EspCipher, usize); 2] =
    [("aes128", EspCipher::Aes128Gcm16, 16), ("aes256", EspCipher::Aes256Gcm16, 32)];

/// From the sVTI's kernel end; the pipeline looks at the EtherType alone.
fn frame(from: Ipv4Addr, to: Ipv4Addr, size: usize) -> Vec<u8> {
    let mut frame = vec![2, 0, 0, 0, 1, 1, 2, 0, 0, 0, 2, 1, 0x08, 0x00];
    frame.extend(ipv4_udp(from, to, size));
    frame
}

/// What ESP would seal of an inner packet, and nothing else, in as many buffers as a batch has.
struct Alone {
    key: Box<dyn AeadKey>,
    batch: Vec<Vec<u8>>,
    sequence: u64,
}

impl Alone {
    fn new(choice: profile::Engine, cipher: EspCipher, key_len: usize, size: usize) -> Self {
        let key = engine(choice)
            .expect("looked for before")
            .new_key(cipher, &[7; 32][..key_len])
            .expect("the cipher's key length");
        let sealed = size + esp::Layout::AEAD.pad_len(size) + esp::TRAILER_LEN;
        Self { key, batch: vec![vec![0; sealed + ICV_LEN]; BATCH], sequence: 0 }
    }

    fn seal(&mut self) {
        self.sequence += 1;
        let mut nonce = [0; 12];
        nonce[4..].copy_from_slice(&self.sequence.to_be_bytes());
        let buf = &mut self.batch[self.sequence as usize % BATCH];
        self.key.seal_in_place(&Nonce::new(nonce), &nonce[4..], buf).expect("any bytes can be sealed");
    }
}

/// What is compared runs one after the other: a machine with other work changes its pace by the minute.
fn esp(c: &mut Criterion) {
    for (engine_name, choice) in ENGINES {
        if engine(choice).is_none() {
            continue;
        }
        for (cipher_name, cipher, key_len) in CIPHERS {
            for size in SIZES {
                let mut group = c.benchmark_group(format!("{engine_name}/{cipher_name}/{size}"));
                group.throughput(Throughput::Elements(1));
                let mut alone = Alone::new(choice, cipher, key_len, size);
                group.bench_function("aead", |b| b.iter(|| alone.seal()));
                halves(&mut group, &mut Bench::new(choice, cipher, size));
                group.finish();
            }
        }
    }
}

/// One tunnel beside a thousand, for each size and the best engine of this machine. Every packet is in another tunnel than
/// the one before it, so nothing of it is in the nearest cache.
fn scale(c: &mut Criterion) {
    let fastest = ENGINES.iter().find(|(_, choice)| engine(*choice).is_some());
    let Some((_, choice)) = fastest else { return };
    for size in SIZES {
        let mut one = Bench::new(*choice, EspCipher::Aes128Gcm16, size);
        let mut many = Bench::many(*choice, EspCipher::Aes128Gcm16, size);
        for (tunnels, bench) in [(1, &mut one), (TUNNELS, &mut many)] {
            let mut group = c.benchmark_group(format!("scale/{tunnels}/aes128/{size}"));
            group.throughput(Throughput::Elements(1));
            halves(&mut group, bench);
            group.finish();
        }
        ratio(size, &mut one, &mut many);
    }
}

/// Rounds of each in turn, of which the fastest counts: with other work on the machine most are too slow, and none is too
/// fast.
const ROUNDS: u32 = 2000;

fn ratio(size: usize, one: &mut Bench, many: &mut Bench) {
    for (half, open) in [("seal", false), ("open", true)] {
        let mut best = [Duration::MAX; 2];
        for _ in 0..ROUNDS {
            for (best, bench) in best.iter_mut().zip([&mut *one, &mut *many]) {
                *best = bench.round(open).min(*best);
            }
        }
        let [one, many] = best.map(|b| b.as_secs_f64() * 1e9 / BATCH as f64);
        println!(
            "scale {size} {half}: {one:.0} ns with 1 tunnel, {many:.0} ns with {TUNNELS}, ratio {:.2}",
            many / one
        );
    }
}

fn halves(group: &mut BenchmarkGroup<'_, WallTime>, bench: &mut Bench) {
    for (half, open) in [("seal", false), ("open", true)] {
        group.bench_function(half, |b| {
            b.iter_custom(|iterations| {
                let (mut done, mut time) = (0u64, Duration::ZERO);
                while done < iterations {
                    time += bench.round(open);
                    done += BATCH as u64;
                }
                // Whole batches were run; their time is scaled to what was asked for.
                time.mul_f64(iterations as f64 / done as f64)
            });
        });
    }
}

criterion_group! {
    name = benches;
    config = Criterion::default().measurement_time(Duration::from_secs(2)).warm_up_time(Duration::from_millis(500)).sample_size(30);
    targets = scale, esp
}
criterion_main!(benches);
