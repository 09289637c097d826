//! What each stage has seen and what it cost, measured on a sample of the batches with a counter that the worker injects.

/// Processor cycles, or any other fine-grained counter.
pub trait CycleCounter: Send {
    fn now(&self) -> u64;
}

macro_rules! stages {
    ($($(#[$doc:meta])* $name:ident = $text:literal,)*) => {
        /// The measured stages, in the order of [`crate::graph`].
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        #[repr(usize)]
        pub enum Stage { $($(#[$doc])* $name,)* }

        impl Stage {
            pub const ALL: &'static [Self] = &[$(Self::$name,)*];
            pub const COUNT: usize = Self::ALL.len();

            #[must_use]
            pub const fn name(self) -> &'static str {
                match self { $(Self::$name => $text,)* }
            }
        }
    };
}

stages! {
    /// Ethernet, IP and port numbers of a packet from inside.
    Parse = "parse",
    /// TTL, FIB, MSS, MTU, rate.
    Route = "route",
    /// Selectors, sequence number, ESP and outer headers.
    Prepare = "prepare",
    /// The engine, and the way to the outside port.
    Seal = "seal",
    /// Outer headers, media port, source.
    OutsideParse = "outside-parse",
    /// SAD and replay window.
    Check = "check",
    /// The engine.
    Open = "open",
    /// The window's move, inner headers, selectors, ECN, MSS, inside headers.
    Deliver = "deliver",
}

/// Cycles are those of the sampled packets: divide one by the other.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct StageStats {
    pub packets: u64,
    pub cycles: u64,
}

/// One in so many batches is measured, with all its packets.
pub(crate) const SAMPLE_EVERY: u32 = 64;

pub(crate) struct Stages {
    counter: Option<Box<dyn CycleCounter>>,
    countdown: u32,
    is_sampled: bool,
    /// The moment at which the stage under way began; `None` while the batch is not in the sample.
    mark: Option<u64>,
    stats: [StageStats; Stage::COUNT],
}

impl Stages {
    pub(crate) const fn new(counter: Option<Box<dyn CycleCounter>>) -> Self {
        Self {
            counter,
            countdown: 0,
            is_sampled: false,
            mark: None,
            stats: [StageStats { packets: 0, cycles: 0 }; Stage::COUNT],
        }
    }

    /// A batch begins.
    pub(crate) const fn batch(&mut self) {
        self.mark = None;
        self.is_sampled = self.counter.is_some() && self.countdown == 0;
        self.countdown = if self.countdown == 0 { SAMPLE_EVERY - 1 } else { self.countdown - 1 };
    }

    /// A packet begins, or a stage that all packets of the batch pass together.
    #[inline]
    pub(crate) fn begin(&mut self) {
        if self.is_sampled {
            self.mark = self.counter.as_ref().map(|counter| counter.now());
        }
    }

    /// The packet has passed a stage.
    #[inline]
    pub(crate) fn passed(&mut self, stage: Stage) {
        if self.is_sampled {
            self.passed_by(stage, 1);
        }
    }

    /// So many packets have passed a stage together.
    pub(crate) fn passed_by(&mut self, stage: Stage, packets: usize) {
        let (Some(start), Some(counter)) = (self.mark, &self.counter) else { return };
        let now = counter.now();
        let stats = &mut self.stats[stage as usize];
        stats.packets += packets as u64;
        stats.cycles += now.saturating_sub(start);
        self.mark = Some(now);
    }

    pub(crate) const fn stats(&self) -> &[StageStats; Stage::COUNT] {
        &self.stats
    }
}
