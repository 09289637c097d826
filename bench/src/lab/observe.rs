//! What the carrier sees of IKE and ESP on its two access lines: outer headers only, like any carrier.

use super::carrier::biller::CALLS_MAX;
use super::carrier::message::Message;
use super::clock;
use super::error::LabError;
use super::netns::Namespace;
use super::sys;
use sipsec_net::udp_encap::{UdpEncap, classify};
use sipsec_net::{Instant, IpPrefix, Spi};
use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::SyncSender;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

const TICK: Duration = Duration::from_millis(50);
const SIP_PORT: u16 = 5060;
const UDP: u8 = 17;
/// Each SPI is told once; beyond this many, not at all.
const SPIS_MAX: usize = 65_536;

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Sight {
    /// RFC 7296 §3.1.
    Ike { exchange: &'static str, response: bool, message_id: u32, fragment: bool },
    /// The first packet of an SA.
    EspFirst(Spi),
    /// An inner address on a line that knows only outer ones.
    ClearText { protocol: u8, destination: IpAddr },
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sighting {
    pub at: Instant,
    pub from: SocketAddr,
    pub to: SocketAddr,
    pub sight: Sight,
}

#[derive(Debug, Default)]
pub struct Tally {
    pub ike: AtomicU64,
    pub esp: AtomicU64,
    pub esp_bytes: AtomicU64,
    pub keepalives: AtomicU64,
    pub malformed: AtomicU64,
    /// Inner addresses seen in clear: must stay 0.
    pub clear_text: AtomicU64,
    /// Sightings that a slow reader has lost.
    pub lost: AtomicU64,
}

/// Calls as read from the SIP of the subscribers, for every kind of carrier.
#[derive(Debug, Default)]
pub struct SipTap {
    calls: BTreeMap<String, TappedCall>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TappedCall {
    pub answered: bool,
    /// From and CSeq of every BYE.
    pub byes: BTreeSet<String>,
}

impl SipTap {
    /// By Call-ID; those that were answered.
    pub fn answered(&self) -> impl Iterator<Item = &TappedCall> {
        self.calls.values().filter(|c| c.answered)
    }

    pub fn calls_up(&self) -> usize {
        self.answered().filter(|c| c.byes.is_empty()).count()
    }

    fn take(&mut self, payload: &[u8]) {
        let Ok(message) = Message::parse(payload) else { return };
        let call_id = message.header("Call-ID").unwrap_or_default();
        if self.calls.len() >= CALLS_MAX && !self.calls.contains_key(call_id) {
            return;
        }
        match (message.method(), message.status(), message.cseq_method()) {
            (None, Some(200..=299), "INVITE") => {
                self.calls.entry(call_id.to_owned()).or_default().answered = true;
            }
            (Some("BYE"), ..) => {
                let from = message.header("From").unwrap_or_default();
                let bye = format!("{} from {from}", message.cseq_number());
                self.calls.entry(call_id.to_owned()).or_default().byes.insert(bye);
            }
            _ => {}
        }
    }
}

/// Where an observer puts what it sees.
#[derive(Clone, Debug)]
pub struct Sinks {
    pub tally: Arc<Tally>,
    pub tap: Arc<Mutex<SipTap>>,
    /// SPIs seen so far, on any line.
    pub spis: Arc<Mutex<HashSet<u32>>>,
    pub sightings: SyncSender<Sighting>,
}

/// Watches one line. Dropping it stops the thread.
#[derive(Debug)]
pub struct Observer {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Observer {
    /// Reports what arrives at `device` of the carrier from the subscriber whose prefixes are `source`, over one IP version, and anything with an inner address.
    pub fn start(
        carrier: &Namespace,
        device: &str,
        source: &[IpPrefix],
        v6: bool,
        sinks: Sinks,
    ) -> Result<Self, LabError> {
        let socket = carrier.run(|| sys::packet_socket(device, v6))?;
        rustix::net::sockopt::set_socket_timeout(&socket, rustix::net::sockopt::Timeout::Recv, Some(TICK))
            .map_err(|e| LabError::Io { what: device.to_owned(), source: e.into() })?;
        let stop = Arc::new(AtomicBool::new(false));
        let watch = Watch { socket, source: source.to_vec(), sinks, stop: Arc::clone(&stop) };
        let thread = std::thread::Builder::new()
            .name(format!("observe-{device}"))
            .spawn(move || watch.run())
            .map_err(LabError::io("observer"))?;
        Ok(Self { stop, thread: Some(thread) })
    }
}

impl Drop for Observer {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

struct Watch {
    socket: OwnedFd,
    source: Vec<IpPrefix>,
    sinks: Sinks,
    stop: Arc<AtomicBool>,
}

impl Watch {
    fn run(self) {
        let mut buf = vec![0; 65_536];
        while !self.stop.load(Ordering::Relaxed) {
            let Ok((len, _)) =
                rustix::net::recv(&self.socket, buf.as_mut_slice(), rustix::net::RecvFlags::empty())
            else {
                continue;
            };
            if let Some((from, to, sight)) = self.look(&buf[..len])
                && self.sinks.sightings.try_send(Sighting { at: clock::now(), from, to, sight }).is_err()
            {
                self.sinks.tally.lost.fetch_add(1, Ordering::Relaxed);
            }
        }
    }

    fn look(&self, packet: &[u8]) -> Option<(SocketAddr, SocketAddr, Sight)> {
        let Outer { source, destination, protocol, header_len } = Outer::read(packet)?;
        if is_inner(source) || is_inner(destination) {
            self.sinks.tally.clear_text.fetch_add(1, Ordering::Relaxed);
            let sight = Sight::ClearText { protocol, destination };
            return Some((SocketAddr::new(source, 0), SocketAddr::new(destination, 0), sight));
        }
        // Only what arrives: what leaves this line has arrived at the other.
        if protocol != UDP || !self.source.iter().any(|p| p.contains(source)) {
            return None;
        }
        let udp = packet.get(header_len..)?;
        let port = |at: usize| Some(u16::from_be_bytes(udp.get(at..at + 2)?.try_into().ok()?));
        let (from, to) = (SocketAddr::new(source, port(0)?), SocketAddr::new(destination, port(2)?));
        // Ethernet pads short frames; the UDP length says where the datagram ends.
        let payload = udp.get(8..usize::from(port(4)?).min(udp.len()))?;
        if from.port() == SIP_PORT || to.port() == SIP_PORT {
            self.sinks.tap.lock().unwrap_or_else(PoisonError::into_inner).take(payload);
            return None;
        }
        let count = |counter: &AtomicU64| counter.fetch_add(1, Ordering::Relaxed);
        match classify(payload) {
            UdpEncap::Ike(ike) => {
                count(&self.sinks.tally.ike);
                let exchange = match ike[18] {
                    34 => "IKE_SA_INIT",
                    35 => "IKE_AUTH",
                    36 => "CREATE_CHILD_SA",
                    37 => "INFORMATIONAL",
                    43 => "IKE_INTERMEDIATE",
                    44 => "IKE_FOLLOWUP_KE",
                    _ => "IKE ?",
                };
                let message_id = u32::from_be_bytes([ike[20], ike[21], ike[22], ike[23]]);
                // RFC 7296 §3.1: the R bit; RFC 7383 §2.5: payload 53 is an encrypted fragment.
                let sight = Sight::Ike {
                    exchange,
                    response: ike[19] & 0x20 != 0,
                    message_id,
                    fragment: ike[16] == 53,
                };
                Some((from, to, sight))
            }
            UdpEncap::Esp(esp) => {
                count(&self.sinks.tally.esp);
                self.sinks.tally.esp_bytes.fetch_add(packet.len() as u64, Ordering::Relaxed);
                let spi = u32::from_be_bytes([esp[0], esp[1], esp[2], esp[3]]);
                let mut spis = self.sinks.spis.lock().unwrap_or_else(PoisonError::into_inner);
                let first = spis.len() < SPIS_MAX && spis.insert(spi);
                Some((from, to, Sight::EspFirst(Spi::new(spi).filter(|_| first)?)))
            }
            UdpEncap::Keepalive => {
                count(&self.sinks.tally.keepalives);
                None
            }
            UdpEncap::Malformed => {
                count(&self.sinks.tally.malformed);
                None
            }
        }
    }
}

/// The addresses of the LANs.
fn is_inner(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => v4.octets()[0] == 10,
        // RFC 4193 §3.1.
        IpAddr::V6(v6) => v6.octets()[0] == 0xfd,
    }
}

/// The outer header of a packet.
struct Outer {
    source: IpAddr,
    destination: IpAddr,
    protocol: u8,
    header_len: usize,
}

impl Outer {
    fn read(packet: &[u8]) -> Option<Self> {
        let v4 = |at: usize| {
            let octets: [u8; 4] = packet.get(at..at + 4)?.try_into().ok()?;
            Some(IpAddr::from(Ipv4Addr::from(octets)))
        };
        let v6 = |at: usize| {
            let octets: [u8; 16] = packet.get(at..at + 16)?.try_into().ok()?;
            Some(IpAddr::from(Ipv6Addr::from(octets)))
        };
        let first = *packet.first()?;
        Some(match first >> 4 {
            4 => Self {
                source: v4(12)?,
                destination: v4(16)?,
                protocol: *packet.get(9)?,
                header_len: usize::from(first & 0x0f) * 4,
            },
            // Neither SIP nor IKE nor ESP of the gateways has extension headers.
            6 => Self { source: v6(8)?, destination: v6(24)?, protocol: *packet.get(6)?, header_len: 40 },
            _ => return None,
        })
    }
}
