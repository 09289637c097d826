//! Sessions with certificates: both proofs are needed, and every flaw is told, hung up, and as cheap as it can be.

use super::support::{Setup, WALL_CLOCK, World, keyring};
use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationListParams, CertifiedIssuer, DnType, IsCa,
    KeyIdMethod, KeyPair, KeyUsagePurpose, RevokedCertParams, SerialNumber, SignatureAlgorithm,
    date_time_ymd,
};
use sipsec_ike::{AuthMethod, CertificateAuth, FingerprintBasis, Revocation, SigningKey, Trust};
use sipsec_session::{Input, PeerKind};
use std::sync::Arc;
use std::time::Duration;

const SECOND: Duration = Duration::from_secs(1);
const DAY_S: u64 = 86_400;

#[derive(Clone)]
struct Made {
    der: Vec<u8>,
    pkcs8: Vec<u8>,
}

impl Made {
    fn auth(&self, trust: Trust) -> Option<Arc<CertificateAuth>> {
        let key = SigningKey::from_pkcs8(&self.pkcs8).expect("a key that we know");
        Some(Arc::new(CertificateAuth { chain: vec![self.der.clone()], key, trust }))
    }
}

fn params(name: &str, days_left: u64) -> CertificateParams {
    let mut p = CertificateParams::new(vec![format!("{name}.example")]).expect("a name");
    p.distinguished_name.push(DnType::CommonName, name);
    p.not_before = date_time_ymd(2026, 1, 1);
    p.not_after = date_time_ymd(2026, 7, 1) + Duration::from_secs(days_left * DAY_S);
    p.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    p
}

fn self_signed(name: &str, alg: &'static SignatureAlgorithm) -> Made {
    let key = KeyPair::generate_for(alg).expect("a key");
    let cert = params(name, 365).self_signed(&key).expect("a certificate");
    Made { der: cert.der().to_vec(), pkcs8: key.serialize_der() }
}

struct Authority(CertifiedIssuer<'static, KeyPair>);

impl Authority {
    fn new(name: &str) -> Self {
        let mut p = params(name, 3650);
        p.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        p.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let key = KeyPair::generate_for(&rcgen::PKCS_ECDSA_P384_SHA384).expect("a key");
        Self(CertifiedIssuer::self_signed(p, key).expect("a certificate"))
    }

    fn issue(&self, name: &str, serial: u64, days_left: u64) -> Made {
        let key = KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256).expect("a key");
        let mut p = params(name, days_left);
        p.serial_number = Some(SerialNumber::from(serial));
        let cert = p.signed_by(&key, &self.0).expect("a certificate");
        Made { der: cert.der().to_vec(), pkcs8: key.serialize_der() }
    }

    fn revoking(&self, serial: u64) -> Vec<u8> {
        let revoked = RevokedCertParams {
            serial_number: SerialNumber::from(serial),
            revocation_time: date_time_ymd(2026, 2, 1),
            reason_code: None,
            invalidity_date: None,
        };
        let list = CertificateRevocationListParams {
            this_update: date_time_ymd(2026, 2, 1),
            next_update: date_time_ymd(2026, 12, 1),
            crl_number: SerialNumber::from(1u64),
            issuing_distribution_point: None,
            revoked_certs: vec![revoked],
            key_identifier_method: KeyIdMethod::Sha256,
        };
        list.signed_by(&self.0).expect("a list").der().to_vec()
    }

    fn trust(&self) -> Trust {
        Trust { anchors: vec![self.0.der().to_vec()], ..Trust::default() }
    }
}

fn only_self_signed() -> Trust {
    Trust { self_signed: true, ..Trust::default() }
}

/// The SDP of one side with its fingerprint lines changed or taken away.
fn fingerprints(sdp: &str, setup: &str, change: fn(&str) -> Option<String>) -> String {
    let ours = sdp.contains(&format!("a=ike-setup:{setup}"));
    let line = |line: &str| {
        if ours && line.starts_with("a=fingerprint:") { change(line) } else { Some(line.to_owned()) }
    };
    sdp.lines().filter_map(line).map(|l| l + "\r\n").collect()
}

fn spoiled(line: &str) -> Option<String> {
    let (rest, last) = line.split_at(line.len() - 1);
    Some(format!("{rest}{}", if last == "0" { "1" } else { "0" }))
}

fn only_sha1(line: &str) -> Option<String> {
    line.contains(":sha-1 ").then(|| line.to_owned())
}

fn setups(auths: [Option<Arc<CertificateAuth>>; 2]) -> [Setup; 2] {
    let [a, b] = auths;
    [(0, a), (1, b)].map(|(side, certificate)| Setup { certificate, ..Setup::of(side) })
}

fn self_signed_setups() -> [Setup; 2] {
    let a = self_signed("branch", &rcgen::PKCS_ECDSA_P384_SHA384);
    let b = self_signed("headend", &rcgen::PKCS_ED25519);
    setups([a.auth(only_self_signed()), b.auth(only_self_signed())])
}

