//! The client's states (RFC 8415 §18.2).
//!
//! ```text
//!   Soliciting ──Advertise──▶ Requesting ──Reply──▶ Bound ──T1──▶ Renewing ──T2──▶ Rebinding
//!       ▲                          │                  ▲──Reply──────┴───────Reply─────┘  │
//!       └── no answer, withdrawn, conflict, expiry ───┴──────────────────────────────────┘
//!   Informing ──Reply──▶ Informed (options alone)
//! ```

use super::lease::{Lease, LostBecause};
use super::message::{self, Answer, Kind, Request};
use super::retransmit::{self, Retransmit};
use super::{Config, Wanted};
use crate::{Ignored, Stats};
use sipsec_net::{Entropy, Instant};
use std::collections::VecDeque;
use std::net::Ipv6Addr;
use std::time::Duration;

/// §18.2.1: a random wait before the first Solicit, at most SOL_MAX_DELAY.
const START_DELAY_MAX_MS: u32 = 1000;
/// After a conflict or an expiry.
const RESTART_WAIT: Duration = Duration::from_secs(1);
/// §7.6: options alone are asked for again after a day unless the server says otherwise.
const INFORMATION_REFRESH: Duration = Duration::from_secs(86_400);
/// A lease is not renewed sooner than this, or than half of its valid lifetime if that is shorter.
const RENEW_MIN: Duration = Duration::from_secs(30);
/// Nor sooner than this in any case.
const RENEW_PAUSE: Duration = Duration::from_secs(5);

/// What the caller does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Output {
    /// Sends a UDP payload from port 546 of the link-local address to ff02::1:2, port 547.
    Send { payload: Vec<u8> },
    /// The lease is ours, or was renewed.
    Configure(Box<Lease>),
    /// Addresses and prefixes of the former lease must not be used any more.
    Deconfigure(LostBecause),
}

/// What the client is doing, for `show`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    Stopped,
    Starting,
    Soliciting { solicits: u32 },
    Requesting,
    Bound,
    Renewing,
    Rebinding,
    Informing,
}

#[derive(Debug)]
enum State {
    Stopped,
    Init,
    /// The best Advertise so far; §18.2.9: within the first retransmission time the client collects.
    Soliciting {
        retransmit: Retransmit,
        best: Option<Box<Lease>>,
        preference: u8,
    },
    Requesting {
        retransmit: Retransmit,
        offer: Box<Lease>,
    },
    Bound {
        lease: Box<Lease>,
    },
    Renewing {
        retransmit: Retransmit,
        lease: Box<Lease>,
    },
    Rebinding {
        retransmit: Retransmit,
        lease: Box<Lease>,
    },
    Informing {
        retransmit: Retransmit,
    },
    Informed {
        lease: Box<Lease>,
    },
}

