//! Two processes' worth of connecting, in two threads: who is served, who is refused and why, and what a reconnect finds.

use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketAddrUnix, SocketFlags, SocketType};
use sipsec_abi::layout::{ABI_VERSION, FINGERPRINT, MAGIC};
use sipsec_abi::server::is_served;
use sipsec_abi::{
    Command, ControlSide, Count, DataplaneSide, Facts, HandshakeError, Listener, Refusal, SendError,
};
use sipsec_net::dp::{Event, Op};
use sipsec_net::{Instant, TunnelId, TxnId};
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;

struct Place {
    dir: PathBuf,
    path: PathBuf,
}

impl Place {
    fn new() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let n = NEXT.fetch_add(1, Ordering::Relaxed);
        let dir = std::env::temp_dir().join(format!("sipsec-abi-handshake-{}-{n}", std::process::id()));
        std::fs::create_dir(&dir).expect("a new directory");
        Self { path: dir.join("dataplane.sock"), dir }
    }

    fn listen(&self) -> Listener {
        Listener::bind(&self.path, "dataplane 1", &[]).expect("bind")
    }

    /// Both ends of one handshake. The client connects before the listener looks: the kernel keeps it waiting.
    fn handshake(
        &self,
        listener: &mut Listener,
        busy: bool,
    ) -> (Result<DataplaneSide, HandshakeError>, Result<ControlSide, HandshakeError>) {
        let path = self.path.clone();
        let client = thread::spawn(move || ControlSide::connect(&path, "control 1"));
        let server = serve(listener, busy);
        (server, client.join().expect("the client ends"))
    }

    /// A client that says what it likes; the listener's verdict and the reply.
    fn raw(&self, listener: &mut Listener, hello: &[u8]) -> (HandshakeError, Vec<u8>) {
        let socket = raw_socket();
        rustix::net::connect(&socket, &SocketAddrUnix::new(&self.path).expect("a path")).expect("connect");
        if !hello.is_empty() {
            rustix::net::send(&socket, hello, SendFlags::empty()).expect("send");
        } else {
            rustix::net::shutdown(&socket, rustix::net::Shutdown::Write).expect("shutdown");
        }
        let error = serve(listener, false).expect_err("a refusal");
        let mut reply = [0; 256];
        let (len, _) = rustix::net::recv(&socket, &mut reply, RecvFlags::empty()).expect("a reply");
        (error, reply[..len].to_vec())
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.dir);
    }
}

fn raw_socket() -> OwnedFd {
    rustix::net::socket_with(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)
        .expect("socket")
}

fn serve(listener: &mut Listener, busy: bool) -> Result<DataplaneSide, HandshakeError> {
    loop {
        match listener.accept(busy) {
            Ok(None) => thread::yield_now(),
            Ok(Some(side)) => return Ok(side),
            Err(error) => return Err(error),
        }
    }
}

const REMOVE: Op = Op::TunnelRemove(TunnelId(5));

