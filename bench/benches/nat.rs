//! Address translation: what one packet costs with 1, 1,000 and 1,000,000 translations in the table, when one packet of each
//! comes after the other in random order; one that opens a translation and its end.
//! `cargo bench -p sipsec-bench --bench nat`

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use sipsec_nat::{AHEAD_MAX, Nat, NatLimits};
use sipsec_net::entropy::{Entropy, TestEntropy};
use sipsec_net::ipv4::Ipv4Header;
use sipsec_net::nat::{NatPolicy, NatRule};
use sipsec_net::{Instant, IpPrefix, TunnelId};
use std::hint::black_box;
use std::net::Ipv4Addr;
use std::time::Duration;

/// Of one pass.
const PACKETS: usize = 1024;
/// Translations of one host.
const PER_HOST: u32 = 250;
const NOW: Instant = Instant::from_nanos(1_000_000_000);

/// UDP of 64 bytes from the n-th endpoint of the LAN.
fn packet(n: u32) -> Vec<u8> {
    let header = Ipv4Header {
        header_len: 20,
        tos: 0,
        total_len: 64,
        identification: 1,
        dont_fragment: true,
        more_fragments: false,
        fragment_offset: 0,
        ttl: 63,
        protocol: 17,
        source: Ipv4Addr::from_bits(0x0a00_0000 + n / PER_HOST),
        destination: Ipv4Addr::new(192, 0, 2, 1),
    };
    let mut bytes = header.to_bytes().to_vec();
    bytes.extend((2000 + (n % PER_HOST) as u16).to_be_bytes());
    bytes.extend([0, 53, 0, 44, 0x12, 0x34]);
    bytes.resize(64, 7);
    bytes
}

/// With so many translations, and room for one more.
fn table(translations: u32) -> Nat {
    let mut nat = Nat::new(NatLimits { tunnels_max: 1, sessions_max: translations + 1 }, [1, 2, 3]);
    nat.set_policy(NatPolicy { block_ports: 256, ..NatPolicy::default() });
    let rule = NatRule::Overload {
        source: IpPrefix::ANY_V4,
        destination: IpPrefix::ANY_V4,
        first: Ipv4Addr::new(198, 51, 100, 0),
        last: Ipv4Addr::new(198, 51, 100, 255),
        own_address: false,
    };
    nat.add_rule(0, TunnelId(1), &rule);
    for n in 0..translations {
        nat.outbound(NOW, 0, &mut packet(n)).expect("there is room");
    }
    nat
}

type Bytes = [u8; 64];

/// One packet of each translation, or of few several, in random order: each is as far from the cache as a table of this size
/// makes it. The packets themselves lie in order, as those of a ring do.
fn one_of_each(translations: u32) -> Vec<Bytes> {
    let mut random = TestEntropy::new(7);
    let mut order: Vec<u32> = (0..translations.max(PACKETS as u32)).map(|n| n % translations).collect();
    for at in (1..order.len()).rev() {
        order.swap(at, random.below(at as u32 + 1) as usize);
    }
    order.iter().map(|n| packet(*n).try_into().expect("64 bytes")).collect()
}

/// The answer to what `sent` is after translation.
fn answer(nat: &mut Nat, mut sent: Bytes) -> Bytes {
    nat.outbound(NOW, 0, &mut sent).expect("known");
    let mut answer = sent;
    answer[12..16].copy_from_slice(&sent[16..20]);
    answer[16..20].copy_from_slice(&sent[12..16]);
    answer[20..22].copy_from_slice(&sent[22..24]);
    answer[22..24].copy_from_slice(&sent[20..22]);
    answer
}

fn translate(c: &mut Criterion) {
    let mut group = c.benchmark_group("nat");
    for translations in [1, 1000, 1_000_000] {
        let mut nat = table(translations);
        let out = one_of_each(translations);
        let back: Vec<Bytes> = out.iter().map(|sent| answer(&mut nat, *sent)).collect();
        let mut scratch = [[0; 64]; AHEAD_MAX];
        let mut run = |name: &str, packets: &[Bytes], nat: &mut Nat, is_out: bool| {
            group.throughput(Throughput::Elements(PACKETS as u64));
            group.bench_function(BenchmarkId::new(name, translations), |b| {
                // Each pass goes on where the one before has ended, so that all are used.
                let mut passes = packets.chunks_exact(PACKETS).cycle();
                b.iter(|| {
                    for packets in passes.next().expect("endless").chunks(AHEAD_MAX) {
                        if nat.looks_ahead(0) {
                            let ahead = packets.iter().map(|packet| (0, &packet[..]));
                            if is_out { nat.look_ahead_out(ahead) } else { nat.look_ahead_in(ahead) }
                        }
                        for (bytes, packet) in scratch.iter_mut().zip(packets) {
                            *bytes = *packet;
                            let done =
                                if is_out { nat.outbound(NOW, 0, bytes) } else { nat.inbound(NOW, 0, bytes) };
                            black_box(done).expect("known");
                        }
                    }
                });
            });
        };
        run("out", &out, &mut nat, true);
        run("back", &back, &mut nat, false);
        let (mut now, mut fresh) = (NOW, packet(0));
        // A remote port that nothing else uses: a session of a known mapping opens and ends by time.
        fresh[22..24].copy_from_slice(&[9, 9]);
        group.throughput(Throughput::Elements(1));
        group.bench_function(BenchmarkId::new("open-and-expire", translations), |b| {
            let mut one = table(1);
            b.iter(|| {
                let mut bytes = fresh.clone();
                black_box(one.outbound(now, 0, &mut bytes)).expect("room");
                now = now + Duration::from_secs(302);
                one.poll(now);
            });
        });
    }
    group.finish();
}

criterion_group!(benches, translate);
criterion_main!(benches);
