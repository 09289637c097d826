//! The outputs of the core: what its caller is to do, and what it tells.

use crate::failure::SessionFailure;
use crate::input::ComputeKey;
use crate::ledger::CallSummary;
use sipsec_ike::compute::Job;
use sipsec_ike::keylog::KeyLogEntry;
use sipsec_ike::{FingerprintBasis, IkeError};
use sipsec_net::dp::{Op, PacketSummary, RejectReason};
use sipsec_net::{Kbps, MediaPort, TelNumber, TunnelId, TxnId};
use sipsec_sip::RegistrationState;
use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

#[derive(Debug)]
pub enum Output {
    SipTransmit {
        to: SocketAddr,
        bytes: Vec<u8>,
    },
    IkeTransmit {
        media_port: MediaPort,
        bytes: Vec<u8>,
    },
    Dataplane(Transaction),
    SnapshotRequest,
    /// One byte to the peer of a media port, for a NAT in front of us (RFC 3948 §2.3).
    NatKeepalive {
        media_port: MediaPort,
    },
    /// Answered by [`crate::Input::Activity`].
    QueryActivity(TunnelId),
    /// Run off the loop; answered by [`crate::Input::Compute`].
    Compute {
        key: ComputeKey,
        /// Of a session that is up: it goes before those of negotiations.
        established: bool,
        job: Job,
    },
    /// Durable before anything else of the call happens; answered by [`crate::Input::Persisted`]. `None` forgets it.
    Persist {
        key: u64,
        record: Option<Vec<u8>>,
    },
    /// The brake of a tunnel, for the next run; `None` forgets it. Not answered: a brake that is not on disk is weaker, and
    /// nothing else.
    PersistBrake {
        key: String,
        record: Option<Vec<u8>>,
    },
    /// Answered by [`crate::Input::NextHop`], now and whenever it changes while the port is open.
    ResolveNextHop {
        media_port: MediaPort,
        remote: IpAddr,
    },
    Event(SessionEvent),
    /// Keys in clear; only with `lab_key_log`.
    KeyLog(KeyLogEntry),
    ShutdownComplete,
}

#[derive(Debug)]
pub struct Transaction {
    pub id: TxnId,
    pub ops: Vec<Op>,
    /// The next transaction belongs to the same change of the dataplane.
    pub more: bool,
}

/// Something worth telling. The names are stable.
#[derive(Clone, Debug)]
pub struct SessionEvent {
    pub tunnel: Option<TunnelId>,
    pub interface: Option<String>,
    pub kind: EventKind,
}

#[derive(Clone, Debug)]
pub enum EventKind {
    Trigger(PacketSummary),
    InviteSent {
        remote: TelNumber,
    },
    Incoming {
        caller: String,
    },
    IncomingRefused {
        caller: String,
        status: u16,
        why: String,
    },
    Ringing {
        status: u16,
    },
    Answered {
        remote: SocketAddr,
        rate: Kbps,
    },
    Glare {
        kept: &'static str,
    },
    /// It answered 486.
    PeerBusy,
    IkeStarted {
        initiator: bool,
    },
    IkeAuthenticated {
        basis: FingerprintBasis,
    },
    /// A further IKE SA of the call was not made; the one in use goes on.
    ReauthenticationFailed {
        error: IkeError,
    },
    SaInstalled,
    SessionUp {
        initiator: bool,
    },
    Rekeyed,
    Idle {
        after: Duration,
    },
    /// A call is cancelled or refused before it was answered.
    CallGivenUp,
    ByeSent,
    ByeReceived {
        /// The text of its Reason header field (RFC 3326).
        said: Option<String>,
    },
    /// Our BYE has no answer yet, and is repeated.
    ByeUnanswered {
        remote: Option<TelNumber>,
        call_id: String,
        waited: Duration,
    },
    /// Our BYE was refused with this status, not answered in time, or could not be sent.
    ByeOwed {
        remote: Option<TelNumber>,
        call_id: String,
        /// Since the answer.
        charged: Option<Duration>,
        refused: Option<u16>,
        /// Until the next BYE; `None` if the WAN has no address.
        next_in: Option<Duration>,
    },
    Failed {
        failure: SessionFailure,
        retry_in: Duration,
    },
    /// SIP has ended the call, or gives it up.
    CallEnded(Box<CallSummary>),
    Registration {
        line: TelNumber,
        state: RegistrationState,
    },
    Configured {
        tunnels: usize,
    },
    ConfigureRejected {
        op: u16,
        reason: RejectReason,
    },
    DataplaneLost,
    Recovered {
        calls: usize,
    },
    /// One of them.
    RecoveredCall {
        remote: Option<TelNumber>,
        answered: bool,
        /// Since it was placed or received, if the record has that.
        age: Option<Duration>,
        call_id: String,
    },
    /// Every BYE of a call went unanswered or was refused.
    NotHungUp {
        call_id: String,
        refused: Option<u16>,
    },
    /// Something about SIP that an operator should hear of, at most once a minute for each kind.
    SipNotice(sipsec_sip::Notice),
    /// Records in the journal that are of another release, or damaged. They stay there.
    RecordsUnreadable {
        calls: usize,
        versions: Vec<u8>,
        numbers: Vec<TelNumber>,
    },
}

