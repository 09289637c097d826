//! What the core is told to watch and to route. Plain values; [`Config::check`](crate::Config::check) says what is wrong.

use sipsec_net::IpPrefix;
use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

/// Most operations, track objects and routes of one gateway.
pub const OPERATIONS_MAX: usize = 20_000;
pub const OBJECTS_MAX: usize = 20_000;
pub const ROUTES_MAX: usize = 20_000;
/// Most members of one list object.
pub const MEMBERS_MAX: usize = 1024;
/// The shortest time between two probes of one operation, and between two packets of a series.
pub const PERIOD_MIN: Duration = Duration::from_millis(10);

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Config {
    pub operations: Vec<Operation>,
    pub objects: Vec<Object>,
    pub routes: Vec<Route>,
    pub failback: Failback,
}

/// A probe that is repeated: `ip sla` of IOS.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Operation {
    pub id: u32,
    pub name: Option<String>,
    pub probe: Probe,
    /// The address from which the probe is sent; the kernel's choice without one.
    pub source: Option<IpAddr>,
    /// The device by which the probe leaves, independent of the routes.
    pub device: Option<String>,
    /// From the start of one probe to the start of the next. Not used by BFD.
    pub frequency: Duration,
    /// A reply that comes later is a loss. At most `frequency`. Not used by BFD.
    pub timeout: Duration,
    /// A longer round trip is [`ReturnCode::OverThreshold`](crate::view::ReturnCode::OverThreshold): reachable, but the
    /// operation's state is down.
    pub threshold: Duration,
    /// Good probes in a row that make it up, and bad ones that make it down.
    pub up_count: u32,
    pub down_count: u32,
    pub start: Start,
    /// The operation ends this long after its start; forever without one.
    pub lifetime: Option<Duration>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Start {
    Now,
    /// Configured and not scheduled: its state is down.
    Pending,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Probe {
    IcmpEcho {
        target: IpAddr,
    },
    /// A series of echo requests in each period. It is good if at least one is answered.
    IcmpJitter {
        target: IpAddr,
        packets: u16,
        interval: Duration,
    },
    TcpConnect {
        target: SocketAddr,
    },
    /// RFC 862.
    UdpEcho {
        target: SocketAddr,
    },
    /// Any answer of the server to this name's A or AAAA query that is no server failure.
    Dns {
        server: SocketAddr,
        query: String,
    },
    /// A GET whose status is below 400.
    Http {
        server: SocketAddr,
        path: String,
    },
    /// RFC 5880 asynchronous mode over a single hop (RFC 5881).
    Bfd {
        target: IpAddr,
        /// DesiredMinTxInterval and RequiredMinRxInterval of this end.
        transmit: Duration,
        receive: Duration,
        /// DetectMult.
        multiplier: u8,
    },
}

/// A track object: `track` of IOS.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Object {
    pub id: u32,
    pub what: What,
    /// A change must last this long before it counts.
    pub delay_up: Duration,
    pub delay_down: Duration,
    pub damping: Option<Damping>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum What {
    /// Up while probes are answered, also above the threshold.
    Reachability {
        operation: u32,
    },
    /// Up while probes are answered below the threshold.
    OperationState {
        operation: u32,
    },
    LineProtocol {
        device: String,
    },
    /// Up while the routing table has a route with exactly this prefix that forwards.
    RoutePresent {
        prefix: IpPrefix,
    },
    And(Vec<u32>),
    Or(Vec<u32>),
    Not(u32),
    /// Up from the sum `up` of the weights of members that are up, down from the sum `down`; in between it stays.
    Weight {
        members: Vec<(u32, u32)>,
        up: u32,
        down: u32,
    },
    /// The same with the share of members that are up, in percent.
    Percentage {
        members: Vec<u32>,
        up: u8,
        down: u8,
    },
}

/// Exponential damping as in RFC 2439 §4: each change to down adds [`PENALTY`](crate::damping::PENALTY) to a penalty that
/// decays by half in each half-life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Damping {
    pub half_life: Duration,
    /// From this penalty on the object is held down.
    pub suppress: u32,
    /// Below this penalty it is released.
    pub reuse: u32,
    /// It is held no longer than this after its last change.
    pub suppress_max: Duration,
}

impl Default for Damping {
    /// The usual values of routers: 15 min, 2000, 750, 60 min.
    fn default() -> Self {
        Self {
            half_life: Duration::from_secs(900),
            suppress: 2000,
            reuse: 750,
            suppress_max: Duration::from_secs(3600),
        }
    }
}

/// A table of the kernel's routes.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Table {
    #[default]
    Main,
    /// That of the VRF device of this name.
    Vrf(String),
    /// One that rules of the system lead to.
    Number(u32),
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Main => f.write_str("main"),
            Self::Vrf(name) => f.write_str(name),
            Self::Number(number) => write!(f, "table {number}"),
        }
    }
}

/// A static route. That with the least distance is installed, of those whose track object is up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Route {
    pub prefix: IpPrefix,
    /// All routes of a prefix have the same.
    pub table: Table,
    pub next: NextHop,
    /// Administrative distance, 1 to 255.
    pub distance: u8,
    /// The kernel's metric; the distance without one.
    pub metric: Option<u32>,
    pub track: Option<u32>,
    pub name: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum NextHop {
    /// A router. With a device it must be behind that device.
    Via {
        hop: IpAddr,
        device: Option<String>,
    },
    Device(String),
    /// Into the tunnel of this name.
    Tunnel(String),
    Discard,
}

impl fmt::Display for NextHop {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Via { hop, device: None } => write!(f, "via {hop}"),
            Self::Via { hop, device: Some(device) } => write!(f, "via {hop} {device}"),
            Self::Device(name) => write!(f, "device {name}"),
            Self::Tunnel(name) => f.write_str(name),
            Self::Discard => f.write_str("discard"),
        }
    }
}

/// When traffic returns from a tunnel to a route with less distance.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Failback {
    /// The better route must have been usable for this long.
    pub hold: Duration,
    /// Every operation behind its track object that is up must have had so many good probes in a row.
    pub good_probes: u32,
    pub flows: Flows,
    /// Most changes from another route to one tunnel in an hour, each of which may place a call. Traffic stays in the tunnel
    /// rather than return while the next change would exceed it. 0 is no limit.
    pub calls_per_hour: u32,
}

/// What becomes of traffic in the tunnel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flows {
    /// It stays while it goes on: until it has been quiet for `quiet`, at most `wait` long. With `each`, a flow that the tunnel
    /// carries stays there and a new one takes the better route; without, and from one tunnel to another, all traffic waits
    /// together.
    Drain { quiet: Duration, wait: Duration, each: bool },
    /// It moves at once.
    Move,
}

impl Default for Failback {
    fn default() -> Self {
        Self { hold: Duration::from_secs(10), good_probes: 5, flows: Flows::Move, calls_per_hour: 6 }
    }
}
