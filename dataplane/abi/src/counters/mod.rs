//! Counters and facts that the dataplane publishes and the control plane reads, for the idle timer and for `show dataplane`.
//!
//! Every value is absolute: the dataplane counts in its own memory and copies here now and then, so a new segment starts
//! with the true numbers and nothing written here by another process ever reaches the packet path. Single counters are
//! single words; what must be seen as one (a tunnel's activity, the facts) is a [`crate::seqcell`].

mod facts;
mod qos;
mod reader;
mod worker;
mod writer;

pub use facts::{Facts, PortFacts};
pub use reader::{CountersReader, StageView};
pub use worker::WorkerCounters;
pub use writer::CountersWriter;

use crate::layout::{self, Number};
use sipsec_net::dp::TunnelActivity;
use sipsec_net::{DropReason, Instant, TunnelId};

/// Room for drop reasons to come without moving what follows.
pub const DROPS_MAX: usize = 96;
/// Most stages of the pipeline that are shown.
pub const STAGES_MAX: usize = 32;
/// Most counters of the XDP programs.
pub const STEERING_MAX: usize = 16;
/// Room for [`Count`]s to come.
pub const COUNTS_MAX: usize = 32;
/// Workers with counters of their own.
pub const WORKERS_MAX: usize = 16;
/// Tunnels with an activity slot.
pub const TUNNELS_MAX: usize = 16_384;

const PORT_WORDS: usize = 8;
/// One cache line pair per tunnel: version, tunnel, then the values.
const ACTIVITY_WORDS: usize = 16;

const DROPS: usize = 0;
const STAGES: usize = DROPS + DROPS_MAX;
const PORTS: usize = STAGES + STAGES_MAX * 2;
const STEERING: usize = PORTS + PORT_WORDS * 2;
const COUNTS: usize = STEERING + STEERING_MAX;
const FACTS: usize = COUNTS + COUNTS_MAX;
const WORKERS: usize = 512;
const ACTIVITY: usize = WORKERS + WORKERS_MAX * worker::WORDS;
pub(crate) const REGION_WORDS: usize = qos::AT + TUNNELS_MAX * qos::WORDS;

const _: () = assert!(DropReason::COUNT <= DROPS_MAX, "every drop reason has a counter");
const _: () = assert!(FACTS + 1 + facts::WORDS <= WORKERS, "the facts fit before the workers");
const _: () = assert!(ACTIVITY_VALUES < ACTIVITY_WORDS, "a tunnel's values fit its slot");
const _: () = assert!(crate::bpf::COUNTERS as usize <= STEERING_MAX, "every steering counter fits");

/// The two ports of a dataplane.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(usize)]
pub enum Port {
    Outside = 0,
    Inside = 1,
}

/// What a port has carried, and what its sockets' statistics say (`XDP_STATISTICS`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PortCounters {
    pub rx_packets: u64,
    pub rx_bytes: u64,
    pub tx_packets: u64,
    pub tx_bytes: u64,
    pub rx_dropped: u64,
    pub rx_ring_full: u64,
    pub rx_fill_empty: u64,
    pub tx_invalid: u64,
}

impl PortCounters {
    const fn to_words(self) -> [u64; PORT_WORDS] {
        [
            self.rx_packets,
            self.rx_bytes,
            self.tx_packets,
            self.tx_bytes,
            self.rx_dropped,
            self.rx_ring_full,
            self.rx_fill_empty,
            self.tx_invalid,
        ]
    }

    const fn from_words(words: [u64; PORT_WORDS]) -> Self {
        let [rx_packets, rx_bytes, tx_packets, tx_bytes, rx_dropped, rx_ring_full, rx_fill_empty, tx_invalid] =
            words;
        Self {
            rx_packets,
            rx_bytes,
            tx_packets,
            tx_bytes,
            rx_dropped,
            rx_ring_full,
            rx_fill_empty,
            tx_invalid,
        }
    }
}

