//! The table of nftables with the gateway's translations to primary lines (`nat.primary`). The control plane keeps it, and it
//! stays when the gateway stops; `--remove-devices` takes it away.

use netlink_sys::{Socket, SocketAddr, protocols::NETLINK_NETFILTER};
use rustix::net::sockopt::{Timeout, set_socket_timeout};
use sipsec_abi::nfnetlink::{
    ACK, BATCH_BEGIN, BATCH_END, DEL_TABLE, ERROR, IPV4, Message, NFTABLES, REQUEST, TABLE, messages,
};
use sipsec_profile::model::primary_nat;
use std::io;
use std::time::Duration;

const ANSWER_WITHIN: Duration = Duration::from_secs(2);

/// Removes the table of this gateway; whether there was one. A kernel without nftables has none.
pub fn remove(gateway: &str) -> io::Result<bool> {
    let mut socket = match Socket::new(NETLINK_NETFILTER) {
        Ok(socket) => socket,
        Err(error) if error.raw_os_error() == Some(libc::EPROTONOSUPPORT) => return Ok(false),
        Err(error) => return Err(error),
    };
    set_socket_timeout(&socket, Timeout::Recv, Some(ANSWER_WITHIN))?;
    socket.bind_auto()?;
    socket.connect(&SocketAddr::new(0, 0))?;
    let end = |kind| Message::new(kind, REQUEST, 0, 0, NFTABLES).finish();
    let mut delete = Message::new(DEL_TABLE, REQUEST | ACK, 0, IPV4, 0);
    delete.text(TABLE, &primary_nat::table(gateway));
    socket.send(&[end(BATCH_BEGIN), delete.finish(), end(BATCH_END)].concat(), 0)?;
    loop {
        let (answer, _) = socket.recv_from_full()?;
        if let Some(message) = messages(&answer).find(|m| m.kind == ERROR) {
            return match message.error() {
                0 => Ok(true),
                // No such table; no nftables in this kernel.
                libc::ENOENT | libc::EOPNOTSUPP | libc::EINVAL => Ok(false),
                code => Err(io::Error::from_raw_os_error(code)),
            };
        }
    }
}
