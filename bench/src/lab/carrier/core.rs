//! The carrier without its socket: datagrams and time in, datagrams and a trace out.

use super::biller::Biller;
use super::config::{Config, Knobs, T64};
use super::digest::Authenticator;
use super::location::Location;
use super::message::{Message, ParseError, param, response_address};
use super::relay::{Relayed, Slots};
use super::trace::Hop;
use super::transaction::Transactions;
use sha2::{Digest as _, Sha256};
use sipsec_net::{Entropy, Instant};
use std::collections::{HashMap, VecDeque};
use std::net::SocketAddr;

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Output {
    Transmit {
        /// The carrier's address from which it leaves.
        from: SocketAddr,
        to: SocketAddr,
        bytes: Vec<u8>,
    },
    Trace(Hop),
    /// A call is answered and its media may pass.
    Relay(Relayed),
    RelayEnd(u16),
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    pub malformed: u64,
    pub credentials_refused: u64,
    /// Requests inside a dialog without our Route: with a real carrier the call would stay up.
    pub route_missing: u64,
    pub dialog_unknown: u64,
    pub looped: u64,
    pub unroutable: u64,
    pub transactions_refused: u64,
    pub retransmitted: u64,
    /// Requests that a rule of the line has lost or refused.
    pub lost_by_rule: u64,
    pub refused_by_rule: u64,
    /// Second called sides that were acknowledged, and hung up.
    pub forks_acknowledged: u64,
    pub forks_ended: u64,
}

/// Registrar, proxy and biller on one address.
pub struct Carrier {
    pub(super) config: Config,
    pub(super) entropy: Box<dyn Entropy>,
    pub(super) authenticator: Authenticator,
    pub(super) location: Location,
    pub(super) biller: Biller,
    pub(super) transactions: Transactions,
    pub(super) stats: Stats,
    pub(super) relayed: Slots,
    /// Offers that the called side has not seen, by Call-ID; its ACK brings them.
    pub(super) held_offers: HashMap<String, Vec<u8>>,
    outputs: VecDeque<Output>,
    /// When the current message came, for the trace, and to which address.
    now: Instant,
    here: SocketAddr,
}

impl std::fmt::Debug for Carrier {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Carrier").field("address", &self.config.address).finish_non_exhaustive()
    }
}

impl Carrier {
    #[must_use]
    pub fn new(config: Config, entropy: Box<dyn Entropy>) -> Self {
        Self {
            authenticator: Authenticator::new(
                &config.domain,
                config.knobs.algorithms.clone(),
                config.knobs.nonce_lifetime,
            ),
            location: Location::default(),
            biller: Biller::default(),
            transactions: Transactions::default(),
            stats: Stats::default(),
            relayed: Slots::default(),
            held_offers: HashMap::new(),
            outputs: VecDeque::new(),
            now: Instant::ZERO,
            here: config.address,
            config,
            entropy,
        }
    }

    pub fn set_knobs(&mut self, change: impl FnOnce(&mut Knobs)) {
        let knobs = &mut self.config.knobs;
        change(knobs);
        self.authenticator.set(knobs.algorithms.clone(), knobs.nonce_lifetime);
    }

    #[must_use]
    pub const fn biller(&self) -> &Biller {
        &self.biller
    }

    /// Loses all registrations, as a restart does.
    pub fn forget_registrations(&mut self) {
        self.location = Location::default();
    }

    #[must_use]
    pub const fn location(&self) -> &Location {
        &self.location
    }

    #[must_use]
    pub const fn stats(&self) -> &Stats {
        &self.stats
    }

    /// A datagram to [`Config::address`].
    pub fn handle_datagram(&mut self, now: Instant, from: SocketAddr, bytes: &[u8]) {
        self.handle_datagram_at(now, from, self.config.address, bytes);
    }

    pub fn handle_datagram_at(&mut self, now: Instant, from: SocketAddr, here: SocketAddr, bytes: &[u8]) {
        if self.config.knobs.faults.down == Some(here) {
            return;
        }
        (self.now, self.here) = (now, here);
        // RFC 5626 §3.5.1 and common practice: CRLF keeps a NAT mapping.
        if bytes.iter().all(|b| matches!(b, b'\r' | b'\n' | 0)) {
            return;
        }
        let mut message = match Message::parse(bytes) {
            Ok(message) => message,
            Err(
                ParseError::TooLong | ParseError::Syntax | ParseError::Missing(_) | ParseError::ShortBody,
            ) => {
                self.stats.malformed += 1;
                return;
            }
        };
        self.outputs.push_back(Output::Trace(Hop::new(now, from, here, &message)));
        if message.method().is_none() {
            return self.response(now, from, message);
        }
        mark_source(&mut message, from);
        self.request(now, from, message);
    }

