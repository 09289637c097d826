//! ICMP echo over raw sockets, one for each exit. A reader task matches replies and errors with what was sent.

use super::socket::{Exit, meaning};
use crate::clock;
use rustix::net::RecvFlags;
use sipsec_net::{Instant, checksum};
use sipsec_track::view::ReturnCode;
use sipsec_track::{Input, Outcome};
use socket2::{Protocol, SockFilter, Socket, Type};
use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::sync::mpsc;
use tokio::task::JoinSet;

/// Probes of one socket whose end is awaited; the sequence number has 16 bits.
const AWAITED_MAX: usize = 32 * 1024;
const RECV_BUFFER: usize = 4 << 20;
/// A socket that was replaced is closed at the latest after this time.
const UNUSED_AFTER: Duration = Duration::from_secs(60);
/// Replies taken in one go.
const BATCH: usize = 256;
const HEADER: usize = 8;
/// ICMP header and a token that no other host can guess.
const PROBE: usize = HEADER + 8;

/// Types of ICMP and ICMPv6.
#[derive(Clone, Copy)]
struct Kinds {
    request: u8,
    reply: u8,
    errors: [u8; 2],
}

const V4: Kinds = Kinds { request: 8, reply: 0, errors: [3, 11] };
const V6: Kinds = Kinds { request: 128, reply: 129, errors: [1, 3] };

#[derive(Debug)]
struct Awaited {
    operation: u32,
    probe: u64,
    target: IpAddr,
    sent: Instant,
    token: u64,
}

#[derive(Debug)]
struct Shared {
    socket: AsyncFd<Socket>,
    v6: bool,
    ident: u16,
    awaited: Mutex<HashMap<u16, Awaited>>,
}

/// All sockets, made when they are first needed.
#[derive(Debug)]
pub struct Icmp {
    sockets: HashMap<Exit, Arc<Shared>>,
    sequence: u16,
    results: mpsc::Sender<Input>,
    readers: JoinSet<()>,
}

impl Icmp {
    pub fn new(results: mpsc::Sender<Input>) -> Self {
        Self { sockets: HashMap::new(), sequence: 0, results, readers: JoinSet::new() }
    }

    /// Sends one request. The error says why none was sent.
    pub fn send(
        &mut self,
        exit: &Exit,
        target: IpAddr,
        operation: u32,
        probe: u64,
    ) -> Result<(), ReturnCode> {
        let shared = match self.sockets.get(exit) {
            Some(shared) => shared.clone(),
            None => self.open(exit).map_err(|error| {
                tracing::debug!(?exit, %error, "no ICMP socket");
                meaning(&error)
            })?,
        };
        self.sequence = self.sequence.wrapping_add(1);
        let mut token = [0; 8];
        getrandom::fill(&mut token).map_err(|_| ReturnCode::NotSent)?;
        let token = u64::from_be_bytes(token);
        let sent = clock::now();
        {
            let mut awaited = shared.awaited.lock().unwrap_or_else(PoisonError::into_inner);
            if awaited.len() >= AWAITED_MAX {
                // The core has given up the old ones long ago.
                awaited.retain(|_, a| sent.saturating_duration_since(a.sent) < UNUSED_AFTER);
                if awaited.len() >= AWAITED_MAX {
                    return Err(ReturnCode::NotSent);
                }
            }
            awaited.insert(self.sequence, Awaited { operation, probe, target, sent, token });
        }
        let request = request(shared.v6, shared.ident, self.sequence, token);
        let result = shared.socket.get_ref().send_to(&request, &SocketAddr::new(target, 0).into());
        if let Err(error) = result {
            shared.take(self.sequence);
            // The device may have been made anew: the next probe opens another socket.
            self.sockets.remove(exit);
            return Err(meaning(&error));
        }
        Ok(())
    }

    fn open(&mut self, exit: &Exit) -> io::Result<Arc<Shared>> {
        let protocol = if exit.v6 { Protocol::ICMPV6 } else { Protocol::ICMPV4 };
        let socket = exit.socket(Type::RAW, protocol)?;
        let _ = socket.set_recv_buffer_size(RECV_BUFFER);
        let mut ident = [0; 2];
        getrandom::fill(&mut ident).map_err(|_| io::Error::other("no randomness"))?;
        let ident = u16::from_be_bytes(ident);
        socket.attach_filter(&filter(exit.v6, ident))?;
        let socket = register(socket)?;
        let shared = Arc::new(Shared { socket, v6: exit.v6, ident, awaited: Mutex::default() });
        self.readers.spawn(read(shared.clone(), self.results.clone()));
        self.sockets.insert(exit.clone(), shared.clone());
        Ok(shared)
    }
}

#[expect(deprecated, reason = "AsyncFd is unsound for types that change their descriptor; Socket never does")]
fn register(socket: Socket) -> io::Result<AsyncFd<Socket>> {
    AsyncFd::with_interest(socket, Interest::READABLE)
}

