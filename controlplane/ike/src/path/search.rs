//! Datagram packetization layer path MTU discovery (RFC 8899): which sizes to probe, and what the answers say.
//!
//! ```text
//!             probe of the ceiling answered
//!      Base ──────────────────────────────────▶ Complete ◀── nothing left between the two ──────────────────┐
//!        │                                       │    │                                                     │
//!        │ answered without padding alone        │    └── after 600 s: the refused size again ─▶ Search ────┘
//!        ▼                                       │                                               ▲ │
//!  Search, or Error below the base ◀─ black hole ┘                                               └─┘ next size
//! ```
//! The search begins at the ceiling, which is the MTU of the WAN or what an ICMP error said (§4.6): most paths carry it, and one
//! round trip proves that. Only an answered size counts as carried. The call is bounded only after a probe was lost.

use core::time::Duration;
use sipsec_net::{Instant, ipv6};

/// RFC 8899 §5.1.2: BASE_PLPMTU, and over IPv6 the minimum MTU.
const BASE_V4: u16 = 1200;
/// MIN_PLPMTU, §5.1.2, and RFC 791 §3.2: what every host takes.
const MIN_V4: u16 = 576;
/// The largest probe: an IKE message of 2,048 bytes, which is what the dataplanes pass on.
const PROBE_MAX: u16 = 2048 + 32;
/// MAX_PROBES, §5.1.2.
pub(crate) const PROBES_MAX: u32 = 3;
/// PROBE_TIMER, §5.1.1: not less than 1 s.
pub(crate) const PROBE_TIMER: Duration = Duration::from_secs(1);
/// PMTU_RAISE_TIMER, §5.1.1; the size in use is confirmed at the same time.
const RAISE: Duration = Duration::from_secs(600);
/// Shortest time between two confirmations that a black hole is suspected for.
const SUSPECT_EVERY: Duration = Duration::from_secs(60);
/// Next probe after an exchange that never ended because its IKE SA was replaced.
const RETRY: Duration = Duration::from_secs(30);
/// The search ends when the smallest size that does not pass is no further away: a cipher block of IKE.
const GRANULARITY: u16 = 16;

/// §5.3.2: sizes that links have: the base, the minimum of IPv6, common tunnels, IPv6 over PPPoE and PPPoE over L2TP of Japanese access
/// lines, IPv4 over IPv6, PPPoE.
const TABLE: [u16; 8] = [1200, 1280, 1400, 1420, 1438, 1454, 1460, 1492];

/// RFC 8899 §5.2.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum PathPhase {
    /// Not probed.
    Disabled,
    /// Nothing is known yet.
    Base,
    Search,
    Complete,
    /// Not even the base of 1,200 bytes passes (IPv6: 1,280).
    Error,
}

/// What `show` says of it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct PathView {
    pub phase: PathPhase,
    /// The largest IP packet that was answered; 0 for none.
    pub proved: u16,
    /// The smallest that was not.
    pub refused: Option<u16>,
    pub probes: u64,
    pub probes_lost: u64,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Aim {
    Search,
    /// The size in use.
    Confirm,
    /// The smallest size that did not pass, which may pass now.
    Raise,
}

#[derive(Debug)]
pub(crate) struct Search {
    phase: PathPhase,
    base: u16,
    min: u16,
    /// PLPMTU: the largest size that was answered.
    proved: u16,
    /// The smallest size that was not.
    refused: Option<u16>,
    /// Something was lost for its size, and the ceiling has not been answered since.
    bounded: bool,
    /// What [`Self::take_change`] said last.
    reported: Option<u16>,
    /// Of the WAN and of ICMP errors; 0 while it is not known.
    ceiling: u16,
    aim: Aim,
    due: Option<Instant>,
    suspected_at: Instant,
    probes: u64,
    lost: u64,
}

impl Search {
    pub const fn new(v6: bool, enabled: bool) -> Self {
        let (base, min) = if v6 { (ipv6::MTU_MIN, ipv6::MTU_MIN) } else { (BASE_V4, MIN_V4) };
        Self {
            phase: if enabled { PathPhase::Base } else { PathPhase::Disabled },
            base,
            min,
            proved: 0,
            refused: None,
            bounded: false,
            reported: None,
            ceiling: 0,
            aim: Aim::Search,
            due: None,
            suspected_at: Instant::ZERO,
            probes: 0,
            lost: 0,
        }
    }

    /// The largest packet that leaves by the WAN, as far as is known without probes.
    pub fn set_ceiling(&mut self, now: Instant, ceiling: u16) {
        if self.phase == PathPhase::Disabled || core::mem::replace(&mut self.ceiling, ceiling) == ceiling {
            return;
        }
        if self.proved > ceiling {
            // §4.6.2: to be confirmed at its new size.
            self.proved = ceiling.max(self.min);
            self.aim = Aim::Confirm;
        } else {
            self.aim = Aim::Search;
        }
        self.refused = self.refused.filter(|refused| *refused <= ceiling);
        self.bounded &= self.proved < self.top();
        self.due = Some(now);
    }

    /// Whether a packet of this size cannot pass, by what is known without probes.
    const fn exceeds_ceiling(&self, size: u16) -> bool {
        self.ceiling > 0 && size > self.ceiling
    }

    /// A packet of this size was answered.
    pub fn proved(&mut self, size: u16) {
        self.proved = self.proved.max(size);
    }

