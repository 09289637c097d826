//! Requests to the kernel's netfilter. It works on a request within `send`, so its answers wait in the socket afterwards, but for
//! the parts of a dump, each of which is made as the one before is read.

use super::transaction::Batch;
use rtnetlink::sys::{AsyncSocket, Socket, SocketAddr, TokioSocket};
use sipsec_abi::nfnetlink::{
    ACK, Attribute, ERROR, Message, NFTABLES, REQUEST, Received, TABLE, find, messages,
};
use std::io;
use std::time::{Duration, Instant};

/// `NETLINK_NETFILTER`
const PROTOCOL: isize = 12;
const GET_TABLE: u16 = NFTABLES << 8 | 1;
const GET_RULE: u16 = NFTABLES << 8 | 7;
/// `NLM_F_DUMP`
pub const DUMP: u16 = 0x300;
/// `NLMSG_DONE`
const DONE: u16 = 3;
/// Sent at once: the rules of a gateway at most.
const SEND_BUFFER: usize = 4 << 20;
/// Answers to them.
const RECV_BUFFER: usize = 4 << 20;
/// A part of a dump is at most half of it.
const READ_MAX: usize = 64 << 10;
/// A dump of a full table of connections takes less.
const DUMP_MAX: Duration = Duration::from_secs(5);
/// `NFNLGRP_NFTABLES`
const CHANGES: u32 = 7;

/// A socket of netfilter.
#[derive(Debug)]
pub struct Netfilter {
    socket: Socket,
    sequence: u32,
}

impl Netfilter {
    pub fn open() -> io::Result<Self> {
        let mut socket = Socket::new(PROTOCOL)?;
        socket.bind_auto()?;
        crate::net::netlink::enlarge(&socket, RECV_BUFFER);
        if rustix::net::sockopt::set_socket_send_buffer_size(&socket, SEND_BUFFER).is_err() {
            tracing::debug!("the send buffer of netfilter's socket keeps its size");
        }
        socket.connect(&SocketAddr::new(0, 0))?;
        Ok(Self { socket, sequence: 0 })
    }

    /// All of the transaction, or nothing of it.
    pub fn commit(&mut self, batch: &Batch) -> io::Result<()> {
        self.socket.send(&batch.bytes, 0)?;
        let (mut buffer, mut acknowledged) = (Vec::with_capacity(READ_MAX), 0);
        while self.read_now(&mut buffer)? {
            for message in messages(&buffer).filter(|m| m.kind == ERROR) {
                match message.error() {
                    0 => acknowledged += 1,
                    code => {
                        tracing::debug!(message = message.sequence, code, "netfilter refuses a transaction");
                        return Err(io::Error::from_raw_os_error(code));
                    }
                }
            }
        }
        if acknowledged < batch.acknowledged {
            return Err(io::Error::other("the kernel did not acknowledge the transaction"));
        }
        Ok(())
    }

