//! What one worker counts, and what it has.

/// Words of one worker.
pub(super) const WORDS: usize = 16;
/// The core of a worker that is not pinned.
const ANY_CORE: u64 = u64::MAX;

/// One worker's part of what the dataplane counts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct WorkerCounters {
    /// The core that it is pinned to.
    pub core: Option<u16>,
    /// Receive queues, indexed by [`super::Port`].
    pub queues: [u32; 2],
    pub turns: u64,
    pub turns_idle: u64,
    pub sleeps: u64,
    /// Free frames of its UMEM.
    pub frames_free: u64,
    /// Packets received and sent, indexed by [`super::Port`].
    pub received: [u64; 2],
    pub sent: [u64; 2],
    /// Packets that were another worker's, and those that came from others.
    pub handed_over: u64,
    pub handed_in: u64,
    /// SAs of the tunnels that it owns.
    pub sas: u64,
}

impl WorkerCounters {
    pub(super) fn to_words(self) -> [u64; WORDS] {
        let [rx_out, rx_in] = self.received;
        let [tx_out, tx_in] = self.sent;
        let [queues_out, queues_in] = self.queues.map(u64::from);
        [
            self.core.map_or(ANY_CORE, u64::from),
            queues_out,
            queues_in,
            self.turns,
            self.turns_idle,
            self.sleeps,
            self.frames_free,
            rx_out,
            rx_in,
            tx_out,
            tx_in,
            self.handed_over,
            self.handed_in,
            self.sas,
            0,
            0,
        ]
    }

    pub(super) fn from_words(words: [u64; WORDS]) -> Self {
        let [
            core,
            queues_out,
            queues_in,
            turns,
            turns_idle,
            sleeps,
            frames_free,
            rx_out,
            rx_in,
            tx_out,
            tx_in,
            handed_over,
            handed_in,
            sas,
            ..,
        ] = words;
        Self {
            core: u16::try_from(core).ok(),
            queues: [queues_out, queues_in].map(|n| u32::try_from(n).unwrap_or(u32::MAX)),
            turns,
            turns_idle,
            sleeps,
            frames_free,
            received: [rx_out, rx_in],
            sent: [tx_out, tx_in],
            handed_over,
            handed_in,
            sas,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_number_comes_back() {
        let mut n = 0;
        let mut next = || {
            n += 1;
            n
        };
        let counters = WorkerCounters {
            core: Some(3),
            queues: [2, 1],
            turns: next(),
            turns_idle: next(),
            sleeps: next(),
            frames_free: next(),
            received: [next(), next()],
            sent: [next(), next()],
            handed_over: next(),
            handed_in: next(),
            sas: next(),
        };
        assert_eq!(WorkerCounters::from_words(counters.to_words()), counters);
        let unpinned = WorkerCounters { core: None, ..counters };
        assert_eq!(WorkerCounters::from_words(unpinned.to_words()), unpinned);
    }
}
