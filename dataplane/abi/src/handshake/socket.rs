//! The unix socket: bind, accept, connect, one message with descriptors each way.

use super::{BACKLOG, HandshakeError, system};
use core::mem::MaybeUninit;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{FileType, FlockOperation, Mode, OFlags};
use rustix::io::Errno;
use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, SocketAddrUnix, SocketFlags, SocketType,
};
use std::io::{IoSlice, IoSliceMut};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Descriptors of a welcome: segment, the dataplane's doorbell, the control plane's doorbell.
pub(crate) const FDS: usize = 3;
/// Longer than any message of any version so far.
const MESSAGE_MAX: usize = 256;
const OWNER_ONLY: Mode = Mode::RUSR.union(Mode::WUSR);

fn socket() -> Result<OwnedFd, HandshakeError> {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    rustix::net::socket_with(AddressFamily::UNIX, SocketType::SEQPACKET, flags, None)
        .map_err(system("socket"))
}

fn address(path: &Path) -> Result<SocketAddrUnix, HandshakeError> {
    SocketAddrUnix::new(path).map_err(system("socket path"))
}

/// A listening socket with its lock file.
#[derive(Debug)]
pub(crate) struct Bound {
    pub socket: OwnedFd,
    /// Locked for the process's life, so that the lock goes with it however it ends. The file stays: taking it away could
    /// take it from a successor.
    _lock: OwnedFd,
}

/// The file whose lock says that a process serves the socket at `path`.
fn lock_path(path: &Path) -> PathBuf {
    let mut lock = path.as_os_str().to_owned();
    lock.push(".lock");
    lock.into()
}

/// Whether a living process has the lock of `path`.
pub(crate) fn is_locked(path: &Path) -> bool {
    let flags = OFlags::RDWR | OFlags::CLOEXEC | OFlags::NOFOLLOW;
    let Ok(lock) = rustix::fs::open(lock_path(path), flags, OWNER_ONLY) else { return false };
    // Ours ends with this function.
    rustix::fs::flock(&lock, FlockOperation::NonBlockingLockExclusive) == Err(Errno::AGAIN)
}

/// A listening socket at `path` that only its owner may open. A file, or a socket that a dead process left behind, is
/// replaced; the socket of a living process is not, however busy it is, and a directory is not.
pub(crate) fn bind(path: &Path) -> Result<Bound, HandshakeError> {
    let address = address(path)?;
    let flags = OFlags::CREATE | OFlags::RDWR | OFlags::CLOEXEC | OFlags::NOFOLLOW;
    let lock = rustix::fs::open(lock_path(path), flags, OWNER_ONLY).map_err(system("open lock file"))?;
    match rustix::fs::flock(&lock, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => {}
        Err(Errno::AGAIN) => return Err(HandshakeError::AlreadyRunning),
        Err(errno) => return Err(HandshakeError::System { call: "flock", errno }),
    }
    let socket = socket()?;
    // Before bind: the file is never there with other permissions.
    rustix::fs::fchmod(&socket, OWNER_ONLY).map_err(system("fchmod"))?;
    let mut bound = rustix::net::bind(&socket, &address);
    if bound == Err(Errno::ADDRINUSE) && is_replaceable(path) {
        // The lock is ours, so no living dataplane has bound it.
        rustix::fs::unlink(path).map_err(system("unlink"))?;
        bound = rustix::net::bind(&socket, &address);
    }
    bound.map_err(system("bind"))?;
    rustix::net::listen(&socket, BACKLOG).map_err(system("listen"))?;
    Ok(Bound { socket, _lock: lock })
}

/// A socket, a file or a link, which is taken away itself and not what it leads to.
fn is_replaceable(path: &Path) -> bool {
    rustix::fs::lstat(path).is_ok_and(|stat| {
        matches!(
            FileType::from_raw_mode(stat.st_mode),
            FileType::Socket | FileType::RegularFile | FileType::Symlink
        )
    })
}

/// The next connection, if one waits.
pub(crate) fn accept(listener: &OwnedFd) -> Result<Option<Connection>, HandshakeError> {
    match rustix::net::accept_with(listener, SocketFlags::CLOEXEC | SocketFlags::NONBLOCK) {
        Ok(fd) => Ok(Some(Connection(fd))),
        Err(Errno::AGAIN | Errno::CONNABORTED | Errno::INTR) => Ok(None),
        Err(errno) => Err(HandshakeError::System { call: "accept", errno }),
    }
}

pub(crate) fn connect(path: &Path) -> Result<Connection, HandshakeError> {
    let fd = socket()?;
    // A unix connect does not wait, unless the backlog is full: then it fails, and the caller tries again later.
    rustix::net::connect(&fd, &address(path)?).map_err(system("connect"))?;
    Ok(Connection(fd))
}

