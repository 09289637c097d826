//! What a negotiation costs each side, without network and threads: IKE_SA_INIT by key exchange group, IKE_AUTH by
//! authentication method, and both together as negotiations per second on one core.
//!
//! IKE_SA_INIT ends where a side has the shared secret; what it does with it (keys, proofs) is IKE_AUTH for the initiator,
//! while the responder's answer comes after its keys.

use criterion::{BenchmarkGroup, Criterion, Throughput, criterion_group, criterion_main};
use rcgen::{CertificateParams, KeyPair, SignatureAlgorithm};
use sipsec_ike::algorithm::IkeProposal;
use sipsec_ike::compute::Job;
use sipsec_ike::{
    AuthConfig, CertificateAuth, Endpoint, EndpointConfig, Event, Identity, IdentityPolicy, Output, PskKeys,
    Role, SigningKey, Trust, certificate_fingerprint,
};
use sipsec_net::entropy::TestEntropy;
use sipsec_net::{HashFunc, Instant, SecretBox};
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

const INITIATOR: usize = 0;
const RESPONDER: usize = 1;
const SIDES: [(usize, &str); 2] = [(INITIATOR, "initiator"), (RESPONDER, "responder")];
/// IKE's registry: 14, 15, 16, 19, 20, 21, 31, and 31 with ML-KEM-768 behind it.
const GROUPS: [&str; 8] =
    ["modp2048", "modp3072", "modp4096", "ecp256", "ecp384", "ecp521", "x25519", "x25519-ke1_mlkem768"];

/// One gateway's work, by phase.
#[derive(Clone, Copy, Default)]
struct Work {
    init: Duration,
    auth: Duration,
}

/// How both sides prove themselves.
#[derive(Clone)]
enum Method {
    Psk,
    Certificate([Arc<CertificateAuth>; 2]),
}

fn methods() -> Vec<(&'static str, Method)> {
    let certificates = |alg: &'static SignatureAlgorithm| {
        Method::Certificate([(); 2].map(|()| {
            let key = KeyPair::generate_for(alg).expect("a key");
            let params = CertificateParams::new(vec!["gateway.example".into()]).expect("a name");
            let der = params.self_signed(&key).expect("a certificate").der().to_vec();
            let key = SigningKey::from_pkcs8(&key.serialize_der()).expect("a key that signs");
            let trust = Trust { self_signed: true, ..Trust::default() };
            Arc::new(CertificateAuth { chain: vec![der], key, trust })
        }))
    };
    vec![
        ("psk", Method::Psk),
        ("rsa2048", certificates(&rcgen::PKCS_RSA_SHA256)),
        ("ecdsa-p256", certificates(&rcgen::PKCS_ECDSA_P256_SHA256)),
        ("ecdsa-p384", certificates(&rcgen::PKCS_ECDSA_P384_SHA384)),
        ("ed25519", certificates(&rcgen::PKCS_ED25519)),
    ]
}

fn config(side: usize, group: &str, method: &Method) -> EndpointConfig {
    let id = |side| Identity::KeyId(format!("038888{side}001").into_bytes());
    let addr = |side| format!("198.51.100.{}:50000", side + 1).parse().expect("an address");
    let auth = match method {
        Method::Psk => {
            AuthConfig::Psk(PskKeys::one(SecretBox::new(b"a key that both ends have").expect("fits")))
        }
        Method::Certificate(pair) => AuthConfig::Certificate(Arc::clone(&pair[side])),
    };
    let role = [Role::Initiator, Role::Responder][side];
    let remote_id = IdentityPolicy::Exactly(id(1 - side));
    let mut config = EndpointConfig::new(role, addr(side), addr(1 - side), id(side), remote_id, auth);
    let proposal: IkeProposal = format!("aes256gcm16-prfsha256-{group}").parse().expect("a proposal");
    config.ike_proposals = vec![proposal];
    if let Method::Certificate(pair) = method {
        let der = pair[1 - side].chain.first().expect("one certificate");
        config.peer_fingerprints.expected = vec![certificate_fingerprint(der, HashFunc::Sha256)];
    }
    config
}

