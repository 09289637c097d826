//! The client's states (RFC 2131 figure 5).
//!
//! ```text
//!   Init ──DISCOVER──▶ Selecting ──OFFER──▶ Requesting ──ACK──▶ Checking ──no conflict──▶ Bound
//!    ▲ last lease ─▶ Rebooting ──ACK──────────────────────────────▲                        │ T1
//!    │                  └─ NAK, no answer ─▶ Init                  └──ACK── Renewing ◀──────┤
//!    └──── NAK, expiry, conflict (DECLINE) ─────────────────────────────── Rebinding ◀──────┘ T2
//! ```

use super::lease::{Lease, LostBecause};
use super::message::{Kind, Reply, Request, SIZE_MAX};
use super::options::{self, Options};
use super::retransmit::{Backoff, half_way};
use super::{Config, Wanted};
use crate::{Ignored, Stats};
use sipsec_net::{Entropy, Instant};
use std::collections::VecDeque;
use std::net::Ipv4Addr;
use std::time::Duration;

/// RFC 2131 §4.4.1: a random wait before the first DISCOVER; short, since a line that is down costs calls.
const START_DELAY_MAX_MS: u32 = 1000;
/// §3.1 (5): after DECLINE the client waits before it starts anew.
const DECLINE_WAIT: Duration = Duration::from_secs(10);
/// After a NAK or an expiry.
const RESTART_WAIT: Duration = Duration::from_secs(1);
/// Requests for one offer before the client starts anew; 4 + 8 + 16 s.
const REQUEST_TRIES: u32 = 3;
/// Requests for the last address before the client asks for any.
const REBOOT_TRIES: u32 = 2;
/// RFC 5227 §1.1: PROBE_NUM probes, PROBE_MIN to PROBE_MAX apart, then ANNOUNCE_WAIT.
const PROBES: u32 = 3;
const PROBE_MIN_MS: u32 = 1000;
const PROBE_MAX_MS: u32 = 2000;
const ANNOUNCE_WAIT: Duration = Duration::from_secs(2);
/// RFC 2131 §3.3.
const INFINITE_S: u32 = u32::MAX;
/// Leases shorter than this are taken as this long: the client would do nothing but renew.
const LEASE_MIN_S: u32 = 30;

/// What the caller does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Output {
    /// Sends a UDP payload from port 68 to port 67. `destination` 255.255.255.255 is a broadcast frame; `source` is
    /// 0.0.0.0 while the client has no address.
    Send { source: Ipv4Addr, destination: Ipv4Addr, payload: Vec<u8> },
    /// Sends an ARP probe for the address (RFC 5227 §2.1.1). A conflict comes back by [`Client::handle_conflict`].
    Probe(Ipv4Addr),
    /// The lease is ours, or was renewed: the address, its routes and SIP data hold from now on.
    Configure(Box<Lease>),
    /// The address must not be used any more.
    Deconfigure { address: Ipv4Addr, because: LostBecause },
}

/// What the client is doing, for `show`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    Stopped,
    Starting,
    Selecting { discovers: u32 },
    Requesting,
    Rebooting,
    Checking,
    Bound,
    Renewing,
    Rebinding,
    Informing,
}

#[derive(Debug)]
enum State {
    Stopped,
    Init,
    Selecting { backoff: Backoff },
    Requesting { address: Ipv4Addr, server: Ipv4Addr, backoff: Backoff },
    Rebooting { address: Ipv4Addr, backoff: Backoff },
    Checking { lease: Box<Lease>, probes: u32 },
    Bound { lease: Box<Lease> },
    Renewing { lease: Box<Lease> },
    Rebinding { lease: Box<Lease> },
    Informing { address: Ipv4Addr, backoff: Backoff },
    Informed { lease: Box<Lease> },
}

/// A DHCPv4 client for one interface.
///
/// Call [`start`](Self::start) when the link is up. After each `handle_…` call drain [`poll_output`](Self::poll_output),
/// then arm a timer for [`poll_timeout`](Self::poll_timeout).
#[derive(Debug)]
pub struct Client {
    config: Config,
    state: State,
    xid: u32,
    /// When the exchange began, for the field `secs`.
    began: Instant,
    deadline: Option<Instant>,
    outputs: VecDeque<Output>,
    stats: Stats,
}