/// The process at the other end, as the kernel names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Credentials {
    /// 0 if the process is in a pid namespace that we cannot see.
    pub pid: i32,
    pub uid: u32,
}

/// The connection after the handshake: it carries nothing, and ends when the other side does.
#[derive(Debug)]
pub struct Connection(OwnedFd);

impl Connection {
    /// Whether the other side still has its end open. Readable (see [`AsFd`]) is when to ask.
    #[must_use]
    pub fn is_open(&self) -> bool {
        let mut byte = [0; 1];
        match rustix::net::recv(&self.0, &mut byte, RecvFlags::DONTWAIT) {
            Err(Errno::AGAIN | Errno::INTR) => true,
            // A byte here is a peer that does not keep to the protocol; the end and every error end it too.
            Ok(_) | Err(_) => false,
        }
    }

    pub(crate) fn credentials(&self) -> Result<Credentials, HandshakeError> {
        let mut cred = libc::ucred { pid: 0, uid: 0, gid: 0 };
        let mut len = size_of::<libc::ucred>() as libc::socklen_t;
        // (rustix has this call, but with a pid that is never zero, which it is across pid namespaces.)
        // SAFETY: `cred` and `len` are valid for writes, and `len` says how large `cred` is.
        let result = unsafe {
            libc::getsockopt(
                self.0.as_raw_fd(),
                libc::SOL_SOCKET,
                libc::SO_PEERCRED,
                (&raw mut cred).cast(),
                &raw mut len,
            )
        };
        if result != 0 || len as usize != size_of::<libc::ucred>() {
            let errno = Errno::from_io_error(&std::io::Error::last_os_error()).unwrap_or(Errno::INVAL);
            return Err(HandshakeError::System { call: "getsockopt(SO_PEERCRED)", errno });
        }
        Ok(Credentials { pid: cred.pid, uid: cred.uid })
    }
}

impl AsFd for Connection {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// One message with the descriptors that came along.
#[derive(Debug)]
pub(crate) struct Received {
    pub bytes: Vec<u8>,
    pub fds: Vec<OwnedFd>,
}

/// Waits for one message.
pub(crate) fn recv(connection: &Connection, timeout: Duration) -> Result<Received, HandshakeError> {
    let mut fds = [PollFd::new(&connection.0, PollFlags::IN)];
    let timeout = Timespec::try_from(timeout).map_err(|_| HandshakeError::Timeout)?;
    match poll(&mut fds, Some(&timeout)) {
        // Not again after a signal: that would need a clock, and the caller retries the whole handshake anyway.
        Ok(0) | Err(Errno::INTR) => return Err(HandshakeError::Timeout),
        Ok(_) => {}
        Err(errno) => return Err(HandshakeError::System { call: "poll", errno }),
    }
    let mut bytes = vec![0; MESSAGE_MAX];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(FDS))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let flags = RecvFlags::CMSG_CLOEXEC | RecvFlags::DONTWAIT;
    let received =
        match rustix::net::recvmsg(&connection.0, &mut [IoSliceMut::new(&mut bytes)], &mut control, flags) {
            Ok(received) => received,
            Err(Errno::CONNRESET) => return Err(HandshakeError::Closed),
            Err(errno) => return Err(HandshakeError::System { call: "recvmsg", errno }),
        };
    // Taken before any check, so that every received descriptor is closed again.
    let fds = control
        .drain()
        .filter_map(|message| match message {
            RecvAncillaryMessage::ScmRights(fds) => Some(fds),
            _ => None,
        })
        .flatten()
        .collect();
    if received.flags.intersects(ReturnFlags::TRUNC | ReturnFlags::CTRUNC) {
        return Err(HandshakeError::Malformed);
    }
    if received.bytes == 0 {
        return Err(HandshakeError::Closed);
    }
    bytes.truncate(received.bytes);
    Ok(Received { bytes, fds })
}

/// Sends one message. A fresh connection's buffer has room for it.
pub(crate) fn send(
    connection: &Connection,
    bytes: &[u8],
    fds: &[BorrowedFd<'_>],
) -> Result<(), HandshakeError> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(FDS))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    if !fds.is_empty() {
        assert!(
            control.push(SendAncillaryMessage::ScmRights(fds)),
            "the control buffer has room for the descriptors"
        );
    }
    let flags = SendFlags::NOSIGNAL | SendFlags::DONTWAIT;
    match rustix::net::sendmsg(&connection.0, &[IoSlice::new(bytes)], &mut control, flags) {
        Ok(_) => Ok(()), // a packet goes whole or not at all
        Err(Errno::PIPE | Errno::CONNRESET) => Err(HandshakeError::Closed),
        Err(errno) => Err(HandshakeError::System { call: "sendmsg", errno }),
    }
}
