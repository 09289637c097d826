//! Known answers: the RFCs' own numbers, and derivations computed by `vectors/derive.py` without a line of this crate.

use crate::algorithm::{DhGroup, IkeProposal, IkeSuite};
use crate::auth::{SignedOctets, Step, sign};
use crate::compute::{Job, Outcome, Secret};
use crate::config::AuthConfig;
use crate::crypto::keys::{ChildKeys, IkeKeys, Seed};
use sipsec_net::SecretBytes;
use sipsec_net::dp::EspCipher;
use std::collections::HashMap;

struct Section(HashMap<&'static str, &'static str>);

impl Section {
    fn text(&self, name: &str) -> &'static str {
        self.0.get(name).copied().unwrap_or_else(|| panic!("{name} is missing"))
    }

    fn bytes(&self, name: &str) -> Vec<u8> {
        let hex = self.text(name);
        (0..hex.len()).step_by(2).map(|i| u8::from_str_radix(&hex[i..i + 2], 16).expect("hex")).collect()
    }

    fn spi(&self, name: &str) -> u64 {
        u64::from_str_radix(self.text(name), 16).expect("hex")
    }
}

fn sections(kind: &str) -> Vec<Section> {
    include_str!("vectors/known.txt")
        .split("\n\n")
        .filter_map(|s| s.trim().strip_prefix(&format!("[{kind}]")))
        .map(|s| {
            Section(
                s.lines()
                    .filter_map(|l| l.split_once(" = ").or(l.strip_suffix(" =").map(|n| (n, ""))))
                    .collect(),
            )
        })
        .collect()
}

#[test]
fn key_exchanges() {
    let sections = sections("dh");
    assert_eq!(sections.len(), DhGroup::ALL.len());
    for s in sections {
        let group =
            DhGroup::from_transform(s.text("group").parse().expect("a number")).expect("in the table");
        let secret = |name| Secret::new(s.bytes(name));
        let Outcome::DhGenerated { public } = Job::DhGenerate { group, private: secret("private_i") }.run()
        else {
            panic!("{group:?}")
        };
        assert_eq!(public, s.bytes("public_i"), "{group:?}");
        let respond = Job::DhRespond { group, private: secret("private_r"), peer_public: public }.run();
        let Outcome::DhResponded { public, shared } = respond else { panic!("{group:?}") };
        assert_eq!((public.as_slice(), shared.expose()), (&s.bytes("public_r")[..], &s.bytes("shared")[..]));
        let agree = Job::DhAgree { group, private: secret("private_i"), peer_public: public }.run();
        let Outcome::DhAgreed { shared } = agree else { panic!("{group:?}") };
        assert_eq!(shared.expose(), s.bytes("shared"), "{group:?}");
    }
}

#[test]
fn values_outside_a_group_are_refused() {
    for group in DhGroup::ALL {
        let private = || Secret::new(vec![0x5a; group.private_len()]);
        let len = group.public_len();
        let mut values = vec![vec![0; len], vec![0xff; len], vec![1; len - 1], vec![1; len + 1], Vec::new()];
        let mut one = vec![0; len];
        one[len - 1] = 1;
        match group {
            // A point of small order gives zero (RFC 8031 §5); all-ones is a valid field element there.
            DhGroup::X25519 => {
                values.remove(1);
                let mut low = vec![0; len];
                low[0] = 1;
                values.push(low);
            }
            DhGroup::Modp2048 | DhGroup::Modp3072 | DhGroup::Modp4096 => values.push(one),
            // Not on the curve.
            _ => values.push(vec![1; len]),
        }
        for peer_public in values {
            let outcome = Job::DhAgree { group, private: private(), peer_public: peer_public.clone() }.run();
            assert!(matches!(outcome, Outcome::BadPeerValue), "{group:?} {peer_public:?}");
        }
    }
}

#[test]
fn derivations() {
    let sections = sections("derivation");
    assert_eq!(sections.len(), 3);
    for s in sections {
        let p: IkeProposal = s.text("suite").parse().expect("a proposal");
        let suite = IkeSuite {
            encr: p.encr[0],
            integ: p.integ.first().copied(),
            prf: p.prf[0],
            group: p.groups[0],
            ke1: None,
        };
        let (ni, nr) = (s.bytes("ni"), s.bytes("nr"));
        let (spi_i, spi_r) = (s.spi("spi_i"), s.spi("spi_r"));
        let (shared, again) = (Secret::new(s.bytes("shared")), Secret::new(s.bytes("again")));
        let seed = Seed { ni: &ni, nr: &nr, spi_i, spi_r };
        let keys = IkeKeys::initial(&suite, &shared, &seed);
        let check = |keys: &IkeKeys, prefix: &str| {
            for (name, got) in [
                ("d", &keys.d),
                ("ai", &keys.ai),
                ("ar", &keys.ar),
                ("ei", &keys.ei),
                ("er", &keys.er),
                ("pi", &keys.pi),
                ("pr", &keys.pr),
            ] {
                assert_eq!(got.expose(), s.bytes(&format!("{prefix}{name}")), "{prefix}{name} of {suite}");
            }
        };
        check(&keys, "");
        let swapped = Seed { spi_i: spi_r, spi_r: spi_i, ..seed };
        check(&IkeKeys::rekeyed(&suite, (suite.prf, &keys.d), &again, &swapped), "rekeyed_");

        let child = ChildKeys::derive(suite.prf, &keys.d, None, (&ni, &nr), EspCipher::Aes256Gcm16);
        let both = [child.initiator_to_responder.expose(), child.responder_to_initiator.expose()].concat();
        assert_eq!(both, s.bytes("child"));
        let child = ChildKeys::derive(suite.prf, &keys.d, Some(&again), (&ni, &nr), EspCipher::Aes128Gcm16);
        let both = [child.initiator_to_responder.expose(), child.responder_to_initiator.expose()].concat();
        assert_eq!(both, s.bytes("child_pfs"));

        let config = AuthConfig::Psk { key: SecretBytes::new(&s.bytes("psk")).expect("fits") };
        let (message, id) = (s.bytes("message"), s.bytes("identity"));
        let octets = SignedOctets {
            prf: suite.prf,
            sk_p: &keys.pi,
            message: &message,
            nonce: &nr,
            id: &id,
            int_auth: &[],
        };
        let Ok(Step::Ready(signed)) = sign(&config, &octets, &[]) else { panic!("a PSK needs no job") };
        assert_eq!(signed, (2, s.bytes("auth")));
    }
}