    /// When the next probe is due.
    pub const fn due(&self) -> Option<Instant> {
        self.due
    }

    /// The size of the probe that is due, which counts as sent. `fit` is the largest size not above its argument that a probe can
    /// have: block ciphers leave steps.
    pub fn next(&mut self, now: Instant, fit: impl Fn(u16) -> u16) -> Option<u16> {
        if self.due.is_none_or(|due| due > now) {
            return None;
        }
        let size = loop {
            let Some(wanted) = self.candidate() else {
                self.complete(now);
                return None;
            };
            let size = fit(wanted);
            if self.aim == Aim::Confirm || size > self.proved {
                break size;
            }
            // No probe has this size, so the size counts as refused.
            self.refuse(wanted);
            self.aim = Aim::Search;
        };
        if self.phase == PathPhase::Complete && self.aim != Aim::Confirm {
            self.phase = PathPhase::Search;
        }
        self.probes += 1;
        self.due = Some(now + RETRY);
        Some(size)
    }

    fn top(&self) -> u16 {
        self.ceiling.min(PROBE_MAX)
    }

    fn candidate(&self) -> Option<u16> {
        let (low, top) = (self.proved, self.top());
        match (self.aim, self.refused.filter(|refused| *refused <= top)) {
            (Aim::Confirm, _) => Some(low.max(self.min).min(top)),
            (Aim::Raise, Some(refused)) => Some(refused).filter(|size| *size > low),
            (_, None) => Some(top).filter(|top| *top > low),
            (Aim::Search, Some(refused)) => {
                let low = low.max(self.min);
                let first = TABLE.partition_point(|size| *size <= low);
                let between = &TABLE[first..TABLE.partition_point(|size| *size < refused).max(first)];
                match between.get(between.len() / 2) {
                    Some(size) => Some(*size),
                    None if refused.saturating_sub(low) > GRANULARITY => Some(low + (refused - low) / 2),
                    None => None,
                }
            }
        }
    }

    fn refuse(&mut self, size: u16) {
        self.refused = Some(self.refused.map_or(size, |before| before.min(size)));
        self.bounded = true;
    }

    fn complete(&mut self, now: Instant) {
        self.phase =
            if self.proved.max(self.min) < self.base { PathPhase::Error } else { PathPhase::Complete };
        self.aim = Aim::Confirm;
        self.due = Some(now + RAISE);
    }

    /// A probe of this size was answered.
    pub fn confirmed(&mut self, now: Instant, size: u16) {
        self.proved = self.proved.max(size);
        // The peer answered what another probe's loss had ruled out.
        self.refused = self.refused.filter(|refused| *refused > size);
        self.bounded &= self.proved < self.top();
        self.aim = match self.aim {
            Aim::Confirm if self.refused.is_some() => Aim::Raise,
            Aim::Confirm | Aim::Search | Aim::Raise => Aim::Search,
        };
        self.due = Some(now);
        if self.phase == PathPhase::Base || self.phase == PathPhase::Error && self.proved >= self.base {
            self.phase = PathPhase::Search;
        }
        if self.candidate().is_none() {
            self.complete(now);
        }
    }

    /// A probe had no answer: nothing of `refused` bytes passes, and `proved` does.
    pub fn too_large(&mut self, now: Instant, refused: u16, proved: u16) {
        self.lost += 1;
        let was = core::mem::replace(&mut self.aim, Aim::Search);
        self.due = Some(now);
        if self.exceeds_ceiling(refused) {
            // An ICMP error has said so meanwhile.
            return;
        }
        self.refuse(refused);
        if refused <= self.proved {
            // §4.3: a black hole. Earlier proofs are void.
            self.proved = proved;
            self.refused = Some(refused);
        }
        self.proved = self.proved.max(proved);
        self.phase = if refused <= self.base { PathPhase::Error } else { PathPhase::Search };
        if was == Aim::Raise || self.candidate().is_none() {
            self.complete(now);
        }
    }

    /// Packets leave and none comes, yet the peer lives: the size in use may not pass any more (§4.3).
    pub fn suspect(&mut self, now: Instant) {
        if self.phase == PathPhase::Complete && now >= self.suspected_at + SUSPECT_EVERY {
            self.suspected_at = now;
            self.aim = Aim::Confirm;
            self.due = Some(now);
        }
    }

    /// Largest outer packet of the call; `None` if no size is known to be lost. Until a probe of the base is lost, the base counts
    /// as carried (§5.2).
    pub fn bound(&self) -> Option<u16> {
        let searching = self.phase == PathPhase::Search && self.refused.is_none_or(|size| size > self.base);
        // A WAN whose MTU is below the minimum bounds the call by itself.
        let assumed = if searching { self.base.min(self.top()).max(self.min) } else { self.min };
        self.bounded.then(|| self.proved.max(assumed))
    }

    /// [`Self::bound`], if it is another than before.
    pub fn take_change(&mut self) -> Option<Option<u16>> {
        let bound = self.bound();
        (core::mem::replace(&mut self.reported, bound) != bound).then_some(bound)
    }

    pub const fn view(&self) -> PathView {
        PathView {
            phase: self.phase,
            proved: self.proved,
            refused: self.refused,
            probes: self.probes,
            probes_lost: self.lost,
        }
    }
}
