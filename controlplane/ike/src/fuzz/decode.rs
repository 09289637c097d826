//! Every decoder. What one of them accepts and an encoder can say must come back the same.

use crate::auth::certificate::{CHAIN_MAX, PeerCertificate};
use crate::auth::{self, SignedOctets, Step};
use crate::exchange::reassembly::Reassembly;
use crate::secret::Secret;
use crate::wire::auth::Auth;
use crate::wire::delete::Delete;
use crate::wire::header::{HEADER_LEN, MESSAGE_MAX};
use crate::wire::ke::{Ke, parse_nonce};
use crate::wire::message::IdPayload;
use crate::wire::payload::Payloads;
use crate::wire::skf::SkfFields;
use crate::wire::{Chain, Header, Message, Notify, PayloadType, cert, id, sa, ts};
use crate::{
    AuthConfig, CertificateAuth, EndpointConfig, FingerprintPolicy, Identity, IdentityPolicy, Revocation,
    Role, SigningKey, Trust,
};
use sipsec_net::{Fingerprint, HashFunc};
use std::sync::Arc;

/// A datagram: its header, and its payloads as if they stood in clear.
pub fn message(bytes: &[u8]) {
    let Ok((header, bytes)) = Header::split(bytes) else { return };
    assert!(bytes.len() >= HEADER_LEN, "a message is at least a header");
    let body = &bytes[HEADER_LEN..];
    let Ok(m) = Message::parse(header.first, body) else { return };
    let _ = (m.error(), format!("{m:?}"), auth::announced_hashes(&m));
    // An accepted chain is made of whole payloads and nothing else.
    let total: usize =
        Payloads::new(header.first, body).map_while(Result::ok).map(|p| p.body.len() + 4).sum();
    assert_eq!(total, body.len());
}

/// The body of one payload: the first byte says of which.
pub fn payload(bytes: &[u8]) {
    let Some((kind, body)) = bytes.split_first() else { return };
    let kind = PayloadType(33 + kind % 22);
    match kind {
        PayloadType::SA => proposals(body),
        PayloadType::KE => {
            if let Ok(ke) = Ke::parse(body) {
                assert_eq!(Ke::parse(&written(|c| c.ke(ke.group, ke.public))), Ok(ke));
            }
        }
        PayloadType::NONCE => {
            let _ = parse_nonce(body);
        }
        PayloadType::IDI | PayloadType::IDR => {
            if let Ok(parsed) = id::parse(body) {
                let _ = (parsed.to_string(), parsed.as_number());
                assert_eq!(id::parse(&id::encode(&parsed)), Ok(parsed));
            }
        }
        PayloadType::CERT | PayloadType::CERTREQ => {
            if let Ok(Some(der)) = cert::parse(body) {
                assert_eq!(cert::parse(&written(|c| c.cert(der))), Ok(Some(der)));
            }
        }
        PayloadType::AUTH => {
            if let Ok(a) = Auth::parse(body) {
                assert_eq!(Auth::parse(&written(|c| c.auth(a.method, a.data))), Ok(a));
            }
        }
        PayloadType::NOTIFY => {
            if let Ok(n) = Notify::parse(body) {
                let _ = n.esp_spi();
                let again = written(|c| c.notify_spi(n.protocol, n.spi, n.kind, n.data));
                assert_eq!(Notify::parse(&again), Ok(n));
            }
        }
        PayloadType::DELETE => match Delete::parse(body) {
            Ok(Delete::Esp(spis)) => {
                assert_eq!(Delete::parse(&written(|c| c.delete_esp(&spis))), Ok(Delete::Esp(spis)));
            }
            Ok(Delete::Ike | Delete::Other) | Err(_) => {}
        },
        PayloadType::TSI | PayloadType::TSR => {
            if let Ok(selectors) = ts::parse(body) {
                assert_eq!(ts::parse(&written(|c| c.ts(kind, &selectors))), Ok(selectors));
            }
        }
        PayloadType::SKF => fragments(body),
        _ => {}
    }
}

/// The body of the one payload that `write` adds.
fn written(write: impl FnOnce(&mut Chain) -> &mut Chain) -> Vec<u8> {
    let mut chain = Chain::new();
    write(&mut chain);
    chain.finish().1.split_off(4)
}

fn proposals(body: &[u8]) {
    let Ok(mut parsed) = sa::parse(body) else { return };
    let _ = crate::negotiate::describe(&parsed);
    // Unknown attributes are not written: a transform that has one is never chosen.
    for t in parsed.iter_mut().flat_map(|p| &mut p.transforms) {
        t.strange = false;
    }
    assert_eq!(sa::parse(&written(|c| c.sa(&parsed))), Ok(parsed));
}

