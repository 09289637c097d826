//! One connection: its task reads and writes, and tells the loop of messages and of the end.

use super::tls::Tls;
use super::{SipEvent, stream_socket};
use sipsec_sip::Flow;
use sipsec_sip::transport::{Framed, Framer};
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until, timeout};

/// Messages that may wait for the network.
const QUEUE: usize = 128;
const READ: usize = 16 * 1024;
/// Until the connection is up, TLS included: shorter than a target may take before the next is tried.
const CONNECT_MAX: Duration = Duration::from_secs(4);
/// A message that was begun is complete by then.
const MESSAGE_MAX: Duration = Duration::from_secs(30);
const WRITE_MAX: Duration = Duration::from_secs(10);
/// RFC 5626 §4.4.1: the answer to a keep-alive.
const PONG_MAX: Duration = Duration::from_secs(10);
/// The kernel looks after connections on which nothing is asked.
const PROBE_AFTER: Duration = Duration::from_secs(60);

#[derive(Debug)]
pub enum Stream {
    Opens { device: String, dscp: u8, tls: Option<(Tls, Option<String>)> },
    Accepted(TcpStream, Option<Tls>),
}

/// The loop's end. The task ends with it, after what was queued is written.
#[derive(Debug)]
pub struct Connection {
    pub local: SocketAddr,
    queue: mpsc::Sender<Vec<u8>>,
    _task: JoinSet<()>,
}

impl Connection {
    pub fn start(
        flow: Flow,
        stream: Stream,
        keepalive: Option<Duration>,
        events: mpsc::Sender<SipEvent>,
    ) -> Self {
        let (queue, messages) = mpsc::channel(QUEUE);
        let mut task = JoinSet::new();
        task.spawn(async move {
            let reason = match run(flow, stream, keepalive, messages, &events).await {
                Ok(()) => "the other side closed it".to_owned(),
                Err(error) => error.to_string(),
            };
            let _ = events.send(SipEvent::Closed { flow, reason }).await;
        });
        Self { local: flow.local, queue, _task: task }
    }

    /// `false` if it takes nothing more.
    pub fn send(&self, bytes: Vec<u8>) -> bool {
        self.queue.try_send(bytes).is_ok()
    }
}

fn late(what: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::TimedOut, what)
}

async fn within<T>(
    limit: Duration,
    what: &'static str,
    f: impl Future<Output = io::Result<T>>,
) -> io::Result<T> {
    timeout(limit, f).await.map_err(|_| late(what))?
}

async fn run(
    flow: Flow,
    stream: Stream,
    keepalive: Option<Duration>,
    messages: mpsc::Receiver<Vec<u8>>,
    events: &mpsc::Sender<SipEvent>,
) -> io::Result<()> {
    let task = Task { flow, keepalive, events };
    match stream {
        Stream::Opens { device, dscp, tls } => {
            let tcp = within(CONNECT_MAX, "no connection in time", connect(&flow, &device, dscp)).await?;
            match tls {
                None => task.carry(tcp, messages).await,
                Some((tls, name)) => {
                    let up = within(CONNECT_MAX, "no TLS handshake in time", tls.connect(tcp, name)).await?;
                    task.carry(up, messages).await
                }
            }
        }
        Stream::Accepted(tcp, tls) => {
            prepare(&tcp);
            match tls {
                None => task.carry(tcp, messages).await,
                Some(tls) => {
                    let up = within(CONNECT_MAX, "no TLS handshake in time", tls.accept(tcp)).await?;
                    task.carry(up, messages).await
                }
            }
        }
    }
}

async fn connect(flow: &Flow, device: &str, dscp: u8) -> io::Result<TcpStream> {
    let socket = stream_socket(device, flow.local.ip(), dscp)?;
    socket.bind(&SocketAddr::new(flow.local.ip(), 0).into())?;
    let stream = TcpSocket::from_std_stream(socket.into()).connect(flow.remote).await?;
    prepare(&stream);
    Ok(stream)
}

fn prepare(stream: &TcpStream) {
    let socket = socket2::SockRef::from(stream);
    // What fails here costs speed or a late discovery, and nothing else.
    let _ = socket.set_tcp_nodelay(true);
    let _ = socket.set_tcp_keepalive(&socket2::TcpKeepalive::new().with_time(PROBE_AFTER));
}

struct Task<'a> {
    flow: Flow,
    keepalive: Option<Duration>,
    events: &'a mpsc::Sender<SipEvent>,
}

impl Task<'_> {
    async fn carry<S: AsyncRead + AsyncWrite>(
        &self,
        stream: S,
        mut messages: mpsc::Receiver<Vec<u8>>,
    ) -> io::Result<()> {
        let (mut reader, mut writer) = tokio::io::split(stream);
        let mut framer = Framer::default();
        let mut buffer = vec![0; READ];
        let mut ping_at = self.keepalive.map(|every| Instant::now() + every);
        let (mut pong_by, mut message_by) = (None, None);
        loop {
            let due = [ping_at, pong_by, message_by].into_iter().flatten().min();
            let timer = async {
                match due {
                    Some(at) => sleep_until(at).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                message = messages.recv() => {
                    // The loop has dropped its end: our address is gone, or too much was queued.
                    let Some(message) = message else { return Ok(()) };
                    self.write(&mut writer, &message).await?;
                }
                read = reader.read(&mut buffer) => {
                    let len = read?;
                    if len == 0 {
                        return Ok(());
                    }
                    pong_by = None;
                    framer.push(&buffer[..len]);
                    let before = message_by.take();
                    if self.deliver(&mut framer, &mut writer).await? {
                        message_by = None;
                    } else if framer.held() > 0 {
                        message_by = before;
                    }
                    if framer.held() > 0 && message_by.is_none() {
                        message_by = Some(Instant::now() + MESSAGE_MAX);
                    }
                }
                () = timer => {
                    let now = Instant::now();
                    if pong_by.is_some_and(|at| at <= now) {
                        return Err(late("no answer to a keep-alive (RFC 5626 §4.4.1)"));
                    }
                    if message_by.is_some_and(|at| at <= now) {
                        return Err(late("a message that was begun did not end"));
                    }
                    if let Some(every) = self.keepalive {
                        ping_at = Some(now + every);
                        pong_by = Some(now + PONG_MAX.min(every));
                        self.write(&mut writer, b"\r\n\r\n").await?;
                    }
                }
            }
        }
    }

    async fn write<W: AsyncWrite + Unpin>(&self, writer: &mut W, bytes: &[u8]) -> io::Result<()> {
        let whole = async {
            writer.write_all(bytes).await?;
            writer.flush().await
        };
        within(WRITE_MAX, "the other side takes nothing", whole).await
    }

    /// Hands out what is complete; `true` if there was a message.
    async fn deliver<W: AsyncWrite + Unpin>(&self, framer: &mut Framer, writer: &mut W) -> io::Result<bool> {
        let mut any = false;
        loop {
            match framer.cut().map_err(|e| io::Error::new(io::ErrorKind::InvalidData, e))? {
                Some(Framed::Message(bytes)) => {
                    any = true;
                    let event = SipEvent::Message { flow: self.flow, bytes };
                    if self.events.send(event).await.is_err() {
                        return Err(io::ErrorKind::BrokenPipe.into());
                    }
                }
                Some(Framed::Ping) => self.write(writer, b"\r\n").await?,
                Some(Framed::Pong) => {}
                None => return Ok(any),
            }
        }
    }
}