impl EventKind {
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Trigger(_) => "trigger",
            Self::InviteSent { .. } => "invite-sent",
            Self::Incoming { .. } => "incoming",
            Self::IncomingRefused { .. } => "incoming-refused",
            Self::Ringing { .. } => "ringing",
            Self::Answered { .. } => "answered",
            Self::Glare { .. } => "glare",
            Self::PeerBusy => "peer-busy",
            Self::IkeStarted { .. } => "ike-started",
            Self::IkeAuthenticated { .. } => "ike-authenticated",
            Self::ReauthenticationFailed { .. } => "ike-reauthentication-failed",
            Self::SaInstalled => "sa-installed",
            Self::SessionUp { .. } => "session-up",
            Self::Rekeyed => "rekeyed",
            Self::Idle { .. } => "idle",
            Self::CallGivenUp => "call-given-up",
            Self::ByeSent => "bye-sent",
            Self::ByeReceived { .. } => "bye-received",
            Self::ByeUnanswered { .. } => "bye-unanswered",
            Self::ByeOwed { .. } => "bye-owed",
            Self::Failed { .. } => "failed",
            Self::CallEnded(_) => "call-ended",
            Self::Registration { .. } => "registration",
            Self::Configured { .. } => "configured",
            Self::ConfigureRejected { .. } => "configure-rejected",
            Self::DataplaneLost => "dataplane-lost",
            Self::Recovered { .. } => "recovered",
            Self::RecoveredCall { .. } => "recovered-call",
            Self::NotHungUp { .. } => "not-hung-up",
            Self::SipNotice(_) => "sip-notice",
            Self::RecordsUnreadable { .. } => "records-unreadable",
        }
    }

    /// Whether an operator should see it.
    #[must_use]
    pub fn is_warning(&self) -> bool {
        if let Self::CallEnded(call) = self {
            return !call.confirmed;
        }
        matches!(
            self,
            Self::Failed { .. }
                | Self::ReauthenticationFailed { .. }
                | Self::ByeOwed { .. }
                | Self::ByeUnanswered { .. }
                | Self::ConfigureRejected { .. }
                | Self::DataplaneLost
                | Self::Recovered { .. }
                | Self::NotHungUp { .. }
                | Self::SipNotice(_)
                | Self::RecordsUnreadable { .. }
                | Self::IncomingRefused { .. }
                | Self::Registration { state: RegistrationState::Failed { .. }, .. }
        )
    }
}

/// `TCP 10.1.0.2:51514 -> 10.2.0.2:443`: what an operator needs to find the program that sent it.
struct Flow<'a>(&'a PacketSummary);

