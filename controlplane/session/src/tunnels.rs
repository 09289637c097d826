//! All tunnels with their timers, in order of time: with thousands of sessions the next timer is a look-up, not a search.

use crate::config::TunnelConfig;
use crate::tunnel::Tunnel;
use sipsec_net::{Instant, MediaPort, TelNumber, TunnelId};
use std::collections::{BTreeSet, HashMap};
use std::hash::Hash;
use std::ops::{Index, IndexMut};

/// Mutable access to a tunnel marks it as touched: its next timer and its media port may change, and [`Self::settle`] reads
/// both again.
#[derive(Debug)]
pub struct Tunnels {
    all: Vec<Tunnel>,
    by_id: HashMap<TunnelId, usize>,
    /// Ours and the peer's.
    by_numbers: HashMap<(TelNumber, TelNumber), usize>,
    touched: BTreeSet<usize>,
    /// As of the last [`Self::settle`].
    noted: Vec<Noted>,
    by_time: BTreeSet<(Instant, usize)>,
    by_port: HashMap<MediaPort, usize>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Noted {
    due: Option<Instant>,
    port: Option<MediaPort>,
}

fn index<K: Eq + Hash>(all: &[Tunnel], key: impl Fn(&TunnelConfig) -> K) -> HashMap<K, usize> {
    all.iter().enumerate().map(|(i, t)| (key(&t.config), i)).collect()
}

impl Tunnels {
    pub fn new(all: Vec<Tunnel>) -> Self {
        Self {
            by_id: index(&all, |t| t.id()),
            by_numbers: index(&all, |t| (t.local_number, t.remote_number)),
            touched: BTreeSet::new(),
            noted: vec![Noted::default(); all.len()],
            by_time: BTreeSet::new(),
            by_port: HashMap::new(),
            all,
        }
    }

    pub const fn len(&self) -> usize {
        self.all.len()
    }

    pub fn iter(&self) -> std::slice::Iter<'_, Tunnel> {
        self.all.iter()
    }

    pub fn iter_mut(&mut self) -> std::slice::IterMut<'_, Tunnel> {
        self.touched.extend(0..self.all.len());
        self.all.iter_mut()
    }

    pub fn with_id(&self, id: TunnelId) -> Option<usize> {
        self.by_id.get(&id).copied()
    }

    pub fn with_numbers(&self, local: TelNumber, remote: TelNumber) -> Option<usize> {
        self.by_numbers.get(&(local, remote)).copied()
    }

    pub fn with_port(&self, port: MediaPort) -> Option<usize> {
        let has = |i: &usize| self.all[*i].state.media_port() == Some(port);
        self.by_port.get(&port).copied().filter(has).or_else(|| self.touched.iter().copied().find(has))
    }

    /// After everything that may have changed a tunnel.
    pub fn settle(&mut self) {
        while let Some(i) = self.touched.pop_first() {
            let new = Noted { due: self.all[i].due(), port: self.all[i].state.media_port() };
            let old = std::mem::replace(&mut self.noted[i], new);
            if old.due != new.due {
                if let Some(at) = old.due {
                    self.by_time.remove(&(at, i));
                }
                self.by_time.extend(new.due.map(|at| (at, i)));
            }
            if old.port != new.port {
                // Another may have it already.
                if let Some(port) = old.port.filter(|port| self.by_port.get(port) == Some(&i)) {
                    self.by_port.remove(&port);
                }
                self.by_port.extend(new.port.map(|port| (port, i)));
            }
        }
    }

    /// The earliest timer of all tunnels, as of the last [`Self::settle`].
    pub fn next_due(&self) -> Option<Instant> {
        let next = self.by_time.first().map(|(at, _)| *at);
        debug_assert_eq!(next, self.all.iter().filter_map(Tunnel::due).min(), "every change is looked at");
        next
    }

    /// Tunnels with a timer that is due, in the order of their times, as of the last [`Self::settle`].
    pub fn due(&self, now: Instant) -> Vec<usize> {
        self.by_time.range(..=(now, usize::MAX)).map(|(_, i)| *i).collect()
    }
}

impl Index<usize> for Tunnels {
    type Output = Tunnel;

    fn index(&self, i: usize) -> &Tunnel {
        &self.all[i]
    }
}

impl IndexMut<usize> for Tunnels {
    fn index_mut(&mut self, i: usize) -> &mut Tunnel {
        self.touched.insert(i);
        &mut self.all[i]
    }
}
