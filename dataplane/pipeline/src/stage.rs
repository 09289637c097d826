//! What each stage has seen and what it cost, measured on a sample of the packets with a counter that the worker injects.

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
    /// TTL, FIB, MSS, MTU.
    Route = "route",
    /// Rate, selectors, ESP, outer headers.
    Seal = "seal",
    /// Outer headers, media port, source.
    OutsideParse = "outside-parse",
    /// SAD, replay window, ESP.
    Open = "open",
    /// Inner headers, selectors, ECN, MSS, inside headers.
    Deliver = "deliver",
}

/// Cycles are those of the sampled packets: divide one by the other.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct StageStats {
    pub packets: u64,
    pub cycles: u64,
}

/// One in so many packets is measured.
pub(crate) const SAMPLE_EVERY: u32 = 64;

pub(crate) struct Stages {
    counter: Option<Box<dyn CycleCounter>>,
    countdown: u32,
    /// The moment at which the stage under way began; `None` while the packet is not in the sample.
    mark: Option<u64>,
    stats: [StageStats; Stage::COUNT],
}

impl Stages {
    pub(crate) const fn new(counter: Option<Box<dyn CycleCounter>>) -> Self {
        Self {
            counter,
            countdown: 0,
            mark: None,
            stats: [StageStats { packets: 0, cycles: 0 }; Stage::COUNT],
        }
    }

    /// A packet begins.
    pub(crate) fn begin(&mut self) {
        self.mark = None;
        let Some(counter) = &self.counter else { return };
        if self.countdown == 0 {
            self.countdown = SAMPLE_EVERY;
            self.mark = Some(counter.now());
        }
        self.countdown -= 1;
    }

    /// The packet has passed a stage.
    pub(crate) fn passed(&mut self, stage: Stage) {
        let (Some(start), Some(counter)) = (self.mark, &self.counter) else { return };
        let now = counter.now();
        let stats = &mut self.stats[stage as usize];
        stats.packets += 1;
        stats.cycles += now.saturating_sub(start);
        self.mark = Some(now);
    }

    pub(crate) const fn stats(&self) -> &[StageStats; Stage::COUNT] {
        &self.stats
    }
}