impl fmt::Display for Flow<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let PacketSummary { source, destination, protocol, source_port, destination_port, .. } = *self.0;
        // IANA's protocol numbers.
        let name = match protocol {
            1 => "ICMP",
            6 => "TCP",
            17 => "UDP",
            47 => "GRE",
            50 => "ESP",
            58 => "ICMPv6",
            89 => "OSPF",
            132 => "SCTP",
            _ => return write!(f, "protocol {protocol} {source} -> {destination}"),
        };
        // A later fragment has no ports.
        if matches!(protocol, 6 | 17 | 132) && (source_port, destination_port) != (0, 0) {
            let (source, destination) =
                (SocketAddr::new(source, source_port), SocketAddr::new(destination, destination_port));
            write!(f, "{name} {source} -> {destination}")
        } else {
            write!(f, "{name} {source} -> {destination}")
        }
    }
}

impl fmt::Display for EventKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Trigger(p) => write!(f, "packet {} triggers a call", Flow(p)),
            Self::InviteSent { remote } => write!(f, "calling {remote}"),
            Self::Incoming { caller } => write!(f, "call from {caller}"),
            Self::IncomingRefused { caller, status, why } => {
                write!(f, "call from {caller} refused with {status}: {why}")
            }
            Self::Ringing { status } => write!(f, "{status} from the called side"),
            Self::Answered { remote, rate } => write!(f, "answered: media {remote}, {rate}"),
            Self::PeerBusy => f.write_str("the peer is busy; it may be calling us"),
            Self::Glare { kept } => write!(f, "both sides called at once, {kept} is kept"),
            Self::IkeStarted { initiator: true } => f.write_str("IKE starts"),
            Self::IkeStarted { initiator: false } => f.write_str("waiting for the peer's IKE"),
            Self::IkeAuthenticated { basis } => f.write_str(match basis {
                FingerprintBasis::Certificate(_) => "peer authenticated, its certificate is the one in SDP",
                FingerprintBasis::PskFingerprint(_) => "peer authenticated, its key is the one in SDP",
                FingerprintBasis::CertificateNotExchanged | FingerprintBasis::PskNotExchanged => {
                    "peer authenticated, no fingerprint was in SDP"
                }
            }),
            Self::ReauthenticationFailed { error } => {
                write!(f, "IKE was not authenticated anew: {error}; the SA in use goes on")
            }
            Self::SaInstalled => f.write_str("SAs installed"),
            Self::SessionUp { initiator } => write!(f, "session up ({})", if *initiator { "I" } else { "R" }),
            Self::Rekeyed => f.write_str("SAs replaced"),
            Self::Idle { after } => write!(f, "no data for {} s", after.as_secs()),
            Self::CallGivenUp => f.write_str("giving up the call"),
            Self::ByeSent => f.write_str("hanging up"),
            Self::ByeReceived { said: None } => f.write_str("the peer hung up"),
            Self::ByeReceived { said: Some(text) } => write!(f, "the peer hung up: {text}"),
            Self::ByeUnanswered { remote, call_id, waited } => {
                f.write_str("a call")?;
                if let Some(remote) = remote {
                    write!(f, " with {remote}")?;
                }
                let s = waited.as_secs();
                write!(
                    f,
                    " may still be charged: no answer to its BYE for {s} s, it is repeated (Call-ID {call_id})"
                )
            }
            Self::ByeOwed { remote, call_id, charged, refused, next_in } => {
                f.write_str("a call")?;
                if let Some(remote) = remote {
                    write!(f, " with {remote}")?;
                }
                f.write_str(" may still be charged: its BYE ")?;
                match (refused, next_in) {
                    (Some(status), _) => write!(f, "was refused with {status}")?,
                    (None, Some(_)) => f.write_str("was not answered")?,
                    (None, None) => f.write_str("cannot be sent, the WAN has no address")?,
                }
                if let Some(next) = next_in {
                    write!(f, ", the next is sent in {} s", next.as_secs())?;
                }
                if let Some(charged) = charged {
                    write!(f, "; answered {} s ago", charged.as_secs())?;
                }
                write!(f, " (Call-ID {call_id})")
            }
            Self::Failed { failure, retry_in: Duration::ZERO } => write!(f, "{failure}; {}", failure.cure()),
            Self::Failed { failure, retry_in } => {
                write!(f, "{failure}; no call for {} s; {}", retry_in.as_secs(), failure.cure())
            }
            Self::CallEnded(call) => write!(f, "{call}"),
            Self::Registration { line, state } => match state {
                RegistrationState::Failed { reason } => write!(f, "{line} is not registered: {reason}"),
                RegistrationState::Registered => write!(f, "{line} registered"),
                RegistrationState::Registering => write!(f, "{line} registering"),
                RegistrationState::NoAddress => write!(f, "{line} waits for an address"),
                RegistrationState::Unregistered => write!(f, "{line} unregistered"),
            },
            Self::Configured { tunnels } => {
                write!(f, "dataplane configured with {}", counted(*tunnels, "tunnel"))
            }
            Self::ConfigureRejected { op, reason } => {
                write!(f, "the dataplane refused the configuration at operation {op}: {reason:?}")
            }
            Self::DataplaneLost => f.write_str("the dataplane is gone: all calls are hung up"),
            Self::Recovered { calls } => {
                write!(f, "hanging up {} of an earlier run", counted(*calls, "call"))
            }
            Self::RecoveredCall { remote, answered, age, call_id } => {
                write!(f, "hanging up the {} call", if *answered { "answered" } else { "unanswered" })?;
                if let Some(remote) = remote {
                    write!(f, " with {remote}")?;
                }
                f.write_str(" of an earlier run")?;
                if let Some(age) = age {
                    write!(f, ", {} s old", age.as_secs())?;
                }
                write!(f, " (Call-ID {call_id})")
            }
            Self::NotHungUp { call_id, refused } => {
                write!(f, "giving up a call that may still be charged: its BYE was ")?;
                match refused {
                    Some(status) => write!(f, "refused with {status}")?,
                    None => f.write_str("not answered")?,
                }
                write!(f, " every time; ask the carrier for the call with Call-ID {call_id}")
            }
            Self::SipNotice(notice) => write!(f, "{notice}"),
            Self::RecordsUnreadable { calls, versions, numbers } => {
                let list = |items: Vec<String>| items.join(", ");
                write!(f, "the journal has {} that this release cannot read", counted(*calls, "record"))?;
                if !versions.is_empty() {
                    write!(f, " (version {})", list(versions.iter().map(ToString::to_string).collect()))?;
                }
                if !numbers.is_empty() {
                    write!(f, ", with {}", list(numbers.iter().map(ToString::to_string).collect()))?;
                }
                f.write_str(
                    "; these calls may still be charged: start the release that wrote them, which hangs them up, or ask \
                     the carrier; the records stay until then",
                )
            }
        }
    }
}

/// `1 call`, `2 calls`.
fn counted(n: usize, what: &str) -> String {
    format!("{n} {what}{}", if n == 1 { "" } else { "s" })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_trigger_names_protocol_and_ports() {
        let packet = |protocol, source_port, destination_port| PacketSummary {
            source: "10.1.0.2".parse().expect("address"),
            destination: "10.2.0.2".parse().expect("address"),
            protocol,
            source_port,
            destination_port,
            len: 60,
        };
        for (packet, flow) in [
            (packet(6, 51514, 443), "TCP 10.1.0.2:51514 -> 10.2.0.2:443"),
            (packet(17, 123, 123), "UDP 10.1.0.2:123 -> 10.2.0.2:123"),
            (packet(6, 0, 0), "TCP 10.1.0.2 -> 10.2.0.2"),
            (packet(1, 8, 0), "ICMP 10.1.0.2 -> 10.2.0.2"),
            (packet(99, 0, 0), "protocol 99 10.1.0.2 -> 10.2.0.2"),
        ] {
            let text = EventKind::Trigger(packet).to_string();
            assert_eq!(text, format!("packet {flow} triggers a call"));
        }
    }
}
