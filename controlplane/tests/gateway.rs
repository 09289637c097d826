//! A whole control plane: real sockets and a real segment, with this test as its carrier and as its dataplane. Needs root
//! (two network namespaces).

mod support;

use sipsec_abi::{Command, Listener};
use sipsec_controlplane::api::client::Client;
use sipsec_controlplane::api::model;
use sipsec_controlplane::journal::{Journal, JournalError};
use sipsec_controlplane::logging::LogControl;
use sipsec_controlplane::{boot, config};
use sipsec_net::TunnelId;
use sipsec_net::dp::{Event, Op, PacketSummary};
use std::net::{SocketAddr, UdpSocket};
use std::path::{Path, PathBuf};
use std::sync::mpsc;
use support::{in_namespace, own_namespace, sh};

fn profile(dir: &Path) -> config::Profile {
    let text = format!(
        "version: 1\ngateway: test\nruntime_dir: {0}\nstate_dir: {0}/state\n\
         sip: {{ interface: wan0, registrar: 192.0.2.2, domain: carrier.example, lines: [{{ number: '0388881001' }}] }}\n\
         ike: {{ keyring: [{{ number: '0388882001', psk: '0x9d1f0a93b7c4e58261b7f9c03e6a2d84' }}] }}\n\
         tunnels: [{{ name: Tunnel1, local_number: '0388881001', remote_number: '0388882001', bandwidth_kbps: 512 }}]\n\
         dataplane: {{ outside: {{ device: wan0 }}, inside: {{ mode: host, device: svti0 }} }}\n",
        dir.display()
    );
    let (profile, findings) = config::examine("test.yaml", &text);
    assert_eq!(findings.errors(), 0, "{}", findings.render(config::Style::PLAIN));
    profile.expect("read")
}

/// The value of a header field.
fn field<'a>(message: &'a str, name: &str) -> &'a str {
    let prefix = format!("{name}: ");
    message.lines().find_map(|l| l.strip_prefix(prefix.as_str())).unwrap_or_default()
}

/// A response with what RFC 3261 §8.2.6.2 wants copied.
fn respond(socket: &UdpSocket, to: SocketAddr, request: &str, status: &str, more: &str) {
    let mut out = format!("SIP/2.0 {status}\r\n");
    for name in ["Via", "From", "Call-ID", "CSeq"] {
        out += &format!("{name}: {}\r\n", field(request, name));
    }
    out += &format!("To: {};tag=carrier\r\n{more}Content-Length: 0\r\n\r\n", field(request, "To"));
    socket.send_to(out.as_bytes(), to).expect("sent");
}

/// Registers everybody and is busy for every call. Reports what it gets, by method.
fn carrier(ready: &mpsc::Sender<u32>, go: &mpsc::Receiver<()>, seen: &mpsc::Sender<String>) {
    own_namespace();
    ready
        .send(u32::try_from(rustix::thread::gettid().as_raw_nonzero().get()).expect("positive"))
        .expect("heard");
    go.recv().expect("the device is here");
    sh("ip addr add 192.0.2.2/24 dev peer0");
    sh("ip link set peer0 up");
    let socket = UdpSocket::bind("192.0.2.2:5060").expect("bound");
    let mut buffer = [0; 65_535];
    loop {
        let (len, from) = socket.recv_from(&mut buffer).expect("received");
        let message = String::from_utf8_lossy(&buffer[..len]).into_owned();
        match message.split(' ').next() {
            Some("REGISTER") => {
                let contact = format!("Contact: {}\r\nExpires: 3600\r\n", field(&message, "Contact"));
                respond(&socket, from, &message, "200 OK", &contact);
            }
            Some("INVITE") => respond(&socket, from, &message, "486 Busy Here", ""),
            _ => {}
        }
        if seen.send(message).is_err() {
            return;
        }
    }
}

/// Applies everything; a packet arrives as soon as there is a tunnel.
fn dataplane(socket: &Path) {
    let mut listener = Listener::bind(socket, "fake 1", &[]).expect("bound");
    let mut side = loop {
        match listener.accept(false).expect("a true hello") {
            Some(side) => break side,
            None => std::thread::yield_now(),
        }
    };
    let mut ops = Vec::new();
    while side.connection.is_open() {
        match side.pop(&mut ops).expect("valid") {
            Some(Command::Snapshot) => side.events.push(&Event::SnapshotEnd).expect("room"),
            Some(Command::Transaction { txn, .. }) => {
                side.events.push(&Event::Applied(txn)).expect("room");
                if ops.iter().any(|op| matches!(op, Op::TunnelAdd(_))) {
                    let first = PacketSummary {
                        source: "10.1.0.2".parse().expect("address"),
                        destination: "10.2.0.2".parse().expect("address"),
                        protocol: 1,
                        source_port: 0,
                        destination_port: 0,
                        len: 84,
                    };
                    side.events.push(&Event::Acquire { tunnel: TunnelId(1), first }).expect("room");
                }
            }
            None => std::thread::yield_now(),
        }
    }
}

/// Until a message of the method comes.
fn wait_for(seen: &mpsc::Receiver<String>, method: &str) -> String {
    loop {
        let message = seen.recv().expect("the carrier runs");
        if message.starts_with(&format!("{method} ")) {
            return message;
        }
    }
}

