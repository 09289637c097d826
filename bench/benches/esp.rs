//! ESP through the whole pipeline without I/O: an Ethernet frame from the LAN in, a sealed frame for the WAN out, and the
//! reverse. One core; throughput is packets per second. `cargo bench -p sipsec-bench --bench esp`

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use sipsec_abi::profile;
use sipsec_dataplane::engines;
use sipsec_net::dp::EspCipher;
use sipsec_net::{Instant, Kbps};
use sipsec_pipeline::testing::{Gateway, Keys, Side, VecPacket, ipv4_udp};
use sipsec_pipeline::{AeadEngine, InsideMode};
use std::time::Duration;

/// Inner IP packets of these lengths.
const SIZES: [usize; 3] = [64, 512, 1420];
/// Far above what a core seals, so that the shaper never waits.
const RATE: Kbps = Kbps(4_000_000);
/// A batch is sealed untimed before it is opened, and the reverse: sequence numbers are used once.
const BATCH: usize = 256;

fn engine(choice: profile::Engine) -> Box<dyn AeadEngine> {
    engines::select(choice).expect("every engine of the build passes its known answers").engine
}

struct Bench {
    a: Gateway,
    b: Gateway,
    frame: Vec<u8>,
    now: Instant,
    free: Vec<VecPacket>,
}

impl Bench {
    fn new(choice: profile::Engine, cipher: EspCipher, size: usize) -> Self {
        let keys = Keys::new(cipher, false);
        let up = |side| {
            let mut g = Gateway::with_engine(side, InsideMode::Host, engine(choice));
            g.call(RATE, &keys);
            g
        };
        // From the sVTI's kernel end; the pipeline looks at the EtherType alone.
        let mut frame = vec![2, 0, 0, 0, 1, 1, 2, 0, 0, 0, 2, 1, 0x08, 0x00];
        frame.extend(ipv4_udp(Side::A.host(), Side::B.host(), size));
        Self {
            a: up(Side::A),
            b: up(Side::B),
            frame,
            now: Instant::ZERO,
            free: vec![VecPacket::new(&[]); BATCH],
        }
    }

    fn load(&mut self) -> Vec<VecPacket> {
        let mut batch = std::mem::take(&mut self.free);
        for p in &mut batch {
            p.set(&self.frame);
        }
        batch
    }

    fn seal(&mut self, batch: Vec<VecPacket>) -> Vec<VecPacket> {
        for p in batch {
            self.now = self.now + Duration::from_micros(20);
            self.a.pipeline.from_inside(self.now, p, &mut self.a.out);
        }
        std::mem::take(&mut self.a.out.outside)
    }

    fn open(&mut self, batch: Vec<VecPacket>) -> Vec<VecPacket> {
        for p in batch {
            self.b.pipeline.from_outside(self.now, p, &mut self.b.out);
        }
        std::mem::take(&mut self.b.out.inside)
    }

    /// One batch; gives the time that the measured half took.
    fn round(&mut self, measure_open: bool) -> Duration {
        let batch = self.load();
        let start = std::time::Instant::now();
        let sealed = self.seal(batch);
        let seal = start.elapsed();
        assert_eq!(sealed.len(), BATCH, "every packet is sealed");
        let start = std::time::Instant::now();
        let opened = self.open(sealed);
        let open = start.elapsed();
        assert_eq!(opened.len(), BATCH, "every packet is opened");
        self.free = opened;
        if measure_open { open } else { seal }
    }
}

fn esp(c: &mut Criterion) {
    let engines = [("ring", profile::Engine::Ring), ("aes-gcm", profile::Engine::AesGcm)];
    let ciphers = [("aes128", EspCipher::Aes128Gcm16), ("aes256", EspCipher::Aes256Gcm16)];
    for (half, open) in [("seal", false), ("open", true)] {
        let mut group = c.benchmark_group(half);
        group.throughput(Throughput::Elements(1));
        for (engine_name, choice) in engines {
            for (cipher_name, cipher) in ciphers {
                for size in SIZES {
                    let mut bench = Bench::new(choice, cipher, size);
                    let id = BenchmarkId::new(format!("{engine_name}/{cipher_name}"), size);
                    group.bench_function(id, |b| {
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
        }
        group.finish();
    }
}

criterion_group! {
    name = benches;
    config = Criterion::default().measurement_time(Duration::from_secs(2)).warm_up_time(Duration::from_millis(500)).sample_size(30);
    targets = esp
}
criterion_main!(benches);
