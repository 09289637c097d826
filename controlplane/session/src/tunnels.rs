//! All tunnels with their timers, in order of time: with thousands of sessions the next timer is a look-up, not a search.

use crate::config::TunnelConfig;
use crate::tunnel::Tunnel;
use sipsec_net::{Instant, MediaPort, TelNumber, TunnelId};
use std::collections::{BTreeSet, HashMap};
use std::ops::{Index, IndexMut};

/// A tunnel has its place until it is removed; the place is then used again. Mutable access to a tunnel marks it as touched:
/// its next timer and its media port may change, and [`Self::refresh`] reads both again.
#[derive(Debug, Default)]
pub struct Tunnels {
    places: Vec<Option<Tunnel>>,
    free: Vec<usize>,
    by_id: HashMap<TunnelId, usize>,
    /// Ours and the peer's.
    by_numbers: HashMap<(TelNumber, TelNumber), usize>,
    /// Those that a change has removed, and that still have something to end.
    leaving: BTreeSet<usize>,
    touched: BTreeSet<usize>,
    /// As of the last [`Self::refresh`].
    noted: Vec<Noted>,
    by_time: BTreeSet<(Instant, usize)>,
    by_port: HashMap<MediaPort, usize>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Noted {
    due: Option<Instant>,
    port: Option<MediaPort>,
}

impl Tunnels {
    pub fn new(all: impl IntoIterator<Item = Tunnel>) -> Self {
        let mut tunnels = Self::default();
        for tunnel in all {
            tunnels.insert(tunnel);
        }
        tunnels
    }

    /// How many there are.
    pub const fn len(&self) -> usize {
        self.places.len() - self.free.len()
    }

    /// Every place is below this.
    pub const fn places(&self) -> usize {
        self.places.len()
    }

    pub fn iter(&self) -> impl Iterator<Item = &Tunnel> {
        self.places.iter().flatten()
    }

    pub fn enumerated(&self) -> impl Iterator<Item = (usize, &Tunnel)> {
        self.places.iter().enumerate().filter_map(|(i, t)| Some((i, t.as_ref()?)))
    }

    pub fn iter_mut(&mut self) -> impl Iterator<Item = &mut Tunnel> {
        self.touched.extend(0..self.places.len());
        self.places.iter_mut().flatten()
    }

    /// The places that are taken.
    pub fn indices(&self) -> Vec<usize> {
        self.enumerated().map(|(i, _)| i).collect()
    }

    pub fn get(&self, i: usize) -> Option<&Tunnel> {
        self.places.get(i)?.as_ref()
    }

    pub fn with_id(&self, id: TunnelId) -> Option<usize> {
        self.by_id.get(&id).copied()
    }

    /// One that is not leaving.
    pub fn with_numbers(&self, local: TelNumber, remote: TelNumber) -> Option<usize> {
        self.by_numbers.get(&(local, remote)).copied()
    }

    pub fn with_port(&self, port: MediaPort) -> Option<usize> {
        let has = |i: &usize| self.get(*i).is_some_and(|t| t.state().media_port() == Some(port));
        self.by_port.get(&port).copied().filter(has).or_else(|| self.touched.iter().copied().find(has))
    }

    // ---- changes ----

    /// Its place.
    pub fn insert(&mut self, tunnel: Tunnel) -> usize {
        let (id, numbers) = (tunnel.id(), numbers(tunnel.config()));
        let i = self.free.pop().unwrap_or(self.places.len());
        if i == self.places.len() {
            self.places.push(None);
            self.noted.push(Noted::default());
        }
        self.places[i] = Some(tunnel);
        self.by_id.insert(id, i);
        self.by_numbers.insert(numbers, i);
        self.touched.insert(i);
        i
    }

    /// Gives a tunnel other values. It keeps its id, and is not leaving any more.
    pub fn set_config(&mut self, i: usize, config: TunnelConfig) {
        self.unname(i);
        self.leaving.remove(&i);
        self.by_numbers.insert(numbers(&config), i);
        self[i].set_config(config);
    }

    /// The tunnel is removed as soon as it has nothing left to end. Its numbers are free for another.
    pub fn leave(&mut self, i: usize) {
        self.unname(i);
        self.leaving.insert(i);
    }

    pub fn is_leaving(&self, i: usize) -> bool {
        self.leaving.contains(&i)
    }

    pub fn leaving(&self) -> impl Iterator<Item = usize> + '_ {
        self.leaving.iter().copied()
    }

    pub fn remove(&mut self, i: usize) {
        self.unname(i);
        self.leaving.remove(&i);
        if let Some(tunnel) = self.places.get_mut(i).and_then(Option::take) {
            self.by_id.remove(&tunnel.id());
            self.free.push(i);
            self.touched.insert(i);
        }
    }

    /// Another tunnel may have its numbers already.
    fn unname(&mut self, i: usize) {
        if let Some(numbers) = self.get(i).map(|t| numbers(t.config()))
            && self.by_numbers.get(&numbers) == Some(&i)
        {
            self.by_numbers.remove(&numbers);
        }
    }

    // ---- timers ----

    /// After everything that may have changed a tunnel.
    pub fn refresh(&mut self) {
        while let Some(i) = self.touched.pop_first() {
            let new = self
                .get(i)
                .map_or_else(Noted::default, |t| Noted { due: t.due(), port: t.state().media_port() });
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

    /// The earliest timer of all tunnels, as of the last [`Self::refresh`].
    pub fn next_due(&self) -> Option<Instant> {
        let next = self.by_time.first().map(|(at, _)| *at);
        debug_assert_eq!(next, self.iter().filter_map(Tunnel::due).min(), "every change is looked at");
        next
    }

    /// Tunnels with a timer that is due, in the order of their times, as of the last [`Self::refresh`].
    pub fn due(&self, now: Instant) -> Vec<usize> {
        self.by_time.range(..=(now, usize::MAX)).map(|(_, i)| *i).collect()
    }
}

const fn numbers(config: &TunnelConfig) -> (TelNumber, TelNumber) {
    (config.local_number, config.remote_number)
}

impl Index<usize> for Tunnels {
    type Output = Tunnel;

    fn index(&self, i: usize) -> &Tunnel {
        self.places[i].as_ref().expect("an index is kept only as long as its tunnel")
    }
}

impl IndexMut<usize> for Tunnels {
    fn index_mut(&mut self, i: usize) -> &mut Tunnel {
        self.touched.insert(i);
        self.places[i].as_mut().expect("an index is kept only as long as its tunnel")
    }
}