/// Calls from side 0; the call must end on both sides, with this failure at `side`.
#[track_caller]
fn refused(setups: [Setup; 2], side: usize, code: &str) -> World {
    refused_in(World::new(setups), side, code)
}

#[track_caller]
fn refused_in(mut w: World, side: usize, code: &str) -> World {
    w.packet(0);
    w.advance(20 * SECOND);
    assert_eq!(w.failure(side), Some(code), "{:?} {:?}", w.gateways[0].events, w.gateways[1].events);
    w.assert_no_call();
    assert!(!w.session(side).last_failure.expect("a reason").failure.cure().is_empty());
    w
}

fn up(setups: [Setup; 2], caller: usize) -> World {
    let mut w = World::new(setups);
    w.packet(caller);
    w.advance(SECOND);
    assert_eq!(w.status(), ["SESSION_UP"; 2], "{:?} {:?}", w.gateways[0].events, w.gateways[1].events);
    w
}

#[test]
fn self_signed_certificates_open_a_session_either_way() {
    for caller in 0..2 {
        let w = up(self_signed_setups(), caller);
        for (side, scheme, peer) in [(0, "ed25519", "headend"), (1, "ecdsa-sha384", "branch")] {
            let view = w.gateways[side].core.crypto_sessions(w.now).remove(0);
            let sa = view.sa.expect("an SA");
            let Some(AuthMethod::Signature(got)) = sa.auth else { panic!("{:?}", sa.auth) };
            assert_eq!(got.name(), scheme);
            assert!(matches!(sa.fingerprint, Some(FingerprintBasis::Certificate(_))));
            assert!(view.phase1_id.expect("proven").to_string().contains(&format!("CN={peer}")));
        }
    }
}

/// RFC 8122 §5.1: SHA-256, and the hash function of the certificate's own signature where that is another.
#[test]
fn sdp_has_the_fingerprints_that_the_certificate_asks_for() {
    let values = |w: &World, from: &str| -> Vec<String> {
        let body = w.carrier.bodies.iter().find(|b| b.contains(from)).expect("an SDP");
        let lines = body.lines().filter_map(|l| l.strip_prefix("a=fingerprint:"));
        lines.map(|v| v.split(' ').next().expect("a hash").to_owned()).collect()
    };
    let w = up(self_signed_setups(), 0);
    assert_eq!(values(&w, "ike-setup:active"), ["sha-256", "sha-384"]);
    assert_eq!(values(&w, "ike-setup:passive"), ["sha-256"]);
    assert!(w.carrier.bodies.iter().all(|b| !b.contains("psk-fingerprint")));
    let mut cisco = self_signed_setups();
    cisco[0].peer = PeerKind::Cisco;
    assert_eq!(values(&up(cisco, 0), "ike-setup:active"), ["sha-256", "sha-384", "sha-1"]);
}

/// RFC 6193 §7: a certificate other than the announced one is an authentication failure.
#[test]
fn a_fingerprint_changed_on_the_way_fails_at_the_side_that_gets_it() {
    let spoil: [fn(&str) -> String; 2] =
        [|sdp| fingerprints(sdp, "active", spoiled), |sdp| fingerprints(sdp, "passive", spoiled)];
    for (edit, side) in spoil.into_iter().zip([1, 0]) {
        let mut w = World::new(self_signed_setups());
        w.carrier.knobs.edit = Some(edit);
        let w = refused_in(w, side, "fingerprint-mismatch");
        let reason = w.session(side).last_failure.expect("a reason").failure.to_string();
        assert!(reason.contains("SDP announced [sha-"), "{reason}");
    }
}

#[test]
fn an_sdp_without_usable_fingerprint_costs_no_ike() {
    // The caller's is missing: refused before it costs anything.
    let mut w = World::new(self_signed_setups());
    w.carrier.knobs.edit = Some(|sdp| fingerprints(sdp, "active", |_| None));
    let w = refused_in(w, 1, "fingerprint-missing");
    assert_eq!(w.carrier.calls_answered, 0);
    // The answer's is missing: hung up before IKE.
    let mut w = World::new(self_signed_setups());
    w.carrier.knobs.edit = Some(|sdp| fingerprints(sdp, "passive", |_| None));
    let w = refused_in(w, 0, "fingerprint-missing");
    assert_eq!(w.carrier.calls_answered, 1);
    assert!(!w.gateways[0].events.iter().any(|e| e == "ike-started"), "{:?}", w.gateways[0].events);
    // A key on one side, a certificate on the other.
    let [a, _] = self_signed_setups();
    let w = refused([a, Setup::of(1)], 1, "fingerprint-missing");
    assert_eq!(w.carrier.calls_answered, 0);
}

