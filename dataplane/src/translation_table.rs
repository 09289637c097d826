//! The nftables tables of the control plane: translations to primary lines (`nat.primary`), which stay when the gateway stops, and
//! flows that stay in tunnels (`failback.drain`), which are left after a crash only. `--remove-devices` removes both.

use netlink_sys::{Socket, SocketAddr, protocols::NETLINK_NETFILTER};
use rustix::net::sockopt::{Timeout, set_socket_timeout};
use sipsec_abi::nfnetlink::{
    ACK, BATCH_BEGIN, BATCH_END, DEL_TABLE, ERROR, IPV4, Message, NFTABLES, REQUEST, TABLE, messages,
};
use sipsec_profile::model::{drain_table, primary_nat};
use std::io;
use std::time::Duration;

const ANSWER_WITHIN: Duration = Duration::from_secs(2);

/// `NFPROTO_INET`
const INET: u8 = 1;

/// Removes the tables of this gateway, also the second if the first cannot be removed; whether there was one of translations.
pub fn remove(gateway: &str) -> io::Result<bool> {
    let flows = remove_table(INET, &drain_table(gateway));
    let translations = remove_table(IPV4, &primary_nat::table(gateway))?;
    flows.map(|_| translations)
}

/// A kernel without nftables has none.
fn remove_table(family: u8, table: &str) -> io::Result<bool> {
    let mut socket = match Socket::new(NETLINK_NETFILTER) {
        Ok(socket) => socket,
        Err(error) if error.raw_os_error() == Some(libc::EPROTONOSUPPORT) => return Ok(false),
        Err(error) => return Err(error),
    };
    set_socket_timeout(&socket, Timeout::Recv, Some(ANSWER_WITHIN))?;
    socket.bind_auto()?;
    socket.connect(&SocketAddr::new(0, 0))?;
    let end = |kind| Message::new(kind, REQUEST, 0, 0, NFTABLES).finish();
    let mut delete = Message::new(DEL_TABLE, REQUEST | ACK, 0, family, 0);
    delete.text(TABLE, table);
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
