//! Entry points of the fuzzers, which the tests of `bench` replay: any bytes, and the properties that hold for all of them.

mod dialog;
mod wire;

pub use dialog::dialog;
pub use wire::{framing, locate};

use crate::message::{Message, NameAddr, Via, host_addr};
use crate::sdp::{SessionDescription, negotiate_answering, negotiate_offered};

/// A datagram as it may come from the outbound proxy: syntax alone.
pub fn datagram(bytes: &[u8]) {
    let Ok(m) = Message::parse(bytes) else { return };
    let _ = (m.call_id(), m.cseq(), m.from_tag(), m.to_tag(), m.method(), m.status());
    let _ = m.via().and_then(|v| host_addr(v.sent_by));
    for v in m.all("Via") {
        let _ = Via::parse(v).and_then(|v| v.branch());
    }
    for name in ["From", "To", "Contact", "Route", "Record-Route", "P-Asserted-Identity"] {
        for v in m.all(name) {
            let _ = NameAddr::parse(v).map(|n| crate::message::user_of(n.uri));
        }
    }
}

/// A body: what is understood can be answered, and reads the same when it is written.
pub fn sdp(bytes: &[u8]) {
    let Ok(theirs) = SessionDescription::parse(bytes) else { return };
    let again = SessionDescription::parse(theirs.to_string().as_bytes()).map(|s| s.ike);
    assert_eq!(again, Ok(theirs.ike.clone()));
    let ours = dialog::offer();
    let _ = negotiate_offered(&ours.ike, &theirs.ike);
    if let Ok(agreed) = negotiate_answering(&theirs.ike, &ours.ike) {
        assert!(Some(agreed.rate) <= ours.ike.bandwidth, "never more than was asked for");
        assert!(agreed.remote.port() != 0 && !agreed.remote.ip().is_unspecified(), "a peer is somewhere");
    }
    let _ = ours.answering(&theirs).to_string();
}