impl Client {
    #[must_use]
    pub const fn new(config: Config) -> Self {
        Self {
            config,
            state: State::Stopped,
            xid: 0,
            began: Instant::ZERO,
            deadline: None,
            outputs: VecDeque::new(),
            stats: Stats { sent: 0, received: 0, malformed: 0, not_ours: 0, unexpected: 0 },
        }
    }

    /// The link is up: begins, with the last address if there is one.
    pub fn start(&mut self, now: Instant, entropy: &mut dyn Entropy) {
        self.begin(now, entropy);
        match (self.config.wanted, self.config.last) {
            (Wanted::OptionsFor(address), _) => {
                self.state = State::Informing { address, backoff: Backoff::default() };
                self.handle_timeout(now, entropy);
            }
            (Wanted::Address, Some(hint)) => {
                self.state = State::Rebooting { address: hint.address, backoff: Backoff::default() };
                self.handle_timeout(now, entropy);
            }
            (Wanted::Address, None) => {
                self.wait_in_init(now + Duration::from_millis(u64::from(entropy.below(START_DELAY_MAX_MS))));
            }
        }
    }

    /// The link is down: the address goes, and is asked for again at the next start.
    pub fn link_down(&mut self) {
        self.lose(LostBecause::LinkDown);
        self.stop();
    }

    /// Gives the address back (RFC 2131 §4.4.6) and stops.
    pub fn release(&mut self, now: Instant) {
        if let Some(lease) = self.held().filter(|_| self.config.wanted == Wanted::Address) {
            let (address, server) = (lease.address, lease.server);
            let mut request = self.request(Kind::Release, now, false, address);
            request.option(options::SERVER_ID, &server.octets());
            self.send(address, server, request);
            self.lose(LostBecause::Released);
            self.config.last = None;
        }
        self.stop();
    }

    /// Another host answered for the address (RFC 5227 §2.1.1, §2.4). Ignored for addresses that are not ours.
    pub fn handle_conflict(&mut self, now: Instant, address: Ipv4Addr) {
        let lease = match &self.state {
            State::Checking { lease, .. } => lease,
            State::Bound { lease } | State::Renewing { lease } | State::Rebinding { lease } => lease,
            _ => return,
        };
        if lease.address != address {
            return;
        }
        let server = lease.server;
        let mut request = self.request(Kind::Decline, now, false, Ipv4Addr::UNSPECIFIED);
        request.option(options::REQUESTED_ADDRESS, &address.octets());
        request.option(options::SERVER_ID, &server.octets());
        self.send(Ipv4Addr::UNSPECIFIED, Ipv4Addr::BROADCAST, request);
        self.lose(LostBecause::Conflict);
        self.config.last = None;
        self.wait_in_init(now + DECLINE_WAIT);
    }

    /// A UDP payload that came to port 68.
    pub fn handle_message(&mut self, now: Instant, payload: &[u8], entropy: &mut dyn Entropy) {
        let outcome =
            Reply::read(payload, self.config.mac).and_then(|reply| self.on_reply(now, &reply, entropy));
        self.stats.count(outcome);
    }

