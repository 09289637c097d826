//! The bytes that two processes of two builds may have to agree about, as text: every structure's fields, every number, and
//! one instance of every message in hex. A difference is a change of the ABI: decide whether it is meant; if it changes the
//! meaning of bytes that stay where they are, raise `ABI_VERSION`; then run once with `SIPSEC_ABI_BLESS=1` and commit.

use crate::counters::{CountersWriter, Facts, PortFacts};
use crate::handshake::message::{Hello, Refusal, Reply, Welcome};
use crate::layout::{FINGERPRINT, NUMBERS, STRUCTURES};
use crate::slot::{COMMAND_SLOT_LEN, EVENT_SLOT_LEN, command, event, punt};
use crate::text::Text;
use sipsec_net::dp::{
    Adjacency, Direction, EspCipher, Event, ExpireCause, MediaBinding, Op, OuterDscp, PacketSummary,
    PeerSource, RejectReason, SaSpec, Selector, Selectors, TunnelActivity, TunnelSpec,
};
use sipsec_net::filter::{FilterRule, FilterUse, Span};
use sipsec_net::nat::{
    NatBlock, NatEntry, NatPolicy, NatProtocol, NatRule, NatSide, NatState, NatStatistics,
};
use sipsec_net::qos::{ClassSpec, Filter, Police, PoliceAction, PortRange, QosFilters, QosSpec, Share};
use sipsec_net::{
    DropReason, Instant, IpPrefix, Kbps, MacAddr, MediaPort, SaId, SecretBox, Spi, TunnelId, TxnId,
};
use std::fmt::Write;
use zerocopy::IntoBytes;

const PATH: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/golden/layout.txt");

#[test]
fn the_bytes_are_golden() {
    let now = listing();
    if std::env::var_os("SIPSEC_ABI_BLESS").is_some() {
        std::fs::write(PATH, &now).expect("the golden file is writable");
    }
    let golden = std::fs::read_to_string(PATH).expect("the golden file");
    for (line, (now, golden)) in now.lines().zip(golden.lines()).enumerate() {
        assert_eq!(now, golden, "{PATH}:{}", line + 1);
    }
    assert_eq!(now.lines().count(), golden.lines().count(), "{PATH}");
}

fn listing() -> String {
    let mut out = String::new();
    let mut line = |text: std::fmt::Arguments<'_>| writeln!(out, "{text}").expect("a string takes all");
    line(format_args!("fingerprint {FINGERPRINT:016x}"));
    for number in NUMBERS.iter().copied().flatten() {
        line(format_args!("{} = {}", number.name, number.value));
    }
    for (index, reason) in DropReason::ALL.iter().enumerate() {
        line(format_args!("drop {index} {}", reason.name()));
    }
    for structure in STRUCTURES.iter().copied().flatten() {
        line(format_args!("struct {} {}", structure.name, structure.size));
        for field in structure.fields {
            line(format_args!("  {:>3} {:>3} {}", field.offset, field.size, field.name));
        }
    }
    for (index, op) in (0..).zip(ops()) {
        let mut slot = [0; COMMAND_SLOT_LEN];
        command::encode_op(&mut slot, &op, index, TxnId(0x0102_0304_0506_0708));
        line(format_args!("op {} {}", name(&op), hex(&slot)));
    }
    for (kind, text) in [(command::kind::BEGIN, "Begin"), (command::kind::SNAPSHOT, "Snapshot")] {
        let mut slot = [0; COMMAND_SLOT_LEN];
        let (index, txn) = if kind == command::kind::SNAPSHOT { (0, 0) } else { (13, 0x0102_0304_0506_0708) };
        command::encode_bare(&mut slot, kind, index, TxnId(txn));
        line(format_args!("op {text} {}", hex(&slot)));
    }
    for (more, text) in [(false, "Commit"), (true, "CommitMore")] {
        let mut slot = [0; COMMAND_SLOT_LEN];
        command::encode_commit(&mut slot, 13, TxnId(0x0102_0304_0506_0708), more);
        line(format_args!("op {text} {}", hex(&slot)));
    }
    for event in events() {
        let mut slot = [0; EVENT_SLOT_LEN];
        event::encode(&mut slot, &event);
        line(format_args!("event {} {}", name(&event), hex(&slot)));
    }
    let head = punt::Head::new(MediaPort(50_001), "192.0.2.33:50002".parse().expect("valid"), 200);
    line(format_args!("punt {}", hex(head.as_bytes())));
    line(format_args!("probe {}", hex(head.whole().as_bytes())));
    line(format_args!(
        "hello {}",
        hex(blank_fingerprint(Hello::new(Text::new("golden 1")).as_bytes()).as_slice())
    ));
    let welcome = Reply::welcome(&Welcome { epoch: 3, software: Text::new("golden 1") }).to_bytes();
    line(format_args!("welcome {}", hex(&blank_fingerprint(&welcome))));
    let refused = Reply::refused(Refusal::Busy, Text::new("golden 1")).to_bytes();
    line(format_args!("refused {}", hex(&blank_fingerprint(&refused))));
    let counters = counters();
    line(format_args!("activity {}", hex(counters.0.as_bytes())));
    line(format_args!("facts {}", hex(counters.1.as_bytes())));
    out
}

