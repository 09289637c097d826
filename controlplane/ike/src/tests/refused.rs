//! A responder whose peer cannot begin: the paid call ends soon and with the true reason, but not on a forged message alone.

use super::by_hand::{MS, configs, init};
use crate::error::Violation;
use crate::testing::{Net, Side};
use crate::wire::{Chain, PayloadType};
use crate::{IkeError, Party};
use core::time::Duration;

/// B after one message in clear, and when and why it ends.
fn end_after(message: &[u8]) -> (Duration, IkeError) {
    let (a, b) = configs();
    let mut net = Net::new(a, b);
    net.with(Side::B, |e, now| e.start(now));
    let began = net.now;
    net.inject(Side::B, message);
    for _ in 0..200 {
        net.run(MS * 100);
        if let Some(error) = net.b().failed() {
            return (net.now.saturating_duration_since(began), error.clone());
        }
    }
    panic!("not in 20 s");
}

#[test]
fn each_refusal_has_its_reason_and_ends_the_call_soon() {
    let mut version = init(|_| {});
    version[17] = 0x30;
    let critical = {
        let mut chain = Chain::new();
        let request = init(|c| {
            c.push(PayloadType(200), &[]);
            c.set_critical();
        });
        chain.push(PayloadType(200), &[]);
        request
    };
    let mut no_key = init(|_| {});
    // The KE payload becomes a vendor ID.
    let at = usize::from(u16::from_be_bytes([no_key[30], no_key[31]])) + 28;
    no_key[28] = 43;
    assert_eq!(no_key[at + 1], 0);
    let (a, _) = configs();
    let missing = IkeError::ProtocolViolation(Violation::MissingPayload("SA, KE or Nonce"));
    for (message, want) in [
        (version, IkeError::PeerVersion { major: 3 }),
        (critical, IkeError::UnsupportedCriticalPayload { payload: 200 }),
        (no_key, missing),
    ] {
        let (after, error) = end_after(&message);
        assert_eq!(error, want);
        assert!((Duration::from_secs(3)..Duration::from_secs(4)).contains(&after), "{error:?} {after:?}");
    }
    drop(a);
}

#[test]
fn no_common_proposal() {
    let (mut a, b) = configs();
    a.ike_proposals = vec!["aes128gcm16-prfsha256-modp4096".parse().expect("valid")];
    let mut b = b;
    b.ike_proposals = vec!["aes256gcm16-prfsha256-x25519".parse().expect("valid")];
    let mut net = Net::new(a, b);
    net.start();
    net.run(Duration::from_secs(2));
    assert_eq!(net.b().failed(), None);
    net.run(Duration::from_secs(8));
    assert!(
        matches!(net.b().failed(), Some(IkeError::NoProposalChosen { by: Party::Us, theirs, .. }) if !theirs.is_empty()),
        "{:?}",
        net.b().story()
    );
}

/// A refused message may be forged. A peer that is there sends its own, and the call goes on.
#[test]
fn a_refused_offer_and_then_a_good_one() {
    let (a, b) = configs();
    let mut net = Net::new(a, b);
    let mut forged = init(|_| {});
    forged[17] = 0x30;
    net.with(Side::B, |e, now| e.start(now));
    net.inject(Side::B, &forged);
    net.run(MS * 2500);
    net.with(Side::A, |e, now| e.start(now));
    net.inject(Side::B, &forged);
    net.run(MS * 30);
    net.inject(Side::B, &forged);
    net.run(Duration::from_secs(20));
    assert!(net.is_up(), "{:?} {:?}", net.a().story(), net.b().story());
}
