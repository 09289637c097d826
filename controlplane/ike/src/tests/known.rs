//! Known answers: the RFCs' own numbers, derivations computed by `vectors/derive.py` without a line of this crate, and
//! what strongSwan derived (`vectors/strongswan.txt`).

use crate::algorithm::{DhGroup, EspProposal, IkeProposal, IkeSuite};
use crate::auth::{ProvenSa, SignedOctets, Step, int_auth, sign};
use crate::compute::{Job, Outcome};
use crate::config::{AuthConfig, PskKeys, PskSlot};
use crate::crypto::keys::{ChildKeys, IkeKeys, Seed};
use crate::ctx::Ctx;
use crate::exchange::IkeSa;
use crate::exchange::ike_sa::SaKeys;
use crate::secret::Secret;
use crate::testing::{Side, config};
use sipsec_net::SecretBox;
use sipsec_net::dp::EspCipher;
use sipsec_net::entropy::TestEntropy;
use std::collections::HashMap;

/// Proofs are bound to an IKE SA, derivations are not.
const NO_SA: ProvenSa = ProvenSa { spi_i: 0, spi_r: 0 };

struct Section(HashMap<&'static str, &'static str>);

impl Section {
    fn text(&self, name: &str) -> &'static str {
        self.0.get(name).copied().unwrap_or_else(|| panic!("{name} is missing"))
    }

    fn bytes(&self, name: &str) -> Vec<u8> {
        let hex = self.text(name);
        (0..hex.len()).step_by(2).map(|i| u8::from_str_radix(&hex[i..i + 2], 16).expect("hex")).collect()
    }

    fn suite(&self) -> IkeSuite {
        let p: IkeProposal = self.text("suite").parse().expect("a proposal");
        let integ = p.integ.first().copied();
        IkeSuite { encr: p.encr[0], integ, prf: p.prf[0], group: p.groups[0], ke1: None }
    }

    fn spi(&self, name: &str) -> u64 {
        u64::from_str_radix(self.text(name), 16).expect("hex")
    }
}

fn sections(kind: &str) -> Vec<Section> {
    sections_of(include_str!("vectors/known.txt"), kind)
}