    /// The time of [`poll_timeout`](Self::poll_timeout) has come.
    pub fn handle_timeout(&mut self, now: Instant, entropy: &mut dyn Entropy) {
        match &mut self.state {
            State::Stopped => {}
            State::Init => {
                self.begin(now, entropy);
                let mut backoff = Backoff::default();
                self.deadline = Some(backoff.next(now, entropy));
                self.state = State::Selecting { backoff };
                self.discover(now);
            }
            State::Selecting { backoff } => {
                self.deadline = Some(backoff.next(now, entropy));
                self.discover(now);
            }
            State::Requesting { address, server, backoff } => {
                if backoff.tries() >= REQUEST_TRIES {
                    return self.wait_in_init(now);
                }
                let (address, server) = (*address, *server);
                self.deadline = Some(backoff.next(now, entropy));
                let mut request = self.request(Kind::Request, now, true, Ipv4Addr::UNSPECIFIED);
                request.option(options::REQUESTED_ADDRESS, &address.octets());
                request.option(options::SERVER_ID, &server.octets());
                self.send(Ipv4Addr::UNSPECIFIED, Ipv4Addr::BROADCAST, request);
            }
            State::Rebooting { address, backoff } => {
                if backoff.tries() >= REBOOT_TRIES {
                    self.config.last = None;
                    return self.wait_in_init(now);
                }
                let address = *address;
                self.deadline = Some(backoff.next(now, entropy));
                // §4.3.2 INIT-REBOOT: without server identifier, ciaddr zero.
                let mut request = self.request(Kind::Request, now, true, Ipv4Addr::UNSPECIFIED);
                request.option(options::REQUESTED_ADDRESS, &address.octets());
                self.send(Ipv4Addr::UNSPECIFIED, Ipv4Addr::BROADCAST, request);
            }
            State::Checking { lease, probes } => {
                if *probes < PROBES {
                    *probes += 1;
                    let address = lease.address;
                    let wait = if *probes == PROBES {
                        ANNOUNCE_WAIT
                    } else {
                        let spread = entropy.below(PROBE_MAX_MS - PROBE_MIN_MS + 1);
                        Duration::from_millis(u64::from(PROBE_MIN_MS + spread))
                    };
                    self.deadline = Some(now + wait);
                    self.outputs.push_back(Output::Probe(address));
                } else {
                    let lease = lease.clone();
                    self.bind(lease);
                }
            }
            State::Bound { lease } => {
                let lease = lease.clone();
                self.begin(now, entropy);
                self.state = State::Renewing { lease };
                self.renew(now);
            }
            State::Renewing { lease } => {
                if lease.rebinds.is_some_and(|at| now >= at) {
                    let lease = lease.clone();
                    self.state = State::Rebinding { lease };
                }
                self.renew(now);
            }
            State::Rebinding { lease } => {
                if lease.expires.is_some_and(|at| now >= at) {
                    self.lose(LostBecause::Expired);
                    return self.wait_in_init(now);
                }
                self.renew(now);
            }
            State::Informing { address, backoff } => {
                let address = *address;
                self.deadline = Some(backoff.next(now, entropy));
                let request = self.request(Kind::Inform, now, false, address);
                self.send(address, Ipv4Addr::BROADCAST, request);
            }
            State::Informed { lease } => {
                let address = lease.address;
                self.begin(now, entropy);
                self.state = State::Informing { address, backoff: Backoff::default() };
                self.handle_timeout(now, entropy);
            }
        }
    }