/// Fragments one after the other: length, fields, plaintext.
fn fragments(mut rest: &[u8]) {
    let mut reassembly = Reassembly::default();
    while let Some(([id, len], more)) = rest.split_first_chunk::<2>() {
        let (one, more) = more.split_at(usize::from(*len).min(more.len()));
        rest = more;
        let Ok(fields) = SkfFields::parse(one) else { continue };
        assert_eq!(SkfFields::parse(&fields.encode()), Ok(fields));
        let id = u32::from(id & 3);
        if reassembly.wants(id, fields)
            && let Some(whole) =
                reassembly.add(id, fields, (PayloadType::NONCE, None), one.to_vec(), one.len())
        {
            assert!(whole.plaintext.len() <= MESSAGE_MAX, "reassembly is bounded");
        }
    }
}

/// An Ed25519 key in PKCS #8 (RFC 8410 §7).
pub(super) const fn pkcs8(byte: u8) -> [u8; 48] {
    let head = [0x30, 0x2e, 2, 1, 0, 0x30, 5, 6, 3, 0x2b, 0x65, 0x70, 4, 0x22, 4, 0x20];
    let mut out = [byte; 48];
    let mut i = 0;
    while i < head.len() {
        out[i] = head[i];
        i += 1;
    }
    out
}
/// 2026-07-01.
const UNIX_TIME_S: u64 = 1_782_864_000;

/// A peer's certificates and its AUTH payload, as far as the path and the signature: flags, how many certificates, each
/// with its length, the AUTH data. The last certificates may be taken as our own anchors and revocation lists, so that
/// the whole path is within reach.
pub fn certificate(bytes: &[u8]) {
    let Some(([flags, count], mut rest)) = bytes.split_first_chunk::<2>() else { return };
    let mut certs = Vec::new();
    for _ in 0..count % 12 {
        let Some((len, more)) = rest.split_first_chunk::<2>() else { break };
        let (one, more) = more.split_at(usize::from(u16::from_be_bytes(*len)).min(more.len()));
        certs.push(one);
        rest = more;
    }
    let take = |n: u8| certs.iter().rev().take(usize::from(n)).map(|c| c.to_vec()).collect::<Vec<_>>();
    let trust = Trust {
        self_signed: flags & 1 != 0,
        check_self_signed_validity: flags & 2 != 0,
        anchors: take(flags >> 2 & 1),
        crls: if flags & 8 != 0 { take(2) } else { Vec::new() },
        revocation: [Revocation::Ignore, Revocation::FailOpen, Revocation::FailClosed, Revocation::Ignore]
            [usize::from(flags >> 4 & 3)],
        maps: Vec::new(),
    };
    let key = SigningKey::from_pkcs8(&pkcs8(0x42)).expect("an Ed25519 key");
    let expected =
        certs.first().filter(|_| flags & 64 != 0).map(|der| fingerprint(der)).into_iter().collect();
    let any = "198.51.100.1:50001".parse().expect("an address");
    let mut config = EndpointConfig::new(
        Role::Responder,
        any,
        any,
        Identity::Fqdn("a.example".into()),
        IdentityPolicy::Any,
        AuthConfig::Certificate(Arc::new(CertificateAuth { chain: Vec::new(), key, trust })),
    );
    config.peer_fingerprints = FingerprintPolicy { expected, required: false };
    config.unix_time_s = UNIX_TIME_S;
    let octets = SignedOctets {
        prf: crate::algorithm::Prf::HmacSha256,
        sa: auth::ProvenSa { spi_i: 1, spi_r: 2 },
        sk_p: &Secret::new(vec![1; 32]),
        message: b"message",
        nonce: b"nonce",
        id: b"id",
        int_auth: &[],
    };
    let id = IdPayload { id: Identity::Fqdn("b.example".into()), octets: b"id" };
    let proof = Auth { method: crate::wire::auth::METHOD_SIGNATURE, data: rest };
    let step = auth::verify(&config, &octets, &id, &proof, &certs);
    if let Ok(Step::Job(job)) = step {
        let _ = format!("{:?}", job.run());
    }
    // What stands behind a signature that holds.
    let AuthConfig::Certificate(ours) = &config.auth else { return };
    let Some((der, rest)) = certs.split_first() else { return };
    let Ok(cert) = PeerCertificate::parse(der) else { return };
    let _ = (cert.subject(), cert.issuer(), cert.alternative_names(), cert.public_key().is_ok());
    let intermediates: Vec<Vec<u8>> = rest.iter().take(CHAIN_MAX).map(|c| c.to_vec()).collect();
    let _ = cert.check(&intermediates, &ours.trust, UNIX_TIME_S);
}

fn fingerprint(der: &[u8]) -> Fingerprint {
    crate::certificate_fingerprint(der, HashFunc::Sha256)
}