#[test]
fn everything_goes_both_ways_and_each_side_sees_the_other_end() {
    let place = Place::new();
    let mut listener = place.listen();
    assert!(listener.accept(false).expect("nobody there").is_none());
    let (dataplane, control) = place.handshake(&mut listener, false);
    let (mut dataplane, mut control) = (dataplane.expect("served"), control.expect("connected"));
    assert_eq!((dataplane.epoch, control.epoch), (1, 1));
    assert_eq!((dataplane.peer.software.as_str(), control.software.as_str()), ("control 1", "dataplane 1"));
    assert_eq!(dataplane.peer.pid, std::process::id() as i32);

    control.push(TxnId(1), &[REMOVE]).expect("room");
    let mut ops = Vec::new();
    assert_eq!(dataplane.pop(&mut ops), Ok(Some(Command::Transaction { txn: TxnId(1), more: false })));
    dataplane.events.push(&Event::Applied(TxnId(1))).expect("room");
    assert_eq!(control.pop(), Ok(Some(Event::Applied(TxnId(1)))));
    let peer = "192.0.2.1:50002".parse().expect("valid");
    dataplane.punts_up.send(sipsec_net::MediaPort(7), peer, b"up").expect("room");
    assert_eq!(control.recv_ike().expect("valid").expect("one").message, b"up");
    control.send_ike(sipsec_net::MediaPort(7), peer, b"down").expect("room");
    assert_eq!(dataplane.punts_down.recv().expect("valid").expect("one").message, b"down");
    dataplane.counters.facts(&Facts { engine: "ring".into(), ..Facts::default() });
    dataplane.counters.count(Count::Sas, 2);
    assert_eq!(control.counters.facts().expect("at rest").engine.as_str(), "ring");
    assert_eq!(control.counters.count(Count::Sas), 2);
    assert_eq!(control.pulse.peer_beat(), Instant::ZERO);
    dataplane.beat(Instant::from_nanos(11));
    control.beat(Instant::from_nanos(12));
    assert_eq!(control.pulse.peer_beat(), Instant::from_nanos(11));
    assert_eq!(dataplane.pulse.peer_beat(), Instant::from_nanos(12));

    assert!(dataplane.connection.is_open() && control.connection.is_open());
    drop(dataplane);
    assert!(!control.connection.is_open());
    // The segment is still there: a control plane that has not noticed yet does no harm to itself.
    assert_eq!(control.push(TxnId(2), &[REMOVE]), Ok(()));
}

#[test]
fn a_reconnect_finds_an_empty_ring_of_a_new_epoch() {
    let place = Place::new();
    let mut listener = place.listen();
    let (dataplane, control) = place.handshake(&mut listener, false);
    let (mut dataplane, mut control) = (dataplane.expect("served"), control.expect("connected"));
    // Fill the old ring; it has no reader.
    let mut txn = 1;
    while control.push(TxnId(txn), &[REMOVE]) != Err(SendError::WouldBlock) {
        txn += 1;
    }
    let mut ops = Vec::new();
    assert_eq!(dataplane.pop(&mut ops), Ok(Some(Command::Transaction { txn: TxnId(1), more: false })));
    dataplane.answers.record(&Event::Applied(TxnId(1)));
    // Another one while this one lives: refused, and this one goes on.
    let (refused, busy) = place.handshake(&mut listener, true);
    assert_eq!(refused.err(), Some(HandshakeError::Refused(Refusal::Busy)));
    assert_eq!(busy.err(), Some(HandshakeError::Refused(Refusal::Busy)));
    assert_eq!(dataplane.pop(&mut ops), Ok(Some(Command::Transaction { txn: TxnId(2), more: false })));

    let mut zombie = control;
    let (new_dataplane, new_control) = place.handshake(&mut listener, false);
    let (mut new_dataplane, mut new_control) =
        (new_dataplane.expect("served"), new_control.expect("connected"));
    assert_eq!((new_dataplane.epoch, new_control.epoch), (2, 2));
    assert_eq!(new_dataplane.pop(&mut ops), Ok(None), "what the old one pushed stays with the old one");
    // Ids start anew: the first of the new connection is not taken for the first of the old.
    assert_eq!(new_dataplane.answers.admit(TxnId(1)), sipsec_abi::Admission::Fresh);
    new_control.push(TxnId(1), &[REMOVE, REMOVE]).expect("room");
    // The old one is not dead after all.
    assert_eq!(zombie.push(TxnId(txn), &[REMOVE]), Ok(()), "into a segment that nobody reads");
    assert_eq!(new_dataplane.pop(&mut ops), Ok(Some(Command::Transaction { txn: TxnId(1), more: false })));
    assert_eq!(ops.len(), 2);
    assert_eq!(new_dataplane.pop(&mut ops), Ok(None));
    assert_eq!((listener.connections(), listener.refused()), (2, 1));
}

/// The fields that no version changes: magic, version, fingerprint.
fn prefix(magic: u64, version: u32, fingerprint: u64) -> Vec<u8> {
    let mut bytes = magic.to_le_bytes().to_vec();
    bytes.extend(version.to_le_bytes());
    bytes.extend(fingerprint.to_le_bytes());
    bytes
}

