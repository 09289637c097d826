//! The front door: bytes, time and outcomes come in, outputs go out.

use crate::compute::{JobId, Outcome};
use crate::config::EndpointConfig;
use crate::error::CloseCause;
use crate::output::{ChildId, Output};
use crate::view::{Counters, NatView, SaView, StateName};
use core::fmt;
use sipsec_net::{Entropy, Fingerprint, HashFunc, Instant};
use std::collections::VecDeque;

/// One IKE peer of one authorised call.
pub struct Endpoint {
    config: EndpointConfig,
    entropy: Box<dyn Entropy>,
    outputs: VecDeque<Output>,
}

impl Endpoint {
    #[must_use]
    pub fn new(config: EndpointConfig, entropy: Box<dyn Entropy>) -> Self {
        Self { config, entropy, outputs: VecDeque::new() }
    }

    /// The initiator sends IKE_SA_INIT, the responder begins to listen. A pre-shared key other than the one announced
    /// in SDP fails here, before anything is sent.
    pub fn start(&mut self, now: Instant) {
        let _ = (now, &mut self.entropy);
    }

    /// An IKE message without its marker. The dataplane has checked where it came from.
    pub fn handle_datagram(&mut self, now: Instant, bytes: &[u8]) {
        let _ = (now, bytes);
    }

    pub fn handle_timeout(&mut self, now: Instant) {
        let _ = now;
    }

    pub fn handle_compute(&mut self, now: Instant, job: JobId, outcome: Outcome) {
        let _ = (now, job, outcome);
    }

    /// The dataplane has applied what the last `ChildSaUp`, `ChildSaReplaced` or `ChildSaBind` of `child` asked for.
    pub fn handle_child_installed(&mut self, now: Instant, child: ChildId) {
        let _ = (now, child);
    }

    /// The dataplane refused it.
    pub fn handle_child_rejected(&mut self, now: Instant, child: ChildId) {
        let _ = (now, child);
    }

    /// ESP of this peer was received and its ICV held at `last_in`: proof of life (RFC 7296 §2.4).
    pub fn traffic_seen(&mut self, now: Instant, last_in: Instant) {
        let _ = (now, last_in);
    }

    /// The dataplane reports a soft limit (bytes, or the sequence number near its end).
    pub fn rekey_child(&mut self, now: Instant, child: ChildId) {
        let _ = (now, child);
    }

    pub fn rekey_ike(&mut self, now: Instant) {
        let _ = now;
    }

    /// Sends DELETE and says `Closed` at once. The endpoint may be dropped then; while it is kept, it retransmits.
    pub fn close(&mut self, now: Instant, cause: CloseCause) {
        let _ = (now, cause);
    }

    pub fn poll_output(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        None
    }

    #[must_use]
    pub fn view(&self) -> SaView {
        SaView {
            role: self.config.role,
            state: StateName::Idle,
            local: self.config.local,
            remote: self.config.remote,
            spi_i: 0,
            spi_r: 0,
            suite: None,
            local_id: self.config.local_id.clone(),
            remote_id: None,
            auth: None,
            fingerprint: None,
            nat: NatView::default(),
            fragmentation: false,
            established_at: None,
            rekey_at: None,
            expires_at: None,
            last_heard: None,
            children: Vec::new(),
            counters: Counters::default(),
        }
    }
}

impl fmt::Debug for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Endpoint").field("role", &self.config.role).finish_non_exhaustive()
    }
}

/// The value of `a=psk-fingerprint` (RFC 6193 §8.2): the hash of exactly the octets that go into the PSK's PRF.
#[must_use]
pub fn psk_fingerprint(psk: &[u8], hash: HashFunc) -> Fingerprint {
    use sha2::Digest;
    let digest = match hash {
        HashFunc::Sha1 => sha1::Sha1::digest(psk).to_vec(),
        HashFunc::Sha224 => sha2::Sha224::digest(psk).to_vec(),
        HashFunc::Sha256 => sha2::Sha256::digest(psk).to_vec(),
        HashFunc::Sha384 => sha2::Sha384::digest(psk).to_vec(),
        HashFunc::Sha512 => sha2::Sha512::digest(psk).to_vec(),
    };
    Fingerprint::new(hash, &digest).expect("a digest is as long as its function says")
}
