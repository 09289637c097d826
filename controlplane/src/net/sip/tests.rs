//! The sockets against real ones on the loopback device.

use super::tls::{Files, Tls};
use super::{Setup, SipEvent, SipTransports};
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, SanType};
use sipsec_profile::model::{SecretSource, TlsOwn};
use sipsec_session::WanAddresses;
use sipsec_sip::{Flow, FlowId, Transport};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::{self, ServerConfig};

const ANSWER: &[u8] = b"SIP/2.0 200 OK\r\nVia: SIP/2.0/TCP a\r\nContent-Length: 3\r\n\r\nabc";

fn transports(transport: Transport, tls: Option<Tls>, keepalive: Option<Duration>) -> SipTransports {
    let setup =
        Setup { device: "lo".into(), port: 0, dscp: 0, families: (true, false), transport, tls, keepalive };
    let mut sip = SipTransports::new(setup);
    sip.set_addresses(WanAddresses::of("127.0.0.1".parse().ok()));
    sip
}

fn flow(transport: Transport, remote: SocketAddr) -> Flow {
    Flow { transport, local: "127.0.0.1:5060".parse().expect("address"), remote, id: FlowId(1) }
}

#[tokio::test]
async fn a_connection_carries_messages_both_ways_until_it_is_closed() {
    let server = TcpListener::bind("127.0.0.1:0").await.expect("bound");
    let mut sip = transports(Transport::Tcp, None, None);
    let flow = flow(Transport::Tcp, server.local_addr().expect("bound"));
    sip.open(flow, None);
    // What is sent before the connection is up waits.
    sip.send(&flow, b"OPTIONS".to_vec());
    let (mut peer, _) = server.accept().await.expect("accepted");
    let mut got = [0; 7];
    peer.read_exact(&mut got).await.expect("read");
    assert_eq!(&got, b"OPTIONS");
    // Two messages in three parts, and a keep-alive, which is answered.
    let stream = [ANSWER, b"\r\n\r\n", ANSWER].concat();
    for part in stream.chunks(stream.len() / 3 + 1) {
        peer.write_all(part).await.expect("written");
    }
    for _ in 0..2 {
        let SipEvent::Message { flow: from, bytes } = sip.next().await else { panic!("a message") };
        assert_eq!((from, &*bytes), (flow, ANSWER));
    }
    let mut pong = [0; 2];
    peer.read_exact(&mut pong).await.expect("read");
    assert_eq!(&pong, b"\r\n");
    drop(peer);
    let SipEvent::Closed { flow: closed, .. } = sip.next().await else { panic!("closed") };
    assert_eq!((closed, sip.connections()), (flow, 0));
    sip.send(&flow, b"lost".to_vec());
    let counters = sip.counters();
    assert_eq!((counters.received, counters.sent, counters.send_failed), (2, 1, 1));
}

#[tokio::test]
async fn what_is_no_sip_and_who_does_not_answer_is_closed() {
    let server = TcpListener::bind("127.0.0.1:0").await.expect("bound");
    let remote = server.local_addr().expect("bound");
    let mut sip = transports(Transport::Tcp, None, None);
    sip.open(flow(Transport::Tcp, remote), None);
    let (mut peer, _) = server.accept().await.expect("accepted");
    peer.write_all(b"HTTP/1.1 400 Bad Request\r\n").await.expect("written");
    let SipEvent::Closed { reason, .. } = sip.next().await else { panic!("closed") };
    assert!(reason.contains("no SIP"), "{reason}");
    // RFC 5626 §4.4.1: a keep-alive without an answer.
    let mut sip = transports(Transport::Tcp, None, Some(Duration::from_millis(50)));
    sip.open(flow(Transport::Tcp, remote), None);
    let (_silent, _) = server.accept().await.expect("accepted");
    let SipEvent::Closed { reason, .. } = sip.next().await else { panic!("closed") };
    assert!(reason.contains("keep-alive"), "{reason}");
    drop(server);
    sip.open(flow(Transport::Tcp, remote), None);
    let SipEvent::Closed { reason, .. } = sip.next().await else { panic!("refused") };
    assert!(reason.contains("refused"), "{reason}");
}

