//! The profile as data: what the gateway is told to do, as the file says it.
//!
//! The reader and the importers produce a [`Profile`]; the writer turns it into YAML again ([`crate::write`]). Every type
//! serialises with the keys of the file. Inline secrets serialise as asterisks, unless the writer is told otherwise.

pub mod carrier;
mod compat;
pub mod dataplane;
pub mod filter;
pub mod identity;
pub mod ike;
pub mod limits;
pub mod media;
pub mod nat;
pub mod primary_nat;
mod profile;
pub mod qos;
pub mod route;
pub mod secret;
mod serial;
pub mod sip;
pub mod sla;
pub mod track;
pub mod tunnel;
pub mod wan;
mod words;

pub use carrier::{Carrier, CarrierKind};
pub use compat::Compat;
pub use dataplane::{
    BindMode, DataplaneSection, DontFragment, Engine, Idle, InsideDevice, LanRouter, OutsideDevice,
    Reassembly, Worker, XdpMode,
};
pub use filter::{FilterEntry, FilterLine};
pub use identity::{IkeIdentity, PeerIdentity};
pub use ike::{
    CertificateEntry, CrlPolicy, DpdMode, IkeSection, KeyOwner, KeyringEntry, Lifetimes, MapField, MapOp,
    MapRule, PeerKind, PpkEntry, Proof, TrustPolicy,
};
pub use media::MediaSection;
pub use nat::{NatSection, TunnelNat};
pub use primary_nat::{PrimaryNat, drain_table};
pub use profile::{CarrierLines, FIRST_CARRIER, Head, Profile, control_socket, dataplane_socket};
pub use qos::{QosPolicy, QosSection};
pub use route::{DISTANCE_DEFAULT, Drain, FailbackSection, RouteTo, StaticRoute, Table, TunnelRoute};
pub use secret::{Secret, SecretError, SecretSource};
pub use sip::{
    CarrierEntry, Family, Host, Learnt, LineAuth, Server, SipLine, SipSection, SipTransport, Tariff, TlsOwn,
    TlsSection,
};
pub use sla::{Operation, Probe, ProbeType, Start, Times};
pub use track::{Damping, Of, TrackEntry, Watch, Weight};
pub use tunnel::{TriggerQueue, TunnelEntry};
pub use wan::WanSection;
pub use words::Word;
