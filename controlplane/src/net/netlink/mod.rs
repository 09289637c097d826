//! What the kernel knows: the WAN's address, the next hop of every media peer, and the routes that lead into the sVTI.
//!
//! One task owns the netlink socket. It looks again whenever the kernel reports a change; what it reads last is true,
//! whatever was reported in between.

mod neighbour;
mod routes;
mod wan;

pub use routes::{PROTOCOL as ROUTE_PROTOCOL, Route};

use futures_util::{FutureExt, StreamExt};
use netlink_packet_route::RouteNetlinkMessage;
use netlink_packet_route::link::LinkAttribute;
use rtnetlink::packet_core::NetlinkPayload;
use rtnetlink::{Handle, MulticastGroup, new_multicast_connection};
use sipsec_net::{MacAddr, MediaPort};
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;
use tokio::sync::mpsc;

/// Requests and changes that may wait.
const QUEUE: usize = 1024;
/// While a next hop is unknown it is asked for this often.
const RETRY: Duration = Duration::from_millis(500);
/// Otherwise the kernel is asked for everything this often, in case a report was lost; entries in use are verified then.
const REFRESH: Duration = Duration::from_secs(30);
/// Kernel reports taken in one go.
const BATCH: usize = 1024;

/// What to watch.
#[derive(Clone, Debug)]
pub struct Watch {
    pub wan: String,
    /// The family that SIP uses.
    pub v6: bool,
    /// The sVTI and the routes to it; none in router mode.
    pub svti: Option<(String, Vec<Route>)>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// The WAN's address, or why it has none.
    Wan(Result<IpAddr, String>),
    NextHop {
        media_port: MediaPort,
        mac: MacAddr,
    },
    /// State of each kernel route, for the show.
    Routes(BTreeMap<String, String>),
}

#[derive(Debug)]
enum Request {
    Resolve { media_port: MediaPort, remote: IpAddr },
    Forget(MediaPort),
}

/// The loop's end.
#[derive(Debug)]
pub struct Netlink {
    requests: mpsc::Sender<Request>,
    changes: mpsc::Receiver<Change>,
    /// Requests that found no room.
    pub overflowed: u64,
}

impl Netlink {
    /// # Errors
    /// If the kernel gives no netlink socket.
    pub fn start(watch: Watch) -> std::io::Result<Self> {
        let groups = [
            MulticastGroup::Link,
            MulticastGroup::Ipv4Ifaddr,
            MulticastGroup::Ipv6Ifaddr,
            MulticastGroup::Ipv4Route,
            MulticastGroup::Ipv6Route,
            MulticastGroup::Neigh,
        ];
        let (connection, handle, messages) = new_multicast_connection(&groups)?;
        tokio::spawn(connection);
        let (request_sender, requests) = mpsc::channel(QUEUE);
        let (change_sender, changes) = mpsc::channel(QUEUE);
        let task = Task {
            neighbours: neighbour::Neighbours::new(handle.clone()),
            handle,
            watch,
            changes: change_sender,
            wan: None,
            routes: BTreeMap::new(),
        };
        tokio::spawn(task.run(messages, requests));
        Ok(Self { requests: request_sender, changes, overflowed: 0 })
    }

    /// Asks for the next hop towards a peer, now and whenever it changes, until [`Self::forget`].
    pub fn resolve(&mut self, media_port: MediaPort, remote: IpAddr) {
        self.request(Request::Resolve { media_port, remote });
    }

    pub fn forget(&mut self, media_port: MediaPort) {
        self.request(Request::Forget(media_port));
    }

    fn request(&mut self, request: Request) {
        if self.requests.try_send(request).is_err() {
            self.overflowed += 1;
        }
    }

    /// The next change. May be cancelled at any time.
    pub async fn next(&mut self) -> Change {
        match self.changes.recv().await {
            Some(change) => change,
            // The task ends with the runtime only.
            None => std::future::pending().await,
        }
    }
}

/// What has to be looked at again.
#[derive(Clone, Copy, Debug, Default)]
struct Dirty {
    links: bool,
    next_hops: bool,
}

impl Dirty {
    const ALL: Self = Self { links: true, next_hops: true };

