//! Numbered, dated UDP packets from LAN to LAN.

use super::clock;
use super::error::LabError;
use super::interrupt::check;
use super::netns::Namespace;
use sipsec_net::Instant;
use std::io::ErrorKind;
use std::net::{Ipv4Addr, UdpSocket};
use std::ops::ControlFlow;
use std::time::Duration;

const PORT: u16 = 9000;
/// How soon a receiver sees that its time is over.
const TICK: Duration = Duration::from_millis(20);

/// What a packet carries: its series, its number in it, and when it was sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Probe {
    pub series: u32,
    pub number: u32,
    pub departed: Instant,
}

const LEN: usize = 4 + 4 + 8;

impl Probe {
    fn to_bytes(self) -> [u8; LEN] {
        let mut out = [0; LEN];
        out[..4].copy_from_slice(&self.series.to_be_bytes());
        out[4..8].copy_from_slice(&self.number.to_be_bytes());
        out[8..].copy_from_slice(&self.departed.as_nanos().to_be_bytes());
        out
    }

    fn from_bytes(bytes: &[u8; LEN]) -> Self {
        let [s0, s1, s2, s3, n0, n1, n2, n3, t @ ..] = *bytes;
        Self {
            series: u32::from_be_bytes([s0, s1, s2, s3]),
            number: u32::from_be_bytes([n0, n1, n2, n3]),
            departed: Instant::from_nanos(u64::from_be_bytes(t)),
        }
    }
}

#[derive(Debug)]
pub struct Sender(UdpSocket);

impl Sender {
    pub fn new(namespace: &Namespace, to: &str) -> Result<Self, LabError> {
        let socket = namespace.run(|| {
            let socket = UdpSocket::bind("0.0.0.0:0")?;
            socket.connect((to, PORT))?;
            Ok(socket)
        })?;
        Ok(Self(socket))
    }

    /// One for each pair of source and destination.
    pub fn many(namespace: &Namespace, pairs: &[(Ipv4Addr, Ipv4Addr)]) -> Result<Vec<Self>, LabError> {
        namespace.run(|| {
            let one = |(from, to): &(Ipv4Addr, Ipv4Addr)| {
                let socket = UdpSocket::bind((*from, 0))?;
                socket.connect((*to, PORT))?;
                Ok(Self(socket))
            };
            pairs.iter().map(one).collect()
        })
    }

    pub fn send(&self, series: u32, number: u32) -> Result<(), LabError> {
        let probe = Probe { series, number, departed: clock::now() };
        self.0.send(&probe.to_bytes()).map(drop).map_err(LabError::io("probe"))
    }
}

#[derive(Debug)]
pub struct Receiver(UdpSocket);

impl Receiver {
    pub fn new(namespace: &Namespace) -> Result<Self, LabError> {
        let socket = namespace.run(|| UdpSocket::bind(("0.0.0.0", PORT)))?;
        socket.set_read_timeout(Some(TICK)).map_err(LabError::io("receiver"))?;
        Ok(Self(socket))
    }

    /// Gives every probe with the time of its arrival to `take`, until that says that it is enough, or the time is over.
    pub fn each(
        &self,
        limit: Duration,
        mut take: impl FnMut(Probe, Instant) -> ControlFlow<()>,
    ) -> Result<(), LabError> {
        let end = clock::now() + limit;
        while clock::now() < end {
            check()?;
            if let Some((probe, at)) = self.next()?
                && take(probe, at).is_break()
            {
                break;
            }
        }
        Ok(())
    }

    /// The next probe, if one comes soon.
    fn next(&self) -> Result<Option<(Probe, Instant)>, LabError> {
        let mut bytes = [0; LEN];
        match self.0.recv(&mut bytes) {
            Ok(LEN) => Ok(Some((Probe::from_bytes(&bytes), clock::now()))),
            Ok(_) => Ok(None),
            Err(e) if matches!(e.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => Ok(None),
            Err(e) => Err(LabError::Io { what: "receiver".into(), source: e }),
        }
    }

    /// The probes of one series with the times of their arrival, until `count` have come or the time is over.
    pub fn take(&self, series: u32, count: u32, limit: Duration) -> Result<Vec<(Probe, Instant)>, LabError> {
        let mut out = Vec::new();
        if count == 0 {
            return Ok(out);
        }
        self.each(limit, |probe, at| {
            if probe.series == series {
                out.push((probe, at));
            }
            if out.len() < count as usize { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
        })?;
        Ok(out)
    }
}
