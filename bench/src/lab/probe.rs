//! Numbered, dated UDP packets from LAN to LAN.

use super::clock;
use super::error::LabError;
use super::interrupt::check;
use super::netns::Namespace;
use sipsec_net::Instant;
use std::io::ErrorKind;
use std::net::UdpSocket;
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

    /// The probes of one series with the times of their arrival, until `count` have come or the time is over.
    pub fn take(&self, series: u32, count: u32, limit: Duration) -> Result<Vec<(Probe, Instant)>, LabError> {
        let end = clock::now() + limit;
        let mut out = Vec::new();
        let mut bytes = [0; LEN];
        while out.len() < count as usize && clock::now() < end {
            check()?;
            match self.0.recv(&mut bytes) {
                Ok(LEN) => {
                    let probe = Probe::from_bytes(&bytes);
                    if probe.series == series {
                        out.push((probe, clock::now()));
                    }
                }
                Ok(_) => {}
                Err(e) if matches!(e.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {}
                Err(e) => return Err(LabError::Io { what: "receiver".into(), source: e }),
            }
        }
        Ok(out)
    }
}