/// One negotiation from nothing to a CHILD_SA at both ends.
fn negotiate(group: &str, method: &Method) -> [Work; 2] {
    let now = Instant::ZERO + Duration::from_secs(1);
    let mut work = [Work::default(); 2];
    let mut agreed = [false; 2];
    let mut ends =
        [0, 1].map(|s| Endpoint::new(config(s, group, method), Box::new(TestEntropy::new(s as u64))));
    let mut wires: VecDeque<(usize, Vec<u8>)> = VecDeque::new();
    let mut up = 0;
    let mut timed = |side: usize, agreed: bool, f: &mut dyn FnMut()| {
        let began = std::time::Instant::now();
        f();
        let took = began.elapsed();
        *(if agreed { &mut work[side].auth } else { &mut work[side].init }) += took;
    };
    for side in [RESPONDER, INITIATOR] {
        timed(side, false, &mut || ends[side].start(now));
    }
    loop {
        let mut quiet = true;
        for side in [INITIATOR, RESPONDER] {
            while let Some(output) = ends[side].poll_output() {
                quiet = false;
                match output {
                    Output::Transmit(bytes) | Output::Probe(bytes) => {
                        // The responder's part of IKE_SA_INIT ends with its answer.
                        agreed[side] |= side == RESPONDER;
                        wires.push_back((1 - side, bytes));
                    }
                    Output::NatKeepalive => {}
                    Output::Compute(id, job) => {
                        let ends_init = matches!(job, Job::DhAgree { .. }) && side == INITIATOR;
                        let mut job = Some(job);
                        let mut outcome = None;
                        timed(side, agreed[side], &mut || outcome = job.take().map(Job::run));
                        agreed[side] |= ends_init;
                        let mut outcome = outcome;
                        timed(side, agreed[side], &mut || {
                            if let Some(outcome) = outcome.take() {
                                ends[side].handle_compute(now, id, outcome);
                            }
                        });
                    }
                    Output::Event(Event::ChildSaUp { child, .. }) => {
                        up += 1;
                        timed(side, true, &mut || ends[side].handle_child_installed(now, child));
                    }
                    Output::Event(Event::Failed(e)) => panic!("{e}"),
                    Output::Event(_) => {}
                }
            }
        }
        if let Some((to, bytes)) = wires.pop_front() {
            quiet = false;
            timed(to, agreed[to], &mut || ends[to].handle_datagram(now, &bytes));
        }
        if quiet {
            assert_eq!(up, 2, "both ends are up");
            return work;
        }
    }
}

fn measure(
    group: &mut BenchmarkGroup<'_, criterion::measurement::WallTime>,
    name: &str,
    (dh, method): (&str, &Method),
    of: impl Fn([Work; 2]) -> Duration,
) {
    group.bench_function(name, |b| {
        b.iter_custom(|iterations| (0..iterations).map(|_| of(negotiate(dh, method))).sum());
    });
}

fn ike(c: &mut Criterion) {
    let methods = methods();
    for (side, role) in SIDES {
        let mut group = c.benchmark_group(format!("IKE_SA_INIT/{role}"));
        for dh in GROUPS {
            measure(&mut group, dh, (dh, &Method::Psk), |w| w[side].init);
        }
        group.finish();
        let mut group = c.benchmark_group(format!("IKE_AUTH/{role}"));
        for (name, method) in &methods {
            measure(&mut group, name, ("x25519", method), |w| w[side].auth);
        }
        group.finish();
        // elem/s is negotiations per second on one core.
        let mut group = c.benchmark_group(format!("negotiation/{role}"));
        group.throughput(Throughput::Elements(1));
        for dh in GROUPS {
            measure(&mut group, &format!("{dh}/psk"), (dh, &Method::Psk), |w| w[side].init + w[side].auth);
        }
        for (name, method) in &methods[1..] {
            let name = format!("x25519/{name}");
            measure(&mut group, &name, ("x25519", method), |w| w[side].init + w[side].auth);
        }
        group.finish();
    }
}

criterion_group! {
    name = benches;
    config = Criterion::default().measurement_time(Duration::from_secs(2)).warm_up_time(Duration::from_millis(300)).sample_size(10);
    targets = ike
}
criterion_main!(benches);
