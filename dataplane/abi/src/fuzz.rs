//! What the fuzzer of bench/fuzz runs and the tests of bench replay: bytes that another process may have written.

use crate::handshake::message::{Hello, Reply};
use crate::slot::punt::{HEADER_LEN, Head};
use crate::slot::{COMMAND_SLOT_LEN, EVENT_SLOT_LEN, command, event};
use sipsec_net::TxnId;
use zerocopy::FromBytes;

/// The first byte says what the others are; they are padded with zeros to a slot. A slot that means something is the only
/// one that means it.
pub fn slot(bytes: &[u8]) {
    let Some((which, bytes)) = bytes.split_first() else { return };
    match which % 5 {
        0 => {
            let slot = padded::<COMMAND_SLOT_LEN>(bytes);
            let Ok(head) = command::decode_head(&slot) else { return };
            let _ = command::check_bare(&slot);
            let _ = command::decode_commit(&slot);
            let (kind, index, txn) = (head.kind.get(), head.index.get(), TxnId(head.txn.get()));
            if let Ok(op) = command::decode_op(&slot, kind) {
                let mut again = [0; COMMAND_SLOT_LEN];
                command::encode_op(&mut again, &op, index, txn);
                assert_eq!(again, slot);
            }
        }
        1 => {
            let slot = padded::<EVENT_SLOT_LEN>(bytes);
            if let Ok(decoded) = event::decode(&slot) {
                let mut again = [0; EVENT_SLOT_LEN];
                event::encode(&mut again, &decoded);
                assert_eq!(again, slot);
            }
        }
        2 => {
            let slot = padded::<HEADER_LEN>(bytes);
            let head = Head::ref_from_bytes(&slot).expect("as long as it is");
            if let Ok(decoded) = head.decode() {
                let len = u16::try_from(decoded.len).expect("bounded by the slot");
                let again = Head::new(decoded.media_port, decoded.remote, len);
                let again = if decoded.dont_fragment { again.whole() } else { again };
                assert_eq!(again.decode(), head.decode());
            }
        }
        3 => {
            let _ = Hello::decode(bytes);
        }
        _ => {
            let _ = Reply::decode(bytes);
        }
    }
}

fn padded<const N: usize>(bytes: &[u8]) -> [u8; N] {
    let mut out = [0; N];
    let len = bytes.len().min(N);
    out[..len].copy_from_slice(&bytes[..len]);
    out
}
