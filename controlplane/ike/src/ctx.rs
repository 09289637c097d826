//! What every state shares: configuration, randomness, the queue of outputs, counters.

use crate::compute::{Job, JobId};
use crate::config::{EndpointConfig, PskSlot};
use crate::crash::TokenMaker;
use crate::error::IkeError;
use crate::output::{ChildId, Event, Output};
use crate::path::Path;
use crate::secret::Secret;
use crate::view::Counters;
use core::time::Duration;
use sipsec_net::{Entropy, Instant, Spi};
use std::collections::VecDeque;

/// Length of our nonces. RFC 7296 §2.10: at least half the key size of the PRF, and at least 16.
pub(crate) const NONCE_LEN: usize = 32;

pub(crate) struct Ctx {
    pub config: EndpointConfig,
    /// `None`: no crash detection (RFC 6290).
    pub tokens: Option<TokenMaker>,
    pub entropy: Box<dyn Entropy>,
    pub counters: Counters,
    /// The last proof that the peer lives (RFC 7296 §2.4): a message that passed its ICV, or ESP.
    pub last_heard: Instant,
    /// See [`crate::Endpoint::proofs`].
    pub proofs: u64,
    /// When IKE (keepalives included) or ESP was last sent: that keeps the mapping of a NAT in front of us (RFC 3948 §4).
    pub last_sent: Instant,
    /// When ESP was last sent to the peer, or last came from it.
    pub last_data: Instant,
    /// What is known of the path to the peer.
    pub path: Path,
    /// The time of the input that is being handled.
    now: Instant,
    outputs: VecDeque<Output>,
    next_job: u64,
    next_child: u32,
    generation: u32,
    /// The input is for a new IKE SA of the same call, beside or after the one before (RFC 7296 §2.8.3).
    beside: Option<Beside>,
    /// A further IKE SA is being negotiated in earnest, and may take this long.
    pub further_until: Option<Instant>,
    /// The pre-shared key that the peer has proven last in this call.
    pub proven_psk: Option<PskSlot>,
}

/// What the negotiation of a further IKE SA has to know and leaves behind.
#[derive(Default)]
pub(crate) struct Beside {
    /// The CHILD_SA that carries the traffic so far.
    pub predecessor: Option<ChildId>,
    /// It came to nothing; the call is not over for that.
    pub failed: Option<IkeError>,
}

impl Ctx {
    pub fn new(config: EndpointConfig, entropy: Box<dyn Entropy>) -> Self {
        let secret = config.crash_detection.clone();
        let path = Path::new(config.remote.ip(), config.probe.is_some());
        Self {
            tokens: secret.map(|secret| TokenMaker::new(secret, config.local, config.remote.ip())),
            config,
            entropy,
            counters: Counters::default(),
            last_heard: Instant::ZERO,
            proofs: 0,
            last_sent: Instant::ZERO,
            last_data: Instant::ZERO,
            path,
            now: Instant::ZERO,
            outputs: VecDeque::new(),
            next_job: 0,
            next_child: 0,
            generation: 0,
            beside: None,
            further_until: None,
            proven_psk: None,
        }
    }

    /// To be called before each input is handled.
    pub fn begin(&mut self, now: Instant) {
        self.now = now;
    }

    pub fn transmit(&mut self, datagram: Vec<u8>) {
        self.last_sent = self.now;
        self.outputs.push_back(Output::Transmit(datagram));
    }

    pub fn transmit_probe(&mut self, datagram: Vec<u8>) {
        self.last_sent = self.now;
        self.outputs.push_back(Output::Probe(datagram));
    }

    pub fn nat_keepalive(&mut self) {
        self.last_sent = self.now;
        self.counters.nat_keepalives_out += 1;
        self.outputs.push_back(Output::NatKeepalive);
    }

    pub fn event(&mut self, event: Event) {
        match (event, &mut self.beside) {
            (Event::Failed(error), Some(beside)) => beside.failed = Some(error),
            (event, _) => self.outputs.push_back(Output::Event(event)),
        }
    }

    /// What happens until [`Self::leave_aside`] concerns a further IKE SA.
    pub fn go_aside(&mut self, predecessor: Option<ChildId>) {
        self.beside = Some(Beside { predecessor, failed: None });
    }

    /// Why the further IKE SA failed, if it did.
    pub fn leave_aside(&mut self) -> Option<IkeError> {
        self.beside.take().and_then(|b| b.failed)
    }

    pub const fn is_aside(&self) -> bool {
        self.beside.is_some()
    }

    pub fn predecessor(&self) -> Option<ChildId> {
        self.beside.as_ref().and_then(|b| b.predecessor)
    }

    /// Counts the authentications of the call.
    pub const fn next_generation(&mut self) -> u32 {
        self.generation += 1;
        self.generation
    }

    /// The authentication that holds.
    pub const fn generation(&self) -> u32 {
        self.generation
    }

    pub fn compute(&mut self, job: Job) -> JobId {
        let id = JobId(self.next_job);
        self.next_job += 1;
        self.outputs.push_back(Output::Compute(id, job));
        id
    }

    pub fn pop(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    pub fn child_id(&mut self) -> ChildId {
        let id = ChildId(self.next_child);
        self.next_child += 1;
        id
    }

    pub fn nonce(&mut self) -> Vec<u8> {
        let mut out = vec![0; NONCE_LEN];
        self.entropy.fill(&mut out);
        out
    }

    pub fn secret(&mut self, len: usize) -> Secret {
        let mut out = vec![0; len];
        self.entropy.fill(&mut out);
        Secret::new(out)
    }

    /// RFC 7296 §2.6: an SPI is never zero.
    pub fn ike_spi(&mut self) -> u64 {
        self.entropy.u64().max(1)
    }

    pub fn esp_spi(&mut self) -> Spi {
        // The reserved range is 256 values of 2³²; setting a high bit of those moves them out of it.
        let value = self.entropy.u32();
        Spi::new(value)
            .or_else(|| Spi::new(value | 0x8000_0000))
            .expect("a value with its top bit set is not reserved")
    }

    /// For [`crate::Lifetime::jittered`].
    pub fn random(&mut self) -> u32 {
        self.entropy.below(1 << 16)
    }

    /// `soft` less a random share of itself (RFC 7296 §2.8.1: rekeying SHOULD be jittered).
    pub fn jittered(&mut self, soft: Duration, percent: u32) -> Duration {
        let span = soft.saturating_mul(percent.min(100)) / 100;
        let share = self.entropy.below(1 << 16);
        soft.saturating_sub(span.saturating_mul(share) / (1 << 16))
    }
}
