//! TCP connect: good if the handshake completes. The connection is closed at once.

use super::socket::Exit;
use socket2::{Protocol, Type};
use std::io;
use std::net::SocketAddr;
use tokio::net::{TcpSocket, TcpStream};

pub async fn connect(exit: &Exit, target: SocketAddr) -> io::Result<TcpStream> {
    let socket = exit.socket(Type::STREAM, Protocol::TCP)?;
    TcpSocket::from_std_stream(socket.into()).connect(target).await
}
