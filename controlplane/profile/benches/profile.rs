//! A profile of 16,384 tunnels: read and checked from its template and written out, compared with others, and written. Then
//! documents just below the bounds of the reader: each has to be refused within a second.
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

/// Documents that stay just below the bounds of the reader, by what they have much of.
fn hostile() -> Vec<(&'static str, String)> {
    let head = template().split_once("tunnels:").map_or(String::new(), |(head, _)| head.to_owned());
    let times = |n: usize, one: &str| one.repeat(n);
    let many = 131_000;
    vec![
        ("values", (0..4).map(|n| format!("k{n}: [{}]\n", times(many, "1,"))).collect()),
        ("unknown keys", {
            let group: String = (0..120).map(|n| format!("unknwon{n}: 1, ")).collect();
            format!("{head}tunnels:\n{}", times(2000, &format!("- {{ {group} }}\n")))
        }),
        ("wrong tunnels", {
            let tunnel = "- { name: 5, local_number: x, remote_number: [], bandwidth_kbps: -1, routes: [10.0.0.1/8] }\n";
            format!("{head}tunnels:\n{}", times(45_000, tunnel))
        }),
        (
            "long texts",
            (0..120).map(|n| format!("k{n}: [{}]\n", times(16, &format!("{},", "x".repeat(8000))))).collect(),
        ),
        ("aliases", format!("a: &a [{}]\nb: [{}]\n", times(900, "x,"), times(500, "*a,"))),
        ("deep groups", {
            let deep = format!("{}1{}", times(30, "{a: "), times(30, "}"));
            format!("k: [{}]\n", times(9000, &format!("{deep},")))
        }),
        ("routes of one prefix", {
            let tunnel = |n: usize| {
                format!(
                    "- {{ name: T{n}, remote_number: \"03777{n:05}\", routes: [{}] }}\n",
                    times(16, "10.0.0.0/8,")
                )
            };
            let tunnels: String = (1..=4096).map(tunnel).collect();
            format!(
                "{head}tunnels:\n{tunnels}dataplane:\n  outside: {{ device: wan0 }}\n  inside: {{ mode: host, device: svti0 }}\n  tunnels_max: {TUNNELS}\n"
            )
        }),
    ]
}

fn below_the_bounds(c: &mut Criterion) {
    let mut group = c.benchmark_group("just below a bound");
    group.sample_size(10);
    for (what, text) in hostile() {
        group.bench_function(what, |b| {
            b.iter(|| {
                let examined = examine("hostile.yaml", black_box(text.as_bytes()), &Nothing);
                assert!(examined.findings.errors() > 0);
                examined.findings.render(Style::PLAIN).len()
            });
        });
        println!("{what}: {} bytes, memory: {}", text.len(), memory());
    }
    group.finish();
}

criterion_group!(benches, bench, below_the_bounds);
criterion_main!(benches);
