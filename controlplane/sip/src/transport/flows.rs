//! The connections that the user agent has asked for.

use super::{Flow, FlowId, Transport};
use std::collections::BTreeMap;
use std::net::SocketAddr;

/// Connections at a time. Each leads to another target, of which there are few.
const FLOWS_MAX: usize = 64;

#[derive(Debug, Default)]
pub struct Flows {
    open: BTreeMap<FlowId, Opened>,
    last: u64,
}

#[derive(Debug)]
struct Opened {
    flow: Flow,
    /// A message has come over it: the connection is up, and a peer that closes it now may just have been idle.
    proved: bool,
}

impl Flows {
    /// The connection to this address, and whether it has to be opened first. `None` if there are too many.
    pub fn towards(
        &mut self,
        transport: Transport,
        local: SocketAddr,
        remote: SocketAddr,
    ) -> Option<(Flow, bool)> {
        let found = self.open.values().map(|o| o.flow);
        let found =
            found.into_iter().find(|f| (f.transport, f.local, f.remote) == (transport, local, remote));
        if let Some(flow) = found {
            return Some((flow, false));
        }
        if self.open.len() >= FLOWS_MAX {
            return None;
        }
        self.last += 1;
        let flow = Flow { transport, local, remote, id: FlowId(self.last) };
        self.open.insert(flow.id, Opened { flow, proved: false });
        Some((flow, true))
    }

    pub fn is_open(&self, id: FlowId) -> bool {
        self.open.contains_key(&id)
    }

    /// Something came over this connection.
    pub fn proved(&mut self, id: FlowId) {
        if let Some(o) = self.open.get_mut(&id) {
            o.proved = true;
        }
    }

    /// Forgets it, and gives it with whether messages had come over it.
    pub fn close(&mut self, id: FlowId) -> Option<(Flow, bool)> {
        self.open.remove(&id).map(|o| (o.flow, o.proved))
    }

    /// Forgets those from addresses that are not ours any more.
    pub fn retain(&mut self, ours: impl Fn(SocketAddr) -> bool) -> Vec<FlowId> {
        let gone: Vec<_> = self.open.values().filter(|o| !ours(o.flow.local)).map(|o| o.flow.id).collect();
        for id in &gone {
            self.open.remove(id);
        }
        gone
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_connection_is_reused_until_it_is_closed() {
        let (local, remote) = ("192.0.2.1:5060".parse().expect("a"), "192.0.2.2:5060".parse().expect("b"));
        let mut flows = Flows::default();
        let (first, opens) = flows.towards(Transport::Tcp, local, remote).expect("room");
        assert!(opens);
        assert_eq!(flows.towards(Transport::Tcp, local, remote), Some((first, false)));
        let (tls, opens) = flows.towards(Transport::Tls, local, remote).expect("room");
        assert!(opens && tls.id != first.id);
        flows.proved(first.id);
        assert_eq!(flows.close(first.id), Some((first, true)));
        assert_eq!((flows.close(first.id), flows.close(tls.id)), (None, Some((tls, false))));
        let (again, opens) = flows.towards(Transport::Tcp, local, remote).expect("room");
        assert!(opens && again.id != first.id, "numbers are not used twice");
        assert_eq!(flows.retain(|l| l != local), [again.id]);
    }

    #[test]
    fn connections_are_bounded() {
        let local = "192.0.2.1:5060".parse().expect("a");
        let mut flows = Flows::default();
        let mut opened = 0;
        for port in 1..200 {
            opened += usize::from(
                flows.towards(Transport::Tcp, local, SocketAddr::new([192, 0, 2, 2].into(), port)).is_some(),
            );
        }
        assert_eq!(opened, FLOWS_MAX);
    }
}
