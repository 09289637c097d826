//! One endpoint over a UDP socket, for trying the core against another implementation without a dataplane: SAs are
//! "installed" at once and ESP is only counted.
//!
//! `ike_peer initiator|responder LOCAL REMOTE LOCAL_ID REMOTE_ID PSK [KEY=VALUE…]` — see [`Options`] for the keys.
//! Prints one line for each event; ends when the endpoint does, or after `seconds`.

use sipsec_ike::{
    AuthConfig, CertificateAuth, ChildId, CloseCause, Endpoint, EndpointConfig, Event, Identity,
    IdentityPolicy, Output, Ppk, PskKeys, Role, SigningKey, Trust, certificate_fingerprint,
};
use sipsec_net::entropy::Entropy;
use sipsec_net::udp_encap::{NAT_KEEPALIVE, NON_ESP_MARKER, UdpEncap, classify};
use sipsec_net::{HashFunc, Instant, SecretBox};
use std::net::{SocketAddr, UdpSocket};
use std::sync::Arc;
use std::time::Duration;

struct OsEntropy;

impl Entropy for OsEntropy {
    fn fill(&mut self, buf: &mut [u8]) {
        aws_lc_rs::rand::fill(buf).expect("the kernel gives randomness");
    }
}

/// DER files.
struct Certificate {
    chain: Vec<Vec<u8>>,
    anchors: Vec<Vec<u8>>,
    pss: bool,
}

/// How much longer than it was told a run may take to come up: the machine may be busy.
const PATIENCE: Duration = Duration::from_secs(5);

struct Options {
    /// The whole run, if the SA is up by then.
    seconds: u64,
    /// Close with DELETE at the end instead of just stopping.
    close: bool,
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [role, local, remote, local_id, remote_id, psk, rest @ ..] = args.as_slice() else {
        return Err(
            "usage: ike_peer initiator|responder LOCAL REMOTE LOCAL_ID REMOTE_ID PSK [KEY=VALUE…]".into()
        );
    };
    let role = if role == "initiator" { Role::Initiator } else { Role::Responder };
    let (local, remote): (SocketAddr, SocketAddr) = (local.parse()?, remote.parse()?);
    let id = |s: &str| Identity::KeyId(s.as_bytes().to_vec());
    let auth = AuthConfig::Psk(PskKeys::one(SecretBox::new(psk.as_bytes()).ok_or("the key is too long")?));
    let policy =
        if remote_id == "any" { IdentityPolicy::Any } else { IdentityPolicy::Exactly(id(remote_id)) };
    let mut config = EndpointConfig::new(role, local, remote, id(local_id), policy, auth);
    let mut options = Options { seconds: 10, close: true };
    let mut certificate = Certificate { chain: Vec::new(), anchors: Vec::new(), pss: true };
    let mut private_key: Option<Vec<u8>> = None;
    for pair in rest {
        let (key, value) = pair.split_once('=').ok_or("options are KEY=VALUE")?;
        match key {
            "seconds" => options.seconds = value.parse()?,
            "close" => options.close = value == "yes",
            // Several, by commas.
            "ike" => config.ike_proposals = value.split(',').map(str::parse).collect::<Result<_, _>>()?,
            "esp" => config.esp_proposals = value.split(',').map(str::parse).collect::<Result<_, _>>()?,
            "fragment" => config.fragment_bytes_max = Some(value.parse()?),
            "rekey_child_ms" => config.child_lifetime.soft = Duration::from_millis(value.parse()?),
            "rekey_ike_ms" => config.ike_lifetime.soft = Duration::from_millis(value.parse()?),
            "dpd_ms" => config.dpd.interval = Duration::from_millis(value.parse()?),
            "cookie_threshold" => config.cookie_threshold = value.parse()?,
            // With a certificate the identities come from there and from the fingerprint.
            "cert" => certificate.chain.push(std::fs::read(value)?),
            "key" => private_key = Some(std::fs::read(value)?),
            "ca" => certificate.anchors.push(std::fs::read(value)?),
            "peer_cert" => {
                let der = std::fs::read(value)?;
                config.peer_fingerprints.expected.push(certificate_fingerprint(&der, HashFunc::Sha256));
            }
            "pss" => certificate.pss = value == "yes",
            // ID:KEY, as text.
            "ppk" | "ppk_required" => {
                let (id, ppk) = value.split_once(':').ok_or("a PPK is ID:KEY")?;
                let ppk = SecretBox::new(ppk.as_bytes()).ok_or("the PPK is too long")?;
                config.ppk = Some(Ppk { id: id.into(), key: ppk, required: key == "ppk_required" });
            }
            "keylog" => config.lab_key_log = value == "yes",
            _ => return Err(format!("unknown option {key}").into()),
        }
    }
    if let Some(pkcs8) = private_key {
        let mut key = SigningKey::from_pkcs8(&pkcs8).map_err(|e| format!("{e:?}"))?;
        key.rsa_pss = certificate.pss;
        let Certificate { chain, anchors, .. } = certificate;
        let trust = Trust { self_signed: anchors.is_empty(), anchors, ..Trust::default() };
        let auth = CertificateAuth { chain, key, trust };
        config.local_id = auth.subject().map_err(|e| format!("{e:?}"))?;
        config.remote_id = IdentityPolicy::Any;
        config.auth = AuthConfig::Certificate(Arc::new(auth));
        config.unix_time_s = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH)?.as_secs();
    }
    run(config, &options)
}