/// The fingerprint stands in the first line; here it would only repeat every change.
fn blank_fingerprint(message: &[u8]) -> Vec<u8> {
    let mut bytes = message.to_vec();
    bytes[12..20].fill(0xee);
    bytes
}

/// The bytes with the zeros at their end left out.
fn hex(bytes: &[u8]) -> String {
    let used = bytes.len() - bytes.iter().rev().take_while(|b| **b == 0).count();
    let zeros = bytes.len() - used;
    let text = bytes[..used].iter().fold(String::new(), |text, b| text + &format!("{b:02x}"));
    if zeros == 0 { text } else { format!("{text} +{zeros}") }
}

/// The variant's name.
fn name(value: &impl std::fmt::Debug) -> String {
    format!("{value:?}").chars().take_while(char::is_ascii_alphanumeric).collect()
}

fn binding() -> MediaBinding {
    MediaBinding {
        tunnel: TunnelId(0x1122_3344),
        inside_local: "10.255.0.1:4500".parse().expect("valid"),
        outside_local: "198.51.100.6:50001".parse().expect("valid"),
        remote: "[2001:db8::33]:50002".parse().expect("valid"),
        rate: Kbps(1000),
        next_hop: MacAddr([2, 0, 0, 0, 0, 9]),
        outer_dscp: OuterDscp::Fixed(46),
    }
}

