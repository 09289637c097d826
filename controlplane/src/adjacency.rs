//! A prefix changes between a tunnel and a route of the kernel: in an order in which packets always have a way, and none is
//! in clear where it should not be.
//!
//! ```text
//!  into the tunnel:  dataplane takes the prefix off the LAN ── taken ──> kernel loses its route
//!  out of it:        kernel gets its route ── installed ──> dataplane leaves the prefix to the kernel
//! ```
//! A discarding route of last resort is below both. In host mode the kernel alone decides, and this has nothing to do.

use crate::net::netlink::{RouteSink, Wanted};
use sipsec_net::{IpPrefix, TunnelId};
use sipsec_session::Chosen;
use sipsec_track::config::NextHop;
use std::collections::HashMap;

#[derive(Debug)]
pub struct Adjacencies {
    kernel: RouteSink,
    /// The latest decision of each prefix that is not done.
    pending: HashMap<IpPrefix, Chosen>,
    /// For the dataplane.
    decided: Vec<(IpPrefix, Chosen)>,
}

impl Adjacencies {
    #[must_use]
    pub fn new(kernel: RouteSink) -> Self {
        Self { kernel, pending: HashMap::new(), decided: Vec::new() }
    }

    /// Route policy has decided. `id` says which number a tunnel has; one that is unknown is no longer in the profile.
    pub fn decide(
        &mut self,
        prefix: IpPrefix,
        next: Option<&NextHop>,
        wanted: Option<Wanted>,
        id: impl Fn(&str) -> Option<TunnelId>,
    ) {
        match next {
            Some(NextHop::Tunnel(name)) => match id(name) {
                Some(id) => {
                    self.pending.insert(prefix, Chosen::Tunnel(id));
                    self.decided.push((prefix, Chosen::Tunnel(id)));
                }
                None => self.forget(prefix),
            },
            Some(NextHop::Via { .. } | NextHop::Device(_)) => {
                self.pending.insert(prefix, Chosen::Outside);
                self.kernel.route(prefix, wanted);
            }
            // Its discarding route need not be there first: without it the packets are discarded, too.
            Some(NextHop::Discard) => {
                self.pending.remove(&prefix);
                self.kernel.route(prefix, wanted);
                self.decided.push((prefix, Chosen::Discard));
            }
            None => {
                self.pending.remove(&prefix);
                self.kernel.route(prefix, wanted);
                self.decided.push((prefix, Chosen::Gone));
            }
        }
    }

    /// The kernel has a better route, which is another program's.
    pub fn leave_to_kernel(&mut self, prefix: IpPrefix) {
        self.forget(prefix);
        self.decided.push((prefix, Chosen::Outside));
    }

    /// Another program's route inside a tunnel's prefix has gone.
    pub fn foreign_gone(&mut self, prefix: IpPrefix) {
        self.decided.push((prefix, Chosen::Gone));
    }

    fn forget(&mut self, prefix: IpPrefix) {
        self.pending.remove(&prefix);
        self.kernel.route(prefix, None);
    }

    /// The dataplane does what was decided of it, or something older.
    pub fn taken(&mut self, prefix: IpPrefix) {
        if matches!(self.pending.get(&prefix), Some(Chosen::Tunnel(_))) {
            self.forget(prefix);
        }
    }

    /// The kernel has the route that it was given, or has had it already.
    pub fn installed(&mut self, prefix: IpPrefix) {
        if self.pending.get(&prefix) == Some(&Chosen::Outside) {
            self.pending.remove(&prefix);
            self.decided.push((prefix, Chosen::Outside));
        }
    }

    /// What the dataplane is to be told.
    pub fn take_decided(&mut self) -> Vec<(IpPrefix, Chosen)> {
        std::mem::take(&mut self.decided)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::net::netlink::Target;

    fn wanted() -> Wanted {
        Wanted { target: Target::Device("wan1".into()), table: sipsec_track::config::Table::Main, metric: 1 }
    }

    struct Bench {
        prefix: IpPrefix,
        sink: RouteSink,
        all: Adjacencies,
    }

    impl Bench {
        fn new() -> Self {
            let sink = RouteSink::alone();
            Self { prefix: "10.2.0.0/16".parse().expect("valid"), all: Adjacencies::new(sink.clone()), sink }
        }

        fn decide(&mut self, next: Option<NextHop>) {
            let wanted = matches!(next, Some(NextHop::Device(_))).then(wanted);
            self.all.decide(self.prefix, next.as_ref(), wanted, |name| (name == "A").then_some(TunnelId(7)));
        }

        fn kernel(&self) -> Option<Option<Wanted>> {
            self.sink.wanted(self.prefix)
        }
    }

    fn tunnel(name: &str) -> Option<NextHop> {
        Some(NextHop::Tunnel(name.into()))
    }

    fn outside() -> Option<NextHop> {
        Some(NextHop::Device("wan1".into()))
    }

    #[test]
    fn the_new_way_is_there_before_the_old_one_goes() {
        let mut b = Bench::new();
        b.decide(outside());
        assert_eq!((b.kernel(), b.all.take_decided()), (Some(Some(wanted())), vec![]), "the kernel first");
        b.all.installed(b.prefix);
        assert_eq!(b.all.take_decided(), [(b.prefix, Chosen::Outside)]);
        b.all.installed(b.prefix);
        b.all.taken(b.prefix);
        assert_eq!((b.kernel(), b.all.take_decided()), (Some(Some(wanted())), vec![]));
        b.decide(tunnel("A"));
        assert_eq!(b.all.take_decided(), [(b.prefix, Chosen::Tunnel(TunnelId(7)))]);
        assert_eq!(b.kernel(), Some(Some(wanted())), "until the dataplane has it");
        b.all.taken(b.prefix);
        assert_eq!(b.kernel(), Some(None));
    }

    #[test]
    fn a_better_route_of_another_program_is_left_to_the_kernel() {
        let mut b = Bench::new();
        b.decide(tunnel("A"));
        b.all.take_decided();
        b.all.leave_to_kernel(b.prefix);
        assert_eq!((b.kernel(), b.all.take_decided()), (Some(None), vec![(b.prefix, Chosen::Outside)]));
        b.all.taken(b.prefix);
        b.decide(tunnel("A"));
        assert_eq!(b.all.take_decided(), [(b.prefix, Chosen::Tunnel(TunnelId(7)))]);
    }

    #[test]
    fn an_answer_to_an_older_decision_undoes_nothing() {
        let mut b = Bench::new();
        b.decide(tunnel("A"));
        b.decide(outside());
        b.all.taken(b.prefix);
        assert_eq!(b.kernel(), Some(Some(wanted())));
        b.decide(tunnel("A"));
        b.all.take_decided();
        b.all.installed(b.prefix);
        assert_eq!(b.all.take_decided(), [], "the tunnel was chosen since");
        b.decide(None);
        assert_eq!((b.kernel(), b.all.take_decided()), (Some(None), vec![(b.prefix, Chosen::Gone)]));
        b.decide(tunnel("gone"));
        assert_eq!((b.kernel(), b.all.take_decided()), (Some(None), vec![]));
    }
}