fn request(v6: bool, ident: u16, sequence: u16, token: u64) -> [u8; PROBE] {
    let mut out = [0; PROBE];
    out[0] = if v6 { V6.request } else { V4.request };
    out[4..6].copy_from_slice(&ident.to_be_bytes());
    out[6..8].copy_from_slice(&sequence.to_be_bytes());
    out[HEADER..].copy_from_slice(&token.to_be_bytes());
    if !v6 {
        // The kernel computes that of ICMPv6, which covers the addresses.
        let sum = checksum::finish(checksum::sum(&out, 0));
        out[2..4].copy_from_slice(&sum.to_be_bytes());
    }
    out
}

/// Echo replies with our identifier, and errors. The rest of the host's ICMP does not wake this process.
fn filter(v6: bool, ident: u16) -> Vec<SockFilter> {
    const LDX_IP_HEADER: u16 = 0xb1;
    const LDX_CONSTANT: u16 = 0x01;
    const LD_B_AT_X: u16 = 0x50;
    const LD_H_AT_X: u16 = 0x48;
    const JEQ: u16 = 0x15;
    const RET: u16 = 0x06;
    let kinds = if v6 { V6 } else { V4 };
    let op = |code, k| SockFilter::new(code, 0, 0, k);
    let jeq = |k: u32, jt, jf| SockFilter::new(JEQ, jt, jf, k);
    vec![
        // A raw socket of IPv4 sees the IP header, one of IPv6 does not.
        if v6 { op(LDX_CONSTANT, 0) } else { op(LDX_IP_HEADER, 0) },
        op(LD_B_AT_X, 0),
        jeq(kinds.errors[0].into(), 4, 0), // to 7
        jeq(kinds.errors[1].into(), 3, 0), // to 7
        jeq(kinds.reply.into(), 0, 3),     // else to 8
        op(LD_H_AT_X, 4),
        jeq(ident.into(), 0, 1), // else to 8
        op(RET, u32::MAX),       // 7
        op(RET, 0),              // 8
    ]
}

impl Shared {
    fn take(&self, sequence: u16) -> Option<Awaited> {
        self.awaited.lock().unwrap_or_else(PoisonError::into_inner).remove(&sequence)
    }

    /// What a packet says of a probe of ours.
    fn judge(&self, packet: &[u8], from: IpAddr, now: Instant) -> Option<(Awaited, Outcome)> {
        let kinds = if self.v6 { V6 } else { V4 };
        let icmp = if self.v6 { packet } else { after_ipv4(packet)? };
        let kind = *icmp.first()?;
        if kind == kinds.reply {
            let (ident, sequence, token) = echo(icmp)?;
            let mut table = self.awaited.lock().unwrap_or_else(PoisonError::into_inner);
            let fits = |a: &Awaited| a.target == from && Some(a.token) == token;
            if ident != self.ident || !table.get(&sequence).is_some_and(fits) {
                return None;
            }
            let awaited = table.remove(&sequence)?;
            let rtt = now.saturating_duration_since(awaited.sent);
            return Some((awaited, Ok(rtt)));
        }
        if !kinds.errors.contains(&kind) {
            return None;
        }
        // The error quotes our request: its IP header, and at least 8 bytes of ICMP (RFC 792, RFC 4443 §2.4).
        let quoted = icmp.get(HEADER..)?;
        let (inner, target) = if self.v6 {
            let header = quoted.get(..40).filter(|h| h[6] == 58)?;
            let to: [u8; 16] = header.get(24..40)?.try_into().ok()?;
            (quoted.get(40..)?, IpAddr::from(to))
        } else {
            let header = quoted.get(..20).filter(|h| h[9] == 1)?;
            let to: [u8; 4] = header.get(16..20)?.try_into().ok()?;
            (after_ipv4(quoted)?, IpAddr::from(to))
        };
        let (ident, sequence, token) = echo(inner)?;
        let mut table = self.awaited.lock().unwrap_or_else(PoisonError::into_inner);
        // A router may quote 8 bytes only; then there is no token to compare.
        let fits = |a: &Awaited| a.target == target && token.is_none_or(|t| t == a.token);
        if inner.first() != Some(&kinds.request)
            || ident != self.ident
            || !table.get(&sequence).is_some_and(fits)
        {
            return None;
        }
        Some((table.remove(&sequence)?, Err(ReturnCode::Unreachable)))
    }
}

/// Identifier, sequence number and, if it is whole, the token.
fn echo(icmp: &[u8]) -> Option<(u16, u16, Option<u64>)> {
    let half = |at: usize| Some(u16::from_be_bytes(*icmp.get(at..)?.first_chunk()?));
    let token = icmp.get(HEADER..).and_then(|rest| rest.first_chunk()).map(|t| u64::from_be_bytes(*t));
    Some((half(4)?, half(6)?, token))
}

