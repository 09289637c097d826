//! The carrier on its UDP sockets, each in a thread of its own.

use super::config::{Config, Knobs};
use super::core::{Carrier, Output, Stats};
use super::message::MESSAGE_MAX;
use super::relay::{Relay, RelayStats};
use super::trace::Hop;
use crate::lab::clock;
use serde_json::Value;
use sipsec_net::Entropy;
use std::fs::File;
use std::io::{ErrorKind, Read as _};
use std::net::{SocketAddr, UdpSocket};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

/// Hops kept for a reader that is slow; further ones are counted and lost to the trace.
pub const TRACE_MAX: usize = 65_536;
/// How soon the thread sees that it should stop, and a timer set by a knob.
const TICK: Duration = Duration::from_millis(50);

/// A running carrier. Dropping it stops its threads.
pub struct Server {
    carrier: Arc<Mutex<Carrier>>,
    relayed: Option<Arc<RelayStats>>,
    stop: Arc<AtomicBool>,
    trace: Mutex<Option<Receiver<Hop>>>,
    trace_lost: Arc<AtomicU64>,
    threads: Vec<JoinHandle<()>>,
}

impl std::fmt::Debug for Server {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Server").finish_non_exhaustive()
    }
}

/// The kernel's randomness.
struct Kernel(File);

impl Entropy for Kernel {
    fn fill(&mut self, buf: &mut [u8]) {
        self.0.read_exact(buf).expect("/dev/urandom does not end");
    }
}

impl Server {
    /// Serves on sockets that are bound to the addresses of `config`, with the sockets of the relay that it names.
    pub fn start(sockets: Vec<UdpSocket>, relay: Option<Relay>, config: Config) -> std::io::Result<Self> {
        let addresses: Vec<_> = config.addresses().collect();
        let carrier =
            Arc::new(Mutex::new(Carrier::new(config, Box::new(Kernel(File::open("/dev/urandom")?)))));
        let stop = Arc::new(AtomicBool::new(false));
        let trace_lost = Arc::new(AtomicU64::new(0));
        let (tx, rx) = sync_channel(TRACE_MAX);
        let relayed = relay.as_ref().map(Relay::stats);
        let relay = Arc::new(Mutex::new(relay));
        let sockets: Arc<[_]> = addresses.into_iter().zip(sockets).collect();
        let mut threads = Vec::new();
        for (here, socket) in sockets.iter() {
            socket.set_read_timeout(Some(TICK))?;
            let worker = Worker {
                here: *here,
                socket: socket.try_clone()?,
                sockets: Arc::clone(&sockets),
                relay: Arc::clone(&relay),
                carrier: Arc::clone(&carrier),
                stop: Arc::clone(&stop),
                trace: tx.clone(),
                trace_lost: Arc::clone(&trace_lost),
            };
            threads.push(std::thread::Builder::new().name("carrier".into()).spawn(move || worker.run())?);
        }
        Ok(Self { carrier, relayed, stop, trace: Mutex::new(Some(rx)), trace_lost, threads })
    }

    /// Every message from now on; can be taken once.
    pub fn take_trace(&self) -> Option<Receiver<Hop>> {
        self.trace.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    pub fn trace_lost(&self) -> u64 {
        self.trace_lost.load(Ordering::Relaxed)
    }

    pub fn set_knobs(&self, change: impl FnOnce(&mut Knobs)) {
        self.lock().set_knobs(change);
    }

    /// Numbers with a live registration.
    pub fn registered(&self) -> Vec<String> {
        self.lock().location().registered(clock::now())
    }

    /// What a restart, or a standby that takes over, does to a registrar.
    pub fn forget_registrations(&self) {
        self.lock().forget_registrations();
    }

    pub fn stats(&self) -> Stats {
        *self.lock().stats()
    }

    /// Counters of the media relay, if there is one.
    pub fn relayed(&self) -> Option<&RelayStats> {
        self.relayed.as_deref()
    }

    /// Calls answered and not hung up.
    pub fn calls_up(&self) -> usize {
        self.lock().biller().calls().iter().filter(|c| c.is_up()).count()
    }

    /// INVITEs forwarded or refused so far.
    pub fn calls(&self) -> usize {
        self.lock().biller().calls().len()
    }

    pub fn bill_text(&self) -> String {
        self.lock().biller().text(clock::now())
    }

    pub fn bill_json(&self) -> Value {
        self.lock().biller().json(clock::now())
    }

    fn lock(&self) -> MutexGuard<'_, Carrier> {
        self.carrier.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
    }
}

struct Worker {
    here: SocketAddr,
    socket: UdpSocket,
    /// All of them: an answer may leave from another address.
    sockets: Arc<[(SocketAddr, UdpSocket)]>,
    relay: Arc<Mutex<Option<Relay>>>,
    carrier: Arc<Mutex<Carrier>>,
    stop: Arc<AtomicBool>,
    trace: SyncSender<Hop>,
    trace_lost: Arc<AtomicU64>,
}

impl Worker {
    fn relay(&self) -> MutexGuard<'_, Option<Relay>> {
        self.relay.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn run(self) {
        let mut buf = [0; MESSAGE_MAX + 1];
        while !self.stop.load(Ordering::Relaxed) {
            let received = self.socket.recv_from(&mut buf);
            let mut carrier = self.carrier.lock().unwrap_or_else(PoisonError::into_inner);
            match received {
                Ok((len, from)) => {
                    carrier.handle_datagram_at(clock::now(), from, self.here, &buf[..len]);
                }
                Err(e) if matches!(e.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {}
                // ICMP port unreachable of an earlier datagram.
                Err(e) if e.kind() == ErrorKind::ConnectionRefused => {}
                Err(e) if e.kind() == ErrorKind::Interrupted => {}
                Err(_) => return,
            }
            let now = clock::now();
            if carrier.poll_timeout().is_some_and(|at| at <= now) {
                carrier.handle_timeout(now);
            }
            let mut wait = TICK;
            if let Some(at) = carrier.poll_timeout() {
                wait = wait.min(at.saturating_duration_since(now)).max(Duration::from_millis(1));
            }
            while let Some(output) = carrier.poll_output() {
                match output {
                    // A datagram that cannot be sent is a lost datagram.
                    Output::Transmit { from, to, bytes } => {
                        if let Some((_, socket)) = self.sockets.iter().find(|(a, _)| *a == from) {
                            let _ = socket.send_to(&bytes, to);
                        }
                    }
                    // A relay that does not start shows as a call without media.
                    Output::Relay(call) => {
                        if let Some(relay) = &mut *self.relay() {
                            let _ = relay.start(call);
                        }
                    }
                    Output::RelayEnd(slot) => {
                        if let Some(relay) = &mut *self.relay() {
                            relay.end(slot);
                        }
                    }
                    Output::Trace(hop) => {
                        if self.trace.try_send(hop).is_err() {
                            self.trace_lost.fetch_add(1, Ordering::Relaxed);
                        }
                    }
                }
            }
            drop(carrier);
            let _ = self.socket.set_read_timeout(Some(wait));
        }
    }
}
