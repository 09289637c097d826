//! How two endpoints under attack are configured: suites, proofs, PPKs, fragments and lifetimes, by one byte.

use super::decode::pkcs8;
use crate::algorithm::{EspProposal, IkeProposal};
use crate::{
    AuthConfig, CertificateAuth, EndpointConfig, FingerprintPolicy, Identity, IdentityPolicy, Ppk, Probe,
    PskKeys, Role, SigningKey, Trust,
};
use core::time::Duration;
use sipsec_net::{HashFunc, SecretBox};
use std::sync::Arc;

/// 2027-01-15, when the certificates are valid.
const UNIX_TIME_S: u64 = 1_800_000_000;

pub(super) fn config(i: usize, choice: u8) -> EndpointConfig {
    let number = |i| if i == 0 { "0388881001" } else { "0388882001" }.parse().expect("a number");
    let addr = |i| if i == 0 { "198.51.100.1:50001" } else { "198.51.100.2:50002" }.parse().expect("valid");
    let mut c = EndpointConfig::new(
        if i == 0 { Role::Initiator } else { Role::Responder },
        addr(i),
        addr(1 - i),
        Identity::number(&number(i)),
        IdentityPolicy::Number(number(1 - i)),
        AuthConfig::Psk(PskKeys::one(SecretBox::new(b"a pre-shared key of the lab").expect("fits"))),
    );
    if choice & 32 != 0 {
        prove_by_certificate(&mut c, i);
    }
    if choice & 64 != 0 {
        let key = SecretBox::new(b"thirty-two bytes that nobody knows").expect("fits");
        // One side insists, the other would do without.
        c.ppk = Some(Ppk { id: b"lab-1".to_vec(), key, required: i == 0 });
    }
    let (ike, esp) = match choice & 18 {
        0 => ("aes256gcm16-prfsha256-x25519", "aes256gcm16-x25519"),
        2 => ("aes128-sha256-ecp256-x25519", "aes128gcm16-ecp256-x25519-esn-noesn"),
        16 => ("aes256gcm16-prfsha256-x25519-ke1_mlkem768", "aes256gcm16"),
        _ => ("aes256gcm16-prfsha256-x25519-ke1_mlkem768", "aes256gcm16-x25519-ke1_mlkem768-ke1_none"),
    };
    c.ike_proposals = vec![ike.parse::<IkeProposal>().expect("a proposal")];
    c.esp_proposals = vec![esp.parse::<EspProposal>().expect("a proposal")];
    c.fragment_bytes_max = (choice & 4 == 0).then_some(200);
    c.probe = Some(Probe { quiet: Duration::ZERO });
    if choice & 8 != 0 {
        c.ike_lifetime.soft = Duration::from_secs(7);
        c.child_lifetime.soft = Duration::from_secs(3);
        c.child_lifetime.hard = Duration::from_secs(20);
    }
    // RFC 6290, on one side or on both.
    c.crash_detection = (choice & 128 == 0 || i == 0).then(|| SecretBox::new(&[i as u8; 32]).expect("fits"));
    c.lab_key_log = true;
    c
}

/// Self-signed, each with the fingerprint that the other side announced. The identity is any, as SDP's fingerprint says
/// who it is.
fn prove_by_certificate(c: &mut EndpointConfig, i: usize) {
    /// Ed25519, with the keys of [`pkcs8`].
    const CERTIFICATES: [&[u8]; 2] =
        [include_bytes!("certificates/a.der"), include_bytes!("certificates/b.der")];
    thread_local! {
        static OURS: [Arc<CertificateAuth>; 2] = [0u8, 1].map(|i| {
            let key = SigningKey::from_pkcs8(&pkcs8(0x42 + i)).expect("an Ed25519 key");
            let chain = vec![CERTIFICATES[usize::from(i)].to_vec()];
            Arc::new(CertificateAuth { chain, key, trust: Trust { self_signed: true, ..Trust::default() } })
        });
    }
    let ours = OURS.with(|o| Arc::clone(&o[i]));
    c.local_id = ours.subject().expect("a certificate with a name");
    c.remote_id = IdentityPolicy::Any;
    c.auth = AuthConfig::Certificate(ours);
    let theirs = crate::certificate_fingerprint(CERTIFICATES[1 - i], HashFunc::Sha256);
    c.peer_fingerprints = FingerprintPolicy { expected: vec![theirs], required: true };
    c.unix_time_s = UNIX_TIME_S;
}