fn run(config: EndpointConfig, options: &Options) -> Result<(), Box<dyn std::error::Error>> {
    let socket = UdpSocket::bind(config.local)?;
    let remote = config.remote;
    let began = std::time::Instant::now();
    let now = || Instant::from_nanos(1 + u64::try_from(began.elapsed().as_nanos()).unwrap_or(u64::MAX));
    let mut end = Instant::ZERO + Duration::from_secs(options.seconds);
    let late = end + PATIENCE;
    let mut up = false;
    let mut endpoint = Endpoint::new(config, Box::new(OsEntropy));
    let mut closing = false;
    let mut over = false;
    let mut esp = 0u64;
    endpoint.start(now());
    loop {
        while let Some(output) = endpoint.poll_output() {
            match output {
                Output::Transmit(message) | Output::Probe(message) => {
                    let datagram = [&NON_ESP_MARKER[..], &message].concat();
                    // A filter that drops it makes this fail; to IKE it is a lost datagram like any other.
                    let _ = socket.send_to(&datagram, remote);
                }
                Output::NatKeepalive => drop(socket.send_to(&NAT_KEEPALIVE, remote)),
                Output::Compute(id, job) => endpoint.handle_compute(now(), id, job.run()),
                Output::Event(event) => {
                    up |= matches!(event, Event::ChildSaUp { .. });
                    if let Some(child) = report(now(), &event) {
                        endpoint.handle_child_installed(now(), child);
                    }
                    over |= matches!(event, Event::Failed(_) | Event::Closed(_));
                }
            }
        }
        let t = now();
        if !up && !over {
            end = end.max(t).min(late);
        }
        if over && endpoint.poll_timeout().is_none() || t > end + Duration::from_secs(2) {
            break;
        }
        if t > end && !closing {
            closing = true;
            println!("{:?}", endpoint.view());
            if !options.close {
                break;
            }
            endpoint.close(t, CloseCause::Admin);
            continue;
        }
        let due = endpoint.poll_timeout().unwrap_or(end).min(end + Duration::from_secs(2));
        let wait =
            due.saturating_duration_since(t).clamp(Duration::from_millis(1), Duration::from_millis(200));
        socket.set_read_timeout(Some(wait))?;
        let mut buf = [0; 65_536];
        if let Ok((len, from)) = socket.recv_from(&mut buf) {
            match classify(&buf[..len]) {
                UdpEncap::Ike(message) if from == remote => endpoint.handle_datagram(now(), message),
                UdpEncap::Esp(_) => esp += 1,
                _ => {}
            }
        }
        if endpoint.poll_timeout().is_some_and(|due| due <= now()) {
            endpoint.handle_timeout(now());
        }
    }
    println!("end: {esp} ESP packets seen, {:?}", endpoint.view().counters);
    Ok(())
}

/// The child that the event asks to be installed.
fn report(now: Instant, event: &Event) -> Option<ChildId> {
    match event {
        Event::Authenticated(peer, fingerprint) => {
            println!("{now:?} authenticated {} {:?} {:?}", peer.id(), peer.method(), fingerprint.basis());
            None
        }
        Event::ChildSaUp { child, inbound, outbound } => {
            println!("{now:?} up {child:?} in {} out {} {:?}", inbound.spi, outbound.spi, inbound.cipher);
            Some(*child)
        }
        Event::ChildSaReplaced { old, child, inbound, outbound, bind } => {
            println!(
                "{now:?} replaced {old:?} by {child:?} in {} out {} bind {bind}",
                inbound.spi, outbound.spi
            );
            Some(*child)
        }
        Event::ChildSaBind { child } => {
            println!("{now:?} bind {child:?}");
            Some(*child)
        }
        Event::KeyLog(entry) => {
            println!("keylog {:?} {}", entry.table, entry.line);
            None
        }
        Event::Failed(error) => {
            println!("{now:?} failed: {error}");
            None
        }
        other => {
            println!("{now:?} {other:?}");
            None
        }
    }
}
