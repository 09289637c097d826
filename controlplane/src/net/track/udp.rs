//! UDP echo (RFC 862): good if what was sent comes back.

use super::socket::Exit;
use socket2::{Protocol, Type};
use std::io;
use std::net::SocketAddr;
use tokio::net::UdpSocket;

pub async fn connected(exit: &Exit, target: SocketAddr) -> io::Result<UdpSocket> {
    let socket = UdpSocket::from_std(exit.socket(Type::DGRAM, Protocol::UDP)?.into())?;
    // A connected socket takes datagrams of the target alone, and hears of ICMP errors.
    socket.connect(target).await?;
    Ok(socket)
}

pub async fn echo(exit: &Exit, target: SocketAddr, token: &[u8]) -> io::Result<()> {
    let socket = connected(exit, target).await?;
    socket.send(token).await?;
    let mut answer = [0; 64];
    loop {
        // Anything else is from an earlier probe, or no echo.
        let len = socket.recv(&mut answer).await?;
        if answer.get(..len) == Some(token) {
            return Ok(());
        }
    }
}