    pub fn handle_timeout(&mut self, now: Instant) {
        self.now = now;
        self.transaction_timeouts(now);
    }

    pub fn poll_output(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.transactions.next_deadline()
    }

    pub(super) fn push(&mut self, output: Output) {
        self.outputs.push_back(output);
    }

    pub(super) fn transmit(&mut self, to: SocketAddr, message: &Message) {
        let from = self.towards(to);
        self.outputs.push_back(Output::Trace(Hop::new(self.now, from, to, message)));
        self.outputs.push_back(Output::Transmit { from, to, bytes: message.to_bytes() });
    }

    /// Our address for what goes there: the one to which the current message came, or else the first that works, of the same
    /// IP version.
    pub(super) fn towards(&self, to: SocketAddr) -> SocketAddr {
        let works = |a: &SocketAddr| a.is_ipv4() == to.is_ipv4() && self.config.knobs.faults.down != Some(*a);
        let mut all = std::iter::once(self.here).chain(self.config.addresses());
        all.find(works).unwrap_or(self.config.address)
    }

    /// Sends a response of our own, statelessly.
    pub(super) fn reply(&mut self, request: &Message, status: u16, reason: &str, headers: &[(&str, String)]) {
        let response = self.local_response(request, status, reason, headers);
        match request.header("Via").and_then(response_address) {
            Some(to) => self.transmit(to, &response),
            None => self.stats.unroutable += 1,
        }
    }

    pub(super) fn local_response(
        &self,
        request: &Message,
        status: u16,
        reason: &str,
        headers: &[(&str, String)],
    ) -> Message {
        // RFC 3261 §8.2.7: a stateless answer to a retransmission carries the same tag.
        let tag = digest(&[request.header("Via").unwrap_or_default(), "tag"]);
        let mut response = request.response(status, reason, &tag);
        response.headers.extend(headers.iter().map(|(n, v)| ((*n).to_owned(), v.clone())));
        response
    }

    /// The Via we put on top of a request that is forwarded there.
    pub(super) fn via(&self, branch: &str, to: SocketAddr) -> String {
        format!("SIP/2.0/UDP {};branch={branch}", self.towards(to))
    }

    pub(super) fn record_route(&self) -> String {
        format!("<sip:{};lr>", self.here)
    }

    pub(super) fn is_us(&self, uri: &str) -> bool {
        let address = super::message::address_of(uri);
        self.config.addresses().any(|a| Some(a) == address) || {
            let host = uri.rsplit_once('@').map_or_else(|| uri.split_once(':').map_or(uri, |x| x.1), |x| x.1);
            host.split([';', ':']).next() == Some(self.config.domain.as_str())
        }
    }

    /// How long finished things are remembered.
    pub(super) fn linger(&self, now: Instant) -> Instant {
        now + T64
    }
}

/// RFC 3261 §18.2.1 and RFC 3581 §4: `received` (always, which is allowed) and the value of `rport` if it is asked for.
fn mark_source(message: &mut Message, from: SocketAddr) {
    let mut vias = message.list("Via");
    let Some(top) = vias.first_mut() else { return };
    let rport = param(top, "rport").is_some();
    let mut parts: Vec<String> = top
        .split(';')
        .map(str::trim)
        .filter(|p| {
            !["received", "rport"]
                .iter()
                .any(|n| p.split('=').next().is_some_and(|x| x.eq_ignore_ascii_case(n)))
        })
        .map(str::to_owned)
        .collect();
    parts.push(format!("received={}", from.ip()));
    if rport {
        parts.push(format!("rport={}", from.port()));
    }
    *top = parts.join(";");
    message.set_list("Via", vias);
}

/// A short stable token of some strings.
pub(super) fn digest(parts: &[&str]) -> String {
    let mut hash = Sha256::new();
    for part in parts {
        hash.update((part.len() as u64).to_be_bytes());
        hash.update(part.as_bytes());
    }
    hash.finalize().iter().take(8).map(|b| format!("{b:02x}")).collect()
}