fn after_ipv4(packet: &[u8]) -> Option<&[u8]> {
    let len = usize::from(packet.first()? & 0xf) * 4;
    packet.get(len.max(20)..)
}

/// Ends when the socket is not used any more.
async fn read(shared: Arc<Shared>, results: mpsc::Sender<Input>) {
    let mut buffer = [0; 2048];
    // The table of sockets holds it, and this task; one that only this task holds has been replaced.
    while Arc::strong_count(&shared) > 1 {
        let Ok(Ok(mut ready)) = tokio::time::timeout(UNUSED_AFTER, shared.socket.readable()).await else {
            continue;
        };
        for _ in 0..BATCH {
            match rustix::net::recvfrom(shared.socket.get_ref(), &mut buffer[..], RecvFlags::DONTWAIT) {
                Ok((_, len, from)) => {
                    let from = from.and_then(|from| SocketAddr::try_from(from).ok());
                    let (Some(packet), Some(from)) = (buffer.get(..len), from) else { continue };
                    let Some((awaited, outcome)) = shared.judge(packet, from.ip(), clock::now()) else {
                        continue;
                    };
                    let (operation, probe) = (awaited.operation, awaited.probe);
                    if results.send(Input::ProbeEnded { operation, probe, outcome }).await.is_err() {
                        return;
                    }
                }
                Err(rustix::io::Errno::AGAIN) => {
                    ready.clear_ready();
                    break;
                }
                // An error of an earlier probe; the core's timeout judges that one.
                Err(_) => {}
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_has_a_good_checksum_and_its_numbers() {
        let bytes = request(false, 0x1234, 0x5678, 0x0102_0304_0506_0708);
        assert_eq!(checksum::finish(checksum::sum(&bytes, 0)), 0);
        assert_eq!(echo(&bytes), Some((0x1234, 0x5678, Some(0x0102_0304_0506_0708))));
        assert_eq!((bytes[0], request(true, 1, 2, 3)[0]), (8, 128));
    }

    fn shared(v6: bool) -> Shared {
        let socket = Socket::new(socket2::Domain::IPV4, Type::DGRAM, None).expect("a socket");
        socket.set_nonblocking(true).expect("set");
        let socket = register(socket).expect("registered");
        let target: IpAddr = if v6 { "2001:db8::1" } else { "192.0.2.1" }.parse().expect("an address");
        let awaited = Awaited { operation: 5, probe: 9, target, sent: Instant::ZERO, token: 77 };
        Shared { socket, v6, ident: 3, awaited: Mutex::new(HashMap::from([(4, awaited)])) }
    }

    fn ipv4(to: [u8; 4], icmp: &[u8]) -> Vec<u8> {
        let mut out = vec![0x45; 20];
        out[9] = 1;
        out[16..20].copy_from_slice(&to);
        out.extend(icmp);
        out
    }

    #[tokio::test]
    async fn only_the_targets_own_answer_counts() {
        let shared = shared(false);
        let now = Instant::from_nanos(1_500_000);
        let reply = |token, sequence| {
            let mut icmp = request(false, 3, sequence, token);
            icmp[0] = 0;
            ipv4([10, 0, 0, 1], &icmp)
        };
        let target: IpAddr = "192.0.2.1".parse().expect("an address");
        let other: IpAddr = "192.0.2.2".parse().expect("an address");
        assert!(shared.judge(&reply(77, 4), other, now).is_none(), "another host");
        assert!(shared.judge(&reply(78, 4), target, now).is_none(), "another token");
        assert!(shared.judge(&reply(77, 5), target, now).is_none(), "another number");
        let (awaited, outcome) = shared.judge(&reply(77, 4), target, now).expect("ours");
        assert_eq!((awaited.operation, awaited.probe), (5, 9));
        assert_eq!(outcome, Ok(std::time::Duration::from_micros(1500)));
        assert!(shared.judge(&reply(77, 4), target, now).is_none(), "the answer came already");
    }

    #[tokio::test]
    async fn an_error_counts_if_it_quotes_the_request() {
        let shared = shared(false);
        let router: IpAddr = "198.51.100.1".parse().expect("an address");
        let error = |to, sequence| {
            let quoted = ipv4(to, &request(false, 3, sequence, 77)[..8]);
            let mut icmp = vec![3, 1, 0, 0, 0, 0, 0, 0];
            icmp.extend(quoted);
            ipv4([10, 0, 0, 1], &icmp)
        };
        assert!(
            shared.judge(&error([192, 0, 2, 9], 4), router, Instant::ZERO).is_none(),
            "of another target"
        );
        let whole = error([192, 0, 2, 1], 4);
        for len in 0..whole.len() {
            assert!(shared.judge(&whole[..len], router, Instant::ZERO).is_none(), "cut at {len}");
        }
        let (_, outcome) = shared.judge(&whole, router, Instant::ZERO).expect("ours");
        assert_eq!(outcome, Err(ReturnCode::Unreachable));
    }
}
