//! Sockets of the resolver that are bound to a device, because the name servers are in a VRF or behind one line.

use hickory_resolver::net::runtime::iocompat::AsyncIoTokioAsStd;
use hickory_resolver::net::runtime::{RuntimeProvider, TokioHandle, TokioRuntimeProvider, TokioTime};
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::{TcpSocket, TcpStream, UdpSocket};

type Opened<T> = Pin<Box<dyn Send + Future<Output = io::Result<T>>>>;

/// A name server that does not take a connection is given up after this time.
const CONNECT_MAX: Duration = Duration::from_secs(3);

/// The kernel's choice without a device.
#[derive(Clone)]
pub struct ByDevice {
    runtime: TokioRuntimeProvider,
    device: Option<Arc<str>>,
}

impl ByDevice {
    pub fn new(device: Option<&str>) -> Self {
        Self { runtime: TokioRuntimeProvider::default(), device: device.map(Arc::from) }
    }
}

/// With the name of the device, which the kernel's error does not tell.
fn bound(device: &str, result: io::Result<()>) -> io::Result<()> {
    result.map_err(|error| io::Error::new(error.kind(), format!("cannot use the device {device}: {error}")))
}

impl RuntimeProvider for ByDevice {
    type Handle = TokioHandle;
    type Timer = TokioTime;
    type Udp = UdpSocket;
    type Tcp = AsyncIoTokioAsStd<TcpStream>;

    fn create_handle(&self) -> Self::Handle {
        self.runtime.create_handle()
    }

    fn connect_tcp(
        &self,
        server_addr: SocketAddr,
        bind_addr: Option<SocketAddr>,
        timeout: Option<Duration>,
    ) -> Opened<Self::Tcp> {
        let Some(device) = self.device.clone() else {
            return self.runtime.connect_tcp(server_addr, bind_addr, timeout);
        };
        Box::pin(async move {
            let socket = if server_addr.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
            bound(&device, socket.bind_device(Some(device.as_bytes())))?;
            if let Some(bind_addr) = bind_addr {
                socket.bind(bind_addr)?;
            }
            socket.set_nodelay(true)?;
            let connected = tokio::time::timeout(timeout.unwrap_or(CONNECT_MAX), socket.connect(server_addr));
            Ok(AsyncIoTokioAsStd(connected.await??))
        })
    }

    fn bind_udp(&self, local_addr: SocketAddr, server_addr: SocketAddr) -> Opened<Self::Udp> {
        let Some(device) = self.device.clone() else {
            return self.runtime.bind_udp(local_addr, server_addr);
        };
        Box::pin(async move {
            let socket = UdpSocket::bind(local_addr).await?;
            bound(&device, socket.bind_device(Some(device.as_bytes())))?;
            Ok(socket)
        })
    }
}