fn ops() -> [Op; 29] {
    let tunnel = TunnelId(0x1122_3344);
    let v6 = Selector {
        addr_start: "2001:db8::1".parse().expect("valid"),
        addr_end: "2001:db8::ff".parse().expect("valid"),
        protocol: 17,
        port_start: 53,
        port_end: 54,
    };
    let key: [u8; 36] = core::array::from_fn(|i| 0x80 + i as u8);
    [
        Op::TunnelAdd(TunnelSpec {
            tunnel,
            inner_mtu: 1400,
            mss_clamp: true,
            check_source: true,
            routing_hellos: true,
            own_device: false,
            trigger_packets_max: 64,
            trigger_bytes_max: 65_536,
            trigger_age_ms_max: 5000,
        }),
        Op::TunnelRemove(tunnel),
        Op::RouteAdd { prefix: "10.2.0.0/16".parse().expect("valid"), tunnel, adjacency: Adjacency::Outside },
        Op::FilterAdd {
            tunnel,
            used: FilterUse::Idle,
            rule: FilterRule {
                permit: true,
                protocol: Some(17),
                source: Some("10.1.0.0/16".parse().expect("valid")),
                dscp: Some(46),
                destination_ports: Span { first: 520, last: 521 },
                ..FilterRule::ANY
            },
        },
        Op::FilterClear { tunnel, used: FilterUse::Trigger },
        Op::RouteRemove { prefix: "2001:db8::/32".parse::<IpPrefix>().expect("valid") },
        Op::MediaOpen(binding()),
        Op::MediaClose(MediaPort(50_001)),
        Op::NextHop { media_port: MediaPort(50_001), mac: MacAddr([2, 0, 0, 0, 0, 7]) },
        Op::PathMtu { media_port: MediaPort(50_001), mtu: Some(1454) },
        Op::SaAdd(SaSpec {
            sa: SaId(0x5566_7788),
            tunnel,
            direction: Direction::Out,
            spi: Spi::new(0xc0ff_ee00).expect("not reserved"),
            media_port: MediaPort(50_001),
            cipher: EspCipher::Aes256Gcm16,
            keymat: SecretBox::new(&key).expect("fits"),
            esn: true,
            replay_window: 1024,
            selectors: Selectors {
                local: [Some(Selector::ANY_V4), None, None, None],
                remote: [Some(Selector::ANY_V4), Some(v6), None, None],
            },
            soft_bytes_max: 0x0102_0304_0506,
            hard_bytes_max: 0x0102_0304_0507,
        }),
        Op::SaRemove(SaId(0x5566_7788)),
        Op::TunnelBind { tunnel, outbound: SaId(0x5566_7788) },
        Op::TunnelUnbind(tunnel),
        Op::ReplayTrigger(tunnel),
        Op::FlushTrigger(tunnel),
        Op::TunnelSet(TunnelSpec {
            tunnel,
            inner_mtu: 1400,
            mss_clamp: true,
            check_source: false,
            routing_hellos: true,
            own_device: true,
            trigger_packets_max: 32,
            trigger_bytes_max: 65_536,
            trigger_age_ms_max: 5000,
        }),
        Op::SaSelectors {
            sa: SaId(0x5566_7788),
            more: Selectors { local: [None; 4], remote: [Some(v6), Some(Selector::ANY_V6), None, None] },
        },
        Op::PeerSource { media_port: MediaPort(50_001), source: PeerSource::Port(61_000) },
        Op::NatPolicy(NatPolicy::default()),
        Op::NatRule {
            tunnel,
            rule: NatRule::Network {
                side: NatSide::Outside,
                local: "10.1.0.0/16".parse().expect("valid"),
                global: "10.2.0.0/16".parse().expect("valid"),
            },
        },
        Op::NatRule {
            tunnel,
            rule: NatRule::Port {
                protocol: NatProtocol::Tcp,
                local: "10.1.0.9:80".parse().expect("valid"),
                global: "192.0.2.1:8080".parse().expect("valid"),
            },
        },
        Op::NatRule {
            tunnel,
            rule: NatRule::Overload {
                source: "10.1.0.0/16".parse().expect("valid"),
                destination: IpPrefix::ANY_V4,
                first: "192.0.2.1".parse().expect("valid"),
                last: "192.0.2.4".parse().expect("valid"),
                own_address: true,
            },
        },
        Op::NatRule {
            tunnel,
            rule: NatRule::Exempt {
                source: IpPrefix::ANY_V4,
                destination: "10.3.0.0/16".parse().expect("valid"),
            },
        },
        Op::NatRemove(tunnel),
        Op::NatClear(Some("10.1.0.9".parse().expect("valid"))),
        Op::NatPage { from: 0x0102_0304 },
        Op::TunnelQos(qos(tunnel)),
        Op::TunnelQosFilters(QosFilters {
            tunnel,
            filters: core::array::from_fn(|i| (i == 0).then_some(filter())),
        }),
    ]
}

fn qos(tunnel: TunnelId) -> QosSpec {
    let voice = ClassSpec {
        guarantee: Some(Share::Percent(25)),
        ceiling: Some(Share::Kbps(500)),
        priority: true,
        outer_dscp: Some(OuterDscp::Fixed(46)),
    };
    let copied = ClassSpec { outer_dscp: Some(OuterDscp::CopyInner), ..ClassSpec::default() };
    let mut spec = QosSpec::new(tunnel).with_classes(&[ClassSpec::default(), voice, copied]).expect("few");
    spec.police = Police { action: PoliceAction::Mark(8), burst_ms: 1000 };
    spec
}

fn filter() -> Filter {
    Filter {
        dscp: 1 << 46,
        source: "10.1.0.0/16".parse().ok(),
        protocol: 17,
        destination_ports: PortRange { first: 5060, last: 5061 },
        ..Filter::any(1)
    }
}

