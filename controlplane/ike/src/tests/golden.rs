//! The bytes on the wire, for chosen randomness. A change here is a change of what peers see.

use crate::testing::{Net, Side, config};
use core::fmt::Write;
use core::time::Duration;

/// One negotiation, a rekey of each kind and the end, as hex lines.
fn transcript() -> String {
    let (mut a, mut b) = (config(Side::A), config(Side::B));
    for c in [&mut a, &mut b] {
        c.ike_proposals = vec!["aes256gcm16-prfsha256-x25519".parse().expect("valid")];
        c.esp_proposals = vec!["aes256gcm16-x25519".parse().expect("valid")];
    }
    let mut net = Net::established(a, b);
    let child = net.a().bound.expect("bound");
    net.with(Side::A, |e, now| e.rekey_child(now, child));
    net.run(Duration::from_secs(1));
    net.with(Side::B, |e, now| e.rekey_ike(now));
    net.run(Duration::from_secs(1));
    net.with(Side::A, |e, now| e.close(now, crate::CloseCause::Admin));
    net.run(Duration::from_secs(1));
    let mut out = String::new();
    for (side, message) in &net.log {
        let _ = write!(out, "{side:?} ");
        for byte in message {
            let _ = write!(out, "{byte:02x}");
        }
        out.push('\n');
    }
    out
}

#[test]
fn the_same_randomness_gives_the_same_bytes() {
    let got = transcript();
    let want = include_str!("vectors/transcript.txt");
    for (i, (got, want)) in got.lines().zip(want.lines()).enumerate() {
        assert_eq!(got, want, "message {i}");
    }
    assert_eq!(got.lines().count(), want.lines().count());
}
