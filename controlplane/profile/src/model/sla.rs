//! `sla:`

use super::serial;
use super::words::words;
use serde::Serialize;
use std::net::IpAddr;
use std::time::Duration;

/// One operation: probes of one target, sent at a fixed frequency.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Operation {
    pub id: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    #[serde(flatten)]
    pub probe: Probe,
    #[serde(serialize_with = "serial::text")]
    pub target: IpAddr,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub source: Option<IpAddr>,
    /// The probes leave by this device.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub device: Option<String>,
    /// Absent from BFD, which has times of its own.
    #[serde(flatten)]
    pub times: Option<Times>,
    pub up_count: u32,
    pub down_count: u32,
    pub start: Start,
    /// The operation ends after this long; `None`: never.
    #[serde(
        rename = "lifetime_s",
        serialize_with = "serial::seconds_option",
        skip_serializing_if = "Option::is_none"
    )]
    pub lifetime: Option<Duration>,
}

/// `threshold` ≤ `timeout` ≤ `frequency`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Times {
    #[serde(rename = "frequency_ms", serialize_with = "serial::milliseconds")]
    pub frequency: Duration,
    #[serde(rename = "timeout_ms", serialize_with = "serial::milliseconds")]
    pub timeout: Duration,
    /// A round trip above it is an answer, but the operation's state is then "over threshold".
    #[serde(rename = "threshold_ms", serialize_with = "serial::milliseconds")]
    pub threshold: Duration,
}

/// What is sent, and what counts as an answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "type", rename_all = "kebab-case")]
pub enum Probe {
    /// RFC 792, RFC 4443: an echo request.
    IcmpEcho,
    /// A series of echo requests.
    IcmpJitter {
        packets: u16,
        #[serde(rename = "interval_ms", serialize_with = "serial::milliseconds")]
        interval: Duration,
    },
    /// A TCP connection that is closed at once.
    TcpConnect { port: u16 },
    /// RFC 862.
    UdpEcho { port: u16 },
    /// A query for the A or AAAA record of a name (RFC 1035).
    Dns { port: u16, query: String },
    /// GET (RFC 9110); a status below 400 is an answer.
    Http { port: u16, path: String },
    /// RFC 5880, RFC 5881: single hop, asynchronous mode.
    Bfd {
        #[serde(rename = "transmit_ms", serialize_with = "serial::milliseconds")]
        transmit: Duration,
        #[serde(rename = "receive_ms", serialize_with = "serial::milliseconds")]
        receive: Duration,
        multiplier: u8,
    },
}

words! {
    /// The kinds of probes.
    pub enum ProbeType {
        IcmpEcho = "icmp-echo", "an ICMP echo request (RFC 792, RFC 4443)";
        IcmpJitter = "icmp-jitter", "a series of ICMP echo requests; measures jitter and loss";
        TcpConnect = "tcp-connect", "a TCP connection that is closed at once";
        UdpEcho = "udp-echo", "a UDP datagram that the target returns (RFC 862)";
        Dns = "dns", "a DNS query (RFC 1035)";
        Http = "http", "an HTTP GET; a status below 400 is an answer (RFC 9110)";
        Bfd = "bfd", "a BFD session with a neighbour: single hop, asynchronous (RFC 5880, RFC 5881)";
    }
}

words! {
    /// When an operation begins.
    pub enum Start {
        Now = "now", "with the gateway; the first probes of many operations are spread over their frequency";
        Pending = "pending", "not at all: the operation is configured, but not scheduled";
    }
}

impl Probe {
    #[must_use]
    pub const fn kind(&self) -> ProbeType {
        match self {
            Self::IcmpEcho => ProbeType::IcmpEcho,
            Self::IcmpJitter { .. } => ProbeType::IcmpJitter,
            Self::TcpConnect { .. } => ProbeType::TcpConnect,
            Self::UdpEcho { .. } => ProbeType::UdpEcho,
            Self::Dns { .. } => ProbeType::Dns,
            Self::Http { .. } => ProbeType::Http,
            Self::Bfd { .. } => ProbeType::Bfd,
        }
    }
}