macro_rules! counts {
    ($($(#[$doc:meta])* $name:ident = $text:literal,)*) => {
        /// Numbers of the dataplane as a whole. The discriminant is the word's index.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[repr(usize)]
        pub enum Count { $($(#[$doc])* $name,)* }

        impl Count {
            pub const ALL: &'static [Self] = &[$(Self::$name,)*];

            /// Stable name, as shown by `show dataplane` and by the metrics.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self { $(Self::$name => $text,)* }
            }
        }

        const COUNT_NUMBERS: &[Number] = &[$(Number { name: $text, value: Count::$name as u64 },)*];
    };
}

counts! {
    /// Turns of the worker's loop.
    Turns = "turns",
    /// Turns that found nothing to do.
    TurnsIdle = "turns_idle",
    /// Times that the worker slept in the kernel.
    Sleeps = "sleeps",
    TransactionsApplied = "transactions_applied",
    TransactionsRejected = "transactions_rejected",
    /// Answered again without being applied again.
    TransactionsRepeated = "transactions_repeated",
    /// Ring slots from the control plane that made no command or no message.
    SlotsDiscarded = "slots_discarded",
    /// Impossible cursors of the control plane.
    RingFaults = "ring_faults",
    /// Control planes that have connected.
    Connections = "connections",
    /// Connections refused at the handshake.
    ConnectionsRefused = "connections_refused",
    Acquires = "acquires",
    /// IKE messages to the control plane and from it.
    IkeUp = "ike_up",
    IkeDown = "ike_down",
    /// Live at the moment.
    Tunnels = "tunnels",
    Routes = "routes",
    MediaPorts = "media_ports",
    Sas = "sas",
    /// Free frames of the UMEM.
    FramesFree = "frames_free",
    /// Packets that wait for an SA.
    TriggerWaiting = "trigger_waiting",
    /// Packets that wait for their turn at the negotiated rate.
    ShaperWaiting = "shaper_waiting",
    /// Events for which the control plane had no room for too long.
    EventsLost = "events_lost",
    /// Packets that came to one worker and were another's.
    HandedOver = "handed_over",
}

const _: () = assert!(Count::ALL.len() <= COUNTS_MAX, "every count has a word");

pub(crate) const NUMBERS: &[Number] = {
    const REGION: [Number; 14] = [
        Number { name: "counters.stages", value: STAGES as u64 },
        Number { name: "counters.ports", value: PORTS as u64 },
        Number { name: "counters.steering", value: STEERING as u64 },
        Number { name: "counters.counts", value: COUNTS as u64 },
        Number { name: "counters.facts", value: FACTS as u64 },
        Number { name: "counters.workers", value: WORKERS as u64 },
        Number { name: "counters.worker_words", value: worker::WORDS as u64 },
        Number { name: "counters.workers_max", value: WORKERS_MAX as u64 },
        Number { name: "counters.activity", value: ACTIVITY as u64 },
        Number { name: "counters.activity_words", value: ACTIVITY_WORDS as u64 },
        Number { name: "counters.qos", value: qos::AT as u64 },
        Number { name: "counters.qos_words", value: qos::WORDS as u64 },
        Number { name: "counters.tunnels_max", value: TUNNELS_MAX as u64 },
        Number { name: "counters.region_words", value: REGION_WORDS as u64 },
    ];
    const ALL: [Number; REGION.len() + COUNT_NUMBERS.len()] = {
        let mut all = [REGION[0]; REGION.len() + COUNT_NUMBERS.len()];
        let mut i = 0;
        while i < all.len() {
            all[i] = if i < REGION.len() { REGION[i] } else { COUNT_NUMBERS[i - REGION.len()] };
            i += 1;
        }
        all
    };
    &ALL
};

pub(crate) const DESCRIPTIONS: &[layout::Description] = facts::DESCRIPTIONS;

/// Tunnel (with bit 32 set, so that no tunnel is zero), then [`TunnelActivity`] in the order of its fields.
const ACTIVITY_VALUES: usize = 12;

fn encode_activity(tunnel: TunnelId, a: &TunnelActivity) -> [u64; ACTIVITY_VALUES] {
    [
        1 << 32 | u64::from(tunnel.0),
        a.last_out.as_nanos(),
        a.last_in.as_nanos(),
        a.packets_in,
        a.bytes_in,
        a.packets_out,
        a.bytes_out,
        a.drops_in,
        a.drops_out,
        a.trigger_queued,
        a.trigger_replayed,
        a.trigger_dropped,
    ]
}

/// `None` for a slot without a tunnel, or with one that cannot be.
fn decode_activity(words: [u64; ACTIVITY_VALUES]) -> Option<(TunnelId, TunnelActivity)> {
    let [
        tunnel,
        last_out,
        last_in,
        packets_in,
        bytes_in,
        packets_out,
        bytes_out,
        drops_in,
        drops_out,
        trigger_queued,
        trigger_replayed,
        trigger_dropped,
    ] = words;
    if tunnel >> 32 != 1 {
        return None;
    }
    let activity = TunnelActivity {
        last_out: Instant::from_nanos(last_out),
        last_in: Instant::from_nanos(last_in),
        packets_in,
        bytes_in,
        packets_out,
        bytes_out,
        drops_in,
        drops_out,
        trigger_queued,
        trigger_replayed,
        trigger_dropped,
    };
    Some((TunnelId(tunnel as u32), activity)) // the upper half is the mark
}