#[tokio::test]
async fn a_server_may_connect_and_is_admitted_or_not() {
    let mut sip = transports(Transport::Tcp, None, None);
    let listening = match &sip.v4.as_ref().expect("used").listener {
        Some(listener) => listener.bound().expect("bound"),
        None => panic!("no listener"),
    };
    let mut peer = tokio::net::TcpStream::connect(listening).await.expect("connected");
    let SipEvent::Connects { local, from, stream } = sip.next().await else { panic!("connects") };
    assert_eq!(from, peer.local_addr().expect("bound"));
    assert!(sip.admit(local, from, stream));
    peer.write_all(ANSWER).await.expect("written");
    let SipEvent::Message { flow, .. } = sip.next().await else { panic!("a message") };
    assert!(flow.id.is_accepted() && flow.remote == from);
    sip.send(&flow, b"answer".to_vec());
    let mut got = [0; 6];
    peer.read_exact(&mut got).await.expect("read");
    assert_eq!(&got, b"answer");
}

/// The network's queues see the DSCP of every SIP message: on the connections that we open, and on those that we accept.
#[tokio::test]
async fn connections_are_marked_as_datagrams_are() {
    const EF: u8 = 46;
    for (ip, v6) in [("127.0.0.1", false), ("::1", true)] {
        let ip = ip.parse().expect("address");
        let marked = super::stream_socket("lo", ip, EF).expect("a socket");
        let class = if v6 { marked.tclass_v6() } else { marked.tos_v4() };
        assert_eq!(class.expect("set"), u32::from(EF) << 2);
    }
    let place = super::Place { device: "lo".into(), port: 0, dscp: EF };
    let mut listener = super::Listener::new(place);
    listener.set_address("127.0.0.1".parse().ok());
    let _peer = tokio::net::TcpStream::connect(listener.bound().expect("bound")).await.expect("connected");
    let SipEvent::Connects { stream, .. } = listener.next().await else { panic!("connects") };
    assert_eq!(socket2::SockRef::from(&stream).tos_v4().expect("known"), u32::from(EF) << 2);
}

/// An authority on disk, and certificates that it issues.
struct Authority {
    dir: PathBuf,
    issuer: Issuer<'static, KeyPair>,
}

impl Authority {
    fn new(name: &str) -> Self {
        let dir = std::env::temp_dir().join(format!("sipsec-tls-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&dir).expect("made");
        let mut params = CertificateParams::new(Vec::new()).expect("no names");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(DnType::CommonName, name);
        let key = KeyPair::generate().expect("a key");
        let certificate = params.self_signed(&key).expect("signed");
        std::fs::write(dir.join("ca.crt"), certificate.pem()).expect("written");
        Self { dir, issuer: Issuer::new(params, key) }
    }

    fn ca(&self) -> PathBuf {
        self.dir.join("ca.crt")
    }

    fn issue(&self, names: Vec<SanType>) -> (CertificateDer<'static>, PrivateKeyDer<'static>) {
        let mut params = CertificateParams::new(Vec::new()).expect("no names");
        params.subject_alt_names = names;
        let key = KeyPair::generate().expect("a key");
        let certificate = params.signed_by(&key, &self.issuer).expect("signed");
        std::fs::write(self.dir.join("own.crt"), certificate.pem()).expect("written");
        std::fs::write(self.dir.join("own.key"), key.serialize_pem()).expect("written");
        (certificate.der().clone(), PrivateKeyDer::try_from(key.serialize_der()).expect("a key"))
    }
}

impl Drop for Authority {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.dir);
    }
}

/// Connects to a server with this certificate: the message that came, or why there is no connection.
async fn handshake(
    tls: &Tls,
    (certificate, key): (CertificateDer<'static>, PrivateKeyDer<'static>),
    name: Option<&str>,
) -> Result<Vec<u8>, String> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_no_client_auth()
        .with_single_cert(vec![certificate], key)
        .expect("a certificate");
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let server = TcpListener::bind("127.0.0.1:0").await.expect("bound");
    let mut sip = transports(Transport::Tls, Some(tls.clone()), None);
    let flow = flow(Transport::Tls, server.local_addr().expect("bound"));
    sip.open(flow, name.map(str::to_owned));
    let serve = async {
        let (tcp, _) = server.accept().await.expect("accepted");
        if let Ok(mut stream) = acceptor.accept(tcp).await {
            let _ = stream.write_all(ANSWER).await;
            let mut rest = Vec::new();
            let _ = stream.read_to_end(&mut rest).await;
        }
        // What the client says of a handshake that failed is what counts.
        std::future::pending::<()>().await;
    };
    let hear = async {
        match sip.next().await {
            SipEvent::Message { bytes, .. } => Ok(bytes),
            SipEvent::Closed { reason, .. } => Err(reason),
            other => panic!("{other:?}"),
        }
    };
    tokio::select! {
        () = serve => unreachable!("it has no end"),
        heard = hear => heard,
    }
}