#[test]
fn who_speaks_otherwise_is_told_why() {
    let place = Place::new();
    let mut listener = place.listen();
    let with_body = |mut prefix: Vec<u8>, body: &[u8]| {
        prefix.extend(body);
        prefix
    };
    let good_body = [[1, 0, 0, 0].as_slice(), &[0; 32]].concat();
    let cases = [
        (vec![], HandshakeError::Closed),
        (b"hello".to_vec(), HandshakeError::Refused(Refusal::Malformed)),
        (prefix(!MAGIC, ABI_VERSION, FINGERPRINT), HandshakeError::Refused(Refusal::Malformed)),
        // Another version is told so, however long its hello is.
        (prefix(MAGIC, 7, FINGERPRINT), HandshakeError::Refused(Refusal::Version(7))),
        (with_body(prefix(MAGIC, 7, 9), &[1; 100]), HandshakeError::Refused(Refusal::Version(7))),
        (with_body(prefix(MAGIC, ABI_VERSION, 9), &good_body), HandshakeError::Refused(Refusal::Layout(9))),
        (prefix(MAGIC, ABI_VERSION, FINGERPRINT), HandshakeError::Refused(Refusal::Malformed)),
        // Not a control plane; a reserved byte; too long for any version.
        (
            with_body(prefix(MAGIC, ABI_VERSION, FINGERPRINT), &[[2, 0, 0, 0].as_slice(), &[0; 32]].concat()),
            HandshakeError::Refused(Refusal::Malformed),
        ),
        (
            with_body(prefix(MAGIC, ABI_VERSION, FINGERPRINT), &[[1, 0, 1, 0].as_slice(), &[0; 32]].concat()),
            HandshakeError::Refused(Refusal::Malformed),
        ),
        (with_body(prefix(MAGIC, ABI_VERSION, FINGERPRINT), &[0; 1000]), HandshakeError::Malformed),
    ];
    for (hello, expected) in cases {
        let (error, reply) = place.raw(&mut listener, &hello);
        assert_eq!(error, expected, "{hello:?}");
        // The reply starts with our numbers, from which any version of the other side knows what is wrong.
        assert_eq!(reply[..20], prefix(MAGIC, ABI_VERSION, FINGERPRINT));
    }
    // And the next honest one is served.
    let (dataplane, control) = place.handshake(&mut listener, false);
    assert!(dataplane.is_ok() && control.is_ok());
}

/// A listener that is not ours: what the client makes of any answer.
#[test]
fn a_client_believes_no_reply_that_is_not_a_welcome() {
    let place = Place::new();
    let listener = raw_socket();
    rustix::net::bind(&listener, &SocketAddrUnix::new(&place.path).expect("a path")).expect("bind");
    rustix::net::listen(&listener, 1).expect("listen");
    let welcome_without_fds = |len: u64| {
        [
            prefix(MAGIC, ABI_VERSION, FINGERPRINT),
            vec![1, 0, 0, 0],
            1u64.to_le_bytes().to_vec(),
            len.to_le_bytes().to_vec(),
            vec![0; 32],
        ]
        .concat()
    };
    let segment_len = sipsec_abi::layout::SEGMENT_LEN as u64;
    let cases = [
        (vec![], HandshakeError::Closed),
        (b"no".to_vec(), HandshakeError::Malformed),
        (
            prefix(MAGIC, ABI_VERSION + 1, FINGERPRINT),
            HandshakeError::Refused(Refusal::Version(ABI_VERSION + 1)),
        ),
        (prefix(MAGIC, ABI_VERSION, 9), HandshakeError::Refused(Refusal::Layout(9))),
        (prefix(MAGIC, ABI_VERSION, FINGERPRINT), HandshakeError::Malformed),
        (welcome_without_fds(segment_len), HandshakeError::Malformed),
        (welcome_without_fds(segment_len + 1), HandshakeError::Malformed),
    ];
    for (reply, expected) in cases {
        let path = place.path.clone();
        let client = thread::spawn(move || ControlSide::connect(&path, "control").err());
        let connection = rustix::net::accept(&listener).expect("accept");
        let mut hello = [0; 256];
        let (len, _) = rustix::net::recv(&connection, &mut hello, RecvFlags::empty()).expect("hello");
        assert_eq!(hello[..20], prefix(MAGIC, ABI_VERSION, FINGERPRINT));
        assert_eq!(len, 20 + 4 + 32);
        if !reply.is_empty() {
            rustix::net::send(&connection, &reply, SendFlags::empty()).expect("send");
        }
        drop(connection);
        assert_eq!(client.join().expect("the client ends"), Some(expected), "{reply:?}");
    }
}