/// A DHCPv6 client for one interface. The contract is that of [`v4::Client`](crate::v4::Client).
#[derive(Debug)]
pub struct Client {
    config: Config,
    state: State,
    xid: [u8; 3],
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
            xid: [0; 3],
            began: Instant::ZERO,
            deadline: None,
            outputs: VecDeque::new(),
            stats: Stats { sent: 0, received: 0, malformed: 0, not_ours: 0, unexpected: 0 },
        }
    }

    /// The link is up and has a link-local address.
    pub fn start(&mut self, now: Instant, entropy: &mut dyn Entropy) {
        self.wait_in_init(now + Duration::from_millis(u64::from(entropy.below(START_DELAY_MAX_MS))));
    }

    pub fn link_down(&mut self) {
        self.lose(LostBecause::LinkDown);
        self.stop();
    }

    /// Gives addresses and prefixes back (§18.2.7) and stops.
    pub fn release(&mut self, now: Instant, entropy: &mut dyn Entropy) {
        if let Some(lease) =
            self.held().filter(|_| matches!(self.config.wanted, Wanted::Lease { .. })).cloned()
        {
            self.begin(now, entropy);
            self.send(Kind::Release, now, Some(&lease), true);
            self.lose(LostBecause::Released);
        }
        self.stop();
    }

    /// Duplicate address detection found another host (§18.2.8).
    pub fn handle_conflict(&mut self, now: Instant, address: Ipv6Addr, entropy: &mut dyn Entropy) {
        let Some(lease) = self.held().filter(|l| l.addresses.iter().any(|a| a.address == address)).cloned()
        else {
            return;
        };
        self.begin(now, entropy);
        self.send(Kind::Decline, now, Some(&lease), true);
        self.lose(LostBecause::Conflict);
        self.wait_in_init(now + RESTART_WAIT);
    }

    /// A UDP payload that came to port 546.
    pub fn handle_message(&mut self, now: Instant, payload: &[u8], entropy: &mut dyn Entropy) {
        let outcome = Answer::read(payload, self.config.duid.as_bytes(), self.config.iaid, now)
            .and_then(|answer| self.on_answer(now, answer, entropy));
        self.stats.count(outcome);
    }

    pub fn handle_timeout(&mut self, now: Instant, entropy: &mut dyn Entropy) {
        match &mut self.state {
            State::Stopped => {}
            State::Init => {
                self.begin(now, entropy);
                match self.config.wanted {
                    Wanted::Lease { .. } => {
                        let mut retransmit = Retransmit::new(retransmit::SOLICIT);
                        self.deadline = Some(retransmit.next(now, true, entropy));
                        self.state = State::Soliciting { retransmit, best: None, preference: 0 };
                        self.send(Kind::Solicit, now, None, false);
                    }
                    Wanted::Options => {
                        let mut retransmit = Retransmit::new(retransmit::INFORMATION);
                        self.deadline = Some(retransmit.next(now, false, entropy));
                        self.state = State::Informing { retransmit };
                        self.send(Kind::InformationRequest, now, None, false);
                    }
                }
            }
            State::Soliciting { retransmit, best, .. } => {
                if let Some(offer) = best.take() {
                    return self.ask_for(now, offer, entropy);
                }
                self.deadline = Some(retransmit.next(now, false, entropy));
                self.send(Kind::Solicit, now, None, false);
            }
            State::Requesting { retransmit, offer } => {
                if retransmit.exhausted() {
                    return self.wait_in_init(now);
                }
                self.deadline = Some(retransmit.next(now, false, entropy));
                let offer = offer.clone();
                self.send(Kind::Request, now, Some(&offer), true);
            }
            State::Bound { lease } => {
                let lease = lease.clone();
                self.begin(now, entropy);
                self.state = State::Renewing { retransmit: Retransmit::new(retransmit::RENEW), lease };
                self.handle_timeout(now, entropy);
            }
            State::Renewing { retransmit, lease } => {
                let lease = lease.clone();
                if now >= lease.rebinds {
                    self.begin(now, entropy);
                    self.state = State::Rebinding { retransmit: Retransmit::new(retransmit::REBIND), lease };
                    return self.handle_timeout(now, entropy);
                }
                self.deadline = Some(retransmit.next(now, false, entropy).min(lease.rebinds));
                self.send(Kind::Renew, now, Some(&lease), true);
            }
            State::Rebinding { retransmit, lease } => {
                if now >= lease.expires {
                    self.lose(LostBecause::Expired);
                    return self.wait_in_init(now);
                }
                let lease = lease.clone();
                self.deadline = Some(retransmit.next(now, false, entropy).min(lease.expires));
                self.send(Kind::Rebind, now, Some(&lease), false);
            }
            State::Informing { retransmit } => {
                self.deadline = Some(retransmit.next(now, false, entropy));
                self.send(Kind::InformationRequest, now, None, false);
            }
            State::Informed { .. } => self.wait_in_init(now),
        }
    }

    pub fn poll_output(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    #[must_use]
    pub const fn poll_timeout(&self) -> Option<Instant> {
        self.deadline
    }

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
            State::Soliciting { retransmit, .. } => Phase::Soliciting { solicits: retransmit.tries() },
            State::Requesting { .. } => Phase::Requesting,
            State::Bound { .. } | State::Informed { .. } => Phase::Bound,
            State::Renewing { .. } => Phase::Renewing,
            State::Rebinding { .. } => Phase::Rebinding,
            State::Informing { .. } => Phase::Informing,
        }
    }

    fn held(&self) -> Option<&Lease> {
        match &self.state {
            State::Bound { lease }
            | State::Renewing { lease, .. }
            | State::Rebinding { lease, .. }
            | State::Informed { lease } => Some(lease),
            _ => None,
        }
    }

    fn on_answer(&mut self, now: Instant, answer: Answer, entropy: &mut dyn Entropy) -> Result<(), Ignored> {
        if answer.xid != self.xid {
            return Err(Ignored::NotOurs);
        }
        let (kind, status, preference) = (answer.kind, answer.status, answer.preference);
        let lease = Box::new(lease_of(answer, now));
        let useful = !(lease.addresses.is_empty() && lease.prefixes.is_empty());
        let complete = self.is_complete(&lease);
        match (&mut self.state, kind) {
            (State::Soliciting { retransmit, best, preference: highest }, Kind::Advertise) => {
                // §18.2.9: an Advertise without what was asked for is not a choice.
                if status != 0 || !useful {
                    return Err(Ignored::Unexpected);
                }
                // §18.2.1: 255 ends the collection at once, and so does any answer after the first repetition.
                if preference == 255 || retransmit.tries() > 1 {
                    self.ask_for(now, lease, entropy);
                } else if best.is_none() || preference > *highest {
                    (*best, *highest) = (Some(lease), preference);
                }
                Ok(())
            }
            (State::Requesting { offer, .. }, Kind::Reply) if lease.server == offer.server => {
                if status != 0 || !useful {
                    self.wait_in_init(now + RESTART_WAIT);
                } else {
                    self.bind(lease);
                }
                Ok(())
            }
            (State::Renewing { lease: held, .. } | State::Rebinding { lease: held, .. }, Kind::Reply) => {
                // §18.2.10.1: NoBinding or a withdrawal ends the lease. A reply that lacks part of it leaves the rest
                // to the next repetition.
                let withdrawn = status != 0 || !useful;
                if withdrawn {
                    self.lose(LostBecause::Withdrawn);
                    self.wait_in_init(now + RESTART_WAIT);
                } else if complete || lacks_nothing_of(held, &lease) {
                    self.bind(lease);
                } else {
                    return Err(Ignored::Unexpected);
                }
                Ok(())
            }
            (State::Informing { .. }, Kind::Reply) => {
                let mut lease = lease;
                lease.renews = now + INFORMATION_REFRESH;
                (lease.rebinds, lease.expires) = (Instant::MAX, Instant::MAX);
                self.deadline = Some(lease.renews);
                self.outputs.push_back(Output::Configure(lease.clone()));
                self.state = State::Informed { lease };
                Ok(())
            }
            _ => Err(Ignored::Unexpected),
        }
    }

    fn is_complete(&self, lease: &Lease) -> bool {
        match self.config.wanted {
            Wanted::Lease { address, prefix } => {
                (!address || !lease.addresses.is_empty()) && (!prefix || !lease.prefixes.is_empty())
            }
            Wanted::Options => true,
        }
    }

    fn ask_for(&mut self, now: Instant, offer: Box<Lease>, entropy: &mut dyn Entropy) {
        self.begin(now, entropy);
        self.state = State::Requesting { retransmit: Retransmit::new(retransmit::REQUEST), offer };
        self.handle_timeout(now, entropy);
    }

    fn bind(&mut self, lease: Box<Lease>) {
        self.deadline = Some(lease.renews);
        self.outputs.push_back(Output::Configure(lease.clone()));
        self.state = State::Bound { lease };
    }

    fn lose(&mut self, because: LostBecause) {
        if self.held().is_some() {
            self.outputs.push_back(Output::Deconfigure(because));
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

    fn begin(&mut self, now: Instant, entropy: &mut dyn Entropy) {
        let [_, xid @ ..] = entropy.u32().to_be_bytes();
        self.xid = xid;
        self.began = now;
    }

    /// `to_server` names the server of the lease; Rebind and Solicit are for all.
    fn send(&mut self, kind: Kind, now: Instant, lease: Option<&Lease>, to_server: bool) {
        let mut request = Request::new(kind, self.xid);
        request.option(message::CLIENT_ID, self.config.duid.as_bytes());
        if let Some(lease) = lease.filter(|_| to_server) {
            request.option(message::SERVER_ID, &lease.server);
        }
        // §21.9: hundredths of a second.
        let elapsed = now.saturating_duration_since(self.began).as_millis() / 10;
        request.option(message::ELAPSED, &u16::try_from(elapsed).unwrap_or(u16::MAX).to_be_bytes());
        if let Wanted::Lease { address, prefix } = self.config.wanted {
            if address {
                request.option(message::IA_NA, &self.association(lease, false));
            }
            if prefix && kind != Kind::Decline {
                request.option(message::IA_PD, &self.association(lease, true));
            }
        }
        if !matches!(kind, Kind::Release | Kind::Decline) {
            let oro: Vec<u8> = message::REQUESTED.iter().flat_map(|code| code.to_be_bytes()).collect();
            request.option(message::ORO, &oro);
            if let Some(class) = &self.config.vendor_class {
                let mut value = class.enterprise.to_be_bytes().to_vec();
                let data = &class.data[..class.data.len().min(255)];
                value.extend_from_slice(&(data.len() as u16).to_be_bytes());
                value.extend_from_slice(data);
                request.option(message::VENDOR_CLASS, &value);
            }
        }
        self.stats.sent += 1;
        self.outputs.push_back(Output::Send { payload: request.finish() });
    }

    /// The body of an IA_NA or IA_PD with what the lease has (§21.4, §21.21); lifetimes are the server's business.
    fn association(&self, lease: Option<&Lease>, prefixes: bool) -> Vec<u8> {
        let mut body = Request::new(Kind::Solicit, [0; 3]);
        if let Some(lease) = lease {
            if prefixes {
                for p in &lease.prefixes {
                    let mut value = vec![0; 8];
                    value.push(p.len);
                    value.extend_from_slice(&p.prefix.octets());
                    body.option(message::IA_PREFIX, &value);
                }
            } else {
                for a in &lease.addresses {
                    let mut value = a.address.octets().to_vec();
                    value.resize(24, 0);
                    body.option(message::IA_ADDR, &value);
                }
            }
        }
        let mut value = self.config.iaid.to_be_bytes().to_vec();
        value.resize(12, 0);
        value.extend_from_slice(&body.finish()[4..]);
        value
    }
}

/// Whether the new lease has a counterpart of each kind that the old one has.
const fn lacks_nothing_of(old: &Lease, new: &Lease) -> bool {
    (old.addresses.is_empty() || !new.addresses.is_empty())
        && (old.prefixes.is_empty() || !new.prefixes.is_empty())
}

fn lease_of(answer: Answer, now: Instant) -> Lease {
    let valid = answer.addresses.iter().map(|a| a.valid_until);
    let expires = valid.chain(answer.prefixes.iter().map(|p| p.valid_until)).min().unwrap_or(Instant::MAX);
    let preferred = answer.addresses.iter().map(|a| a.preferred_until);
    let preferred =
        preferred.chain(answer.prefixes.iter().map(|p| p.preferred_until)).min().unwrap_or(expires);
    // §14.2: the recommended T1 and T2 are 0.5 and 0.8 of the shortest preferred lifetime; one that is over, as before a
    // renumbering, says nothing of when to ask.
    let valid = expires.saturating_duration_since(now);
    let span = Some(preferred.saturating_duration_since(now)).filter(|span| !span.is_zero()).unwrap_or(valid);
    // A server that has just answered is not asked again at once, even if its timers say so.
    let soonest = now + RENEW_MIN.min(valid / 2).max(RENEW_PAUSE);
    let at = |given: Option<u32>, default: Duration| match given {
        Some(u32::MAX) => Instant::MAX,
        Some(s) => now + Duration::from_secs(u64::from(s)),
        None => now + default,
    };
    let t1 = answer.times.iter().map(|t| t.t1).filter(|t| *t != 0).min();
    let t2 = answer.times.iter().map(|t| t.t2).filter(|t| *t != 0).min();
    let rebinds = at(t2, span / 10 * 8).max(soonest).min(expires);
    let renews = at(t1, span / 2).max(soonest).min(rebinds);
    Lease {
        server: answer.server,
        addresses: answer.addresses,
        prefixes: answer.prefixes,
        dns: answer.dns,
        sip: answer.sip,
        obtained: now,
        renews,
        rebinds,
        expires,
    }
}