#[test]
fn a_packet_makes_a_call_and_its_failure_is_explained() {
    let dir: PathBuf = std::env::temp_dir().join(format!("sipsec-gateway-{}", std::process::id()));
    std::fs::create_dir_all(&dir).expect("made");
    let profile = profile(&dir);

    let (profile_socket, control) = (profile.dataplane_socket(), profile.control_socket());
    in_namespace(async || {
        sh("ip link add wan0 type veth peer name peer0");
        let ((ready_tx, ready), (go, go_rx), (seen_tx, seen)) =
            (mpsc::channel(), mpsc::channel(), mpsc::channel());
        std::thread::spawn(move || carrier(&ready_tx, &go_rx, &seen_tx));
        sh(&format!("ip link set peer0 netns {}", ready.recv().expect("the carrier runs")));
        go.send(()).expect("the carrier runs");

        let gateway = boot::start(profile, LogControl::none()).await.expect("started");
        let gateway = tokio::spawn(gateway.run());
        // Without an address and without a dataplane: it runs, and says what it waits for.
        let client = Client::new(&control);
        let ask = {
            let client = client.clone();
            move || -> (model::Control, Vec<model::Registration>) {
                (
                    client.get("/v1/control").expect("answered"),
                    client.get("/v1/registrations").expect("answered"),
                )
            }
        };
        let (state, lines) = tokio::task::spawn_blocking(ask).await.expect("no panic");
        assert!(
            state.wan.reason.is_some() && state.sip.reason.is_some() && state.dataplane.reason.is_some(),
            "{state:?}"
        );
        assert!(
            !lines[0].registered && lines[0].reason.as_deref().is_some_and(|r| r.contains("wan0")),
            "{lines:?}"
        );

        sh("ip addr add 192.0.2.1/24 dev wan0");
        sh("ip link set wan0 up");
        let (register, seen) =
            tokio::task::spawn_blocking(|| (wait_for(&seen, "REGISTER"), seen)).await.expect("no panic");
        assert!(register.contains("<sip:0388881001@192.0.2.1"), "{register}");

        // The dataplane comes, and a packet with it.
        let dataplane = std::thread::spawn(move || dataplane(&profile_socket));
        let (invite, ack, seen) =
            tokio::task::spawn_blocking(|| (wait_for(&seen, "INVITE"), wait_for(&seen, "ACK"), seen))
                .await
                .expect("no panic");
        for part in [
            "INVITE sip:0388882001@",
            "m=application 5",
            "udp ike-esp-udpencap",
            "b=AS:512",
            "a=ike-setup:active",
        ] {
            assert!(invite.contains(part), "{part} is missing in:\n{invite}");
        }
        assert_eq!(field(&ack, "Call-ID"), field(&invite, "Call-ID"));

        let session = tokio::task::spawn_blocking(move || {
            let list: Vec<model::Session> =
                client.get("/v1/sessions?remote_number=0388882001").expect("answered");
            list.into_iter().next().expect("the tunnel")
        })
        .await
        .expect("no panic");
        let failure = session.last_failure.as_ref().expect("a failure");
        assert!(failure.reason.contains("486") && !failure.cure.is_empty(), "{session:?}");
        assert_eq!((session.status.as_str(), session.remote), ("READY_TO_CONNECT", None));
        assert!(session.retry_in_s.is_some(), "{session:?}");

        // What happened can be asked for afterwards.
        let id = field(&invite, "Call-ID").to_owned();
        let (history, call, summary) = tokio::task::spawn_blocking({
            let (client, id) = (Client::new(&control), id.clone());
            move || {
                let history: Vec<model::Call> =
                    client.get("/v1/history?interface=tunnel1").expect("answered");
                let call: model::CallMessages =
                    client.get(&format!("/v1/call?call_id={id}")).expect("answered");
                let summary: model::Summary = client.get("/v1/summary").expect("answered");
                (history, call, summary)
            }
        })
        .await
        .expect("no panic");
        assert!(history[0].reason.contains("486") && history[0].lasted_ms.is_none(), "{history:?}");
        assert_eq!(history[0].call_id.as_deref(), Some(id.as_str()), "{history:?}");
        let lines: Vec<_> = call.messages.iter().map(|m| (m.sent, m.first_line.as_str())).collect();
        assert!(lines.contains(&(false, "SIP/2.0 486 Busy Here")), "{lines:?}");
        assert!(
            lines[0].1.starts_with("INVITE ") && lines.iter().any(|(_, l)| l.starts_with("ACK ")),
            "{lines:?}"
        );
        assert_eq!((summary.tunnels, summary.failed, summary.lines_registered), (1, 1, 1), "{summary:?}");

        // SIGTERM unregisters, and leaves neither a socket nor a call in the journal.
        rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::TERM)
            .expect("sent");
        gateway.await.expect("no panic");
        dataplane.join().expect("no panic");
        let last = tokio::task::spawn_blocking(move || wait_for(&seen, "REGISTER")).await.expect("no panic");
        assert!(last.contains("expires=0") || field(&last, "Expires") == "0", "{last}");
        assert!(!control.exists());
    });
    let found = loop {
        // The journal's thread closes the file when it sees that the gateway has gone.
        match Journal::open(&dir.join("state/journal.redb")) {
            Err(JournalError::InUse { .. }) => std::thread::yield_now(),
            other => break other.expect("opened").1,
        }
    };
    assert_eq!((found.calls, found.warnings), (vec![], Vec::<String>::new()));
    assert_eq!(found.brakes.len(), 1, "the refusal brakes the next run, too");
    std::fs::remove_dir_all(dir).expect("removed");
}
