//! The carrier's media relay: subscribers see its address in SDP instead of each other's. It sends from other ports than
//! those where it listens, and drops what is above the rate of the call.

use super::core::{Carrier, Output};
use super::rewrite::{self, Rewrite};
use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// Ports of one call: where it listens and from where it sends, for each side. Those in SDP are even.
const PORTS_PER_CALL: u16 = 8;
const TO_CALLED: u16 = 4;
const SEND: u16 = 1;
/// How soon a thread sees that its call has ended.
const TICK: Duration = Duration::from_millis(20);
/// IP and UDP headers, which `b=AS` counts (RFC 8866 §5.8).
const HEADERS_V4: f64 = 28.0;
const HEADERS_V6: f64 = 48.0;

/// Where the relay is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Plan {
    pub address: IpAddr,
    /// For calls whose offer is of IPv6; without it they get the other one.
    pub address6: Option<IpAddr>,
    pub first_port: u16,
    /// Calls at a time; more are answered 503.
    pub calls_max: u16,
    /// It sends from another port than it listens to.
    pub other_source: bool,
}

impl Plan {
    /// A port for the side whose media address is `side`.
    fn port(self, slot: u16, offset: u16, side: IpAddr) -> SocketAddr {
        let address = self.address6.filter(|_| side.is_ipv6()).unwrap_or(self.address);
        SocketAddr::new(address, self.first_port + slot * PORTS_PER_CALL + offset)
    }
}

/// One relayed call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Relayed {
    pub slot: u16,
    /// Media addresses of both sides.
    pub caller: SocketAddr,
    pub called: SocketAddr,
    pub kbps: u32,
}

/// The calls that have a part of the relay.
#[derive(Debug, Default)]
pub(super) struct Slots {
    by_call: HashMap<String, (u16, Option<SocketAddr>, u32)>,
}

impl Carrier {
    /// The offer as it goes on, with the relay's address and port. `None`: the relay is full.
    pub(super) fn relay_offer(&mut self, call_id: &str, body: &[u8]) -> Option<Vec<u8>> {
        let Some(plan) = self.config.relay else { return Some(body.to_vec()) };
        let taken: Vec<u16> = self.relayed.by_call.values().map(|(slot, ..)| *slot).collect();
        let slot = match self.relayed.by_call.get(call_id) {
            Some((slot, ..)) => *slot,
            None => (0..plan.calls_max).find(|slot| !taken.contains(slot))?,
        };
        let kbps = super::biller::bandwidth(body).unwrap_or(u32::MAX);
        let caller = media(body);
        self.relayed.by_call.insert(call_id.to_owned(), (slot, caller, kbps));
        let side = caller.map_or(plan.address, |a| a.ip());
        Some(moved(body, plan.port(slot, TO_CALLED, side)))
    }

    /// The same of the answer; the relay begins.
    pub(super) fn relay_answer(&mut self, call_id: &str, body: &[u8]) -> Vec<u8> {
        let (Some(plan), Some((slot, caller, offered))) =
            (self.config.relay, self.relayed.by_call.get(call_id).copied())
        else {
            return body.to_vec();
        };
        if let (Some(caller), Some(called)) = (caller, media(body)) {
            let kbps = offered.min(super::biller::bandwidth(body).unwrap_or(u32::MAX));
            self.push(Output::Relay(Relayed { slot, caller, called, kbps }));
        }
        moved(body, plan.port(slot, 0, caller.map_or(plan.address, |a| a.ip())))
    }

    pub(super) fn relay_end(&mut self, call_id: &str) {
        if let Some((slot, ..)) = self.relayed.by_call.remove(call_id) {
            self.push(Output::RelayEnd(slot));
        }
    }
}

fn moved(body: &[u8], to: SocketAddr) -> Vec<u8> {
    rewrite::apply(&[Rewrite::MediaAddress(to.ip()), Rewrite::MediaPort(to.port())], body)
}

