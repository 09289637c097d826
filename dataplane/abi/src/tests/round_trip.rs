//! Each message survives encoding and decoding; any other bytes in a slot are refused without a panic.

use super::arbitrary::{event, op, socket_addr, text};
use super::{ringer, segment};
use crate::counters::{CountersReader, CountersWriter};
use crate::punt::{PuntReceiver, PuntSender};
use crate::segment::Role;
use crate::slot::{COMMAND_SLOT_LEN, EVENT_SLOT_LEN, command, event as event_slot, punt};
use crate::{Count, Facts, Port, PortCounters, PortFacts, SendError};
use proptest::prelude::*;
use sipsec_net::dp::TunnelActivity;
use sipsec_net::qos::{ClassActivity, QosActivity};
use sipsec_net::{DropReason, Instant, MacAddr, MediaPort, TunnelId, TxnId};
use zerocopy::FromBytes;

proptest! {
    #[test]
    fn operations(op in op(), index: u16, txn: u64) {
        let mut slot = [0xaa; COMMAND_SLOT_LEN];
        command::encode_op(&mut slot, &op, index, TxnId(txn));
        let head = *command::decode_head(&slot).expect("a head");
        prop_assert_eq!((head.index.get(), head.txn.get()), (index, txn));
        let decoded = command::decode_op(&slot, head.kind.get()).expect("an operation");
        prop_assert_eq!(text(&decoded), text(&op));
    }

    #[test]
    fn events(event in event()) {
        let mut slot = [0xaa; EVENT_SLOT_LEN];
        event_slot::encode(&mut slot, &event);
        prop_assert_eq!(event_slot::decode(&slot), Ok(event));
    }

    /// There is one encoding of everything: if bytes decode, they are what encoding gives again. So no byte goes unchecked.
    #[test]
    fn any_command_bytes_are_refused_or_canonical(op in op(), flips in flips(COMMAND_SLOT_LEN)) {
        let mut slot = [0; COMMAND_SLOT_LEN];
        command::encode_op(&mut slot, &op, 0, TxnId(1));
        flip(&mut slot, &flips);
        let Ok(&head) = command::decode_head(&slot) else { return Ok(()) };
        if let Ok(decoded) = command::decode_op(&slot, head.kind.get()) {
            let mut again = [0; COMMAND_SLOT_LEN];
            command::encode_op(&mut again, &decoded, head.index.get(), TxnId(head.txn.get()));
            prop_assert_eq!(again, slot);
        }
    }

    #[test]
    fn any_event_bytes_are_refused_or_canonical(event in event(), flips in flips(EVENT_SLOT_LEN)) {
        let mut slot = [0; EVENT_SLOT_LEN];
        event_slot::encode(&mut slot, &event);
        flip(&mut slot, &flips);
        if let Ok(decoded) = event_slot::decode(&slot) {
            let mut again = [0; EVENT_SLOT_LEN];
            event_slot::encode(&mut again, &decoded);
            prop_assert_eq!(again, slot);
        }
    }

    #[test]
    fn random_bytes_do_not_panic(mut bytes in proptest::collection::vec(any::<u8>(), COMMAND_SLOT_LEN), kind in 0..48u16) {
        bytes[..2].copy_from_slice(&kind.to_le_bytes());
        let slot = bytes[..].try_into().expect("a slot");
        let _ = command::decode_head(slot);
        let _ = command::decode_op(slot, kind);
        let _ = event_slot::decode(bytes[..EVENT_SLOT_LEN].try_into().expect("a slot"));
        if let Ok(punt::Decoded { len, .. }) = punt::Head::ref_from_prefix(&bytes).expect("a head").0.decode() {
            prop_assert!(len <= punt::PAYLOAD_MAX);
        }
    }

    #[test]
    fn activity_and_facts(values in any::<[u64; 11]>(), tunnel: u32, other: u32, name in "\\PC{0,20}") {
        let segment = segment();
        let (writer, mut reader) = (CountersWriter::new(&segment), CountersReader::new(&segment));
        let [last_out, last_in, rest @ ..] = values;
        let [packets_in, bytes_in, packets_out, bytes_out, drops_in, drops_out, queued, replayed, dropped] = rest;
        let activity = TunnelActivity {
            last_out: Instant::from_nanos(last_out),
            last_in: Instant::from_nanos(last_in),
            packets_in, bytes_in, packets_out, bytes_out, drops_in, drops_out,
            trigger_queued: queued, trigger_replayed: replayed, trigger_dropped: dropped,
        };
        prop_assert!(writer.activity(3, TunnelId(tunnel), &activity));
        prop_assert_eq!(reader.activity(TunnelId(tunnel)), Some(activity));
        if other != tunnel {
            prop_assert_eq!(reader.activity(TunnelId(other)), None);
        }
        // A tunnel that moves to another slot is found again; one that is gone is not.
        prop_assert!(writer.clear_activity(3));
        prop_assert!(writer.activity(7, TunnelId(tunnel), &activity));
        prop_assert_eq!(reader.activity(TunnelId(tunnel)), Some(activity));
        prop_assert!(writer.clear_activity(7));
        prop_assert_eq!(reader.activity(TunnelId(tunnel)), None);
        prop_assert!(!writer.activity(crate::counters::TUNNELS_MAX, TunnelId(tunnel), &activity));

        let port = PortFacts {
            device: name.as_str().into(),
            xdp_mode: "driver".into(),
            bind_mode: "copy".into(),
            mac: MacAddr([1, 2, 3, 4, 5, 6]),
            ifindex: tunnel,
            mtu: other,
            queues: 1,
            fill: 1024,
            busy_poll_us: 20,
            driver_refused: name.as_str().into(),
            zero_copy_refused: "veth0: Operation not supported".into(),
        };
        let mut facts = Facts {
            engine: name.as_str().into(),
            chunk: 2048,
            ring: 4096,
            huge_pages: other % 2 == 0,
            need_wakeup: other % 2 == 1,
            pid: tunnel,
            ports: [port; 2],
            ..Facts::default()
        };
        facts.stages[0] = "parse".into();
        facts.stages[2] = "seal".into();
        writer.facts(&facts);
        prop_assert_eq!(reader.facts(), Some(facts));
        writer.stage(2, packets_in, bytes_in);
        let stages: Vec<_> = reader.stages().iter().map(|s| (s.name.to_string(), s.packets, s.cycles)).collect();
        prop_assert_eq!(stages, [("parse".to_owned(), 0, 0), ("seal".to_owned(), packets_in, bytes_in)]);
    }

    #[test]
    fn classes_of_tunnels(values in proptest::collection::vec(any::<[u64; 10]>(), 1..=8), tunnel: u32, rate: u32) {
        let segment = segment();
        let (writer, mut reader) = (CountersWriter::new(&segment), CountersReader::new(&segment));
        let classes: Vec<ClassActivity> = values.iter().map(|v| ClassActivity {
            packets: v[0], bytes: v[1], drops_full: v[2], drops_aqm: v[3], marks: v[4], queued_packets: v[5],
            queued_bytes: v[6], delayed: v[7], delay_p50_us: v[8], delay_p99_us: v[9],
        }).collect();
        let mut activity = QosActivity::new(&classes).expect("few");
        (activity.rate_kbps, activity.exceeded, activity.exceeded_bytes) = (rate, values[0][3], values[0][4]);
        (activity.outer_mtu, activity.is_path_mtu) = (rate as u16, rate > 70_000);
        activity.probe_ceiling = (rate >> 3) as u16;
        activity.inner_mtu = tunnel as u16;
        prop_assert!(writer.qos(3, TunnelId(tunnel), &activity));
        prop_assert_eq!(reader.qos(TunnelId(tunnel)), None, "a slot without a tunnel");
        prop_assert!(writer.activity(3, TunnelId(tunnel), &TunnelActivity::default()));
        prop_assert_eq!(reader.qos(TunnelId(tunnel)), Some(activity));
        // The slot's next tunnel has not the classes of the one before.
        let other = TunnelId(tunnel ^ 1);
        prop_assert!(writer.clear_activity(3) && writer.activity(3, other, &TunnelActivity::default()));
        prop_assert_eq!((reader.qos(TunnelId(tunnel)), reader.qos(other)), (None, None));
        prop_assert!(!writer.qos(crate::counters::TUNNELS_MAX, other, &activity));
    }

    #[test]
    fn punted_messages(port: u16, remote in socket_addr(), message in proptest::collection::vec(any::<u8>(), 0..=2049)) {
        let segment = segment();
        for sender in [Role::Dataplane, Role::Control] {
            let mut tx = PuntSender::new(&segment, sender, ringer(&segment, Role::Control));
            let mut rx = PuntReceiver::new(&segment, sender);
            prop_assert_eq!(rx.recv(), Ok(None));
            if message.len() > punt::PAYLOAD_MAX {
                prop_assert_eq!(tx.send(MediaPort(port), remote, &message), Err(SendError::TooLong(message.len())));
                prop_assert!(rx.is_idle());
                continue;
            }
            prop_assert_eq!(tx.send(MediaPort(port), remote, &message), Ok(()));
            let got = rx.recv().expect("a valid slot").expect("a message");
            prop_assert_eq!((got.media_port, got.remote, got.message), (MediaPort(port), remote, &message[..]));
            prop_assert!(rx.is_idle());
        }
    }
}

