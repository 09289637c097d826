//! What the probes' sockets have in common: source, device, and what an error says.

use sipsec_track::view::ReturnCode;
use socket2::{Domain, Protocol, Socket, Type};
use std::io;
use std::net::{IpAddr, SocketAddr};

/// Where a probe leaves.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Exit {
    pub v6: bool,
    pub source: Option<IpAddr>,
    pub device: Option<String>,
}

impl Exit {
    /// A socket that does not block, bound to source and device.
    ///
    /// # Errors
    /// If the kernel gives none, or source or device do not exist.
    pub fn socket(&self, kind: Type, protocol: Protocol) -> io::Result<Socket> {
        let socket = Socket::new(if self.v6 { Domain::IPV6 } else { Domain::IPV4 }, kind, Some(protocol))?;
        socket.set_nonblocking(true)?;
        if let Some(device) = &self.device {
            socket.bind_device(Some(device.as_bytes()))?;
        }
        if let Some(source) = self.source {
            socket.bind(&SocketAddr::new(source, 0).into())?;
        }
        Ok(socket)
    }
}

/// What an error of a socket says about the target.
pub fn meaning(error: &io::Error) -> ReturnCode {
    match error.raw_os_error() {
        Some(libc::ECONNREFUSED | libc::ECONNRESET) => ReturnCode::Refused,
        Some(libc::EHOSTUNREACH | libc::ENETUNREACH | libc::EHOSTDOWN | libc::ENETDOWN) => {
            ReturnCode::Unreachable
        }
        Some(libc::EADDRNOTAVAIL | libc::ENODEV) => ReturnCode::NoSource,
        Some(libc::ETIMEDOUT) => ReturnCode::Timeout,
        _ => match error.kind() {
            io::ErrorKind::InvalidData | io::ErrorKind::UnexpectedEof => ReturnCode::BadAnswer,
            _ => ReturnCode::NotSent,
        },
    }
}