/// RFC 8866 §5.7, §5.14: the last `c=` and the first media port.
fn media(sdp: &[u8]) -> Option<SocketAddr> {
    let text = std::str::from_utf8(sdp).ok()?;
    let ip = text.lines().rfind(|l| l.starts_with("c="))?.split(' ').nth(2)?.trim().parse().ok()?;
    let port = text.lines().find(|l| l.starts_with("m="))?.split(' ').nth(1)?.parse().ok()?;
    Some(SocketAddr::new(ip, port))
}

#[derive(Debug, Default)]
pub struct RelayStats {
    pub packets: AtomicU64,
    /// Above the rate of their call.
    pub policed: AtomicU64,
    /// From elsewhere than the side that the port is for.
    pub foreign: AtomicU64,
}

/// The relay's sockets, bound for all calls at the start.
#[derive(Debug)]
pub struct Relay {
    slots: Vec<[Legs; 2]>,
    running: HashMap<u16, Running>,
    stats: Arc<RelayStats>,
}

/// The ports for one side of a call, of each IP version.
#[derive(Debug)]
struct Legs {
    v4: Leg,
    v6: Option<Leg>,
}

impl Legs {
    fn towards(&self, side: SocketAddr) -> &Leg {
        self.v6.as_ref().filter(|_| side.is_ipv6()).unwrap_or(&self.v4)
    }
}

#[derive(Debug)]
struct Leg {
    listen: UdpSocket,
    send: UdpSocket,
}

#[derive(Debug)]
struct Running {
    stop: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
}

impl Relay {
    /// Binds every port; to be called in the carrier's namespace.
    pub fn bind(plan: Plan) -> std::io::Result<Self> {
        let leg = |slot: u16, offset: u16, side: IpAddr| -> std::io::Result<Leg> {
            let listen = UdpSocket::bind(plan.port(slot, offset, side))?;
            listen.set_read_timeout(Some(TICK))?;
            let send = match plan.other_source {
                true => UdpSocket::bind(plan.port(slot, offset + SEND, side))?,
                false => listen.try_clone()?,
            };
            Ok(Leg { listen, send })
        };
        let legs = |slot: u16, offset: u16| -> std::io::Result<Legs> {
            let v6 = plan.address6.map(|address| leg(slot, offset, address)).transpose()?;
            Ok(Legs { v4: leg(slot, offset, plan.address)?, v6 })
        };
        let slots = (0..plan.calls_max).map(|slot| Ok([legs(slot, 0)?, legs(slot, TO_CALLED)?]));
        let slots = slots.collect::<std::io::Result<_>>()?;
        Ok(Self { slots, running: HashMap::new(), stats: Arc::default() })
    }

    #[must_use]
    pub fn stats(&self) -> Arc<RelayStats> {
        Arc::clone(&self.stats)
    }

    pub fn start(&mut self, call: Relayed) -> std::io::Result<()> {
        self.end(call.slot);
        let Some([caller, called]) = self.slots.get(usize::from(call.slot)) else { return Ok(()) };
        let (caller, called) = (caller.towards(call.caller), called.towards(call.called));
        let stop = Arc::new(AtomicBool::new(false));
        let mut threads = Vec::new();
        for (from, to, source, target) in
            [(caller, called, call.caller, call.called), (called, caller, call.called, call.caller)]
        {
            let way = Way {
                listen: from.listen.try_clone()?,
                send: to.send.try_clone()?,
                source: source.ip(),
                target,
                kbps: call.kbps,
                stop: Arc::clone(&stop),
                stats: Arc::clone(&self.stats),
            };
            threads.push(std::thread::Builder::new().name("relay".into()).spawn(move || way.run())?);
        }
        self.running.insert(call.slot, Running { stop, threads });
        Ok(())
    }

    pub fn end(&mut self, slot: u16) {
        if let Some(running) = self.running.remove(&slot) {
            running.stop.store(true, Ordering::Relaxed);
            for thread in running.threads {
                let _ = thread.join();
            }
        }
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        let slots: Vec<_> = self.running.keys().copied().collect();
        slots.into_iter().for_each(|slot| self.end(slot));
    }
}