    /// Whether there is a table of this name.
    pub fn has_table(&mut self, family: u8, table: &str) -> io::Result<bool> {
        self.sequence += 1;
        let mut message = Message::new(GET_TABLE, REQUEST | ACK, self.sequence, family, 0);
        message.text(TABLE, table);
        match self.exchange(message.finish()) {
            Ok(()) => Ok(true),
            Err(error) if error.raw_os_error() == Some(libc::ENOENT) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// The rules that the table has.
    pub fn rules(&mut self, family: u8, table: &str) -> io::Result<u32> {
        let mut found = 0;
        self.sequence += 1;
        let mut message = Message::new(GET_RULE, REQUEST | DUMP, self.sequence, family, 0);
        message.text(TABLE, table);
        let named = |a: Attribute<'_>| a.value.strip_suffix(&[0]) == Some(table.as_bytes());
        self.dump(message.finish(), |m| {
            found += u32::from(find(m.attributes(), TABLE).is_some_and(named));
            true
        })?;
        Ok(found)
    }

    /// A request that is answered by its acknowledgement.
    pub fn exchange(&mut self, request: Vec<u8>) -> io::Result<()> {
        self.socket.send(&request, 0)?;
        let (mut buffer, mut result) = (Vec::with_capacity(READ_MAX), None);
        while self.read_now(&mut buffer)? {
            for message in messages(&buffer).filter(|m| m.kind == ERROR) {
                result = Some(message.error());
            }
        }
        match result {
            Some(0) => Ok(()),
            Some(code) => Err(io::Error::from_raw_os_error(code)),
            None => Err(io::ErrorKind::TimedOut.into()),
        }
    }

    /// Every message of the answer, until `each` has enough.
    pub fn dump(&mut self, request: Vec<u8>, mut each: impl FnMut(&Received<'_>) -> bool) -> io::Result<()> {
        self.socket.send(&request, 0)?;
        let until = Instant::now() + DUMP_MAX;
        let (mut buffer, mut wants) = (Vec::with_capacity(READ_MAX), true);
        while Instant::now() < until {
            if !self.read_now(&mut buffer)? {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            for message in messages(&buffer) {
                match message.kind {
                    DONE => return Ok(()),
                    ERROR if message.error() != 0 => {
                        return Err(io::Error::from_raw_os_error(message.error()));
                    }
                    ERROR => {}
                    // The rest is read all the same, so that nothing of it answers the next request.
                    _ => wants = wants && each(&message),
                }
            }
        }
        Err(io::ErrorKind::TimedOut.into())
    }

    /// The next datagram that is there; `false` for none.
    fn read_now(&self, buffer: &mut Vec<u8>) -> io::Result<bool> {
        buffer.clear();
        match self.socket.recv(buffer, libc::MSG_DONTWAIT) {
            Ok(_) => Ok(true),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(false),
            Err(error) => Err(error),
        }
    }
}

/// The rules are looked at this often, in case a report was lost.
const REFRESH: Duration = Duration::from_secs(30);
/// After a failure, and at least between two looks: a program may load many tables one after the other.
const PAUSE: Duration = Duration::from_secs(1);

/// The kernel's reports that rules have changed.
pub struct Changes {
    is_needed: bool,
    socket: Option<TokioSocket>,
}

impl Changes {
    /// `is_needed`: whether there are rules of ours to look after.
    pub fn new(is_needed: bool) -> Self {
        Self { is_needed, socket: is_needed.then(reports).transpose().unwrap_or_default() }
    }

    /// Waits until the rules are to be looked at again; for ever if there are none.
    pub async fn look_again(&mut self, has_failed: bool) {
        tokio::time::sleep(PAUSE).await;
        match &mut self.socket {
            _ if has_failed => {}
            _ if !self.is_needed => std::future::pending().await,
            Some(socket) => {
                let mut buffer = Vec::with_capacity(4096);
                // An overrun is a change as well.
                let report = std::future::poll_fn(|cx| socket.poll_recv(cx, &mut buffer));
                let _ = tokio::time::timeout(REFRESH, report).await;
            }
            None => tokio::time::sleep(REFRESH).await,
        }
    }
}

fn reports() -> io::Result<TokioSocket> {
    let mut socket = TokioSocket::new(PROTOCOL)?;
    socket.socket_mut().bind_auto()?;
    socket.socket_mut().add_membership(CHANGES)?;
    Ok(socket)
}

/// Work with a socket, on a thread that may wait.
pub async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> io::Result<T> {
    tokio::task::spawn_blocking(work).await.map_err(io::Error::other)?
}

/// Why a transaction has failed, and what to do; `modules` are those of the kernel that it needs.
pub fn explain(error: &io::Error, modules: &str) -> String {
    match error.raw_os_error() {
        Some(libc::EPERM) => "not permitted: run with CAP_NET_ADMIN".to_owned(),
        Some(libc::EPROTONOSUPPORT | libc::ENOENT | libc::EOPNOTSUPP | libc::EAFNOSUPPORT) => {
            format!("the kernel has no nf_tables for this ({error}): load {modules}")
        }
        _ => error.to_string(),
    }
}
