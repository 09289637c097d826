//! Messages with flipped bits, cut short and spliced: nothing panics, nothing grows without a bound, only requests are
//! answered, and each call that is up is hung up.

use super::torture::MESSAGES;
use crate::testing::*;
use proptest::prelude::*;
use std::time::Duration;

const S: Duration = Duration::from_secs(1);

#[derive(Clone, Debug)]
enum Damage {
    Flip {
        at: u16,
        bit: u8,
    },
    Cut {
        at: u16,
    },
    /// The head of the message, and the tail of another.
    Splice {
        at: u16,
        with: u16,
        from: u16,
    },
    /// A line taken out or doubled.
    Line {
        index: u8,
        twice: bool,
    },
}

fn damage() -> impl Strategy<Value = Damage> {
    prop_oneof![
        4 => (any::<u16>(), 0..8_u8).prop_map(|(at, bit)| Damage::Flip { at, bit }),
        1 => any::<u16>().prop_map(|at| Damage::Cut { at }),
        1 => (any::<u16>(), any::<u16>(), any::<u16>())
            .prop_map(|(at, with, from)| Damage::Splice { at, with, from }),
        2 => (any::<u8>(), any::<bool>()).prop_map(|(index, twice)| Damage::Line { index, twice }),
    ]
}

fn apply(damage: &Damage, mut bytes: Vec<u8>, corpus: &[Vec<u8>]) -> Vec<u8> {
    let place = |at: u16, len: usize| usize::from(at) % len.max(1);
    match *damage {
        Damage::Flip { at, bit } => {
            let at = place(at, bytes.len());
            if let Some(b) = bytes.get_mut(at) {
                *b ^= 1 << bit;
            }
        }
        Damage::Cut { at } => bytes.truncate(place(at, bytes.len())),
        Damage::Splice { at, with, from } => {
            let other = &corpus[place(with, corpus.len())];
            bytes.truncate(place(at, bytes.len()));
            bytes.extend_from_slice(&other[place(from, other.len())..]);
        }
        Damage::Line { index, twice } => {
            let mut lines: Vec<&[u8]> = bytes.split_inclusive(|b| *b == b'\n').collect();
            if !lines.is_empty() {
                let at = usize::from(index) % lines.len();
                if twice {
                    lines.insert(at, lines[at]);
                } else {
                    lines.remove(at);
                }
            }
            bytes = lines.concat();
        }
    }
    bytes
}

/// All that a call, its registration and its end put on the wire, as each node received it.
fn golden() -> Vec<Vec<u8>> {
    let mut w = World::new();
    let call = w.dial(A);
    w.run_for(S);
    w.hang_up(A, call);
    w.run_for(S);
    w.wire.iter().map(|(_, t)| t.clone().into_bytes()).collect()
}

/// Puts the message into the call that is up: its Call-ID and tags are what makes it reach deeper than the parser.
fn into_call(bytes: &[u8], call: &[(String, String)]) -> Vec<u8> {
    let Ok(mut text) = String::from_utf8(bytes.to_vec()) else { return bytes.to_vec() };
    for (old, new) in call {
        text = text.replace(old, new);
    }
    text.into_bytes()
}

fn identity(invite: &str, ok: &str) -> [String; 3] {
    let field = |t: &str, name: &str| {
        t.lines().find_map(|l| l.strip_prefix(name)).map(str::to_owned).unwrap_or_default()
    };
    let tag = |v: String| v.split(";tag=").nth(1).unwrap_or_default().to_owned();
    [field(invite, "Call-ID: "), tag(field(ok, "From: ")), tag(field(ok, "To: "))]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(192))]

    #[test]
    fn whatever_arrives(
        messages in prop::collection::vec(
            (any::<u16>(), prop::collection::vec(damage(), 0..4), any::<bool>(), 0..2_usize, 0..3000_u64),
            1..24,
        ),
        ringing in any::<bool>(),
    ) {
        let own = golden();
        let text = |i: usize| String::from_utf8_lossy(&own[i]).into_owned();
        let find = |start: &str| (0..own.len()).map(text).find(|t| t.starts_with(start)).expect("sent");
        let recorded = identity(&find("INVITE"), &find("SIP/2.0 200"));
        let mut corpus: Vec<Vec<u8>> = MESSAGES.iter().map(|r| r.bytes.to_vec()).collect();
        corpus.extend(own.iter().cloned());

        let mut w = World::empty(11);
        for i in [A, B] {
            w.set_addr(i, true);
        }
        w.run_for(S);
        w.nodes[B].auto_accept = !ringing;
        w.dial(A);
        w.run_for(S);
        let live = identity(w.last(A, "INVITE"), w.last(B, if ringing { "SIP/2.0 180" } else { "SIP/2.0 200" }));
        let call: Vec<_> = recorded.into_iter().zip(live).collect();

        for (pick, damages, inside, node, later) in &messages {
            let mut bytes = corpus[usize::from(*pick) % corpus.len()].clone();
            if *inside {
                bytes = into_call(&bytes, &call);
            }
            for d in damages {
                bytes = apply(d, bytes, &corpus);
            }
            let before = w.wire.len();
            w.inject(*node, &bytes);
            let answered = w.wire[before..].iter().any(|(_, t)| t.starts_with("SIP/2.0 "));
            let response = bytes.trim_ascii_start().get(..4).is_some_and(|b| b.eq_ignore_ascii_case(b"SIP/"));
            prop_assert!(!(answered && response), "a response was answered");
            w.run_for(Duration::from_millis(*later));
        }
        for i in [A, B] {
            let ids: Vec<_> = w.nodes[i].handles.keys().copied().collect();
            for id in ids {
                w.hang_up(i, id);
            }
            prop_assert!(w.nodes[i].ua.servers.len() <= messages.len() + 8);
        }
        // Eight BYEs of 64·T1, each after a pause, for peers that a message invented.
        w.run_for(4 * 3600 * S);
        for node in &w.nodes {
            prop_assert_eq!((node.journal.len(), node.ua.live_dialogs()), (0, 0), "{:?}", node.log);
            prop_assert_eq!((node.ua.servers.len(), node.ua.clients.len()), (0, 0));
        }
        prop_assert!(w.proxy.forgotten().is_empty(), "{:?}", w.proxy.forgotten());
    }
}
