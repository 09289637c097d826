//! The inputs of the core.

use crate::addresses::WanAddresses;
use crate::carriers::CarrierId;
use crate::change::Reconfiguration;
use crate::routes::Chosen;
use sipsec_ike::compute::{JobId, Outcome};
use sipsec_net::dp::{Event, TunnelActivity};
use sipsec_net::{IpPrefix, MacAddr, MediaPort, TelNumber, TunnelId};
use sipsec_sip::{Flow, FlowId, Target};
use std::net::{Ipv4Addr, SocketAddr};

#[derive(Debug)]
pub enum Input {
    /// A SIP message: a datagram, or one that was cut from a stream.
    Sip {
        carrier: CarrierId,
        flow: Flow,
        bytes: Vec<u8>,
    },
    /// A connection of SIP was closed, or could not be opened.
    SipFlowClosed {
        carrier: CarrierId,
        flow: FlowId,
        reason: String,
    },
    /// An IKE message without its marker, from the peer that SDP named (the dataplane checks it).
    IkeDatagram {
        media_port: MediaPort,
        from: SocketAddr,
        bytes: Vec<u8>,
    },
    Dataplane(Event),
    /// A dataplane is there; the core asks for a snapshot.
    DataplaneUp,
    DataplaneDown,
    Activity {
        tunnel: TunnelId,
        activity: TunnelActivity,
        /// See [`sipsec_ike::Endpoint::path_ceiling`]; 0 if it is not known.
        path_ceiling: u16,
    },
    Compute {
        key: ComputeKey,
        outcome: Outcome,
    },
    /// The record under this key is on disk.
    Persisted {
        key: u64,
    },
    /// It is not: the call must not go on.
    PersistFailed {
        key: u64,
    },
    /// Records of calls of an earlier run of this process.
    Recovered(Vec<(u64, Vec<u8>)>),
    /// What [`crate::Output::PersistBrake`] wrote in an earlier run. After [`Self::WallClock`], before [`Self::Recovered`].
    RecoveredBrakes(Vec<(String, Vec<u8>)>),
    /// Another profile, answered by [`crate::Output::Reconfigured`]. One that comes before the answer is refused.
    Reconfigure(Box<Reconfiguration>),
    /// Seconds since 1970, for the dates of certificates: at start, and whenever the system's clock was set.
    WallClock {
        unix_time_s: u64,
    },
    /// The WAN's addresses that SIP and media of a carrier can use.
    WanAddress {
        carrier: CarrierId,
        wan: WanAddresses,
    },
    /// A carrier's servers in the order in which they are tried, and its domain, as DHCP or a name server has them now.
    SipServers {
        carrier: CarrierId,
        registrars: Vec<Target>,
        /// Empty if the registrars take everything.
        proxies: Vec<Target>,
        domain: String,
    },
    /// What route policy has decided of prefixes; answered by [`crate::Output::RoutesTaken`].
    Routes(Vec<(IpPrefix, Chosen)>),
    NextHop {
        media_port: MediaPort,
        mac: MacAddr,
    },
    Admin(Admin),
}

/// Which endpoint wants a job's outcome. An outcome that comes after its call has ended is dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ComputeKey {
    pub tunnel: TunnelId,
    pub media_port: MediaPort,
    pub job: JobId,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Admin {
    /// Hangs up; all sessions, or that with one number.
    Clear { remote_number: Option<TelNumber> },
    /// Hangs up the session of one tunnel.
    ClearTunnel(TunnelId),
    /// Asks the dataplane for a page of its translations; the answer is events that the caller takes itself.
    NatPage { from: u32 },
    /// Ends the translations of a host, or all.
    NatClear(Option<Ipv4Addr>),
    /// Calls for this tunnel without a packet, if a call can be placed now.
    Call(TunnelId),
    /// Hangs everything up, unregisters, then says `ShutdownComplete`.
    Shutdown,
}