fn sections_of(text: &'static str, kind: &str) -> Vec<Section> {
    text.split("\n\n")
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
    let groups = DhGroup::ALL.into_iter().chain(DhGroup::LEGACY);
    assert_eq!(sections.len(), groups.clone().count());
    for s in sections {
        let number: u16 = s.text("group").parse().expect("a number");
        let group = groups.clone().find(|g| g.transform_id() == number).expect("in the table");
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
    for group in DhGroup::ALL.into_iter().chain(DhGroup::LEGACY) {
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
            DhGroup::Modp1024
            | DhGroup::Modp1536
            | DhGroup::Modp2048
            | DhGroup::Modp3072
            | DhGroup::Modp4096 => values.push(one),
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
        let suite = s.suite();
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

        let child = ChildKeys::derive(suite.prf, &keys.d, (None, None), (&ni, &nr), EspCipher::Aes256Gcm16);
        let both = [child.initiator_to_responder.expose(), child.responder_to_initiator.expose()].concat();
        assert_eq!(both, s.bytes("child"));
        let child =
            ChildKeys::derive(suite.prf, &keys.d, (Some(&again), None), (&ni, &nr), EspCipher::Aes128Gcm16);
        let both = [child.initiator_to_responder.expose(), child.responder_to_initiator.expose()].concat();
        assert_eq!(both, s.bytes("child_pfs"));

        let config = AuthConfig::Psk(PskKeys::one(SecretBox::new(&s.bytes("psk")).expect("fits")));
        let (message, id) = (s.bytes("message"), s.bytes("identity"));
        let octets = SignedOctets {
            prf: suite.prf,
            sa: NO_SA,
            sk_p: &keys.pi,
            message: &message,
            nonce: &nr,
            id: &id,
            int_auth: &[],
        };
        let Ok(Step::Ready(signed)) = sign(&config, &octets, &[], PskSlot::Current) else {
            panic!("a PSK needs no job")
        };
        assert_eq!(signed, (2, s.bytes("auth")));
    }
}

/// After the first keys: an additional key exchange (RFC 9370), what IKE_AUTH says of it (RFC 9242), a PPK (RFC 8784).
#[test]
fn later_derivations() {
    let sections = sections("later");
    assert_eq!(sections.len(), 2);
    for s in sections {
        let suite = s.suite();
        let (ni, nr) = (s.bytes("ni"), s.bytes("nr"));
        let seed = Seed { ni: &ni, nr: &nr, spi_i: s.spi("spi_i"), spi_r: s.spi("spi_r") };
        let keys = IkeKeys::initial(&suite, &Secret::new(s.bytes("shared")), &seed);
        let Seed { spi_i, spi_r, .. } = seed;
        let new = SaKeys { suite, keys, spi_i, spi_r, initiator: true, fragmentation: true };
        let mut ctx = Ctx::new(config(Side::A), Box::new(TestEntropy::new(1)));
        let mut sa = IkeSa::new(&mut ctx, new);
        let int_auth = int_auth(&sa, &s.bytes("request"), &s.bytes("response"), 1);
        assert_eq!(int_auth, s.bytes("int_auth"), "{suite}");
        let second = Secret::new(s.bytes("second"));
        let keys = IkeKeys::rekeyed(&suite, (suite.prf, &sa.sk_d), &second, &seed);
        for (name, key) in [("ai", &keys.ai), ("ar", &keys.ar), ("ei", &keys.ei), ("er", &keys.er)] {
            assert_eq!(key.expose(), s.bytes(&format!("mixed_{name}")), "{name} of {suite}");
        }
        sa.mix(&mut ctx, &second, &ni, &nr);
        let check = |sa: &IkeSa, prefix: &str| {
            for (name, key) in [("d", &sa.sk_d), ("pi", &sa.sk_pi), ("pr", &sa.sk_pr)] {
                assert_eq!(key.expose(), s.bytes(&format!("{prefix}{name}")), "{prefix}{name} of {suite}");
            }
        };
        check(&sa, "mixed_");
        let ppk = sa.ppk_keys(&s.bytes("ppk"));
        sa.apply(ppk);
        check(&sa, "ppk_");

        let config = AuthConfig::Psk(PskKeys::one(SecretBox::new(&s.bytes("psk")).expect("fits")));
        let (message, id) = (s.bytes("message"), s.bytes("identity"));
        let octets = SignedOctets {
            prf: suite.prf,
            sa: NO_SA,
            sk_p: &sa.sk_pi,
            message: &message,
            nonce: &nr,
            id: &id,
            int_auth: &int_auth,
        };
        let Ok(Step::Ready(signed)) = sign(&config, &octets, &[], PskSlot::Current) else {
            panic!("a PSK needs no job")
        };
        assert_eq!(signed, (2, s.bytes("auth")));
    }
}

/// Key derivation as strongSwan logged it: IKE SAs and their rekeys, CHILD_SAs with and without forward secrecy, AUTH.
#[test]
fn strongswan_derives_the_same() {
    let text = include_str!("vectors/strongswan.txt");
    let (ike, child, auth) =
        (sections_of(text, "ike"), sections_of(text, "child"), sections_of(text, "auth"));
    assert!(ike.len() >= 6 && child.len() >= 9 && auth.len() >= 3);
    for s in &ike {
        let (suite, ni, nr) = (s.suite(), s.bytes("ni"), s.bytes("nr"));
        let seed = Seed { ni: &ni, nr: &nr, spi_i: s.spi("spi_i"), spi_r: s.spi("spi_r") };
        let (shared, old) = (Secret::new(s.bytes("shared")), Secret::new(s.bytes("old_d")));
        let keys = if old.expose().is_empty() {
            IkeKeys::initial(&suite, &shared, &seed)
        } else {
            IkeKeys::rekeyed(&suite, (suite.prf, &old), &shared, &seed)
        };
        for (name, key) in
            [("d", &keys.d), ("ei", &keys.ei), ("er", &keys.er), ("pi", &keys.pi), ("pr", &keys.pr)]
        {
            assert_eq!(key.expose(), s.bytes(name), "{name} of {suite}");
        }
        if suite.integ.is_some() {
            assert_eq!((keys.ai.expose(), keys.ar.expose()), (&s.bytes("ai")[..], &s.bytes("ar")[..]));
        }
    }
    let forward_secret = child.iter().filter(|s| !s.bytes("shared").is_empty()).count();
    assert!(forward_secret >= 4 && forward_secret < child.len());
    for s in &child {
        let esp: EspProposal = s.text("esp").parse().expect("a proposal");
        let (shared, ni, nr) = (s.bytes("shared"), s.bytes("ni"), s.bytes("nr"));
        let shared = (!shared.is_empty()).then(|| Secret::new(shared));
        let d = Secret::new(s.bytes("d"));
        let cipher = esp.encr[0].with(esp.integ.first().copied()).expect("a suite");
        let keys = ChildKeys::derive(s.suite().prf, &d, (shared.as_ref(), None), (&ni, &nr), cipher);
        assert_eq!(keys.initiator_to_responder.expose(), s.bytes("initiator"));
        assert_eq!(keys.responder_to_initiator.expose(), s.bytes("responder"));
    }
    for s in &auth {
        let config = AuthConfig::Psk(PskKeys::one(SecretBox::new(&s.bytes("psk")).expect("fits")));
        let (message, nonce, id) = (s.bytes("message"), s.bytes("nonce"), s.bytes("identity"));
        let sk_p = Secret::new(s.bytes("sk_p"));
        let (prf, id) = (s.suite().prf, id.as_slice());
        let octets =
            SignedOctets { prf, sa: NO_SA, sk_p: &sk_p, message: &message, nonce: &nonce, id, int_auth: &[] };
        let Ok(Step::Ready(signed)) = sign(&config, &octets, &[], PskSlot::Current) else {
            panic!("a PSK needs no job")
        };
        assert_eq!(signed, (2, s.bytes("auth")));
    }
}
