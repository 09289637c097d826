//! Events in words, for the log and `monitor`.

use super::EventKind;
use sipsec_ike::FingerprintBasis;
use sipsec_net::dp::PacketSummary;
use sipsec_sip::RegistrationState;
use std::fmt;
use std::net::SocketAddr;
use std::time::Duration;

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
            Self::NextKeyUsed { remote } => write!(f, "{remote} uses the next pre-shared key"),
            Self::ReauthenticationFailed { error } => {
                write!(f, "IKE was not authenticated anew: {error}; the SA in use goes on")
            }
            Self::WeakAlgorithms { names } => {
                write!(f, "weak algorithms are in use, as `peer: cisco` allows: {names}")
            }
            Self::SelectorsNarrowed(narrowed) => write!(f, "{narrowed}"),
            Self::SaInstalled => f.write_str("SAs installed"),
            Self::SessionUp { initiator } => write!(f, "session up ({})", if *initiator { "I" } else { "R" }),
            Self::Rekeyed => f.write_str("SAs replaced"),
            Self::PeerPortLearnt { sdp, port } => {
                write!(f, "the peer sends from port {port}, its SDP says {sdp}")
            }
            Self::PathMtu { mtu: Some(mtu) } => {
                write!(
                    f,
                    "the path carries packets of {mtu} bytes; larger ones are lost without an ICMP error"
                )
            }
            Self::PathMtu { mtu: None } => f.write_str("the path carries all that the WAN does"),
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
            Self::Reconfigured(done) => write!(f, "another profile is in force: {done}"),
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