#[test]
fn every_counter_has_its_own_word() {
    let segment = segment();
    let (writer, reader) = (CountersWriter::new(&segment), CountersReader::new(&segment));
    let drops = core::array::from_fn::<_, { DropReason::COUNT }, _>(|i| 1000 + i as u64);
    writer.drops(&drops);
    let ports = [Port::Outside, Port::Inside].map(|port| {
        let base = 2000 + 100 * port as u64;
        let counters = PortCounters {
            rx_packets: base,
            rx_bytes: base + 1,
            tx_packets: base + 2,
            tx_bytes: base + 3,
            rx_dropped: base + 4,
            rx_ring_full: base + 5,
            rx_fill_empty: base + 6,
            tx_invalid: base + 7,
        };
        writer.port(port, &counters);
        (port, counters)
    });
    let steering = core::array::from_fn::<_, { crate::counters::STEERING_MAX }, _>(|i| 3000 + i as u64);
    writer.steering(&steering);
    for count in Count::ALL {
        writer.count(*count, 4000 + *count as u64);
    }
    assert_eq!(reader.drops(), drops);
    assert_eq!(reader.steering(), steering);
    for (port, counters) in ports {
        assert_eq!(reader.port(port), counters);
    }
    for count in Count::ALL {
        assert_eq!(reader.count(*count), 4000 + *count as u64, "{}", count.name());
    }
}

/// Places and values to put there.
fn flips(len: usize) -> impl Strategy<Value = Vec<(usize, u8)>> {
    proptest::collection::vec((0..len, any::<u8>()), 1..4)
}

fn flip(slot: &mut [u8], flips: &[(usize, u8)]) {
    for (at, value) in flips {
        slot[*at] = *value;
    }
}