/// RFC 8247: SHA-1 does not count, unless the peer is known to be one that has nothing else.
#[test]
fn sha1_alone_is_for_cisco_peers() {
    let sha1_only = |peer: PeerKind| {
        let [mut a, mut b] = self_signed_setups();
        (a.peer, b.peer) = (PeerKind::Cisco, peer);
        let mut w = World::new([a, b]);
        w.carrier.knobs.edit = Some(|sdp| fingerprints(sdp, "active", only_sha1));
        w
    };
    let w = refused_in(sha1_only(PeerKind::Generic), 1, "fingerprint-weak");
    assert_eq!(w.carrier.calls_answered, 0);
    let mut w = sha1_only(PeerKind::Cisco);
    w.packet(0);
    w.advance(SECOND);
    assert_eq!(w.status(), ["SESSION_UP"; 2], "{:?} {:?}", w.gateways[0].events, w.gateways[1].events);
}

#[test]
fn an_authority_decides_besides_the_fingerprint() {
    let (ca, other) = (Authority::new("ca"), Authority::new("other"));
    let (a, b) = (ca.issue("branch", 7, 30), ca.issue("headend", 8, 365));
    let with = |theirs: Trust| setups([a.auth(ca.trust()), b.auth(theirs)]);
    drop(up(with(ca.trust()), 0));
    // A good path with another fingerprint.
    let mut w = World::new(with(ca.trust()));
    w.carrier.knobs.edit = Some(|sdp| fingerprints(sdp, "active", spoiled));
    drop(refused_in(w, 1, "fingerprint-mismatch"));
    // A good fingerprint without a path, and each other flaw of the path.
    let revoked = |crls, revocation| Trust { crls, revocation, ..ca.trust() };
    let flaws = [
        (other.trust(), "no trusted authority"),
        (only_self_signed(), "no trusted authority"),
        (revoked(vec![ca.revoking(7)], Revocation::FailOpen), "revoked"),
        (revoked(vec![other.revoking(7)], Revocation::FailClosed), "no current revocation list"),
    ];
    for (trust, words) in flaws {
        let w = refused(with(trust), 1, "certificate-rejected");
        let reason = w.session(1).last_failure.expect("a reason").failure.to_string();
        assert!(reason.contains(words) && reason.contains("CN=branch"), "{reason}");
        assert_eq!(w.carrier.calls_answered, 1);
    }
    // A list that does not cover it, when that is allowed.
    drop(up(with(revoked(vec![other.revoking(7)], Revocation::FailOpen)), 0));
}

/// The date is that of the call, not that of the gateway's start.
#[test]
fn a_certificate_expires_while_the_gateway_runs() {
    let ca = Authority::new("ca");
    let (a, b) = (ca.issue("branch", 7, 30), ca.issue("headend", 8, 365));
    let mut w = up(setups([a.auth(ca.trust()), b.auth(ca.trust())]), 0);
    w.advance(40 * SECOND);
    w.assert_no_call();
    for side in 0..2 {
        w.tell(side, Input::WallClock { unix_time_s: WALL_CLOCK + 30 * DAY_S - 1 });
    }
    w.advance(2 * SECOND);
    let w = refused_in(w, 1, "certificate-rejected");
    let reason = w.session(1).last_failure.expect("a reason").failure.to_string();
    assert!(reason.contains("expired"), "{reason}");
}

/// A renewed certificate is for the next call; the one under way keeps what it proved itself with.
#[test]
fn a_certificate_is_renewed_under_a_live_call() {
    let mut w = up(self_signed_setups(), 0);
    let [renewed, _] = self_signed_setups();
    let fingerprint = |w: &World| {
        let sa = w.gateways[1].core.crypto_sessions(w.now).remove(0).sa.expect("an SA");
        sa.fingerprint.expect("matched")
    };
    let before = fingerprint(&w);
    w.reconfigure(0, |new| new.keyring = keyring(&renewed));
    w.packet(0);
    w.advance(SECOND);
    assert_eq!(w.status(), ["SESSION_UP"; 2]);
    assert_eq!(fingerprint(&w), before);
    w.advance(40 * SECOND);
    w.assert_no_call();
    w.packet(0);
    w.advance(SECOND);
    assert_eq!(w.status(), ["SESSION_UP"; 2], "{:?} {:?}", w.gateways[0].events, w.gateways[1].events);
    assert_ne!(fingerprint(&w), before);
}

/// RFC 6193 §8.2: one side that insists on a value needs the other to give it; one that does not looks all the same.
#[test]
fn psk_fingerprints_are_asked_for_by_either_side() {
    let asking = |sides: [bool; 2]| {
        let [mut a, mut b] = [Setup::of(0), Setup::of(1)];
        [a.psk_fingerprint, b.psk_fingerprint] = sides;
        [a, b]
    };
    drop(refused(asking([false, true]), 1, "fingerprint-missing"));
    drop(refused(asking([true, false]), 0, "fingerprint-missing"));
    let mut other = asking([true, false]);
    other[1].psk = b"another key, of which the branch knows nothing";
    let w = refused(other, 1, "fingerprint-mismatch");
    assert_eq!(w.carrier.calls_answered, 0, "found in the offer, before it costs anything");
}
