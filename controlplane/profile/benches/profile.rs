//! A profile of 16,384 tunnels: read and checked from its template and written out, compared with others, and written.
//! `cargo bench -p sipsec-profile`; the memory of the process is printed after each.

use criterion::{Criterion, criterion_group, criterion_main};
use sipsec_profile::change::diff;
use sipsec_profile::write::{Secrets, yaml};
use sipsec_profile::{Nothing, Profile, Style, examine};
use std::hint::black_box;

const TUNNELS: usize = 16_384;

/// A head-end whose branches are made by templates.
fn template() -> String {
    format!(
        "version: 1\ngateway: headend\nsip:\n  interface: wan0\n  registrar: 198.51.100.1\n  domain: c.example\n  \
         lines: [{{ number: \"0388882001\" }}]\nmedia: {{ ports: 10000-65000 }}\n\
         defaults: {{ local_number: \"0388882001\", bandwidth_kbps: 64 }}\nike:\n  keyring:\n  \
         - {{ for: {{ n: 1-{TUNNELS} }}, number: \"03777{{n:05}}\", psk_file: \"/etc/sipsec/psk/{{n}}\" }}\ntunnels:\n\
         - {{ for: {{ n: 1-{TUNNELS} }}, name: \"Branch{{n}}\", remote_number: \"03777{{n:05}}\", \
         routes: [\"10.{{n/256}}.{{n%256}}.0/24\"] }}\n\
         dataplane:\n  outside: {{ device: wan0 }}\n  inside: {{ mode: host, device: svti0 }}\n  tunnels_max: {TUNNELS}\n"
    )
}

fn read(text: &str) -> Profile {
    let examined = examine("headend.yaml", text.as_bytes(), &Nothing);
    assert_eq!(examined.findings.errors(), 0, "{}", examined.findings.render(Style::PLAIN));
    examined.profile.expect("a profile")
}

/// The most memory that the process has had, from the kernel (proc(5)).
fn memory() -> String {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    line.map_or_else(|| "unknown".to_owned(), |line| line.trim().to_owned())
}

fn bench(c: &mut Criterion) {
    let mut group = c.benchmark_group(format!("{TUNNELS} tunnels"));
    group.sample_size(10);
    let template = template();
    println!("memory before: {}", memory());
    group.bench_function("read and check a template", |b| b.iter(|| read(black_box(&template))));
    println!("memory: {}", memory());
    let profile = read(&template);
    let whole = yaml(&profile, Secrets::Written).expect("written");
    println!("written out: {} bytes", whole.len());
    group.bench_function("read and check all written out", |b| b.iter(|| read(black_box(&whole))));
    println!("memory: {}", memory());
    group.bench_function("write", |b| b.iter(|| yaml(black_box(&profile), Secrets::Written)));
    let mut less = profile.clone();
    less.tunnels.truncate(TUNNELS - 1);
    group.bench_function("compare: one tunnel added", |b| b.iter(|| diff(black_box(&less), &profile)));
    let mut other = profile.clone();
    other.ike.force_encap = false;
    group.bench_function("compare: every call is hung up", |b| b.iter(|| diff(black_box(&profile), &other)));
    let mut others = profile.clone();
    others.tunnels.iter_mut().for_each(|t| t.bandwidth = sipsec_net::Kbps(512));
    group.bench_function("compare: every tunnel differs", |b| b.iter(|| diff(black_box(&profile), &others)));
    println!("memory: {}", memory());
    group.finish();
}

criterion_group!(benches, bench);
criterion_main!(benches);