/// One direction of a call.
struct Way {
    listen: UdpSocket,
    send: UdpSocket,
    source: IpAddr,
    target: SocketAddr,
    kbps: u32,
    stop: Arc<AtomicBool>,
    stats: Arc<RelayStats>,
}

impl Way {
    fn run(self) {
        let mut buffer = [0; 2048];
        let headers = if self.target.is_ipv4() { HEADERS_V4 } else { HEADERS_V6 };
        let mut policer = Policer::new(self.kbps, headers, Instant::now());
        while !self.stop.load(Ordering::Relaxed) {
            let Ok((len, from)) = self.listen.recv_from(&mut buffer) else { continue };
            if from.ip() != self.source {
                self.stats.foreign.fetch_add(1, Ordering::Relaxed);
            } else if policer.admits(len, Instant::now()) {
                self.stats.packets.fetch_add(1, Ordering::Relaxed);
                // A datagram that cannot be sent is a lost datagram.
                let _ = self.send.send_to(&buffer[..len], self.target);
            } else {
                self.stats.policed.fetch_add(1, Ordering::Relaxed);
            }
        }
    }
}

/// A bucket that holds what the rate allows in one second.
#[derive(Debug)]
struct Policer {
    bytes_per_s: f64,
    headers: f64,
    tokens: f64,
    at: Instant,
}

impl Policer {
    fn new(kbps: u32, headers: f64, now: Instant) -> Self {
        let bytes_per_s = f64::from(kbps) * 125.0;
        Self { bytes_per_s, headers, tokens: bytes_per_s, at: now }
    }

    fn admits(&mut self, payload: usize, now: Instant) -> bool {
        let passed = now.saturating_duration_since(self.at).as_secs_f64();
        self.at = now;
        self.tokens = (self.tokens + passed * self.bytes_per_s).min(self.bytes_per_s);
        let cost = payload as f64 + self.headers;
        let fits = cost <= self.tokens;
        if fits {
            self.tokens -= cost;
        }
        fits
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_above_the_rate_of_a_second_is_dropped() {
        let start = Instant::now();
        let mut policer = Policer::new(64, HEADERS_V4, start);
        let sent = |policer: &mut Policer, at: Instant| (0..100).filter(|_| policer.admits(172, at)).count();
        assert_eq!(sent(&mut policer, start), 40, "8000 bytes with their headers");
        assert_eq!(sent(&mut policer, start + Duration::from_millis(500)), 20);
        assert_eq!(sent(&mut policer, start + Duration::from_secs(60)), 40, "a pause is no credit");
    }

    #[test]
    fn both_ways_pass_through_from_another_port_and_strangers_do_not() {
        let address = [127, 0, 0, 1].into();
        let plan = Plan { address, address6: None, first_port: 41_000, calls_max: 1, other_source: true };
        let mut relay = Relay::bind(plan).expect("bound");
        let [a, b] = [0, 1].map(|_| UdpSocket::bind("127.0.0.1:0").expect("bound"));
        let (caller, called) = (a.local_addr().expect("bound"), b.local_addr().expect("bound"));
        relay.start(Relayed { slot: 0, caller, called, kbps: 64 }).expect("runs");
        let mut buffer = [0; 16];
        a.send_to(b"there", plan.port(0, 0, address)).expect("sent");
        let (len, from) = b.recv_from(&mut buffer).expect("relayed");
        assert_eq!((&buffer[..len], from), (&b"there"[..], plan.port(0, TO_CALLED + SEND, address)));
        b.send_to(b"back", plan.port(0, TO_CALLED, address)).expect("sent");
        let (len, from) = a.recv_from(&mut buffer).expect("relayed");
        assert_eq!((&buffer[..len], from), (&b"back"[..], plan.port(0, SEND, address)));
        let stranger = UdpSocket::bind("127.0.0.2:0").expect("bound");
        stranger.send_to(b"x", plan.port(0, 0, address)).expect("sent");
        while relay.stats.foreign.load(Ordering::Relaxed) == 0 {
            std::thread::yield_now();
        }
        assert_eq!(relay.stats.packets.load(Ordering::Relaxed), 2);
    }
}