    /// The next thing for the caller to do.
    pub fn poll_output(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    /// When to call [`handle_timeout`](Self::handle_timeout).
    #[must_use]
    pub const fn poll_timeout(&self) -> Option<Instant> {
        self.deadline
    }

    /// The lease in force.
    #[must_use]
    pub fn lease(&self) -> Option<&Lease> {
        self.held()
    }

    #[must_use]
    pub const fn stats(&self) -> Stats {
        self.stats
    }

    #[must_use]
    pub fn phase(&self) -> Phase {
        match &self.state {
            State::Stopped => Phase::Stopped,
            State::Init => Phase::Starting,
            State::Selecting { backoff } => Phase::Selecting { discovers: backoff.tries() },
            State::Requesting { .. } => Phase::Requesting,
            State::Rebooting { .. } => Phase::Rebooting,
            State::Checking { .. } => Phase::Checking,
            State::Bound { .. } | State::Informed { .. } => Phase::Bound,
            State::Renewing { .. } => Phase::Renewing,
            State::Rebinding { .. } => Phase::Rebinding,
            State::Informing { .. } => Phase::Informing,
        }
    }

    fn held(&self) -> Option<&Lease> {
        match &self.state {
            State::Bound { lease }
            | State::Renewing { lease }
            | State::Rebinding { lease }
            | State::Informed { lease } => Some(lease),
            _ => None,
        }
    }

    fn on_reply(&mut self, now: Instant, reply: &Reply, entropy: &mut dyn Entropy) -> Result<(), Ignored> {
        if reply.xid != self.xid || matches!(self.state, State::Stopped) {
            return Err(Ignored::NotOurs);
        }
        let server = reply.options.address(options::SERVER_ID);
        match (&self.state, reply.kind) {
            (State::Selecting { .. }, Kind::Offer) => {
                // §4.3.1: an offer without server identifier or lease time is none.
                let server = server.filter(usable).ok_or(Ignored::Malformed)?;
                if !usable(&reply.address) || reply.options.u32(options::LEASE_TIME).is_none() {
                    return Err(Ignored::Malformed);
                }
                self.state =
                    State::Requesting { address: reply.address, server, backoff: Backoff::default() };
                self.handle_timeout(now, entropy);
                Ok(())
            }
            (State::Requesting { address, server: chosen, .. }, Kind::Ack) => {
                if server != Some(*chosen) || reply.address != *address {
                    return Err(Ignored::Unexpected);
                }
                self.check(now, reply, *chosen, entropy)
            }
            (State::Rebooting { address, .. }, Kind::Ack) => {
                let server = server.filter(usable).ok_or(Ignored::Malformed)?;
                if reply.address != *address {
                    return Err(Ignored::Unexpected);
                }
                self.check(now, reply, server, entropy)
            }
            (State::Renewing { lease } | State::Rebinding { lease }, Kind::Ack) => {
                if reply.address != lease.address {
                    return Err(Ignored::Unexpected);
                }
                let server = server.unwrap_or(lease.server);
                let lease = lease_of(reply.address, &reply.options, server, now).ok_or(Ignored::Malformed)?;
                self.bind(Box::new(lease));
                Ok(())
            }
            (State::Requesting { server: chosen, .. }, Kind::Nak) if server == Some(*chosen) => {
                self.wait_in_init(now + RESTART_WAIT);
                Ok(())
            }
            (State::Rebooting { .. }, Kind::Nak) => {
                self.config.last = None;
                self.wait_in_init(now + RESTART_WAIT);
                Ok(())
            }
            (State::Renewing { lease }, Kind::Nak) if server == Some(lease.server) => {
                self.lose(LostBecause::Refused);
                self.wait_in_init(now + RESTART_WAIT);
                Ok(())
            }
            (State::Rebinding { .. }, Kind::Nak) => {
                self.lose(LostBecause::Refused);
                self.wait_in_init(now + RESTART_WAIT);
                Ok(())
            }
            (State::Informing { address, .. }, Kind::Ack) => {
                let server = server.filter(usable).ok_or(Ignored::Malformed)?;
                let lease = Box::new(informed(*address, &reply.options, server, now));
                self.deadline = lease.renews;
                self.outputs.push_back(Output::Configure(lease.clone()));
                self.state = State::Informed { lease };
                Ok(())
            }
            _ => Err(Ignored::Unexpected),
        }
    }

    /// An address was given: probes for another host that has it.
    fn check(
        &mut self,
        now: Instant,
        reply: &Reply,
        server: Ipv4Addr,
        entropy: &mut dyn Entropy,
    ) -> Result<(), Ignored> {
        let lease = lease_of(reply.address, &reply.options, server, now).ok_or(Ignored::Malformed)?;
        self.state = State::Checking { lease: Box::new(lease), probes: 0 };
        self.handle_timeout(now, entropy);
        Ok(())
    }

    fn bind(&mut self, lease: Box<Lease>) {
        self.config.last = Some(lease.hint());
        self.deadline = lease.renews;
        self.outputs.push_back(Output::Configure(lease.clone()));
        self.state = State::Bound { lease };
    }

    fn lose(&mut self, because: LostBecause) {
        if let Some(lease) = self.held() {
            let address = lease.address;
            self.outputs.push_back(Output::Deconfigure { address, because });
        }
    }

    fn stop(&mut self) {
        self.state = State::Stopped;
        self.deadline = None;
    }

    fn wait_in_init(&mut self, at: Instant) {
        self.state = State::Init;
        self.deadline = Some(at);
    }

    /// A new exchange: its transaction id, and the time from which `secs` counts.
    fn begin(&mut self, now: Instant, entropy: &mut dyn Entropy) {
        self.xid = entropy.u32();
        self.began = now;
    }

    fn discover(&mut self, now: Instant) {
        let request = self.request(Kind::Discover, now, true, Ipv4Addr::UNSPECIFIED);
        self.send(Ipv4Addr::UNSPECIFIED, Ipv4Addr::BROADCAST, request);
    }

    /// RENEWING asks the server that gave the lease, REBINDING any (§4.4.5).
    fn renew(&mut self, now: Instant) {
        let (lease, server, end) = match &self.state {
            State::Renewing { lease } => (lease, lease.server, lease.rebinds),
            State::Rebinding { lease } => (lease, Ipv4Addr::BROADCAST, lease.expires),
            _ => return,
        };
        let address = lease.address;
        self.deadline = end.map(|end| half_way(now, end));
        let request = self.request(Kind::Request, now, false, address);
        self.send(address, server, request);
    }

    fn request(&self, kind: Kind, now: Instant, broadcast: bool, ciaddr: Ipv4Addr) -> Request {
        let secs = now.saturating_duration_since(self.began).as_secs();
        let secs = u16::try_from(secs).unwrap_or(u16::MAX);
        let mut request = Request::new(kind, self.xid, secs, broadcast, ciaddr, self.config.mac);
        if let Some(id) = &self.config.client_id {
            request.option(options::CLIENT_ID, id);
        }
        // RFC 2131 table 5: RELEASE and DECLINE ask for nothing.
        if matches!(kind, Kind::Release | Kind::Decline) {
            return request;
        }
        request.option(options::MAX_SIZE, &SIZE_MAX.to_be_bytes());
        if let Some(name) = &self.config.host_name {
            request.option(options::HOST_NAME, name.as_bytes());
        }
        if let Some(class) = &self.config.vendor_class {
            let mut value = class.enterprise.to_be_bytes().to_vec();
            let data = &class.data[..class.data.len().min(255)];
            value.push(data.len() as u8);
            value.extend_from_slice(data);
            request.option(options::VENDOR_CLASS, &value);
        }
        request.option(options::PARAMETER_LIST, options::REQUESTED);
        request
    }

    fn send(&mut self, source: Ipv4Addr, destination: Ipv4Addr, request: Request) {
        self.stats.sent += 1;
        self.outputs.push_back(Output::Send { source, destination, payload: request.finish() });
    }
}

/// An address that one host can have.
fn usable(address: &Ipv4Addr) -> bool {
    !(address.is_unspecified() || address.is_broadcast() || address.is_multicast() || address.is_loopback())
}

/// The lease of an ACK; `None` if what a lease needs is missing.
fn lease_of(address: Ipv4Addr, options: &Options, server: Ipv4Addr, now: Instant) -> Option<Lease> {
    let lease_s = options.u32(options::LEASE_TIME)?;
    let mut lease = informed(address, options, server, now);
    (lease.renews, lease.rebinds, lease.expires) = (None, None, None);
    if lease_s != INFINITE_S {
        let lease_s = lease_s.max(LEASE_MIN_S);
        // §4.4.5: T1 and T2 of the server if they are in order, else 0.5 and 0.875 of the lease.
        let t1 = options.u32(options::RENEWAL_TIME);
        let t2 = options.u32(options::REBINDING_TIME);
        let (t1, t2) = match (t1, t2) {
            (Some(t1), Some(t2)) if 0 < t1 && t1 < t2 && t2 < lease_s => (t1, t2),
            _ => (lease_s / 2, lease_s / 8 * 7),
        };
        let after = |s: u32| Some(now + Duration::from_secs(u64::from(s)));
        (lease.renews, lease.rebinds, lease.expires) = (after(t1), after(t2), after(lease_s));
    }
    Some(lease)
}

/// The answer to DHCPINFORM: options without a lease. They are asked for again after a time, since nothing else says
/// that they have changed.
fn informed(address: Ipv4Addr, options: &Options, server: Ipv4Addr, now: Instant) -> Lease {
    const REFRESH: Duration = Duration::from_secs(3600);
    Lease {
        address,
        prefix_len: options.prefix_len().unwrap_or(32),
        server,
        routes: options.routes(),
        dns: options.dns(),
        mtu: options.u16(options::INTERFACE_MTU).filter(|mtu| *mtu >= 576),
        sip: options.sip(),
        obtained: now,
        renews: Some(now + REFRESH),
        rebinds: None,
        expires: None,
    }
}