#[test]
fn a_socket_is_taken_over_only_from_the_dead() {
    let place = Place::new();
    let listener = place.listen();
    assert_eq!(Listener::bind(&place.path, "second", &[]).err(), Some(HandshakeError::AlreadyRunning));
    // A dataplane that was killed leaves the file behind.
    let dead = place.dir.join("dead.sock");
    let socket = raw_socket();
    rustix::net::bind(&socket, &SocketAddrUnix::new(&dead).expect("a path")).expect("bind");
    drop(socket);
    assert!(Listener::bind(&dead, "next", &[]).is_ok());
    assert!(!dead.exists(), "a listener that ends takes its socket along");
    // A file is no socket of a living process; a link goes, and what it leads to stays.
    let (file, link) = (place.dir.join("file.sock"), place.dir.join("link.sock"));
    let kept = place.dir.join("notes.txt");
    std::fs::write(&file, "left").expect("written");
    std::fs::write(&kept, "keep").expect("written");
    std::os::unix::fs::symlink(&kept, &link).expect("linked");
    for path in [&file, &link] {
        assert!(!is_served(path));
        let listener = Listener::bind(path, "next", &[]).expect("replaced");
        assert!(is_served(path));
        drop(listener);
        assert!(!is_served(path));
    }
    assert_eq!(std::fs::read(&kept).expect("still there"), b"keep");
    let dir = place.dir.join("dir.sock");
    std::fs::create_dir(&dir).expect("made");
    let not_ours = Listener::bind(&dir, "next", &[]).err();
    assert!(matches!(not_ours, Some(HandshakeError::System { call: "bind", .. })), "{not_ours:?}");
    let mode = std::os::unix::fs::PermissionsExt::mode(
        &std::fs::metadata(&place.path).expect("it is there").permissions(),
    );
    assert_eq!(mode & 0o777, 0o600);
    drop(listener);
    let gone = ControlSide::connect(&place.path, "control").err();
    assert!(matches!(gone, Some(HandshakeError::System { call: "connect", .. })), "{gone:?}");
}

/// Needs root: one thread takes another user's id for a while.
#[test]
fn another_user_is_refused_unless_allowed() {
    const NOBODY: u32 = 65_534;
    if !rustix::process::geteuid().is_root() {
        eprintln!("not root: cannot connect as another user");
        return;
    }
    for (allowed, served) in [(&[][..], false), (&[NOBODY][..], true)] {
        let place = Place::new();
        let mut listener = Listener::bind(&place.path, "dataplane 1", allowed).expect("bind");
        // The file's mode is one lock, the credentials are the other: open the first to test the second.
        let open = |path: &std::path::Path, mode| {
            std::fs::set_permissions(path, std::os::unix::fs::PermissionsExt::from_mode(mode))
                .expect("chmod");
        };
        open(&place.dir, 0o755);
        open(&place.path, 0o666);
        let path = place.path.clone();
        let client = thread::spawn(move || {
            let uid = rustix::process::Uid::from_raw(NOBODY);
            // The system call itself, and so for this thread alone.
            rustix::thread::set_thread_res_uid(uid, uid, uid).expect("setresuid");
            ControlSide::connect(&path, "somebody").map(|side| side.epoch)
        });
        let server = serve(&mut listener, false).map(|side| side.peer.uid);
        let client = client.join().expect("the client ends");
        if served {
            assert_eq!((server, client), (Ok(NOBODY), Ok(1)));
        } else {
            assert_eq!(server, Err(HandshakeError::Credentials { uid: NOBODY }));
            assert_eq!(client, Err(HandshakeError::Refused(Refusal::Credentials)));
        }
    }
}
