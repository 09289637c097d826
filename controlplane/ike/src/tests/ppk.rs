//! Post-quantum pre-shared keys (RFC 8784): who has one, who insists, and what comes of it.

use crate::config::Ppk;
use crate::testing::{Net, Side, config};
use crate::{EndpointConfig, IkeError, Party};
use core::time::Duration;
use sipsec_net::SecretBox;

fn ppk(id: &str, key: &str, required: bool) -> Option<Ppk> {
    Some(Ppk { id: id.into(), key: SecretBox::new(key.as_bytes()).expect("fits"), required })
}

fn optional() -> Option<Ppk> {
    ppk("lab-1", "thirty-two bytes that nobody knows", false)
}

fn required() -> Option<Ppk> {
    ppk("lab-1", "thirty-two bytes that nobody knows", true)
}

fn outcome(mut a: EndpointConfig, mut b: EndpointConfig, of_a: Option<Ppk>, of_b: Option<Ppk>) -> Net {
    (a.ppk, b.ppk) = (of_a, of_b);
    let mut net = Net::new(a, b);
    net.start();
    net.run(Duration::from_secs(40));
    net
}

/// Up or not, and with or without it in the keys.
fn up(net: &Net) -> Option<bool> {
    if !net.is_up() {
        assert!(net.a().failed().is_some());
        assert_eq!(net.a().installed() + net.b().installed(), 0);
        return None;
    }
    let (_, out) = net.a().bound.and_then(|c| net.a().sa(c)).expect("bound");
    let (inn, _) = net.b().bound.and_then(|c| net.b().sa(c)).expect("bound");
    assert_eq!(out.keymat.expose(), inn.keymat.expose());
    let (a, b) = (net.a().endpoint.view().ppk, net.b().endpoint.view().ppk);
    assert_eq!(a, b);
    Some(a)
}

/// RFC 8784 §3, table 1, and the initiator's side of it.
#[test]
fn both_sides_of_the_table() {
    let other_id = |required| ppk("lab-2", "thirty-two bytes that nobody knows", required);
    for (a, b, want) in [
        (None, None, Some(false)),
        (None, optional(), Some(false)),
        (None, required(), None),
        (optional(), None, Some(false)),
        (required(), None, None),
        (optional(), optional(), Some(true)),
        (optional(), required(), Some(true)),
        (required(), optional(), Some(true)),
        (required(), required(), Some(true)),
        (other_id(false), optional(), Some(false)),
        (other_id(false), required(), None),
        (other_id(true), optional(), None),
        (other_id(true), required(), None),
    ] {
        let said = format!("{a:?} {b:?}");
        let net = outcome(config(Side::A), config(Side::B), a, b);
        assert_eq!(up(&net), want, "{said}: {:?} {:?}", net.a().story(), net.b().story());
    }
}

#[test]
fn the_reason_is_told_where_it_is_known() {
    let pair = || (config(Side::A), config(Side::B));
    let (a, b) = pair();
    let net = outcome(a, b, None, required());
    assert_eq!(net.b().failed(), Some(&IkeError::PpkMissing));
    assert_eq!(net.a().failed(), Some(&IkeError::AuthenticationFailed { by: Party::Peer }));

    let (a, b) = pair();
    let net = outcome(a, b, required(), None);
    assert_eq!(net.a().failed(), Some(&IkeError::PpkMissing));
    assert!(!net.b().is_authenticated());

    let (a, b) = pair();
    let net = outcome(a, b, ppk("lab-2", "x", true), required());
    let unknown = IkeError::PpkUnknown { ours: "lab-1".into(), theirs: "lab-2".into() };
    assert_eq!(net.b().failed(), Some(&unknown));

    // The same name for two keys is no reason to fall back: the peer may be guessing.
    let (a, b) = pair();
    let net = outcome(a, b, ppk("lab-1", "another key", false), optional());
    assert_eq!(net.b().failed(), Some(&IkeError::AuthenticationFailed { by: Party::Us }));
}

#[test]
fn beside_certificates_and_a_hybrid_exchange() {
    for (of_a, of_b) in [(optional(), optional()), (required(), required()), (optional(), None)] {
        let both = of_b.is_some();
        let (mut a, mut b) = super::certificate::any_pair();
        for c in [&mut a, &mut b] {
            c.ike_proposals = vec!["aes256gcm16-prfsha384-x25519-ke1_mlkem768".parse().expect("valid")];
        }
        let mut net = outcome(a, b, of_a, of_b);
        assert_eq!(up(&net), Some(both), "{:?} {:?}", net.a().story(), net.b().story());
        // RFC 8784 §3: not again in a rekey, which both sides must agree on.
        net.with(Side::B, |e, now| e.rekey_ike(now));
        net.run(Duration::from_secs(2));
        net.with(Side::A, |e, now| e.rekey_ike(now));
        net.run(Duration::from_secs(2));
        assert_eq!(net.a().endpoint.view().counters.rekeys_ike, 2);
        assert_eq!(net.b().endpoint.view().counters.rekeys_ike, 2);
    }
}
