//! Packets that wait for their rate: classified, queued, taken by deficit round robin with CoDel, sealed. With one flow and
//! with a thousand, without a policy and with three classes. `cargo bench -p sipsec-bench --bench shaper`

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use sipsec_dataplane::engines;
use sipsec_net::dp::{EspCipher, Op};
use sipsec_net::qos::{ClassSpec, FILTERS_PER_BLOCK, Filter, QosFilters, QosSpec, Share};
use sipsec_net::{Instant, Kbps};
use sipsec_pipeline::InsideMode;
use sipsec_pipeline::testing::{Gateway, Inner, Keys, Side, VecPacket};
use sipsec_profile::model as profile;
use std::time::Duration;

/// Packets that come at once, and leave one after the other.
const TURN: u64 = 64;
const RATE: Kbps = Kbps(1_000_000);
const SIZE: usize = 200;
/// More than the turn needs at the rate.
const STEP: Duration = Duration::from_millis(1);

struct Bench {
    gateway: Gateway,
    frames: Vec<Vec<u8>>,
    next: usize,
    now: Instant,
    free: Vec<VecPacket>,
}

impl Bench {
    fn new(flows: u16, classes: bool) -> Self {
        let engine = engines::select(profile::Engine::Ring).expect("ring is always built").engine;
        let mut gateway = Gateway::with_engine(Side::A, InsideMode::Host, engine);
        gateway.call(RATE, &Keys::new(EspCipher::Aes128Gcm16, false));
        if classes {
            let half = ClassSpec { guarantee: Some(Share::Percent(50)), ..ClassSpec::default() };
            let voice =
                ClassSpec { guarantee: Some(Share::Percent(20)), priority: true, ..ClassSpec::default() };
            let spec = QosSpec::new(Gateway::TUNNEL).with_classes(&[ClassSpec::default(), voice, half]);
            let of = |class: u8, dscp: u8| Some(Filter { dscp: 1 << dscp, ..Filter::any(class) });
            let mut filters = [None; FILTERS_PER_BLOCK];
            (filters[0], filters[1]) = (of(1, 46), of(2, 26));
            let filters = QosFilters { tunnel: Gateway::TUNNEL, filters };
            gateway.apply(&[Op::TunnelQos(spec.expect("three")), Op::TunnelQosFilters(filters)]);
        }
        let frame = |flow: u16| {
            let mut inner = Inner::udp(Side::A.host().into(), Side::B.host().into(), SIZE - 28);
            inner.payload[..2].copy_from_slice(&flow.to_be_bytes());
            inner.class = [0, 46 << 2, 26 << 2][usize::from(flow % 3)];
            let mut frame = vec![2, 0, 0, 0, 1, 1, 2, 0, 0, 0, 2, 1, 0x08, 0x00];
            frame.extend(inner.to_bytes());
            frame
        };
        let now = Instant::from_nanos(1_000_000_000);
        Self {
            gateway,
            frames: (0..flows).map(frame).collect(),
            next: 0,
            now,
            free: vec![VecPacket::new(&[]); 64],
        }
    }

    /// One turn's packets in and out again.
    fn turn(&mut self) -> Duration {
        let mut batch = std::mem::take(&mut self.free);
        for packet in &mut batch {
            packet.set(&self.frames[self.next % self.frames.len()]);
            self.next += 1;
        }
        let start = std::time::Instant::now();
        let Gateway { pipeline, out, .. } = &mut self.gateway;
        pipeline.batch_from_inside(self.now, batch, out);
        let end = self.now + STEP;
        while pipeline.next_deadline() <= end {
            let at = pipeline.next_deadline().max(self.now);
            pipeline.poll(at, out);
        }
        let took = start.elapsed();
        self.now = end;
        self.free = std::mem::take(&mut self.gateway.out.outside);
        assert_eq!(self.free.len() as u64, TURN, "every packet left");
        took
    }
}

fn shaper(c: &mut Criterion) {
    let mut group = c.benchmark_group("shaper");
    group.throughput(Throughput::Elements(TURN));
    for (classes, word) in [(false, "no policy"), (true, "3 classes")] {
        for flows in [1, 1000] {
            let mut bench = Bench::new(flows, classes);
            group.bench_function(format!("{word}, {flows} flows"), |b| {
                b.iter_custom(|turns| (0..turns).map(|_| bench.turn()).sum());
            });
        }
    }
    group.finish();
}

criterion_group!(benches, shaper);
criterion_main!(benches);