fn load(ca: &Path, fixed: Option<&str>) -> Tls {
    Tls::load(Files { ca, own: None }, fixed, "carrier.example").expect("loaded")
}

fn dns(name: &str) -> SanType {
    SanType::DnsName(name.to_owned().try_into().expect("a name"))
}

fn uri(text: &str) -> SanType {
    SanType::URI(text.to_owned().try_into().expect("a URI"))
}

/// RFC 5922 §7: the SIP domain or the name of the server, as a `sip:` URI or, without any, as DNS name; no wildcards.
#[tokio::test]
async fn the_servers_name_is_checked_as_sip_wants_it() {
    let authority = Authority::new("names");
    let tls = load(&authority.ca(), None);
    for (names, server, good) in [
        (vec![dns("carrier.example")], None, true),
        (vec![dns("CARRIER.example")], None, true),
        (vec![uri("sip:carrier.example")], None, true),
        (vec![uri("sip:carrier.example"), dns("other.example")], None, true),
        (vec![dns("sip1.carrier.example")], Some("sip1.carrier.example"), true),
        (vec![dns("other.example")], None, false),
        (vec![dns("*.carrier.example")], Some("sip1.carrier.example"), false),
        (vec![uri("sip:user@carrier.example")], None, false),
        (vec![uri("sip:other.example"), dns("carrier.example")], None, false),
        (vec![uri("https://carrier.example"), dns("carrier.example")], None, true),
        (Vec::new(), None, false),
    ] {
        let shown = format!("{names:?} for {server:?}");
        let heard = handshake(&tls, authority.issue(names), server).await;
        match heard {
            Ok(bytes) => assert!(good && bytes == ANSWER, "{shown}"),
            Err(reason) => assert!(!good && reason.contains("is not for"), "{shown}: {reason}"),
        }
    }
    // A name that the profile fixes counts alone.
    let fixed = load(&authority.ca(), Some("gw.example"));
    assert!(
        handshake(&fixed, authority.issue(vec![dns("gw.example")]), Some("sip1.carrier.example"))
            .await
            .is_ok()
    );
    assert!(handshake(&fixed, authority.issue(vec![dns("carrier.example")]), None).await.is_err());
}

#[tokio::test]
async fn other_authorities_and_unusable_files_are_refused() {
    let (ours, theirs) = (Authority::new("ours"), Authority::new("theirs"));
    let tls = load(&ours.ca(), None);
    let refused = handshake(&tls, theirs.issue(vec![dns("carrier.example")]), None).await;
    assert!(refused.as_ref().is_err_and(|why| why.contains("UnknownIssuer")), "{refused:?}");
    let load = |ca: &Path, own: Option<&TlsOwn>| {
        Tls::load(Files { ca, own }, None, "carrier.example").map(|t| t.can_accept())
    };
    let (certificate, key) = (ours.dir.join("own.crt"), ours.dir.join("own.key"));
    ours.issue(vec![dns("gw.example")]);
    let own = |key| TlsOwn { certificate: certificate.clone(), key };
    assert!(matches!(load(&ours.ca(), Some(&own(SecretSource::File(key.clone())))), Ok(true)));
    let program = ["/bin/cat", key.to_str().expect("UTF-8")].map(str::to_owned).to_vec();
    assert!(matches!(load(&ours.ca(), Some(&own(SecretSource::Command(program)))), Ok(true)));
    let foreign = theirs.dir.join("own.key");
    assert!(load(&ours.ca(), Some(&own(SecretSource::File(foreign)))).is_err(), "not its key");
    let unset = load(&ours.ca(), Some(&own(SecretSource::Env("NO_SUCH_VARIABLE".to_owned()))));
    let unset = unset.expect_err("there is none").to_string();
    assert_eq!(unset, "$NO_SUCH_VARIABLE: the environment has no variable NO_SUCH_VARIABLE");
    let missing = load(&ours.dir.join("none.crt"), None).expect_err("missing");
    assert!(missing.to_string().contains("none.crt"), "{missing}");
    std::fs::write(ours.dir.join("empty.crt"), "nothing").expect("written");
    let empty = load(&ours.dir.join("empty.crt"), None).expect_err("empty");
    assert!(empty.to_string().contains("no certificate"), "{empty}");
}