    fn note(&mut self, message: &NetlinkPayload<RouteNetlinkMessage>) {
        use RouteNetlinkMessage as M;
        match message {
            NetlinkPayload::InnerMessage(m) => match m {
                M::NewNeighbour(_) | M::DelNeighbour(_) => self.next_hops = true,
                M::NewLink(_)
                | M::DelLink(_)
                | M::NewAddress(_)
                | M::DelAddress(_)
                | M::NewRoute(_)
                | M::DelRoute(_) => {
                    *self = Self::ALL;
                }
                _ => {}
            },
            // Some report was lost.
            NetlinkPayload::Overrun(_) | NetlinkPayload::Error(_) => *self = Self::ALL,
            _ => {}
        }
    }
}

struct Task {
    handle: Handle,
    watch: Watch,
    changes: mpsc::Sender<Change>,
    neighbours: neighbour::Neighbours,
    wan: Option<Result<IpAddr, String>>,
    routes: BTreeMap<String, String>,
}

type Messages = futures_util::stream::BoxStream<'static, NetlinkPayload<RouteNetlinkMessage>>;

impl Task {
    async fn run(
        mut self,
        messages: impl futures_util::Stream<
            Item = (rtnetlink::packet_core::NetlinkMessage<RouteNetlinkMessage>, rtnetlink::sys::SocketAddr),
        > + Send
        + 'static,
        mut requests: mpsc::Receiver<Request>,
    ) {
        let mut messages: Messages = messages.map(|(m, _)| m.payload).boxed();
        let mut dirty = Dirty::ALL;
        let mut refresh = tokio::time::interval(REFRESH);
        loop {
            if self.look(dirty).await.is_err() {
                return; // nobody listens any more
            }
            dirty = Dirty::default();
            let retry = async {
                if self.neighbours.unresolved() {
                    tokio::time::sleep(RETRY).await
                } else {
                    std::future::pending().await
                }
            };
            tokio::select! {
                message = messages.next() => {
                    let Some(message) = message else { return };
                    dirty.note(&message);
                    for _ in 0..BATCH {
                        let Some(Some(message)) = messages.next().now_or_never() else { break };
                        dirty.note(&message);
                    }
                }
                request = requests.recv() => match request {
                    Some(Request::Resolve { media_port, remote }) => {
                        self.neighbours.watch(media_port, remote);
                        dirty.next_hops = true;
                    }
                    Some(Request::Forget(media_port)) => self.neighbours.forget(media_port),
                    None => return,
                },
                () = retry => dirty.next_hops = true,
                _ = refresh.tick() => {
                    self.neighbours.verify();
                    dirty = Dirty::ALL;
                }
            }
        }
    }

    async fn look(&mut self, dirty: Dirty) -> Result<(), mpsc::error::SendError<Change>> {
        if dirty.links {
            let current = self.wan.as_ref().and_then(|w| w.as_ref().ok()).copied();
            let wan = wan::address(&self.handle, &self.watch.wan, self.watch.v6, current).await;
            if self.wan.as_ref() != Some(&wan) {
                self.wan = Some(wan.clone());
                self.changes.send(Change::Wan(wan)).await?;
            }
            self.install_routes().await?;
        }
        if dirty.next_hops && self.neighbours.any() {
            let index = index_of(&self.handle, &self.watch.wan).await;
            if let Some(index) = index {
                for (media_port, mac) in self.neighbours.look(index).await {
                    self.changes.send(Change::NextHop { media_port, mac }).await?;
                }
            }
        }
        Ok(())
    }

    async fn install_routes(&mut self) -> Result<(), mpsc::error::SendError<Change>> {
        let Some((device, wanted)) = &self.watch.svti else { return Ok(()) };
        let index = index_of(&self.handle, device).await;
        let states = routes::install(&self.handle, device, index, wanted).await;
        if states != self.routes {
            self.routes = states.clone();
            self.changes.send(Change::Routes(states)).await?;
        }
        Ok(())
    }
}

async fn index_of(handle: &Handle, name: &str) -> Option<u32> {
    link(handle, name).await.map(|l| l.header.index)
}

async fn link(handle: &Handle, name: &str) -> Option<netlink_packet_route::link::LinkMessage> {
    let mut links = Box::pin(handle.link().get().match_name(name.to_owned()).execute());
    while let Some(Ok(link)) = links.next().await {
        if link.attributes.iter().any(|a| matches!(a, LinkAttribute::IfName(n) if n == name)) {
            return Some(link);
        }
    }
    None
}