fn events() -> [Event; 14] {
    let tunnel = TunnelId(0x1122_3344);
    let (sa, media_port) = (SaId(0x5566_7788), MediaPort(50_001));
    let first = PacketSummary {
        source: "10.1.0.2".parse().expect("valid"),
        destination: "10.2.0.2".parse().expect("valid"),
        protocol: 6,
        source_port: 40_000,
        destination_port: 443,
        len: 60,
    };
    [
        Event::Applied(TxnId(0x0102_0304_0506_0708)),
        Event::Rejected { txn: TxnId(0x0102_0304_0506_0708), op: 3, reason: RejectReason::TableFull },
        Event::Acquire { tunnel, first },
        Event::WrongSource { media_port, from: "192.0.2.66:666".parse().expect("valid") },
        Event::SaExpire { sa, cause: ExpireCause::Sequence, hard: true },
        Event::SaFirstInbound { sa },
        Event::SnapshotTunnel { tunnel, outbound: Some(sa) },
        Event::SnapshotMedia(binding()),
        Event::SnapshotSa {
            sa,
            tunnel,
            direction: Direction::In,
            spi: Spi::new(0xc0ff_ee00).expect("not reserved"),
            media_port,
        },
        Event::SnapshotEnd,
        Event::PeerPortProven { media_port, port: 61_000 },
        Event::NatEntry(NatEntry {
            tunnel,
            protocol: NatProtocol::Udp,
            inside_global: "192.0.2.1:1024".parse().expect("valid"),
            inside_local: "10.1.0.9:5000".parse().expect("valid"),
            outside_local: "198.51.100.7:53".parse().expect("valid"),
            outside_global: "198.51.100.8:53".parse().expect("valid"),
            state: NatState::Open,
            is_static: true,
            age_s: 1,
            idle_s: 2,
            left_s: 3,
        }),
        Event::NatPage {
            from: 0x0506_0708,
            next: Some(0x0102_0304),
            statistics: NatStatistics {
                sessions: 1,
                sessions_peak: 2,
                sessions_max: 3,
                mappings: 4,
                hosts: 5,
                blocks: 6,
                hits: 7,
                created: 8,
                expired: 9,
                cleared: 10,
                log_lost: 11,
            },
        },
        Event::NatBlock(NatBlock {
            tunnel,
            host: "10.1.0.9".parse().expect("valid"),
            global: "192.0.2.1".parse().expect("valid"),
            port_first: 1024,
            port_last: 1279,
            is_allocated: true,
        }),
    ]
}

/// One tunnel's slot and the facts, as they stand in a segment.
fn counters() -> (Vec<u64>, Vec<u64>) {
    let segment = super::segment();
    let writer = CountersWriter::new(&segment);
    let activity = TunnelActivity {
        last_out: Instant::from_nanos(1),
        last_in: Instant::from_nanos(2),
        packets_in: 3,
        bytes_in: 4,
        packets_out: 5,
        bytes_out: 6,
        drops_in: 7,
        drops_out: 8,
        trigger_queued: 9,
        trigger_replayed: 10,
        trigger_dropped: 11,
    };
    assert!(writer.activity(0, TunnelId(0x1122_3344), &activity));
    let port = PortFacts {
        device: "wan0".into(),
        xdp_mode: "driver".into(),
        bind_mode: "copy".into(),
        mac: MacAddr([2, 0, 0, 0, 0, 1]),
        ifindex: 5,
        mtu: 1500,
        queues: 1,
        fill: 512,
        busy_poll_us: 20,
        driver_refused: "not supported".into(),
        zero_copy_refused: "wan0: not supported".into(),
    };
    let mut facts = Facts {
        software: "golden 1".into(),
        engine: "ring".into(),
        workers: 1,
        frames: 4096,
        chunk: 2048,
        ring: 2048,
        huge_pages: true,
        need_wakeup: true,
        pid: 4711,
        ports: [port; 2],
        ..Facts::default()
    };
    facts.stages[31] = "tx".into();
    writer.facts(&facts);
    let words = |at: usize, len: usize| {
        let words = segment.words(crate::layout::offset::COUNTERS + at * 8, len);
        words.iter().map(|word| word.load(core::sync::atomic::Ordering::Relaxed)).collect()
    };
    let number = |name: &str| {
        let mut all = NUMBERS.iter().copied().flatten();
        all.find(|number| number.name == name).expect("a number of that name").value as usize
    };
    let (facts_at, activity_at) = (number("counters.facts"), number("counters.activity"));
    (words(activity_at, number("counters.activity_words")), words(facts_at, activity_at - facts_at))
}
